private import Cryptography
private import FoundationEssentials
private import SwiftProtobuf

private typealias Wire = Curtain_Relay_V1_ClientFrame
private typealias WireWelcome = Curtain_Relay_V1_Welcome

extension ClientFrame {
    /// Reads a frame from a device.
    ///
    /// A request whose mailbox can be read but whose operation can't becomes `.unusable`, so that
    /// it is answered.
    ///
    /// - Throws: `.notAFrame` or `.invalidField`. Nobody can be answered: the connection ends.
    public init(decoding bytes: [UInt8]) throws(RelayProtocolError) {
        if let frame = ClientFrame(common: bytes) {
            self = frame
        } else {
            try self.init(uncommon: bytes)
        }
    }

    /// The same for any frame, by the generated code alone.
    init(uncommon bytes: [UInt8]) throws(RelayProtocolError) {
        guard FrameShape.fieldCount(bytes, .clientFrame) != nil else { throw .notAFrame }
        let wire: Wire
        do {
            wire = try Wire(serializedBytes: bytes)
        } catch {
            throw .notAFrame
        }
        if wire.hasHello {
            let nonce = [UInt8](wire.hello.nonce)
            guard nonce.count == ProtocolConstants.nonceByteCount else {
                throw .invalidField("hello.nonce")
            }
            hello = Hello(version: wire.hello.version, nonce: nonce)
        } else {
            hello = nil
        }
        requests = []
        requests.reserveCapacity(wire.requests.count)
        for request in wire.requests { requests.append(try Request(request)) }
        acknowledgements = []
        acknowledgements.reserveCapacity(wire.acknowledgements.count)
        for item in wire.acknowledgements {
            guard let mailbox = MailboxID(item.mailbox) else {
                throw .invalidField("acknowledgement.mailbox")
            }
            var deliveries: [DeliveryID] = []
            deliveries.reserveCapacity(item.deliveries.count)
            for delivery in item.deliveries {
                guard let id = DeliveryID(delivery) else {
                    throw .invalidField("acknowledgement.deliveries")
                }
                deliveries.append(id)
            }
            acknowledgements.append(Acknowledgement(mailbox: mailbox, deliveries: deliveries))
        }
    }

    /// Its octets by the generated code alone.
    func encodedUncommon() -> [UInt8] {
        var wire = Wire()
        if let hello {
            wire.hello.version = hello.version
            wire.hello.nonce = Data(hello.nonce)
        }
        wire.requests = requests.map(\.wire)
        wire.acknowledgements = acknowledgements.map { item in
            var wire = Curtain_Relay_V1_Acknowledgement()
            wire.mailbox = Data(item.mailbox.bytes)
            wire.deliveries = item.deliveries.map { Data($0.bytes) }
            return wire
        }
        // Serialising can only fail for messages over 2 GiB, which the frame limit excludes.
        return (try? wire.serializedBytes()) ?? []
    }
}

extension Request {
    /// Reads a request that a device has stored.
    ///
    /// - Throws: `.notAFrame` or `.invalidField`.
    public init(decoding bytes: [UInt8]) throws(RelayProtocolError) {
        let wire: Curtain_Relay_V1_Request
        do {
            wire = try Curtain_Relay_V1_Request(serializedBytes: bytes)
        } catch {
            throw .notAFrame
        }
        try self.init(wire)
    }

    /// The request alone, for the device to store before it is sent.
    public func encoded() -> [UInt8] { (try? wire.serializedBytes()) ?? [] }

    fileprivate init(_ wire: Curtain_Relay_V1_Request) throws(RelayProtocolError) {
        guard let mailbox = MailboxID(wire.mailbox) else { throw .invalidField("request.mailbox") }
        self.mailbox = mailbox
        id = RequestID(rawValue: wire.id)
        confirmed = RequestID(rawValue: wire.confirmed)
        do {
            operation = try Operation(wire.operation)
        } catch {
            operation = .unusable(.malformed)
        }
    }

