private import FoundationEssentials
private import SwiftProtobuf

private typealias Wire = Curtain_Relay_V1_RelayFrame

extension RelayFrame {
    /// Reads a frame from the relay.
    ///
    /// - Throws: `.notAFrame` or `.invalidField`; the connection is no use any more.
    public init(decoding bytes: [UInt8]) throws(RelayProtocolError) {
        if let frame = RelayFrame(common: bytes) {
            self = frame
        } else {
            try self.init(uncommon: bytes)
        }
    }

    /// The same for any frame, by the generated code alone.
    init(uncommon bytes: [UInt8]) throws(RelayProtocolError) {
        guard FrameShape.fieldCount(bytes, .relayFrame) != nil else { throw .notAFrame }
        let wire: Wire
        do {
            wire = try Wire(serializedBytes: bytes)
        } catch {
            throw .notAFrame
        }
        challenge = wire.hasChallenge ? try Challenge(wire.challenge) : nil
        replies = []
        replies.reserveCapacity(wire.replies.count)
        for reply in wire.replies { replies.append(try Reply(reply)) }
        deliveries = []
        deliveries.reserveCapacity(wire.deliveries.count)
        for delivery in wire.deliveries { deliveries.append(try Delivery(delivery)) }
        notices = []
        for notice in wire.notices { notices.append(try Notice(notice)) }
    }

    /// Its octets by the generated code alone.
    func encodedUncommon() -> [UInt8] {
        var wire = Wire()
        if let challenge { wire.challenge = challenge.wire }
        wire.replies = replies.map(\.wire)
        wire.deliveries = deliveries.map(\.wire)
        wire.notices = notices.compactMap(\.wire)
        // Serialising can only fail for messages over 2 GiB, which the frame limit excludes.
        return (try? wire.serializedBytes()) ?? []
    }
}

extension Challenge {
    fileprivate init(_ wire: Curtain_Relay_V1_Challenge) throws(RelayProtocolError) {
        version = wire.version
        relayKey = try octets(wire.relayKey, count: 32, "challenge.relay_key")
        nonce = try octets(wire.nonce, count: ProtocolConstants.nonceByteCount, "challenge.nonce")
        incarnation = try octets(
            wire.incarnation, count: ProtocolConstants.incarnationByteCount,
            "challenge.incarnation")
        signature = try octets(wire.signature, count: 64, "challenge.signature")
        limits = PublishedLimits(
            frameByteCount: wire.limits.frameBytes, messageByteCount: wire.limits.messageBytes,
            outstandingRequests: wire.limits.outstandingRequests,
            shelfPackages: wire.limits.shelfPackages, groupMembers: wire.limits.groupMembers,
            ticketsPerDay: wire.limits.ticketsPerDay)
    }

    fileprivate var wire: Curtain_Relay_V1_Challenge {
        var wire = Curtain_Relay_V1_Challenge()
        wire.version = version
        wire.relayKey = Data(relayKey)
        wire.nonce = Data(nonce)
        wire.incarnation = Data(incarnation)
        wire.limits.frameBytes = limits.frameByteCount
        wire.limits.messageBytes = limits.messageByteCount
        wire.limits.outstandingRequests = limits.outstandingRequests
        wire.limits.shelfPackages = limits.shelfPackages
        wire.limits.groupMembers = limits.groupMembers
        wire.limits.ticketsPerDay = limits.ticketsPerDay
        wire.signature = Data(signature)
        return wire
    }
}

private func octets(
    _ data: Data, count: Int, _ field: String
) throws(RelayProtocolError) -> [UInt8] {
    guard data.count == count else { throw .invalidField(field) }
    return [UInt8](data)
}

extension Reply {
    fileprivate init(_ wire: Curtain_Relay_V1_Reply) throws(RelayProtocolError) {
        guard let mailbox = MailboxID(wire.mailbox) else { throw .invalidField("reply.mailbox") }
        self.mailbox = mailbox
        id = RequestID(rawValue: wire.id)
        outcome = try Outcome(wire.outcome)
    }

    fileprivate var wire: Curtain_Relay_V1_Reply {
        var wire = Curtain_Relay_V1_Reply()
        wire.mailbox = Data(mailbox.bytes)
        wire.id = id.rawValue
        wire.outcome = outcome.wire
        return wire
    }
}

