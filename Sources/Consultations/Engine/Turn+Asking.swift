import Credentials
import Cryptography
import FoundationEssentials
import MLS
import RelayProtocol
import TLSSyntax
import Vault

/// The patient's way into a consultation: a fresh mailbox, a KeyPackage from the doctor's shelf, a
/// group of two, and the request as its first message.
extension Turn {
    /// KeyPackages that are tried when the relay says that one was used.
    private static let attemptLimit: UInt32 = 3
    /// Days after the appointment on which the relay erases at the latest.
    static let deadlineDays: UInt64 = 30

    /// Makes the consultation durable; the rest follows when the relay can be reached.
    mutating func request(
        _ card: Card, time: UInt64, minutes: UInt32, reason: String
    ) throws -> Vault.ConsultationNumber {
        guard state.role == .patient else { throw DeviceError.notPermitted(.patientsOnly) }
        guard !state.profile.copied else { throw DeviceError.copied }
        let verified = try card.verify(root: state.root, at: date)
        guard verified.content.relayKey == state.relayKey else { throw DeviceError.foreignCard }
        let mailboxScope = try transaction.createConsultation()
        let mailbox = try makeMailbox(
            in: .consultation(mailboxScope), kind: .consultation, ticket: nil, permitHash: nil)
        let number = try transaction.createConsultation()

        var record = ConsultationRecord()
        record.groupID = Data(Random.bytes(GroupID.byteCount))
        record.mailboxScope = mailboxScope.rawValue
        record.phase = .claiming
        record.mine = true
        record.card = Data(card.bytes)
        record.other = StoredPerson(doctor: verified.doctor)
        record.shelf = Data(verified.content.shelf)
        record.shelfKey = Data(verified.content.shelfKey.exposedCopy())
        record.suite = UInt32(verified.content.cipherSuite)
        record.incarnation = state.profile.registration.incarnation
        record.appointment.time = time
        record.appointment.minutes = minutes
        record.appointment.reason = reason
        record.createdAt = seconds
        record.appointment.known = true
        let day = max(time, seconds) / 86_400 + Self.deadlineDays
        record.deadlineDay = UInt32(clamping: day)
        let consultation = ConsultationState(number: number, mailbox: mailbox, record: record)
        state.consultations[number] = consultation
        try record.store(replacing: nil, to: transaction, in: consultation.scope)
        try modify(number) { consultation, turn in
            try turn.enqueue(
                .request(
                    time: time, minutes: minutes, reason: reason,
                    deadlineDay: record.deadlineDay, reach: turn.state.reach), in: &consultation)
            try turn.noteIdentity(of: &consultation)
        }
        announce(number)
        return number
    }

    mutating func claim(_ consultation: ConsultationState) throws {
        let card = try Card(decoding: [UInt8](consultation.record.card))
        let verified: VerifiedCard
        do {
            verified = try card.verify(root: state.root, at: date)
        } catch {
            return try fail(consultation.number, .doctorNotCertified)
        }
        guard let shelf = MailboxID(verified.content.shelf) else {
            return try fail(consultation.number, .wrongKeyPackage)
        }
        try start(
            .claimKeyPackage(shelf: shelf), for: consultation.mailbox,
            consultation: consultation.number)
    }

    mutating func receiveKeyPackage(
        _ outcome: Outcome, for number: Vault.ConsultationNumber
    ) throws {
        if state.consultations[number]?.record.phase == .reopening {
            return try receiveKeyPackageAgain(outcome, for: number)
        }
        switch outcome {
        case .keyPackage(let sealed, let isLastResort):
            do {
                try modify(number) { consultation, turn in
                    try turn.createGroup(
                        &consultation, sealed: sealed, isLastResort: isLastResort)
                }
            } catch let unfit as UnfitKeyPackage {
                try fail(number, unfit.fault)
            }
        case .refused(.shelfEmpty, _): try fail(number, .shelfEmpty)
        case .refused(let refusal, _): try fail(number, .refused, refusal: refusal)
        default: giveUp(.protocolViolation)
        }
    }

