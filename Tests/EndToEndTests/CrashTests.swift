import Foundation
import TestSupport
import Testing

/// Kills relay, doctor and patient at random instants while both write, then compares what was
/// said, what was acknowledged and what is shown.
///
/// `CURTAIN_CRASH_SEED` replays one talk with the choices of that seed; `CURTAIN_CRASH_ROUNDS`
/// makes it longer.
@Suite struct `Processes killed at random` {
    static let seeds: [UInt64] = {
        let seed = setting("CURTAIN_CRASH_SEED", default: 0)
        return seed == 0 ? Array(1...4) : [seed]
    }()
    static let roundsPerTalk = Int(setting("CURTAIN_CRASH_ROUNDS", default: 52))

    @Test(.timeLimit(.minutes(12)))
    func `nothing is lost, doubled, out of order or under a used key in 200 rounds`() async throws {
        // Two talks at a time: while one waits for a start, the other one keeps the machine busy.
        try await withThrowingTaskGroup(of: Void.self) { group in
            var seeds = Self.seeds[...]
            for _ in 0..<2 {
                guard let seed = seeds.popFirst() else { break }
                group.addTask { try await Self.talk(seed: seed) }
            }
            while try await group.next() != nil {
                guard let seed = seeds.popFirst() else { continue }
                group.addTask { try await Self.talk(seed: seed) }
            }
        }
    }

    private static func talk(seed: UInt64) async throws {
        var generator = SeededGenerator(seed: seed)
        try await Stage.with { stage in
            let doctor = try await stage.doctor("Doctor")
            let patient = try await stage.patient("Patient")
            let id = try await stage.consultation(of: patient, with: doctor)
            var sides = [TalkingSide(doctor, in: id), TalkingSide(patient, in: id)]
            for round in 1...roundsPerTalk {
                do {
                    try await Self.round(&sides, on: stage, with: &generator)
                    if round % 13 == 0 || round == roundsPerTalk {
                        try await compare(&sides, place: "seed \(seed), round \(round)")
                    }
                } catch {
                    Issue.record("CURTAIN_CRASH_SEED=\(seed), round \(round): \(error)")
                    throw error
                }
            }
        }
    }

    /// Both write, somebody is killed, and comes back.
    private static func round(
        _ sides: inout [TalkingSide], on stage: Stage, with generator: inout SeededGenerator
    ) async throws {
        for index in sides.indices { try sides[index].startChat() }
        func pause(_ range: ClosedRange<Int>) async throws {
            try await Task.sleep(for: .milliseconds(Int.random(in: range, using: &generator)))
        }
        for _ in 0..<Int.random(in: 1...8, using: &generator) {
            sides[Int.random(in: 0...1, using: &generator)].say()
            try await pause(0...30)
        }
        // A process that has only just started is killed in its start as often as at work.
        try await pause(0...250)

        switch Int.random(in: 0..<10, using: &generator) {
        case 0...3:
            try await stage.killRelay()
            for index in sides.indices where Bool.random(using: &generator) { sides[index].say() }
            try await pause(0...60)
            try await stage.startRelay()
        case 4...6:
            try await sides[Int.random(in: 0...1, using: &generator)].killChat()
        case 7:
            try await sides[0].killChat()
            try await sides[1].killChat()
        case 8:
            try await stage.killRelay()
            try await sides[Int.random(in: 0...1, using: &generator)].killChat()
            try await stage.startRelay()
        default:
            let index = Int.random(in: 0...1, using: &generator)
            try await sides[index].killChat()
            let delay = Int.random(in: 0...500, using: &generator)
            try await sides[index].sendOnce(killAfter: .milliseconds(delay))
        }
    }

    /// Lets everything arrive, then compares both sides.
    private static func compare(_ sides: inout [TalkingSide], place: String) async throws {
        for index in sides.indices { try await sides[index].endChat() }
        for side in sides + sides { try await side.person.curtain("sync") }
        var messages: [[JSONLine]] = []
        for side in sides { messages.append(try await side.person.messages(side.consultation)) }
        var faults: [String] = []
        for sender in 0...1 {
            for reader in 0...1 {
                faults += sides[sender].faults(
                    in: messages[reader], mine: sender == reader,
                    reader: sides[reader].person.name)
            }
        }
        for reader in 0...1 {
            let name = sides[reader].person.name
            for message in messages[reader] where message["kind"] == "gap" {
                faults.append("\(name) sees a gap: \(message.text)")
            }
            let ids = messages[reader].compactMap { $0["id"] }
            if Set(ids).count != ids.count { faults.append("\(name) sees an id twice") }
            faults += reusedKeys(messages[reader], reader: name)
        }
        let texts = messages.map { Set($0.compactMap { $0["text"] }) }
        for text in texts[0].symmetricDifference(texts[1]) {
            faults.append("only one side has: \(text)")
        }
        #expect(faults.isEmpty, "\(place)\n\(faults.joined(separator: "\n"))")
        for index in sides.indices { sides[index].resolve(by: messages[index]) }
    }

    /// Ratchet keys (sender, epoch, generation) under which two different messages came.
    private static func reusedKeys(_ messages: [JSONLine], reader: String) -> [String] {
        var users: [String: String] = [:]
        return messages.compactMap { message in
            guard let id = message["id"], let sender = message.number("sender"),
                let epoch = message.number("epoch"), let generation = message.number("generation")
            else { return message["kind"] == "text" ? "\(reader): no key named: \(message)" : nil }
            let key = "leaf \(sender), epoch \(epoch), generation \(generation)"
            let other = users.updateValue(id, forKey: key)
            return other == nil ? nil : "\(reader): used twice: \(key)"
        }
    }
}
