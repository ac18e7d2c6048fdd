import Foundation
import MLS
import Testing

/// The tables of rules in `protocol/mls-profile.md` against the sources and the tests.
@Suite struct `The tables of rules` {
    private struct Row: Hashable {
        let words: String
        let rule: String
        let files: [String]
        let test: String
    }

    /// A place where a rule is enforced.
    private struct Site: Hashable {
        let rule: String
        let file: String
    }

    private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()

    private func text(_ path: String) throws -> String {
        try String(contentsOf: Self.root.appendingPathComponent(path), encoding: .utf8)
    }

    /// The rows of the tables whose last column names this test, if it is given.
    private func rows(_ test: String) throws -> [Row] {
        try text("protocol/mls-profile.md").components(separatedBy: "\n").compactMap { line in
            guard line.hasPrefix("| §") || line.hasPrefix("| draft") else { return nil }
            let cells = line.components(separatedBy: "|").map {
                $0.trimmingCharacters(in: CharacterSet(charactersIn: " `"))
            }
            guard cells.count == 7, cells[5] == test else { return nil }
            return Row(
                words: cells[2], rule: cells[3],
                files: cells[4].components(separatedBy: ", "), test: cells[5])
        }
    }

    /// Where the sources refuse something for a rule.
    private func sites() throws -> Set<Site> {
        let folder = Self.root.appendingPathComponent("Sources/MLS")
        var sites: Set<Site> = []
        for case let file as String in try #require(
            FileManager.default.enumerator(atPath: folder.path)) where file.hasSuffix(".swift")
        {
            let source = try text("Sources/MLS/" + file)
            for rule in ValidationRule.allCases
            where source.contains(".invalid(.\(rule.rawValue))") {
                sites.insert(Site(rule: rule.rawValue, file: file))
            }
        }
        return sites
    }

    @Test func `have every rule once, with all the files that enforce it`() throws {
        let rows = try rows("ValidationRuleTests")
        #expect(rows.map(\.rule).sorted() == ValidationRule.allCases.map(\.rawValue).sorted())
        let found = Dictionary(grouping: try sites(), by: \.rule)
            .mapValues { Set($0.map(\.file)) }
        for row in rows { #expect(Set(row.files) == found[row.rule], "\(row.rule)") }
    }

    @Test func `have every clause that is tested, and no other`() throws {
        let stated = try rows("Clauses").map { "\($0.words): \($0.rule)" }
        #expect(stated.sorted() == Clause.all.map { "\($0.words): \($0.name)" }.sorted())
    }

    /// A rule's own test breaks it in the first file; in each other a clause does.
    @Test func `leave no place that enforces a rule without its test`() throws {
        let rules = try rows("ValidationRuleTests")
        let clauses = try rows("Clauses")
        let selection = try text("Tests/MLSTests/ProposalSelectionTests.swift")
        let sites = try sites()
        for row in rules {
            var tested = Set(row.files.prefix(1))
            for other in clauses where other.rule == row.rule { tested.formUnion(other.files) }
            if selection.contains(".invalid(.\(row.rule))") {
                tested.insert("Group/ProposalSelection.swift")
            }
            #expect(tested.isSuperset(of: row.files), "\(row.rule)")
        }
        for row in clauses where ValidationRule(rawValue: row.rule) != nil {
            for file in row.files {
                #expect(sites.contains(Site(rule: row.rule, file: file)), "\(row.words)")
            }
        }
    }
}

extension Clause {
    /// How the table calls what the clause is refused with.
    fileprivate var name: String {
        if case .invalid(let rule) = error { return rule.rawValue }
        return "\(error)".replacingOccurrences(of: "MLS.Misuse", with: "")
    }
}
