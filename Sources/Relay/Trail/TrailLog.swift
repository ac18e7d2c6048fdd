import CoreFoundation
import Cryptography
import Dispatch
import Foundation
import RelayCore

/// The trail's end, open for appending: one thread writes, and a mirror on another disk follows.
///
/// An entry is confirmed only after `append` returned; a crash may tear what was being written last,
/// and the next start cuts that off. Other octets that can't be read stay where they are.
final class TrailLog {
    private let folder: TrailFolder
    private var mirror: TrailMirror?
    private var file: Int32 = -1
    private var segment: TrailFolder.Segment?
    private var byteCount = 0

    /// Where the chain in the files ends; `nil` if there is none.
    private(set) var end: TrailEnd?
    /// The latest hour of an entry that was written while the clock was trusted.
    private(set) var lastTrustedHour: UInt32?
    /// Octets that a crash had torn and that were cut off at the start.
    private(set) var tornByteCount = 0
    /// The entry that can't be read, if one can't; its octets are kept.
    private(set) var damagedAt: UInt64?
    /// Why the mirror hasn't all of it, in words; `nil` while it does or there is none.
    var mirrorTrouble: String? { mirror?.trouble }

    /// Takes up the trail in a folder, and makes the folder if it isn't there.
    ///
    /// - Parameter first: the entries before this one had been written before the last batch.
    /// - Parameter patience: milliseconds for which the mirror is waited for.
    /// - Parameter queue: where the mirror is written.
    init(
        path: String, mirrorPath: String?, confirmed first: UInt64, patience: Int = 5_000,
        queue: DispatchQueue = DispatchQueue(label: "trail mirror")
    ) throws(RelayError) {
        folder = TrailFolder(path: path)
        try Self.make(path, "the trail's folder")
        OwnFile.hand(path, toOwnerOf: OwnFile.folder(of: path))
        if let last = try folder.segments().last { try takeUp(last, confirmed: first) }
        guard let mirrorPath else { return }
        mirror = TrailMirror(
            of: folder, at: mirrorPath, from: place, patience: patience, queue: queue)
    }

    deinit {
        if file >= 0 { close(file) }
    }

    private var place: MirrorPace.Place { .init(segment: segment, byteCount: byteCount) }

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

    /// Writes entries and returns once they are on the disk, and on the mirror's while that works and
    /// answers.
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
        mirror?.follow(octets, to: place)
    }

    /// Gives the mirror a last while to catch up.
    func endMirror() { mirror?.end() }

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

    // MARK: Files

    /// Whether what is written can be found again.
    var isInPlace: Bool { segment.map { OwnFile.isOpen(file, as: $0.path) } ?? true }

    /// Makes the mirror's folder, if it isn't there.
    static func makeMirror(_ path: String) throws(RelayError) {
        try make(path, "the mirror's folder")
    }
}
