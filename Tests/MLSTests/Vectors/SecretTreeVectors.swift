import Cryptography
import TLSSyntax
import Testing

@testable import MLS

/// `sender_data`, and per leaf the keys of generations 0 and 15 of both ratchets.
@Suite(.enabled(if: VectorFile.isThere, "no vectors: set MLS_VECTORS"))
struct `Vectors: secret tree` {
    struct Case: Decodable, SuiteCase {
        struct SenderData: Decodable {
            let senderDataSecret: Hex
            let ciphertext: Hex
            let key: Hex
            let nonce: Hex
        }
        struct Generation: Decodable {
            let generation: UInt32
            let applicationKey: Hex
            let applicationNonce: Hex
            let handshakeKey: Hex
            let handshakeNonce: Hex
        }
        let cipherSuite: UInt16
        let encryptionSecret: Hex
        let senderData: SenderData
        let leaves: [[Generation]]
    }

    @Test func `sender data keys`() throws {
        for entry in try VectorFile.cases("secret-tree", as: Case.self) {
            let algorithms = try #require(entry.algorithms)
            let (key, nonce) = SenderDataSecret(entry.senderData.senderDataSecret.secret)
                .keyAndNonce(for: entry.senderData.ciphertext.bytes, algorithms: algorithms)
            #expect(key == entry.senderData.key.secret)
            #expect(nonce == entry.senderData.nonce.bytes)
        }
    }

    @Test func `both ratchets of every leaf`() throws {
        let window = HashRatchet.Window(outOfOrder: 0, forward: .max)
        for entry in try VectorFile.cases("secret-tree", as: Case.self) {
            let algorithms = try #require(entry.algorithms)
            var tree = SecretTree(
                EncryptionSecret(entry.encryptionSecret.secret),
                width: LeafCount(holding: entry.leaves.count), algorithms: algorithms)
            // From the right, so that the tree is not opened up in order.
            for (index, generations) in entry.leaves.enumerated().reversed() {
                let leaf = LeafIndex(rawValue: UInt32(index))
                for expected in generations {
                    let (application, opened) = try tree.key(
                        of: leaf, .application, generation: expected.generation, window: window)
                    tree.keep(opened)
                    #expect(application.key == expected.applicationKey.secret)
                    #expect(application.nonce == expected.applicationNonce.secret)
                    let (handshake, openedAgain) = try tree.key(
                        of: leaf, .handshake, generation: expected.generation, window: window)
                    tree.keep(openedAgain)
                    #expect(handshake.key == expected.handshakeKey.secret)
                    #expect(handshake.nonce == expected.handshakeNonce.secret)
                }
            }
            #expect(tree.nodes.isEmpty)
        }
    }
}
