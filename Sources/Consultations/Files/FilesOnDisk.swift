import CoreFoundation
import Foundation
import Glibc

/// A file that is read once, from its beginning to its end.
final class FileSource {
    /// Its own name.
    let name: String
    /// Octets that it had when it was opened.
    let byteCount: Int
    private let descriptor: Int32

    /// Opens it.
    ///
    /// - Throws: `.file(.unreadable)`, also for what is no regular file.
    init(_ path: String) throws(DeviceError) {
        name = path.unicodeScalars.split(separator: "/").last.map { String($0) } ?? ""
        descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)
        guard descriptor >= 0 else { throw .file(.unreadable) }
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            close(descriptor)
            throw .file(.unreadable)
        }
        byteCount = Int(status.st_size)
    }

    deinit { close(descriptor) }

    /// Reads exactly so many octets.
    ///
    /// - Throws: `.file(.changed)` if there are fewer.
    func read(_ count: Int) throws(DeviceError) -> [UInt8] {
        var octets = [UInt8](repeating: 0, count: count)
        var filled = 0
        while filled < count {
            let some = unsafe octets.withUnsafeMutableBytes { buffer in
                let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[filled...])
                return unsafe Glibc.read(descriptor, rest.baseAddress, rest.count)
            }
            if some < 0, errno == EINTR { continue }
            guard some >= 0 else { throw .file(.unreadable) }
            guard some > 0 else { throw .file(.changed) }
            filled += some
        }
        return octets
    }

    /// All of it has been read.
    ///
    /// - Throws: `.file(.changed)` if it has grown meanwhile.
    func finish() throws(DeviceError) {
        var octet: UInt8 = 0
        guard unsafe Glibc.read(descriptor, &octet, 1) == 0 else { throw .file(.changed) }
    }
}

/// A file that appears under its name when it is whole, and never in the place of another.
///
/// Until then it has no name at all, so that nothing of it is left by a process that is killed;
/// only where the file system has no such files it is a hidden draft, removed at the end.
final class FileTarget {
    private let path: String
    private let folder: String
    private let draft: String?
    private let descriptor: Int32
    private let sync: (Int32) -> Int32

    /// Begins it, in the folder where it is to be.
    ///
    /// - Parameter sync: makes a file or folder durable; tests put their own in place of `fsync`.
    init(_ path: String, sync: @escaping (Int32) -> Int32 = fsync) throws(DeviceError) {
        guard unsafe access(path, F_OK) != 0 else { throw .file(.exists) }
        self.path = path
        self.sync = sync
        let scalars = path.unicodeScalars
        folder = scalars.lastIndex(of: "/").map { String(scalars[...$0]) } ?? "./"
        let nameless = unsafe open(folder, O_WRONLY | FileTarget.withoutName | O_CLOEXEC, 0o600)
        if nameless >= 0 {
            if unsafe access(FileTarget.place(of: nameless), F_OK) == 0 {
                (descriptor, draft) = (nameless, nil)
                return
            }
            close(nameless)
        }
        let hidden = folder + ".curtain-\(UInt64.random(in: 0...UInt64.max))"
        descriptor = unsafe open(hidden, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        draft = hidden
        guard descriptor >= 0 else { throw .file(.unwritable) }
    }

    deinit {
        close(descriptor)
        if let draft { unsafe unlink(draft) }
    }

    /// `O_TMPFILE` of open(2), which the C library shows to GNU sources only.
    private static let withoutName = O_DIRECTORY | 0o20_000_000

    /// What an open file without a name can be linked from, open(2).
    private static func place(of descriptor: Int32) -> String { "/proc/self/fd/\(descriptor)" }

    /// Writes behind what is there.
    func write(_ octets: ArraySlice<UInt8>) throws(DeviceError) {
        var rest = octets
        while !rest.isEmpty {
            let count = unsafe rest.withUnsafeBytes {
                unsafe Glibc.write(descriptor, $0.baseAddress, $0.count)
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw .file(.unwritable) }
            rest = rest.dropFirst(count)
        }
    }

    /// Gives it its name. When this returns a power failure takes neither.
    func finish() throws(DeviceError) {
        guard sync(descriptor) == 0 else { throw .file(.unwritable) }
        let place = draft ?? Self.place(of: descriptor)
        guard unsafe linkat(AT_FDCWD, place, AT_FDCWD, path, AT_SYMLINK_FOLLOW) == 0 else {
            throw .file(errno == EEXIST ? .exists : .unwritable)
        }
        guard syncFolder() else {
            unsafe unlink(path)
            throw .file(.unwritable)
        }
    }

    /// Makes the name durable, in a folder that may be read and a file system that can.
    private func syncFolder() -> Bool {
        let directory = unsafe open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard directory >= 0 else { return errno == EACCES }
        defer { close(directory) }
        return sync(directory) == 0 || errno == EINVAL
    }
}

/// What kind of file a name speaks of.
enum MediaType {
    private static let known = [
        "pdf": "application/pdf", "jpg": "image/jpeg", "jpeg": "image/jpeg", "png": "image/png",
        "gif": "image/gif", "heic": "image/heic", "webp": "image/webp", "tif": "image/tiff",
        "tiff": "image/tiff", "dcm": "application/dicom", "txt": "text/plain", "csv": "text/csv",
        "json": "application/json", "xml": "application/xml", "mp3": "audio/mpeg",
        "m4a": "audio/mp4", "ogg": "audio/ogg", "wav": "audio/wav", "mp4": "video/mp4",
        "mov": "video/quicktime", "zip": "application/zip",
        "odt":
            "application/vnd.oasis.opendocument.text",
        "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ]

    /// By its last extension.
    static func guess(from name: String) -> String {
        let parts = name.lowercased().split(separator: ".")
        guard parts.count > 1, let last = parts.last else { return "application/octet-stream" }
        return known[String(last)] ?? "application/octet-stream"
    }
}
