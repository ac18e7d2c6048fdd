public import FoundationEssentials

/// A day of the Gregorian calendar, without time or zone: 1900 to 9999.
public struct CalendarDay: Hashable, Comparable, Sendable, CustomStringConvertible {
    static let lastUnixSecond: Int64 = 253_402_300_799

    /// 1900...9999.
    public let year: Int
    /// 1...12.
    public let month: Int
    /// 1...31.
    public let day: Int

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
        self.init(year: year, month: month, day: day)
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

    private init(year: Int, month: Int, day: Int) {
        self.year = year
        self.month = month
        self.day = day
    }

    /// Days since 1 March of the year 0, in eras of 400 years.
    private init(daysSince1970 days: Int) {
        let shifted = days + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra =
            (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        day = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
        year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    }

    /// How many days after 1 January 1970.
    public var daysSince1970: Int {
        let shiftedYear = month <= 2 ? year - 1 : year
        let era = shiftedYear / 400
        let yearOfEra = shiftedYear - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return era * 146_097 + dayOfEra - 719_468
    }

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
