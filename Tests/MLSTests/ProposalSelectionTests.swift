import Cryptography
import TLSSyntax
import Testing

@testable import MLS

private let type = ProposalType(rawValue: 0xF0C2)
private let guest = ExtensionType(rawValue: 0xF0C3)
private let later = Fixture.now + 1_000

/// A member that proposes what can't be committed stops nobody (RFC 9420 §12.2).
@Suite struct `A proposal that can't be applied` {
    enum Kind: CaseIterable {
        case addOfMember, addOfTaken, expiredAdd, refusedAdd, strangeCredential
        case missingKey, keyTwice
        case unsupportedExtension, refusedSenders
        case secondExtensions, earlierExtensions
        case takenSignatureKey, takenEncryptionKey, updateToParentKey, addOfParentKey
        case updateOfCommitter, earlierUpdate
        case updateOfRemoved, removeOfCommitter, removeTwice
        case unknownSelfRemove, unknownToOne, reInit

        var reason: MLSError {
            switch self {
            case .addOfMember, .addOfTaken: .invalid(.duplicateAdd)
            case .expiredAdd: .invalid(.leafLifetime)
            case .refusedAdd, .refusedSenders: .credentialRefused
            case .strangeCredential: .invalid(.credentialTypeSupport)
            case .missingKey: .missingPreSharedKey
            case .keyTwice: .invalid(.duplicatePreSharedKey)
            case .unsupportedExtension: .invalid(.extensionSupport)
            case .secondExtensions, .earlierExtensions: .invalid(.oneGroupContextExtensions)
            case .takenSignatureKey: .invalid(.uniqueSignatureKey)
            case .takenEncryptionKey: .invalid(.uniqueEncryptionKey)
            case .updateToParentKey, .addOfParentKey: .invalid(.uniqueParentKey)
            case .updateOfCommitter: .invalid(.committerUpdate)
            case .earlierUpdate, .updateOfRemoved, .removeTwice: .invalid(.oneChangePerLeaf)
            case .removeOfCommitter: .invalid(.committerRemove)
            case .unknownSelfRemove, .unknownToOne: .invalid(.proposalTypeSupport)
            case .reInit: .refusedByPolicy
            }
        }
    }

    /// Accepts all members but guests.
    private struct Doorkeeper: CredentialValidator {
        func accepts(_ subject: CredentialSubject) -> Bool {
            subject.extensions[guest] == nil
        }
    }

    /// The hostile member, the one who commits, one who follows, and one who knows nothing new.
    private struct Scene {
        var clients: [Client]
        var groups: [Group]
        var keys = PreSharedKeys()
        /// What the hostile member's own library would not say.
        private(set) var said: [ProposalRef] = []

        init() throws {
            let known: [ProposalType] = [.selfRemove, type]
            clients = try (0..<3).map {
                try Client("client \($0)", supports: [guest, .externalSenders], proposals: known)
            }
            clients.append(try Client("old", supports: [guest, .externalSenders], proposals: []))
            var policy = GroupPolicy.standard
            policy.applicationProposals[type] = ApplicationProposalRules()
            groups = try Fixture.group(of: clients, policy: policy)
            keys.provide(SecretBytes([1, 2, 3]), externalID: [1])
        }

        mutating func say(_ proposal: Proposal, from sender: Int = 0) throws {
            let signed = try groups[sender].signed(
                .proposal(proposal), authenticatedData: [],
                signingKey: clients[sender].signingKey, format: .privateMessage)
            let message = try groups[sender].send(signed).bytes
            let reference = signed.proposalReference(groups[sender].algorithms)
            said.append(reference)
            groups[sender].keep(
                PendingProposal(
                    reference: reference, sender: .member(groups[sender].ownLeafIndex),
                    proposal: proposal))
            for index in groups.indices where index != sender {
                _ = try groups[index].process(message, validator: Anyone(), at: Fixture.now)
            }
        }

        mutating func update(
            of member: Int, signedBy key: SigningKey? = nil, encryptionKey: [UInt8]? = nil
        ) throws -> Proposal {
            let newKey = try HPKEPrivateKey.generate(groups[0].algorithms)
            groups[member].updateKeys[newKey.publicKey] = newKey
            return .update(
                try LeafNode(
                    clients[member].leaf, encryptionKey: encryptionKey ?? newKey.publicKey,
                    source: .update,
                    place: LeafNode.Place(
                        groupID: groups[0].groupID, leaf: groups[member].ownLeafIndex),
                    signingKey: key ?? clients[member].signingKey,
                    algorithms: groups[0].algorithms))
        }

