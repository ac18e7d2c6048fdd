import CSodium
import Glibc

/// Makes libsodium draw its random octets from a world's seed, from now on and in the whole process:
/// only for programs that do nothing else.
///
/// The KEM's ephemeral keys come from another library and stay random. They change no length and no
/// decision.
enum SeededSodium {
    nonisolated(unsafe) private static var chance: Chance?
    nonisolated(unsafe) private static var implementation = unsafe randombytes_implementation(
        implementation_name: nameOfSeeded, random: seededNumber, stir: nil, uniform: nil,
        buf: seededOctets, close: nil)

    static func draw(from chance: Chance) {
        unsafe self.chance = chance
        _ = unsafe randombytes_set_implementation(&implementation)
    }

    fileprivate static func octets(_ count: Int) -> [UInt8] {
        unsafe chance?.bytes(count) ?? []
    }
}

private func nameOfSeeded() -> UnsafePointer<CChar>? { nil }

private func seededNumber() -> UInt32 {
    SeededSodium.octets(4).reduce(0) { $0 << 8 | UInt32($1) }
}

private func seededOctets(_ buffer: UnsafeMutableRawPointer?, _ count: Int) {
    guard let buffer = unsafe buffer else { return }
    for (index, octet) in SeededSodium.octets(count).enumerated() {
        unsafe buffer.storeBytes(of: octet, toByteOffset: index, as: UInt8.self)
    }
}
