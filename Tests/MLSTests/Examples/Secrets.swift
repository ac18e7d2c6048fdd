import Cryptography
import MLS

/// Secrets that come in and secrets that go out.
enum Secrets {
    static func preSharedKey() throws {
        var example = try Example([Person("alice"), Person("bob")])
        let aliceKey = example.people[0].key
        let (addressBook, now) = (example.addressBook, Example.now)

        // snippet: pre-shared-key
        var keys = PreSharedKeys()
        keys.provide(SecretBytes(Array("read out on the phone".utf8)), externalID: [1])
        var content = CommitContent()
        content.preSharedKeys = [.external(id: [1])]
        let commit = try example.groups[0].commit(
            content, signingKey: aliceKey, validator: addressBook, at: now, preSharedKeys: keys)
        try example.groups[0].merge(commit, at: now)
        guard
            case .commit(let staged) = try example.groups[1].process(
                commit.message, validator: addressBook, at: now, preSharedKeys: keys)
        else { throw ExampleFailure(line: #line) }
        try example.groups[1].merge(staged, at: now)
        // end
        try expect(example.agree)
    }

    static func resumptionKey() throws {
        var example = try Example([Person("alice"), Person("bob")])
        let other = try Example(example.people)
        let aliceKey = example.people[0].key
        let (addressBook, now) = (example.addressBook, Example.now)
        let otherGroup = other.groups[0]

        // snippet: resumption-key
        var keys = PreSharedKeys()
        keys.provide(
            otherGroup.resumptionSecret, groupID: otherGroup.groupID, epoch: otherGroup.epoch)
        var content = CommitContent()
        content.preSharedKeys = [
            .resumption(
                usage: .application, groupID: otherGroup.groupID, epoch: otherGroup.epoch)
        ]
        let commit = try example.groups[0].commit(
            content, signingKey: aliceKey, validator: addressBook, at: now, preSharedKeys: keys)
        try example.groups[0].merge(commit, at: now)
        try example.deliver(commit.message, from: 0, keys: keys)
        // end
        try expect(example.agree)
    }

    static func exporter() throws {
        var example = try Example([Person("alice"), Person("bob")])
        var alicesGroup = example.groups[0]

        // snippet: export
        let secret = try alicesGroup.export(label: "call", context: [1], count: 32)
        // end
        try expect(try example.groups[1].export(label: "call", context: [1], count: 32) == secret)

        // snippet: destroy
        alicesGroup.restrictExporter(to: ["call", "files"])
        try alicesGroup.destroyExporter(label: "call")
        do {
            _ = try alicesGroup.export(label: "call", context: [1], count: 32)
        } catch {
            try expect(error == .misuse(.exporterDestroyed))
        }
        // end

        // snippet: export-once
        let component = ComponentID(rawValue: 0x8001)
        let once = try alicesGroup.exportOnce(for: component)
        // Store alicesGroup: from now on `once` is the last trace.
        // end
        try expect(try example.groups[1].exportOnce(for: component) == once)
    }

    static func applicationProposals() throws {
        // snippet: application-policy
        let poll = ProposalType(rawValue: 0xF0AA)
        var policy = GroupPolicy.standard
        policy.applicationProposals[poll] = ApplicationProposalRules()
        let leaf = LeafConfiguration(
            credential: .basic(identity: Array("alice".utf8)),
            supportedProposals: [.selfRemove, poll])
        // end
        var alice = try Person("alice")
        alice.leaf = leaf
        var example = try Example(
            [alice, Person("bob", proposals: [.selfRemove, poll])], policy: policy)
        let (addressBook, now) = (example.addressBook, Example.now)

        // snippet: application-proposal
        var content = CommitContent()
        content.applicationProposals = [.custom(type: poll, data: Array("yes".utf8))]
        let commit = try example.groups[0].commit(
            content, signingKey: alice.key, validator: addressBook, at: now)
        guard
            case .commit(let staged) = try example.groups[1].process(
                commit.message, validator: addressBook, at: now)
        else { throw ExampleFailure(line: #line) }
        try expect(staged.applicationProposals.map(\.proposal) == content.applicationProposals)
        // end
        try example.groups[0].merge(commit, at: now)
        try example.groups[1].merge(staged, at: now)
        try expect(example.agree)
    }
}
