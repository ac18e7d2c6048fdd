import Foundation
import TestSupport
import Testing

@testable import Prescriptions

@Suite struct `JSON` {
    @Test(arguments: [
        "{}", "[]", "\"\"", "0", "-0", "1.50", "1e5", "true", "false", "null",
        "{\"a\":{\"a\":[{\"a\":1},{\"a\":2}]},\"b\":\"\u{00E4}\u{1F600}\"}",
    ])
    func `a minified text comes back octet for octet`(text: String) throws {
        #expect(try JSONParser.parse(Array(text.utf8)).minified == Array(text.utf8))
    }

    @Test(arguments: [
        "", " ", "{", "}", "[1,]", "{\"a\":1,}", "{\"a\"}", "{a:1}", "{'a':1}", "01", "1.", ".5",
        "+1", "1e", "--1", "NaN", "tru", "truex", "nul", "\"\\x\"", "\"\\u12\"", "\"\\ud800\"",
        "\"\\ud800\\u0041\"", "\"\\udc00\"", "\"\n\"", "\"a", "1 2", "{}{}", "[1 2]", "// a\n1",
        "\u{FEFF}{}", "{\"a\":1 \"b\":2}",
    ])
    func `what isn't JSON is refused`(text: String) {
        #expect(throws: JSONParser.Failure.self) { try JSONParser.parse(Array(text.utf8)) }
    }

    @Test(arguments: [
        "{\"a\":1,\"a\":1}", "{\"a\":1,\"\\u0061\":2}", "[{\"b\":{\"x\":1,\"y\":2,\"x\":3}}]",
        "{\"\":1,\"\":2}", "{\"\\u00e4\":1,\"a\\u0308\":2}",
    ])
    func `a name that occurs twice is refused, however it is written`(text: String) throws {
        #expect {
            try JSONParser.parse(Array(text.utf8))
        } throws: { error in
            if case JSONParser.Failure.doubledName = error { true } else { false }
        }
    }

    @Test func `escapes mean their characters`() throws {
        let text = #""\"\\\/\b\f\n\r\t\u00e4\ud83d\ude00""#
        #expect(
            try JSONParser.parse(Array(text.utf8))
                == .string("\"\\/\u{8}\u{C}\n\r\tä😀"))
    }

    @Test func `depth, size and broken UTF-8 are bounded`() throws {
        func nested(_ depth: Int) -> [UInt8] {
            Array(
                (String(repeating: "[", count: depth) + String(repeating: "]", count: depth)).utf8)
        }
        _ = try JSONParser.parse(nested(JSONParser.maximumDepth))
        #expect(throws: JSONParser.Failure.tooDeep) {
            try JSONParser.parse(nested(JSONParser.maximumDepth + 1))
        }
        #expect(throws: JSONParser.Failure.tooDeep) { try JSONParser.parse(nested(30_000)) }
        #expect(throws: JSONParser.Failure.tooLong) {
            try JSONParser.parse([UInt8](repeating: 0x20, count: 65_537))
        }
        for broken in [
            [0x22, 0xC3, 0x22], [0x22, 0xED, 0xA0, 0x80, 0x22], [0x22, 0xC0, 0x80, 0x22],
        ]
            as [[UInt8]]
        {
            #expect(throws: JSONParser.Failure.notUTF8) { try JSONParser.parse(broken) }
        }
    }

    @Test func `a text cut off anywhere is refused`() throws {
        let text = Array(PrescriptionDraft.exampleJSON.utf8.dropLast())
        _ = try JSONParser.parse(text)
        for length in 0..<text.count {
            #expect(throws: JSONParser.Failure.self) {
                try JSONParser.parse(Array(text.prefix(length)))
            }
        }
    }

    @Test func `random octets never end the process`() {
        var random = SeededGenerator(seed: 3)
        let alphabet = Array("{}[]\",:\\u0123eE+-.truefalsn \u{00E4}".utf8)
        for _ in 0..<2000 {
            let count = Int.random(in: 0...40, using: &random)
            let text = (0..<count).map { _ in
                alphabet[Int.random(in: 0..<alphabet.count, using: &random)]
            }
            _ = try? JSONParser.parse(text)
        }
    }
}
