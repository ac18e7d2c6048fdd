public import RelayProtocol

/// The short way: a frame that needs nothing but what is in memory is dealt with outside of any
/// transaction, and what follows from it may leave at once.
///
/// These are messages that can be held, and acknowledgements of held ones. Everything that could
/// read or write the store goes the long way, so that nothing leaves here that isn't durable: a
/// delivery was promised to nobody, and an answer says that its recipients have the message.
extension RelayEngine {
    /// Begins a batch that leaves the store alone; it ends with `finishFromMemory`.
    public func beginFromMemory(at time: RelayTime) { begin(at: time) }

    /// Deals with as much of a frame as needs no store.
    ///
    /// - Returns: the rest, in its order, which has to be given to `received`; `nil` if there is
    ///   none.
    public func receivedFromMemory(
        _ frame: ClientFrame, from id: ConnectionID
    ) throws(StoreError) -> ClientFrame? {
        guard let connection = connections[id], case .challenged = connection.phase,
            frame.hello == nil, connection.starved.isEmpty
        else { return frame }
        var seen: Set<DeliveryID> = []
        for acknowledgement in frame.acknowledgements {
            guard areHeld(acknowledgement, on: connection, &seen) else { return frame }
        }
        for acknowledgement in frame.acknowledgements {
            try acknowledge(acknowledgement, on: connection)
        }
        for (index, request) in frame.requests.enumerated() {
            guard try takeFromMemory(request, on: connection) else {
                return ClientFrame(requests: Array(frame.requests[index...]))
            }
        }
        return nil
    }

    /// Ends such a batch, and says what to send.
    public func finishFromMemory() -> BatchOutput {
        // Lets go of what has been settled, which nobody else might look at for long.
        _ = held.first()
        return takeOutput()
    }

    private func areHeld(
        _ acknowledgement: Acknowledgement, on connection: Connection,
        _ seen: inout Set<DeliveryID>
    ) -> Bool {
        guard let mailbox = connection.mailboxes[acknowledgement.mailbox], !mailbox.isBehind else {
            return false
        }
        return acknowledgement.deliveries.allSatisfy { id in
            guard case .message(let number)? = names.item(of: id, for: mailbox.number) else {
                return false
            }
            // The second time it would be looked for in the store.
            return mailbox.inFlight[number]?.held != nil && seen.insert(id).inserted
        }
    }

    private func takeFromMemory(
        _ request: Request, on connection: Connection
    ) throws(StoreError) -> Bool {
        guard case .send(let message) = request.operation,
            let mailbox = connection.mailboxes[request.mailbox], mailbox.blocked == nil,
            request.id > request.confirmed, request.id <= .last,
            mailbox.unanswered[request.id] == nil,
            mailbox.record.requests.standing(of: request.id) == .free,
            !mailbox.record.requests.hasStored(through: request.confirmed)
        else { return false }
        guard try sendFromMemory(message, request.id, from: mailbox, on: connection) else {
            return false
        }
        if request.confirmed > mailbox.record.requests.confirmed {
            _ = mailbox.record.requests.confirm(through: request.confirmed)
            markLate(mailbox)
        }
        return true
    }
}
