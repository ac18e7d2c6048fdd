import Cryptography
import FoundationEssentials
import RelayProtocol
import Vault

/// A file of a consultation, sent or received, as the vault has it; its pieces lie there as they are
/// at the relay.
struct FileState {
    /// What the relay has of it, as told on this connection.
    enum AtRelay: Equatable {
        case unknown
        case absent
        /// So many pieces.
        case pieces(Int)
    }

    /// Its record's number.
    let number: Int64
    let note: FileNote
    let messageID: [UInt8]
    var record: StoredFile
    var atRelay = AtRelay.unknown
    /// Nothing is asked about it before that time (Unix milliseconds).
    private(set) var pausedUntil: UInt64 = 0
    /// How often it couldn't be had.
    var failures = 0
    /// How often what was under way was given up: answers to that mean nothing any more.
    private(set) var attempt = 0
    /// This device's disk was full when a piece came.
    var lacksRoom = false
    /// Of the pieces that are here; `nil` until it is needed.
    var hash: RunningHash?

    /// `nil` if that can't be a file's record.
    init?(number: Int64, record: StoredFile) {
        guard let note = FileNote(record.file), record.message.count == MessageID.byteCount else {
            return nil
        }
        self.number = number
        self.note = note
        messageID = [UInt8](record.message)
        self.record = record
    }

    var shape: BlobShape { note.shape.blob }
    /// Pieces that are here.
    var pieceCount: Int { Int(record.pieces) }
    /// All of it is here.
    var isWhole: Bool { record.phase == .whole }

    /// Where a piece lies in the vault.
    static func place(ofPiece index: Int, of file: Int64) -> Int64 { file << 16 | Int64(index) }

    /// A pause that grows.
    mutating func pause(at now: UInt64) {
        pause(until: now + min(5_000 << UInt64(min(failures, 10)), 3_600_000))
        failures += 1
    }

    mutating func pause(until time: UInt64) {
        pausedUntil = time
        attempt += 1
    }

    /// Forgets what concerned a connection.
    mutating func reset() {
        atRelay = .unknown
        pausedUntil = 0
        failures = 0
        lacksRoom = false
        attempt += 1
    }

    /// What is to be asked of the relay behind so many things that are under way; `nil` if that is
    /// all for now. A piece has no content yet.
    func nextOperation(behind count: Int, in group: GroupID) -> RelayProtocol.Operation? {
        let blob = BlobReference(groupID: group, blob: note.blob)
        func piece(_ index: Int) -> PieceReference? {
            guard index < shape.pieceCount else { return nil }
            return PieceReference(blob: blob, index: UInt32(clamping: index))
        }
        guard record.mine else {
            return piece(pieceCount + count).map { .readPiece($0) }
        }
        switch atRelay {
        case .pieces(let done): return piece(done + count).map { .putPiece($0, content: []) }
        case .unknown where count == 0: return .inspectBlob(blob)
        case .absent where count == 0:
            return .beginBlob(
                BlobBeginning(
                    groupID: group, blob: note.blob, byteCount: UInt64(shape.byteCount)))
        case .unknown, .absent: return nil
        }
    }
}

extension FileState {
    /// A piece that is here.
    func piece(
        _ index: Int, in scope: Vault.Scope, _ transaction: ReadTransaction
    ) throws -> [UInt8] {
        let place = Self.place(ofPiece: index, of: number)
        guard let piece = try transaction.value(at: place, of: .pieces, in: scope) else {
            throw VaultError.damaged(.record)
        }
        return piece
    }

