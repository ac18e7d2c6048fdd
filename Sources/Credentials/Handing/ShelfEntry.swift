public import Cryptography
internal import TLSSyntax

/// A KeyPackage as it waits on a doctor's shelf, sealed under the key that the doctor's card holds,
/// so that the relay sees neither certificate nor the fresh mailbox before it is used.
///
///     struct {
///         opaque key_package<V>;
///         opaque mailbox[32];     // a fresh one, to which the Welcome goes
///         opaque permit[32];      // without it nobody adds that mailbox to a group
///         uint8 zeros[…];         // up to a multiple of 1,024 octets
///     } ShelfEntry;               // sealed with the shelf's mailbox as associated data
public struct ShelfEntry: Hashable, Sendable {
    /// Octets of a join permit.
    public static let permitByteCount = 32
    private static let bucketByteCount = 1024
    private static let maximumByteCount = 1 << 17

    /// The encoded KeyPackage.
    public let keyPackage: [UInt8]
    /// The mailbox that it names.
    public let mailbox: [UInt8]
    /// That mailbox's join permit.
    public let permit: SecretBytes

    /// Takes the fields.
    ///
    /// - Throws: `.malformed(.shelfEntry)` for a wrong size.
    public init(
        keyPackage: [UInt8], mailbox: [UInt8], permit: SecretBytes
    ) throws(CredentialError) {
        guard (1...Self.maximumByteCount / 2).contains(keyPackage.count),
            mailbox.count == MemberExtension.mailboxByteCount,
            permit.count == Self.permitByteCount
        else { throw .malformed(.shelfEntry) }
        self.keyPackage = keyPackage
        self.mailbox = mailbox
        self.permit = permit
    }

    /// Seals the entry for the shelf of a home mailbox.
    public func sealed(
        shelfKey: SecretBytes, shelf: [UInt8]
    ) throws(CredentialError) -> [UInt8] {
        var writer = TLSWriter(secretCapacity: keyPackage.count + Self.bucketByteCount)
        defer { writer.wipe() }
        writer.write(vector: keyPackage)
        writer.write(bytes: mailbox)
        writer.write(secret: permit)
        let excess = writer.bytes.count % Self.bucketByteCount
        if excess > 0 {
            writer.write(
                bytes: [UInt8](repeating: 0, count: Self.bucketByteCount - excess))
        }
        do {
            return try Sealing.seal(writer.bytes, key: shelfKey, associatedData: shelf)
        } catch {
            throw .cryptography(error)
        }
    }

    /// Opens what the relay gave out for a shelf.
    ///
    /// - Throws: `.wrongSignature(.shelfEntry)` if it isn't of this shelf or was altered,
    ///   `.malformed(.shelfEntry)` if the doctor's device made it wrong.
    public init(
        opening sealed: [UInt8], shelfKey: SecretBytes, shelf: [UInt8]
    ) throws(CredentialError) {
        guard sealed.count <= Self.maximumByteCount else { throw .malformed(.shelfEntry) }
        var bytes: [UInt8]
        do {
            bytes = try Sealing.open(sealed, key: shelfKey, associatedData: shelf)
        } catch .authenticationFailed {
            throw .wrongSignature(.shelfEntry)
        } catch {
            throw .cryptography(error)
        }
        defer { TLSWriter.wipe(&bytes) }
        let keyPackage: [UInt8]
        let mailbox: [UInt8]
        let permit: SecretBytes
        do {
            var reader = TLSReader(bytes)
            keyPackage = try reader.readVector()
            mailbox = try reader.readBytes(count: MemberExtension.mailboxByteCount)
            permit = try reader.readSecret(count: Self.permitByteCount)
            let rest = reader.readRemaining()
            guard rest.count < Self.bucketByteCount, rest.allSatisfy({ $0 == 0 }) else {
                throw TLSError.invalidValue
            }
        } catch {
            throw .malformed(.shelfEntry)
        }
        try self.init(keyPackage: keyPackage, mailbox: mailbox, permit: permit)
    }
}

extension ShelfEntry {
    /// By content; the permit in constant time.
    public func hash(into hasher: inout Hasher) {
        hasher.combine(keyPackage)
        hasher.combine(mailbox)
    }
}
