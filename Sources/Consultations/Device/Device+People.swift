public import Credentials
import Cryptography
import FoundationEssentials
public import RelayProtocol
import Vault

extension Device {
    /// Who this device's person is, and where it is registered.
    public func me() throws(DeviceError) -> Me {
        try inspect { state in
            let key = state.identity.publicKey
            return Me(
                name: state.name, role: state.role, fingerprint: PersonID(identityKey: key),
                identityKey: key, relay: options.relay ?? state.profile.relayURL,
                relayKey: state.relayKey, isRegistered: state.profile.registered,
                isCopied: state.profile.copied, certificate: state.certificate(for: .identity),
                prescriptionCertificate: state.certificate(for: .prescription),
                shelf: state.role == .doctor ? Int(state.profile.practice.shelfPackages) : nil,
                waiting: state.consultations.values.reduce(0) {
                    $0 + $1.outbox.count + $1.unsentFiles.count
                })
        }
    }

    // MARK: Certificates

    /// Doctor: takes the certificates that the clinic issued, after checking them against its root
    /// and this device's keys.
    public func importCertificates(pem: String) throws(DeviceError) {
        try perform { turn in
            guard turn.state.role == .doctor else { throw DeviceError.notPermitted(.doctorsOnly) }
            let chains = try DoctorCertificate.chains(pem: pem)
            guard chains.identity != nil || chains.prescription != nil else {
                throw CredentialError.malformed(.certificate)
            }
            if let chain = chains.identity {
                let doctor = try DoctorCertificate.verify(
                    chain: chain, for: .identity, root: turn.state.root, at: turn.date)
                guard doctor.key == turn.state.identity.publicKey else {
                    throw CredentialError.wrongKey(.certificate)
                }
                turn.state.profile.practice.identityChain = chain.map { Data($0) }
            }
            if let chain = chains.prescription {
                let doctor = try DoctorCertificate.verify(
                    chain: chain, for: .prescription, root: turn.state.root, at: turn.date)
                guard doctor.key.bytes == [UInt8](turn.state.profile.practice.prescriptionKey)
                else {
                    throw CredentialError.wrongKey(.certificate)
                }
                turn.state.profile.practice.prescriptionChain = chain.map { Data($0) }
            }
            try turn.saveProfile()
        }
    }

    /// Doctor: the signed card that a patient needs to ask for a consultation.
    ///
    /// - Throws: `.noCertificate`, or `.notRegistered` before the relay has the shelf.
    public func card() throws(DeviceError) -> Card {
        try inspect { state in
            guard state.role == .doctor else { throw DeviceError.notPermitted(.doctorsOnly) }
            guard !state.profile.practice.identityChain.isEmpty else {
                throw DeviceError.noCertificate
            }
            guard !state.profile.copied else { throw DeviceError.copied }
            guard state.profile.registered else { throw DeviceError.notRegistered }
            let now = Date.now
            let doctor = try DoctorCertificate.verify(
                chain: state.profile.practice.identityChain.map { [UInt8]($0) }, for: .identity,
                root: state.root, at: now)
            let content = try CardContent(
                relayURL: options.relay ?? state.profile.relayURL, relayKey: state.relayKey,
                shelf: state.home.bytes, shelfKey: state.shelfKey, chain: doctor.chain,
                cipherSuite: CardSuite.required, issued: now,
                expires: min(
                    doctor.notAfter, now.addingTimeInterval(Self.cardSeconds)))
            return try Card(signing: content, with: state.identity)
        }
    }

    /// A year: a card ends with the certificate, or after that.
    private static let cardSeconds: Double = 365 * 86_400

    // MARK: Other people

    /// The people of live consultations, and those whose safety code was compared.
    public func people() throws(DeviceError) -> [Person] {
        try inspect { state in
            var people: [PersonID: Person] = [:]
            for known in state.verified.values {
                if let person = state.describe(known) { people[person.id] = person }
            }
            for consultation in state.consultations.values where consultation.record.hasOther {
                if let person = state.describe(consultation.record.other) {
                    people[person.id] = person
                }
            }
            return people.values.sorted {
                ($0.name, $0.id.description) < ($1.name, $1.id.description)
            }
        }
    }

    /// A person by name, by the beginning of the fingerprint, or by the beginning of the id of a
    /// consultation with them.
    public func person(matching text: String) throws(DeviceError) -> Person {
        let text = text.lowercased()
        guard !text.isEmpty else { throw .unknownPerson }
        var found = try people().filter {
            $0.name.lowercased() == text || $0.id.description.hasPrefix(text)
        }
        if found.isEmpty {
            found = try people().filter { $0.name.lowercased().contains(text) }
        }
        if found.isEmpty {
            let consultations = try consultations().filter { $0.id.description.hasPrefix(text) }
            found = Array(Set(consultations.compactMap(\.other)))
        }
        guard let first = found.first else { throw .unknownPerson }
        guard found.count == 1 else {
            throw .ambiguous(found.map { "\($0.id) \($0.name)" })
        }
        return first
    }

    /// The digits that both people see; compared over the telephone they prove that nobody sits
    /// in between.
    public func safetyCode(with id: PersonID) throws(DeviceError) -> SafetyCode {
        guard let person = try people().first(where: { $0.id == id }) else { throw .unknownPerson }
        return try inspect { SafetyCode($0.identity.publicKey, person.identityKey) }
    }

    /// Marks a person verified, after comparing `code` if it is given.
    @discardableResult
    public func verify(
        _ id: PersonID, matching code: String? = nil
    ) throws(DeviceError) -> Person {
        if let code {
            let own = try safetyCode(with: id)
            guard own.matches(code) else { throw .safetyCodeDiffers }
        }
        return try perform { turn in
            let people = turn.state.consultations.values.map(\.record.other)
            let stored = people.first { $0.isOf(id) } ?? turn.state.verified[id]
            guard var person = stored else { throw DeviceError.unknownPerson }
            person.verifiedAt = turn.seconds
            try turn.transaction.put(
                person, for: [UInt8](person.identityKey), of: .verified, in: .person)
            turn.state.verified[id] = person
            for (number, consultation) in turn.state.consultations
            where consultation.record.other.isOf(id) {
                turn.announce(number)
            }
            guard let described = turn.state.describe(person) else {
                throw DeviceError.bug("person")
            }
            return described
        }
    }

    /// Reads a receipt and checks it against the pinned relay.
    public nonisolated func verifyReceipt(
        _ bytes: [UInt8]
    ) throws(DeviceError) -> ErasureReceipt {
        do {
            let receipt = try ErasureReceipt(decoding: bytes)
            try receipt.verify(relayKey: relayKey)
            return receipt
        } catch {
            throw .invalidReceipt
        }
    }
}

extension StoredPerson {
    func isOf(_ id: PersonID) -> Bool {
        (try? VerifyingKey([UInt8](identityKey))).map { PersonID(identityKey: $0) } == id
    }
}

extension DeviceState {
    func certificate(for use: DoctorCertificateUse) -> CertificateState {
        guard role == .doctor else { return .notNeeded }
        let stored =
            use == .identity ? profile.practice.identityChain : profile.practice.prescriptionChain
        let chain = stored.map { [UInt8]($0) }
        guard !chain.isEmpty else { return .missing }
        let now = Date.now
        if let doctor = try? DoctorCertificate.verify(
            chain: chain, for: use, root: root, at: now)
        {
            return .valid(until: doctor.notAfter)
        }
        return .expired(now)
    }
}
