public import Cryptography
import Foundation
import GRDB
import RelayProtocol

/// Reads a data folder's trail, or a mirror of it, for an auditor. Changes nothing.
public struct TrailAudit: Sendable {
    /// What verifying found.
    public let verifier: TrailVerifier
    /// The relay's identity key.
    public let relayKey: VerifyingKey
    /// The last entries, oldest first.
    public let entries: [TrailEntry]

    /// Follows the whole chain of a folder's trail; the database's record of its end, the mirror and
    /// heads that were kept elsewhere must fit.
    ///
    /// - Parameter last: how many entries are kept for showing.
    /// - Parameter mirrorPath: a mirror to be compared, entry by entry.
    /// - Throws: `.notFound`, `.trail` if there is no trail or it can't be read.
    public init(
        folder path: String, mirrorPath: String? = nil, heads: [TrailHead] = [],
        last: Int = 0
    ) throws(RelayError) {
        let folder = try DataFolder(existing: path)
        guard let keys = folder.intactKeys() else { throw .damagedKeys }
        let trail = TrailFolder(path: folder.trailPath)
        guard try !trail.segments().isEmpty else {
            throw .notFound("this relay has no trail yet")
        }
        relayKey = keys.identity.publicKey
        // A running relay writes to the store first, then to the trail: what the store has is in
        // the trail a moment later.
        let end = Self.end(in: folder)
        var hasWaited = false
        while true {
            var verifier = TrailVerifier(
                relayKey: relayKey, kept: heads, ends: end.map { [$0] } ?? [])
            var entries: [TrailEntry] = []
            var reader = try TrailReader(trail)
            while let piece = try reader.next() {
                verifier.take(piece)
                guard last > 0, case .entry(let entry) = piece else { continue }
                entries.append(entry)
                if entries.count >= 2 * last { entries.removeFirst(entries.count - last) }
            }
            let isBehind = end.map { $0.next > verifier.next } ?? false
            if isBehind, !hasWaited, folder.holder != nil {
                // Its answer comes behind everything that it had committed before.
                _ = try? RelayStatus.ask(folder)
                hasWaited = true
                continue
            }
            verifier.finish(notBeyond: Self.end(in: folder))
            if let mirrorPath { try Self.compare(trail, mirrorPath, &verifier) }
            self.verifier = verifier
            self.entries = entries.suffix(last)
            return
        }
    }

    /// The chain's end as the database has it.
    static func end(in folder: DataFolder) -> TrailEnd? {
        let queue = try? RelayDatabase.open(folder.databasePath, readonly: true)
        let data = try? queue?.read { database in
            try Data.fetchOne(
                database, sql: "SELECT value FROM setting WHERE name = ?",
                arguments: [TrailKeeper.Setting.end])
        }
        return data.flatMap { TrailEnd([UInt8]($0)) }
    }

    /// A mirror must hold the same entries; it may lack the last ones.
    private static func compare(
        _ trail: TrailFolder, _ mirrorPath: String, _ verifier: inout TrailVerifier
    ) throws(RelayError) {
        let mirror = TrailFolder(path: mirrorPath, mayBeLink: true)
        let mirrored = try mirror.segments()
        guard !mirrored.isEmpty else { throw .trail("there is no mirror there") }
        for segment in try trail.segments() {
            guard let copy = mirrored.first(where: { $0.first == segment.first }) else {
                if segment.first < (mirrored.last?.first ?? 0) {
                    verifier.note(.mirrorDiffers(at: segment.first))
                }
                continue
            }
            let own = try trail.read(segment).entries
            let other = try mirror.read(copy).entries
            for (left, right) in zip(own, other) where left.hash != right.hash {
                verifier.note(.mirrorDiffers(at: left.sequence))
                return
            }
            if other.count > own.count {
                verifier.note(
                    .tailMissing(
                        next: verifier.next, expected: other.last?.end.next ?? 0))
            }
        }
        if let last = mirrored.last,
            try !trail.segments().contains(where: {
                $0.first == last.first
            })
        {
            verifier.note(
                .tailMissing(next: verifier.next, expected: min(last.first, .max - 1) + 1))
        }
    }
}
