import Consultations
import Credentials
import Cryptography
import Foundation
import Terminal

/// One consultation as JSON.
struct ConsultationRow: Encodable {
    /// What happened to it; only in `curtain chat --json`.
    let event: String?
    let id: String
    let state: String
    let declined: Bool
    let with: String?
    let role: String?
    let verified: Bool?
    let at: Date?
    let minutes: Int?
    let reason: String?
    let unread: Int
    let waiting: Int
    let suite: String?
    let epoch: UInt64?
    let reopening: String?
    let createdAt: Date
    let lastMessageAt: Date?
    let until: Date?
    let erasedAt: Date?

    init(_ consultation: Consultation, event: String? = nil) {
        self.event = event
        id = consultation.id.description
        state = consultation.state.word
        declined = consultation.declined
        with = consultation.other?.name
        role = consultation.other?.role.word
        verified = consultation.other?.isVerified
        at = consultation.time
        minutes = consultation.minutes
        reason = consultation.reason
        unread = consultation.unread
        waiting = consultation.waiting
        suite = consultation.suite?.name
        epoch = consultation.epoch
        reopening = consultation.reopening?.rawValue
        createdAt = consultation.createdAt
        lastMessageAt = consultation.lastMessageAt
        if case .closing(let date) = consultation.state { until = date } else { until = nil }
        if case .erased(let date) = consultation.state { erasedAt = date } else { erasedAt = nil }
    }
}

extension Consultation {
    /// As much of the id as tables show; unambiguous in practice, checked when it is typed.
    var shortID: String { String(id.description.prefix(8)) }

    /// The other's name, harmless for the terminal.
    var otherName: String { other.map { Sanitiser.line($0.name) } ?? "the other side" }

    /// The state for people, with what the word alone doesn't say.
    var stateText: String {
        switch state {
        case .closing where declined: "declined"
        case .erased where declined: "declined, erased"
        case .closing(let date): "closing until \(TimeText.day(date))"
        default: reopening == nil ? state.word : "\(state.word), reopening"
        }
    }

    /// The state in one word, for tables.
    var stateWord: String { declined ? "declined" : state.word }

    /// What a person can do about a state in which nothing can be written.
    var dead: [String]? {
        switch state {
        case .requesting, .requested, .open: nil
        case .failed(let trouble): [Explanation.trouble(trouble).message]
        case .closing where heldUp != nil:
            ["It ends as soon as that is possible:", heldUp?.message ?? ""]
        case .closing(let date):
            [
                declined ? "The doctor declined." : "This consultation is closed.",
                "Nobody can write any more; the relay deletes everything by "
                    + "\(TimeText.stamp(date)) at the latest.",
                isMine
                    ? "For more, ask for a new one with 'curtain request'."
                    : "For more, the patient asks for a new one.",
            ]
        case .erased(let date):
            [
                "This consultation was erased on \(TimeText.stamp(date)).",
                "'curtain receipts' shows the relay's receipt, 'curtain rx list' what was "
                    + "prescribed.",
            ]
        case .locked(.copiedVault):
            [Consultation.Lock.copiedVault.words, "'curtain recover' goes on with this one."]
        case .locked(let lock):
            [
                lock.words, "'curtain reopen \(shortID)' tries again with fresh keys,",
                "'curtain end \(shortID)' erases your side.",
            ]
        }
    }

    /// Why nobody can talk in it any more.
    var closedFailure: Failure? {
        switch state {
        case .requesting, .requested, .open: nil
        case .failed(let trouble): Explanation.trouble(trouble)
        case .erased(let date):
            Failure(
                .badData, "this consultation was erased on \(TimeText.stamp(date))",
                advice: "'curtain receipts' has the relay's receipt, 'curtain rx list' what was "
                    + "prescribed; a patient asks for a new one with 'curtain request'")
        case .closing, .locked: Explanation.device(.notInState(state.word))
        }
    }

    /// Where the appointment stands: `begins in 20 min`, `12 min left`, `over since 5 min`.
    func timeLeft(at now: Date) -> String? {
        guard let time, let minutes else { return nil }
        let end = time.addingTimeInterval(TimeInterval(minutes) * 60)
        if now < time { return "begins in " + TimeText.span(time.timeIntervalSince(now)) }
        if now < end { return TimeText.span(end.timeIntervalSince(now)) + " left" }
        return "over since " + TimeText.span(now.timeIntervalSince(end))
    }
}

extension Consultation.Lock {
    /// What happened, in words.
    var words: String {
        switch self {
        case .receiptWithoutClose:
            "The relay says that it erased this consultation, but nobody had closed it."
        case .copiedVault: "This vault is a copy or an old backup: nothing can be sent from it."
        case .undecryptableCommit: "A change of keys could not be processed."
        case .removed: "This device was removed, or the relay has lost this consultation."
        case .reopenedTooOften:
            "It was reopened too often within an hour: relay or network are not to be trusted."
        case .otherKey:
            "The relay gave somebody else's keys to go on with; nothing was sent under them."
        case .clock:
            "The clocks of the two devices are more than a day apart, so it did not go on with "
                + "fresh keys. Nothing is lost: set right the one that is wrong."
        case .deadline:
            "It isn't on the relay, and by this device's clock its last day has passed. Check the "
                + "clock and the date."
        }
    }
}

extension ReopenReason {
    /// Why, in words that follow a colon.
    var words: String {
        switch self {
        case .keyChange: "a change of keys could not be processed"
        case .history: "the relay's history is another one"
        case .lost: "the relay no longer knew it"
        case .members: "the relay named a member whom nobody let in"
        case .olderVault: "a vault was set back to an older one"
        case .unreadable: "several messages could not be read"
        case .byHand: "asked for"
        case .unknown: "no reason given"
        }
    }
}

extension CipherSuite {
    /// Its name in IANA's registry of MLS cipher suites.
    var name: String {
        switch self {
        case .x25519AES128: "MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519"
        case .x25519ChaCha20: "MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519"
        case .xwingAES256: "MLS_128_MLKEM768X25519_AES256GCM_SHA384_Ed25519"
        default: "suite \(rawValue)"
        }
    }
}

/// The table of `curtain consultations`.
enum ConsultationTable {
    static func table(_ consultations: [Consultation]) -> Table {
        var table = Table(["ID", "WHEN", "STATE", "NEW", "WITH"])
        for consultation in consultations {
            table.add([
                consultation.shortID, consultation.time.map(TimeText.stamp) ?? "-",
                consultation.stateWord, consultation.unread > 0 ? "\(consultation.unread)" : "-",
                consultation.other.map { person in
                    Sanitiser.line(person.name) + (person.isVerified ? " (verified)" : "")
                } ?? "-",
            ])
        }
        return table
    }
}
