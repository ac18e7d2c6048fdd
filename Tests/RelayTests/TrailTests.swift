import Cryptography
import Foundation
import RelayCore
import RelayProtocol
import TestSupport
import Testing

@testable import Relay

/// A trail made of a few entries, as files.
struct TrailSample {
    let folder: TemporaryFolder
    let identity: SigningKey
    private(set) var entries: [TrailEntry] = []
    var path: String { folder.file("trail") }
    var trail: TrailFolder { TrailFolder(path: path) }

    init(count: Int = 30) throws {
        folder = try TemporaryFolder()
        identity = try SigningKey()
        var end = TrailEnd(relayKey: identity.publicKey)
        for number in 0..<count {
            let entry: TrailEntry
            if number % 7 == 6 {
                entry = try TrailHead.entry(
                    after: end, hour: UInt32(number), isClockDoubted: false, identity: identity)
            } else if number % 7 == 3 {
                let receipt = try ErasureReceipt(
                    group: #require(GroupID(Random.bytes(32))), erasedAt: 3_600,
                    reason: .confirmed, messageCount: 1, mailboxCount: 2, identity: identity)
                entry = TrailEntry(
                    after: end, hour: UInt32(number), isClockDoubted: false, kind: .erasure,
                    content: receipt.encoded(), sealed: Random.bytes(60))
            } else {
                entry = TrailEntry(
                    after: end, hour: UInt32(number), isClockDoubted: false, kind: .activity,
                    content: TrailEvent(.activity, [("homes", "\(number)")]).content)
            }
            entries.append(entry)
            end = entry.end
        }
    }

    /// Writes entries as segments of `perSegment`.
    func write(_ entries: [TrailEntry]? = nil, perSegment: Int = 10) throws {
        try? FileManager.default.removeItem(atPath: path)
        try FileManager.default.createDirectory(
            atPath: path, withIntermediateDirectories: true)
        let entries = entries ?? self.entries
        for start in stride(from: 0, to: entries.count, by: perSegment) {
            let part = entries[start..<min(start + perSegment, entries.count)]
            let octets = TrailFolder.magic + part.flatMap(\.frame)
            try Data(octets).write(
                to: URL(
                    fileURLWithPath: path + "/" + TrailFolder.name(first: part[start].sequence)))
        }
    }

    func faults(
        kept: [TrailHead] = [], end: TrailEnd? = nil
    ) throws -> [TrailFault] {
        var verifier = TrailVerifier(
            relayKey: identity.publicKey, kept: kept, ends: end.map { [$0] } ?? [])
        var reader = try TrailReader(trail)
        while let piece = try reader.next() { verifier.take(piece) }
        verifier.finish(notBeyond: end)
        return verifier.faults
    }
}

