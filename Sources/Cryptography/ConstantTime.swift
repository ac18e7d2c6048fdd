internal import CSodium

/// Comparisons whose duration doesn't depend on where the octets differ.
public enum ConstantTime {
    /// Whether both octet strings are the same; unequal lengths answer at once.
    public static func areEqual(_ left: [UInt8], _ right: [UInt8]) -> Bool {
        unsafe left.withUnsafeBytes { left in
            unsafe right.withUnsafeBytes { right in unsafe areEqual(left, right) }
        }
    }

    static func areEqual(_ left: UnsafeRawBufferPointer, _ right: UnsafeRawBufferPointer) -> Bool {
        guard left.count == right.count else { return false }
        guard let first = left.baseAddress, let second = right.baseAddress else {
            return true
        }
        return unsafe sodium_memcmp(first, second, left.count) == 0
    }
}
