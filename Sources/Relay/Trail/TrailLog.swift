import CoreFoundation
import Cryptography
import Foundation
import RelayCore

/// The trail's end, open for appending: one thread writes, and a mirror on another disk follows.
///
/// An entry is confirmed only after `append` returned; a crash may tear what was being written last,
/// and the next start cuts that off. Other octets that can't be read stay where they are.
final class TrailLog {
    private let folder: TrailFolder
    private let mirror: TrailFolder?
    private var file: Int32 = -1
    private var segment: TrailFolder.Segment?
    private var byteCount = 0
    /// The mirror's copy of the same segment, and how much of it is there; -1 if it isn't open.
    private var mirrorFile: Int32 = -1
    private var mirrorByteCount = 0

    /// Where the chain in the files ends; `nil` if there is none.
    private(set) var end: TrailEnd?
    /// The latest hour of an entry that was written while the clock was trusted.
    private(set) var lastTrustedHour: UInt32?
    /// Octets that a crash had torn and that were cut off at the start.
    private(set) var tornByteCount = 0
    /// The entry that can't be read, if one can't; its octets are kept.
    private(set) var damagedAt: UInt64?
    /// Why the mirror doesn't follow, in words; `nil` while it does or there is none.
    private(set) var mirrorTrouble: String?

    /// Takes up the trail in a folder, and makes the folder if it isn't there.
    ///
    /// - Parameter first: the entries before this one had been written before the last batch.
    init(path: String, mirrorPath: String?, confirmed first: UInt64) throws(RelayError) {
        folder = TrailFolder(path: path)
        mirror = mirrorPath.map { TrailFolder(path: $0, mayBeLink: true) }
        try Self.make(path, "the trail's folder")
        if let last = try folder.segments().last { try takeUp(last, confirmed: first) }
        if mirror != nil { catchUp() }
    }

    deinit {
        if file >= 0 { close(file) }
        if mirrorFile >= 0 { close(mirrorFile) }
    }

    private static func make(_ path: String, _ name: String) throws(RelayError) {
        do {
            try FileManager.default.createDirectory(
                atPath: path, withIntermediateDirectories: true,
                attributes: [.posixPermissions: 0o700])
        } catch {
            throw RelayError.trail("\(name) can't be made")
        }
    }

    /// Start-up reads one segment, however long the trail is; the one before it too, if the last
    /// holds no whole entry.
    private func takeUp(
        _ last: TrailFolder.Segment, confirmed first: UInt64
    ) throws(RelayError) {
        let content = try folder.read(last)
        file = OwnFile.open(last.path, O_RDWR)
        guard file >= 0 else { throw .trail("the trail can't be opened for writing") }
        var earlier: [TrailEntry] = []
        // Entries of activity don't tell their hour.
        if content.entries.allSatisfy({ $0.isClockDoubted || $0.kind == .activity }) {
            let segment = try folder.segments().last { $0.first < last.first }
            if let segment { earlier = try folder.read(segment).entries }
        }
        var entries = content.entries
        segment = last
        byteCount = content.wholeByteCount + content.restByteCount
        var damages = content.damages
        if content.restByteCount > 0 {
            damages.append(
                TrailFolder.Damage(
                    entryCount: entries.count, position: content.wholeByteCount))
        }
        for damage in damages {
            let before = damage.entryCount > 0 ? entries[damage.entryCount - 1] : earlier.last
            let number = before?.end.next ?? last.first
            // With all before the last batch there, it is that batch which a crash has torn: the
            // store has it. Anything else had been confirmed, and is evidence.
            guard number >= first else {
                damagedAt = damagedAt ?? number
                continue
            }
            entries.removeLast(entries.count - damage.entryCount)
            tornByteCount = byteCount - damage.position
            byteCount = damage.position
            guard ftruncate(file, off_t(byteCount)) == 0, fsync(file) == 0 else {
                throw .trail("the trail's torn end can't be cut off")
            }
            break
        }
        end = (entries.last ?? earlier.last)?.end
        lastTrustedHour = (earlier + entries).latestTrustedHour
    }

    /// Writes entries and returns once they are on the disk, and on the mirror's while that works.
    ///
    /// - Throws: `.full` if there is no room, and then nothing of it is written; `.failed` when the
    ///   disk can't be trusted any more.
    func append(_ entries: [TrailEntry]) throws(StoreError) {
        guard let last = entries.last else { return }
        if file < 0 || byteCount >= TrailFolder.segmentByteCount {
            try begin(folder.segment(first: entries[0].sequence))
        }
        let before = byteCount
        let octets = (before == 0 ? TrailFolder.magic : []) + entries.flatMap(\.frame)
        guard OwnFile.write(octets, to: file, at: before) else {
            let reason = errno
            // Whatever was written of it must not be taken for a torn end of something confirmed.
            guard ftruncate(file, off_t(before)) == 0 else {
                throw .failed("the trail can't be written")
            }
            throw reason == ENOSPC || reason == EDQUOT
                ? .full : .failed("the trail can't be written")
        }
        guard fdatasync(file) == 0 else { throw .failed("the trail can't be synced") }
        byteCount += octets.count
        end = last.end
        if let hour = entries.latestTrustedHour {
            lastTrustedHour = max(hour, lastTrustedHour ?? 0)
        }
        if mirror != nil, !follow(octets, at: before) { catchUp() }
    }

