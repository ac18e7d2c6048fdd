import Cryptography
import TLSSyntax

@testable import MLS

private let type = ExtensionType(rawValue: 0xF0C3)

private func join(
    victim: LeafConfiguration? = nil, attacker: LeafConfiguration? = nil,
    validator: some CredentialValidator = Anyone(), _ edit: (inout WelcomeForgery) throws -> Void
) throws {
    var forgery = try WelcomeForgery(victim: victim, attacker: attacker)
    try edit(&forgery)
    _ = try forgery.join(validator: validator)
}

/// Joins by an external commit with an edited GroupInfo, signed again.
private func joinExternally(
    validator: some CredentialValidator = Anyone(), _ edit: ([Extension]) -> [Extension]
) throws {
    let forgery = try Forgery()
    guard
        case .groupInfo(let info) = try MLSMessage(
            decoding: forgery.groups[0].groupInfo(
                allowsJoining: true, signingKey: forgery.clients[0].signingKey))
    else { throw MLSError.misuse(.wrongMessageKind) }
    func edited(_ signature: [UInt8]) -> GroupInfo {
        GroupInfo(
            groupContext: info.groupContext, extensions: edit(info.extensions),
            confirmationTag: info.confirmationTag, signer: info.signer, signature: signature)
    }
    let signature = try forgery.algorithms.sign(
        edited([]).toBeSigned, label: "GroupInfoTBS", with: forgery.clients[0].signingKey)
    let newcomer = try Client("newcomer")
    _ = try Group.joinExternally(
        groupInfo: MLSMessage.groupInfo(edited(signature)).encoded(), leaf: newcomer.leaf,
        signingKey: newcomer.signingKey, validator: validator, at: Fixture.now,
        policy: forgery.policy)
}

/// An encoded tree of these nodes.
private func encoded(_ nodes: [Node?]) -> [UInt8] {
    var writer = TLSWriter()
    writer.writeVector { content in
        for node in nodes { content.write(optional: node) }
    }
    return writer.bytes
}

/// Eight leaves and parents above some, with these leaves unmerged.
private func joinTree(unmerged: [NodeIndex: [UInt32]]) throws {
    try join { forgery in
        for _ in 2..<8 { _ = try forgery.tree.add(WelcomeForgery.leaf()) }
        for (index, leaves) in unmerged { try forgery.setParent(at: index, unmerged: leaves) }
    }
}

extension Clause {
    static let welcomes: [Clause] = [
        Clause(.confirmationTag, "a Welcome's GroupInfo has the right confirmation tag") {
            try join { $0.confirmationTag = { $0.reversed() } }
        },
        Clause(.welcomeSuite, "a Welcome is for a key package of its own suite") {
            try join { $0.suite = .x25519AES128 }
        },
        Clause(.preSharedKeyNonce, "a Welcome's pre-shared keys have nonces of the right length") {
            try join {
                $0.preSharedKeys = [PreSharedKeyID(source: .external(id: [1]), nonce: [1])]
            }
        },
        Clause(.duplicateExtension, "a GroupInfo has no extension twice") {
            try join {
                $0.infoExtensions = {
                    $0 + [Extension(type: type, data: []), Extension(type: type, data: [1])]
                }
            }
        },
        Clause(.duplicateExtension, "a joined group's context has no extension twice") {
            try join {
                $0.context = {
                    $0.extensions = [
                        Extension(type: .applicationID, data: []),
                        Extension(type: .applicationID, data: [1]),
                    ]
                }
            }
        },
        Clause(.externalSender, "a joined group's list of external senders can be read") {
            try join {
                $0.context = { $0.extensions = [Extension(type: .externalSenders, data: [1])] }
            }
        },
        Clause(.extensionSupport, "who joins supports the group's extensions") {
            try join(
                attacker: LeafConfiguration(
                    credential: .basic(identity: [1]), supportedExtensions: [type])
            ) { $0.context = { $0.extensions = [Extension(type: type, data: [])] } }
        },
        Clause(.extensionSupport, "all members found on joining support the group's extensions") {
            try join(
                victim: LeafConfiguration(
                    credential: .basic(identity: [1]), supportedExtensions: [type])
            ) { $0.context = { $0.extensions = [Extension(type: type, data: [])] } }
        },
        Clause(.groupInfoSignature, "a GroupInfo's signer is a member") {
            try join { $0.signer = LeafIndex(rawValue: 9) }
        },
        Clause(.groupInfoSignature, "a GroupInfo is signed by the member it names") {
            try join { $0.signer = LeafIndex(rawValue: 1) }
        },
        Clause(.pathKeys, "a Welcome's path secret gives the keys of the tree") {
            try join { $0.pathSecret = PathSecret(.random(count: 32)) }
        },
        Clause(.pathSecret, "a Welcome's path secret is not one of the joiner's own path") {
            try join { forgery in
                forgery.signer = LeafIndex(rawValue: 1)
                forgery.signingKey = forgery.victimKey
                forgery.pathSecret = PathSecret(.random(count: 32))
            }
        },
        Clause(.credentialRefused, "the application accepts every member found on joining") {
            try join(validator: Picky { $0.credential == .basic(identity: [1]) }) { _ in }
        },
        Clause(
            .credentialRefused, "the application accepts every member that an external joiner finds"
        ) {
            try joinExternally(validator: Picky()) { $0 }
        },
        Clause(.publicKey, "the key for external commits has the suite's length") {
            try joinExternally { extensions in
                extensions.map {
                    $0.type == .externalPub
                        ? Extension(type: .externalPub, data: ExternalPub(key: [1, 2]).encoded())
                        : $0
                }
            }
        },
        Clause(.treeShape, "who joins has the tree") {
            try joinExternally { $0.filter { $0.type != .ratchetTree } }
        },
    ]

