internal import Credentials
internal import Cryptography
internal import TLSSyntax

/// The clinic's secrets under its passphrase: the file `keys`.
///
///     struct {
///         uint8 version = 1;
///         opaque salt[16]; uint32 passes; uint32 memory_kib;  // Argon2id
///         opaque sealed<V>;   // Sealing of { root seed[32], directory key[32] }
///     } SealedKeys;           // AD: all before `sealed`, and the root certificate
struct SealedKeys {
    let rootKey: SigningKey
    let directoryKey: SecretBytes

    private static let version: UInt8 = 1

    func sealed(
        passphrase: SecretBytes, cost: PasswordHash.Cost, root: ClinicCertificate
    ) throws(ClinicError) -> [UInt8] {
        var writer = TLSWriter()
        let salt = Random.bytes(PasswordHash.saltByteCount)
        writer.write(Self.version)
        writer.write(bytes: salt)
        writer.write(cost.passes)
        writer.write(cost.memoryKiB)
        var secrets = TLSWriter(secretCapacity: 64)
        defer { secrets.wipe() }
        unsafe rootKey.seed.withUnsafeBytes { unsafe secrets.write(bytes: $0) }
        unsafe directoryKey.withUnsafeBytes { unsafe secrets.write(bytes: $0) }
        do {
            let key = try PasswordHash.deriveKey(from: passphrase, salt: salt, cost: cost)
            writer.write(
                vector: try Sealing.seal(
                    secrets.bytes, key: key, associatedData: writer.bytes + root.der))
        } catch {
            throw ClinicError(wrapping: error)
        }
        return writer.bytes
    }

    init(rootKey: SigningKey, directoryKey: SecretBytes) {
        self.rootKey = rootKey
        self.directoryKey = directoryKey
    }

    init(
        opening bytes: [UInt8], passphrase: SecretBytes, root: ClinicCertificate
    ) throws(ClinicError) {
        let head: [UInt8]
        let salt: [UInt8]
        let cost: PasswordHash.Cost
        let sealed: [UInt8]
        do {
            var reader = TLSReader(bytes)
            guard try reader.readUInt8() == Self.version else { throw TLSError.invalidValue }
            salt = try reader.readBytes(count: PasswordHash.saltByteCount)
            let passes = try reader.readUInt32()
            cost = try PasswordHash.Cost(validating: passes, memoryKiB: try reader.readUInt32())
            head = reader.bytesRead(since: 0)
            sealed = try reader.readVector()
            try reader.finish()
        } catch {
            throw .damaged("keys")
        }
        do {
            let key = try PasswordHash.deriveKey(from: passphrase, salt: salt, cost: cost)
            let secrets = try Sealing.openSecret(
                sealed, key: key, associatedData: head + root.der)
            guard secrets.count == 64 else { throw ClinicError.damaged("keys") }
            rootKey = try SigningKey(seed: secrets.slice(0..<32))
            directoryKey = secrets.slice(32..<64)
        } catch CryptographyError.authenticationFailed {
            throw .wrongPassphrase
        } catch {
            throw ClinicError(wrapping: error)
        }
    }
}
