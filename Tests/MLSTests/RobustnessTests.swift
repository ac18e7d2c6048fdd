import Cryptography
import TLSSyntax
import Testing

@testable import MLS

/// Damaged, misplaced and monstrous input: refused, without a trap, a change, or much time.
@Suite struct `Hostile input` {
    /// One message of each kind, and the group that would take it.
    private func messages() throws -> (receiver: Group, messages: [String: [UInt8]]) {
        let clients = try (0..<3).map { try Client("client \($0)") }
        var groups = try Fixture.group(of: clients)
        var messages: [String: [UInt8]] = [:]
        messages["application"] = try groups[0].encrypt(
            Array("secret".utf8), signingKey: clients[0].signingKey
        ).bytes
        for format in [WireFormat.privateMessage, .publicMessage] {
            groups[0].policy.handshakeFormat = format
            messages["proposal \(format.rawValue)"] = try groups[0].propose(
                .update(leaf: nil, newSigningKey: nil), signingKey: clients[0].signingKey,
                validator: Anyone(), at: Fixture.now
            ).bytes
            messages["commit \(format.rawValue)"] = try groups[0].commit(
                signingKey: clients[0].signingKey, validator: Anyone(), at: Fixture.now
            ).message
        }
        return (groups[1], messages)
    }

    private func expectRefused(_ message: [UInt8], by group: Group, _ note: String) {
        var copy = group
        let before = copy.serialized()
        #expect(throws: MLSError.self, "\(note)") {
            _ = try copy.process(message, validator: Anyone(), at: Fixture.now)
        }
        #expect(copy.serialized() == before, "\(note)")
    }

    @Test func `a changed bit anywhere is refused`() throws {
        let (group, messages) = try messages()
        for (name, message) in messages {
            for index in stride(from: 0, to: message.count, by: max(1, message.count / 100)) {
                var changed = message
                changed[index] ^= 1 << UInt8(index % 8)
                expectRefused(changed, by: group, "\(name) at \(index)")
            }
        }
    }

    @Test func `missing and surplus octets are refused`() throws {
        let (group, messages) = try messages()
        for (name, message) in messages {
            for count in stride(from: 0, to: message.count, by: max(1, message.count / 100)) {
                expectRefused(Array(message.prefix(count)), by: group, "\(name) cut at \(count)")
            }
            expectRefused(message + [0], by: group, "\(name) with one more")
        }
    }

    @Test func `messages of another group or a later epoch are refused`() throws {
        let (group, _) = try messages()
        let (_, others) = try messages()
        for (name, message) in others { expectRefused(message, by: group, name) }
        let clients = [try Client("a"), try Client("b")]
        var groups = try Fixture.group(of: clients)
        let commit = try groups[0].commit(by: clients[0])
        try groups[0].merge(commit, at: Fixture.now)
        let early = try groups[0].encrypt([1], signingKey: clients[0].signingKey).bytes
        expectRefused(early, by: groups[1], "early")
    }

    @Test(.timeLimit(.minutes(1)))
    func `an insider cannot make a receiver step its ratchet without end`() throws {
        let forgery = try Forgery()
        let messages = forgery.groups[0].current.messages
        // The sender data claims the last generation there is; no key need be known for that.
        let senderData = SenderData(
            leaf: forgery.own, generation: .max, reuseGuard: [0, 0, 0, 0])
        let ciphertext = Random.bytes(64)
        let aad = PrivateMessage.senderDataAAD(
            groupID: forgery.context.groupID, epoch: forgery.context.epoch, .application)
        let (key, nonce) = messages.senderDataSecret.keyAndNonce(
            for: ciphertext, algorithms: forgery.algorithms)
        let message = PrivateMessage(
            groupID: forgery.context.groupID, epoch: forgery.context.epoch,
            contentType: .application, authenticatedData: [],
            encryptedSenderData: try forgery.algorithms.seal(
                senderData.encoded(), key: key, nonce: nonce, authenticating: aad),
            ciphertext: ciphertext)
        #expect(throws: MLSError.keyUnavailable(generation: .max)) {
            try forgery.deliver(MLSMessage.privateMessage(message).encoded())
        }
    }

    @Test func `random octets are no message of any kind`() throws {
        let (group, _) = try messages()
        for count in 0..<300 {
            expectRefused(Random.bytes(count), by: group, "random")
            expectRefused([0, 1, 0, UInt8(count % 6)] + Random.bytes(count), by: group, "random")
        }
    }

    @Test func `a Welcome with a changed bit does not join`() throws {
        let clients = [try Client("a"), try Client("b")]
        var group = try Fixture.group(of: [clients[0]])[0]
        let bundle = try clients[1].bundle(group.suite)
        var content = CommitContent()
        content.adds = [bundle.keyPackage]
        let commit = try group.commit(content, by: clients[0])
        let welcome = try #require(commit.welcome)
        for index in stride(from: 0, to: welcome.count, by: 7) {
            var changed = welcome
            changed[index] ^= 0x10
            #expect(throws: MLSError.self) {
                _ = try Group.join(
                    welcome: changed, bundle: bundle, existing: [], validator: Anyone(),
                    at: Fixture.now)
            }
        }
    }
}
