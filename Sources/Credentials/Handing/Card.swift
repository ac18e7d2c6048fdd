public import Cryptography
public import FoundationEssentials
internal import TLSSyntax

/// What a doctor's card says.
public struct CardContent: Sendable {
    /// Where the relay listens.
    public let relayURL: String
    /// The relay's identity key.
    public let relayKey: VerifyingKey
    /// The doctor's home mailbox, on whose shelf KeyPackages wait.
    public let shelf: [UInt8]
    /// Opens what lies on the shelf.
    public let shelfKey: SecretBytes
    /// The chain of the identity certificate: DER, leaf first, without the root.
    public let chain: [[UInt8]]
    /// The MLS cipher suite that KeyPackages must have, so that nobody gets by with a weaker one.
    public let cipherSuite: UInt16
    /// When it was signed; whole seconds.
    public let issued: Date
    /// Until when it counts; whole seconds.
    public let expires: Date

    /// Takes the fields of a card.
    ///
    /// - Throws: `.invalidText` for the URL, `.malformed(.card)` for another field.
    public init(
        relayURL: String, relayKey: VerifyingKey, shelf: [UInt8], shelfKey: SecretBytes,
        chain: [[UInt8]], cipherSuite: UInt16, issued: Date, expires: Date
    ) throws(CredentialError) {
        guard Invitation.isValid(relayURL: relayURL) else { throw .invalidText }
        guard shelf.count == MemberExtension.mailboxByteCount,
            shelfKey.count == Sealing.keyByteCount,
            (1...CertificateProfile.maximumChainCount).contains(chain.count),
            chain.allSatisfy({
                (1...CertificateProfile.maximumCertificateByteCount).contains($0.count)
            }),
            let issued = issued.wholeSeconds, let expires = expires.wholeSeconds
        else { throw .malformed(.card) }
        self.relayURL = relayURL
        self.relayKey = relayKey
        self.shelf = shelf
        self.shelfKey = shelfKey
        self.chain = chain
        self.cipherSuite = cipherSuite
        self.issued = issued.date
        self.expires = expires.date
    }
}

/// A card whose signature, chain and validity hold.
public struct VerifiedCard: Sendable {
    /// What the doctor signed.
    public let content: CardContent
    /// The doctor.
    public let doctor: VerifiedDoctor
}

/// A doctor's contact card: what a patient needs to ask for a consultation.
///
///     struct {
///         uint8 version = 1;
///         opaque relay_url<V>; opaque relay_key[32];
///         opaque shelf[32]; opaque shelf_key[32];
///         opaque certificate<V> chain<V>;   // leaf first, without the root
///         uint16 cipher_suite;
///         uint64 issued; uint64 expires;    // Unix seconds
///         opaque signature[64];             // identity key, label "card", over all before it
///     } Card;
public struct Card: Hashable, Sendable {
    /// The most octets of a card.
    public static let maximumByteCount = 32_768
    private static let version: UInt8 = 1
    private static let label = "card"
    private static let scheme = "curtain-card:"

    /// The signed octets.
    public let bytes: [UInt8]

    /// Signs a card.
    ///
    /// - Parameter identityKey: the key that the chain's leaf certifies.
    public init(
        signing content: CardContent, with identityKey: SigningKey
    ) throws(CredentialError) {
        var writer = TLSWriter()
        writer.write(Self.version)
        writer.write(vector: Array(content.relayURL.utf8))
        writer.write(bytes: content.relayKey.bytes)
        writer.write(bytes: content.shelf)
        writer.write(secret: content.shelfKey)
        writer.writeVector { list in
            for certificate in content.chain { list.write(vector: certificate) }
        }
        writer.write(content.cipherSuite)
        writer.write(content.issued.wholeSeconds?.unixSeconds ?? 0)
        writer.write(content.expires.wholeSeconds?.unixSeconds ?? 0)
        do {
            bytes = writer.bytes + (try identityKey.sign(label: Self.label, writer.bytes))
        } catch {
            throw .cryptography(error)
        }
    }

    /// Takes the octets of a card, if they can be one; nothing is verified yet.
    ///
    /// - Throws: `.malformed` or `.unsupportedVersion`, each of `.card`.
    public init(decoding bytes: [UInt8]) throws(CredentialError) {
        _ = try Self.decode(bytes)
        self.bytes = bytes
    }

    /// Reads the text of a card; blanks and line ends around it don't matter.
    public init(_ text: String) throws(CredentialError) {
        let characters = Armour.content(of: text, scheme: Self.scheme)
        guard let characters, characters.count <= 2 * Self.maximumByteCount,
            let bytes = Base64URL.decode(characters)
        else { throw .malformed(.card) }
        try self.init(decoding: bytes)
    }

    /// The card as text: `curtain-card:` and base64url.
    public var text: String { Self.scheme + Base64URL.encode(bytes) }

    /// The content, if a doctor of this clinic signed it and it still counts.
    ///
    /// - Throws: what `DoctorCertificate.verify` throws, or `.wrongSignature`, `.notYetValid`,
    ///   `.expired`, each of `.card`.
    public func verify(
        root: ClinicCertificate, at date: Date, revocations: Revocations? = nil
    ) throws(CredentialError) -> VerifiedCard {
        let (content, signature) = try Self.decode(bytes)
        let doctor = try DoctorCertificate.verify(
            chain: content.chain, for: .identity, root: root, at: date, revocations: revocations)
        let signed = Array(bytes.dropLast(VerifyingKey.signatureByteCount))
        guard doctor.key.isValid(signature: signature, label: Self.label, signed) else {
            throw .wrongSignature(.card)
        }
        guard date >= content.issued.addingTimeInterval(-Self.clockTolerance) else {
            throw .notYetValid(.card)
        }
        guard date <= content.expires else { throw .expired(.card) }
        return VerifiedCard(content: content, doctor: doctor)
    }

    /// How far the clocks of doctor and patient may differ, in seconds.
    private static let clockTolerance: TimeInterval = 600

    private static func decode(
        _ bytes: [UInt8]
    ) throws(CredentialError) -> (content: CardContent, signature: [UInt8]) {
        guard bytes.count <= maximumByteCount else { throw .malformed(.card) }
        return try Strict.decode(bytes, as: .card, version: version) { reader throws(TLSError) in
            let relayURL = try reader.readText(maximumByteCount: 512)
            let relayKey = try reader.readKey()
            let shelf = try reader.readBytes(count: MemberExtension.mailboxByteCount)
            let shelfKey = try reader.readSecret(count: Sealing.keyByteCount)
            var list = try reader.readVectorReader()
            var chain: [[UInt8]] = []
            while !list.isAtEnd { chain.append(try list.readVector()) }
            let cipherSuite = try reader.readUInt16()
            let issued = try reader.readDate()
            let expires = try reader.readDate()
            let signature = try reader.readBytes(count: VerifyingKey.signatureByteCount)
            do {
                let content = try CardContent(
                    relayURL: relayURL, relayKey: relayKey, shelf: shelf, shelfKey: shelfKey,
                    chain: chain, cipherSuite: cipherSuite, issued: issued, expires: expires)
                return (content, signature)
            } catch {
                throw .invalidValue
            }
        }
    }
}

extension Card: CustomStringConvertible {
    /// Names the type, never the content.
    public var description: String { "Card" }
}
