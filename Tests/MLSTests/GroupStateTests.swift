import Cryptography
import TLSSyntax
import Testing

@testable import MLS

/// What a group keeps, for how long, and what a crash or a copy of it can do.
@Suite struct `A group's state` {
    private func pair(
        _ policy: GroupPolicy = .standard, suite: CipherSuite = .x25519ChaCha20
    ) throws -> (clients: [Client], groups: [Group]) {
        let clients = [try Client("a"), try Client("b"), try Client("c")]
        return (clients, try Fixture.group(of: clients, suite: suite, policy: policy))
    }

    private func stage(_ message: [UInt8], in group: inout Group) throws -> StagedCommit {
        guard
            case .commit(let staged) = try group.process(
                message, validator: Anyone(), at: Fixture.now)
        else { throw MLSError.misuse(.wrongMessageKind) }
        return staged
    }

    /// The entries as a store has them.
    private struct Store {
        var entries: [[UInt8]: SecretBytes] = [:]

        mutating func keep(_ group: inout Group) -> Int {
            let changes = group.takeChanges()
            for change in changes { entries[change.key] = change.value }
            return changes.reduce(0) { $0 + $1.key.count + ($1.value?.count ?? 0) }
        }
    }

    @Test func `doesn't read a past epoch when its time is up, and drops its keys`() throws {
        var policy = GroupPolicy.standard
        policy.pastEpochSeconds = 100
        var (clients, groups) = try pair(policy)
        let late = try (0..<3).map {
            try groups[0].encrypt([$0], signingKey: clients[0].signingKey).bytes
        }
        #expect(groups[1].pastEpochsEnd == nil)
        try groups[1].follow(groups[0].commit(by: clients[0]).message)
        #expect(groups[1].pastEpochsEnd == Fixture.now + 101)
        let end = Fixture.now + 100
        _ = try groups[1].process(late[0], validator: Anyone(), at: end)
        let before = groups[1].serialized()
        #expect(throws: MLSError.wrongEpoch(1)) {
            _ = try groups[1].process(late[1], validator: Anyone(), at: end + 1)
        }
        #expect(groups[1].serialized() == before)
        // Nobody has to ask for it.
        var store = Store()
        _ = store.keep(&groups[1])
        var proposing = groups[1]
        var committing = groups[1]
        let message = try groups[1].propose(
            .update(leaf: nil, newSigningKey: nil), signingKey: clients[1].signingKey,
            validator: Anyone(), at: end)
        #expect(groups[1].past.count == 1)
        _ = try proposing.propose(
            .update(leaf: nil, newSigningKey: nil), signingKey: clients[1].signingKey,
            validator: Anyone(), at: end + 1)
        _ = try committing.commit(
            signingKey: clients[1].signingKey, validator: Anyone(), at: end + 1)
        _ = try groups[1].process(message.bytes, validator: Anyone(), at: end + 1)
        for group in [groups[1], proposing, committing] { #expect(group.past.isEmpty) }
        _ = store.keep(&groups[1])
        let stored = try store.entries.keys.map { try StateKey(bytes: $0) }
        #expect(!stored.contains(.epoch(1)) && !stored.contains(.tree(epoch: 1)))
        #expect(try Group(entries: store.entries).serialized() == groups[1].serialized())
    }

