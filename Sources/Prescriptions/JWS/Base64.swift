internal import FoundationEssentials

/// Base64 with padding (RFC 4648 §4), as `x5c` asks for; canonical: one text per octet string.
enum Base64 {
    static func encode(_ octets: [UInt8]) -> String {
        Data(octets).base64EncodedString()
    }

    static func decode(_ text: String) -> [UInt8]? {
        guard let octets = Data(base64Encoded: text).map({ Array($0) }),
            encode(octets) == text
        else { return nil }
        return octets
    }
}
