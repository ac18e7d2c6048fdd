import Clinic
import ClinicTestSupport
import Credentials
import Cryptography
import FoundationEssentials
import Testing

/// Vouchers, endorsements and the check of an MLS leaf.
struct `Persons for whom the clinic vouches` {
    let date = Date(timeIntervalSince1970: 1_800_000_000)
    let clinic: TestClinic
    let person: TestPerson

    init() throws {
        clinic = try TestClinic(at: date)
        person = try clinic.person()
    }

    private func check(
        _ person: TestPerson, key: SigningKey? = nil, voucher: Voucher? = nil,
        endorsement: Endorsement? = nil, at moment: Date? = nil
    ) throws(CredentialError) -> VerifiedMember {
        let identity = (key ?? person.identityKey).publicKey.bytes
        let leaf = try MemberExtension(
            mailbox: [UInt8](repeating: 9, count: 32), voucher: voucher ?? person.voucher,
            endorsement: endorsement ?? person.endorsement)
        return try MemberCheck(root: clinic.root).check(
            .basic(identity: identity), signatureKey: identity, memberExtension: leaf.encoded(),
            at: moment ?? date)
    }

    @Test func `are known by their leaf`() throws {
        let member = try check(person)
        guard case .person(let verified) = member.standing else {
            Issue.record("not vouched for")
            return
        }
        #expect(verified.name == "Paul Patient")
        #expect(verified.role == .patient)
        #expect(verified.born == "1980-02-29")
        #expect(verified.reference == "P-1")
        #expect(verified.identityKey == person.identityKey.publicKey)
        #expect(member.mailbox == [UInt8](repeating: 9, count: 32))
    }

