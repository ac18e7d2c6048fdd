import Cryptography
import RelayProtocol

/// Turns a message's number into the id that one recipient sees, and back.
///
/// `high` is a keyed hash of number and mailbox, `low` the number masked by another keyed hash: ids
/// tell nothing about how much the relay carries, differ between recipients, and can't be made up.
struct DeliveryNames {
    /// What a delivery id stands for.
    enum Item: Equatable {
        case message(MessageNumber)
        case receipt(UInt64)
    }

    private let tag: ShortHash
    private let mask: ShortHash

    /// - Parameter key: 32 octets, new with every incarnation.
    init(key: SecretBytes) throws(CryptographyError) {
        guard key.count == 32 else { throw .wrongLength(expected: 32, actual: key.count) }
        tag = try ShortHash(key: key.slice(0..<16))
        mask = try ShortHash(key: key.slice(16..<32))
    }

    func id(of item: Item, for mailbox: MailboxNumber) -> DeliveryID {
        let number: UInt64
        switch item {
        case .message(let message): number = message.rawValue & ~Self.receiptBit
        case .receipt(let receipt): number = receipt | Self.receiptBit
        }
        let high = tag.hash(number, UInt64(bitPattern: mailbox.rawValue))
        return DeliveryID(high: high, low: number ^ mask.hash(high, 0))
    }

    /// `nil` for an id that wasn't given to this mailbox.
    func item(of id: DeliveryID, for mailbox: MailboxNumber) -> Item? {
        let number = id.low ^ mask.hash(id.high, 0)
        guard tag.hash(number, UInt64(bitPattern: mailbox.rawValue)) == id.high else { return nil }
        guard number & Self.receiptBit == 0 else { return .receipt(number & ~Self.receiptBit) }
        return .message(MessageNumber(rawValue: number))
    }

    private static let receiptBit: UInt64 = 1 << 63
}
