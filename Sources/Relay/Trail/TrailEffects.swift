import Cryptography
package import RelayCore
package import RelayProtocol
import TLSSyntax

/// What a batch did that a restore of an older backup must do again, so that nothing erased, spent
/// or used once comes back.
package enum TrailEffect: Equatable, Sendable {
    /// A token or ticket was spent: its hash, and until when it is remembered.
    case spent(hash: [UInt8], until: Day)
    /// A mailbox was erased: its hash under the store's key.
    case mailboxErased(hash: [UInt8])
    /// A package was claimed: its hash.
    case packageTaken(hash: [UInt8])
    /// A shelf was emptied: the hash of its mailbox.
    case shelfCleared(mailbox: [UInt8])
    /// A last-resort package was replaced: the hash of its mailbox.
    case lastResortReplaced(mailbox: [UInt8])
    /// A receipt was stored: the hash of the mailbox, the receipt, and until when.
    case receipt(mailbox: [UInt8], content: [UInt8], until: Day)
    /// A group was closed: its hash, and its deadline from then on.
    case closed(group: [UInt8], deadline: Day)
    /// An owner confirmed a closing and wants nothing more: a hash of group and mailbox together,
    /// which no other entry has.
    case confirmed(membership: [UInt8])

    /// The name under which a package is taken.
    package static func hash(ofPackage package: [UInt8]) -> [UInt8] {
        Hash.sha256(label: "claimed package", package)
    }

    /// Under which word auditors see it counted; an erasure has an entry of its own.
    fileprivate var figure: String? {
        switch self {
        case .spent: "spent"
        case .mailboxErased: "erasedMailboxes"
        case .packageTaken: "claimed"
        case .shelfCleared: "emptiedShelves"
        case .lastResortReplaced: "replacedPackages"
        case .receipt: nil
        case .closed: "closed"
        case .confirmed: "confirmed"
        }
    }

    static func encode(_ effects: [TrailEffect]) -> [UInt8] {
        var writer = TLSWriter()
        for effect in effects {
            switch effect {
            case .spent(let hash, let until):
                writer.write(UInt8(1))
                writer.write(bytes: hash)
                writer.write(until.rawValue)
            case .mailboxErased(let hash):
                writer.write(UInt8(2))
                writer.write(bytes: hash)
            case .packageTaken(let hash):
                writer.write(UInt8(3))
                writer.write(bytes: hash)
            case .shelfCleared(let mailbox):
                writer.write(UInt8(4))
                writer.write(bytes: mailbox)
            case .lastResortReplaced(let mailbox):
                writer.write(UInt8(5))
                writer.write(bytes: mailbox)
            case .receipt(let mailbox, let content, let until):
                writer.write(UInt8(6))
                writer.write(bytes: mailbox)
                writer.write(vector: content)
                writer.write(until.rawValue)
            case .closed(let group, let deadline):
                writer.write(UInt8(7))
                writer.write(bytes: group)
                writer.write(deadline.rawValue)
            case .confirmed(let membership):
                writer.write(UInt8(8))
                writer.write(bytes: membership)
            }
        }
        return writer.bytes
    }

    static func decode(_ octets: [UInt8]) throws(TLSError) -> [TrailEffect] {
        var reader = TLSReader(octets)
        var effects: [TrailEffect] = []
        while !reader.isAtEnd {
            let tag = try reader.readUInt8()
            let hash = try reader.readBytes(count: 32)
            switch tag {
            case 1:
                effects.append(
                    .spent(hash: hash, until: Day(rawValue: try reader.readUInt32())))
            case 2: effects.append(.mailboxErased(hash: hash))
            case 3: effects.append(.packageTaken(hash: hash))
            case 4: effects.append(.shelfCleared(mailbox: hash))
            case 5: effects.append(.lastResortReplaced(mailbox: hash))
            case 6:
                effects.append(
                    .receipt(
                        mailbox: hash, content: try reader.readVector(),
                        until: Day(rawValue: try reader.readUInt32())))
            case 7:
                effects.append(
                    .closed(group: hash, deadline: Day(rawValue: try reader.readUInt32())))
            case 8: effects.append(.confirmed(membership: hash))
            default: throw .invalidValue
            }
        }
        return effects
    }
}

extension TrailEffect {
    /// What the trail has to tell of a change to a group.
    package static func ofUpdating(
        _ former: GroupRecord, to record: GroupRecord, in store: some RestorableStore
    ) throws(StoreError) -> [TrailEffect] {
        var effects: [TrailEffect] = []
        if record.isClosed, !former.isClosed {
            effects.append(
                .closed(group: try store.closingHash(record.id), deadline: record.deadline))
        }
        for (position, member) in record.members.enumerated() {
            guard let member, member.state == .confirmed,
                (position < former.members.count ? former.members[position]?.state : nil)
                    != .confirmed,
                let mailbox = try store.mailbox(member.mailbox)
            else { continue }
            effects.append(
                .confirmed(membership: try store.membershipHash(record.id, mailbox.id)))
        }
        return effects
    }
}

/// Collects the effects of one batch; the store notes them as they happen.
struct TrailEffects: Sendable {
    private(set) var effects: [TrailEffect] = []
    /// Home mailboxes made.
    var homes: UInt64 = 0
    /// Consultation mailboxes made.
    var mailboxes: UInt64 = 0

    var isEmpty: Bool { effects.isEmpty && homes == 0 && mailboxes == 0 }

    mutating func note(_ effect: TrailEffect) { effects.append(effect) }

    mutating func removeAll() {
        guard !isEmpty else { return }
        self = TrailEffects()
    }

    /// The receipts among them, each once; every one makes an entry of its own.
    var receipts: [[UInt8]] {
        var seen: Set<[UInt8]> = []
        return effects.compactMap { effect in
            guard case .receipt(_, let content, _) = effect, seen.insert(content).inserted else {
                return nil
            }
            return content
        }
    }

    /// What auditors see of everything but erasures: numbers.
    var figures: [(String, UInt64)] {
        var counts: [String: UInt64] = ["homes": homes, "mailboxes": mailboxes]
        for effect in effects {
            if let figure = effect.figure { counts[figure, default: 0] += 1 }
        }
        return counts.filter { $0.value > 0 }.map { ($0.key, $0.value) }.sorted { $0.0 < $1.0 }
    }
}

/// Seals effects, so that a trail alone tells nothing that a mailbox or package could be found by.
struct TrailSeal: Sendable {
    private let key: SecretBytes

    /// - Throws: `.wrongLength` for a seed of another size.
    init(identity: SigningKey) throws(CryptographyError) {
        key = try Subkey.derive(1, of: identity.seed, context: "trailkey")
    }

    func seal(
        _ effects: [TrailEffect], at sequence: UInt64
    ) throws(CryptographyError) -> [UInt8] {
        try Sealing.seal(
            TrailEffect.encode(effects), key: key, associatedData: sequence.bigEndianOctets)
    }

    /// The effects in an entry; `nil` if they can't be opened or read.
    func open(_ entry: TrailEntry) -> [TrailEffect]? {
        guard !entry.sealed.isEmpty else { return [] }
        let opened = try? Sealing.open(
            entry.sealed, key: key, associatedData: entry.sequence.bigEndianOctets)
        return opened.flatMap { try? TrailEffect.decode($0) }
    }
}