    private func begin(_ next: TrailFolder.Segment) throws(StoreError) {
        let made = OwnFile.open(next.path, O_RDWR | O_CREAT)
        guard made >= 0 else {
            throw errno == ENOSPC || errno == EDQUOT
                ? .full : .failed("a segment of the trail can't be made")
        }
        guard ftruncate(made, 0) == 0, OwnFile.syncFolder(folder.path) else {
            close(made)
            throw .failed("a segment of the trail can't be made")
        }
        OwnFile.hand(made, toOwnerOf: folder.path)
        if file >= 0 { close(file) }
        file = made
        segment = next
        byteCount = 0
    }

    // MARK: The mirror

    /// Brings the mirror up to the trail. A mirror that can't be written doesn't stop the relay;
    /// `check` and the log tell of it. One that differs is left alone: it may be the true one.
    private func catchUp() {
        guard let mirror else { return }
        if mirrorFile >= 0 { close(mirrorFile) }
        mirrorFile = -1
        do throws(RelayError) {
            try Self.make(mirror.path, "the mirror's folder")
            let kept = try mirror.segments().last
            let from = kept?.first ?? 0
            let segments = try folder.segments()
            if let last = segments.last, from > last.first {
                throw .trail("the mirror goes on behind the trail's end")
            }
            for segment in segments where segment.first >= from {
                try copy(segment, to: mirror.segment(first: segment.first))
            }
            mirrorTrouble = nil
            guard let segment else { return }
            mirrorFile = OwnFile.open(
                mirror.segment(first: segment.first).path, O_RDWR)
            mirrorByteCount = byteCount
        } catch {
            if case .trail(let words) = error { mirrorTrouble = words }
        }
    }

    /// The common case: the mirror has exactly what the trail had before. False if it hasn't.
    private func follow(_ octets: [UInt8], at position: Int) -> Bool {
        guard isMirrorInPlace, mirrorByteCount == position, position > 0,
            lseek(mirrorFile, 0, SEEK_END) == position,
            OwnFile.write(octets, to: mirrorFile, at: position), fdatasync(mirrorFile) == 0
        else { return false }
        mirrorByteCount += octets.count
        return true
    }

    /// The mirror's disk may have been taken away, or put back.
    private var isMirrorInPlace: Bool {
        guard let mirror, let segment else { return false }
        return Self.isInPlace(mirrorFile, mirror.segment(first: segment.first).path)
    }

    private func copy(
        _ source: TrailFolder.Segment, to target: TrailFolder.Segment
    ) throws(RelayError) {
        let file = OwnFile.open(target.path, O_RDWR | O_CREAT)
        guard file >= 0 else { throw .trail("the mirror can't be written") }
        defer { close(file) }
        var size = Int(lseek(file, 0, SEEK_END))
        let whole = source == segment ? byteCount : Self.size(of: source.path)
        guard size != whole else { return }
        guard let octets = OwnFile.contents(source.path) else {
            throw .trail("the trail can't be read")
        }
        guard let kept = OwnFile.contents(target.path) else {
            throw .trail("the mirror can't be read")
        }
        if !octets.starts(with: kept) {
            // Torn by a crash of the mirror's machine, or another trail.
            size = TrailFolder.parse(kept).wholeByteCount
            guard size > 0 || kept.count < TrailFolder.magic.count,
                octets.starts(with: kept.prefix(size))
            else { throw .trail("the mirror holds another trail") }
            guard ftruncate(file, off_t(size)) == 0 else {
                throw .trail("the mirror can't be written")
            }
        }
        guard OwnFile.write(Array(octets.dropFirst(size)), to: file, at: size),
            fdatasync(file) == 0, size > 0 || OwnFile.syncFolder(mirror?.path ?? "")
        else { throw .trail("the mirror can't be written") }
    }

    // MARK: Files

    /// Whether what is written can be found again.
    var isInPlace: Bool { segment.map { Self.isInPlace(file, $0.path) } ?? true }

    /// Whether the file that is open is the one that has the name.
    private static func isInPlace(_ file: Int32, _ path: String) -> Bool {
        var (open, named) = (stat(), stat())
        return unsafe fstat(file, &open) == 0 && lstat(path, &named) == 0
            && open.st_dev == named.st_dev && open.st_ino == named.st_ino
    }

    private static func size(of path: String) -> Int {
        let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return 0 }
        defer { close(file) }
        return Int(lseek(file, 0, SEEK_END))
    }
}
