import RelayProtocol
import RelayTestSupport

/// What stands where an MLS ciphertext would: who says it, and which of theirs it is. The relay sees
/// the same header as of a real one and can't tell the difference.
struct Body {
    enum Kind: UInt8 {
        case message = 1
        case commit = 2
        case closing = 3
        case welcome = 4
        /// A message that speaks of a file.
        case file = 5
    }

    var kind: Kind
    var sender: MailboxID
    var counter: UInt64
    var epoch: UInt64
    var file: LightFile?

    func content(_ group: GroupID, padding: Int, isProposal: Bool = false) -> [UInt8] {
        let type: UInt8 = kind == .commit ? 3 : isProposal ? 2 : 1
        return privateMessage(
            group, epoch: epoch, contentType: type,
            body: octets + [UInt8](repeating: 0, count: padding))
    }

    /// Without MLS's header, for a Welcome.
    var octets: [UInt8] {
        [kind.rawValue] + sender.bytes + Self.octets(counter) + Self.octets(epoch)
            + (file?.octets ?? [])
    }

    init(
        kind: Kind, sender: MailboxID, counter: UInt64, epoch: UInt64, file: LightFile? = nil
    ) {
        self.kind = kind
        self.sender = sender
        self.counter = counter
        self.epoch = epoch
        self.file = file
    }

    init?(octets: some Collection<UInt8>) {
        let octets = Array(octets.prefix(49 + LightFile.octetCount))
        guard octets.count >= 49, let kind = Kind(rawValue: octets[0]),
            let sender = MailboxID(octets[1..<33])
        else { return nil }
        self.kind = kind
        self.sender = sender
        counter = octets[33..<41].reduce(0) { $0 << 8 | UInt64($1) }
        epoch = octets[41..<49].reduce(0) { $0 << 8 | UInt64($1) }
        if kind == .file { file = LightFile(octets: octets[49...]) }
    }

    /// Reads what `content` made; `nil` for anything else.
    init?(content: [UInt8]) {
        // Version, wire format, group id, epoch, content type and two empty vectors.
        let start = 48
        guard content.count > start + 4 else { return nil }
        let width = [1, 2, 4, 8][Int(content[start] >> 6)]
        self.init(octets: content.dropFirst(start + width))
    }

    static func octets(_ number: UInt64) -> [UInt8] {
        (0..<8).map { UInt8(truncatingIfNeeded: number >> UInt64(56 - 8 * $0)) }
    }

    /// A name for contents: eight octets of a hash, without the cost of a good one.
    static func name(of content: [UInt8]) -> UInt64 {
        var name: UInt64 = 0xcbf2_9ce4_8422_2325
        unsafe content.withUnsafeBytes { octets in
            let words = octets.count / 8
            for index in 0..<words {
                let word = unsafe octets.loadUnaligned(fromByteOffset: index * 8, as: UInt64.self)
                name = (name ^ word) &* 0x100_0000_01b3
                name ^= name >> 31
            }
            for index in words * 8..<octets.count {
                name = unsafe (name ^ UInt64(octets[index])) &* 0x100_0000_01b3
            }
        }
        return name
    }
}
