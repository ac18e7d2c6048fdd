import RelayProtocol

/// Taking requests: who may ask, in which order, and once.
extension RelayEngine {
    func answer(
        _ request: Request, on connection: Connection, _ proof: OpeningProof
    ) throws(StoreError) {
        if case .open(let opening) = request.operation {
            if request.id != .opening {
                reply(connection, to: request, .refused(.malformed, retryAfterSeconds: 0))
            } else if let wait = takeFrom(connection) {
                reply(connection, to: request, .refused(.rate, retryAfterSeconds: wait))
            } else {
                reply(
                    connection, to: request,
                    try open(request.mailbox, opening, on: connection, proof))
                countFailure(on: connection)
            }
            return
        }
        guard let mailbox = connection.mailboxes[request.mailbox] else {
            if let wait = takeFrom(connection) {
                return reply(connection, to: request, .refused(.rate, retryAfterSeconds: wait))
            }
            return reply(connection, to: request, .refused(.notAllowed, retryAfterSeconds: 0))
        }
        if let outcome = try answer(request, of: mailbox, on: connection) {
            reply(connection, to: request, outcome)
        }
    }

    /// Whoever has nothing open after an opening, whatever the reason, may be anybody, and each try
    /// costs a look at a signature. For devices it is enough that openings have a rate.
    private func countFailure(on connection: Connection) {
        guard connection.mailboxes.isEmpty else { return }
        connection.failedOpenings += 1
        guard connection.failedOpenings >= limits.failedOpenings else { return }
        end(connection, .unproven, "too many openings failed")
    }

    /// Openings, and requests of mailboxes that aren't open, count for the connection.
    private func takeFrom(_ connection: Connection) -> UInt32? {
        connection.bucket.take(
            perSecond: limits.openingsPerSecond, burst: limits.openingBurst,
            at: now.monotonicMilliseconds)
    }

    /// - Returns: `nil` if the answer comes later.
    private func answer(
        _ request: Request, of mailbox: LiveMailbox, on connection: Connection
    ) throws(StoreError) -> Outcome? {
        guard request.id > request.confirmed, request.id <= .last else {
            return .refused(.malformed, retryAfterSeconds: 0)
        }
        if request.confirmed > mailbox.record.requests.confirmed {
            if mailbox.record.requests.confirm(through: request.confirmed) {
                markDirty(mailbox)
                try store.removeAnswers(mailbox.number, through: request.confirmed)
            } else {
                markLate(mailbox)
            }
        }
        // Repetitions count too: a stored answer can be much longer than the question.
        let wait =
            mailbox.connection?.requestBucket.take(
                perSecond: limits.connectionRequestsPerSecond,
                burst: limits.connectionRequestBurst, at: now.monotonicMilliseconds)
            ?? mailbox.requestBucket.take(
                perSecond: limits.requestsPerSecond, burst: limits.requestBurst,
                at: now.monotonicMilliseconds)
        if let held = mailbox.unanswered[request.id] {
            // It was asked before and waits for acknowledgements; the asker doesn't want to wait.
            try storeHeld(of: held.group)
        }
        let standing = mailbox.record.requests.standing(of: request.id)
        if let wait, standing != .free { return .refused(.rate, retryAfterSeconds: wait) }
        switch standing {
        case .forgotten: return .refused(.forgotten, retryAfterSeconds: 0)
        case .beyond: return .refused(.limit, retryAfterSeconds: 0)
        case .answered(let answer): return try repeated(answer, request.id, mailbox, connection)
        case .free: break
        }
        if let blocked = mailbox.blocked, request.operation.keepsOrder {
            if blocked.id <= mailbox.record.requests.confirmed || request.id == blocked.id {
                mailbox.blocked = nil
            } else if request.id > blocked.id {
                return .refused(blocked.refusal, retryAfterSeconds: 1)
            }
        }
        let outcome: Outcome
        if let wait {
            outcome = .refused(.rate, retryAfterSeconds: wait)
        } else if refusesGrowth, request.operation.grows {
            outcome = .refused(.storage, retryAfterSeconds: 60)
        } else {
            let answer = try carryOut(request, of: mailbox, on: connection)
            guard let answer else { return nil }
            outcome = answer
        }
        try remember(outcome, of: request, mailbox)
        return outcome
    }