    @Test(arguments: [WireFormat.privateMessage, .publicMessage])
    func `survives a crash between a commit's arrival and its merge`(format: WireFormat) throws {
        var policy = GroupPolicy.standard
        policy.handshakeFormat = format
        var (clients, groups) = try pair(policy)
        var store = Store()
        _ = store.keep(&groups[1])
        let early = try groups[0].encrypt([1], signingKey: clients[0].signingKey).bytes
        let late = try groups[0].encrypt([2], signingKey: clients[0].signingKey).bytes
        let pending = try groups[0].commit(by: clients[0])
        _ = try stage(pending.message, in: &groups[1])
        _ = store.keep(&groups[1])

        groups[1] = try Group(entries: store.entries)
        let staged = try stage(pending.message, in: &groups[1])
        // What comes in between stays spent.
        _ = try groups[1].read(early)
        try groups[1].merge(staged, at: Fixture.now)
        try groups[0].merge(pending, at: Fixture.now)
        _ = store.keep(&groups[1])
        groups[1] = try Group(entries: store.entries)
        #expect(groups[0].epochAuthenticator == groups[1].epochAuthenticator)
        #expect(throws: MLSError.keyUnavailable(generation: 0)) { _ = try groups[1].read(early) }
        #expect(try groups[1].read(late).plaintext == [2])
        // Of the epoch's handshakes nothing is left, of the committer's not even what they grow from.
        let tree = try #require(groups[1].past.first).messages.secretTree
        for ratchets in tree.ratchets.values {
            #expect(ratchets.handshake.secret == nil && ratchets.handshake.skipped.isEmpty)
        }
        #expect(tree.ratchets[groups[0].ownLeafIndex] != nil)
        #expect(tree.nodes[groups[0].ownLeafIndex.node] == nil)
    }

    @Test func `recognises its own commit also after the merge`() throws {
        var (clients, groups) = try pair()
        let pending = try groups[0].commit(by: clients[0])
        try groups[0].merge(pending, at: Fixture.now)
        guard
            case .own(let own) = try groups[0].process(
                pending.message, validator: Anyone(), at: Fixture.now)
        else {
            Issue.record("not recognised")
            return
        }
        #expect(own.messageHash == pending.commitHash && own.epoch == 1)
        try groups[1].follow(pending.message)
        #expect(throws: MLSError.wrongEpoch(1)) {
            _ = try groups[1].process(pending.message, validator: Anyone(), at: Fixture.now)
        }
    }

    @Test func `of a removed client holds no keys of the group any more`() throws {
        var (clients, groups) = try pair()
        var store = Store()
        _ = store.keep(&groups[2])
        var content = CommitContent()
        content.removes = [groups[2].ownLeafIndex]
        let removal = try groups[0].commit(content, by: clients[0])
        let authenticator = groups[2].epochAuthenticator
        try groups[2].follow(removal.message)
        _ = store.keep(&groups[2])
        let read = try Group(entries: store.entries)
        for group in [groups[2], read] {
            let (state, secrets) = (group.current, group.current.secrets)
            #expect(!group.isActive && group.epochAuthenticator == authenticator)
            #expect(state.privateKeys.keys.isEmpty)
            #expect(state.messages.secretTree.nodes.isEmpty)
            #expect(state.messages.secretTree.ratchets.isEmpty)
            for secret in [
                secrets.initSecret.bytes, secrets.membershipKey.bytes,
                secrets.externalSecret.bytes, secrets.confirmationKey.bytes,
                secrets.senderDataSecret.bytes, state.messages.senderDataSecret.bytes,
            ] {
                #expect(secret.count == 0)
            }
        }
        let stored = try store.entries.keys.map { try StateKey(bytes: $0) }
        #expect(stored.count == 4)
    }

    @Test func `grows by each proposal alone, however many are pending`() throws {
        var (clients, groups) = try pair(suite: .xwingAES256)
        var stores = [Store(), Store()]
        for index in 0..<2 { _ = stores[index].keep(&groups[index]) }
        var deltas: [Int] = []
        for number in 0..<20 {
            let newcomer = try Client("newcomer \(number)").bundle(groups[0].suite).keyPackage
            let message = try groups[0].propose(
                .add(newcomer), signingKey: clients[0].signingKey, validator: Anyone(),
                at: Fixture.now
            ).bytes
            _ = try groups[1].process(message, validator: Anyone(), at: Fixture.now)
            _ = stores[0].keep(&groups[0])
            deltas.append(stores[1].keep(&groups[1]))
        }
        #expect(deltas.dropFirst().allSatisfy { $0 < 4_000 })
        let update = try groups[1].propose(.update(leaf: nil, newSigningKey: nil), by: clients[1])
        #expect(stores[1].keep(&groups[1]) < 4_000)
        _ = try groups[0].process(update.bytes, validator: Anyone(), at: Fixture.now)
        _ = stores[0].keep(&groups[0])
        for index in 0..<2 {
            let read = try Group(entries: stores[index].entries)
            #expect(read.serialized() == groups[index].serialized())
            #expect(
                read.pendingProposals.map(\.reference)
                    == groups[index].pendingProposals.map(\.reference))
            groups[index] = read
        }
        // The stored update's key is the one that the commit needs.
        let pending = try groups[0].commit(by: clients[0])
        #expect(pending.added.count == 20 && pending.leftOut.isEmpty)
        try groups[1].follow(pending.message)
        #expect(groups[1].epochAuthenticator == pending.epochAuthenticator)
        _ = stores[1].keep(&groups[1])
        let stored = try stores[1].entries.keys.map { try StateKey(bytes: $0) }
        #expect(!stored.contains { if case .proposal = $0 { true } else { false } })
        var incomplete = stores[0].entries
        incomplete[StateKey.proposal(3).bytes] = nil
        #expect(throws: MLSError.corruptState) { _ = try Group(entries: incomplete) }
    }
}

