import Cryptography
import Testing

struct PrimitivesTests {
    @Test func `a signature holds for its key, content and purpose only`() throws {
        let key = try SigningKey()
        let signature = try key.sign(label: "test", [1, 2], [3])
        #expect(key.publicKey.isValid(signature: signature, label: "test", [1, 2], [3]))
        #expect(!key.publicKey.isValid(signature: signature, label: "test", [1], [2, 3]))
        #expect(!key.publicKey.isValid(signature: signature, label: "other", [1, 2], [3]))
        #expect(
            try !SigningKey().publicKey.isValid(signature: signature, label: "test", [1, 2], [3]))
        #expect(!key.publicKey.isValid(signature: Array(signature.dropLast()), for: [1]))
        #expect(try SigningKey(seed: key.seed).publicKey == key.publicKey)
    }

    @Test func `RFC 8032 test 2 signs and verifies`() throws {
        let seed: [UInt8] = [
            0x4c, 0xcd, 0x08, 0x9b, 0x28, 0xff, 0x96, 0xda, 0x9d, 0xb6, 0xc3, 0x46, 0xec, 0x11,
            0x4e, 0x0f, 0x5b, 0x8a, 0x31, 0x9f, 0x35, 0xab, 0xa6, 0x24, 0xda, 0x8c, 0xf6, 0xed,
            0x4f, 0xb8, 0xa6, 0xfb,
        ]
        let publicKey: [UInt8] = [
            0x3d, 0x40, 0x17, 0xc3, 0xe8, 0x43, 0x89, 0x5a, 0x92, 0xb7, 0x0a, 0xa7, 0x4d, 0x1b,
            0x7e, 0xbc, 0x9c, 0x98, 0x2c, 0xcf, 0x2e, 0xc4, 0x96, 0x8c, 0xc0, 0xcd, 0x55, 0xf1,
            0x2a, 0xf4, 0x66, 0x0c,
        ]
        let key = try SigningKey(seed: SecretBytes(seed))
        #expect(key.publicKey.bytes == publicKey)
        #expect(key.publicKey.isValid(signature: try key.sign([0x72]), for: [0x72]))
    }

    @Test func `a sealed text opens with its key and context and not when a bit is flipped`() throws
    {
        let key = SecretBytes.random(count: 32)
        let sealed = try Sealing.seal(Array("text".utf8), key: key, associatedData: [1])
        #expect(try Sealing.open(sealed, key: key, associatedData: [1]) == Array("text".utf8))
        #expect(
            try Sealing.openSecret(sealed, key: key, associatedData: [1])
                == SecretBytes(Array("text".utf8)))
        #expect(throws: CryptographyError.authenticationFailed) {
            try Sealing.open(sealed, key: key, associatedData: [2])
        }
        for bit in 0..<(sealed.count * 8) {
            var flipped = sealed
            flipped[bit / 8] ^= 1 << (bit % 8)
            #expect(throws: CryptographyError.authenticationFailed) {
                try Sealing.open(flipped, key: key, associatedData: [1])
            }
        }
        for count in 0..<sealed.count {
            #expect(throws: CryptographyError.self) {
                try Sealing.open(Array(sealed.prefix(count)), key: key, associatedData: [1])
            }
        }
    }

    @Test func `the same passphrase gives the same key, another salt another`() throws {
        let passphrase = SecretBytes(Array("correct horse".utf8))
        let salt = Random.bytes(16)
        let key = try PasswordHash.deriveKey(from: passphrase, salt: salt, cost: .minimal)
        #expect(
            try PasswordHash.deriveKey(from: passphrase, salt: salt, cost: .minimal) == key)
        #expect(
            try PasswordHash.deriveKey(from: passphrase, salt: Random.bytes(16), cost: .minimal)
                != key)
        #expect(try PasswordHash.Cost(validating: 3, memoryKiB: 65_536).passes == 3)
        #expect(throws: CryptographyError.self) {
            try PasswordHash.Cost(validating: 1, memoryKiB: .max)
        }
    }
}
