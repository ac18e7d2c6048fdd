internal import Cryptography

/// The two keys of one scope, made from the key in its slot.
struct ScopeKeys: Sendable {
    /// Seals the records.
    let records: SecretBytes
    /// Hashes the names under which records are found.
    let names: SecretBytes

    init(slotKey: SecretBytes) throws(CryptographyError) {
        records = try Subkey.derive(1, of: slotKey, context: "CurtVlt1")
        names = try Subkey.derive(2, of: slotKey, context: "CurtVlt1")
    }
}

/// Where a record stands; part of what its seal covers, so that records can't change places.
struct RecordPlace {
    /// Octets of a number in the `key` column.
    static let numberByteCount = 8

    let vaultID: [UInt8]
    let scope: Vault.Scope
    let collection: Vault.Collection
    /// The column `key`: a number's 8 octets, or the 32 of a name's keyed hash.
    let key: [UInt8]

    var associatedData: [UInt8] {
        LabelledContent.encode(
            label: "vault record",
            fields: [
                vaultID, scope.slot.bigEndianBytes, collection.rawValue.bigEndianBytes, key,
            ])
    }

    /// The octets of a number, in an order that compares like the numbers.
    static func key(of number: Int64) -> [UInt8] {
        (UInt64(bitPattern: number) ^ (1 << 63)).bigEndianBytes
    }

    /// The number in a `key` column, or nil if a name's hash stands there.
    static func number(in key: [UInt8]) -> Int64? {
        guard key.count == numberByteCount else { return nil }
        return Int64(bitPattern: UInt64(bigEndian: key) ^ (1 << 63))
    }
}

/// What a sealed record holds, padded so that its length tells little.
///
///     struct {
///         uint32 name_length;   opaque name[name_length];     // none for a numbered record
///         uint32 value_length;  opaque value[value_length];
///         opaque zero[...];                                   // up to a multiple of 64
///     } Record;
enum RecordFormat {
    static let maximumValueByteCount = 64 << 20
    private static let bucketByteCount = 64

    static func seal(
        _ value: SecretBytes, name: [UInt8], at place: RecordPlace, keys: ScopeKeys
    ) throws(VaultError) -> [UInt8] {
        guard value.count <= maximumValueByteCount, name.count <= maximumValueByteCount,
            let nameLength = UInt32(exactly: name.count),
            let valueLength = UInt32(exactly: value.count)
        else { throw .valueTooLarge }
        let used = 8 + name.count + value.count
        let padded = (used + bucketByteCount - 1) / bucketByteCount * bucketByteCount
        let record = unsafe SecretBytes(count: padded) { buffer in
            unsafe buffer.copyBytes(
                from: nameLength.bigEndianBytes + name + valueLength.bigEndianBytes)
            unsafe value.withUnsafeBytes { value in
                unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[(8 + name.count)...])
                    .copyMemory(from: value)
            }
        }
        do throws(CryptographyError) {
            return try Sealing.seal(
                record, key: keys.records, associatedData: place.associatedData)
        } catch { throw .resourceExhausted }
    }

    static func open(
        _ sealed: [UInt8], at place: RecordPlace, keys: ScopeKeys
    ) throws(VaultError) -> (name: [UInt8], value: SecretBytes) {
        let record: SecretBytes
        do throws(CryptographyError) {
            record = try Sealing.openSecret(
                sealed, key: keys.records, associatedData: place.associatedData)
        } catch { throw .damaged(.record) }
        let nameStart = 4
        guard let nameCount = length(at: 0, in: record),
            let valueCount = length(at: nameStart + nameCount, in: record)
        else { throw .damaged(.record) }
        let valueStart = nameStart + nameCount + 4
        guard valueCount <= record.count - valueStart else { throw .damaged(.record) }
        return (
            record.slice(nameStart..<nameStart + nameCount).exposedCopy(),
            record.slice(valueStart..<valueStart + valueCount)
        )
    }

    /// The length that stands at `offset`, if what it measures fits into the record.
    private static func length(at offset: Int, in record: SecretBytes) -> Int? {
        guard offset >= 0, offset <= record.count - 4 else { return nil }
        let length = unsafe record.withUnsafeBytes { bytes in
            unsafe UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
        }
        guard let count = Int(exactly: length), count <= record.count - offset - 4 else {
            return nil
        }
        return count
    }
}
