public import ArgumentParser
public import Foundation

/// A time on the command line.
///
/// `2026-11-22T14:30Z` (RFC 3339, seconds and offset optional), `2026-11-22 14:30`, `2026-11-22`,
/// `14:30` (the next one), `today 14:30`, `tomorrow 14:30`, `+90m`, `+2h`, `+30d`; local time unless
/// an offset is given.
public struct TimeArgument: ExpressibleByArgument, Sendable, Equatable {
    /// The instant meant.
    public let date: Date

    /// Reads an argument; nil if it isn't a time, which ArgumentParser reports.
    public init?(argument: String) {
        self.init(argument, now: Date(), zone: .current)
    }

    init?(_ text: String, now: Date, zone: TimeZone) {
        let text = text.trimmingPrefix(while: \.isWhitespace).lowercased()
        let read =
            Self.relative(text, now: now) ?? Self.clockTime(text, now: now, zone: zone)
            ?? Self.absolute(text, zone: zone)
        guard let read else { return nil }
        date = read
    }

    private static func relative(_ text: String, now: Date) -> Date? {
        guard text.first == "+", let unit = text.last, text.utf8.count <= 8,
            let count = Int(text.dropFirst().dropLast()), count >= 0
        else { return nil }
        let seconds: Int
        switch unit {
        case "s": seconds = 1
        case "m": seconds = 60
        case "h": seconds = 3600
        case "d": seconds = 86_400
        case "w": seconds = 604_800
        default: return nil
        }
        return now.addingTimeInterval(TimeInterval(count * seconds))
    }

    private static func clockTime(_ text: String, now: Date, zone: TimeZone) -> Date? {
        var words = text.split(separator: " ")
        var named: Int?
        if words.count == 2 {
            if words[0] == "today" { named = 0 }
            if words[0] == "tomorrow" { named = 1 }
            if named == nil { return nil }
            words.removeFirst()
        }
        guard words.count == 1, let (hour, minute, second) = clock(words[0]) else { return nil }
        let calendar = TimeText.calendar(zone)
        func time(inDays days: Int) -> Date? {
            guard let day = calendar.date(byAdding: .day, value: days, to: now) else { return nil }
            var parts = calendar.dateComponents([.year, .month, .day], from: day)
            (parts.hour, parts.minute, parts.second) = (hour, minute, second)
            return calendar.date(from: parts)
        }
        if let named { return time(inDays: named) }
        guard let today = time(inDays: 0) else { return nil }
        return today > now ? today : time(inDays: 1)
    }

    private static func absolute(_ text: String, zone: TimeZone) -> Date? {
        let day = text.prefix(10)
        guard let parts = DayArgument.parts(of: day) else { return nil }
        var rest = text.dropFirst(10)
        var zone = zone
        var time = (hour: 0, minute: 0, second: 0)
        if !rest.isEmpty {
            guard let separator = rest.popFirst(), separator == "t" || separator == " " else {
                return nil
            }
            if rest.last == "z" {
                guard let utc = TimeZone(secondsFromGMT: 0) else { return nil }
                zone = utc
                rest.removeLast()
            } else if let sign = rest.lastIndex(where: { $0 == "+" || $0 == "-" }) {
                guard let (hours, minutes, _) = clock(rest[rest.index(after: sign)...]) else {
                    return nil
                }
                let seconds = (hours * 60 + minutes) * 60 * (rest[sign] == "-" ? -1 : 1)
                guard let offset = TimeZone(secondsFromGMT: seconds) else { return nil }
                zone = offset
                rest = rest[..<sign]
            }
            guard let read = clock(rest) else { return nil }
            time = read
        }
        let components = DateComponents(
            year: parts.year, month: parts.month, day: parts.day,
            hour: time.hour, minute: time.minute, second: time.second)
        return TimeText.calendar(zone).date(from: components)
    }

    /// `14:30` or `14:30:05`.
    private static func clock(
        _ text: some StringProtocol
    ) -> (hour: Int, minute: Int, second: Int)? {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard (2...3).contains(parts.count),
            parts.allSatisfy({ (1...2).contains($0.count) && $0.allSatisfy(\.isASCIIDigit) }),
            let hour = Int(parts[0]), let minute = Int(parts[1]), hour < 24, minute < 60
        else { return nil }
        guard parts.count == 3 else { return (hour, minute, 0) }
        guard let second = Int(parts[2]), second < 60 else { return nil }
        return (hour, minute, second)
    }
}

/// A day of the calendar on the command line, `YYYY-MM-DD`.
public struct DayArgument: ExpressibleByArgument, Sendable, Equatable {
    /// The day as it was given, which is a real day.
    public let text: String

    /// Reads an argument; nil if there is no such day.
    public init?(argument: String) {
        guard Self.parts(of: argument) != nil else { return nil }
        text = argument
    }

    static func parts(of text: some StringProtocol) -> (year: Int, month: Int, day: Int)? {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.map(\.count) == [4, 2, 2],
            parts.allSatisfy({ $0.allSatisfy(\.isASCIIDigit) }),
            let year = Int(parts[0]), let month = Int(parts[1]), let day = Int(parts[2]),
            year > 1582, (1...12).contains(month)
        else { return nil }
        let isLeapYear = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
        let lengths = [31, isLeapYear ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
        guard (1...lengths[month - 1]).contains(day) else { return nil }
        return (year, month, day)
    }
}

extension Character {
    fileprivate var isASCIIDigit: Bool { ("0"..."9").contains(self) && isASCII }
}
