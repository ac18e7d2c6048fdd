import Cryptography
import RelayCore
import RelayProtocol

/// Keeps the trail in step with the store, on the writer's thread.
///
/// What a batch did is written into the store as the trail's next entries, in the batch's own
/// transaction (`prepare`); after the commit, and before any answer leaves, they are appended to
/// the trail and synced (`publish`). A crash in between loses nothing: the next start finds them
/// in the store and appends them. So the trail is never ahead of the store, and behind it by one
/// batch at most; a batch without effects costs neither a write nor a sync.
///
/// Unchecked: made at the start, then used by the writer's thread alone.
final class TrailKeeper: @unchecked Sendable {
    private let log: TrailLog
    private let identity: SigningKey
    private let seal: TrailSeal

    /// Operator's events that aren't in a committed batch yet.
    private var events: [TrailEvent] = []
    /// Entries of the batch at hand.
    private var staged: [TrailEntry] = []
    /// Committed entries that had no room in the files.
    private var unwritten: [TrailEntry] = []
    /// When they are tried again, by the monotonic clock.
    private var nextTry: UInt64 = 0
    /// The chain's end as committed.
    private(set) var end: TrailEnd
    private var signedHour: UInt32?
    private var unsignedCount = 0
    private var reported = Reported()
    /// What the batch at hand reports.
    private var stagedReport: Reported?
    private var days = MessageDays()
    private var areDaysChanged = false

    private static let unsignedLimit = 1_000
    /// Octets of waiting entries that the store takes while the trail's disk is full.
    private let unwrittenLimit: Int

    /// The last hour at which the relay is known to have run: the trail's or the store's.
    func lastSureHour(_ store: SQLiteStore) throws(StoreError) -> UInt64? {
        [log.lastTrustedHour.map(UInt64.init), try store.clockMark()].compactMap(\.self).max()
    }
    /// What `check` and the log tell of the trail, in words.
    var troubles: [String] {
        var words: [String] = []
        if !log.isInPlace { words.append("the trail was taken away from under the relay") }
        if !unwritten.isEmpty { words.append("the trail waits for room on its disk") }
        if let number = log.damagedAt {
            words.append("entry \(number) of the trail can't be read; what is left of it is kept")
        }
        if let trouble = log.mirrorTrouble { words.append(trouble) }
        return words
    }
    /// Troubles that weren't there when this was last asked, for the log.
    func newTroubles() -> [String] {
        let now = troubles
        defer { told = Set(now) }
        return now.filter { !told.contains($0) }
    }
    private var told: Set<String> = []

    /// What was found at the start, in words.
    private(set) var warnings: [String] = []

    /// Takes up trail and store, outside of a transaction; what a crash kept out of the trail is
    /// appended first.
    ///
    /// - Throws: `.trail` if the store is older than the trail: somebody put an old database back
    ///   without a restore, and what was erased since would return.
    init(
        path: String, mirrorPath: String?, store: SQLiteStore, identity: SigningKey,
        unwrittenLimit: Int = 1 << 20
    ) throws(RelayError) {
        self.identity = identity
        self.unwrittenLimit = unwrittenLimit
        do {
            seal = try TrailSeal(identity: identity)
        } catch {
            throw .resources("no key could be made")
        }
        let pending: [TrailEntry]
        do throws(StoreError) {
            end =
                try store.setting(SettingRow.end).flatMap { TrailEnd($0) }
                ?? TrailEnd(relayKey: identity.publicKey)
            days = MessageDays(try store.setting(SettingRow.days) ?? [])
            pending =
                TrailFolder.parse(
                    TrailFolder.magic + (try store.setting(SettingRow.pending) ?? [])
                ).entries
        } catch {
            throw .store(error)
        }
        log = try TrailLog(
            path: path, mirrorPath: mirrorPath, confirmed: pending.first?.sequence ?? end.next)
        let next = log.end?.next ?? 0
        guard next <= end.next else {
            throw .trail(
                """
                the database is older than the trail: it was put back by other means than \
                curtain-relay restore
                """)
        }
        let missing = pending.filter { $0.sequence >= next }
        if log.tornByteCount > 0 {
            warnings.append(
                """
                the trail's torn end was cut off and written again (\(log.tornByteCount) octets)
                """)
        }
        if end.next - next > UInt64(missing.count) {
            warnings.append("entries of the trail are missing; audit --verify names them")
        }
        unwritten = missing
        do throws(StoreError) {
            try appendUnwritten()
        } catch {
            throw .store(error)
        }
    }

    /// Names of rows in `setting`.
    enum SettingRow {
        static let end = "trail end"
        static let pending = "trail pending"
        static let days = "message days"
        static let lastBackup = "last backup"
        /// Who has made one that has no name yet; empty without one.
        static let unnamedBackup = "backup without name"
        static let lastRehearsal = "last rehearsal"
    }

    /// Adds an event with the next batch.
    func note(_ event: TrailEvent) { events.append(event) }

    /// How many events wait for their batch.
    var eventCount: Int { events.count }

    /// Takes back what a batch added that failed.
    func dropEvents(behind count: Int) { events.removeLast(max(0, events.count - count)) }

