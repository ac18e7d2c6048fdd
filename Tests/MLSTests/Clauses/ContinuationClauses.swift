import Cryptography
import Testing

@testable import MLS

/// What a group that continues another can do wrong (RFC 9420 §11.2, §11.3).
private struct Continuation {
    /// How two members go on, if one of them knows no rules.
    struct Edits {
        var usage = ResumptionUsage.reInit
        var groupID: [UInt8] = [5]
        var suite = CipherSuite.x25519AES128
        var agreedVersion = ProtocolVersion.mls10
        var extensions: [Extension] = []
        var tieEpoch: UInt64 = 2
        var others: [Client] = []
        var isMemberAdded = true
        var previous: (Group, Group) -> Group? = { mine, _ in mine }
        var validator: any CredentialValidator = Anyone()
        var emptyCommits = 0
        var endsFirst = true
    }

    static func join(_ edit: (inout Edits) throws -> Void = { _ in }) throws {
        var edits = Edits()
        try edit(&edits)
        let clients = [try Client("a"), try Client("b"), try Client("c")]
        var groups = try Fixture.group(of: clients)
        let unrelated = try Fixture.group(of: clients)[1]
        var content = CommitContent()
        if edits.endsFirst {
            content.reInit = ReInit(
                groupID: [5], version: edits.agreedVersion, cipherSuite: .x25519AES128,
                extensions: [])
        }
        let end = try groups[0].commit(content, by: clients[0])
        try groups[0].merge(end, at: Fixture.now)
        try groups[1].follow(end.message)

        var next = try Group.create(
            groupID: edits.groupID, suite: edits.suite, leaf: clients[0].leaf,
            signingKey: clients[0].signingKey, lifetime: Fixture.lifetime,
            extensions: edits.extensions)
        for _ in 0..<edits.emptyCommits {
            let commit = try next.commit(by: clients[0])
            try next.merge(commit, at: Fixture.now)
        }
        let bundle = try clients[1].bundle(edits.suite)
        content = CommitContent()
        content.adds = [bundle.keyPackage]
        if edits.isMemberAdded {
            content.adds.append(try clients[2].bundle(edits.suite).keyPackage)
        }
        content.adds += try edits.others.map { try $0.bundle(edits.suite).keyPackage }
        content.preSharedKeys = [
            .resumption(usage: edits.usage, groupID: groups[0].groupID, epoch: edits.tieEpoch)
        ]
        content.resumptionUsage = edits.usage
        let start = try next.commit(
            content, signingKey: clients[0].signingKey, validator: Anyone(), at: Fixture.now,
            preSharedKeys: groups[0].withOwnResumptionSecrets(PreSharedKeys()))
        func join(_ validator: some CredentialValidator) throws {
            _ = try Group.join(
                welcome: #require(start.welcome), bundle: bundle,
                preSharedKeys: groups[1].withOwnResumptionSecrets(PreSharedKeys()),
                continuing: edits.previous(groups[1], unrelated), existing: [],
                validator: validator,
                at: Fixture.now)
        }
        try join(edits.validator)
    }

    static func branch(_ edit: (inout Edits) throws -> Void = { _ in }) throws {
        try join { edits in
            edits.usage = .branch
            edits.suite = .x25519ChaCha20
            edits.endsFirst = false
            try edit(&edits)
        }
    }
}

/// Knows nobody again.
private struct Forgetful: CredentialValidator {
    func accepts(_ subject: CredentialSubject) -> Bool { true }
    func isSameClient(_ first: LeafNode, _ second: LeafNode) -> Bool { false }
}

@Suite struct `A group that continues another` {
    @Test func `is joined if it is as it was agreed`() throws {
        try Continuation.join()
        try Continuation.branch()
        try Continuation.branch { $0.isMemberAdded = false }
        try Continuation.branch { $0.tieEpoch = 1 }
    }
}

extension Clause {
    static let continuations: [Clause] = [
        Clause(.continuesGroup, "who joins a continuation has the group that it continues") {
            try Continuation.join { $0.previous = { _, _ in nil } }
        },
        Clause(.continuesGroup, "a continuation's key names the group that it continues") {
            try Continuation.join { $0.previous = { _, unrelated in unrelated } }
        },
        Clause(.continuesGroup, "a continuation is joined in its first epoch") {
            try Continuation.join { $0.emptyCommits = 1 }
        },
        Clause(.continuesGroup, "a re-initialized group was agreed on") {
            try Continuation.join { $0.endsFirst = false }
        },
        Clause(.continuesGroup, "a re-initialization's key is of the group's last epoch") {
            try Continuation.join { $0.tieEpoch = 1 }
        },
        Clause(.continuesGroup, "a re-initialized group has the agreed id") {
            try Continuation.join { $0.groupID = [6] }
        },
        Clause(.continuesGroup, "a re-initialized group has the agreed version") {
            try Continuation.join { $0.agreedVersion = ProtocolVersion(rawValue: 2) }
        },
        Clause(.continuesGroup, "a re-initialized group has the agreed suite") {
            try Continuation.join { $0.suite = .x25519ChaCha20 }
        },
        Clause(.continuesGroup, "a re-initialized group has the agreed extensions") {
            try Continuation.join {
                $0.extensions = [Extension(type: .applicationID, data: [1])]
            }
        },
        Clause(.continuesGroup, "a re-initialized group has all members of the old one") {
            try Continuation.join { $0.isMemberAdded = false }
        },
        Clause(.continuesGroup, "a re-initialized group has no other members") {
            try Continuation.join { $0.others = [try Client("stranger")] }
        },
        Clause(
            .continuesGroup, "the application says who is the same client in a re-initialized group"
        ) {
            try Continuation.join { $0.validator = Forgetful() }
        },
        Clause(.continuesGroup, "a branch has the old group's suite") {
            try Continuation.branch { $0.suite = .x25519AES128 }
        },
        Clause(.continuesGroup, "a branch has members of the old group only") {
            try Continuation.branch { $0.others = [try Client("stranger")] }
        },
        Clause(.continuesGroup, "the application says who is the same client in a branch") {
            try Continuation.branch { $0.validator = Forgetful() }
        },
    ]
}
