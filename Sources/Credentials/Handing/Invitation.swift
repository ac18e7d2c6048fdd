public import Cryptography
public import FoundationEssentials
internal import TLSSyntax

/// All that a person needs to join: handed over as a URI, a file or a code to scan.
///
///     struct {
///         uint8 version = 1;
///         opaque relay_url<V>;
///         opaque relay_key[32];
///         opaque root<V>;              // the clinic's root certificate, DER
///         opaque directory_key[32];
///         opaque admission_token<V>;
///         opaque invitation_key[32];   // private: the seed
///         opaque voucher<V>;
///         uint64 expires;              // Unix seconds; when the admission token expires
///     } Invitation;
///
/// Whoever holds it can join in the person's name, once.
public struct Invitation: Sendable {
    static let version: UInt8 = 1
    static let sealedVersion: UInt8 = 2
    static let scheme = "curtain:"
    /// The most octets of an invitation.
    public static let maximumByteCount = 16_384
    private static let maximumURLByteCount = 512
    private static let maximumTokenByteCount = 512

    /// Where the relay listens: a `ws` or `wss` URL.
    public let relayURL: String
    /// The relay's identity key, pinned from now on.
    public let relayKey: VerifyingKey
    /// The clinic's root.
    public let root: ClinicCertificate
    /// Opens the directory, once there is one.
    public let directoryKey: SecretBytes
    /// Makes the home mailbox, once.
    public let admissionToken: [UInt8]
    /// Signs the device's identity key, once.
    public let invitationKey: SigningKey
    /// What the clinic says of the person.
    public let voucher: Voucher
    /// Until when it can be used to join.
    public let expires: Date

    /// Puts an invitation together; for the clinic alone.
    ///
    /// - Throws: `.invalidText` for the URL, `.malformed(.invitation)` for another field.
    public init(
        relayURL: String, relayKey: VerifyingKey, root: ClinicCertificate,
        directoryKey: SecretBytes, admissionToken: [UInt8], invitationKey: SigningKey,
        voucher: Voucher, expires: Date
    ) throws(CredentialError) {
        guard Self.isValid(relayURL: relayURL) else { throw .invalidText }
        guard directoryKey.count == 32, let expires = expires.wholeSeconds,
            (1...Self.maximumTokenByteCount).contains(admissionToken.count)
        else { throw .malformed(.invitation) }
        self.relayURL = relayURL
        self.relayKey = relayKey
        self.root = root
        self.directoryKey = directoryKey
        self.admissionToken = admissionToken
        self.invitationKey = invitationKey
        self.voucher = voucher
        self.expires = expires.date
    }

    /// Whether a text can be a relay's address: `ws://` or `wss://`, printable ASCII without spaces.
    public static func isValid(relayURL: String) -> Bool {
        guard relayURL.utf8.count <= maximumURLByteCount,
            relayURL.utf8.allSatisfy({ (0x21...0x7e).contains($0) })
        else { return false }
        return ["ws://", "wss://"].contains {
            relayURL.hasPrefix($0) && relayURL.utf8.count > $0.utf8.count
        }
    }

    init(decoding bytes: [UInt8]) throws(CredentialError) {
        guard bytes.count <= Self.maximumByteCount else { throw .malformed(.invitation) }
        self = try Strict.decode(bytes, as: .invitation, version: Self.version) {
            reader throws(TLSError) in
            let relayURL = try reader.readText(maximumByteCount: Self.maximumURLByteCount)
            let relayKey = try reader.readKey()
            let root = try reader.readVector()
            let directoryKey = try reader.readSecret(count: 32)
            let token = try reader.readVector()
            let seed = try reader.readSecret(count: 32)
            let voucher = try reader.readVector()
            let expires = try reader.readDate()
            do {
                return try Invitation(
                    relayURL: relayURL, relayKey: relayKey, root: ClinicCertificate(der: root),
                    directoryKey: directoryKey, admissionToken: token,
                    invitationKey: SigningKey(seed: seed), voucher: Voucher(decoding: voucher),
                    expires: expires)
            } catch {
                throw .invalidValue
            }
        }
    }

    private func withEncoding<Result>(
        _ body: ([UInt8]) throws(CredentialError) -> Result
    ) throws(CredentialError) -> Result {
        var writer = TLSWriter(secretCapacity: 2048)
        defer { writer.wipe() }
        writer.write(Self.version)
        writer.write(vector: Array(relayURL.utf8))
        writer.write(bytes: relayKey.bytes)
        writer.write(vector: root.der)
        writer.write(secret: directoryKey)
        writer.write(vector: admissionToken)
        writer.write(secret: invitationKey.seed)
        writer.write(vector: voucher.bytes)
        writer.write(expires.wholeSeconds?.unixSeconds ?? 0)
        return try body(writer.bytes)
    }

    /// The URI, `curtain:` and base64url. Whoever reads it can join.
    public func text() throws(CredentialError) -> String {
        try withEncoding { bytes throws(CredentialError) in
            Self.scheme + Base64URL.encode(bytes)
        }
    }

    /// The URI sealed under a PIN that travels another way.
    ///
    ///     struct {
    ///         uint8 version = 2;
    ///         opaque salt[16]; uint32 passes; uint32 memory_kib;  // Argon2id
    ///         opaque sealed<V>;      // Sealing of Invitation; AD: all before it
    ///     } SealedInvitation;
    public func sealedText(
        pin: SecretBytes, cost: PasswordHash.Cost = .moderate
    ) throws(CredentialError) -> String {
        var writer = TLSWriter()
        let salt = Random.bytes(PasswordHash.saltByteCount)
        writer.write(Self.sealedVersion)
        writer.write(bytes: salt)
        writer.write(cost.passes)
        writer.write(cost.memoryKiB)
        let head = writer.bytes
        let sealed = try withEncoding { bytes throws(CredentialError) in
            do throws(CryptographyError) {
                let key = try PasswordHash.deriveKey(from: pin, salt: salt, cost: cost)
                return try Sealing.seal(bytes, key: key, associatedData: head)
            } catch {
                throw .cryptography(error)
            }
        }
        writer.write(vector: sealed)
        return Self.scheme + Base64URL.encode(writer.bytes)
    }

    /// Checks that the clinic made the invitation for somebody, and that it can still be used.
    ///
    /// - Returns: for whom.
    /// - Throws: `.expired(.invitation)`, `.wrongKey(.voucher)`, or as `Voucher.verify`.
    public func verify(at date: Date) throws(CredentialError) -> VoucherContent {
        try root.checkValidity(at: date)
        let content = try voucher.verify(root: root, at: date)
        guard content.invitationKey == invitationKey.publicKey else { throw .wrongKey(.voucher) }
        guard date <= expires else { throw .expired(.invitation) }
        return content
    }

    /// Signs the device's identity key. The caller then lets go of the invitation, and its key is
    /// wiped.
    public func endorse(_ identityKey: VerifyingKey) throws(CredentialError) -> Endorsement {
        let serial = Voucher.serial(of: voucher)
        return try Endorsement(of: identityKey, serial: serial, with: invitationKey)
    }
}

extension Invitation: CustomStringConvertible {
    /// Names the type, never the content.
    public var description: String { "Invitation" }
}
