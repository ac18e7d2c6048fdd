import Testing

@testable import MLS

/// What one clause of a rule forbids, and a message or call that does it.
///
/// `protocol/mls-profile.md` has a row for each, in the same words.
struct Clause: Sendable, CustomTestStringConvertible {
    let error: MLSError
    let words: String
    let attempt: @Sendable () throws -> Void

    init(_ error: MLSError, _ words: String, attempt: @escaping @Sendable () throws -> Void) {
        self.error = error
        self.words = words
        self.attempt = attempt
    }

    init(
        _ rule: ValidationRule, _ words: String, attempt: @escaping @Sendable () throws -> Void
    ) {
        self.init(.invalid(rule), words, attempt: attempt)
    }

    var testDescription: String { words }

    static let all =
        leaves + keyPackages + requiredCapabilities + senders + proposals + externalCommits
        + welcomes + trees + continuations
}

/// Rules that say several things, each of them broken by itself.
@Suite struct `Clauses of the rules` {
    @Test(arguments: Clause.all)
    func `is refused for it`(clause: Clause) throws {
        #expect(throws: clause.error) { try clause.attempt() }
    }

    @Test func `refuse nothing of what the same tools make rightly`() throws {
        // All but the confirmation tag, the last thing to be looked at, is right.
        let forgery = try Forgery()
        let rule = MLSError.invalid(.confirmationTag)
        #expect(throws: rule) {
            try forgery.deliver(forgery.commit([], path: forgery.path(.init())))
        }
        #expect(throws: rule) { try forgery.deliver(forgery.commit([.add(forgery.keyPackage())])) }
        #expect(throws: rule) { try forgery.deliver(forgery.externalCommit()) }
        try forgery.deliver(forgery.frame(.proposal(forgery.update(of: forgery.own))))
        _ = try WelcomeForgery().join()
    }
}

/// Refuses every leaf, or those that one asks.
struct Picky: CredentialValidator {
    var refuses: @Sendable (CredentialSubject) -> Bool = { _ in true }
    func accepts(_ subject: CredentialSubject) -> Bool { !refuses(subject) }
    func accepts(_ sender: ExternalSender, groupID: [UInt8]) -> Bool { true }
}

/// Takes everyone for anyone.
struct Gullible: CredentialValidator {
    func accepts(_ subject: CredentialSubject) -> Bool { true }
    func accepts(_ sender: ExternalSender, groupID: [UInt8]) -> Bool { true }
    func isSameClient(_ first: LeafNode, _ second: LeafNode) -> Bool { true }
}
