import Cryptography
import TLSSyntax
import Testing

@testable import MLS

/// Each rule broken once, by a message that is right in everything else that is checked before it.
///
/// The switch is exhaustive: a rule without its test does not compile.
@Suite struct `Validation rules` {
    @Test(arguments: ValidationRule.allCases)
    func `a message that breaks the rule is refused for it`(rule: ValidationRule) throws {
        #expect(throws: MLSError.invalid(rule)) { try breakRule(rule) }
    }

    private func add(_ edits: Forgery.KeyPackageEdits, in forgery: Forgery) throws {
        try forgery.deliver(forgery.commit([.add(forgery.keyPackage(edits))]))
    }

    private func emptyCommit(_ edits: Forgery.PathEdits, in forgery: Forgery) throws {
        try forgery.deliver(forgery.commit([], path: forgery.path(edits)))
    }

    private func breakRule(_ rule: ValidationRule) throws {
        let forgery = try Forgery()
        let type = ExtensionType(rawValue: 0xF0C1)
        var path = Forgery.PathEdits()
        var package = Forgery.KeyPackageEdits()
        let removeLast = Proposal.remove(LeafIndex(rawValue: 3))
        switch rule {

        // Framing
        case .contentSignature:
            try forgery.deliver(forgery.frame(.proposal(removeLast), damagingSignature: true))
        case .membershipTag:
            try forgery.deliver(forgery.frame(.proposal(removeLast), damagingTag: true))
        case .confirmationTag:
            try emptyCommit(path, in: forgery)
        case .senderMaySend:
            try forgery.deliver(
                forgery.frame(
                    .proposal(.selfRemove), sender: .newMemberProposal, key: forgery.server))
        case .externalSender:
            try forgery.deliver(
                forgery.frame(
                    .proposal(removeLast), sender: .external(index: 1), key: forgery.server))
        case .applicationIsPrivate:
            try forgery.deliver(forgery.frame(.application([1])))
        case .padding:
            try forgery.deliver(
                forgery.encrypted([1], padding: [0, 0, 1, 0], claiming: forgery.own))
        case .senderIsMember:
            try forgery.deliver(
                forgery.encrypted([1], claiming: LeafIndex(rawValue: 17)))

        // Leaves and key packages
        case .leafSignature:
            package.damagesLeafSignature = true
            try add(package, in: forgery)
        case .leafSupportsGroup:
            package.capabilities = { $0.cipherSuites = [.x25519AES128] }
            try add(package, in: forgery)
        case .credentialTypeSupport:
            package.configuration = LeafConfiguration(credential: .x509(certificates: [[1]]))
            package.capabilities = { $0.credentials = [.x509] }
            try add(package, in: forgery)
        case .leafLifetime:
            package.source = .keyPackage(
                Lifetime(notBefore: Fixture.now - 9, notAfter: Fixture.now - 1))
            try add(package, in: forgery)
        case .leafLifetimeLength:
            package.source = .keyPackage(Lifetime(notBefore: 0, notAfter: .max))
            try add(package, in: forgery)
        case .leafSupportsItself:
            package.configuration = LeafConfiguration(
                credential: .basic(identity: [1]), extensions: [Extension(type: type, data: [])])
            package.capabilities = { $0.extensions = [] }
            try add(package, in: forgery)
        case .leafSource:
            package.source = .update
            try add(package, in: forgery)
        case .leafKeyIsNew:
            let old = try #require(forgery.tree[forgery.own])
            let update = try LeafNode(
                forgery.clients[0].leaf, encryptionKey: old.encryptionKey, source: .update,
                place: LeafNode.Place(groupID: forgery.context.groupID, leaf: forgery.own),
                signingKey: forgery.clients[0].signingKey, algorithms: forgery.algorithms)
            try forgery.deliver(forgery.frame(.proposal(.update(update))))
        case .uniqueSignatureKey:
            path.signingKey = forgery.clients[2].signingKey
            try emptyCommit(path, in: forgery)
        case .uniqueEncryptionKey:
            package.encryptionKey = forgery.tree[LeafIndex(rawValue: 2)]?.encryptionKey
            try add(package, in: forgery)
        case .keyPackageSignature:
            package.damagesSignature = true
            try add(package, in: forgery)
        case .keyPackageSuite:
            package.suite = .x25519AES128
            try add(package, in: forgery)
        case .initKeyDiffers:
            package.reusesKeyAsInitKey = true
            try add(package, in: forgery)
        case .duplicateExtension:
            package.configuration = LeafConfiguration(
                credential: .basic(identity: [1]),
                extensions: [Extension(type: type, data: []), Extension(type: type, data: [1])])
            try add(package, in: forgery)
        case .extensionSupport:
            try forgery.deliver(
                forgery.commit(
                    [.groupContextExtensions([Extension(type: type, data: [])])],
                    path: forgery.path(path)))

        // Paths
        case .publicKey:
            path.nodes = { nodes in
                nodes.map {
                    UpdatePathNode(
                        encryptionKey: [1, 2, 3], encryptedPathSecrets: $0.encryptedPathSecrets)
                }
            }
            try emptyCommit(path, in: forgery)
        case .pathLength:
            path.nodes = { Array($0.dropLast()) }
            try emptyCommit(path, in: forgery)
        case .pathCiphertextCount:
            path.nodes = { nodes in
                nodes.map {
                    UpdatePathNode(
                        encryptionKey: $0.encryptionKey,
                        encryptedPathSecrets: $0.encryptedPathSecrets.edited { $0 + $0 })
                }
            }
            try emptyCommit(path, in: forgery)
        case .pathSecret:
            path.nodes = { nodes in
                nodes.map {
                    UpdatePathNode(
                        encryptionKey: $0.encryptionKey,
                        encryptedPathSecrets: $0.encryptedPathSecrets.edited {
                            $0.map {
                                HPKECiphertext(
                                    kemOutput: $0.kemOutput, ciphertext: $0.ciphertext.reversed())
                            }
                        })
                }
            }
            try emptyCommit(path, in: forgery)
        case .pathKeys:
            let other = try HPKEPrivateKey.generate(forgery.algorithms).publicKey
            path.keys = { [other] + $0.dropFirst() }
            try emptyCommit(path, in: forgery)
        case .pathKeysAreNew:
            path.leafKey = forgery.tree[LeafIndex(rawValue: 2)]?.encryptionKey
            try emptyCommit(path, in: forgery)
        case .leafParentHash:
            path.parentHash = { $0.reversed() }
            try emptyCommit(path, in: forgery)
        case .pathRequired:
            try forgery.deliver(forgery.commit([removeLast]))

        // Lists of proposals
        case .committerUpdate:
            let update = try LeafNode(
                forgery.clients[0].leaf,
                encryptionKey: HPKEPrivateKey.generate(forgery.algorithms).publicKey,
                source: .update,
                place: LeafNode.Place(groupID: forgery.context.groupID, leaf: forgery.own),
                signingKey: forgery.clients[0].signingKey, algorithms: forgery.algorithms)
            try forgery.deliver(forgery.commit([.update(update)]))
        case .committerRemove:
            try forgery.deliver(forgery.commit([.remove(forgery.own)]))
        case .oneChangePerLeaf:
            try forgery.deliver(forgery.commit([removeLast, removeLast]))
        case .duplicateAdd:
            package.signingKey = try SigningKey()
            try forgery.deliver(
                forgery.commit([
                    .add(forgery.keyPackage(package)), .add(forgery.keyPackage(package)),
                ]))
        case .removedIsMember:
            try forgery.deliver(forgery.commit([.remove(LeafIndex(rawValue: 9))]))
        case .duplicatePreSharedKey:
            try forgery.deliver(
                forgery.commit([forgery.preSharedKey(), forgery.preSharedKey()]))
        case .preSharedKeyNonce:
            try forgery.deliver(forgery.commit([forgery.preSharedKey(nonceCount: 31)]))
        case .preSharedKeyUsage:
            try forgery.deliver(
                forgery.commit([
                    forgery.preSharedKey(
                        .resumption(usage: .branch, groupID: [1], epoch: 1))
                ]))
        case .oneGroupContextExtensions:
            try forgery.deliver(
                forgery.commit([.groupContextExtensions([]), .groupContextExtensions([])]))
        case .reInitAlone, .reInitVersion:
            let reInit = Proposal.reInit(
                ReInit(
                    groupID: [1],
                    version: ProtocolVersion(rawValue: rule == .reInitVersion ? 0 : 1),
                    cipherSuite: .x25519AES128, extensions: []))
            try forgery.deliver(
                forgery.commit(
                    rule == .reInitVersion ? [reInit] : [reInit, forgery.preSharedKey()]))
        case .externalInitInside:
            try forgery.deliver(forgery.commit([.externalInit(kemOutput: [])]))
        case .proposalTypeSupport:
            try unsupportedSelfRemove()
        case .duplicateReference:
            var forgery = forgery
            let entry = try forgery.tell(forgery.preSharedKey(), from: LeafIndex(rawValue: 2))
            try forgery.deliver(forgery.commit(covering: [entry, entry]))
        case .knownProposal:
            try forgery.deliver(
                forgery.commit([
                    .application(.custom(type: ProposalType(rawValue: 0xF0C2), data: [1]))
                ]))
        case .externalCommitShape:
            try forgery.deliver(forgery.externalCommit { _ in [] })
        case .externalCommitProposals:
            try forgery.deliver(
                forgery.externalCommit { try $0 + [.proposal(.add(forgery.keyPackage()))] })

        case .resyncIdentity:
            let stranger = try Client("stranger")
            let join = try Group.joinExternally(
                groupInfo: forgery.groups[0].groupInfo(
                    allowsJoining: true, signingKey: forgery.clients[0].signingKey),
                leaf: stranger.leaf, signingKey: stranger.signingKey,
                replacing: LeafIndex(rawValue: 3), validator: Gullible(), at: Fixture.now,
                policy: forgery.policy)
            try forgery.deliver(join.message)

        // Joining
        case .treeShape, .parentHash, .unmergedLeaves, .uniqueParentKey, .treeHash,
            .groupInfoSignature, .welcomeLeaf, .welcomeSuite, .welcomePreSharedKeys,
            .continuesGroup:
            try join(breaking: rule)
        }
    }

