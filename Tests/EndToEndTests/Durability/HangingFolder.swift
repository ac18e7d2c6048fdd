import Foundation
import Glibc
import TestSupport

/// A folder that nobody can even look into: whoever does waits until it is gone, or is killed. As
/// with a file server that doesn't answer. A file system in user space (FUSE) whose program never says
/// a word.
final class HangingFolder {
    private let path: String
    private let device: Int32

    /// Only root may mount one, and not in every container.
    static let canBeHad: Bool = {
        guard let folder = try? TemporaryFolder() else { return false }
        guard let hanging = try? HangingFolder(at: folder.file("hanging")) else { return false }
        hanging.end()
        return true
    }()

    init(at path: String) throws {
        self.path = path
        device = unsafe open("/dev/fuse", O_RDWR | O_CLOEXEC)
        guard device >= 0 else { throw StageError.system("open", errno) }
        let options = "fd=\(device),rootmode=40000,user_id=0,group_id=0"
        guard unsafe mkdir(path, 0o700) == 0,
            unsafe mount("none", path, "fuse", 0, options) == 0
        else {
            close(device)
            throw StageError.system("mount", errno)
        }
    }

    /// Takes it away; whoever waits hears that.
    func end() {
        close(device)
        unsafe umount2(path, Int32(MNT_DETACH))
        unsafe rmdir(path)
    }
}
