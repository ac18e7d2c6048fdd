import Cryptography
import FoundationEssentials
import RelayProtocol
import Vault

/// Files (`protocol/payloads.md`, "Files"): kept here in pieces, as they are at the relay, put and
/// fetched one piece per request, whenever nothing else is to be said. So a long file never keeps
/// words waiting, and a stop anywhere costs one piece.
extension Turn {
    // MARK: Taking a file in

    /// Begins to take in a file that is to be sent.
    mutating func beginFile(
        _ note: FileNote, for number: Vault.ConsultationNumber
    ) throws -> (file: Int64, message: [UInt8]) {
        try modify(number) { consultation, turn in
            var record = StoredFile()
            record.message = Data(Random.bytes(MessageID.byteCount))
            record.mine = true
            record.file = note.wire
            record.phase = .reading
            let file = try turn.transaction.append(record, to: .files, in: consultation.scope)
            guard let state = FileState(number: file, record: record) else {
                throw DeviceError.bug("file")
            }
            consultation.files.append(state)
            return (file, state.messageID)
        }
    }

    /// Keeps sealed pieces behind those that are there.
    mutating func addPieces(
        _ pieces: [[UInt8]], to file: Int64, of number: Vault.ConsultationNumber
    ) throws {
        try modifyFile(file, of: number) { state, consultation, turn in
            for piece in pieces {
                try turn.transaction.put(
                    piece, at: FileState.place(ofPiece: state.pieceCount, of: file), of: .pieces,
                    in: consultation.scope)
                state.record.pieces += 1
            }
        }
    }

    /// All of it is in: from here on it leaves by itself.
    mutating func finishFile(
        _ file: Int64, of number: Vault.ConsultationNumber, hash: [UInt8], key: FileNote.Key
    ) throws {
        try modify(number) { consultation, turn in
            guard let index = consultation.files.firstIndex(where: { $0.number == file }) else {
                throw DeviceError.bug("file")
            }
            var record = consultation.files[index].record
            record.file.hash = Data(hash)
            record.phase = .whole
            guard let state = FileState(number: file, record: record) else {
                throw DeviceError.bug("file")
            }
            try turn.transaction.put(key.secret, at: file, of: .fileKeys, in: consultation.scope)
            try turn.transaction.put(record, at: file, of: .files, in: consultation.scope)
            consultation.files[index] = state
        }
        announce(number)
    }

    /// Removes a file with its pieces.
    mutating func dropFile(_ file: Int64, of number: Vault.ConsultationNumber) throws {
        guard let consultation = state.consultations[number],
            let found = consultation.files.first(where: { $0.number == file })
        else { return }
        try modify(number) { consultation, turn in
            consultation.files.removeAll { $0.number == file }
            try turn.removePieces(of: found, in: consultation)
            try turn.transaction.remove(at: file, of: .fileKeys, in: consultation.scope)
            try turn.transaction.remove(at: file, of: .files, in: consultation.scope)
        }
        announce(number)
    }

    /// Removes a part of what a process that ended had begun to take in: on a full disk there is no
    /// room to remove all of it at once.
    ///
    /// - Returns: whether there is more.
    mutating func dropUnreadPieces() throws -> Bool {
        for (number, consultation) in state.consultations {
            guard let file = consultation.files.first(where: { $0.record.phase == .reading }) else {
                continue
            }
            let rest = file.pieceCount - Self.piecesDroppedTogether
            guard rest > 0 else {
                try dropFile(file.number, of: number)
                return true
            }
            try modifyFile(file.number, of: number) { file, consultation, turn in
                try turn.removePieces(from: rest, of: file, in: consultation)
                file.record.pieces = UInt32(clamping: rest)
            }
            return true
        }
        return false
    }

    /// 1 MiB.
    private static let piecesDroppedTogether = 16

    private func removePieces(
        from first: Int = 0, of file: FileState, in consultation: ConsultationState
    ) throws {
        for index in first..<file.pieceCount {
            try transaction.remove(
                at: FileState.place(ofPiece: index, of: file.number), of: .pieces,
                in: consultation.scope)
        }
    }

    /// Changes a file and stores its record.
    private mutating func modifyFile(
        _ file: Int64, of number: Vault.ConsultationNumber,
        _ body: (inout FileState, ConsultationState, inout Turn) throws -> Void
    ) throws {
        try modify(number) { consultation, turn in
            guard let index = consultation.files.firstIndex(where: { $0.number == file }) else {
                return
            }
            var state = consultation.files[index]
            let before = state.record
            try body(&state, consultation, &turn)
            if state.record != before {
                try turn.transaction.put(
                    state.record, at: file, of: .files, in: consultation.scope)
            }
            consultation.files[index] = state
        }
    }

