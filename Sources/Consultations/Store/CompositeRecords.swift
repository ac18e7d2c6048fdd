import Vault

/// What is kept of one consultation besides messages and group: records that change at different
/// times, each stored only when it did.
@dynamicMemberLookup
struct ConsultationRecord: Equatable {
    var core = StoredConsultation()
    var other = StoredPerson()
    var appointment = StoredAppointment()
    var standing = StoredStanding()
    var traffic = StoredTraffic()
    var reopening = StoredReopening()

    subscript<Value>(dynamicMember path: WritableKeyPath<StoredConsultation, Value>) -> Value {
        get { core[keyPath: path] }
        set { core[keyPath: path] = newValue }
    }

    /// Whether it is known who is on the other side.
    var hasOther: Bool { !other.identityKey.isEmpty }

    init() {}

    /// Reads them; `nil` if the scope holds no consultation.
    init?(reading transaction: ReadTransaction, in scope: Vault.Scope) throws {
        guard
            let core = try transaction.record(
                StoredConsultation.self, at: 0, of: .consultation, in: scope)
        else { return nil }
        self.core = core
        other = try transaction.record(at: 1, of: .consultation, in: scope) ?? other
        appointment = try transaction.record(at: 2, of: .consultation, in: scope) ?? appointment
        standing = try transaction.record(at: 3, of: .consultation, in: scope) ?? standing
        traffic = try transaction.record(at: 4, of: .consultation, in: scope) ?? traffic
        reopening = try transaction.record(at: 5, of: .consultation, in: scope) ?? reopening
    }

    /// Stores those that differ from `old`.
    func store(
        replacing old: ConsultationRecord?, to transaction: WriteTransaction, in scope: Vault.Scope
    ) throws {
        if core != old?.core { try transaction.put(core, at: 0, of: .consultation, in: scope) }
        if other != old?.other { try transaction.put(other, at: 1, of: .consultation, in: scope) }
        if appointment != old?.appointment {
            try transaction.put(appointment, at: 2, of: .consultation, in: scope)
        }
        if standing != old?.standing {
            try transaction.put(standing, at: 3, of: .consultation, in: scope)
        }
        if traffic != old?.traffic {
            try transaction.put(traffic, at: 4, of: .consultation, in: scope)
        }
        if reopening != (old?.reopening ?? StoredReopening()) {
            try transaction.put(reopening, at: 5, of: .consultation, in: scope)
        }
    }
}

/// Who this device is, and for a doctor the practice beside it.
@dynamicMemberLookup
struct ProfileRecord: Equatable {
    var core = StoredProfile()
    var practice = StoredPractice()
    var registration = StoredRegistration()

    subscript<Value>(dynamicMember path: WritableKeyPath<StoredProfile, Value>) -> Value {
        get { core[keyPath: path] }
        set { core[keyPath: path] = newValue }
    }

    init() {}

    /// Reads them; `nil` if the vault holds no device.
    init?(reading transaction: ReadTransaction) throws {
        guard
            let core = try transaction.record(StoredProfile.self, at: 0, of: .profile, in: .person)
        else { return nil }
        self.core = core
        practice = try transaction.record(at: 1, of: .profile, in: .person) ?? practice
        registration = try transaction.record(at: 2, of: .profile, in: .person) ?? registration
    }

    /// Stores them.
    func store(to transaction: WriteTransaction) throws {
        try transaction.put(core, at: 0, of: .profile, in: .person)
        try transaction.put(practice, at: 1, of: .profile, in: .person)
        try transaction.put(registration, at: 2, of: .profile, in: .person)
    }
}
