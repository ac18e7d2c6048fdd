/// A public key that is hashed as a whole.
///
/// A `Set` of arrays would take the octets one by one, which for keys of the hybrid suites costs a
/// good part of what a signature does.
struct EncryptionKey: Hashable {
    let octets: [UInt8]

    func hash(into hasher: inout Hasher) {
        unsafe octets.withUnsafeBytes { unsafe hasher.combine(bytes: $0) }
    }
}

/// Public keys that may occur only once.
struct DistinctKeys {
    private var keys: Set<EncryptionKey>

    /// - Parameter count: about how many there will be.
    init(expecting count: Int) { keys = Set(minimumCapacity: count) }

    /// Whether the key is the first of its kind.
    mutating func insert(_ key: [UInt8]) -> Bool {
        keys.insert(EncryptionKey(octets: key)).inserted
    }
}
