import Cryptography
import Foundation
import GRDB
import RelayCore
import RelayProtocol
import RelayTestSupport
import TestSupport

@testable import Relay

/// A relay's decisions over the real store, in a folder of the test's own.
struct StoreWorld {
    let folder: TemporaryFolder
    var path: String { folder.file("relay.sqlite") }

    init() throws { folder = try TemporaryFolder() }

    /// Opens the store, runs `body` with a relay on it, and closes it again.
    func run<Result>(
        _ identity: (relay: RelayIdentity, clinic: SigningKey)? = nil, at time: RelayTime? = nil,
        _ body: (RelayWorld, SQLiteStore) throws -> Result
    ) throws -> Result {
        let database = try RelayDatabase(path: path)
        let result = try database.queue.writeWithoutTransaction { database in
            let store = try SQLiteStore(database, syncsItself: true)
            let world = try RelayWorld(
                store: store, clinic: identity?.clinic, relay: identity?.relay
            ) { body in
                try store.begin()
                do {
                    try body()
                    try store.commit()
                } catch {
                    store.rollback()
                    throw error
                }
            }
            if let time { world.now = time }
            let result = try body(world, store)
            return result
        }
        try database.queue.close()
        return result
    }

    /// How often `needle` occurs in any file of the folder.
    func count(of needle: [UInt8]) throws -> Int {
        try folder.contents().values.reduce(0) { sum, content in
            var count = 0
            var from = content.startIndex
            while let range = content.range(of: Data(needle), in: from..<content.endIndex) {
                count += 1
                from = range.upperBound
            }
            return sum + count
        }
    }
}
