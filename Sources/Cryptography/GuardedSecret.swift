private import CSodium

/// One of the few long-lived keys, in memory of its own (libsodium's `sodium_malloc`): locked into
/// RAM where the system allows it, between guard pages, and unreadable except while it is copied.
///
/// It costs a locked page and some system calls for each use, so ratchet values are `SecretBytes`.
@safe public final class GuardedSecret: @unchecked Sendable {
    /// The number of octets.
    public let count: Int
    // Written only in `init`; the lock covers the moments in which the page is readable.
    private let memory: Lock<UnsafeMutableRawPointer>

    /// Moves a copy of `secret` into guarded memory.
    ///
    /// - Throws: `.resourceExhausted` if the system gives no such memory.
    public init(_ secret: SecretBytes) throws(CryptographyError) {
        Sodium.ready
        guard let memory = unsafe sodium_malloc(secret.count) else { throw .resourceExhausted }
        unsafe secret.withUnsafeBytes { source in
            if let base = source.baseAddress {
                unsafe memory.copyMemory(from: base, byteCount: source.count)
            }
        }
        count = secret.count
        _ = unsafe sodium_mprotect_noaccess(memory)
        unsafe self.memory = unsafe Lock(memory)
    }

    /// A short-lived copy, wiped when its last owner lets go of it.
    public func copy() -> SecretBytes {
        unsafe memory.withLock { memory in
            _ = unsafe sodium_mprotect_readonly(memory)
            defer { _ = unsafe sodium_mprotect_noaccess(memory) }
            return unsafe SecretBytes(UnsafeRawBufferPointer(start: memory, count: count))
        }
    }

    deinit {
        // Makes the page writable, wipes it, checks the canary and gives it back.
        unsafe memory.withLock { unsafe sodium_free($0) }
    }
}

extension GuardedSecret: CustomStringConvertible, CustomReflectable {
    /// Names the type and length, never the content.
    public var description: String { "GuardedSecret(\(count))" }
    /// An empty mirror, so that `dump` shows nothing.
    public var customMirror: Mirror { Mirror(self, children: []) }
}
