import RelayProtocol

/// How a light device puts and fetches files: beside everything else, a piece per request.
extension LightDevice {
    // MARK: Asking

    /// Starts what files need; a few at a time.
    func startTransfers(_ index: Int) {
        let box = state.boxes[index]
        guard box.link == .open, box.pausedUntil <= world.now, !box.isRetiring else { return }
        var free = 2 - box.pending.count { $0.purpose.blob != nil }
        for talk in state.talks.indices where state.talks[talk].box == box.id {
            dropUnwanted(talk)
            guard case .active = state.talks[talk].phase, !state.talks[talk].confirmIsSent else {
                continue
            }
            for place in state.talks[talk].transfers.indices where free > 0 {
                let transfer = state.talks[talk].transfers[place]
                guard !box.pending.contains(where: { $0.purpose.blob == transfer.file.id }) else {
                    continue
                }
                guard transfer.pausedUntil <= world.now else {
                    wakeLater(at: transfer.pausedUntil)
                    continue
                }
                start(place, of: talk, index)
                free -= 1
            }
        }
    }

    /// Whoever closes waits for no file, nor does one who was removed.
    private func dropUnwanted(_ talk: Int) {
        let it = state.talks[talk]
        if it.isRefused || it.isRemoved {
            state.talks[talk].transfers = []
        } else if !it.isWritable {
            state.talks[talk].transfers.removeAll(where: \.isMine)
        }
    }

    private func start(_ place: Int, of talk: Int, _ index: Int) {
        let it = state.talks[talk]
        let transfer = it.transfers[place]
        let blob = BlobReference(groupID: it.group, blob: transfer.file.id)
        let operation: RelayProtocol.Operation
        switch transfer.atRelay {
        case _ where !transfer.isMine:
            // Some look before.
            operation =
                transfer.fetched == 0 && world.chance.happens(2_000)
                ? .inspectBlob(blob)
                : .readPiece(PieceReference(blob: blob, index: UInt32(transfer.fetched)))
        case .unknown: operation = .inspectBlob(blob)
        case .absent:
            operation = .beginBlob(
                BlobBeginning(
                    groupID: it.group, blob: transfer.file.id,
                    byteCount: UInt64(transfer.file.shape.byteCount)))
        case .pieces(let count):
            operation = .putPiece(
                PieceReference(blob: blob, index: UInt32(count)),
                content: transfer.file.piece(count))
        }
        start(operation, .blob(it.group, transfer.file.id), of: index)
    }

    // MARK: Answers

    /// The relay wants it later; everything else goes on.
    func pauseTransfer(_ pending: Pending, _ refusal: Refusal, seconds: UInt32) {
        guard let (talk, place) = transfer(of: pending) else { return }
        let isOwn = state.talks[talk].transfers[place].isMine
        // Where others, or files that were given up, have taken all room, some don't want to wait.
        let isBeginning = if case .beginBlob = pending.request.operation { true } else { false }
        if isOwn, isBeginning || refusal == .storage,
            !world.mayFail || world.chance.happens(5_000)
        {
            world.trace.note(.fileRefused, at: world.now, number, Int(refusal.rawValue))
            state.talks[talk].transfers.remove(at: place)
            return
        }
        state.talks[talk].transfers[place].atRelay = .unknown
        state.talks[talk].transfers[place].pausedUntil = world.now + Int(seconds) * 1_000_000
    }

    private func transfer(of pending: Pending) -> (talk: Int, place: Int)? {
        guard case .blob(let group, let blob) = pending.purpose,
            let talk = talkIndex(group, pending.request.mailbox),
            let place = state.talks[talk].transfers.firstIndex(where: { $0.file.id == blob })
        else { return nil }
        return (talk, place)
    }

