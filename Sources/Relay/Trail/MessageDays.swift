import RelayProtocol

/// From which message number on each day began: enough to say how old the oldest message is,
/// without a time beside any message.
struct MessageDays: Equatable, Sendable {
    private var marks: [(day: Day, first: UInt64)] = []
    private static let limit = 500

    static func == (left: Self, right: Self) -> Bool { left.encoded == right.encoded }

    init() {}

    /// Reads what `encoded` wrote; what isn't whole is left out.
    init(_ octets: [UInt8]) {
        for start in stride(from: 0, to: octets.count - octets.count % 12, by: 12) {
            let day = octets[start..<start + 4].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
            marks.append(
                (Day(rawValue: day), UInt64(bigEndianOctets: octets[start + 4..<start + 12])))
        }
    }

    var encoded: [UInt8] {
        marks.flatMap { mark in
            UInt64(mark.day.rawValue).bigEndianOctets.suffix(4) + mark.first.bigEndianOctets
        }
    }

    /// Notes the first number of a new day; false if nothing changed.
    ///
    /// Days that haven't come are those of a clock that was ahead, unless today would be before all
    /// days: then the clock is behind, and what is known stays.
    mutating func note(day: Day, nextMessage: UInt64) -> Bool {
        if let first = marks.first, first.day > day { return false }
        let before = marks.count
        marks.removeAll { $0.day > day }
        if let last = marks.last, last.day == day { return marks.count < before }
        marks.append((day, nextMessage))
        if marks.count > Self.limit { marks.removeFirst(marks.count - Self.limit) }
        return true
    }

    /// The day on which a message came; the first day known for one that is older.
    func day(of number: UInt64) -> Day? {
        (marks.last { $0.first <= number } ?? marks.first)?.day
    }
}
