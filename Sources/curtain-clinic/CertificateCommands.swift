import ArgumentParser
import Clinic
import Credentials
import Foundation
import Terminal

struct CertifyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "certify",
        abstract: "Certify a doctor's identity and prescription keys.",
        discussion: """
            CSR is the file that 'curtain certificate request' wrote. The certificates say what you \
            give here and have verified; the name in the requests doesn't count.
            """)

    @Argument(
        help: ArgumentHelp("The doctor's two requests.", valueName: "csr"), completion: .file())
    var requests: String
    @OptionGroup var home: HomeOptions
    @Option(help: "The doctor's name, as you have verified it.") var name: String
    @Option(help: ArgumentHelp("The number in the profession's register.", valueName: "no"))
    var licence: String
    @Option(help: ArgumentHelp("The field of medicine.", valueName: "text")) var specialty: String
    @Option(help: "For how many days.") var days = 730
    @Option(
        help: ArgumentHelp("Write both certificates to this file.", valueName: "file"),
        completion: .file())
    var out: String
    @OptionGroup var passphrase: PassphraseOptions
    @OptionGroup var output: OutputOptions

    func run() throws {
        let clinic = try home.open()
        let doctor = try DoctorEntry(name: name, licence: licence, specialty: specialty)
        let bytes = try Files.read(requests)
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw CredentialError.malformed(.certificateRequest)
        }
        let requests = try CertificateRequests(pem: text)
        if requests.name != name {
            Diagnostic.warn(
                "the requests name \(Sanitiser.line(requests.name)); certified is "
                    + Sanitiser.line(name))
        }
        let keys = try clinic.unlock(passphrase: passphrase.existing("Passphrase of the clinic"))
        let now = Date()
        let certificates = try clinic.certify(
            doctor, requests: requests, days: days, with: keys, at: now)
        try Files.create(out, contents: Array(certificates.pem.utf8))
        guard out != "-" else { return }
        for certificate in clinic.certificates.suffix(2) {
            try CertificatesCommand.show(certificate, withdrawal: nil, on: output.output)
        }
    }
}

struct CertificatesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "certificates", abstract: "List the doctors' certificates that were issued.")

    @OptionGroup var home: HomeOptions
    @OptionGroup var output: OutputOptions

    func run() throws {
        let clinic = try home.open()
        let output = output.output
        var table = Table(["SERIAL", "USE", "STATE", "UNTIL", "NAME"])
        let now = Date()
        for certificate in clinic.certificates {
            let withdrawal = clinic.withdrawal(of: certificate.serial)
            if output.isJSON {
                try Self.show(certificate, withdrawal: withdrawal, on: output)
            }
            let state =
                withdrawal != nil ? "revoked" : certificate.expires < now ? "expired" : "valid"
            table.add([
                String(certificate.serial.prefix(12)), certificate.use, state,
                TimeText.day(certificate.expires), Sanitiser.line(certificate.name),
            ])
        }
        if !output.isJSON { try output.table(table) }
    }

    private struct Row: Encodable {
        let serial: String
        let use: String
        let name: String
        let licence: String
        let specialty: String
        let issued: Date
        let expires: Date
        let revoked: Date?
        let reason: String?
    }

    static func show(
        _ certificate: IssuedCertificate, withdrawal: Withdrawal?, on output: Output
    ) throws {
        if output.isJSON {
            return try output.json(
                Row(
                    serial: certificate.serial, use: certificate.use, name: certificate.name,
                    licence: certificate.licence, specialty: certificate.specialty,
                    issued: certificate.issued, expires: certificate.expires,
                    revoked: withdrawal?.date,
                    reason: withdrawal.flatMap { RevocationReason(rawValue: $0.reason)?.word }))
        }
        try output.line(
            "\(certificate.use): \(certificate.serial), until "
                + TimeText.day(certificate.expires))
    }
}

struct RevokeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "revoke", abstract: "Revoke a doctor's certificate.",
        discussion: """
            It counts for others with the next 'curtain-clinic crl'. After keyCompromise earlier \
            signatures are worth nothing either.
            """)

    @Argument(help: "Of the certificate; its beginning is enough.") var serial: String
    @OptionGroup var home: HomeOptions
    @Option(help: "Why.") var reason: RevocationReason
    @OptionGroup var output: OutputOptions

    func run() throws {
        let withdrawal = try home.open().revokeCertificate(serial, reason: reason, at: Date())
        try Self.show(withdrawal, on: output.output)
    }

    private struct Row: Encodable {
        let serial: String
        let revoked: Date
        let reason: String?
    }

    static func show(_ withdrawal: Withdrawal, on output: Output) throws {
        let reason = RevocationReason(rawValue: withdrawal.reason)?.word
        if output.isJSON {
            return try output.json(
                Row(serial: withdrawal.serial, revoked: withdrawal.date, reason: reason))
        }
        try output.line("revoked \(withdrawal.serial)")
        try output.line("publish it with 'curtain-clinic crl'")
    }
}

struct RevocationListCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "crl", abstract: "Sign the list of what was revoked and withdrawn.")

    @OptionGroup var home: HomeOptions
    @Option(
        help: ArgumentHelp("Write the list to this file as PEM.", valueName: "file"),
        completion: .file())
    var out: String
    @Option(help: "After how many days the next list is due.") var days = 30
    @OptionGroup var passphrase: PassphraseOptions
    @OptionGroup var output: OutputOptions

    private struct Row: Encodable {
        let number: UInt64
        let entries: Int
        let thisUpdate: Date
        let nextUpdate: Date
    }

    func run() throws {
        let clinic = try home.open()
        let keys = try clinic.unlock(passphrase: passphrase.existing("Passphrase of the clinic"))
        let now = Date()
        let list = try clinic.revocationList(with: keys, at: now, days: days)
        let revocations = try list.verified(by: clinic.root, at: now)
        try Files.create(out, contents: Array(list.pem.utf8), replacing: true)
        guard out != "-" else { return }
        let output = output.output
        if output.isJSON {
            return try output.json(
                Row(
                    number: revocations.number, entries: revocations.entries.count,
                    thisUpdate: revocations.thisUpdate, nextUpdate: revocations.nextUpdate))
        }
        try output.line(
            "list \(revocations.number) names \(revocations.entries.count), due again by "
                + TimeText.day(revocations.nextUpdate))
    }
}
