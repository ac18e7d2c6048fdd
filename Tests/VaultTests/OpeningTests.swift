import Cryptography
import Foundation
import GRDB
import TestSupport
import Testing

@testable import Vault

@Suite struct `Opening` {
    @Test func `a wrong passphrase is told, and nothing else`() throws {
        let home = try Home()
        try home.create().close()
        let before = try home.folder.contents()[Vault.fileName]
        #expect(refusal { _ = try home.open(SecretBytes([1])) } == .wrongPassphrase)
        #expect(refusal { _ = try home.open(SecretBytes([])) } == .wrongPassphrase)
        #expect(try home.folder.contents()[Vault.fileName] == before)
        _ = try home.open()
    }

    @Test func `no vault, a second vault and a foreign file are told apart`() throws {
        let home = try Home()
        #expect(refusal { _ = try home.open() } == .noVault)
        #expect(try home.folder.contents().isEmpty)
        try home.create().close()
        #expect(refusal { _ = try home.create() } == .alreadyExists)
        for foreign in [[], [UInt8](repeating: 7, count: 9000)] {
            try home.overwrite { $0 = Data(foreign) }
            #expect(refusal { _ = try home.open() } == .notAVault)
        }
    }

    @Test func `another program's database and a newer vault are refused unchanged`() throws {
        let home = try Home()
        try home.create().close()
        for (pragma, expected) in [
            ("user_version = 7", VaultError.newerVersion(7)),
            ("user_version = 0", .damaged(.file)),
            ("application_id = 7", .notAVault),
        ] {
            let copy = try Home(copying: home)
            try copy.tamper("PRAGMA journal_mode = DELETE; PRAGMA \(pragma)")
            let before = try copy.folder.contents()[Vault.fileName]
            #expect(refusal { _ = try copy.open() } == expected)
            #expect(try copy.folder.contents()[Vault.fileName] == before)
        }
    }

    @Test func `a trigger put into the file is refused`() throws {
        let home = try Home()
        try home.create().close()
        try home.tamper(
            """
            CREATE TRIGGER sneaky AFTER INSERT ON person_records BEGIN
                DELETE FROM person_records; END
            """)
        #expect(refusal { _ = try home.open() } == .damaged(.file))
    }

    @Test func `a second opening is told who holds the vault`() throws {
        let home = try Home()
        let vault = try home.create()
        let error = refusal { _ = try home.open() }
        guard case .inUse(let holder) = error else {
            Issue.record("expected inUse, got \(String(describing: error))")
            return
        }
        #expect(holder?.processID == ProcessInfo.processInfo.processIdentifier)
        #expect(holder?.command?.isEmpty == false)
        #expect(refusal { _ = try home.create() } == .inUse(by: holder))
        vault.close()
        _ = try home.open()
    }

    @Test func `files and a new home are closed to others`() throws {
        let folder = try TemporaryFolder()
        let home = folder.file("new/home")
        let vault = try Vault.create(at: home, passphrase: passphrase, cost: .minimal)
        try vault.write { try $0.put([1], at: 1, of: .messages, in: .person) }
        func mode(_ path: String) throws -> Int? {
            try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
        }
        #expect(try mode(home) == 0o700)
        for name in try FileManager.default.contentsOfDirectory(atPath: home) {
            #expect(try mode(home + "/" + name) == 0o600, "\(name)")
        }
        vault.close()
        let names = Set(try FileManager.default.contentsOfDirectory(atPath: home))
        #expect(names == [Vault.fileName, "vault.lock"])
        let file = home + "/" + Vault.fileName
        try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: file)
        _ = try Vault.open(at: home, passphrase: passphrase)
        #expect(try mode(file) == 0o600)
    }

    @Test func `a changed passphrase opens, the old one doesn't, and its wrap is gone`() throws {
        let home = try Home()
        let vault = try home.create()
        let number = try vault.write { transaction in
            try transaction.put([5], at: 1, of: .messages, in: .person)
            return try transaction.createConsultation()
        }
        let key = try vault.passphraseKey(passphrase)
        let wraps = try vault.queue.writeWithoutTransaction { try Vault.header($0).encoded }
        let next = SecretBytes([1, 2, 3])
        #expect(
            refusal { try vault.changePassphrase(from: next, to: next, cost: .minimal) }
                == .wrongPassphrase)
        try vault.changePassphrase(from: passphrase, to: next, cost: .minimal)
        #expect(refusal { _ = try vault.passphraseKey(passphrase) } == .wrongPassphrase)
        #expect(try vault.passphraseKey(next) == key)
        for (name, data) in try home.folder.contents() {
            for offset in [40, 80, 112, 150] {
                #expect(data.range(of: Data(wraps[offset..<offset + 16])) == nil, "\(name)")
            }
        }
        vault.close()
        #expect(refusal { _ = try home.open() } == .wrongPassphrase)
        let again = try home.open(next)
        #expect(try again.read { try $0.value(at: 1, of: .messages, in: .person) } == [5])
        try again.write { try $0.put([6], at: 1, of: .messages, in: .consultation(number)) }
        try again.check()
    }

    @Test func `a header that asks for too much work is refused at once`() throws {
        let home = try Home()
        try home.create().close()
        for (passes, memory) in [(UInt32.max, UInt32(8192)), (1, .max), (0, 8192), (1, 0)] {
            let copy = try Home(copying: home)
            try copy.tamper(
                """
                UPDATE header SET cell =
                    CAST(substr(cell, 1, 16) || ? || substr(cell, 25) AS BLOB)
                """, [Data(passes.bigEndianBytes + memory.bigEndianBytes)])
            #expect(refusal { _ = try copy.open() } == .damaged(.header))
        }
    }

    @Test func `opening and a small write are quick`() throws {
        let home = try Home()
        let vault = try home.create()
        try vault.write { transaction in
            for _ in 0..<30 {
                let number = try transaction.createConsultation()
                try transaction.put([1], at: 1, of: .messages, in: .consultation(number))
            }
        }
        vault.close()
        // Generous, and the quickest of ten: the machine may be busy. The figure itself is in the
        // benchmarks.
        func quickest(_ body: () throws -> Void) throws -> Duration {
            let times = try (0..<10).map { _ in try ContinuousClock().measure(body) }
            return try #require(times.min())
        }
        let whole = try quickest { try home.open().close() }
        let stretching = try quickest {
            _ = try PasswordHash.deriveKey(
                from: passphrase, salt: [UInt8](repeating: 1, count: 16), cost: .minimal)
        }
        #expect(whole - stretching < .milliseconds(500))
    }
}
