import TLSSyntax
import Testing

@testable import Cryptography
@testable import MLS

/// Looks for retired secrets in everything that this process can write to.
@Suite(.serialized) struct `Forward secrecy` {
    @Test func `the image scan finds what is there`() throws {
        let secret = SecretBytes.random(count: 32)
        let image = try ProcessImage()
        image.watch(secret, "a secret that is still held")
        #expect(try image.found() == ["a secret that is still held"])
        withExtendedLifetime(secret) {}
    }

    @Test func `the image scan finds what was freed as it was`() throws {
        // Held between the copies, so that the allocator can't give the memory back or join it.
        var fillers: [[UInt8]] = []
        try Self.seen("a freed secret") { image in
            // Many, as other tests use the memory again meanwhile.
            let many = 4_000
            let secret = SecretBytes.random(count: 32)
            image.watch(secret, "a freed secret")
            var copies: [[UInt8]] = []
            for _ in 0..<many {
                copies.append(secret.exposedCopy())
                fillers.append([UInt8](repeating: 1, count: 32))
            }
            #expect(copies.count == many)
        }
        withExtendedLifetime(fillers) {}
    }

    @Test func `the image scan finds what a call left on the stack, until it is scrubbed`() throws {
        let image = try Self.seen("a secret on the stack") { image in
            let secret = SecretBytes.random(count: 32)
            image.watch(secret, "a secret on the stack")
            Self.spread(secret, depth: 30)
        }
        StackScrub.run(65_536)
        #expect(try image.found() == [])
    }

    /// Leaves something where it must be found; a few times, as other tests are busy in the same memory.
    @discardableResult private static func seen(
        _ name: String, _ leave: (ProcessImage) throws -> Void
    ) throws -> ProcessImage {
        var image = try ProcessImage()
        for _ in 0..<20 {
            image = try ProcessImage()
            try leave(image)
            if try image.found() == [name] { return image }
        }
        Issue.record("not found: \(name)")
        return image
    }

    /// Copies a secret into the frames of calls within calls.
    @inline(never) private static func spread(_ secret: SecretBytes, depth: Int) {
        unsafe withUnsafeTemporaryAllocation(byteCount: 1_000, alignment: 16) { memory in
            for offset in stride(from: 0, to: 960, by: 32) {
                unsafe secret.withUnsafeBytes { octets in
                    unsafe UnsafeMutableRawBufferPointer(rebasing: memory[offset...])
                        .copyMemory(from: octets)
                }
            }
            if depth > 0 { spread(secret, depth: depth - 1) }
        }
    }

    /// Right after each call, before another one overwrites what it left.
    @Test(arguments: CipherSuite.supported)
    func `each primitive leaves nothing behind`(suite: CipherSuite) throws {
        let algorithms = try #require(CipherAlgorithms(suite))
        func check(_ name: String, _ body: (ProcessImage) throws -> Void) throws {
            // After a function's first call a secret may be left on the stack, perhaps by the dynamic
            // linker, which saves the vector registers there; so the second time counts.
            try body(ProcessImage())
            let image = try ProcessImage()
            try body(image)
            let found = try image.found()
            #expect(found == [], "\(name)")
        }
        try check("key pair") { image in
            try image.watch(HPKEPrivateKey.generate(algorithms), "key")
        }
        let recipient = try HPKEPrivateKey.generate(algorithms)
        try check("encapsulation") { image in
            let (secret, _) = try algorithms.encapsulate(to: recipient.publicKey)
            image.watch(secret, "shared secret")
        }
        let stored = recipient.bytes.exposedCopy().map { ~$0 }
        try check("decapsulation") { image in
            let output = try algorithms.encapsulate(to: recipient.publicKey).output
            let key = try HPKEPrivateKey(
                SecretBytes(stored.map { ~$0 }), algorithms: algorithms)
            let secret = try #require(algorithms.decapsulate(output, with: key))
            image.watch(secret, "shared secret")
        }
        try check("derivations") { image in
            let input = SecretBytes.random(count: algorithms.hashByteCount)
            let salt = SecretBytes.random(count: algorithms.hashByteCount)
            let extracted = algorithms.extract(salt: salt, input: input)
            let expanded = algorithms.expand(extracted, info: [1, 2, 3], count: 80)
            _ = algorithms.authenticationCode(key: expanded, for: [4])
            for (secret, name) in [
                (input, "input"), (salt, "salt"), (extracted, "extracted"),
                (expanded, "expanded"),
            ] {
                image.watch(secret, name)
            }
        }
        try check("AEAD") { image in
            let key = SecretBytes.random(count: algorithms.keyByteCount)
            image.watch(key, "key")
            let nonce = Random.bytes(algorithms.nonceByteCount)
            let sealed = try algorithms.seal([5, 6], key: key, nonce: nonce, authenticating: [])
            _ = try algorithms.open(sealed, key: key, nonce: nonce, authenticating: [])
        }
        try check("signature") { image in
            let key = try SigningKey()
            image.watch(key.seed, "seed")
            _ = try key.sign([7])
        }
    }

