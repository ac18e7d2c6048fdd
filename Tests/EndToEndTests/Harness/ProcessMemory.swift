import Foundation
import Glibc

/// The writable memory of a running process, as a core dump would show it.
struct ProcessMemory {
    private var pieces: [Data] = []

    /// A sanitizer's heap lies in maps that are larger than any memory.
    static var canBeRead: Bool { !isSanitized }

    init(of process: pid_t) throws {
        let maps = try String(contentsOfFile: "/proc/\(process)/maps", encoding: .utf8)
        let file = unsafe open("/proc/\(process)/mem", O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw StageError.system("open /proc/\(process)/mem", errno) }
        defer { close(file) }
        for line in maps.split(separator: "\n") {
            let fields = line.split(separator: " ")
            let bounds = fields[0].split(separator: "-").compactMap { Int($0, radix: 16) }
            guard fields[1].hasPrefix("rw"), bounds.count == 2 else { continue }
            var piece = Data(count: bounds[1] - bounds[0])
            // Guarded pages, and what was given back meanwhile, can't be read.
            let count = unsafe piece.withUnsafeMutableBytes {
                unsafe pread(file, $0.baseAddress, $0.count, bounds[0])
            }
            if count > 0 { pieces.append(piece.prefix(count)) }
        }
    }

    /// The names of the needles that are somewhere.
    func names(of needles: [ByteSearch.Needle]) -> [String] {
        needles.filter { needle in
            pieces.contains { $0.range(of: Data(needle.octets)) != nil }
        }.map(\.name)
    }
}
