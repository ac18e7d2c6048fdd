internal import Cryptography
internal import TLSSyntax

/// An authenticated message (RFC 9420 §6.2).
struct PublicMessage: Hashable, Sendable, TLSCodable {
    let content: FramedContent
    let auth: FramedContentAuthData
    let membershipTag: [UInt8]?

    init(content: FramedContent, auth: FramedContentAuthData, membershipTag: [UInt8]?) {
        self.content = content
        self.auth = auth
        self.membershipTag = membershipTag
    }

    init(from reader: inout TLSReader) throws(TLSError) {
        content = try FramedContent(from: &reader)
        auth = try FramedContentAuthData(content.content.type, from: &reader)
        if case .member = content.sender {
            membershipTag = try reader.readVector()
        } else {
            membershipTag = nil
        }
    }

    func encode(to writer: inout TLSWriter) {
        writer.write(content)
        auth.encode(to: &writer)
        if let membershipTag { writer.write(vector: membershipTag) }
    }

    var authenticatedContent: AuthenticatedContent {
        AuthenticatedContent(wireFormat: .publicMessage, content: content, auth: auth)
    }
}

/// An authenticated and encrypted message (RFC 9420 §6.3).
struct PrivateMessage: Hashable, Sendable, TLSCodable {
    let groupID: [UInt8]
    let epoch: UInt64
    let contentType: ContentType
    let authenticatedData: [UInt8]
    let encryptedSenderData: [UInt8]
    let ciphertext: [UInt8]

    init(
        groupID: [UInt8], epoch: UInt64, contentType: ContentType, authenticatedData: [UInt8],
        encryptedSenderData: [UInt8], ciphertext: [UInt8]
    ) {
        self.groupID = groupID
        self.epoch = epoch
        self.contentType = contentType
        self.authenticatedData = authenticatedData
        self.encryptedSenderData = encryptedSenderData
        self.ciphertext = ciphertext
    }

    init(from reader: inout TLSReader) throws(TLSError) {
        groupID = try reader.readVector()
        epoch = try reader.readUInt64()
        contentType = try ContentType(from: &reader)
        authenticatedData = try reader.readVector()
        encryptedSenderData = try reader.readVector()
        ciphertext = try reader.readVector()
    }

    func encode(to writer: inout TLSWriter) {
        writer.write(vector: groupID)
        writer.write(epoch)
        writer.write(contentType.rawValue)
        writer.write(vector: authenticatedData)
        writer.write(vector: encryptedSenderData)
        writer.write(vector: ciphertext)
    }
}

/// Any message of the protocol (RFC 9420 §6).
enum MLSMessage: Hashable, Sendable, TLSCodable {
    case publicMessage(PublicMessage)
    case privateMessage(PrivateMessage)
    case welcome(Welcome)
    case groupInfo(GroupInfo)
    case keyPackage(KeyPackage)

    init(from reader: inout TLSReader) throws(TLSError) {
        guard try reader.readCode(ProtocolVersion.self) == .mls10 else { throw .invalidValue }
        switch try reader.readCode(WireFormat.self) {
        case .publicMessage: self = .publicMessage(try PublicMessage(from: &reader))
        case .privateMessage: self = .privateMessage(try PrivateMessage(from: &reader))
        case .welcome: self = .welcome(try Welcome(from: &reader))
        case .groupInfo: self = .groupInfo(try GroupInfo(from: &reader))
        case .keyPackage:
            let keyPackage = try KeyPackage(from: &reader)
            guard keyPackage.version == .mls10 else { throw .invalidValue }
            self = .keyPackage(keyPackage)
        default: throw .invalidValue
        }
    }

    func encode(to writer: inout TLSWriter) {
        writer.write(code: ProtocolVersion.mls10)
        switch self {
        case .publicMessage(let message):
            writer.write(code: WireFormat.publicMessage)
            writer.write(message)
        case .privateMessage(let message):
            writer.write(code: WireFormat.privateMessage)
            writer.write(message)
        case .welcome(let welcome):
            writer.write(code: WireFormat.welcome)
            writer.write(welcome)
        case .groupInfo(let groupInfo):
            writer.write(code: WireFormat.groupInfo)
            writer.write(groupInfo)
        case .keyPackage(let keyPackage):
            writer.write(code: WireFormat.keyPackage)
            writer.write(keyPackage)
        }
    }
}
