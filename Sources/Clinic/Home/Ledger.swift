public import FoundationEssentials

/// A voucher that the clinic has issued, as its ledger keeps it.
public struct IssuedVoucher: Codable, Hashable, Sendable {
    /// Lower-case hexadecimal.
    public let serial: String
    /// `PersonRole.word`.
    public let role: String
    /// The person's name.
    public let name: String
    /// The day of birth; may be empty.
    public let born: String
    /// The clinic's number for the person; may be empty.
    public let reference: String
    /// When it was issued.
    public let issued: Date
    /// Until when the person could join with it.
    public let joinBefore: Date
    /// Until when the clinic vouches.
    public let expires: Date
}

/// A certificate that the clinic has issued, as its ledger keeps it.
public struct IssuedCertificate: Codable, Hashable, Sendable {
    /// Lower-case hexadecimal.
    public let serial: String
    /// `identity` or `prescription`.
    public let use: String
    /// The doctor's name.
    public let name: String
    /// The licence number.
    public let licence: String
    /// The field of medicine.
    public let specialty: String
    /// When it was issued.
    public let issued: Date
    /// When it ends.
    public let expires: Date
}

/// What the clinic has withdrawn, as its ledger keeps it.
public struct Withdrawal: Codable, Hashable, Sendable {
    /// Of a voucher or certificate; lower-case hexadecimal.
    public let serial: String
    /// When.
    public let date: Date
    /// `RevocationReason.rawValue`.
    public let reason: UInt8
}

/// What the clinic has done, in a file of JSON lines that only grows.
struct Ledger: Sendable {
    static let fileName = "ledger"

    private(set) var vouchers: [IssuedVoucher] = []
    private(set) var certificates: [IssuedCertificate] = []
    private(set) var withdrawals: [String: Withdrawal] = [:]
    private(set) var listNumber: UInt64 = 0
    /// Octets of the file that are whole lines.
    private(set) var byteCount = 0

    /// One line: exactly one of its fields is there.
    struct Entry: Codable, Sendable {
        var voucher: IssuedVoucher?
        var certificate: IssuedCertificate?
        var withdrawal: Withdrawal?
        var list: UInt64?
    }

    init() {}

    /// Reads the file; a last line without its end was torn and never happened.
    init(reading bytes: [UInt8]) throws(ClinicError) {
        let decoder = JSONDecoder()
        decoder.dateDecodingStrategy = .secondsSince1970
        var start = 0
        while let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) {
            guard let entry = try? decoder.decode(Entry.self, from: Data(bytes[start..<end])),
                insert(entry)
            else { throw .damaged(Self.fileName) }
            start = end + 1
        }
        byteCount = start
    }

    /// The lines for some entries, as they are appended in one step.
    static func encode(_ entries: [Entry]) throws(ClinicError) -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.dateEncodingStrategy = .secondsSince1970
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        var lines: [UInt8] = []
        for entry in entries {
            guard let line = try? encoder.encode(entry) else { throw .damaged(fileName) }
            lines += line
            lines.append(UInt8(ascii: "\n"))
        }
        return lines
    }

    /// Takes over entries that are on the disk now.
    mutating func take(_ entries: [Entry], byteCount count: Int) {
        for entry in entries { _ = insert(entry) }
        byteCount += count
    }

    private mutating func insert(_ entry: Entry) -> Bool {
        switch (entry.voucher, entry.certificate, entry.withdrawal, entry.list) {
        case (let voucher?, nil, nil, nil): vouchers.append(voucher)
        case (nil, let certificate?, nil, nil): certificates.append(certificate)
        case (nil, nil, let withdrawal?, nil): withdrawals[withdrawal.serial] = withdrawal
        case (nil, nil, nil, let number?) where number > listNumber: listNumber = number
        default: return false
        }
        return true
    }
}

/// Serials as text.
enum Hexadecimal {
    static func encode(_ octets: [UInt8]) -> String {
        octets.map { octet in
            let text = String(octet, radix: 16)
            return text.count == 1 ? "0" + text : text
        }.joined()
    }

    static func decode(_ text: String) -> [UInt8]? {
        let digits = text.utf8.map { Character(Unicode.Scalar($0)).hexDigitValue }
        guard digits.count.isMultiple(of: 2) else { return nil }
        var octets: [UInt8] = []
        for position in stride(from: 0, to: digits.count, by: 2) {
            guard let high = digits[position], let low = digits[position + 1] else { return nil }
            octets.append(UInt8(high << 4 | low))
        }
        return octets
    }
}
