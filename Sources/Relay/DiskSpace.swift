import Glibc

/// Room on a file system, and for what it is enough.
struct DiskSpace: Equatable {
    /// Octets that may be taken.
    let free: UInt64
    /// Octets in all.
    let total: UInt64

    init(free: UInt64, total: UInt64) {
        self.free = free
        self.total = total
    }

    /// Room on the file system of a file or folder; `nil` if nobody knows.
    init?(at path: String) {
        var information = statvfs()
        guard unsafe statvfs(path, &information) == 0 else { return nil }
        let unit = UInt64(information.f_frsize)
        self.init(
            free: UInt64(information.f_bavail) * unit, total: UInt64(information.f_blocks) * unit)
    }

    /// Octets that must stay free, or a quarter of a small disk, so that the log can always be written
    /// back; below, what would grow is refused.
    var reserve: UInt64 { min(64 << 20, total / 4) }

    /// Octets that blobs leave to messages and everything else: a tenth of the disk, of a large one
    /// 8 GiB.
    var blobReserve: UInt64 { max(reserve, min(8 << 30, total / 10)) }

    /// Octets that may be taken before the reserve is touched.
    var spare: UInt64 { spare(above: reserve, freed: 0) }

    /// Octets that may be taken before so many are left.
    ///
    /// - Parameter freed: octets in the database that it can use again.
    func spare(above reserve: UInt64, freed: UInt64) -> UInt64 {
        free + freed - min(free + freed, reserve)
    }

    /// Whether the log has room, through which every change goes.
    var hasRoomForLog: Bool { free > reserve / 2 }

    /// Whether the database may take more.
    ///
    /// - Parameter freed: octets in it that it can use again.
    func hasRoom(freed: UInt64) -> Bool { hasRoomForLog && free + freed > reserve }

    /// Whether blobs may take more of it.
    func hasRoomForBlobs(freed: UInt64) -> Bool { hasRoomForLog && free + freed > blobReserve }
}
