import Cryptography

@testable import MLS

private let type = ExtensionType(rawValue: 0xF0C3)
private let strange = CredentialType(rawValue: 0xF0C5)
private let newcomer = LeafConfiguration(credential: .basic(identity: [1, 2, 3]))
private let first = LeafIndex(rawValue: 0)

/// A commit that adds the client of an edited key package.
private func add(
    _ forgery: Forgery? = nil, validator: some CredentialValidator = Anyone(),
    _ edit: (inout Forgery.KeyPackageEdits) throws -> Void
) throws {
    let forgery = try forgery ?? Forgery()
    var edits = Forgery.KeyPackageEdits()
    try edit(&edits)
    try forgery.deliver(
        forgery.commit([.add(forgery.keyPackage(edits))]), validator: validator)
}

/// An empty commit with an edited path.
private func renew(
    validator: some CredentialValidator = Anyone(),
    _ edit: (inout Forgery.PathEdits, Forgery) throws -> Void
) throws {
    let forgery = try Forgery()
    var edits = Forgery.PathEdits()
    try edit(&edits, forgery)
    try forgery.deliver(forgery.commit([], path: forgery.path(edits)), validator: validator)
}

private func update(
    _ configuration: LeafConfiguration? = nil, source: LeafNodeSource = .update,
    place: LeafIndex? = nil, validator: some CredentialValidator = Anyone()
) throws {
    let forgery = try Forgery()
    try forgery.deliver(
        forgery.frame(
            .proposal(forgery.update(of: first, configuration, source: source, place: place))),
        validator: validator)
}

