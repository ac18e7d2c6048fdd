private import CTerminal
private import Glibc

/// How many columns text takes on a terminal.
public enum DisplayWidth {
    /// Measured scalar by scalar with the C library's `wcwidth`, as most terminals do.
    public static func of(_ text: some StringProtocol) -> Int {
        text.unicodeScalars.reduce(0) { $0 + of($1) }
    }

    static func of(_ scalar: Unicode.Scalar) -> Int {
        if scalar.isASCII { return scalar.value < 0x20 || scalar.value == 0x7F ? 0 : 1 }
        guard hasWideCharacters else { return 1 }
        let width = wcwidth(wchar_t(truncatingIfNeeded: scalar.value))
        if width >= 0 { return Int(width) }
        // Newer than the C library's tables, or a control.
        if scalar.properties.generalCategory == .control { return 0 }
        return scalar.properties.isEmojiPresentation ? 2 : 1
    }

    /// `wcwidth` knows only the characters of the process's locale, which here is always one of
    /// UTF-8: the person's own, else the C library's.
    private static let hasWideCharacters: Bool = {
        _ = unsafe setlocale(LC_CTYPE, "")
        if let name = unsafe nl_langinfo(nl_item(CODESET)), unsafe String(cString: name) == "UTF-8"
        {
            return true
        }
        return unsafe setlocale(LC_CTYPE, "C.UTF-8") != nil
    }()
}

extension StringProtocol {
    /// The longest beginning that fits into `width` columns; with `…` if something was cut off.
    public func fitted(to width: Int) -> String {
        if DisplayWidth.of(self) <= width { return String(self) }
        guard width > 1 else { return width == 1 ? "…" : "" }
        var result = ""
        var used = 0
        for character in self {
            let columns = DisplayWidth.of(String(character))
            if used + columns > width - 1 { break }
            result.append(character)
            used += columns
        }
        return result + "…"
    }

    /// Filled with spaces up to `width` columns.
    func padded(to width: Int) -> String {
        String(self) + String(repeating: " ", count: Swift.max(0, width - DisplayWidth.of(self)))
    }
}
