import Cryptography
import Foundation
import RelayCore
import RelayProtocol
import RelayTestSupport
import Testing

@testable import Relay

/// The operator's table of limits, held against the settings, the metrics and what requests get.
@Suite struct `The table of limits` {
    private struct Row {
        let names: [String]
        let refusal: String
        let again: String
        let metric: String

        static func all() throws -> [Row] {
            let chapter = try operatorsChapter()
            let table = try #require(
                chapter.firstMatch(of: /<!-- limits -->\n.*\n.*\n((?:\|.*\n)+)<!-- end -->/))
            return table.1.split(separator: "\n").map { line in
                let cells = line.split(separator: "|").map {
                    $0.trimmingCharacters(in: .whitespaces)
                }
                return Row(
                    names: cells[0].matches(of: /`([a-z-]+)`/).map { String($0.1) },
                    refusal: cells[1], again: cells[2],
                    metric: cells[3].replacing("`", with: ""))
            }
        }
    }

    @Test func `names every limit once, and where it is counted`() throws {
        let rows = try Row.all()
        let settings = Setting.all.map(\.name).filter {
            $0.hasPrefix("limit-") && $0 != "limit-exempt-addresses"
        }
        #expect(rows.flatMap(\.names).sorted() == settings.sorted())
        let page = Metrics.everything().page
        for row in rows {
            #expect(page.contains("\n\(row.metric) "), "\(row.metric)")
        }
    }

    /// Sets limits; then leads up to a request that is refused, and says how to ask it again.
    private struct Scenario {
        let limits: (inout RelayLimits) -> Void
        let lead: (RelayWorld) throws -> () throws -> Outcome
    }

    private static func talking(
        _ limits: @escaping (inout RelayLimits) -> Void,
        _ lead: @escaping (RelayWorld, TestConsultation) throws -> () throws -> Outcome
    ) -> Scenario {
        Scenario(limits: limits) { world in try lead(world, try TestConsultation(world)) }
    }

    private static func creation(_ world: RelayWorld, days: UInt32 = 9, others: Int = 0) throws
        -> RelayProtocol.Operation
    {
        .making(
            try #require(GroupID(Random.bytes(32))),
            of: try (0..<others).map { _ in try TestMailbox().member(.guest) },
            until: world.now.day.adding(days: days))
    }

    private static func repeated(
        _ count: Int, _ ask: @escaping () throws -> Outcome
    ) throws -> () throws -> Outcome {
        for _ in 0..<count { _ = try ask() }
        return ask
    }

    private static var scenarios: [String: Scenario] {
        [
            "limit-message-bytes": talking({ $0.published.messageByteCount = 500 }) { _, talk in
                return { try talk.send(Random.bytes(600), from: talk.patient) }
            },
            "limit-commit-bytes": talking({ $0.commitByteCount = 500 }) { _, talk in
                return { try talk.patient.ask(talk.commit(epoch: 1, body: Random.bytes(600))) }
            },
            "limit-package-bytes": talking({ $0.packageByteCount = 500 }) { _, talk in
                let stock = ShelfStock(packages: [Random.bytes(600)])
                return { try talk.doctorHome.ask(.stockShelf(stock)) }
            },
            "limit-blob-bytes": talking({ $0.blobByteCount = 500 }) { _, talk in
                let blob = try TestBlob(of: talk, byteCount: 600)
                return { try blob.begin(by: talk.patient) }
            },
            "limit-openings-per-second": opening,
            "limit-opening-burst": opening,
            "limit-connection-requests-per-second": connectionRequests,
            "limit-connection-request-burst": connectionRequests,
            "limit-requests-per-second": requests,
            "limit-request-burst": requests,
            "limit-commits-per-hour": commits,
            "limit-commit-burst": commits,
            "limit-claims-per-hour": talking({ $0.claimsPerHour = 1 }) { _, talk in
                try repeated(1) {
                    try talk.patient.ask(.claimKeyPackage(shelf: talk.doctorHome.id))
                }
            },
            "limit-shelf-claims-per-hour": talking({ $0.shelfClaimsPerHour = 1 }) { _, talk in
                try repeated(1) {
                    try talk.patient.ask(.claimKeyPackage(shelf: talk.doctorHome.id))
                }
            },
            "limit-shelf-clearings-per-hour": talking({ $0.shelfClearingsPerHour = 1 }) { _, talk in
                let stock = ShelfStock(packages: [], withdraw: true)
                return try repeated(1) { try talk.doctorHome.ask(.stockShelf(stock)) }
            },
            "limit-pieces-per-second": pieces,
            "limit-piece-burst": pieces,
            "limit-unfinished-blobs": talking({ $0.unfinishedBlobs = 1 }) { _, talk in
                try repeated(1) { try TestBlob(of: talk, byteCount: 600).begin(by: talk.patient) }
            },
            "limit-mailbox-messages": talking({ $0.mailboxMessages = 1 }) { world, talk in
                try world.hangUp(#require(talk.doctor.line))
                return { try talk.send([1], from: talk.patient) }
            },
            "limit-mailbox-bytes": talking({ $0.mailboxByteCount = 50 }) { world, talk in
                try world.hangUp(#require(talk.doctor.line))
                return { try talk.send([1], from: talk.patient) }
            },
            "limit-tickets-per-day": talking({ $0.published.ticketsPerDay = 3 }) { world, talk in
                world.advance(seconds: 4_000)
                return try repeated(2) { try talk.patientHome.ask(.drawTickets(count: 1)) }
            },
            "limit-mailboxes": talking({ $0.mailboxes = 4 }) { world, _ in
                let line = try world.connect()
                let token = try world.token()
                return { try line.open(TestMailbox(), creation: .home(admissionToken: token)) }
            },
            "limit-connection-mailboxes": talking({ $0.connectionMailboxes = 2 }) { world, talk in
                let line = try #require(talk.doctor.line)
                let token = try world.token()
                return { try line.open(TestMailbox(), creation: .home(admissionToken: token)) }
            },
            "limit-groups": talking({ $0.groups = 1 }) { world, talk in
                let line = try #require(talk.patient.line)
                let mailbox = try line.makeFresh(from: talk.patientHome, permitUses: 0)
                return { try mailbox.ask(creation(world)) }
            },
            "limit-group-members": talking({ $0.published.groupMembers = 2 }) { world, talk in
                let line = try #require(talk.patient.line)
                let mailbox = try line.makeFresh(from: talk.patientHome, permitUses: 0)
                return { try mailbox.ask(creation(world, others: 2)) }
            },
            "limit-group-days": talking({ $0.groupDays = 100 }) { world, talk in
                let line = try #require(talk.patient.line)
                let mailbox = try line.makeFresh(from: talk.patientHome, permitUses: 0)
                return { try mailbox.ask(creation(world, days: 101)) }
            },
            "limit-shelf-packages": talking({ $0.published.shelfPackages = 1 }) { _, talk in
                let stock = ShelfStock(packages: [[1], [2]])
                return { try talk.doctorHome.ask(.stockShelf(stock)) }
            },
            "limit-permit-uses": talking({ $0.permitUses = 2 }) { world, talk in
                let line = try #require(talk.patient.line)
                guard case .tickets(let tickets) = try talk.patientHome.ask(.drawTickets(count: 1))
                else { throw RelayWorld.Problem.noReply }
                let mailbox = try TestMailbox()
                return {
                    try line.open(
                        mailbox,
                        creation: .fresh(
                            ticket: tickets[0], permitHash: mailbox.permit.hash, permitUses: 3))
                }
            },
            "limit-group-blobs": talking({ $0.groupBlobs = 1 }) { _, talk in
                try repeated(1) { try TestBlob(of: talk, byteCount: 600).begin(by: talk.patient) }
            },
            "limit-group-blob-bytes": talking({ $0.groupBlobByteCount = 500 }) { _, talk in
                return { try TestBlob(of: talk, byteCount: 600).begin(by: talk.patient) }
            },
            "limit-all-blob-bytes": talking({ $0.allBlobByteCount = 500 }) { _, talk in
                return { try TestBlob(of: talk, byteCount: 600).begin(by: talk.patient) }
            },
            "limit-ticket-days": talking({ $0.ticketDays = 1 }) { world, talk in
                guard case .tickets(let tickets) = try talk.patientHome.ask(.drawTickets(count: 1))
                else { throw RelayWorld.Problem.noReply }
                world.advance(days: 2)
                let line = try world.connect()
                return {
                    try line.open(
                        TestMailbox(),
                        creation: .fresh(ticket: tickets[0], permitHash: nil, permitUses: 0))
                }
            },
            "limit-unfinished-blob-days": talking({ $0.unfinishedBlobDays = 1 }) { world, talk in
                let blob = try TestBlob(of: talk, byteCount: 600)
                _ = try blob.begin(by: talk.patient)
                world.advance(days: 3)
                try world.sweep()
                return { try blob.put(0, by: talk.patient) }
            },
        ]
    }

    private static var opening: Scenario {
        talking({ ($0.openingsPerSecond, $0.openingBurst) = (0.1, 4) }) { world, talk in
            let line = try world.connect()
            return try repeated(4) { try line.open(talk.patient) }
        }
    }

    /// A ticket was drawn over the connection, and the group made.
    private static var connectionRequests: Scenario {
        talking({ ($0.connectionRequestsPerSecond, $0.connectionRequestBurst) = (0.1, 5) }) {
            _, talk in
            try repeated(3) { try talk.patient.ask(.inspectGroup(talk.group)) }
        }
    }

    /// The group was made.
    private static var requests: Scenario {
        talking({ ($0.requestsPerSecond, $0.requestBurst) = (0.1, 5) }) { _, talk in
            try repeated(4) { try talk.patient.ask(.inspectGroup(talk.group)) }
        }
    }

    private static var commits: Scenario {
        talking({ ($0.commitsPerHour, $0.commitBurst) = (60, 1) }) { _, talk in
            _ = try talk.patient.ask(talk.commit(epoch: 1))
            return { try talk.patient.ask(talk.commit(epoch: 2)) }
        }
    }

    private static var pieces: Scenario {
        talking({ ($0.piecesPerSecond, $0.pieceBurst) = (0.1, 1) }) { _, talk in
            let blob = try TestBlob(of: talk, byteCount: 600)
            _ = try blob.begin(by: talk.patient)
            _ = try blob.put(0, by: talk.patient)
            return { try blob.read(0, by: talk.patient) }
        }
    }

    @Test func `says what each request gets, and when it is taken`() throws {
        let words = Dictionary(
            (1...Refusal.last.rawValue).map { (Refusal(rawValue: $0).description, $0) },
            uniquingKeysWith: { $1 })
        let scenarios = Self.scenarios
        for row in try Row.all() {
            guard let code = words[row.refusal] else { continue }
            for name in row.names {
                let scenario = try #require(scenarios[name], "nothing tries \(name)")
                var limits = RelayLimits()
                scenario.limits(&limits)
                let world = try RelayWorld(limits: limits)
                let ask = try scenario.lead(world)
                guard case .refused(let refusal, let seconds) = try ask() else {
                    Issue.record("\(name) refuses nothing")
                    continue
                }
                #expect(refusal.rawValue == code, "\(name): \(refusal)")
                #expect(world.engine.counters.refusals[code] == 1, "\(name)")
                if row.again.hasPrefix("final") {
                    #expect(seconds == 0, "\(name)")
                } else if let match = row.again.firstMatch(of: /after ([0-9]+) s/) {
                    #expect(seconds == UInt32(match.1), "\(name)")
                } else {
                    #expect(row.again.hasPrefix("told") && seconds > 0, "\(name)")
                    world.advance(seconds: UInt64(seconds))
                    if case .refused(refusal, _) = try ask() {
                        Issue.record("\(name) still refuses after \(seconds) s")
                    }
                }
            }
        }
    }
}