    // MARK: A message that speaks of a file

    /// Keeps what a received message says of a file; its content is fetched from now on, unless
    /// there is no key to open it with, a file with that blob is here already, or it is too much.
    ///
    /// - Returns: the note without the key, for the message's record.
    func keep(
        _ note: FileNote, of message: [UInt8], in consultation: inout ConsultationState
    ) throws -> FileNote {
        var kept = note
        kept.key = nil
        var record = StoredFile()
        record.message = Data(message)
        record.file = kept.wire
        let isRepeated = consultation.files.contains { $0.note.blob == note.blob }
        let isFetched =
            note.key != nil && !isRepeated && consultation.hasRoom(for: note.shape.blob)
        record.phase = isFetched ? .fetching : .damaged
        let number = try transaction.append(record, to: .files, in: consultation.scope)
        // One that isn't to be fetched is known by having no key.
        if isFetched, let key = note.key {
            try transaction.put(key.secret, at: number, of: .fileKeys, in: consultation.scope)
        }
        if let state = FileState(number: number, record: record) {
            consultation.files.append(state)
        }
        return kept
    }

    /// The note with the key, for a message that leaves.
    func withKey(
        _ note: FileNote, of message: [UInt8], in consultation: ConsultationState
    ) throws -> FileNote {
        guard let file = consultation.file(of: message),
            let secret = try transaction.secret(
                at: file.number, of: .fileKeys, in: consultation.scope)
        else { throw VaultError.damaged(.record) }
        var note = note
        note.key = FileNote.Key(secret)
        return note
    }

    // MARK: Putting and fetching

    /// Asks the relay for the next thing that a file needs.
    mutating func pumpFiles(_ number: Vault.ConsultationNumber) throws {
        guard let consultation = state.consultations[number], consultation.isLive,
            let groupID = GroupID(consultation.groupID)
        else { return }
        guard let file = consultation.nextTransfer(at: now) else {
            if let time = consultation.transfersPausedUntil { wake(at: time) }
            return
        }
        let blob = BlobReference(groupID: groupID, blob: file.note.blob)
        guard file.record.mine else {
            return try start(
                .readPiece(PieceReference(blob: blob, index: UInt32(clamping: file.pieceCount))),
                for: consultation.mailbox, consultation: number)
        }
        let operation: RelayProtocol.Operation
        switch file.atRelay {
        case .unknown: operation = .inspectBlob(blob)
        case .absent:
            operation = .beginBlob(
                BlobBeginning(
                    groupID: groupID, blob: file.note.blob,
                    byteCount: UInt64(file.shape.byteCount)))
        case .pieces(let count):
            // The content is filled in when it leaves (`ask`).
            operation = .putPiece(
                PieceReference(blob: blob, index: UInt32(clamping: count)), content: [])
        }
        try start(operation, for: consultation.mailbox, consultation: number)
    }

    /// Has a request sent. A piece lies in the vault already, and is read only when it leaves.
    mutating func ask(_ pending: PendingRequest) throws {
        var request = pending.request
        if case .putPiece(let piece, _) = request.operation, let number = pending.consultation,
            let consultation = state.consultations[number],
            let file = consultation.files.first(where: { $0.note.blob == piece.blob.blob }),
            let content = try transaction.value(
                at: FileState.place(ofPiece: Int(piece.index), of: file.number), of: .pieces,
                in: consultation.scope)
        {
            request.operation = .putPiece(piece, content: content)
        }
        ask(request)
    }

    /// The relay has no room or no time for it: later, and meanwhile everything else goes on.
    mutating func pauseTransfer(
        _ pending: PendingRequest, until time: UInt64
    ) throws {
        guard let number = pending.consultation, let blob = pending.request.operation.blob else {
            return
        }
        try modify(number) { consultation, _ in
            for index in consultation.files.indices
            where consultation.files[index].note.blob == blob {
                consultation.files[index].pausedUntil = time
            }
        }
        wake(at: time)
    }