@Suite struct `The audit trail` {
    @Test func `entries survive their encoding, cut at every length they are refused`() throws {
        let sample = try TrailSample(count: 8)
        for entry in sample.entries {
            let frame = entry.frame
            let body = Array(frame[4..<frame.count - 32])
            #expect(try TrailEntry(decoding: body) == entry)
            for count in 0..<body.count {
                #expect(throws: (any Error).self) {
                    try TrailEntry(decoding: Array(body[..<count]))
                }
            }
            #expect(throws: (any Error).self) { try TrailEntry(decoding: body + [0]) }
        }
    }

    @Test func `a whole trail verifies, and its heads are the relay's`() throws {
        let sample = try TrailSample()
        try sample.write()
        #expect(try sample.faults(end: sample.entries.last?.end) == [])
        let heads = sample.entries.compactMap { TrailHead($0) }
        #expect(heads.count == 4)
        #expect(try sample.faults(kept: heads) == [])
        for head in heads { #expect(head.isValid(relayKey: sample.identity.publicKey)) }
        #expect(!heads[0].isValid(relayKey: try SigningKey().publicKey))
    }

    /// What someone who can write the files, but doesn't have the relay's key, could try.
    enum Tampering: String, CaseIterable, Sendable {
        case head, tail, middle, edit, swap, reorderFiles, replay, append, rehash, foreign
    }

    @Test(arguments: Tampering.allCases)
    func `cutting, editing, reordering and replacing are found`(_ tampering: Tampering) throws {
        let sample = try TrailSample()
        var entries = sample.entries
        let end = entries.last?.end
        switch tampering {
        case .head: entries.removeFirst(4)
        case .tail: entries.removeLast(3)
        case .middle: entries.remove(at: 12)
        case .swap: entries.swapAt(14, 15)
        case .replay: entries.insert(entries[5], at: 20)
        case .append:
            let last = try #require(entries.last)
            entries.append(
                TrailEntry(after: last.end, hour: 1, isClockDoubted: false, kind: .stopped))
        case .edit: break
        case .reorderFiles: break
        case .rehash:
            // A cleverer one: the entry is changed and the whole chain behind it made anew.
            var chain = entries[11].end
            let changed = TrailEntry(
                after: chain, hour: 0, isClockDoubted: false, kind: .activity, content: [65])
            chain = changed.end
            entries[12] = changed
            for index in 13..<entries.count {
                let old = entries[index]
                entries[index] = TrailEntry(
                    after: chain, hour: old.hour, isClockDoubted: false, kind: old.kind,
                    content: old.content, sealed: old.sealed)
                chain = entries[index].end
            }
        case .foreign: entries = try TrailSample().entries
        }
        try sample.write(entries)
        let manager = FileManager.default
        let files = try sample.trail.segments()
        switch tampering {
        case .edit:
            var data = try #require(manager.contents(atPath: files[1].path))
            let place = data.count / 2
            data[place] ^= 1
            try data.write(to: URL(fileURLWithPath: files[1].path))
        case .reorderFiles:
            let aside = sample.folder.file("aside")
            try manager.moveItem(atPath: files[0].path, toPath: aside)
            try manager.moveItem(atPath: files[1].path, toPath: files[0].path)
            try manager.moveItem(atPath: aside, toPath: files[1].path)
        default: break
        }
        #expect(try !sample.faults(end: end).isEmpty)
    }

    @Test func `an end cut together with the database is found by a head kept elsewhere`() throws {
        let sample = try TrailSample()
        let kept = try #require(sample.entries.compactMap { TrailHead($0) }.last)
        let shorter = Array(sample.entries.prefix(20))
        try sample.write(shorter)
        // Nothing in the folder can tell: the database was put back too.
        #expect(try sample.faults(end: shorter.last?.end) == [])
        #expect(
            try sample.faults(kept: [kept], end: shorter.last?.end)
                == [.headNotFound(sequence: kept.sequence)])
    }

    @Test func `random octets are never taken for entries, and never stop the reader`() throws {
        var random = SeededGenerator(seed: 8)
        for count in 0..<300 {
            let content = TrailFolder.parse(TrailFolder.magic + random.bytes(count))
            #expect(content.entries.isEmpty)
            #expect(TrailFolder.parse(random.bytes(count)).entries.isEmpty)
            #expect(TrailEffectProbe.isHarmless(random.bytes(count)))
        }
    }

    @Test func `effects survive their encoding`() throws {
        let effects: [TrailEffect] = [
            .spent(hash: Random.bytes(32), until: Day(rawValue: 9)),
            .mailboxErased(hash: Random.bytes(32)), .packageTaken(hash: Random.bytes(32)),
            .shelfCleared(mailbox: Random.bytes(32)),
            .lastResortReplaced(mailbox: Random.bytes(32)),
            .receipt(
                mailbox: Random.bytes(32), content: Random.bytes(143), until: Day(rawValue: 3)),
            .closed(group: Random.bytes(32), deadline: Day(rawValue: 30)),
            .confirmed(membership: Random.bytes(32)),
        ]
        // Auditors see each counted, but for a receipt, which has an entry of its own.
        for effect in effects {
            var single = TrailEffects()
            single.note(effect)
            #expect(single.figures.count == (single.receipts.isEmpty ? 1 : 0), "\(effect)")
        }
        let encoded = TrailEffect.encode(effects)
        #expect(try TrailEffect.decode(encoded) == effects)
        let seal = try TrailSeal(identity: SigningKey())
        let sealed = try seal.seal(effects, at: 0)
        for effect in effects {
            guard case .spent(let hash, _) = effect else { continue }
            #expect(Data(sealed).range(of: Data(hash)) == nil)
        }
    }
}

