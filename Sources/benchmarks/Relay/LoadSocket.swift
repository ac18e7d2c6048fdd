import Cryptography
import Glibc
import WebSockets

/// A client's end of a WebSocket (RFC 6455) on a `LoadLoop`, without TLS and for loopback: whole
/// binary messages, pings answered, everything from here masked.
///
/// On the loop only, but for the connecting.
final class LoadSocket {
    enum Event {
        case message([UInt8])
        case closed
    }

    let descriptor: Int32
    private unowned let loop: LoadLoop
    private var handler: ((Event) -> Void)?
    /// Of a frame that hasn't come whole.
    private var rest: [UInt8] = []
    private var output: [UInt8] = []
    private var isWaitingToWrite = false
    private var random = SystemRandomNumberGenerator()

    /// Connects and upgrades; blocks for as long as the relay takes to answer.
    init(
        connectingTo url: WebSocketURL, subprotocol: String, on loop: LoadLoop,
        handler: @escaping (Event) -> Void
    ) throws {
        self.loop = loop
        self.handler = handler
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw BenchmarkError.system("socket", errno) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = url.port.bigEndian
        guard unsafe inet_pton(AF_INET, url.host, &address.sin_addr) == 1 else {
            throw BenchmarkError.unexpected("\(url)")
        }
        let length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let connected = unsafe withUnsafePointer(to: &address) {
            unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe connect(descriptor, $0, length)
            }
        }
        guard connected == 0 else { throw BenchmarkError.system("connect", errno) }
        var on: Int32 = 1
        unsafe setsockopt(
            descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on,
            socklen_t(MemoryLayout<Int32>.size))
        try upgrade(url, subprotocol)
        guard fcntl(descriptor, F_SETFL, O_NONBLOCK) == 0 else {
            throw BenchmarkError.system("fcntl", errno)
        }
        loop.add(self)
    }

    private func upgrade(_ url: WebSocketURL, _ subprotocol: String) throws {
        let request = Array(
            """
            GET \(url.path) HTTP/1.1\r
            Host: \(url.host):\(url.port)\r
            Upgrade: websocket\r
            Connection: Upgrade\r
            Sec-WebSocket-Key: Y3VydGFpbiBiZW5jaG1hcg==\r
            Sec-WebSocket-Version: 13\r
            Sec-WebSocket-Protocol: \(subprotocol)\r
            \r

            """.utf8)
        let sent = unsafe request.withUnsafeBytes {
            unsafe Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
        }
        guard sent == request.count else { throw BenchmarkError.system("send", errno) }
        // The server says nothing more before it is greeted.
        var answer: [UInt8] = []
        while !answer.suffix(4).elementsEqual([13, 10, 13, 10]) {
            var octet: UInt8 = 0
            guard unsafe recv(descriptor, &octet, 1, 0) == 1, answer.count < 4096 else {
                throw BenchmarkError.unexpected(
                    "the upgrade: \(String(decoding: answer, as: UTF8.self))")
            }
            answer.append(octet)
        }
        guard String(decoding: answer, as: UTF8.self).hasPrefix("HTTP/1.1 101 ") else {
            throw BenchmarkError.unexpected(
                "the upgrade: \(String(decoding: answer, as: UTF8.self))")
        }
    }

    func close() {
        guard handler != nil else { return }
        handler = nil
        loop.remove(self)
        _ = Glibc.close(descriptor)
    }

    private func lose() {
        let handler = handler
        close()
        handler?(.closed)
    }

    // MARK: - Sending

    private enum Opcode {
        static let continuation: UInt8 = 0
        static let binary: UInt8 = 2
        static let close: UInt8 = 8
        static let ping: UInt8 = 9
        static let pong: UInt8 = 10
    }

    /// Sends a message as one frame.
    func send(_ message: [UInt8]) { send(message, Opcode.binary) }

    private func send(_ payload: [UInt8], _ opcode: UInt8) {
        guard handler != nil else { return }
        output.reserveCapacity(output.count + payload.count + 14)
        output.append(0x80 | opcode)
        switch payload.count {
        case ..<126: output.append(0x80 | UInt8(payload.count))
        case ..<65_536:
            output.append(0x80 | 126)
            output += [UInt8(payload.count >> 8), UInt8(payload.count & 0xff)]
        default:
            output.append(0x80 | 127)
            for shift in stride(from: 56, through: 0, by: -8) {
                output.append(UInt8(truncatingIfNeeded: payload.count >> shift))
            }
        }
        let half = UInt64(UInt32.random(in: .min ... .max, using: &random))
        let mask = half << 32 | half
        unsafe withUnsafeBytes(of: mask) { unsafe output.append(contentsOf: $0.prefix(4)) }
        let start = output.count
        output += payload
        unsafe output.withUnsafeMutableBytes { octets in
            let place = unsafe UnsafeMutableRawBufferPointer(rebasing: octets[start...])
            var index = 0
            while index + 8 <= place.count {
                let word = unsafe place.loadUnaligned(fromByteOffset: index, as: UInt64.self)
                unsafe place.storeBytes(of: word ^ mask, toByteOffset: index, as: UInt64.self)
                index += 8
            }
            while index < place.count {
                unsafe place[index] ^= UInt8(truncatingIfNeeded: mask >> UInt64(8 * (index % 4)))
                index += 1
            }
        }
        if !isWaitingToWrite { flush() }
    }

    /// Writes what the system takes.
    func flush() {
        guard handler != nil, !output.isEmpty else { return }
        let sent = unsafe output.withUnsafeBytes {
            unsafe Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
        }
        guard sent >= 0 || errno == EAGAIN else { return lose() }
        if sent == output.count {
            output.removeAll(keepingCapacity: true)
        } else if sent > 0 {
            output.removeFirst(sent)
        }
        if isWaitingToWrite == output.isEmpty {
            isWaitingToWrite = !output.isEmpty
            loop.watch(self, writing: isWaitingToWrite)
        }
    }

    // MARK: - Receiving

    /// Takes what has come; `input` is where it arrives.
    func read(_ input: UnsafeMutableRawBufferPointer) {
        let count = unsafe recv(descriptor, input.baseAddress, input.count, 0)
        guard count > 0 else {
            if count == 0 || errno != EAGAIN { lose() }
            return
        }
        let fresh = unsafe UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(input)[..<count])
        if rest.isEmpty {
            let used = unsafe takeFrames(fresh)
            if used < count { unsafe rest.append(contentsOf: fresh[used...]) }
        } else {
            unsafe rest.append(contentsOf: fresh)
            let all = rest
            let used = unsafe all.withUnsafeBytes { unsafe takeFrames($0) }
            if used > 0 { rest.removeFirst(used) }
        }
    }

    /// Hands out every whole frame; how many octets they were.
    private func takeFrames(_ octets: UnsafeRawBufferPointer) -> Int {
        var position = 0
        while handler != nil, octets.count - position >= 2 {
            let first = unsafe octets[position]
            var length = unsafe Int(octets[position + 1])
            var header = 2
            if length == 126 || length == 127 {
                header = length == 126 ? 4 : 10
                guard octets.count - position >= header else { break }
                length = unsafe octets[position + 2..<position + header].reduce(0) {
                    $0 << 8 | Int($1)
                }
            }
            // A masked or fragmented frame, or one of over 2 GiB, isn't what this relay sends.
            guard first & 0x80 != 0, length >= 0, length < 1 << 31 else {
                lose()
                break
            }
            guard octets.count - position >= header + length else { break }
            let start = position + header
            position = start + length
            switch first & 0x0f {
            case Opcode.binary:
                unsafe handler?(.message([UInt8](octets[start..<position])))
            case Opcode.ping: unsafe send([UInt8](octets[start..<position]), Opcode.pong)
            case Opcode.pong: break
            default: lose()
            }
        }
        return position
    }
}
