public import Cryptography
internal import Foundation
internal import GRDB
internal import Glibc

/// Making and opening the file.
extension Vault {
    /// Whether there is a vault, or something in its place.
    public static func exists(at home: String) -> Bool {
        unsafe access(home + "/" + fileName, F_OK) == 0
    }

    /// Makes a vault with keys of its own, and the home (0700) if there is none.
    ///
    /// The file (0600) appears only when it is whole; a crash leaves nothing that could be opened.
    ///
    /// - Throws: `.alreadyExists`, `.inUse`, `.notPermitted`, `.diskFull`.
    public static func create(
        at home: String, passphrase: SecretBytes, cost: PasswordHash.Cost = .interactive
    ) throws(VaultError) -> Vault {
        try makeHome(home)
        let lock = try HomeLock(home: home)
        guard !exists(at: home) else { throw .alreadyExists }
        let draft = home + "/" + fileName + ".new"
        let keys = VaultHeader.Keys(
            vaultKey: .random(count: 32), passphraseKey: .random(count: 32))
        let header = try VaultHeader(
            vaultID: Random.bytes(16), keys: keys, passphrase: passphrase, cost: cost)
        do {
            try makeDraft(draft, header: header, vaultKey: keys.vaultKey)
        } catch {
            removeDraft(draft)
            throw VaultError(error)
        }
        guard unsafe rename(draft, home + "/" + fileName) == 0 else {
            throw VaultError(systemError: errno)
        }
        try syncFolder(home)
        return try open(home: home, lock: lock) { _ throws(VaultError) in keys }
    }

    /// Opens a vault.
    ///
    /// - Throws: `.noVault`, `.inUse`, `.notAVault`, `.newerVersion`, `.wrongPassphrase`, or what
    ///   the disk's state brings. Nothing is changed unless the passphrase is right.
    public static func open(
        at home: String, passphrase: SecretBytes
    ) throws(VaultError) -> Vault {
        guard exists(at: home) else { throw .noVault }
        let lock = try HomeLock(home: home)
        return try open(home: home, lock: lock) { header throws(VaultError) in
            try header.keys(for: passphrase)
        }
    }

    private static func open(
        home: String, lock: HomeLock,
        keys: (VaultHeader) throws(VaultError) -> VaultHeader.Keys
    ) throws(VaultError) -> Vault {
        let path = home + "/" + fileName
        try refuseForeign(path)
        do {
            let queue = try DatabaseQueue(
                path: path, configuration: Schema.configuration(creating: false))
            let (ring, logIsEmpty) = try queue.writeWithoutTransaction { db in
                let header = try header(db)
                let keys = try keys(header)
                let ring = try KeyRing(
                    vaultID: header.vaultID, vaultKey: keys.vaultKey,
                    chunkCount: try KeySlots.chunkCount(db))
                return (ring, try emptyLogIfThereIsRoom(db))
            }
            return Vault(
                home: home, queue: queue, ring: ring, lock: lock, logIsEmpty: logIsEmpty)
        } catch {
            throw VaultError(error)
        }
    }

    /// Finishes what a crash between an erasure's commit and its checkpoint left. On a full disk the
    /// vault can be read all the same, and every write tries again.
    private static func emptyLogIfThereIsRoom(_ db: Database) throws -> Bool {
        do {
            _ = try db.checkpoint(.truncate)
            return true
        } catch {
            guard VaultError(error) == .diskFull else { throw error }
            return false
        }
    }

    // MARK: The header's row

    static func header(_ db: Database) throws -> VaultHeader {
        guard let cell = try db.rows("SELECT cell FROM header WHERE id = 1").first?[0].octets else {
            throw VaultError.damaged(.header)
        }
        return try VaultHeader(stored: cell)
    }

    static func store(_ header: VaultHeader, _ db: Database) throws {
        // One statement, so a transaction of its own; of the same size, so in place.
        let changed = try db.run(
            "UPDATE header SET cell = ? WHERE id = 1", [Data(header.encoded)])
        guard changed == 1 else { throw VaultError.damaged(.header) }
    }

    // MARK: Files

    private static func makeHome(_ home: String) throws(VaultError) {
        var information = stat()
        if unsafe stat(home, &information) == 0 {
            guard information.st_mode & S_IFMT == S_IFDIR else { throw .notPermitted }
            // A folder that holds other things keeps its permissions; ours are on the files.
            if let names = try? FileManager.default.contentsOfDirectory(atPath: home),
                names.isEmpty
            {
                _ = unsafe chmod(home, 0o700)
            }
            return
        }
        do {
            try FileManager.default.createDirectory(
                atPath: home, withIntermediateDirectories: true,
                attributes: [.posixPermissions: 0o700])
        } catch {
            throw .notPermitted
        }
    }

    private static func makeDraft(
        _ path: String, header: VaultHeader, vaultKey: SecretBytes
    ) throws {
        removeDraft(path)
        // SQLite gives the write-ahead log the permissions of the file.
        let descriptor = unsafe Glibc.open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw VaultError(systemError: errno) }
        Glibc.close(descriptor)
        let queue = try DatabaseQueue(
            path: path, configuration: Schema.configuration(creating: true))
        try queue.writeWithoutTransaction { db in
            try db.inTransaction(.immediate) {
                try db.execute(sql: Schema.createHeader)
                try db.run("INSERT INTO header (id, cell) VALUES (1, ?)", [Data(header.encoded)])
                try KeySlots.addChunk(0, db)
                var ring = try KeyRing(
                    vaultID: header.vaultID, vaultKey: vaultKey, chunkCount: 1)
                try ring.createScope(.person, db)
                return .commit
            }
            _ = try db.checkpoint(.truncate)
        }
        try queue.close()
    }

    private static func removeDraft(_ path: String) {
        for suffix in ["", "-wal", "-journal"] { _ = unsafe unlink(path + suffix) }
    }

    private static func syncFolder(_ home: String) throws(VaultError) {
        let descriptor = unsafe Glibc.open(home, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw VaultError(systemError: errno) }
        defer { Glibc.close(descriptor) }
        guard fsync(descriptor) == 0 else { throw VaultError(systemError: errno) }
    }

    /// Looks at the first page's header before SQLite gets hold of the file, and closes it to others.
    private static func refuseForeign(_ path: String) throws(VaultError) {
        let descriptor = unsafe Glibc.open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw VaultError(systemError: errno) }
        defer { Glibc.close(descriptor) }
        var page = [UInt8](repeating: 0, count: 100)
        let count = unsafe pread(descriptor, &page, page.count, 0)
        guard count >= 0 else { throw VaultError(systemError: errno) }
        guard count == page.count, page.starts(with: Array("SQLite format 3\0".utf8)),
            Int64(UInt32(bigEndian: page[68..<72])) == Schema.applicationID
        else { throw .notAVault }
        guard fchmod(descriptor, 0o600) == 0 else { throw VaultError(systemError: errno) }
    }
}
