import Cryptography
import TLSSyntax
import Testing

@testable import MLS

/// A proposal, a commit and application data, in the clear, as PublicMessage and as PrivateMessage,
/// from leaf 1 of a group of two.
@Suite(.enabled(if: VectorFile.isThere, "no vectors: set MLS_VECTORS"))
struct `Vectors: message protection` {
    struct Case: Decodable, SuiteCase {
        let cipherSuite: UInt16
        let groupId: Hex
        let epoch: UInt64
        let treeHash: Hex
        let confirmedTranscriptHash: Hex
        let signaturePriv: Hex
        let signaturePub: Hex
        let encryptionSecret: Hex
        let senderDataSecret: Hex
        let membershipKey: Hex
        let proposal: Hex
        let proposalPub: Hex
        let proposalPriv: Hex
        let commit: Hex
        let commitPub: Hex
        let commitPriv: Hex
        let application: Hex
        let applicationPriv: Hex

        /// A fresh epoch whose two leaves have the sender's key.
        func messages() throws -> MessageEpoch {
            let algorithms = try #require(algorithms)
            let context = GroupContext(
                cipherSuite: algorithms.suite, groupID: groupId.bytes, epoch: epoch,
                treeHash: treeHash.bytes,
                confirmedTranscriptHash: confirmedTranscriptHash.bytes, extensions: [])
            let leaf = try LeafNode(
                LeafConfiguration(credential: .basic(identity: [1])),
                encryptionKey: HPKEPrivateKey.generate(algorithms).publicKey,
                source: .keyPackage(Lifetime(notBefore: 0, notAfter: 1)), place: nil,
                signingKey: signingKey(), algorithms: algorithms)
            var tree = RatchetTree(leaf, algorithms: algorithms)
            _ = try tree.add(leaf)
            return MessageEpoch(
                groupID: groupId.bytes, epoch: epoch, context: context.encoded(), tree: tree,
                senderDataSecret: SenderDataSecret(senderDataSecret.secret),
                secretTree: SecretTree(
                    EncryptionSecret(encryptionSecret.secret), width: tree.width,
                    algorithms: algorithms))
        }

        func signingKey() throws -> SigningKey { try SigningKey(seed: signaturePriv.secret) }

        func contents() throws -> [(MessageContent, pub: Hex?, priv: Hex)] {
            [
                (.proposal(try Proposal(decoding: proposal.bytes)), proposalPub, proposalPriv),
                (.commit(try Commit(decoding: commit.bytes)), commitPub, commitPriv),
                (.application(application.bytes), nil, applicationPriv),
            ]
        }

        func signed(
            _ content: MessageContent, _ form: WireFormat, in messages: MessageEpoch
        ) throws -> AuthenticatedContent {
            let framed = FramedContent(
                groupID: groupId.bytes, epoch: epoch,
                sender: .member(LeafIndex(rawValue: 1)), authenticatedData: [7],
                content: content)
            let signature = try framed.signature(
                wireFormat: form, context: messages.context, key: signingKey(),
                algorithms: messages.algorithms)
            return AuthenticatedContent(
                wireFormat: form, content: framed,
                auth: FramedContentAuthData(
                    signature: signature,
                    confirmationTag: content.type == .commit
                        ? [UInt8](repeating: 3, count: messages.algorithms.hashByteCount) : nil))
        }
    }

    private let window = HashRatchet.Window(outOfOrder: 0, forward: .max)

    private func open(_ bytes: [UInt8], in messages: MessageEpoch) throws -> MessageContent? {
        guard case .privateMessage(let message) = try MLSMessage(decoding: bytes),
            case .content(let verified, _) = try messages.unprotect(
                message, ownLeaf: nil, window: window)
        else { return nil }
        return verified.content.content
    }

    @Test func `given messages open`() throws {
        let cases = try VectorFile.cases("message-protection", as: Case.self)
        #expect(!cases.isEmpty)
        for entry in cases {
            for (content, pub, priv) in try entry.contents() {
                let messages = try entry.messages()
                #expect(try open(priv.bytes, in: messages) == content)
                guard let pub else { continue }
                guard case .publicMessage(let message) = try MLSMessage(decoding: pub.bytes)
                else {
                    Issue.record("not a PublicMessage")
                    continue
                }
                let verified = try messages.unprotect(
                    message, membershipKey: MembershipKey(entry.membershipKey.secret),
                    extensions: [])
                #expect(verified.content.content == content)
            }
        }
    }

    @Test func `own messages open`() throws {
        for entry in try VectorFile.cases("message-protection", as: Case.self) {
            for (content, _, _) in try entry.contents() {
                let messages = try entry.messages()
                let (message, generation, _) = try messages.protect(
                    try entry.signed(content, .privateMessage, in: messages),
                    from: LeafIndex(rawValue: 1), padding: .multiple(of: 64))
                #expect(generation == 0)
                #expect(
                    try open(MLSMessage.privateMessage(message).encoded(), in: messages)
                        == content)

                let key = MembershipKey(entry.membershipKey.secret)
                let signed = try entry.signed(content, .publicMessage, in: messages)
                guard content.type != .application else {
                    #expect(throws: MLSError.misuse(.wrongMessageKind)) {
                        _ = try messages.protectPublicly(signed, membershipKey: key)
                    }
                    continue
                }
                let open = try messages.protectPublicly(signed, membershipKey: key)
                let verified = try messages.unprotect(open, membershipKey: key, extensions: [])
                #expect(verified.content.content == content)
            }
        }
    }
}
