import FoundationEssentials
import RelayProtocol
import Vault

/// Files on their way to the relay, piece by piece, and what the relay answers to all that is asked
/// about files: one thing per request, whenever nothing else is to be said. So a long file never
/// keeps words waiting, and a stop anywhere costs one piece.
extension Turn {
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
            let file = consultation.file(of: piece.blob.blob)
        {
            let content = try file.piece(Int(piece.index), in: consultation.scope, transaction)
            request.operation = .putPiece(piece, content: content)
        }
        ask(request)
    }

    // MARK: Answers

    mutating func receiveBlobAnswer(
        _ outcome: Outcome, to pending: PendingRequest, for number: Vault.ConsultationNumber
    ) throws {
        let operation = pending.request.operation
        guard let blob = operation.blob, let file = state.consultations[number]?.file(of: blob)
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
        case (_, .refused(let refusal, _)):
            if file.record.mine {
                try refused(refusal, file, of: number)
            } else {
                try refusedToRead(refusal, file, of: number)
            }
        default: giveUp(.protocolViolation)
        }
    }

    /// The relay has no room or no time for it: later, and meanwhile everything else goes on.
    mutating func pauseTransfer(
        _ pending: PendingRequest, until time: UInt64
    ) throws {
        guard let number = pending.consultation, let blob = pending.request.operation.blob,
            let file = state.consultations[number]?.file(of: blob)
        else { return }
        try modifyFile(file.number, of: number) { file, _, _ in file.pausedUntil = time }
        wake(at: time)
    }

    private mutating func pause(_ file: FileState, of number: Vault.ConsultationNumber) throws {
        try modifyFile(file.number, of: number) { file, _, turn in
            file.atRelay = .unknown
            file.pause(at: turn.now)
            turn.wake(at: file.pausedUntil)
        }
    }

    /// The relay never takes it.
    private mutating func refused(
        _ refusal: Refusal, _ file: FileState, of number: Vault.ConsultationNumber
    ) throws {
        guard let id = state.consultations[number]?.id else { return }
        if file.record.isUnsent {
            try dropFile(file.number, of: number)
            state.refusedFiles[file.messageID] = refusal
        } else {
            // It was at the relay before; its message needn't wait for it.
            try letGo(file, of: number)
        }
        emit(.trouble(id, .fileRefused(name: file.note.name, refusal)))
    }

    // MARK: The end of it

    /// When the relay has all of it, its message is written.
    private mutating func settlePut(
        _ file: Int64, of number: Vault.ConsultationNumber
    ) throws {
        guard let consultation = state.consultations[number],
            var found = consultation.file(numbered: file)
        else { return }
        emit(.transfer(consultation.id, Transfer(found)))
        guard found.atRelay == .pieces(found.shape.pieceCount) else { return }
        try modify(number) { consultation, turn in
            if found.record.isUnsent {
                found.record.messageNumber = try turn.enqueue(
                    .file(found.note), id: found.messageID, in: &consultation)
            }
            try turn.noteAtRelay(found, in: &consultation)
        }
        announce(number)
    }

    /// Another's blob has its name, which whoever has read the message knows: the message, and the
    /// Close behind it, don't wait for it.
    private mutating func letGo(_ file: FileState, of number: Vault.ConsultationNumber) throws {
        guard !file.record.isUnsent else { return try pause(file, of: number) }
        try modify(number) { consultation, turn in
            try turn.noteAtRelay(file, in: &consultation)
        }
    }

    private func noteAtRelay(
        _ file: FileState, in consultation: inout ConsultationState
    ) throws {
        var file = file
        file.record.groupID = consultation.record.groupID
        try replace(file, in: &consultation)
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

    /// After a restore the relay may have lost blobs as well: it is asked about each.
    func askAboutFiles(of consultation: inout ConsultationState) throws {
        for var file in consultation.files where file.record.mine {
            file.reset()
            file.record.groupID = Data()
            try replace(file, in: &consultation)
        }
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
