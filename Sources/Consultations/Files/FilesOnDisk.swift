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
        name = path.split(separator: "/").last.map(String.init) ?? ""
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
final class FileTarget {
    private let path: String
    private let draft: String
    private let descriptor: Int32

    /// Begins it, beside where it is to be.
    init(_ path: String) throws(DeviceError) {
        guard unsafe access(path, F_OK) != 0 else { throw .file(.exists) }
        self.path = path
        let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? ""
        draft = folder + ".curtain-\(UInt64.random(in: 0...UInt64.max))"
        descriptor = unsafe open(draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw .file(.unwritable) }
    }

    deinit {
        close(descriptor)
        unsafe unlink(draft)
    }

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

    /// Gives it its name.
    func finish() throws(DeviceError) {
        guard fsync(descriptor) == 0 else { throw .file(.unwritable) }
        guard unsafe link(draft, path) == 0 else {
            throw .file(errno == EEXIST ? .exists : .unwritable)
        }
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
