import FoundationEssentials
import RelayProtocol
import Vault

/// Files on their way: what is asked of the relay, and what it answers. That happens whenever nothing
/// else is to be said, and only so much is under way that words which come up then don't wait long.
extension Turn {
    /// Asks the relay for the next things that a file needs.
    mutating func pumpFiles(_ number: Vault.ConsultationNumber) throws {
        guard let consultation = state.consultations[number], consultation.isLive,
            let group = GroupID(consultation.groupID)
        else { return }
        guard let file = consultation.nextTransfer(at: now) else {
            if let time = consultation.transfersPausedUntil { wake(at: time) }
            return
        }
        var count = state.transfers.count(of: file, in: number)
        while state.transfers.hasRoom(for: consultation.mailbox),
            var operation = file.nextOperation(behind: count, in: group),
            let mailbox = state.mailboxes[consultation.mailbox]
        {
            if case .putPiece(let piece, _) = operation {
                let index = Int(piece.index)
                let content = try file.piece(index, in: consultation.scope, transaction)
                operation = .putPiece(piece, content: content)
            }
            let request = try self.number(operation, for: mailbox)
            state.transfers.add(
                PendingTransfer(
                    request, file: file.number, attempt: file.attempt, of: number, at: now))
            ask(request)
            count += 1
        }
    }

    // MARK: Answers

    mutating func receive(
        _ outcome: Outcome, to transfer: PendingTransfer, of mailbox: MailboxID
    ) throws {
        let number = transfer.consultation
        guard let file = state.consultations[number]?.file(numbered: transfer.file),
            file.attempt == transfer.attempt
        else { return }
        switch (transfer.question, outcome) {
        case (.inspection, .blobState(let told)):
            let isThere = told.byteCount == UInt64(file.shape.byteCount)
            guard told == .none || isThere else { return try letGo(file, of: number) }
            try modifyFile(file.number, of: number) { file, _, _ in
                file.atRelay =
                    isThere
                    ? .pieces(min(Int(told.pieceCount), file.shape.pieceCount)) : .absent
            }
            try settlePut(file.number, of: number)
        case (.beginning, .done):
            try modifyFile(file.number, of: number) { file, _, _ in file.atRelay = .pieces(0) }
        case (.putting(let index), .done):
            try modifyFile(file.number, of: number) { file, _, turn in
                file.atRelay = .pieces(index + 1)
                file.failures = 0
                turn.transferCount += 1
            }
            try settlePut(file.number, of: number)
        case (.reading(let index), .piece(let content)):
            try take(content, as: index, of: file.number, in: number)
        case (_, .erased(let receipts)): try receive(receipts, of: mailbox, inPlaceOf: number)
        case (_, .refused(_, let seconds)) where seconds > 0:
            // No room or no time for it: later, and meanwhile everything else goes on.
            try pause(file, of: number, until: now + UInt64(seconds) * 1_000)
        case (_, .refused(.notAllowed, _)):
            try reopen(number, because: .lost, otherwise: .removed)
        case (_, .refused(.groupClosed, _)):
            try modify(number) { $1.noteClosed(&$0) }
        case (.beginning, .refused(.exists, _)): try letGo(file, of: number)
        case (.putting, .refused(.noBlob, _)) where file.failures > 1:
            // Again and again it is there and takes nothing: another has begun it.
            try letGo(file, of: number)
        case (_, .refused(.noBlob, _)):
            // Not there yet, or not any more: whoever sends it gives it again.
            try pause(file, of: number)
        case (.reading, .refused(let refusal, _)):
            try refusedToRead(refusal, file, of: number)
        case (_, .refused(let refusal, _)): try refused(refusal, file, of: number)
        default: giveUp(.protocolViolation)
        }
    }

    /// Nothing is asked about it for a while: until then, or for a time that grows.
    mutating func pause(
        _ file: FileState, of number: Vault.ConsultationNumber, until time: UInt64? = nil
    ) throws {
        try modifyFile(file.number, of: number) { file, _, turn in
            if let time {
                file.pause(until: time)
            } else {
                file.atRelay = .unknown
                file.pause(at: turn.now)
            }
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
        for file in consultation.files where consultation.isToBePut(file) {
            if file.record.isUnsent {
                try dropFile(file.number, of: number)
                emit(.trouble(consultation.id, .fileGivenUp(name: file.note.name)))
            } else {
                try letGo(file, of: number)
            }
        }
    }

    /// In a fresh group only those files are put again that the other lacks: as it says, or because
    /// their messages go again.
    func spareFiles(
        besides lacking: [BlobID], in consultation: inout ConsultationState
    ) throws {
        for file in consultation.files
        where consultation.isToBePut(file) && !file.record.isUnsent
            && !consultation.goesAgain(file) && !lacking.contains(file.note.blob)
        {
            try noteAtRelay(file, in: &consultation)
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