private enum TrailEffectProbe {
    static func isHarmless(_ octets: [UInt8]) -> Bool {
        (try? TrailEffect.decode(octets)).map { TrailEffect.encode($0) == octets } ?? true
    }
}

@Suite struct `The trail's files` {
    @Test func `a torn end is cut off at every length, and the trail goes on`() throws {
        let sample = try TrailSample(count: 4)
        try sample.write()
        let file = try #require(sample.trail.segments().last).path
        let whole = try #require(FileManager.default.contents(atPath: file))
        let third = sample.entries[..<3].flatMap(\.frame).count + TrailFolder.magic.count
        for count in stride(from: 0, to: whole.count, by: 5) {
            try whole.prefix(count).write(to: URL(fileURLWithPath: file))
            let log = try TrailLog(path: sample.path, mirrorPath: nil, confirmed: 0)
            let kept = log.end?.next ?? 0
            #expect(kept <= 3)
            if count >= third { #expect(kept == 3) }
            try log.append(Array(sample.entries[Int(kept)...]))
            #expect(try sample.faults(end: sample.entries.last?.end) == [])
        }
        // Zeros where the file system had made room and a crash came before the octets.
        try (whole + Data(count: 500)).write(to: URL(fileURLWithPath: file))
        let log = try TrailLog(path: sample.path, mirrorPath: nil, confirmed: 0)
        #expect(log.end == sample.entries.last?.end)
        #expect(log.tornByteCount == 500)
    }

    @Test func `damage before the last batch is kept, told, and gone on behind`() throws {
        let sample = try TrailSample(count: 12)
        try sample.write(perSegment: 12)
        let file = try #require(sample.trail.segments().last).path
        let whole = try #require(FileManager.default.contents(atPath: file))
        let fifth = sample.entries[..<5].flatMap(\.frame).count + TrailFolder.magic.count
        let length = sample.entries[5].frame.count
        // Its length, its body, its hash: wherever a bit is flipped, what follows is found again.
        for place in [fifth, fifth + 3, fifth + 20, fifth + length - 1] {
            var damaged = whole
            damaged[place] ^= 4
            try damaged.write(to: URL(fileURLWithPath: file))
            let log = try TrailLog(path: sample.path, mirrorPath: nil, confirmed: 12)
            #expect(log.end == sample.entries.last?.end)
            #expect(log.damagedAt == 5)
            #expect(log.tornByteCount == 0)
            let next = TrailEntry(
                after: try #require(log.end), hour: 1, isClockDoubted: false, kind: .stopped)
            try log.append([next])
            let after = try #require(FileManager.default.contents(atPath: file))
            #expect(after == damaged + Data(next.frame))
            #expect(
                try sample.faults(end: next.end)
                    == [.unreadable(after: 5), .gap(expected: 5, found: 6)])
        }
    }

    @Test func `an end that had been confirmed is kept, too, when it can't be read`() throws {
        let sample = try TrailSample(count: 6)
        try sample.write()
        let file = try #require(sample.trail.segments().last).path
        let whole = try #require(FileManager.default.contents(atPath: file))
        let cut = whole.dropLast(3)
        try cut.write(to: URL(fileURLWithPath: file))
        let log = try TrailLog(path: sample.path, mirrorPath: nil, confirmed: 6)
        #expect(log.damagedAt == 5)
        let next = TrailEntry(
            after: try #require(sample.entries.last).end, hour: 1, isClockDoubted: false,
            kind: .stopped)
        try log.append([next])
        #expect(FileManager.default.contents(atPath: file) == cut + Data(next.frame))
        #expect(
            try sample.faults(end: next.end)
                == [.unreadable(after: 5), .gap(expected: 5, found: 6)])
    }

