import Cryptography
import Foundation
import GRDB
import GRDBSQLite
import RelayCore
import RelayTestSupport
import TestSupport
import Testing

@testable import Relay

@Suite struct `The write-ahead log` {
    /// Marks that stand in the log, and the file itself.
    private static func fill(
        _ place: StoreWorld, _ store: SQLiteStore
    ) throws -> (needle: [UInt8], log: String) {
        let needle = Random.bytes(40)
        try store.begin()
        for number in 0..<50 { try store.set("mark \(number)", to: needle) }
        try store.commit()
        try store.begin()
        for number in 0..<50 {
            try store.set("mark \(number)", to: [UInt8](repeating: 0, count: 40))
        }
        try store.commit()
        return (needle, place.path + "-wal")
    }

    private static func contents(_ path: String) -> Data {
        FileManager.default.contents(atPath: path) ?? Data()
    }

    @Test func `is overwritten before it is emptied, so that its blocks tell nothing`() throws {
        let place = try StoreWorld()
        try place.run { _, store in
            let (needle, log) = try Self.fill(place, store)
            try store.begin()
            try store.set("large", to: Random.bytes(300_000))
            try store.commit()
            let before = Self.contents(log)
            #expect(before.range(of: Data(needle)) != nil, "the search finds nothing at all")
            #expect(try WriteAheadLog(store.database).blank())
            #expect(Self.contents(log) == Data(count: before.count))
            #expect(try store.forgetLog())
            #expect(Self.contents(log).isEmpty)
            // And goes on.
            try store.begin()
            try store.set("more", to: [7])
            try store.commit()
            #expect(!Self.contents(log).isEmpty)
            #expect(try store.setting("more") == [7])
        }
        #expect(!FileManager.default.fileExists(atPath: place.path + "-wal"))
        let more = try place.run { _, store in try store.setting("more") }
        #expect(more == [7])
    }

    @Test func `brings nothing old back when the power fails while it is overwritten`() throws {
        let place = try StoreWorld()
        let (log, database) = try place.run { _, store in
            _ = try Self.fill(place, store)
            let log = Self.contents(place.path + "-wal")
            #expect(try WriteAheadLog(store.database).blank())
            let database = Self.contents(place.path)
            #expect(try store.forgetLog())
            return (log, database)
        }
        // Its header is gone first; of the rest some parts are overwritten and some aren't.
        for cut in stride(from: 32, through: log.count, by: 4_096) {
            let other = try StoreWorld()
            try database.write(to: URL(fileURLWithPath: other.path))
            let torn = Data(count: 32) + log[32..<cut] + Data(count: log.count - cut)
            try torn.write(to: URL(fileURLWithPath: other.path + "-wal"))
            let marks = try other.run { _, store in
                try (0..<50).map { try store.setting("mark \($0)") }
            }
            #expect(marks.allSatisfy { $0 == [UInt8](repeating: 0, count: 40) })
        }
    }

    @Test func `is left alone while somebody reads what is in it`() throws {
        let place = try StoreWorld()
        try place.run { _, store in
            let reader = try DatabaseQueue(path: place.path)
            let (needle, log) = try Self.fill(place, store)
            try reader.inDatabase { database in
                try database.execute(sql: "BEGIN; SELECT count(*) FROM setting")
                let before = Self.contents(log)
                try store.database.execute(sql: "PRAGMA busy_timeout = 0")
                #expect(try !store.forgetLog())
                #expect(Self.contents(log) == before)
                try database.execute(sql: "COMMIT")
            }
            try reader.close()
            #expect(try store.forgetLog())
            #expect(try place.count(of: needle) == 0)
        }
    }
}

/// Octets that are still written, in a process of its own.
nonisolated(unsafe) private var quota = Int.max

/// Writes until a quota is used up, as a kernel does.
private func writeWithinQuota(
    _ file: Int32, _ octets: UnsafeRawPointer?, _ count: Int, _ position: off_t
) -> Int {
    unsafe quota -= count
    guard unsafe quota >= 0 else {
        errno = EDQUOT
        return -1
    }
    return unsafe pwrite(file, octets, count, position)
}

@Suite struct `A quota` {
    @Test func `that is used up is a full disk`() async {
        await #expect(processExitsWith: .success) {
            let place = try StoreWorld()
            try place.run { _, store in
                guard let system = unsafe sqlite3_vfs_find(nil),
                    let replace = unsafe system.pointee.xSetSystemCall
                else { exit(1) }
                let write: @convention(c) (Int32, UnsafeRawPointer?, Int, off_t) -> Int =
                    unsafe writeWithinQuota
                let call = unsafe unsafeBitCast(write, to: sqlite3_syscall_ptr.self)
                for name in ["pwrite", "pwrite64"] {
                    _ = unsafe replace(system, name, call)
                }
                // In the middle of a batch, at its commit, when the log is written back.
                for room in [0, 3_000, 5_000, 9_000, 200_000] {
                    unsafe quota = room
                    var wasFull = false
                    do {
                        for _ in 0..<200 {
                            try store.begin()
                            try store.set("mark", to: Random.bytes(3_000))
                            try store.commit()
                            _ = try store.forgetLog()
                        }
                    } catch StoreError.full {
                        wasFull = true
                    }
                    store.rollback()
                    guard wasFull else { exit(2) }
                }
                unsafe quota = .max
                try store.begin()
                try store.set("mark", to: [1])
                try store.commit()
            }
        }
    }
}
