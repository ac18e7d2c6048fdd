import Consultations
import Foundation
import Terminal

/// One message as JSON.
struct MessageRow: Encodable {
    /// What happened to it; only in `curtain chat --json`.
    let event: String?
    let id: String
    let number: Int64
    let mine: Bool
    let kind: String
    let text: String?
    let from: String?
    let sentAt: Date
    let receivedAt: Date?
    let state: String
    let unread: Bool
    let sender: UInt32?
    let epoch: UInt64?
    let generation: UInt32?
    let prescription: String?
    let at: Date?
    let minutes: Int?
    let file: String?
    let mediaType: String?
    let fileBytes: Int?
    let fileState: String?

    init(_ message: Message, event: String? = nil) {
        self.event = event
        id = message.id.description
        number = message.number
        mine = message.isMine
        kind = message.body.kind
        text = message.body.text
        from = message.from?.name
        sentAt = message.sentAt
        receivedAt = message.receivedAt
        state = message.state.word
        unread = message.isUnread
        sender = message.mls?.sender
        epoch = message.mls?.epoch
        generation = message.mls?.generation
        if case .prescription(_, let id) = message.body {
            prescription = id
        } else {
            prescription = nil
        }
        let detail: FileDetail?
        if case .file(let file) = message.body { detail = file } else { detail = nil }
        file = detail?.name
        mediaType = detail?.mediaType
        fileBytes = detail?.byteCount
        fileState = detail?.place.word
        if case .request(let time, let minutes, _) = message.body {
            (at, self.minutes) = (time, minutes)
        } else {
            (at, minutes) = (nil, nil)
        }
    }
}

extension Message.Body {
    /// The JSON word for what it is.
    var kind: String {
        switch self {
        case .text: "text"
        case .request: "request"
        case .accept: "accept"
        case .decline: "decline"
        case .prescription: "prescription"
        case .file: "file"
        case .close: "close"
        case .notice: "notice"
        case .gap: "gap"
        case .needsNewerVersion: "unknown"
        }
    }

    /// Whether it brings a file.
    var isFile: Bool {
        if case .file = self { return true }
        return false
    }

    /// What a person wrote.
    var text: String? {
        switch self {
        case .text(let text): text
        case .request(_, _, let reason): reason
        case .decline(let reason), .close(let reason): reason
        default: nil
        }
    }
}

extension FileDetail.Place {
    /// The JSON word.
    var word: String {
        switch self {
        case .here: "here"
        case .coming: "coming"
        case .damaged: "damaged"
        }
    }
}

/// A peer's name for a file among words of our own: in quotes, which it can't close, so that it
/// passes for none of them.
enum FileName {
    /// All of it, for lines that are indented when they wrap.
    static func whole(_ name: String) -> String { quoted(name, columns: .max) }

    /// Its beginning, for one line.
    static func cut(_ name: String) -> String { quoted(name, columns: 24) }

    private static func quoted(_ name: String, columns: Int) -> String {
        let scalars = Sanitiser.line(name).unicodeScalars.map { $0 == "\"" ? "'" : $0 }
        return "\"\(String(String.UnicodeScalarView(scalars)).fitted(to: columns))\""
    }
}

extension FileDetail {
    /// What a chat says when it has been fetched, or can't be; `nil` while it comes.
    func arrival(with message: Message) -> String? {
        let name = Sanitiser.line(message.from?.name ?? "someone")
        let what = "file \(FileName.cut(self.name)) from \(name)"
        switch place {
        case .here: return "\(what) is here: /save \(message.number)"
        case .damaged: return "\(what) arrived damaged"
        case .coming: return nil
        }
    }
}

extension Message.State {
    /// The JSON word.
    var word: String {
        switch self {
        case .waiting: "waiting"
        case .relayed: "relayed"
        case .delivered: "delivered"
        case .read: "read"
        case .received: "received"
        }
    }

    /// What stands behind one's own message.
    var mark: String {
        switch self {
        case .waiting: "○"
        case .relayed: "✓"
        case .delivered: "✓✓"
        case .read: "✓✓ read"
        case .received: ""
        }
    }

    /// The mark, explained.
    var explanation: String {
        switch self {
        case .waiting: "○ waits in the outbox"
        case .relayed: "✓ on the relay"
        case .delivered: "✓✓ delivered"
        case .read: "✓✓ read"
        case .received: "received"
        }
    }
}

/// Messages as lines for people.
struct MessageText {
    let width: Int
    let style: Style
    /// Whether the device's numbers stand in front, for `--since`.
    var hasNumbers = false

    /// Continuation lines are indented, so that no peer's line can pass for a message of its own.
    private static let indent = "      "

    /// A line between two days; nil if `date` is of the same day as `previous`.
    func daySeparator(_ date: Date, after previous: Date?) -> String? {
        let day = TimeText.day(date)
        if let previous, TimeText.day(previous) == day { return nil }
        return style.dim("-- \(day) --")
    }

