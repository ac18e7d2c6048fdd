public import Cryptography
public import FoundationEssentials
internal import TLSSyntax

/// What the clinic says of a person.
public struct VoucherContent: Hashable, Sendable {
    /// Octets of a serial.
    public static let serialByteCount = 16

    /// 16 random octets, by which the clinic can withdraw the voucher.
    public let serial: [UInt8]
    /// What the person is.
    public let role: PersonRole
    /// The clinic's own number for the person; may be empty.
    public let reference: String
    /// The name as the clinic verified it.
    public let name: String
    /// The day of birth as YYYY-MM-DD; may be empty.
    public let born: String
    /// The public key of the invitation that carries the voucher.
    public let invitationKey: VerifyingKey
    /// Until when the clinic vouches; whole seconds.
    public let expires: Date

    /// Takes fields and checks that they can stand in a voucher.
    ///
    /// - Throws: `.invalidText` for a text, `.malformed(.voucher)` for a serial or date.
    public init(
        serial: [UInt8], role: PersonRole, reference: String, name: String, born: String,
        invitationKey: VerifyingKey, expires: Date
    ) throws(CredentialError) {
        guard serial.count == Self.serialByteCount, let expires = expires.wholeSeconds else {
            throw .malformed(.voucher)
        }
        guard Text.isValid(name), Text.isValid(reference, mayBeEmpty: true),
            Self.isValid(born: born)
        else { throw .invalidText }
        self.serial = serial
        self.role = role
        self.reference = reference
        self.name = name
        self.born = born
        self.invitationKey = invitationKey
        self.expires = expires.date
    }

    /// Whether a text is empty or a day of the calendar as YYYY-MM-DD.
    public static func isValid(born: String) -> Bool {
        if born.isEmpty { return true }
        let parts = born.split(separator: "-", omittingEmptySubsequences: false)
        guard born.utf8.count == 10, parts.map(\.count) == [4, 2, 2],
            born.utf8.allSatisfy({ (0x30...0x39).contains($0) || $0 == 0x2d }),
            let year = Int(parts[0]), let month = Int(parts[1]), let day = Int(parts[2]),
            (1...12).contains(month)
        else { return false }
        let isLeap =
            year.isMultiple(of: 4) && (!year.isMultiple(of: 100) || year.isMultiple(of: 400))
        let days = [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
        return (1...days[month - 1]).contains(day)
    }
}

/// A voucher as it was signed by the clinic's root key; nothing of it counts before `verify`.
///
///     struct {
///         uint8 version = 1;
///         opaque serial[16];
///         uint8 role;                 // 1 patient, 2 doctor, 3 guest
///         opaque reference<V>; opaque name<V>; opaque born<V>;
///         opaque invitation_key[32];
///         uint64 expires;             // Unix seconds
///         opaque signature[64];       // clinic root, label "voucher", over all before it
///     } Voucher;
public struct Voucher: Hashable, Sendable {
    /// The most octets of a voucher.
    public static let maximumByteCount = 1024
    private static let version: UInt8 = 1
    private static let label = "voucher"

    /// The signed octets.
    public let bytes: [UInt8]
    /// What it says. Of anybody's voucher but one's own, only `verify` makes it worth believing.
    public let content: VoucherContent
    private let signature: [UInt8]

    /// Signs a voucher; for the clinic alone.
    public init(signing content: VoucherContent, with root: SigningKey) throws(CredentialError) {
        var writer = TLSWriter()
        writer.write(Self.version)
        writer.write(bytes: content.serial)
        writer.write(content.role.rawValue)
        writer.write(vector: Array(content.reference.utf8))
        writer.write(vector: Array(content.name.utf8))
        writer.write(vector: Array(content.born.utf8))
        writer.write(bytes: content.invitationKey.bytes)
        writer.write(content.expires.wholeSeconds?.unixSeconds ?? 0)
        do {
            signature = try root.sign(label: Self.label, writer.bytes)
        } catch {
            throw .cryptography(error)
        }
        self.content = content
        bytes = writer.bytes + signature
    }

    /// Reads a voucher; its signature is checked by `verify`.
    ///
    /// - Throws: `.malformed` or `.unsupportedVersion`, each of `.voucher`.
    public init(decoding bytes: [UInt8]) throws(CredentialError) {
        guard bytes.count <= Self.maximumByteCount else { throw .malformed(.voucher) }
        (content, signature) = try Strict.decode(bytes, as: .voucher, version: Self.version) {
            reader throws(TLSError) in
            let serial = try reader.readBytes(count: VoucherContent.serialByteCount)
            guard let role = PersonRole(rawValue: try reader.readUInt8()) else {
                throw .invalidValue
            }
            let reference = try reader.readText(mayBeEmpty: true)
            let name = try reader.readText()
            let born = try reader.readText(mayBeEmpty: true)
            let key = try reader.readKey()
            let expires = try reader.readDate()
            let signature = try reader.readBytes(count: VerifyingKey.signatureByteCount)
            let content: VoucherContent
            do {
                content = try VoucherContent(
                    serial: serial, role: role, reference: reference, name: name, born: born,
                    invitationKey: key, expires: expires)
            } catch {
                throw .invalidValue
            }
            return (content, signature)
        }
        self.bytes = bytes
    }

    /// The content, if the clinic signed it, vouches still, and has not withdrawn it.
    ///
    /// - Parameter revocations: the clinic's verified list, which names vouchers beside certificates.
    /// - Throws: `.wrongSignature`, `.expired` or `.revoked`, each of `.voucher`.
    public func verify(
        root: ClinicCertificate, at date: Date, revocations: Revocations? = nil
    ) throws(CredentialError) -> VoucherContent {
        let signed = Array(bytes.dropLast(VerifyingKey.signatureByteCount))
        guard root.key.isValid(signature: signature, label: Self.label, signed) else {
            throw .wrongSignature(.voucher)
        }
        guard date <= content.expires else { throw .expired(.voucher) }
        if let revocations, revocations.isRevoked(serial: content.serial, at: date) {
            throw .revoked(.voucher)
        }
        return content
    }
}

extension Voucher {
    /// The serial that stands in a voucher, for an endorsement by the invitation's own holder.
    static func serial(of voucher: Voucher) -> [UInt8] { voucher.content.serial }
}
