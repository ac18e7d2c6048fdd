/// Public keys that may occur only once.
///
/// A key is hashed as a whole; a `Set` of arrays would take its octets one by one, which for keys of
/// the hybrid suites costs a good part of what a signature does.
struct DistinctKeys {
    private struct Key: Hashable {
        let octets: [UInt8]

        func hash(into hasher: inout Hasher) {
            unsafe octets.withUnsafeBytes { unsafe hasher.combine(bytes: $0) }
        }
    }

    private var keys: Set<Key>

    /// - Parameter count: about how many there will be.
    init(expecting count: Int) { keys = Set(minimumCapacity: count) }

    /// Whether the key is the first of its kind.
    mutating func insert(_ key: [UInt8]) -> Bool { keys.insert(Key(octets: key)).inserted }
}
