import Cryptography
import Testing

@testable import MLS

private let second = LeafIndex(rawValue: 2)
private let removeLast = Proposal.remove(LeafIndex(rawValue: 3))

private func propose(_ proposal: Proposal) throws {
    let forgery = try Forgery()
    try forgery.deliver(forgery.frame(.proposal(proposal)))
}

/// A content that comes from this kind of sender, signed by `key` or the named outsider.
private func send(_ content: MessageContent, as sender: Sender) throws {
    let forgery = try Forgery()
    try forgery.deliver(forgery.frame(content, sender: sender, key: forgery.server))
}

/// A commit that covers proposals of others; without a path, unless one is wanted.
private func commit(
    withPath: Bool = true, proposals: [ProposalType] = [.selfRemove],
    _ entries: (inout Forgery) throws -> [ProposalOrRef]
) throws {
    var forgery = try Forgery(proposals: proposals)
    let list = try entries(&forgery)
    try forgery.deliver(
        forgery.commit(covering: list, path: withPath ? forgery.path(.init()) : nil))
}

private func tie(_ usage: ResumptionUsage) -> PreSharedKeyID {
    PreSharedKeyID(
        source: .resumption(usage: usage, groupID: [1], epoch: 1),
        nonce: [UInt8](repeating: 1, count: 32))
}

private let twice = [
    Extension(type: .applicationID, data: []), Extension(type: .applicationID, data: [1]),
]

private func reInit(version: UInt16 = 1, extensions: [Extension] = []) -> Proposal {
    .reInit(
        ReInit(
            groupID: [1], version: ProtocolVersion(rawValue: version),
            cipherSuite: .x25519AES128, extensions: extensions))
}

extension Clause {
    static let senders: [Clause] = [
        Clause(.senderMaySend, "an external sender proposes no Update") {
            let forgery = try Forgery()
            try forgery.deliver(
                forgery.frame(
                    .proposal(forgery.update(of: second)), sender: .external(index: 0),
                    key: forgery.server))
        },
        Clause(.senderMaySend, "an external sender proposes no SelfRemove") {
            try send(.proposal(.selfRemove), as: .external(index: 0))
        },
        Clause(.senderMaySend, "an external sender commits nothing") {
            try send(.commit(Commit(proposals: [], path: nil)), as: .external(index: 0))
        },
        Clause(.senderMaySend, "a newcomer proposes nothing but its own Add") {
            try send(.proposal(removeLast), as: .newMemberProposal)
        },
        Clause(.senderMaySend, "a newcomer's proposal is no commit") {
            try send(.commit(Commit(proposals: [], path: nil)), as: .newMemberProposal)
        },
        Clause(.senderMaySend, "a newcomer's commit is no proposal") {
            try send(.proposal(removeLast), as: .newMemberCommit)
        },
        Clause(.senderMaySend, "an external sender proposes nothing that is for members") {
            let type = ProposalType(rawValue: 0xF0C2)
            var forgery = try Forgery()
            forgery.groups[1].policy.applicationProposals[type] = ApplicationProposalRules()
            try forgery.deliver(
                forgery.frame(
                    .proposal(.application(.custom(type: type, data: []))),
                    sender: .external(index: 0), key: forgery.server))
        },
        Clause(.externalInitInside, "an external sender proposes no ExternalInit") {
            try send(.proposal(.externalInit(kemOutput: [])), as: .external(index: 0))
        },
        Clause(.senderMaySend, "a SelfRemove is sent by itself, never in a commit") {
            try commit { _ in [.proposal(.selfRemove)] }
        },
        Clause(.contentSignature, "a newcomer signs its own Add") {
            let forgery = try Forgery()
            try forgery.deliver(
                forgery.frame(
                    .proposal(.add(forgery.keyPackage())), sender: .newMemberProposal,
                    key: forgery.server))
        },
        Clause(.contentSignature, "an external commit is signed with its leaf's key") {
            let forgery = try Forgery()
            try forgery.deliver(
                forgery.frame(
                    .commit(
                        Commit(
                            proposals: [.proposal(.externalInit(kemOutput: []))],
                            path: forgery.path(.init()))),
                    sender: .newMemberCommit, key: forgery.server))
        },
        Clause(.contentSignature, "an external sender signs with the key on the list") {
            let forgery = try Forgery()
            try forgery.deliver(
                forgery.frame(.proposal(removeLast), sender: .external(index: 0)))
        },
        Clause(.contentSignature, "a member signs with its own key") {
            let forgery = try Forgery()
            try forgery.deliver(
                forgery.frame(.proposal(removeLast), sender: .member(second)))
        },
        Clause(.externalSender, "a group without a list has no external senders") {
            let clients = [try Client("a"), try Client("b")]
            var group = try Fixture.group(of: clients)[0]
            let message = try Group.externalProposal(
                removeLast, groupID: group.groupID, epoch: 1, suite: group.suite, senderIndex: 0,
                signingKey: clients[1].signingKey)
            _ = try group.process(message, validator: Anyone(), at: Fixture.now)
        },
        Clause(.senderIsMember, "no PrivateMessage comes from a blank leaf") {
            var forgery = try Forgery()
            try forgery.remove(second)
            try forgery.deliver(forgery.encrypted([1], claiming: second))
        },
        Clause(.senderIsMember, "no PublicMessage comes from a blank leaf") {
            var forgery = try Forgery()
            try forgery.remove(second)
            try forgery.deliver(forgery.frame(.proposal(removeLast), sender: .member(second)))
        },
        Clause(.senderIsMember, "no SelfRemove that an external joiner covers is of a blank leaf") {
            var forgery = try Forgery()
            try forgery.remove(second)
            let newcomer = try Client("newcomer")
            _ = try Group.joinExternally(
                groupInfo: forgery.groups[0].groupInfo(
                    allowsJoining: true, signingKey: forgery.clients[0].signingKey),
                leaf: newcomer.leaf, signingKey: newcomer.signingKey,
                selfRemoves: [forgery.frame(.proposal(.selfRemove), sender: .member(second))],
                validator: Anyone(), at: Fixture.now, policy: forgery.policy)
        },
        Clause(.applicationIsPrivate, "no outsider sends application data") {
            try send(.application([1]), as: .external(index: 0))
        },
    ]

