/// What the editor shows at the bottom of the screen: a status line and the wrapped input.
public struct EditorFrame: Equatable, Sendable {
    /// One row, already fitting the width.
    public struct Row: Equatable, Sendable {
        /// What it shows.
        public let text: String
        /// Whether it is the status line rather than input.
        public let isStatus: Bool
    }

    /// From top to bottom.
    public let rows: [Row]
    /// The row of the cursor, from 0.
    public let cursorRow: Int
    /// The column of the cursor, from 0.
    public let cursorColumn: Int
}

extension EditorState {
    /// Lays out the input behind `prompt`, wrapped to `width` columns, the rows after the first
    /// indented to the prompt's width.
    ///
    /// The last column stays free: terminals disagree on where the cursor is after it was filled.
    /// An input with more than `maximumRows` rows shows those around the cursor.
    public func frame(
        prompt: String, status: String?, width: Int, maximumRows: Int
    ) -> EditorFrame {
        let width = max(4, width) - 1
        let prompt = prompt.fitted(to: max(0, width - 2))
        let indent = DisplayWidth.of(prompt)
        var rows: [String] = []
        var row = prompt
        var column = indent
        var place = (row: 0, column: indent)
        func finish() {
            rows.append(row)
            row = String(repeating: " ", count: indent)
            column = indent
        }
        for (index, character) in characters.enumerated() {
            let cell = character == "\n" ? "" : Sanitiser.line(String(character))
            let columns = DisplayWidth.of(cell)
            if character != "\n", column + columns > width, column > indent { finish() }
            if index == cursor { place = (rows.count, column) }
            if character == "\n" {
                finish()
                continue
            }
            // Longer than a row only if a hidden character is shown as its number.
            row += cell.fitted(to: width - column)
            column += min(columns, width - column)
        }
        if cursor == characters.count {
            if column >= width { finish() }
            place = (rows.count, column)
        }
        rows.append(row)

        let shown = max(1, maximumRows - (status == nil ? 0 : 1))
        let firstShown = min(max(0, place.row - shown + 1), max(0, rows.count - shown))
        let visible = rows.dropFirst(firstShown).prefix(shown)
        let top = status.map { [EditorFrame.Row(text: $0.fitted(to: width), isStatus: true)] } ?? []
        return EditorFrame(
            rows: top + visible.map { EditorFrame.Row(text: $0, isStatus: false) },
            cursorRow: top.count + place.row - firstShown,
            cursorColumn: min(place.column, width))
    }
}
