import Cryptography
import Testing

struct SecretBytesTests {
    @Test func `a secret shows neither in descriptions nor in dumps`() {
        let secret = SecretBytes(Array("marker-7f3a".utf8))
        var dumped = ""
        dump(secret, to: &dumped)
        let texts = ["\(secret)", String(reflecting: secret), dumped, "\(Optional(secret) as Any)"]
        for text in texts {
            #expect(!text.contains("marker-7f3a"))
            #expect(!text.contains("109"))
        }
        #expect("\(secret)" == "SecretBytes(11)")
    }

    @Test func `secrets compare by content`() {
        #expect(SecretBytes([1, 2, 3]) == SecretBytes([1, 2, 3]))
        #expect(SecretBytes([1, 2, 3]) != SecretBytes([1, 2, 4]))
        #expect(SecretBytes([1, 2]) != SecretBytes([1, 2, 3]))
        #expect(SecretBytes(count: 0) == SecretBytes([]))
        #expect(SecretBytes.random(count: 32) != SecretBytes.random(count: 32))
    }

    @Test func `a slice holds just its part`() {
        #expect(SecretBytes([1, 2, 3, 4]).slice(1..<3) == SecretBytes([2, 3]))
    }
}
