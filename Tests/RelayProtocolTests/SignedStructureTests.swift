import Cryptography
import RelayProtocol
import Testing

private func require(_ id: GroupID?) throws -> GroupID { try #require(id) }

struct SignedStructureTests {
    @Test func `a challenge holds for its device's nonce and the pinned key only`() throws {
        let relay = try SigningKey()
        let nonce = Random.bytes(32)
        let challenge = try RelayIntroduction.make(
            identity: relay, clientNonce: nonce, relayNonce: Random.bytes(32),
            incarnation: Random.bytes(16), limits: PublishedLimits())
        try RelayIntroduction.verify(challenge, clientNonce: nonce, pinned: relay.publicKey)
        let other = try SigningKey().publicKey
        #expect(throws: RelayProtocolError.wrongRelay) {
            try RelayIntroduction.verify(challenge, clientNonce: nonce, pinned: other)
        }
        #expect(throws: RelayProtocolError.wrongSignature) {
            try RelayIntroduction.verify(
                challenge, clientNonce: Random.bytes(32), pinned: relay.publicKey)
        }
        var changed = challenge
        changed.incarnation[0] ^= 1
        #expect(throws: RelayProtocolError.wrongSignature) {
            try RelayIntroduction.verify(changed, clientNonce: nonce, pinned: relay.publicKey)
        }
        changed = challenge
        changed.limits.messageByteCount += 1
        #expect(throws: RelayProtocolError.wrongSignature) {
            try RelayIntroduction.verify(changed, clientNonce: nonce, pinned: relay.publicKey)
        }
    }

    @Test func `an opening holds for one connection, relay, mailbox and counter`() throws {
        let relay = try SigningKey().publicKey
        let key = try SigningKey()
        let mailbox = try #require(MailboxID(key.publicKey.bytes))
        let proof = OpeningProof(
            relayKey: relay, clientNonce: Random.bytes(32), relayNonce: Random.bytes(32))
        let creation = Opening.Creation.fresh(
            ticket: [1], permitHash: Random.bytes(32), permitUses: 1)
        let signature = try proof.sign(with: key, counter: 5, creation: creation)
        let opening = Opening(counter: 5, signature: signature, creation: creation)
        #expect(proof.isValid(opening, of: mailbox))
        var changed = opening
        changed.counter = 6
        #expect(!proof.isValid(changed, of: mailbox))
        // Nobody on the way puts a permit of its own in.
        changed = opening
        changed.creation = .fresh(ticket: [1], permitHash: Random.bytes(32), permitUses: 1)
        #expect(!proof.isValid(changed, of: mailbox))
        changed.creation = nil
        #expect(!proof.isValid(changed, of: mailbox))
        let other = try #require(MailboxID(try SigningKey().publicKey.bytes))
        #expect(!proof.isValid(opening, of: other))
        var elsewhere = proof
        elsewhere.relayKey = try SigningKey().publicKey
        #expect(!elsewhere.isValid(opening, of: mailbox))
        var later = proof
        later.relayNonce = Random.bytes(32)
        #expect(!later.isValid(opening, of: mailbox))
    }

    @Test func `an admission token holds for one relay until its end`() throws {
        let clinic = try SigningKey()
        let relay = try SigningKey().publicKey
        let token = try AdmissionToken(
            relayKey: relay, serial: Random.bytes(16), expires: 1_000, clinicRoot: clinic)
        let bytes = token.encoded()
        #expect(bytes.count == AdmissionToken.byteCount)
        let read = try AdmissionToken(decoding: bytes)
        try read.verify(clinicRoot: clinic.publicKey, relayKey: relay, at: 1_000)
        #expect(throws: RelayProtocolError.expired) {
            try read.verify(clinicRoot: clinic.publicKey, relayKey: relay, at: 1_001)
        }
        let other = try SigningKey().publicKey
        #expect(throws: RelayProtocolError.wrongRelay) {
            try read.verify(clinicRoot: clinic.publicKey, relayKey: other, at: 0)
        }
        #expect(throws: RelayProtocolError.wrongSignature) {
            try read.verify(clinicRoot: other, relayKey: relay, at: 0)
        }
        for index in bytes.indices {
            var changed = bytes
            changed[index] ^= 0x40
            #expect(throws: RelayProtocolError.self) {
                try AdmissionToken(decoding: changed).verify(
                    clinicRoot: clinic.publicKey, relayKey: relay, at: 0)
            }
        }
    }

    @Test func `a ticket holds for its key and day`() throws {
        let key = SecretBytes.random(count: 32)
        let ticket = try Ticket(
            nonce: Random.bytes(16), expires: Day(rawValue: 10), key: key)
        let read = try Ticket(decoding: ticket.encoded())
        #expect(read == ticket)
        #expect(ticket.encoded().count == Ticket.byteCount)
        try read.verify(key: key, on: Day(rawValue: 10))
        #expect(throws: RelayProtocolError.expired) {
            try read.verify(key: key, on: Day(rawValue: 11))
        }
        #expect(throws: RelayProtocolError.wrongSignature) {
            try read.verify(key: .random(count: 32), on: Day(rawValue: 1))
        }
    }

    @Test func `a receipt holds for what it says`() throws {
        let relay = try SigningKey()
        let group = try require(GroupID(Random.bytes(32)))
        let receipt = try ErasureReceipt(
            group: group, erasedAt: 7_200, reason: .confirmed, messageCount: 3, mailboxCount: 2,
            identity: relay)
        let bytes = receipt.encoded()
        #expect(bytes.count == ErasureReceipt.byteCount)
        let read = try ErasureReceipt(decoding: bytes)
        try read.verify(relayKey: relay.publicKey)
        #expect(read.groupHash == ErasureReceipt.groupHash(of: group))
        #expect(read.erasedAtHour == 2)
        for index in bytes.indices {
            var changed = bytes
            changed[index] ^= 1
            #expect(throws: RelayProtocolError.self) {
                try ErasureReceipt(decoding: changed).verify(relayKey: relay.publicKey)
            }
        }
    }

    @Test func `structures cut or prolonged are refused`() throws {
        let relay = try SigningKey()
        let token = try AdmissionToken(
            relayKey: relay.publicKey, serial: Random.bytes(16), expires: 1, clinicRoot: relay
        ).encoded()
        let ticket = try Ticket(
            nonce: Random.bytes(16), expires: Day(rawValue: 1), key: .random(count: 32)
        ).encoded()
        let receipt = try ErasureReceipt(
            group: try require(GroupID(Random.bytes(32))), erasedAt: 0, reason: .deadline,
            messageCount: 0, mailboxCount: 0, identity: relay
        ).encoded()
        for count in 0..<token.count {
            #expect(throws: RelayProtocolError.self) {
                try AdmissionToken(decoding: Array(token[..<count]))
            }
        }
        for count in 0..<ticket.count {
            #expect(throws: RelayProtocolError.self) {
                try Ticket(decoding: Array(ticket[..<count]))
            }
        }
        for count in 0..<receipt.count {
            #expect(throws: RelayProtocolError.self) {
                try ErasureReceipt(decoding: Array(receipt[..<count]))
            }
        }
        #expect(throws: RelayProtocolError.self) { try AdmissionToken(decoding: token + [0]) }
        #expect(throws: RelayProtocolError.self) { try Ticket(decoding: ticket + [0]) }
        #expect(throws: RelayProtocolError.self) { try ErasureReceipt(decoding: receipt + [0]) }
    }

    @Test func `a permit is known by its hash alone`() throws {
        let permit = JoinPermit()
        #expect(permit.hash.count == 32)
        #expect(JoinPermit(permit.secret.exposedCopy())?.hash == permit.hash)
        #expect(JoinPermit().hash != permit.hash)
        #expect(JoinPermit([1]) == nil)
    }
}
