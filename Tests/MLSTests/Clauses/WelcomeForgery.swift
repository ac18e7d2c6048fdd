import Cryptography
import TLSSyntax

@testable import MLS

/// A Welcome to a group of two, the attacker and the victim, that is right but for the edits.
struct WelcomeForgery {
    let algorithms = CipherAlgorithms.x25519ChaCha20SHA256
    let attackerKey: SigningKey
    let victim: KeyPackageBundle
    let victimKey: SigningKey
    /// The attacker's leaf, then the victim's.
    var tree: RatchetTree
    var signer = LeafIndex(rawValue: 0)
    /// What the GroupInfo is signed with.
    var signingKey: SigningKey
    var context: (inout GroupContext) -> Void = { _ in }
    var infoExtensions: ([Extension]) -> [Extension] = { $0 }
    var confirmationTag: ([UInt8]) -> [UInt8] = { $0 }
    /// The encoded tree.
    var encoded: ([UInt8]) throws -> [UInt8] = { $0 }
    var suite = CipherSuite.x25519ChaCha20
    var preSharedKeys: [PreSharedKeyID] = []
    var pathSecret: PathSecret?

    init(victim: LeafConfiguration? = nil, attacker: LeafConfiguration? = nil) throws {
        attackerKey = try SigningKey()
        victimKey = try SigningKey()
        signingKey = attackerKey
        self.victim = try KeyPackageBundle(
            suite: .x25519ChaCha20,
            leaf: victim ?? LeafConfiguration(credential: .basic(identity: [2])),
            signingKey: victimKey, lifetime: Fixture.lifetime)
        tree = RatchetTree(
            try Self.leaf(attacker, signingKey: attackerKey), algorithms: algorithms)
        _ = try tree.add(self.victim.keyPackage.leafNode)
    }

    /// A leaf of a key package.
    static func leaf(
        _ configuration: LeafConfiguration? = nil, encryptionKey: [UInt8]? = nil,
        signingKey: SigningKey? = nil
    ) throws -> LeafNode {
        let algorithms = CipherAlgorithms.x25519ChaCha20SHA256
        return try LeafNode(
            configuration ?? LeafConfiguration(credential: .basic(identity: [1])),
            encryptionKey: encryptionKey ?? HPKEPrivateKey.generate(algorithms).publicKey,
            source: .keyPackage(Fixture.lifetime), place: nil,
            signingKey: signingKey ?? SigningKey(), algorithms: algorithms)
    }

    /// Puts a parent with a key of its own into the tree.
    mutating func setParent(at index: NodeIndex, unmerged: [UInt32] = []) throws {
        tree.set(
            index,
            to: .parent(
                ParentNode(
                    encryptionKey: try HPKEPrivateKey.generate(algorithms).publicKey,
                    parentHash: [], unmergedLeaves: unmerged.map { LeafIndex(rawValue: $0) })))
    }

    func message() throws -> [UInt8] {
        var tree = tree
        var context = GroupContext(
            cipherSuite: algorithms.suite, groupID: [1, 2], epoch: 1, treeHash: tree.treeHash(),
            confirmedTranscriptHash: Random.bytes(32), extensions: [])
        self.context(&context)
        let joiner = JoinerSecret(.random(count: 32))
        let joined = JoinedSecrets(
            joinerSecret: joiner,
            preSharedKeys: try keys.combined(preSharedKeys, algorithms: algorithms),
            algorithms: algorithms)
        let (secrets, _) = EpochSecrets.derive(
            from: joined.epochSecret(context: context.encoded(), algorithms: algorithms),
            algorithms: algorithms)
        let tag = secrets.confirmationKey.tag(
            confirmedTranscriptHash: context.confirmedTranscriptHash, algorithms: algorithms)
        let extensions = infoExtensions([
            Extension(type: .ratchetTree, data: try encoded(tree.encoded()))
        ])
        func groupInfo(_ signature: [UInt8]) -> GroupInfo {
            GroupInfo(
                groupContext: context, extensions: extensions,
                confirmationTag: confirmationTag(tag), signer: signer, signature: signature)
        }
        let signature = try algorithms.sign(
            groupInfo([]).toBeSigned, label: "GroupInfoTBS", with: signingKey)
        let groupSecrets = GroupSecrets(
            joinerSecret: joiner, pathSecret: pathSecret, preSharedKeys: preSharedKeys)
        return try joined.welcome(
            groupInfo(signature), groupSecrets, to: victim, suite: suite, algorithms: algorithms)
    }

    /// Names a group that this one branches from.
    static let tie = PreSharedKeySource.resumption(usage: .branch, groupID: [3], epoch: 1)

    /// The keys that both have.
    private var keys: PreSharedKeys {
        var keys = PreSharedKeys()
        keys.provide(SecretBytes([1, 2, 3]), externalID: [1])
        keys.provide(SecretBytes([4, 5, 6]), groupID: [3], epoch: 1)
        return keys
    }

    func join(
        _ message: [UInt8]? = nil, validator: some CredentialValidator = Anyone()
    ) throws -> Group {
        try Group.join(
            welcome: message ?? self.message(), bundle: victim, preSharedKeys: keys, existing: [],
            validator: validator,
            at: Fixture.now)
    }
}

extension JoinedSecrets {
    /// A Welcome for one client that states `suite` and uses `algorithms`.
    func welcome(
        _ groupInfo: GroupInfo, _ secrets: GroupSecrets, to newMember: KeyPackageBundle,
        suite: CipherSuite, algorithms: CipherAlgorithms
    ) throws -> [UInt8] {
        let (key, nonce) = welcomeSecret.keyAndNonce(algorithms)
        let encryptedInfo = try algorithms.seal(
            groupInfo.encoded(), key: key, nonce: nonce, authenticating: [])
        return MLSMessage.welcome(
            Welcome(
                cipherSuite: suite,
                secrets: [
                    EncryptedGroupSecrets(
                        newMember: newMember.reference,
                        encryptedGroupSecrets: try algorithms.hpke(
                            "Welcome", context: encryptedInfo
                        ).encrypt(secrets.encoded(), to: newMember.keyPackage.initKey))
                ], encryptedGroupInfo: encryptedInfo)
        ).encoded()
    }
}
