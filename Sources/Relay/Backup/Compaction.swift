private import CoreFoundation
private import Foundation
private import GRDB
private import RelayCore

/// Gives back to the file system what erasing has left free in the database, which SQLite keeps for
/// what comes.
///
/// The database is copied without its gaps, the copy read back, and put in the other's place as a
/// restore's is (`DataFolder.replaceDatabase`): a crash in between leaves the one or the other, and
/// what is given back is overwritten before.
public enum Compaction {
    /// Octets of the database and its log.
    public struct Report: Codable, Equatable, Sendable {
        /// Before.
        public let before: UInt64
        /// Afterwards.
        public let after: UInt64
    }

    /// Compacts the database of a folder that no relay runs on, and notes it in the trail.
    ///
    /// - Throws: `.inUse`, `.dataFolder`, `.store`, `.backup` if the database is damaged; the folder is
    ///   as before.
    public static func run(folder path: String) throws(RelayError) -> Report {
        let folder = try DataFolder(existing: path)
        let offline = try OfflineRelay(folder, for: .compact)
        folder.removeLeftovers()
        let before = folder.databaseByteCount
        let freed = try RelayDatabase.freedByteCount(path: folder.databasePath)
        let needed = before - min(before, freed)
        if let missing = folder.mebibytesMissing(for: needed) {
            throw .dataFolder("\(missing) MiB are missing on its disk for the copy")
        }
        _ = try BackupFile.copy(
            RelayDatabase(path: folder.databasePath).queue, to: folder.stagingPath,
            fault: RelayError.dataFolder
        ) { _ in }
        try folder.replaceDatabase(fault: RelayError.dataFolder)
        let event = TrailEvent(
            .command, [("name", "compact"), ("user", Peer.name(of: getuid()))])
        try offline.note(event, hourIn: nil)
        return Report(before: before, after: folder.databaseByteCount)
    }
}
