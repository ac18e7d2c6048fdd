import Foundation
import Testing

@testable import Terminal

struct TextTests {
    @Test(arguments: [
        ("abc", 3), ("你好", 4), ("e\u{0301}", 1), ("\u{1F600}", 2), ("", 0), ("ｆｕｌｌ", 8), ("ß", 1),
    ])
    func `width is counted in columns`(text: String, columns: Int) {
        #expect(DisplayWidth.of(text) == columns)
    }

    @Test func `text is cut at columns and says so`() {
        #expect("abcdef".fitted(to: 4) == "abc…")
        #expect("你好吗".fitted(to: 4) == "你…")
        #expect("abc".fitted(to: 3) == "abc")
        #expect("abc".fitted(to: 0) == "")
    }

    @Test(arguments: 2...20)
    func `wrapped lines fit and lose nothing`(width: Int) {
        let text = "the quick brown fox 你好世界 jumps_over_a_very_long_word ok"
        let lines = TextLayout.wrap(text, width: width)
        #expect(lines.allSatisfy { DisplayWidth.of($0) <= width })
        #expect(
            lines.joined().filter { !$0.isWhitespace } == text.filter { !$0.isWhitespace })
    }

    @Test func `the first line may have less room`() {
        #expect(TextLayout.wrap("aa bb cc dd ee", width: 8, first: 5) == ["aa bb", "cc dd ee"])
    }

    @Test func `a table fits the width and its last column gives way`() {
        var table = Table(["ID", "STATE", "WITH"])
        table.add(["abcd", "open", "Dr. Ada Lovelace-Byron"])
        table.add(["efghij", "closing", "你好"])
        let style = Style(isColoured: false)
        #expect(
            table.render(width: 30, style: style) == [
                "ID      STATE    WITH",
                "abcd    open     Dr. Ada Love…",
                "efghij  closing  你好",
            ])
        #expect(table.render(width: 200, style: style)[1].hasSuffix("Lovelace-Byron"))
    }

    @Test func `fields are aligned and wrapped under their value`() {
        let lines = FieldList.render(
            [("name", "Ada"), ("fingerprint", "aaaa bbbb cccc dddd eeee ffff")],
            width: 34, style: Style(isColoured: false))
        #expect(
            lines == [
                "name:         Ada", "fingerprint:  aaaa bbbb cccc dddd", "              eeee ffff",
            ])
    }

    @Test func `colour disappears when it isn't wanted`() {
        #expect(Style(isColoured: false).red("x") == "x")
        #expect(Style(isColoured: true).red("x") == "\u{1B}[31mx\u{1B}[0m")
    }

    @Test func `JSON is for programs and harmless on a terminal`() throws {
        struct Row: Encodable {
            let sentAt: Date
            let key: Data
            let text: String
            let missing: String?
        }
        let row = Row(
            sentAt: Date(timeIntervalSince1970: 1_790_000_000), key: Data([0xFB, 0xFF]),
            text: "a/\u{1B}[0m\u{202E}é\n\u{E0041}\u{9B}", missing: nil)
        let json = try JSONText.encode(row)
        #expect(
            json
                == #"{"key":"-_8","sentAt":"2026-09-21T14:13:20Z","#
                + #""text":"a/\u001b[0m\u202eé\n\udb40\udc41\u009b"}"#)
        let read = try #require(
            JSONSerialization.jsonObject(with: Data(json.utf8)) as? [String: Any])
        #expect(read["text"] as? String == row.text)
    }
}

struct TimeTests {
    let zone = TimeZone(identifier: "Europe/Berlin") ?? .current
    /// 2026-11-21 15:00 in Berlin.
    let now = Date(timeIntervalSince1970: 1_795_269_600)

    @Test(arguments: [
        ("2026-11-22T14:30Z", "2026-11-22T14:30:00Z"),
        ("2026-11-22t14:30:05+02:00", "2026-11-22T12:30:05Z"),
        ("2026-11-22 14:30", "2026-11-22T13:30:00Z"),
        ("2026-07-01", "2026-06-30T22:00:00Z"),
        ("16:00", "2026-11-21T15:00:00Z"),
        ("14:30", "2026-11-22T13:30:00Z"),
        ("today 14:30", "2026-11-21T13:30:00Z"),
        ("Tomorrow 09:05", "2026-11-22T08:05:00Z"),
        ("+90m", "2026-11-21T15:30:00Z"),
        ("+2h", "2026-11-21T16:00:00Z"),
        ("+30d", "2026-12-21T14:00:00Z"),
    ])
    func `times are read as people write them`(text: String, instant: String) {
        let read = TimeArgument(text, now: now, zone: zone)
        #expect(read.map { TimeText.rfc3339($0.date) } == instant)
    }

    @Test(arguments: [
        "", "soon", "25:00", "2026-02-30", "2026-13-01 10:00", "+99999999d", "+-5m", "14", "14:3a",
        "2026-11-22T", "2026-11-22 14:30 x", "tomorrow", "٢٠٢٦-١١-٢٢", "+9223372036854775807w",
        "2026-11-22T14:30+", "-5m", "+m",
    ])
    func `what is no time is refused`(text: String) {
        #expect(TimeArgument(text, now: now, zone: zone) == nil)
    }

    @Test func `times are shown in local time`() {
        #expect(TimeText.stamp(now, in: zone) == "2026-11-21 15:00")
        #expect(TimeText.clock(now, in: zone) == "15:00")
    }

    @Test(arguments: [
        (40.0, "40 s"), (1400, "23 min"), (7500, "2 h 5 min"), (7200, "2 h"), (90_000, "1 day"),
        (300_000, "3 days"), (-5, "0 s"), (.infinity, "0 s"), (.nan, "0 s"),
    ])
    func `spans are short`(seconds: Double, text: String) {
        #expect(TimeText.span(seconds) == text)
    }
}
