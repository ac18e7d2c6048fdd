internal import TLSSyntax

/// The extension `curtain_member` of an MLS leaf (`protocol/mls-profile.md`).
///
///     struct {
///         opaque mailbox[32];
///         opaque voucher<V>;      // empty for a doctor and for a guest without one
///         opaque endorsement<V>;  // empty exactly if the voucher is
///     } CurtainMember;
public struct MemberExtension: Hashable, Sendable {
    /// The extension type, from the range for private use.
    public static let type: UInt16 = 0xF0C0
    /// Octets of a mailbox.
    public static let mailboxByteCount = 32

    /// The mailbox to which the relay delivers for this member.
    public let mailbox: [UInt8]
    /// The clinic's voucher for this member.
    public let voucher: Voucher?
    /// The voucher's tie to the leaf's key.
    public let endorsement: Endorsement?

    /// Takes the fields; voucher and endorsement come together or not at all.
    ///
    /// - Throws: `.malformed(.memberExtension)`.
    public init(
        mailbox: [UInt8], voucher: Voucher? = nil, endorsement: Endorsement? = nil
    ) throws(CredentialError) {
        guard mailbox.count == Self.mailboxByteCount,
            (voucher == nil) == (endorsement == nil)
        else { throw .malformed(.memberExtension) }
        self.mailbox = mailbox
        self.voucher = voucher
        self.endorsement = endorsement
    }

    /// Reads the extension's data; nothing is verified yet.
    ///
    /// - Throws: `.malformed`, or `.unsupportedVersion(.voucher)`.
    public init(decoding bytes: [UInt8]) throws(CredentialError) {
        let mailbox: [UInt8]
        let voucher: [UInt8]
        let endorsement: [UInt8]
        do {
            var reader = TLSReader(bytes)
            mailbox = try reader.readBytes(count: Self.mailboxByteCount)
            voucher = try reader.readVector()
            endorsement = try reader.readVector()
            try reader.finish()
        } catch {
            throw .malformed(.memberExtension)
        }
        try self.init(
            mailbox: mailbox, voucher: voucher.isEmpty ? nil : try Voucher(decoding: voucher),
            endorsement: endorsement.isEmpty ? nil : try Endorsement(decoding: endorsement))
    }

    /// The extension's data.
    public func encoded() -> [UInt8] {
        var writer = TLSWriter()
        writer.write(bytes: mailbox)
        writer.write(vector: voucher?.bytes ?? [])
        writer.write(vector: endorsement?.bytes ?? [])
        return writer.bytes
    }
}
