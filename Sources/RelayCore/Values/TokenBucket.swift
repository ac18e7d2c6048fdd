/// Allows so many per second on average and so many at once.
struct TokenBucket: Equatable, Sendable {
    private var tokens: Double
    private var lastMilliseconds: UInt64?

    /// Starts full.
    init(burst: Double) { tokens = burst }

    /// Takes one; `nil` if it could, else the whole seconds to wait.
    mutating func take(perSecond: Double, burst: Double, at milliseconds: UInt64) -> UInt32? {
        if let last = lastMilliseconds, milliseconds > last {
            tokens = min(burst, tokens + Double(milliseconds - last) / 1_000 * perSecond)
        }
        lastMilliseconds = milliseconds
        guard tokens < 1 else {
            tokens -= 1
            return nil
        }
        let seconds = ((1 - tokens) / perSecond).rounded(.up)
        return UInt32(max(1, min(seconds, 86_400)))
    }
}
