import Cryptography
import Foundation
import Logging
import TestSupport
import Testing
import WebSockets

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
        let lock = try DataFolder(existing: place.path).lock()
        #expect(try leftovers(in: place.path)?.words.contains("copy") == false)
        lock.release()
        try FileManager.default.removeItem(atPath: place.path + "/" + name)
        unsafe unlink(copy)
        #expect(try leftovers(in: place.path)?.standing == .good)
    }

    @Test func `is removed by the relay while it runs`() throws {
        let folder = try TemporaryFolder()
        let path = folder.file("data")
        var configuration = RelayConfiguration(
            dataFolder: path, clinicRoot: try SigningKey().publicKey)
        configuration.settings.listen = SocketAddress(host: "127.0.0.1", port: 0)
        configuration.cleaningPeriod = .milliseconds(20)
        var log = Logger(label: "test") { StreamLogHandler.standardError(label: $0) }
        log.logLevel = .critical
        let server = try RelayServer(configuration, log: log) { error in fatalError("\(error)") }
        let name = try leave(in: path)
        let isThere = { FileManager.default.fileExists(atPath: path + "/" + name) }
        for _ in 0..<500 where isThere() { usleep(10_000) }
        #expect(!isThere())
        server.stop()
        server.wait()
    }
}
