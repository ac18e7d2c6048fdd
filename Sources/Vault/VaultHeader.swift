internal import Cryptography

/// The one row from which a passphrase leads to the keys; of fixed size, so that a new passphrase
/// overwrites the old one's wraps in place.
///
///     struct {
///         opaque vault_id[16];
///         uint32 passes, memory_kib;            // Argon2id (RFC 9106)
///         opaque salt[16];
///         opaque wrapped_vault_key[72];         // nonce, key, tag
///         opaque wrapped_passphrase_key[72];
///     } Header;                                 // 184 octets
struct VaultHeader {
    static let byteCount = 16 + 8 + 16 + 2 * wrapByteCount
    private static let wrapByteCount = 32 + Sealing.overheadByteCount

    let vaultID: [UInt8]
    let cost: PasswordHash.Cost
    private let salt: [UInt8]
    private let wrappedVaultKey: [UInt8]
    private let wrappedPassphraseKey: [UInt8]

    /// The two keys that a passphrase opens.
    struct Keys {
        /// Opens the key slots; held while the vault is open.
        let vaultKey: SecretBytes
        /// Never held: asking for it takes the passphrase each time.
        let passphraseKey: SecretBytes
    }

    /// Wraps both keys under a new salt.
    init(
        vaultID: [UInt8], keys: Keys, passphrase: SecretBytes, cost: PasswordHash.Cost
    ) throws(VaultError) {
        let salt = Random.bytes(PasswordHash.saltByteCount)
        let wrapping = try Self.wrappingKeys(passphrase, salt: salt, cost: cost)
        do throws(CryptographyError) {
            wrappedVaultKey = try Sealing.seal(
                keys.vaultKey, key: wrapping.vault,
                associatedData: Self.binding("vault key", vaultID, salt, cost))
            wrappedPassphraseKey = try Sealing.seal(
                keys.passphraseKey, key: wrapping.passphrase,
                associatedData: Self.binding("passphrase key", vaultID, salt, cost))
        } catch { throw .resourceExhausted }
        self.vaultID = vaultID
        self.cost = cost
        self.salt = salt
    }

    /// Reads a stored header.
    ///
    /// - Throws: `.damaged(.header)` also for a cost that no vault of ours asks for.
    init(stored: [UInt8]) throws(VaultError) {
        guard stored.count == Self.byteCount else { throw .damaged(.header) }
        var rest = stored[...]
        func take(_ count: Int) -> [UInt8] {
            defer { rest = rest.dropFirst(count) }
            return Array(rest.prefix(count))
        }
        vaultID = take(16)
        let passes = UInt32(bigEndian: take(4))
        let memoryKiB = UInt32(bigEndian: take(4))
        salt = take(16)
        wrappedVaultKey = take(Self.wrapByteCount)
        wrappedPassphraseKey = take(Self.wrapByteCount)
        // A file must not make this machine spend minutes or gigabytes on one attempt.
        guard passes <= 16, memoryKiB <= 1_048_576,
            let cost = try? PasswordHash.Cost(validating: passes, memoryKiB: memoryKiB)
        else { throw .damaged(.header) }
        self.cost = cost
    }

    /// The stored form.
    var encoded: [UInt8] {
        vaultID + cost.passes.bigEndianBytes + cost.memoryKiB.bigEndianBytes + salt
            + wrappedVaultKey + wrappedPassphraseKey
    }

    /// Opens both keys.
    ///
    /// - Throws: `.wrongPassphrase` if either doesn't open.
    func keys(for passphrase: SecretBytes) throws(VaultError) -> Keys {
        let wrapping = try Self.wrappingKeys(passphrase, salt: salt, cost: cost)
        do throws(CryptographyError) {
            return Keys(
                vaultKey: try Sealing.openSecret(
                    wrappedVaultKey, key: wrapping.vault,
                    associatedData: Self.binding("vault key", vaultID, salt, cost)),
                passphraseKey: try Sealing.openSecret(
                    wrappedPassphraseKey, key: wrapping.passphrase,
                    associatedData: Self.binding("passphrase key", vaultID, salt, cost)))
        } catch { throw .wrongPassphrase }
    }

    private static func wrappingKeys(
        _ passphrase: SecretBytes, salt: [UInt8], cost: PasswordHash.Cost
    ) throws(VaultError) -> (vault: SecretBytes, passphrase: SecretBytes) {
        do throws(CryptographyError) {
            let stretched = try PasswordHash.deriveKey(from: passphrase, salt: salt, cost: cost)
            return (
                try Subkey.derive(1, of: stretched, context: "CurtPass"),
                try Subkey.derive(2, of: stretched, context: "CurtPass")
            )
        } catch { throw .resourceExhausted }
    }

    private static func binding(
        _ purpose: String, _ vaultID: [UInt8], _ salt: [UInt8], _ cost: PasswordHash.Cost
    ) -> [UInt8] {
        LabelledContent.encode(
            label: "vault header",
            fields: [
                Array(purpose.utf8), vaultID, salt, cost.passes.bigEndianBytes,
                cost.memoryKiB.bigEndianBytes,
            ])
    }
}

extension FixedWidthInteger {
    /// The octets, most significant first.
    var bigEndianBytes: [UInt8] {
        (0..<Self.bitWidth / 8).map {
            UInt8(truncatingIfNeeded: self >> (Self.bitWidth - 8 - 8 * $0))
        }
    }

    /// Reads octets, most significant first; octets that don't fit fall out at the top.
    init(bigEndian octets: some Sequence<UInt8>) {
        self = octets.reduce(0) { $0 << 8 | Self(truncatingIfNeeded: $1) }
    }
}
