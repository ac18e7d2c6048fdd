import Credentials
import Cryptography
import FoundationEssentials
import MLS
import RelayProtocol
import TLSSyntax
import Vault

/// What the home mailbox is for: tickets, and a doctor's shelf of KeyPackages.
extension Turn {
    /// Tickets that are kept in hand beyond what is needed now.
    private static let ticketReserve = 4
    /// How long a KeyPackage may wait on the shelf.
    private static let shelfDays: UInt64 = 60
    /// A last-resort KeyPackage's private keys stay after a use, so its days are few.
    private static let lastResortDays: UInt64 = 14
    /// Uses of the join permit of a last-resort KeyPackage; it is replaced after the first.
    private static let lastResortUses: UInt32 = 16
    /// Shelf mailboxes at one time, claimed ones included; as many again may be set aside.
    private static let shelfLimit = 96

    mutating func pumpHome() throws {
        if state.profile.copied {
            if state.profile.withdrawn || state.role != .doctor { return giveUp(.copied) }
            return try start(
                .stockShelf(ShelfStock(packages: [], withdraw: true)), for: state.home)
        }
        if state.profile.registration.restock {
            return try start(
                .stockShelf(ShelfStock(packages: [], withdraw: true)), for: state.home)
        }
        let shelf = state.mailboxes.values.filter(\.isOnShelf)
        let ready = shelf.filter { $0.link == .open && $0.package?.stocked == false }
        let opening = shelf.contains { $0.link == .opening }
        if !ready.isEmpty, !opening {
            return try stock(ready)
        }
        let unserved = state.mailboxes.values.filter {
            !$0.record.exists && $0.record.ticket.isEmpty && $0.id != state.home && $0.isWanted
        }
        let needed =
            unserved.count + packagesWanted() + (needsLastResort() ? 1 : 0) + Self.ticketReserve
        if state.tickets.count < needed {
            guard now >= state.drawingPausedUntil else { return wake(at: state.drawingPausedUntil) }
            let limit = Int(state.session?.limits?.ticketsPerDay ?? 1)
            let count = min(needed - state.tickets.count, max(limit, 1))
            try start(.drawTickets(count: UInt32(clamping: count)), for: state.home)
        }
    }

    // MARK: Tickets

    mutating func receiveTickets(_ outcome: Outcome) throws {
        guard case .tickets(let tickets) = outcome, !tickets.isEmpty else {
            state.drawingPausedUntil = now + 3_600_000
            return wake(at: state.drawingPausedUntil)
        }
        guard tickets.contains(where: isSpendable) else {
            // The relay makes them for weeks: this device's clock is that far ahead.
            for consultation in state.consultations.values
            where state.mailboxes[consultation.mailbox]?.record.exists == false {
                emit(.trouble(consultation.id, .clock))
            }
            state.drawingPausedUntil = now + 3_600_000
            return wake(at: state.drawingPausedUntil)
        }
        for ticket in tickets {
            let number = try transaction.append(ticket, to: .tickets, in: .person)
            state.tickets.append(HeldTicket(number: number, bytes: ticket))
        }
    }

    /// Takes a ticket that can still be spent.
    mutating func takeTicket() throws -> [UInt8]? {
        while let held = state.tickets.first {
            state.tickets.removeFirst()
            try transaction.remove(at: held.number, of: .tickets, in: .person)
            if isSpendable(held.bytes) { return held.bytes }
        }
        return nil
    }

    private func isSpendable(_ ticket: [UInt8]) -> Bool {
        guard let ticket = try? Ticket(decoding: ticket) else { return false }
        return ticket.expires >= Day(unixSeconds: seconds)
    }

    // MARK: The shelf

    /// How many KeyPackages lie on the shelf. A doctor's serve everybody with the card; those of
    /// others serve only the reopening of a consultation, so few will do: also of one that was
    /// ended here, for whoever reopens it must hear that it is over.
    private var shelfTarget: Int {
        if state.role == .doctor {
            return state.profile.practice.identityChain.isEmpty ? 0 : options.shelfTarget
        }
        let reachableUntil = state.profile.registration.reachableUntil
        let isNeeded =
            !state.consultations.isEmpty || Day(unixSeconds: seconds).rawValue < reachableUntil
        return isNeeded ? min(1, options.shelfTarget) : 0
    }

    /// Keeps the shelf stocked after an end, for as long as the relay keeps what was closed.
    mutating func stayReachable() throws {
        guard state.role != .doctor else { return }
        let today = Day(unixSeconds: seconds)
        state.profile.registration.reachableUntil =
            today.adding(days: ProtocolConstants.closingDays).rawValue
        try saveProfile()
    }

