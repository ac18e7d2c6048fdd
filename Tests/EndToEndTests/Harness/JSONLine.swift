import Foundation

/// One JSON object of a program's `--json` output.
struct JSONLine: Sendable, CustomStringConvertible {
    enum Value: Decodable, Sendable, Equatable {
        case text(String)
        case number(Double)
        case flag(Bool)
        case list([Value])
        case object([String: Value])
        case null

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if container.decodeNil() {
                self = .null
            } else if let flag = try? container.decode(Bool.self) {
                self = .flag(flag)
            } else if let number = try? container.decode(Double.self) {
                self = .number(number)
            } else if let text = try? container.decode(String.self) {
                self = .text(text)
            } else if let list = try? container.decode([Value].self) {
                self = .list(list)
            } else {
                self = .object(try container.decode([String: Value].self))
            }
        }
    }

    let text: String
    private let members: [String: Value]

    init?(_ text: String) {
        guard
            let members = try? JSONDecoder().decode([String: Value].self, from: Data(text.utf8))
        else { return nil }
        self.text = text
        self.members = members
    }

    var description: String { text }

    subscript(key: String) -> String? {
        if case .text(let text)? = members[key] { text } else { nil }
    }

    func number(_ key: String) -> UInt64? {
        if case .number(let number)? = members[key] { UInt64(exactly: number) } else { nil }
    }

    func flag(_ key: String) -> Bool? {
        if case .flag(let flag)? = members[key] { flag } else { nil }
    }

    /// Every object of an output; throws if a line is something else.
    static func all(_ output: String) throws -> [JSONLine] {
        try output.split(separator: "\n").map { line in
            guard let object = JSONLine(String(line)) else {
                throw StageError.unexpectedOutput("not a JSON object", output: String(line))
            }
            return object
        }
    }
}
