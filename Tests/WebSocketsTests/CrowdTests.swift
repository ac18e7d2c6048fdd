import Glibc
import TestSupport
import Testing

@testable import WebSockets

/// Many connections at once, and what they may take together.
@Suite(.timeLimit(.minutes(5))) struct `A crowd` {
    @Test func `of strangers takes a quarter of the room, and the oldest gives way`() async throws {
        let server = try TestServer(isEcho: true) {
            $0.admission.connections = 8
            $0.unprovenPatience = .zero
        }
        var devices: [TestClient] = []
        for _ in 0..<6 { devices.append(try await server.provenClient().client) }
        let strangers = try (0..<20).map { _ in
            let stranger = try RawPeer(port: server.port)
            #expect(stranger.upgrade().contains(" 101 "))
            return stranger
        }
        let made = server.server
        while try server.loop.executeAndWait({ made.connectionCount }) > 8 {
            try await Task.sleep(for: .milliseconds(5))
        }
        for stranger in strangers.dropLast(2) { #expect(stranger.read().isEmpty) }
        // Who is being cut is counted until it has gone, so that one more may have to go.
        let crowdedOut = try server.loop.executeAndWait { made.counters.refused[.crowdedOut] }
        #expect((18...20).contains(crowdedOut))
        // Those who are vouched for notice nothing, and one more is let in.
        for device in devices {
            try device.send([1])
            #expect(try await device.message() == [1])
        }
        let another = TestClient(try server.url, on: server.loop)
        try await another.opened()
        await server.loop.shutdownAndWait()
    }

    @Test func `of strangers leaves those their time who have just come`() async throws {
        let server = try TestServer {
            $0.admission.connections = 8
            $0.unprovenPatience = .seconds(600)
        }
        let strangers = try (0..<2).map { _ in try RawPeer(port: server.port) }
        for stranger in strangers { #expect(stranger.upgrade().contains(" 101 ")) }
        let id = try await server.opened()
        #expect(try RawPeer(port: server.port).upgrade().contains(" 503 "))
        // Whom somebody vouches for is no stranger any more, until nobody does.
        let made = server.server
        try server.loop.executeAndWait { made.setProven(id, true) }
        #expect(try RawPeer(port: server.port).upgrade().contains(" 101 "))
        try server.loop.executeAndWait { made.setProven(id, false) }
        #expect(try RawPeer(port: server.port).upgrade().contains(" 503 "))
        await server.loop.shutdownAndWait()
    }

    @Test func `of frames that aren't whole is bounded, and the oldest ends`() async throws {
        let server = try TestServer { $0.limits.maxIncompleteByteCount = 40_000 }
        var ids: [ConnectionID] = []
        var peers: [RawPeer] = []
        for _ in 0..<3 {
            let peer = try RawPeer(port: server.port)
            #expect(peer.upgrade().contains(" 101 "))
            ids.append(try await server.opened())
            // A frame of 15,000 octets that isn't the message's last; the mask is zero.
            peer.write([0x02, 0x80 | 126, 0x3A, 0x98, 0, 0, 0, 0] + pattern(15_000))
            peers.append(peer)
            try await Task.sleep(for: .milliseconds(20))
        }
        let (id, event) = try await server.events.next()
        guard case .closed(let close) = event else { throw Unexpected(event) }
        #expect(close.cause == .slowMessage)
        #expect(id == ids[0])
        // The last part of another makes it whole, and room.
        peers[1].frame(0, [7])
        #expect(try await server.message().count == 15_001)
        #expect(peers[0].read().isEmpty)
        await server.loop.shutdownAndWait()
    }

    @Test func `that sends is paused after what it sent, and then read on`() async throws {
        let server = try TestServer()
        let (one, _) = try await server.provenClient()
        let (other, _) = try await server.provenClient()
        let made = server.server
        try server.loop.executeAndWait { made.pauseSenders() }
        try one.send([1])
        #expect(try await server.message() == [1])
        try one.send([2])
        try await Task.sleep(for: .milliseconds(50))
        try other.send([3])
        #expect(try await server.message() == [3])
        try server.loop.executeAndWait { made.resumeSenders() }
        #expect(try await server.message() == [2])
        try other.send([4])
        #expect(try await server.message() == [4])
        await server.loop.shutdownAndWait()
    }

    @Test func `of slow readers loses those for which most has waited longest`() async throws {
        let server = try TestServer()
        var (clients, ids): ([TestClient], [ConnectionID]) = ([], [])
        for _ in 0..<3 {
            let (client, id) = try await server.provenClient()
            clients.append(client)
            ids.append(id)
        }
        let (made, sent) = (server.server, ids)
        let counts = try server.loop.executeAndWait {
            for (id, byteCount) in zip(sent, [300, 500, 200]) {
                made.send(pattern(byteCount), to: id)
            }
            // Before the turn ends nothing has left.
            let before = made.pendingByteCount
            return (before, made.cutSlowReaders(downTo: 500), made.pendingByteCount)
        }
        #expect(counts == (1_000, 1, 500))
        let (id, event) = try await server.events.next()
        guard case .closed = event else { throw Unexpected(event) }
        #expect(id == ids[1])
        #expect(try await clients[0].message().count == 300)
        #expect(try server.loop.executeAndWait { made.pendingByteCount } == 0)
        await server.loop.shutdownAndWait()
    }
}

@Suite(.timeLimit(.minutes(5))) struct `A message` {
    @Test func `that trickles in is given up, also when it comes in whole frames`() async throws {
        let server = try TestServer { $0.admission.messageTimeout = .milliseconds(400) }
        for isOneFrame in [true, false] {
            let peer = try RawPeer(port: server.port)
            #expect(peer.upgrade().contains(" 101 "))
            _ = try await server.opened()
            if isOneFrame {
                // Of 60,000 octets, which would take an hour; the mask is zero.
                peer.write([0x82, 0x80 | 126, 0xEA, 0x60, 0, 0, 0, 0, 9])
            } else {
                peer.frame(2, isLast: false, [])
            }
            let trickle = Task {
                while !Task.isCancelled {
                    if isOneFrame { peer.write([9]) } else { peer.frame(0, isLast: false, [9]) }
                    try await Task.sleep(for: .milliseconds(50))
                }
            }
            #expect(try await server.closed().cause == .slowMessage)
            trickle.cancel()
        }
        await server.loop.shutdownAndWait()
    }

    @Test func `has as much time as it isn't kept from coming`() async throws {
        let server = try TestServer { $0.admission.messageTimeout = .seconds(60) }
        let peer = try RawPeer(port: server.port)
        #expect(peer.upgrade().contains(" 101 "))
        let (id, made) = (try await server.opened(), server.server)
        peer.frame(2, isLast: false, [1])
        let loop = server.loop
        while try loop.executeAndWait({ loop.core.connection(id)?.incompleteSince == nil }) {
            try await Task.sleep(for: .milliseconds(5))
        }
        try loop.executeAndWait {
            made.pauseReading(id)
            // As if all this had been 90 seconds ago.
            let connection = loop.core.connection(id)
            connection?.incompleteSince? -= 90_000
            connection?.pausedAt -= 90_000
            connection?.checkClock(loop.core.now)
            made.resumeReading(id)
            connection?.checkClock(loop.core.now)
        }
        peer.frame(0, [2])
        #expect(try await server.message() == [1, 2])
        await server.loop.shutdownAndWait()
    }
}

@Suite struct `Those for whom nobody vouches` {
    @Test func `stand in the order in which they came`() throws {
        var generator = SeededGenerator(seed: 7)
        var queue = UnprovenQueue()
        var model: [ConnectionID] = []
        for step in 0..<5_000 {
            let id = ConnectionID(rawValue: UInt64.random(in: 0..<40, using: &generator))
            if Bool.random(using: &generator) {
                queue.add(id, at: UInt64(step))
                if !model.contains(id) { model.append(id) }
            } else {
                queue.remove(id)
                model.removeAll { $0 == id }
            }
            #expect(queue.count == model.count)
            #expect(queue.oldest { _ in true }?.id == model.first)
            let isEven = { (id: ConnectionID) in id.rawValue.isMultiple(of: 2) }
            #expect(queue.oldest(where: isEven)?.id == model.first(where: isEven))
        }
    }
}
