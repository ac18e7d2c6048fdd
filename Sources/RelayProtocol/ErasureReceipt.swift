public import Cryptography
private import TLSSyntax

/// The relay's signed word on what it deleted and when. It says nothing about members' copies.
///
///     struct {
///         uint8 version = 1;
///         opaque relay_key[32];
///         opaque group_hash[32];  // SHA-256, label "group", of the group id
///         uint64 erased_at;       // hours since 1970-01-01 UTC
///         uint8 reason;           // 1 confirmed by all owners, 2 deadline
///         uint32 messages;        // stored messages deleted unread by someone
///         uint8 mailboxes;        // mailboxes deleted with the group
///         opaque signature[64];   // relay's identity key, label "erasure receipt"
///     } ErasureReceipt;
public struct ErasureReceipt: Equatable, Sendable {
    /// Why the group was erased.
    public enum Reason: UInt8, Sendable {
        /// Every owner confirmed.
        case confirmed = 1
        /// Its day had come.
        case deadline = 2
    }

    /// Octets of an encoded receipt.
    public static let byteCount = 1 + 32 + 32 + 8 + 1 + 4 + 1 + 64

    /// The identity key of the relay that signed.
    public let relayKey: [UInt8]
    /// `ErasureReceipt.groupHash` of the erased group.
    public let groupHash: [UInt8]
    /// Whole hours since 1970-01-01 UTC.
    public let erasedAtHour: UInt64
    /// Why.
    public let reason: Reason
    /// Stored messages that were still waiting for someone and were deleted.
    public let messageCount: UInt32
    /// Mailboxes deleted with the group.
    public let mailboxCount: UInt8
    private let signature: [UInt8]

    /// The hash under which a receipt names its group.
    public static func groupHash(of group: GroupID) -> [UInt8] {
        Hash.sha256(label: "group", group.bytes)
    }

    /// Signs a receipt.
    public init(
        group: GroupID, erasedAt unixSeconds: UInt64, reason: Reason, messageCount: UInt32,
        mailboxCount: UInt8, identity: SigningKey
    ) throws(CryptographyError) {
        relayKey = identity.publicKey.bytes
        groupHash = Self.groupHash(of: group)
        erasedAtHour = unixSeconds / 3_600
        self.reason = reason
        self.messageCount = messageCount
        self.mailboxCount = mailboxCount
        signature = try identity.sign(
            Self.content(
                relayKey, groupHash, erasedAtHour, reason, messageCount, mailboxCount))
    }

    /// Reads a receipt; nothing is verified yet.
    ///
    /// - Throws: `.invalidStructure`.
    public init(decoding bytes: [UInt8]) throws(RelayProtocolError) {
        do {
            var reader = TLSReader(bytes)
            guard try reader.readUInt8() == Self.version else { throw TLSError.invalidValue }
            relayKey = try reader.readBytes(count: 32)
            groupHash = try reader.readBytes(count: 32)
            erasedAtHour = try reader.readUInt64()
            guard let reason = Reason(rawValue: try reader.readUInt8()) else {
                throw TLSError.invalidValue
            }
            self.reason = reason
            messageCount = try reader.readUInt32()
            mailboxCount = try reader.readUInt8()
            signature = try reader.readBytes(count: 64)
            try reader.finish()
        } catch {
            throw .invalidStructure
        }
    }

    /// The 143 octets that travel.
    public func encoded() -> [UInt8] {
        var writer = TLSWriter()
        writer.write(Self.version)
        writer.write(bytes: relayKey)
        writer.write(bytes: groupHash)
        writer.write(erasedAtHour)
        writer.write(reason.rawValue)
        writer.write(messageCount)
        writer.write(mailboxCount)
        writer.write(bytes: signature)
        return writer.bytes
    }

    /// Whether the relay with this key signed it.
    ///
    /// - Throws: `.wrongRelay` or `.wrongSignature`.
    public func verify(relayKey: VerifyingKey) throws(RelayProtocolError) {
        guard self.relayKey == relayKey.bytes else { throw .wrongRelay }
        let content = Self.content(
            self.relayKey, groupHash, erasedAtHour, reason, messageCount, mailboxCount)
        guard relayKey.isValid(signature: signature, for: content) else { throw .wrongSignature }
    }

    private static let version: UInt8 = 1

    private static func content(
        _ relayKey: [UInt8], _ groupHash: [UInt8], _ hour: UInt64, _ reason: Reason,
        _ messages: UInt32, _ mailboxes: UInt8
    ) -> [UInt8] {
        LabelledContent.encode(
            label: "erasure receipt",
            fields: [
                [version], relayKey, groupHash, hour.bigEndianOctets, [reason.rawValue],
                UInt64(messages).bigEndianOctets, [mailboxes],
            ])
    }
}
