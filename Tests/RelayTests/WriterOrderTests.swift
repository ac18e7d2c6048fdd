import Cryptography
import Dispatch
import GRDB
import RelayCore
import RelayProtocol
import Testing

@testable import Relay

/// In which order the writer does what a batch needs.
@Suite(.timeLimit(.minutes(5))) struct `The writer` {
    /// What somebody else finds on the disk at the moment when a batch is let go.
    private struct Sight {
        var frames: [RelayFrame]
        var mailboxCount: Int
        var commands: [String]
        var completedSyncs: Int
    }

    private final class Witness: Sendable {
        let sights = Lock<[Sight]>([])
        let hasSeen = DispatchSemaphore(value: 0)
        let path = Lock("")
        /// As of the last batch that said that it was durable.
        let completedSyncs = Lock(0)

        func look(_ release: RelayRelease) {
            guard !release.outputs.isEmpty else { return }
            let path = path.withLock { $0 }
            var readonly = Configuration()
            readonly.readonly = true
            let count = try? DatabaseQueue(path: path + "/relay.sqlite", configuration: readonly)
                .read { try Int.fetchOne($0, sql: "SELECT count(*) FROM mailbox_name") }
            let entries = try? TrailAudit(folder: path, last: 20).entries
            let sight = Sight(
                frames: release.outputs.map(\.frame),
                mailboxCount: (count ?? nil) ?? -1,
                commands: (entries ?? []).compactMap { TrailEvent($0)?["name"] },
                completedSyncs: completedSyncs.withLock { $0 })
            sights.withLock { $0.append(sight) }
            hasSeen.signal()
        }

        func next() throws -> Sight {
            try #require(hasSeen.wait(timeout: .now() + 60) == .success)
            return try #require(sights.withLock { $0.last })
        }
    }

    @Test func `lets nothing go before it is committed, synced and in the trail`() throws {
        let witness = Witness()
        let lone = try LoneWriter { witness.look($0) }
        witness.path.withLock { $0 = lone.path }
        let line = RelayCore.ConnectionID(rawValue: 7)
        let nonce = Random.bytes(ProtocolConstants.nonceByteCount)
        lone.takeTogether([
            .opened(line), .frame(line, ClientFrame(hello: Hello(nonce: nonce)), byteCount: 1),
        ])
        let challenge = try #require(try witness.next().frames.first?.challenge)

        let key = try SigningKey()
        let mailbox = try #require(MailboxID(key.publicKey.bytes))
        let creation = Opening.Creation.home(
            admissionToken: try AdmissionToken(
                relayKey: lone.identity, serial: Random.bytes(AdmissionToken.serialByteCount),
                expires: lone.writer.clock.now.unixSeconds + 3_600, clinicRoot: lone.clinic
            ).encoded())
        let proof = OpeningProof(
            relayKey: lone.identity, clientNonce: nonce, relayNonce: challenge.nonce)
        let opening = Opening(
            counter: 1, signature: try proof.sign(with: key, counter: 1, creation: creation),
            creation: creation)
        let before = Lock(-1)
        lone.takeTogether([
            .frame(
                line,
                ClientFrame(requests: [
                    Request(mailbox: mailbox, id: .opening, operation: .open(opening))
                ]), byteCount: 1),
            .task { desk in
                desk.trail.note(TrailEvent(.command, [("name", "beside it")]))
                before.withLock { $0 = desk.store.syncCount }
                desk.afterCommit { desk in
                    witness.completedSyncs.withLock { $0 = desk.store.syncCount }
                }
            },
        ])
        let sight = try witness.next()
        guard case .opened? = sight.frames.first?.replies.first?.outcome else {
            Issue.record("it isn't opened")
            return
        }
        #expect(sight.mailboxCount == 1)
        #expect(sight.commands == ["beside it"])
        #expect(sight.completedSyncs == before.withLock { $0 } + 1)
        lone.writer.events.add(.stop)
        #expect(lone.hasEnded())
    }
}
