public import Cryptography

/// Why a certificate, voucher, invitation or card was refused. Nothing has been changed by the call.
public enum CredentialError: Error, Hashable, Sendable {
    /// The octets are no encoding of this. Fault: whoever made them.
    case malformed(CredentialPart)
    /// Written by a newer version of Curtain. Fault: nobody's; this program is too old.
    case unsupportedVersion(CredentialPart)
    /// Not signed by whom it must be, or altered since. Fault: whoever made or passed it on.
    case wrongSignature(CredentialPart)
    /// Its time is over. Fault: the holder, who needs a new one.
    case expired(CredentialPart)
    /// Its time has not begun, or this machine's clock is wrong.
    case notYetValid(CredentialPart)
    /// The clinic has withdrawn it.
    case revoked(CredentialPart)
    /// A certificate or its chain breaks this rule (`protocol/credentials.md`). Fault: its issuer.
    case certificate(CertificateRule)
    /// The voucher is for another role than the one it is shown in. Fault: the holder.
    case wrongRole
    /// It belongs to another key than the one that shows it. Fault: the holder.
    case wrongKey(CredentialPart)
    /// The PIN is wrong, or the sealed invitation was altered.
    case wrongPIN
    /// A text is empty, too long or has characters that a name cannot have. Fault: the caller.
    case invalidText
    /// A primitive failed. Fault: the caller's key, or the machine.
    case cryptography(CryptographyError)
}

/// What a `CredentialError` is about.
public enum CredentialPart: Hashable, Sendable {
    /// A doctor's or intermediate certificate.
    case certificate
    /// The clinic's root certificate.
    case root
    /// The clinic's certificate revocation list.
    case revocationList
    /// The clinic's statement on a person.
    case voucher
    /// The invitation key's signature over a device's identity key.
    case endorsement
    /// An invitation.
    case invitation
    /// A doctor's card.
    case card
    /// The extension `curtain_member` of an MLS leaf.
    case memberExtension
    /// A sealed KeyPackage.
    case shelfEntry
    /// A doctor's certificate requests.
    case certificateRequest
}

/// The rules of the certificate profile (`protocol/credentials.md`), in the order of the check.
public enum CertificateRule: Hashable, Sendable {
    /// There is at least a leaf.
    case emptyChain
    /// There are at most three certificates below the root.
    case tooLong
    /// X.509 version 3.
    case version
    /// Keys are Ed25519 (RFC 8410).
    case keyAlgorithm
    /// Signatures are Ed25519 (RFC 8410).
    case signatureAlgorithm
    /// Each certificate names the next one's subject as its issuer, the last one the root's.
    case issuer
    /// Each certificate is signed by the next one's key, the last one by the root's.
    case signature
    /// No critical extension is unknown (RFC 5280 §4.2).
    case criticalExtension
    /// Issuers are certificate authorities, leaves are not (RFC 5280 §4.2.1.9).
    case basicConstraints
    /// No more intermediates follow than an issuer allows (RFC 5280 §4.2.1.9).
    case pathLength
    /// The key usage is present and fits (RFC 5280 §4.2.1.3).
    case keyUsage
    /// The extended key usage is exactly the wanted one (RFC 5280 §4.2.1.12).
    case extendedKeyUsage
    /// The admission extension names the profession of physician.
    case profession
    /// The admission extension names a licence and a specialty.
    case licence
    /// The subject names a person.
    case subject
}