extension Outcome {
    /// Reads a stored answer.
    ///
    /// - Throws: `.notAFrame` or `.invalidField`.
    package init(decoding bytes: [UInt8]) throws(RelayProtocolError) {
        let wire: Curtain_Relay_V1_Reply
        do {
            wire = try Curtain_Relay_V1_Reply(serializedBytes: bytes)
        } catch {
            throw .notAFrame
        }
        self = try Outcome(wire.outcome)
    }

    /// The octets in which an answer is stored: a `Reply` of `relay.proto` without mailbox and id.
    package func encoded() -> [UInt8] {
        var reply = Curtain_Relay_V1_Reply()
        reply.outcome = wire
        return (try? reply.serializedBytes()) ?? []
    }

    fileprivate init(
        _ wire: Curtain_Relay_V1_Reply.OneOf_Outcome?
    ) throws(RelayProtocolError) {
        switch wire {
        case nil: throw .invalidField("reply.outcome")
        case .opened(let wire)?:
            self = .opened(
                Opened(
                    lastCounter: wire.lastCounter,
                    shelf: wire.hasShelf ? ShelfState(wire.shelf) : nil,
                    lastRequest: RequestID(rawValue: wire.lastRequest), waiting: wire.waiting))
        case .done?: self = .done
        case .tickets(let wire)?: self = .tickets(wire.tickets.map { [UInt8]($0) })
        case .shelf(let wire)?: self = .shelf(ShelfState(wire))
        case .keyPackage(let wire)?:
            self = .keyPackage(sealed: [UInt8](wire.sealed), lastResort: wire.lastResort)
        case .committed(let wire)?:
            self = .committed(
                epoch: wire.epoch,
                commitHash: try octets(wire.commitHash, count: 32, "committed.commit_hash"))
        case .staleEpoch(let wire)?:
            self = .staleEpoch(
                epoch: wire.epoch,
                commitHash: try octets(wire.commitHash, count: 32, "stale_epoch.commit_hash"))
        case .groupState(let wire)?: self = .groupState(try GroupState(wire))
        case .blobState(let wire)?:
            self = .blobState(BlobState(byteCount: wire.bytes, pieceCount: wire.pieces))
        case .piece(let wire)?: self = .piece([UInt8](wire.content))
        case .erased(let wire)?: self = .erased(receipts: wire.receipts.map { [UInt8]($0) })
        case .refused(let wire)?:
            guard let code = UInt8(exactly: wire.refusal.rawValue), code != 0 else {
                throw .invalidField("refused.refusal")
            }
            let refusal = Refusal(rawValue: code)
            self =
                refusal == .counter
                ? .refusedCounter(last: wire.lastCounter)
                : .refused(refusal, retryAfterSeconds: wire.retryAfterSeconds)
        }
    }

    fileprivate var wire: Curtain_Relay_V1_Reply.OneOf_Outcome {
        switch self {
        case .opened(let opened):
            var wire = Curtain_Relay_V1_Opened()
            wire.lastCounter = opened.lastCounter
            if let shelf = opened.shelf { wire.shelf = shelf.wire }
            wire.lastRequest = opened.lastRequest.rawValue
            wire.waiting = opened.waiting
            return .opened(wire)
        case .done: return .done(Curtain_Relay_V1_Done())
        case .tickets(let tickets):
            var wire = Curtain_Relay_V1_Tickets()
            wire.tickets = tickets.map { Data($0) }
            return .tickets(wire)
        case .shelf(let shelf): return .shelf(shelf.wire)
        case .keyPackage(let sealed, let lastResort):
            var wire = Curtain_Relay_V1_KeyPackage()
            wire.sealed = Data(sealed)
            wire.lastResort = lastResort
            return .keyPackage(wire)
        case .committed(let epoch, let commitHash):
            var wire = Curtain_Relay_V1_Committed()
            wire.epoch = epoch
            wire.commitHash = Data(commitHash)
            return .committed(wire)
        case .staleEpoch(let epoch, let commitHash):
            var wire = Curtain_Relay_V1_StaleEpoch()
            wire.epoch = epoch
            wire.commitHash = Data(commitHash)
            return .staleEpoch(wire)
        case .groupState(let state): return .groupState(state.wire)
        case .blobState(let state):
            var wire = Curtain_Relay_V1_BlobState()
            wire.bytes = state.byteCount
            wire.pieces = state.pieceCount
            return .blobState(wire)
        case .piece(let content):
            var wire = Curtain_Relay_V1_Piece()
            wire.content = Data(content)
            return .piece(wire)
        case .erased(let receipts):
            var wire = Curtain_Relay_V1_Erased()
            wire.receipts = receipts.map { Data($0) }
            return .erased(wire)
        case .refused(let refusal, let seconds):
            var wire = Curtain_Relay_V1_Refused()
            wire.refusal =
                Curtain_Relay_V1_Refusal(rawValue: Int(refusal.rawValue)) ?? .unspecified
            wire.retryAfterSeconds = seconds
            return .refused(wire)
        case .refusedCounter(let last):
            var wire = Curtain_Relay_V1_Refused()
            wire.refusal = .counter
            wire.lastCounter = last
            return .refused(wire)
        }
    }
}

