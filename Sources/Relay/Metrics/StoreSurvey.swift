import RelayCore
import RelayProtocol

/// What of the store changes slowly, for those who watch.
public struct StoreSurvey: Equatable, Sendable {
    /// Days for which the oldest message has been waiting; nil if none waits.
    public internal(set) var oldestMessageDays: UInt32?
    /// Hours since 1970 UTC of the last backup and the last rehearsed restore.
    public internal(set) var lastBackupHour: UInt64?
    /// The same of the last rehearsed restore.
    public internal(set) var lastRehearsalHour: UInt64?
    /// What is wrong with the audit trail: so many things.
    public internal(set) var trailTroubles = 0
    /// Hours by which the clock is behind the last one that the relay is sure of; 0 if it isn't.
    public internal(set) var clockBehindHours: UInt64 = 0

    /// Nothing known.
    public init() {}
}

extension WriterDesk {
    /// Looks; a few reads by key.
    func survey(at now: RelayTime) throws(StoreError) -> StoreSurvey {
        var survey = StoreSurvey()
        if let oldest = try store.oldestMessage(), let day = trail.day(ofMessage: oldest) {
            survey.oldestMessageDays = now.day.rawValue - min(now.day, day).rawValue
        }
        survey.lastBackupHour = try hour(TrailKeeper.SettingRow.lastBackup)
        survey.lastRehearsalHour = try hour(TrailKeeper.SettingRow.lastRehearsal)
        survey.trailTroubles = trail.troubles.count
        if let hour = try trail.lastSureHour(store), now.hour + 1 < hour {
            survey.clockBehindHours = hour - now.hour
        }
        return survey
    }

    private func hour(_ name: String) throws(StoreError) -> UInt64? {
        guard let octets = try store.setting(name), octets.count == 8 else { return nil }
        return UInt64(bigEndianOctets: octets[...])
    }
}
