import Foundation
import Glibc
import TestSupport

/// A small file system in a file, which can be frozen: whoever writes to it then waits until it is
/// thawed, and can't be killed. As with a file server that is gone.
final class FreezableDisk {
    /// Where it is mounted.
    let folder: String
    private var isFrozen = false

    /// Only root may mount and freeze one, and not in every container.
    static let canBeHad: Bool = {
        guard geteuid() == 0, let folder = try? TemporaryFolder(),
            let disk = try? FreezableDisk(in: folder.path)
        else { return false }
        defer { disk.end() }
        return (try? disk.freeze()) != nil
    }()

    init(in place: String) throws {
        folder = place + "/disk"
        let image = place + "/image"
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true)
        try Self.system("truncate", "--size=16M", image)
        try Self.system("mkfs.ext4", "-q", image)
        try Self.system("mount", "-o", "loop", image, folder)
    }

    deinit { end() }

    func freeze() throws {
        try Self.system("fsfreeze", "--freeze", folder)
        isFrozen = true
    }

    func thaw() throws {
        try Self.system("fsfreeze", "--unfreeze", folder)
        isFrozen = false
    }

    /// Takes it away, whoever uses it.
    func end() {
        if isFrozen { try? thaw() }
        try? Self.system("umount", "--lazy", folder)
    }

    private static func system(_ program: String, _ arguments: String...) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = [program] + arguments
        process.environment = ["PATH": "/usr/sbin:/usr/bin:/sbin:/bin"]
        process.standardError = nil
        try process.run()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw StageError.system(program, process.terminationStatus)
        }
    }
}
