import Cryptography
import TLSSyntax
import Testing

@testable import MLS

private let type = ExtensionType(rawValue: 0xF0C3)
private let proposal = ProposalType(rawValue: 0xF0C2)
private let strange = CredentialType(rawValue: 0xF0C5)
private let required = RequiredCapabilities(
    extensions: [type], proposals: [proposal], credentials: [.basic]
).groupContextExtension

/// What is missing from a leaf that lacks one thing the group requires.
private enum Lack: CaseIterable, Sendable {
    case anExtension, aProposal, aCredential

    /// A leaf that supports all but this.
    var leaf: LeafConfiguration {
        var leaf = LeafConfiguration(
            credential: self == .aCredential ? .x509(certificates: [[1]]) : .basic(identity: [4]),
            supportedExtensions: self == .anExtension ? [] : [type],
            supportedProposals: self == .aProposal ? [] : [proposal])
        if self == .aCredential { leaf.capabilities.credentials = [.x509] }
        return leaf
    }

    var words: String {
        switch self {
        case .anExtension: "extensions"
        case .aProposal: "proposals"
        case .aCredential: "credentials"
        }
    }
}

private func demanding() throws -> Forgery {
    try Forgery(extensions: [required], supports: [type], proposals: [proposal])
}

extension Clause {
    static let requiredCapabilities: [Clause] =
        Lack.allCases.flatMap { lack in
            [
                Clause(.leafSupportsGroup, "a new member supports the required \(lack.words)") {
                    let forgery = try demanding()
                    var edits = Forgery.KeyPackageEdits()
                    edits.configuration = lack.leaf
                    try forgery.deliver(forgery.commit([.add(forgery.keyPackage(edits))]))
                },
                Clause(.leafSupportsGroup, "an Update's leaf supports the required \(lack.words)") {
                    let forgery = try demanding()
                    try forgery.deliver(
                        forgery.frame(.proposal(forgery.update(of: forgery.own, lack.leaf))))
                },
                Clause(.leafSupportsGroup, "a path's leaf supports the required \(lack.words)") {
                    let forgery = try demanding()
                    var edits = Forgery.PathEdits()
                    edits.leaf = lack.leaf
                    try forgery.deliver(forgery.commit([], path: forgery.path(edits)))
                },
                Clause(
                    .leafSupportsGroup,
                    "all members found on joining support the required \(lack.words)"
                ) {
                    var forgery = try WelcomeForgery(
                        victim: LeafConfiguration(
                            credential: .basic(identity: [5]), supportedExtensions: [type],
                            supportedProposals: [proposal]),
                        attacker: lack.leaf)
                    forgery.context = { $0.extensions = [required] }
                    _ = try forgery.join()
                },
                Clause(.leafSupportsGroup, "an external joiner supports the required \(lack.words)")
                {
                    let forgery = try demanding()
                    _ = try Group.joinExternally(
                        groupInfo: forgery.groups[0].groupInfo(
                            allowsJoining: true, signingKey: forgery.clients[0].signingKey),
                        leaf: lack.leaf, signingKey: SigningKey(), validator: Anyone(),
                        at: Fixture.now, policy: forgery.policy)
                },
            ]
        } + [
            Clause(.leafSupportsGroup, "all members support what a commit starts to require") {
                let forgery = try Forgery()
                try forgery.deliver(
                    forgery.commit(
                        [.groupContextExtensions([required])], path: forgery.path(.init())))
            },
            Clause(
                .leafSupportsGroup, "a new member supports what the same commit starts to require"
            ) {
                let forgery = try Forgery(supports: [type], proposals: [proposal])
                try forgery.deliver(
                    forgery.commit(
                        [.groupContextExtensions([required]), .add(forgery.keyPackage())],
                        path: forgery.path(.init())))
            },
            Clause(.leafSupportsGroup, "the committer supports what its commit starts to require") {
                let forgery = try Forgery(supports: [type], proposals: [proposal])
                var edits = Forgery.PathEdits()
                edits.leaf = LeafConfiguration(credential: .basic(identity: [1]))
                try forgery.deliver(
                    forgery.commit(
                        [.groupContextExtensions([required])], path: forgery.path(edits)))
            },
            Clause(.leafSupportsGroup, "who makes a group supports what it requires") {
                _ = try Fixture.group(of: [Client("a")], extensions: [required])
            },
            Clause(.malformed, "a list of required capabilities can be read") {
                let forgery = try Forgery()
                try forgery.deliver(
                    forgery.commit(
                        [
                            .groupContextExtensions([
                                Extension(type: .requiredCapabilities, data: [9])
                            ])
                        ], path: forgery.path(.init())))
            },
        ]
}

@Suite struct `Required capabilities` {
    @Test func `are stated, met by newcomers, changed and dropped`() throws {
        let clients = try (0..<3).map {
            try Client("client \($0)", supports: [type], proposals: [proposal])
        }
        var groups = try Fixture.group(of: clients, extensions: [required])
        #expect(groups[1].extensions == [required])
        let lists: [[Extension]] = [
            [RequiredCapabilities(proposals: [proposal]).groupContextExtension], [],
        ]
        for list in lists {
            var content = CommitContent()
            content.groupContextExtensions = list
            let commit = try groups[2].commit(content, by: clients[2])
            try groups[2].merge(commit, at: Fixture.now)
            for index in [0, 1] { try groups[index].follow(commit.message) }
            #expect(groups.allSatisfy { $0.extensions == list })
            #expect(Set(groups.map(\.epochAuthenticator)).count == 1)
        }
    }

    @Test func `that a member lacks are not asked for, and the caller learns it`() throws {
        let clients = [
            try Client("a", supports: [type], proposals: [proposal]), try Client("b"),
        ]
        var group = try Fixture.group(of: clients)[0]
        let before = group.serialized()
        for list in [
            RequiredCapabilities(extensions: [type]), RequiredCapabilities(proposals: [proposal]),
            RequiredCapabilities(credentials: [strange]),
        ] {
            var content = CommitContent()
            content.groupContextExtensions = [list.groupContextExtension]
            #expect(
                throws: MLSError.unsuitable(
                    .groupContextExtensions, because: .invalid(.leafSupportsGroup))
            ) {
                _ = try group.commit(content, by: clients[0])
            }
        }
        #expect(group.serialized() == before)
    }
}