    /// A commit of a SelfRemove in a group in which one member does not know that kind.
    private func unsupportedSelfRemove() throws {
        let clients = [try Client("a"), try Client("b")]
        let old = LeafConfiguration(
            credential: .basic(identity: [1]), supportedProposals: [])
        let oldKey = try SigningKey()
        var groups = try Fixture.group(of: clients)
        var content = CommitContent()
        let bundle = try KeyPackageBundle(
            suite: groups[0].suite, leaf: old, signingKey: oldKey, lifetime: Fixture.lifetime)
        content.adds = [bundle.keyPackage]
        let commit = try groups[0].commit(content, by: clients[0])
        try groups[0].merge(commit, at: Fixture.now)
        try groups[1].follow(commit.message)
        groups.append(
            try Group.join(
                welcome: #require(commit.welcome), bundle: bundle, existing: [],
                validator: Anyone(),
                at: Fixture.now))
        // Neither the one who leaves nor the one who commits asks its own library.
        let authenticated = try groups[0].signed(
            .proposal(.selfRemove), authenticatedData: [], signingKey: clients[0].signingKey,
            format: .privateMessage)
        let message = try groups[0].send(authenticated)
        _ = try groups[1].process(message.bytes, validator: Anyone(), at: Fixture.now)
        let reference = authenticated.proposalReference(groups[0].algorithms)
        let hostile = try groups[2].signed(
            .commit(Commit(proposals: [.reference(reference)], path: nil)),
            authenticatedData: [], signingKey: oldKey, format: .privateMessage)
        let tag = [UInt8](repeating: 0, count: groups[2].algorithms.hashByteCount)
        let hostileCommit = try groups[2].send(hostile.confirmed(by: tag))
        _ = try groups[1].process(hostileCommit.bytes, validator: Anyone(), at: Fixture.now)
    }

