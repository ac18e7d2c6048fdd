import TLSSyntax
import Testing

@testable import Cryptography
@testable import MLS

/// Nine members in a populated tree, who commit in turn, and one who comes from outside.
private struct Crowd {
    var clients: [Client]
    var groups: [Group]
    let policy: GroupPolicy

    static let label = "watched"

    init(_ suite: CipherSuite) throws {
        var policy = GroupPolicy.standard
        policy.pastEpochCount = 0
        policy.resumptionSecretCount = 1
        policy.acceptsExternalCommits = true
        policy.exporterLabels = [Self.label]
        self.policy = policy
        clients = try (0..<9).map { try Client("client \($0)") }
        groups = try Fixture.group(of: clients, suite: suite, policy: policy)
        for index in groups.indices { try commit(by: index) }
    }

    /// A commit that all follow. What it retires is watched, as the member at `receiver` sees it.
    mutating func commit(
        by index: Int, _ content: CommitContent = CommitContent(),
        keys: PreSharedKeys = PreSharedKeys(), watch image: ProcessImage? = nil,
        at receiver: Int = 0
    ) throws {
        if let image {
            try watchEpoch(image, replacedBy: groups[index].ownLeafIndex)
            try watch(image, keyOf: index, .handshake)
        }
        let commit = try groups[index].commit(
            content, signingKey: clients[index].signingKey, validator: Anyone(), at: Fixture.now,
            preSharedKeys: keys)
        try image?.watch(passing: commit.message, at: groups[receiver], preSharedKeys: keys)
        for other in groups.indices where other != index {
            try groups[other].follow(commit.message, keys: keys)
        }
        try groups[index].merge(commit, at: Fixture.now)
        for index in groups.indices { _ = groups[index].takeChanges() }
    }

    /// A member sends something, and all read it.
    mutating func talk(_ index: Int, watch image: ProcessImage) throws {
        try watch(image, keyOf: index, .application)
        let sent = try groups[index].encrypt(
            [1, 2, 3], signingKey: clients[index].signingKey
        ).bytes
        guard case .privateMessage(let message) = try MLSMessage(decoding: sent) else {
            throw MLSError.malformed
        }
        let (key, _) = groups[index].current.secrets.senderDataSecret.keyAndNonce(
            for: message.ciphertext, algorithms: groups[index].algorithms)
        image.watch(key, "sender data key")
        for other in groups.indices where other != index { _ = try groups[other].read(sent) }
    }

    /// The next key of a member, and the secrets above it that only its use destroys.
    func watch(_ image: ProcessImage, keyOf index: Int, _ kind: RatchetKind) throws {
        let tree = groups[index].current.messages.secretTree
        for (node, secret) in tree.nodes { image.watch(secret.bytes, "tree secret \(node)") }
        let own = groups[index].ownLeafIndex
        let (_, key, _) = try tree.nextKey(of: own, kind)
        image.watch(key.key, "\(kind) key")
        // The reuse guard changes the first four octets.
        image.watch(key.nonce.slice(4..<key.nonce.count), "\(kind) nonce")
        let ratchets = tree.ratchets[own]
        if let secret = ratchets?[kind].secret { image.watch(secret.bytes, "\(kind) ratchet") }
    }

    /// What the epoch's end retires: its secrets, and the private keys on the committer's path.
    private func watchEpoch(_ image: ProcessImage, replacedBy leaf: LeafIndex) throws {
        image.watch(epochOf: groups[0])
        if let secret = groups[0].current.secrets.exporter.labels[Self.label] {
            image.watch(secret.bytes, "label's secret")
        }
        for (node, secret) in groups[0].current.secrets.exporter.tree.nodes {
            image.watch(secret.bytes, "exporter tree \(node)")
        }
        let path = [leaf.node] + groups[0].current.tree.width.directPath(of: leaf.node)
        for (member, group) in groups.enumerated() {
            for node in path {
                guard let key = group.current.privateKeys[node] else { continue }
                try image.watch(key, "member \(member)'s key of \(node)")
            }
        }
    }

    /// Somebody joins by itself.
    mutating func enter(watch image: ProcessImage) throws {
        let newcomer = try Client("newcomer")
        var tree = groups[0].current.tree
        let room = try tree.makeRoomForLeaf()
        try watchEpoch(image, replacedBy: room)
        let join = try Group.joinExternally(
            groupInfo: groups[0].groupInfo(allowsJoining: true, signingKey: clients[0].signingKey),
            leaf: newcomer.leaf, signingKey: newcomer.signingKey, validator: Anyone(),
            at: Fixture.now, policy: policy)
        try image.watch(passing: join.message, at: groups[8])
        for index in groups.indices { try groups[index].follow(join.message) }
        clients.append(newcomer)
        groups.append(join.group)
        for index in groups.indices { _ = groups[index].takeChanges() }
    }
}

extension `Forward secrecy` {
    @Test(arguments: CipherSuite.supported)
    func `a group of nine keeps nothing of the epochs that ended`(suite: CipherSuite) throws {
        var crowd = try Crowd(suite)
        // The search may leave what it found, so this epoch isn't looked at again.
        #expect(try Self.findsWhatIsHeld(by: crowd.groups[4]))
        try crowd.commit(by: 2)
        func check(_ name: String, _ body: (inout Crowd, ProcessImage) throws -> Void) throws {
            let image = try ProcessImage()
            try body(&crowd, image)
            let found = try image.found()
            #expect(found == [], "\(name)")
        }
        try check("messages and a commit") { crowd, image in
            for sender in [0, 5, 8] { try crowd.talk(sender, watch: image) }
            try crowd.commit(by: 1, watch: image, at: 0)
        }
        try check("a commit with a pre-shared key") { crowd, image in
            let secret = SecretBytes.random(count: 32)
            image.watch(secret, "PSK")
            var keys = PreSharedKeys()
            keys.provide(secret, externalID: [1])
            var content = CommitContent()
            content.preSharedKeys = [.external(id: [1])]
            try crowd.commit(by: 6, content, keys: keys, watch: image, at: 7)
        }
        try check("an external commit") { crowd, image in
            try crowd.talk(3, watch: image)
            try crowd.enter(watch: image)
        }
        try check("a commit to the newcomer") { crowd, image in
            try crowd.talk(9, watch: image)
            try crowd.commit(by: 8, watch: image, at: 9)
        }
        try check("the end") { crowd, image in
            image.watch(epochOf: crowd.groups[4])
            for client in crowd.clients { image.watch(client.signingKey.seed, "signing key") }
            crowd.groups = []
            crowd.clients = []
        }
    }

    /// Whether the search sees such secrets where they are in use.
    private static func findsWhatIsHeld(by group: Group) throws -> Bool {
        let image = try ProcessImage()
        image.watch(epochOf: group)
        return try image.found() == [
            "confirmation key", "external secret", "init secret", "membership key",
            "resumption secret", "sender data secret",
        ]
    }
}
