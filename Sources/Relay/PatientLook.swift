import Cryptography
import Dispatch
import Foundation

/// A look at what may never answer, such as a folder of another machine that is gone.
enum PatientLook {
    /// What was seen; `nil` if that took too long: a thread goes on looking.
    static func result<Result: Sendable>(
        within seconds: Double = 5, _ look: @escaping @Sendable () -> Result
    ) -> Result? {
        let seen = Lock<Result?>(nil)
        let isThere = DispatchSemaphore(value: 0)
        Thread.detachNewThread {
            let result = look()
            seen.withLock { $0 = result }
            isThere.signal()
        }
        _ = isThere.wait(timeout: .now() + seconds)
        return seen.withLock { $0 }
    }
}
