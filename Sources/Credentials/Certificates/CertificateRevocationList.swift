public import Cryptography
public import FoundationEssentials
internal import SwiftASN1
internal import X509

/// A certificate revocation list (RFC 5280 §5), read but not yet verified.
public struct CertificateRevocationList: Hashable, Sendable {
    /// The most octets of a list.
    public static let maximumByteCount = 1 << 20
    /// The list as it was signed.
    public let der: [UInt8]
    private let content: RevocationListContent
    private let signedBytes: [UInt8]
    private let signature: [UInt8]

    /// Reads a list strictly: version 2, Ed25519, a number, no critical extension.
    ///
    /// - Throws: `.malformed(.revocationList)`.
    public init(der: [UInt8]) throws(CredentialError) {
        guard der.count <= Self.maximumByteCount else { throw .malformed(.revocationList) }
        do {
            self = try DER.sequence(try DER.parse(der), identifier: .sequence) { nodes in
                guard let node = nodes.next() else { throw RevocationListContent.refusal }
                let content = try RevocationListContent(derEncoded: node)
                _ = try Ed25519Algorithm(derEncoded: &nodes)
                let signature = try ASN1BitString(derEncoded: &nodes)
                guard signature.paddingBits == 0 else { throw RevocationListContent.refusal }
                return CertificateRevocationList(
                    der: der, content: content, signedBytes: Array(node.encodedBytes),
                    signature: Array(signature.bytes))
            }
        } catch {
            throw .malformed(.revocationList)
        }
    }

    /// Reads a list from PEM text with exactly one in it.
    public init(pem: String) throws(CredentialError) {
        let lists = try PEM.documents(
            in: pem, type: PEM.revocationListType, as: .revocationList)
        guard lists.count == 1 else { throw .malformed(.revocationList) }
        try self.init(der: lists[0])
    }

    /// Makes and signs a list; for the clinic alone.
    ///
    /// - Throws: `.malformed(.revocationList)` if a date cannot be written.
    public init(
        signing entries: [Revocation], number: UInt64, thisUpdate: Date, nextUpdate: Date,
        root: ClinicCertificate, key: SigningKey
    ) throws(CredentialError) {
        do {
            content = RevocationListContent(
                issuer: root.certificate.subject, thisUpdate: try ASN1Time(thisUpdate),
                nextUpdate: try ASN1Time(nextUpdate), entries: entries, number: number,
                authorityKey: try root.certificate.extensions.subjectKeyIdentifier?.keyIdentifier)
            var coder = DER.Serializer()
            try coder.serialize(content)
            signedBytes = coder.serializedBytes
            signature = try key.sign(signedBytes)
            var list = DER.Serializer()
            try list.appendConstructedNode(identifier: .sequence) { [signedBytes, signature] list in
                list.serializeRawBytes(signedBytes)
                try list.serialize(Ed25519Algorithm())
                try list.serialize(ASN1BitString(bytes: signature[...]))
            }
            der = list.serializedBytes
        } catch let error as CryptographyError {
            throw .cryptography(error)
        } catch {
            throw .malformed(.revocationList)
        }
    }

    private init(
        der: [UInt8], content: RevocationListContent, signedBytes: [UInt8], signature: [UInt8]
    ) {
        self.der = der
        self.content = content
        self.signedBytes = signedBytes
        self.signature = signature
    }

    /// The list as PEM text.
    public var pem: String { PEM.encode(der, type: PEM.revocationListType) }

    /// The revocations, if the list is the clinic's and neither from the future nor overdue.
    ///
    /// - Throws: `.wrongSignature`, `.notYetValid` or `.expired`, each of `.revocationList`.
    public func verified(
        by root: ClinicCertificate, at date: Date
    ) throws(CredentialError) -> Revocations {
        guard content.issuer == root.certificate.subject,
            root.key.isValid(signature: signature, for: signedBytes)
        else { throw .wrongSignature(.revocationList) }
        guard date >= content.thisUpdate.date else { throw .notYetValid(.revocationList) }
        guard date <= content.nextUpdate.date else { throw .expired(.revocationList) }
        return Revocations(
            thisUpdate: content.thisUpdate.date, nextUpdate: content.nextUpdate.date,
            number: content.number, entries: content.entries)
    }
}
