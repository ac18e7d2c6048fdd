import Foundation
import Glibc

/// The files of the trail's mirror, which become what the trail's are. Any of it may take for ever.
///
/// Unchecked: used on the mirror's queue alone.
final class TrailCopy: @unchecked Sendable {
    private let trail: TrailFolder
    private let folder: TrailFolder
    /// Makes durable what was written to a file; false if that failed.
    private let sync: (Int32) -> Bool
    /// The copy of the segment that is written; -1 if it isn't open.
    private var file: Int32 = -1
    /// How much of it a sync has made durable. Whatever is behind is written again after a failure, for
    /// the system tells only once what it couldn't write to the disk.
    private var place = MirrorPace.Place()

    init(
        of trail: TrailFolder, in folder: TrailFolder,
        sync: @escaping (Int32) -> Bool = { fdatasync($0) == 0 }
    ) {
        self.trail = trail
        self.folder = folder
        self.sync = sync
    }

    deinit { close() }

    func close() {
        if file >= 0 { Glibc.close(file) }
        file = -1
    }

    /// The common case: it has exactly what the trail had before. False if it hasn't.
    func follow(_ octets: [UInt8], to end: MirrorPace.Place) -> Bool {
        let position = end.byteCount - octets.count
        guard isInPlace, place.segment == end.segment, place.byteCount == position, position > 0,
            lseek(file, 0, SEEK_END) == position,
            OwnFile.write(octets, to: file, at: position), sync(file)
        else { return false }
        place = end
        return true
    }

    /// The mirror's disk may have been taken away, or put back.
    private var isInPlace: Bool {
        guard let segment = place.segment else { return false }
        return OwnFile.isOpen(file, as: folder.segment(first: segment.first).path)
    }

    /// Brings it up to the trail; why that failed, in words. One that differs is left alone: it may be
    /// the true one.
    ///
    /// - Parameter end: where the trail ended; what was written there since is left out.
    func catchUp(to end: MirrorPace.Place) -> String? {
        if file >= 0, !isInPlace { place = MirrorPace.Place() }
        close()
        do throws(RelayError) {
            if unsafe access(folder.path, F_OK) != 0 {
                try TrailLog.makeMirror(folder.path)
                OwnFile.hand(folder.path, toOwnerOf: trail.path)
            }
            guard let current = end.segment else { return nil }
            let from = try folder.segments().last?.first ?? 0
            guard from <= current.first else {
                throw .trail("the mirror goes on behind the trail's end")
            }
            for segment in try trail.segments()
            where segment.first >= from && segment.first <= current.first {
                let byteCount =
                    segment == current ? end.byteCount : OwnFile.byteCount(of: segment.path)
                try copy(segment, byteCount: byteCount)
                place = MirrorPace.Place(segment: segment, byteCount: byteCount)
            }
            file = OwnFile.open(folder.segment(first: current.first).path, O_RDWR)
            return nil
        } catch {
            if case .trail(let words) = error { return words }
            return "the mirror can't be written"
        }
    }

    private func copy(
        _ source: TrailFolder.Segment, byteCount: Int
    ) throws(RelayError) {
        let target = folder.segment(first: source.first)
        let durable = place.segment == source ? place.byteCount : 0
        let file = OwnFile.open(target.path, O_RDWR | O_CREAT)
        guard file >= 0 else { throw .trail("the mirror can't be written") }
        defer { Glibc.close(file) }
        OwnFile.hand(file, toOwnerOf: trail.path)
        guard durable < byteCount || lseek(file, 0, SEEK_END) != byteCount else { return }
        // The writer may just be appending more.
        guard let octets = OwnFile.contents(source.path)?.prefix(byteCount) else {
            throw .trail("the trail can't be read")
        }
        // Written after the trail, a copy is never longer.
        guard OwnFile.byteCount(of: target.path) <= byteCount else {
            throw .trail("the mirror holds another trail")
        }
        guard let kept = OwnFile.contents(target.path, atMost: byteCount) else {
            throw .trail("the mirror can't be read")
        }
        var start = min(durable, kept.count)
        if !octets.starts(with: kept) {
            // Torn by a crash of the mirror's machine, or another trail.
            let size = TrailFolder.parse(kept).wholeByteCount
            guard size > 0 || kept.count < TrailFolder.magic.count,
                octets.starts(with: kept.prefix(size))
            else { throw .trail("the mirror holds another trail") }
            guard ftruncate(file, off_t(size)) == 0 else {
                throw .trail("the mirror can't be written")
            }
            start = min(start, size)
        }
        guard OwnFile.write(Array(octets.dropFirst(start)), to: file, at: start),
            sync(file), durable > 0 || OwnFile.syncFolder(folder.path)
        else { throw .trail("the mirror can't be written") }
    }
}