    static let proposals: [Clause] = [
        Clause(.removedIsMember, "a proposed Remove is of a member") {
            try propose(.remove(LeafIndex(rawValue: 9)))
        },
        Clause(.removedIsMember, "a proposed Remove is not of a blank leaf") {
            var forgery = try Forgery()
            try forgery.remove(second)
            try forgery.deliver(forgery.frame(.proposal(.remove(second))))
        },
        Clause(.removedIsMember, "a committed Remove is not of a blank leaf") {
            var forgery = try Forgery()
            try forgery.remove(second)
            try forgery.deliver(
                forgery.commit([.remove(second)], path: forgery.path(.init())))
        },
        Clause(.preSharedKeyNonce, "a proposed pre-shared key's nonce has the right length") {
            try propose(
                .preSharedKey(PreSharedKeyID(source: .external(id: [1]), nonce: [1])))
        },
        Clause(.preSharedKeyUsage, "no key for re-initialization is proposed") {
            try propose(.preSharedKey(tie(.reInit)))
        },
        Clause(.preSharedKeyUsage, "no key for a branch is proposed") {
            try propose(.preSharedKey(tie(.branch)))
        },
        Clause(.preSharedKeyUsage, "no key for re-initialization is committed") {
            try commit { _ in [.proposal(.preSharedKey(tie(.reInit)))] }
        },
        Clause(.reInitVersion, "a proposed ReInit's version is no older than the group's") {
            try propose(reInit(version: 0))
        },
        Clause(.externalInitInside, "no member proposes an ExternalInit") {
            try propose(.externalInit(kemOutput: []))
        },
        Clause(.duplicateExtension, "a proposed list of extensions has none twice") {
            try propose(
                .groupContextExtensions(twice))
        },
        Clause(.duplicateExtension, "a committed list of extensions has none twice") {
            try commit { _ in
                [.proposal(.groupContextExtensions(twice))]
            }
        },
        Clause(.externalSender, "a committed list of external senders can be read") {
            try commit { _ in
                [
                    .proposal(
                        .groupContextExtensions([Extension(type: .externalSenders, data: [1])]))
                ]
            }
        },
        Clause(.credentialRefused, "the application accepts the external senders of a commit") {
            struct MembersOnly: CredentialValidator {
                func accepts(_ subject: CredentialSubject) -> Bool { true }
            }
            let forgery = try Forgery()
            try forgery.deliver(
                forgery.commit(
                    [
                        .groupContextExtensions([
                            ExternalSender.groupContextExtension([
                                ExternalSender(
                                    signatureKey: SigningKey().publicKey.bytes,
                                    credential: .basic(identity: [8]))
                            ])
                        ])
                    ], path: forgery.path(.init())), validator: MembersOnly())
        },
        Clause(.knownProposal, "the application knows a proposed type") {
            try propose(.application(.custom(type: ProposalType(rawValue: 0xF0C2), data: [])))
        },
        Clause(.committerUpdate, "a committer doesn't cover its own Update") {
            try commit { forgery in
                [try forgery.tell(forgery.update(of: forgery.own), from: forgery.own)]
            }
        },
        Clause(.committerRemove, "a committer doesn't cover another's Remove of itself") {
            try commit { forgery in [try forgery.tell(.remove(forgery.own), from: second)] }
        },
        Clause(.committerRemove, "a committer doesn't cover its own SelfRemove") {
            try commit { forgery in [try forgery.tell(.selfRemove, from: forgery.own)] }
        },
        Clause(.oneChangePerLeaf, "no leaf is both updated and removed") {
            try commit { forgery in
                [
                    try forgery.tell(forgery.update(of: second), from: second),
                    .proposal(.remove(second)),
                ]
            }
        },
        Clause(.oneChangePerLeaf, "no leaf is updated twice") {
            try commit { forgery in
                [
                    try forgery.tell(forgery.update(of: second), from: second),
                    try forgery.tell(forgery.update(of: second), from: second),
                ]
            }
        },
        Clause(.oneChangePerLeaf, "no Remove stands beside a SelfRemove of the same leaf") {
            try commit { forgery in
                [try forgery.tell(.selfRemove, from: second), .proposal(.remove(second))]
            }
        },
        Clause(.oneChangePerLeaf, "no Update stands beside a SelfRemove of the same leaf") {
            try commit { forgery in
                [
                    try forgery.tell(forgery.update(of: second), from: second),
                    try forgery.tell(.selfRemove, from: second),
                ]
            }
        },
        Clause(.oneChangePerLeaf, "no two SelfRemoves of one leaf are covered") {
            try commit { forgery in
                [
                    try forgery.tell(.selfRemove, from: second),
                    try forgery.tell(.selfRemove, from: second, authenticatedData: [1]),
                ]
            }
        },
        Clause(.duplicateReference, "no proposal of the application is covered twice") {
            let type = ProposalType(rawValue: 0xF0C2)
            try commit(proposals: [type]) { forgery in
                forgery.groups[1].policy.applicationProposals[type] = ApplicationProposalRules()
                let entry = try forgery.tell(
                    .application(.custom(type: type, data: [])), from: second)
                return [entry, entry]
            }
        },
        Clause(.refusedByPolicy, "a proposal is no longer than allowed") {
            let forgery = try Forgery()
            try propose(
                .preSharedKey(
                    PreSharedKeyID(
                        source: .external(
                            id: [UInt8](
                                repeating: 0, count: forgery.policy.maximumProposalByteCount)),
                        nonce: [UInt8](repeating: 1, count: 32))))
        },
        Clause(.duplicateExtension, "a proposed ReInit has no extension twice") {
            try propose(reInit(extensions: twice))
        },
        Clause(.duplicateExtension, "a committed ReInit has no extension twice") {
            try commit(withPath: false) { _ in [.proposal(reInit(extensions: twice))] }
        },
        Clause(.uniqueParentKey, "nobody is added with the key of a parent") {
            var forgery = try Forgery()
            var edits = Forgery.KeyPackageEdits()
            edits.encryptionKey = forgery.tree.parents.last?.node.encryptionKey
            var content = CommitContent()
            content.adds = [try forgery.keyPackage(edits)]
            do {
                _ = try forgery.groups[0].commit(content, by: forgery.clients[0])
            } catch MLSError.unsuitable(.add(0), let reason) {
                throw reason
            }
        },
        Clause(.uniqueParentKey, "no new member has the key of a parent") {
            let forgery = try Forgery()
            var edits = Forgery.KeyPackageEdits()
            edits.encryptionKey = forgery.tree.parents.last?.node.encryptionKey
            try forgery.deliver(forgery.commit([.add(forgery.keyPackage(edits))]))
        },
        Clause(.misuse(.alreadyLeaving), "a member sends one SelfRemove in an epoch") {
            let clients = [try Client("a"), try Client("b")]
            var group = try Fixture.group(of: clients)[0]
            for _ in 0..<2 {
                _ = try group.propose(.selfRemove, by: clients[0])
            }
        },
        Clause(.proposalTypeSupport, "a member proposes only what all know") {
            let clients = [try Client("a"), try Client("b", proposals: [])]
            var group = try Fixture.group(of: clients)[0]
            _ = try group.propose(.selfRemove, by: clients[0])
        },
        Clause(.reInitAlone, "a ReInit stands not beside another") {
            try commit { _ in [.proposal(reInit()), .proposal(reInit())] }
        },
        Clause(.missingProposal, "a commit covers proposals that have come") {
            try commit { _ in [.reference(ProposalRef(bytes: Random.bytes(32)))] }
        },
        Clause(.pathRequired, "an empty commit has a path") {
            try commit(withPath: false) { _ in [] }
        },
        Clause(.pathRequired, "a commit of an Update has a path") {
            try commit(withPath: false) { forgery in
                [try forgery.tell(forgery.update(of: second), from: second)]
            }
        },
        Clause(.pathRequired, "a commit of a SelfRemove has a path") {
            try commit(withPath: false) { forgery in
                [try forgery.tell(.selfRemove, from: second)]
            }
        },
        Clause(.pathRequired, "a commit of new extensions has a path") {
            try commit(withPath: false) { _ in [.proposal(.groupContextExtensions([]))] }
        },
        Clause(.pathRequired, "a commit that changes the own leaf has a path") {
            let client = try Client("a")
            var group = try Fixture.group(of: [client])[0]
            var content = CommitContent()
            content.forcesPath = false
            content.newSigningKey = try SigningKey()
            content.adds = [try Client("b").bundle(group.suite).keyPackage]
            _ = try group.commit(content, by: client)
        },
    ]

