import Credentials
import Cryptography
import FoundationEssentials
import MLS
import Prescriptions
import RelayProtocol
import SwiftProtobuf
import Vault

/// The decisions of a device: it is told what came, what the person wants and what time it is, and
/// answers with frames to send and events to show. It opens no socket and sets no timer.
///
/// Every call is one unit of work: the state is copied, changed beside the vault's transaction, and
/// taken over when that has committed. Frames and events exist only then. So memory follows disk, a
/// ciphertext leaves after the ratchet that made it is stored, and a message is acknowledged after
/// it is stored together with the ratchet that opened it.
final class Engine {
    /// What the shell has to do, in this order.
    enum Output {
        /// Send this WebSocket message.
        case send([UInt8])
        /// Tell the person.
        case event(DeviceEvent)
        /// Give up this connection.
        case disconnect(ConnectionTrouble)
    }

    let vault: Vault
    let options: DeviceOptions
    private(set) var state: DeviceState
    private var outputs: [Output] = []
    /// Something may be due then (Unix milliseconds).
    private(set) var wakeAt: UInt64?
    /// Counts messages, for `SyncSummary`.
    private(set) var receivedCount = 0
    private(set) var sentCount = 0
    /// Counts pieces of files.
    private(set) var transferCount = 0
    /// Tests stop the world here: called before and after each commit.
    var checkpoint: ((Checkpoint) throws -> Void)?

    enum Checkpoint { case beforeCommit, afterCommit }
    /// Tests see here which MLS key made which ciphertext.
    var sealObserver: ((Message.Origin, [UInt8]) -> Void)?

    init(vault: Vault, options: DeviceOptions) throws(DeviceError) {
        self.vault = vault
        self.options = options
        state = try Self.translating {
            try vault.read { try DeviceState(reading: $0) }
        }
    }

    /// The outputs since the last call.
    func takeOutputs() -> [Output] {
        defer { outputs = [] }
        return outputs
    }

    /// One unit of work.
    func perform<Result>(
        at now: UInt64, _ body: (inout Turn) throws -> Result
    ) throws(DeviceError) -> Result {
        let checkpoint = self.checkpoint
        let sealObserver = self.sealObserver
        return try Self.translating {
            let (turn, result) = try vault.write { transaction in
                var turn = Turn(
                    state: state, transaction: transaction, now: now, options: options)
                turn.sealObserver = sealObserver
                let result = try body(&turn)
                try turn.pump()
                try turn.dropPastEpochs()
                try checkpoint?(.beforeCommit)
                return (turn, result)
            }
            state = turn.state
            if turn.hasErased { try vault.completeErasures() }
            wakeAt = turn.wakeAt
            receivedCount += turn.receivedCount
            sentCount += turn.sentCount
            transferCount += turn.transferCount
            try checkpoint?(.afterCommit)
            for frame in turn.frames() { outputs.append(.send(frame)) }
            outputs += turn.events.map { .event($0) }
            if let trouble = turn.trouble { outputs.append(.disconnect(trouble)) }
            return result
        }
    }

    /// Reads from the vault.
    func read<Result>(
        _ body: (ReadTransaction) throws -> Result
    ) throws(DeviceError) -> Result {
        try Self.translating { try vault.read(body) }
    }

    /// What a unit of work throws, as this target's error.
    static func translating<Result>(
        _ body: () throws -> Result
    ) throws(DeviceError) -> Result {
        do {
            return try body()
        } catch let error as DeviceError {
            throw error
        } catch let error as VaultError {
            throw .vault(error)
        } catch let error as CredentialError {
            throw .credential(error)
        } catch let error as PrescriptionError {
            throw .prescription(error)
        } catch is BinaryDecodingError {
            throw .vault(.damaged(.record))
        } catch MLSError.corruptState {
            throw .vault(.damaged(.record))
        } catch let error as MLSError {
            throw .bug("mls: \(error)")
        } catch is RelayProtocolError {
            throw .vault(.damaged(.record))
        } catch {
            throw .bug("\(type(of: error))")
        }
    }

    // MARK: The connection

    /// The WebSocket is open: greets.
    func connectionOpened(at now: UInt64) throws(DeviceError) {
        try perform(at: now) { turn in
            turn.resetConnection()
            var session = RelaySession(relayKey: turn.state.relayKey)
            let nonce = Random.bytes(ProtocolConstants.nonceByteCount)
            turn.frame(session.greet(nonce: nonce))
            turn.state.session = session
        }
    }

    /// The WebSocket is gone.
    func connectionClosed(at now: UInt64) throws(DeviceError) {
        try perform(at: now) { turn in
            turn.resetConnection()
        }
    }

    /// A WebSocket message came.
    func receive(_ message: [UInt8], at now: UInt64) throws(DeviceError) {
        let frame: RelayFrame
        do {
            frame = try RelayFrame(decoding: message)
        } catch {
            outputs.append(.disconnect(.protocolViolation))
            return
        }
        do throws(DeviceError) {
            try perform(at: now) { try $0.receive(frame) }
        } catch {
            let pieces = frame.replies.filter(\.outcome.isPiece)
            guard error == .vault(.diskFull), !pieces.isEmpty else { throw error }
            // Pieces of files take room, and can be had again: the rest may still find some.
            var rest = frame
            rest.replies.removeAll(where: \.outcome.isPiece)
            try perform(at: now) { turn in
                try turn.holdUp(pieces)
                try turn.receive(rest)
            }
        }
    }

    /// The time of `wakeAt` has come.
    func wake(at now: UInt64) throws(DeviceError) {
        try perform(at: now) { turn in
            try turn.openMailboxes()
        }
    }
}