        func keyPackage(
            _ leaf: LeafConfiguration, key: SigningKey, until end: UnixSeconds? = nil
        ) throws -> KeyPackage {
            try KeyPackageBundle(
                suite: groups[0].suite, leaf: leaf, signingKey: key,
                lifetime: Lifetime(
                    notBefore: Fixture.now - 9, notAfter: end ?? Fixture.lifetime.notAfter)
            ).keyPackage
        }

        /// A parent's key, which its path's owner isn't the only one to know.
        private var parentKey: [UInt8] {
            groups[0].current.tree.parents.last?.node.encryptionKey ?? []
        }

        private func keyPackage(encryptionKey: [UInt8]) throws -> KeyPackage {
            let key = try SigningKey()
            let algorithms = groups[0].algorithms
            let initKey = try HPKEPrivateKey.generate(algorithms).publicKey
            let leaf = try LeafNode(
                LeafConfiguration(credential: .basic(identity: [7])),
                encryptionKey: encryptionKey, source: .keyPackage(Fixture.lifetime), place: nil,
                signingKey: key, algorithms: algorithms)
            func keyPackage(_ signature: [UInt8]) -> KeyPackage {
                KeyPackage(
                    version: .mls10, cipherSuite: groups[0].suite, initKey: initKey,
                    leafNode: leaf, extensions: [], signature: signature)
            }
            return keyPackage(
                try algorithms.sign(
                    keyPackage([]).toBeSigned, label: "KeyPackageTBS", with: key))
        }

        func preSharedKey(_ name: UInt8, nonce: [UInt8] = Random.bytes(32)) -> Proposal {
            .preSharedKey(PreSharedKeyID(source: .external(id: [name]), nonce: nonce))
        }

        mutating func say(_ kind: Kind) throws {
            let stranger = LeafConfiguration(
                credential: .basic(identity: [7]), supportedExtensions: [guest, .externalSenders])
            switch kind {
            case .addOfMember:
                try say(.add(keyPackage(clients[0].leaf, key: clients[0].signingKey)))
            case .addOfTaken:
                let key = try SigningKey()
                try say(.add(keyPackage(stranger, key: key)))
                try say(.add(keyPackage(stranger, key: key)))
            case .expiredAdd:
                try say(.add(keyPackage(stranger, key: SigningKey(), until: Fixture.now + 9)))
            case .refusedAdd:
                var leaf = stranger
                leaf.extensions = [Extension(type: guest, data: [])]
                try say(.add(keyPackage(leaf, key: SigningKey())))
            case .strangeCredential:
                var leaf = LeafConfiguration(credential: .x509(certificates: [[1]]))
                leaf.capabilities.credentials = [.x509]
                try say(.add(keyPackage(leaf, key: SigningKey())))
            case .missingKey:
                try say(preSharedKey(9))
            case .keyTwice:
                let nonce = Random.bytes(32)
                try say(preSharedKey(1, nonce: nonce))
                let second = preSharedKey(1, nonce: nonce)
                try say(second, from: 2)
            case .unsupportedExtension:
                try say(
                    .groupContextExtensions([
                        Extension(type: ExtensionType(rawValue: 0xF0C9), data: [])
                    ]))
            case .refusedSenders:
                try say(
                    .groupContextExtensions([
                        ExternalSender.groupContextExtension([
                            ExternalSender(
                                signatureKey: clients[0].signingKey.publicKey.bytes,
                                credential: .basic(identity: [8]))
                        ])
                    ]))
            case .secondExtensions, .earlierExtensions:
                try say(.groupContextExtensions([Extension(type: guest, data: [1])]))
                try say(
                    .groupContextExtensions([Extension(type: guest, data: [2])]),
                    from: kind == .secondExtensions ? 2 : 0)
            case .takenSignatureKey:
                let renewal = try update(of: 0, signedBy: clients[2].signingKey)
                try say(renewal)
            case .takenEncryptionKey:
                let taken = groups[0].member(at: groups[2].ownLeafIndex)?.leafNode.encryptionKey
                let renewal = try update(of: 0, encryptionKey: taken)
                try say(renewal)
            case .updateToParentKey:
                let renewal = try update(of: 0, encryptionKey: parentKey)
                try say(renewal)
            case .addOfParentKey:
                try say(.add(keyPackage(encryptionKey: parentKey)))
            case .updateOfCommitter:
                let renewal = try update(of: 1)
                try say(renewal, from: 1)
            case .earlierUpdate:
                for _ in 0..<2 {
                    let renewal = try update(of: 0)
                    try say(renewal)
                }
            case .updateOfRemoved:
                let renewal = try update(of: 2)
                try say(renewal, from: 2)
                try say(.remove(groups[2].ownLeafIndex))
            case .removeOfCommitter:
                try say(.remove(groups[1].ownLeafIndex))
            case .removeTwice:
                try say(.remove(groups[2].ownLeafIndex))
                try say(.remove(groups[2].ownLeafIndex), from: 3)
            case .unknownSelfRemove:
                try say(.selfRemove)
            case .unknownToOne:
                try say(.application(.custom(type: type, data: [1])))
            case .reInit:
                try say(
                    .reInit(
                        ReInit(groupID: [1], cipherSuite: .x25519AES128, extensions: [])))
            }
        }

