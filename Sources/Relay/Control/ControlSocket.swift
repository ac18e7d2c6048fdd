import Cryptography
import Foundation
import Glibc

/// Who is at the other end of a local socket, as the kernel says.
struct Peer: Equatable, Sendable {
    let user: uid_t

    /// The name of the operating system's user, or its number.
    var name: String { Self.name(of: user) }

    static func name(of user: uid_t) -> String {
        var entry = unsafe passwd()
        var buffer = [CChar](repeating: 0, count: 4_096)
        var found: UnsafeMutablePointer<passwd>?
        guard unsafe getpwuid_r(user, &entry, &buffer, buffer.count, &found) == 0,
            unsafe found != nil, let name = unsafe entry.pw_name
        else { return "\(user)" }
        return unsafe String(cString: name)
    }
}

/// The local socket in the data folder over which operators' commands reach a running relay.
///
/// The kernel says who connects; only the folder's owner and root are listened to. What they send
/// is one short line, whatever it holds.
final class ControlSocket: Sendable {
    typealias Handler = @Sendable (ControlRequest, Peer) -> ControlReply

    private let file: Int32
    private let path: String
    private let allowed: Set<uid_t>
    private let handler: Handler
    /// Counts the conversations that may still begin. Whoever comes when none may waits its turn.
    private let room = DispatchSemaphore(value: 0)
    private let end = DispatchSemaphore(value: 0)

    private static let conversationLimit = 8
    private static let timeoutSeconds = 5
    /// How long a command may take to compact and verify a copy.
    private static let copySeconds = 4 * 3_600

    /// - Parameter owners: the users that are listened to, beside root.
    init(
        folder: DataFolder, owners: Set<uid_t>, handler: @escaping Handler
    ) throws(RelayError) {
        path = folder.controlPath
        allowed = owners.union([0])
        self.handler = handler
        unsafe unlink(path)
        file = unsafe try LocalAddress.withSocket(inFolder: folder.path) {
            socket, address, count throws(RelayError) in
            guard unsafe bind(socket, address, count) == 0,
                unsafe chmod(folder.controlPath, 0o600) == 0, listen(socket, 8) == 0
            else { throw .control("the control socket can't be made") }
        }
        OwnFile.hand(path, toOwnerOf: folder.path)
        for _ in 0..<Self.conversationLimit { room.signal() }
        let thread = Thread { [self] in accept() }
        thread.name = "relay control"
        thread.start()
    }

    /// Ends listening; conversations that are going on end by themselves.
    func close() {
        unsafe unlink(path)
        shutdown(file, Int32(SHUT_RDWR))
        room.signal()
        end.wait()
        Glibc.close(file)
    }

    private func accept() {
        defer { end.signal() }
        while true {
            room.wait()
            guard let (connection, peer) = nextConnection() else { return }
            let thread = Thread { [self] in
                converse(connection, peer)
                Glibc.close(connection)
                room.signal()
            }
            thread.name = "relay control"
            thread.start()
        }
    }

    /// Waits for somebody who is listened to; `nil` once the socket is closed.
    private func nextConnection() -> (Int32, Peer)? {
        while true {
            let connection = Glibc.accept(file, nil, nil)
            if connection < 0 {
                if errno == EINTR || errno == ECONNABORTED { continue }
                if errno == EMFILE || errno == ENFILE || errno == ENOMEM {
                    usleep(100_000)  // Nothing tells when there is a descriptor again.
                    continue
                }
                return nil
            }
            _ = fcntl(connection, F_SETFD, FD_CLOEXEC)
            if let peer = Self.peer(of: connection), allowed.contains(peer.user) {
                return (connection, peer)
            }
            Glibc.close(connection)
        }
    }

    private static func peer(of connection: Int32) -> Peer? {
        // struct ucred: process, user, group.
        var credentials: [UInt32] = [0, .max, .max]
        var count = socklen_t(12)
        let result = unsafe getsockopt(
            connection, SOL_SOCKET, SO_PEERCRED, &credentials, &count)
        return result == 0 && count == 12 ? Peer(user: credentials[1]) : nil
    }

