/// How a program ended, in the numbers of `sysexits.h`, on which people's scripts rely.
public struct ExitStatus: RawRepresentable, Hashable, Sendable {
    /// The number that the shell sees.
    public let rawValue: Int32

    /// Takes any exit status.
    public init(rawValue: Int32) {
        self.rawValue = rawValue
    }

    /// All is done.
    public static let done = ExitStatus(rawValue: 0)
    /// The command line is wrong (`EX_USAGE`).
    public static let usage = ExitStatus(rawValue: 64)
    /// The data is bad, for instance a verification failed (`EX_DATAERR`).
    public static let badData = ExitStatus(rawValue: 65)
    /// There is no such thing (`EX_NOINPUT`).
    public static let notFound = ExitStatus(rawValue: 66)
    /// The relay can't be reached (`EX_UNAVAILABLE`).
    public static let unavailable = ExitStatus(rawValue: 69)
    /// A bug of ours (`EX_SOFTWARE`).
    public static let bug = ExitStatus(rawValue: 70)
    /// A file can't be made (`EX_CANTCREAT`).
    public static let cannotCreate = ExitStatus(rawValue: 73)
    /// Reading or writing failed (`EX_IOERR`).
    public static let inputOutput = ExitStatus(rawValue: 74)
    /// It may work later: rate limit, slot taken, mailbox full, still in the outbox (`EX_TEMPFAIL`).
    public static let tryAgain = ExitStatus(rawValue: 75)
    /// Not allowed: wrong passphrase, not a member, refused by the relay (`EX_NOPERM`).
    public static let notAllowed = ExitStatus(rawValue: 77)
}
