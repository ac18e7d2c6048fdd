import Cryptography
import Testing

@Suite struct `Guarded secrets and subkeys` {
    @Test func `a guarded secret gives copies and shows nothing`() throws {
        let guarded = try GuardedSecret(SecretBytes([1, 2, 3]))
        #expect(guarded.copy() == SecretBytes([1, 2, 3]))
        #expect(guarded.copy() == SecretBytes([1, 2, 3]))
        #expect("\(guarded)" == "GuardedSecret(3)")
        var shown = ""
        dump(guarded, to: &shown)
        #expect(!shown.contains("1, 2"))
    }

    @Test func `subkeys differ by number and by context`() throws {
        let key = SecretBytes((0..<32).map { UInt8($0) })
        let one = try Subkey.derive(1, of: key, context: "CurtTest")
        #expect(one == (try Subkey.derive(1, of: key, context: "CurtTest")))
        #expect(one != (try Subkey.derive(2, of: key, context: "CurtTest")))
        #expect(one != (try Subkey.derive(1, of: key, context: "CurtTes2")))
        #expect(throws: CryptographyError.self) {
            try Subkey.derive(1, of: key, context: "short")
        }
    }
}
