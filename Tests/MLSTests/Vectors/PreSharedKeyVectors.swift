import Cryptography
import TLSSyntax
import Testing

@testable import MLS

/// Up to ten external keys, combined in their order.
@Suite(.enabled(if: VectorFile.isThere, "no vectors: set MLS_VECTORS")) struct `Vectors: PSK secret`
{
    struct Case: Decodable, SuiteCase {
        struct Key: Decodable {
            let pskId: Hex
            let psk: Hex
            let pskNonce: Hex
        }
        let cipherSuite: UInt16
        let psks: [Key]
        let pskSecret: Hex
    }

    @Test func `keys combine`() throws {
        let cases = try VectorFile.cases("psk_secret", as: Case.self)
        #expect(!cases.isEmpty)
        for entry in cases {
            var keys = PreSharedKeys()
            for key in entry.psks { keys.provide(key.psk.secret, externalID: key.pskId.bytes) }
            let combined = try keys.combined(
                entry.psks.map {
                    PreSharedKeyID(source: .external(id: $0.pskId.bytes), nonce: $0.pskNonce.bytes)
                }, algorithms: #require(entry.algorithms))
            #expect(combined.bytes == entry.pskSecret.secret)
        }
    }
}