    func transferred(_ pending: Pending, _ outcome: Outcome) {
        guard let (talk, place) = transfer(of: pending) else { return }
        let transfer = state.talks[talk].transfers[place]
        switch (pending.request.operation, outcome) {
        case (.inspectBlob, .blobState(let found)): inspected(found, place, of: talk)
        case (.beginBlob, .done): noteAtRelay(0, place, of: talk)
        case (.putPiece(let piece, _), .done):
            noteAtRelay(Int(piece.index) + 1, place, of: talk)
        case (.readPiece(let piece), .piece(let content)):
            guard Int(piece.index) == transfer.fetched else {
                return violate("a piece that it has")
            }
            if content != transfer.file.piece(transfer.fetched) {
                violate("piece \(piece.index) of a file isn't what was put")
            }
            noteFetched(place, of: talk)
        case (_, .refused(.notAllowed, _)):
            if let group = pending.purpose.group { refuse(group, pending) }
        case (_, .refused(.groupClosed, _)) where transfer.isMine:
            state.talks[talk].transfers.remove(at: place)
        case (.beginBlob, .refused(let refusal, _)) where [.limit, .tooLarge].contains(refusal):
            world.trace.note(.fileRefused, at: world.now, number, Int(refusal.rawValue))
            state.talks[talk].transfers.remove(at: place)
        case (.putPiece, .refused(.noBlob, _)):
            // It lay for too long; whether it might go, the monitor knows.
            state.talks[talk].transfers[place].atRelay = .unknown
        default: violate("\(pending.request.operation.shortName) was answered \(outcome)")
        }
    }

    private func inspected(_ found: BlobState, _ place: Int, of talk: Int) {
        let transfer = state.talks[talk].transfers[place]
        let shape = transfer.file.shape
        if found != .none, found.byteCount != UInt64(shape.byteCount) {
            violate("a blob has another length than it was begun with")
        }
        if !transfer.isMine {
            if Int(found.pieceCount) != shape.pieceCount { violate("a blob isn't whole any more") }
        } else if found == .none {
            state.talks[talk].transfers[place].atRelay = .absent
        } else {
            noteAtRelay(Int(found.pieceCount), place, of: talk)
        }
    }

    /// When the relay has all of it, its message is written.
    private func noteAtRelay(_ count: Int, _ place: Int, of talk: Int) {
        let file = state.talks[talk].transfers[place].file
        let isEarly = world.flaw == .announcesEarly && count > 0
        guard count == file.shape.pieceCount || isEarly else {
            state.talks[talk].transfers[place].atRelay = .pieces(count)
            return
        }
        state.talks[talk].transfers.remove(at: place)
        guard state.talks[talk].isWritable else { return }
        state.talks[talk].lastCounter += 1
        let counter = state.talks[talk].lastCounter
        state.talks[talk].outbox.append(counter)
        state.talks[talk].files[counter] = file
        world.trace.note(.fileAtRelay, at: world.now, number, file.shape.pieceCount)
    }

    private func noteFetched(_ place: Int, of talk: Int) {
        state.talks[talk].transfers[place].fetched += 1
        let transfer = state.talks[talk].transfers[place]
        guard transfer.fetched == transfer.file.shape.pieceCount else { return }
        state.talks[talk].transfers.remove(at: place)
        world.trace.note(.fileFetched, at: world.now, number, transfer.fetched)
    }

    /// A message speaks of a file.
    func fetch(_ file: LightFile, in talk: Int) {
        if state.talks[talk].transfers.contains(where: { $0.file.id == file.id }) {
            violate("two messages speak of one file")
        }
        state.talks[talk].transfers.append(LightTransfer(file: file, isMine: false))
    }

    // MARK: What a person does

    func sendFile(in talk: Int) {
        guard state.talks[talk].isWritable, state.talks[talk].transfers.count < 4,
            let id = BlobID(world.chance.bytes(BlobID.byteCount)),
            let shape = BlobShape(byteCount: UInt64(lengthOfFile))
        else { return }
        state.talks[talk].transfers.append(
            LightTransfer(file: LightFile(id: id, shape: shape), isMine: true))
    }

    private var lengthOfFile: Int {
        let piece = BlobShape.pieceByteCount
        return world.chance.pick([1, 300, 300, 5_000, piece, piece + 1, 2 * piece + 700]) ?? 1
    }

    /// Its person gives a file up; what is at the relay of it stays there for some days.
    func giveUpFile(in talk: Int) {
        guard let place = state.talks[talk].transfers.firstIndex(where: \.isMine) else { return }
        state.talks[talk].transfers.remove(at: place)
    }
}

extension Pending.Purpose {
    var blob: BlobID? { if case .blob(_, let blob) = self { blob } else { nil } }
    fileprivate var group: GroupID? { if case .blob(let group, _) = self { group } else { nil } }
}

extension RelayProtocol.Operation {
    /// Without what it carries.
    var shortName: String { String("\(self)".prefix(60)) }
}
