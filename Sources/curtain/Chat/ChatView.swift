import Consultations
import Credentials
import Foundation
import Terminal

/// What a chat shows around its messages, as values that can be tested.
struct ChatView {
    var consultation: Consultation
    var isDoctor = false
    /// Whether a form has the screen; lines wait meanwhile.
    var isHeld = false
    /// A file on its way, and when it last got on.
    private var transfer: (file: Transfer, at: Date)?
    private var held: [String] = []
    private var connection: ConnectionState = .offline
    private var hasBeenConnected = false
    private var day: Date?
    /// The newest message of one's own, and how far it has got.
    private var lastMine: (number: Int64, state: Message.State)?

    init(consultation: Consultation) {
        self.consultation = consultation
    }

    // MARK: Words

    /// The first lines of a chat.
    func header(style: Style, width: Int) -> [String] {
        let specialty = consultation.other?.specialty.map { " (\(Sanitiser.line($0)))" } ?? ""
        var lines = [
            "Consultation \(consultation.shortID) with \(consultation.otherName)\(specialty)"
        ]
        if let time = consultation.time, let minutes = consultation.minutes {
            lines.append("Appointment: \(TimeText.stamp(time)), \(minutes) min")
        }
        if consultation.other?.isVerified == false {
            lines.append("Not verified yet: compare the safety code by phone, with /verify.")
        }
        if consultation.other?.isVouched == false {
            lines.append("The clinic does not vouch for this person.")
        }
        switch consultation.state {
        case .requesting: lines.append("The request isn't on the relay yet.")
        case .requested:
            lines.append(
                isDoctor
                    ? "Requested: 'curtain accept \(consultation.shortID)' accepts it."
                    : "Requested: the doctor has not answered yet.")
        default: break
        }
        lines.append("Not for emergencies: in danger, call your emergency number.")
        lines.append("/help lists the commands, Ctrl-D leaves.")
        return lines.enumerated().flatMap { index, line in
            TextLayout.wrap(line, width: width).map { index == 0 ? style.bold($0) : style.dim($0) }
        }
    }

    /// What `/info` prints.
    func info() -> [String] {
        var lines = ["Consultation \(consultation.id)", "State: \(consultation.stateText)"]
        for person in consultation.members {
            lines.append(
                "\(person.role.word): \(Sanitiser.line(person.name)), "
                    + (person.isVerified ? "verified" : "not verified")
                    + (person.isVouched ? "" : ", not vouched for"))
            if let licence = person.licence {
                lines.append("  licence \(Sanitiser.line(licence))")
            }
            if let born = person.born, !born.isEmpty {
                lines.append("  born \(Sanitiser.line(born))")
            }
            lines.append("  key \(MeRow.grouped(person.id.description))")
        }
        if let time = consultation.time, let minutes = consultation.minutes {
            lines.append("Appointment: \(TimeText.stamp(time)), \(minutes) min")
        }
        if let suite = consultation.suite, let epoch = consultation.epoch {
            lines.append("Protected by \(suite.name), epoch \(epoch)")
        }
        return lines
    }

    /// How long a file on its way is shown that doesn't get on, in seconds.
    private static let transferPatience = 30.0

    /// The line above the input: the most urgent first, for narrow terminals cut the rest. What a
    /// peer calls a file comes after what it might pass for.
    func status(at now: Date) -> String {
        var parts: [String] = []
        if let trouble = connectionText { parts.append(trouble) }
        // What hasn't left yet matters more than who is there.
        if let lastMine, lastMine.state == .waiting { parts.append(lastMine.state.explanation) }
        if let other = consultation.other {
            parts.append(
                consultation.otherName + (other.isVerified ? " (verified)" : " (NOT verified)"))
        }
        switch consultation.state {
        case .open: break
        default: parts.append(consultation.stateText)
        }
        if let transfer, transfer.file.fraction < 1,
            now.timeIntervalSince(transfer.at) < Self.transferPatience
        {
            parts.append(transfer.file.words)
        }
        if let left = consultation.timeLeft(at: now) { parts.append(left) }
        if let lastMine, lastMine.state != .waiting { parts.append(lastMine.state.explanation) }
        return parts.joined(separator: " | ")
    }

    // MARK: Messages

    /// Lines of a message, with the day before it if that is another one.
    mutating func lines(of message: Message, text: MessageText, isMarked: Bool) -> [String] {
        let separator = text.daySeparator(message.sentAt, after: day)
        day = message.sentAt
        return (separator.map { [$0] } ?? []) + text.lines(message, isMarked: isMarked)
    }

    /// Remembers how far one's own newest message has got.
    mutating func note(_ message: Message) {
        guard message.isMine else { return }
        guard message.number >= lastMine?.number ?? 0 else { return }
        lastMine = (message.number, message.state)
    }

    /// Remembers how far a file is.
    mutating func note(_ transfer: Transfer, at now: Date) { self.transfer = (transfer, now) }

    /// Keeps lines until the screen is free again.
    mutating func hold(_ lines: [String]) { held += lines }

    /// What was kept.
    mutating func takeHeld() -> [String] {
        defer { held = [] }
        return held
    }

    // MARK: The connection

    /// Takes in the connection's state; words if the person should notice.
    mutating func change(to new: ConnectionState) -> String? {
        let old = connection
        connection = new
        if new != .connected { transfer = nil }
        switch (old, new) {
        case (.connected, .connected): return nil
        case (_, .connected):
            defer { hasBeenConnected = true }
            return hasBeenConnected ? "connected again" : nil
        case (.connected, .waiting(_, let cause)): return cause.words + "; trying again"
        case (.connecting, .waiting(_, let cause)) where !hasBeenConnected:
            hasBeenConnected = true
            return cause.words + "; what you write waits in the outbox"
        default: return nil
        }
    }

    private var connectionText: String? {
        switch connection {
        case .connected: nil
        case .offline, .connecting: "connecting"
        case .waiting: "OFFLINE"
        case .stopped: "OFFLINE"
        }
    }

    struct ConnectionRow: Encodable {
        let event = "connection"
        let state: String
    }

    var connectionRow: ConnectionRow {
        let word =
            switch connection {
            case .connected: "connected"
            case .offline: "offline"
            case .connecting: "connecting"
            case .waiting: "waiting"
            case .stopped: "stopped"
            }
        return ConnectionRow(state: word)
    }
}
