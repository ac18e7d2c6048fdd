internal import CSodium

/// Random octets from the operating system's generator.
public enum Random {
    /// Draws `count` octets that needn't stay secret: nonces, identifiers.
    public static func bytes(_ count: Int) -> [UInt8] {
        unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            unsafe fill(UnsafeMutableRawBufferPointer(buffer))
            initialized = count
        }
    }

    /// Draws a number below `bound`, without bias. `bound` is at least 1.
    public static func number(below bound: UInt32) -> UInt32 {
        Sodium.ready
        return randombytes_uniform(bound)
    }

    static func fill(_ buffer: UnsafeMutableRawBufferPointer) {
        Sodium.ready
        guard let base = buffer.baseAddress else { return }
        unsafe randombytes_buf(base, buffer.count)
    }
}
