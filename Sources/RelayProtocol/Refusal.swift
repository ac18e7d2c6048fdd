/// Why the relay didn't do what was asked (`protocol/relay.md`, "Refusals"). The state is as before.
public struct Refusal: RawRepresentable, Hashable, Sendable {
    /// The number on the wire.
    public let rawValue: UInt8
    /// Takes a number.
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// Unknown mailbox, wrong signature, not a member, not an owner: all alike.
    public static let notAllowed = Refusal(rawValue: 1)
    /// The request breaks `relay.md`. Fault: the device.
    public static let malformed = Refusal(rawValue: 2)
    /// Something is larger than the challenge's limits say.
    public static let tooLarge = Refusal(rawValue: 3)
    /// Some recipient's mailbox has no room.
    public static let mailboxFull = Refusal(rawValue: 4)
    /// Too many requests in too short a time.
    public static let rate = Refusal(rawValue: 5)
    /// The admission token is forged, spent, expired, or for another relay.
    public static let token = Refusal(rawValue: 6)
    /// The ticket is forged, spent or expired.
    public static let ticket = Refusal(rawValue: 7)
    /// The join permit is wrong or used, or its mailbox doesn't exist.
    public static let permit = Refusal(rawValue: 8)
    /// No KeyPackage left, or no such shelf.
    public static let shelfEmpty = Refusal(rawValue: 9)
    /// Nobody writes to the group any more.
    public static let groupClosed = Refusal(rawValue: 10)
    /// The opening counter isn't above the last one: a copied or restored vault.
    public static let counter = Refusal(rawValue: 11)
    /// A count of the operator's limits is reached.
    public static let limit = Refusal(rawValue: 12)
    /// The request's id is confirmed already.
    public static let forgotten = Refusal(rawValue: 13)
    /// The relay's disk is full.
    public static let storage = Refusal(rawValue: 14)
    /// An operation that this relay doesn't know.
    public static let unsupported = Refusal(rawValue: 15)
    /// The group id, mailbox or blob is taken.
    public static let exists = Refusal(rawValue: 16)
    /// No such blob of the group, not the asker's to put, or not whole yet.
    public static let noBlob = Refusal(rawValue: 17)
    /// The last one that this version knows.
    public static let last = noBlob
}

extension Refusal: CustomStringConvertible {
    /// A word for logs.
    public var description: String {
        let names = [
            "unspecified", "not allowed", "malformed", "too large", "mailbox full", "rate",
            "token", "ticket", "permit", "shelf empty", "group closed", "counter", "limit",
            "forgotten", "storage", "unsupported", "exists", "no blob",
        ]
        return Int(rawValue) < names.count ? names[Int(rawValue)] : "refusal \(rawValue)"
    }
}