    @Test func `of the last batch any part may be torn, and is written again`() throws {
        let sample = try TrailSample(count: 12)
        try sample.write(perSegment: 12)
        let file = try #require(sample.trail.segments().last).path
        let whole = try #require(FileManager.default.contents(atPath: file))
        let fifth = sample.entries[..<5].flatMap(\.frame).count + TrailFolder.magic.count
        var torn = whole
        torn.replaceSubrange(fifth..<fifth + 60, with: Data(count: 60))
        try torn.write(to: URL(fileURLWithPath: file))
        let log = try TrailLog(path: sample.path, mirrorPath: nil, confirmed: 4)
        #expect(log.end == sample.entries[4].end)
        #expect(log.damagedAt == nil)
        #expect(log.tornByteCount == whole.count - fifth)
        try log.append(Array(sample.entries[5...]))
        #expect(FileManager.default.contents(atPath: file) == whole)
    }

    @Test func `the last sure hour is the latest one, not that of a day's activity`() throws {
        let folder = try TemporaryFolder()
        let path = folder.file("trail")
        var end = TrailEnd(relayKey: try SigningKey().publicKey)
        let sure: UInt32 = 24 * 9 + 23
        func entry(_ kind: TrailEntry.Kind, hour: UInt32, isDoubted: Bool = false) -> TrailEntry {
            let entry = TrailEntry(after: end, hour: hour, isClockDoubted: isDoubted, kind: kind)
            end = entry.end
            return entry
        }
        do {
            let log = try TrailLog(path: path, mirrorPath: nil, confirmed: 0)
            try log.append([entry(.started, hour: sure)])
            try log.append([entry(.activity, hour: 24 * 9)])
            try log.append([entry(.started, hour: 24 * 99, isDoubted: true)])
            #expect(log.lastTrustedHour == sure)
        }
        #expect(
            try TrailLog(path: path, mirrorPath: nil, confirmed: 3).lastTrustedHour == sure)
        // Nor does a new file that tells of activity only.
        let next = entry(.activity, hour: 24 * 9)
        try Data(TrailFolder.magic + next.frame).write(
            to: URL(fileURLWithPath: TrailFolder(path: path).segment(first: next.sequence).path))
        #expect(
            try TrailLog(path: path, mirrorPath: nil, confirmed: 4).lastTrustedHour == sure)
    }

    @Test func `a mirror follows, catches up, and is left alone if it differs`() throws {
        let sample = try TrailSample(count: 20)
        let mirrorPath = sample.folder.file("mirror")
        let mirror = TrailFolder(path: mirrorPath)
        func isSame() throws -> Bool {
            let own = try sample.trail.segments()
            return own.allSatisfy { segment in
                let copy = mirror.segment(first: segment.first)
                let content = FileManager.default.contents(atPath: segment.path)
                return content != nil
                    && content == FileManager.default.contents(atPath: copy.path)
            }
        }
        do {
            let log = try TrailLog(path: sample.path, mirrorPath: mirrorPath, confirmed: 0)
            for entry in sample.entries[..<5] { try log.append([entry]) }
            #expect(try isSame())
            #expect(log.mirrorTrouble == nil)
        }
        do {
            let log = try TrailLog(path: sample.path, mirrorPath: nil, confirmed: 0)
            try log.append(Array(sample.entries[5..<10]))
        }
        let copy = mirror.segment(first: 0).path
        let torn = try #require(FileManager.default.contents(atPath: copy))
        try torn.dropLast(3).write(to: URL(fileURLWithPath: copy))
        do {
            let log = try TrailLog(path: sample.path, mirrorPath: mirrorPath, confirmed: 0)
            #expect(try isSame())
            try log.append(Array(sample.entries[10..<12]))
            #expect(try isSame())
            // Its disk is taken away while the relay runs, and put back.
            let (manager, away) = (FileManager.default, sample.folder.file("away"))
            try manager.moveItem(atPath: mirrorPath, toPath: away)
            try log.append([sample.entries[12]])
            #expect(try isSame())
            try manager.removeItem(atPath: mirrorPath)
            try manager.moveItem(atPath: away, toPath: mirrorPath)
            try log.append([sample.entries[13]])
            #expect(try isSame())
        }
        let other = Data(TrailFolder.magic + (try TrailSample(count: 9)).entries.flatMap(\.frame))
        try other.write(to: URL(fileURLWithPath: copy))
        let log = try TrailLog(path: sample.path, mirrorPath: mirrorPath, confirmed: 0)
        #expect(log.mirrorTrouble != nil)
        try log.append(Array(sample.entries[14..<16]))
        #expect(log.end == sample.entries[15].end)
        #expect(log.mirrorTrouble != nil)
        #expect(FileManager.default.contents(atPath: copy) == other)
    }

    @Test func `a file that claims to be giant is refused, and nobody dies of it`() throws {
        let sample = try TrailSample(count: 2)
        let mirror = TrailFolder(path: sample.folder.file("mirror"))
        let giant = off_t(1) << 42
        do {
            let log = try TrailLog(path: sample.path, mirrorPath: mirror.path, confirmed: 0)
            try log.append([sample.entries[0]])
            try #require(unsafe truncate(mirror.segment(first: 0).path, giant) == 0)
            try log.append([sample.entries[1]])
            #expect(log.mirrorTrouble == "the mirror holds another trail")
            #expect(log.end == sample.entries[1].end)
        }
        try #require(unsafe truncate(sample.trail.segment(first: 0).path, giant) == 0)
        let refusal = RelayError.trail(
            "the file that begins with entry 0 is longer than any can be")
        for folder in [sample.trail, mirror] {
            var reader = try TrailReader(folder)
            #expect(throws: refusal) { try reader.next() }
        }
        #expect(throws: refusal) {
            try TrailLog(path: sample.path, mirrorPath: nil, confirmed: 2)
        }
        #expect(OwnFile.contents(mirror.segment(first: 0).path) == nil)
    }

    @Test func `numbers at the end of their range are no entries and no segments`() throws {
        let sample = try TrailSample(count: 4)
        try sample.write()
        let last = TrailEntry(
            after: TrailEnd(next: .max, hash: Random.bytes(32)), hour: 1, isClockDoubted: false,
            kind: .stopped)
        let body = Array(last.frame[4..<last.frame.count - 32])
        #expect(throws: (any Error).self) { try TrailEntry(decoding: body) }
        for name in ["99999999999999999999.trail", "18446744073709551615.trail"] {
            try Data(TrailFolder.magic + last.frame).write(
                to: URL(fileURLWithPath: sample.path + "/" + name))
        }
        #expect(try sample.trail.segments().map(\.first) == [0, .max])
        // What nobody wrote is no end of the chain, nor does it hide one.
        #expect(try sample.faults(end: sample.entries.last?.end) == [])
        #expect(try !sample.faults(end: last.end).isEmpty)
    }

    @Test func `a long trail is begun in segments, and starts without reading all of it`() throws {
        let sample = try TrailSample(count: 1)
        let log = try TrailLog(path: sample.path, mirrorPath: nil, confirmed: 0)
        var end = TrailEnd(relayKey: sample.identity.publicKey)
        for _ in 0..<12 {
            let entry = TrailEntry(
                after: end, hour: 5, isClockDoubted: false, kind: .activity,
                sealed: [UInt8](repeating: 7, count: 1 << 20))
            try log.append([entry])
            end = entry.end
        }
        #expect(try sample.trail.segments().count == 3)
        let again = try TrailLog(path: sample.path, mirrorPath: nil, confirmed: 0)
        #expect(again.end == end)
        #expect(again.lastTrustedHour == 5)
        #expect(try sample.faults(end: end) == [])
    }
}
