internal import CWebSockets
internal import Glibc

/// Why a name gave no address.
struct ResolutionProblem: Error, Sendable {
    let text: String
}

/// Looks a name up on a thread of its own, since the system's resolver blocks, for many seconds at
/// times; the thread is not waited for when a loop ends.
func resolve(
    _ name: String,
    _ completion: @escaping @Sendable (Result<[String], ResolutionProblem>) -> Void
) {
    let request = unsafe Unmanaged.passRetained(
        ResolutionRequest(name: name, completion: completion))
    var thread = pthread_t()
    if unsafe pthread_create(&thread, nil, runResolution, request.toOpaque()) == 0 {
        pthread_detach(thread)
    } else {
        unsafe request.release()
        completion(.failure(ResolutionProblem(text: "no thread for looking up the name")))
    }
}

private final class ResolutionRequest: Sendable {
    let name: String
    let completion: @Sendable (Result<[String], ResolutionProblem>) -> Void

    init(
        name: String,
        completion: @escaping @Sendable (Result<[String], ResolutionProblem>) -> Void
    ) {
        self.name = name
        self.completion = completion
    }

    func run() {
        let result = unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 2048) {
            buffer -> Result<[String], ResolutionProblem> in
            unsafe buffer.initialize(repeating: 0)
            guard let base = buffer.baseAddress else { return .success([]) }
            let error = unsafe shim_resolve(name, base, buffer.count)
            guard error == 0 else {
                return .failure(
                    ResolutionProblem(text: unsafe String(cString: gai_strerror(error))))
            }
            return .success(unsafe String(cString: base).split(separator: "\n").map(String.init))
        }
        completion(result)
    }
}

private func runResolution(_ argument: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    if let argument = unsafe argument {
        unsafe Unmanaged<ResolutionRequest>.fromOpaque(argument).takeRetainedValue().run()
    }
    return nil
}
