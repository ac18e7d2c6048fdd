private import Foundation

/// What the system says of this process, under the names that Prometheus' own libraries use.
struct ProcessFigures {
    var processorSeconds: Double?
    var residentByteCount: Double?
    var openFiles: Double?
    var maxFiles: Double?

    init() {
        var usage = rusage()
        if unsafe getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage) == 0 {
            func seconds(_ time: timeval) -> Double {
                Double(time.tv_sec) + Double(time.tv_usec) / 1_000_000
            }
            processorSeconds = seconds(usage.ru_utime) + seconds(usage.ru_stime)
        }
        if let pages = FileManager.default.contents(atPath: "/proc/self/statm")
            .flatMap({ String(decoding: $0, as: UTF8.self).split(separator: " ").dropFirst().first }
            )
            .flatMap({ Double($0) })
        {
            residentByteCount = pages * Double(sysconf(Int32(_SC_PAGESIZE)))
        }
        openFiles = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")).map {
            Double($0.count)
        }
        var limit = rlimit()
        if unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 {
            maxFiles = Double(limit.rlim_cur)
        }
    }
}
