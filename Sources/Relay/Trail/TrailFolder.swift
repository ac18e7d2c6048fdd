import Foundation
import RelayProtocol
import TLSSyntax

/// A folder of trail segments, as files: each begins with four octets and holds frames; its name is
/// the number of its first entry.
struct TrailFolder: Sendable {
    let path: String

    static let magic: [UInt8] = Array("CRT1".utf8)
    /// Octets after which a new segment is begun.
    static let segmentByteCount = 4 << 20
    /// An entry is never longer; what claims to be is no entry.
    static let frameLimit = 16 << 20

    struct Segment: Equatable {
        let first: UInt64
        let path: String
    }

    /// What one segment holds.
    struct Content {
        var entries: [TrailEntry] = []
        /// Octets up to the end of the last whole entry.
        var wholeByteCount = 0
        /// Octets behind it: torn by a crash, or damage.
        var restByteCount = 0
    }

    static func name(first: UInt64) -> String {
        let digits = String(first)
        return String(repeating: "0", count: 20 - digits.count) + digits + ".trail"
    }

    func segment(first: UInt64) -> Segment {
        Segment(first: first, path: path + "/" + Self.name(first: first))
    }

    /// The segments in the order of their names; none if there is no folder.
    func segments() throws(RelayError) -> [Segment] {
        guard FileManager.default.fileExists(atPath: path) else { return [] }
        do {
            return try FileManager.default.contentsOfDirectory(atPath: path).compactMap { name in
                guard name.count == 26, name.hasSuffix(".trail"),
                    let first = UInt64(name.prefix(20))
                else { return nil }
                return Segment(first: first, path: path + "/" + name)
            }.sorted { $0.first < $1.first }
        } catch {
            throw RelayError.trail("the trail's folder can't be read")
        }
    }

    /// Reads a segment as far as there are whole entries.
    func read(_ segment: Segment) throws(RelayError) -> Content {
        guard let data = FileManager.default.contents(atPath: segment.path) else {
            throw .trail("the trail can't be read")
        }
        return Self.parse([UInt8](data))
    }

    static func parse(_ octets: [UInt8]) -> Content {
        var content = Content()
        guard octets.starts(with: magic) else {
            content.restByteCount = octets.count
            return content
        }
        var position = magic.count
        while octets.count - position >= 4 {
            let length = octets[position..<position + 4].reduce(0) { $0 << 8 | Int($1) }
            guard length > 0, length <= frameLimit, octets.count - position - 4 >= length + 32
            else { break }
            let body = Array(octets[position + 4..<position + 4 + length])
            let hash = octets[position + 4 + length..<position + 36 + length]
            guard let entry = try? TrailEntry(decoding: body), entry.hash.elementsEqual(hash)
            else { break }
            content.entries.append(entry)
            position += 36 + length
        }
        content.wholeByteCount = position
        content.restByteCount = octets.count - position
        return content
    }

    /// Hands every entry to `body`, and says where octets can't be read. A torn end of the last
    /// segment is no damage: it was never confirmed to anybody.
    func each(
        _ body: (TrailEntry) throws(RelayError) -> Void, unreadable: () -> Void
    ) throws(RelayError) {
        let segments = try segments()
        for (index, segment) in segments.enumerated() {
            let content = try read(segment)
            if content.entries.first.map({ $0.sequence != segment.first }) ?? false {
                unreadable()
            }
            for entry in content.entries { try body(entry) }
            let isLast = index == segments.count - 1
            if content.restByteCount > 0, !isLast { unreadable() }
            if content.entries.isEmpty, content.restByteCount == 0, !isLast { unreadable() }
        }
    }

    /// Follows the whole chain.
    func verify(_ verifier: inout TrailVerifier) throws(RelayError) {
        var checking = verifier
        try each(
            { entry throws(RelayError) in checking.take(entry) },
            unreadable: { checking.takeUnreadable() })
        verifier = checking
    }
}
