import CoreFoundation
import Foundation
import Glibc
import TestSupport
import Testing

@testable import Consultations

/// Saved files: whole and durable under their own name, or not there at all.
struct FilesOnDiskTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    @Test func `a file has no name before it is whole, and then only its own`() throws {
        let path = folder.file("a.pdf")
        let target = try FileTarget(path)
        try target.write([1, 2, 3])
        // What a process that is killed here would leave.
        #expect(try folder.contents().isEmpty || !hasNamelessFiles)
        try target.finish()
        #expect(try folder.contents()["a.pdf"] == Data([1, 2, 3]))
        #expect(try folder.contents().count == 1 || !hasNamelessFiles)
        let attributes = try FileManager.default.attributesOfItem(atPath: path)
        #expect(attributes[.posixPermissions] as? Int == 0o600)
    }

    @Test func `a file that isn't finished leaves nothing`() throws {
        try FileTarget(folder.file("a.pdf")).write([1, 2, 3])
        #expect(try folder.contents().isEmpty)
    }

    @Test func `what came into its place meanwhile stays`() throws {
        let path = folder.file("a.pdf")
        do {
            let target = try FileTarget(path)
            try target.write([1, 2, 3])
            try Data([9]).write(to: URL(fileURLWithPath: path))
            #expect(throws: DeviceError.file(.exists)) { try target.finish() }
        }
        #expect(try folder.contents() == ["a.pdf": Data([9])])
        #expect(throws: DeviceError.file(.exists)) { try FileTarget(path) }
    }

    @Test(arguments: ["a.pdf", "\u{301}a.pdf"])
    func `the content is durable before the name, and the name at the end`(name: String) throws {
        let path = folder.file(name)
        let place = try inode(of: folder.path)
        var synced: [String] = []
        let target = try FileTarget(path) { descriptor in
            var status = stat()
            guard unsafe fstat(descriptor, &status) == 0 else { return -1 }
            let isThere = unsafe access(path, F_OK) == 0
            synced.append((status.st_ino == place ? "folder" : "file") + (isThere ? ", named" : ""))
            return 0
        }
        try target.finish()
        #expect(synced == ["file", "folder, named"])
    }

    @Test(arguments: [Glibc.S_IFREG, Glibc.S_IFDIR])
    func `a disk that fails leaves nothing behind`(failing: mode_t) throws {
        do {
            let target = try FileTarget(folder.file("a.pdf")) { descriptor in
                var status = stat()
                guard unsafe fstat(descriptor, &status) == 0,
                    status.st_mode & Glibc.S_IFMT != failing
                else {
                    errno = EIO
                    return -1
                }
                return 0
            }
            #expect(throws: DeviceError.file(.unwritable)) { try target.finish() }
        }
        #expect(try folder.contents().isEmpty)
    }

    @Test func `a file that is sent is called by its name, and by no folder`() throws {
        let path = folder.file("\u{301}a.pdf")
        try Data([9]).write(to: URL(fileURLWithPath: path))
        #expect(try FileSource(path).name == "\u{301}a.pdf")
    }

    /// Whether this file system knows files without a name, `O_TMPFILE` of open(2).
    private var hasNamelessFiles: Bool {
        let file = unsafe open(folder.path, O_WRONLY | O_DIRECTORY | 0o20_000_000, 0o600)
        guard file >= 0 else { return false }
        close(file)
        return true
    }

    private func inode(of path: String) throws -> ino_t {
        var status = stat()
        try #require(unsafe lstat(path, &status) == 0)
        return status.st_ino
    }
}
