public import Credentials

/// A table of people to invite: comma-separated values (RFC 4180) under a line of headings.
///
/// Headings, in any order and case: `name`, and if wanted `born`, `reference`, `role`.
public enum PersonTable {
    /// The most people of one table.
    public static let maximumCount = 10_000

    /// Reads the people of a table.
    ///
    /// - Parameter role: for lines that name none.
    /// - Throws: `.invalid(.table(line:))` at the first line that is none.
    public static func read(
        _ text: String, role: PersonRole?
    ) throws(ClinicError) -> [InvitationEntry] {
        let rows = try rows(of: text)
        guard let headings = rows.first else { throw .invalid(.table(line: 1)) }
        let names = headings.fields.map { $0.lowercased() }
        let known: Set = ["name", "born", "reference", "role"]
        guard names.contains("name"), Set(names).count == names.count,
            names.allSatisfy(known.contains), rows.count <= maximumCount + 1
        else { throw .invalid(.table(line: 1)) }
        var people: [InvitationEntry] = []
        for row in rows.dropFirst() {
            guard row.fields.count == names.count else { throw .invalid(.table(line: row.line)) }
            let fields = Dictionary(uniqueKeysWithValues: zip(names, row.fields))
            let word = fields["role"] ?? ""
            guard let role = word.isEmpty ? role : PersonRole(word: word.lowercased()),
                let person = try? InvitationEntry(
                    role: role, name: fields["name"] ?? "", born: fields["born"] ?? "",
                    reference: fields["reference"] ?? "")
            else { throw .invalid(.table(line: row.line)) }
            people.append(person)
        }
        guard !people.isEmpty else { throw .invalid(.table(line: 2)) }
        return people
    }

    private struct Row {
        var line: Int
        var fields: [String]
    }

    private static func rows(of text: String) throws(ClinicError) -> [Row] {
        var rows: [Row] = []
        var row = Row(line: 1, fields: [])
        var field = ""
        var line = 1
        var isQuoted = false
        var wasQuoted = false
        // A byte-order mark is what spreadsheets put in front.
        let characters = Array(text.hasPrefix("\u{FEFF}") ? text.dropFirst() : text[...])
        func trimmed(_ text: String) -> String {
            var text = text[...]
            while text.last == " " || text.last == "\t" { text.removeLast() }
            while text.first == " " || text.first == "\t" { text.removeFirst() }
            return String(text)
        }
        func endField() {
            row.fields.append(wasQuoted ? field : trimmed(field))
            field = ""
            wasQuoted = false
        }
        func endRow() {
            endField()
            if row.fields != [""] { rows.append(row) }
            row = Row(line: line, fields: [])
        }
        var position = 0
        while position < characters.count {
            let character = characters[position]
            position += 1
            if character.isNewline { line += 1 }
            switch character {
            case "\"" where isQuoted:
                if position < characters.count, characters[position] == "\"" {
                    field.append("\"")
                    position += 1
                } else {
                    isQuoted = false
                }
            case _ where isQuoted: field.append(character)
            case "\"" where trimmed(field).isEmpty && !wasQuoted:
                field = ""
                isQuoted = true
                wasQuoted = true
            case ",": endField()
            case _ where character.isNewline: endRow()
            case " ", "\t": if !wasQuoted { field.append(character) }
            default:
                guard !wasQuoted else { throw .invalid(.table(line: line)) }
                field.append(character)
            }
        }
        guard !isQuoted else { throw .invalid(.table(line: line)) }
        endRow()
        return rows
    }
}
