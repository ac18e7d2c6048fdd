private import Glibc

/// A port of 127.0.0.1 that the system gives to nobody who asks for any. Nobody listens there, but
/// whoever is told of it can, again and again, with SO_REUSEADDR as servers do.
public final class HeldPort: Sendable {
    /// The port.
    public let port: UInt16
    private let descriptor: Int32

    /// Lets the system choose one.
    public init() throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var one: Int32 = 1
        unsafe setsockopt(
            descriptor, SOL_SOCKET, SO_REUSEADDR, &one, socklen_t(MemoryLayout<Int32>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let descriptor = descriptor
        let result = unsafe withUnsafeMutablePointer(to: &address) {
            unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                unsafe bind(descriptor, address, length) == 0
                    ? unsafe getsockname(descriptor, address, &length) : -1
            }
        }
        guard result == 0 else {
            close(descriptor)
            throw RawPeer.Refused(code: errno)
        }
        port = UInt16(bigEndian: address.sin_port)
    }

    deinit { close(descriptor) }
}
