internal import TLSSyntax

/// The version of the protocol (RFC 9420 §6).
public struct ProtocolVersion: RawRepresentable, Hashable, Sendable {
    /// The number on the wire.
    public let rawValue: UInt16
    /// Any number.
    public init(rawValue: UInt16) { self.rawValue = rawValue }
    /// MLS 1.0, the only one there is.
    public static let mls10 = ProtocolVersion(rawValue: 1)
}

/// The form of a message (RFC 9420 §17.2).
public struct WireFormat: RawRepresentable, Hashable, Sendable {
    /// The number on the wire.
    public let rawValue: UInt16
    /// Any number.
    public init(rawValue: UInt16) { self.rawValue = rawValue }
    /// `mls_public_message`: authenticated.
    public static let publicMessage = WireFormat(rawValue: 1)
    /// `mls_private_message`: authenticated and encrypted.
    public static let privateMessage = WireFormat(rawValue: 2)
    /// `mls_welcome`.
    public static let welcome = WireFormat(rawValue: 3)
    /// `mls_group_info`.
    public static let groupInfo = WireFormat(rawValue: 4)
    /// `mls_key_package`.
    public static let keyPackage = WireFormat(rawValue: 5)
}

/// The type of an extension (RFC 9420 §17.3).
public struct ExtensionType: RawRepresentable, Hashable, Sendable {
    /// The number on the wire.
    public let rawValue: UInt16
    /// Any number; 0xF000 and above are for private use.
    public init(rawValue: UInt16) { self.rawValue = rawValue }
    /// `application_id`, in leaves.
    public static let applicationID = ExtensionType(rawValue: 1)
    /// `ratchet_tree`, in a GroupInfo.
    public static let ratchetTree = ExtensionType(rawValue: 2)
    /// `required_capabilities`, in the GroupContext.
    public static let requiredCapabilities = ExtensionType(rawValue: 3)
    /// `external_pub`, in a GroupInfo.
    public static let externalPub = ExtensionType(rawValue: 4)
    /// `external_senders`, in the GroupContext.
    public static let externalSenders = ExtensionType(rawValue: 5)
    /// `last_resort`, in a KeyPackage (MLS extensions draft).
    public static let lastResort = ExtensionType(rawValue: 10)
    /// Padding of a GroupInfo: private use, ignored by whoever does not know it (RFC 9420 §13.4).
    static let padding = ExtensionType(rawValue: 0xF0FF)

    /// Whether every client knows the type, so that capabilities don't list it (RFC 9420 §7.2).
    var isDefault: Bool { (1...5).contains(rawValue) }
}

/// The type of a proposal (RFC 9420 §17.4).
public struct ProposalType: RawRepresentable, Hashable, Sendable {
    /// The number on the wire.
    public let rawValue: UInt16
    /// Any number; 0xF000 and above are for private use.
    public init(rawValue: UInt16) { self.rawValue = rawValue }
    /// `add`.
    public static let add = ProposalType(rawValue: 1)
    /// `update`.
    public static let update = ProposalType(rawValue: 2)
    /// `remove`.
    public static let remove = ProposalType(rawValue: 3)
    /// `psk`.
    public static let preSharedKey = ProposalType(rawValue: 4)
    /// `reinit`.
    public static let reInit = ProposalType(rawValue: 5)
    /// `external_init`.
    public static let externalInit = ProposalType(rawValue: 6)
    /// `group_context_extensions`.
    public static let groupContextExtensions = ProposalType(rawValue: 7)
    /// `app_ephemeral` (MLS extensions draft).
    public static let appEphemeral = ProposalType(rawValue: 9)
    /// `self_remove` (MLS extensions draft).
    public static let selfRemove = ProposalType(rawValue: 10)

    /// Whether an application can define it: the numbers up to 10 are taken, by structures of their own.
    var isFree: Bool { rawValue > 10 }

    /// Whether every client knows the type, so that capabilities don't list it (RFC 9420 §7.2).
    var isDefault: Bool { (1...7).contains(rawValue) }
}

/// The type of a credential (RFC 9420 §17.5).
public struct CredentialType: RawRepresentable, Hashable, Sendable {
    /// The number on the wire.
    public let rawValue: UInt16
    /// Any number; 0xF000 and above are for private use.
    public init(rawValue: UInt16) { self.rawValue = rawValue }
    /// `basic`.
    public static let basic = CredentialType(rawValue: 1)
    /// `x509`.
    public static let x509 = CredentialType(rawValue: 2)
}

/// What a framed content holds (RFC 9420 §6).
public enum ContentType: UInt8, Hashable, Sendable {
    /// Application data.
    case application = 1
    /// A proposal.
    case proposal = 2
    /// A commit.
    case commit = 3

    init(from reader: inout TLSReader) throws(TLSError) {
        guard let type = ContentType(rawValue: try reader.readUInt8()) else {
            throw .invalidValue
        }
        self = type
    }
}

extension TLSReader {
    mutating func readCode<Code: RawRepresentable<UInt16>>(
        _ type: Code.Type = Code.self
    ) throws(TLSError) -> Code {
        guard let code = Code(rawValue: try readUInt16()) else { throw .invalidValue }
        return code
    }

    mutating func readCodes<Code: RawRepresentable<UInt16>>(
        _ type: Code.Type = Code.self
    ) throws(TLSError) -> [Code] {
        var content = try readVectorReader()
        var codes: [Code] = []
        codes.reserveCapacity(content.remainingCount / 2)
        while !content.isAtEnd { codes.append(try content.readCode()) }
        return codes
    }
}

extension TLSWriter {
    mutating func write(code: some RawRepresentable<UInt16>) { write(code.rawValue) }

    mutating func write(codes: [some RawRepresentable<UInt16>]) {
        write(vectorLength: 2 * codes.count)
        for code in codes { write(code.rawValue) }
    }
}
