/// Turns a terminal's octets into keys: UTF-8, control characters, escape sequences of xterm and its
/// relatives (ECMA-48 §5.4), bracketed paste. Any octets are accepted in any pieces.
public struct KeyDecoder: Sendable {
    /// An unfinished escape sequence or UTF-8 character.
    private var pending: [UInt8] = []
    /// What has been pasted so far, between the two brackets.
    private var paste: [UInt8]?
    private var keys: [Key] = []

    /// No escape sequence that matters is longer.
    private static let maximumSequenceByteCount = 32
    /// What is pasted beyond this is dropped.
    static let maximumPasteByteCount = 1 << 18
    private static let pasteEnd = Array("\u{1B}[201~".utf8)

    /// Makes a decoder that has seen nothing.
    public init() {}

    /// Whether an escape sequence has begun that may as well be the Escape key alone.
    public var isWaitingForSequence: Bool { paste == nil && pending.first == 0x1B }

    /// Takes in octets as they come.
    public mutating func receive(_ bytes: some Sequence<UInt8>) -> [Key] {
        for byte in bytes { feed(byte) }
        defer { keys = [] }
        return keys
    }

    /// No octet followed in a while: what looked like the beginning of a sequence was a key.
    public mutating func timeOut() {
        if isWaitingForSequence { pending = [] }
    }

    private mutating func feed(_ byte: UInt8) {
        if paste != nil { return feedPaste(byte) }
        guard let first = pending.first else { return begin(byte) }
        if first == 0x1B { feedSequence(byte) } else { feedCharacter(byte) }
    }

    private mutating func begin(_ byte: UInt8) {
        switch byte {
        case 0x1B, 0xC2...0xF4: pending = [byte]
        case 0x20..<0x7F: emit(text: String(Unicode.Scalar(byte)))
        case 0x80...: emit(text: "\u{FFFD}")
        default: keys.append(Self.control(byte))
        }
    }

    private mutating func emit(text: String) {
        if case .text(let before) = keys.last {
            keys[keys.count - 1] = .text(before + text)
        } else {
            keys.append(.text(text))
        }
    }

    private static func control(_ byte: UInt8) -> Key {
        switch byte {
        case 0x01: .home
        case 0x02: .left
        case 0x03: .interrupt
        case 0x04: .endOfInput
        case 0x05: .end
        case 0x06: .right
        case 0x08, 0x7F: .backspace
        case 0x09: .tab
        case 0x0A, 0x0D: .enter
        case 0x0B: .killToEnd
        case 0x0C: .clearScreen
        case 0x0E: .down
        case 0x10: .up
        case 0x14: .transpose
        case 0x15: .killToStart
        case 0x17: .killWord
        case 0x19: .yank
        case 0x1A: .suspend
        default: .unknown
        }
    }

    // MARK: UTF-8

    private mutating func feedCharacter(_ byte: UInt8) {
        guard (0x80...0xBF).contains(byte) else {
            pending = []
            emit(text: "\u{FFFD}")
            return feed(byte)
        }
        pending.append(byte)
        let needed = pending[0] < 0xE0 ? 2 : pending[0] < 0xF0 ? 3 : 4
        guard pending.count == needed else { return }
        let text = String(decoding: pending, as: UTF8.self)
        pending = []
        // C1 controls arrive as two octets and are no text either.
        let isControl = text.unicodeScalars.first?.properties.generalCategory == .control
        if isControl { keys.append(.unknown) } else { emit(text: text) }
    }

    // MARK: Escape sequences

    private mutating func feedSequence(_ byte: UInt8) {
        if pending.count == 1 { return feedAfterEscape(byte) }
        if pending[1] == UInt8(ascii: "O") {
            pending = []
            keys.append(Self.cursorKey(byte, isModified: false) ?? .unknown)
            return
        }
        if pending.count == 3, pending[2] == UInt8(ascii: "[") {
            pending = []
            keys.append(.unknown)
            return
        }
        switch byte {
        case 0x20...0x3F where pending.count < Self.maximumSequenceByteCount:
            pending.append(byte)
        case UInt8(ascii: "[") where pending.count == 2:
            pending.append(byte)
        case 0x40...0x7E:
            let parameters = Array(pending.dropFirst(2))
            pending = []
            finishSequence(byte, parameters: parameters)
        default:
            pending = []
            keys.append(.unknown)
            if byte < 0x20 || byte >= 0x80 { feed(byte) }
        }
    }

    private mutating func feedAfterEscape(_ byte: UInt8) {
        switch byte {
        case UInt8(ascii: "["), UInt8(ascii: "O"):
            pending.append(byte)
            return
        case 0x1B: return
        default: break
        }
        pending = []
        switch byte {
        case 0x0A, 0x0D: keys.append(.newline)
        case 0x08, 0x7F: keys.append(.killWord)
        case UInt8(ascii: "b"): keys.append(.wordLeft)
        case UInt8(ascii: "f"): keys.append(.wordRight)
        case UInt8(ascii: "d"): keys.append(.killWordForward)
        default:
            keys.append(.unknown)
            if byte < 0x20 || byte >= 0x80 { feed(byte) }
        }
    }

    private mutating func finishSequence(_ final: UInt8, parameters: [UInt8]) {
        let numbers = String(decoding: parameters, as: UTF8.self)
            .split(separator: ";", omittingEmptySubsequences: false).map { Int($0) }
        let first = numbers.first ?? nil
        let modifier = numbers.count > 1 ? numbers[1] ?? 1 : 1
        switch final {
        case UInt8(ascii: "~"):
            switch first {
            case 1, 7: keys.append(.home)
            case 3: keys.append(modifier > 1 ? .killWordForward : .delete)
            case 4, 8: keys.append(.end)
            case 200: paste = []
            default: keys.append(.unknown)
            }
        case UInt8(ascii: "u") where first == 13: keys.append(modifier > 1 ? .newline : .enter)
        default: keys.append(Self.cursorKey(final, isModified: modifier > 1) ?? .unknown)
        }
    }

    private static func cursorKey(_ final: UInt8, isModified: Bool) -> Key? {
        switch final {
        case UInt8(ascii: "A"): .up
        case UInt8(ascii: "B"): .down
        case UInt8(ascii: "C"): isModified ? .wordRight : .right
        case UInt8(ascii: "D"): isModified ? .wordLeft : .left
        case UInt8(ascii: "F"): .end
        case UInt8(ascii: "H"): .home
        case UInt8(ascii: "M"): .enter
        default: nil
        }
    }

    // MARK: Bracketed paste

    private mutating func feedPaste(_ byte: UInt8) {
        guard var bytes = paste else { return }
        paste = nil
        bytes.append(byte)
        let isEnd = bytes.count >= Self.pasteEnd.count && bytes.suffix(6) == Self.pasteEnd[...]
        if isEnd {
            bytes.removeLast(Self.pasteEnd.count)
            keys.append(.paste(String(decoding: bytes, as: UTF8.self)))
            return
        }
        // Beyond the limit only the last octets are kept, in which the end may stand.
        if bytes.count >= Self.maximumPasteByteCount + Self.pasteEnd.count {
            bytes.remove(at: Self.maximumPasteByteCount)
        }
        paste = bytes
    }
}