    mutating func receiveBlobAnswer(
        _ outcome: Outcome, to pending: PendingRequest, for number: Vault.ConsultationNumber
    ) throws {
        let operation = pending.request.operation
        guard let consultation = state.consultations[number],
            let file = consultation.files.first(where: { $0.note.blob == operation.blob })
        else { return }
        switch (operation, outcome) {
        case (.inspectBlob, .blobState(let told)):
            let isThere = told.byteCount == UInt64(file.shape.byteCount)
            guard told == .none || isThere else { return try letGo(file, of: number) }
            try modifyFile(file.number, of: number) { file, _, _ in
                file.atRelay =
                    isThere
                    ? .pieces(min(Int(told.pieceCount), file.shape.pieceCount)) : .absent
            }
            try settlePut(file.number, of: number)
        case (.beginBlob, .done):
            try modifyFile(file.number, of: number) { file, _, _ in file.atRelay = .pieces(0) }
        case (.putPiece(let piece, _), .done):
            try modifyFile(file.number, of: number) { file, _, turn in
                file.atRelay = .pieces(Int(piece.index) + 1)
                file.failures = 0
                turn.transferCount += 1
            }
            try settlePut(file.number, of: number)
        case (.readPiece(let piece), .piece(let content)):
            try take(content, as: Int(piece.index), of: file.number, in: number)
        case (_, .refused(.notAllowed, _)):
            try reopen(number, because: .lost, otherwise: .removed)
        case (_, .refused(.groupClosed, _)):
            try modify(number) { consultation, _ in
                consultation.record.standing.relayClosed = true
            }
        case (.beginBlob, .refused(.exists, _)): try letGo(file, of: number)
        case (.putPiece, .refused(.noBlob, _)) where file.failures > 1:
            // Again and again it is there and takes nothing: another has begun it.
            try letGo(file, of: number)
        case (_, .refused(.noBlob, _)):
            // Not there yet, or not any more: whoever sends it gives it again.
            try pause(file, of: number)
        case (_, .refused(let refusal, _)): try refused(refusal, file, of: number)
        default: giveUp(.protocolViolation)
        }
    }

    private mutating func pause(
        _ file: FileState, of number: Vault.ConsultationNumber
    ) throws {
        let now = now
        try modifyFile(file.number, of: number) { file, _, turn in
            file.atRelay = .unknown
            file.pause(at: now)
            turn.wake(at: file.pausedUntil)
        }
    }

    /// Another's blob has its name, which whoever has read the message knows: the message, and the
    /// Close behind it, don't wait for it.
    private mutating func letGo(
        _ file: FileState, of number: Vault.ConsultationNumber
    ) throws {
        guard !file.record.isUnsent else { return try pause(file, of: number) }
        try modify(number) { consultation, turn in
            try turn.noteAtRelay(file.number, in: &consultation)
        }
    }

    /// The person doesn't want to wait for files any more: those that nobody knows of are dropped,
    /// and the messages that speak of the others leave.
    mutating func giveUpFiles(of number: Vault.ConsultationNumber) throws {
        guard let consultation = state.consultations[number] else { return }
        for file in consultation.files where file.isToBePut(into: consultation.record.groupID) {
            if file.record.isUnsent {
                try dropFile(file.number, of: number)
            } else {
                try letGo(file, of: number)
            }
        }
    }

    /// The relay never takes it, or never gives it.
    private mutating func refused(
        _ refusal: Refusal, _ file: FileState, of number: Vault.ConsultationNumber
    ) throws {
        guard let id = state.consultations[number]?.id else { return }
        guard file.record.mine else {
            // The blob is there, and shorter than its sender says.
            if refusal == .malformed, file.record.phase == .fetching {
                try modifyFile(file.number, of: number) { file, consultation, turn in
                    try turn.spoil(&file, in: consultation)
                }
                return try showFetched(file.number, of: number)
            }
            return try modifyFile(file.number, of: number) { file, _, turn in
                file.pausedUntil = turn.now + 3_600_000
                turn.wake(at: file.pausedUntil)
            }
        }
        if file.record.isUnsent {
            try dropFile(file.number, of: number)
            state.refusedFiles[file.messageID] = refusal
        } else {
            // It was at the relay before; its message needn't wait for it.
            try letGo(file, of: number)
        }
        emit(.trouble(id, .fileRefused(name: file.note.name, refusal)))
    }

    /// When the relay has all of it, its message is written.
    private mutating func settlePut(
        _ file: Int64, of number: Vault.ConsultationNumber
    ) throws {
        guard let consultation = state.consultations[number],
            let found = consultation.files.first(where: { $0.number == file })
        else { return }
        showProgress(of: found, in: consultation)
        guard found.atRelay == .pieces(found.shape.pieceCount) else { return }
        try modify(number) { consultation, turn in
            try turn.noteAtRelay(file, in: &consultation)
            guard found.record.isUnsent else { return }
            let message = try turn.enqueue(
                .file(found.note), id: found.messageID, in: &consultation)
            guard let index = consultation.files.firstIndex(where: { $0.number == file }) else {
                return
            }
            consultation.files[index].record.messageNumber = message
            try turn.transaction.put(
                consultation.files[index].record, at: file, of: .files, in: consultation.scope)
        }
        announce(number)
    }

