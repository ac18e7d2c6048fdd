import Cryptography
import Foundation
import RelayCore
import RelayProtocol
import WebSockets

/// Carries out what operators' commands ask of a running relay.
struct ControlHandler: Sendable {
    let writer: RelayWriter
    let address: String
    let copyPath: String
    let inForce: Lock<InForce>

    /// How long the writer may take; a copy of a large database takes long.
    private static let patience: Double = 20
    var copyPatience: Double = 4 * 3_600

    func answer(_ request: ControlRequest, from peer: Peer) -> ControlReply {
        switch request {
        case .status: return status()
        case .backup:
            return ask(for: copyPatience) { desk, reply throws(StoreError) in
                desk.trail.note(Self.command("backup", by: peer))
                // A batch that fails is done once more, and would begin another copy.
                desk.afterCommit { desk in
                    // A name of its own: the one before may just be being removed.
                    desk.startBackup(
                        to: "\(copyPath).\(UInt32.random(in: 0 ... .max))", completion: reply)
                }
            }
        case .backupStep(let step):
            return ask { desk, reply throws(StoreError) in
                try desk.trail.note(
                    step, by: peer.name, in: desk.store, at: desk.engine.time.hour)
                desk.afterCommit { _ in reply(.done) }
            }
        case .rehearsed(let passed):
            return note(
                TrailEvent(
                    .rehearsal, [("user", peer.name), ("result", passed ? "passed" : "failed")]),
                hourIn: passed ? TrailKeeper.SettingRow.lastRehearsal : nil)
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
            desk.afterCommit { _ in reply(.done) }
        }
    }

    private func status() -> ControlReply {
        let (address, inForce) = (address, inForce.withLock { $0 })
        return ask { desk, reply throws(StoreError) in
            let live = LiveStatus(
                version: RelayVersion.current, address: address,
                connections: desk.engine.connectionCount,
                store: try desk.store.figures(desk.store.waiting),
                isClockDoubted: desk.engine.clockDoubt != nil,
                isFull: desk.engine.refusesGrowth, troubles: desk.troubles,
                certificatePath: inForce.settings.tlsIdentity?.certificatePath,
                certificateExpiry: inForce.certificate?.expiry.timeIntervalSince1970,
                certificateHash: inForce.certificate?.hash,
                trailMirror: inForce.settings.mirrorPath,
                limits: inForce.settings.limitFields.map { "\($0)=\($1)" })
            desk.afterCommit { _ in reply(ControlReply(live: live)) }
        }
    }

    /// What has become of a question.
    private enum Answer {
        case awaited
        case given(ControlReply)
        /// Nobody waits any more.
        case late
    }

    /// Has `body` run on the writer's thread, and waits until it has answered.
    private func ask(
        for seconds: Double = patience,
        _ body:
            @escaping @Sendable (
                WriterDesk, @escaping @Sendable (ControlReply) -> Void
            ) throws(StoreError) -> Void
    ) -> ControlReply {
        let answer = Lock(Answer.awaited)
        let isThere = DispatchSemaphore(value: 0)
        writer.events.add(
            .task { desk throws(StoreError) in
                try body(desk) { reply in
                    let isLate = answer.withLock { answer in
                        if case .late = answer { return true }
                        answer = .given(reply)
                        return false
                    }
                    isThere.signal()
                    // Overwriting it takes time, which the writer doesn't have.
                    if isLate, let copy = reply.copy {
                        Thread.detachNewThread { DataFolder.removeDatabase(copy) }
                    }
                }
            })
        _ = isThere.wait(timeout: .now() + seconds)
        return answer.withLock { answer in
            if case .given(let reply) = answer { return reply }
            answer = .late
            return .refused("the relay is busy; try again")
        }
    }
}
