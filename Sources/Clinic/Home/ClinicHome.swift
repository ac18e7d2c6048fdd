public import Credentials
public import Cryptography
public import FoundationEssentials

/// The clinic authority in its folder, meant for a machine without a network.
///
/// The folder holds `root.pem`, `keys` (root and directory key under the passphrase) and `ledger`
/// (what was issued and withdrawn). Whatever is handed out stands in the ledger first, durably. One
/// process works in the folder at a time.
public final class ClinicHome {
    private static let rootFile = "root.pem"
    private static let keysFile = "keys"

    /// The root certificate.
    public let root: ClinicCertificate
    private let folder: Folder
    private let lock: Int32
    private var ledger: Ledger

    /// Founds a clinic in a new or empty folder.
    ///
    /// - Parameters:
    ///   - name: the clinic's, 1...64 octets.
    ///   - cost: of every later use of the passphrase.
    /// - Throws: `.alreadyExists` if there is one, `.invalid(.name)`, `.system`.
    public static func create(
        at path: String, name: String, passphrase: SecretBytes, at date: Date,
        cost: PasswordHash.Cost = .moderate
    ) throws(ClinicError) -> ClinicHome {
        let authority = try ClinicRoot(name: name, at: date)
        let folder = Folder(path: path)
        try folder.make()
        let lock = try folder.lock()
        do {
            // The certificate is written last: with it the clinic exists, without it nothing does.
            guard try folder.read(rootFile) == nil else { throw ClinicError.alreadyExists }
            guard try folder.read(Ledger.fileName) == nil else { throw ClinicError.alreadyExists }
            let keys = SealedKeys(rootKey: authority.key, directoryKey: .random(count: 32))
            try folder.write(
                try keys.sealed(passphrase: passphrase, cost: cost, root: authority.certificate),
                to: keysFile)
            try folder.write(Array(authority.certificate.pem.utf8), to: rootFile)
        } catch {
            folder.unlock(lock)
            throw ClinicError(wrapping: error)
        }
        return ClinicHome(
            root: authority.certificate, folder: folder, lock: lock, ledger: Ledger())
    }

    /// Opens the clinic of a folder; what needs no key needs no passphrase.
    ///
    /// - Throws: `.notFound`, `.busy`, `.damaged` or `.system`.
    public static func open(at path: String) throws(ClinicError) -> ClinicHome {
        let folder = Folder(path: path)
        guard let pem = try folder.read(rootFile) else { throw .notFound }
        let lock = try folder.lock()
        do {
            guard let text = String(validating: pem, as: UTF8.self),
                let root = try? ClinicCertificate(pem: text)
            else { throw ClinicError.damaged(rootFile) }
            let ledger = try Ledger(reading: try folder.read(Ledger.fileName) ?? [])
            return ClinicHome(root: root, folder: folder, lock: lock, ledger: ledger)
        } catch {
            folder.unlock(lock)
            throw ClinicError(wrapping: error)
        }
    }

    private init(root: ClinicCertificate, folder: Folder, lock: Int32, ledger: Ledger) {
        self.root = root
        self.folder = folder
        self.lock = lock
        self.ledger = ledger
    }

    deinit { folder.unlock(lock) }

    // MARK: - Reading

    /// The vouchers issued so far, oldest first.
    public var vouchers: [IssuedVoucher] { ledger.vouchers }
    /// The certificates issued so far, oldest first.
    public var certificates: [IssuedCertificate] { ledger.certificates }

    /// How and when a voucher or certificate was withdrawn, if it was.
    public func withdrawal(of serial: String) -> Withdrawal? { ledger.withdrawals[serial] }

    // MARK: - Signing

    /// Opens the clinic's keys for a few signatures; they are wiped when the result goes.
    ///
    /// - Throws: `.wrongPassphrase`, `.damaged`.
    public func unlock(passphrase: SecretBytes) throws(ClinicError) -> ClinicKeys {
        guard let sealed = try folder.read(Self.keysFile) else { throw .damaged(Self.keysFile) }
        let keys = try SealedKeys(opening: sealed, passphrase: passphrase, root: root)
        return ClinicKeys(
            authority: try ClinicRoot(certificate: root, key: keys.rootKey),
            directoryKey: keys.directoryKey)
    }

    /// Seals the keys under another passphrase.
    public func changePassphrase(
        of keys: ClinicKeys, to passphrase: SecretBytes, cost: PasswordHash.Cost = .moderate
    ) throws(ClinicError) {
        let keys = SealedKeys(rootKey: keys.authority.key, directoryKey: keys.directoryKey)
        try folder.write(
            try keys.sealed(passphrase: passphrase, cost: cost, root: root), to: Self.keysFile)
    }

