import RelayProtocol

/// What happened, in words, for somebody who reads along.
extension Monitor {
    func words(_ operation: RelayProtocol.Operation) -> String {
        switch operation {
        case .send(let it), .close(let it):
            "\(Self.describe(it.content)) in group \(groups[it.groupID]?.number ?? -1)"
        case .commit(let it):
            "commit of epoch \(it.epoch) in group \(groups[it.groupID]?.number ?? -1), "
                + "adds \(it.adds.count), removes \(it.removes.count)"
        case .confirm(let id): "confirm group \(groups[id]?.number ?? -1)"
        case .beginBlob(let it): "begin \(words(it.blob)) of \(it.byteCount) octets"
        case .putPiece(let it, let content):
            "put piece \(it.index) of \(words(it.blob.blob)), \(content.count) octets"
        case .inspectBlob(let it): "inspect \(words(it.blob))"
        case .readPiece(let it): "read piece \(it.index) of \(words(it.blob.blob))"
        default: String("\(operation)".prefix(60))
        }
    }

    func words(_ outcome: Outcome) -> String {
        if case .piece(let content) = outcome { return "a piece of \(content.count) octets" }
        return String("\(outcome)".prefix(60))
    }

    private func words(_ blob: BlobID) -> String {
        "blob " + blob.bytes.prefix(3).map { String($0, radix: 16) }.joined()
    }

    static func describe(_ content: [UInt8]) -> String {
        if let body = Body(content: content) {
            return "\(body.kind) \(body.counter) of epoch \(body.epoch)"
        }
        return Body(octets: content).map { "\($0.kind) to epoch \($0.epoch)" } ?? "content"
    }
}
