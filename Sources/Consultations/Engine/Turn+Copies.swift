import Credentials
import Cryptography
import FoundationEssentials
import RelayProtocol
import Vault

/// Copies and old backups of a vault (`protocol/vault.md`, "Copies"): the relay has seen a higher
/// opening counter than this vault's.
extension Turn {
    /// No copy gets further ahead than this: a relay that says so lies, and mustn't use the
    /// counter up.
    private static let furthestLead: UInt64 = 1 << 32

    /// This vault is a copy or an old backup: from now on nothing is sent, and a doctor's shelf is
    /// emptied, so that nobody writes to keys that two devices may hold. The person decides which
    /// of them goes on.
    mutating func refusedCounter(_ id: MailboxID, last: UInt64) throws {
        guard let mailbox = state.mailboxes[id] else { return giveUp(.protocolViolation) }
        let own = try transaction.counter(named: KeyName.opening, in: mailbox.scope) ?? 0
        guard last < own || last - own < Self.furthestLead else {
            return giveUp(.protocolViolation)
        }
        try transaction.raiseCounter(named: KeyName.opening, in: mailbox.scope, to: last)
        guard id == state.home else {
            // The home's counter was good, so no older vault explains it.
            state.mailboxes[id]?.link = .closed
            let numbers = state.consultations.values.filter { $0.mailbox == id }.map(\.number)
            for number in numbers {
                try reopen(number, because: .olderVault, otherwise: .copiedVault)
            }
            return
        }
        // The other copy may have gone on meanwhile. Once: two copies don't race each other.
        if state.profile.registration.recovering {
            state.profile.registration.recovering = false
            try saveProfile()
            state.mailboxes[id]?.link = .closed
            return try open(id)
        }
        try stop()
        guard trouble == nil else { return }
        state.mailboxes[id]?.link = .closed
        try open(id)
    }

    /// From now on nothing is sent; a doctor's shelf is emptied first.
    mutating func stop() throws {
        if !state.profile.copied {
            state.profile.copied = true
            try saveProfile()
            emit(.copied)
            for number in state.consultations.keys.sorted() { announce(number) }
        }
        if state.profile.withdrawn || state.role != .doctor { giveUp(.copied) }
    }

    /// Whether the relay has had requests from this mailbox that this vault knows nothing of: it was
    /// copied while a connection was open, and that connection went on. What was made here is known
    /// before it leaves; so only an older vault explains it, or a relay that lies.
    func isBehind(_ mailbox: MailboxState, _ opened: Opened) -> Bool {
        guard opened.lastRequest.rawValue > mailbox.record.lastRequest else { return false }
        if mailbox.id == state.home { return !state.overtakes }
        // What nothing goes on in any more can't be used twice.
        return mailbox.package != nil
            || state.consultations.values.contains {
                $0.mailbox == mailbox.id && $0.record.standing.lock == .none
                    && $0.record.phase != .failed
            }
    }

    /// The person goes on with this vault: what another copy may have used is thrown away, and
    /// every consultation is reopened.
    mutating func recover() throws {
        guard state.profile.copied else { return }
        state.profile.copied = false
        state.profile.withdrawn = false
        state.profile.registration.restock = true
        state.profile.registration.recovering = true
        state.profile.practice.shelfPackages = 0
        state.profile.practice.lastResortClaims = 0
        try saveProfile()
        try transaction.removeAll(of: .tickets, in: .person)
        state.tickets = []
        for (id, mailbox) in state.mailboxes where mailbox.package != nil {
            if !isServing(id) {
                try forget(id)
            } else {
                // The last resort's, which serves consultations: without its keys nobody joins.
                try takeOffShelf(mailbox)
            }
        }
        for number in state.consultations.keys.sorted() {
            guard let consultation = state.consultations[number] else { continue }
            switch consultation.record.phase {
            case .arriving: try eraseContent(of: consultation)
            case .active, .reopening:
                try modify(number) { consultation, _ in
                    consultation.record.reopening.fellBack = true
                    consultation.record.standing.lock = .none
                }
                try reopen(number, because: .olderVault, otherwise: .copiedVault)
            default: try lock(number, .copiedVault)
            }
        }
    }
}
