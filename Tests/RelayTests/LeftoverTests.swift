import Cryptography
import Foundation
import RelayCore
import TestSupport
import Testing

@testable import Relay

@Suite struct `A rehearsal that was killed` {
    /// Leaves what one leaves whose process is gone; its name.
    private func leave(in path: String) throws -> String {
        let name = "rehearsal.\(Int32.max).abcdef"
        try FileManager.default.createDirectory(
            atPath: path + "/" + name, withIntermediateDirectories: true)
        try Data(Random.bytes(10_000)).write(
            to: URL(fileURLWithPath: path + "/" + name + "/relay.sqlite"))
        return name
    }

    private func leftovers(in path: String) throws -> RelayCheck.Point? {
        try RelayCheck(folder: path).points.first { $0.name == "leftovers" }
    }

    @Test func `is named by check, one that goes on isn't`() throws {
        let place = try FolderWorld()
        try place.makeStore()
        #expect(try leftovers(in: place.path)?.standing == .good)
        let running = place.path + "/rehearsal.\(getpid()).abcdef"
        try FileManager.default.createDirectory(
            atPath: running, withIntermediateDirectories: true)
        #expect(try leftovers(in: place.path)?.standing == .good)
        let name = try leave(in: place.path)
        let copy = place.path + "/relay.sqlite.copy.77"
        try Data([1]).write(to: URL(fileURLWithPath: copy))
        let found = try leftovers(in: place.path)
        #expect(found?.standing == .attention)
        #expect(found?.words.contains(name) == true)
        #expect(found?.words.contains("relay.sqlite.copy.77") == true)
        // Whoever holds the folder may be making this one.
        let lock = try DataFolder(existing: place.path).lock(for: .serve)
        #expect(try leftovers(in: place.path)?.words.contains("copy") == false)
        lock.release()
        try FileManager.default.removeItem(atPath: place.path + "/" + name)
        unsafe unlink(copy)
        #expect(try leftovers(in: place.path)?.standing == .good)
    }

    @Test func `is removed by the relay while it runs`() throws {
        let folder = try TemporaryFolder()
        let path = folder.file("data")
        let server = try RelayServer.serving(path, clinicRoot: try SigningKey().publicKey) {
            $0.cleaningPeriod = .milliseconds(20)
        }
        let name = try leave(in: path)
        let isThere = { FileManager.default.fileExists(atPath: path + "/" + name) }
        for _ in 0..<3_000 where isThere() { usleep(10_000) }
        #expect(!isThere())
        server.stop()
        server.wait()
    }

    @Test func `is told in the log if it can't be removed`() throws {
        let folder = try TemporaryFolder()
        let path = folder.file("data")
        let lines = Lock<[String]>([])
        let log = LogOutput(.text, .warning) { line in lines.withLock { $0.append(line) } }.logger()
        let server = try RelayServer.serving(
            path, clinicRoot: try SigningKey().publicKey, log: log
        ) { $0.cleaningPeriod = .milliseconds(20) }
        let name = try leave(in: path)
        try FileManager.default.createDirectory(
            atPath: path + "/" + name + "/inside", withIntermediateDirectories: true)
        let isTold = { lines.withLock { $0 }.contains { $0.contains("removed name=\(name)\n") } }
        for _ in 0..<3_000 where !isTold() { usleep(10_000) }
        #expect(isTold())
        server.stop()
        server.wait()
    }
}
