/// What a person pressed.
public enum Key: Equatable, Sendable {
    /// Printable text, one scalar or several.
    case text(String)
    /// Text that was pasted in one go, line feeds included.
    case paste(String)
    /// Enter: the input is complete.
    case enter
    /// Alt-Enter: a line feed within the input.
    case newline
    /// Tab.
    case tab
    /// Deletes the character before the cursor.
    case backspace
    /// Deletes the character under the cursor.
    case delete
    /// One character to the left.
    case left
    /// One character to the right.
    case right
    /// The previous entry of the history.
    case up
    /// The next entry of the history.
    case down
    /// To the beginning.
    case home
    /// To the end.
    case end
    /// One word to the left.
    case wordLeft
    /// One word to the right.
    case wordRight
    /// Ctrl-K: deletes to the end.
    case killToEnd
    /// Ctrl-U: deletes to the beginning.
    case killToStart
    /// Ctrl-W: deletes the word before the cursor.
    case killWord
    /// Alt-D: deletes the word after the cursor.
    case killWordForward
    /// Ctrl-Y: inserts what was deleted last.
    case yank
    /// Ctrl-T: swaps the characters around the cursor.
    case transpose
    /// Ctrl-L: clears the screen.
    case clearScreen
    /// Ctrl-C.
    case interrupt
    /// Ctrl-D: deletes the character under the cursor, or ends an empty input.
    case endOfInput
    /// Ctrl-Z.
    case suspend
    /// A key that means nothing here.
    case unknown
}