    /// Why a KeyPackage is not taken.
    struct UnfitKeyPackage: Error {
        let fault: StoredFault
        /// It is a good one of somebody else.
        var isAnothers = false
    }

    /// Whose KeyPackage is wanted, and where it lies.
    struct ShelfSource {
        let shelf: [UInt8]
        let shelfKey: SecretBytes
        let suite: UInt16
        let identity: [UInt8]
        let role: UInt32
    }

    /// Checks what the relay gave against the card and makes the group.
    private mutating func createGroup(
        _ consultation: inout ConsultationState, sealed: [UInt8], isLastResort: Bool
    ) throws {
        let card = try Card(decoding: [UInt8](consultation.record.card))
        let verified: VerifiedCard
        do {
            verified = try card.verify(root: state.root, at: date)
        } catch {
            throw UnfitKeyPackage(fault: .doctorNotCertified)
        }
        let source = ShelfSource(
            shelf: verified.content.shelf, shelfKey: verified.content.shelfKey,
            suite: verified.content.cipherSuite, identity: verified.doctor.key.bytes,
            role: UInt32(PersonRole.doctor.rawValue))
        let (keyPackage, entry) = try check(sealed, from: source, isLastResort: isLastResort)
        try createGroup(&consultation, with: keyPackage, entry, phase: .creating)
    }

    /// Makes the group and asks the relay for it: all in one transaction, so that the group exists
    /// here before anything of it leaves.
    mutating func createGroup(
        _ consultation: inout ConsultationState, with keyPackage: KeyPackage, _ entry: ShelfEntry,
        phase: StoredPhase
    ) throws {
        do {
            try makeGroup(&consultation, with: keyPackage, entry, phase: phase)
        } catch let error as MLSError where error != .corruptState && error != .machine {
            // Its capabilities don't fit, or its keys are none: only adding it tells.
            throw UnfitKeyPackage(fault: .wrongKeyPackage)
        }
    }

    private mutating func makeGroup(
        _ consultation: inout ConsultationState, with keyPackage: KeyPackage, _ entry: ShelfEntry,
        phase: StoredPhase
    ) throws {
        let lifetime = Lifetime(notBefore: seconds - 3_600, notAfter: seconds + 400 * 86_400)
        var group = try Group.create(
            groupID: consultation.groupID, suite: keyPackage.cipherSuite,
            leaf: state.leaf(mailbox: consultation.mailbox), signingKey: state.identity,
            lifetime: lifetime)
        var content = CommitContent()
        content.adds = [keyPackage]
        content.welcomePaddingBucket = Padding.smallestBucket
        let commit = try group.commit(
            content, signingKey: state.identity, validator: MemberValidator(root: state.root),
            at: seconds)
        // Nobody else is in the group, so nobody can have committed before.
        try group.merge(commit, at: seconds)
        guard let welcome = commit.welcome, let groupID = GroupID(consultation.groupID),
            let mailbox = MailboxID(entry.mailbox),
            let permit = JoinPermit(entry.permit.exposedCopy())
        else { throw DeviceError.bug("welcome") }
        consultation.group = group
        consultation.record.phase = phase
        consultation.record.commitHash = Data(commit.commitHash)
        consultation.record.traffic.epochBegan = seconds
        consultation.record.attempts += 1
        let creation = GroupCreation(
            groupID: groupID, epoch: group.epoch, commitHash: commit.commitHash,
            members: [Member(mailbox: mailbox, permit: permit, role: .owner)],
            welcomes: [WelcomeDelivery(mailbox: mailbox, content: welcome)],
            deadline: Day(rawValue: consultation.record.deadlineDay))
        state.consultations[consultation.number] = consultation
        try start(
            .createGroup(creation), for: consultation.mailbox, consultation: consultation.number)
    }

