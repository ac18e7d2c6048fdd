private import Glibc

/// The files of one folder: private, written whole or not at all, durable before a call returns.
struct Folder: Sendable {
    let path: String

    /// Makes the folder, readable by its owner only, if it isn't there.
    func make() throws(ClinicError) {
        guard unsafe mkdir(path, 0o700) == 0 || errno == EEXIST else { throw .system(errno) }
    }

    /// The content of a file, or nothing if there is none.
    func read(_ name: String, limit: Int = 1 << 26) throws(ClinicError) -> [UInt8]? {
        let descriptor = unsafe open(file(name), O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            guard errno == ENOENT || errno == ENOTDIR else { throw .system(errno) }
            return nil
        }
        defer { close(descriptor) }
        var content: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = unsafe Glibc.read(descriptor, &buffer, buffer.count)
            if count < 0 {
                if errno == EINTR { continue }
                throw .system(errno)
            }
            if count == 0 { return content }
            content.append(contentsOf: buffer[..<count])
            guard content.count <= limit else { throw .damaged(name) }
        }
    }

    /// Replaces a file in one step.
    func write(_ content: [UInt8], to name: String) throws(ClinicError) {
        let temporary = file(name + ".new")
        let descriptor = unsafe open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw .system(errno) }
        do throws(ClinicError) {
            defer { close(descriptor) }
            try Self.write(content, to: descriptor)
            guard fsync(descriptor) == 0 else { throw .system(errno) }
        } catch {
            unsafe unlink(temporary)
            throw error
        }
        guard unsafe rename(temporary, file(name)) == 0 else { throw .system(errno) }
        try synchronise()
    }

    /// Adds to the end of a file, behind `offset`; a failure leaves nothing behind.
    func append(_ content: [UInt8], to name: String, at offset: Int) throws(ClinicError) {
        let descriptor = unsafe open(file(name), O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw .system(errno) }
        defer { close(descriptor) }
        do throws(ClinicError) {
            // Whatever follows is a line that was torn when somebody pulled the plug.
            guard ftruncate(descriptor, offset) == 0,
                lseek(descriptor, offset, SEEK_SET) == offset
            else { throw .system(errno) }
            try Self.write(content, to: descriptor)
            guard fsync(descriptor) == 0 else { throw .system(errno) }
        } catch {
            _ = ftruncate(descriptor, offset)
            throw error
        }
        if offset == 0 { try synchronise() }
    }

    /// Makes this process the only one that works in the folder; waits a little for another one.
    ///
    /// - Returns: what to pass to `unlock`.
    func lock() throws(ClinicError) -> Int32 {
        let descriptor = unsafe open(file("lock"), O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            if errno == ENOENT || errno == ENOTDIR { throw .notFound }
            throw .system(errno)
        }
        for _ in 0..<200 {
            if flock(descriptor, LOCK_EX | LOCK_NB) == 0 { return descriptor }
            guard errno == EWOULDBLOCK || errno == EINTR else { break }
            usleep(50_000)
        }
        close(descriptor)
        throw .busy
    }

    func unlock(_ descriptor: Int32) { close(descriptor) }

    private func file(_ name: String) -> String { path + "/" + name }

    private func synchronise() throws(ClinicError) {
        let descriptor = unsafe open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .system(errno) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw .system(errno) }
    }

    private static func write(_ content: [UInt8], to descriptor: Int32) throws(ClinicError) {
        var rest = content[...]
        while !rest.isEmpty {
            let count = unsafe rest.withUnsafeBytes {
                unsafe Glibc.write(descriptor, $0.baseAddress, $0.count)
            }
            if count < 0 {
                if errno == EINTR { continue }
                throw .system(errno)
            }
            rest = rest.dropFirst(count)
        }
    }
}
