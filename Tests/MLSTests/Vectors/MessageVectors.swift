import Cryptography
import TLSSyntax
import Testing

@testable import MLS

/// One structure per field: decoding takes all bytes, encoding gives them back.
@Suite(.enabled(if: VectorFile.isThere, "no vectors: set MLS_VECTORS")) struct `Vectors: messages` {
    @Test func `structures survive decoding and encoding`() throws {
        let cases = try VectorFile.cases("messages", as: [String: Hex].self)
        #expect(!cases.isEmpty)
        for entry in cases {
            for (field, hex) in entry {
                #expect(try reencoded(hex.bytes, as: field) == hex.bytes, "\(field)")
            }
        }
    }

    @Test func `truncated structures are refused, whatever the length`() throws {
        let entry = try #require(VectorFile.cases("messages", as: [String: Hex].self).first)
        for (field, hex) in entry {
            for count in 0..<hex.bytes.count {
                #expect(throws: (any Error).self) {
                    _ = try reencoded(Array(hex.bytes.prefix(count)), as: field)
                }
            }
            #expect(throws: (any Error).self) { _ = try reencoded(hex.bytes + [0], as: field) }
        }
    }

    private func reencoded(_ bytes: [UInt8], as field: String) throws -> [UInt8] {
        switch field {
        case "ratchet_tree":
            return try RatchetTree(decoding: bytes, algorithms: .x25519AES128SHA256).encoded()
        case "group_secrets":
            return try GroupSecrets(decoding: .init(bytes)).encoded().exposedCopy()
        case "commit": return try Commit(decoding: bytes).encoded()
        case "add_proposal": return try body(.add, bytes)
        case "update_proposal": return try body(.update, bytes)
        case "remove_proposal": return try body(.remove, bytes)
        case "pre_shared_key_proposal": return try body(.preSharedKey, bytes)
        case "re_init_proposal": return try body(.reInit, bytes)
        case "external_init_proposal": return try body(.externalInit, bytes)
        case "group_context_extensions_proposal": return try body(.groupContextExtensions, bytes)
        case "mls_welcome", "mls_group_info", "mls_key_package", "private_message",
            "public_message_application", "public_message_proposal", "public_message_commit":
            return try MLSMessage(decoding: bytes).encoded()
        default:
            Issue.record("unknown field \(field)")
            return []
        }
    }

    private func body(_ type: ProposalType, _ bytes: [UInt8]) throws -> [UInt8] {
        var reader = TLSReader(bytes)
        let proposal = try Proposal(type, from: &reader)
        try reader.finish()
        var writer = TLSWriter()
        proposal.encodeBody(to: &writer)
        return writer.bytes
    }
}
