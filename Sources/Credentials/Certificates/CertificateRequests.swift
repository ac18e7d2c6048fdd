private import Crypto
public import Cryptography
internal import FoundationEssentials
internal import SwiftASN1
internal import X509

/// A doctor's two certificate requests (PKCS #10, RFC 2986) in one PEM text: first the identity
/// key's, then the prescription key's.
///
/// Each is signed by its own key and carries the other key's signature over both keys, so that
/// nobody can have a foreign key certified beside his own.
public struct CertificateRequests: Sendable {
    /// What the doctor says; the clinic certifies only what it has verified itself.
    public let name: String
    /// The key that signs in MLS.
    public let identityKey: VerifyingKey
    /// The key that signs prescriptions.
    public let prescriptionKey: VerifyingKey

    private static let bindingLabel = "bind requests"

    /// Makes the text that a doctor sends to the clinic.
    ///
    /// - Throws: `.invalidText` for a name that cannot be one.
    public static func make(
        name: String, identity: SigningKey, prescription: SigningKey
    ) throws(CredentialError) -> String {
        guard Text.isValid(name, maximumByteCount: CertificateProfile.maximumNameByteCount) else {
            throw .invalidText
        }
        let keys = (identity.publicKey, prescription.publicKey)
        return try request(name: name, key: identity, other: prescription, keys: keys)
            + request(name: name, key: prescription, other: identity, keys: keys)
    }

    /// Reads the text and checks that both keys asked for both requests.
    ///
    /// - Throws: `.malformed` or `.wrongSignature`, each of `.certificateRequest`.
    public init(pem: String) throws(CredentialError) {
        let documents = try PEM.documents(
            in: pem, type: PEM.requestType, as: .certificateRequest)
        guard documents.count == 2 else { throw .malformed(.certificateRequest) }
        let identity = try Self.read(documents[0])
        let prescription = try Self.read(documents[1])
        guard identity.name == prescription.name, identity.key != prescription.key else {
            throw .malformed(.certificateRequest)
        }
        let keys = (identity.key.bytes, prescription.key.bytes)
        let isBound =
            prescription.key.isValid(
                signature: identity.binding, label: Self.bindingLabel, keys.0, keys.1)
            && identity.key.isValid(
                signature: prescription.binding, label: Self.bindingLabel, keys.0, keys.1)
        guard isBound else { throw .wrongSignature(.certificateRequest) }
        name = identity.name
        identityKey = identity.key
        prescriptionKey = prescription.key
    }

    private static func request(
        name: String, key: SigningKey, other: SigningKey, keys: (VerifyingKey, VerifyingKey)
    ) throws(CredentialError) -> String {
        do {
            let binding = try other.sign(label: bindingLabel, keys.0.bytes, keys.1.bytes)
            let attribute = CertificateSigningRequest.Attribute(
                oid: CertificateProfile.requestBinding,
                values: [try ASN1Any(erasing: ASN1OctetString(contentBytes: binding[...]))])
            let request = try CertificateSigningRequest(
                version: .v1, subject: try DistinguishedName { CommonName(name) },
                privateKey: try Certificate.PrivateKey(key),
                attributes: CertificateSigningRequest.Attributes([attribute]),
                signatureAlgorithm: .ed25519)
            return try request.serializeAsPEM().pemString + "\n"
        } catch let error as CryptographyError {
            throw .cryptography(error)
        } catch {
            throw .malformed(.certificateRequest)
        }
    }

    private static func read(
        _ der: [UInt8]
    ) throws(CredentialError) -> (name: String, key: VerifyingKey, binding: [UInt8]) {
        guard der.count <= CertificateProfile.maximumCertificateByteCount,
            let request = try? CertificateSigningRequest(derEncoded: der),
            let rawKey = Curve25519.Signing.PublicKey(request.publicKey),
            let key = try? VerifyingKey(Array(rawKey.rawRepresentation)),
            let name = CertificateChecks.commonName(of: request.subject),
            let values = request.attributes[oid: CertificateProfile.requestBinding]?.values,
            values.count == 1, let value = values.first,
            let binding = try? ASN1OctetString(asn1Any: value)
        else { throw .malformed(.certificateRequest) }
        guard request.publicKey.isValidSignature(request.signature, for: request) else {
            throw .wrongSignature(.certificateRequest)
        }
        return (name, key, Array(binding.bytes))
    }
}

extension Certificate.PrivateKey {
    fileprivate init(_ key: SigningKey) throws {
        let raw = unsafe try key.seed.withUnsafeBytes {
            try unsafe Curve25519.Signing.PrivateKey(rawRepresentation: $0)
        }
        self.init(raw)
    }
}
