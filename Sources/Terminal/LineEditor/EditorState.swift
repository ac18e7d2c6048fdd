/// The text being typed, its cursor and its history: a key in, a new state and its effect out.
///
/// The history lives in memory only: what was written in a consultation must not outlive it.
public struct EditorState: Sendable {
    /// What a key asks the outside to do.
    public enum Effect: Equatable, Sendable {
        /// Nothing changed.
        case none
        /// The input looks different now.
        case redraw
        /// The input is complete; the editor is empty again.
        case submit(String)
        /// Ctrl-C on an empty input.
        case interrupt
        /// Ctrl-D on an empty input.
        case endOfInput
        /// Ctrl-Z.
        case suspend
        /// Ctrl-L.
        case clearScreen
        /// The key can't do anything here.
        case bell
        /// Several commands begin like this.
        case offer([String])
    }

    private(set) var characters: [Character] = []
    /// Where the next character goes, 0...characters.count.
    private(set) var cursor = 0
    private var history: [String] = []
    /// Which entry of the history is shown; nil while it is the person's own new input.
    private var historyPosition: Int?
    private var draft: [Character] = []
    private var killed: [Character] = []
    private let commands: [String]

    private static let maximumHistoryCount = 200
    /// Octets of the longest input; more is refused with a bell.
    static let maximumByteCount = 1 << 16

    /// An empty input.
    ///
    /// - Parameter commands: what Tab completes, for instance `/help`.
    public init(commands: [String] = []) {
        self.commands = commands.sorted()
    }

    /// What has been typed.
    public var text: String { String(characters) }

    /// Takes in one key.
    public mutating func press(_ key: Key) -> Effect {
        switch key {
        case .text(let text): return insert(text)
        case .paste(let text): return insert(Self.pasted(text))
        case .newline: return insert("\n")
        case .enter: return submit()
        case .tab: return complete()
        case .backspace: return remove(max(0, cursor - 1)..<cursor, isKill: false)
        case .delete: return remove(cursor..<min(cursor + 1, characters.count), isKill: false)
        case .killToEnd: return remove(cursor..<characters.count, isKill: true)
        case .killToStart: return remove(0..<cursor, isKill: true)
        case .killWord: return remove(startOfBlankWord..<cursor, isKill: true)
        case .killWordForward: return remove(cursor..<endOfWord, isKill: true)
        case .left: return move(to: cursor - 1)
        case .right: return move(to: cursor + 1)
        case .home: return move(to: 0)
        case .end: return move(to: characters.count)
        case .wordLeft: return move(to: startOfWord)
        case .wordRight: return move(to: endOfWord)
        case .up: return recall(by: -1)
        case .down: return recall(by: 1)
        case .yank: return insert(String(killed))
        case .transpose: return transpose()
        case .clearScreen: return .clearScreen
        case .suspend: return .suspend
        case .interrupt: return interrupt()
        case .endOfInput:
            if characters.isEmpty { return .endOfInput }
            return remove(cursor..<min(cursor + 1, characters.count), isKill: false)
        case .unknown: return .none
        }
    }

    // MARK: Editing

    /// Line feeds stay, so that a pasted text is one message; other controls have no business here.
    private static func pasted(_ text: String) -> String {
        let unified = text.replacing("\r\n", with: "\n").replacing("\r", with: "\n")
        var scalars = String.UnicodeScalarView()
        for scalar in unified.unicodeScalars {
            if scalar == "\t" {
                scalars.append(contentsOf: "    ".unicodeScalars)
            } else if scalar == "\n" || scalar.properties.generalCategory != .control {
                scalars.append(scalar)
            }
        }
        while scalars.last == "\n" { scalars.removeLast() }
        return String(scalars)
    }

