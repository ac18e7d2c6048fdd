/// Makes a peer's text harmless: what a terminal would obey, or a person couldn't see, is shown.
///
/// C0 controls become their pictures (`␛`), everything else of that kind `<U+202E>`. Text in any
/// script stays as it is, emoji sequences and the joiners that Persian and the Indic scripts need
/// included.
public enum Sanitiser {
    /// One line: line feeds are shown as well, so that nobody can fake a second line.
    public static func line(_ text: String) -> String {
        var scalars = String.UnicodeScalarView()
        append(Array(text.unicodeScalars), to: &scalars)
        return String(scalars)
    }

    /// Several lines: a line feed, also one after a carriage return, begins a new one.
    ///
    /// The caller marks the lines after the first, so that none passes for another's message.
    public static func lines(_ text: String) -> [String] {
        var result: [String] = []
        var current: [Unicode.Scalar] = []
        func finish() {
            var scalars = String.UnicodeScalarView()
            append(current, to: &scalars)
            result.append(String(scalars))
            current = []
        }
        for scalar in text.unicodeScalars {
            if scalar == "\n" {
                if current.last == "\r" { current.removeLast() }
                finish()
            } else {
                current.append(scalar)
            }
        }
        finish()
        return result
    }

    /// More marks than this on one character are shown as numbers: they'd grow into other lines.
    private static let maximumMarks = 6

    private static func append(
        _ scalars: [Unicode.Scalar], to result: inout String.UnicodeScalarView
    ) {
        var marks = 0
        for (index, scalar) in scalars.enumerated() {
            let previous = index > 0 ? scalars[index - 1] : nil
            let next = index + 1 < scalars.count ? scalars[index + 1] : nil
            if isMark(scalar) {
                marks += 1
                if marks <= maximumMarks, let previous, isVisibleBase(previous) || marks > 1 {
                    result.append(scalar)
                } else {
                    appendNumber(of: scalar, to: &result)
                }
                continue
            }
            marks = 0
            switch scalar {
            case "\t": result.append(contentsOf: "    ".unicodeScalars)
            case "\u{200C}", "\u{200D}":
                if let previous, let next, mayBeJoined(previous), mayBeJoined(next) {
                    result.append(scalar)
                } else {
                    appendNumber(of: scalar, to: &result)
                }
            case _ where scalar.value < 0x20 || scalar.value == 0x7F:
                let picture = scalar.value == 0x7F ? 0x2421 : 0x2400 + scalar.value
                result.append(Unicode.Scalar(picture) ?? "\u{FFFD}")
            case _ where isInvisible(scalar): appendNumber(of: scalar, to: &result)
            default: result.append(scalar)
            }
        }
    }

    /// Controls, formats (bidirectional marks and overrides, zero-width and tag characters), fillers,
    /// private use, unassigned, and separators that break lines.
    static func isInvisible(_ scalar: Unicode.Scalar) -> Bool {
        if scalar.isASCII { return scalar.value < 0x20 || scalar.value == 0x7F }
        switch scalar.properties.generalCategory {
        case .control, .format, .privateUse, .unassigned, .surrogate, .lineSeparator,
            .paragraphSeparator:
            return true
        default:
            return scalar.properties.isDefaultIgnorableCodePoint
                && !(0xFE00...0xFE0F).contains(scalar.value)
        }
    }

    /// Non-spacing and enclosing marks; the variation selectors of emoji are among them.
    private static func isMark(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .nonspacingMark, .enclosingMark:
            return (0xFE00...0xFE0F).contains(scalar.value)
                || !scalar.properties.isDefaultIgnorableCodePoint
        default: return false
        }
    }

    private static func isVisibleBase(_ scalar: Unicode.Scalar) -> Bool {
        scalar.value > 0x20 && !isInvisible(scalar) || scalar == "\u{200D}" || scalar == "\u{200C}"
    }

    private static func mayBeJoined(_ scalar: Unicode.Scalar) -> Bool {
        !scalar.isASCII && !isInvisible(scalar)
    }

    private static func appendNumber(
        of scalar: Unicode.Scalar, to result: inout String.UnicodeScalarView
    ) {
        let hex = String(scalar.value, radix: 16, uppercase: true)
        let padding = String(repeating: "0", count: max(0, 4 - hex.count))
        result.append(contentsOf: "<U+\(padding)\(hex)>".unicodeScalars)
    }
}
