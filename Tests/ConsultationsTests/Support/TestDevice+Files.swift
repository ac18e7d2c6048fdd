import Cryptography
import FoundationEssentials
import RelayCore
import RelayProtocol
import RelayTestSupport
import Testing
import Vault

@testable import Consultations

extension Message.Body {
    var isFile: Bool { if case .file = self { true } else { false } }
    var isText: Bool { if case .text = self { true } else { false } }
}

extension TestDevice {
    /// What the person was told of troubles.
    var eventTroubles: [Trouble] {
        events.compactMap { if case .trouble(_, let trouble) = $0 { trouble } else { nil } }
    }

    /// Takes a file in, as `Device.send(fileAt:)` does.
    func send(
        _ content: [UInt8], named name: String, foreignPiece: Int? = nil
    ) throws {
        let (number, file, hash, key) = try begin(content, named: name, foreignPiece: foreignPiece)
        try perform { try $0.finishFile(file, of: number, hash: hash, key: key) }
    }

    @discardableResult
    func begin(
        _ content: [UInt8], named name: String, foreignPiece: Int? = nil
    ) throws -> (Vault.ConsultationNumber, Int64, [UInt8], FileNote.Key) {
        let number = try only().number
        let shape = try #require(FileShape(byteCount: content.count))
        let note = FileNote(
            blob: try #require(BlobID(Random.bytes(16))), hash: [UInt8](repeating: 0, count: 32),
            shape: shape, name: name, mediaType: MediaType.guess(from: name))
        var sealer = try FileSealer(shape)
        var foreign = try FileSealer(shape)
        var pieces: [[UInt8]] = []
        var hash = RunningHash()
        var rest = content[...]
        while let count = sealer.nextByteCount {
            let part = Array(rest.prefix(count))
            rest = rest.dropFirst(count)
            let own = sealer.seal(part)
            let other = foreign.seal(part)
            let piece = pieces.count == foreignPiece ? other : own
            hash.add(piece)
            pieces.append(piece)
        }
        let file = try perform { try $0.beginFile(note, for: number).file }
        let made = pieces
        try perform { try $0.addPieces(made, to: file, of: number) }
        return (number, file, hash.value(), sealer.key)
    }

    /// Says of a blob that it is a file, whatever the relay has under that name.
    func claim(_ blob: BlobID, byteCount: UInt64) throws {
        let number = try only().number
        let shape = try #require(FileShape(byteCount: 100, blobByteCount: byteCount))
        let hash = Random.bytes(32)
        let note = FileNote(
            blob: blob, hash: hash, shape: shape, name: "claim.bin", mediaType: "")
        let key = try FileSealer(shape).key
        try perform { turn in
            let (file, message) = try turn.beginFile(note, for: number)
            try turn.finishFile(file, of: number, hash: hash, key: key)
            try turn.modify(number) { consultation, turn in
                let sent = try turn.enqueue(.file(note), id: message, in: &consultation)
                let index = try #require(consultation.files.firstIndex { $0.number == file })
                consultation.files[index].record.groupID = consultation.record.groupID
                consultation.files[index].record.messageNumber = sent
            }
        }
    }

    func receivedFiles() throws -> [FileDetail] {
        try messages().filter { !$0.isMine }.compactMap {
            if case .file(let file) = $0.body { file } else { nil }
        }
    }

    func pieceCount() throws -> Int {
        let scope = try only().scope
        return try engine.read { try $0.count(of: .pieces, in: scope) }
    }

    /// A file's content, opened as saving does.
    func content(of name: String) throws -> [UInt8] {
        let consultation = try only()
        let file = try #require(consultation.files.first { $0.note.name == name })
        var content: [UInt8] = []
        try engine.read { transaction in
            try file.open(in: consultation.scope, transaction) { content += $0 }
        }
        return content
    }
}

extension MemoryStore {
    var everyBlob: [[UInt8]] {
        state.blobs.values.flatMap { $0.values.flatMap(\.pieces) }
    }
}
