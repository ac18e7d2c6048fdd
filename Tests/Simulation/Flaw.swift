/// Something that is wrong on purpose, to see that it is found.
public enum Flaw: String, CaseIterable, Sendable {
    /// Nothing is.
    case none
    /// The disk forgets the last sync.
    case losesSynced
    /// A crash leaves half of a transaction.
    case tearsBatches
    /// Messages and group stay when they are erased.
    case forgetsErasures
    /// The relay answers before the commit is synced.
    case answersEarly
    /// A relay believes whatever clock it starts with.
    case believesClock
    /// A device acknowledges before it has stored what came.
    case acknowledgesEarly
    /// A device takes everything that comes for new.
    case takesTwice
    /// The store forgets a piece of a blob now and then.
    case losesPieces
    /// A device speaks of a file before the relay has all of it.
    case announcesEarly
    /// A device that sends again takes a new request id.
    case asksAnew
    /// A device sends before it has stored what it sends.
    case sendsUnstored
    /// A restored relay does nothing again of what its trail says.
    case forgetsTrail
    /// A restored relay says that it is the same as before.
    case keepsIncarnation
    /// A restored relay names its deliveries as before.
    case keepsNames

    /// Whether it is in what a restore does: only worlds with real devices have restores.
    public var isOfRestores: Bool {
        [.forgetsTrail, .keepsIncarnation, .keepsNames].contains(self)
    }
}
