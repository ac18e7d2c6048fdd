import Foundation
import Glibc

/// The files of the trail's mirror, which become what the trail's are. Any of it may take for ever.
///
/// Unchecked: used on the mirror's queue alone.
final class TrailCopy: @unchecked Sendable {
    private let trail: TrailFolder
    private let folder: TrailFolder
    /// The copy of the segment that is written, and how much of it is there; -1 if it isn't open.
    private var file: Int32 = -1
    private var place = MirrorPace.Place()

    init(of trail: TrailFolder, in folder: TrailFolder) {
        self.trail = trail
        self.folder = folder
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
            OwnFile.write(octets, to: file, at: position), fdatasync(file) == 0
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
        close()
        do throws(RelayError) {
            try TrailLog.makeMirror(folder.path)
            guard let current = end.segment else { return nil }
            let from = try folder.segments().last?.first ?? 0
            guard from <= current.first else {
                throw .trail("the mirror goes on behind the trail's end")
            }
            for segment in try trail.segments()
            where segment.first >= from && segment.first <= current.first {
                try copy(
                    segment, to: folder.segment(first: segment.first),
                    byteCount: segment == current ? end.byteCount : Self.size(of: segment.path))
            }
            file = OwnFile.open(folder.segment(first: current.first).path, O_RDWR)
            place = end
            return nil
        } catch {
            if case .trail(let words) = error { return words }
            return "the mirror can't be written"
        }
    }

    private func copy(
        _ source: TrailFolder.Segment, to target: TrailFolder.Segment, byteCount: Int
    ) throws(RelayError) {
        let file = OwnFile.open(target.path, O_RDWR | O_CREAT)
        guard file >= 0 else { throw .trail("the mirror can't be written") }
        defer { Glibc.close(file) }
        var size = Int(lseek(file, 0, SEEK_END))
        guard size != byteCount else { return }
        // The writer may just be appending more.
        guard let octets = OwnFile.contents(source.path)?.prefix(byteCount) else {
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
            fdatasync(file) == 0, size > 0 || OwnFile.syncFolder(folder.path)
        else { throw .trail("the mirror can't be written") }
    }

    private static func size(of path: String) -> Int {
        let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return 0 }
        defer { Glibc.close(file) }
        return Int(lseek(file, 0, SEEK_END))
    }
}