extension ShelfState {
    fileprivate init(_ wire: Curtain_Relay_V1_Shelf) {
        self.init(packages: wire.packages, lastResortClaims: wire.lastResortClaims)
    }

    fileprivate var wire: Curtain_Relay_V1_Shelf {
        var wire = Curtain_Relay_V1_Shelf()
        wire.packages = packages
        wire.lastResortClaims = lastResortClaims
        return wire
    }
}

extension GroupState {
    fileprivate init(_ wire: Curtain_Relay_V1_GroupState) throws(RelayProtocolError) {
        epoch = wire.epoch
        commitHash = try octets(wire.commitHash, count: 32, "group_state.commit_hash")
        closed = wire.closed
        deadline = Day(rawValue: wire.deadlineDay)
        members = []
        for member in wire.members { members.append(try Member(member)) }
        waiting = wire.waiting
    }

    fileprivate var wire: Curtain_Relay_V1_GroupState {
        var wire = Curtain_Relay_V1_GroupState()
        wire.epoch = epoch
        wire.commitHash = Data(commitHash)
        wire.closed = closed
        wire.deadlineDay = deadline.rawValue
        wire.members = members.map(\.wire)
        wire.waiting = waiting
        return wire
    }
}

extension Delivery {
    fileprivate init(_ wire: Curtain_Relay_V1_Delivery) throws(RelayProtocolError) {
        guard let mailbox = MailboxID(wire.mailbox) else { throw .invalidField("delivery.mailbox") }
        guard let id = DeliveryID(wire.id) else { throw .invalidField("delivery.id") }
        guard let kind = UInt8(exactly: wire.kind.rawValue) else {
            throw .invalidField("delivery.kind")
        }
        self.mailbox = mailbox
        self.id = id
        self.kind = DeliveryKind(rawValue: kind)
        if wire.groupID.isEmpty {
            groupID = nil
        } else {
            guard let group = GroupID(wire.groupID) else {
                throw .invalidField("delivery.group_id")
            }
            groupID = group
        }
        content = [UInt8](wire.content)
    }

    fileprivate var wire: Curtain_Relay_V1_Delivery {
        var wire = Curtain_Relay_V1_Delivery()
        wire.mailbox = Data(mailbox.bytes)
        wire.id = Data(id.bytes)
        wire.kind = Curtain_Relay_V1_Kind(rawValue: Int(kind.rawValue)) ?? .unspecified
        wire.groupID = Data(groupID?.bytes ?? [])
        wire.content = Data(content)
        return wire
    }
}

extension Notice {
    fileprivate init(_ wire: Curtain_Relay_V1_Notice) throws(RelayProtocolError) {
        switch wire.notice {
        case .displaced(let mailbox)?:
            guard let mailbox = MailboxID(mailbox) else { throw .invalidField("displaced") }
            self = .displaced(mailbox)
        case .goodbye(let words)?: self = .goodbye(words)
        case nil: self = .unknown
        }
    }

    fileprivate var wire: Curtain_Relay_V1_Notice? {
        var wire = Curtain_Relay_V1_Notice()
        switch self {
        case .displaced(let mailbox): wire.displaced = Data(mailbox.bytes)
        case .goodbye(let words): wire.goodbye = words
        case .unknown: return nil
        }
        return wire
    }
}
