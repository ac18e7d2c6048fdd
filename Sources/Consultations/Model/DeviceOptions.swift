public import Cryptography

/// What can be chosen for a device; the standard values suit everybody.
public struct DeviceOptions: Sendable {
    /// What guessing the passphrase costs; used when a vault is made or its passphrase changed.
    public var passphraseCost: PasswordHash.Cost
    /// A PEM file with the certificates of a private TLS authority; `nil`: the system's.
    public var authorityPath: String?
    /// Another URL of the same relay; its identity key stays pinned.
    public var relay: String?
    /// KeyPackages that a doctor keeps on the shelf.
    public var shelfTarget: Int
    /// Own messages in one epoch before the keys are refreshed.
    public var refreshAfterMessages: Int
    /// Age of an epoch at which the keys are refreshed.
    public var refreshAfter: Duration
    /// Reopenings of one consultation within an hour; after that it is locked.
    public var reopeningsPerHour: Int
    /// The shortest and the longest pause before connecting again.
    public var backoff: ClosedRange<Duration>

    /// The standard values.
    public init() {
        passphraseCost = .interactive
        authorityPath = nil
        relay = nil
        shelfTarget = 16
        refreshAfterMessages = 64
        refreshAfter = .seconds(86_400)
        reopeningsPerHour = 4
        backoff = .milliseconds(250) ... .seconds(60)
    }
}
