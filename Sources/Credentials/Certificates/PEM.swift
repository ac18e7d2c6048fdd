internal import SwiftASN1

/// PEM texts (RFC 7468) of this profile.
enum PEM {
    static let certificateType = "CERTIFICATE"
    static let requestType = "CERTIFICATE REQUEST"
    static let revocationListType = "X509 CRL"
    /// The most octets of a text that is looked at.
    static let maximumByteCount = 1 << 20

    /// The certificates of a text in their order; anything else in it is refused.
    static func certificates(
        in text: String, as part: CredentialPart
    ) throws(CredentialError) -> [[UInt8]] {
        try documents(in: text, type: certificateType, as: part)
    }

    static func documents(
        in text: String, type: String, as part: CredentialPart
    ) throws(CredentialError) -> [[UInt8]] {
        guard text.utf8.count <= maximumByteCount,
            let documents = try? PEMDocument.parseMultiple(pemString: text), !documents.isEmpty,
            documents.allSatisfy({ $0.discriminator == type })
        else { throw .malformed(part) }
        return documents.map(\.derBytes)
    }

    static func encode(_ der: [UInt8], type: String) -> String {
        PEMDocument(type: type, derBytes: der).pemString + "\n"
    }
}
