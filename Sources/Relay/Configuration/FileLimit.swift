private import Glibc

/// How many files the process may have open: each connection is one.
public enum FileLimit {
    /// Besides connections: the database, the log, listeners, those who are told that it is full.
    private static let others = 256

    /// Raises the limit as far as it goes without privileges.
    ///
    /// - Returns: connections for which it suffices, if those are fewer than wanted.
    public static func raise(for connections: Int) -> Int? {
        let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        var limit = rlimit()
        guard unsafe getrlimit(resource, &limit) == 0 else { return nil }
        let wanted = rlim_t(connections + others)
        guard limit.rlim_cur < wanted else { return nil }
        var raised = limit
        raised.rlim_cur = min(limit.rlim_max, wanted)
        let current = unsafe setrlimit(resource, &raised) == 0 ? raised.rlim_cur : limit.rlim_cur
        return current < wanted ? max(0, Int(clamping: current) - others) : nil
    }
}
