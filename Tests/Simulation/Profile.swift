import RelayCore
import RelayProtocol

/// What a world is like: who is in it, how tight its limits are, and what goes wrong how often.
/// Every world is another, so that rare troubles meet without common ones in between, too.
struct Profile {
    var doctors = 2
    var patients = 3
    var guests = 2
    var hostiles = 1
    /// Pairs of a real doctor's and a real patient's device.
    var vaults = 0
    var pipeline = 4
    var limits = RelayLimits()
    /// Usual microseconds from one end of a wire to the other.
    var latency = 2_000
    /// Usual microseconds of a commit.
    var diskLatency = 300
    /// Usual microseconds between two things that a person does.
    var pause = 60_000
    /// Usual microseconds between two faults; 0: nothing goes wrong.
    var faultPause = 400_000
    /// Faults, each as often as it is in the list.
    var faults: [Fault] = []
    /// How often in ten thousand units of work a device's process ends in it.
    var deviceCrashes = 0
    /// How often in ten thousand units of work a device's disk is full.
    var deviceFull = 0
    /// How often in ten thousand batches the relay's process ends in it.
    var relayCrashes = 0
    /// Whether files are sent, too.
    var sendsFiles = true
    /// Whether the relay is put back to what it was before, now and then.
    var restores: Bool { faults.contains(.restore) }

    enum Fault: CaseIterable {
        case cut, halfOpen, relayCrash, deviceCrash, diskFull, slowDisk, nearlyFull, littleRoom
        case clockAhead, clockBehind, night, backup, restore, copyHome, fallBack
    }

    /// Whether a device's home is put back to an older copy, now and then.
    var fallsBack: Bool { faults.contains(.fallBack) }

    /// Whether days are what the devices think they are.
    var bendsTime: Bool {
        faults.contains { [.clockAhead, .clockBehind, .night].contains($0) }
    }

    init(chance: Chance) {
        doctors = chance.between(1...3)
        patients = chance.between(1...4)
        guests = chance.between(0...3)
        hostiles = chance.happens(6_000) ? chance.between(1...2) : 0
        pipeline = chance.pick([1, 1, 2, 4, 8, 16]) ?? 1
        latency = chance.pick([100, 1_000, 5_000, 50_000]) ?? 1_000
        diskLatency = chance.pick([50, 300, 3_000, 30_000]) ?? 300
        pause = chance.pick([2_000, 20_000, 100_000, 400_000]) ?? 5_000
        faultPause = chance.happens(1_000) ? 0 : latency * (chance.pick([20, 100, 400]) ?? 100)
        let kinds: [Fault] = [
            .cut, .cut, .cut, .halfOpen, .relayCrash, .relayCrash, .deviceCrash, .deviceCrash,
            .diskFull, .slowDisk, .nearlyFull, .littleRoom, .clockAhead, .clockBehind, .night,
        ]
        faults = kinds.filter { _ in chance.happens(6_000) }
        if chance.happens(5_000) { deviceCrashes = chance.pick([10, 50, 200]) ?? 10 }
        if chance.happens(3_000) { deviceFull = 20 }
        if chance.happens(5_000) { relayCrashes = chance.pick([5, 30, 100]) ?? 5 }
        draw(limitsBy: chance)
        sendsFiles = chance.happens(7_000)
        if chance.happens(5_000) { draw(limitsOfBlobsBy: chance) }
    }

    /// A world with real devices. Where the relay is restored there are no light ones: they can't
    /// begin again in a fresh group.
    mutating func draw(vaults count: Int, by chance: Chance) {
        vaults = count
        guard count > 0 else { return }
        // Real devices wait for room as long as it takes. With a little of it taken by others, a group
        // gets a little less than its limit: here that is less than an octet.
        limits.allBlobByteCount = 1 << 50
        guard chance.happens(5_000) else {
            // Where the relay goes back, too, nobody can tell which homes do.
            guard chance.happens(5_000) else { return }
            faults += [.copyHome, .copyHome, .fallBack]
            leaveRoom()
            return
        }
        (doctors, patients, guests) = (0, 0, 0)
        leaveRoom()
        faults += [.backup, .backup, .backup, .restore, .restore]
        faultPause = latency * (chance.pick([20, 60]) ?? 20)
        // Clocks that run wild end consultations, and then there is little to reopen.
        faults.removeAll { [.clockAhead, .clockBehind, .night].contains($0) }
    }

    /// What a fresh group doesn't take any more never arrives. And nobody reads a mailbox that an older
    /// vault has forgotten, or one whose device was told by a restored relay that it is gone, before
    /// a newer backup brought it back.
    private mutating func leaveRoom() {
        limits.mailboxMessages = RelayLimits().mailboxMessages
        limits.mailboxByteCount = RelayLimits().mailboxByteCount
        limits.groupBlobs = RelayLimits().groupBlobs
        limits.groupBlobByteCount = RelayLimits().groupBlobByteCount
        limits.blobByteCount = RelayLimits().blobByteCount
    }

    private mutating func draw(limitsBy chance: Chance) {
        limits.claimsPerHour = 1_000
        limits.shelfClaimsPerHour = 5_000
        limits.published.ticketsPerDay = 2_000
        limits.openingBurst = 5_000
        limits.openingsPerSecond = 1_000
        if chance.happens(5_000) {
            limits.windowMessages = chance.pick([1, 2, 5, 16]) ?? 5
        }
        if chance.happens(3_000) {
            limits.windowByteCount = chance.pick([300, 2_000, 20_000]) ?? 2_000
        }
        if chance.happens(3_000) {
            limits.connectionByteCount = chance.pick([500, 5_000, 40_000]) ?? 5_000
        }
        if chance.happens(4_000) {
            limits.mailboxMessages = chance.pick([3, 10, 40]) ?? 10
        }
        if chance.happens(3_000) {
            limits.mailboxByteCount = chance.pick([3_000, 20_000]) ?? 20_000
        }
        if chance.happens(3_000) {
            limits.requestsPerSecond = 20
            limits.requestBurst = 10
        }
        if chance.happens(3_000) {
            limits.commitBurst = 3
            limits.commitsPerHour = 600
        }
        if chance.happens(3_000) { limits.published.groupMembers = 3 }
        if chance.happens(5_000) {
            limits.holdMilliseconds = UInt64(chance.pick([0, 1, 100, 1_000]) ?? 0)
        }
    }

    private mutating func draw(limitsOfBlobsBy chance: Chance) {
        let piece = BlobShape.pieceByteCount
        if chance.happens(4_000) { limits.groupBlobs = chance.pick([1, 3, 10]) ?? 3 }
        if chance.happens(4_000) {
            limits.groupBlobByteCount = chance.pick([5_000, 3 * piece, 10 * piece]) ?? piece
        }
        if chance.happens(4_000) {
            limits.allBlobByteCount = chance.pick([5_000, 3 * piece, 20 * piece]) ?? piece
        }
        if chance.happens(3_000) { limits.blobByteCount = piece + 1 }
        if chance.happens(4_000) { limits.unfinishedBlobs = chance.pick([1, 2]) ?? 1 }
        if chance.happens(4_000) {
            limits.piecesPerSecond = chance.pick([0.5, 5]) ?? 5
            limits.pieceBurst = 3
        }
    }
}
