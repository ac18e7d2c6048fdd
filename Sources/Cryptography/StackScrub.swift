private import CSodium

/// Overwrites the stack below the caller: where libraries that don't clean up kept a private key or
/// what follows from it while they worked.
enum StackScrub {
    /// Octets that X25519 and Ed25519 of swift-crypto's BoringSSL use, generously.
    static let curve25519 = 8_192
    /// Twice the octets that its X-Wing uses, which holds matrices of polynomials.
    static let xwing = 32_768
    /// Octets that libcrypto's SHA-2 uses.
    static let hash = 2_048

    /// Call it where the library was called, not deeper.
    @inline(__always) static func run(_ byteCount: Int) {
        sodium_stackzero(byteCount)
    }
}
