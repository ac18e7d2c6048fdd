import RelayProtocol

/// Blobs: large ciphertexts in pieces, for the members of a group (`protocol/relay.md`, "Blobs").
extension RelayEngine {
    func beginBlob(
        _ request: BlobBeginning, by mailbox: LiveMailbox
    ) throws(StoreError) -> Outcome {
        guard let (group, _) = try activeMember(of: request.groupID, mailbox) else {
            return .refused(.notAllowed, retryAfterSeconds: 0)
        }
        guard request.byteCount > 0 else { return .refused(.malformed, retryAfterSeconds: 0) }
        guard let shape = BlobShape(byteCount: request.byteCount),
            shape.byteCount <= limits.blobByteCount
        else { return .refused(.tooLarge, retryAfterSeconds: 0) }
        guard !group.record.isClosed else { return .refused(.groupClosed, retryAfterSeconds: 0) }
        if let blob = try store.blob(request.blob, in: group.number) {
            let isSame = blob.owner == mailbox.number && blob.byteCount == shape.byteCount
            return isSame ? .done : .refused(.exists, retryAfterSeconds: 0)
        }
        guard try store.unfinishedBlobs(of: mailbox.number) < limits.unfinishedBlobs else {
            return .refused(.rate, retryAfterSeconds: 60)
        }
        // What a group has goes with the group: there is no later at which more would fit. A group
        // of one has nobody who could read it.
        let present = try store.blobUsage(in: group.number)
        guard group.record.members.count(where: { $0?.isActive(on: clock.trustedDay) == true }) > 1,
            present.count < limits.groupBlobs,
            present.byteCount + shape.byteCount <= limits.groupBlobByteCount
        else { return .refused(.limit, retryAfterSeconds: 0) }
        guard
            hasRoom(
                forBlobs: shape.byteCount, makingOfGroup: present.byteCount + shape.byteCount)
        else { return .refused(.storage, retryAfterSeconds: 3_600) }
        try store.addBlob(
            request.blob, in: group.number, byteCount: shape.byteCount, by: mailbox.number,
            on: now.day)
        return .done
    }

    /// Keeps a piece. One that is there already stays as it is: the asker didn't hear of it.
    func put(
        _ content: [UInt8], as piece: PieceReference, by mailbox: LiveMailbox
    ) throws(StoreError) -> Outcome {
        guard let (group, _) = try activeMember(of: piece.blob.groupID, mailbox) else {
            return .refused(.notAllowed, retryAfterSeconds: 0)
        }
        guard !group.record.isClosed else { return .refused(.groupClosed, retryAfterSeconds: 0) }
        guard let blob = try store.blob(piece.blob.blob, in: group.number),
            blob.owner == mailbox.number || blob.owner == nil,
            let shape = BlobShape(byteCount: UInt64(blob.byteCount))
        else { return .refused(.noBlob, retryAfterSeconds: 0) }
        guard shape.byteCount(ofPiece: Int(piece.index)) == content.count,
            piece.index <= blob.pieceCount
        else { return .refused(.malformed, retryAfterSeconds: 0) }
        guard piece.index == blob.pieceCount else { return .done }
        // What was begun while there was room doesn't get more of it than others now.
        let present = try store.blobUsage(in: group.number)
        guard hasRoom(forBlobs: content.count, makingOfGroup: present.byteCount) else {
            return .refused(.storage, retryAfterSeconds: 3_600)
        }
        if let wait = takePiece(for: mailbox) {
            return .refused(.rate, retryAfterSeconds: wait)
        }
        try store.addPiece(content, to: blob, on: now.day)
        return .done
    }

    func inspect(
        _ reference: BlobReference, by mailbox: LiveMailbox
    ) throws(StoreError) -> Outcome {
        guard let (group, _) = try activeMember(of: reference.groupID, mailbox) else {
            return .refused(.notAllowed, retryAfterSeconds: 0)
        }
        guard let blob = try store.blob(reference.blob, in: group.number) else {
            return .blobState(.none)
        }
        return .blobState(
            BlobState(
                byteCount: UInt64(blob.byteCount), pieceCount: UInt32(clamping: blob.pieceCount)))
    }

    /// Hands out a piece. A question is short and a piece is long: of many questions at once the
    /// later ones are put off, and a connection that doesn't read isn't read from (`Switchboard`).
    func read(
        _ piece: PieceReference, by mailbox: LiveMailbox, on connection: Connection
    ) throws(StoreError) -> Outcome {
        guard let (group, _) = try activeMember(of: piece.blob.groupID, mailbox) else {
            return .refused(.notAllowed, retryAfterSeconds: 0)
        }
        guard let blob = try store.blob(piece.blob.blob, in: group.number), blob.owner == nil else {
            return .refused(.noBlob, retryAfterSeconds: 0)
        }
        guard piece.index < blob.pieceCount else {
            return .refused(.malformed, retryAfterSeconds: 0)
        }
        guard connection.repeatedByteCount < Self.repeatedByteLimit else {
            return .refused(.rate, retryAfterSeconds: 1)
        }
        if let wait = takePiece(for: mailbox) {
            return .refused(.rate, retryAfterSeconds: wait)
        }
        let content: [UInt8]
        do throws(StoreError) {
            guard let found = try store.piece(Int(piece.index), of: blob) else {
                throw .corrupt("a piece of a blob is missing")
            }
            content = found
        } catch {
            // The others go on; `check` finds it.
            guard case .corrupt = error else { throw error }
            counters.damagedPieces += 1
            return .refused(.noBlob, retryAfterSeconds: 0)
        }
        connection.repeatedByteCount += content.count
        return .piece(content)
    }

    /// All mailboxes on one connection have twice what each of them has.
    private func takePiece(for mailbox: LiveMailbox) -> UInt32? {
        mailbox.connection?.pieceBucket.take(
            perSecond: 2 * limits.piecesPerSecond, burst: 2 * limits.pieceBurst,
            at: now.monotonicMilliseconds)
            ?? mailbox.pieceBucket.take(
                perSecond: limits.piecesPerSecond, burst: limits.pieceBurst,
                at: now.monotonicMilliseconds)
    }
}
