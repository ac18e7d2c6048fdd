import Glibc
import RelayProtocol

/// The messages of the load to one group: MLS PrivateMessages as the relay sees them, with 1 KiB
/// inside, each with its number.
struct LoadMessage {
    static let epoch: UInt64 = 1

    private var octets: [UInt8]
    private let numberAt: Int

    init(group: GroupID) {
        octets = [0, 1, 0, 2]  // mls10, mls_private_message (RFC 9420 §6)
        octets += [UInt8(GroupID.byteCount)] + group.bytes
        octets += Self.bigEndian(Self.epoch)
        octets += [1, 0]  // application, no authenticated data
        octets += [28] + [UInt8](repeating: 0x53, count: 28)  // sender data
        octets += [0x44, 0x00]  // 1,024 octets of ciphertext
        numberAt = octets.count
        octets += Self.bigEndian(0)
        octets += (0..<1016).map { UInt8(truncatingIfNeeded: $0 &* 31) }
    }

    /// The content of one message.
    mutating func content(number: UInt64) -> [UInt8] {
        setNumber(number)
        return octets
    }

    /// Whether a content is that message's, octet by octet.
    mutating func matches(_ content: [UInt8], number: UInt64) -> Bool {
        setNumber(number)
        guard content.count == octets.count else { return false }
        // Arrays compare their elements one by one, which would be a sixth of the generator's time.
        return unsafe content.withUnsafeBytes { content in
            unsafe octets.withUnsafeBytes { octets in
                guard let one = content.baseAddress, let other = octets.baseAddress
                else { return false }
                return unsafe memcmp(one, other, octets.count) == 0
            }
        }
    }

    private mutating func setNumber(_ number: UInt64) {
        for place in 0..<8 {
            octets[numberAt + place] = UInt8(truncatingIfNeeded: number >> UInt64(56 - 8 * place))
        }
    }

    private static func bigEndian(_ number: UInt64) -> [UInt8] {
        stride(from: 56, through: 0, by: -8).map { UInt8(truncatingIfNeeded: number >> UInt64($0)) }
    }
}
