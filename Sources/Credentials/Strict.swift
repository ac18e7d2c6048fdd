internal import Cryptography
internal import FoundationEssentials
internal import TLSSyntax

/// Reading of hostile octets: a version first, then fields, then nothing.
enum Strict {
    static func decode<Value>(
        _ bytes: [UInt8], as part: CredentialPart, version: UInt8,
        _ body: (inout TLSReader) throws(TLSError) -> Value
    ) throws(CredentialError) -> Value {
        var reader = TLSReader(bytes)
        do {
            let found = try reader.readUInt8()
            guard found == version else {
                throw found > version
                    ? CredentialError.unsupportedVersion(part) : .malformed(part)
            }
            let value = try body(&reader)
            try reader.finish()
            return value
        } catch let error as CredentialError {
            throw error
        } catch {
            throw .malformed(part)
        }
    }
}

extension TLSReader {
    mutating func readText(
        maximumByteCount: Int = Text.maximumByteCount, mayBeEmpty: Bool = false
    ) throws(TLSError) -> String {
        let octets = try readVector()
        let text = Text.decode(
            octets, maximumByteCount: maximumByteCount, mayBeEmpty: mayBeEmpty)
        guard let text else { throw .invalidValue }
        return text
    }

    mutating func readKey() throws(TLSError) -> VerifyingKey {
        let octets = try readBytes(count: VerifyingKey.byteCount)
        guard let key = try? VerifyingKey(octets) else { throw .invalidValue }
        return key
    }

    /// Reads octets straight into memory that is wiped; the array between is wiped here.
    mutating func readSecret(count: Int) throws(TLSError) -> SecretBytes {
        var octets = try readBytes(count: count)
        defer { TLSWriter.wipe(&octets) }
        return SecretBytes(octets)
    }

    /// Reads Unix seconds up to the end of the year 9999.
    mutating func readDate() throws(TLSError) -> Date {
        let seconds = try readUInt64()
        guard seconds <= Date.lastUnixSecond else { throw .invalidValue }
        return Date(timeIntervalSince1970: TimeInterval(seconds))
    }
}

extension TLSWriter {
    mutating func write(secret: SecretBytes) {
        unsafe secret.withUnsafeBytes { unsafe write(bytes: $0) }
    }
}

extension Date {
    static let lastUnixSecond: UInt64 = 253_402_300_799

    /// The whole seconds of a date between 1970 and 9999; nothing for any other.
    var wholeSeconds: (unixSeconds: UInt64, date: Date)? {
        let seconds = timeIntervalSince1970.rounded(.down)
        guard let whole = UInt64(exactly: seconds), whole <= Self.lastUnixSecond else { return nil }
        return (whole, Date(timeIntervalSince1970: seconds))
    }
}