    private func repeated(
        _ answer: RequestWindow.Answer, _ id: RequestID, _ mailbox: LiveMailbox,
        _ connection: Connection
    ) throws(StoreError) -> Outcome {
        switch answer {
        case .done: return .done
        case .shelf: return .shelf(try shelfState(of: mailbox))
        case .refused(let refusal): return .refused(refusal, retryAfterSeconds: 0)
        case .stored:
            // Asking costs some eighty octets, an answer has up to 32 KiB.
            guard connection.repeatedByteCount < Self.repeatedByteLimit else {
                return .refused(.rate, retryAfterSeconds: 1)
            }
            guard let content = try store.answer(mailbox.number, id),
                let outcome = try? Outcome(decoding: content)
            else { throw .corrupt("an answer is missing") }
            connection.repeatedByteCount += content.count
            return outcome
        }
    }

    /// When to try again where nobody knows when others make room.
    static let secondsWithoutRoom: UInt32 = 3_600

    /// Octets of stored answers and pieces after which a batch gives no more on a connection.
    static let repeatedByteLimit = 1 << 20

    /// Notes an answer, so that the same request gets it again.
    private func remember(
        _ outcome: Outcome, of request: Request, _ mailbox: LiveMailbox
    ) throws(StoreError) {
        guard !mailbox.isErased else { return }
        let id = request.id
        switch outcome {
        case .refused(let refusal, let seconds) where seconds > 0:
            if request.operation.keepsOrder { mailbox.blocked = (id, refusal) }
            return
        case .groupState, .opened, .refusedCounter, .keyPackage(_, lastResort: true), .blobState,
            .piece:
            // Read again when asked again. Beside the shelf, where it stays, a copy of a last-resort
            // package would show whose shelf the claimer turned to.
            return
        case .done: mailbox.record.requests.record(.done, for: id)
        case .shelf: mailbox.record.requests.record(.shelf, for: id)
        case .refused(let refusal, _): mailbox.record.requests.record(.refused(refusal), for: id)
        case .tickets, .keyPackage, .committed, .staleEpoch, .erased:
            mailbox.record.requests.record(.stored, for: id)
            try store.addAnswer(mailbox.number, id, outcome.encoded())
        }
        markDirty(mailbox)
    }

    private func carryOut(
        _ request: Request, of mailbox: LiveMailbox, on connection: Connection
    ) throws(StoreError) -> Outcome? {
        switch request.operation {
        case .send(let message):
            return try send(message, request.id, from: mailbox, on: connection)
        case .commit(let commit): return try self.commit(commit, from: mailbox)
        case .createGroup(let creation): return try createGroup(creation, by: mailbox)
        case .close(let message): return try close(message, by: mailbox)
        case .confirm(let group): return try confirm(group, by: mailbox)
        case .inspectGroup(let group): return try inspect(group, by: mailbox)
        case .drawTickets(let count): return try drawTickets(count, for: mailbox)
        case .stockShelf(let stock): return try stockShelf(stock, of: mailbox)
        case .claimKeyPackage(let shelf): return try claim(from: shelf, for: mailbox)
        case .retire: return try retire(mailbox)
        case .beginBlob(let beginning): return try beginBlob(beginning, by: mailbox)
        case .putPiece(let piece, let content): return try put(content, as: piece, by: mailbox)
        case .inspectBlob(let blob): return try inspect(blob, by: mailbox)
        case .readPiece(let piece): return try read(piece, by: mailbox, on: connection)
        case .unusable(let refusal): return .refused(refusal, retryAfterSeconds: 0)
        case .open: return .refused(.malformed, retryAfterSeconds: 0)
        }
    }
}

extension RelayProtocol.Operation {
    /// Whether nothing asked later may overtake it. Blobs have no order among one another, and their
    /// messages are sent once they are whole.
    var keepsOrder: Bool {
        switch self {
        case .beginBlob, .putPiece, .inspectBlob, .readPiece: false
        default: true
        }
    }

    /// Whether the store has to grow for it.
    var grows: Bool {
        switch self {
        case .createGroup, .commit, .send, .stockShelf, .drawTickets, .claimKeyPackage, .beginBlob,
            .putPiece:
            true
        case .open, .close, .confirm, .inspectGroup, .retire, .inspectBlob, .readPiece, .unusable:
            false
        }
    }
}
