private import Glibc

/// A TCP connection that speaks no more WebSocket than a test makes it.
@safe public final class RawPeer {
    /// The socket.
    public let descriptor: Int32

    /// Connects to a port of 127.0.0.1, from 127.0.0.`host`.
    public init(port: UInt16, fromHost host: UInt8 = 1) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        func with(
            _ host: UInt8, _ port: UInt16,
            _ call: (UnsafePointer<sockaddr>, socklen_t) -> Int32
        ) -> Int32 {
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = port.bigEndian
            address.sin_addr.s_addr = (UInt32(0x7F00_0000) | UInt32(host)).bigEndian
            return unsafe withUnsafePointer(to: &address) {
                unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    unsafe call($0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
        }
        var result = unsafe with(host, 0) { unsafe bind(descriptor, $0, $1) }
        if result == 0 { result = unsafe with(1, port) { unsafe connect(descriptor, $0, $1) } }
        guard result == 0 else {
            close(descriptor)
            throw Refused(code: errno)
        }
        // A slow machine has time; whoever waits for nothing isn't kept for ever.
        var limit = timeval(tv_sec: 120, tv_usec: 0)
        unsafe setsockopt(
            descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    /// There is nobody at that port, or there is no port.
    public struct Refused: Error {
        /// The system's `errno`.
        public let code: Int32
    }

    deinit { close(descriptor) }

    /// Sends octets.
    public func write(_ octets: [UInt8]) {
        _ = unsafe octets.withUnsafeBytes {
            unsafe Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
        }
    }

    /// Sends text.
    public func write(_ text: String) { write(Array(text.utf8)) }

    /// What comes next, at most `count` octets; empty when the peer has closed.
    public func read(_ count: Int = 4096) -> [UInt8] {
        unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            var result = 0
            repeat {
                result = unsafe recv(descriptor, buffer.baseAddress, count, 0)
            } while result < 0 && errno == EINTR
            filled = max(0, result)
        }
    }

    /// As many octets, or fewer if the peer closes before.
    public func readExactly(_ count: Int) -> [UInt8] {
        var octets: [UInt8] = []
        while octets.count < count {
            let more = read(count - octets.count)
            if more.isEmpty { break }
            octets += more
        }
        return octets
    }

    /// Everything until the peer closes.
    public func readToEnd() -> String {
        var octets: [UInt8] = []
        while true {
            let more = read()
            if more.isEmpty { return String(decoding: octets, as: UTF8.self) }
            octets += more
        }
    }

    /// The upgrade; the status line of the answer.
    public func upgrade(subprotocol: String?) -> String {
        String(upgradeHead(subprotocol: subprotocol).prefix { $0 != "\r\n" })
    }

    /// The upgrade, said to be forwarded for somebody; the whole head of the answer.
    public func upgradeHead(
        subprotocol: String?, forwardedFor: String? = nil
    ) -> String {
        let optional = [
            subprotocol.map { "Sec-WebSocket-Protocol: \($0)\r\n" },
            forwardedFor.map { "X-Forwarded-For: \($0)\r\n" },
        ]
        write(
            "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
                + optional.compactMap(\.self).joined() + "\r\n")
        var head: [UInt8] = []
        while !head.suffix(4).elementsEqual("\r\n\r\n".utf8) {
            let more = read(1)
            if more.isEmpty { break }
            head += more
        }
        return String(decoding: head, as: UTF8.self)
    }

    /// A masked frame (RFC 6455 §5.2) of up to 125 octets.
    public func frame(_ opcode: UInt8, isLast: Bool = true, _ payload: [UInt8]) {
        write(Self.octets(ofFrame: opcode, isLast: isLast, payload))
    }

    /// Such a frame as it travels.
    public static func octets(
        ofFrame opcode: UInt8, isLast: Bool = true, _ payload: [UInt8]
    ) -> [UInt8] {
        let mask: [UInt8] = [1, 2, 3, 4]
        let masked = payload.enumerated().map { $1 ^ mask[$0 % 4] }
        return [opcode | (isLast ? 0x80 : 0), 0x80 | UInt8(payload.count)] + mask + masked
    }
}
