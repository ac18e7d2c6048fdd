import TestSupport
import Testing

@testable import Cryptography

/// `isPublicKey` against the libraries, which say what they think of a key only by using it.
@Suite struct `A public key of a KEM` {
    private func compare(_ key: [UInt8], _ algorithms: CipherAlgorithms, _ expected: Bool) {
        let output = try? HPKESetup(info: [], algorithms: algorithms).seal(
            SecretBytes([1]), to: key)
        #expect((output != nil) == expected, "\(key.prefix(3))")
        #expect(algorithms.isPublicKey(key) == expected, "\(key.prefix(3))")
    }

    /// Keys of X25519, and whether they are good.
    private func points(_ random: inout SeededGenerator) -> [([UInt8], Bool)] {
        var points: [([UInt8], Bool)] = []
        for point in SmallOrder.points {
            var other = point
            other[31] |= 0x80
            var near = point
            near[7] ^= 1
            points += [(point, false), (other, false), (near, true)]
        }
        for _ in 0..<10 { points.append((random.bytes(32), true)) }
        return points
    }

    @Test func `is one exactly if the library encapsulates to it`() throws {
        var random = SeededGenerator(seed: 8)
        for (point, isGood) in points(&random) {
            compare(point, .x25519ChaCha20SHA256, isGood)
        }
        for key in [[], random.bytes(31), random.bytes(33), random.bytes(1_216)] {
            compare(key, .x25519AES128SHA256, false)
        }
    }

    @Test func `of the hybrid suite has both halves looked at`() throws {
        var random = SeededGenerator(seed: 9)
        let good = try HPKEPrivateKey.generate(.xwingAES256SHA384).publicKey
        compare(good, .xwingAES256SHA384, true)
        for (point, isGood) in points(&random) {
            compare(good.dropLast(32) + point, .xwingAES256SHA384, isGood)
        }
        // Any of the 768 numbers of 12 bits.
        for index in [0, 1, 2, 255, 256, 511, 766, 767] {
            for (number, isGood) in [(3_328, true), (3_329, false), (4_095, false)] {
                var key = good
                let octet = index / 2 * 3
                if index.isMultiple(of: 2) {
                    key[octet] = UInt8(number & 0xff)
                    key[octet + 1] = key[octet + 1] & 0xf0 | UInt8(number >> 8)
                } else {
                    key[octet + 1] = key[octet + 1] & 0x0f | UInt8(number & 0x0f) << 4
                    key[octet + 2] = UInt8(number >> 4)
                }
                compare(key, .xwingAES256SHA384, isGood)
            }
        }
        var seeded = good
        for index in 1_152..<1_184 { seeded[index] = 0xff }
        compare(seeded, .xwingAES256SHA384, true)
        for key in [[], Array(good.dropLast()), good + [0]] {
            compare(key, .xwingAES256SHA384, false)
        }
    }
}
