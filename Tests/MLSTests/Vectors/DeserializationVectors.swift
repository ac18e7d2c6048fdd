import Cryptography
import TLSSyntax
import Testing

/// `vlbytes_header`, `length`: the header decodes to the length and is what the length encodes to.
@Suite(.enabled(if: VectorFile.isThere, "no vectors: set MLS_VECTORS"))
struct `Vectors: deserialization` {
    struct Case: Decodable {
        let vlbytesHeader: Hex
        let length: Int
    }

    @Test func `headers decode and encode`() throws {
        let cases = try VectorFile.cases("deserialization", as: Case.self)
        #expect(!cases.isEmpty)
        for entry in cases {
            var reader = TLSReader(entry.vlbytesHeader.bytes)
            #expect(try reader.readVectorLength() == entry.length)
            var writer = TLSWriter()
            writer.write(vectorLength: entry.length)
            #expect(writer.bytes == entry.vlbytesHeader.bytes)
        }
    }
}
