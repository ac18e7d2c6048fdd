import Cryptography
import TLSSyntax
import Testing

@testable import MLS

private let suites = CipherSuite.supported

@Suite struct `A group` {
    @Test(arguments: suites)
    func `carries messages both ways`(suite: CipherSuite) throws {
        let clients = [try Client("doctor"), try Client("patient")]
        var groups = try Fixture.group(of: clients, suite: suite)
        #expect(groups[0].epochAuthenticator == groups[1].epochAuthenticator)
        for round in 0..<3 {
            for (sender, receiver) in [(0, 1), (1, 0)] {
                let text = Array("message \(round)".utf8)
                let sent = try groups[sender].encrypt(
                    text, authenticatedData: [9], signingKey: clients[sender].signingKey)
                let header = try PrivateMessageHeader(message: sent.bytes)
                #expect(header.groupID == groups[0].groupID)
                #expect(header.epoch == 1)
                #expect(header.contentType == 1)
                let received = try groups[receiver].read(sent.bytes)
                #expect(received.plaintext == text)
                #expect(received.authenticatedData == [9])
                #expect(received.sender.index == groups[sender].ownLeafIndex)
                #expect(received.generation == UInt32(round))
                #expect(sent.generation == UInt32(round))
            }
        }
    }

    @Test func `a replayed message is refused and changes nothing`() throws {
        let clients = [try Client("a"), try Client("b")]
        var groups = try Fixture.group(of: clients)
        let sent = try groups[0].encrypt([1], signingKey: clients[0].signingKey)
        _ = try groups[1].read(sent.bytes)
        let before = groups[1].serialized()
        #expect(throws: MLSError.keyUnavailable(generation: 0)) {
            _ = try groups[1].read(sent.bytes)
        }
        #expect(groups[1].serialized().count == before.count)
    }

    @Test func `a forged message does not burn the key of the true one`() throws {
        let clients = [try Client("a"), try Client("b")]
        var groups = try Fixture.group(of: clients)
        let sent = try groups[0].encrypt([1, 2, 3], signingKey: clients[0].signingKey).bytes
        for index in stride(from: sent.count - 1, to: sent.count - 30, by: -3) {
            var forged = sent
            forged[index] ^= 1
            #expect(throws: MLSError.undecryptable) { _ = try groups[1].read(forged) }
        }
        #expect(try groups[1].read(sent).plaintext == [1, 2, 3])
    }

    @Test func `messages overtake each other within the window only`() throws {
        let clients = [try Client("a"), try Client("b")]
        var policy = GroupPolicy.standard
        policy.outOfOrderTolerance = 3
        policy.maximumForwardDistance = 10
        var groups = try Fixture.group(of: clients, policy: policy)
        let sent = try (0..<20).map {
            try groups[0].encrypt([$0], signingKey: clients[0].signingKey).bytes
        }
        #expect(throws: MLSError.keyUnavailable(generation: 11)) {
            _ = try groups[1].read(sent[11])
        }
        #expect(try groups[1].read(sent[10]).plaintext == [10])
        for index in [8, 9, 7] {
            #expect(try groups[1].read(sent[index]).plaintext == [UInt8(index)])
        }
        #expect(throws: MLSError.keyUnavailable(generation: 6)) {
            _ = try groups[1].read(sent[6])
        }
        #expect(try groups[1].read(sent[11]).plaintext == [11])
    }

    @Test func `the sender cannot read its own message again`() throws {
        let clients = [try Client("a"), try Client("b")]
        var groups = try Fixture.group(of: clients)
        let sent = try groups[0].encrypt([1], signingKey: clients[0].signingKey)
        let echo = try groups[0].process(sent.bytes, validator: Anyone(), at: Fixture.now)
        guard case .own(let own) = echo else {
            Issue.record("not recognised as own")
            return
        }
        #expect(own.generation == sent.generation)
        #expect(own.messageHash == Hash.sha256(sent.bytes))
    }

    @Test func `padding hides the length`() throws {
        let clients = [try Client("a"), try Client("b")]
        var groups = try Fixture.group(of: clients)
        var lengths = Set<Int>()
        for count in [0, 1, 63, 64, 200, 256] {
            let text = [UInt8](repeating: 5, count: count)
            let sent = try groups[0].encrypt(
                text, paddedTo: 256, signingKey: clients[0].signingKey)
            lengths.insert(sent.bytes.count)
            #expect(try groups[1].read(sent.bytes).plaintext == text)
        }
        #expect(lengths.count == 1)
    }

    @Test(arguments: suites)
    func `grows, renews keys and shrinks`(suite: CipherSuite) throws {
        let clients = try (0..<7).map { try Client("client \($0)") }
        var groups = try Fixture.group(of: clients, suite: suite)
        for committer in groups.indices {
            let commit = try groups[committer].commit(by: clients[committer])
            for index in groups.indices {
                if index == committer {
                    try groups[index].merge(commit, at: Fixture.now)
                } else {
                    try groups[index].follow(commit.message)
                }
            }
            #expect(Set(groups.map(\.epochAuthenticator)).count == 1)
        }
        var content = CommitContent()
        content.removes = [2, 5, 6].map { LeafIndex(rawValue: $0) }
        let commit = try groups[3].commit(content, by: clients[3])
        try groups[3].merge(commit, at: Fixture.now)
        for index in [0, 1, 2, 4, 5, 6] { try groups[index].follow(commit.message) }
        for index in groups.indices {
            #expect(groups[index].isActive == ![2, 5, 6].contains(index))
        }
        #expect(Set([0, 1, 3, 4].map { groups[$0].epochAuthenticator }).count == 1)
        #expect(groups[0].members.map(\.index.rawValue) == [0, 1, 3, 4])
        // A removed member cannot read on, nor write.
        let sent = try groups[0].encrypt([1], signingKey: clients[0].signingKey).bytes
        #expect(throws: MLSError.wrongEpoch(groups[0].epoch)) { _ = try groups[2].read(sent) }
        #expect(throws: MLSError.inactive) {
            _ = try groups[2].encrypt([1], signingKey: clients[2].signingKey)
        }
        #expect(try groups[4].read(sent).plaintext == [1])
    }

    @Test(arguments: [WireFormat.privateMessage, .publicMessage])
    func `commits proposals of others by reference`(format: WireFormat) throws {
        let clients = try (0..<4).map { try Client("client \($0)") }
        let newcomer = try Client("newcomer")
        var policy = GroupPolicy.standard
        policy.handshakeFormat = format
        var groups = try Fixture.group(of: clients, policy: policy)
        let bundle = try newcomer.bundle(groups[0].suite)
        let requests: [(Int, ProposalRequest)] = [
            (1, .update(leaf: nil, newSigningKey: nil)), (2, .add(bundle.keyPackage)),
            (1, .remove(LeafIndex(rawValue: 3))),
        ]
        for (proposer, request) in requests {
            let message = try groups[proposer].propose(request, by: clients[proposer])
            for index in groups.indices where index != proposer {
                guard
                    case .proposal = try groups[index].process(
                        message.bytes, validator: Anyone(), at: Fixture.now)
                else {
                    Issue.record("not a proposal")
                    return
                }
            }
        }
        let commit = try groups[0].commit(by: clients[0])
        try groups[0].merge(commit, at: Fixture.now)
        for index in 1...3 { try groups[index].follow(commit.message) }
        let joined = try Group.join(
            welcome: #require(commit.welcome), bundle: bundle, existing: [], validator: Anyone(),
            at: Fixture.now)
        #expect(!groups[3].isActive)
        let active = [groups[0], groups[1], groups[2], joined]
        #expect(Set(active.map(\.epochAuthenticator)).count == 1)
        #expect(joined.members.map(\.index.rawValue) == [0, 1, 2, 3])
        #expect(joined.ownLeafIndex.rawValue == 3)
    }

    @Test func `a commit can be dropped and another taken`() throws {
        let clients = [try Client("a"), try Client("b"), try Client("c")]
        var groups = try Fixture.group(of: clients)
        let lost = try groups[0].commit(by: clients[0])
        let won = try groups[1].commit(by: clients[1])
        try groups[0].follow(won.message)
        try groups[2].follow(won.message)
        // The pending commit survives storing, and is recognised as stale.
        let restored = try PendingCommit(serialized: lost.serialized())
        #expect(throws: MLSError.misuse(.staleCommit)) {
            try groups[0].merge(restored, at: Fixture.now)
        }
        let own = try PendingCommit(serialized: won.serialized())
        #expect(own.commitHash == won.commitHash)
        try groups[1].merge(own, at: Fixture.now)
        #expect(Set(groups.map(\.epochAuthenticator)).count == 1)
        #expect(throws: MLSError.wrongEpoch(1)) {
            _ = try groups[2].process(lost.message, validator: Anyone(), at: Fixture.now)
        }
    }

    @Test func `late messages of a past epoch are read, for a while`() throws {
        let clients = [try Client("a"), try Client("b")]
        var policy = GroupPolicy.standard
        policy.pastEpochCount = 2
        policy.pastEpochSeconds = 100
        var groups = try Fixture.group(of: clients, policy: policy)
        let late = try (0..<3).map {
            try groups[0].encrypt([$0], signingKey: clients[0].signingKey).bytes
        }
        for _ in 0..<2 {
            let commit = try groups[1].commit(by: clients[1])
            try groups[1].merge(commit, at: Fixture.now)
            try groups[0].follow(commit.message)
        }
        #expect(try groups[1].read(late[0]).epoch == 1)
        var aged = groups[1]
        aged.prunePastEpochs(at: Fixture.now + 101)
        #expect(throws: MLSError.wrongEpoch(1)) { _ = try aged.read(late[1]) }
        let commit = try groups[0].commit(by: clients[0])
        try groups[1].follow(commit.message)
        #expect(throws: MLSError.wrongEpoch(1)) { _ = try groups[1].read(late[2]) }
    }

    @Test func `a signing key can be replaced`() throws {
        let clients = [try Client("a"), try Client("b")]
        var groups = try Fixture.group(of: clients)
        let newKey = try SigningKey()
        var content = CommitContent()
        content.newSigningKey = newKey
        let commit = try groups[0].commit(content, by: clients[0])
        try groups[0].merge(commit, at: Fixture.now)
        try groups[1].follow(commit.message)
        #expect(groups[1].members[0].signatureKey == newKey.publicKey.bytes)
        #expect(throws: MLSError.misuse(.wrongSigningKey)) {
            _ = try groups[0].encrypt([1], signingKey: clients[0].signingKey)
        }
        let sent = try groups[0].encrypt([1], signingKey: newKey)
        #expect(try groups[1].read(sent.bytes).plaintext == [1])
    }

    @Test func `exported secrets agree and depend on label, context and epoch`() throws {
        let clients = [try Client("a"), try Client("b")]
        var groups = try Fixture.group(of: clients)
        let one = try groups[0].export(label: "one", context: [1], count: 48)
        #expect(try groups[1].export(label: "one", context: [1], count: 48) == one)
        #expect(try groups[0].export(label: "two", context: [1], count: 48) != one)
        #expect(try groups[0].export(label: "one", context: [2], count: 48) != one)
        #expect(throws: MLSError.misuse(.exportTooLong)) {
            _ = try groups[0].export(label: "one", context: [], count: 255 * 32 + 1)
        }
        let commit = try groups[0].commit(by: clients[0])
        try groups[1].follow(commit.message)
        #expect(try groups[1].export(label: "one", context: [1], count: 48) != one)
    }

    @Test func `leaves carry extensions, and the validator judges them`() throws {
        struct NoGuests: CredentialValidator {
            func accepts(_ subject: CredentialSubject) -> Bool {
                subject.extensions[ExtensionType(rawValue: 0xF0C0)] == [1]
            }
        }
        let type = ExtensionType(rawValue: 0xF0C0)
        let owner = try Client("owner", extensions: [Extension(type: type, data: [1])])
        let guest = try Client("guest", extensions: [Extension(type: type, data: [2])])
        var group = try Fixture.group(of: [owner])[0]
        var content = CommitContent()
        content.adds = [try guest.bundle(group.suite).keyPackage]
        let before = group.epochAuthenticator
        #expect(throws: MLSError.unsuitable(.add(0), because: .credentialRefused)) {
            _ = try group.commit(
                content, signingKey: owner.signingKey, validator: NoGuests(), at: Fixture.now)
        }
        #expect(group.epochAuthenticator == before)
        let commit = try group.commit(content, by: owner)
        #expect(commit.added[0].extensions == guest.leaf.extensions)
    }

    @Test func `a Welcome for someone else is recognised`() throws {
        let clients = [try Client("a"), try Client("b")]
        var group = try Fixture.group(of: [clients[0]])[0]
        var content = CommitContent()
        content.adds = [try clients[1].bundle(group.suite).keyPackage]
        content.welcomeIncludesTree = false
        content.welcomePaddingBucket = 1_024
        let commit = try group.commit(content, by: clients[0])
        let welcome = try #require(commit.welcome)
        #expect(throws: MLSError.notAddressedToUs) {
            _ = try Group.join(
                welcome: welcome, bundle: try clients[1].bundle(group.suite),
                existing: [], validator: Anyone(), at: Fixture.now)
        }
    }

    @Test func `a detached tree joins as well, and another tree does not`() throws {
        let clients = [try Client("a"), try Client("b")]
        var group = try Fixture.group(of: [clients[0]])[0]
        let bundle = try KeyPackageBundle(serialized: clients[1].bundle(group.suite).serialized())
        var content = CommitContent()
        content.adds = [bundle.keyPackage]
        content.welcomeIncludesTree = false
        let commit = try group.commit(content, by: clients[0])
        let welcome = try #require(commit.welcome)
        #expect(throws: MLSError.invalid(.treeHash)) {
            _ = try Group.join(
                welcome: welcome, bundle: bundle, ratchetTree: group.current.tree.encoded(),
                existing: [], validator: Anyone(), at: Fixture.now)
        }
        let joined = try Group.join(
            welcome: welcome, bundle: bundle, ratchetTree: commit.ratchetTree,
            existing: [], validator: Anyone(), at: Fixture.now)
        try group.merge(commit, at: Fixture.now)
        #expect(joined.epochAuthenticator == group.epochAuthenticator)
    }
}

