import RelayCore
import RelayProtocol
import RelayTestSupport

/// Blobs: for members only, whole once they are said to be, and as they were put.
extension Monitor {
    // MARK: What is asked

    func asked(ofBlobs request: Request, _ mailbox: MailboxID) {
        guard let box = boxes[mailbox] else { return }
        switch request.operation {
        case .beginBlob(let it):
            if box.askedOn[request.id.rawValue] == nil {
                boxes[mailbox]?.askedOn[request.id.rawValue] = world.day
            }
            guard let group = groups[it.groupID], blobs[it.groupID]?[it.blob] == nil else { return }
            blobs[it.groupID, default: [:]][it.blob] = BlobModel(
                it, in: group, by: mailbox, isHostile: box.isHostile)
        case .putPiece(let it, let content):
            if box.askedOn[request.id.rawValue] == nil {
                boxes[mailbox]?.askedOn[request.id.rawValue] = world.day
            }
            guard !box.isHostile else { return }
            // Each blob has a key of its own, and so each piece one content.
            let name = Body.name(of: content)
            if pieces[it.blob.blob]?[it.index] ?? name != name {
                violate("a piece was put that was another before")
            }
            pieces[it.blob.blob, default: [:]][it.index] = name
        default: break
        }
    }

    // MARK: What is answered

    func allows(
        ofBlobs outcome: Outcome, _ operation: RelayProtocol.Operation, _ mailbox: MailboxID
    ) -> Bool {
        switch (operation, outcome) {
        case (.beginBlob(let it), .done):
            // The answer of then, perhaps to somebody who isn't a member any more.
            return blobs[it.groupID]?[it.blob]?.owner == mailbox && wasMember(mailbox, it.groupID)
        case (.putPiece(let it, _), .done): return wasMember(mailbox, it.blob.groupID)
        case (.inspectBlob(let it), .blobState): return isMember(mailbox, it.groupID)
        case (.readPiece(let it), .piece): return isMember(mailbox, it.blob.groupID)
        default: return false
        }
    }

    private func wasMember(_ mailbox: MailboxID, _ id: GroupID) -> Bool {
        guard let group = groups[id] else { return false }
        return group.members.keys.contains { group.place(of: mailbox, in: $0) != nil }
            || mayHaveBeenAdded(mailbox, group)
    }

    /// An attacker doesn't wait until somebody was told.
    private func mayHaveBeenAdded(_ mailbox: MailboxID, _ group: GroupModel) -> Bool {
        boxes[mailbox]?.isHostile == true && group.mayBeAdded.contains(mailbox)
            && !group.members.keys.contains { group.place(of: mailbox, in: $0) != nil }
    }

    /// Whether it is a member now, or was before what the batch at hand tells.
    private func isMember(_ mailbox: MailboxID, _ id: GroupID) -> Bool {
        guard let group = groups[id], (group.erasedIn ?? batches) == batches else { return false }
        if mayHaveBeenAdded(mailbox, group) { return true }
        var epoch = group.epoch
        while true {
            if let place = group.place(of: mailbox, in: epoch) {
                guard let expires = place.expires, !world.profile.bendsTime else { return true }
                return world.day <= expires.adding(days: 2)
            }
            guard epoch > group.firstEpoch, group.wonIn[epoch - 1] == batches else { return false }
            epoch -= 1
        }
    }

    func note(ofBlobs operation: RelayProtocol.Operation, _ reply: Reply, _ mailbox: MailboxID) {
        let day = boxes[mailbox]?.askedOn[reply.id.rawValue] ?? world.day
        switch (operation, reply.outcome) {
        case (.beginBlob(let it), .done):
            learn(it.groupID, it.blob, pieceCount: 0, on: day)
        case (.putPiece(let it, _), .done):
            learn(it.blob.groupID, it.blob.blob, pieceCount: Int(it.index) + 1, on: day)
        case (.putPiece(let it, _), .refused(.noBlob, _)):
            missed(it.blob.groupID, it.blob.blob, 0)
        case (.readPiece(let it), .refused(.noBlob, _)):
            guard let blob = blobs[it.blob.groupID]?[it.blob.blob] else { return }
            if blob.isWhole { violate("a whole blob is called none") }
        case (.inspectBlob(let it), .blobState(let found)): noteState(found, it)
        case (.readPiece(let it), .piece(let content)): noteRead(content, it)
        default: break
        }
    }

    private func noteState(_ found: BlobState, _ reference: BlobReference) {
        guard let blob = blobs[reference.groupID]?[reference.blob] else {
            if found != .none { violate("a blob that nobody began") }
            return
        }
        if found != .none, found.byteCount != blob.byteCount {
            violate("a blob has another length than it was begun with")
        }
        let count = Int(found.pieceCount)
        if found == .none || count < blob.pieceCount ?? 0 {
            missed(reference.groupID, reference.blob, count)
        } else {
            learn(reference.groupID, reference.blob, pieceCount: count, on: nil)
        }
    }

    private func noteRead(_ content: [UInt8], _ piece: PieceReference) {
        guard let blob = blobs[piece.blob.groupID]?[piece.blob.blob] else {
            return violate("a piece of a blob that nobody began")
        }
        guard !blob.isHostile else { return }
        if pieces[blob.id]?[piece.index] != Body.name(of: content) {
            violate("a piece was read that isn't the one that was put")
        }
        learn(piece.blob.groupID, blob.id, pieceCount: blob.wholeCount, on: nil)
    }

