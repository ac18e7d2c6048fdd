internal import CSodium

/// Key material in memory that is wiped when its last owner lets go of it.
///
/// Copies share one buffer. Comparison takes constant time, and no description shows the content.
public struct SecretBytes: Sendable {
    private let storage: Storage

    /// Takes over `count` octets of zero, for instance as an all-zero secret.
    public init(count: Int) {
        storage = Storage(count: count)
    }

    /// Copies `octets`; wiping the source is up to the caller.
    public init(_ octets: some Collection<UInt8>) {
        storage = Storage(count: octets.count)
        unsafe storage.mutate { unsafe $0.copyBytes(from: octets) }
    }

    /// Copies `octets`; wiping the source is up to the caller.
    public init(_ octets: UnsafeRawBufferPointer) {
        storage = Storage(count: octets.count)
        unsafe storage.buffer.copyMemory(from: octets)
    }

    /// Copies `octets`; wiping the source is up to the caller.
    public init(_ octets: [UInt8]) {
        self = unsafe octets.withUnsafeBytes { unsafe SecretBytes($0) }
    }

    /// Makes a secret of `count` octets that `body` writes in place.
    public init<Failure: Error>(
        count: Int, initializingWith body: (UnsafeMutableRawBufferPointer) throws(Failure) -> Void
    ) throws(Failure) {
        let storage = Storage(count: count)
        try unsafe body(storage.buffer)
        self.storage = storage
    }

    /// Draws `count` random octets from the operating system's generator.
    public static func random(count: Int) -> SecretBytes {
        unsafe SecretBytes(count: count) { unsafe Random.fill($0) }
    }

    /// The number of octets.
    public var count: Int { storage.count }

    /// Lends the octets for the duration of `body`.
    public func withUnsafeBytes<Result, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        let storage = self.storage
        defer { withExtendedLifetime(storage) {} }
        return try unsafe body(UnsafeRawBufferPointer(storage.buffer))
    }

    /// A copy of part of the secret, wiped on its own.
    ///
    /// - Parameter range: within 0..<count; anything else is a mistake of the caller and traps.
    public func slice(_ range: Range<Int>) -> SecretBytes {
        precondition(range.lowerBound >= 0 && range.upperBound <= count)
        return unsafe withUnsafeBytes {
            unsafe SecretBytes(UnsafeRawBufferPointer(rebasing: $0[range]))
        }
    }

    /// An ordinary copy of the octets, for a caller that is about to seal or send them.
    public func exposedCopy() -> [UInt8] {
        unsafe withUnsafeBytes { unsafe [UInt8]($0) }
    }

    @safe private final class Storage: @unchecked Sendable {
        // Written only before the first copy is handed out, so sharing it is safe.
        let buffer: UnsafeMutableRawBufferPointer
        var count: Int { unsafe buffer.count }

        init(count: Int) {
            unsafe buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 16)
            unsafe buffer.initializeMemory(as: UInt8.self, repeating: 0)
        }

        func mutate(_ body: (UnsafeMutableRawBufferPointer) -> Void) {
            unsafe body(buffer)
        }

        deinit {
            if let base = unsafe buffer.baseAddress { unsafe sodium_memzero(base, buffer.count) }
            unsafe buffer.deallocate()
        }
    }
}

extension SecretBytes: Equatable {
    /// Compares in constant time for equal lengths; the length itself is not secret.
    public static func == (left: SecretBytes, right: SecretBytes) -> Bool {
        unsafe left.withUnsafeBytes { left in
            unsafe right.withUnsafeBytes { right in unsafe ConstantTime.areEqual(left, right) }
        }
    }
}

extension SecretBytes: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// Names the type and length, never the content.
    public var description: String { "SecretBytes(\(count))" }
    /// The same as `description`.
    public var debugDescription: String { description }
    /// An empty mirror, so that `dump` shows nothing.
    public var customMirror: Mirror { Mirror(self, children: []) }
}