    /// The lines of one message.
    func lines(_ message: Message, isMarked: Bool = true) -> [String] {
        var head = hasNumbers ? "#\(message.number) " : ""
        head += TimeText.clock(message.sentAt) + " "
        let name = message.isMine ? "you" : Sanitiser.line(message.from?.name ?? "someone")
        let mark = message.isMine && isMarked ? " " + message.state.mark : ""
        switch message.body {
        case .text(let text):
            return wrap(head, name + ": ", Sanitiser.lines(text), mark, nameStyle(message))
        default:
            let words = event(message, name: name)
            return wrap(head, "* ", [words], mark, eventStyle(message.body))
        }
    }

    private func nameStyle(_ message: Message) -> (String) -> String {
        if message.isMine { return { style.bold($0) } }
        return { style.bold(style.cyan($0)) }
    }

    private func eventStyle(_ body: Message.Body) -> (String) -> String {
        switch body {
        case .gap, .needsNewerVersion: return { style.yellow($0) }
        default: return { style.bold($0) }
        }
    }

    private func event(_ message: Message, name: String) -> String {
        func quoted(_ text: String?) -> String {
            guard let text, !text.isEmpty else { return "" }
            return ": " + Sanitiser.line(text)
        }
        switch message.body {
        case .text(let text): return Sanitiser.line(text)
        case .file(let file): return words(of: file, message, name)
        case .request(let time, let minutes, let reason):
            return "\(name) asked for a consultation on \(TimeText.stamp(time)) "
                + "(\(minutes) min)\(quoted(reason))"
        case .accept: return "\(name) accepted the consultation"
        case .decline(let reason): return "\(name) declined the consultation\(quoted(reason))"
        case .prescription(_, let id):
            let short = Sanitiser.line(String(id.prefix(8)))
            return "\(name) signed a prescription: curtain rx show \(short)"
        case .close(let reason): return "\(name) closed the consultation\(quoted(reason))"
        case .notice(.memberAdded(let added)): return "\(Sanitiser.line(added)) came in"
        case .notice(.memberRemoved(let removed)): return "\(Sanitiser.line(removed)) was removed"
        case .notice(.epochMismatch):
            return "the other side's keys come from another history; verify the person by phone"
        case .notice(.reopened(let reason)):
            let who = name == "someone" ? "" : " by \(name)"
            return "reopened\(who) with fresh keys: \(reason.words)"
        case .notice(.otherKey):
            return "somebody with another key tried to go on with this and was turned away"
        case .notice(.clock(let theirs)):
            return "\(name)'s clock says \(TimeText.stamp(theirs)), this device's "
                + "\(TimeText.stamp(message.sentAt)): with fresh keys it goes on only when the wrong "
                + "one is set right"
        case .gap(.undecryptable): return "a message from \(name) could not be decrypted"
        case .gap(.missingSeveral(let counters)):
            return
                "messages \(counters.lowerBound) to \(counters.upperBound) from \(name) are missing"
        case .gap(.missing(let counter)): return "message \(counter) from \(name) is missing"
        case .needsNewerVersion: return "a message from \(name) needs a newer Curtain"
        }
    }

    private func words(of file: FileDetail, _ message: Message, _ name: String) -> String {
        let what =
            "\(name) sent \(FileName.whole(file.name)) (\(SizeText.text(file.byteCount)), "
            + "number \(message.number))"
        switch file.place {
        case .here: return what
        case .coming(fraction: 0): return what + ", still to be fetched"
        case .coming(let fraction): return what + ", \(Int(fraction * 100)) % of it is here"
        case .damaged: return what + ", which arrived damaged"
        }
    }

    /// What came and was never read, of a consultation that is erased.
    static func showLastWords(
        _ messages: [Message], of id: ConsultationID, to output: Output
    ) throws {
        if output.isJSON {
            for message in messages { try output.json(MessageRow(message, event: "lastWords")) }
            return
        }
        let short = String(id.description.prefix(8))
        try output.sentence("\(short) was closed and is erased; what you had not read:")
        let text = MessageText(width: output.width, style: output.style)
        for message in messages {
            for line in text.lines(message) { try output.line(line) }
        }
    }

    private func wrap(
        _ head: String, _ name: String, _ text: [String], _ mark: String,
        _ decorate: (String) -> String
    ) -> [String] {
        let first = head + name
        let indent = Self.indent
        var lines: [String] = []
        for (index, paragraph) in text.enumerated() {
            let lead = index == 0 ? first : indent
            let wrapped = TextLayout.wrap(
                paragraph, width: width - indent.count, first: width - DisplayWidth.of(lead))
            lines += wrapped.enumerated().map { ($0 == 0 ? lead : indent) + $1 }
        }
        if !mark.isEmpty, let last = lines.last {
            if DisplayWidth.of(last) + DisplayWidth.of(mark) <= width {
                lines[lines.count - 1] = last + style.dim(mark)
            } else {
                lines.append(indent + style.dim(String(mark.dropFirst())))
            }
        }
        if let line = lines.first {
            lines[0] = style.dim(head) + decorate(name) + line.dropFirst(first.count)
        }
        return lines
    }
}
