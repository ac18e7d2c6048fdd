import Cryptography
import FoundationEssentials
import RelayProtocol
import Vault

/// Files as they are kept here (`protocol/payloads.md`, "Files"): in pieces, as they are at the
/// relay. A sent one is taken in, a received one known by the message that speaks of it.
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
        try modifyFile(file, of: number) { file, consultation, turn in
            for piece in pieces { try turn.keep(piece, behind: &file, in: consultation) }
        }
    }

    /// Keeps a piece behind those that are there.
    func keep(
        _ piece: [UInt8], behind file: inout FileState, in consultation: ConsultationState
    ) throws {
        try transaction.put(
            piece, at: FileState.place(ofPiece: file.pieceCount, of: file.number), of: .pieces,
            in: consultation.scope)
        file.record.pieces += 1
    }

    /// All of it is in: from here on it leaves by itself.
    mutating func finishFile(
        _ file: Int64, of number: Vault.ConsultationNumber, hash: [UInt8], key: FileNote.Key
    ) throws {
        try modify(number) { consultation, turn in
            guard var record = consultation.file(numbered: file)?.record else {
                throw DeviceError.bug("file")
            }
            record.file.hash = Data(hash)
            record.phase = .whole
            guard let state = FileState(number: file, record: record) else {
                throw DeviceError.bug("file")
            }
            try turn.transaction.put(key.secret, at: file, of: .fileKeys, in: consultation.scope)
            try turn.replace(state, in: &consultation)
        }
        announce(number)
    }

    // MARK: Removing a file

    /// Removes a file with its pieces.
    mutating func dropFile(_ file: Int64, of number: Vault.ConsultationNumber) throws {
        guard let found = state.consultations[number]?.file(numbered: file) else { return }
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

    func removePieces(
        from first: Int = 0, of file: FileState, in consultation: ConsultationState
    ) throws {
        for index in first..<file.pieceCount {
            try transaction.remove(
                at: FileState.place(ofPiece: index, of: file.number), of: .pieces,
                in: consultation.scope)
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
        let isRepeated = consultation.file(of: note.blob) != nil
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

    // MARK: Changing a file

    /// Changes a file and stores its record.
    mutating func modifyFile(
        _ file: Int64, of number: Vault.ConsultationNumber,
        _ body: (inout FileState, ConsultationState, inout Turn) throws -> Void
    ) throws {
        try modify(number) { consultation, turn in
            guard var file = consultation.file(numbered: file) else { return }
            try body(&file, consultation, &turn)
            try turn.replace(file, in: &consultation)
        }
    }

    /// Takes over what became of a file, and stores its record if that changed.
    func replace(_ file: FileState, in consultation: inout ConsultationState) throws {
        guard let index = consultation.files.firstIndex(where: { $0.number == file.number }) else {
            return
        }
        if consultation.files[index].record != file.record {
            try transaction.put(file.record, at: file.number, of: .files, in: consultation.scope)
        }
        consultation.files[index] = file
    }
}
