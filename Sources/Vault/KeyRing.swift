internal import Cryptography
internal import GRDB

/// The keys of an open vault. A transaction works on its own copy, which takes the place of the
/// vault's only after the commit: memory follows disk.
struct KeyRing: Sendable {
    let vaultID: [UInt8]
    let vaultKey: GuardedSecret
    /// How many chunks of slots the file has.
    private(set) var chunkCount: UInt32
    private var scopes: [UInt32: ScopeKeys] = [:]

    init(vaultID: [UInt8], vaultKey: SecretBytes, chunkCount: UInt32) throws(VaultError) {
        self.vaultID = vaultID
        self.chunkCount = chunkCount
        do throws(CryptographyError) {
            self.vaultKey = try GuardedSecret(vaultKey)
        } catch { throw .resourceExhausted }
    }

    /// The keys of a scope, unwrapped on first use.
    ///
    /// - Throws: `.unknownConsultation` for one that doesn't exist or is erased.
    mutating func keys(of scope: Vault.Scope, _ db: Database) throws -> ScopeKeys {
        if let known = scopes[scope.slot] { return known }
        let opened =
            scope.slot / KeySlots.perChunk < chunkCount
            ? try KeySlots.open(scope.slot, vaultID: vaultID, vaultKey: vaultKey, db) : nil
        guard let opened else {
            switch scope {
            case .person: throw VaultError.damaged(.slot)
            case .consultation(let number): throw VaultError.unknownConsultation(number)
            }
        }
        scopes[scope.slot] = opened
        return opened
    }

    /// Gives a scope a new key and its tables.
    mutating func createScope(_ scope: Vault.Scope, _ db: Database) throws {
        scopes[scope.slot] = try KeySlots.fill(
            scope.slot, vaultID: vaultID, vaultKey: vaultKey, db)
        try db.execute(sql: Schema.createRecords(of: scope))
    }

    /// Opens the next consultation, in a new chunk if the last one is used up.
    mutating func createConsultation(_ db: Database) throws -> Vault.ConsultationNumber {
        let states = try KeySlots.states(inChunk: chunkCount - 1, db)
        let slot: UInt32
        if let free = states.first(where: { $0.state == .free && $0.slot > 0 }) {
            slot = free.slot
        } else {
            slot = chunkCount * KeySlots.perChunk
            try KeySlots.addChunk(chunkCount, db)
            chunkCount += 1
        }
        let number = Vault.ConsultationNumber(rawValue: slot)
        try createScope(.consultation(number), db)
        return number
    }

    /// Destroys a consultation's key, then its tables.
    mutating func erase(_ number: Vault.ConsultationNumber, _ db: Database) throws {
        let scope = Vault.Scope.consultation(number)
        // Slot 0 is the person's and can't be reached this way.
        guard number.rawValue > 0 else { throw VaultError.unknownConsultation(number) }
        _ = try keys(of: scope, db)
        try KeySlots.erase(number.rawValue, db)
        try db.execute(sql: "DROP TABLE \(Schema.records(of: scope))")
        scopes[number.rawValue] = nil
    }
}
