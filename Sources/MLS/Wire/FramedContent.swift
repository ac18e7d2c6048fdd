internal import Cryptography
public import TLSSyntax

/// Who sent a message (RFC 9420 §6).
public enum Sender: Hashable, Sendable {
    /// The member at a leaf.
    case member(LeafIndex)
    /// The party at a place of the group's `external_senders` extension.
    case external(index: UInt32)
    /// A client that proposes to be added itself.
    case newMemberProposal
    /// A client that joins by an external commit.
    case newMemberCommit
}

extension Sender: TLSCodable {
    /// Reads a `Sender`.
    public init(from reader: inout TLSReader) throws(TLSError) {
        switch try reader.readUInt8() {
        case 1: self = .member(try LeafIndex(from: &reader))
        case 2: self = .external(index: try reader.readUInt32())
        case 3: self = .newMemberProposal
        case 4: self = .newMemberCommit
        default: throw .invalidValue
        }
    }

    /// Writes a `Sender`.
    public func encode(to writer: inout TLSWriter) {
        switch self {
        case .member(let leaf):
            writer.write(UInt8(1))
            writer.write(leaf)
        case .external(let index):
            writer.write(UInt8(2))
            writer.write(index)
        case .newMemberProposal: writer.write(UInt8(3))
        case .newMemberCommit: writer.write(UInt8(4))
        }
    }
}

/// What a message carries (RFC 9420 §6).
enum MessageContent: Hashable, Sendable {
    case application([UInt8])
    case proposal(Proposal)
    case commit(Commit)

    var type: ContentType {
        switch self {
        case .application: .application
        case .proposal: .proposal
        case .commit: .commit
        }
    }

    init(_ type: ContentType, from reader: inout TLSReader) throws(TLSError) {
        switch type {
        case .application: self = .application(try reader.readVector())
        case .proposal: self = .proposal(try Proposal(from: &reader))
        case .commit: self = .commit(try Commit(from: &reader))
        }
    }

    func encode(to writer: inout TLSWriter) {
        switch self {
        case .application(let data): writer.write(vector: data)
        case .proposal(let proposal): writer.write(proposal)
        case .commit(let commit): writer.write(commit)
        }
    }
}

/// A message's content with group, epoch and sender (RFC 9420 §6).
struct FramedContent: Hashable, Sendable, TLSCodable {
    let groupID: [UInt8]
    let epoch: UInt64
    let sender: Sender
    let authenticatedData: [UInt8]
    let content: MessageContent

    init(
        groupID: [UInt8], epoch: UInt64, sender: Sender, authenticatedData: [UInt8],
        content: MessageContent
    ) {
        self.groupID = groupID
        self.epoch = epoch
        self.sender = sender
        self.authenticatedData = authenticatedData
        self.content = content
    }

    init(from reader: inout TLSReader) throws(TLSError) {
        groupID = try reader.readVector()
        epoch = try reader.readUInt64()
        sender = try Sender(from: &reader)
        authenticatedData = try reader.readVector()
        content = try MessageContent(try ContentType(from: &reader), from: &reader)
    }

    func encode(to writer: inout TLSWriter) {
        writer.write(vector: groupID)
        writer.write(epoch)
        writer.write(sender)
        writer.write(vector: authenticatedData)
        writer.write(content.type.rawValue)
        content.encode(to: &writer)
    }

    /// About what the encoding takes, so that most are written without moving them.
    var estimatedByteCount: Int {
        let head = groupID.count + authenticatedData.count + 32
        return switch content {
        case .application(let data): head + data.count
        case .proposal: head + 512
        case .commit(let commit): head + commit.estimatedByteCount
        }
    }
}

/// Signature and, for a commit, confirmation tag (RFC 9420 §6.1).
struct FramedContentAuthData: Hashable, Sendable {
    let signature: [UInt8]
    let confirmationTag: [UInt8]?

    init(signature: [UInt8], confirmationTag: [UInt8]?) {
        self.signature = signature
        self.confirmationTag = confirmationTag
    }

    init(_ type: ContentType, from reader: inout TLSReader) throws(TLSError) {
        signature = try reader.readVector()
        confirmationTag = type == .commit ? try reader.readVector() : nil
    }

    func encode(to writer: inout TLSWriter) {
        writer.write(vector: signature)
        if let confirmationTag { writer.write(vector: confirmationTag) }
    }
}

/// Content, authentication, and the form it is sent in (RFC 9420 §6).
struct AuthenticatedContent: Hashable, Sendable, TLSCodable {
    let wireFormat: WireFormat
    let content: FramedContent
    let auth: FramedContentAuthData

    init(wireFormat: WireFormat, content: FramedContent, auth: FramedContentAuthData) {
        self.wireFormat = wireFormat
        self.content = content
        self.auth = auth
    }

    init(from reader: inout TLSReader) throws(TLSError) {
        wireFormat = try reader.readCode()
        content = try FramedContent(from: &reader)
        auth = try FramedContentAuthData(content.content.type, from: &reader)
    }

    func encode(to writer: inout TLSWriter) {
        writer.write(code: wireFormat)
        writer.write(content)
        auth.encode(to: &writer)
    }
}
