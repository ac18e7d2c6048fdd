import Cryptography
import TLSSyntax
import Testing

@testable import MLS

/// A commit, the interim hash before it, and both hashes after it.
@Suite(.enabled(if: VectorFile.isThere, "no vectors: set MLS_VECTORS"))
struct `Vectors: transcript hashes` {
    struct Case: Decodable, SuiteCase {
        let cipherSuite: UInt16
        let confirmationKey: Hex
        let authenticatedContent: Hex
        let interimTranscriptHashBefore: Hex
        let confirmedTranscriptHashAfter: Hex
        let interimTranscriptHashAfter: Hex
    }

    @Test func `both hashes and the tag`() throws {
        for entry in try VectorFile.cases("transcript-hashes", as: Case.self) {
            let algorithms = try #require(entry.algorithms)
            let content = try AuthenticatedContent(decoding: entry.authenticatedContent.bytes)
            let tag = try #require(content.auth.confirmationTag)
            let confirmed = Transcript.confirmedHash(
                after: entry.interimTranscriptHashBefore.bytes, content, algorithms: algorithms)
            #expect(confirmed == entry.confirmedTranscriptHashAfter.bytes)
            #expect(
                ConfirmationKey(entry.confirmationKey.secret).tag(
                    confirmedTranscriptHash: confirmed, algorithms: algorithms) == tag)
            #expect(
                Transcript.interimHash(
                    after: confirmed, confirmationTag: tag, algorithms: algorithms)
                    == entry.interimTranscriptHashAfter.bytes)
        }
    }
}
