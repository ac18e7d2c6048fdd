private import CoreFoundation
public import Cryptography
private import Foundation

/// The folder that holds everything a relay keeps: keys, database, lock.
public struct DataFolder: Sendable {
    /// Where it is.
    public let path: String

    /// The relay's database.
    public var databasePath: String { path + "/relay.sqlite" }
    /// The audit trail.
    public var trailPath: String { path + "/trail" }
    /// The socket over which commands reach a running relay.
    var controlPath: String { path + "/control" }
    /// A backup on its way.
    var copyPath: String { path + "/relay.sqlite.copy" }
    /// A restored database in the making.
    var stagingPath: String { path + "/relay.sqlite.new" }
    /// A restored database that is whole, and only has to take the other's place.
    var restoredPath: String { path + "/relay.sqlite.restored" }
    private var keysPath: String { path + "/keys" }
    private var lockPath: String { path + "/lock" }

    /// Takes a folder, and makes it if it isn't there. Nobody else may look inside.
    ///
    /// - Throws: `.dataFolder`.
    public init(path: String) throws(RelayError) {
        self.path = path
        do {
            try FileManager.default.createDirectory(
                atPath: path, withIntermediateDirectories: true,
                attributes: [.posixPermissions: 0o700])
        } catch {
            let code = ((error as? CocoaError)?.underlying as? POSIXError)?.code.rawValue ?? EIO
            throw RelayError.dataFolder(
                "the data folder can't be made: \(Self.reason(code)): \(path)")
        }
        try Self.verify(path)
    }

    /// The system's words for an error, by default of the call just made.
    static func reason(_ number: Int32 = errno) -> String {
        unsafe strerror(number).map { unsafe String(cString: $0).lowercased() } ?? "error \(number)"
    }

    /// Whoever else could write into the folder could have left anything there.
    private static func verify(_ path: String) throws(RelayError) {
        var state = stat()
        guard unsafe stat(path, &state) == 0, state.st_mode & S_IFMT == S_IFDIR else {
            throw .dataFolder("the data folder can't be entered: \(path)")
        }
        guard state.st_uid == geteuid() || geteuid() == 0 else {
            throw othersFolder
        }
        guard state.st_mode & 0o077 == 0 else { throw .openToOthers }
    }

    /// Takes a folder that a relay has made.
    ///
    /// - Throws: `.notFound` if there is none, `.notAllowed` if it is another user's.
    init(existing path: String) throws(RelayError) {
        self.path = path
        guard holdsDatabase else {
            if unsafe access(path, X_OK) != 0, errno == EACCES { throw Self.othersFolder }
            throw .notFound("there is no relay's data in this folder")
        }
        try Self.verify(path)
    }

    /// Takes a folder in which a relay may start, and changes nothing; `nil` where it is still to be
    /// made.
    ///
    /// - Throws: `.dataFolder`, `.notAllowed`, `.openToOthers`.
    init?(whereOneIs path: String) throws(RelayError) {
        self.path = path
        let isThere = unsafe access(path, F_OK) == 0
        if isThere { try Self.verify(path) }
        if let reason = Self.whyUnwritable(path) {
            throw .dataFolder("the data folder can't be \(isThere ? "written" : "made"): \(reason)")
        }
        if !isThere { return nil }
    }

    /// Why files can't be made in a folder, which may still be to be made; `nil` if they can.
    static func whyUnwritable(_ path: String) -> String? {
        var place = URL(fileURLWithPath: path)
        var state = stat()
        while unsafe stat(place.path, &state) != 0 {
            guard errno == ENOENT || errno == ENOTDIR, place.path != "/" else {
                return "\(reason()): \(place.path)"
            }
            place.deleteLastPathComponent()
        }
        guard state.st_mode & S_IFMT == S_IFDIR else { return "no folder: \(place.path)" }
        guard unsafe faccessat(AT_FDCWD, place.path, W_OK | X_OK, AT_EACCESS) == 0 else {
            return "\(reason()): \(place.path)"
        }
        return nil
    }

