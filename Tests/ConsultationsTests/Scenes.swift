import RelayProtocol

@testable import Consultations

/// How tests begin, and what a relay does that doesn't keep to its word.
extension World {
    /// A doctor with a stocked shelf and a patient, both connected.
    func meet() async throws -> (patient: TestDevice, doctor: TestDevice) {
        let doctor = try await addDoctor()
        let patient = try await addPatient()
        for device in [doctor, patient] { try connect(device) }
        try settle()
        return (patient, doctor)
    }

    /// A patient whose request the doctor accepted.
    func open() async throws -> (patient: TestDevice, doctor: TestDevice) {
        let (patient, doctor) = try await meet()
        try agree(patient, doctor)
        return (patient, doctor)
    }

    /// The patient asks, the doctor accepts.
    func agree(_ patient: TestDevice, _ doctor: TestDevice) throws {
        try patient.request(try doctor.card())
        try settle()
        try doctor.accept()
        try settle()
    }

    /// So many patients ask a doctor, who has gone away, one after the other.
    func ask(_ doctor: TestDevice, patients count: Int) async throws -> [TestDevice] {
        let card = try doctor.card()
        disconnect(doctor)
        var patients: [TestDevice] = []
        for number in 1...count {
            let patient = try await addPatient("Patient \(number)", reference: "P-\(number)")
            try connect(patient)
            try settle()
            try patient.request(card)
            try settle()
            patients.append(patient)
        }
        return patients
    }

    /// Nothing breaks any more, everybody connects, and all is delivered.
    func calm() throws {
        for device in devices {
            device.engine.checkpoint = nil
            try connect(device)
        }
        try settle()
    }

    /// The relay changes what it delivers to a device; `nil`: it keeps that back.
    func alter(
        deliveriesTo struck: TestDevice, _ change: @escaping (Delivery) -> Delivery?
    ) {
        tamper = { frame, device in
            guard device === struck else { return frame }
            var frame = frame
            frame.deliveries = frame.deliveries.compactMap(change)
            return frame
        }
    }

    /// The relay flips a bit of what it delivers to a device.
    func spoil(
        deliveriesTo struck: TestDevice, where isStruck: @escaping (Delivery) -> Bool
    ) {
        alter(deliveriesTo: struck) { delivery in
            var delivery = delivery
            if isStruck(delivery) { delivery.content[delivery.content.count - 1] ^= 1 }
            return delivery
        }
    }

    /// The relay gives other answers to a device, or to one of its mailboxes.
    func alter(
        answersTo struck: TestDevice, at mailbox: MailboxID? = nil,
        _ change: @escaping (Outcome) -> Outcome
    ) {
        tamper = { frame, device in
            guard device === struck else { return frame }
            var frame = frame
            frame.replies = frame.replies.map { reply in
                guard mailbox == nil || reply.mailbox == mailbox else { return reply }
                return Reply(mailbox: reply.mailbox, id: reply.id, outcome: change(reply.outcome))
            }
            return frame
        }
    }
}

extension TestDevice {
    /// The reasons of the reopenings that are shown, oldest first.
    func reopenings() throws -> [ReopenReason] {
        try messages().compactMap {
            if case .notice(.reopened(let reason)) = $0.body { reason } else { nil }
        }
    }

    /// What is shown as missing.
    func gaps() throws -> [Gap] {
        try messages().compactMap { if case .gap(let gap) = $0.body { gap } else { nil } }
    }

    /// What was erased and had never been read.
    var lastWords: [Message.Body] {
        events.flatMap { event -> [Message.Body] in
            if case .lastWords(_, let messages) = event { messages.map(\.body) } else { [] }
        }
    }

    /// The person asks for a fresh group.
    func reopen() throws {
        let number = try only().number
        try perform { try $0.reopen(number, because: .byHand) }
    }

    /// The keys are old: the next chance refreshes them.
    func refresh() throws {
        let number = try only().number
        try perform { turn in
            try turn.modify(number) { consultation, _ in
                consultation.record.traffic.epochBegan = 0
            }
        }
    }
}
