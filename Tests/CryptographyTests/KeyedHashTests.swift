import Cryptography
import Testing

struct KeyedHashTests {
    @Test func `SipHash gives the reference value for octets 0 to 14`() throws {
        // Aumasson and Bernstein, "SipHash: a fast short-input PRF", appendix A.
        let hash = try ShortHash(key: SecretBytes(Array(0..<16)))
        #expect(hash.hash(Array(0..<15)) == 0xa129_ca61_49be_45e5)
    }

    @Test func `two numbers hash like their sixteen octets, least significant first`() throws {
        let hash = try ShortHash(key: .random(count: 16))
        let octets: [UInt8] = [1, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0]
        #expect(hash.hash(1, 0x102) == hash.hash(octets))
    }

    @Test func `a keyed hash depends on key, label and the bounds of fields`() throws {
        let key = SecretBytes.random(count: 32)
        let hash = try KeyedHash.compute(key: key, label: "a", [1, 2], [3])
        #expect(hash.count == 32)
        #expect(try KeyedHash.compute(key: key, label: "a", [1, 2], [3]) == hash)
        #expect(try KeyedHash.compute(key: key, label: "b", [1, 2], [3]) != hash)
        #expect(try KeyedHash.compute(key: key, label: "a", [1], [2, 3]) != hash)
        #expect(
            try KeyedHash.compute(key: .random(count: 32), label: "a", [1, 2], [3]) != hash)
    }

    @Test func `keys of the wrong size are refused`() {
        #expect(throws: CryptographyError.self) { try ShortHash(key: SecretBytes(count: 15)) }
        #expect(throws: CryptographyError.self) {
            try KeyedHash.compute(key: SecretBytes(count: 65), label: "a")
        }
    }
}
