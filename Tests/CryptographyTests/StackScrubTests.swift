import Cryptography
import Foundation
import Testing

@Suite struct `What is left on the stack` {
    @Test(arguments: [CipherAlgorithms.xwingAES256SHA384, .x25519ChaCha20SHA256])
    func `the overwritten part is deeper than what a private key was used in`(
        _ algorithms: CipherAlgorithms
    ) throws {
        let seed = SecretBytes.random(count: 32)
        let key = try HPKEPrivateKey(seed, algorithms: algorithms)
        let setup = HPKESetup(info: [], algorithms: algorithms)
        let sealed = try setup.seal(seed, to: key.publicKey)
        let operations: [@Sendable () -> Void] = [
            { _ = try? HPKEPrivateKey(seed, algorithms: algorithms) },
            { _ = setup.open(sealed, with: key) },
            { _ = try? setup.seal(seed, to: key.publicKey) },
        ]
        for operation in operations {
            let deepest = PaintedStack.deepestOctets(of: operation)
            #expect(deepest.allSatisfy { $0 == 0 })
        }
    }

    @Test func `what nobody overwrites is seen`() {
        let deepest = PaintedStack.deepestOctets {
            unsafe withUnsafeTemporaryAllocation(byteCount: 1_024, alignment: 1) {
                _ = unsafe $0.initializeMemory(as: UInt8.self, repeating: 0x11)
            }
        }
        #expect(!deepest.allSatisfy { $0 == 0 })
    }
}

/// A stack on which every octet that was touched shows.
private enum PaintedStack {
    private static let paint: UInt8 = 0xa5
    private static let byteCount = 1 << 20

    fileprivate final class Job {
        let body: () -> Void
        init(_ body: @escaping () -> Void) { self.body = body }
    }

    /// Runs `body` in a thread of its own, and returns 512 octets from far away from its start: all but
    /// the farthest, where the function that overwrites the rest worked itself.
    static func deepestOctets(of body: @escaping () -> Void) -> ArraySlice<UInt8> {
        body()
        let stack = UnsafeMutableRawBufferPointer.allocate(byteCount: byteCount, alignment: 4_096)
        defer { unsafe stack.deallocate() }
        _ = unsafe stack.initializeMemory(as: UInt8.self, repeating: paint)
        let attributes = UnsafeMutablePointer<pthread_attr_t>.allocate(capacity: 1)
        defer { unsafe attributes.deallocate() }
        unsafe pthread_attr_init(attributes)
        if let base = stack.baseAddress {
            unsafe pthread_attr_setstack(attributes, base, byteCount)
        }
        let job = unsafe Unmanaged.passRetained(Job(body)).toOpaque()
        var thread = pthread_t()
        unsafe pthread_create(&thread, attributes, runPainted, job)
        pthread_join(thread, nil)
        let start = unsafe stack.firstIndex { $0 != paint } ?? byteCount
        return unsafe Array(stack[start...].prefix(1_024)).dropFirst(512)
    }
}

private func runPainted(_ job: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    guard let job = unsafe job else { return nil }
    unsafe Unmanaged<PaintedStack.Job>.fromOpaque(job).takeRetainedValue().body()
    return nil
}
