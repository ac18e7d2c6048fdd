internal import Cryptography

/// A JWS in compact form (RFC 7515 §7.1): three texts in base64url, joined by dots.
///
/// The other form, in JSON, could carry a second or an unsigned header, and is not read at all.
struct CompactJWS: Hashable, Sendable {
    /// More than any prescription needs; above it nothing is looked at.
    static let maximumByteCount = 65_536

    /// The whole text, ASCII.
    let bytes: [UInt8]
    let header: [UInt8]
    let payload: [UInt8]
    let signature: [UInt8]
    /// What the signature covers (RFC 7515 §5.2): header and payload as they are written.
    private let signedByteCount: Int

    /// Signs a payload under a header.
    init(header: [UInt8], payload: [UInt8], key: SigningKey) throws(CryptographyError) {
        let content =
            Array((Base64URL.encode(header) + "." + Base64URL.encode(payload)).utf8)
        signature = try key.sign(content)
        bytes = content + Array(("." + Base64URL.encode(signature)).utf8)
        self.header = header
        self.payload = payload
        signedByteCount = content.count
    }

    /// Takes a text apart; nothing else is allowed before, between or after the three parts.
    init?(_ bytes: [UInt8]) {
        guard bytes.count <= Self.maximumByteCount else { return nil }
        let parts = bytes.split(
            separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard parts.count == 3, let header = Base64URL.decode(parts[0]),
            let payload = Base64URL.decode(parts[1]), let signature = Base64URL.decode(parts[2]),
            signature.count == VerifyingKey.signatureByteCount
        else { return nil }
        self.bytes = bytes
        self.header = header
        self.payload = payload
        self.signature = signature
        signedByteCount = parts[0].count + 1 + parts[1].count
    }

    /// Whether the signature was made with this key.
    func isSigned(by key: VerifyingKey) -> Bool {
        key.isValid(signature: signature, for: Array(bytes.prefix(signedByteCount)))
    }
}
