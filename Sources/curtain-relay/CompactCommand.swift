import ArgumentParser
import Relay
import Terminal

struct CompactCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "compact",
        abstract: "Give the room back to the disk that erasing has left free in the database.",
        discussion: """
            The relay must not run. Its database is copied without the gaps, read back whole, and put \
            in the other's place, which is overwritten; that takes the disk as much room as is in \
            use. The relay uses such room again by itself: this is for a disk that others need.
            """)

    @OptionGroup var data: DataOptions
    @OptionGroup var output: OutputOptions

    func run() throws {
        let report = try Compaction.run(folder: data.path)
        if output.json { return try output.output.json(report) }
        try output.output.line("\(report.before >> 10) KiB before, \(report.after >> 10) KiB now")
    }
}
