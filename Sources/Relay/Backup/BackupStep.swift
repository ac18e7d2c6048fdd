import RelayCore
import RelayProtocol

/// How far a backup is that is whole. It is told before it has its name, so that there is none that the
/// trail doesn't know of; and again afterwards, for it counts from then on.
enum BackupStep: String, Sendable {
    /// It is whole, and about to get its name.
    case made = "backed-up"
    /// It has it.
    case named = "backup-named"
    /// It couldn't get it.
    case lost = "backup-lost"
}

extension TrailKeeper {
    /// Notes a step of a backup, inside of a batch's transaction.
    func note(
        _ step: BackupStep, by user: String, in store: SQLiteStore, at hour: UInt64
    ) throws(StoreError) {
        switch step {
        case .made:
            try settleBackup(in: store)
            note(.backup(by: user))
            try store.set(SettingRow.unnamedBackup, to: Array(user.utf8))
        case .named:
            try store.set(SettingRow.lastBackup, to: hour.bigEndianOctets)
            try store.set(SettingRow.unnamedBackup, to: [])
        case .lost: try settleBackup(in: store)
        }
    }

    /// Takes back what was noted of a backup that never said that it has its name: its command was
    /// killed, and perhaps the relay with it.
    func settleBackup(in store: SQLiteStore) throws(StoreError) {
        guard let user = try store.setting(SettingRow.unnamedBackup), !user.isEmpty else { return }
        note(.backup(by: String(decoding: user, as: UTF8.self), isLost: true))
        try store.set(SettingRow.unnamedBackup, to: [])
    }
}
