import Cryptography
import Glibc
import RelayProtocol
import TestSupport
import WebSockets

/// One hostile connection.
@safe struct Attacker {
    private let peer: RawPeer

    init(to relay: RelayAlone) throws {
        guard let port = relay.url?.port else { throw StageError.neverHappened("the start") }
        peer = try RawPeer(port: port)
        // Where the relay reads no more, the attacker goes on elsewhere.
        var limit = timeval(tv_sec: 1, tv_usec: 0)
        unsafe setsockopt(
            peer.descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit,
            socklen_t(MemoryLayout<timeval>.size))
    }

    /// One after the WebSocket handshake; nil if that was refused.
    static func upgraded(to relay: RelayAlone, greets: Bool = false) throws -> Attacker? {
        let attacker = try Attacker(to: relay)
        let answer = attacker.peer.upgrade(subprotocol: ProtocolConstants.subprotocol)
        guard answer.contains("101") else { return nil }
        if greets { attacker.write(frame(greeting)) }
        return attacker
    }

    static var greeting: [UInt8] {
        ClientFrame(hello: Hello(nonce: Random.bytes(ProtocolConstants.nonceByteCount))).encoded()
    }

    func write(_ octets: [UInt8]) { peer.write(octets) }

    /// Asks for the upgrade, for somebody behind a proxy, and doesn't wait.
    func askUpgrade(forwardedFor address: String) {
        peer.write(
            "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
                + "Sec-WebSocket-Protocol: \(ProtocolConstants.subprotocol)\r\n"
                + "X-Forwarded-For: \(address)\r\n\r\n")
    }

    /// What comes next; empty once the relay has ended the connection.
    func read() -> [UInt8] { peer.read() }

    /// How many of them the relay ends within a minute. It gives five seconds to answer its close.
    static func countEnded(_ attackers: [Attacker]) -> Int {
        var rest = attackers
        for _ in 0..<1_200 where !rest.isEmpty {
            rest = rest.filter { !$0.isCut }
            if !rest.isEmpty { usleep(50_000) }
        }
        return attackers.count - rest.count
    }

    /// Whether the relay has ended the connection by now; what came before is thrown away.
    var isCut: Bool {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = unsafe recv(
                peer.descriptor, &buffer, buffer.count, Int32(MSG_DONTWAIT))
            if count == 0 { return true }
            if count < 0 { return errno != EAGAIN && errno != EINTR }
        }
    }

    /// A masked frame of any length (RFC 6455 §5.2).
    ///
    /// - Parameter saidLength: the length in its head, if that is not the truth.
    static func frame(
        _ payload: [UInt8], opcode: UInt8 = 2, isLast: Bool = true, saidLength: UInt64? = nil
    ) -> [UInt8] {
        let length = saidLength ?? UInt64(payload.count)
        var octets: [UInt8] = [opcode | (isLast ? 0x80 : 0)]
        switch length {
        case ...125: octets.append(0x80 | UInt8(length))
        case ...0xffff: octets += [0x80 | 126, UInt8(length >> 8), UInt8(length & 0xff)]
        default:
            octets.append(0x80 | 127)
            octets += (0..<8).map { UInt8(truncatingIfNeeded: length >> UInt64(8 * (7 - $0))) }
        }
        let mask: [UInt8] = [1, 2, 3, 4]
        return octets + mask + payload.enumerated().map { $1 ^ mask[$0 % 4] }
    }
}
