private import Cryptography
private import Foundation

/// JSON for programs (RFC 8259) that is also harmless when a terminal shows it.
enum JSONText {
    static func encode(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        encoder.dateEncodingStrategy = .iso8601
        encoder.dataEncodingStrategy = .custom { data, encoder in
            var container = encoder.singleValueContainer()
            try container.encode(Base64URL.encode(data))
        }
        let bytes = try encoder.encode(value)
        return escape(String(decoding: bytes, as: UTF8.self))
    }

    /// Outside of strings JSON is ASCII, so every scalar replaced here stands inside one.
    private static func escape(_ json: String) -> String {
        var result = String.UnicodeScalarView()
        for scalar in json.unicodeScalars {
            if scalar.isASCII && scalar.value >= 0x20 && scalar.value != 0x7F
                || !scalar.isASCII && !Sanitiser.isInvisible(scalar)
            {
                result.append(scalar)
            } else {
                for unit in String(scalar).utf16 {
                    let hex = String(unit, radix: 16)
                    let padding = String(repeating: "0", count: 4 - hex.count)
                    result.append(contentsOf: "\\u\(padding)\(hex)".unicodeScalars)
                }
            }
        }
        return String(result)
    }
}