extension Clause {
    static let leaves: [Clause] = [
        Clause(.leafSignature, "an Update's leaf is signed for its place") {
            try update(place: LeafIndex(rawValue: 2))
        },
        Clause(.leafSignature, "an Update's leaf is signed for its group") {
            let forgery = try Forgery()
            try forgery.deliver(
                forgery.frame(.proposal(forgery.update(of: first, groupID: [1]))))
        },
        Clause(.leafSignature, "a path's leaf is signed for its place") {
            try renew { edits, _ in edits.place = LeafIndex(rawValue: 2) }
        },
        Clause(.leafSource, "an Update's leaf is not one of a key package") {
            try update(source: .keyPackage(Fixture.lifetime))
        },
        Clause(.leafSource, "an Update's leaf is not one of a commit") {
            try update(source: .commit(parentHash: []))
        },
        Clause(.leafSource, "a path's leaf is not one of a key package") {
            try renew { edits, _ in edits.source = .keyPackage(Fixture.lifetime) }
        },
        Clause(.leafSource, "a path's leaf is not one of an Update") {
            try renew { edits, _ in edits.source = .update }
        },
        Clause(.leafSupportsGroup, "a leaf supports the group's version") {
            try add {
                $0.capabilities = { $0.versions = [ProtocolVersion(rawValue: 0x0A0A)] }
            }
        },
        Clause(.leafSupportsGroup, "an Update's leaf supports the group's suite") {
            var leaf = newcomer
            leaf.capabilities.cipherSuites = [.x25519AES128]
            try update(leaf)
        },
        Clause(.leafSupportsGroup, "a path's leaf supports the group's suite") {
            try renew { edits, _ in
                edits.leaf = newcomer
                edits.leaf?.capabilities.cipherSuites = [.x25519AES128]
            }
        },
        Clause(.leafSupportsItself, "a leaf's credential is among its capabilities") {
            try add { $0.capabilities = { $0.credentials = [.x509] } }
        },
        Clause(.leafSupportsItself, "a path's leaf supports its own extensions") {
            try renew { edits, _ in
                edits.leaf = newcomer
                edits.leaf?.extensions = [Extension(type: type, data: [])]
            }
        },
        Clause(.extensionSupport, "a new member supports the group's extensions") {
            let forgery = try Forgery(
                extensions: [Extension(type: type, data: [])], supports: [type])
            try add(forgery) { _ in }
        },
        Clause(.extensionSupport, "a new member supports the extensions that its commit sets") {
            let forgery = try Forgery(supports: [type])
            try forgery.deliver(
                forgery.commit(
                    [
                        .groupContextExtensions([Extension(type: type, data: [])]),
                        .add(forgery.keyPackage()),
                    ], path: forgery.path(.init())))
        },
        Clause(.credentialTypeSupport, "members support the credential type of a new one") {
            try add {
                $0.configuration = LeafConfiguration(
                    credential: .unknown(type: strange, content: []))
                $0.capabilities = { $0.credentials = [.basic, strange] }
            }
        },
        Clause(.credentialTypeSupport, "members support the credential type of a path's leaf") {
            try renew { edits, _ in
                edits.leaf = LeafConfiguration(credential: .unknown(type: strange, content: []))
                edits.leaf?.capabilities.credentials = [.basic, strange]
            }
        },
        Clause(.credentialTypeSupport, "a path's leaf supports members' credential types") {
            try renew { edits, _ in
                edits.leaf = LeafConfiguration(credential: .x509(certificates: [[1]]))
                edits.leaf?.capabilities.credentials = [.x509]
            }
        },
        Clause(.credentialRefused, "the application accepts an added client") {
            try add(validator: Picky()) { _ in }
        },
        Clause(.credentialRefused, "the application accepts an Update's credential") {
            try update(
                LeafConfiguration(credential: .basic(identity: [9])),
                validator: Picky { $0.previous?.credential != $0.credential })
        },
        Clause(.credentialRefused, "the application accepts a path's credential") {
            try renew(validator: Picky { $0.previous?.credential != $0.credential }) { edits, _ in
                edits.leaf = LeafConfiguration(credential: .basic(identity: [9]))
            }
        },
        Clause(.leafLifetime, "a leaf's lifetime has begun") {
            try add {
                $0.source = .keyPackage(
                    Lifetime(notBefore: Fixture.now + 1, notAfter: Fixture.now + 9))
            }
        },
        Clause(.leafLifetimeLength, "a leaf's lifetime doesn't end before it begins") {
            try add {
                $0.source = .keyPackage(
                    Lifetime(notBefore: Fixture.now, notAfter: Fixture.now - 1))
            }
        },
        Clause(.publicKey, "a leaf's key has the suite's length") {
            try add { $0.encryptionKey = [1, 2, 3] }
        },
        Clause(.publicKey, "a path leaf's key has the suite's length") {
            try renew { edits, _ in edits.leafKey = [1, 2, 3] }
        },
        Clause(.uniqueEncryptionKey, "two new members have different encryption keys") {
            let forgery = try Forgery()
            var edits = Forgery.KeyPackageEdits()
            edits.encryptionKey = try HPKEPrivateKey.generate(forgery.algorithms).publicKey
            try forgery.deliver(
                forgery.commit([
                    .add(forgery.keyPackage(edits)), .add(forgery.keyPackage(edits)),
                ]))
        },
        Clause(.uniqueSignatureKey, "an Update has no other member's signature key") {
            var forgery = try Forgery()
            let leaf = LeafIndex(rawValue: 2)
            let taken = try forgery.update(of: leaf, signingKey: forgery.clients[3].signingKey)
            let entry = try forgery.tell(taken, from: leaf)
            try forgery.deliver(forgery.commit(covering: [entry], path: forgery.path(.init())))
        },
        Clause(.pathLength, "a path has no node too many") {
            try renew { edits, _ in edits.nodes = { $0 + $0.suffix(1) } }
        },
        Clause(.pathCiphertextCount, "a path has no ciphertext too few") {
            try renew { edits, _ in
                edits.nodes = { nodes in
                    nodes.map {
                        UpdatePathNode(
                            encryptionKey: $0.encryptionKey,
                            encryptedPathSecrets: $0.encryptedPathSecrets.edited { _ in [] })
                    }
                }
            }
        },
        Clause(.pathKeysAreNew, "a path's parent keys are nowhere in the tree yet") {
            try renew { edits, forgery in
                let taken = forgery.tree[LeafIndex(rawValue: 2)]?.encryptionKey ?? []
                edits.keys = { $0.dropLast() + [taken] }
            }
        },
        Clause(.pathKeysAreNew, "a path's keys differ from one another") {
            try renew { edits, _ in edits.keys = { keys in keys.map { _ in keys[0] } } }
        },
        Clause(.pathKeysAreNew, "a path's leaf has another key than its parents") {
            try renew { edits, forgery in
                let key = try HPKEPrivateKey.generate(forgery.algorithms).publicKey
                edits.leafKey = key
                edits.keys = { $0.dropLast() + [key] }
            }
        },
    ]

    static let keyPackages: [Clause] = [
        Clause(.keyPackageSuite, "a key package has the group's version") {
            try add { $0.version = ProtocolVersion(rawValue: 2) }
        },
        Clause(.duplicateExtension, "a key package has no extension twice") {
            try add {
                $0.extensions = [
                    Extension(type: .lastResort, data: []), Extension(type: .lastResort, data: []),
                ]
            }
        },
        Clause(.publicKey, "an init key has the suite's length") {
            try add { $0.initKey = [1, 2, 3] }
        },
        Clause(.keyPackageSignature, "a key package proposed by reference is signed, too") {
            let forgery = try Forgery()
            var edits = Forgery.KeyPackageEdits()
            edits.damagesSignature = true
            try forgery.deliver(forgery.frame(.proposal(.add(forgery.keyPackage(edits)))))
        },
        Clause(.duplicateAdd, "no member is added") {
            let forgery = try Forgery()
            try add(forgery) { $0.signingKey = forgery.clients[2].signingKey }
        },
    ]
}
