public import Cryptography
import RelayProtocol

/// Reads a data folder's trail, or a mirror of it, for an auditor. Changes nothing.
public struct TrailAudit: Sendable {
    /// What verifying found.
    public let verifier: TrailVerifier
    /// The relay's identity key.
    public let relayKey: VerifyingKey
    /// The last entries, oldest first.
    public let entries: [TrailEntry]
    /// How many of the last entries the mirror lacks.
    public let mirrorMissing: Int

    /// Follows the whole chain of a folder's trail; the database's record of its end, the mirror and
    /// heads that were kept elsewhere must fit.
    ///
    /// - Parameter last: how many entries are kept for showing.
    /// - Parameter mirrorPath: a mirror to be compared, entry by entry.
    /// - Throws: `.notFound`, `.trail` if there is no trail or it can't be read, `.newerDatabase`,
    ///   `.dataFolder` if the mirror doesn't answer, `.inUse` while a command has the folder.
    public init(
        folder path: String, mirrorPath: String? = nil, heads: [TrailHead] = [],
        last: Int = 0
    ) throws(RelayError) {
        let folder = try DataFolder(existing: path)
        // A running relay writes to the store first, then to the trail, then to the mirror: what
        // the store has is in both a moment later.
        var mayBeBehind = try folder.runningRelay() != nil
        let first = try Self.end(in: folder)
        let keys = try folder.existingKeys()
        let trail = TrailFolder(path: folder.trailPath)
        guard try !trail.segments().isEmpty else {
            throw .notFound("this relay has no trail yet")
        }
        relayKey = keys.identity.publicKey
        while true {
            var verifier = TrailVerifier(
                relayKey: relayKey, kept: heads, ends: first.end.map { [$0] } ?? [])
            var entries: [TrailEntry] = []
            var reader = try TrailReader(trail)
            while let piece = try reader.next() {
                verifier.take(piece)
                guard last > 0, case .entry(let entry) = piece else { continue }
                entries.append(entry)
                if entries.count >= 2 * last { entries.removeFirst(entries.count - last) }
            }
            let latest = try Self.end(in: folder)
            let missing = try mirrorPath.map { path throws(RelayError) in
                try Self.compare(trail, path, in: folder, until: latest.end, &verifier)
            }
            let isBehind = first.end.map { $0.next > verifier.next } ?? false
            if isBehind || missing ?? 0 > 0, mayBeBehind {
                // Its answer comes behind everything that it had committed before.
                _ = try? RelayStatus.ask(folder)
                mayBeBehind = false
                continue
            }
            // A database that knows no end belongs to no trail that has an entry.
            verifier.finish(
                notBeyond: latest.isKnown ? latest.end ?? TrailEnd(relayKey: relayKey) : nil)
            if !latest.isKnown { verifier.note(.endUnknown) }
            // An end is torn only while the database has more to be written there.
            if reader.restByteCount > 0, verifier.next == latest.end?.next {
                verifier.note(.unreadable(after: verifier.next))
            }
            self.verifier = verifier
            self.entries = entries.suffix(last)
            mirrorMissing = missing ?? 0
            return
        }
    }

    /// The chain's end as the database has it, if it has one and can be asked.
    ///
    /// - Throws: `.newerDatabase`: what a trail means is for the version to say that wrote it.
    private static func end(
        in folder: DataFolder
    ) throws(RelayError) -> (end: TrailEnd?, isKnown: Bool) {
        do throws(RelayError) {
            return (try RelayDatabase.trail(path: folder.databasePath).end, true)
        } catch {
            if error == .newerDatabase { throw error }
            return (nil, false)
        }
    }

    /// A mirror must hold the same entries; how many of the last ones it lacks.
    ///
    /// - Parameter end: what the relay has written by now, though not yet when its trail was read.
    private static func compare(
        _ trail: TrailFolder, _ mirrorPath: String, in folder: DataFolder, until end: TrailEnd?,
        _ verifier: inout TrailVerifier
    ) throws(RelayError) -> Int {
        let mirror = TrailFolder(path: mirrorPath, mayBeLink: true)
        try mirror.requireAnswer()
        guard !folder.holds(mirrorPath + "/file") else {
            throw .trail("what is named as its mirror is in the data folder")
        }
        guard try !mirror.segments().isEmpty else { throw .notFound("there is no mirror there") }
        var joined = JoinedTrail([try TrailReader(trail), try TrailReader(mirror)])
        var lacking: (first: UInt64, count: Int)?
        var beyond: UInt64?
        while let link = try joined.take() {
            let number = link.entry.sequence
            if link.holders == [0], !link.isDisputed {
                lacking = (lacking?.first ?? number, (lacking?.count ?? 0) + 1)
            } else if link.isDisputed || lacking != nil {
                verifier.note(.mirrorDiffers(at: lacking?.first ?? number))
                return 0
            } else if link.holders == [1], number >= end?.next ?? verifier.next {
                beyond = number
            }
        }
        if let beyond { verifier.note(.tailMissing(next: verifier.next, expected: beyond + 1)) }
        // The mirror's own machine may have torn its end; then it lacks an entry.
        if joined.isDamaged(1) || (lacking == nil && joined.restByteCount(1) > 0) {
            verifier.note(.mirrorDiffers(at: joined.next))
        }
        return lacking?.count ?? 0
    }
}
