import Cryptography
import Foundation
import Testing

/// The working group's published vectors, read where they lie: `MLS_VECTORS`, else `../shared/mls-vectors`.
enum VectorFile {
    static let folder: URL? = {
        let candidate: URL
        if let path = ProcessInfo.processInfo.environment["MLS_VECTORS"] {
            candidate = URL(fileURLWithPath: path, isDirectory: true)
        } else {
            candidate = URL(fileURLWithPath: #filePath)
                .deletingLastPathComponent().deletingLastPathComponent()
                .deletingLastPathComponent().deletingLastPathComponent()
                .deletingLastPathComponent()
                .appendingPathComponent("shared/mls-vectors", isDirectory: true)
        }
        return FileManager.default.fileExists(atPath: candidate.path) ? candidate : nil
    }()

    static var isThere: Bool { folder != nil }

    /// The files of a category: the published ones, which have to be there, and others like them.
    static func names(_ published: [String], startingWith prefix: String) -> [String] {
        let found = folder.flatMap { try? FileManager.default.contentsOfDirectory(atPath: $0.path) }
        return Set(published).union(
            (found ?? []).filter { $0.hasPrefix(prefix) && $0.hasSuffix(".json") }
                .map { String($0.dropLast(5)) }
        ).sorted()
    }

    /// The suites of RFC 9420 §17.1 that this library has not.
    private static let otherSuites: Set<UInt16> = [2, 4, 5, 6, 7]

    /// All cases of a file, but those of suites that this library has not. A field that `Case` doesn't
    /// read is an error, as is a file without cases.
    static func cases<Case: Decodable>(_ name: String, as type: Case.Type = Case.self) throws
        -> [Case]
    {
        guard let folder else { return [] }
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        let data = try Data(contentsOf: folder.appendingPathComponent(name + ".json"))
        let cases = try decoder.decode([Case].self, from: data)
        let first = try #require(cases.first, "no case in \(name)")
        if let object = try (JSONSerialization.jsonObject(with: data) as? [[String: Any]])?.first,
            Mirror(reflecting: first).displayStyle == .struct
        {
            let known = Set(Mirror(reflecting: first).children.compactMap(\.label))
            let unread = object.keys.filter {
                !known.contains($0) && !known.contains(camelCase($0))
            }
            #expect(unread == [], "fields of \(name) that are not read")
        }
        let others = Set(
            cases.compactMap { $0 as? any SuiteCase }.filter { $0.algorithms == nil }
                .map(\.cipherSuite))
        #expect(others.isSubset(of: otherSuites), "suites of \(name) that are not read")
        return cases.filter { ($0 as? any SuiteCase).map { $0.algorithms != nil } ?? true }
    }

    private static func camelCase(_ name: String) -> String {
        let words = name.split(separator: "_")
        return words.prefix(1).joined() + words.dropFirst().map(\.capitalized).joined()
    }
}

protocol SuiteCase {
    var cipherSuite: UInt16 { get }
}

extension SuiteCase {
    var algorithms: CipherAlgorithms? {
        CipherAlgorithms(CipherSuite(rawValue: cipherSuite))
    }
}

/// Octets written as hexadecimal text.
struct Hex: Decodable, Hashable, Sendable {
    let bytes: [UInt8]

    init(from decoder: any Decoder) throws {
        let text = try decoder.singleValueContainer().decode(String.self)
        guard let bytes = [UInt8](hex: text) else {
            throw DecodingError.dataCorrupted(
                DecodingError.Context(
                    codingPath: decoder.codingPath, debugDescription: "not hexadecimal"))
        }
        self.bytes = bytes
    }

    var secret: SecretBytes { SecretBytes(bytes) }
}

extension [UInt8] {
    init?(hex: String) {
        let digits = Array(hex.utf8)
        guard digits.count.isMultiple(of: 2) else { return nil }
        func value(_ digit: UInt8) -> UInt8? {
            switch digit {
            case 0x30...0x39: digit - 0x30
            case 0x61...0x66: digit - 0x61 + 10
            case 0x41...0x46: digit - 0x41 + 10
            default: nil
            }
        }
        self = []
        reserveCapacity(digits.count / 2)
        for index in stride(from: 0, to: digits.count, by: 2) {
            guard let high = value(digits[index]), let low = value(digits[index + 1]) else {
                return nil
            }
            append(high << 4 | low)
        }
    }
}

@Suite(.enabled(if: VectorFile.isThere, "no vectors: set MLS_VECTORS")) struct `Vectors: the files`
{
    @Test func `are all read by one of the suites`() throws {
        let read: Set = [
            "crypto-basics", "deserialization", "key-schedule", "message-protection", "messages",
            "psk_secret", "secret-tree", "transcript-hashes", "tree-math", "tree-operations",
            "tree-validation", "treekem", "welcome",
        ]
        let folder = try #require(VectorFile.folder)
        for file in try FileManager.default.contentsOfDirectory(atPath: folder.path)
        where file.hasSuffix(".json") && !file.hasPrefix("passive-client-") {
            #expect(read.contains(String(file.dropLast(5))), "nobody reads \(file)")
        }
    }
}
