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
        try image.watch(#require(groups[0].current.privateKeys[NodeIndex(0)]), "leaf key")
        try image.watch(#require(groups[1].current.privateKeys[NodeIndex(1)]), "parent key")
        let commit = try {
            let commit = try groups[0].commit(by: clients[0])
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
            let commit = try group.commit(content, by: clients[0])
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
            try image.watch(#require(groups[0].current.privateKeys[NodeIndex(0)]), "leaf key")
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
    func watch(_ key: HPKEPrivateKey, _ name: String) throws {
        watch(key.bytes, name)
        guard case .xwing = key.key else { return }
        // ML-KEM's d and z, and X25519's scalar (draft-connolly-cfrg-xwing-kem §5.2).
        let expanded = try SHAKE256.derive(from: key.bytes, suffix: [], count: 96)
        watch(expanded.slice(0..<32), name + ", d")
        watch(expanded.slice(32..<64), name + ", z")
        watch(expanded.slice(64..<96), name + ", scalar")
    }

    /// The secrets of a group's epoch.
    func watch(epochOf group: Group) {
        let secrets = group.current.secrets
        watch(secrets.initSecret.bytes, "init secret")
        if let secret = secrets.exporter.secret { watch(secret.bytes, "exporter secret") }
        watch(secrets.externalSecret.bytes, "external secret")
        watch(secrets.confirmationKey.bytes, "confirmation key")
        watch(secrets.membershipKey.bytes, "membership key")
        watch(secrets.senderDataSecret.bytes, "sender data secret")
        watch(secrets.resumptionSecret.bytes, "resumption secret")
    }

    /// What lies between a commit and its epoch, as `stage` derives it. The commit adds and removes
    /// nobody; nearest to its maker, the receiver learns all of the path.
    func watch(
        passing commit: [UInt8], at group: Group, preSharedKeys: PreSharedKeys = PreSharedKeys()
    ) throws {
        let algorithms = group.algorithms
        let verified = try group.verified(commit)
        guard case .commit(let commit) = verified.content.content, let path = commit.path else {
            throw MLSError.malformed
        }
        var tree = group.current.tree
        var committer = try tree.makeRoomForLeaf()
        var initSecret = group.current.secrets.initSecret
        if case .member(let leaf) = verified.content.sender {
            tree = group.current.tree
            committer = leaf
        }
        var ids: [PreSharedKeyID] = []
        for case .proposal(let proposal) in commit.proposals {
            if case .preSharedKey(let id) = proposal { ids.append(id) }
            guard case .externalInit(let kemOutput) = proposal else { continue }
            let external = try group.current.externalKey()
            try watch(external, "external key")
            initSecret = InitSecret(
                try #require(
                    HPKESetup(info: [], algorithms: algorithms).export(
                        kemOutput: kemOutput, with: external,
                        context: ExternalInitialization.context,
                        count: algorithms.hashByteCount)))
            watch(initSecret.bytes, "external init secret")
        }
        let steps = tree.filteredDirectPath(of: committer)
        _ = tree.setPath(of: committer, steps: steps, keys: path.nodes.map(\.encryptionKey))
        tree.set(committer.node, to: .leaf(path.leafNode))
        var next = try group.nextContext(extensions: group.extensions)
        next.treeHash = tree.treeHash()
        let offset = try #require(
            steps.firstIndex { $0.copathChild.contains(group.ownLeafIndex.node) })
        let receivers = tree.resolution(of: steps[offset].copathChild)
        let position = try #require(
            receivers.firstIndex { group.current.privateKeys[$0] != nil })
        let key = try #require(group.current.privateKeys[receivers[position]])
        let ciphertext = try #require(path.nodes[offset].encryptedPathSecrets[position])
        let shared = try #require(algorithms.decapsulate(ciphertext.kemOutput, with: key))
        watch(shared, "KEM's shared secret")
        let pathSecret = try #require(
            algorithms.hpke("UpdatePathNode", context: next.encoded())
                .decrypt(ciphertext, with: key))
        let derived = try PathSecrets(
            from: PathSecret(pathSecret), count: steps.count - offset, algorithms: algorithms)
        for (number, secret) in derived.secrets.enumerated() {
            watch(secret.bytes, "path secret \(number)")
            watch(algorithms.deriveSecret(secret.bytes, "node"), "node secret \(number)")
        }
        watch(derived.commitSecret.bytes, "commit secret")
        next.confirmedTranscriptHash = Transcript.confirmedHash(
            after: group.current.interimTranscriptHash, verified.authenticated,
            algorithms: algorithms)
        let joinerSecret = JoinerSecret(
            initSecret: initSecret, commitSecret: derived.commitSecret, context: next.encoded(),
            algorithms: algorithms)
        watch(joinerSecret.bytes, "joiner secret")
        let combined = try preSharedKeys.combined(ids, algorithms: algorithms)
        if !ids.isEmpty { watch(combined.bytes, "PSK secret") }
        let joined = JoinedSecrets(
            joinerSecret: joinerSecret, preSharedKeys: combined, algorithms: algorithms)
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

extension Group {
    /// A handshake's content, opened without keeping anything.
    fileprivate func verified(_ message: [UInt8]) throws -> VerifiedContent {
        switch try MLSMessage(decoding: message) {
        case .publicMessage(let message):
            return try current.messages.unprotect(
                message, membershipKey: current.secrets.membershipKey, extensions: extensions)
        case .privateMessage(let message):
            let opened = try current.messages.unprotect(
                message, ownLeaf: ownLeafIndex, window: policy.window)
            guard case .content(let verified, _) = opened else { throw MLSError.malformed }
            return verified
        case .welcome, .groupInfo, .keyPackage: throw MLSError.malformed
        }
    }
}
