import Testing

@testable import Terminal

struct KeyDecoderTests {
    @Test(arguments: [
        ("hé你", [Key.text("hé你")]),
        ("\u{1B}[A\u{1B}[B\u{1B}[C\u{1B}[D", [.up, .down, .right, .left]),
        ("\u{1B}OA\u{1B}OH\u{1B}OF", [.up, .home, .end]),
        ("\u{1B}[1;5C\u{1B}[1;3D\u{1B}b\u{1B}f", [.wordRight, .wordLeft, .wordLeft, .wordRight]),
        ("\u{1B}[3~\u{1B}[1~\u{1B}[4~\u{1B}[7~\u{1B}[8~", [.delete, .home, .end, .home, .end]),
        (
            "\u{01}\u{05}\u{0B}\u{15}\u{17}\u{0C}",
            [.home, .end, .killToEnd, .killToStart, .killWord, .clearScreen]
        ),
        ("\u{7F}\u{08}\u{1B}\u{7F}", [.backspace, .backspace, .killWord]),
        ("a\r", [.text("a"), .enter]),
        ("\u{1B}\r\u{1B}[13;2u", [.newline, .newline]),
        ("\u{1B}[200~two\nlines\u{1B}[A\u{1B}[201~x", [.paste("two\nlines\u{1B}[A"), .text("x")]),
        ("\u{1B}[5~\u{1B}[99;99X\u{1B}[[A", [.unknown, .unknown, .unknown]),
        ("\u{03}\u{04}\u{1A}\t", [.interrupt, .endOfInput, .suspend, .tab]),
    ])
    func `octets are keys`(octets: String, keys: [Key]) {
        var decoder = KeyDecoder()
        #expect(decoder.receive(octets.utf8) == keys)
        // The same, octet by octet.
        var slow = KeyDecoder()
        var received: [Key] = []
        for octet in octets.utf8 {
            for key in slow.receive([octet]) {
                if case .text(let more) = key, case .text(let before) = received.last {
                    received[received.count - 1] = .text(before + more)
                } else {
                    received.append(key)
                }
            }
        }
        #expect(received == keys)
    }

    @Test func `broken UTF-8 is replaced and swallows nothing`() {
        var decoder = KeyDecoder()
        #expect(decoder.receive([0xE4, 0xBD, 0x41]) == [.text("\u{FFFD}A")])
        #expect(decoder.receive([0xFF, 0x80, 0x42]) == [.text("\u{FFFD}\u{FFFD}B")])
        #expect(decoder.receive([0xC3, 0x0D]) == [.text("\u{FFFD}"), .enter])
        #expect(decoder.receive([0xC2, 0x9B]) == [.unknown])
    }

    @Test func `Escape alone is given up after a while`() {
        var decoder = KeyDecoder()
        #expect(decoder.receive([0x1B]) == [])
        #expect(decoder.isWaitingForSequence)
        decoder.timeOut()
        #expect(!decoder.isWaitingForSequence)
        #expect(decoder.receive("[A".utf8) == [.text("[A")])
    }

    @Test func `an endless paste is cut, and its end still found`() {
        var decoder = KeyDecoder()
        let much = String(repeating: "x", count: KeyDecoder.maximumPasteByteCount + 5000)
        let keys = decoder.receive(("\u{1B}[200~" + much + "\u{1B}[201~y").utf8)
        #expect(keys.count == 2)
        #expect(keys.last == .text("y"))
        guard case .paste(let text) = keys.first else {
            Issue.record("no paste")
            return
        }
        #expect(text.utf8.count == KeyDecoder.maximumPasteByteCount)
    }

    @Test(arguments: 0..<40)
    func `random octets and keys never trap, and every frame fits`(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        var decoder = KeyDecoder()
        var state = EditorState(commands: ["/help", "/hello", "/quit"])
        for _ in 0..<30 {
            let bytes = (0..<Int.random(in: 0...30, using: &generator)).map { _ in
                // Half of them from the octets that matter.
                Bool.random(using: &generator)
                    ? UInt8.random(in: 0...255, using: &generator)
                    : [
                        0x1B, 0x5B, 0x4F, 0x41, 0x44, 0x7F, 0x17, 0x09, 0x2F, 0xE4, 0xBD, 0xA0,
                        0x0A,
                    ]
                    .randomElement(using: &generator) ?? 0
            }
            for key in decoder.receive(bytes) {
                _ = state.press(key)
                #expect((0...state.characters.count).contains(state.cursor))
                #expect(state.characters == Array(state.text))
            }
            let width = Int.random(in: 0...70, using: &generator)
            let rows = Int.random(in: 0...6, using: &generator)
            let frame = state.frame(
                prompt: "> ", status: rows > 2 ? "status of some length" : nil, width: width,
                maximumRows: rows)
            #expect(frame.rows.allSatisfy { DisplayWidth.of($0.text) < max(4, width) })
            #expect(frame.rows.indices.contains(frame.cursorRow))
            #expect(frame.cursorColumn < max(4, width))
        }
    }
}
