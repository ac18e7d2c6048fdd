internal import CSodium

/// Authenticated encryption of something long in pieces, of which none can be changed, left out,
/// repeated or put elsewhere: libsodium's secretstream (XChaCha20-Poly1305).
///
/// Pieces are sealed, and opened, in their order. The last one says that it is the last.
public enum StreamSealing {
    /// Octets of a key; each is for one stream.
    public static let keyByteCount = 32
    /// Octets that whoever opens needs besides the key.
    public static let headerByteCount = 24
    /// Octets that a sealed piece has more than its content.
    public static let overheadByteCount = 17

    /// libsodium's state, which holds the key: wiped when it goes.
    ///
    /// `@safe`: the memory lives as long as the object, which never hands it out.
    @safe fileprivate final class State {
        let memory: UnsafeMutablePointer<crypto_secretstream_xchacha20poly1305_state>

        init() {
            Sodium.ready
            unsafe memory = .allocate(capacity: 1)
            unsafe memory.initialize(to: crypto_secretstream_xchacha20poly1305_state())
        }

        deinit {
            unsafe sodium_memzero(
                memory, MemoryLayout<crypto_secretstream_xchacha20poly1305_state>.size)
            unsafe memory.deallocate()
        }
    }

    /// Seals piece after piece.
    public struct Sealer: ~Copyable {
        /// For whoever opens.
        public let header: [UInt8]
        private let state = State()

        /// Begins a stream.
        ///
        /// - Throws: `.wrongLength` unless the key has 32 octets.
        public init(key: SecretBytes) throws(CryptographyError) {
            guard key.count == keyByteCount else {
                throw .wrongLength(expected: keyByteCount, actual: key.count)
            }
            let state = state
            header = unsafe [UInt8](unsafeUninitializedCapacity: headerByteCount) { header, count in
                unsafe key.withUnsafeBytes { key in
                    guard let header = header.baseAddress,
                        let key = unsafe key.assumingMemoryBound(to: UInt8.self).baseAddress
                    else { return }
                    _ = unsafe crypto_secretstream_xchacha20poly1305_init_push(
                        state.memory, header, key)
                    count = headerByteCount
                }
            }
        }

        /// Seals the next piece.
        public mutating func seal(_ content: [UInt8], isLast: Bool) -> [UInt8] {
            let byteCount = content.count + overheadByteCount
            let tag = UInt8(
                isLast
                    ? crypto_secretstream_xchacha20poly1305_tag_final()
                    : crypto_secretstream_xchacha20poly1305_tag_message())
            return unsafe [UInt8](unsafeUninitializedCapacity: byteCount) { output, count in
                guard let output = output.baseAddress else { return }
                _ = unsafe crypto_secretstream_xchacha20poly1305_push(
                    state.memory, output, nil, content, UInt64(content.count), nil, 0, tag)
                count = byteCount
            }
        }
    }

    /// Opens piece after piece.
    public struct Opener: ~Copyable {
        private let state = State()

        /// Begins to open a stream.
        ///
        /// - Throws: `.wrongLength` unless key and header have 32 and 24 octets.
        public init(key: SecretBytes, header: [UInt8]) throws(CryptographyError) {
            guard key.count == keyByteCount else {
                throw .wrongLength(expected: keyByteCount, actual: key.count)
            }
            guard header.count == headerByteCount else {
                throw .wrongLength(expected: headerByteCount, actual: header.count)
            }
            let state = state
            let code: Int32 = unsafe key.withUnsafeBytes { key in
                guard let key = unsafe key.assumingMemoryBound(to: UInt8.self).baseAddress else {
                    return -1
                }
                return unsafe crypto_secretstream_xchacha20poly1305_init_pull(
                    state.memory, header, key)
            }
            guard code == 0 else { throw .authenticationFailed }
        }

        /// Opens the next piece, and tells whether it is the last.
        ///
        /// - Throws: `.authenticationFailed` if it isn't the piece that was sealed at this place.
        public mutating func open(
            _ sealed: [UInt8]
        ) throws(CryptographyError) -> (content: [UInt8], isLast: Bool) {
            guard sealed.count >= overheadByteCount else { throw .authenticationFailed }
            let byteCount = sealed.count - overheadByteCount
            var tag: UInt8 = 0
            var code: Int32 = -1
            let content = unsafe [UInt8](unsafeUninitializedCapacity: max(1, byteCount)) {
                output, count in
                code = unsafe crypto_secretstream_xchacha20poly1305_pull(
                    state.memory, output.baseAddress, nil, &tag, sealed, UInt64(sealed.count), nil,
                    0)
                count = code == 0 ? byteCount : 0
            }
            guard code == 0 else { throw .authenticationFailed }
            return (content, tag == crypto_secretstream_xchacha20poly1305_tag_final())
        }
    }
}

/// SHA-256 (FIPS 180-4) of octets that come bit by bit.
public struct RunningHash: Sendable {
    private var state: crypto_hash_sha256_state

    /// Of nothing yet.
    public init() {
        var state = crypto_hash_sha256_state()
        _ = unsafe crypto_hash_sha256_init(&state)
        self.state = state
    }

    /// Takes more octets.
    public mutating func add(_ octets: [UInt8]) {
        _ = unsafe crypto_hash_sha256_update(&state, octets, UInt64(octets.count))
    }

    /// The hash of all that came, 32 octets; more may come.
    public func value() -> [UInt8] {
        var state = state
        var hash = [UInt8](repeating: 0, count: 32)
        _ = unsafe crypto_hash_sha256_final(&state, &hash)
        return hash
    }
}
