import Foundation
import Glibc

/// One side of a talk in which processes are killed: what it said, and what became of each line.
struct TalkingSide {
    /// What is known of a line that a person typed.
    enum Fate {
        /// Taken: the program said so, or ended by itself. It must appear exactly once.
        case taken
        /// Its process was killed before it said anything: it may appear once or not at all.
        case open
    }

    let person: Person
    let consultation: String
    private(set) var lines: [(text: String, fate: Fate)] = []
    private var chat: Child?
    private var firstOfChat = 0

    init(_ person: Person, in consultation: String) {
        self.person = person
        self.consultation = consultation
    }

    // MARK: - Acting

    mutating func startChat() throws {
        guard chat == nil else { return }
        firstOfChat = lines.count
        chat = try person.start("chat", consultation, "--json")
    }

    /// Types a line into the running chat.
    mutating func say() {
        guard let chat else { return }
        let text = "\(person.name) \(lines.count)"
        if chat.type(text) { lines.append((text, .open)) }
    }

    /// `kill -9`, then looks up what the chat had said about each line.
    mutating func killChat() async throws {
        guard let chat else { return }
        chat.kill()
        try await settle(chat, expected: .killed(signal: SIGKILL))
    }

    /// Ends the chat by itself, with everything on the relay.
    mutating func endChat() async throws {
        guard let chat else { return }
        chat.closeInput()
        try await settle(chat, expected: .exited(0))
        for index in firstOfChat..<lines.count { lines[index].fate = .taken }
    }

    private mutating func settle(_ chat: Child, expected: Ending) async throws {
        self.chat = nil
        let ending = try await chat.wait()
        guard ending == expected else {
            throw StageError.unexpectedEnding(
                chat.name, ending, expected: 0, output: chat.output, errors: chat.errors)
        }
        var shown: Set<String> = []
        for object in chat.lines.compactMap(JSONLine.init) {
            guard let event = object["event"], ["sent", "message"].contains(event),
                let id = object["id"], object["kind"] == "text"
            else { continue }
            if event == "message", !shown.insert(id).inserted {
                throw StageError.unexpectedOutput("a message shown twice", output: object.text)
            }
            guard object.flag("mine") == true else { continue }
            // In the vault ("message") or on the relay's disk ("sent"): either is a promise.
            guard let index = lines.lastIndex(where: { $0.text == object["text"] }) else {
                throw StageError.unexpectedOutput("a line nobody typed", output: object.text)
            }
            lines[index].fate = .taken
        }
    }

    /// Sends one line by a process of its own, which `killAfter` may cut short.
    mutating func sendOnce(killAfter delay: Duration?) async throws {
        let text = "\(person.name) \(lines.count)"
        let child = try person.start("send", consultation, text, keepsInput: false)
        if let delay {
            try await Task.sleep(for: delay)
            child.kill()
        }
        switch try await child.wait() {
        case .exited(0), .exited(75): lines.append((text, .taken))
        case .killed(SIGKILL): lines.append((text, .open))
        case let ending:
            throw StageError.unexpectedEnding(
                child.name, ending, expected: 0, output: child.output, errors: child.errors)
        }
    }

    // MARK: - Judging

    /// What is wrong with how `reader` shows this side's lines.
    func faults(in messages: [JSONLine], mine: Bool, reader: String) -> [String] {
        let shown = messages.filter { $0["kind"] == "text" && $0.flag("mine") == mine }
            .compactMap { $0["text"] }
        var faults: [String] = []
        let positions = Dictionary(
            zip(lines.map(\.text), lines.indices), uniquingKeysWith: { first, _ in first })
        let order = shown.map { positions[$0] ?? -1 }
        for (text, position) in zip(shown, order) where position < 0 {
            faults.append("\(reader) sees what nobody said: \(text)")
        }
        for (earlier, later) in zip(order, order.dropFirst()) where earlier >= later {
            faults.append(
                "\(reader) sees \(earlier == later ? "twice" : "out of order"): "
                    + "\(person.name) \(earlier), then \(later)")
        }
        let seen = Set(shown)
        for line in lines where line.fate == .taken && !seen.contains(line.text) {
            faults.append("\(reader) misses: \(line.text)")
        }
        return faults
    }

    /// After judging: an open line that appeared counts from now on; one that didn't is forgotten.
    mutating func resolve(by messages: [JSONLine]) {
        let seen = Set(messages.compactMap { $0["text"] })
        for index in lines.indices where seen.contains(lines[index].text) {
            lines[index].fate = .taken
        }
    }
}
