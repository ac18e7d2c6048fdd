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
    /// A device acknowledges before it has stored what came.
    case acknowledgesEarly
    /// A device takes everything that comes for new.
    case takesTwice
    /// A device that sends again takes a new request id.
    case asksAnew
    /// A device sends before it has stored what it sends.
    case sendsUnstored
}
