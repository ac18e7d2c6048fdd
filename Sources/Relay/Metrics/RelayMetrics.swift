import Foundation
private import RelayCore
private import RelayProtocol
import WebSockets

/// Everything that a page of metrics is made of, gathered at the moment when it is asked for.
struct RelayMetrics {
    var health: RelayHealth
    var server: ServerCounters
    var cuts: ConnectionCuts
    var connections: Int
    var handshakes: Int
    var waitingByteCount: Int
    var incompleteByteCount: Int
    var unsentByteCount: Int
    var settings: RelaySettings
    var freeByteCount: UInt64?
    var certificateExpiry: Date?
    var reloads: ReloadFigures
    var writerSilence: Double
    var isDraining: Bool
    var start: Date

    /// Names of refusals in labels, as in `relay.proto`.
    static func label(_ refusal: UInt8) -> String {
        Refusal(rawValue: refusal).description.replacing(" ", with: "_")
    }

    var page: String {
        var page = MetricsPage()
        addProgram(&page)
        addConnections(&page)
        addMessages(&page)
        addWriter(&page)
        addStore(&page)
        addOperation(&page)
        return page.text
    }

    private static let prefix = "curtain_relay_"

    private func addProgram(_ page: inout MetricsPage) {
        page.add(
            Self.prefix + "build_info", .gauge, "The program's version, always 1.", by: "version",
            [(RelayVersion.current, 1)])
        let process = ProcessFigures()
        page.add(
            "process_start_time_seconds", .gauge, "When the relay was started, Unix time.",
            start.timeIntervalSince1970)
        page.add(
            "process_cpu_seconds_total", .counter, "Processor time used.", process.processorSeconds)
        page.add(
            "process_resident_memory_bytes", .gauge, "Memory in use.", process.residentByteCount)
        page.add("process_open_fds", .gauge, "File descriptors in use.", process.openFiles)
        page.add("process_max_fds", .gauge, "File descriptors allowed.", process.maxFiles)
    }

    private func addConnections(_ page: inout MetricsPage) {
        let prefix = Self.prefix
        page.add(prefix + "connections", .gauge, "Open connections.", connections)
        page.add(
            prefix + "handshakes", .gauge, "Connections that aren't open yet, or close.",
            handshakes)
        page.add(
            prefix + "connections_opened_total", .counter, "Connections that were opened.",
            server.opened)
        page.add(
            prefix + "connections_refused_total", .counter, "Connections not taken, by reason.",
            by: "reason",
            ConnectionRefusal.allCases.map { ($0.rawValue, Double(server.refused[$0])) })
        page.add(
            prefix + "connections_closed_total", .counter,
            "Open connections that ended, by who or what ended them.", by: "cause",
            WebSocketClose.Cause.allCases.map { ($0.rawValue, Double(server.closed[$0])) })
        page.add(
            prefix + "connections_cut_total", .counter,
            "Open connections ended for what they did or didn't do, by reason.", by: "reason",
            cuts.byReason.map { ($0.0, Double($0.1)) })
        page.add(
            prefix + "frames_received_total", .counter, "Frames from devices.",
            server.framesReceived)
        page.add(prefix + "frames_sent_total", .counter, "Frames to devices.", server.framesSent)
        page.add(
            prefix + "received_bytes_total", .counter, "Octets in frames from devices.",
            server.bytesReceived)
        page.add(
            prefix + "sent_bytes_total", .counter, "Octets in frames to devices.",
            server.bytesSent)
        page.add(
            prefix + "writer_queue_bytes", .gauge, "Octets received that wait for the writer.",
            waitingByteCount)
        page.add(
            prefix + "incomplete_bytes", .gauge,
            "Octets of frames that aren't whole, or came together with what their connection was paused after.",
            incompleteByteCount)
        page.add(
            prefix + "unsent_bytes", .gauge,
            "Octets that wait to be sent to devices.", unsentByteCount)
    }

    private func addMessages(_ page: inout MetricsPage) {
        let prefix = Self.prefix
        let counters = health.counters
        page.add(
            prefix + "messages_accepted_total", .counter,
            "Messages, commits and closings accepted, by whether they had to be stored.", by: "way",
            [
                ("stored", Double(counters.acceptedStored)),
                ("delivered", Double(counters.acceptedDelivered)),
            ])
        page.add(
            prefix + "deliveries_total", .counter,
            "Deliveries handed out, repetitions included.", counters.delivered)
        page.add(
            prefix + "deliveries_acknowledged_total", .counter, "Deliveries acknowledged.",
            counters.acknowledged)
        page.add(
            prefix + "requests_refused_total", .counter, "Requests refused, by reason.",
            by: "reason",
            (1...Refusal.last.rawValue).map { (Self.label($0), Double(counters.refusals[$0] ?? 0)) }
        )
        page.add(
            prefix + "groups_erased_total", .counter, "Groups erased, with a receipt.",
            counters.erased)
    }

