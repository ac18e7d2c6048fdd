import Clinic
import ClinicTestSupport
import Credentials
import Cryptography
import FoundationEssentials
import RelayProtocol
import Testing

/// Invitations as URI and file, open and under a PIN.
struct `Invitations` {
    let date = Date(timeIntervalSince1970: 1_800_000_000)
    let clinic: TestClinic
    let relayKey: VerifyingKey
    let invitation: Invitation

    init() throws {
        clinic = try TestClinic(at: date)
        relayKey = try SigningKey().publicKey
        invitation = try clinic.invitation(relayKey: relayKey)
    }

    private func open(_ text: String) throws -> Invitation {
        guard case .open(let invitation) = try InvitationText(text) else {
            throw CredentialError.wrongPIN
        }
        return invitation
    }

    @Test func `come back whole, and blanks around them don't matter`() throws {
        let read = try open("  \n" + invitation.text() + "\r\n")
        #expect(read.relayURL == "ws://127.0.0.1:7443")
        #expect(read.relayKey == relayKey)
        #expect(read.root == clinic.root)
        #expect(read.directoryKey == clinic.directoryKey)
        #expect(read.admissionToken == invitation.admissionToken)
        #expect(read.invitationKey.seed == invitation.invitationKey.seed)
        #expect(read.voucher == invitation.voucher)
        #expect(read.expires == invitation.expires)
        #expect(try read.verify(at: date).name == "Paul Patient")
    }

    @Test func `carry an admission token that this relay takes and no other`() throws {
        let token = try AdmissionToken(decoding: invitation.admissionToken)
        let now = UInt64(date.timeIntervalSince1970)
        try token.verify(clinicRoot: clinic.root.key, relayKey: relayKey, at: now)
        let foreign = try SigningKey().publicKey
        #expect(throws: RelayProtocolError.wrongRelay) {
            try token.verify(clinicRoot: clinic.root.key, relayKey: foreign, at: now)
        }
        #expect(throws: RelayProtocolError.expired) {
            try token.verify(
                clinicRoot: clinic.root.key, relayKey: relayKey, at: now + 31 * 86_400)
        }
    }

    @Test func `endorse the device that joins`() throws {
        let device = try SigningKey()
        let endorsement = try invitation.endorse(device.publicKey)
        let person = try VerifiedPerson.verify(
            voucher: invitation.voucher, endorsement: endorsement,
            identityKey: device.publicKey, root: clinic.root, at: date)
        #expect(person.identityKey == device.publicKey)
    }

    @Test func `are refused when they have expired`() throws {
        let invitation = try clinic.invitation(joinBefore: date.addingTimeInterval(10))
        _ = try invitation.verify(at: date.addingTimeInterval(10))
        #expect(throws: CredentialError.expired(.invitation)) {
            try invitation.verify(at: date.addingTimeInterval(11))
        }
    }

    @Test func `with another person's voucher are refused`() throws {
        let other = try clinic.invitation(name: "Olga Other")
        let mixed = try Invitation(
            relayURL: invitation.relayURL, relayKey: relayKey, root: clinic.root,
            directoryKey: clinic.directoryKey, admissionToken: invitation.admissionToken,
            invitationKey: invitation.invitationKey, voucher: other.voucher,
            expires: invitation.expires)
        #expect(throws: CredentialError.wrongKey(.voucher)) { try mixed.verify(at: date) }
    }

    @Test func `with another clinic's root are refused`() throws {
        let mixed = try Invitation(
            relayURL: invitation.relayURL, relayKey: relayKey,
            root: TestClinic(at: date).root, directoryKey: clinic.directoryKey,
            admissionToken: invitation.admissionToken, invitationKey: invitation.invitationKey,
            voucher: invitation.voucher, expires: invitation.expires)
        #expect(throws: CredentialError.wrongSignature(.voucher)) { try mixed.verify(at: date) }
    }

    @Test func `cut off anywhere or with anything behind are refused`() throws {
        let text = try invitation.text()
        for count in 0..<text.count {
            #expect(throws: CredentialError.malformed(.invitation)) {
                try InvitationText(String(text.prefix(count)))
            }
        }
        for tail in ["A", "AA", "AAAA", "=", "*"] {
            #expect(throws: CredentialError.malformed(.invitation)) {
                try InvitationText(text + tail)
            }
        }
        #expect(throws: CredentialError.malformed(.invitation)) {
            try InvitationText("curtain:" + String(repeating: "A", count: 1_000_000))
        }
        #expect(throws: CredentialError.malformed(.invitation)) {
            try InvitationText("curtain-card:AAAA")
        }
    }

    @Test func `of a newer version say so`() throws {
        #expect(throws: CredentialError.unsupportedVersion(.invitation)) {
            try InvitationText("curtain:AwAA")
        }
    }

    @Test(arguments: ["http://x", "ws://", "wss:/x", "ws://a b", "ws://a\u{e9}", ""])
    func `name a relay's address`(_ url: String) throws {
        #expect(throws: CredentialError.invalidText) {
            try Invitation(
                relayURL: url, relayKey: relayKey, root: clinic.root,
                directoryKey: clinic.directoryKey, admissionToken: [1],
                invitationKey: invitation.invitationKey, voucher: invitation.voucher,
                expires: date)
        }
    }

    @Test func `under a PIN open with it and with no other`() throws {
        let pin = SecretBytes(Array("12345678".utf8))
        let text = try invitation.sealedText(pin: pin, cost: .minimal)
        guard case .sealed(let sealed) = try InvitationText(text) else {
            Issue.record("not sealed")
            return
        }
        #expect(try sealed.open(pin: pin).voucher == invitation.voucher)
        #expect(throws: CredentialError.wrongPIN) {
            try sealed.open(pin: SecretBytes(Array("12345679".utf8)))
        }
    }

    @Test func `under a PIN don't open once altered, and ask for no machine's whole memory`() throws
    {
        let pin = SecretBytes(Array("12345678".utf8))
        let text = try invitation.sealedText(pin: pin, cost: .minimal)
        var characters = Array(text)
        let last = characters.count - 9
        characters[last] = characters[last] == "A" ? "B" : "A"
        guard case .sealed(let altered) = try InvitationText(String(characters)) else {
            Issue.record("not sealed")
            return
        }
        #expect(throws: CredentialError.wrongPIN) { try altered.open(pin: pin) }
        for count in stride(from: 8, to: text.count, by: 1) {
            #expect(throws: CredentialError.malformed(.invitation)) {
                try InvitationText(String(text.prefix(count)))
            }
        }
        // passes at octets 17..<21 and memory at 21..<25 of what base64url holds
        var greedy = Array(text.dropFirst(8))
        greedy.replaceSubrange(28..<33, with: "_____")
        #expect(throws: CredentialError.malformed(.invitation)) {
            try InvitationText("curtain:" + String(greedy))
        }
    }

    @Test func `show nothing of themselves when printed`() throws {
        #expect("\(invitation)" == "Invitation")
    }
}

