import Cryptography
import Foundation
import RelayProtocol
import Vault

extension Device {
    /// Octets of a file, whatever the relay takes.
    public static let fileLimit = 512 << 20

    /// Takes a file into the outbox, from where it leaves by itself: into the vault, sealed under a
    /// key of its own, in pieces. When this returns the original isn't needed any more.
    ///
    /// - Parameter name: how the others see it; by default its own.
    /// - Throws: `.file` if it can't be read or changes meanwhile.
    public func send(
        fileAt path: String, named name: String? = nil, to id: ConsultationID
    ) async throws(DeviceError) -> Transfer {
        let source = try FileSource(path)
        let name = name ?? source.name
        guard let blob = BlobID(Random.bytes(BlobID.byteCount)),
            let shape = FileShape(byteCount: source.byteCount), source.byteCount <= Self.fileLimit
        else { throw .file(.tooLarge(maximum: Self.fileLimit)) }
        guard !name.isEmpty, name.utf8.count <= FileNote.textLimit else { throw .file(.name) }
        let note = FileNote(
            blob: blob, hash: [UInt8](repeating: 0, count: 32), shape: shape, name: name,
            mediaType: MediaType.guess(from: name))
        let (number, file) = try perform { turn in
            let number = try turn.writable(id)
            return (number, try turn.beginFile(note, for: number).file)
        }
        do {
            try await takeIn(source, note, as: file, of: number, id)
        } catch {
            try? perform { try $0.dropFile(file, of: number) }
            throw error
        }
        let taken = try inspect { state in
            state.consultations[number]?.file(numbered: file).map(Transfer.init)
        }
        guard let taken else { throw .unknownConsultation }
        return taken
    }

    private func takeIn(
        _ source: FileSource, _ note: FileNote, as file: Int64, of number: Vault.ConsultationNumber,
        _ id: ConsultationID
    ) async throws(DeviceError) {
        let key: FileNote.Key
        let hash: [UInt8]
        do {
            var sealer = try FileSealer(note.shape)
            key = sealer.key
            var pieces: [[UInt8]] = []
            while let count = sealer.nextByteCount {
                pieces.append(sealer.seal(try source.read(count)))
                guard pieces.count == Self.piecesTogether || sealer.nextByteCount == nil else {
                    continue
                }
                let some = pieces
                pieces = []
                try perform { try $0.addPieces(some, to: file, of: number) }
                // Others have their turn.
                await Task.yield()
                guard !Task.isCancelled else { throw DeviceError.closed }
            }
            try source.finish()
            hash = sealer.hashValue
        } catch let error as DeviceError {
            throw error
        } catch {
            throw .resources
        }
        try perform { turn in
            _ = try turn.writable(id)
            try turn.finishFile(file, of: number, hash: hash, key: key)
        }
    }

    /// Pieces that are stored in one transaction.
    private static let piecesTogether = 8

    /// Waits until the relay has a file of one's own and the message that speaks of it, as long as
    /// it gets on.
    ///
    /// - Parameter patience: how long nothing may happen.
    /// - Returns: the message, or `nil` if it still waits.
    /// - Throws: `.fileRefused` if the relay doesn't take it; then it is gone from the outbox.
    public func relayed(
        _ file: Transfer, in id: ConsultationID, patience: Duration = .seconds(10)
    ) async throws(DeviceError) -> Message? {
        connect()
        var moved = transferCount
        while true {
            let isSettled = await wait(for: patience) { device in
                if case .stopped = device.connection { return true }
                return device.currentState.refusedFiles[file.id.bytes] != nil
                    || device.isRelayed(file, in: id)
            }
            if let refusal = currentState.refusedFiles[file.id.bytes] {
                throw .fileRefused(refusal)
            }
            if isRelayed(file, in: id) { return try message(file.id, in: id) }
            if case .stopped(let trouble) = connection {
                throw trouble == .copied ? .copied : .relayUnreachable(trouble)
            }
            if isSettled || moved == transferCount || Task.isCancelled { return nil }
            moved = transferCount
        }
    }

    private func isRelayed(_ file: Transfer, in id: ConsultationID) -> Bool {
        guard let found = try? message(file.id, in: id) else { return false }
        return found.state != .waiting
    }

    /// Writes a file that is here to a new file of its owner only.
    ///
    /// - Parameter number: the message that speaks of it.
    /// - Throws: `.file(.exists)`: nothing is ever overwritten. A failure leaves nothing behind.
    public func saveFile(
        _ number: Int64, of id: ConsultationID, to path: String
    ) throws(DeviceError) {
        let target = try FileTarget(path)
        try read { state, transaction in
            let (consultation, file) = try state.file(number, of: id, transaction)
            try file.open(in: consultation.scope, transaction) { try target.write($0) }
        }
        try target.finish()
    }

    /// What a message says of a file.
    ///
    /// - Throws: `.file(.none)` if it speaks of none.
    public func file(
        _ number: Int64, of id: ConsultationID
    ) throws(DeviceError) -> FileDetail {
        try read { state, transaction in
            FileDetail(try state.file(number, of: id, transaction).1)
        }
    }

    /// Waits until a file that comes is here, as long as it gets on.
    ///
    /// - Returns: how it is then.
    /// - Throws: `.vault(.diskFull)` if there is no room for it; it is fetched when there is.
    public func fetched(
        _ number: Int64, of id: ConsultationID, patience: Duration = .seconds(10)
    ) async throws(DeviceError) -> FileDetail {
        connect()
        var moved = transferCount
        while true {
            let isSettled = await wait(for: patience) { device in
                if case .stopped = device.connection { return true }
                guard let file = try? device.file(number, of: id) else { return true }
                return !file.isComing || file.lacksRoom
            }
            let file = try file(number, of: id)
            guard file.isComing else { return file }
            if file.lacksRoom { throw .vault(.diskFull) }
            if case .stopped(let trouble) = connection {
                throw trouble == .copied ? .copied : .relayUnreachable(trouble)
            }
            if isSettled || moved == transferCount || Task.isCancelled { return file }
            moved = transferCount
        }
    }
}

extension DeviceState {
    fileprivate func file(
        _ number: Int64, of id: ConsultationID, _ transaction: ReadTransaction
    ) throws -> (ConsultationState, FileState) {
        guard let consultation = consultations.values.first(where: { $0.id == id }) else {
            throw DeviceError.unknownConsultation
        }
        guard
            let message = try transaction.record(
                StoredMessage.self, at: number, of: .messages, in: consultation.scope),
            let file = consultation.file(of: [UInt8](message.id))
        else { throw DeviceError.file(.none) }
        return (consultation, file)
    }
}
