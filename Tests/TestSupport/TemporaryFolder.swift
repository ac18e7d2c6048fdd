public import Foundation

/// A folder of its own under the system's temporary folder, removed when the last owner lets go.
public final class TemporaryFolder: Sendable {
    /// Where it is.
    public let path: String

    /// Makes an empty folder.
    public init() throws {
        let folder = FileManager.default.temporaryDirectory
            .appendingPathComponent("curtain-test-\(UUID().uuidString)")
        try FileManager.default.createDirectory(
            at: folder, withIntermediateDirectories: true,
            attributes: [.posixPermissions: 0o700])
        path = folder.path
    }

    /// A path inside it.
    public func file(_ name: String) -> String { path + "/" + name }

    /// All files in it, by name.
    public func contents() throws -> [String: Data] {
        let names = try FileManager.default.contentsOfDirectory(atPath: path)
        return try Dictionary(
            uniqueKeysWithValues: names.map {
                ($0, try Data(contentsOf: URL(fileURLWithPath: file($0))))
            })
    }

    deinit {
        try? FileManager.default.removeItem(atPath: path)
    }
}
