import Cryptography
import Testing

@testable import MLS

private let type = ProposalType(rawValue: 0xF0AA)
private let component = ComponentID(rawValue: 0x8001)

private func policy(
    _ rules: ApplicationProposalRules = ApplicationProposalRules(),
    format: WireFormat = .privateMessage
) -> GroupPolicy {
    var policy = GroupPolicy.standard
    policy.applicationProposals = [type: rules]
    policy.ephemeralComponents = [component]
    policy.acceptsExternalCommits = true
    policy.handshakeFormat = format
    return policy
}

private func client(_ name: String, supports: Bool = true) throws -> Client {
    try Client(name, proposals: supports ? [.selfRemove, .appEphemeral, type] : [.selfRemove])
}

@Suite struct `The application's proposals` {
    @Test(arguments: [WireFormat.privateMessage, .publicMessage])
    func `reach everyone with the commit, in its order`(format: WireFormat) throws {
        let clients = try (0..<3).map { try client("client \($0)") }
        var groups = try Fixture.group(of: clients, policy: policy(format: format))
        let referred = ApplicationProposal.custom(type: type, data: [1, 2])
        let message = try groups[1].propose(.application(referred), by: clients[1])
        for index in [0, 2] {
            _ = try groups[index].process(message.bytes, validator: Anyone(), at: Fixture.now)
        }
        var content = CommitContent()
        content.applicationProposals = [
            .ephemeral(component: component, data: [3]), .custom(type: type, data: []),
        ]
        content.forcesPath = false
        let commit = try groups[0].commit(content, by: clients[0])
        let expected = [
            CommittedApplicationProposal(
                sender: .member(groups[0].ownLeafIndex), proposal: content.applicationProposals[0]),
            CommittedApplicationProposal(
                sender: .member(groups[0].ownLeafIndex), proposal: content.applicationProposals[1]),
            CommittedApplicationProposal(
                sender: .member(groups[1].ownLeafIndex), proposal: referred),
        ]
        let restored = try PendingCommit(serialized: commit.serialized())
        #expect(restored.applicationProposals == expected)
        try groups[0].merge(restored, at: Fixture.now)
        for index in [1, 2] {
            guard
                case .commit(let staged) = try groups[index].process(
                    commit.message, validator: Anyone(), at: Fixture.now)
            else {
                Issue.record("not a commit")
                return
            }
            #expect(staged.applicationProposals == expected)
            try groups[index].merge(staged, at: Fixture.now)
        }
        #expect(Set(groups.map(\.epochAuthenticator)).count == 1)
    }

