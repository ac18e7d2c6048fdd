import Foundation
import Glibc

/// A file system of its own for a relay's data, and a file of somebody else's on it. Only root may
/// mount one.
final class SmallDisk {
    private let folder: String
    private var isMounted = true
    private var foreign: String { folder + "/foreign" }

    init(at folder: String, mebibytes: Int) throws {
        self.folder = folder
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true)
        try system(
            "mount", "-t", "tmpfs", "-o", "size=\(mebibytes)m,mode=0700", "none", folder)
    }

    deinit { if isMounted { try? system("umount", "-l", folder) } }

    func unmount() throws {
        try system("umount", folder)
        isMounted = false
    }

    /// Octets that are free.
    var free: Int {
        var information = statvfs()
        guard unsafe statvfs(folder, &information) == 0 else { return 0 }
        return Int(information.f_bavail) * Int(information.f_frsize)
    }

    /// Lets the foreign file grow until only so many octets are free.
    func fill(leaving rest: Int) throws {
        let file = unsafe open(foreign, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw StageError.system("open", errno) }
        defer { close(file) }
        let zeros = [UInt8](repeating: 0, count: 1 << 20)
        while free > rest {
            let count = min(zeros.count, free - rest)
            guard unsafe zeros.withUnsafeBytes({ unsafe write(file, $0.baseAddress, count) }) > 0
            else { break }
        }
    }

    /// Removes the foreign file.
    func makeRoom() { unsafe unlink(foreign) }
}
