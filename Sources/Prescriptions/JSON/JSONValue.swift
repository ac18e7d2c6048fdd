/// A JSON text (RFC 8259) whose members keep their order and whose numbers keep their digits.
indirect enum JSONValue: Hashable, Sendable {
    case object([Member])
    case array([JSONValue])
    case string(String)
    /// As it is written: a dose of "0.50" must not become 0.5 on its way.
    case number(String)
    case bool(Bool)
    case null

    struct Member: Hashable, Sendable {
        let name: String
        let value: JSONValue
    }

    /// The octets without any white space; the same value always gives the same octets.
    var minified: [UInt8] {
        var output: [UInt8] = []
        write(to: &output)
        return output
    }

    private func write(to output: inout [UInt8]) {
        switch self {
        case .object(let members):
            output.append(UInt8(ascii: "{"))
            for (index, member) in members.enumerated() {
                if index > 0 { output.append(UInt8(ascii: ",")) }
                Self.write(member.name, to: &output)
                output.append(UInt8(ascii: ":"))
                member.value.write(to: &output)
            }
            output.append(UInt8(ascii: "}"))
        case .array(let elements):
            output.append(UInt8(ascii: "["))
            for (index, element) in elements.enumerated() {
                if index > 0 { output.append(UInt8(ascii: ",")) }
                element.write(to: &output)
            }
            output.append(UInt8(ascii: "]"))
        case .string(let text): Self.write(text, to: &output)
        case .number(let digits): output.append(contentsOf: digits.utf8)
        case .bool(let value): output.append(contentsOf: (value ? "true" : "false").utf8)
        case .null: output.append(contentsOf: "null".utf8)
        }
    }

    private static func write(_ text: String, to output: inout [UInt8]) {
        output.append(UInt8(ascii: "\""))
        for octet in text.utf8 {
            switch octet {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): output.append(UInt8(ascii: "\\"))
            case 0..<0x20:
                // No text of ours has control characters; any there is gets the longest form.
                output.append(contentsOf: "\\u00".utf8)
                let digits = Array("0123456789abcdef".utf8)
                output.append(digits[Int(octet >> 4)])
                output.append(digits[Int(octet & 15)])
                continue
            default: break
            }
            output.append(octet)
        }
        output.append(UInt8(ascii: "\""))
    }
}

extension JSONValue {
    /// The value of a member, or nil if there is none or this is no object.
    subscript(name: String) -> JSONValue? {
        guard case .object(let members) = self else { return nil }
        return members.first { $0.name == name }?.value
    }

    /// The element at a place, or nil.
    subscript(index: Int) -> JSONValue? {
        guard case .array(let elements) = self, elements.indices.contains(index) else { return nil }
        return elements[index]
    }

    var text: String? { if case .string(let text) = self { text } else { nil } }
    var digits: String? { if case .number(let digits) = self { digits } else { nil } }
    var truth: Bool? { if case .bool(let truth) = self { truth } else { nil } }
    var elements: [JSONValue]? { if case .array(let elements) = self { elements } else { nil } }
    /// A number that is written as a plain integer.
    var integer: Int? { digits.flatMap { Int($0) } }

    /// An object of the members that have a value, in this order.
    static func members(_ members: KeyValuePairs<String, JSONValue?>) -> JSONValue {
        .object(members.compactMap { name, value in value.map { Member(name: name, value: $0) } })
    }
}