    @Test func `cannot be impersonated with their own voucher`() throws {
        let thief = try SigningKey()
        #expect(throws: CredentialError.wrongKey(.endorsement)) { try check(person, key: thief) }
        let selfMade = try Endorsement(
            of: thief.publicKey, serial: [UInt8](repeating: 0, count: 16), with: thief)
        #expect(throws: CredentialError.wrongKey(.endorsement)) {
            try check(person, key: thief, endorsement: selfMade)
        }
    }

    @Test func `cannot use somebody else's voucher or endorsement`() throws {
        let other = try clinic.person(name: "Olga Other")
        #expect(throws: CredentialError.wrongKey(.endorsement)) {
            try check(person, voucher: other.voucher)
        }
        #expect(throws: CredentialError.wrongKey(.endorsement)) {
            try check(person, endorsement: other.endorsement)
        }
        #expect(throws: CredentialError.wrongKey(.endorsement)) {
            try check(person, voucher: other.voucher, endorsement: other.endorsement)
        }
    }

    @Test func `of another clinic are refused`() throws {
        let stranger = try TestClinic(at: date).person()
        #expect(throws: CredentialError.wrongSignature(.voucher)) { try check(stranger) }
    }

    @Test func `are vouched for until the last second`() throws {
        let person = try clinic.person(vouchUntil: date.addingTimeInterval(100))
        _ = try check(person, at: date.addingTimeInterval(100))
        #expect(throws: CredentialError.expired(.voucher)) {
            try check(person, at: date.addingTimeInterval(101))
        }
    }

    @Test func `no octet of a voucher can be changed`() throws {
        for position in person.voucher.bytes.indices {
            for bit in [UInt8(1), 0x80] {
                var altered = person.voucher.bytes
                altered[position] ^= bit
                #expect(throws: CredentialError.self, "octet \(position)") {
                    try Voucher(decoding: altered).verify(root: clinic.root, at: date)
                }
            }
        }
    }

    @Test func `vouchers of any other length are refused`() throws {
        let bytes = person.voucher.bytes
        for count in bytes.indices {
            #expect(throws: CredentialError.malformed(.voucher)) {
                try Voucher(decoding: Array(bytes[..<count]))
            }
        }
        #expect(throws: CredentialError.malformed(.voucher)) {
            try Voucher(decoding: bytes + [0])
        }
        #expect(throws: CredentialError.unsupportedVersion(.voucher)) {
            try Voucher(decoding: [2] + bytes.dropFirst())
        }
        #expect(throws: CredentialError.malformed(.voucher)) {
            try Voucher(decoding: [UInt8](repeating: 1, count: 100_000))
        }
    }

    @Test func `a doctor's voucher makes no doctor and no patient`() throws {
        let pretender = try clinic.person(role: .doctor)
        #expect(throws: CredentialError.wrongRole) { try check(pretender) }
    }

    @Test func `a leaf without voucher is not vouched for`() throws {
        let key = person.identityKey.publicKey.bytes
        let leaf = try MemberExtension(mailbox: [UInt8](repeating: 1, count: 32))
        let member = try MemberCheck(root: clinic.root).check(
            .basic(identity: key), signatureKey: key, memberExtension: leaf.encoded(), at: date)
        #expect(member.standing == .notVouched)
    }

    @Test func `a basic credential of another key is refused`() throws {
        let leaf = try MemberExtension(
            mailbox: [UInt8](repeating: 1, count: 32), voucher: person.voucher,
            endorsement: person.endorsement)
        #expect(throws: CredentialError.wrongKey(.memberExtension)) {
            try MemberCheck(root: clinic.root).check(
                .basic(identity: person.identityKey.publicKey.bytes),
                signatureKey: SigningKey().publicKey.bytes, memberExtension: leaf.encoded(),
                at: date)
        }
    }

    @Test func `a leaf without the extension, or with a torn one, is refused`() throws {
        let key = person.identityKey.publicKey.bytes
        let check = MemberCheck(root: clinic.root)
        #expect(throws: CredentialError.malformed(.memberExtension)) {
            try check.check(
                .basic(identity: key), signatureKey: key, memberExtension: nil, at: date)
        }
        let whole = try MemberExtension(
            mailbox: [UInt8](repeating: 1, count: 32), voucher: person.voucher,
            endorsement: person.endorsement
        ).encoded()
        for count in whole.indices {
            #expect(throws: CredentialError.malformed(.memberExtension)) {
                try MemberExtension(decoding: Array(whole[..<count]))
            }
        }
        #expect(throws: CredentialError.malformed(.memberExtension)) {
            try MemberExtension(decoding: whole + [0])
        }
        #expect(throws: CredentialError.malformed(.memberExtension)) {
            try MemberExtension(
                mailbox: [UInt8](repeating: 1, count: 32), voucher: person.voucher)
        }
    }

    @Test func `a doctor is known by the certificate of the very key that signs`() throws {
        let doctor = try clinic.doctor()
        let leaf = try MemberExtension(mailbox: [UInt8](repeating: 2, count: 32)).encoded()
        let check = MemberCheck(root: clinic.root)
        let member = try check.check(
            .x509(chain: doctor.identityChain),
            signatureKey: doctor.identityKey.publicKey.bytes, memberExtension: leaf, at: date)
        guard case .doctor(let verified) = member.standing else {
            Issue.record("no doctor")
            return
        }
        #expect(verified.name == doctor.name)
        #expect(throws: CredentialError.wrongKey(.certificate)) {
            try check.check(
                .x509(chain: doctor.identityChain),
                signatureKey: person.identityKey.publicKey.bytes, memberExtension: leaf, at: date)
        }
        #expect(throws: CredentialError.certificate(.keyUsage)) {
            try check.check(
                .x509(chain: doctor.prescriptionChain),
                signatureKey: doctor.prescriptionKey.publicKey.bytes, memberExtension: leaf,
                at: date)
        }
        let both = try MemberExtension(
            mailbox: [UInt8](repeating: 2, count: 32), voucher: person.voucher,
            endorsement: person.endorsement)
        #expect(throws: CredentialError.malformed(.memberExtension)) {
            try check.check(
                .x509(chain: doctor.identityChain),
                signatureKey: doctor.identityKey.publicKey.bytes,
                memberExtension: both.encoded(), at: date)
        }
    }

    @Test(arguments: ["", " a", "a ", "a\nb", "a\u{1B}b", "a\u{202E}b", "a\u{85}b", "a\u{2028}b"])
    func `a name that could deceive is refused`(_ name: String) throws {
        #expect(throws: CredentialError.invalidText) {
            try VoucherContent(
                serial: [UInt8](repeating: 1, count: 16), role: .patient, reference: "",
                name: name, born: "", invitationKey: SigningKey().publicKey, expires: date)
        }
    }

    @Test(arguments: [
        ("", true), ("1980-02-29", true), ("2000-02-29", true), ("1900-02-29", false),
        ("1981-02-29", false), ("1980-13-01", false), ("1980-00-01", false),
        ("1980-1-01", false), ("1980-04-31", false), ("+980-01-01", false), ("1980-01-0x", false),
    ])
    func `a day of birth is a day of the calendar`(_ born: String, _ isValid: Bool) {
        #expect(VoucherContent.isValid(born: born) == isValid)
    }
}

/// What two persons compare by phone.
struct `The safety code` {
    @Test func `is the same on both sides and has seven groups of five digits`() throws {
        let one = try SigningKey().publicKey
        let other = try SigningKey().publicKey
        let code = SafetyCode(one, other)
        #expect(code == SafetyCode(other, one))
        #expect(code.digits.count == 35)
        #expect(code.description.split(separator: " ").map(\.count) == [5, 5, 5, 5, 5, 5, 5])
        #expect(code.matches(code.description))
        #expect(code.matches(code.digits))
        #expect(!code.matches(String(code.digits.dropLast())))
        #expect(!code.matches(""))
    }

    @Test func `differs for another key and stays the same for ever`() throws {
        let keys = try (UInt8(1)...3).map { number in
            try SigningKey(seed: SecretBytes([UInt8](repeating: number, count: 32))).publicKey
        }
        let code = SafetyCode(keys[0], keys[1])
        #expect(code != SafetyCode(keys[0], keys[2]))
        #expect(code.description == "44665 87022 72390 76815 65501 80230 22420")
    }
}