    fileprivate var wire: Curtain_Relay_V1_Request {
        var wire = Curtain_Relay_V1_Request()
        wire.mailbox = Data(mailbox.bytes)
        wire.id = id.rawValue
        wire.confirmed = confirmed.rawValue
        wire.operation = operation.wire
        return wire
    }
}

extension Operation {
    fileprivate init(
        _ wire: Curtain_Relay_V1_Request.OneOf_Operation?
    ) throws(RelayProtocolError) {
        switch wire {
        case nil: self = .unusable(.unsupported)
        case .open(let wire)?: self = .open(try Opening(wire))
        case .drawTickets(let wire)?: self = .drawTickets(count: wire.count)
        case .stockShelf(let wire)?:
            self = .stockShelf(
                ShelfStock(
                    packages: wire.packages.map { [UInt8]($0) },
                    lastResort: wire.lastResort.isEmpty ? nil : [UInt8](wire.lastResort),
                    withdraw: wire.withdraw))
        case .claimKeyPackage(let wire)?:
            guard let shelf = MailboxID(wire.shelf) else { throw .invalidField("shelf") }
            self = .claimKeyPackage(shelf: shelf)
        case .createGroup(let wire)?: self = .createGroup(try GroupCreation(wire))
        case .commit(let wire)?: self = .commit(try CommitRequest(wire))
        case .send(let wire)?:
            self = .send(
                MessageRequest(
                    groupID: try GroupID(wire: wire.groupID), epoch: wire.epoch,
                    content: [UInt8](wire.content)))
        case .close(let wire)?:
            self = .close(
                MessageRequest(
                    groupID: try GroupID(wire: wire.groupID), epoch: wire.epoch,
                    content: [UInt8](wire.content)))
        case .confirm(let wire)?: self = .confirm(try GroupID(wire: wire.groupID))
        case .inspectGroup(let wire)?: self = .inspectGroup(try GroupID(wire: wire.groupID))
        case .retire?: self = .retire
        case .beginBlob(let wire)?:
            self = .beginBlob(
                BlobBeginning(
                    groupID: try GroupID(wire: wire.groupID), blob: try BlobID(wire: wire.blob),
                    byteCount: wire.bytes))
        case .putPiece(let wire)?:
            self = .putPiece(
                PieceReference(
                    blob: try BlobReference(group: wire.groupID, blob: wire.blob),
                    index: wire.index), content: [UInt8](wire.content))
        case .inspectBlob(let wire)?:
            self = .inspectBlob(try BlobReference(group: wire.groupID, blob: wire.blob))
        case .readPiece(let wire)?:
            self = .readPiece(
                PieceReference(
                    blob: try BlobReference(group: wire.groupID, blob: wire.blob),
                    index: wire.index))
        }
    }

