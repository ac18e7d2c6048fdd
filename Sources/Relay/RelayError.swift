public import RelayCore

/// Why a relay can't start or go on.
public enum RelayError: Error, Equatable, Sendable {
    /// The data folder, or the trail's mirror, can't be made or used, in words. Fault: the operator
    /// or the machine.
    case dataFolder(String)
    /// Another user may do this, in words. Fault: the operator.
    case notAllowed(String)
    /// Others than its owner may enter the data folder. Fault: the operator.
    case openToOthers
    /// What was named isn't there, in words. Fault: the operator.
    case notFound(String)
    /// Another process has the data folder; which, if that can be read.
    case inUse(by: FolderHolder?)
    /// The file of the relay's keys is damaged. Fault: the disk or whoever changed it.
    case damagedKeys
    /// What a relay can't go on without is gone from its folder: its keys or its database, in a word.
    /// Fault: the disk or whoever took it away.
    case missing(String)
    /// The database is of a newer version of this program. Fault: the operator.
    case newerDatabase
    /// The database is of an earlier version, and this only looks. Fault: the operator.
    case olderDatabase
    /// The database can't be used.
    case store(StoreError)
    /// The clinic's root certificate can't be read, or its key isn't Ed25519. Fault: the operator.
    case clinicRoot(String)
    /// TLS certificate and key can't be used, in words. Fault: the operator.
    case certificate(String)
    /// The address can't be listened on. Fault: the operator.
    case listen(String)
    /// Plain WebSocket is for loopback only. Fault: the operator.
    case needsTLS
    /// The audit trail can't be used or isn't what it should be, in words.
    case trail(String)
    /// A backup's file can't be made, in words. Fault: the operator or the disk.
    case backupFile(String)
    /// A backup can't be used, in words. Fault: the operator or the disk.
    case backup(String)
    /// A running relay doesn't answer, in words.
    case control(String)
    /// A running relay refused for now, in its words.
    case refused(String)
    /// The machine gave no memory, thread or randomness.
    case resources(String)
}