    private func noteAtRelay(
        _ file: Int64, in consultation: inout ConsultationState
    ) throws {
        guard let index = consultation.files.firstIndex(where: { $0.number == file }) else {
            return
        }
        consultation.files[index].record.groupID = consultation.record.groupID
        try transaction.put(
            consultation.files[index].record, at: file, of: .files, in: consultation.scope)
    }

    /// After a restore the relay may have lost blobs as well: it is asked about each.
    func askAboutFiles(of consultation: inout ConsultationState) throws {
        for index in consultation.files.indices where consultation.files[index].record.mine {
            consultation.files[index].reset()
            guard !consultation.files[index].record.groupID.isEmpty else { continue }
            consultation.files[index].record.groupID = Data()
            try transaction.put(
                consultation.files[index].record, at: consultation.files[index].number,
                of: .files, in: consultation.scope)
        }
    }

    // MARK: Fetching

    private mutating func take(
        _ content: [UInt8], as index: Int, of file: Int64, in number: Vault.ConsultationNumber
    ) throws {
        guard let found = state.consultations[number]?.files.first(where: { $0.number == file }),
            found.record.phase == .fetching, found.pieceCount == index
        else { return }
        try modifyFile(file, of: number) { file, consultation, turn in
            // The sender may say another length than the blob has; the relay isn't to blame then.
            guard content.count == file.shape.byteCount(ofPiece: index) else {
                return try turn.spoil(&file, in: consultation)
            }
            if file.hash == nil { file.hash = try turn.hash(of: file, in: consultation) }
            file.hash?.add(content)
            try turn.transaction.put(
                content, at: FileState.place(ofPiece: index, of: file.number), of: .pieces,
                in: consultation.scope)
            file.record.pieces += 1
            file.failures = 0
            turn.transferCount += 1
            guard file.pieceCount == file.shape.pieceCount else { return }
            if file.hash?.value() == file.note.hash {
                file.record.phase = .whole
                file.hash = nil
            } else {
                try turn.spoil(&file, in: consultation)
            }
        }
        try showFetched(file, of: number)
    }

    /// What came isn't what the sender speaks of.
    private func spoil(_ file: inout FileState, in consultation: ConsultationState) throws {
        try removePieces(of: file, in: consultation)
        file.record.pieces = 0
        file.record.phase = .damaged
        file.hash = nil
    }

    /// What came damaged is fetched again in a fresh group, into which its sender puts it again.
    func fetchDamagedAgain(of consultation: inout ConsultationState) throws {
        for index in consultation.files.indices {
            var file = consultation.files[index]
            guard !file.record.mine, file.record.phase == .damaged,
                consultation.hasRoom(for: file.shape),
                try transaction.secret(
                    at: file.number, of: .fileKeys, in: consultation.scope) != nil
            else { continue }
            file.record.phase = .fetching
            try transaction.put(
                file.record, at: file.number, of: .files, in: consultation.scope)
            consultation.files[index] = file
        }
    }

    private mutating func showFetched(
        _ file: Int64, of number: Vault.ConsultationNumber
    ) throws {
        guard let consultation = state.consultations[number],
            let file = consultation.files.first(where: { $0.number == file })
        else { return }
        showProgress(of: file, in: consultation)
        if file.record.phase != .fetching { try showMessage(of: file, in: consultation) }
    }

    private func hash(
        of file: FileState, in consultation: ConsultationState
    ) throws -> RunningHash {
        var hash = RunningHash()
        for index in 0..<file.pieceCount {
            let piece = try transaction.value(
                at: FileState.place(ofPiece: index, of: file.number), of: .pieces,
                in: consultation.scope)
            guard let piece else { throw VaultError.damaged(.record) }
            hash.add(piece)
        }
        return hash
    }

    private mutating func showMessage(
        of file: FileState, in consultation: ConsultationState
    ) throws {
        guard
            let octets = try transaction.value(
                for: file.messageID, of: .messageNumbers, in: consultation.scope)
        else { return }
        let number = Int64(bitPattern: UInt64(bigEndianOctets: octets))
        guard
            let message = try transaction.record(
                StoredMessage.self, at: number, of: .messages, in: consultation.scope)
        else { return }
        emit(
            .messageChanged(
                consultation.id, state.describe(message, number: number, in: consultation)))
    }

    private mutating func showProgress(of file: FileState, in consultation: ConsultationState) {
        emit(.transfer(consultation.id, Transfer(file)))
    }
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

extension RelayProtocol.Operation {
    /// The blob that it is about.
    var blob: BlobID? {
        switch self {
        case .beginBlob(let beginning): beginning.blob
        case .putPiece(let piece, _), .readPiece(let piece): piece.blob.blob
        case .inspectBlob(let blob): blob.blob
        default: nil
        }
    }
}