    static let externalCommits: [Clause] = [
        Clause(.externalCommitShape, "an external commit has a path") {
            let forgery = try Forgery()
            try forgery.deliver(forgery.externalCommit(withPath: false))
        },
        Clause(.externalCommitShape, "an external commit has no second ExternalInit") {
            let forgery = try Forgery()
            try forgery.deliver(forgery.externalCommit { $0 + $0 })
        },
        Clause(.externalCommitProposals, "an external commit has no second Remove") {
            let forgery = try Forgery()
            try forgery.deliver(
                forgery.externalCommit {
                    $0 + [.proposal(removeLast), .proposal(.remove(second))]
                })
        },
        Clause(.externalCommitProposals, "an external commit covers no Remove by reference") {
            var forgery = try Forgery()
            let entry = try forgery.tell(removeLast, from: second)
            try forgery.deliver(forgery.externalCommit { $0 + [entry] })
        },
        Clause(.externalCommitProposals, "an external commit covers no Update by reference") {
            var forgery = try Forgery()
            let entry = try forgery.tell(forgery.update(of: second), from: second)
            try forgery.deliver(forgery.externalCommit { $0 + [entry] })
        },
        Clause(.externalCommitProposals, "an external commit covers no pre-shared key by reference")
        {
            var forgery = try Forgery()
            let entry = try forgery.tell(forgery.preSharedKey(), from: second)
            try forgery.deliver(forgery.externalCommit { $0 + [entry] })
        },
        Clause(.externalCommitProposals, "an external commit has no SelfRemove by value") {
            let forgery = try Forgery()
            try forgery.deliver(forgery.externalCommit { $0 + [.proposal(.selfRemove)] })
        },
        Clause(.externalCommitProposals, "an external commit has no Update") {
            let forgery = try Forgery()
            try forgery.deliver(
                forgery.externalCommit { $0 + [.proposal(try forgery.update(of: second))] })
        },
        Clause(.externalCommitProposals, "an external commit has no ReInit") {
            let forgery = try Forgery()
            try forgery.deliver(forgery.externalCommit { $0 + [.proposal(reInit())] })
        },
        Clause(.externalCommitProposals, "an external commit has no new extensions") {
            let forgery = try Forgery()
            try forgery.deliver(
                forgery.externalCommit { $0 + [.proposal(.groupContextExtensions([]))] })
        },
        Clause(.externalCommitProposals, "an ExternalInit's KEM output can be decapsulated") {
            let forgery = try Forgery()
            try forgery.deliver(
                forgery.externalCommit { _ in [.proposal(.externalInit(kemOutput: [1, 2]))] })
        },
        Clause(.removedIsMember, "an external commit removes a member") {
            let forgery = try Forgery()
            try forgery.deliver(
                forgery.externalCommit { $0 + [.proposal(.remove(LeafIndex(rawValue: 9)))] })
        },
        Clause(.preSharedKeyUsage, "an external commit has no key for a branch") {
            let forgery = try Forgery()
            try forgery.deliver(
                forgery.externalCommit { $0 + [.proposal(.preSharedKey(tie(.branch)))] })
        },
        Clause(.credentialRefused, "the application accepts who joins by an external commit") {
            let forgery = try Forgery()
            try forgery.deliver(
                forgery.externalCommit(), validator: Picky { $0.previous == nil })
        },
        Clause(
            .uniqueSignatureKey, "who joins by an external commit has no member's signature key"
        ) {
            let forgery = try Forgery()
            try forgery.deliver(
                forgery.externalCommit(.init(signingKey: forgery.clients[2].signingKey)))
        },
        Clause(.leafSource, "an external commit's leaf is one of a commit") {
            let forgery = try Forgery()
            try forgery.deliver(
                forgery.externalCommit(.init(source: .keyPackage(Fixture.lifetime))))
        },
        Clause(.leafParentHash, "an external commit's leaf states the right parent hash") {
            let forgery = try Forgery()
            try forgery.deliver(forgery.externalCommit(.init(source: .commit(parentHash: []))))
        },
        Clause(.leafSupportsGroup, "an external commit's leaf supports the group's suite") {
            let forgery = try Forgery()
            var leaf = forgery.clients[0].leaf
            leaf.capabilities.cipherSuites = [.x25519AES128]
            try forgery.deliver(forgery.externalCommit(.init(leaf: leaf)))
        },
        Clause(
            .credentialTypeSupport,
            "members support the credential type of who joins by an external commit"
        ) {
            let forgery = try Forgery()
            let strange = CredentialType(rawValue: 0xF0C5)
            var leaf = LeafConfiguration(credential: .unknown(type: strange, content: []))
            leaf.capabilities.credentials = [.basic, strange]
            try forgery.deliver(forgery.externalCommit(.init(leaf: leaf)))
        },
        Clause(
            .resyncIdentity, "who removes a leaf by an external commit is that client, for itself"
        ) {
            let forgery = try Forgery()
            let stranger = try Client("stranger")
            _ = try Group.joinExternally(
                groupInfo: forgery.groups[0].groupInfo(
                    allowsJoining: true, signingKey: forgery.clients[0].signingKey),
                leaf: stranger.leaf, signingKey: stranger.signingKey, replacing: second,
                validator: Anyone(), at: Fixture.now, policy: forgery.policy)
        },
        Clause(.refusedByPolicy, "external commits are allowed") {
            var forgery = try Forgery()
            forgery.groups[1].policy.acceptsExternalCommits = false
            try forgery.deliver(forgery.externalCommit())
        },
        Clause(.refusedByPolicy, "newcomers' proposals are allowed") {
            let forgery = try Forgery()
            let key = try SigningKey()
            var edits = Forgery.KeyPackageEdits()
            edits.signingKey = key
            try forgery.deliver(
                forgery.frame(
                    .proposal(.add(forgery.keyPackage(edits))), sender: .newMemberProposal,
                    key: key))
        },
    ]
}