    /// How many KeyPackages are to be made now: a whole batch when a quarter is gone.
    private func packagesWanted() -> Int {
        let shelf = state.mailboxes.values.filter { $0.record.kind == .shelf }
        let target = min(shelfTarget, Int(state.session?.limits?.shelfPackages ?? 0))
        let there = Int(state.profile.practice.shelfPackages)
        let underWay = shelf.filter { $0.package?.stocked == false }.count
        let missing = target - there - underWay
        guard missing > target / 4 || (there + underWay == 0 && target > 0) else { return 0 }
        return max(0, min(missing, Self.shelfLimit - shelf.count))
    }

    /// Whether a last-resort KeyPackage is to be made: there is none, half its time is over, or it
    /// was used.
    private func needsLastResort() -> Bool {
        guard shelfTarget > 0 else { return false }
        let soon = seconds + Self.lastResortDays * 86_400 / 2
        let fresh = state.mailboxes.values.filter {
            $0.record.kind == .lastResort && ($0.package?.notAfter ?? 0) > soon
        }
        if fresh.contains(where: { $0.package?.stocked == false }) { return false }
        return fresh.isEmpty || state.profile.practice.lastResortClaims > 0
    }

    /// Makes KeyPackages while there are tickets, each with a mailbox of its own, and lets those
    /// go whose time is over.
    mutating func refillShelf() throws {
        guard !state.profile.registration.restock else { return }
        let old = state.mailboxes.values.filter { mailbox in
            mailbox.isOnShelf && mailbox.link == .open && mailbox.pending == nil
                && (mailbox.package?.notAfter ?? .max) < seconds && !isServing(mailbox.id)
        }
        for mailbox in old {
            try modifyMailbox(mailbox.id) { $0.record.kind = .retiring }
        }
        for (id, mailbox) in state.mailboxes
        where mailbox.isSetAside && (mailbox.package?.notAfter ?? 0) < seconds { try forget(id) }
        for _ in 0..<packagesWanted() where !state.tickets.isEmpty {
            guard let ticket = try takeTicket() else { return }
            try makeShelfPackage(ticket: ticket, kind: .shelf)
        }
        if needsLastResort(), let ticket = try takeTicket() {
            try makeShelfPackage(ticket: ticket, kind: .lastResort)
        }
    }

    /// Keeps a mailbox that the relay doesn't know any more while its KeyPackage is good: somebody may
    /// have asked there before the relay was set back, and a newer backup brings the request again.
    /// Each other incarnation is asked for the mailbox, to give it up: by then the KeyPackage is on no
    /// shelf any more, and only if somebody has used it the relay doesn't let go of it.
    ///
    /// - Returns: whether it is kept.
    mutating func setAside(_ id: MailboxID) throws -> Bool {
        guard let mailbox = state.mailboxes[id], var package = mailbox.package,
            mailbox.record.exists,
            // Of a last-resort one, whose time was cut short, it tells for how long it was made.
            let end = (try? KeyPackage(decoding: [UInt8](package.keyPackage)))?
                .leafNode.lifetime?.notAfter, end >= seconds,
            state.mailboxes.values.count(where: { $0.isSetAside && $0.id != id })
                < Self.shelfLimit
        else { return false }
        package.notAfter = end
        try transaction.put(package, of: .shelfPackage, in: mailbox.scope)
        state.mailboxes[id]?.package = package
        try modifyMailbox(id) { [incarnation = state.profile.registration.incarnation] in
            $0.record.kind = .retiring
            $0.record.refusedBy = incarnation
        }
        return true
    }

    private mutating func makeShelfPackage(ticket: [UInt8], kind: StoredMailboxKind) throws {
        let number = try transaction.createConsultation()
        let permit = JoinPermit()
        let isLastResort = kind == .lastResort
        let id = try makeMailbox(
            in: .consultation(number), kind: kind, ticket: ticket, permitHash: permit.hash,
            permitUses: isLastResort ? Self.lastResortUses : 1)
        let days = isLastResort ? Self.lastResortDays : Self.shelfDays
        let lifetime = Lifetime(
            notBefore: seconds - 3_600, notAfter: seconds + days * 86_400)
        let bundle = try KeyPackageBundle(
            suite: .consultations, leaf: state.leaf(mailbox: id), signingKey: state.identity,
            lifetime: lifetime, isLastResort: isLastResort)
        let entry = try ShelfEntry(
            keyPackage: bundle.keyPackage.encoded(), mailbox: id.bytes, permit: permit.secret)
        var package = StoredShelfPackage()
        package.keyPackage = Data(bundle.keyPackage.encoded())
        package.sealed = Data(
            try entry.sealed(shelfKey: state.shelfKey, shelf: state.home.bytes))
        package.notAfter = lifetime.notAfter
        // The secrets are stored before the package can be published.
        try transaction.put(
            bundle.serialized(), at: 0, of: .bundle, in: .consultation(number))
        try transaction.put(package, of: .shelfPackage, in: .consultation(number))
        state.mailboxes[id]?.package = package
    }