    fileprivate var wire: Curtain_Relay_V1_Request.OneOf_Operation? {
        switch self {
        case .open(let opening): return .open(opening.wire)
        case .drawTickets(let count):
            var wire = Curtain_Relay_V1_DrawTickets()
            wire.count = count
            return .drawTickets(wire)
        case .stockShelf(let stock):
            var wire = Curtain_Relay_V1_StockShelf()
            wire.packages = stock.packages.map { Data($0) }
            wire.lastResort = Data(stock.lastResort ?? [])
            wire.withdraw = stock.withdraw
            return .stockShelf(wire)
        case .claimKeyPackage(let shelf):
            var wire = Curtain_Relay_V1_ClaimKeyPackage()
            wire.shelf = Data(shelf.bytes)
            return .claimKeyPackage(wire)
        case .createGroup(let creation): return .createGroup(creation.wire)
        case .commit(let commit): return .commit(commit.wire)
        case .send(let message):
            var wire = Curtain_Relay_V1_Send()
            wire.groupID = Data(message.groupID.bytes)
            wire.epoch = message.epoch
            wire.content = Data(message.content)
            return .send(wire)
        case .close(let message):
            var wire = Curtain_Relay_V1_Close()
            wire.groupID = Data(message.groupID.bytes)
            wire.epoch = message.epoch
            wire.content = Data(message.content)
            return .close(wire)
        case .confirm(let group):
            var wire = Curtain_Relay_V1_Confirm()
            wire.groupID = Data(group.bytes)
            return .confirm(wire)
        case .inspectGroup(let group):
            var wire = Curtain_Relay_V1_InspectGroup()
            wire.groupID = Data(group.bytes)
            return .inspectGroup(wire)
        case .retire: return .retire(Curtain_Relay_V1_Retire())
        case .beginBlob(let beginning):
            var wire = Curtain_Relay_V1_BeginBlob()
            wire.groupID = Data(beginning.groupID.bytes)
            wire.blob = Data(beginning.blob.bytes)
            wire.bytes = beginning.byteCount
            return .beginBlob(wire)
        case .putPiece(let piece, let content):
            var wire = Curtain_Relay_V1_PutPiece()
            wire.groupID = Data(piece.blob.groupID.bytes)
            wire.blob = Data(piece.blob.blob.bytes)
            wire.index = piece.index
            wire.content = Data(content)
            return .putPiece(wire)
        case .inspectBlob(let blob):
            var wire = Curtain_Relay_V1_InspectBlob()
            wire.groupID = Data(blob.groupID.bytes)
            wire.blob = Data(blob.blob.bytes)
            return .inspectBlob(wire)
        case .readPiece(let piece):
            var wire = Curtain_Relay_V1_ReadPiece()
            wire.groupID = Data(piece.blob.groupID.bytes)
            wire.blob = Data(piece.blob.blob.bytes)
            wire.index = piece.index
            return .readPiece(wire)
        case .unusable: return nil
        }
    }
}

extension GroupID {
    fileprivate init(wire: Data) throws(RelayProtocolError) {
        guard let group = GroupID(wire) else { throw .invalidField("group_id") }
        self = group
    }
}

extension BlobID {
    fileprivate init(wire: Data) throws(RelayProtocolError) {
        guard let blob = BlobID(wire) else { throw .invalidField("blob") }
        self = blob
    }
}

extension BlobReference {
    fileprivate init(group: Data, blob: Data) throws(RelayProtocolError) {
        self.init(groupID: try GroupID(wire: group), blob: try BlobID(wire: blob))
    }
}

extension Opening {
    fileprivate init(_ wire: Curtain_Relay_V1_Open) throws(RelayProtocolError) {
        counter = wire.counter
        signature = [UInt8](wire.signature)
        guard signature.count == 64 else { throw .invalidField("open.signature") }
        switch wire.creation {
        case nil: creation = nil
        case .admissionToken(let token)?: creation = .home(admissionToken: [UInt8](token))
        case .fresh(let fresh)?:
            guard fresh.permitHash.isEmpty || fresh.permitHash.count == 32 else {
                throw .invalidField("fresh.permit_hash")
            }
            guard fresh.permitHash.isEmpty == (fresh.permitUses == 0) else {
                throw .invalidField("fresh.permit_uses")
            }
            creation = .fresh(
                ticket: [UInt8](fresh.ticket),
                permitHash: fresh.permitHash.isEmpty ? nil : [UInt8](fresh.permitHash),
                permitUses: fresh.permitUses)
        }
    }

    fileprivate var wire: Curtain_Relay_V1_Open {
        var wire = Curtain_Relay_V1_Open()
        wire.counter = counter
        wire.signature = Data(signature)
        switch creation {
        case nil: break
        case .home(let token)?: wire.admissionToken = Data(token)
        case .fresh(let ticket, let permitHash, let permitUses)?:
            wire.fresh.ticket = Data(ticket)
            wire.fresh.permitHash = Data(permitHash ?? [])
            wire.fresh.permitUses = permitUses
        }
        return wire
    }
}

