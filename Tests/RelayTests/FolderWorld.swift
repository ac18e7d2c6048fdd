import Cryptography
import Foundation
import GRDB
import RelayCore
import RelayProtocol
import RelayTestSupport
import TestSupport

@testable import Relay

/// A relay's decisions over a whole data folder, its trail included.
struct FolderWorld {
    let folder: TemporaryFolder
    let clinic: SigningKey
    let mirror: String?
    var path: String { folder.file("data") }

    init(mirrored: Bool = false) throws {
        folder = try TemporaryFolder()
        clinic = try SigningKey()
        mirror = mirrored ? folder.file("mirror") : nil
        _ = try DataFolder(path: path).keys()
    }

    /// Makes an empty store, and nothing else of what a start of the relay makes.
    func makeStore() throws {
        let database = try RelayDatabase(path: DataFolder(path: path).databasePath)
        try database.queue.writeWithoutTransaction { _ = try SQLiteStore($0) }
        try database.queue.close()
    }

    /// Opens everything as a start of the relay does, runs `body`, and closes it again.
    func run<Result>(
        at time: RelayTime? = nil, unwrittenLimit: Int = 1 << 20,
        _ body: (RelayWorld, SQLiteStore, TrailKeeper) throws -> Result
    ) throws -> Result {
        let folder = try DataFolder(path: path)
        let lock = try folder.lock(for: .serve)
        defer { lock.release() }
        let keys = try folder.keys(holding: lock)
        let database = try RelayDatabase(path: folder.databasePath)
        let result = try database.queue.writeWithoutTransaction { database in
            let store = try SQLiteStore(database)
            let identity = try store.identity(keys, clinicRoot: clinic.publicKey)
            let trail = try TrailKeeper(
                path: folder.trailPath, mirrorPath: mirror, store: store, identity: keys.identity,
                unwrittenLimit: unwrittenLimit)
            var now = time ?? RelayTime(unixSeconds: 20_000 * 86_400, monotonicMilliseconds: 1_000)
            let world = try RelayWorld(store: store, clinic: clinic, relay: identity) { body in
                try store.begin()
                do {
                    try body()
                    try trail.prepare(
                        store, counters: RelayCounters(), isClockDoubted: false, at: now)
                    try store.commit()
                    try trail.publish()
                } catch {
                    store.rollback()
                    throw error
                }
            }
            if let time { world.now = time }
            now = world.now
            let result = try body(world, store, trail)
            _ = try store.forgetLog()
            return result
        }
        try database.queue.close()
        return result
    }

    func faults(heads: [TrailHead] = [], mirror: String? = nil) throws -> [TrailFault] {
        try TrailAudit(folder: path, mirrorPath: mirror, heads: heads).verifier.faults
    }

    /// How often octets occur in the files of a folder, the trail's sealed parts and all.
    func count(of needle: [UInt8], in path: String) throws -> Int {
        let names = try FileManager.default.subpathsOfDirectory(atPath: path)
        return names.reduce(0) { sum, name in
            let content = FileManager.default.contents(atPath: path + "/" + name) ?? Data()
            return sum + (content.range(of: Data(needle)) == nil ? 0 : 1)
        }
    }
}