/// A doctor's contact card.
struct `Cards` {
    let date = Date(timeIntervalSince1970: 1_800_000_000)
    let clinic: TestClinic
    let doctor: TestDoctor
    let relayKey: VerifyingKey

    init() throws {
        clinic = try TestClinic(at: date)
        doctor = try clinic.doctor()
        relayKey = try SigningKey().publicKey
    }

    private func content(
        chain: [[UInt8]]? = nil, issued: Date? = nil, expires: Date? = nil
    ) throws -> CardContent {
        try CardContent(
            relayURL: "wss://relay.example", relayKey: relayKey,
            shelf: [UInt8](repeating: 5, count: 32), shelfKey: .random(count: 32),
            chain: chain ?? doctor.identityChain, cipherSuite: 1, issued: issued ?? date,
            expires: expires ?? date.addingTimeInterval(1000))
    }

    @Test func `come back with the doctor`() throws {
        let content = try content()
        let card = try Card(Card(signing: content, with: doctor.identityKey).text + "\n")
        let verified = try card.verify(root: clinic.root, at: date)
        #expect(verified.doctor.name == doctor.name)
        #expect(verified.content.relayURL == "wss://relay.example")
        #expect(verified.content.relayKey == relayKey)
        #expect(verified.content.shelf == content.shelf)
        #expect(verified.content.shelfKey == content.shelfKey)
        #expect(verified.content.cipherSuite == 1)
        #expect(verified.content.expires == content.expires)
    }

