/// Why a primitive refused its input. Nothing has been changed by the failed call.
public enum CryptographyError: Error, Hashable, Sendable {
    /// An octet string has the wrong size for its purpose. Fault: whoever made the octets.
    case wrongLength(expected: Int, actual: Int)
    /// A public or private key is not a valid one. Fault: whoever made the key.
    case invalidKey
    /// A sealed text or tag doesn't belong to this key and associated data. Fault: sender or disk.
    case authenticationFailed
    /// The machine could not provide memory or randomness. Fault: the machine.
    case resourceExhausted
}
