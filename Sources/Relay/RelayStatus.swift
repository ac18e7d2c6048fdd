private import Foundation
public import RelayCore

/// What an operator sees of a data folder, whether a relay runs on it or not.
public struct RelayStatus: Equatable, Sendable {
    /// The relay's process; `nil` if none runs.
    public let processID: Int32?
    /// What the running relay says of itself; `nil` if none runs, or it doesn't answer.
    public let live: LiveStatus?
    /// Mailboxes kept.
    public let mailboxes: Int
    /// Groups kept.
    public let groups: Int
    /// Messages waiting for someone.
    public let messages: Int
    /// Their octets.
    public let messageByteCount: Int
    /// What blobs take.
    public let blobs: BlobUsage
    /// The day, since 1970-01-01 UTC, on which the oldest of them came.
    public let oldestMessageDay: UInt32?
    /// Octets free on the disk.
    public let freeByteCount: UInt64?

    /// Looks at a folder.
    ///
    /// - Throws: `.notFound` if there is no relay's folder, `.store` if it can't be read.
    public init(folder path: String) throws(RelayError) {
        let folder = try DataFolder(existing: path)
        let figures = try RelayDatabase.figures(path: folder.databasePath)
        processID = folder.holder
        live = processID == nil ? nil : try? Self.ask(folder)
        mailboxes = figures.mailboxes
        groups = figures.groups
        messages = figures.messages
        messageByteCount = figures.messageByteCount
        blobs = figures.blobs
        oldestMessageDay = figures.oldestDay
        freeByteCount = folder.freeByteCount
    }

    static func ask(_ folder: DataFolder) throws(RelayError) -> LiveStatus {
        var relay = try ControlClient(folder: folder)
        guard let live = try relay.ask(.status).live else {
            throw .control("the relay doesn't say how it is")
        }
        return live
    }
}