    private func addWriter(_ page: inout MetricsPage) {
        let prefix = Self.prefix
        page.add(
            prefix + "batch_size", "Frames and ends of connections in one commit.",
            health.batches.sizes)
        page.add(
            prefix + "sync_seconds",
            "Time in which the disk made a batch durable, where one needed it.",
            health.batches.syncSeconds)
        page.add(
            prefix + "delivery_seconds",
            "Time from receiving a batch's first frame to handing out its deliveries, stored or not.",
            health.batches.deliverySeconds)
        page.add(
            prefix + "writer_silence_seconds", .gauge,
            "Time since the writer's last sign of life; it gives one every second.", writerSilence)
    }

    private func addStore(_ page: inout MetricsPage) {
        let prefix = Self.prefix
        page.add(prefix + "mailboxes", .gauge, "Mailboxes kept.", health.mailboxes)
        page.add(prefix + "groups", .gauge, "Groups kept.", health.groups)
        page.add(
            prefix + "messages_waiting", .gauge, "Messages that wait for somebody.",
            health.messages.count)
        page.add(
            prefix + "messages_waiting_bytes", .gauge, "Their octets.", health.messages.byteCount)
        page.add(
            prefix + "blobs", .gauge, "Blobs kept, those that aren't whole yet included.",
            health.blobs.count)
        page.add(
            prefix + "blobs_bytes", .gauge,
            "Octets of their pieces, and of those that are still to be deleted.",
            health.blobs.byteCount)
        page.add(
            prefix + "damaged_messages_total", .counter,
            "Stored messages that can't be read, as often as they were handed out as gaps.",
            health.counters.damagedMessages)
        page.add(
            prefix + "damaged_pieces_total", .counter,
            "Pieces of blobs that were asked for and can't be read.", health.counters.damagedPieces)
        let survey = health.survey
        page.add(
            prefix + "oldest_message_seconds", .gauge,
            "For how long the oldest message has been waiting, to the day; 0 if none waits.",
            UInt64(survey.oldestMessageDays ?? 0) * 86_400)
        page.add(
            prefix + "last_backup_seconds", .gauge,
            "When the last backup was made, Unix time to the hour; 0 if never.",
            (survey.lastBackupHour ?? 0) * 3_600)
        page.add(
            prefix + "last_rehearsal_seconds", .gauge,
            "When a restore was last rehearsed, Unix time to the hour; 0 if never.",
            (survey.lastRehearsalHour ?? 0) * 3_600)
        page.add(
            prefix + "trail_troubles", .gauge,
            "What is wrong with the audit trail and its mirror: so many things.",
            survey.trailTroubles)
        page.add(
            prefix + "erasure_delay_seconds", .gauge,
            "For how long another process that reads the database has kept an erasure from its end.",
            health.erasureDelaySeconds)
        page.add(
            prefix + "disk_free_bytes", .gauge, "Room on the data folder's file system.",
            freeByteCount.map { Double($0) })
        page.add(
            prefix + "disk_full", .gauge, "1 while what would grow is refused.",
            health.isFull ? 1 : 0)
    }

    private func addOperation(_ page: inout MetricsPage) {
        let prefix = Self.prefix
        page.add(
            prefix + "clock_doubted", .gauge,
            "1 while erasure by deadline is paused because of the clock.",
            health.isClockDoubted ? 1 : 0)
        page.add(
            prefix + "clock_behind_hours", .gauge,
            "Hours by which the clock is behind the relay's last sure hour; 0 if it isn't.",
            health.survey.clockBehindHours)
        page.add(
            prefix + "draining", .gauge, "1 once the relay has begun to stop.", isDraining ? 1 : 0)
        page.add(
            prefix + "certificate_expiry_seconds", .gauge,
            "When the TLS certificate in force expires, Unix time.",
            certificateExpiry?.timeIntervalSince1970)
        page.add(
            prefix + "reloads_total", .counter, "Reloads of settings and certificate, by result.",
            by: "result",
            [("taken", Double(reloads.taken)), ("refused", Double(reloads.refused))])
        page.add(
            prefix + "limit", .gauge, "The limits in force, by the names of their settings.",
            by: "name",
            Setting.all.compactMap { setting in
                setting.number(in: settings).map { (setting.name, $0) }
            })
    }
}

/// Reloads so far.
struct ReloadFigures: Equatable, Sendable {
    var taken: UInt64 = 0
    var refused: UInt64 = 0
}
