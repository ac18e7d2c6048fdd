import CoreFoundation
import Foundation
import Glibc

/// Files in a folder that may be another user's, as when root runs a command on the relay's folder:
/// what a link points to is never touched, nor a file that has another name elsewhere.
enum OwnFile {
    /// Opens a regular file.
    ///
    /// - Returns: -1 if it can't be opened, or is something else.
    static func open(_ path: String, _ flags: Int32) -> Int32 {
        let file = unsafe Glibc.open(path, flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0o600)
        guard file >= 0 else { return -1 }
        var state = stat()
        guard unsafe fstat(file, &state) == 0, isOwn(state) else {
            close(file)
            return -1
        }
        return file
    }

    /// Whether a regular file of one name is there. Opens nothing: closing a database's file would
    /// end the locks that this process holds on it.
    static func isThere(_ path: String) -> Bool {
        var state = stat()
        return unsafe lstat(path, &state) == 0 && isOwn(state)
    }

    private static func isOwn(_ state: stat) -> Bool {
        state.st_mode & S_IFMT == S_IFREG && state.st_nlink == 1
    }

    /// Whether the file that is open is the one that has the name.
    static func isOpen(_ file: Int32, as path: String) -> Bool {
        var (open, named) = (stat(), stat())
        return unsafe fstat(file, &open) == 0 && lstat(path, &named) == 0
            && open.st_dev == named.st_dev && open.st_ino == named.st_ino
    }

    /// The folder that a file, or a folder, is in.
    static func folder(of path: String) -> String {
        URL(fileURLWithPath: path).deletingLastPathComponent().path
    }

    /// How long a file is; 0 if there is none.
    static func byteCount(of path: String) -> Int {
        var state = stat()
        return unsafe stat(path, &state) == 0 ? max(0, Int(clamping: state.st_size)) : 0
    }

    /// What a file holds; `nil` if it can't be opened or read, or claims to be longer than `limit`:
    /// one can do so that takes no room on its disk.
    static func contents(
        _ path: String, atMost limit: Int = TrailFolder.segmentLimit
    ) -> [UInt8]? {
        let file = open(path, O_RDONLY)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var state = stat()
        guard unsafe fstat(file, &state) == 0, let size = Int(exactly: state.st_size),
            size <= limit
        else { return nil }
        var isWhole = true
        let octets = unsafe [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
            while count < size {
                let part = unsafe read(
                    file, buffer.baseAddress.map { unsafe $0 + count }, size - count)
                if part < 0, errno == EINTR { continue }
                if part <= 0 {
                    isWhole = part == 0
                    break
                }
                count += part
            }
        }
        return isWhole ? octets : nil
    }

    // MARK: Writing

    /// Writes all octets at a place of an open file; false with `errno` set if that failed.
    static func write(_ octets: [UInt8], to file: Int32, at position: Int = 0) -> Bool {
        var done = 0
        while done < octets.count {
            let count = unsafe octets.withUnsafeBytes { buffer in
                unsafe pwrite(
                    file, buffer.baseAddress.map { unsafe $0 + done }, buffer.count - done,
                    off_t(position + done))
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return false }
            done += count
        }
        return true
    }

    /// Makes durable what was made, renamed or removed in a folder; false if that failed.
    static func syncFolder(_ path: String) -> Bool {
        let folder = unsafe Glibc.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard folder >= 0 else { return false }
        defer { close(folder) }
        return fsync(folder) == 0
    }

    /// Gives an open file to a folder's owner, if root made it: the relay must be able to write it.
    static func hand(_ file: Int32, toOwnerOf folder: String) {
        var state = stat()
        guard geteuid() == 0, unsafe stat(folder, &state) == 0 else { return }
        _ = unsafe fchownat(file, "", state.st_uid, state.st_gid, LinuxFlags.emptyPath)
    }

    /// The same for a file, folder or socket that isn't open. One that has another name elsewhere
    /// stays whose it is.
    static func hand(_ path: String, toOwnerOf folder: String) {
        let file = unsafe Glibc.open(path, LinuxFlags.path | O_NOFOLLOW | O_CLOEXEC)
        guard file >= 0 else { return }
        defer { close(file) }
        var state = stat()
        guard unsafe fstat(file, &state) == 0,
            state.st_mode & S_IFMT == S_IFDIR || state.st_nlink == 1
        else { return }
        hand(file, toOwnerOf: folder)
    }

    /// What Swift's Glibc doesn't name.
    private enum LinuxFlags {
        /// `O_PATH`: opens the name only, so a socket, too, and starts nothing.
        static let path: Int32 = 0o10_000_000
        /// `AT_EMPTY_PATH`
        static let emptyPath: Int32 = 0x1000
    }

    // MARK: Erasing

    /// Overwrites what a file holds, and then removes it. Where overwriting fails, it is removed all
    /// the same.
    static func erase(_ path: String) {
        let file = open(path, O_WRONLY)
        if file >= 0 {
            overwrite(file)
            close(file)
        }
        unsafe unlink(path)
    }

    /// Does the same with everything in a folder, and with the folder; also while another thread, which
    /// the process's end is to stop, still makes files there.
    static func eraseFolder(_ path: String) {
        let folder = unsafe Glibc.open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard folder >= 0 else { return }
        // By the descriptor: the name could be given to another folder meanwhile.
        let inside = "/proc/self/fd/\(folder)/"
        for _ in 0..<100 {
            for name in (try? FileManager.default.contentsOfDirectory(atPath: inside)) ?? [] {
                erase(inside + name)
            }
            if unsafe rmdir(path) == 0 || errno != ENOTEMPTY { break }
        }
        close(folder)
    }

    /// Writes zeros over all of an open file, and returns once they are on the disk.
    static func overwrite(_ file: Int32) {
        var state = stat()
        guard unsafe fstat(file, &state) == 0 else { return }
        let zeros = [UInt8](repeating: 0, count: 1 << 20)
        var position: off_t = 0
        while position < state.st_size {
            let wanted = min(zeros.count, Int(clamping: state.st_size - position))
            let count = unsafe zeros.withUnsafeBytes {
                unsafe pwrite(file, $0.baseAddress, wanted, position)
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            position += off_t(count)
        }
        fsync(file)
    }
}
