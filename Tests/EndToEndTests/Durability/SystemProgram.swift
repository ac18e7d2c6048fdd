import Foundation

/// Runs one of the system's programs, such as `mount`, to its end.
///
/// - Parameter quietly: what it says against it isn't shown.
/// - Throws: `StageError.system` if it failed.
func system(_ program: String, _ arguments: String..., quietly: Bool = false) throws {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = [program] + arguments
    process.environment = ["PATH": "/usr/sbin:/usr/bin:/sbin:/bin"]
    if quietly { process.standardError = nil }
    try process.run()
    process.waitUntilExit()
    guard process.terminationStatus == 0 else {
        throw StageError.system(program, process.terminationStatus)
    }
}
