import Foundation

/// Someone with a home folder of their own and the `curtain` program.
struct Person: Sendable {
    let stage: Stage
    let name: String
    let home: String

    /// A person without a vault yet.
    init(_ name: String, on stage: Stage, folder: String) throws {
        self.stage = stage
        self.name = name
        home = stage.folder + "/" + folder
        try stage.writeSecret("passphrase of \(name)", to: passphraseFile)
    }

    /// The same person with a copy of the home, as a backup or a thief has it.
    init(copyOf other: Person, folder: String) throws {
        stage = other.stage
        name = other.name
        home = stage.folder + "/" + folder
        try FileManager.default.copyItem(atPath: other.home, toPath: home)
        try FileManager.default.copyItem(atPath: other.passphraseFile, toPath: passphraseFile)
    }

    var passphraseFile: String { home + ".pass" }

    var environment: [String: String] {
        var environment = ["CURTAIN_HOME": home, "CURTAIN_PASSPHRASE_FILE": passphraseFile]
        if stage.isSecure { environment["CURTAIN_RELAY_CA"] = stage.authorityFile }
        return environment
    }

    /// Runs `curtain` to its end.
    @discardableResult
    func curtain(
        _ arguments: String..., input: [String] = [], exits status: Int32? = 0,
        within limit: Duration = .seconds(120)
    ) async throws -> Child.Outcome {
        try await stage.run(
            .curtain, arguments, environment: environment, input: input, exits: status,
            within: limit)
    }

    /// Starts `curtain` and lets it run.
    func start(_ arguments: String..., keepsInput: Bool = true) throws -> Child {
        try stage.launcher.start(
            .curtain, arguments, environment: environment, keepsInput: keepsInput)
    }

    /// Starts `curtain` and waits until it holds the vault. (Asking by another command could itself
    /// be what holds it.)
    func hold(_ arguments: [String]) async throws -> Child {
        let child = try stage.launcher.start(
            .curtain, arguments, environment: environment, keepsInput: true)
        try await eventually("\(child.name) holds the vault") {
            let holder = FileManager.default.contents(atPath: home + "/vault.lock") ?? Data()
            return String(decoding: holder, as: UTF8.self).hasPrefix("\(child.pid)\n")
        }
        return child
    }

    /// The messages of a consultation, oldest first.
    func messages(_ id: String) async throws -> [JSONLine] {
        try await curtain("read", id, "--json").objects
    }

    /// Texts of a consultation, without notices, oldest first.
    func texts(_ id: String) async throws -> [String] {
        try await messages(id).filter { $0["kind"] == "text" }.compactMap { $0["text"] }
    }

    /// The state in which this person sees a consultation; nil if there is none of this id.
    func state(of id: String) async throws -> String? {
        try await curtain("consultations", "--json").objects.first { $0["id"] == id }?["state"]
    }
}

extension Stage {
    /// A person whom the clinic vouches for, joined.
    func patient(_ name: String, folder: String = "patient") async throws -> Person {
        let person = try Person(name, on: self, folder: folder)
        let invitation = try await invitation(
            role: "patient", name: name, ["--born", "1987-05-04", "--reference", "P-0815"])
        try await person.curtain("join", "-", input: [invitation])
        return person
    }

    /// A doctor with certificates and a stocked shelf.
    func doctor(_ name: String, folder: String = "doctor") async throws -> Person {
        let person = try Person(name, on: self, folder: folder)
        let invitation = try await invitation(role: "doctor", name: name)
        try await person.curtain("join", "-", input: [invitation])
        let request = person.home + ".csr"
        let certificates = person.home + ".pem"
        try await person.curtain("certificate", "request", "--out", request)
        try await clinic([
            "certify", request, "--home", clinicFolder, "--name", name, "--licence", "DE-4711",
            "--specialty", "General practice", "--out", certificates,
        ])
        try await person.curtain("certificate", "import", certificates)
        return person
    }

    /// A consultation that both have open.
    func consultation(
        of patient: Person, with doctor: Person, reason: String = "a cough that stays"
    ) async throws -> String {
        let id = try await request(of: patient, to: doctor, reason: reason)
        try await doctor.curtain("sync")
        try await doctor.curtain("accept", id)
        try await patient.curtain("sync")
        return id
    }

    /// Asks for a consultation that begins now.
    func request(
        of patient: Person, to doctor: Person, reason: String = "a cough that stays"
    ) async throws -> String {
        let card = doctor.home + ".card"
        if !FileManager.default.fileExists(atPath: card) {
            try await doctor.curtain("card", "--out", card)
        }
        let outcome = try await patient.curtain(
            "request", card, "--at", "+1m", "--minutes", "90", "--reason", reason, "--json")
        guard let id = try outcome.objects.first?["id"] else {
            throw StageError.unexpectedOutput("the id of the request", output: outcome.output)
        }
        return id
    }
}
