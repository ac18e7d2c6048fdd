internal import FoundationEssentials
internal import SwiftASN1

/// `Time` of X.509: UTCTime up to 2049, GeneralizedTime after that (RFC 5280 §4.1.2.5).
struct ASN1Time: DERParseable, DERSerializable, Hashable, Sendable {
    /// Whole seconds since 1970 UTC.
    let unixSeconds: Int64

    /// Years that either form can say, and with them every number below stays small.
    private static let range = -62_135_596_800...253_402_300_799 as ClosedRange<Int64>

    init(_ date: Date) throws {
        guard let seconds = Int64(exactly: date.timeIntervalSince1970.rounded(.down)),
            Self.range.contains(seconds)
        else { throw ASN1Error.invalidASN1Object(reason: "time out of range") }
        unixSeconds = seconds
    }

    init(derEncoded node: ASN1Node) throws {
        switch node.identifier {
        case .utcTime:
            let time = try UTCTime(derEncoded: node)
            unixSeconds = Self.seconds(
                time.year, time.month, time.day, time.hours, time.minutes, time.seconds)
        case .generalizedTime:
            let time = try GeneralizedTime(derEncoded: node)
            guard time.rawFractionalSeconds.isEmpty else {
                throw ASN1Error.invalidASN1Object(reason: "fractional seconds")
            }
            unixSeconds = Self.seconds(
                time.year, time.month, time.day, time.hours, time.minutes, time.seconds)
        default:
            throw ASN1Error.unexpectedFieldType(node.identifier)
        }
    }

    var date: Date { Date(timeIntervalSince1970: TimeInterval(unixSeconds)) }

    func serialize(into coder: inout DER.Serializer) throws {
        let days = unixSeconds.flooredQuotient(86_400)
        let rest = Int(unixSeconds - days * 86_400)
        let (year, month, day) = Self.civil(fromDays: Int(days))
        let (hours, minutes, seconds) = (rest / 3600, rest / 60 % 60, rest % 60)
        if (1950..<2050).contains(year) {
            try coder.serialize(
                UTCTime(
                    year: year, month: month, day: day, hours: hours, minutes: minutes,
                    seconds: seconds))
        } else {
            try coder.serialize(
                GeneralizedTime(
                    year: year, month: month, day: day, hours: hours, minutes: minutes,
                    seconds: seconds, rawFractionalSeconds: []))
        }
    }

    private static func seconds(
        _ year: Int, _ month: Int, _ day: Int, _ hours: Int, _ minutes: Int, _ seconds: Int
    ) -> Int64 {
        let days = days(year: year, month: month, day: day)
        return Int64(days) * 86_400 + Int64(hours * 3600 + minutes * 60 + seconds)
    }

    /// Days since 1970-01-01 of the proleptic Gregorian calendar; years start in March, so that the
    /// leap day is the last.
    private static func days(year: Int, month: Int, day: Int) -> Int {
        let year = month <= 2 ? year - 1 : year
        let era = Int64(year).flooredQuotient(400)
        let yearOfEra = year - Int(era) * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return Int(era) * 146_097 + dayOfEra - 719_468
    }

    private static func civil(fromDays days: Int) -> (year: Int, month: Int, day: Int) {
        let shifted = days + 719_468
        let era = Int(Int64(shifted).flooredQuotient(146_097))
        let dayOfEra = shifted - era * 146_097
        let yearOfEra =
            (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        return (year, month, dayOfYear - (153 * shiftedMonth + 2) / 5 + 1)
    }
}

extension Int64 {
    fileprivate func flooredQuotient(_ divisor: Int64) -> Int64 {
        let (quotient, remainder) = quotientAndRemainder(dividingBy: divisor)
        return remainder < 0 ? quotient - 1 : quotient
    }
}
