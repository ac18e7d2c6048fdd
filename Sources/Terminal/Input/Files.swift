private import Cryptography
private import Foundation

/// Files that a person names on the command line: small ones, read and written whole.
public enum Files {
    /// Reads a file, or standard input for `-`.
    ///
    /// - Parameter limit: octets; a larger file is refused.
    /// - Throws: status 66 if there is no such file, 77 if it may not be read, 65 if it is too
    ///   large, 74 if the disk fails.
    public static func read(_ path: String, limit: Int = 1 << 20) throws -> [UInt8] {
        var descriptor = STDIN_FILENO
        if path != "-" {
            descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
            guard descriptor >= 0 else { throw failure(errno, opening: path) }
        }
        defer { if path != "-" { close(descriptor) } }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = unsafe Glibc.read(descriptor, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw failure(errno, opening: path) }
            if count == 0 { return bytes }
            bytes += buffer[..<count]
            guard bytes.count <= limit else {
                throw Failure(.badData, "\(name(path)) is larger than \(limit) octets")
            }
        }
    }

    /// Writes a file whole or not at all, or standard output for `-`.
    ///
    /// - Parameter isPrivate: readable by its owner only.
    /// - Parameter replacing: whether a file of that name may be replaced.
    /// - Throws: status 73 if it exists already or can't be made, 74 if the disk fails.
    public static func create(
        _ path: String, contents: [UInt8], isPrivate: Bool = false, replacing: Bool = false
    ) throws {
        if path == "-" { return try Descriptor.standardOutput.write(contents) }
        let random = Random.bytes(9)
        let folder = (path as NSString).deletingLastPathComponent
        let temporary =
            (folder.isEmpty ? "" : folder + "/") + ".curtain-" + Base64URL.encode(random)
        let mode: mode_t = isPrivate ? 0o600 : 0o644
        let descriptor = unsafe open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode)
        guard descriptor >= 0 else { throw cannotCreate(path, errno) }
        defer {
            close(descriptor)
            unsafe unlink(temporary)
        }
        try Descriptor(number: descriptor).write(contents)
        guard fsync(descriptor) == 0 else {
            throw Failure(.inputOutput, "writing \(path) failed (\(SystemError.text(errno)))")
        }
        let isPlaced = unsafe replacing ? rename(temporary, path) == 0 : link(temporary, path) == 0
        guard isPlaced else { throw cannotCreate(path, errno) }
        let parent = unsafe open(folder.isEmpty ? "." : folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        if parent >= 0 {
            fsync(parent)
            close(parent)
        }
    }

    static func failure(_ number: Int32, opening path: String) -> Failure {
        switch number {
        case ENOENT, ENOTDIR:
            return Failure(.notFound, "there is no file \(path)", advice: "check its name")
        case EACCES, EPERM:
            return Failure(.notAllowed, "\(path) may not be read", advice: "check who owns it")
        default:
            return Failure(
                .inputOutput, "reading \(name(path)) failed (\(SystemError.text(number)))")
        }
    }

    private static func cannotCreate(_ path: String, _ number: Int32) -> Failure {
        if number == EEXIST {
            return Failure(
                .cannotCreate, "\(path) exists already", advice: "choose another name or remove it")
        }
        return Failure(.cannotCreate, "\(path) can't be made (\(SystemError.text(number)))")
    }

    private static func name(_ path: String) -> String {
        path == "-" ? "standard input" : path
    }
}
