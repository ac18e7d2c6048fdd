private import Cryptography

@testable private import Consultations
@testable private import RelayProtocol

/// What devices and the relay say to one another, and what members say to each other. Whatever is
/// taken means the same when it is said again, and the short way to read it reads the same.
enum MessageDoors {
    // MARK: Frames

    static func receive(frame bytes: [UInt8]) {
        if let frame = try? ClientFrame(decoding: bytes) {
            _ = frame.encoded()
            if ClientFrame(common: bytes) != nil, frame != (try? ClientFrame(uncommon: bytes)) {
                fatalError("a frame is read in two ways")
            }
        }
        if let frame = try? RelayFrame(decoding: bytes) { _ = frame.encoded() }
        _ = try? Request(decoding: bytes)
    }

    /// A frame for each kind of request and of answer about blobs, and for some others.
    static var frames: [[UInt8]] {
        guard let mailbox = MailboxID([UInt8](repeating: 1, count: MailboxID.byteCount)),
            let group = GroupID([UInt8](repeating: 2, count: GroupID.byteCount)),
            let name = BlobID([UInt8](repeating: 3, count: BlobID.byteCount))
        else { return [] }
        let blob = BlobReference(groupID: group, blob: name)
        let piece = PieceReference(blob: blob, index: 5)
        let operations: [RelayProtocol.Operation] = [
            .beginBlob(BlobBeginning(groupID: group, blob: name, byteCount: 100_000)),
            .putPiece(piece, content: [7, 8, 9]), .inspectBlob(blob), .readPiece(piece),
            .send(MessageRequest(groupID: group, epoch: 4, content: [1, 2, 3])), .confirm(group),
        ]
        let requests = operations.enumerated().map { index, operation in
            Request(
                mailbox: mailbox, id: RequestID(rawValue: UInt64(index) + 1),
                confirmed: RequestID(rawValue: 0), operation: operation)
        }
        let outcomes: [Outcome] = [
            .blobState(BlobState(byteCount: 100_000, pieceCount: 2)), .piece([7, 8, 9]),
            .refused(.noBlob, retryAfterSeconds: 0), .refused(.storage, retryAfterSeconds: 3_600),
        ]
        let replies = outcomes.map {
            Reply(mailbox: mailbox, id: RequestID(rawValue: 3), outcome: $0)
        }
        return requests.map { ClientFrame(requests: [$0]).encoded() }
            + replies.map { reply in
                var frame = RelayFrame()
                frame.replies = [reply]
                return frame.encoded()
            } + [ClientFrame(requests: requests).encoded()]
    }

    // MARK: Payloads

    static func receive(payload bytes: [UInt8]) {
        guard let payload = Payload(decoding: bytes) else { return }
        guard let again = try? payload.encoded(), Payload(decoding: again) == payload else {
            fatalError("a payload means something else when it is said again")
        }
        guard case .file(let note) = payload.body else { return }
        let blob = note.shape.blob
        for index in [0, blob.pieceCount / 2, blob.pieceCount - 1]
        where note.shape.contentByteCount(ofPiece: index) < 0 {
            fatalError("a piece of a file has less than no content")
        }
        guard let key = note.key,
            var opener = try? StreamSealing.Opener(key: key.key, header: key.header)
        else { return }
        _ = try? opener.open(bytes)
    }

    static var payloads: [[UInt8]] {
        let bodies: [Payload.Body] =
            [
                .text("words"), .accept, .decline(reason: "no"), .marks, .prescription(jws: [1]),
                .request(
                    time: 9, minutes: 20, reason: "?", deadlineDay: 20_000,
                    reach: Payload.Reach(
                        shelf: [UInt8](repeating: 1, count: 32),
                        shelfKey: [UInt8](repeating: 2, count: 32))),
                .close(reason: ""),
            ] + notes.map { .file($0) }
        return bodies.compactMap { body in
            var payload = Payload(
                id: [UInt8](repeating: 4, count: MessageID.byteCount), sentAt: 1, counter: 2,
                body: body)
            payload.seen = [
                Payload.Seen(
                    member: [UInt8](repeating: 5, count: 32), received: 6, missing: [3, 4], read: 2)
            ]
            return try? payload.encoded()
        }
    }

    /// Of files of one piece and of several, with a key and without.
    private static var notes: [FileNote] {
        guard let blob = BlobID([UInt8](repeating: 3, count: BlobID.byteCount)) else { return [] }
        let secret = SecretBytes([UInt8](repeating: 6, count: FileNote.Key.byteCount))
        return [0, 300, 200_000].compactMap { FileShape(byteCount: $0) }.flatMap { shape in
            [nil, FileNote.Key(secret)].map { key in
                FileNote(
                    blob: blob, hash: [UInt8](repeating: 7, count: 32), shape: shape,
                    name: "scan.pdf", mediaType: "application/pdf", key: key)
            }
        }
    }
}
