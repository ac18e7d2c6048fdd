public import Foundation

/// Times as people read them, in their own time zone, and as programs do.
public enum TimeText {
    /// `2026-11-21 14:02`, local time.
    public static func stamp(_ date: Date) -> String { stamp(date, in: .current) }

    /// `14:02`, local time.
    public static func clock(_ date: Date) -> String { clock(date, in: .current) }

    /// `2026-11-21`, local time.
    public static func day(_ date: Date) -> String { String(stamp(date).prefix(10)) }

    /// `2026-11-21T13:02:00Z` (RFC 3339).
    public static func rfc3339(_ date: Date) -> String {
        date.formatted(.iso8601)
    }

    /// How long something takes: `40 s`, `23 min`, `2 h 5 min`, `3 days`.
    public static func span(_ seconds: TimeInterval) -> String {
        guard seconds.isFinite, seconds > 0, seconds < 1e10 else { return "0 s" }
        let seconds = Int(seconds)
        switch seconds {
        case ..<60: return "\(seconds) s"
        case ..<3600: return "\(seconds / 60) min"
        case ..<86_400:
            let minutes = seconds % 3600 / 60
            return minutes == 0 ? "\(seconds / 3600) h" : "\(seconds / 3600) h \(minutes) min"
        case ..<172_800: return "1 day"
        default: return "\(seconds / 86_400) days"
        }
    }

    static func stamp(_ date: Date, in zone: TimeZone) -> String {
        let parts = calendar(zone).dateComponents([.year, .month, .day], from: date)
        let day = [pad(parts.year, 4), pad(parts.month, 2), pad(parts.day, 2)]
        return day.joined(separator: "-") + " " + clock(date, in: zone)
    }

    static func clock(_ date: Date, in zone: TimeZone) -> String {
        let parts = calendar(zone).dateComponents([.hour, .minute], from: date)
        return pad(parts.hour, 2) + ":" + pad(parts.minute, 2)
    }

    static func calendar(_ zone: TimeZone) -> Calendar {
        var calendar = Calendar(identifier: .gregorian)
        calendar.timeZone = zone
        return calendar
    }

    private static func pad(_ number: Int?, _ count: Int) -> String {
        let digits = String(number ?? 0)
        return String(repeating: "0", count: max(0, count - digits.count)) + digits
    }
}