    /// Opens what the relay gave, and takes it only if it is that person's, for this clinic and
    /// suite, and was never used.
    mutating func check(
        _ sealed: [UInt8], from source: ShelfSource, isLastResort: Bool
    ) throws -> (KeyPackage, ShelfEntry) {
        let wrong = UnfitKeyPackage(fault: .wrongKeyPackage)
        let entry: ShelfEntry
        let keyPackage: KeyPackage
        let member: VerifiedMember
        let reference: [UInt8]
        do {
            entry = try ShelfEntry(
                opening: sealed, shelfKey: source.shelfKey, shelf: source.shelf)
            keyPackage = try KeyPackage(decoding: entry.keyPackage)
            try keyPackage.validate(at: seconds)
            member = try MemberCheck(root: state.root).check(
                keyPackage.leafNode.credential.member,
                signatureKey: keyPackage.leafNode.signatureKey,
                memberExtension: keyPackage.leafNode.memberExtension, at: date)
            reference = try keyPackage.reference().bytes
        } catch MLSError.invalid(.leafLifetime) {
            throw UnfitKeyPackage(fault: .clock)
        } catch {
            throw wrong
        }
        guard member.identityKey.bytes == source.identity else {
            throw UnfitKeyPackage(fault: .wrongKeyPackage, isAnothers: true)
        }
        guard keyPackage.cipherSuite.rawValue == source.suite,
            keyPackage.cipherSuite.isSupported, member.mailbox == entry.mailbox,
            member.standing.role == source.role
        else { throw wrong }
        let used = try transaction.value(for: reference, of: .usedPackages, in: .person)
        if used != nil, !(isLastResort && keyPackage.isLastResort) { throw wrong }
        try transaction.put([1], for: reference, of: .usedPackages, in: .person)
        return (keyPackage, entry)
    }

    mutating func receiveCreation(
        _ outcome: Outcome, for number: Vault.ConsultationNumber
    ) throws {
        if state.consultations[number]?.record.phase == .reopening {
            return try receiveCreationAgain(outcome, for: number)
        }
        switch outcome {
        case .done:
            try modify(number) { consultation, _ in
                consultation.record.phase = .active
                consultation.record.card = Data()
            }
            announce(number)
        case .refused(let refusal, _):
            guard let consultation = state.consultations[number] else { return }
            guard refusal == .permit, consultation.record.attempts < Self.attemptLimit else {
                return try fail(number, .refused, refusal: refusal)
            }
            // That KeyPackage was used: the group never was, and another is tried.
            try transaction.removeAll(of: .group, in: consultation.scope)
            try modify(number) { consultation, _ in
                consultation.group = nil
                consultation.record.phase = .claiming
            }
        default: giveUp(.protocolViolation)
        }
    }

    /// The request can't be made: said, and kept until the person ends it.
    mutating func fail(
        _ number: Vault.ConsultationNumber, _ fault: StoredFault, refusal: Refusal? = nil
    ) throws {
        let trouble = try modify(number) { consultation, _ in
            consultation.record.phase = .failed
            consultation.record.standing.fault = fault
            consultation.record.standing.refusal = UInt32(refusal?.rawValue ?? 0)
            consultation.group = nil
            consultation.outbox = []
            return consultation.trouble
        }
        announce(number)
        if let trouble, let consultation = state.consultations[number] {
            emit(.trouble(consultation.id, trouble))
        }
    }
}

extension VerifiedMember.Standing {
    /// The role that the clinic's signature gives; 0 without one.
    var role: UInt32 {
        switch self {
        case .doctor: UInt32(PersonRole.doctor.rawValue)
        case .person(let person): UInt32(person.role.rawValue)
        case .notVouched: 0
        }
    }
}

extension ConsultationState {
    /// What went wrong with it, if something did.
    var trouble: Trouble? {
        switch record.standing.fault {
        case .shelfEmpty: .shelfEmpty
        case .wrongKeyPackage: .wrongKeyPackage
        case .clock: .clock
        case .doctorNotCertified: .doctorNotCertified
        case .patientNotVouched: .patientNotVouched
        case .refused: .refused(Refusal(rawValue: UInt8(clamping: record.standing.refusal)))
        case .none, .UNRECOGNIZED: nil
        }
    }
}