@Suite struct `A public proposal` {
    @Test func `that says the same as one before is the same`() throws {
        var policy = GroupPolicy.standard
        policy.handshakeFormat = .publicMessage
        let clients = try (0..<3).map { try Client("client \($0)") }
        var group = try Fixture.group(of: clients, policy: policy)[0]
        for _ in 0..<2 {
            _ = try group.propose(.remove(LeafIndex(rawValue: 1)), by: clients[0])
        }
        #expect(group.pendingProposals.count == 1)
        let commit = try group.commit(by: clients[0])
        #expect(commit.removed.count == 1)
    }
}

@Suite struct `A stored group` {
    @Test(arguments: suites)
    func `goes on as if nothing had happened`(suite: CipherSuite) throws {
        let clients = try (0..<3).map { try Client("client \($0)") }
        var groups = try Fixture.group(of: clients, suite: suite)
        for round in 0..<3 {
            let late = try groups[0].encrypt([7], signingKey: clients[0].signingKey).bytes
            let sent = try groups[0].encrypt([8], signingKey: clients[0].signingKey).bytes
            groups = try groups.map { try Group(serialized: $0.serialized()) }
            #expect(try groups[1].read(sent).plaintext == [8])
            groups = try groups.map { try Group(serialized: $0.serialized()) }
            #expect(try groups[1].read(late).plaintext == [7])
            #expect(throws: MLSError.self) { _ = try groups[1].read(sent) }
            let commit = try groups[round].commit(by: clients[round])
            groups = try groups.map { try Group(serialized: $0.serialized()) }
            for index in groups.indices {
                if index == round {
                    try groups[index].merge(
                        PendingCommit(serialized: commit.serialized()), at: Fixture.now)
                } else {
                    try groups[index].follow(commit.message)
                }
            }
            #expect(try groups[2].read(late).plaintext == [7])
            #expect(Set(groups.map(\.epochAuthenticator)).count == 1)
        }
    }

