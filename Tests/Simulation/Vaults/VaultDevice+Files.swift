import Consultations
import RelayProtocol

/// Files between real devices: each arrives whole and once, or its sender is told.
extension VaultDevice {
    func sendFile(to id: ConsultationID) {
        let piece = BlobShape.pieceByteCount
        let size = world.chance.pick([0, 200, 200, 3_000, piece - 17, piece, 2 * piece]) ?? 0
        count += 1
        let name = "\(number)-\(count)-\(size)"
        // One more to begin with, and one at the end.
        work(units: size / piece + 4) { core in
            try core.send(Self.content(of: name), named: name, to: id, at: world.milliseconds)
            sent[id, default: []].insert(name)
            world.trace.note(.fileSent, at: world.now, number, size)
        }
    }

    /// What is in a file follows from its name.
    private static func content(of name: String) -> [UInt8] {
        let size = name.split(separator: "-").last.flatMap { Int($0) } ?? 0
        let start = Array(name.utf8.prefix(size))
        return start + [UInt8](repeating: UInt8(name.utf8.count), count: size - start.count)
    }

    private static func files(in messages: [Message], isMine: Bool) -> [(Message, FileDetail)] {
        messages.filter { $0.isMine == isMine }.compactMap { message in
            if case .file(let file) = message.body { (message, file) } else { nil }
        }
    }

    /// Names of one's own files, with a message and without.
    func ownFiles(of id: ConsultationID, _ core: BareDevice) throws -> [String] {
        Self.files(in: try core.messages(of: id), isMine: true).map(\.1.name)
            + core.unsentFiles(of: id)
    }

    /// After a start: what was taken in is there, and nothing half.
    func compareFiles(of id: ConsultationID, _ core: BareDevice, mayMiss: Bool) throws {
        let present = Set(try ownFiles(of: id, core))
        let gone = (sent[id] ?? []).subtracting(present).subtracting(toldOf)
        if !gone.isEmpty, !mayMiss { violate("a file that it had taken in is gone") }
        for _ in gone { world.trace.note(.fileUntold, at: world.now, number) }
        sent[id] = present
    }

    func examineFiles(
        of id: ConsultationID, _ messages: [Message], _ core: BareDevice, by other: VaultDevice?
    ) throws {
        let mine = Self.files(in: messages, isMine: true)
        let all = mine.map(\.1.name) + core.unsentFiles(of: id)
        if Set(all).count != all.count { violate("has a file twice") }
        if Set(all) != (sent[id] ?? []).subtracting(toldOf.subtracting(all)) {
            violate("has the files \(all.sorted()), and took in \(sent[id]?.sorted() ?? [])")
        }
        guard let other, let theirs = other.core else { return }
        let received = Self.files(in: try theirs.messages(of: id), isMine: false)
        if Set(received.map(\.1.name)).count != received.count { other.violate("got a file twice") }
        for (_, file) in mine where !received.contains(where: { $0.1.name == file.name }) {
            violate("sent a file that device \(other.number) never heard of")
        }
        for (message, file) in received { try other.examine(file, in: message, of: id, theirs) }
    }

    /// One that came.
    private func examine(
        _ file: FileDetail, in message: Message, of id: ConsultationID, _ core: BareDevice
    ) throws {
        switch file.place {
        case .here:
            world.trace.note(.fileShown, at: world.now, number, file.byteCount)
            if try core.content(of: message, in: id) != Self.content(of: file.name) {
                violate("shows another file than was sent")
            }
        case .coming where world.profile.fallsBack: break
        case .coming, .damaged: violate("has a file that is \(file.place)")
        }
    }
}
