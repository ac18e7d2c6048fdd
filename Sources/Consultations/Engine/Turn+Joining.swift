import Credentials
import Cryptography
import FoundationEssentials
import MLS
import RelayProtocol
import Vault

/// The doctor's way into a consultation: a Welcome to one of the shelf's mailboxes.
extension Turn {
    /// Joins; a Welcome that doesn't hold is dropped, for nobody waits for an answer.
    mutating func receiveWelcome(_ delivery: Delivery) throws {
        guard let mailbox = state.mailboxes[delivery.mailbox], mailbox.package != nil,
            let group = try join(delivery, mailbox)
        else { return }
        guard case .consultation(let mailboxScope) = mailbox.scope else { return }
        // The private keys have done their work (RFC 9420 §16.8), but for the last resort's.
        if mailbox.isLastResort {
            // It may have been about to be given up.
            try modifyMailbox(mailbox.id) { $0.record.kind = .lastResort }
        } else {
            try takeOffShelf(mailbox)
        }

        let number = try transaction.createConsultation()
        var record = ConsultationRecord()
        record.groupID = Data(group.groupID)
        record.mailboxScope = mailboxScope.rawValue
        record.phase = .arriving
        record.incarnation = state.profile.registration.incarnation
        record.createdAt = seconds
        // Keys that came from a last-resort package are refreshed at once: its own stay longer.
        record.traffic.epochBegan = mailbox.isLastResort ? 0 : seconds
        record.deadlineDay = Day(unixSeconds: seconds).adding(days: 365).rawValue
        var consultation = ConsultationState(number: number, mailbox: mailbox.id, record: record)
        consultation.group = group
        try record.store(replacing: nil, to: transaction, in: consultation.scope)
        state.consultations[number] = consultation
        // What it is for, the first message tells (`Turn+Continuing`).
        if state.role == .doctor {
            try modify(number) { consultation, turn in
                try turn.meet(&consultation)
            }
            announce(number)
        } else {
            try meetAgain(number)
        }
    }

    /// A patient is asked by nobody: only a doctor may go on with a consultation, or be told that it
    /// is over.
    private mutating func meetAgain(_ number: Vault.ConsultationNumber) throws {
        guard let group = state.consultations[number]?.group,
            case .doctor(let doctor) = partner(in: group)?.standing
        else { return try turnAway(number) }
        try modify(number) { consultation, _ in
            consultation.record.other = StoredPerson(doctor: doctor)
        }
    }

    /// The one other member, by the clinic's signature.
    private func partner(in group: Group) -> VerifiedMember? {
        let others = group.members.filter { $0.index != group.ownLeafIndex }
        guard let other = others.first, others.count == 1 else { return nil }
        return try? MemberCheck(root: state.root).check(
            other.credential.member, signatureKey: other.signatureKey,
            memberExtension: other.leafNode.memberExtension, at: date)
    }

    mutating func takeOffShelf(_ mailbox: MailboxState) throws {
        try transaction.removeAll(of: .bundle, in: mailbox.scope)
        try transaction.removeAll(of: .shelfPackage, in: mailbox.scope)
        try modifyMailbox(mailbox.id) { mailbox in
            mailbox.package = nil
            mailbox.record.kind = .consultation
        }
        if state.profile.practice.shelfPackages > 0 {
            state.profile.practice.shelfPackages -= 1
            try saveProfile()
        }
    }

    private func join(_ delivery: Delivery, _ mailbox: MailboxState) throws -> Group? {
        guard let secrets = try transaction.secret(at: 0, of: .bundle, in: mailbox.scope) else {
            return nil
        }
        let bundle = try KeyPackageBundle(serialized: secrets)
        guard
            let group = try? Group.join(
                welcome: delivery.content, bundle: bundle,
                existing: Set(state.consultations.values.compactMap { $0.group?.groupID }),
                validator: MemberValidator(root: state.root), at: seconds)
        else { return nil }
        // The last resort's keys outlive a consultation: its Welcome must not bring it back. And who
        // makes a group chooses its id: no two consultations go by the same one.
        let id = ConsultationID(groupID: group.groupID)
        let hasEnded = try transaction.hasEnded(id)
        let isNew =
            !state.consultations.values.contains { $0.groupID == group.groupID || $0.id == id }
            && !state.isClosing(id) && !hasEnded
            && !state.mailboxes.values.contains { $0.closings[group.groupID] != nil }
        guard group.groupID.count == GroupID.byteCount, group.groupID == delivery.groupID?.bytes,
            group.suite == bundle.keyPackage.cipherSuite, isNew
        else { return nil }
        return group
    }

    /// Looks at who asks. Without a patient that the clinic vouches for, the group is closed and
    /// not shown (`protocol/credentials.md`).
    private mutating func meet(_ consultation: inout ConsultationState) throws {
        guard let group = consultation.group else { return }
        var patient: StoredPerson?
        if case .person(let person) = partner(in: group)?.standing, person.role == .patient,
            try isFirstDevice(of: person)
        {
            patient = StoredPerson(person: person)
        }
        if let patient {
            consultation.record.other = patient
            try noteIdentity(of: &consultation)
        } else {
            consultation.record.phase = .active
            consultation.record.standing.fault = .patientNotVouched
            consultation.record.standing.declined = true
            consultation.record.standing.ending = true
            try enqueue(.decline(reason: "not vouched for by the clinic"), in: &consultation)
            emit(.trouble(consultation.id, .patientNotVouched))
        }
    }

    /// Whether a voucher comes with the identity key that it first came with. An invitation serves
    /// one device: a second key means that somebody else has it, and the clinic must be told
    /// (`protocol/credentials.md`). What is kept is a hash of the serial and one of the key.
    private func isFirstDevice(of person: VerifiedPerson) throws -> Bool {
        let serial = Hash.sha256(label: "voucher serial", person.voucherSerial)
        let key = Hash.sha256(label: "voucher holder", person.identityKey.bytes)
        if let known = try transaction.value(for: serial, of: .voucherSerials, in: .person) {
            return known == key
        }
        try transaction.put(key, for: serial, of: .voucherSerials, in: .person)
        return true
    }

    /// A person whose safety code was compared, and who now shows another key, is not that person
    /// until the code is compared again.
    mutating func noteIdentity(of consultation: inout ConsultationState) throws {
        let other = consultation.record.other
        guard let key = try? VerifyingKey([UInt8](other.identityKey)) else { return }
        let id = PersonID(identityKey: key)
        guard state.verified[id] == nil else { return }
        let changed = state.verified.filter { _, known in
            known.role == other.role
                && (known.role == UInt32(PersonRole.doctor.rawValue)
                    ? known.licence == other.licence
                    : !known.reference.isEmpty && known.reference == other.reference)
        }
        for (old, known) in changed {
            try transaction.remove(for: [UInt8](known.identityKey), of: .verified, in: .person)
            state.verified[old] = nil
        }
        if !changed.isEmpty, let person = state.describe(other) {
            emit(.identityChanged(consultation.id, person))
        }
    }
}
