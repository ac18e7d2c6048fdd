import Foundation
import Glibc
import RelayProtocol
import TLSSyntax

/// A folder of trail segments, as files: each begins with four octets and holds frames; its name is
/// the number of its first entry.
struct TrailFolder: Sendable {
    let path: String
    /// Whether the folder may be named by a link: those that the operator names, not the relay's own.
    var mayBeLink = false

    static let magic: [UInt8] = Array("CRT1".utf8)
    /// Octets after which a new segment is begun.
    static let segmentByteCount = 4 << 20
    /// A segment is never longer: behind `segmentByteCount` it holds one batch, whose entries the store
    /// keeps as one value, of 10^9 octets at most.
    static let segmentLimit = 1 << 30
    /// An entry is never longer; what claims to be is no entry.
    static let frameLimit = 16 << 20

    struct Segment: Equatable {
        let first: UInt64
        let path: String
    }

    /// What one segment holds.
    struct Content: Equatable {
        /// All whole entries, also those behind damage.
        var entries: [TrailEntry] = []
        /// Octets that can't be read and have whole entries behind them.
        var damages: [Damage] = []
        /// Octets up to the end of the last whole entry.
        var wholeByteCount = 0
        /// Octets behind it: torn by a crash, or damage.
        var restByteCount = 0
    }

    /// A place in a segment from which on octets can't be read.
    struct Damage: Equatable {
        /// How many of the segment's whole entries stand before it.
        var entryCount: Int
        /// Where it begins.
        var position: Int
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
        let flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | (mayBeLink ? 0 : O_NOFOLLOW)
        let folder = unsafe open(path, flags)
        guard folder >= 0 || errno != ENOENT else { return [] }
        guard folder >= 0 else { throw .trail("the trail's folder can't be read") }
        defer { close(folder) }
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

    /// Whether it can be read, or can't, within a while: another machine's folder may hang.
    var answers: Bool {
        PatientLook.result {
            let last = try? segments().last
            _ = last.flatMap { OwnFile.contents($0.path) }
            return true
        } ?? false
    }

    /// - Throws: `.dataFolder` for a mirror that can neither be read nor not.
    func requireAnswer() throws(RelayError) {
        guard answers else { throw .dataFolder("the trail's mirror doesn't answer") }
    }

    /// Reads a segment: every whole entry, and where there are none.
    func read(_ segment: Segment) throws(RelayError) -> Content {
        guard let octets = OwnFile.contents(segment.path) else {
            throw .trail(
                OwnFile.byteCount(of: segment.path) > Self.segmentLimit
                    ? "the file that begins with entry \(segment.first) is longer than any can be"
                    : "the trail can't be read")
        }
        return Self.parse(octets, first: segment.first)
    }

    /// - Parameter first: about which number the first entry has.
    static func parse(_ octets: [UInt8], first: UInt64 = 0) -> Content {
        var content = Content()
        // What looks like an entry and is none has to be read to see that: no more of it than there
        // is in the file, whatever somebody has written there.
        var patience = octets.count
        var position = 0
        if octets.starts(with: magic) {
            position = magic.count
            content.wholeByteCount = position
        }
        var damage: Damage?
        if position == 0 { damage = Damage(entryCount: 0, position: 0) }
        while octets.count - position >= 4 {
            let before = content.entries.last?.sequence ?? first
            guard
                let (entry, byteCount) = frame(
                    in: octets, at: position, after: before, patience: &patience)
            else {
                // Behind damage, wherever it ends, whole frames go on.
                damage = damage ?? Damage(entryCount: content.entries.count, position: position)
                position += 1
                continue
            }
            if let found = damage { content.damages.append(found) }
            damage = nil
            content.entries.append(entry)
            position += byteCount
            content.wholeByteCount = position
        }
        content.restByteCount = octets.count - content.wholeByteCount
        return content
    }

    /// The frame that begins at a place, and its length, if one does.
    private static func frame(
        in octets: [UInt8], at position: Int, after number: UInt64, patience: inout Int
    ) -> (entry: TrailEntry, byteCount: Int)? {
        // Nearly all places are no beginning: an entry has an octet 0 or 1, and its number isn't far
        // from others'.
        guard octets[position] <= 1, octets.count - position >= 84, octets[position + 48] <= 1
        else { return nil }
        let length = octets[position..<position + 4].reduce(0) { $0 << 8 | Int($1) }
        guard (48...min(frameLimit, octets.count - position - 36)).contains(length) else {
            return nil
        }
        let sequence = UInt64(bigEndianOctets: octets[position + 4..<position + 12])
        guard sequence <= number || sequence - number < 1 << 32, length <= patience else {
            return nil
        }
        let end = position + 4 + length
        guard let entry = try? TrailEntry(decoding: Array(octets[position + 4..<end])),
            entry.hash.elementsEqual(octets[end..<end + 32])
        else {
            patience -= length
            return nil
        }
        return (entry, length + 36)
    }
}
