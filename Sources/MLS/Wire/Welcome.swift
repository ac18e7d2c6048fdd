internal import Cryptography
internal import TLSSyntax

/// What a new member is told of the group (RFC 9420 §12.4.3).
struct GroupInfo: Hashable, Sendable, TLSCodable {
    let groupContext: GroupContext
    let extensions: [Extension]
    let confirmationTag: [UInt8]
    let signer: LeafIndex
    let signature: [UInt8]

    init(
        groupContext: GroupContext, extensions: [Extension], confirmationTag: [UInt8],
        signer: LeafIndex, signature: [UInt8]
    ) {
        self.groupContext = groupContext
        self.extensions = extensions
        self.confirmationTag = confirmationTag
        self.signer = signer
        self.signature = signature
    }

    init(from reader: inout TLSReader) throws(TLSError) {
        groupContext = try GroupContext(from: &reader)
        extensions = try reader.readArray()
        confirmationTag = try reader.readVector()
        signer = try LeafIndex(from: &reader)
        signature = try reader.readVector()
    }

    func encode(to writer: inout TLSWriter) {
        writer.write(bytes: toBeSigned)
        writer.write(vector: signature)
    }

    /// `GroupInfoTBS`: what the signature covers.
    var toBeSigned: [UInt8] {
        var writer = TLSWriter()
        writer.write(groupContext)
        writer.write(array: extensions)
        writer.write(vector: confirmationTag)
        writer.write(signer)
        return writer.bytes
    }
}

/// The secrets of the epoch that a new member joins in (RFC 9420 §12.4.3.1).
struct GroupSecrets: Sendable {
    let joinerSecret: JoinerSecret
    let pathSecret: PathSecret?
    let preSharedKeys: [PreSharedKeyID]

    init(joinerSecret: JoinerSecret, pathSecret: PathSecret?, preSharedKeys: [PreSharedKeyID]) {
        self.joinerSecret = joinerSecret
        self.pathSecret = pathSecret
        self.preSharedKeys = preSharedKeys
    }

    init(decoding secret: SecretBytes) throws(TLSError) {
        var octets = secret.exposedCopy()
        defer { TLSWriter.wipe(&octets) }
        var reader = TLSReader(octets)
        joinerSecret = JoinerSecret(try reader.readSecret())
        pathSecret = try reader.readPresence() ? PathSecret(try reader.readSecret()) : nil
        preSharedKeys = try reader.readArray()
        try reader.finish()
    }

    func encoded() -> SecretBytes {
        SecretBytes(encodedBy: { writer in
            writer.write(secret: joinerSecret.bytes)
            writer.write(UInt8(pathSecret == nil ? 0 : 1))
            if let pathSecret { writer.write(secret: pathSecret.bytes) }
            writer.write(array: preSharedKeys)
        })
    }
}

/// One new member's GroupSecrets, encrypted to its init key (RFC 9420 §12.4.3.1).
struct EncryptedGroupSecrets: Hashable, Sendable, TLSCodable {
    let newMember: KeyPackageRef
    let encryptedGroupSecrets: HPKECiphertext

    init(newMember: KeyPackageRef, encryptedGroupSecrets: HPKECiphertext) {
        self.newMember = newMember
        self.encryptedGroupSecrets = encryptedGroupSecrets
    }

    init(from reader: inout TLSReader) throws(TLSError) {
        newMember = KeyPackageRef(bytes: try reader.readVector())
        encryptedGroupSecrets = try HPKECiphertext(from: &reader)
    }

    func encode(to writer: inout TLSWriter) {
        writer.write(vector: newMember.bytes)
        writer.write(encryptedGroupSecrets)
    }
}

/// Names a key package by its hash (RFC 9420 §5.2).
public struct KeyPackageRef: Hashable, Sendable {
    /// The hash.
    public let bytes: [UInt8]
}

/// Lets new members in (RFC 9420 §12.4.3.1).
struct Welcome: Hashable, Sendable, TLSCodable {
    let cipherSuite: CipherSuite
    let secrets: [EncryptedGroupSecrets]
    let encryptedGroupInfo: [UInt8]

    init(
        cipherSuite: CipherSuite, secrets: [EncryptedGroupSecrets], encryptedGroupInfo: [UInt8]
    ) {
        self.cipherSuite = cipherSuite
        self.secrets = secrets
        self.encryptedGroupInfo = encryptedGroupInfo
    }

    init(from reader: inout TLSReader) throws(TLSError) {
        cipherSuite = try reader.readCode()
        secrets = try reader.readArray()
        encryptedGroupInfo = try reader.readVector()
    }

    func encode(to writer: inout TLSWriter) {
        writer.write(code: cipherSuite)
        writer.write(array: secrets)
        writer.write(vector: encryptedGroupInfo)
    }
}