    /// Hands out the content of a file that is here, in its order.
    ///
    /// - Throws: `.file(.notHere)`; `.file(.damaged)` if its pieces aren't those of one stream: what
    ///   was handed out then is worth nothing.
    func open(
        in scope: Vault.Scope, _ transaction: ReadTransaction,
        _ take: (ArraySlice<UInt8>) throws -> Void
    ) throws {
        guard isWhole, let secret = try transaction.secret(at: number, of: .fileKeys, in: scope),
            let key = FileNote.Key(secret)
        else { throw DeviceError.file(record.phase == .damaged ? .damaged : .notHere) }
        var rest = note.shape.byteCount
        do {
            var opener = try StreamSealing.Opener(key: key.key, header: key.header)
            for index in 0..<shape.pieceCount {
                let piece = try piece(index, in: scope, transaction)
                let (content, isLast) = try opener.open(piece)
                guard isLast == (index == shape.pieceCount - 1) else {
                    throw CryptographyError.authenticationFailed
                }
                let part = content.prefix(rest)
                try take(part)
                rest -= part.count
            }
        } catch is CryptographyError {
            throw DeviceError.file(.damaged)
        }
    }
}

extension ConsultationState {
    /// Files that the person has sent and whose message isn't written yet: it is when the relay has
    /// the whole file.
    var unsentFiles: [FileState] { files.filter { $0.isWhole && $0.record.isUnsent } }

    /// Whether the relay has to be given a file in the group that is in use. In a fresh one the
    /// other says first what it lacks, of what it knows of.
    func isToBePut(_ file: FileState) -> Bool {
        guard file.record.mine, file.isWhole, file.record.groupID != record.groupID else {
            return false
        }
        return !record.reopening.unconfirmed || file.record.isUnsent || goesAgain(file)
    }

    /// Whether the message that speaks of a file is to be sent, for the first time or again.
    func goesAgain(_ file: FileState) -> Bool { outbox.contains(file.record.messageNumber) }

    /// The other's files that are still to be had, for it to know in a fresh group; `nil` where
    /// that isn't to be said, or they are too many to be named.
    func lacking(from member: [UInt8]) -> [BlobID]? {
        guard record.reopening.beganAt > 0, member == [UInt8](record.other.identityKey) else {
            return nil
        }
        let blobs = files.filter { $0.record.phase == .fetching }.map(\.note.blob)
        return blobs.count <= Payload.Seen.lackingLimit ? blobs : nil
    }

    /// What is to be put or fetched next: files that nobody knows of yet come first.
    func nextTransfer(at now: UInt64) -> FileState? {
        let ready = files.filter { $0.pausedUntil <= now }
        return ready.first { $0.record.isUnsent && isToBePut($0) }
            ?? ready.first { isToBePut($0) }
            ?? ready.first { $0.record.phase == .fetching }
    }

    /// Octets of the blobs that are fetched unasked, in all groups together: as many as the longest
    /// blob has. The others must not fill this device's disk.
    private static let fetchedByteLimit = Int(BlobShape.longestByteCount)

    /// Whether another file may be fetched.
    func hasRoom(for blob: BlobShape) -> Bool {
        let fetched = files.filter { !$0.record.mine && $0.record.phase != .damaged }
        let byteCount = fetched.reduce(0) { $0 + $1.shape.byteCount }
        return byteCount + blob.byteCount <= Self.fetchedByteLimit
    }

    /// When the next paused one may go on.
    var transfersPausedUntil: UInt64? {
        files.filter {
            $0.pausedUntil > 0
                && (isToBePut($0) || $0.record.phase == .fetching)
        }.map(\.pausedUntil).min()
    }

    /// The message that is to leave next: one that speaks of a file waits until the relay has the
    /// file, and the closing goes last.
    var nextMessage: Int64? {
        let held = Set(files.filter { isToBePut($0) }.map(\.record.messageNumber))
        guard let next = outbox.first(where: { !held.contains($0) }) else { return nil }
        let isLast = record.standing.ending && next == outbox.last
        return isLast && outbox.count > 1 ? nil : next
    }

    /// Whether a file is being taken in, or was when the process ended.
    var isTakingFiles: Bool { files.contains { $0.record.phase == .reading } }

    func file(numbered number: Int64) -> FileState? { files.first { $0.number == number } }
    func file(of message: [UInt8]) -> FileState? { files.first { $0.messageID == message } }
    func file(of blob: BlobID) -> FileState? { files.first { $0.note.blob == blob } }
}

extension StoredFile {
    /// The person's own, without a message yet.
    var isUnsent: Bool { mine && messageNumber == 0 }
}