    @Test func `survive a restart while they are pending, and can be left out`() throws {
        let clients = [try client("a"), try client("b")]
        var groups = try Fixture.group(of: clients, policy: policy())
        let message = try groups[1].propose(
            .application(.ephemeral(component: component, data: [3])), by: clients[1])
        _ = try groups[0].process(message.bytes, validator: Anyone(), at: Fixture.now)
        groups[0] = try Group(serialized: groups[0].serialized(), policy: policy())
        let pending = try #require(groups[0].pendingProposals.first)
        var content = CommitContent()
        content.excludedProposals = [pending.reference]
        var other = groups[0]
        let without = try other.commit(content, by: clients[0])
        #expect(without.applicationProposals.isEmpty)
        let with = try groups[0].commit(by: clients[0])
        #expect(
            with.applicationProposals.map(\.proposal) == [
                .ephemeral(component: component, data: [3])
            ])
    }

    @Test func `are not made where somebody does not know the type`() throws {
        let clients = [try client("a"), try client("b", supports: false)]
        var groups = try Fixture.group(of: clients, policy: policy())
        for proposal in [
            ApplicationProposal.custom(type: type, data: []),
            .ephemeral(component: component, data: []),
        ] {
            #expect(throws: MLSError.invalid(.proposalTypeSupport)) {
                _ = try groups[0].propose(.application(proposal), by: clients[0])
            }
            var content = CommitContent()
            content.applicationProposals = [proposal]
            #expect(
                throws: MLSError.unsuitable(
                    .applicationProposal(0), because: .invalid(.proposalTypeSupport))
            ) {
                _ = try groups[0].commit(content, by: clients[0])
            }
        }
    }

    @Test func `are refused if the application does not know type or component`() throws {
        let clients = [try client("a"), try client("b")]
        var groups = try Fixture.group(of: clients, policy: policy())
        let before = groups[1].serialized()
        groups[1].policy = .standard
        let key = clients[0].signingKey
        var content = CommitContent()
        content.applicationProposals = [.custom(type: type, data: [])]
        content.includesPendingProposals = false
        let messages = [
            try groups[0].propose(
                .application(.ephemeral(component: component, data: [])), signingKey: key,
                validator: Anyone(), at: Fixture.now
            ).bytes,
            try groups[0].commit(content, signingKey: key, validator: Anyone(), at: Fixture.now)
                .message,
        ]
        for message in messages {
            #expect(throws: MLSError.invalid(.knownProposal)) {
                _ = try groups[1].process(message, validator: Anyone(), at: Fixture.now)
            }
        }
        #expect(groups[1].serialized() == before)
    }

    @Test func `cannot pass for MLS's own`() throws {
        let clients = [try client("a"), try client("b")]
        var groups = try Fixture.group(of: clients, policy: policy())
        for number in 0...10 as ClosedRange<UInt16> {
            let own = ProposalType(rawValue: number)
            groups[0].policy.applicationProposals[own] = ApplicationProposalRules()
            #expect(throws: MLSError.self) {
                _ = try groups[0].propose(
                    .application(.custom(type: own, data: [])), by: clients[0])
            }
        }
    }

    @Test func `need a path if the application says so`() throws {
        let clients = [try client("a"), try client("b")]
        var groups = try Fixture.group(of: clients, policy: policy())
        groups[1].policy = policy(ApplicationProposalRules(requiresPath: true))
        var content = CommitContent()
        content.applicationProposals = [.custom(type: type, data: [])]
        content.forcesPath = false
        let commit = try groups[0].commit(content, by: clients[0])
        #expect(throws: MLSError.invalid(.pathRequired)) {
            _ = try groups[1].process(commit.message, validator: Anyone(), at: Fixture.now)
        }
    }

    @Test func `come from outside only if the application allows it`() throws {
        let clients = [try client("a"), try client("b")]
        let server = try SigningKey()
        let senders = ExternalSender.groupContextExtension([
            ExternalSender(
                signatureKey: server.publicKey.bytes, credential: .basic(identity: [7]))
        ])
        var groups = try Fixture.group(of: clients, extensions: [senders], policy: policy())
        let message = try Group.externalProposal(
            .application(.custom(type: type, data: [9])), groupID: groups[0].groupID,
            epoch: groups[0].epoch, suite: groups[0].suite, senderIndex: 0, signingKey: server)
        #expect(throws: MLSError.invalid(.senderMaySend)) {
            _ = try groups[0].process(message, validator: Anyone(), at: Fixture.now)
        }
        let open = policy(ApplicationProposalRules(isOpenToOutsiders: true))
        for index in groups.indices {
            groups[index].policy = open
            _ = try groups[index].process(message, validator: Anyone(), at: Fixture.now)
        }
        let commit = try groups[0].commit(by: clients[0])
        #expect(commit.applicationProposals.map(\.sender) == [.external(index: 0)])
        try groups[1].follow(commit.message)
    }

    @Test func `of a meaningless type are refused though capabilities list it`() throws {
        let forgery = try Forgery()
        #expect(throws: MLSError.invalid(.knownProposal)) {
            try forgery.deliver(
                forgery.commit([
                    .application(.custom(type: ProposalType(rawValue: 0x0A0A), data: []))
                ]))
        }
    }
}