    /// Makes entries of what the batch did, inside its transaction, at its end.
    func prepare(
        _ store: SQLiteStore, counters: RelayCounters, refusedConnections: [String: UInt64] = [:],
        isClockDoubted: Bool, at now: RelayTime
    ) throws(StoreError) {
        staged = []
        stagedReport = nil
        if !unwritten.isEmpty, now.monotonicMilliseconds >= nextTry {
            nextTry = now.monotonicMilliseconds + 1_000
            try appendUnwritten()
        }
        if days.note(day: now.day, nextMessage: store.nextMessageNumber) { areDaysChanged = true }
        if areDaysChanged { try store.set(SettingRow.days, to: days.encoded) }
        let hour = UInt32(clamping: now.hour)
        let isTime = signedHour != hour || unsignedCount >= Self.unsignedLimit
        guard isTime || !events.isEmpty || !store.effects.isEmpty else { return }

        var draft = Draft(end: end, hour: hour, isClockDoubted: isClockDoubted)
        do {
            try add(store.effects, to: &draft)
            // What the last hour refused isn't forgotten with the process.
            if isTime || events.contains(where: { $0.kind == .stopped }) {
                let report = Reported(counters: counters, refusedConnections: refusedConnections)
                let fields = report.fields(since: reported)
                if !fields.isEmpty {
                    let summary = TrailEvent(.summary, fields)
                    draft.add(summary.kind, summary.content)
                }
                stagedReport = report
            }
            for event in events { draft.add(event.kind, event.content) }
            if isTime || !events.isEmpty {
                draft.append(
                    try TrailHead.entry(
                        after: draft.end, hour: hour, isClockDoubted: isClockDoubted,
                        identity: identity))
            }
        } catch {
            throw .failed("the trail's entries can't be sealed")
        }
        staged = draft.entries
        let waiting = unwritten + staged
        let pending = waiting.flatMap(\.frame)
        // The first batch always fits, as much as it may have done.
        guard unwritten.isEmpty || pending.count <= unwrittenLimit else { throw .full }
        try store.set(SettingRow.pending, to: pending)
        try store.set(SettingRow.end, to: draft.end.encoded)
    }

    /// Appends what the committed batch did, before anybody is told of it.
    func publish() throws(StoreError) {
        areDaysChanged = false
        guard let last = staged.last else { return }
        if let stagedReport { reported = stagedReport }
        events = []
        end = last.end
        for entry in staged {
            if entry.kind == .head {
                signedHour = entry.hour
                unsignedCount = 0
            } else {
                unsignedCount += 1
            }
        }
        let isNext = unwritten.isEmpty
        unwritten += staged
        staged = []
        if isNext { try appendUnwritten() }
    }

    /// Appends what is committed. If there is no room, the store has it durably, and it is tried
    /// again once a second.
    private func appendUnwritten() throws(StoreError) {
        do {
            try log.append(unwritten)
            unwritten = []
        } catch {
            guard error == .full else { throw error }
        }
    }

    /// Gives the mirror a last while to catch up.
    func endMirror() { log.endMirror() }

    /// The day of the oldest message that waits.
    func day(ofMessage number: UInt64) -> Day? { days.day(of: number) }

    private func add(
        _ effects: TrailEffects, to draft: inout Draft
    ) throws(CryptographyError) {
        guard !effects.isEmpty else { return }
        for receipt in effects.receipts {
            // A receipt names its group by hash and its hour; whom it is for is sealed.
            let own = effects.effects.filter { effect in
                if case .receipt(_, receipt, _) = effect { return true }
                return false
            }
            draft.add(.erasure, receipt, sealed: try seal.seal(own, at: draft.end.next))
        }
        // Each by itself, in no order, so that no entry joins the mailboxes that one batch concerned.
        var parts = effects.effects.compactMap {
            effect -> (figures: TrailEffects, [TrailEffect])? in
            if case .receipt = effect { return nil }
            var single = TrailEffects()
            single.note(effect)
            return (single, [effect])
        }
        var made = TrailEffects()
        (made.homes, made.mailboxes) = (effects.homes, effects.mailboxes)
        if !made.isEmpty { parts.append((made, [])) }
        for (single, sealed) in parts.shuffled() {
            // An entry by itself tells its day only. Its place in the trail tells more: between
            // which two heads, so in which hour, and in which order. Nothing tells whose it is.
            draft.add(
                .activity,
                TrailEvent(.activity, single.figures.map { ($0.0, "\($0.1)") }).content,
                sealed: sealed.isEmpty ? [] : try seal.seal(sealed, at: draft.end.next),
                hour: draft.hour / 24 * 24)
        }
    }
}

/// What summaries have told so far.
private struct Reported {
    var counters = RelayCounters()
    var refusedConnections: [String: UInt64] = [:]

    /// What has come since.
    func fields(since last: Reported) -> [(String, String)] {
        var fields: [(String, String)] = []
        func add(_ name: String, _ now: UInt64, _ before: UInt64) {
            if now > before { fields.append((name, "\(now - before)")) }
        }
        add("accepted", counters.accepted, last.counters.accepted)
        add("delivered", counters.delivered, last.counters.delivered)
        add("erased", counters.erased, last.counters.erased)
        fields += counters.refusals.more(than: last.counters.refusals).map {
            ("refused.\(RelayMetrics.label($0))", "\($1)")
        }
        fields += refusedConnections.more(than: last.refusedConnections).map {
            ("connections.\($0)", "\($1)")
        }
        return fields
    }
}

/// Entries in the making, each behind the one before.
private struct Draft {
    var entries: [TrailEntry] = []
    var end: TrailEnd
    let hour: UInt32
    let isClockDoubted: Bool

    init(end: TrailEnd, hour: UInt32, isClockDoubted: Bool) {
        self.end = end
        self.hour = hour
        self.isClockDoubted = isClockDoubted
    }

    mutating func add(
        _ kind: TrailEntry.Kind, _ content: [UInt8], sealed: [UInt8] = [], hour: UInt32? = nil
    ) {
        append(
            TrailEntry(
                after: end, hour: hour ?? self.hour, isClockDoubted: isClockDoubted, kind: kind,
                content: content, sealed: sealed))
    }

    mutating func append(_ entry: TrailEntry) {
        entries.append(entry)
        end = entry.end
    }
}
