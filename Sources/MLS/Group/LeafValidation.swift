internal import Cryptography
internal import TLSSyntax

/// What leaves are checked against (RFC 9420 §7.3).
struct LeafChecks {
    let algorithms: CipherAlgorithms
    let groupID: [UInt8]
    let extensions: [Extension]
    let policy: GroupPolicy
    let validator: any CredentialValidator
    let now: UnixSeconds
    /// Leaves of our own messages must be within their lifetime; received ones by policy.
    let isSending: Bool

    // What leaves have to list, each type once: whatever lists there are, leaves and group are gone
    // through one after the other.
    private let extensionTypes: Set<ExtensionType>
    private let requiredExtensions: Set<ExtensionType>
    private let requiredProposals: Set<ProposalType>
    private let requiredCredentials: Set<CredentialType>

    init(
        algorithms: CipherAlgorithms, groupID: [UInt8], extensions: [Extension],
        policy: GroupPolicy, validator: any CredentialValidator, now: UnixSeconds,
        isSending: Bool
    ) throws(MLSError) {
        guard extensions.hasDistinctTypes else { throw .invalid(.duplicateExtension) }
        let required = try extensions.decoded(
            .requiredCapabilities, as: RequiredCapabilities.self)
        extensionTypes = Set(extensions.lazy.map(\.type).filter { !$0.isDefault })
        requiredExtensions = Set((required?.extensions ?? []).lazy.filter { !$0.isDefault })
        requiredProposals = Set((required?.proposals ?? []).lazy.filter { !$0.isDefault })
        requiredCredentials = Set(required?.credentials ?? [])
        self.algorithms = algorithms
        self.groupID = groupID
        self.extensions = extensions
        self.policy = policy
        self.validator = validator
        self.now = now
        self.isSending = isSending
    }

    /// Where a leaf was found, which decides on its source (RFC 9420 §7.3).
    enum Role {
        case keyPackage
        case update(LeafIndex, replacing: LeafNode)
        case commit(LeafIndex, replacing: LeafNode?)
        case tree(LeafIndex)
    }

    /// Checks one leaf by itself, its credential included.
    ///
    /// - Parameter isSigned: whether its signature is known to hold in this place.
    func validate(_ leaf: LeafNode, as role: Role, isSigned: Bool = false) throws(MLSError) {
        let index: LeafIndex?
        var previous: LeafNode?
        switch role {
        case .keyPackage:
            guard case .keyPackage = leaf.source else { throw .invalid(.leafSource) }
            index = nil
        case .update(let place, let old):
            guard case .update = leaf.source else { throw .invalid(.leafSource) }
            index = place
            previous = old
        case .commit(let place, let old):
            guard case .commit = leaf.source else { throw .invalid(.leafSource) }
            index = place
            previous = old
        case .tree(let place):
            index = place
        }
        if let previous, previous.encryptionKey == leaf.encryptionKey {
            throw .invalid(.leafKeyIsNew)
        }
        let place = index.map { LeafNode.Place(groupID: groupID, leaf: $0) }
        guard
            isSigned
                || algorithms.isValid(
                    signature: leaf.signature, of: leaf.toBeSigned(at: place),
                    label: "LeafNodeTBS", by: leaf.signatureKey)
        else { throw .invalid(.leafSignature) }
        try validateCapabilities(of: leaf)
        try validateLifetime(of: leaf)
        guard algorithms.isPublicKey(leaf.encryptionKey) else { throw .invalid(.publicKey) }
        let subject = CredentialSubject(
            credential: leaf.credential, signatureKey: leaf.signatureKey,
            extensions: leaf.extensions, previous: previous, groupID: groupID, now: now)
        guard validator.accepts(subject) else { throw .credentialRefused }
    }

    /// Checks that a leaf supports itself and the group (RFC 9420 §7.2, §7.3, §13.4).
    func validateCapabilities(of leaf: LeafNode) throws(MLSError) {
        let capabilities = leaf.capabilities
        guard leaf.extensions.hasDistinctTypes else { throw .invalid(.duplicateExtension) }
        let types = Set(leaf.extensions.lazy.map(\.type).filter { !$0.isDefault })
        guard types.isSubset(of: capabilities.extensions),
            capabilities.credentials.contains(leaf.credential.type)
        else { throw .invalid(.leafSupportsItself) }
        guard capabilities.versions.contains(.mls10),
            capabilities.cipherSuites.contains(algorithms.suite)
        else { throw .invalid(.leafSupportsGroup) }
        guard requiredExtensions.isSubset(of: capabilities.extensions),
            requiredProposals.isSubset(of: capabilities.proposals),
            requiredCredentials.isSubset(of: capabilities.credentials)
        else { throw .invalid(.leafSupportsGroup) }
        guard extensionTypes.isSubset(of: capabilities.extensions) else {
            throw .invalid(.extensionSupport)
        }
    }

