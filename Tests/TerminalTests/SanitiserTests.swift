import Testing

@testable import Terminal

struct SanitiserTests {
    @Test(arguments: [
        ("plain Grüße 你好 ok", "plain Grüße 你好 ok"),
        ("\u{1B}[2Jgone", "␛[2Jgone"),
        ("a\u{07}b\u{7F}c", "a␇b␡c"),
        ("\u{9B}31m", "<U+009B>31m"),
        ("a\u{202E}cba", "a<U+202E>cba"),
        ("a\u{2066}b\u{2069}\u{200F}", "a<U+2066>b<U+2069><U+200F>"),
        ("zero\u{200B}width\u{FEFF}", "zero<U+200B>width<U+FEFF>"),
        ("hi\u{E0041}\u{E007F}", "hi<U+E0041><U+E007F>"),
        ("two\nlines", "two␊lines"),
        ("return\rover", "return␍over"),
        ("\u{2028}x\u{2029}\u{85}", "<U+2028>x<U+2029><U+0085>"),
        ("a\u{AD}b\u{3164}c", "a<U+00AD>b<U+3164>c"),
        ("\u{E000}\u{10FFFF}", "<U+E000><U+10FFFF>"),
        ("tab\there", "tab    here"),
        ("pay\u{200D}pal", "pay<U+200D>pal"),
        ("\u{0301}x", "<U+0301>x"),
    ])
    func `what a terminal would obey or a person couldn't see is shown`(
        text: String, shown: String
    ) {
        #expect(Sanitiser.line(text) == shown)
    }

    @Test(arguments: [
        "\u{1F469}\u{200D}\u{1F52C}",  // woman scientist, joined
        "\u{2764}\u{FE0F}",  // heart, emoji presentation
        "می\u{200C}خواهم",  // Persian with its non-joiner
        "क\u{094D}\u{200D}ष",  // Devanagari with a joiner
        "e\u{0301}\u{0323}", "שָׁלוֹם", "1\u{FE0F}\u{20E3}",
    ])
    func `text in any script stays as it is`(text: String) {
        #expect(Sanitiser.line(text) == text)
    }

    @Test func `a pile of marks doesn't grow into other lines`() {
        let pile = "a" + String(repeating: "\u{0301}", count: 40)
        let shown = Sanitiser.line(pile)
        #expect(shown.unicodeScalars.filter { $0 == "\u{0301}" }.count == 6)
        #expect(shown.contains("<U+0301>"))
    }

    @Test func `lines are broken at line feeds only`() {
        #expect(Sanitiser.lines("a\r\nb\n\nc\rd") == ["a", "b", "", "c␍d"])
        #expect(Sanitiser.lines("") == [""])
    }

    @Test func `nothing that was sanitised holds a control character`() {
        var generator = SeededGenerator(seed: 7)
        for _ in 0..<300 {
            let scalars = (0..<40).compactMap { _ in
                Unicode.Scalar(UInt32.random(in: 0...0x10FFFF, using: &generator))
            }
            var text = String.UnicodeScalarView()
            text.append(contentsOf: scalars)
            let shown = Sanitiser.line(String(text))
            #expect(
                shown.unicodeScalars.allSatisfy { !Sanitiser.isInvisible($0) || $0 == "\u{200D}" })
        }
    }
}

/// SplitMix64: the same numbers for the same seed, everywhere.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) {
        state = seed
    }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
