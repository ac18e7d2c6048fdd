private import CSodium

/// HMAC (RFC 2104) under one key, in memory that is wiped afterwards.
///
/// Safe because it never leaves the closure for which its memory is there.
@safe struct HMAC<Function: HashFunction> {
    private let inner: UnsafeMutablePointer<Function.State>
    private let outer: UnsafeMutablePointer<Function.State>
    private let working: UnsafeMutablePointer<Function.State>
    /// Room for a block or a hash.
    private let block: UnsafeMutableRawBufferPointer

    /// Lends HMAC under `key` to `body`, and wipes what it left behind.
    static func keyed<Result>(
        by key: UnsafeRawBufferPointer, _ body: (HMAC) -> Result
    ) -> Result {
        defer { StackScrub.run(StackScrub.hash) }
        return unsafe withUnsafeTemporaryAllocation(of: Function.State.self, capacity: 4) {
            memory in
            guard let states = memory.baseAddress else {
                preconditionFailure("memory for four states has an address")
            }
            defer { unsafe sodium_memzero(states, 4 * MemoryLayout<Function.State>.stride) }
            return unsafe body(HMAC(key, states))
        }
    }

    private init(_ key: UnsafeRawBufferPointer, _ states: UnsafeMutablePointer<Function.State>) {
        unsafe inner = states
        unsafe outer = states + 1
        unsafe working = states + 2
        let count = Function.blockByteCount
        unsafe block = UnsafeMutableRawBufferPointer(start: states + 3, count: count)
        unsafe block.initializeMemory(as: UInt8.self, repeating: 0)
        if key.count > count, let target = unsafe block.baseAddress {
            unsafe Function.begin(working)
            unsafe Function.add(key, to: working)
            unsafe Function.finish(working, into: target)
        } else {
            unsafe block.copyMemory(from: key)
        }
        for index in 0..<count { unsafe block[index] ^= 0x36 }
        unsafe Function.begin(inner)
        unsafe Function.add(UnsafeRawBufferPointer(block), to: inner)
        for index in 0..<count { unsafe block[index] ^= 0x36 ^ 0x5c }
        unsafe Function.begin(outer)
        unsafe Function.add(UnsafeRawBufferPointer(block), to: outer)
    }

    /// Authenticates three pieces as one text; the code is there for `use` only.
    private func authenticate<Result>(
        _ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer,
        _ third: UnsafeRawBufferPointer, _ use: (UnsafeRawBufferPointer) -> Result
    ) -> Result {
        let hash = unsafe UnsafeMutableRawBufferPointer(
            rebasing: block[..<Function.hashByteCount])
        if let target = hash.baseAddress {
            unsafe working.update(from: inner, count: 1)
            unsafe Function.add(first, to: working)
            unsafe Function.add(second, to: working)
            unsafe Function.add(third, to: working)
            unsafe Function.finish(working, into: target)
            unsafe working.update(from: outer, count: 1)
            unsafe Function.add(UnsafeRawBufferPointer(hash), to: working)
            unsafe Function.finish(working, into: target)
        }
        return unsafe use(UnsafeRawBufferPointer(hash))
    }

    /// Authenticates a text; the code is there for `use` only.
    func authenticate<Result>(
        _ text: UnsafeRawBufferPointer, _ use: (UnsafeRawBufferPointer) -> Result
    ) -> Result {
        let nothing = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
        return unsafe authenticate(text, nothing, nothing, use)
    }

    /// HKDF-Expand (RFC 5869 §2.3) into `output`, which has at most 255 hashes' length.
    func expand(info: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer) {
        let hashByteCount = Function.hashByteCount
        var offset = 0
        var counter: UInt8 = 1
        while offset < output.count {
            let previous = unsafe UnsafeRawBufferPointer(
                rebasing: output[max(0, offset - hashByteCount)..<offset])
            unsafe withUnsafeBytes(of: counter) { counter in
                unsafe authenticate(previous, info, counter) { hash in
                    let count = min(hashByteCount, output.count - offset)
                    unsafe UnsafeMutableRawBufferPointer(rebasing: output[offset..<offset + count])
                        .copyMemory(from: UnsafeRawBufferPointer(rebasing: hash[..<count]))
                    offset += count
                }
            }
            counter &+= 1
        }
    }
}
