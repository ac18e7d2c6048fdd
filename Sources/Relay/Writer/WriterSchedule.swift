package import RelayCore
import RelayProtocol

/// When the writer does what nobody asks for.
package struct WriterSchedule {
    private var nextConnections: UInt64
    private var nextDisk: UInt64
    private var nextGroups: UInt64
    private var nextLog: UInt64
    private var groupCursor: GroupNumber?
    private var isSweepingGroups = false
    /// When more of what is left of blobs is deleted; `nil` if nothing is known to be left.
    private(set) var nextClearing: UInt64?
    private var day: Day?

    package init(from start: RelayTime) {
        nextConnections = start.monotonicMilliseconds
        nextDisk = start.monotonicMilliseconds
        nextGroups = start.monotonicMilliseconds
        nextLog = start.monotonicMilliseconds + 60_000
    }

    /// Whether there is more to do at once.
    package var isCatchingUp: Bool { isSweepingGroups }

    mutating func isTimeForDisk(at now: RelayTime) -> Bool {
        guard now.monotonicMilliseconds >= nextDisk else { return false }
        nextDisk = now.monotonicMilliseconds + 1_000
        return true
    }

    /// The log holds pages in the order in which they were written, which could tell which
    /// requests came together; so it is emptied when nothing is to be done, and every minute.
    mutating func isTimeForLog(at now: RelayTime, hadWork: Bool) -> Bool {
        guard !hadWork || now.monotonicMilliseconds >= nextLog else { return false }
        nextLog = now.monotonicMilliseconds + 60_000
        return true
    }

    package mutating func sweep(_ engine: RelayEngine, at now: RelayTime) throws(StoreError) {
        if now.monotonicMilliseconds >= nextConnections {
            nextConnections = now.monotonicMilliseconds + 5_000
            engine.sweepConnections()
        }
        if now.monotonicMilliseconds >= nextGroups || (day != nil && day != now.day) {
            nextGroups = now.monotonicMilliseconds + 3_600_000
            day = now.day
            isSweepingGroups = true
            groupCursor = nil
            try engine.sweepRecords()
        }
        if isSweepingGroups {
            groupCursor = try engine.sweepGroups(from: groupCursor)
            isSweepingGroups = groupCursor != nil
        }
        // A mebibyte at a time, and others come in between.
        if now.monotonicMilliseconds >= nextClearing ?? 0 {
            let isMore = try engine.sweepBlobs()
            nextClearing = isMore ? now.monotonicMilliseconds + 20 : nil
        }
    }
}