    static let trees: [Clause] = [
        Clause(.treeShape, "a tree has a node") { try join { $0.encoded = { _ in encoded([]) } } },
        Clause(.treeShape, "no parent stands in a leaf's place") {
            try join {
                $0.encoded = { _ in
                    encoded([.parent(ParentNode(encryptionKey: [1], parentHash: []))])
                }
            }
        },
        Clause(.treeShape, "no leaf stands in a parent's place") {
            try join {
                $0.encoded = { _ in
                    let leaf = Node.leaf(try WelcomeForgery.leaf())
                    return encoded([leaf, leaf])
                }
            }
        },
        Clause(.parentHash, "who put a parent into a tree states its hash") {
            try join { forgery in
                let first = LeafIndex(rawValue: 0)
                forgery.tree.set(
                    first.node,
                    to: .leaf(
                        try LeafNode(
                            LeafConfiguration(credential: .basic(identity: [1])),
                            encryptionKey: HPKEPrivateKey.generate(forgery.algorithms).publicKey,
                            source: .commit(parentHash: Random.bytes(32)),
                            place: LeafNode.Place(groupID: [1, 2], leaf: first),
                            signingKey: forgery.attackerKey, algorithms: forgery.algorithms)))
                try forgery.setParent(at: forgery.tree.width.root)
            }
        },
        Clause(.leafSignature, "every leaf of a tree is signed") {
            try join { forgery in
                let leaf = try WelcomeForgery.leaf()
                _ = try forgery.tree.add(
                    LeafNode(
                        encryptionKey: leaf.encryptionKey, signatureKey: leaf.signatureKey,
                        credential: .basic(identity: [99]), capabilities: leaf.capabilities,
                        source: leaf.source, extensions: [], signature: leaf.signature))
            }
        },
        Clause(.publicKey, "every leaf key of a tree has the suite's length") {
            try join { _ = try $0.tree.add(WelcomeForgery.leaf(encryptionKey: [1, 2, 3])) }
        },
        Clause(.publicKey, "every parent key of a tree has the suite's length") {
            try join {
                $0.tree.set(
                    $0.tree.width.root,
                    to: .parent(ParentNode(encryptionKey: [1, 2, 3], parentHash: [])))
            }
        },
        Clause(.uniqueParentKey, "no two leaves of a tree have one encryption key") {
            try join { forgery in
                let taken = forgery.tree[LeafIndex(rawValue: 0)]?.encryptionKey
                _ = try forgery.tree.add(WelcomeForgery.leaf(encryptionKey: taken))
            }
        },
        Clause(.uniqueSignatureKey, "no two leaves of a tree have one signature key") {
            try join { forgery in
                _ = try forgery.tree.add(WelcomeForgery.leaf(signingKey: forgery.attackerKey))
            }
        },
        Clause(
            .credentialTypeSupport, "all leaves of a tree support one another's credential types"
        ) {
            var leaf = LeafConfiguration(credential: .x509(certificates: [[1]]))
            leaf.capabilities.credentials = [.x509]
            try join(attacker: leaf) { _ in }
        },
        Clause(.unmergedLeaves, "unmerged leaves are sorted") {
            try joinTree(unmerged: [NodeIndex(7): [2, 1]])
        },
        Clause(.unmergedLeaves, "no unmerged leaf is listed twice") {
            try joinTree(unmerged: [NodeIndex(7): [1, 1]])
        },
        Clause(.unmergedLeaves, "an unmerged leaf is not blank") {
            try join { forgery in
                for _ in 2..<4 { _ = try forgery.tree.add(WelcomeForgery.leaf()) }
                forgery.tree.remove(LeafIndex(rawValue: 2))
                try forgery.setParent(at: forgery.tree.width.root, unmerged: [2])
            }
        },
        Clause(.unmergedLeaves, "an unmerged leaf stands below its parent") {
            try joinTree(unmerged: [NodeIndex(3): [5]])
        },
        Clause(.unmergedLeaves, "an unmerged leaf is listed by every parent between") {
            try joinTree(unmerged: [NodeIndex(7): [1], NodeIndex(3): []])
        },
    ]
}