    /// Makes the key of a mailbox; the relay makes the mailbox when it is opened first.
    mutating func makeMailbox(
        in scope: Vault.Scope, kind: StoredMailboxKind, ticket: [UInt8]?, permitHash: [UInt8]?,
        permitUses: UInt32 = 0
    ) throws -> MailboxID {
        let key = try SigningKey()
        guard let id = MailboxID(key.publicKey.bytes) else { throw DeviceError.bug("mailbox") }
        var record = StoredMailbox()
        record.key = Data(id.bytes)
        record.kind = kind
        record.ticket = Data(ticket ?? [])
        record.permitHash = Data(permitHash ?? [])
        record.permitUses = permitUses
        try transaction.put(key.seed, at: 0, of: .mailboxKey, in: scope)
        try transaction.put(record, of: .mailbox, in: scope)
        state.mailboxes[id] = MailboxState(id: id, scope: scope, key: key, record: record)
        return id
    }

    private mutating func stock(_ mailboxes: [MailboxState]) throws {
        // Well below the limit of a frame.
        let limit = Int(state.session?.limits?.frameByteCount ?? 1 << 16) / 2
        var packages: [[UInt8]] = []
        var lastResort: [UInt8]?
        var byteCount = 0
        for mailbox in mailboxes {
            guard let sealed = mailbox.package?.sealed else { continue }
            if byteCount + sealed.count > limit { break }
            byteCount += sealed.count
            if mailbox.record.kind == .lastResort {
                lastResort = [UInt8](sealed)
            } else {
                packages.append([UInt8](sealed))
            }
        }
        try start(
            .stockShelf(ShelfStock(packages: packages, lastResort: lastResort)), for: state.home)
    }

    mutating func receiveShelf(_ outcome: Outcome, for stock: ShelfStock) throws {
        guard case .shelf(let shelf) = outcome else {
            if state.profile.copied { return giveUp(.copied) }
            state.mailboxes[state.home]?.pausedUntil = now + 3_600_000
            return
        }
        state.profile.practice.shelfPackages = shelf.packages
        state.profile.practice.lastResortClaims = shelf.lastResortClaims
        if stock.withdraw {
            state.profile.registration.restock = false
            if state.profile.copied { state.profile.withdrawn = true }
        }
        try saveProfile()
        if state.profile.copied { return giveUp(.copied) }
        let stocked = Set(stock.packages + [stock.lastResort].compactMap { $0 })
        for (id, mailbox) in state.mailboxes {
            guard var package = mailbox.package, stocked.contains([UInt8](package.sealed)) else {
                continue
            }
            package.stocked = true
            package.sealed = Data()
            try transaction.put(package, of: .shelfPackage, in: mailbox.scope)
            state.mailboxes[id]?.package = package
        }
    }

    /// The answer to giving up a mailbox that nothing used any more.
    mutating func retired(_ id: MailboxID, _ outcome: Outcome) throws {
        if outcome == .done { return try lose(id) }
        guard isUsed(id) else { return try forget(id) }
        // Somebody was quicker: the Welcome to its KeyPackage is on its way, or has just come.
        let isRetiring = state.mailboxes[id]?.record.kind == .retiring
        state.mailboxes[id]?.isRetained = isRetiring
    }

    /// Erases a mailbox with everything that its scope holds.
    mutating func forget(_ id: MailboxID) throws {
        guard let mailbox = state.mailboxes[id], case .consultation(let number) = mailbox.scope
        else { return }
        try transaction.eraseConsultation(number)
        state.mailboxes[id] = nil
        hasErased = true
    }
}

extension CipherSuite {
    /// The suite of new consultations.
    static let consultations = CipherSuite.xwingAES256
}

extension ExtensionType {
    /// `curtain_member` (`protocol/mls-profile.md`).
    static let curtainMember = ExtensionType(rawValue: MemberExtension.type)
}

extension DeviceState {
    /// What this device says of itself in a leaf: a doctor shows the certificate, everybody else
    /// the clinic's voucher.
    func leaf(mailbox: MailboxID) throws -> LeafConfiguration {
        let credential: Credential
        let member: MemberExtension
        if role == .doctor {
            credential = .x509(certificates: profile.practice.identityChain.map { [UInt8]($0) })
            member = try MemberExtension(mailbox: mailbox.bytes)
        } else {
            credential = .basic(identity: identity.publicKey.bytes)
            member = try MemberExtension(
                mailbox: mailbox.bytes,
                voucher: profile.voucher.isEmpty
                    ? nil : Voucher(decoding: [UInt8](profile.voucher)),
                endorsement: profile.endorsement.isEmpty
                    ? nil : Endorsement(decoding: [UInt8](profile.endorsement)))
        }
        return LeafConfiguration(
            credential: credential,
            extensions: [Extension(type: .curtainMember, data: member.encoded())])
    }
}