    /// A Welcome by somebody who knows no rules.
    private func join(breaking rule: ValidationRule) throws {
        var forgery = try WelcomeForgery()
        let own = LeafIndex(rawValue: 0)
        let ties = (0..<2).map { _ in
            PreSharedKeyID(source: WelcomeForgery.tie, nonce: Random.bytes(32))
        }
        var root: ParentNode?
        let key = try HPKEPrivateKey.generate(forgery.algorithms).publicKey
        switch rule {
        case .treeShape:
            forgery.encoded = growing
        case .treeHash:
            forgery.context = { $0.treeHash = [1, 2] }
        case .welcomeSuite:
            forgery.context = { $0.cipherSuite = .x25519AES128 }
        case .groupInfoSignature:
            forgery.signingKey = forgery.victimKey
        case .welcomeLeaf:
            forgery.tree.set(
                LeafIndex(rawValue: 1).node,
                to: .leaf(try WelcomeForgery.leaf(signingKey: forgery.victimKey)))
        case .welcomePreSharedKeys:
            forgery.preSharedKeys = ties
        case .continuesGroup:
            forgery.preSharedKeys = ties.dropLast()
        case .unmergedLeaves:
            root = ParentNode(
                encryptionKey: key, parentHash: [], unmergedLeaves: [LeafIndex(rawValue: 5)])
        case .uniqueParentKey:
            let taken = try #require(forgery.tree[own]?.encryptionKey)
            root = ParentNode(encryptionKey: taken, parentHash: [])
        default:
            // Neither leaf was made by a commit, so nobody vouches for it.
            root = ParentNode(encryptionKey: key, parentHash: [])
        }
        if let root { forgery.tree.set(forgery.tree.width.root, to: .parent(root)) }
        _ = try forgery.join()
    }

    /// An encoded tree with one blank node more at its end.
    private func growing(_ tree: [UInt8]) throws -> [UInt8] {
        var reader = TLSReader(tree)
        var writer = TLSWriter()
        writer.write(vector: try reader.readVector() + [0])
        return writer.bytes
    }
}
