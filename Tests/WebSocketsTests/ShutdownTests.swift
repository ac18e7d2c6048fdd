import Glibc
import Testing
import WebSockets

@Suite(.timeLimit(.minutes(5))) struct `The end of a loop` {
    /// Refused, half-way, open and closing: libuv must be left without a handle.
    @Test func `comes whatever state its connections are in`() async throws {
        let nobody = try #require(WebSocketURL("ws://127.0.0.1:1"))
        for round in 0..<30 {
            let server = try TestServer(isEcho: true)
            let url = try server.url
            let loop = try EventLoop(name: "clients")
            let end = Task {
                try await Task.sleep(for: .microseconds(Int.random(in: 0...3_000)))
                if round.isMultiple(of: 3) { await server.loop.shutdownAndWait() }
                try await Task.sleep(for: .microseconds(Int.random(in: 0...3_000)))
                await loop.shutdownAndWait()
            }
            for number in 0..<60 {
                _ = WebSocketClient(
                    .init(
                        url: number.isMultiple(of: 4) ? nobody : url, subprotocol: testSubprotocol),
                    on: loop
                ) { client, event in
                    switch event {
                    case .opened:
                        if number.isMultiple(of: 3) { client.send(pattern(20_000)) }
                        if number.isMultiple(of: 5) { client.close() }
                    case .message: client.close()
                    default: break
                    }
                }
                if number % 10 == 9 { usleep(300) }
            }
            try await end.value
            await server.loop.shutdownAndWait()
        }
    }
}