    @Test func `that another key signed are refused`() throws {
        let content = try content()
        for key in [doctor.prescriptionKey, try SigningKey()] {
            let card = try Card(signing: content, with: key)
            #expect(throws: CredentialError.wrongSignature(.card)) {
                try card.verify(root: clinic.root, at: date)
            }
        }
    }

    @Test func `of a doctor of another clinic are refused`() throws {
        let other = try TestClinic(name: "Elsewhere", at: date).doctor()
        let card = try Card(
            signing: content(chain: other.identityChain), with: other.identityKey)
        #expect(throws: CredentialError.certificate(.issuer)) {
            try card.verify(root: clinic.root, at: date)
        }
    }

    @Test func `with a prescription certificate are refused`() throws {
        let card = try Card(
            signing: content(chain: doctor.prescriptionChain), with: doctor.prescriptionKey)
        #expect(throws: CredentialError.certificate(.keyUsage)) {
            try card.verify(root: clinic.root, at: date)
        }
    }

    @Test func `count from their issue to their end`() throws {
        let card = try Card(signing: content(), with: doctor.identityKey)
        #expect(throws: CredentialError.expired(.card)) {
            try card.verify(root: clinic.root, at: date.addingTimeInterval(1001))
        }
        let early = try Card(
            signing: content(issued: date.addingTimeInterval(3600)), with: doctor.identityKey)
        #expect(throws: CredentialError.notYetValid(.card)) {
            try early.verify(root: clinic.root, at: date)
        }
    }

    @Test func `of a revoked doctor are refused`() throws {
        let card = try Card(signing: content(), with: doctor.identityKey)
        let entry = Revocation(
            serial: doctor.certificates.identitySerial, date: date, reason: .keyCompromise)
        let revocations = try clinic.authority.revocationList([entry], number: 1, at: date)
            .verified(by: clinic.root, at: date)
        #expect(throws: CredentialError.revoked(.certificate)) {
            try card.verify(root: clinic.root, at: date, revocations: revocations)
        }
    }

    @Test func `cut off anywhere, longer or altered are refused`() throws {
        let card = try Card(signing: content(), with: doctor.identityKey)
        for count in card.bytes.indices {
            #expect(throws: CredentialError.malformed(.card)) {
                try Card(decoding: Array(card.bytes[..<count]))
            }
            var altered = card.bytes
            altered[count] ^= 1 << UInt8(count % 8)
            #expect(throws: CredentialError.self, "octet \(count)") {
                try Card(decoding: altered).verify(root: clinic.root, at: date)
            }
        }
        for count in 0..<card.text.count {
            #expect(throws: CredentialError.malformed(.card)) {
                try Card(String(card.text.prefix(count)))
            }
        }
        #expect(throws: CredentialError.malformed(.card)) {
            try Card(decoding: card.bytes + [0])
        }
        #expect(throws: CredentialError.malformed(.card)) {
            try Card(decoding: [UInt8](repeating: 1, count: 100_000))
        }
    }
}

/// Sealed KeyPackages.
struct `Shelf entries` {
    let shelf = [UInt8](repeating: 3, count: 32)
    let shelfKey = SecretBytes.random(count: 32)

    private func entry(_ count: Int) throws -> ShelfEntry {
        try ShelfEntry(
            keyPackage: [UInt8](repeating: 8, count: count),
            mailbox: [UInt8](repeating: 4, count: 32), permit: .random(count: 32))
    }

    @Test(arguments: [1, 63, 64, 900, 957, 958, 959, 960, 2000, 16_383, 16_384])
    func `come back, and their size tells little`(_ count: Int) throws {
        let entry = try entry(count)
        let sealed = try entry.sealed(shelfKey: shelfKey, shelf: shelf)
        #expect((sealed.count - Sealing.overheadByteCount).isMultiple(of: 1024))
        #expect(try ShelfEntry(opening: sealed, shelfKey: shelfKey, shelf: shelf) == entry)
    }

    @Test func `of another shelf, under another key or altered don't open`() throws {
        var sealed = try entry(100).sealed(shelfKey: shelfKey, shelf: shelf)
        #expect(throws: CredentialError.wrongSignature(.shelfEntry)) {
            try ShelfEntry(
                opening: sealed, shelfKey: shelfKey, shelf: [UInt8](repeating: 0, count: 32))
        }
        #expect(throws: CredentialError.wrongSignature(.shelfEntry)) {
            try ShelfEntry(opening: sealed, shelfKey: .random(count: 32), shelf: shelf)
        }
        sealed[50] ^= 1
        #expect(throws: CredentialError.wrongSignature(.shelfEntry)) {
            try ShelfEntry(opening: sealed, shelfKey: shelfKey, shelf: shelf)
        }
    }

    @Test func `with content of the wrong shape are refused`() throws {
        for content in [[], [1, 8], [UInt8](repeating: 0, count: 2048)] as [[UInt8]] {
            let sealed = try Sealing.seal(content, key: shelfKey, associatedData: shelf)
            #expect(throws: CredentialError.malformed(.shelfEntry)) {
                try ShelfEntry(opening: sealed, shelfKey: shelfKey, shelf: shelf)
            }
        }
    }
}