        /// Commits, and looks whether everyone who stays agrees.
        mutating func commit() throws -> PendingCommit {
            let commit = try groups[1].commit(
                signingKey: clients[1].signingKey, validator: Doorkeeper(), at: later,
                preSharedKeys: keys)
            try groups[1].merge(commit, at: later)
            for index in [0, 2, 3] {
                guard
                    case .commit(let staged) = try groups[index].process(
                        commit.message, validator: Doorkeeper(), at: later, preSharedKeys: keys)
                else { throw MLSError.misuse(.wrongMessageKind) }
                try groups[index].merge(staged, at: later)
                guard groups[index].isActive else { continue }
                #expect(groups[index].epochAuthenticator == groups[1].epochAuthenticator)
            }
            return commit
        }
    }

    @Test(arguments: Kind.allCases)
    func `is left out of the commit, and the committer learns why`(kind: Kind) throws {
        var scene = try Scene()
        try scene.say(scene.preSharedKey(1))
        try scene.say(kind)
        let bad =
            switch kind {
            case .earlierUpdate, .earlierExtensions, .updateOfRemoved: scene.said[1]
            default: try #require(scene.said.last)
            }
        let commit = try scene.commit()
        #expect(commit.leftOut.map(\.proposal.reference) == [bad])
        #expect(commit.leftOut.map(\.reason) == [kind.reason])
        #expect(scene.groups[1].epoch == 2 && scene.groups[1].isActive)
    }

    @Test func `doesn't hinder its maker's removal, however many there are`() throws {
        var scene = try Scene()
        let kinds: [Kind] = [
            .addOfMember, .expiredAdd, .refusedAdd, .strangeCredential, .missingKey,
            .unsupportedExtension, .refusedSenders,
            .takenSignatureKey, .takenEncryptionKey, .updateToParentKey, .addOfParentKey,
            .removeOfCommitter, .unknownSelfRemove,
            .unknownToOne, .reInit,
        ]
        for kind in kinds { try scene.say(kind) }
        let mallory = scene.groups[0].ownLeafIndex
        var content = CommitContent()
        content.removes = [mallory]
        let commit = try scene.groups[1].commit(
            content, signingKey: scene.clients[1].signingKey, validator: Doorkeeper(),
            at: later, preSharedKeys: scene.keys)
        #expect(commit.removed.map(\.index) == [mallory])
        // A key package of a client that is removed by the same commit is good.
        #expect(commit.leftOut.count == kinds.count - 1)
        #expect(commit.added.count == 1)
        guard
            case .commit(let staged) = try scene.groups[2].process(
                commit.message, validator: Doorkeeper(), at: later)
        else {
            Issue.record("not a commit")
            return
        }
        #expect(staged.epochAuthenticator == commit.epochAuthenticator)
    }

