internal import FoundationEssentials

/// Base64 in the two alphabets of RFC 4648, canonical in both directions: one text per octet string.
enum Base64 {
    /// With padding (§4), as `x5c` asks for.
    static func encode(_ octets: [UInt8]) -> String {
        Data(octets).base64EncodedString()
    }

    static func decode(_ text: String) -> [UInt8]? {
        guard let octets = Data(base64Encoded: text).map({ Array($0) }),
            encode(octets) == text
        else { return nil }
        return octets
    }

    /// For URLs, without padding (§5), as a JWS asks for.
    static func encodeURL(_ octets: [UInt8]) -> [UInt8] {
        encode(octets).utf8.compactMap { octet in
            switch octet {
            case UInt8(ascii: "+"): UInt8(ascii: "-")
            case UInt8(ascii: "/"): UInt8(ascii: "_")
            case UInt8(ascii: "="): nil
            default: octet
            }
        }
    }

    static func decodeURL(_ text: ArraySlice<UInt8>) -> [UInt8]? {
        var plain = text.map { octet -> UInt8 in
            switch octet {
            case UInt8(ascii: "-"): UInt8(ascii: "+")
            case UInt8(ascii: "_"): UInt8(ascii: "/")
            default: octet
            }
        }
        plain += [UInt8](repeating: UInt8(ascii: "="), count: (4 - plain.count % 4) % 4)
        guard let octets = Data(base64Encoded: Data(plain)).map({ Array($0) }),
            encodeURL(octets).elementsEqual(text)
        else { return nil }
        return octets
    }
}
