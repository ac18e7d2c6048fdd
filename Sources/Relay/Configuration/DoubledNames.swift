import Yams

/// Reads YAML in which a name stands twice, of which Yams says no more than that. Each time the name
/// gets a sign that makes it another, where it stands, so that everything else can be read too.
enum DoubledNames {
    /// No keyboard has it (Unicode's private use area).
    private static let sign: Unicode.Scalar = "\u{E000}"
    /// No file of settings has as many names.
    private static let limit = 500

    /// The same as `Yams.compose`, but that names which stand there twice are signed.
    static func compose(_ yaml: String) throws -> Node? {
        var text = Array(yaml.unicodeScalars)
        for count in 0..<limit {
            do {
                return try Yams.compose(yaml: string(text))
            } catch let error as YamlError {
                guard case .duplicatedKeysInMapping(let names, let context) = error,
                    let name = names.first,
                    let index = place(of: name, at: context.mark, in: text)
                else { throw error }
                text.insert(contentsOf: [sign] + "\(count)".unicodeScalars + [sign], at: index)
            }
        }
        return try Yams.compose(yaml: yaml)
    }

    /// The name without its sign.
    static func original(_ name: String) -> String {
        guard let last = name.unicodeScalars.lastIndex(of: sign) else { return name }
        return String(name.unicodeScalars[last...].dropFirst())
    }

    /// Where the name begins, behind a quotation mark.
    private static func place(
        of name: String, at mark: Mark, in text: [Unicode.Scalar]
    ) -> Int? {
        var (line, index) = (1, 0)
        while line < mark.line, index < text.count {
            let isEnd =
                text[index] == "\n" || (text[index] == "\r" && text[safe: index + 1] != "\n")
            if isEnd { line += 1 }
            index += 1
        }
        index += mark.column - 1
        if text[safe: index] == "'" || text[safe: index] == "\"" { index += 1 }
        let name = Array(name.unicodeScalars)
        return text.dropFirst(index).starts(with: name) ? index : nil
    }

    private static func string(_ scalars: [Unicode.Scalar]) -> String {
        var text = String.UnicodeScalarView()
        text.append(contentsOf: scalars)
        return String(text)
    }
}

extension Array {
    fileprivate subscript(safe index: Int) -> Element? {
        indices.contains(index) ? self[index] : nil
    }
}