extension Member {
    init(_ wire: Curtain_Relay_V1_Member) throws(RelayProtocolError) {
        guard let mailbox = MailboxID(wire.mailbox) else { throw .invalidField("member.mailbox") }
        self.mailbox = mailbox
        if wire.permit.isEmpty {
            permit = nil
        } else {
            guard let permit = JoinPermit([UInt8](wire.permit)) else {
                throw .invalidField("member.permit")
            }
            self.permit = permit
        }
        switch wire.role {
        case .owner: role = .owner
        case .guest: role = .guest
        case .unspecified, .UNRECOGNIZED: throw .invalidField("member.role")
        }
        expires = wire.expiresDay == 0 ? nil : Day(rawValue: wire.expiresDay)
    }

    var wire: Curtain_Relay_V1_Member {
        var wire = Curtain_Relay_V1_Member()
        wire.mailbox = Data(mailbox.bytes)
        wire.permit = Data(permit?.secret.exposedCopy() ?? [])
        wire.role = role == .owner ? .owner : .guest
        wire.expiresDay = expires?.rawValue ?? 0
        return wire
    }
}

extension WelcomeDelivery {
    fileprivate init(_ wire: WireWelcome) throws(RelayProtocolError) {
        guard let mailbox = MailboxID(wire.mailbox) else { throw .invalidField("welcome.mailbox") }
        self.init(mailbox: mailbox, content: [UInt8](wire.content))
    }

    fileprivate var wire: WireWelcome {
        var wire = WireWelcome()
        wire.mailbox = Data(mailbox.bytes)
        wire.content = Data(content)
        return wire
    }
}

extension GroupCreation {
    fileprivate init(_ wire: Curtain_Relay_V1_CreateGroup) throws(RelayProtocolError) {
        groupID = try GroupID(wire: wire.groupID)
        epoch = wire.epoch
        commitHash = [UInt8](wire.commitHash)
        guard commitHash.count == ProtocolConstants.hashByteCount else {
            throw .invalidField("commit_hash")
        }
        members = []
        for member in wire.members { members.append(try Member(member)) }
        welcomes = []
        for welcome in wire.welcomes { welcomes.append(try WelcomeDelivery(welcome)) }
        deadline = Day(rawValue: wire.deadlineDay)
    }

    fileprivate var wire: Curtain_Relay_V1_CreateGroup {
        var wire = Curtain_Relay_V1_CreateGroup()
        wire.groupID = Data(groupID.bytes)
        wire.epoch = epoch
        wire.commitHash = Data(commitHash)
        wire.members = members.map(\.wire)
        wire.welcomes = welcomes.map(\.wire)
        wire.deadlineDay = deadline.rawValue
        return wire
    }
}

extension CommitRequest {
    fileprivate init(_ wire: Curtain_Relay_V1_Commit) throws(RelayProtocolError) {
        groupID = try GroupID(wire: wire.groupID)
        epoch = wire.epoch
        content = [UInt8](wire.content)
        adds = []
        for member in wire.adds { adds.append(try Member(member)) }
        removes = []
        for mailbox in wire.removes {
            guard let mailbox = MailboxID(mailbox) else { throw .invalidField("removes") }
            removes.append(mailbox)
        }
        welcomes = []
        for welcome in wire.welcomes { welcomes.append(try WelcomeDelivery(welcome)) }
    }

    fileprivate var wire: Curtain_Relay_V1_Commit {
        var wire = Curtain_Relay_V1_Commit()
        wire.groupID = Data(groupID.bytes)
        wire.epoch = epoch
        wire.content = Data(content)
        wire.adds = adds.map(\.wire)
        wire.removes = removes.map { Data($0.bytes) }
        wire.welcomes = welcomes.map(\.wire)
        return wire
    }
}