    /// Invites people. All of it stands in the ledger before anything is returned.
    public func invite(
        _ people: [InvitationEntry], on terms: InvitationTerms, with keys: ClinicKeys,
        at date: Date
    ) throws(ClinicError) -> [(voucher: IssuedVoucher, invitation: Invitation)] {
        var issued: [(voucher: IssuedVoucher, invitation: Invitation)] = []
        for person in people {
            let invitation = try keys.authority.invite(
                person, on: terms, directoryKey: keys.directoryKey)
            let content: VoucherContent
            do {
                content = try invitation.verify(at: date)
            } catch {
                throw .credential(error)
            }
            let voucher = IssuedVoucher(
                serial: Hexadecimal.encode(content.serial), role: content.role.word,
                name: content.name, born: content.born, reference: content.reference,
                issued: date.whole, joinBefore: invitation.expires, expires: content.expires)
            issued.append((voucher, invitation))
        }
        try record(issued.map { Ledger.Entry(voucher: $0.voucher) })
        return issued
    }

    /// Certifies a doctor's two keys with what the clinic has verified.
    public func certify(
        _ doctor: DoctorEntry, requests: CertificateRequests, days: Int, with keys: ClinicKeys,
        at date: Date
    ) throws(ClinicError) -> DoctorCertificates {
        let certificates = try keys.authority.certify(
            doctor, identityKey: requests.identityKey, prescriptionKey: requests.prescriptionKey,
            at: date, days: days)
        let serials = [
            ("identity", certificates.identitySerial),
            ("prescription", certificates.prescriptionSerial),
        ]
        try record(
            serials.map { use, serial in
                Ledger.Entry(
                    certificate: IssuedCertificate(
                        serial: Hexadecimal.encode(serial), use: use, name: doctor.name,
                        licence: doctor.licence, specialty: doctor.specialty, issued: date.whole,
                        expires: certificates.notAfter))
            })
        return certificates
    }

    // MARK: - Withdrawing

    /// Withdraws a voucher, named by its serial or the unambiguous beginning of it. It counts with
    /// the next revocation list.
    ///
    /// - Throws: `.unknownSerial`, `.ambiguousSerial` or `.alreadyRevoked`.
    public func revokeVoucher(_ serial: String, at date: Date) throws(ClinicError) -> Withdrawal {
        try withdraw(
            try Self.match(serial, among: ledger.vouchers.map(\.serial)),
            reason: .privilegeWithdrawn, at: date)
    }

    /// Revokes a certificate, named by its serial or the unambiguous beginning of it. It counts with
    /// the next revocation list.
    ///
    /// - Throws: `.unknownSerial`, `.ambiguousSerial` or `.alreadyRevoked`.
    public func revokeCertificate(
        _ serial: String, reason: RevocationReason, at date: Date
    ) throws(ClinicError) -> Withdrawal {
        try withdraw(
            try Self.match(serial, among: ledger.certificates.map(\.serial)), reason: reason,
            at: date)
    }

    /// Signs the list of all that was withdrawn, under a number that was never used.
    public func revocationList(
        with keys: ClinicKeys, at date: Date, days: Int = 30
    ) throws(ClinicError) -> CertificateRevocationList {
        let (number, overflow) = ledger.listNumber.addingReportingOverflow(1)
        guard !overflow else { throw .damaged(Ledger.fileName) }
        var revocations: [Revocation] = []
        for withdrawal in ledger.withdrawals.values.sorted(by: { $0.serial < $1.serial }) {
            guard let serial = Hexadecimal.decode(withdrawal.serial),
                let reason = RevocationReason(rawValue: withdrawal.reason)
            else { throw .damaged(Ledger.fileName) }
            revocations.append(Revocation(serial: serial, date: withdrawal.date, reason: reason))
        }
        let list = try keys.authority.revocationList(
            revocations, number: number, at: date, days: days)
        try record([Ledger.Entry(list: number)])
        return list
    }

    private func withdraw(
        _ serial: String, reason: RevocationReason, at date: Date
    ) throws(ClinicError) -> Withdrawal {
        guard ledger.withdrawals[serial] == nil else { throw .alreadyRevoked }
        let withdrawal = Withdrawal(serial: serial, date: date.whole, reason: reason.rawValue)
        try record([Ledger.Entry(withdrawal: withdrawal)])
        return withdrawal
    }

    private static func match(
        _ prefix: String, among serials: [String]
    ) throws(ClinicError) -> String {
        let prefix = prefix.lowercased().filter { $0 != ":" }
        guard !prefix.isEmpty else { throw .unknownSerial }
        let matches = serials.filter { $0.hasPrefix(prefix) }
        guard let match = matches.first else { throw .unknownSerial }
        guard matches.count == 1 else { throw .ambiguousSerial }
        return match
    }

    private func record(_ entries: [Ledger.Entry]) throws(ClinicError) {
        let lines = try Ledger.encode(entries)
        try folder.append(lines, to: Ledger.fileName, at: ledger.byteCount)
        ledger.take(entries, byteCount: lines.count)
    }
}

/// The clinic's opened keys.
public struct ClinicKeys: Sendable {
    /// The root with its key.
    public let authority: ClinicRoot
    /// What the directory is sealed under.
    public let directoryKey: SecretBytes
}
