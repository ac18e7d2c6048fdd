private import Foundation

/// What an operator sees of a data folder, whether a relay runs on it or not.
public struct RelayStatus: Equatable, Sendable {
    /// The relay's process; `nil` if none runs.
    public let processID: Int32?
    /// Mailboxes kept.
    public let mailboxes: Int
    /// Groups kept.
    public let groups: Int
    /// Messages waiting for someone.
    public let messages: Int
    /// Their octets.
    public let messageByteCount: Int
    /// Octets free on the disk.
    public let freeByteCount: UInt64?

    /// Looks at a folder.
    ///
    /// - Throws: `.notFound` if there is no relay's folder, `.store` if it can't be read.
    public init(folder path: String) throws(RelayError) {
        guard FileManager.default.fileExists(atPath: path + "/relay.sqlite") else {
            throw .notFound("there is no relay's data in this folder")
        }
        let folder = try DataFolder(path: path)
        let figures = try RelayDatabase.figures(path: folder.databasePath)
        processID = folder.holder
        mailboxes = figures.mailboxes
        groups = figures.groups
        messages = figures.messages
        messageByteCount = figures.messageByteCount
        freeByteCount = folder.freeByteCount
    }
}
