import ArgumentParser
import Relay
import Terminal

struct CheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Whether everything is as an auditor would want it.",
        discussion: """
            Looks at store, audit trail, backup, rehearsed restore, clock, certificate and disk. \
            Exit status 0: all good; 75: something needs attention; 65: something is damaged, or a \
            relay has the folder and doesn't answer. \
            Everything in the store is read, in small pieces while a relay runs.
            """)

    @OptionGroup var data: DataOptions
    @OptionGroup var output: OutputOptions
    @Option(help: ArgumentHelp("How old the last backup may be.", valueName: "hours"))
    var backupHours: UInt64 = 26
    @Option(
        help: ArgumentHelp("How long ago a restore may have been rehearsed.", valueName: "days"))
    var rehearsalDays: UInt64 = 92
    @Option(help: ArgumentHelp("How long a certificate must still be good.", valueName: "days"))
    var certificateDays = 14
    @Option(
        help: ArgumentHelp(
            "The trail's mirror, if no relay runs that names it.", valueName: "dir"),
        completion: .directory)
    var trailMirror: String?
    @Option(
        help: ArgumentHelp(
            "The certificate for wss, if no relay runs that names it: a proxy's.",
            valueName: "file"),
        completion: .file())
    var tlsCert: String?

    func run() throws {
        var expected = RelayCheck.Expectations()
        expected.backupHours = backupHours
        expected.rehearsalDays = rehearsalDays
        expected.certificateDays = certificateDays
        expected.mirrorPath = trailMirror
        expected.certificatePath = tlsCert
        let check = try RelayCheck(folder: data.path, expected)
        if output.json {
            try output.output.json(Report(check))
        } else {
            // First, so that the last lines, which a service manager shows, are what to look at.
            for limit in check.limits { try output.output.line("limit \(limit)") }
            let style = output.output.style
            try output.output.fields(
                check.points.map { point in
                    switch point.standing {
                    case .good: (point.name, style.green("good") + "  " + point.words)
                    case .attention: (point.name, style.yellow("LOOK") + "  " + point.words)
                    case .bad: (point.name, style.red("BAD") + "   " + point.words)
                    }
                })
        }
        switch check.standing {
        case .good: break
        case .attention: throw Failure.quiet(.tryAgain)
        case .bad: throw Failure.quiet(.badData)
        }
    }

    private struct Report: Encodable {
        struct Point: Encodable {
            let name: String
            let standing: String
            let words: String
        }
        let standing: String
        let points: [Point]
        let limits: [String: String]

        init(_ check: RelayCheck) {
            standing = check.standing.rawValue
            points = check.points.map {
                Point(name: $0.name, standing: $0.standing.rawValue, words: $0.words)
            }
            limits = check.limits.reduce(into: [:]) { limits, line in
                let parts = line.split(separator: "=", maxSplits: 1)
                if parts.count == 2 { limits[String(parts[0])] = String(parts[1]) }
            }
        }
    }
}
