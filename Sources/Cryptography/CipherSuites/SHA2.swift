internal import CLibcrypto

/// A hash function whose state lies in the caller's memory, which the caller wipes.
///
/// swift-crypto's keep theirs in objects that are freed as they are, with the last octets hashed.
protocol HashFunction {
    associatedtype State
    /// Octets of a hash.
    static var hashByteCount: Int { get }
    /// Octets of a block (RFC 2104 calls it B). A state is at least as large.
    static var blockByteCount: Int { get }
    static func begin(_ state: UnsafeMutablePointer<State>)
    static func add(_ octets: UnsafeRawBufferPointer, to state: UnsafeMutablePointer<State>)
    /// Writes the hash of all that was added.
    static func finish(_ state: UnsafeMutablePointer<State>, into output: UnsafeMutableRawPointer)
}

extension HashFunction {
    /// The hash of octets that are not secret.
    static func hash(_ octets: UnsafeRawBufferPointer) -> [UInt8] {
        unsafe [UInt8](unsafeUninitializedCapacity: hashByteCount) { output, written in
            unsafe withUnsafeTemporaryAllocation(of: State.self, capacity: 1) { memory in
                guard let state = memory.baseAddress, let target = output.baseAddress else {
                    return
                }
                unsafe begin(state)
                unsafe add(octets, to: state)
                unsafe finish(state, into: target)
                written = hashByteCount
            }
        }
    }
}

/// SHA-256 (FIPS 180-4) of libcrypto.
enum SHA256: HashFunction {
    static let hashByteCount = 32
    static let blockByteCount = 64

    static func begin(_ state: UnsafeMutablePointer<SHA256_CTX>) { unsafe SHA256_Init(state) }

    static func add(
        _ octets: UnsafeRawBufferPointer, to state: UnsafeMutablePointer<SHA256_CTX>
    ) {
        if octets.count > 0 { unsafe SHA256_Update(state, octets.baseAddress, octets.count) }
    }

    static func finish(
        _ state: UnsafeMutablePointer<SHA256_CTX>, into output: UnsafeMutableRawPointer
    ) {
        unsafe SHA256_Final(output.assumingMemoryBound(to: UInt8.self), state)
    }
}

/// SHA-384 (FIPS 180-4) of libcrypto.
enum SHA384: HashFunction {
    static let hashByteCount = 48
    static let blockByteCount = 128

    static func begin(_ state: UnsafeMutablePointer<SHA512_CTX>) { unsafe SHA384_Init(state) }

    static func add(
        _ octets: UnsafeRawBufferPointer, to state: UnsafeMutablePointer<SHA512_CTX>
    ) {
        if octets.count > 0 { unsafe SHA384_Update(state, octets.baseAddress, octets.count) }
    }

    static func finish(
        _ state: UnsafeMutablePointer<SHA512_CTX>, into output: UnsafeMutableRawPointer
    ) {
        unsafe SHA384_Final(output.assumingMemoryBound(to: UInt8.self), state)
    }
}