    /// What a start would find missing or damaged, but for the database's schema. Only looks.
    var problems: [RelayError] {
        [requireKeys, requireDatabase].compactMap { (look: () throws(RelayError) -> Void) in
            do throws(RelayError) {
                try look()
                return nil
            } catch {
                return error
            }
        }
    }

    /// The number of the schema of the database that a start takes up; `nil` if there is none. Only
    /// looks.
    ///
    /// - Throws: `.newerDatabase`, `.store`.
    var schemaNumber: Int? {
        get throws(RelayError) {
            guard holdsDatabase else { return nil }
            let isRestored = FileManager.default.fileExists(atPath: restoredPath)
            return try RelayDatabase.schemaNumber(path: isRestored ? restoredPath : databasePath)
        }
    }

    private static let othersFolder = RelayError.notAllowed("the data folder is another user's")

    /// The relay's long-lived secrets.
    public struct Keys: Sendable {
        /// Signs challenges and receipts.
        public let identity: SigningKey
        /// Authenticates tickets.
        public let ticketKey: SecretBytes
    }

    /// Reads the keys, and makes them on first use.
    ///
    /// - Throws: `.missing`, `.damagedKeys`, `.dataFolder`, `.inUse`.
    public func keys() throws(RelayError) -> Keys {
        if let keys = try readKeys() { return keys }
        let lock = try lock(for: .identity)
        defer { lock.release() }
        return try makeKeys()
    }

    /// The same, for whoever holds the lock.
    func keys(holding lock: FolderLock) throws(RelayError) -> Keys {
        if let keys = try readKeys() { return keys }
        return try makeKeys()
    }

    private func readKeys() throws(RelayError) -> Keys? {
        guard FileManager.default.fileExists(atPath: keysPath) else { return nil }
        guard let content = OwnFile.contents(keysPath) else {
            throw .dataFolder("the file of keys can't be read")
        }
        guard content.count == Self.magic.count + 64, content.starts(with: Self.magic) else {
            throw .damagedKeys
        }
        let secret = SecretBytes(content)
        guard let identity = try? SigningKey(seed: secret.slice(4..<36)) else {
            throw .damagedKeys
        }
        return Keys(identity: identity, ticketKey: secret.slice(36..<68))
    }

    /// Other keys would be another relay, which no invitation and no device knows.
    private func requireUnused() throws(RelayError) {
        if try holdsTrail || holdsDatabase { throw .missing("keys") }
    }

    private func requireKeys() throws(RelayError) {
        if try readKeys() == nil { try requireUnused() }
    }

    private func makeKeys() throws(RelayError) -> Keys {
        try requireUnused()
        let seed = SecretBytes.random(count: 32)
        let ticketKey = SecretBytes.random(count: 32)
        guard let identity = try? SigningKey(seed: seed) else {
            throw .resources("no key could be made")
        }
        try writeDurably(
            Self.magic + seed.exposedCopy() + ticketKey.exposedCopy(), to: keysPath)
        return Keys(identity: identity, ticketKey: ticketKey)
    }

    private static let magic: [UInt8] = Array("CRK1".utf8)

    /// The keys as they are.
    ///
    /// - Throws: `.missing`, `.damagedKeys`, `.dataFolder`.
    func existingKeys() throws(RelayError) -> Keys {
        guard let keys = try readKeys() else { throw .missing("keys") }
        return keys
    }

    private var holdsDatabase: Bool {
        [databasePath, restoredPath].contains { FileManager.default.fileExists(atPath: $0) }
    }

    private var holdsTrail: Bool {
        get throws(RelayError) { try !TrailFolder(path: trailPath).segments().isEmpty }
    }

    /// A new database beside a trail would be an empty relay that everybody takes for the old one.
    ///
    /// - Throws: `.missing`.
    func requireDatabase() throws(RelayError) {
        if try holdsTrail, !holdsDatabase { throw .missing("database") }
    }

    /// Puts a backup's keys in place.
    func install(_ keys: Keys) throws(RelayError) {
        try writeDurably(
            Self.magic + keys.identity.seed.exposedCopy() + keys.ticketKey.exposedCopy(),
            to: keysPath)
    }

