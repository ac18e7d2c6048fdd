private import Glibc
public import Logging

/// How many files the process may have open: each connection is one.
public enum FileLimit {
    /// Besides connections: the database, the log, listeners, those who are told that it is full,
    /// who watches, a backup. They must be there when connections are most.
    private static let others = 256

    /// Raises the limit as far as it goes without privileges, and warns if that is too little.
    ///
    /// - Returns: as many connections as there are files for, at most those that are wanted.
    public static func fit(_ connections: Int, _ log: Logger) -> Int {
        let possible = raise(for: connections)
        if possible < connections {
            log.warning(
                """
                open files suffice for \(possible) connections, which is the limit therefore; raise \
                LimitNOFILE or ulimit -n for limit-connections
                """)
        }
        return possible
    }

    private static func raise(for connections: Int) -> Int {
        let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        var limit = rlimit()
        guard unsafe getrlimit(resource, &limit) == 0 else { return connections }
        let wanted = rlim_t(connections + others)
        guard limit.rlim_cur < wanted else { return connections }
        var raised = limit
        raised.rlim_cur = min(limit.rlim_max, wanted)
        let current = unsafe setrlimit(resource, &raised) == 0 ? raised.rlim_cur : limit.rlim_cur
        let files = Int(clamping: current)
        return min(connections, max(files - others, files / 3))
    }
}
