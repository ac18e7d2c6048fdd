import Testing

@testable import Terminal

struct EditorStateTests {
    /// Types `octets` into a fresh editor; what it asks for, and what it holds.
    func type(
        _ octets: String, commands: [String] = []
    ) -> (state: EditorState, effects: [EditorState.Effect]) {
        var decoder = KeyDecoder()
        var state = EditorState(commands: commands)
        let effects = decoder.receive(octets.utf8).map { state.press($0) }
        return (state, effects)
    }

    @Test(arguments: [
        ("helo\u{1B}[Dl", "hello", 4),
        ("one two\u{17}", "one ", 4),
        ("one two\u{01}\u{0B}", "", 0),
        ("abc\u{1B}[D\u{15}", "c", 0),
        ("one two\u{1B}b\u{1B}b!", "!one two", 1),
        ("ab\u{7F}\u{7F}\u{7F}", "", 0),
        ("你好\u{1B}[D\u{7F}", "好", 0),
        ("e\u{0301}x\u{7F}", "e\u{0301}", 1),
        ("a\u{0301}\u{1B}[D\u{1B}[3~", "", 0),
        ("one two\u{17}\u{19}\u{19}", "one twotwo", 10),
        ("ab\u{14}", "ba", 2),
        ("abc\u{01}\u{04}", "bc", 0),
        ("\u{1F469}\u{1B}[200~\u{200D}\u{1F52C}\u{1B}[201~", "\u{1F469}\u{200D}\u{1F52C}", 1),
        ("ab\u{03}c", "c", 1),
    ])
    func `editing keys edit`(octets: String, text: String, cursor: Int) {
        let (state, _) = type(octets)
        #expect(state.text == text)
        #expect(state.cursor == cursor)
    }

    @Test func `Enter submits and empties`() {
        let (state, effects) = type("hi\rho")
        #expect(effects == [.redraw, .submit("hi"), .redraw])
        #expect(state.text == "ho")
    }

    @Test func `pasted line feeds make one message, sent only by Enter`() {
        let (_, effects) = type("\u{1B}[200~rm -rf /\r\nnow\u{1B}[2J\ttab\n\u{1B}[201~\r")
        #expect(effects == [.redraw, .submit("rm -rf /\nnow[2J    tab")])
    }

    @Test func `history goes up and down and keeps the draft`() {
        var (state, _) = type("one\rtwo\rtwo\r  \rdra")
        func press(_ key: Key) -> String {
            _ = state.press(key)
            return state.text
        }
        #expect(press(.up) == "two")
        #expect(press(.up) == "one")
        #expect(state.press(.up) == .bell)
        #expect(press(.down) == "two")
        #expect(press(.down) == "dra")
        #expect(state.press(.down) == .bell)
    }

    @Test func `Tab completes commands only`() {
        let commands = ["/help", "/hello", "/quit"]
        #expect(type("/q\t", commands: commands).state.text == "/quit ")
        #expect(type("/h\t", commands: commands).state.text == "/hel")
        #expect(type("/hel\t", commands: commands).effects.last == .offer(["/hello", "/help"]))
        #expect(type("q\t", commands: commands).effects.last == .bell)
        #expect(type("/x\t", commands: commands).effects.last == .bell)
        #expect(type("/\t", commands: []).effects.last == .bell)
    }

    @Test func `Ctrl-C and Ctrl-D mean the end only when nothing is typed`() {
        #expect(type("\u{03}").effects == [.interrupt])
        #expect(type("\u{04}").effects == [.endOfInput])
        #expect(type("a\u{03}").effects == [.redraw, .redraw])
        #expect(type("a\u{04}").effects == [.redraw, .bell])
    }

    @Test func `more than a message can hold is refused`() {
        var state = EditorState()
        let much = String(repeating: "x", count: EditorState.maximumByteCount)
        #expect(state.press(.paste(much)) == .redraw)
        #expect(state.press(.text("y")) == .bell)
        #expect(state.text.utf8.count == EditorState.maximumByteCount)
    }
}

struct EditorFrameTests {
    func frame(
        _ text: String, left: Int = 0, width: Int = 11, rows: Int = 5, status: String? = nil
    ) -> EditorFrame {
        var state = EditorState()
        _ = state.press(.paste(text))
        for _ in 0..<left { _ = state.press(.left) }
        return state.frame(prompt: "> ", status: status, width: width, maximumRows: rows)
    }

    @Test func `long input wraps under the prompt`() {
        let shown = frame("abcdefghijkl")
        #expect(shown.rows.map(\.text) == ["> abcdefgh", "  ijkl"])
        #expect((shown.cursorRow, shown.cursorColumn) == (1, 6))
    }

    @Test func `a full row moves the cursor to the next one`() {
        let shown = frame("abcdefgh")
        #expect(shown.rows.map(\.text) == ["> abcdefgh", "  "])
        #expect((shown.cursorRow, shown.cursorColumn) == (1, 2))
    }

    @Test func `wide characters are never split`() {
        let shown = frame("你好你好你", left: 1)
        #expect(shown.rows.map(\.text) == ["> 你好你好", "  你"])
        #expect((shown.cursorRow, shown.cursorColumn) == (1, 2))
    }

    @Test func `line feeds and hidden characters are visible`() {
        let shown = frame("a\nb\u{202E}")
        #expect(shown.rows.map(\.text) == ["> a", "  b", "  <U+202E>", "  "])
    }

    @Test func `a very long input shows the rows around the cursor`() {
        let text = String((0..<10).flatMap { Array(repeating: Character("\($0)"), count: 8) })
        let shown = frame(text, rows: 3, status: "ok")
        #expect(shown.rows.map(\.text) == ["ok", "  99999999", "  "])
        #expect(shown.cursorRow == 2)
        let first = frame(text, left: 79, rows: 3, status: "ok")
        #expect(first.rows.map(\.text) == ["ok", "> 00000000", "  11111111"])
        #expect((first.cursorRow, first.cursorColumn) == (1, 3))
    }

    @Test func `painting replaces what was drawn and puts the cursor back`() {
        var painter = Painter()
        let style = Style(isColoured: false)
        let first = painter.paint(frame("abcdefghij", left: 9, status: "s"), style: style)
        #expect(
            first == "\u{1B}[?25l\r\u{1B}[Js\r\n> abcdefgh\r\n  ij\u{1B}[1A\r\u{1B}[3C\u{1B}[?25h")
        #expect(painter.erase() == "\u{1B}[1A\r\u{1B}[J")
        #expect(painter.erase() == "\r\u{1B}[J")
    }

    @Test func `after the terminal narrowed, all rows that were drawn are erased`() {
        var painter = Painter()
        _ = painter.paint(
            frame("abcdefghij", status: "0123456789"), style: Style(isColoured: false))
        painter.resize(to: 5)
        // Two rows of status, two of the first row, then the cursor in the third.
        #expect(painter.erase() == "\u{1B}[4A\r\u{1B}[J")
    }
}
