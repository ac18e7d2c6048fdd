private import Credentials
public import FoundationEssentials

/// A day of the Gregorian calendar, without time or zone: 1900 to 9999.
public struct CalendarDay: Hashable, Comparable, Sendable, CustomStringConvertible {
    static let lastUnixSecond: Int64 = 253_402_300_799

    private let date: CivilDate

    /// 1900...9999.
    public var year: Int { date.year }
    /// 1...12.
    public var month: Int { date.month }
    /// 1...31.
    public var day: Int { date.day }

    /// Reads `YYYY-MM-DD`; nothing for a day that doesn't exist.
    public init?(_ text: String) {
        let octets = Array(text.utf8)
        guard octets.count == 10, octets[4] == UInt8(ascii: "-"), octets[7] == UInt8(ascii: "-")
        else { return nil }
        func number(_ range: Range<Int>) -> Int? {
            var value = 0
            for octet in octets[range] {
                guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(octet) else { return nil }
                value = value * 10 + Int(octet - UInt8(ascii: "0"))
            }
            return value
        }
        guard let year = number(0..<4), let month = number(5..<7), let day = number(8..<10),
            (1900...9999).contains(year), (1...12).contains(month), (1...31).contains(day)
        else { return nil }
        date = CivilDate(year: year, month: month, day: day)
        // A day such as 30 February comes back as another one.
        guard CalendarDay(daysSince1970: daysSince1970) == self else { return nil }
    }

    /// The day of a moment, at a place that is so many seconds ahead of UTC.
    public init?(_ date: Date, offsetSeconds: Int = 0) {
        let seconds = date.timeIntervalSince1970.rounded(.down)
        guard let whole = Int64(exactly: seconds), abs(offsetSeconds) <= 86_400,
            (-2_208_988_800...Self.lastUnixSecond).contains(whole)
        else { return nil }
        let local = whole + Int64(offsetSeconds)
        self.init(daysSince1970: Int((Double(local) / 86_400).rounded(.down)))
        guard (1900...9999).contains(year) else { return nil }
    }

    private init(daysSince1970 days: Int) {
        date = CivilDate(daysSince1970: days)
    }

    /// How many days after 1 January 1970.
    public var daysSince1970: Int { date.daysSince1970 }

    /// The day so many days later.
    public func adding(days: Int) -> CalendarDay {
        CalendarDay(daysSince1970: daysSince1970 + days)
    }

    /// `YYYY-MM-DD`.
    public var description: String {
        "\(year)-\(Self.two(month))-\(Self.two(day))"
    }

    /// The order of the calendar.
    public static func < (left: Self, right: Self) -> Bool {
        left.daysSince1970 < right.daysSince1970
    }

    private static func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }

    /// A moment as `YYYY-MM-DDTHH:MM:SSZ`, FHIR's instant.
    static func instant(unixSeconds: Int64) -> String {
        let day = CalendarDay(daysSince1970: Int(unixSeconds / 86_400))
        let second = Int(unixSeconds % 86_400)
        let clock = [second / 3600, second / 60 % 60, second % 60].map(two)
        return "\(day)T\(clock.joined(separator: ":"))Z"
    }

    /// The moment of such a text: Unix seconds.
    static func unixSeconds(instant text: String) -> Int64? {
        guard text.utf8.count == 20, let day = CalendarDay(String(text.prefix(10))) else {
            return nil
        }
        let clock = text.dropFirst(11).dropLast().split(
            separator: ":", omittingEmptySubsequences: false
        ).compactMap { Int64($0) }
        guard clock.count == 3 else { return nil }
        let seconds = Int64(day.daysSince1970) * 86_400 + clock[0] * 3600 + clock[1] * 60 + clock[2]
        return instant(unixSeconds: max(0, seconds)) == text ? seconds : nil
    }
}
