import Foundation
import MLS
import Testing

/// The articles in `Sources/MLS/MLS.docc` quote the examples, which run here and, by
/// `tools/interop/mls-alone`, in a program outside this repository.
@Suite struct `The documented examples` {
    private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()

    @Test(arguments: examples.keys.sorted())
    func `run`(name: String) throws {
        try examples[name]?()
    }

    @Test func `are what the articles quote, all of them and nothing else`() throws {
        var snippets: [String: String] = [:]
        for file in try lines(in: "Tests/MLSTests/Examples", suffix: ".swift") {
            var open: (name: String, lines: [String])?
            for line in file {
                let text = line.trimmingCharacters(in: .whitespaces)
                if text.hasPrefix("// snippet: ") {
                    open = (String(text.dropFirst(12)), [])
                } else if text == "// end", let snippet = open {
                    snippets[snippet.name] = dedented(snippet.lines)
                    open = nil
                } else {
                    open?.lines.append(line)
                }
            }
        }
        var quoted: [String] = []
        for file in try lines(in: "Sources/MLS/MLS.docc", suffix: ".md") {
            var open: [String]?
            for line in file {
                if line == "```swift" {
                    open = []
                } else if line == "```", let block = open {
                    quoted.append(block.joined(separator: "\n"))
                    open = nil
                } else {
                    open?.append(line)
                }
            }
        }
        #expect(!snippets.isEmpty)
        for (name, text) in snippets { #expect(quoted.contains(text), "not quoted: \(name)") }
        for block in quoted { #expect(snippets.values.contains(block), "not compiled: \(block)") }
    }

    /// What can be called on a group, a key package or a leaf, by the names in the sources.
    @Test func `show every operation`() throws {
        let pattern = /public (?:mutating |static )*func (\w+)\(/
        var operations: Set<String> = []
        for file in try lines(in: "Sources/MLS/Group", suffix: ".swift") {
            for line in file {
                if let match = line.firstMatch(of: pattern) { operations.insert(String(match.1)) }
            }
        }
        // Asked by the library, or part of an encoding.
        operations.subtract(["accepts", "isSameClient", "encode"])
        operations.formUnion(["greased", "validate", "reference"])
        #expect(operations.count > 20)
        let examples = try lines(in: "Sources/MLS/MLS.docc", suffix: ".md").joined()
            .joined(separator: "\n")
        for operation in operations {
            #expect(examples.contains(".\(operation)("), "no example: \(operation)")
        }
    }

    private func lines(in folder: String, suffix: String) throws -> [[String]] {
        let folder = Self.root.appendingPathComponent(folder)
        return try FileManager.default.contentsOfDirectory(atPath: folder.path)
            .filter { $0.hasSuffix(suffix) }
            .map {
                try String(contentsOf: folder.appendingPathComponent($0), encoding: .utf8)
                    .components(separatedBy: "\n")
            }
    }

    private func dedented(_ lines: [String]) -> String {
        let margin =
            lines.filter { !$0.isEmpty }.map { $0.prefix { $0 == " " }.count }.min() ?? 0
        return lines.map { String($0.dropFirst(margin)) }.joined(separator: "\n")
    }
}
