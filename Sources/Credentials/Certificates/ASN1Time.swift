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
        let date = CivilDate(daysSince1970: Int(days))
        let (hours, minutes, seconds) = (rest / 3600, rest / 60 % 60, rest % 60)
        if (1950..<2050).contains(date.year) {
            try coder.serialize(
                UTCTime(
                    year: date.year, month: date.month, day: date.day, hours: hours,
                    minutes: minutes, seconds: seconds))
        } else {
            try coder.serialize(
                GeneralizedTime(
                    year: date.year, month: date.month, day: date.day, hours: hours,
                    minutes: minutes, seconds: seconds, rawFractionalSeconds: []))
        }
    }

    private static func seconds(
        _ year: Int, _ month: Int, _ day: Int, _ hours: Int, _ minutes: Int, _ seconds: Int
    ) -> Int64 {
        let days = CivilDate(year: year, month: month, day: day).daysSince1970
        return Int64(days) * 86_400 + Int64(hours * 3600 + minutes * 60 + seconds)
    }
}

extension Int64 {
    fileprivate func flooredQuotient(_ divisor: Int64) -> Int64 {
        let (quotient, remainder) = quotientAndRemainder(dividingBy: divisor)
        return remainder < 0 ? quotient - 1 : quotient
    }
}
