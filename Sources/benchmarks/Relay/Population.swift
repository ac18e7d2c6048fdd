import Cryptography
import RelayProtocol
import WebSockets

/// A mailbox with its key.
struct LoadMailbox: Sendable {
    let id: MailboxID
    let key: SigningKey
    let permit: JoinPermit?
}

/// A group of two: one writes, the other reads.
struct LoadPair: Sendable {
    let writer: LoadMailbox
    let reader: LoadMailbox
    let group: GroupID
}

/// Makes connections, mailboxes and groups in the way that devices do.
struct Population: Sendable {
    let relay: RelayProcess
    let loop: LoadLoop

    func connection() async throws -> LoadConnection {
        let connection = LoadConnection(on: loop)
        _ = try await connection.connect(to: relay.url)
        return connection
    }

    /// Many connections, several of them on their way at a time.
    func connections(_ count: Int) async throws -> [LoadConnection] {
        try await concurrently(Array(0..<count)) { _ in try await connection() }
    }

    /// A home mailbox, opened on the connection.
    func home(on connection: LoadConnection) async throws -> LoadMailbox {
        guard let challenge = await connection.challenge else {
            throw BenchmarkError.unexpected("no challenge")
        }
        let mailbox = try mailbox(permit: nil)
        let token = try AdmissionToken(
            relayKey: VerifyingKey(challenge.relayKey), serial: Random.bytes(16),
            expires: relay.now + 3600, clinicRoot: relay.clinicRoot)
        try await connection.open(mailbox.key, creation: .home(admissionToken: token.encoded()))
        return mailbox
    }

    /// Fresh mailboxes, opened on the connection, with tickets that a home mailbox has drawn.
    func mailboxes(
        _ count: Int, on connection: LoadConnection, canBeAdded: Bool
    ) async throws -> [LoadMailbox] {
        var made: [LoadMailbox] = []
        while made.count < count {
            let home = try await home(on: connection)
            let drawn = try await connection.ask(
                .drawTickets(count: UInt32(min(50, count - made.count))), as: home.id)
            guard case .tickets(let tickets) = drawn, !tickets.isEmpty else {
                throw BenchmarkError.unexpected("tickets: \(drawn)")
            }
            for ticket in tickets {
                let mailbox = try mailbox(permit: canBeAdded ? JoinPermit() : nil)
                try await connection.open(
                    mailbox.key,
                    creation: .fresh(
                        ticket: ticket, permitHash: mailbox.permit?.hash,
                        permitUses: canBeAdded ? 1 : 0))
                made.append(mailbox)
            }
        }
        return made
    }

    /// A group of two mailboxes, made on the writer's connection.
    func pair(
        _ writer: LoadMailbox, _ reader: LoadMailbox, on connection: LoadConnection
    ) async throws -> LoadPair {
        guard let group = GroupID(Random.bytes(GroupID.byteCount)) else {
            throw BenchmarkError.unexpected("a group id")
        }
        let outcome = try await connection.ask(
            .createGroup(
                GroupCreation(
                    groupID: group, epoch: LoadMessage.epoch, commitHash: Random.bytes(32),
                    members: [Member(mailbox: reader.id, permit: reader.permit, role: .owner)],
                    welcomes: [], deadline: Day(unixSeconds: relay.now).adding(days: 20))),
            as: writer.id)
        guard case .done = outcome else {
            throw BenchmarkError.unexpected("a group: \(outcome)")
        }
        return LoadPair(writer: writer, reader: reader, group: group)
    }

    private func mailbox(permit: JoinPermit?) throws -> LoadMailbox {
        let key = try SigningKey()
        guard let id = MailboxID(key.publicKey.bytes) else {
            throw BenchmarkError.unexpected("a mailbox")
        }
        return LoadMailbox(id: id, key: key, permit: permit)
    }
}

/// Does something with each element, with so many under way at a time; in the elements' order.
func concurrently<Element: Sendable, Result: Sendable>(
    _ elements: [Element], atATime limit: Int = 64,
    _ body: @escaping @Sendable (Element) async throws -> Result
) async throws -> [Result] {
    try await withThrowingTaskGroup(of: (Int, Result).self) { group in
        var results: [Int: Result] = [:]
        for (index, element) in elements.enumerated() {
            if index >= limit, let (place, result) = try await group.next() {
                results[place] = result
            }
            group.addTask { (index, try await body(element)) }
        }
        for try await (place, result) in group { results[place] = result }
        return elements.indices.compactMap { results[$0] }
    }
}
