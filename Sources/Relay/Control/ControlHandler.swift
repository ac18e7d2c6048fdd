import Cryptography
import Foundation
import RelayCore
import RelayProtocol
import WebSockets

/// Carries out what operators' commands ask of a running relay.
struct ControlHandler: Sendable {
    let writer: RelayWriter
    let configuration: RelayConfiguration
    let address: String
    let copyPath: String
    /// The limits in force, by the settings' names; a reload changes them.
    let limits: Lock<[String]>

    /// How long the writer may take; a copy of a large database takes long.
    private static let patience: Double = 20
    private static let copyPatience: Double = 4 * 3_600

    func answer(_ request: ControlRequest, from peer: Peer) -> ControlReply {
        switch request {
        case .status: return status()
        case .backup:
            return ask(for: Self.copyPatience) { desk, reply throws(StoreError) in
                desk.trail.note(Self.command("backup", by: peer))
                // A name of its own: the one before may just be being removed.
                desk.startBackup(
                    to: "\(copyPath).\(UInt32.random(in: 0 ... .max))", completion: reply)
            }
        case .backedUp:
            return note(
                TrailEvent(.backup, [("user", peer.name)]),
                hourIn: TrailKeeper.Setting.lastBackup)
        case .rehearsed(let passed):
            return note(
                TrailEvent(
                    .rehearsal, [("user", peer.name), ("result", passed ? "passed" : "failed")]),
                hourIn: passed ? TrailKeeper.Setting.lastRehearsal : nil)
        case .signHead: return note(Self.command("sign-head", by: peer), hourIn: nil)
        }
    }

    private static func command(_ name: String, by peer: Peer) -> TrailEvent {
        TrailEvent(.command, [("name", name), ("user", peer.name)])
    }

    private func note(_ event: TrailEvent, hourIn setting: String?) -> ControlReply {
        ask { desk, reply throws(StoreError) in
            desk.trail.note(event)
            if let setting {
                try desk.store.set(setting, to: desk.engine.time.hour.bigEndianOctets)
            }
            desk.afterCommit { reply(.done) }
        }
    }

    private func status() -> ControlReply {
        let (configuration, address, limits) = (configuration, address, limits.withLock { $0 })
        return ask { desk, reply throws(StoreError) in
            let oldest = try desk.store.oldestMessage()
            let live = LiveStatus(
                version: RelayVersion.current, address: address,
                connections: desk.engine.connectionCount,
                oldestMessageDay: oldest.flatMap { desk.trail.day(ofMessage: $0)?.rawValue },
                isClockDoubted: desk.engine.clockDoubt != nil,
                isFull: desk.engine.refusesGrowth, troubles: desk.trail.troubles,
                certificatePath: configuration.tls?.certificatePath,
                trailMirror: configuration.trailMirror,
                limits: limits)
            desk.afterCommit { reply(ControlReply(live: live)) }
        }
    }

    /// Has `body` run on the writer's thread, and waits until it has answered.
    private func ask(
        for seconds: Double = patience,
        _ body:
            @escaping @Sendable (
                WriterDesk, @escaping @Sendable (ControlReply) -> Void
            ) throws(StoreError) -> Void
    ) -> ControlReply {
        let answer = Lock<ControlReply?>(nil)
        let isThere = DispatchSemaphore(value: 0)
        writer.events.add(
            .task { desk throws(StoreError) in
                try body(desk) { reply in
                    answer.withLock { $0 = reply }
                    isThere.signal()
                }
            })
        guard isThere.wait(timeout: .now() + seconds) == .success else {
            return .refused("the relay is busy; try again")
        }
        return answer.withLock { $0 } ?? .refused("the relay is busy; try again")
    }
}
