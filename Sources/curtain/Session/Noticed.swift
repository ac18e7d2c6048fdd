import Consultations
import Terminal

/// What happened while a command ran and that it didn't ask for.
struct Noticed {
    private var lastWords: [(ConsultationID, [Message])] = []
    private var troubles: [(ConsultationID, Failure)] = []

    mutating func note(_ event: DeviceEvent) {
        switch event {
        case .lastWords(let id, let messages): lastWords.append((id, messages))
        case .trouble(let id, let trouble): troubles.append((id, Explanation.trouble(trouble)))
        case .identityChanged(let id, let person):
            troubles.append((id, Explanation.changedIdentity(of: person)))
        default: break
        }
    }

    /// - Parameter error: what the command fails with; what that says isn't said twice.
    func show(on output: Output, showsTroubles: Bool, besides error: (any Error)? = nil) throws {
        for (id, messages) in lastWords {
            try MessageText.showLastWords(messages, of: id, to: output)
        }
        guard showsTroubles else { return }
        let failure = error.flatMap { Explanation.failure($0) ?? $0 as? Failure }
        for (id, trouble) in troubles {
            if let failure, trouble.happened.hasSuffix(failure.happened) { continue }
            Diagnostic.warn("\(id.description.prefix(8)): \(trouble.message)")
        }
    }
}