    @Test func `is looked at once for each sender if it changes what all must support`() throws {
        var scene = try Scene()
        for number in 0..<UInt8(20) {
            let strange = Extension(type: ExtensionType(rawValue: 0xF0C9), data: [number])
            try scene.say(.groupContextExtensions([strange]))
        }
        try scene.say(.groupContextExtensions([Extension(type: guest, data: [])]), from: 2)
        let group = scene.groups[1]
        var looks = 0
        let selection = try ProposalSelection(
            in: group, for: CommitContent(), inline: [], keys: PreSharedKeys()
        ) { (extensions: [Extension]) throws(MLSError) in
            looks += 1
            return try group.checks(
                extensions: extensions, validator: Anyone(), now: later, isSending: true)
        }
        #expect(selection.taken.map(\.reference) == scene.said.suffix(1))
        #expect(selection.leftOut.count == 20)
        // What the group has, and what each sender said last.
        #expect(looks == 3)
    }

    @Test func `is named if the caller asked for it`() throws {
        var scene = try Scene()
        let good = try scene.keyPackage(
            LeafConfiguration(credential: .basic(identity: [7])), key: SigningKey())
        let expired = try scene.keyPackage(
            LeafConfiguration(credential: .basic(identity: [7])), key: SigningKey(),
            until: Fixture.now + 9)
        var contents: [(CommitPart, MLSError, CommitContent)] = []
        var content = CommitContent()
        content.adds = [good, expired, expired]
        contents.append((.add(1), .invalid(.leafLifetime), content))
        content.adds = [good, good]
        contents.append((.add(1), .invalid(.duplicateAdd), content))
        content.adds = [good]
        content.preSharedKeys = [.external(id: [1]), .external(id: [9])]
        contents.append((.preSharedKey(1), .missingPreSharedKey, content))
        content.preSharedKeys = []
        content.removes = [2, 3, 2].map { LeafIndex(rawValue: $0) }
        contents.append(
            (.remove(LeafIndex(rawValue: 2)), .invalid(.oneChangePerLeaf), content))
        content.removes = []
        content.groupContextExtensions = [Extension(type: .requiredCapabilities, data: [9])]
        contents.append((.groupContextExtensions, .malformed, content))
        content = CommitContent()
        content.applicationProposals = [.custom(type: type, data: [])]
        contents.append((.applicationProposal(0), .invalid(.proposalTypeSupport), content))
        let before = scene.groups[1].serialized()
        for (part, reason, content) in contents {
            #expect(throws: MLSError.unsuitable(part, because: reason)) {
                _ = try scene.groups[1].commit(
                    content, signingKey: scene.clients[1].signingKey, validator: Doorkeeper(),
                    at: later, preSharedKeys: scene.keys)
            }
        }
        #expect(scene.groups[1].serialized() == before)
    }

    @Test func `yields to what the caller asks for`() throws {
        var scene = try Scene()
        // Each would do by itself, and can't be beside what the caller wants.
        let key = try SigningKey()
        let leaf = LeafConfiguration(credential: .basic(identity: [7]))
        try scene.say(.add(scene.keyPackage(leaf, key: key)))
        try scene.say(.groupContextExtensions([Extension(type: guest, data: [1])]))
        var content = CommitContent()
        content.adds = [try scene.keyPackage(leaf, key: key)]
        content.newSigningKey = try SigningKey()
        let commit = try scene.groups[1].commit(
            content, signingKey: scene.clients[1].signingKey, validator: Anyone(), at: later)
        #expect(commit.added.count == 1)
        #expect(
            commit.leftOut.map(\.reason) == [
                .invalid(.extensionSupport), .invalid(.duplicateAdd),
            ])
    }

    @Test func `of a ReInit ends the group with the committer's consent only`() throws {
        var scene = try Scene()
        try scene.say(.reInit)
        try scene.say(scene.preSharedKey(1))
        var content = CommitContent()
        content.acceptedReInit = scene.said[0]
        content.preSharedKeys = [.external(id: [1])]
        #expect(throws: MLSError.invalid(.reInitAlone)) {
            _ = try scene.groups[1].commit(
                content, signingKey: scene.clients[1].signingKey, validator: Anyone(),
                at: later, preSharedKeys: scene.keys)
        }
        content.preSharedKeys = []
        let commit = try scene.groups[1].commit(
            content, signingKey: scene.clients[1].signingKey, validator: Anyone(),
            at: later)
        #expect(commit.reInit?.groupID == [1])
        #expect(commit.leftOut.map(\.reason) == [.invalid(.reInitAlone)])
        try scene.groups[2].follow(commit.message)
        #expect(scene.groups[2].reInit == commit.reInit)
    }
}
