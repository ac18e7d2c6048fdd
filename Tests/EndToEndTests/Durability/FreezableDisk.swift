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
        try system("truncate", "--size=16M", image, quietly: true)
        try system("mkfs.ext4", "-q", image, quietly: true)
        try system("mount", "-o", "loop", image, folder, quietly: true)
    }

    deinit { end() }

    func freeze() throws {
        try system("fsfreeze", "--freeze", folder, quietly: true)
        isFrozen = true
    }

    func thaw() throws {
        try system("fsfreeze", "--unfreeze", folder, quietly: true)
        isFrozen = false
    }

    /// Takes it away, whoever uses it.
    func end() {
        if isFrozen { try? thaw() }
        try? system("umount", "--lazy", folder, quietly: true)
    }
}
