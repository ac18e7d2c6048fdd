import Foundation

/// Processor time of this process in microseconds: other programs' load hardly shows in it.
func processorMicroseconds() -> Double {
    var time = timespec()
    unsafe clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return Double(time.tv_sec) * 1e6 + Double(time.tv_nsec) / 1e3
}

/// Microseconds of processor time per call of `body`: the median of several runs of many calls.
func processorMicrosecondsPerCall(
    runs: Int = 9, calls: Int = 2000, _ body: () throws -> Void
) rethrows -> Double {
    for _ in 0..<max(1, calls / 10) { try body() }
    var times: [Double] = []
    for _ in 0..<runs {
        let start = processorMicroseconds()
        for _ in 0..<calls { try body() }
        times.append((processorMicroseconds() - start) / Double(calls))
    }
    return median(times)
}
