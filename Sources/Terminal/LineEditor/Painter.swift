/// Knows what stands at the bottom of the screen, and says which octets replace it.
public struct Painter: Sendable {
    private var widths: [Int] = []
    private var cursorRow = 0
    private var cursorColumn = 0

    /// Nothing has been drawn yet; the cursor stands at the beginning of an empty line.
    public init() {}

    /// Replaces what was drawn with `frame`.
    public mutating func paint(_ frame: EditorFrame, style: Style) -> String {
        var text = "\u{1B}[?25l" + erase()
        text += frame.rows.map { $0.isStatus ? style.reverse($0.text) : $0.text }
            .joined(separator: "\r\n")
        widths = frame.rows.map { DisplayWidth.of($0.text) }
        cursorRow = frame.cursorRow
        cursorColumn = frame.cursorColumn
        text += Self.up(frame.rows.count - 1 - frame.cursorRow) + "\r"
        if frame.cursorColumn > 0 { text += "\u{1B}[\(frame.cursorColumn)C" }
        return text + "\u{1B}[?25h"
    }

    /// Removes what was drawn; the cursor then stands where it began.
    public mutating func erase() -> String {
        let text = Self.up(cursorRow) + "\r\u{1B}[J"
        widths = []
        cursorRow = 0
        cursorColumn = 0
        return text
    }

    /// The terminal has another width now and has wrapped anew what was drawn.
    public mutating func resize(to width: Int) {
        let width = max(1, width)
        func rows(_ columns: Int) -> Int { max(1, (columns + width - 1) / width) }
        let above = widths.prefix(cursorRow).reduce(0) { $0 + rows($1) }
        cursorRow = above + cursorColumn / width
    }

    private static func up(_ rows: Int) -> String {
        rows > 0 ? "\u{1B}[\(rows)A" : ""
    }
}
