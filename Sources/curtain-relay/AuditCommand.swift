import ArgumentParser
import Cryptography
import Foundation
import Relay
import RelayProtocol
import Terminal

struct AuditCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "audit",
        abstract: "Show the tamper-evident trail, or verify it.",
        discussion: """
            The trail names no person and no mailbox. --verify follows the whole chain: entries cut \
            out, edited or reordered are found, and a missing end as long as the database knows of \
            it. Whoever holds the relay's keys could write another trail and another database: \
            against that, keep heads elsewhere (--head, printed as JSON; --against compares) or a \
            mirror on another machine. Exit status 65: the trail isn't whole; 75: it is, but the mirror \
            lacks its last entries.
            """)

    @OptionGroup var data: DataOptions
    @OptionGroup var output: OutputOptions
    @Flag(help: "Follow the whole chain and say whether it holds.")
    var verify = false
    @Flag(help: "Print a signed head, to be kept elsewhere; a running relay signs one now.")
    var head = false
    @Option(
        help: ArgumentHelp("A file of heads that were kept elsewhere.", valueName: "file"),
        completion: .file())
    var against: String?
    @Option(
        help: ArgumentHelp("A mirror to be compared.", valueName: "dir"), completion: .directory)
    var trailMirror: String?
    @Option(help: ArgumentHelp("How many of the last entries are shown.", valueName: "n"))
    var last = 100

    func validate() throws {
        guard (1...10_000_000).contains(last) else {
            throw ValidationError("--last must be between 1 and 10000000")
        }
    }

    func run() throws {
        if head { try RelayBackup.signHead(folder: data.path) }
        let heads = try against.map { try HeadFile.read($0) } ?? []
        let audit = try TrailAudit(
            folder: data.path, mirrorPath: trailMirror, heads: heads,
            last: verify || head ? 0 : last)
        if head {
            guard let head = audit.verifier.head else {
                throw Failure(.notFound, "the trail has no signed head yet")
            }
            try output.output.json(HeadFile(head, audit.relayKey))
        } else if verify {
            try show(audit, keptHeads: heads.count)
        } else {
            for entry in audit.entries { try show(entry) }
        }
        let faults = audit.verifier.faults
        if !faults.isEmpty {
            if !verify { Diagnostic.warn("the trail isn't whole; audit --verify says why") }
            throw Failure.quiet(.badData)
        }
        guard audit.mirrorMissing == 0 else {
            Diagnostic.warn("the mirror lacks the trail's last \(audit.mirrorMissing) entries")
            throw Failure.quiet(.tryAgain)
        }
    }

    private func show(_ audit: TrailAudit, keptHeads: Int) throws {
        let verifier = audit.verifier
        if output.json {
            return try output.output.json(
                Verdict(
                    valid: verifier.faults.isEmpty, entries: verifier.count,
                    unsigned: verifier.unsignedCount, resumedAt: verifier.resumedAt,
                    headSequence: verifier.head?.sequence,
                    headTime: verifier.head.map { DayText.date(hour: UInt64($0.hour)) },
                    keptHeads: against == nil ? nil : keptHeads,
                    mirrorMissing: trailMirror == nil ? nil : audit.mirrorMissing,
                    faults: verifier.faults.map(\.words)))
        }
        let style = output.output.style
        for fault in verifier.faults { try output.output.line("- " + fault.words) }
        if let entry = verifier.resumedAt {
            try output.output.line(
                "begins at entry \(entry), after a restore without the trail before it")
        }
        try output.output.line(
            verifier.faults.isEmpty
                ? style.green("PASS") + "  \(verifier.count) entries; "
                    + "\(verifier.unsignedCount) since the last signed head"
                    + (against == nil ? "" : "; \(keptHeads) heads kept elsewhere are in it")
                : style.red("FAIL"))
    }

    private func show(_ entry: TrailEntry) throws {
        let receipt =
            entry.kind == .erasure
            ? try? ErasureReceipt(decoding: entry.content) : nil
        let fields = TrailEvent(entry)?.fields ?? []
        if output.json {
            return try output.output.json(
                Line(
                    sequence: entry.sequence, time: DayText.date(hour: UInt64(entry.hour)),
                    clockDoubted: entry.isClockDoubted, kind: entry.kind.name,
                    fields: Dictionary(
                        fields.map { ($0.name, $0.value) }, uniquingKeysWith: { $1 }),
                    receipt: receipt == nil ? nil : Data(entry.content),
                    hash: Data(entry.hash)))
        }
        var words = entry.kind == .head ? ["signed by the relay"] : []
        words += fields.map { "\($0.name)=\($0.value)" }
        if let receipt {
            words = [
                "group \(Base64URL.encode(receipt.groupHash.prefix(6)))…",
                receipt.reason == .confirmed ? "confirmed by its owners" : "at its deadline",
                "\(receipt.messageCount) messages, \(receipt.mailboxCount) mailboxes",
            ]
        }
        // Of activity only the day is known, the relay's, so it is nobody's local time.
        let time =
            entry.kind == .activity
            ? DayText.text(entry.hour / 24)
            : TimeText.stamp(DayText.date(hour: UInt64(entry.hour)))
        let doubt = entry.isClockDoubted ? " (clock doubted)" : ""
        // Whoever can write the file may have appended an entry.
        try output.output.line(
            Sanitiser.line(
                "\(entry.sequence)  \(time)\(doubt)  \(entry.kind.name)  "
                    + words.joined(separator: ", ")))
    }

    private struct Verdict: Encodable {
        let valid: Bool
        let entries: UInt64
        let unsigned: UInt64
        let resumedAt: UInt64?
        let headSequence: UInt64?
        let headTime: Date?
        let keptHeads: Int?
        let mirrorMissing: Int?
        let faults: [String]
    }

    private struct Line: Encodable {
        let sequence: UInt64
        let time: Date
        let clockDoubted: Bool
        let kind: String
        let fields: [String: String]
        let receipt: Data?
        let hash: Data
    }
}

/// A signed head as a line of JSON, for keeping elsewhere.
private struct HeadFile: Codable {
    let sequence: UInt64
    let time: Date?
    /// Hours since 1970-01-01 UTC, in heads that earlier versions have printed.
    let hour: UInt32?
    let previous: String
    let signature: String
    let relayKey: String

    init(_ head: TrailHead, _ key: VerifyingKey) {
        sequence = head.sequence
        time = DayText.date(hour: UInt64(head.hour))
        hour = nil
        previous = Base64URL.encode(head.previous)
        signature = Base64URL.encode(head.signature)
        relayKey = Base64URL.encode(key.bytes)
    }

    /// Reads a file with a head on each line.
    static func read(_ path: String) throws -> [TrailHead] {
        let text = String(decoding: try Files.read(path), as: UTF8.self)
        let lines = text.split(separator: "\n")
        guard !lines.isEmpty else {
            throw Failure(.badData, "there is no head in the file of heads")
        }
        let decoder = JSONDecoder()
        decoder.dateDecodingStrategy = .iso8601
        return try lines.map { line in
            guard let file = try? decoder.decode(HeadFile.self, from: Data(line.utf8)),
                let hour = file.hour
                    ?? file.time.flatMap({ UInt32(exactly: $0.timeIntervalSince1970 / 3_600) }),
                let previous = Base64URL.decode(file.previous.utf8),
                let signature = Base64URL.decode(file.signature.utf8)
            else { throw Failure(.badData, "the file of heads can't be read") }
            return TrailHead(
                sequence: file.sequence, previous: previous, hour: hour, signature: signature)
        }
    }
}
