import Foundation
import MLS
import Testing

/// The table of rules in `protocol/mls-profile.md` against the sources.
@Suite struct `The table of rules` {
    private struct Row {
        let rule: String
        let files: Set<String>
        let test: String
    }

    private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()

    private func text(_ path: String) throws -> String {
        try String(contentsOf: Self.root.appendingPathComponent(path), encoding: .utf8)
    }

    private func rows() throws -> [Row] {
        try text("protocol/mls-profile.md").components(separatedBy: "\n").compactMap { line in
            guard line.hasPrefix("| §") else { return nil }
            let cells = line.components(separatedBy: "|").map {
                $0.trimmingCharacters(in: CharacterSet(charactersIn: " `"))
            }
            guard cells.count == 7 else { return nil }
            return Row(
                rule: cells[3], files: Set(cells[4].components(separatedBy: ", ")), test: cells[5])
        }
    }

    @Test func `has every rule once`() throws {
        let rules = try rows().map(\.rule)
        #expect(rules.sorted() == ValidationRule.allCases.map(\.rawValue).sorted())
    }

    @Test func `names the files that enforce a rule, all of them`() throws {
        let folder = Self.root.appendingPathComponent("Sources/MLS")
        var found: [String: Set<String>] = [:]
        for case let file as String in try #require(
            FileManager.default.enumerator(atPath: folder.path)) where file.hasSuffix(".swift")
        {
            let source = try text("Sources/MLS/" + file)
            for rule in ValidationRule.allCases
            where source.contains(".invalid(.\(rule.rawValue))") {
                found[rule.rawValue, default: []].insert(file)
            }
        }
        for row in try rows() { #expect(row.files == found[row.rule], "\(row.rule)") }
    }

    @Test func `names tests that exist`() throws {
        for row in try rows() {
            let source = try text("Tests/MLSTests/\(row.test).swift")
            #expect(source.contains(".\(row.rule)"), "\(row.rule)")
        }
    }
}