    private func validateLifetime(of leaf: LeafNode) throws(MLSError) {
        guard let lifetime = leaf.lifetime else { return }
        guard lifetime.notBefore <= lifetime.notAfter,
            lifetime.notAfter - lifetime.notBefore <= policy.maximumLifetimeSeconds
        else { throw .invalid(.leafLifetimeLength) }
        if isSending || policy.checksLifetimeOnReceipt, !lifetime.contains(now) {
            throw .invalid(.leafLifetime)
        }
    }

    /// Checks a key package (RFC 9420 §10.1), its leaf included.
    ///
    /// - Parameter isSigned: whether both signatures are known to hold.
    func validate(_ keyPackage: KeyPackage, isSigned: Bool = false) throws(MLSError) {
        guard keyPackage.version == .mls10, keyPackage.cipherSuite == algorithms.suite else {
            throw .invalid(.keyPackageSuite)
        }
        guard keyPackage.extensions.hasDistinctTypes else {
            throw .invalid(.duplicateExtension)
        }
        guard algorithms.isPublicKey(keyPackage.initKey) else { throw .invalid(.publicKey) }
        guard keyPackage.initKey != keyPackage.leafNode.encryptionKey else {
            throw .invalid(.initKeyDiffers)
        }
        try validate(keyPackage.leafNode, as: .keyPackage, isSigned: isSigned)
        guard
            isSigned
                || algorithms.isValid(
                    signature: keyPackage.signature, of: keyPackage.toBeSigned,
                    label: "KeyPackageTBS", by: keyPackage.leafNode.signatureKey)
        else { throw .invalid(.keyPackageSignature) }
    }

    /// Asks about those outside who may propose, unless they could before (RFC 9420 §5.3.1).
    func validateExternalSenders(known: [Extension] = []) throws(MLSError) {
        guard extensions[.externalSenders] != known[.externalSenders] else { return }
        let list: ExternalSenders?
        do {
            list = try extensions.decoded(.externalSenders, as: ExternalSenders.self)
        } catch {
            throw .invalid(.externalSender)
        }
        for sender in list?.senders ?? [] {
            guard validator.accepts(sender, groupID: groupID) else { throw .credentialRefused }
        }
    }

    /// Checks what leaves have to have in common or apart (RFC 9420 §7.3).
    func validateTogether(_ tree: RatchetTree) throws(MLSError) {
        try validateIdentities(of: tree)
        var encryptionKeys = DistinctKeys(expecting: tree.width.rawValue)
        try tree.forEachLeaf { (_, leaf) throws(MLSError) in
            guard encryptionKeys.insert(leaf.encryptionKey) else {
                throw .invalid(.uniqueEncryptionKey)
            }
        }
    }

    /// The same for a tree whose encryption keys are known to differ.
    func validateIdentities(of tree: RatchetTree) throws(MLSError) {
        var signatureKeys = DistinctKeys(expecting: tree.width.rawValue)
        var types = Set<CredentialType>()
        try tree.forEachLeaf { (_, leaf) throws(MLSError) in
            guard signatureKeys.insert(leaf.signatureKey) else {
                throw .invalid(.uniqueSignatureKey)
            }
            types.insert(leaf.credential.type)
        }
        try tree.forEachLeaf { (_, leaf) throws(MLSError) in
            guard types.isSubset(of: leaf.capabilities.credentials) else {
                throw .invalid(.credentialTypeSupport)
            }
        }
    }
}

extension KeyPackage {
    /// Checks a downloaded key package before it is used (RFC 9420 §10.1), but for its credential.
    public func validate(
        at now: UnixSeconds, policy: GroupPolicy = .standard
    ) throws(MLSError) {
        guard let algorithms = CipherAlgorithms(cipherSuite) else {
            throw .unsupportedCipherSuite
        }
        let checks = try LeafChecks(
            algorithms: algorithms, groupID: [], extensions: [], policy: policy,
            validator: AnyCredential(), now: now, isSending: true)
        try checks.validate(self)
    }
}

/// Leaves the question to a later call.
private struct AnyCredential: CredentialValidator {
    func accepts(_ subject: CredentialSubject) -> Bool { true }
}