    /// Line after line, until one can't be read or takes too long.
    private func converse(_ connection: Int32, _ peer: Peer) {
        LocalAddress.limit(connection, seconds: Self.timeoutSeconds)
        var lines = LineReader(file: connection, limit: ControlRequest.lineLimit)
        var copy: String?
        // A copy lives as long as whoever asked for it: what is erased must not stay in one.
        defer { if let copy { DataFolder.removeDatabase(copy) } }
        while let line = lines.next() {
            let reply =
                ControlRequest(line).map { handler($0, peer) }
                ?? .refused(
                    "the relay is of another version and doesn't know this request; restart it")
            if let made = reply.copy {
                copy = made
                LocalAddress.limit(connection, seconds: Self.copySeconds)
            }
            guard LocalAddress.write(reply.encoded(), to: connection) else { return }
        }
    }
}

/// A command's end of the control socket.
struct ControlClient: ~Copyable {
    private let file: Int32
    private var lines: LineReader

    /// Connects to the relay that runs on a folder.
    ///
    /// - Throws: `.control` if it doesn't answer.
    init(folder: DataFolder, timeoutSeconds: Int = 30) throws(RelayError) {
        file = unsafe try LocalAddress.withSocket(inFolder: folder.path) {
            socket, address, count throws(RelayError) in
            // It may have to wait for others' conversations.
            LocalAddress.limit(socket, seconds: timeoutSeconds)
            guard unsafe connect(socket, address, count) == 0 else {
                throw .control("the relay that has this folder doesn't answer")
            }
        }
        lines = LineReader(file: file, limit: 1 << 20)
    }

    deinit { close(file) }

    /// Asks, and waits for the answer.
    ///
    /// - Throws: `.control` if it doesn't answer, `.refused` with its words.
    mutating func ask(
        _ request: ControlRequest, timeoutSeconds: Int = 30
    ) throws(RelayError) -> ControlReply {
        LocalAddress.limit(file, seconds: timeoutSeconds)
        guard LocalAddress.write(Array((request.text + "\n").utf8), to: file),
            let line = lines.next(), let reply = ControlReply(line)
        else { throw .control("the relay doesn't answer, or not this user") }
        if let problem = reply.problem { throw .refused(problem) }
        return reply
    }
}

/// Reads lines of limited length from a socket.
private struct LineReader {
    let file: Int32
    let limit: Int
    private var rest: [UInt8] = []

    init(file: Int32, limit: Int) {
        self.file = file
        self.limit = limit
    }

    /// The next line without its end; `nil` at the end, after too long a line, or after a timeout.
    mutating func next() -> [UInt8]? {
        while true {
            if let end = rest.firstIndex(of: 10) {
                let line = Array(rest[..<end])
                rest.removeFirst(end + 1)
                return line.count <= limit ? line : nil
            }
            guard rest.count <= limit else { return nil }
            var buffer = [UInt8](repeating: 0, count: 4_096)
            let count = unsafe read(file, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return nil }
            rest += buffer[..<count]
        }
    }
}

/// Local sockets by a name in a folder, however long the folder's path is.
private enum LocalAddress {
    /// Makes a socket and hands it out with the address of `control` in `folder`; closes it again
    /// if `body` throws.
    static func withSocket(
        inFolder folder: String,
        _ body: (Int32, UnsafePointer<sockaddr>, socklen_t) throws(RelayError) -> Void
    ) throws(RelayError) -> Int32 {
        let directory = unsafe open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard directory >= 0 else { throw .control("the data folder can't be entered") }
        defer { close(directory) }
        let file = socket(
            AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard file >= 0 else { throw .control("no local socket can be made") }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let name = Array("/proc/self/fd/\(directory)/control".utf8)
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: name) }
        let count = socklen_t(MemoryLayout<sockaddr_un>.size)
        do throws(RelayError) {
            try unsafe withUnsafePointer(to: &address) { pointer throws(RelayError) in
                try unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    address throws(RelayError) in
                    try unsafe body(file, address, count)
                }
            }
        } catch {
            close(file)
            throw error
        }
        return file
    }

    /// Sets how long one read or write may take.
    static func limit(_ file: Int32, seconds: Int) {
        var time = timeval(tv_sec: seconds, tv_usec: 0)
        let count = socklen_t(MemoryLayout<timeval>.size)
        _ = unsafe setsockopt(file, SOL_SOCKET, SO_RCVTIMEO, &time, count)
        _ = unsafe setsockopt(file, SOL_SOCKET, SO_SNDTIMEO, &time, count)
    }

    static func write(_ octets: [UInt8], to file: Int32) -> Bool {
        var rest = octets[...]
        while !rest.isEmpty {
            let count = unsafe rest.withUnsafeBytes {
                unsafe send(file, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return false }
            rest = rest.dropFirst(count)
        }
        return true
    }
}
