import Cryptography
import Foundation
import GRDB
import TestSupport

@testable import Vault

extension Vault.Collection {
    static let messages = Self(rawValue: 1)
    static let settings = Self(rawValue: 2)
}

let passphrase = SecretBytes(Array("correct horse battery staple".utf8))

/// A vault in a folder of its own, cheap to open.
struct Home {
    let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
    }

    /// A copy of another home's files, as a thief or a backup would take it.
    init(copying other: Home) throws {
        folder = try TemporaryFolder()
        for (name, data) in try other.folder.contents() where name != "vault.lock" {
            try data.write(to: URL(fileURLWithPath: folder.file(name)))
        }
    }

    func create() throws -> Vault {
        try Vault.create(at: folder.path, passphrase: passphrase, cost: .minimal)
    }

    func open(_ secret: SecretBytes = passphrase) throws -> Vault {
        try Vault.open(at: folder.path, passphrase: secret)
    }

    var databasePath: String { folder.file(Vault.fileName) }

    /// Changes the closed vault's tables behind its back.
    func tamper(_ sql: String, _ arguments: StatementArguments = []) throws {
        let queue = try DatabaseQueue(path: databasePath)
        try queue.writeWithoutTransaction { try $0.execute(sql: sql, arguments: arguments) }
        try queue.close()
    }

    func overwrite(_ name: String = Vault.fileName, _ change: (inout Data) -> Void) throws {
        let url = URL(fileURLWithPath: folder.file(name))
        var data = try Data(contentsOf: url)
        change(&data)
        try data.write(to: url)
    }
}

/// The `VaultError` that `body` throws, or nil.
func refusal(_ body: () throws -> Void) -> VaultError? {
    do {
        try body()
        return nil
    } catch {
        return error as? VaultError
    }
}
