/// Reads JSON strictly (RFC 8259), since what a doctor signs must have one reading only.
///
/// Foundation's parsers take the last of two members with one name, and other programs take the
/// first; they also turn numbers into `Double`. So a signed text could say two things. Here a doubled
/// name, a lone surrogate, broken UTF-8, anything after the end and more than a bounded depth or
/// size are refused, and numbers stay text.
struct JSONParser {
    /// Why a text was refused.
    enum Failure: Error, Hashable {
        case tooLong
        case tooDeep
        case notUTF8
        /// A member's name occurs twice in one object.
        case doubledName(String)
        /// The octet at this place can't stand there.
        case unexpected(at: Int)
    }

    static let maximumByteCount = 65_536
    static let maximumDepth = 24

    private let octets: [UInt8]
    private var offset = 0

    /// Reads one JSON text that takes up all octets.
    static func parse(_ octets: [UInt8]) throws(Failure) -> JSONValue {
        guard octets.count <= maximumByteCount else { throw .tooLong }
        guard String(validating: octets, as: UTF8.self) != nil else { throw .notUTF8 }
        var parser = JSONParser(octets: octets)
        parser.skipSpace()
        let value = try parser.value(depth: 0)
        parser.skipSpace()
        guard parser.offset == octets.count else { throw .unexpected(at: parser.offset) }
        return value
    }

    private init(octets: [UInt8]) {
        self.octets = octets
    }

    private var next: UInt8? { offset < octets.count ? octets[offset] : nil }

    private mutating func skipSpace() {
        while let octet = next, octet == 0x20 || octet == 0x0A || octet == 0x0D || octet == 0x09 {
            offset += 1
        }
    }

    private mutating func skip(_ octet: UInt8) -> Bool {
        guard next == octet else { return false }
        offset += 1
        return true
    }

    private mutating func value(depth: Int) throws(Failure) -> JSONValue {
        guard depth < Self.maximumDepth else { throw .tooDeep }
        switch next {
        case UInt8(ascii: "{"): return try object(depth: depth)
        case UInt8(ascii: "["): return try array(depth: depth)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        default: return .number(try number())
        }
    }

    private mutating func word(
        _ word: StaticString, _ value: JSONValue
    ) throws(Failure) -> JSONValue {
        for octet in word.description.utf8 {
            guard skip(octet) else { throw .unexpected(at: offset) }
        }
        return value
    }

    private mutating func object(depth: Int) throws(Failure) -> JSONValue {
        offset += 1
        var members: [JSONValue.Member] = []
        var names: Set<String> = []
        skipSpace()
        if skip(UInt8(ascii: "}")) { return .object([]) }
        while true {
            skipSpace()
            guard next == UInt8(ascii: "\"") else { throw .unexpected(at: offset) }
            let name = try string()
            guard names.insert(name).inserted else { throw .doubledName(name) }
            skipSpace()
            guard skip(UInt8(ascii: ":")) else { throw .unexpected(at: offset) }
            skipSpace()
            members.append(JSONValue.Member(name: name, value: try value(depth: depth + 1)))
            skipSpace()
            if skip(UInt8(ascii: "}")) { return .object(members) }
            guard skip(UInt8(ascii: ",")) else { throw .unexpected(at: offset) }
        }
    }

    private mutating func array(depth: Int) throws(Failure) -> JSONValue {
        offset += 1
        var elements: [JSONValue] = []
        skipSpace()
        if skip(UInt8(ascii: "]")) { return .array([]) }
        while true {
            skipSpace()
            elements.append(try value(depth: depth + 1))
            skipSpace()
            if skip(UInt8(ascii: "]")) { return .array(elements) }
            guard skip(UInt8(ascii: ",")) else { throw .unexpected(at: offset) }
        }
    }

    private mutating func number() throws(Failure) -> String {
        let start = offset
        _ = skip(UInt8(ascii: "-"))
        if !skip(UInt8(ascii: "0")) { try digits() }
        if skip(UInt8(ascii: ".")) { try digits() }
        if skip(UInt8(ascii: "e")) || skip(UInt8(ascii: "E")) {
            if !skip(UInt8(ascii: "+")) { _ = skip(UInt8(ascii: "-")) }
            try digits()
        }
        return String(decoding: octets[start..<offset], as: UTF8.self)
    }

    private mutating func digits() throws(Failure) {
        let start = offset
        while let octet = next, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(octet) {
            offset += 1
        }
        guard offset > start else { throw .unexpected(at: offset) }
    }

    private mutating func string() throws(Failure) -> String {
        offset += 1
        var text: [UInt8] = []
        while true {
            let start = offset
            while let octet = next, octet >= 0x20, octet != UInt8(ascii: "\""),
                octet != UInt8(ascii: "\\")
            {
                offset += 1
            }
            text.append(contentsOf: octets[start..<offset])
            if skip(UInt8(ascii: "\"")) { return String(decoding: text, as: UTF8.self) }
            guard skip(UInt8(ascii: "\\")) else { throw .unexpected(at: offset) }
            text.append(contentsOf: try escaped())
        }
    }

    private mutating func escaped() throws(Failure) -> [UInt8] {
        guard let octet = next else { throw .unexpected(at: offset) }
        offset += 1
        switch octet {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return [octet]
        case UInt8(ascii: "b"): return [0x08]
        case UInt8(ascii: "f"): return [0x0C]
        case UInt8(ascii: "n"): return [0x0A]
        case UInt8(ascii: "r"): return [0x0D]
        case UInt8(ascii: "t"): return [0x09]
        case UInt8(ascii: "u"): return try unicode()
        default: throw .unexpected(at: offset - 1)
        }
    }

    /// The character of `\uXXXX`, or of two of them that form a surrogate pair.
    private mutating func unicode() throws(Failure) -> [UInt8] {
        let first = try fourDigits()
        var code = first
        if (0xD800...0xDBFF).contains(first) {
            guard skip(UInt8(ascii: "\\")), skip(UInt8(ascii: "u")) else {
                throw .unexpected(at: offset)
            }
            let second = try fourDigits()
            guard (0xDC00...0xDFFF).contains(second) else { throw .unexpected(at: offset) }
            code = 0x10000 + (first - 0xD800) << 10 + (second - 0xDC00)
        }
        guard let scalar = Unicode.Scalar(code) else { throw .unexpected(at: offset) }
        return Array(String(scalar).utf8)
    }

    private mutating func fourDigits() throws(Failure) -> UInt32 {
        var code: UInt32 = 0
        for _ in 0..<4 {
            guard let octet = next, let digit = Character(Unicode.Scalar(octet)).hexDigitValue,
                octet < 0x80
            else { throw .unexpected(at: offset) }
            code = code << 4 | UInt32(digit)
            offset += 1
        }
        return code
    }
}
