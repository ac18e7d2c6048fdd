import Cryptography
import Dispatch
import Foundation
import Glibc

@testable import MLS

/// The writable memory of this process, but for the place where the watched secrets are kept.
///
/// A secret is looked for by its middle and by its end: the allocator writes its lists over the
/// beginning of what is freed, and X25519 clamps the first octet and the last.
///
/// Safe because it owns both mappings until it is gone, and nothing else knows them; one thread waits
/// while another searches.
@safe final class ProcessImage: @unchecked Sendable {
    private struct Watched {
        let name: String
        let offset: Int
        let count: Int
    }

    private static let size = 1 << 20
    private let needles: UnsafeMutableRawPointer
    private let window: UnsafeMutableRawPointer
    private var watched: [Watched] = []
    private var used = 0

    init() throws {
        func map() throws -> UnsafeMutableRawPointer {
            let flags = MAP_PRIVATE | MAP_ANONYMOUS
            guard
                let address = unsafe mmap(
                    nil, Self.size, PROT_READ | PROT_WRITE, flags, -1, 0)
            else { throw MLSError.machine }
            return unsafe address
        }
        unsafe needles = try map()
        unsafe window = try map()
    }

    deinit {
        unsafe munmap(needles, Self.size)
        unsafe munmap(window, Self.size)
    }

    func watch(_ secret: SecretBytes, _ name: String) {
        let count = secret.count
        let pieces = count <= 16 ? [0..<count] : [8..<24, count - 16..<count]
        unsafe secret.withUnsafeBytes { octets in
            for piece in pieces {
                let octets = unsafe UnsafeRawBufferPointer(rebasing: octets[piece])
                guard let base = octets.baseAddress else { continue }
                unsafe (needles + used).copyMemory(from: base, byteCount: octets.count)
                watched.append(Watched(name: name, offset: used, count: octets.count))
                used += octets.count
            }
        }
    }

    /// The names of the watched secrets that are somewhere else as well.
    ///
    /// Another thread looks, so that what earlier calls left on this one's stack isn't overwritten.
    func found() throws -> [String] {
        let done = DispatchSemaphore(value: 0)
        nonisolated(unsafe) var result: Result<[String], any Error> = .success([])
        DispatchQueue.global().async {
            unsafe result = Result { try self.search() }
            done.signal()
        }
        done.wait()
        return try unsafe result.get()
    }

    private func search() throws -> [String] {
        let file = unsafe open("/proc/self/mem", O_RDONLY)
        guard file >= 0 else { throw MLSError.machine }
        defer { close(file) }
        var names = Set<String>()
        for region in try regions().flatMap(withoutOwn) {
            var start = region.lowerBound
            while start < region.upperBound {
                let wanted = min(Self.size, region.upperBound - start)
                let count = unsafe pread(file, window, wanted, start)
                for entry in watched where count > 0 && !names.contains(entry.name) {
                    if holds(entry, count) { names.insert(entry.name) }
                }
                unsafe memset(window, 0, Self.size)
                // Pieces are far shorter than the overlap. Other threads may have unmapped what comes
                // next: only that page is left out.
                let step = count == wanted ? wanted : max(4_096, count / 4_096 * 4_096)
                start += step == Self.size ? step - 256 : step
            }
        }
        return names.sorted()
    }

    private func holds(_ entry: Watched, _ count: Int) -> Bool {
        let needle = unsafe needles + entry.offset
        let first = unsafe CInt(needle.load(as: UInt8.self))
        var offset = 0
        while offset + entry.count <= count {
            let rest = count - entry.count - offset + 1
            guard let hit = unsafe memchr(window + offset, first, rest) else { return false }
            if unsafe memcmp(hit, needle, entry.count) == 0 { return true }
            offset = unsafe window.distance(to: hit) + 1
        }
        return false
    }

    /// A region without the pages of this class.
    private func withoutOwn(_ region: Range<Int>) -> [Range<Int>] {
        let own = unsafe [Int(bitPattern: needles), Int(bitPattern: window)].sorted()
        var pieces: [Range<Int>] = []
        var start = region.lowerBound
        for address in own where address < region.upperBound && address + Self.size > start {
            if start < address { pieces.append(start..<address) }
            start = address + Self.size
        }
        if start < region.upperBound { pieces.append(start..<region.upperBound) }
        return pieces
    }

    private func regions() throws -> [Range<Int>] {
        let maps = try String(contentsOfFile: "/proc/self/maps", encoding: .utf8)
        return maps.split(separator: "\n").compactMap { line in
            let fields = line.split(separator: " ")
            guard fields.count > 1, fields[1].hasPrefix("rw") else { return nil }
            let bounds = fields[0].split(separator: "-").compactMap { Int($0, radix: 16) }
            guard bounds.count == 2, bounds[0] < bounds[1] else { return nil }
            return bounds[0]..<bounds[1]
        }
    }
}