    private mutating func insert(_ text: String) -> Effect {
        guard !text.isEmpty else { return .none }
        guard self.text.utf8.count + text.utf8.count <= Self.maximumByteCount else { return .bell }
        // A combining mark joins the character before the cursor, a base may join what follows.
        let start = max(0, cursor - 1)
        let end = min(characters.count, cursor + 1)
        let before = String(characters[start..<cursor]) + text
        let after = String(characters[cursor..<end])
        let joined = Array(before + after)
        characters.replaceSubrange(start..<end, with: joined)
        let unjoined = before.count + after.count
        cursor = start + before.count - max(0, unjoined - joined.count - 1)
        cursor = min(max(0, cursor), characters.count)
        return .redraw
    }

    private mutating func remove(_ range: Range<Int>, isKill: Bool) -> Effect {
        guard !range.isEmpty else { return .bell }
        if isKill { killed = Array(characters[range]) }
        characters.removeSubrange(range)
        cursor = range.lowerBound
        rejoin()
        return .redraw
    }

    /// What a removal brought together may be one character now.
    private mutating func rejoin() {
        let behind = Array(String(characters[..<cursor]))
        let all = Array(String(characters))
        characters = all
        cursor = min(behind.count, all.count)
    }

    private mutating func transpose() -> Effect {
        guard cursor > 0, characters.count > 1 else { return .bell }
        let right = min(cursor, characters.count - 1)
        characters.swapAt(right - 1, right)
        cursor = right + 1
        rejoin()
        return .redraw
    }

    private mutating func replace(with new: [Character]) {
        characters = new
        cursor = new.count
    }

    private mutating func interrupt() -> Effect {
        guard !characters.isEmpty else { return .interrupt }
        replace(with: [])
        historyPosition = nil
        return .redraw
    }

    private mutating func submit() -> Effect {
        let line = text
        replace(with: [])
        historyPosition = nil
        draft = []
        if line.contains(where: { !$0.isWhitespace }), history.last != line {
            history.append(line)
            if history.count > Self.maximumHistoryCount { history.removeFirst() }
        }
        return .submit(line)
    }

    // MARK: Moving

    private mutating func move(to position: Int) -> Effect {
        let target = min(max(0, position), characters.count)
        guard target != cursor else { return .none }
        cursor = target
        return .redraw
    }

    private var startOfBlankWord: Int {
        var position = cursor
        while position > 0, characters[position - 1].isWhitespace { position -= 1 }
        while position > 0, !characters[position - 1].isWhitespace { position -= 1 }
        return position
    }

    private var startOfWord: Int {
        var position = cursor
        while position > 0, !characters[position - 1].isPartOfWord { position -= 1 }
        while position > 0, characters[position - 1].isPartOfWord { position -= 1 }
        return position
    }

    private var endOfWord: Int {
        var position = cursor
        while position < characters.count, !characters[position].isPartOfWord { position += 1 }
        while position < characters.count, characters[position].isPartOfWord { position += 1 }
        return position
    }

    // MARK: History and completion

    private mutating func recall(by step: Int) -> Effect {
        let position = (historyPosition ?? history.count) + step
        guard (0...history.count).contains(position) else { return .bell }
        if historyPosition == nil { draft = characters }
        if position == history.count {
            guard historyPosition != nil else { return .bell }
            historyPosition = nil
            replace(with: draft)
        } else {
            historyPosition = position
            replace(with: Array(history[position]))
        }
        return .redraw
    }

    private mutating func complete() -> Effect {
        guard characters.first == "/", cursor == characters.count,
            !characters.contains(where: \.isWhitespace)
        else { return .bell }
        let matches = commands.filter { $0.hasPrefix(text) }
        guard let first = matches.first else { return .bell }
        if matches.count == 1 {
            replace(with: Array(first + " "))
            return .redraw
        }
        let common = matches.dropFirst().reduce(first) { $0.commonPrefix(with: $1) }
        guard common.count > characters.count else { return .offer(matches) }
        replace(with: Array(common))
        return .redraw
    }
}

extension Character {
    fileprivate var isPartOfWord: Bool { isLetter || isNumber }
}

extension String {
    fileprivate func commonPrefix(with other: String) -> String {
        String(zip(self, other).prefix { $0 == $1 }.map(\.0))
    }
}
