import Cryptography
import Foundation
import GRDB
import TestSupport
import Testing

@testable import Vault

/// One transaction of the crash tests: the same number in three places, and one more message.
private func step(_ vault: Vault, _ number: Vault.ConsultationNumber) throws {
    try vault.write { transaction in
        let last = try transaction.value(at: 0, of: .settings, in: .person) ?? [0, 0]
        let next = (UInt16(bigEndian: last) + 1).bigEndianBytes
        try transaction.put(next, at: 0, of: .settings, in: .person)
        try transaction.append(
            next + [UInt8](repeating: 7, count: 1500), to: .messages, in: .consultation(number))
        try transaction.put(next, for: [1], of: .settings, in: .consultation(number))
    }
}

/// How many transactions the vault holds, having checked that each is there wholly or not at all.
private func wholeSteps(_ vault: Vault, _ number: Vault.ConsultationNumber) throws -> Int {
    try vault.check()
    return try vault.read { transaction in
        let scope = Vault.Scope.consultation(number)
        let here = try transaction.value(at: 0, of: .settings, in: .person) ?? [0, 0]
        let there = try transaction.value(for: [1], of: .settings, in: scope) ?? [0, 0]
        let count = try transaction.count(of: .messages, in: scope)
        #expect(here == there)
        #expect(Int(UInt16(bigEndian: here)) == count)
        let messages = try transaction.records(of: .messages, in: scope)
        #expect(messages.map { Int($0.number) } == Array(0..<count).map { $0 + 1 })
        return count
    }
}

@Suite(.timeLimit(.minutes(2))) struct `Crashes` {
    @Test func `a log cut off anywhere holds a prefix of the transactions`() throws {
        let home = try Home()
        let vault = try home.create()
        let number = try vault.write { try $0.createConsultation() }
        try vault.completeErasures()
        // Copies as a power cut would leave them: the file, and the log up to some octet.
        _ = try vault.queue.writeWithoutTransaction { try $0.checkpoint(.truncate) }
        for _ in 0..<8 { try step(vault, number) }
        let whole = try Home(copying: home)
        let length = try #require(try whole.folder.contents()[Vault.fileName + "-wal"]?.count)
        var seen: Set<Int> = []
        for cut in Array(stride(from: 0, to: length, by: 2777)) + [length] {
            let copy = try Home(copying: whole)
            try copy.overwrite(Vault.fileName + "-wal") { $0 = $0.prefix(cut) }
            seen.insert(try wholeSteps(try copy.open(), number))
        }
        #expect(seen == Set(0...8))
    }

    @Test func `a process killed at any instant loses nothing that write returned`() async throws {
        let folder = try TemporaryFolder()
        let vault = try Vault.create(at: folder.path, passphrase: passphrase, cost: .minimal)
        let number = try vault.write { try $0.createConsultation() }
        vault.close()
        var random = SeededGenerator(seed: 9)
        var (rounds, found) = (0, 0)
        // A slow machine's children get more time, until some get to work.
        while rounds < 5 || (found == 0 && rounds < 40) {
            rounds += 1
            let path = folder.path
            let delay = UInt32.random(in: 500...60_000, using: &random) << UInt32(rounds / 8)
            await #expect(processExitsWith: .signal(SIGKILL)) {
                [path = path as String, delay = delay as UInt32] in
                let vault = try Vault.open(
                    at: path, passphrase: SecretBytes(Array("correct horse battery staple".utf8)))
                let number = Vault.ConsultationNumber(rawValue: 1)
                Thread.detachNewThread {
                    usleep(delay)
                    kill(getpid(), SIGKILL)
                }
                for _ in 0..<1_000_000 {
                    try step(vault, number)
                    let done = try wholeSteps(vault, number)
                    try Data("\(done)".utf8).write(to: URL(fileURLWithPath: path + "/returned"))
                }
            }
            let survivor = try Vault.open(at: folder.path, passphrase: passphrase)
            found = try wholeSteps(survivor, number)
            let told = try? String(contentsOfFile: folder.file("returned"), encoding: .utf8)
            // The note may be torn by the kill itself; a whole one is never ahead of the vault.
            if let told, let returned = Int(told) { #expect(found >= returned) }
            survivor.close()
        }
        #expect(found > 0, "the children must have got to work")
    }

    @Test func `a crash while the vault is made leaves none, and the next attempt works`() throws {
        let home = try Home()
        try Data([1, 2, 3]).write(
            to: URL(fileURLWithPath: home.folder.file(Vault.fileName + ".new")))
        #expect(refusal { _ = try home.open() } == .noVault)
        try home.create().check()
    }
}
