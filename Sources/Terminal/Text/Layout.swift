/// Breaks text into lines.
public enum TextLayout {
    /// Wraps at spaces; a word longer than a line is broken.
    ///
    /// - Parameter width: columns of a line; less than 2 is taken as 2, which any character fits.
    /// - Parameter first: columns of the first line, if it has less room than the others.
    public static func wrap(
        _ text: some StringProtocol, width: Int, first: Int? = nil
    ) -> [String] {
        let width = max(2, width)
        var room = min(max(2, first ?? width), width)
        if DisplayWidth.of(text) <= room { return [String(text)] }
        var lines: [String] = []
        var line = ""
        var used = 0
        func finish() {
            lines.append(line)
            line = ""
            used = 0
            room = width
        }
        for word in text.split(separator: " ", omittingEmptySubsequences: false) {
            let columns = DisplayWidth.of(word)
            if used > 0, used + 1 + columns > room {
                finish()
            } else if !line.isEmpty {
                line.append(" ")
                used += 1
            }
            if columns <= room - used {
                line += word
                used += columns
                continue
            }
            for character in word {
                let columns = DisplayWidth.of(String(character))
                if used + columns > room, used > 0 { finish() }
                line.append(character)
                used += columns
            }
        }
        finish()
        return lines
    }
}

/// Rows under headings, with columns as wide as they need and the last one giving way.
public struct Table: Sendable {
    private let headings: [String]
    private var rows: [[String]] = []

    /// Begins a table.
    public init(_ headings: [String]) {
        self.headings = headings
    }

    /// Adds a row; cells beyond the headings are dropped, missing ones stay empty.
    public mutating func add(_ cells: [String]) {
        rows.append(headings.indices.map { $0 < cells.count ? cells[$0] : "" })
    }

    /// The lines of the table, none wider than `width` as long as the first columns fit.
    public func render(width: Int, style: Style) -> [String] {
        let last = headings.count - 1
        guard last >= 0 else { return [] }
        var widths = headings.indices.map { column in
            ([headings] + rows).map { DisplayWidth.of($0[column]) }.max() ?? 0
        }
        let taken = widths.dropLast().reduce(0) { $0 + $1 + 2 }
        widths[last] = max(4, min(widths[last], width - taken))
        func render(_ cells: [String]) -> String {
            zip(cells, widths).enumerated().map { column, cell in
                column == last ? cell.0.fitted(to: cell.1) : cell.0.padded(to: cell.1)
            }.joined(separator: "  ")
        }
        return [style.bold(render(headings))] + rows.map(render)
    }
}

/// Names and values below one another.
enum FieldList {
    static func render(_ fields: [(String, String)], width: Int, style: Style) -> [String] {
        let indent = (fields.map { DisplayWidth.of($0.0) }.max() ?? 0) + 3
        return fields.flatMap { name, value in
            let lines = value.split(separator: "\n", omittingEmptySubsequences: false)
                .flatMap { TextLayout.wrap($0, width: max(20, width - indent)) }
            return lines.enumerated().map { index, line in
                let label = (index == 0 ? name + ":" : "").padded(to: indent)
                return style.dim(label) + line
            }
        }
    }
}
