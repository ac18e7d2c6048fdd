internal import Glibc

/// The lock that lets one process at a time have a home: `flock` on a file that names its holder.
final class HomeLock: Sendable {
    private let descriptor: Int32

    /// Takes the lock at once or not at all.
    ///
    /// - Throws: `.inUse` with the holder, as far as the system tells.
    init(home: String) throws(VaultError) {
        let path = home + "/vault.lock"
        let descriptor = unsafe open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw VaultError(systemError: errno) }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let reason = errno
            defer { close(descriptor) }
            guard reason == EWOULDBLOCK else { throw VaultError(systemError: reason) }
            throw .inUse(by: Self.holder(named: descriptor))
        }
        self.descriptor = descriptor
        let line = Array("\(getpid())\n".utf8)
        // The line only serves a message; without it the lock holds all the same.
        if ftruncate(descriptor, 0) == 0 {
            _ = unsafe pwrite(descriptor, line, line.count, 0)
        }
    }

    deinit {
        close(descriptor)
    }

    private static func holder(named descriptor: Int32) -> Vault.Holder? {
        let line = contents(of: descriptor, atMost: 32).prefix { $0 != 0x0A }
        guard let processID = Int32(String(decoding: line, as: UTF8.self)), processID > 0 else {
            return nil
        }
        return Vault.Holder(processID: processID, command: command(of: processID))
    }

    /// Program and subcommand. What follows may be a person's text and isn't repeated.
    private static func command(of processID: Int32) -> String? {
        let descriptor = unsafe open("/proc/\(processID)/cmdline", O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        let words = contents(of: descriptor, atMost: 4096)
            .split(separator: 0, maxSplits: 2, omittingEmptySubsequences: false)
        guard let first = words.first,
            let program = first.split(separator: UInt8(ascii: "/")).last,
            program.allSatisfy({ (0x21...0x7E).contains($0) })
        else { return nil }
        let name = String(decoding: program.prefix(64), as: UTF8.self)
        guard words.count > 1, !words[1].isEmpty, words[1].count <= 20,
            words[1].allSatisfy({ (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0) })
        else { return name }
        return name + " " + String(decoding: words[1], as: UTF8.self)
    }

    private static func contents(of descriptor: Int32, atMost limit: Int) -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: limit)
        let count = unsafe pread(descriptor, &buffer, limit, 0)
        return Array(buffer.prefix(max(0, count)))
    }
}
