public import Cryptography

/// What an adder must show so that a mailbox may be added to a group: 32 random octets, named beside
/// the KeyPackage. The relay keeps only its hash, until it is used.
public struct JoinPermit: Equatable, Sendable {
    /// Octets of a permit.
    public static let byteCount = 32
    /// The permit itself.
    public let secret: SecretBytes

    /// Makes a new permit.
    public init() { secret = .random(count: Self.byteCount) }

    /// Takes 32 octets; `nil` for another number of them.
    public init?(_ bytes: [UInt8]) {
        guard bytes.count == Self.byteCount else { return nil }
        secret = SecretBytes(bytes)
    }

    /// What the relay is told when the mailbox is made: SHA-256 with the label "join permit".
    public var hash: [UInt8] { Hash.sha256(label: "join permit", secret.exposedCopy()) }
}
