public import Cryptography

/// The relay's signed challenge (`protocol/relay.md`, "The challenge").
public enum RelayIntroduction {
    /// Makes a challenge for a connection whose device sent `clientNonce`.
    public static func make(
        identity: SigningKey, clientNonce: [UInt8], relayNonce: [UInt8], incarnation: [UInt8],
        limits: PublishedLimits
    ) throws(CryptographyError) -> Challenge {
        let version = ProtocolConstants.version
        let signature = try identity.sign(
            label: label, clientNonce, relayNonce, incarnation, [UInt8(clamping: version)],
            limits.signedOctets)
        return Challenge(
            version: version, relayKey: identity.publicKey.bytes, nonce: relayNonce,
            incarnation: incarnation, limits: limits, signature: signature)
    }

    /// Whether `challenge` answers `clientNonce` and was signed by the pinned key.
    ///
    /// - Throws: `.wrongRelay` for another key, `.wrongSignature`, or `.invalidField`.
    public static func verify(
        _ challenge: Challenge, clientNonce: [UInt8], pinned: VerifyingKey
    ) throws(RelayProtocolError) {
        guard challenge.version == ProtocolConstants.version else { throw .invalidField("version") }
        guard challenge.relayKey == pinned.bytes else { throw .wrongRelay }
        let signed = pinned.isValid(
            signature: challenge.signature, label: label, clientNonce, challenge.nonce,
            challenge.incarnation, [UInt8(clamping: challenge.version)],
            challenge.limits.signedOctets)
        guard signed else { throw .wrongSignature }
    }

    private static let label = "relay challenge"
}

/// The proof that a device owns a mailbox, for one connection (`protocol/relay.md`, "Opening a
/// mailbox"). It names the relay's key and both nonces, so that no other relay and no other
/// connection can use it.
public struct OpeningProof: Sendable {
    /// The relay's identity key: the device takes the pinned one, the relay its own.
    public var relayKey: VerifyingKey
    /// The device's nonce of this connection.
    public var clientNonce: [UInt8]
    /// The relay's nonce of this connection.
    public var relayNonce: [UInt8]

    /// Describes the connection.
    public init(relayKey: VerifyingKey, clientNonce: [UInt8], relayNonce: [UInt8]) {
        self.relayKey = relayKey
        self.clientNonce = clientNonce
        self.relayNonce = relayNonce
    }

    /// Signs with the mailbox's key; only ever under a challenge that was verified.
    public func sign(
        with mailboxKey: SigningKey, counter: UInt64, creation: Opening.Creation?
    ) throws(CryptographyError) -> [UInt8] {
        try mailboxKey.sign(
            label: Self.label, relayKey.bytes, clientNonce, relayNonce,
            mailboxKey.publicKey.bytes, counter.bigEndianOctets, Self.octets(of: creation))
    }

    /// Whether the owner of `mailbox` signed exactly this opening.
    public func isValid(_ opening: Opening, of mailbox: MailboxID) -> Bool {
        guard let key = try? VerifyingKey(mailbox.bytes) else { return false }
        return key.isValid(
            signature: opening.signature, label: Self.label, relayKey.bytes, clientNonce,
            relayNonce, mailbox.bytes, opening.counter.bigEndianOctets,
            Self.octets(of: opening.creation))
    }

    /// What makes the mailbox, so that nobody on the way can put another permit in.
    private static func octets(of creation: Opening.Creation?) -> [UInt8] {
        switch creation {
        case nil: []
        case .home(let token)?: LabelledContent.encode(label: "home", fields: [token])
        case .fresh(let ticket, let permitHash, let permitUses)?:
            LabelledContent.encode(
                label: "fresh",
                fields: [
                    ticket, permitHash ?? [], UInt64(permitUses).bigEndianOctets.suffix(4),
                ])
        }
    }

    private static let label = "open mailbox"
}
