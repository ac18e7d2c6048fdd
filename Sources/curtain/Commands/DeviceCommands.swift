import ArgumentParser
import Consultations
import Credentials
import Cryptography
import Foundation
import Terminal
import Vault

struct JoinCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "join", abstract: "Make vault and keys from an invitation.",
        discussion: """
            INVITATION is the clinic's 'curtain:' text, a file that holds it, or '-' for standard \
            input. It works once. If the clinic sealed it with a PIN, the PIN is asked for.
            """)

    @Argument(help: "A 'curtain:' text, a file, or '-'.", completion: .file())
    var invitation: String

    @Option(
        name: .customLong("pin-file"),
        help: ArgumentHelp("Read the invitation's PIN from this file.", valueName: "file"),
        completion: .file())
    var pinFile: String?

    @OptionGroup var session: SessionOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        guard !Device.exists(at: session.home.path) else {
            throw DeviceError.vault(.alreadyExists)
        }
        let opened = try open()
        let device = try await Device.join(
            opened, home: session.home.path,
            passphrase: session.passphrase.new("Passphrase for the new vault"),
            options: session.relay.options)
        var later: Failure?
        do {
            try await device.sync()
        } catch {
            later = Explanation.device(error)
        }
        let me = try await device.me()
        await device.close()
        try MeRow.show(me, home: session.home.path, to: output.output)
        if let later {
            throw Failure(
                later.status, "the vault is made, but not registered yet: \(later.happened)",
                advice: "run 'curtain sync' to register")
        }
    }

    private func open() throws -> Invitation {
        let text: String
        if invitation.hasPrefix("curtain:") {
            text = invitation
        } else {
            text = String(decoding: try Files.read(invitation), as: UTF8.self)
        }
        switch try InvitationText(text) {
        case .open(let opened): return opened
        case .sealed(let sealed):
            let pin = try pinFile.map(Passphrase.read(file:)) ?? Passphrase.ask("PIN")
            return try sealed.open(pin: pin)
        }
    }
}

struct MeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "me", abstract: "Show who you are here: name, keys, relay, certificates.")

    @OptionGroup var session: SessionOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let me = try await session.withDevice { try await $0.me() }
        try MeRow.show(me, home: session.home.path, to: output.output)
    }
}

/// `curtain me` as JSON.
struct MeRow: Encodable {
    let name: String
    let role: String
    let fingerprint: String
    let identityKey: Data
    let relay: String
    let relayKey: Data
    let home: String
    let registered: Bool
    let copied: Bool
    let certificate: String
    let certificateExpires: Date?
    let prescriptionCertificate: String
    let prescriptionCertificateExpires: Date?
    let shelf: Int?
    let waiting: Int

    init(_ me: Me, home: String) {
        name = me.name
        role = me.role.word
        fingerprint = me.fingerprint.description
        identityKey = Data(me.identityKey.bytes)
        relay = me.relay
        relayKey = Data(me.relayKey.bytes)
        self.home = home
        registered = me.isRegistered
        copied = me.isCopied
        certificate = me.certificate.word
        certificateExpires = me.certificate.date
        prescriptionCertificate = me.prescriptionCertificate.word
        prescriptionCertificateExpires = me.prescriptionCertificate.date
        shelf = me.shelf
        waiting = me.waiting
    }

    static func show(_ me: Me, home: String, to output: Output) throws {
        if output.isJSON { return try output.json(MeRow(me, home: home)) }
        var fields = [
            ("name", Sanitiser.line(me.name)), ("role", me.role.word),
            ("fingerprint", grouped(me.fingerprint.description)),
            ("relay", Sanitiser.line(me.relay)), ("vault", Sanitiser.line(home)),
        ]
        if me.certificate != .notNeeded {
            fields.append(("certificate", me.certificate.text))
            fields.append(("prescribing", me.prescriptionCertificate.text))
        }
        if let shelf = me.shelf { fields.append(("room for", "\(shelf) requests")) }
        if me.waiting > 0 { fields.append(("waiting", "\(me.waiting) messages in the outbox")) }
        if !me.isRegistered {
            fields.append(("registered", "not yet; 'curtain sync' registers"))
        }
        if me.isCopied {
            fields.append(("copied", "yes: nothing is sent from this copy of the vault"))
        }
        try output.fields(fields)
    }

    /// Groups of four, which are easier to compare.
    static func grouped(_ text: String) -> String {
        var result = ""
        for (index, character) in text.enumerated() {
            if index > 0, index % 4 == 0 { result.append(" ") }
            result.append(character)
        }
        return result
    }
}

