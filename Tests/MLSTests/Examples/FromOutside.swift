import Cryptography
import MLS

// snippet: external-sender-validator
extension AddressBook {
    /// Only the door may propose from outside.
    func accepts(_ sender: ExternalSender, groupID: [UInt8]) -> Bool {
        sender.credential == .basic(identity: Array("door".utf8))
            && sender.signatureKey == keys["door"]
    }
}
// end

/// Those who are not in the group.
enum FromOutside {
    static func externalCommit() throws {
        var policy = GroupPolicy.standard
        policy.acceptsExternalCommits = true
        var example = try Example([Person("alice"), Person("bob")], policy: policy)
        let carol = try Person("carol")
        example.addressBook.keys["carol"] = carol.key.publicKey.bytes
        let (aliceKey, addressBook, now) = (example.people[0].key, example.addressBook, Example.now)

        // snippet: external-commit
        let info = try example.groups[0].groupInfo(allowsJoining: true, signingKey: aliceKey)
        let join = try Group.joinExternally(
            groupInfo: info, leaf: carol.leaf, signingKey: carol.key, validator: addressBook,
            at: now, policy: policy)
        try example.deliver(join.message, from: nil)
        // The delivery service took it, so `join.group` is Carol's group.
        example.groups.append(join.group)
        // end
        try expect(example.agree)
    }

    static func externalSender() throws {
        let serverKey = try SigningKey()
        // snippet: external-senders
        let senders = ExternalSender.groupContextExtension([
            ExternalSender(
                signatureKey: serverKey.publicKey.bytes,
                credential: .basic(identity: Array("door".utf8)))
        ])
        // end
        var example = try Example(
            [Person("alice"), Person("bob"), Person("carol")], extensions: [senders],
            addressBook: AddressBook(keys: ["door": serverKey.publicKey.bytes]))
        let (aliceKey, addressBook, now) = (example.people[0].key, example.addressBook, Example.now)
        let group = example.groups[0]

        // snippet: external-proposal
        let message = try Group.externalProposal(
            .remove(example.groups[2].ownLeafIndex), groupID: group.groupID, epoch: group.epoch,
            suite: group.suite, senderIndex: 0, signingKey: serverKey)
        try example.deliver(message, from: nil)
        let commit = try example.groups[0].commit(
            signingKey: aliceKey, validator: addressBook, at: now)
        // end
        try expect(commit.removed.count == 1)
        try example.groups[0].merge(commit, at: now)
        try example.deliver(commit.message, from: 0)
        try expect(!example.groups[2].isActive)
    }

    static func resync() throws {
        var policy = GroupPolicy.standard
        policy.acceptsExternalCommits = true
        var example = try Example([Person("alice"), Person("bob")], policy: policy)
        let (alice, bob) = (example.people[0], example.people[1])
        let (addressBook, now) = (example.addressBook, Example.now)

        // snippet: resync
        let info = try example.groups[0].groupInfo(
            allowsJoining: true, includesTree: false, signingKey: alice.key)
        let tree = example.groups[0].ratchetTree
        // Bob lost his group, and knows the place that his old leaf has.
        let oldLeaf = example.groups[1].ownLeafIndex
        try expect(
            example.groups[0].member(at: oldLeaf)?.credential == bob.leaf.credential)
        let join = try Group.joinExternally(
            groupInfo: info, ratchetTree: tree, leaf: bob.leaf, signingKey: bob.key,
            replacing: oldLeaf, validator: addressBook, at: now, policy: policy)
        guard
            case .commit(let staged) = try example.groups[0].process(
                join.message, validator: addressBook, at: now)
        else { throw ExampleFailure(line: #line) }
        try expect(staged.isExternal && staged.removed.map(\.index) == [oldLeaf])
        try example.groups[0].merge(staged, at: now)
        example.groups[1] = join.group
        // end
        try expect(example.agree && example.groups[0].members.count == 2)
    }

    static func newMemberProposal() throws {
        // snippet: new-member-policy
        var policy = GroupPolicy.standard
        policy.acceptsNewMemberProposals = true
        // end
        var example = try Example([Person("alice"), Person("bob")], policy: policy)
        let carol = try Person("carol")
        example.addressBook.keys["carol"] = carol.key.publicKey.bytes
        let (aliceKey, addressBook, now) = (example.people[0].key, example.addressBook, Example.now)
        let group = example.groups[0]

        // snippet: new-member-proposal
        let bundle = try KeyPackageBundle(
            suite: group.suite, leaf: carol.leaf, signingKey: carol.key,
            lifetime: Example.lifetime)
        let message = try Group.newMemberProposal(
            bundle.keyPackage, groupID: group.groupID, epoch: group.epoch, signingKey: carol.key)
        try example.deliver(message, from: nil)
        // Whoever commits next lets Carol in.
        let commit = try example.groups[0].commit(
            signingKey: aliceKey, validator: addressBook, at: now)
        try example.groups[0].merge(commit, at: now)
        try example.deliver(commit.message, from: 0)
        guard let welcome = commit.welcome else { throw ExampleFailure(line: #line) }
        let carolsGroup = try Group.join(
            welcome: welcome, bundle: bundle, existing: [], validator: addressBook, at: now)
        // end
        example.groups.append(carolsGroup)
        try expect(example.agree)
    }
}