    /// Puts the database that was staged in the other's place. A crash in between leaves the one or the
    /// other, under a name by which the next start goes on.
    ///
    /// - Parameter fault: whose fault it is if that can't be done, from words.
    func replaceDatabase(fault: (String) -> RelayError) throws(RelayError) {
        OwnFile.hand(stagingPath, toOwnerOf: path)
        guard unsafe rename(stagingPath, restoredPath) == 0 else {
            throw fault("the new database can't be named")
        }
        try syncFolder()
        try finishRestore()
    }

    /// Gives a restored database its place, also if a crash came in between: from the moment that
    /// it has its name, it counts, and the one before is gone.
    func finishRestore() throws(RelayError) {
        guard FileManager.default.fileExists(atPath: restoredPath) else { return }
        // A log left beside another database would be taken for the new one's; and what is replaced
        // holds keys of groups that were erased since.
        OwnFile.erase(databasePath + "-wal")
        unsafe unlink(databasePath + "-shm")
        let replaced = OwnFile.open(databasePath, O_WRONLY)
        if replaced >= 0 {
            OwnFile.overwrite(replaced)
            close(replaced)
        }
        try syncFolder()
        guard unsafe rename(restoredPath, databasePath) == 0 else {
            throw .dataFolder("the restored database can't be put in its place")
        }
        try syncFolder()
    }

    /// Removes what a process that was killed has left: copies of the database, in which what is
    /// erased from now on would stay. For whoever holds the lock.
    func removeLeftovers() {
        for name in names where isCopy(name) { OwnFile.erase(path + "/" + name) }
        Self.removeDatabase(stagingPath)
        removeRehearsals()
    }

    /// Removes rehearsals whose process is gone.
    func removeRehearsals() {
        for name in deadRehearsals { OwnFile.eraseFolder(path + "/" + name) }
    }

    private var deadRehearsals: [String] {
        names.filter { name in
            guard name.hasPrefix(Self.rehearsalPrefix) else { return false }
            let process = name.dropFirst(Self.rehearsalPrefix.count).prefix { $0.isNumber }
            guard let number = Int32(process) else { return false }
            return kill(number, 0) != 0 && errno == ESRCH
        }
    }

    /// The names of copies of the database that nobody is making any more.
    var leftovers: [String] {
        guard holder == nil else { return deadRehearsals.sorted() }
        let copies = names.filter { isCopy($0) || path + "/" + $0 == stagingPath }
        return (deadRehearsals + copies).sorted()
    }

