import Relay
import RelayCore
import Terminal

extension RelayError {
    /// In words for the operator.
    var failure: Failure {
        switch self {
        case .dataFolder(let words): Failure(.cannotCreate, words)
        case .notAllowed(let words):
            Failure(.notAllowed, words, advice: "run this as that user, or as root")
        case .openToOthers:
            Failure(
                .notAllowed, "others may enter the data folder",
                advice: "look who put what there, then chmod 700")
        case .notFound(let words): Failure(.notFound, words)
        case .inUse(let holder):
            Failure(
                .tryAgain, holder?.words ?? "another process has the data folder",
                advice: holder?.command == .serve ? "stop it first" : "wait until it has ended")
        case .damagedKeys:
            Failure(
                .badData, "the relay's keys are damaged", advice: "restore them from a backup")
        case .missing(let what):
            Failure(
                .badData, "the relay's \(what) is missing, though this folder has been in use",
                advice: "put it back, or restore a backup")
        case .newerDatabase:
            Failure(
                .badData, "the database was written by a newer version of curtain-relay",
                advice: "run that version")
        case .olderDatabase:
            Failure(
                .badData, "the database was written by an earlier version of curtain-relay",
                advice: "start the relay with this one, or run that version")
        case .store(let error): error.failure
        case .clinicRoot(let words):
            Failure(.badData, "the clinic's root certificate can't be used: \(words)")
        case .certificate(let words):
            Failure(
                .badData, "tls-cert and tls-key can't be used: \(words)",
                advice: "name a PEM chain and its unencrypted key, for the relay's user to read")
        case .listen(let words): Failure(.unavailable, "can't listen: \(words)")
        case .needsTLS:
            Failure(
                .usage, "plain ws is for loopback addresses only",
                advice: "give --tls-cert and --tls-key")
        case .trail(let words): Failure(.badData, "the audit trail: \(words)")
        case .backupFile(let words): Failure(.cannotCreate, "the backup: \(words)")
        case .backup(let words): Failure(.badData, "the backup: \(words)")
        case .control(let words): Failure(.unavailable, words)
        case .refused(let words): Failure(.tryAgain, words)
        case .resources(let words): Failure(.inputOutput, words)
        }
    }
}

extension FolderHolder {
    /// In words for the operator.
    fileprivate var words: String {
        switch command {
        case .serve: "another relay has the data folder (process \(processID))"
        case .compact: "the database is being compacted (process \(processID))"
        case .backup: "a backup is being made (process \(processID))"
        case .restore: "a backup is being put back (process \(processID))"
        case .identity: "the relay's keys are being made (process \(processID))"
        }
    }
}

extension StoreError {
    /// Whether what has been stored is there all the same.
    var isStoreWhole: Bool {
        switch self {
        case .full, .failed: true
        case .corrupt, .takenAway: false
        }
    }

    /// In words for the operator.
    var failure: Failure {
        switch self {
        case .full: Failure(.inputOutput, "the disk is full", advice: "make room and start again")
        case .failed(let words): Failure(.inputOutput, "the database can't be used: \(words)")
        case .corrupt(let words):
            Failure(
                .badData, "the database is damaged: \(words)",
                advice: "restore it from a backup")
        case .takenAway:
            Failure(
                .badData, "the database was taken away from under the relay",
                advice: "put it back, or restore a backup")
        }
    }
}

extension SettingsError {
    /// In words for the operator: each on a line of its own.
    var failure: Failure {
        Failure(.usage, problems.joined(separator: "\ncurtain: "))
    }
}

extension StartCheck {
    /// In words for the operator, with what else is wrong with the settings: each on a line of its own.
    func failure(beside problems: [String]) -> Failure? {
        let failures = faults.map(\.error.failure)
        let lines = problems + zip(faults, failures).map { "\($0.place): \($1.message)" }
        guard !lines.isEmpty else { return nil }
        return Failure(
            problems.isEmpty ? failures[0].status : .usage,
            lines.joined(separator: "\ncurtain: "))
    }
}
