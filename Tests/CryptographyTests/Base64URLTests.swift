import Cryptography
import Testing

struct Base64URLTests {
    @Test func `octets come back`() {
        for count in 0..<20 {
            let bytes = (0..<count).map { UInt8($0 * 13 & 0xFF) }
            #expect(Base64URL.decode(Base64URL.encode(bytes).utf8) == bytes)
        }
        #expect(Base64URL.encode([0xFB, 0xFF]) == "-_8")
    }

    @Test(arguments: [
        "AB", "A", "AA=", "AA==", "A A", "AA\n", "+A", "_", "AAAAA", "-_8=", "+/8", "-_9", "é",
    ])
    func `there is one spelling only`(text: String) {
        #expect(Base64URL.decode(text.utf8) == nil)
    }
}
