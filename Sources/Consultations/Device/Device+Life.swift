public import Credentials
public import Cryptography
import FoundationEssentials
import RelayProtocol
import Vault

extension Device {
    /// Whether a vault lies in `home`.
    public static func exists(at home: String) -> Bool { Vault.exists(at: home) }

    /// Makes a device in `home` from an invitation: its vault, its identity key, and the invitation
    /// key's signature over that. The relay hears of it at the first connection.
    ///
    /// - Throws: `.credential` if the invitation doesn't hold, `.vault(.alreadyExists)` if there is
    ///   a device already.
    public static func join(
        _ invitation: Invitation, home: String, passphrase: SecretBytes,
        options: DeviceOptions = DeviceOptions()
    ) async throws(DeviceError) -> Device {
        let vault = try makeVault(
            invitation, home: home, passphrase: passphrase, options: options, at: Date.now)
        return try Device(vault: vault, options: options)
    }

    /// Makes the vault of a device that the relay hasn't heard of yet.
    static func makeVault(
        _ invitation: Invitation, home: String, passphrase: SecretBytes, options: DeviceOptions,
        at now: Date
    ) throws(DeviceError) -> Vault {
        let content = try Engine.translating { try invitation.verify(at: now) }
        let vault = try emptyVault(home: home, passphrase: passphrase, options: options)
        try Engine.translating {
            let identity = try SigningKey()
            let endorsement = try invitation.endorse(identity.publicKey)
            let prescription = content.role == .doctor ? try SigningKey() : nil
            let wrap = prescription == nil ? nil : try vault.passphraseKey(passphrase)
            var profile = ProfileRecord()
            profile.version = 1
            profile.relayURL = invitation.relayURL
            profile.relayKey = Data(invitation.relayKey.bytes)
            profile.clinicRoot = Data(invitation.root.der)
            profile.directoryKey = Data(invitation.directoryKey.exposedCopy())
            profile.admissionToken = Data(invitation.admissionToken)
            profile.voucher = Data(invitation.voucher.bytes)
            profile.endorsement = Data(endorsement.bytes)
            profile.identityKey = Data(identity.publicKey.bytes)
            profile.practice.prescriptionKey = Data(prescription?.publicKey.bytes ?? [])
            profile.role = UInt32(content.role.rawValue)
            profile.name = content.name
            profile.joinedAt = now.seconds
            let home = try SigningKey()
            var mailbox = StoredMailbox()
            mailbox.key = Data(home.publicKey.bytes)
            mailbox.kind = .home
            let sealed = try wrap.flatMap { wrap in
                try prescription.map {
                    try Sealing.seal($0.seed, key: wrap, associatedData: KeyName.prescription)
                }
            }
            try vault.write { transaction in
                try profile.store(to: transaction)
                try transaction.put(
                    identity.seed, for: KeyName.identity, of: .keys, in: .person)
                try transaction.put(
                    SecretBytes.random(count: Sealing.keyByteCount), for: KeyName.shelf,
                    of: .keys, in: .person)
                if let sealed {
                    try transaction.put(
                        sealed, for: KeyName.prescription, of: .keys, in: .person)
                }
                try transaction.put(home.seed, at: 0, of: .mailboxKey, in: .person)
                try transaction.put(mailbox, of: .mailbox, in: .person)
            }
        }
        return vault
    }

    /// A vault that holds no device yet: a new one, or one that an interrupted `join` left.
    private static func emptyVault(
        home: String, passphrase: SecretBytes, options: DeviceOptions
    ) throws(DeviceError) -> Vault {
        try Engine.translating {
            do {
                return try Vault.create(
                    at: home, passphrase: passphrase, cost: options.passphraseCost)
            } catch VaultError.alreadyExists {
                guard let left = try? Vault.open(at: home, passphrase: passphrase),
                    try left.read({ try ProfileRecord(reading: $0) }) == nil
                else { throw VaultError.alreadyExists }
                return left
            }
        }
    }

    /// Opens the device in `home`.
    public static func open(
        home: String, passphrase: SecretBytes, options: DeviceOptions = DeviceOptions()
    ) async throws(DeviceError) -> Device {
        let vault = try Engine.translating {
            try Vault.open(at: home, passphrase: passphrase)
        }
        return try Device(vault: vault, options: options)
    }

    /// Changes the passphrase; everything stays where it is.
    public func changePassphrase(
        from old: SecretBytes, to new: SecretBytes
    ) throws(DeviceError) {
        try inspect { _ in
            try vault.changePassphrase(from: old, to: new, cost: options.passphraseCost)
        }
    }

    /// Sends what waits and fetches what came.
    ///
    /// - Parameters:
    ///   - wait: how long to stay connected; `nil`: until nothing is left to do.
    ///   - timeout: with `wait` of `nil`, when to give up.
    /// - Throws: `.relayUnreachable` if no connection came about in that time.
    @discardableResult
    public func sync(
        wait duration: Duration? = nil, timeout: Duration = .seconds(20)
    ) async throws(DeviceError) -> SyncSummary {
        let before = counts
        let wasWanted = isWanted
        connect()
        if let duration {
            _ = await wait(for: duration) { device in
                if case .stopped = device.connection { true } else { false }
            }
        } else {
            // As long as a file gets on, there is something to wait for.
            var moved: Int
            repeat {
                moved = transferCount
                let isSettled = await wait(for: timeout) { device in
                    if case .stopped = device.connection { true } else { device.isSettled }
                }
                if isSettled || Task.isCancelled { break }
            } while moved != transferCount
        }
        let isSettled = isSettled
        let reached = hasConnected
        let state = connection
        if !wasWanted { disconnect() }
        switch state {
        case .stopped(let trouble): throw .relayUnreachable(trouble)
        case .waiting(_, let trouble) where !reached: throw .relayUnreachable(trouble)
        case .connecting where !reached: throw .relayUnreachable(.unreachable("no answer"))
        default: break
        }
        return SyncSummary(
            received: counts.received - before.received, sent: counts.sent - before.sent,
            stillWaiting: try me().waiting, isSettled: isSettled)
    }
}

extension DeviceState {
    /// Whether nothing waits for the relay or for its answer.
    func hasNothingToDo(at now: UInt64) -> Bool {
        guard !profile.copied else { return true }
        for mailbox in mailboxes.values {
            switch mailbox.link {
            case .closed where mailbox.pausedUntil <= now:
                let lacksTicket = !mailbox.record.exists && mailbox.record.ticket.isEmpty
                guard lacksTicket, drawingPausedUntil > now else { return false }
            case .opening: return false
            case .open where mailbox.expected > 0: return false
            case .open where mailbox.pending != nil && mailbox.pausedUntil <= now: return false
            case .open, .closed, .gone: break
            }
            let goesOn = mailbox.closings.values.contains { !$0.confirmed && !isHeld($0) }
            if mailbox.link == .open, goesOn { return false }
        }
        return consultations.values.allSatisfy { consultation in
            let isLocked = consultation.record.standing.lock != .none
            if consultation.retryAt > now || isLocked { return true }
            if consultation.record.phase == .reopening { return false }
            if case .due(let time) = consultation.inspection, time <= now,
                consultation.isComparable, consultation.isLive,
                mailboxes[consultation.mailbox]?.link == .open
            {
                return false
            }
            guard
                consultation.isLive || consultation.record.phase == .claiming
                    || consultation.record.phase == .creating
            else { return true }
            return (consultation.outbox.isEmpty || consultation.isCatchingUp)
                && consultation.nextTransfer(at: now) == nil
                && !consultation.record.traffic.marksDue
                && !consultation.record.reopening.due
        }
    }
}
