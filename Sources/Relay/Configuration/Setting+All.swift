private import RelayCore
private import RelayProtocol
private import WebSockets

extension Setting {
    /// Every setting, in the order of the operator's chapter.
    public static let all: [Setting] =
        places + lines + admission + traffic + mailboxes + blobs + homes

    private static let places: [Setting] = [
        path(
            "data", \.dataFolder, "The folder that holds everything the relay keeps.",
            takes: "folder"),
        path(
            "clinic-root", \.clinicRoot,
            "The clinic's root certificate, whose admission tokens are taken."),
        address("listen", \.listen, "Where devices connect; port 0 lets the system choose."),
        path(
            "tls-cert", \.tls.certificatePath,
            "Certificate chain for wss, PEM, leaf first. Without, only loopback addresses are listened on.",
            reload: true),
        path("tls-key", \.tls.privateKeyPath, "Private key for wss, PEM.", reload: true),
        metrics(
            "metrics-listen", \.metrics,
            "Where /metrics, /healthz and /readyz are; auto is 127.0.0.1 and the port after that of listen."
        ),
        path(
            "trail-mirror", \.trailMirror,
            "A folder on another disk in which the audit trail is kept as well.",
            takes: "folder"),
        truth(
            "accept-clock", \.acceptsClock,
            "Erase what is due although the clock is far ahead of the last run: you have compared the clock with another one."
        ),
        count(
            "clock-ahead", \.clockAheadDays, 0...100_000, "Days added to the clock, for tests.",
            unit: "days", hidden: true, reload: false),
    ]

    private static let lines: [Setting] = [
        choice("log-format", \.logFormat, "How the lines on standard error look.", reload: false),
        choice("log-level", \.logLevel, "From which level on there are lines.", reload: true),
    ]

    private static let admission: [Setting] = [
        blocks(
            "trusted-proxies", \.admission.trustedProxies,
            "Proxies whose X-Forwarded-For names the client that limits per address concern."),
        blocks(
            "limit-exempt-addresses", \.admission.exemptAddresses,
            "Whom the limits per address don't concern."),
        count(
            "limit-connections", \.admission.connections, 1...1_000_000,
            "Connections in all; a quarter of them may be without an open mailbox. Over it: HTTP 503, or the oldest without a mailbox is cut."
        ),
        count(
            "limit-connections-per-address", \.admission.connectionsPerAddress, 1...1_000_000,
            "Connections of one IPv4 address or one IPv6 network of 64 bits. Over it: HTTP 429."),
        rate(
            "limit-handshakes-per-second", \.admission.handshakesPerSecond, "per second",
            "New connections in all, on average; ten seconds' worth may come at once. Over it: HTTP 503."
        ),
        rate(
            "limit-handshakes-per-second-per-address", \.admission.handshakesPerSecondPerAddress,
            "per second", "The same for one address. Over it: HTTP 429."),
        seconds(
            "limit-handshake-seconds", \.admission.handshakeTimeout, 1...300,
            "Time for TLS, HTTP request and upgrade together; then the connection is cut."),
        count(
            "limit-opening-seconds", \.limits.secondsToOpen, 1...3_600,
            "How long a connection may be without an open mailbox; then it is closed.",
            unit: "seconds"),
        seconds(
            "ping-seconds", \.connection.pingInterval, 1...3_600,
            "Silence after which a device is pinged."),
        seconds(
            "pong-seconds", \.connection.pongTimeout, 1...300,
            "Silence after the ping, after which the connection is given up."),
    ]

    private static let traffic: [Setting] = [
        octets(
            "limit-frame-bytes", \.limits.published.frameByteCount, 128 << 10...16 << 20,
            "One frame from a device. Over it: closed with 1009."),
        seconds(
            "limit-frame-seconds", \.admission.messageTimeout, 1...3_600,
            "Time for one frame, from its first octets to its last; then the connection is cut."),
        octets(
            "limit-message-bytes", \.limits.published.messageByteCount, 4 << 10...8 << 20,
            "One message's ciphertext. Over it: too large."),
        octets(
            "limit-commit-bytes", \.limits.commitByteCount, 4 << 10...8 << 20,
            "One commit. Over it: too large."),
        count(
            "limit-hold-milliseconds", \.limits.holdMilliseconds, 0...1_000,
            "How long a message to connected recipients waits in memory for their acknowledgements before it is stored; 0: stored at once.",
            unit: "milliseconds"),
        octets(
            "limit-hold-bytes", \.limits.holdByteCount, 0...1 << 30,
            "All messages that wait so. Over it: stored at once."),
        count(
            "limit-connection-mailboxes", \.limits.connectionMailboxes, 1...100_000,
            "Mailboxes open on one connection. Over it: limit."),
        count(
            "limit-failed-openings", \.limits.failedOpenings, 1...100_000,
            "Openings after which a connection that still has no mailbox open is closed."),
        rate(
            "limit-openings-per-second", \.limits.openingsPerSecond, "per second",
            "Openings of one connection, on average; requests of mailboxes that it hasn't opened count too. Over it: rate."
        ),
        rate(
            "limit-opening-burst", \.limits.openingBurst, "number",
            "Openings of one connection at once.",
            1...10_000_000),
        rate(
            "limit-connection-requests-per-second", \.limits.connectionRequestsPerSecond,
            "per second",
            "Requests of one connection, all its mailboxes together, on average. Over it: rate."),
        rate(
            "limit-connection-request-burst", \.limits.connectionRequestBurst, "number",
            "Requests of one connection at once.", 1...10_000_000),
        rate(
            "limit-requests-per-second", \.limits.requestsPerSecond, "per second",
            "Requests of one mailbox, on average. Over it: rate."),
        rate(
            "limit-request-burst", \.limits.requestBurst, "number",
            "Requests of one mailbox at once.",
            1...10_000_000),
        count(
            "limit-outstanding-requests", \.limits.published.outstandingRequests,
            1...UInt32(ProtocolConstants.requestWindow),
            "Requests of one mailbox without an answer yet; told to the device."),
        count(
            "limit-window-messages", \.limits.windowMessages, 1...100_000,
            "Messages on their way to one mailbox without acknowledgement."),
        octets("limit-window-bytes", \.limits.windowByteCount, 64 << 10...1 << 30, "Their octets."),
        octets(
            "limit-connection-window-bytes", \.limits.connectionByteCount, 64 << 10...1 << 30,
            "Octets on their way to one connection without acknowledgement."),
        octets(
            "limit-unread-bytes", \.limits.unreadByteCount, 1 << 20...1 << 40,
            "Octets of all connections that were received and wait to be dealt with, and again as many of frames that aren't whole or that a pause holds back. Over it: whoever sends isn't read from; what has waited longest of the latter is cut."
        ),
        octets(
            "limit-unsent-bytes", \.limits.unsentByteCount, 1 << 20...1 << 40,
            "Octets of all connections that wait to be sent. Over it: those for which most has waited longest are cut."
        ),
    ]

