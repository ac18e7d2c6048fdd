internal import Cryptography
internal import GRDB
internal import Glibc

/// Why the vault refused. A failed call leaves the vault's file as it was before the call.
public enum VaultError: Error, Equatable, Sendable {
    /// There is no vault at this home. Fault: caller.
    case noVault
    /// There is a vault already. Fault: caller.
    case alreadyExists
    /// Another process, or another opening in this one, holds the vault. Fault: caller.
    case inUse(by: Vault.Holder?)
    /// The passphrase doesn't open it. A damaged key wrap looks just the same. Fault: caller.
    case wrongPassphrase
    /// The file at the vault's place is something else. Fault: caller.
    case notAVault
    /// A newer program made this vault; this one can't read it. Fault: caller.
    case newerVersion(Int)
    /// What the file holds isn't what was written: bad disk, or somebody changed it. Fault: disk.
    case damaged(Damage)
    /// No room. Nothing is half written, and the vault stays usable. Fault: disk.
    case diskFull
    /// The system doesn't let this user read or write the files. Fault: caller.
    case notPermitted
    /// Reading, writing or syncing failed (SQLite's extended code, or `-errno`). The vault refuses
    /// everything until it is opened again, since nobody knows what the disk holds. Fault: disk.
    case storage(code: Int32)
    /// No such consultation, or it has been erased. Fault: caller.
    case unknownConsultation(Vault.ConsultationNumber)
    /// A value of more than 64 MiB. Fault: caller.
    case valueTooLarge
    /// The machine lacks memory for this. Fault: machine.
    case resourceExhausted
    /// A use that the rules of the type forbid. Fault: a bug of the caller.
    case misuse(Misuse)

    /// The part that doesn't hold together.
    public enum Damage: Equatable, Sendable {
        /// SQLite finds its file malformed, or the tables aren't a vault's.
        case file
        /// The row that holds salt and wrapped keys.
        case header
        /// A key slot.
        case slot
        /// A record: it doesn't open under its key, or stands at another's place.
        case record
    }

    /// What was done wrong.
    public enum Misuse: Equatable, Sendable {
        /// The vault has been closed.
        case closed
        /// `read` or `write` inside of `read` or `write`.
        case nestedTransaction
        /// A transaction used outside of its closure.
        case transactionEnded
        /// A collection number that belongs to the vault itself.
        case reservedCollection
    }
}

extension VaultError {
    /// What a failure inside SQLite means to us.
    init(_ error: any Error) {
        switch error {
        case let error as VaultError: self = error
        case let error as DatabaseError: self = .init(error)
        default: self = .damaged(.file)
        }
    }

    private init(_ error: DatabaseError) {
        switch error.resultCode {
        case .SQLITE_FULL: self = .diskFull
        case .SQLITE_NOMEM: self = .resourceExhausted
        case .SQLITE_TOOBIG: self = .valueTooLarge
        case .SQLITE_PERM, .SQLITE_READONLY, .SQLITE_CANTOPEN, .SQLITE_AUTH: self = .notPermitted
        case .SQLITE_IOERR, .SQLITE_BUSY, .SQLITE_LOCKED, .SQLITE_INTERRUPT:
            self = .storage(code: error.extendedResultCode.rawValue)
        case .SQLITE_NOTADB: self = .notAVault
        // Our statements are fixed, so one that fails found tables that aren't the vault's.
        default: self = .damaged(.file)
        }
    }

    /// What a failed system call means to us.
    init(systemError number: Int32) {
        switch number {
        case ENOSPC, EDQUOT: self = .diskFull
        case EACCES, EPERM, EROFS: self = .notPermitted
        case ENOENT, ENOTDIR: self = .noVault
        case ENOMEM: self = .resourceExhausted
        default: self = .storage(code: -number)
        }
    }

    /// Whether nobody can say any more what the disk holds.
    var endsVault: Bool {
        if case .storage = self { true } else { false }
    }
}
