import Cryptography
import FoundationEssentials
import RelayProtocol
import SwiftProtobuf

/// What a member says to the others inside the encryption (`protocol/payloads.md`).
struct Payload: Equatable {
    /// What it says.
    enum Body: Equatable {
        case text(String)
        case request(
            time: UInt64, minutes: UInt32, reason: String, deadlineDay: UInt32,
            reach: Reach? = nil)
        case accept
        case decline(reason: String)
        case marks
        case prescription(jws: [UInt8])
        case close(reason: String)
        case file(FileNote)
        /// The fresh group comes from too far ahead of the sender's clock.
        case clock
        /// A body of a newer version.
        case unknown
    }

    /// Where the patient's KeyPackages for a reopening lie, and what they are sealed under.
    struct Reach: Equatable {
        var shelf: [UInt8]
        var shelfKey: [UInt8]
    }

    /// What a fresh group is for: which consultation goes on in it.
    struct Reopen: Equatable {
        var consultation: [UInt8]
        var beganAt: UInt64
        var reason: UInt32
    }

    /// What the sender has of one other member.
    struct Seen: Equatable {
        var member: [UInt8]
        var received: UInt64
        var missing: [UInt64]
        var read: UInt64
        /// In a fresh group: that member's files that are still to be had; `nil` if the sender
        /// doesn't say.
        var lacking: [BlobID]?

        /// Files that may be named.
        static let lackingLimit = 256
    }

    var id: [UInt8]
    var sentAt: UInt64
    var counter: UInt64
    var seen: [Seen] = []
    var epochTag: [UInt8] = []
    var reopen: Reopen?
    var body: Body

    /// Members whose progress one payload may report.
    static let seenLimit = 32

    /// The tag by which members compare an epoch.
    static func epochTag(of authenticator: [UInt8]) -> [UInt8] {
        Array(Hash.sha256(label: "epoch tag", authenticator).prefix(8))
    }

    /// The octets before padding.
    func encoded() throws(DeviceError) -> [UInt8] {
        var wire = WirePayload()
        wire.id = Data(id)
        wire.sentAt = sentAt
        wire.counter = counter
        wire.epochTag = Data(epochTag)
        wire.seen = seen.map { seen in
            var wire = WireSeen()
            wire.member = Data(seen.member)
            wire.received = seen.received
            wire.missing = seen.missing
            wire.read = seen.read
            if let lacking = seen.lacking { wire.lacking = Data(lacking.flatMap(\.bytes)) }
            return wire
        }
        if let reopen {
            wire.reopen.consultation = Data(reopen.consultation)
            wire.reopen.beganAt = reopen.beganAt
            wire.reopen.reason = WireReopen.Reason(rawValue: Int(reopen.reason)) ?? .unspecified
        }
        switch body {
        case .text(let text): wire.text.text = text
        case .request(let time, let minutes, let reason, let day, let reach):
            wire.request.shelf = Data(reach?.shelf ?? [])
            wire.request.shelfKey = Data(reach?.shelfKey ?? [])
            wire.request.time = time
            wire.request.minutes = minutes
            wire.request.reason = reason
            wire.request.deadlineDay = day
        case .accept: wire.accept = WireAccept()
        case .decline(let reason): wire.decline.reason = reason
        case .marks: wire.marks = WireMarks()
        case .prescription(let jws): wire.prescription.jws = Data(jws)
        case .close(let reason): wire.close.reason = reason
        case .file(let note): wire.file = note.wire
        case .clock: wire.clock = WireClock()
        case .unknown: break
        }
        do {
            return try wire.serializedBytes()
        } catch {
            throw .bug("payload")
        }
    }

    /// Reads what another member sent; `nil` if it breaks `payloads.md`.
    init?(decoding bytes: [UInt8]) {
        guard let wire = try? WirePayload(serializedBytes: bytes),
            wire.id.count == MessageID.byteCount, wire.seen.count <= Self.seenLimit
        else { return nil }
        id = [UInt8](wire.id)
        sentAt = wire.sentAt
        counter = wire.counter
        epochTag = [UInt8](wire.epochTag)
        seen = wire.seen.map { seen in
            Seen(
                member: [UInt8](seen.member), received: seen.received,
                missing: Array(seen.missing.prefix(Ledger.missingLimit)), read: seen.read,
                lacking: seen.hasLacking ? Self.blobs(named: [UInt8](seen.lacking)) : nil)
        }
        switch wire.body {
        case .text(let text): body = .text(text.text)
        case .request(let request):
            body = .request(
                time: request.time, minutes: request.minutes, reason: request.reason,
                deadlineDay: request.deadlineDay,
                reach: request.shelf.count == MailboxID.byteCount
                    && request.shelfKey.count == Sealing.keyByteCount
                    ? Reach(shelf: [UInt8](request.shelf), shelfKey: [UInt8](request.shelfKey))
                    : nil)
        case .accept: body = .accept
        case .decline(let decline): body = .decline(reason: decline.reason)
        case .marks: body = .marks
        case .prescription(let prescription): body = .prescription(jws: [UInt8](prescription.jws))
        case .close(let close): body = .close(reason: close.reason)
        case .file(let file):
            guard let note = FileNote(file) else { return nil }
            body = .file(note)
        case .clock: body = .clock
        case nil: body = .unknown
        }
        if wire.hasReopen {
            guard wire.reopen.consultation.count == ConsultationID.byteCount else { return nil }
            reopen = Reopen(
                consultation: [UInt8](wire.reopen.consultation), beganAt: wire.reopen.beganAt,
                reason: UInt32(clamping: wire.reopen.reason.rawValue))
        }
        // Only marks may come before the sender's first message.
        guard counter > 0 || isUncounted else { return nil }
    }

    /// The names that stand one behind the other; `nil` if they are too many.
    private static func blobs(named octets: [UInt8]) -> [BlobID]? {
        let count = octets.count / BlobID.byteCount
        guard count <= Seen.lackingLimit else { return nil }
        return (0..<count).compactMap { index in
            BlobID(octets.dropFirst(index * BlobID.byteCount).prefix(BlobID.byteCount))
        }
    }

    /// Whether it takes no counter of its own.
    var isUncounted: Bool { body == .marks }

    /// Whether nothing follows it: it travels as the relay's Close.
    var isLast: Bool {
        switch body {
        case .close, .decline, .clock: true
        default: false
        }
    }

    init(id: [UInt8], sentAt: UInt64, counter: UInt64, body: Body) {
        self.id = id
        self.sentAt = sentAt
        self.counter = counter
        self.body = body
    }
}