    private static let mailboxes: [Setting] = [
        count(
            "limit-mailboxes", \.limits.mailboxes, 1...100_000_000,
            "Mailboxes in all. Over it: limit."),
        count("limit-groups", \.limits.groups, 1...50_000_000, "Groups in all. Over it: limit."),
        count(
            "limit-mailbox-messages", \.limits.mailboxMessages, 1...10_000_000,
            "Messages waiting for one mailbox. Over it: mailbox full, to messages only."
        ),
        octets(
            "limit-mailbox-bytes", \.limits.mailboxByteCount, 1 << 20...1 << 40,
            "Octets waiting for one mailbox. Over it: mailbox full; a commit may go 64 MiB over it, Welcomes and closings always have room."
        ),
        rate(
            "limit-commits-per-hour", \.limits.commitsPerHour, "per hour",
            "Commits of one group and of one mailbox, on average. Over it: rate."),
        rate(
            "limit-commit-burst", \.limits.commitBurst, "number",
            "Commits of one group and of one mailbox at once.", 1...10_000_000),
        count(
            "limit-group-members", \.limits.published.groupMembers,
            2...UInt32(ProtocolConstants.groupMembers), "Members of a group. Over it: limit."),
        count(
            "limit-group-days", \.limits.groupDays, 1...4_000,
            "Days from making a group to its deadline at most.", unit: "days"),
    ]

    private static let blobs: [Setting] = [
        octets(
            "limit-blob-bytes", \.limits.blobByteCount, 64 << 10...1 << 30,
            "One blob: a file's ciphertext, padded. Over it: too large."),
        count(
            "limit-group-blobs", \.limits.groupBlobs, 0...100_000,
            "Blobs of one group. Over it: limit; they go with the group."),
        octets(
            "limit-group-blob-bytes", \.limits.groupBlobByteCount, 0...1 << 40,
            "All blobs of one group. Over it: limit."),
        octets(
            "limit-all-blob-bytes", \.limits.allBlobByteCount, 0...1 << 50,
            "Stored pieces of all blobs; the fuller it is, the less a group may have. Over it: storage."
        ),
        count(
            "limit-unfinished-blobs", \.limits.unfinishedBlobs, 1...1_000,
            "Blobs that one mailbox has begun and not finished. Over it: rate."),
        count(
            "limit-unfinished-blob-days", \.limits.unfinishedBlobDays, 1...400,
            "Days without a piece after which a blob that isn't whole is deleted.", unit: "days"),
        rate(
            "limit-pieces-per-second", \.limits.piecesPerSecond, "per second",
            "Pieces of blobs (64 KiB) put and read by one mailbox, on average; a connection has twice that. Over it: rate."
        ),
        rate(
            "limit-piece-burst", \.limits.pieceBurst, "number",
            "Pieces of blobs put and read by one mailbox at once; a connection has twice that.",
            1...10_000_000),
    ]

    private static let homes: [Setting] = [
        count(
            "limit-tickets-per-day", \.limits.published.ticketsPerDay, 1...10_000,
            "Tickets that one home mailbox draws per day. Over it: limit."),
        count(
            "limit-ticket-days", \.limits.ticketDays, 1...1_000, "Days for which a ticket is good.",
            unit: "days"),
        count(
            "limit-shelf-packages", \.limits.published.shelfPackages, 1...10_000,
            "One-use KeyPackages on one shelf. Over it: limit."),
        octets(
            "limit-package-bytes", \.limits.packageByteCount, 4 << 10...1 << 20,
            "One sealed KeyPackage. Over it: too large."),
        rate(
            "limit-claims-per-hour", \.limits.claimsPerHour, "per hour",
            "KeyPackages claimed by one mailbox, on average and at once. Over it: rate.",
            1...1_000_000),
        rate(
            "limit-shelf-claims-per-hour", \.limits.shelfClaimsPerHour, "per hour",
            "KeyPackages claimed from one shelf, on average and at once. Over it: rate.",
            1...1_000_000),
        rate(
            "limit-shelf-clearings-per-hour", \.limits.shelfClearingsPerHour, "per hour",
            "How often one shelf may be emptied or its last-resort KeyPackage replaced, on average and at once. Over it: rate.",
            1...1_000_000),
        count(
            "limit-permit-uses", \.limits.permitUses, 1...10_000,
            "Uses that one join permit may be given."),
    ]
}
