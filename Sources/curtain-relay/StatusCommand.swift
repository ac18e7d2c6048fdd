import ArgumentParser
import Foundation
import Relay
import RelayCore
import Terminal

struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "What the relay keeps, and how the running one is.",
        discussion: """
            Works whether a relay runs on the folder or not. Connections are known only of one that \
            runs. The oldest message is known to the day: no time is kept beside messages. Exit status \
            69: a relay has the folder, but doesn't answer.
            """)

    @OptionGroup var data: DataOptions
    @OptionGroup var output: OutputOptions

    func run() throws {
        let status = try RelayStatus(folder: data.path)
        if output.json {
            try output.output.json(Report(status))
        } else {
            try show(status)
        }
        if status.processID != nil, status.live == nil { throw Failure.quiet(.unavailable) }
    }

    private func show(_ status: RelayStatus) throws {
        let live = status.live
        var running = "no"
        if let process = status.processID {
            running = "yes, process \(process)"
            if let live {
                running += ", version \(live.version), on \(live.address)"
            } else {
                running += ", but it doesn't answer"
            }
        }
        try output.output.fields(
            [
                ("running", running),
                (
                    "connections",
                    live.map { "\($0.connections)" }
                        ?? (status.processID == nil ? "none" : "unknown")
                ),
                ("mailboxes", "\(status.store.mailboxes)"),
                ("groups", "\(status.store.groups)"),
                ("stored messages", "\(status.store.messages)"),
                ("stored octets", "\(status.store.messageByteCount)"),
                ("blobs", "\(status.store.blobs.count)"),
                ("blobs' octets", "\(status.store.blobs.byteCount)"),
                (
                    "oldest message",
                    status.store.oldestMessageDay.map { DayText.text($0) } ?? "none"
                ),
                ("disk free", status.freeByteCount.map { "\($0 >> 20) MiB" } ?? "unknown"),
            ] + (live?.troubles ?? []).map { ("look at", $0) })
    }

    private struct Report: Encodable {
        let isRunning: Bool
        let processID: Int32?
        let version: String?
        let address: String?
        let connections: Int?
        let mailboxes: Int
        let groups: Int
        let storedMessages: Int
        let storedBytes: Int
        let blobs: Int
        let blobBytes: Int
        let oldestMessage: String?
        let freeBytes: UInt64?
        let troubles: [String]

        init(_ status: RelayStatus) {
            isRunning = status.processID != nil
            processID = status.processID
            version = status.live?.version
            address = status.live?.address
            connections = status.live?.connections
            mailboxes = status.store.mailboxes
            groups = status.store.groups
            storedMessages = status.store.messages
            storedBytes = status.store.messageByteCount
            blobs = status.store.blobs.count
            blobBytes = status.store.blobs.byteCount
            oldestMessage = status.store.oldestMessageDay.map { DayText.text($0) }
            freeBytes = status.freeByteCount
            troubles = status.live?.troubles ?? []
        }
    }
}

/// Days and hours since 1970-01-01 UTC as people and programs read them.
enum DayText {
    /// A day, always UTC: nothing finer is known.
    static func text(_ day: UInt32) -> String {
        String(TimeText.rfc3339(date(hour: UInt64(day) * 24)).prefix(10))
    }

    static func date(hour: UInt64) -> Date { Date(timeIntervalSince1970: Double(hour) * 3_600) }
}
