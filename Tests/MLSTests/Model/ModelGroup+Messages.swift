import Cryptography
import TestSupport
import Testing

@testable import MLS

/// Application data: lost, repeated and shuffled.
extension ModelGroup {
    /// One random event.
    mutating func step() throws {
        switch Int.random(in: 0..<28, using: &random) {
        case 0..<6: try send()
        case 6..<13: try propose()
        case 13..<17: try commit()
        case 17: try joinFromOutside()
        case 18: try rejoin()
        case 19:
            try participants[Int.random(in: participants.indices, using: &random)].restart()
            count(.restart)
        case 20: try branch()
        case 21 where happens(oneIn: 4): try reInitialize()
        default: try deliverSome()
        }
        largestSeen = max(largestSeen, memberCount)
    }

    private mutating func send() throws {
        let senders = participants.indices.filter {
            participants[$0].isMember && !participants[$0].isStranded
        }
        guard let index = senders.randomElement(using: &random) else { return }
        let text = random.bytes(Int.random(in: 0..<200, using: &random))
        let message = try participants[index].group.encrypt(
            text, authenticatedData: [UInt8(truncatingIfNeeded: index)],
            paddedTo: Int.random(in: 0..<300, using: &random),
            signingKey: participants[index].signingKey)
        participants[index].keepChanges()
        sent.append(
            Sent(bytes: message.bytes, plaintext: text, sender: index, epoch: message.epoch))
        for other in participants.indices {
            if happens(oneIn: 8) {
                count(.lostMessage)
                continue
            }
            participants[other].unread.append(sent.count - 1)
            if happens(oneIn: 12) { participants[other].unread.append(sent.count - 1) }
        }
    }

    private mutating func deliverSome() throws {
        for _ in 0..<Int.random(in: 1...8, using: &random) {
            let index = Int.random(in: participants.indices, using: &random)
            if !participants[index].handshakes.isEmpty, Bool.random(using: &random) {
                try deliverHandshake(to: index)
            } else if !participants[index].unread.isEmpty {
                let position = Int.random(
                    in: participants[index].unread.indices, using: &random)
                try read(participants[index].unread.remove(at: position), by: index)
            }
        }
    }

    /// Gives a message to a participant and checks that what happens is what must.
    mutating func read(_ number: Int, by index: Int) throws {
        let message = sent[number]
        let reader = participants[index]
        do {
            let received = try participants[index].group.process(
                message.bytes, validator: Anyone(), at: Fixture.now)
            switch received {
            case .application(let application):
                guard application.plaintext == message.plaintext,
                    application.epoch == message.epoch
                else { throw fail("another plaintext") }
                guard !reader.read.contains(number) else { throw fail("a message read twice") }
                guard message.epoch >= reader.since, message.epoch <= reader.group.epoch else {
                    throw fail("a message of an epoch that the reader was not in")
                }
                participants[index].read.insert(number)
                participants[index].keepChanges()
                count(message.epoch < reader.group.epoch ? .messageOfPastEpoch : .message)
            case .own:
                guard message.sender == index else { throw fail("another's message as own") }
            case .proposal, .commit:
                throw fail("a handshake out of application data")
            }
        } catch let error as MLSError {
            let isThorough = happens(oneIn: 8)
            guard participants[index].isUnchanged(since: reader.group, thorough: isThorough) else {
                throw fail("a refused message changed the group: \(error)")
            }
            let isKept =
                message.epoch >= reader.since && message.epoch <= reader.group.epoch
                && reader.group.epoch - message.epoch <= UInt64(policy.pastEpochCount)
            if reader.read.contains(number) {
                count(.repeatedMessage)
            } else if isKept, reader.isMember, message.sender != index {
                throw fail("a message that should be readable is not: \(error)")
            }
            if !reader.isMember { count(.messageToRemoved) }
            if message.epoch > reader.group.epoch, reader.isMember, !reader.isStranded {
                participants[index].unread.append(number)
            }
        }
    }

    /// Lets everything arrive.
    mutating func settle() throws {
        try deliverHandshakes()
        for index in participants.indices {
            var unread = participants[index].unread
            participants[index].unread = []
            unread.shuffle(using: &random)
            for number in unread { try read(number, by: index) }
        }
    }

    /// Lets all proposals and commits arrive.
    mutating func deliverHandshakes() throws {
        for index in participants.indices {
            var attempts = 0
            while !participants[index].handshakes.isEmpty {
                attempts += 1
                guard attempts < 10_000 else { throw fail("handshakes that never fit") }
                try deliverHandshake(to: index)
            }
        }
    }

    /// Lets everything arrive, and checks that those who should agree do, and nobody else.
    mutating func finish() throws {
        try settle()
        let members = upToDate
        guard let first = members.first else { throw fail("nobody is left") }
        let reference = participants[first].group
        guard
            Set(members.map { participants[$0].signingKey.publicKey.bytes }).isSubset(
                of: reference.members.map(\.signatureKey))
        else { throw fail("someone is in who is not in the tree") }
        let exported = try reference.export(label: "model", context: [1], count: 32)
        for index in members {
            let group = participants[index].group
            guard group.members == reference.members, group.extensions == reference.extensions,
                group.epochAuthenticator == reference.epochAuthenticator,
                try group.export(label: "model", context: [1], count: 32) == exported
            else { throw fail("members disagree") }
        }
        let message = try participants[first].group.encrypt(
            [1, 2, 3], signingKey: participants[first].signingKey)
        sent.append(
            Sent(bytes: message.bytes, plaintext: [1, 2, 3], sender: first, epoch: epoch))
        for index in participants.indices {
            participants[index].unread.append(sent.count - 1)
        }
        try settle()
        for index in participants.indices {
            let hasRead = participants[index].read.contains(sent.count - 1)
            guard hasRead == (members.contains(index) && index != first) else {
                throw fail("the last message: member \(members.contains(index)), read \(hasRead)")
            }
        }
    }
}