    /// The relay has said that it has so many pieces.
    private func learn(_ group: GroupID, _ id: BlobID, pieceCount: Int, on day: Day?) {
        guard let blob = blobs[group]?[id] else { return }
        blobNews.append {
            blob.pieceCount = max(blob.pieceCount ?? 0, pieceCount)
            if let day { blob.touched = max(blob.touched, day) }
        }
    }

    /// The relay has less than it has said before: nothing came for days.
    private func missed(_ group: GroupID, _ id: BlobID, _ count: Int) {
        guard let blob = blobs[group]?[id] else { return }
        if blob.pieceCount != nil, mustBeThere(blob) {
            violate("a blob with \(blob.pieceCount ?? 0) pieces is there with \(count) only")
        }
        blobNews.append { blob.pieceCount = nil }
    }

    /// Whether the relay can't have deleted it; clocks that run wild are two days off at most where
    /// they are believed.
    private func mustBeThere(_ blob: BlobModel) -> Bool {
        guard let count = blob.pieceCount, !blob.isHostile else { return false }
        if blob.isWhole { return true }
        // What a mailbox that is erased had begun goes with it.
        guard !blob.group.mayBeRemoved.contains(blob.owner) else { return false }
        let bends = world.profile.bendsTime
        let days: UInt32 = count > 0 ? (bends ? 3 : 7) : 1
        return (count > 0 || !bends) && world.day <= blob.touched.adding(days: days)
    }

    /// Names that members know.
    func wholeBlobs(of group: GroupID) -> [BlobID] {
        (blobs[group] ?? [:]).values.filter(\.isWhole).map(\.id).sorted {
            $0.bytes.lexicographicallyPrecedes($1.bytes)
        }
    }

    // MARK: What is stored

    /// Quotas.
    func checkRoomOfBlobs(_ state: MemoryState) {
        let limits = world.profile.limits
        var begun: [Int64: Int] = [:]
        var stored = state.dropped.reduce(0) { $0 + $1.byteCount }
        for blobs in state.blobs.values {
            let byteCount = blobs.values.reduce(0) { $0 + $1.byteCount }
            if blobs.count > limits.groupBlobs || byteCount > limits.groupBlobByteCount {
                violate("a group has \(blobs.count) blobs of \(byteCount) octets")
            }
            for blob in blobs.values {
                if blob.byteCount > limits.blobByteCount { violate("a blob is too long") }
                stored += blob.pieces.reduce(0) { $0 + $1.count }
                if let owner = blob.owner { begun[owner, default: 0] += 1 }
            }
        }
        if stored > limits.allBlobByteCount { violate("blobs have \(stored) octets") }
        if begun.values.contains(where: { $0 > limits.unfinishedBlobs }) {
            violate("a mailbox has begun too many blobs")
        }
    }

    /// What is whole is there, and nothing is that nobody could read or finish.
    func checkBlobs(_ state: MemoryState) {
        for all in blobs.values {
            for blob in all.values where !blob.isHostile && !blob.group.isErased {
                guard let place = state.groupNumbers[blob.group.id], mustBeThere(blob) else {
                    continue
                }
                let found = state.blobs[place]?[blob.id]
                if found == nil || found?.pieces.count ?? 0 < blob.pieceCount ?? 0 {
                    violate(
                        "a blob of group \(blob.group.number) has \(found?.pieces.count ?? -1) "
                            + "of \(blob.pieceCount ?? 0) pieces")
                }
            }
        }
        var late: Set<BlobID> = []
        for (place, all) in state.blobs {
            guard let group = state.groups[place] else {
                if !all.isEmpty { violate("blobs are left of a group that is gone") }
                continue
            }
            if retaken.contains(group.id) { continue }
            for (id, blob) in all {
                guard let model = blobs[group.id]?[id] else {
                    violate("a blob is stored that nobody began")
                    continue
                }
                check(blob, model, state)
                // Its days are over by any clock.
                if blob.owner != nil, blob.day.adding(days: 9) < world.day { late.insert(id) }
            }
        }
        if world.relay.engine?.clockDoubt != nil { late = [] }
        if !late.isDisjoint(with: overdue) { violate("a blob that isn't whole is kept for ever") }
        overdue = late
    }

    private func check(_ blob: MemoryBlob, _ model: BlobModel, _ state: MemoryState) {
        if let owner = blob.owner, state.mailboxes[owner]?.id != model.owner {
            violate("a blob is another's to go on with than who began it")
        }
        if (blob.owner == nil) != (blob.pieces.count == model.wholeCount) {
            violate("a blob is whole that isn't, or isn't that is")
        }
        guard !model.isHostile else { return }
        for (index, piece) in blob.pieces.enumerated()
        where pieces[model.id]?[UInt32(index)] != Body.name(of: piece) {
            violate("a stored piece isn't the one that was put")
        }
    }

    /// The relay was put back: what it has now is what it has.
    func blobsRestored(_ state: MemoryState) {
        overdue = []
        for (id, all) in blobs {
            let place = state.groupNumbers[id]
            for blob in all.values {
                blob.pieceCount = place.flatMap { state.blobs[$0]?[blob.id]?.pieces.count }
            }
        }
    }
}
