import Cryptography
import RelayProtocol
import Vault

/// Files on their way from the relay: each piece is kept as it comes, and the whole counts only when
/// it has the hash that its sender speaks of.
extension Turn {
    mutating func take(
        _ content: [UInt8], as index: Int, of file: Int64, in number: Vault.ConsultationNumber
    ) throws {
        guard let found = state.consultations[number]?.file(numbered: file),
            found.record.phase == .fetching
        else { return }
        // Answers keep the order of the questions; a relay that doesn't isn't asked at once again.
        guard found.pieceCount == index else { return try pause(found, of: number) }
        try modifyFile(file, of: number) { file, consultation, turn in
            // The sender may say another length than the blob has; the relay isn't to blame then.
            guard content.count == file.shape.byteCount(ofPiece: index) else {
                return try turn.spoil(&file, in: consultation)
            }
            if file.hash == nil { file.hash = try turn.hash(of: file, in: consultation) }
            file.hash?.add(content)
            try turn.keep(content, behind: &file, in: consultation)
            file.failures = 0
            file.lacksRoom = false
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

    /// This device's disk has no room for what came: it is asked for again later.
    mutating func holdUp(_ pieces: [Reply]) throws {
        for reply in pieces {
            guard let transfer = state.transfers.take(reply.id, of: reply.mailbox, at: now),
                let consultation = state.consultations[transfer.consultation],
                let file = consultation.file(numbered: transfer.file),
                file.attempt == transfer.attempt
            else { continue }
            if !file.lacksRoom { emit(.trouble(consultation.id, .diskFull(name: file.note.name))) }
            try modifyFile(file.number, of: consultation.number) { file, _, _ in
                file.lacksRoom = true
            }
            try pause(file, of: consultation.number)
        }
    }

    /// The relay never gives it.
    mutating func refusedToRead(
        _ refusal: Refusal, _ file: FileState, of number: Vault.ConsultationNumber
    ) throws {
        // The blob is there, and shorter than its sender says.
        if refusal == .malformed, file.record.phase == .fetching {
            try modifyFile(file.number, of: number) { file, consultation, turn in
                try turn.spoil(&file, in: consultation)
            }
            return try showFetched(file.number, of: number)
        }
        try pause(file, of: number, until: now + 3_600_000)
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
        for var file in consultation.files
        where !file.record.mine && file.record.phase == .damaged
            && consultation.hasRoom(for: file.shape)
        {
            let key = try transaction.secret(at: file.number, of: .fileKeys, in: consultation.scope)
            guard key != nil else { continue }
            file.record.phase = .fetching
            try replace(file, in: &consultation)
        }
    }

    private func hash(
        of file: FileState, in consultation: ConsultationState
    ) throws -> RunningHash {
        var hash = RunningHash()
        for index in 0..<file.pieceCount {
            hash.add(try file.piece(index, in: consultation.scope, transaction))
        }
        return hash
    }

    private mutating func showFetched(
        _ file: Int64, of number: Vault.ConsultationNumber
    ) throws {
        guard let consultation = state.consultations[number],
            let file = consultation.file(numbered: file)
        else { return }
        emit(.transfer(consultation.id, Transfer(file)))
        if file.record.phase != .fetching { try showMessage(of: file, in: consultation) }
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
}

extension Outcome {
    /// Whether it is a part of a file.
    var isPiece: Bool { if case .piece = self { true } else { false } }
}