    @Test func `entries and their changes give the same group as the whole`() throws {
        let clients = try (0..<5).map { try Client("client \($0)") }
        var groups = try Fixture.group(of: clients)
        var stores = [[[UInt8]: SecretBytes]](repeating: [:], count: groups.count)
        func store(_ index: Int) throws {
            for change in groups[index].takeChanges() { stores[index][change.key] = change.value }
            // What is stored is exactly what a fresh whole would be.
            let whole = try Group(serialized: groups[index].serialized())
            #expect(Set(stores[index].keys) == Set(whole.allKeys.map(\.bytes)))
            groups[index] = try Group(entries: stores[index])
        }
        for index in groups.indices { try store(index) }
        for round in 0..<3 {
            for sender in groups.indices {
                let sent = try groups[sender].encrypt(
                    [1], signingKey: clients[sender].signingKey)
                try store(sender)
                for index in groups.indices where index != sender {
                    _ = try groups[index].read(sent.bytes)
                    try store(index)
                }
            }
            let commit = try groups[round].commit(by: clients[round])
            for index in groups.indices {
                if index == round {
                    try groups[index].merge(commit, at: Fixture.now)
                } else {
                    try groups[index].follow(commit.message)
                }
                try store(index)
            }
            #expect(Set(groups.map(\.epochAuthenticator)).count == 1)
        }
    }

    @Test func `a message changes one small entry`() throws {
        let clients = [try Client("a"), try Client("b")]
        var groups = try Fixture.group(of: clients)
        _ = groups[1].takeChanges()
        var sizes: [Int] = []
        for _ in 0..<5 {
            let sent = try groups[0].encrypt(
                [UInt8](repeating: 1, count: 1_024), signingKey: clients[0].signingKey)
            _ = try groups[1].read(sent.bytes)
            let changes = groups[1].takeChanges()
            sizes.append(changes.reduce(0) { $0 + ($1.value?.count ?? 0) })
        }
        #expect(sizes.dropFirst().allSatisfy { $0 < 128 })
    }

    @Test func `damaged state is refused and never traps`() throws {
        let clients = [try Client("a"), try Client("b")]
        let state = try Fixture.group(of: clients)[0].serialized().exposedCopy()
        for count in stride(from: 0, to: state.count, by: 7) {
            #expect(throws: MLSError.corruptState) {
                _ = try Group(serialized: SecretBytes(state.prefix(count)))
            }
        }
    }
}
