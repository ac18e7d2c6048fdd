import ArgumentParser
import Foundation
import Relay
import Terminal

struct RestoreCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restore",
        abstract: "Put the relay back from a backup; nothing erased since returns.",
        discussion: """
            The relay must not run on the folder; what is in it is replaced. What was erased, closed, \
            spent or claimed since the backup is done again from the audit trail: the folder's own and a \
            mirror (--trail), each for what the other lacks. If both together lack something, the \
            restore refuses. Without a trail nobody knows what was done: shelves are emptied, old \
            tickets and invitations refused, and consultations erased since come back until their \
            deadline. Devices see a new incarnation and reopen what can't go on.
            With --verify everything is done with copies that are removed, and the rehearsal is \
            noted; the relay may run.
            """)

    @Option(
        name: .customLong("from"), help: ArgumentHelp("The backup.", valueName: "file"),
        completion: .file())
    var from: String
    @Option(
        name: .customLong("data"),
        help: ArgumentHelp(
            "The folder that holds everything the relay keeps; with --verify it may be left out.",
            valueName: "dir"),
        completion: .directory)
    var folder: String?
    @OptionGroup var output: OutputOptions
    @Option(
        help: ArgumentHelp("A mirror of the audit trail.", valueName: "dir"),
        completion: .directory)
    var trail: String?
    @Flag(help: "Go on although the trail isn't whole: as without one, but for what can be read.")
    var withoutTrail = false
    @Option(
        help: ArgumentHelp(
            """
            Without a trail: refuse invitations that end until then; new ones must end later. By \
            default in 31 days.
            """, valueName: "time"))
    var tokensUntil: TimeArgument?
    @Flag(help: "Rehearse: change nothing, and note how it went.")
    var verify = false

    func validate() throws {
        guard verify || folder != nil else { throw ValidationError("--data is missing") }
    }

    func run() throws {
        let report = verify ? try rehearse() : try restore()
        if report.trailEntries == nil {
            Diagnostic.warn(
                """
                no whole trail: shelves were emptied, old tickets and invitations are refused, and \
                what was erased since the backup is there again, but for what could be read; give \
                --trail if a mirror exists
                """)
        }
        if let words = report.gapWords {
            Diagnostic.warn("\(words); devices get gaps in their place")
        }
        if output.json { return try output.output.json(Result(report, isRehearsal: verify)) }
        try output.output.fields([
            (verify ? "rehearsed" : "restored", "the backup of \(Self.time(report.backupHour))"),
            ("trail", Self.trail(report)),
            (
                "done again",
                """
                \(report.groupsErased) groups and \(report.mailboxesErased) mailboxes erased, \
                \(report.groupsClosed) groups closed, \(report.confirmations) closings confirmed, \
                \(report.packagesRemoved) packages removed, \(report.tokensSpent) tokens and \
                tickets spent
                """
            ),
            (
                "holds",
                """
                \(report.mailboxes) mailboxes, \(report.groups) groups, \(report.messages) \
                messages
                """
            ),
        ])
    }

    private func restore() throws -> Restoration.Report {
        guard let folder else { throw ValidationError("--data is missing") }
        return try Restoration.restore(
            from: from, into: folder, trailPath: trail, ignoresTrail: withoutTrail,
            tokensUntil: tokenSeconds)
    }

    private var tokenSeconds: UInt64? {
        tokensUntil.map { UInt64(max(0, $0.date.timeIntervalSince1970)) }
    }

    private func rehearse() throws(RelayError) -> Restoration.Report {
        do throws(RelayError) {
            let report = try Restoration.rehearse(
                from: from, folderPath: folder, trailPath: trail, ignoresTrail: withoutTrail,
                tokensUntil: tokenSeconds)
            if let folder { try RelayBackup.noteRehearsal(folder: folder, passed: true) }
            return report
        } catch {
            // Only what stands against this backup or trail is noted, not a mistyped name.
            if let folder, error.isAgainstBackup, !Task.isCancelled {
                try? RelayBackup.noteRehearsal(folder: folder, passed: false)
            }
            throw error
        }
    }

    private static func time(_ hour: UInt64) -> String { TimeText.stamp(DayText.date(hour: hour)) }

    private static func trail(_ report: Restoration.Report) -> String {
        let entries = report.trailEntries.map { "\($0) entries since" } ?? "not whole"
        return report.trailHour.map { "\(entries), up to \(time($0))" } ?? "none"
    }

    private struct Result: Encodable {
        let rehearsal: Bool
        let backupTime: Date
        let trailEntries: UInt64?
        let trailTime: Date?
        let groupsErased: Int
        let mailboxesErased: Int
        let groupsClosed: Int
        let confirmations: Int
        let packagesRemoved: Int
        let tokensSpent: Int
        let mailboxes: Int
        let groups: Int
        let storedMessages: Int
        let unreadable: String?
        let tokensRefusedUntil: Date?

        init(_ report: Restoration.Report, isRehearsal: Bool) {
            rehearsal = isRehearsal
            backupTime = DayText.date(hour: report.backupHour)
            trailEntries = report.trailEntries
            trailTime = report.trailHour.map { DayText.date(hour: $0) }
            groupsErased = report.groupsErased
            mailboxesErased = report.mailboxesErased
            groupsClosed = report.groupsClosed
            confirmations = report.confirmations
            packagesRemoved = report.packagesRemoved
            tokensSpent = report.tokensSpent
            mailboxes = report.mailboxes
            groups = report.groups
            storedMessages = report.messages
            unreadable = report.gapWords
            tokensRefusedUntil = report.tokenFloor.map {
                Date(timeIntervalSince1970: Double($0))
            }
        }
    }
}

extension RelayError {
    /// Whether a backup or trail turned out not to be good.
    fileprivate var isAgainstBackup: Bool {
        switch self {
        case .backup, .trail: true
        case .store(let error): !error.isStoreWhole
        default: false
        }
    }
}