extension CertificateState {
    /// The JSON word.
    var word: String {
        switch self {
        case .notNeeded: "notNeeded"
        case .missing: "missing"
        case .valid: "valid"
        case .expired: "expired"
        }
    }

    /// When it ends or ended.
    var date: Date? {
        switch self {
        case .notNeeded, .missing: nil
        case .valid(let date), .expired(let date): date
        }
    }

    var text: String {
        switch self {
        case .notNeeded: "not needed"
        case .missing: "missing; 'curtain certificate request' begins"
        case .valid(let date): "valid until \(TimeText.day(date))"
        case .expired(let date): "expired on \(TimeText.day(date))"
        }
    }
}

struct SyncCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sync", abstract: "Send what waits and fetch what came.")

    @Option(help: ArgumentHelp("Stay connected that long.", valueName: "seconds"))
    var wait: Int?

    @OptionGroup var session: SessionOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        try Limits.checkWait(wait)
    }

    private struct Row: Encodable {
        let received: Int
        let sent: Int
        let waiting: Int
    }

    func run() async throws {
        let output = output.output
        let (summary, later): (SyncSummary, Failure?) = try await session.withDevice(
            showing: output
        ) { device in
            let summary = try await device.sync(wait: wait.map { .seconds($0) })
            guard summary.stillWaiting > 0, summary.isSettled else { return (summary, nil) }
            return (summary, try await Delivery.waits("what you wrote", on: device))
        }
        if output.isJSON {
            try output.json(
                Row(
                    received: summary.received, sent: summary.sent, waiting: summary.stillWaiting))
        } else {
            try output.line(
                "\(summary.received) received, \(summary.sent) sent, "
                    + "\(summary.stillWaiting) waiting")
        }
        if let later { throw later }
        if !summary.isSettled {
            throw Failure(
                .tryAgain, "not everything could be sent or fetched", advice: "run it again later")
        }
    }
}

enum Limits {
    /// A day is the longest that one command waits.
    static func checkWait(_ seconds: Int?) throws {
        if let seconds, !(0...86_400).contains(seconds) {
            throw ValidationError("'--wait' takes 0 to 86400 seconds")
        }
    }
}

struct PassphraseCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "passphrase", abstract: "Change the vault's passphrase.")

    @Option(
        name: .customLong("new-passphrase-file"),
        help: ArgumentHelp("Read the new passphrase from this file.", valueName: "file"),
        completion: .file())
    var newFile: String?

    @OptionGroup var session: SessionOptions

    func run() async throws {
        try await session.withDevice { device, old in
            let new = try newFile.map(Passphrase.read(file:)) ?? Passphrase.askNew("New passphrase")
            try await device.changePassphrase(from: old, to: new)
        }
    }
}

struct CertificateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "certificate", abstract: "Doctors: ask the clinic for certificates.",
        subcommands: [Request.self, Import.self])

    struct Request: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "request",
            abstract: "Write the requests for both certificates, in one PEM file.",
            discussion: "The clinic answers with 'curtain-clinic certify'.")

        @Option(
            help: ArgumentHelp("Write to this file instead of standard output.", valueName: "file"),
            completion: .file())
        var out: String?

        @OptionGroup var session: SessionOptions

        func run() async throws {
            let pem = try await session.withDevice { device, passphrase in
                try await device.certificateRequest(passphrase: passphrase)
            }
            try Files.create(out ?? "-", contents: Array(pem.utf8))
        }
    }

    struct Import: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "import", abstract: "Take in the certificates that the clinic issued.")

        @Argument(help: "The clinic's PEM file, or '-'.", completion: .file())
        var file: String

        @OptionGroup var session: SessionOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let pem = String(decoding: try Files.read(file), as: UTF8.self)
            let (me, later) = try await session.withDevice { device in
                try await device.importCertificates(pem: pem)
                let later = try await device.deliver("your stock of keys")
                return (try await device.me(), later)
            }
            try MeRow.show(me, home: session.home.path, to: output.output)
            if let later { throw later }
        }
    }
}

struct CardCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "card",
        abstract: "Doctors: print the signed card that patients need to ask for a consultation.")

    @Option(
        help: ArgumentHelp("Write to this file instead of standard output.", valueName: "file"),
        completion: .file())
    var out: String?

    @OptionGroup var session: SessionOptions
    @OptionGroup var output: OutputOptions

    private struct Row: Encodable {
        let card: String
    }

    func run() async throws {
        let card = try await session.withDevice { try await $0.card() }
        if let out {
            try Files.create(out, contents: Array((card.text + "\n").utf8), replacing: true)
        } else if output.json {
            try output.output.json(Row(card: card.text))
        } else {
            try output.output.line(card.text)
        }
    }
}