    @Test(arguments: CipherSuite.supported)
    func `message keys are gone after use, on both sides`(suite: CipherSuite) throws {
        let clients = [try Client("a"), try Client("b")]
        var groups = try Fixture.group(of: clients, suite: suite)
        let image = try ProcessImage()
        let own = groups[0].ownLeafIndex
        // As it will be derived by the sender, and by the receiver.
        do {
            let messages = groups[0].current.messages
            let (_, key, opened) = try messages.secretTree.nextKey(of: own, .application)
            image.watch(key.key, "message key")
            image.watch(key.nonce, "nonce")
            var tree = messages.secretTree
            let root = try #require(tree.nodes.values.first)
            image.watch(root.bytes, "encryption secret")
            tree.keep(opened)
            let ratchet = try #require(tree.ratchets[own]?.application.secret)
            image.watch(ratchet.bytes, "ratchet secret")
        }
        for text in ["good-bye", "again"] {
            let sent = try groups[0].encrypt(Array(text.utf8), signingKey: clients[0].signingKey)
            _ = try groups[1].read(sent.bytes)
        }
        _ = groups[0].takeChanges()
        _ = groups[1].takeChanges()
        #expect(try image.found() == [])
        withExtendedLifetime(groups) {}
    }

    @Test(arguments: CipherSuite.supported)
    func `an epoch's secrets are gone after the merge`(suite: CipherSuite) throws {
        let clients = [try Client("a"), try Client("b")]
        var policy = GroupPolicy.standard
        policy.pastEpochCount = 0
        policy.resumptionSecretCount = 1
        var groups = try Fixture.group(of: clients, suite: suite, policy: policy)
        // Loading and storing leave nothing behind either.
        groups[1] = try Group(serialized: groups[1].serialized(), policy: policy)
        let image = try ProcessImage()
        image.watch(epochOf: groups[0])
        try image.watch(#require(groups[1].current.privateKeys[NodeIndex(1)]), "parent key")
        let commit = try {
            let commit = try groups[0].commit(
                signingKey: clients[0].signingKey, validator: Anyone(), at: Fixture.now)
            return try PendingCommit(serialized: commit.serialized())
        }()
        try image.watch(passing: commit.message, at: groups[1])
        try groups[0].merge(commit, at: Fixture.now)
        try groups[1].follow(commit.message)
        #expect(try image.found() == [])
        withExtendedLifetime(groups) {}
    }

    @Test(arguments: CipherSuite.supported)
    func `an init key is gone when its bundle is`(suite: CipherSuite) throws {
        let clients = [try Client("a"), try Client("b")]
        var group = try Fixture.group(of: [clients[0]], suite: suite)[0]
        let image = try ProcessImage()
        let joined = try {
            let bundle = try clients[1].bundle(suite)
            try image.watch(bundle.initKey, "init key")
            var content = CommitContent()
            content.adds = [bundle.keyPackage]
            let commit = try group.commit(
                content, signingKey: clients[0].signingKey, validator: Anyone(),
                at: Fixture.now)
            let welcome = try #require(commit.welcome)
            try image.watch(welcome: welcome, for: bundle)
            let stored = bundle.serialized()
            return try Group.join(
                welcome: welcome, bundle: KeyPackageBundle(serialized: stored),
                existing: [], validator: Anyone(), at: Fixture.now)
        }()
        #expect(try image.found() == [])
        withExtendedLifetime(joined) {}
    }

    @Test(arguments: CipherSuite.supported)
    func `a deleted group leaves nothing`(suite: CipherSuite) throws {
        let image = try ProcessImage()
        try {
            let clients = [try Client("a"), try Client("b")]
            var groups = try Fixture.group(of: clients, suite: suite)
            image.watch(clients[0].signingKey.seed, "signing key")
            image.watch(epochOf: groups[0])
            let sent = try groups[0].encrypt([1, 2, 3], signingKey: clients[0].signingKey)
            _ = try groups[1].read(sent.bytes)
            let exported = try groups[0].export(label: "x", context: [], count: 32)
            image.watch(exported, "exported secret")
            let tree = groups[0].current.messages.secretTree
            for (node, secret) in tree.nodes {
                image.watch(secret.bytes, "tree secret \(node.rawValue)")
            }
            let ratchets = try #require(tree.ratchets[groups[0].ownLeafIndex])
            try image.watch(#require(ratchets.application.secret).bytes, "ratchet secret")
        }()
        #expect(try image.found() == [])
    }
}

extension ProcessImage {
    /// A private key, and what X-Wing expands it into.
    fileprivate func watch(_ key: HPKEPrivateKey, _ name: String) throws {
        watch(key.bytes, name)
        guard case .xwing = key.key else { return }
        // ML-KEM's d and z, and X25519's scalar (draft-connolly-cfrg-xwing-kem §5.2).
        let expanded = try SHAKE256.derive(from: key.bytes, suffix: [], count: 96)
        watch(expanded.slice(0..<32), name + ", d")
        watch(expanded.slice(32..<64), name + ", z")
        watch(expanded.slice(64..<96), name + ", scalar")
    }

    /// The secrets of a group's epoch.
    fileprivate func watch(epochOf group: Group) {
        let secrets = group.current.secrets
        watch(secrets.initSecret.bytes, "init secret")
        if let secret = secrets.exporter.secret { watch(secret.bytes, "exporter secret") }
        watch(secrets.externalSecret.bytes, "external secret")
        watch(secrets.confirmationKey.bytes, "confirmation key")
        watch(secrets.membershipKey.bytes, "membership key")
        watch(secrets.senderDataSecret.bytes, "sender data secret")
        watch(secrets.resumptionSecret.bytes, "resumption secret")
        if let key = group.current.privateKeys[group.ownLeafIndex.node] {
            try? watch(key, "leaf key")
        }
    }

    /// What lies between a commit and its epoch, as `stage` derives it from the other member's.
    fileprivate func watch(passing commit: [UInt8], at group: Group) throws {
        let algorithms = group.algorithms
        guard case .privateMessage(let message) = try MLSMessage(decoding: commit),
            case .content(let verified, _) = try group.current.messages.unprotect(
                message, ownLeaf: group.ownLeafIndex, window: group.policy.window),
            case .commit(let commit) = verified.content.content, let path = commit.path,
            case .member(let committer) = verified.content.sender,
            let key = group.current.privateKeys[group.ownLeafIndex.node]
        else { throw MLSError.malformed }
        var tree = group.current.tree
        let steps = tree.filteredDirectPath(of: committer)
        _ = tree.setPath(
            of: committer, steps: steps, keys: path.nodes.map(\.encryptionKey))
        tree.set(committer.node, to: .leaf(path.leafNode))
        var next = try group.nextContext(extensions: group.extensions)
        next.treeHash = tree.treeHash()
        let ciphertext = try #require(path.nodes[0].encryptedPathSecrets[0])
        let shared = try #require(algorithms.decapsulate(ciphertext.kemOutput, with: key))
        watch(shared, "KEM's shared secret")
        let pathSecret = try #require(
            algorithms.hpke("UpdatePathNode", context: next.encoded())
                .decrypt(ciphertext, with: key))
        watch(pathSecret, "path secret")
        watch(algorithms.deriveSecret(pathSecret, "node"), "node secret")
        let commitSecret = try PathSecrets(
            from: PathSecret(pathSecret), count: steps.count, algorithms: algorithms
        ).commitSecret
        watch(commitSecret.bytes, "commit secret")
        next.confirmedTranscriptHash = Transcript.confirmedHash(
            after: group.current.interimTranscriptHash, verified.authenticated,
            algorithms: algorithms)
        let joinerSecret = JoinerSecret(
            initSecret: group.current.secrets.initSecret, commitSecret: commitSecret,
            context: next.encoded(), algorithms: algorithms)
        watch(joinerSecret.bytes, "joiner secret")
        let joined = JoinedSecrets(
            joinerSecret: joinerSecret,
            preSharedKeys: CombinedPreSharedKeys(algorithms.zeroSecret), algorithms: algorithms)
        watch(joined.welcomeSecret.bytes, "welcome secret")
        let epochSecret = joined.epochSecret(context: next.encoded(), algorithms: algorithms)
        watch(epochSecret.bytes, "epoch secret")
    }

    /// What a Welcome holds for a client.
    fileprivate func watch(welcome: [UInt8], for bundle: KeyPackageBundle) throws {
        guard case .welcome(let welcome) = try MLSMessage(decoding: welcome),
            let entry = welcome.secrets.first,
            let algorithms = CipherAlgorithms(welcome.cipherSuite),
            let opened = algorithms.hpke("Welcome", context: welcome.encryptedGroupInfo)
                .decrypt(entry.encryptedGroupSecrets, with: bundle.initKey)
        else { throw MLSError.malformed }
        let secrets = try GroupSecrets(decoding: opened)
        watch(secrets.joinerSecret.bytes, "joiner secret")
        try watch(#require(secrets.pathSecret).bytes, "path secret")
    }
}
