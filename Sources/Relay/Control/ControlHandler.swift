import Cryptography
import Foundation
import RelayCore
import RelayProtocol
import WebSockets

/// What of the settings is in force, for those who ask.
struct InForce: Sendable {
    /// The limits, by the settings' names.
    let limits: [String]
    /// Where the certificate was read, with TLS.
    let certificatePath: String?
    /// What was read there.
    let certificate: CertificateFile?

    init(_ settings: RelaySettings) {
        limits = settings.limitFields.map { "\($0)=\($1)" }
        certificatePath = settings.hasTLS ? settings.tls.certificatePath : nil
        certificate = certificatePath.flatMap { CertificateFile($0) }
    }
}

/// Carries out what operators' commands ask of a running relay.
struct ControlHandler: Sendable {
    let writer: RelayWriter
    let configuration: RelayConfiguration
    let address: String
    let copyPath: String
    /// A reload changes it.
    let inForce: Lock<InForce>

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
        let (configuration, address, inForce) = (configuration, address, inForce.withLock { $0 })
        return ask { desk, reply throws(StoreError) in
            let oldest = try desk.store.oldestMessage()
            let live = LiveStatus(
                version: RelayVersion.current, address: address,
                connections: desk.engine.connectionCount,
                oldestMessageDay: oldest.flatMap { desk.trail.day(ofMessage: $0)?.rawValue },
                isClockDoubted: desk.engine.clockDoubt != nil,
                isFull: desk.engine.refusesGrowth, troubles: desk.trail.troubles,
                certificatePath: inForce.certificatePath,
                certificateExpiry: inForce.certificate?.expiry.timeIntervalSince1970,
                certificateHash: inForce.certificate?.hash,
                trailMirror: configuration.trailMirror,
                limits: inForce.limits)
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
