import RelayProtocol

/// A file that a message speaks of.
public struct FileDetail: Hashable, Sendable {
    /// Where its content is.
    public enum Place: Hashable, Sendable {
        /// All of it is on this device, checked: it can be saved.
        case here
        /// It is being fetched, or waits to be; this part of it is here.
        case coming(fraction: Double)
        /// What came isn't what the sender speaks of, or it isn't fetched: no key came with it, its
        /// blob is another file's, or there is too much already. Fault: the sender, or the relay.
        case damaged
    }

    /// As its sender calls it; may hold anything.
    public let name: String
    /// As its sender believes it to be.
    public let mediaType: String
    /// Octets.
    public let byteCount: Int
    /// Where its content is.
    public let place: Place
    /// Whether it isn't fetched for now because this device's disk is full.
    public let lacksRoom: Bool

    /// Whether it can still be waited for.
    public var isComing: Bool {
        if case .coming = place { return true }
        return false
    }

    init(_ file: FileState) {
        name = file.note.name
        mediaType = file.note.mediaType
        byteCount = file.note.shape.byteCount
        lacksRoom = file.lacksRoom
        switch file.record.phase {
        case .whole: place = .here
        case .damaged: place = .damaged
        default:
            place = .coming(fraction: Double(file.pieceCount) / Double(file.shape.pieceCount))
        }
    }
}

/// How far a file is on its way to the relay, or from there.
public struct Transfer: Hashable, Sendable {
    /// The message that speaks of it; of one's own it isn't written before the relay has the file.
    public let id: MessageID
    /// The file's name; of a received one it may hold anything.
    public let name: String
    /// Whether this device sends it.
    public let isMine: Bool
    /// Octets of the file.
    public let byteCount: Int
    /// From 0 to 1.
    public let fraction: Double
}

/// What is wrong with a file.
public enum FileProblem: Hashable, Sendable {
    /// It can't be read, or is no ordinary file.
    case unreadable
    /// It became shorter or longer while it was read.
    case changed
    /// It has more octets than can be sent.
    case tooLarge(maximum: Int)
    /// It has no name, or one that is too long.
    case name
    /// There is something in its place already; nothing is overwritten.
    case exists
    /// It can't be written.
    case unwritable
    /// The message speaks of no file.
    case none
    /// Its content isn't here yet.
    case notHere
    /// Its content isn't what its sender speaks of. Fault: the sender, or the relay.
    case damaged
}

extension Transfer {
    init(_ file: FileState) {
        let done: Int
        if file.record.mine {
            if case .pieces(let count) = file.atRelay { done = count } else { done = 0 }
        } else {
            done = file.pieceCount
        }
        self.init(
            id: MessageID(file.messageID), name: file.note.name, isMine: file.record.mine,
            byteCount: file.note.shape.byteCount,
            fraction: Double(done) / Double(file.shape.pieceCount))
    }
}
