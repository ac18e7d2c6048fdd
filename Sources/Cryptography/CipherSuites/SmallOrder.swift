/// The points of X25519 that give zero with any private key (RFC 7748 §6.1, §7): those of an order that
/// divides eight, on the curve and on its twist, in every encoding.
enum SmallOrder {
    /// The u-coordinates, least octet first; the highest bit is not part of them.
    static let points: [[UInt8]] = [
        [UInt8](repeating: 0, count: 32),
        [1] + [UInt8](repeating: 0, count: 31),
        [
            0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f,
            0xc4, 0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16,
            0x5f, 0x49, 0xb8, 0x00,
        ],
        [
            0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83,
            0xef, 0x5b, 0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd,
            0xd0, 0x9f, 0x11, 0x57,
        ],
        // The prime less one, the prime itself and one more, which stand for -1, 0 and 1.
        [0xec] + [UInt8](repeating: 0xff, count: 30) + [0x7f],
        [0xed] + [UInt8](repeating: 0xff, count: 30) + [0x7f],
        [0xee] + [UInt8](repeating: 0xff, count: 30) + [0x7f],
    ]

    static func contains(_ key: ArraySlice<UInt8>) -> Bool {
        points.contains { point in
            // Nearly every key is told apart by its first octet.
            point.first == key.first && point.dropLast().elementsEqual(key.dropLast())
                && (point.last ?? 0) == (key.last ?? 0) & 0x7f
        }
    }
}
