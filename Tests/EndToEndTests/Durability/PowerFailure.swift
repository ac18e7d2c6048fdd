import Foundation
import TestSupport

/// A folder on a disk that forgets: what a program has synced of it lies in a second folder
/// (`Tests/LossyDisk`), and a power failure leaves that and any part of what was written since.
struct LossyFolder {
    let path: String
    let synced: String

    /// - Parameter path: an empty folder.
    init(_ path: String) throws {
        self.path = path
        synced = path + ".synced"
        for folder in [path, synced] {
            try FileManager.default.createDirectory(
                atPath: folder, withIntermediateDirectories: true,
                attributes: [.posixPermissions: 0o700])
        }
    }

    /// For the program that writes to the folder.
    func environment(lies: Bool = false) -> [String: String] {
        [
            "LD_PRELOAD": Program.folder + "/libLossyDisk.so", "LOSSY_FOLDER": path,
            "LOSSY_SYNCED": synced,
        ].merging(lies ? ["LOSSY_LIES": "1"] : [:]) { $1 }
    }

    /// After the program was killed: what is left.
    ///
    /// - Parameter share: how much of the sectors that were written and not synced survives, 0...1.
    func fail(keeping share: Double, with generator: inout some RandomNumberGenerator) throws {
        for name in try FileManager.default.subpathsOfDirectory(atPath: path).sorted() {
            let file = URL(fileURLWithPath: path + "/" + name)
            let copy = URL(fileURLWithPath: synced + "/" + name)
            // Shared memory of the processes that have the database open; gone with them.
            if name.hasSuffix("-shm") {
                try FileManager.default.removeItem(at: file)
                continue
            }
            guard try file.resourceValues(forKeys: [.isRegularFileKey]).isRegularFile == true
            else { continue }
            let written = try [UInt8](Data(contentsOf: file))
            let kept =
                FileManager.default.fileExists(atPath: copy.path)
                ? try [UInt8](Data(contentsOf: copy)) : []
            let left = mix(written, kept, keeping: share, with: &generator)
            for target in [file, copy] { try overwrite(target, with: left) }
        }
    }

    private func mix(
        _ written: [UInt8], _ kept: [UInt8], keeping share: Double,
        with generator: inout some RandomNumberGenerator
    ) -> [UInt8] {
        func survives() -> Bool { Double.random(in: 0..<1, using: &generator) < share }
        var left = kept
        if written.count != kept.count, survives() {
            left = Array(kept.prefix(written.count))
            left += [UInt8](repeating: 0, count: written.count - left.count)
        }
        for start in stride(from: 0, to: min(left.count, written.count), by: Self.sector) {
            let end = min(start + Self.sector, left.count, written.count)
            if left[start..<end] != written[start..<end], survives() {
                left.replaceSubrange(start..<end, with: written[start..<end])
            }
        }
        return left
    }

    /// In place, so that owner and mode stay.
    private func overwrite(_ file: URL, with octets: [UInt8]) throws {
        if !FileManager.default.fileExists(atPath: file.path) {
            try Data().write(to: file)
        }
        let handle = try FileHandle(forWritingTo: file)
        try handle.truncate(atOffset: 0)
        try handle.write(contentsOf: Data(octets))
        try handle.close()
    }

    /// What a disk writes at once.
    private static let sector = 512
}
