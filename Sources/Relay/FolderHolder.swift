/// The process that has a data folder.
public struct FolderHolder: Equatable, Sendable {
    /// What it has the folder for: the name of its command.
    public enum Command: String, Sendable {
        /// A relay runs.
        case serve
        /// Keys are made.
        case identity
        /// A backup is made of a relay that doesn't run.
        case backup
        /// A backup is put back, or it is noted that this was rehearsed.
        case restore
        /// The database is compacted.
        case compact
    }

    /// Its number.
    public let processID: Int32
    /// What it does.
    public let command: Command

    init(processID: Int32, command: Command) {
        self.processID = processID
        self.command = command
    }

    /// Reads what a process has written into the lock; earlier versions wrote their number alone.
    init?(_ content: [UInt8]) {
        let line = String(decoding: content.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
        let words = line.split(separator: " ")
        guard let processID = words.first.flatMap({ Int32($0) }) else { return nil }
        self.init(
            processID: processID,
            command: words.dropFirst().first.flatMap { Command(rawValue: String($0)) } ?? .serve)
    }

    /// The lock's content.
    var content: [UInt8] { Array("\(processID) \(command.rawValue)\n".utf8) }
}
