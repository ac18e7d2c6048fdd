public import Credentials
private import Crypto
public import Cryptography
public import FoundationEssentials
internal import SwiftASN1
internal import X509

/// The clinic's root: its certificate and the key that signs everything the clinic says. Pure.
public struct ClinicRoot: Sendable {
    /// What the key says is dated back by this much, for clocks differ: seconds.
    static let clockTolerance: TimeInterval = 300
    /// The longest life of anything.
    static let maximumDays = 36_500

    /// The root certificate.
    public let certificate: ClinicCertificate
    /// The root key.
    public let key: SigningKey

    /// Takes a root certificate and its key.
    ///
    /// - Throws: `.credential(.wrongKey(.root))` if they don't belong together.
    public init(certificate: ClinicCertificate, key: SigningKey) throws(ClinicError) {
        guard certificate.key == key.publicKey else { throw .credential(.wrongKey(.root)) }
        self.certificate = certificate
        self.key = key
    }

    /// Makes a new root.
    ///
    /// - Parameters:
    ///   - name: the clinic's, 1...64 octets.
    ///   - days: how long the certificate holds.
    /// - Throws: `.invalid(.name)` or `.invalid(.validity)`.
    public init(name: String, at date: Date, days: Int = 7300) throws(ClinicError) {
        guard Text.isValid(name, maximumByteCount: CertificateProfile.maximumNameByteCount) else {
            throw .invalid(.name)
        }
        guard (1...Self.maximumDays).contains(days) else { throw .invalid(.validity) }
        do {
            let key = try SigningKey()
            let privateKey = try Certificate.PrivateKey(key)
            let subject = try DistinguishedName { CommonName(name) }
            let certificate = try Certificate(
                version: .v3, serialNumber: Self.newSerial(), publicKey: privateKey.publicKey,
                notValidBefore: date.whole.addingTimeInterval(-Self.clockTolerance),
                notValidAfter: date.whole.addingTimeInterval(TimeInterval(days) * 86_400),
                issuer: subject, subject: subject, signatureAlgorithm: .ed25519,
                extensions: try Certificate.Extensions {
                    Critical(BasicConstraints.isCertificateAuthority(maxPathLength: nil))
                    Critical(KeyUsage(keyCertSign: true, cRLSign: true))
                    SubjectKeyIdentifier(hash: privateKey.publicKey)
                },
                issuerPrivateKey: privateKey)
            try self.init(certificate: ClinicCertificate(der: certificate.der()), key: key)
        } catch {
            throw ClinicError(wrapping: error)
        }
    }

    /// 20 octets, positive, never the length of a voucher's serial.
    static func newSerial() -> Certificate.SerialNumber {
        var octets = Random.bytes(20)
        octets[0] = octets[0] & 0x3f | 0x40
        return Certificate.SerialNumber(bytes: octets)
    }

    /// Signs the list of what was revoked: certificates and vouchers.
    ///
    /// - Parameters:
    ///   - number: higher than that of any list before.
    ///   - days: when the next list is due at the latest.
    public func revocationList(
        _ revocations: [Revocation], number: UInt64, at date: Date, days: Int = 30
    ) throws(ClinicError) -> CertificateRevocationList {
        guard (1...Self.maximumDays).contains(days) else { throw .invalid(.validity) }
        do {
            return try CertificateRevocationList(
                signing: revocations, number: number,
                thisUpdate: date.addingTimeInterval(-Self.clockTolerance),
                nextUpdate: date.addingTimeInterval(TimeInterval(days) * 86_400),
                root: certificate, key: key)
        } catch {
            throw .credential(error)
        }
    }
}

extension ClinicError {
    /// Whatever a library of certificates throws comes from a field that it can't write.
    init(wrapping error: any Error) {
        switch error {
        case let error as ClinicError: self = error
        case let error as CredentialError: self = .credential(error)
        case let error as CryptographyError: self = .credential(.cryptography(error))
        default: self = .credential(.malformed(.certificate))
        }
    }
}

extension Certificate {
    func der() throws -> [UInt8] {
        var coder = DER.Serializer()
        try coder.serialize(self)
        return coder.serializedBytes
    }
}

extension Certificate.PrivateKey {
    init(_ key: SigningKey) throws {
        let raw = unsafe try key.seed.withUnsafeBytes {
            try unsafe Curve25519.Signing.PrivateKey(rawRepresentation: $0)
        }
        self.init(raw)
    }
}

extension Certificate.PublicKey {
    init(_ key: VerifyingKey) throws {
        self.init(try Curve25519.Signing.PublicKey(rawRepresentation: key.bytes))
    }
}

extension Date {
    /// Without a fraction of a second, which certificates cannot say.
    var whole: Date { Date(timeIntervalSince1970: timeIntervalSince1970.rounded(.down)) }
}
