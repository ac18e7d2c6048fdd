private import CSodium
internal import Crypto

#if canImport(FoundationEssentials)
    private import FoundationEssentials
#else
    private import Foundation
#endif

/// HMAC (RFC 2104) whose two padded states are kept, so that one key is expanded many times cheaply.
struct HMACStates<Function: HashFunction> {
    private let inner: Function
    private let outer: Function

    init(key: UnsafeRawBufferPointer) {
        var inner = Function()
        var outer = Function()
        let blockByteCount = Function.blockByteCount
        unsafe withUnsafeTemporaryAllocation(byteCount: blockByteCount, alignment: 16) { block in
            unsafe block.initializeMemory(as: UInt8.self, repeating: 0)
            if key.count > blockByteCount {
                var long = Function()
                unsafe long.update(bufferPointer: key)
                unsafe long.finalize().withUnsafeBytes { unsafe block.copyMemory(from: $0) }
            } else {
                unsafe block.copyMemory(from: key)
            }
            for index in 0..<blockByteCount { unsafe block[index] ^= 0x36 }
            unsafe inner.update(bufferPointer: UnsafeRawBufferPointer(block))
            for index in 0..<blockByteCount { unsafe block[index] ^= 0x36 ^ 0x5c }
            unsafe outer.update(bufferPointer: UnsafeRawBufferPointer(block))
            if let base = block.baseAddress { unsafe sodium_memzero(base, block.count) }
        }
        self.inner = inner
        self.outer = outer
    }

    /// Authenticates the concatenation of what `body` feeds in and hands out the code.
    func authenticate<Result>(
        feeding body: (inout Function) -> Void, _ use: (UnsafeRawBufferPointer) -> Result
    ) -> Result {
        var inner = self.inner
        body(&inner)
        var outer = self.outer
        unsafe inner.finalize().withUnsafeBytes { unsafe outer.update(bufferPointer: $0) }
        return unsafe outer.finalize().withUnsafeBytes { unsafe use($0) }
    }

    /// HKDF-Expand (RFC 5869 §2.3) into `output`, which has at most 255 hashes' length.
    func expand(info: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer) {
        let hashByteCount = Function.Digest.byteCount
        var offset = 0
        var counter: UInt8 = 1
        while offset < output.count {
            let previous = unsafe UnsafeRawBufferPointer(
                rebasing: output[max(0, offset - hashByteCount)..<offset])
            unsafe authenticate(feeding: { hash in
                unsafe hash.update(bufferPointer: previous)
                unsafe hash.update(bufferPointer: info)
                unsafe withUnsafeBytes(of: counter) { unsafe hash.update(bufferPointer: $0) }
            }) { block in
                let count = min(hashByteCount, output.count - offset)
                unsafe UnsafeMutableRawBufferPointer(rebasing: output[offset..<offset + count])
                    .copyMemory(from: UnsafeRawBufferPointer(rebasing: block[..<count]))
                offset += count
            }
            counter &+= 1
        }
    }
}
