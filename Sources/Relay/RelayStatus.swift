private import Foundation

/// What an operator sees of a data folder, whether a relay runs on it or not.
public struct RelayStatus: Equatable, Sendable {
    /// The relay's process; `nil` if none runs.
    public let processID: Int32?
    /// What the running relay says of itself; `nil` if none runs, or it doesn't answer.
    public let live: LiveStatus?
    /// What is kept: as the running relay says, else as the database does.
    public let store: StoreFigures
    /// Octets free on the disk.
    public let freeByteCount: UInt64?

    /// Looks at a folder.
    ///
    /// - Throws: `.notFound` if there is no relay's folder, `.store` if it can't be read,
    ///   `.newerDatabase`, `.inUse` while a command has the folder.
    public init(folder path: String) throws(RelayError) {
        let folder = try DataFolder(existing: path)
        processID = try folder.runningRelay()
        try RelayDatabase.requireKnownSchema(of: folder)
        live = processID == nil ? nil : try? Self.ask(folder)
        if let live {
            store = live.store
        } else {
            store = try RelayDatabase.figures(path: folder.databasePath)
        }
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