    private var names: [String] {
        (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
    }

    private func isCopy(_ name: String) -> Bool {
        (path + "/" + name).hasPrefix(copyPath + ".")
    }

    /// A copy that a running relay has made, which may know the folder by another path; `nil` if it
    /// has no copy's name.
    func copy(toldAs path: String) -> String? {
        guard let name = path.split(separator: "/").last.map(String.init), isCopy(name) else {
            return nil
        }
        return self.path + "/" + name
    }

    static let rehearsalPrefix = "rehearsal."

    /// Removes a database with its log, and leaves nothing of them in free blocks.
    static func removeDatabase(_ path: String) {
        for suffix in ["", "-wal", "-shm", "-journal"] { OwnFile.erase(path + suffix) }
    }

    /// Makes what was renamed or removed in the folder durable.
    func syncFolder() throws(RelayError) {
        guard OwnFile.syncFolder(path) else {
            throw .dataFolder("the folder can't be written")
        }
    }

    /// Writes a file as a whole, for the owner only, and returns once it is on the disk.
    func writeDurably(_ content: [UInt8], to path: String) throws(RelayError) {
        let temporary = path + ".new"
        unsafe unlink(temporary)
        let file = OwnFile.open(temporary, O_WRONLY | O_CREAT | O_EXCL)
        guard file >= 0 else { throw .dataFolder("a file can't be made: \(Self.reason())") }
        OwnFile.hand(file, toOwnerOf: self.path)
        let isDurable = OwnFile.write(content, to: file) && fsync(file) == 0
        close(file)
        guard isDurable, unsafe rename(temporary, path) == 0 else {
            throw .dataFolder("a file can't be written")
        }
        try syncFolder()
    }

    /// Keeps other relays away from the folder until the lock is released or the process ends.
    ///
    /// - Parameter command: what others are told who want it meanwhile.
    /// - Throws: `.inUse` or `.dataFolder`.
    func lock(for command: FolderHolder.Command) throws(RelayError) -> FolderLock {
        let file = OwnFile.open(lockPath, O_RDWR | O_CREAT)
        guard file >= 0 else { throw .dataFolder("the lock can't be made: \(Self.reason())") }
        OwnFile.hand(file, toOwnerOf: path)
        guard flock(file, LOCK_EX | LOCK_NB) == 0 else {
            close(file)
            throw .inUse(by: holder)
        }
        // Over what is there: on a full disk a new block might not be had.
        let text = FolderHolder(processID: getpid(), command: command).content
        _ = OwnFile.write(text, to: file)
        ftruncate(file, off_t(text.count))
        do throws(RelayError) {
            try finishRestore()
        } catch {
            close(file)
            throw error
        }
        return FolderLock(file: file)
    }

    /// The process of the relay that runs on the folder, if one does.
    ///
    /// - Throws: `.inUse` while a command has the folder, and may be replacing all that is in it.
    func runningRelay() throws(RelayError) -> Int32? {
        guard let holder else { return nil }
        guard holder.command == .serve else { throw .inUse(by: holder) }
        return holder.processID
    }

    /// Who has the folder, if anybody has.
    public var holder: FolderHolder? {
        let file = OwnFile.open(lockPath, O_RDONLY)
        guard file >= 0 else { return nil }
        defer { close(file) }
        guard flock(file, LOCK_SH | LOCK_NB) != 0 else { return nil }
        return OwnFile.contents(lockPath).flatMap { FolderHolder($0) }
    }

    /// Whose folder it is.
    var owner: UInt32 {
        let attributes = try? FileManager.default.attributesOfItem(atPath: path)
        return (attributes?[.ownerAccountID] as? NSNumber)?.uint32Value ?? getuid()
    }

    /// Whether a path leads into the folder, whatever it is called there.
    func holds(_ path: String) -> Bool { Self.folder(self.path, holds: path) }

    /// Whether a path leads into a folder.
    static func folder(_ folder: String, holds path: String) -> Bool {
        func node(_ path: String) -> [UInt64]? {
            var state = stat()
            return unsafe stat(path, &state) == 0
                ? [UInt64(state.st_dev), UInt64(state.st_ino)] : nil
        }
        guard let own = node(folder) else { return false }
        var parent = OwnFile.folder(of: path)
        while node(parent) == nil, parent != "/" {
            parent = OwnFile.folder(of: parent)
        }
        while let this = node(parent), this != own {
            parent += "/.."
            if node(parent) == this { return false }
        }
        return node(parent) == own
    }

    /// Octets of the database and its log.
    var databaseByteCount: UInt64 {
        ["", "-wal"].reduce(0) { sum, suffix in
            sum + UInt64(OwnFile.byteCount(of: databasePath + suffix))
        }
    }

    /// Octets free on the folder's file system.
    public var freeByteCount: UInt64? { space?.free }

    /// Whole mebibytes that are missing on the folder's file system for so many octets; `nil` if they
    /// have room, or nobody knows.
    ///
    /// - Parameter leavingReserve: whether the reserve must stay free, without which devices would be
    ///   refused.
    func mebibytesMissing(for byteCount: UInt64, leavingReserve: Bool = true) -> UInt64? {
        guard let space else { return nil }
        let room = leavingReserve ? space.spare : space.free
        return room < byteCount ? (byteCount - room + (1 << 20) - 1) >> 20 : nil
    }

    /// Room on the folder's file system.
    var space: DiskSpace? { DiskSpace(at: path) }
}

/// A held lock on a data folder.
struct FolderLock: Sendable {
    fileprivate let file: Int32

    func release() { close(file) }
}