/// What others can try.
@Suite struct `A group refuses` {
    @Test func `commits and key packages that another version stored`() throws {
        let client = try Client("a")
        var group = try Fixture.group(of: [client])[0]
        let pending = try group.commit(by: client)
        func other(_ stored: SecretBytes) -> SecretBytes {
            var octets = stored.exposedCopy()
            octets[0] += 1
            return SecretBytes(octets)
        }
        #expect(throws: MLSError.corruptState) {
            _ = try PendingCommit(serialized: other(pending.serialized()))
        }
        let bundle = try client.bundle(group.suite)
        #expect(throws: MLSError.corruptState) {
            _ = try KeyPackageBundle(serialized: other(bundle.serialized()))
        }
    }

    private var open: GroupPolicy {
        var policy = GroupPolicy.standard
        policy.acceptsExternalCommits = true
        return policy
    }

    @Test func `one who joins from outside in another's place`() throws {
        struct Gullible: CredentialValidator {
            func accepts(_ subject: CredentialSubject) -> Bool { true }
            func isSameClient(_ first: LeafNode, _ second: LeafNode) -> Bool { true }
        }
        let clients = [try Client("a"), try Client("b"), try Client("mallory")]
        var groups = try Fixture.group(of: Array(clients[..<2]), policy: open)
        let info = try groups[1].groupInfo(
            allowsJoining: true, signingKey: clients[1].signingKey)
        func join(_ validator: some CredentialValidator) throws -> Group.ExternalJoin {
            try Group.joinExternally(
                groupInfo: info, leaf: clients[2].leaf, signingKey: clients[2].signingKey,
                replacing: groups[0].ownLeafIndex, validator: validator, at: Fixture.now,
                policy: open)
        }
        #expect(throws: MLSError.invalid(.resyncIdentity)) { _ = try join(Anyone()) }
        let hostile = try join(Gullible())
        #expect(throws: MLSError.invalid(.resyncIdentity)) {
            _ = try groups[1].process(hostile.message, validator: Anyone(), at: Fixture.now)
        }
    }

    @Test func `a list of outsiders that can't be read`() throws {
        let client = try Client("a", supports: [.externalSenders])
        let unreadable = Extension(type: .externalSenders, data: [1])
        #expect(throws: MLSError.invalid(.externalSender)) {
            _ = try Fixture.group(of: [client], extensions: [unreadable])
        }
        var group = try Fixture.group(of: [client])[0]
        #expect(throws: MLSError.invalid(.externalSender)) {
            _ = try group.propose(.groupContextExtensions([unreadable]), by: client)
        }
    }

    @Test func `strangers in a group that continues it`() throws {
        let clients = try (0..<2).map { try Client("client \($0)") }
        var groups = try Fixture.group(of: clients)
        var content = CommitContent()
        let reInit = ReInit(groupID: [5], cipherSuite: .x25519AES128, extensions: [])
        content.reInit = reInit
        let end = try groups[0].commit(content, by: clients[0])
        try groups[0].merge(end, at: Fixture.now)
        try groups[1].follow(end.message)
        let bundle = try clients[1].bundle(.x25519AES128)
        for extra in [try Client("stranger"), clients[1]] {
            let other = try extra.bundle(.x25519AES128).keyPackage
            #expect(throws: MLSError.invalid(.continuesGroup)) {
                _ = try groups[0].reInitialized(
                    with: [bundle.keyPackage, other], leaf: clients[0].leaf,
                    signingKey: clients[0].signingKey, lifetime: Fixture.lifetime,
                    validator: Anyone(), at: Fixture.now)
            }
        }
        // One whose library doesn't look.
        var next = try Group.create(
            groupID: reInit.groupID, suite: reInit.cipherSuite, leaf: clients[0].leaf,
            signingKey: clients[0].signingKey, lifetime: Fixture.lifetime)
        content = CommitContent()
        content.adds = [
            bundle.keyPackage, try Client("stranger").bundle(.x25519AES128).keyPackage,
        ]
        content.preSharedKeys = [
            .resumption(usage: .reInit, groupID: groups[0].groupID, epoch: groups[0].epoch)
        ]
        content.resumptionUsage = .reInit
        let start = try next.commit(
            content, signingKey: clients[0].signingKey, validator: Anyone(), at: Fixture.now,
            preSharedKeys: groups[0].withOwnResumptionSecrets(PreSharedKeys()))
        #expect(throws: MLSError.invalid(.continuesGroup)) {
            _ = try Group.join(
                welcome: #require(start.welcome), bundle: bundle, continuing: groups[1],
                existing: [], validator: Anyone(), at: Fixture.now)
        }
    }

    @Test func `a Welcome into itself`() throws {
        let clients = [try Client("a"), try Client("b")]
        var group = try Fixture.group(of: [clients[0]])[0]
        let bundle = try clients[1].bundle(group.suite, isLastResort: true)
        var content = CommitContent()
        content.adds = [bundle.keyPackage]
        let pending = try group.commit(content, by: clients[0])
        let welcome = try #require(pending.welcome)
        var joined = try Group.join(
            welcome: welcome, bundle: bundle, existing: [[1], [2]], validator: Anyone(),
            at: Fixture.now)
        _ = try joined.encrypt([1], signingKey: clients[1].signingKey)
        #expect(throws: MLSError.alreadyJoined) {
            _ = try Group.join(
                welcome: welcome, bundle: bundle, existing: [joined.groupID],
                validator: Anyone(), at: Fixture.now)
        }
    }

    @Test(arguments: [CipherSuite.x25519ChaCha20, .xwingAES256])
    func `keys to which nobody could encrypt`(suite: CipherSuite) throws {
        let client = try Client("mallory")
        let algorithms = try #require(CipherAlgorithms(suite))
        let good = try HPKEPrivateKey.generate(algorithms).publicKey
        var bad: [[UInt8]] = [[], Array(good.dropLast()), good + [0]]
        bad.append(good.dropLast(32) + [UInt8](repeating: 0, count: 32))
        if suite == .xwingAES256 { bad.append([0xff, 0xff] + good.dropFirst(2)) }
        for key in bad {
            for isInitKey in [false, true] {
                let leaf = try LeafNode(
                    client.leaf, encryptionKey: isInitKey ? good : key,
                    source: .keyPackage(Fixture.lifetime), place: nil,
                    signingKey: client.signingKey, algorithms: algorithms)
                func keyPackage(_ signature: [UInt8]) throws -> KeyPackage {
                    KeyPackage(
                        version: .mls10, cipherSuite: suite,
                        initKey: isInitKey
                            ? key : try HPKEPrivateKey.generate(algorithms).publicKey,
                        leafNode: leaf, extensions: [], signature: signature)
                }
                #expect(throws: MLSError.invalid(.publicKey)) {
                    try keyPackage([]).validate(at: Fixture.now)
                }
            }
        }
    }

    @Test func `a renewed leaf or parent to which nobody could encrypt`() throws {
        let forgery = try Forgery()
        let zero = [UInt8](repeating: 0, count: 32)
        var leaf = Forgery.PathEdits()
        leaf.leafKey = zero
        var parent = Forgery.PathEdits()
        parent.keys = { $0.dropLast() + [zero] }
        for edits in [leaf, parent] {
            #expect(throws: MLSError.invalid(.publicKey)) {
                try forgery.deliver(forgery.commit([], path: forgery.path(edits)))
            }
        }
        let update = try LeafNode(
            forgery.clients[0].leaf, encryptionKey: zero, source: .update,
            place: LeafNode.Place(groupID: forgery.context.groupID, leaf: forgery.own),
            signingKey: forgery.clients[0].signingKey, algorithms: forgery.algorithms)
        #expect(throws: MLSError.invalid(.publicKey)) {
            try forgery.deliver(forgery.frame(.proposal(.update(update))))
        }
    }

    @Test func `what is too long to be looked at`() throws {
        let clients = [try Client("a"), try Client("b")]
        var policy = GroupPolicy.standard
        policy.maximumMessageByteCount = 2_000
        var groups = try Fixture.group(of: clients, policy: policy)
        let longest = try (0..<2).map {
            try groups[0].encrypt(
                [UInt8](repeating: 1, count: 1_780 + 200 * $0), signingKey: clients[0].signingKey
            ).bytes
        }
        #expect(longest[0].count <= 2_000 && longest[1].count > 2_000)
        _ = try groups[1].read(longest[0])
        #expect(throws: MLSError.refusedByPolicy) { _ = try groups[1].read(longest[1]) }
        let zeros = [UInt8](repeating: 0, count: 2_001)
        #expect(throws: MLSError.refusedByPolicy) {
            _ = try Group.join(
                welcome: zeros, bundle: clients[0].bundle(.x25519ChaCha20), existing: [],
                validator: Anyone(),
                at: Fixture.now, policy: policy)
        }
        #expect(throws: MLSError.refusedByPolicy) {
            _ = try Group.joinExternally(
                groupInfo: [], ratchetTree: zeros, leaf: clients[0].leaf,
                signingKey: clients[0].signingKey, validator: Anyone(), at: Fixture.now,
                policy: policy)
        }
        // Entries of two octets, and blank nodes of one.
        #expect(MemoryLayout<ProposalOrRef>.stride <= 16)
        #expect(MemoryLayout<Node?>.stride <= 8)
    }

    @Test func `trees that are wider than policy allows`() throws {
        let clients = try (0..<3).map { try Client("client \($0)") }
        let bundles = try clients.map { try $0.bundle(.x25519ChaCha20) }
        var group = try Fixture.group(of: [clients[0]], policy: open)[0]
        var content = CommitContent()
        content.adds = [bundles[1].keyPackage, bundles[2].keyPackage]
        let commit = try group.commit(content, by: clients[0])
        for count in [2, 3] {
            var policy = GroupPolicy.standard
            policy.maximumLeafCount = count
            func join() throws {
                _ = try Group.join(
                    welcome: #require(commit.welcome), bundle: bundles[1], existing: [],
                    validator: Anyone(),
                    at: Fixture.now, policy: policy)
            }
            if count == 3 {
                try join()
            } else {
                #expect(throws: MLSError.refusedByPolicy) { try join() }
            }
        }
    }
}
