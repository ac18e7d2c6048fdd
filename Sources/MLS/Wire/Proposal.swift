public import Cryptography
public import TLSSyntax

/// The type and origin of a pre-shared key (RFC 9420 §8.4).
public enum PreSharedKeySource: Hashable, Sendable {
    /// Given by the application under a name.
    case external(id: [UInt8])
    /// A group's resumption secret of an epoch.
    case resumption(usage: ResumptionUsage, groupID: [UInt8], epoch: UInt64)
}

/// What a resumption secret is used for (RFC 9420 §8.4).
public enum ResumptionUsage: UInt8, Hashable, Sendable {
    /// By the application.
    case application = 1
    /// To continue a group under other parameters.
    case reInit = 2
    /// To make a group of some of a group's members.
    case branch = 3
}

/// Names a pre-shared key and one use of it (RFC 9420 §8.4).
public struct PreSharedKeyID: Hashable, Sendable {
    /// Where the key comes from.
    public let source: PreSharedKeySource
    /// Random octets, `Nh` of them, so that no two uses are the same.
    public let nonce: [UInt8]

    /// Puts a name together.
    public init(source: PreSharedKeySource, nonce: [UInt8]) {
        self.source = source
        self.nonce = nonce
    }
}

extension PreSharedKeyID: TLSCodable {
    /// Reads a `PreSharedKeyID`.
    public init(from reader: inout TLSReader) throws(TLSError) {
        switch try reader.readUInt8() {
        case 1:
            source = .external(id: try reader.readVector())
        case 2:
            guard let usage = ResumptionUsage(rawValue: try reader.readUInt8()) else {
                throw .invalidValue
            }
            source = .resumption(
                usage: usage, groupID: try reader.readVector(), epoch: try reader.readUInt64())
        default:
            throw .invalidValue
        }
        nonce = try reader.readVector()
    }

    /// Writes a `PreSharedKeyID`.
    public func encode(to writer: inout TLSWriter) {
        switch source {
        case .external(let id):
            writer.write(UInt8(1))
            writer.write(vector: id)
        case .resumption(let usage, let groupID, let epoch):
            writer.write(UInt8(2))
            writer.write(usage.rawValue)
            writer.write(vector: groupID)
            writer.write(epoch)
        }
        writer.write(vector: nonce)
    }
}

/// Asks to continue the group under other parameters (RFC 9420 §12.1.5).
public struct ReInit: Hashable, Sendable {
    /// The new group's id.
    public let groupID: [UInt8]
    /// The new group's protocol version.
    public let version: ProtocolVersion
    /// The new group's suite.
    public let cipherSuite: CipherSuite
    /// The new group's extensions.
    public let extensions: [Extension]

    /// Puts the parameters together.
    public init(
        groupID: [UInt8], version: ProtocolVersion = .mls10, cipherSuite: CipherSuite,
        extensions: [Extension]
    ) {
        self.groupID = groupID
        self.version = version
        self.cipherSuite = cipherSuite
        self.extensions = extensions
    }
}

extension ReInit: TLSCodable {
    /// Reads a `ReInit`.
    public init(from reader: inout TLSReader) throws(TLSError) {
        groupID = try reader.readVector()
        version = try reader.readCode()
        cipherSuite = try reader.readCode()
        extensions = try reader.readArray()
    }

    /// Writes a `ReInit`.
    public func encode(to writer: inout TLSWriter) {
        writer.write(vector: groupID)
        writer.write(code: version)
        writer.write(code: cipherSuite)
        writer.write(array: extensions)
    }
}

/// A change to the group that someone asks for (RFC 9420 §12.1).
public enum Proposal: Hashable, Sendable {
    /// Add a client (§12.1.1).
    case add(KeyPackage)
    /// Replace the sender's leaf (§12.1.2).
    case update(LeafNode)
    /// Remove a member (§12.1.3).
    case remove(LeafIndex)
    /// Mix in a pre-shared key (§12.1.4).
    case preSharedKey(PreSharedKeyID)
    /// Continue under other parameters (§12.1.5).
    case reInit(ReInit)
    /// Start from an external joiner's secret (§12.1.6): its KEM output.
    case externalInit(kemOutput: [UInt8])
    /// Replace the group's extensions (§12.1.7).
    case groupContextExtensions([Extension])
    /// Remove the sender (MLS extensions draft).
    case selfRemove
    /// Something between applications.
    case application(ApplicationProposal)

    /// The type's number.
    public var type: ProposalType {
        switch self {
        case .add: .add
        case .update: .update
        case .remove: .remove
        case .preSharedKey: .preSharedKey
        case .reInit: .reInit
        case .externalInit: .externalInit
        case .groupContextExtensions: .groupContextExtensions
        case .selfRemove: .selfRemove
        case .application(let proposal): proposal.type
        }
    }
}

extension Proposal: TLSCodable {
    /// Reads a `Proposal`. Types that this library does not know are the application's.
    public init(from reader: inout TLSReader) throws(TLSError) {
        self = try Proposal(try reader.readCode(), from: &reader)
    }

    /// Reads the structure of a proposal whose type is known already.
    init(_ type: ProposalType, from reader: inout TLSReader) throws(TLSError) {
        switch type {
        case .add: self = .add(try KeyPackage(from: &reader))
        case .update: self = .update(try LeafNode(from: &reader))
        case .remove: self = .remove(try LeafIndex(from: &reader))
        case .preSharedKey: self = .preSharedKey(try PreSharedKeyID(from: &reader))
        case .reInit: self = .reInit(try ReInit(from: &reader))
        case .externalInit: self = .externalInit(kemOutput: try reader.readVector())
        case .groupContextExtensions: self = .groupContextExtensions(try reader.readArray())
        case .selfRemove: self = .selfRemove
        default: self = .application(try ApplicationProposal(type, from: &reader))
        }
    }

    /// Writes a `Proposal`.
    public func encode(to writer: inout TLSWriter) {
        writer.write(code: type)
        encodeBody(to: &writer)
    }

    /// Writes the structure without its type.
    func encodeBody(to writer: inout TLSWriter) {
        switch self {
        case .add(let keyPackage): writer.write(keyPackage)
        case .update(let leafNode): writer.write(leafNode)
        case .remove(let leaf): writer.write(leaf)
        case .preSharedKey(let id): writer.write(id)
        case .reInit(let reInit): writer.write(reInit)
        case .externalInit(let kemOutput): writer.write(vector: kemOutput)
        case .groupContextExtensions(let extensions): writer.write(array: extensions)
        case .selfRemove: break
        case .application(let proposal): proposal.encodeBody(to: &writer)
        }
    }
}
