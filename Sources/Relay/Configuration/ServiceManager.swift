private import Glibc

/// What systemd hands to a service, and what it wants to be told (sd_listen_fds(3), sd_notify(3)),
/// without its library.
public struct ServiceManager: Sendable {
    /// Sockets that the service manager listens on for us.
    public let sockets: [Int32]
    /// How often the watchdog wants to hear from us, in microseconds.
    public let watchdogMicroseconds: UInt64?
    private let notifySocket: String?

    private static let firstSocket: Int32 = 3

    /// Reads the process's environment.
    public init(environment: [String: String]) {
        func isForUs(_ name: String) -> Bool { environment[name].flatMap(Int32.init) == getpid() }
        if isForUs("LISTEN_PID"), let count = environment["LISTEN_FDS"].flatMap(Int32.init),
            (1...64).contains(count)
        {
            sockets = Array(Self.firstSocket..<Self.firstSocket + count)
        } else {
            sockets = []
        }
        let interval = environment["WATCHDOG_USEC"].flatMap(UInt64.init)
        let isWatched = environment["WATCHDOG_PID"] == nil || isForUs("WATCHDOG_PID")
        watchdogMicroseconds = isWatched ? interval : nil
        notifySocket = environment["NOTIFY_SOCKET"]
    }

    /// What the service manager is told.
    public enum Notice: String, Sendable {
        /// The service takes connections.
        case ready = "READY=1"
        /// The service ends.
        case stopping = "STOPPING=1"
        /// The service lives.
        case watchdog = "WATCHDOG=1"
    }

    /// Tells it, if somebody listens.
    public func tell(_ notice: Notice) {
        guard let path = notifySocket, path.hasPrefix("/") || path.hasPrefix("@") else { return }
        var octets = Array(path.utf8)
        if octets[0] == UInt8(ascii: "@") { octets[0] = 0 }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let offset = MemoryLayout.offset(of: \sockaddr_un.sun_path) ?? 2
        guard octets.count < MemoryLayout.size(ofValue: address.sun_path) else { return }
        unsafe withUnsafeMutableBytes(of: &address) { whole in
            for (index, octet) in octets.enumerated() { unsafe whole[offset + index] = octet }
        }
        let descriptor = socket(
            AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        let message = Array(notice.rawValue.utf8)
        unsafe message.withUnsafeBytes { message in
            unsafe withUnsafePointer(to: &address) { address in
                _ = unsafe address.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    unsafe sendto(
                        descriptor, message.baseAddress, message.count,
                        Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT), $0,
                        socklen_t(offset + octets.count))
                }
            }
        }
    }
}
