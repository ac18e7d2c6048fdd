internal import Cryptography
internal import TLSSyntax

extension Group {
    /// Joins a group by a Welcome (RFC 9420 §12.4.3.1).
    ///
    /// The bundle's keys are used up by it: destroy them when the group is stored, unless the key
    /// package is a last resort.
    ///
    /// - Parameters:
    ///   - welcome: an MLSMessage with a Welcome.
    ///   - bundle: the key package that was used, with its private keys.
    ///   - ratchetTree: the tree, if the Welcome comes without.
    ///   - preSharedKeys: those that the Welcome asks for.
    ///   - previous: the group that this one continues or branches from (RFC 9420 §11.2, §11.3).
    ///   - existing: the ids of all groups that the client is in. A Welcome that comes twice would
    ///     set its own ratchets back to keys that it has used, if they weren't looked at; so there is
    ///     no standard value.
    ///   - validator: is asked about every member.
    ///   - now: the caller's clock, for the lifetimes of leaves.
    ///   - policy: the application's choices for this group.
    public static func join(
        welcome: [UInt8], bundle: KeyPackageBundle, ratchetTree: [UInt8]? = nil,
        preSharedKeys: PreSharedKeys = PreSharedKeys(), continuing previous: Group? = nil,
        existing: Set<[UInt8]>, validator: some CredentialValidator, at now: UnixSeconds,
        policy: GroupPolicy = .standard
    ) throws(MLSError) -> Group {
        try policy.checkSize(of: welcome, ratchetTree)
        guard let decoded = try? MLSMessage(decoding: welcome) else { throw .malformed }
        guard case .welcome(let welcome) = decoded else { throw .misuse(.wrongMessageKind) }
        guard
            let entry = welcome.secrets.first(where: { $0.newMember == bundle.reference })
        else { throw .notAddressedToUs }
        guard let algorithms = CipherAlgorithms(welcome.cipherSuite) else {
            throw .unsupportedCipherSuite
        }
        guard bundle.keyPackage.cipherSuite == welcome.cipherSuite else {
            throw .invalid(.welcomeSuite)
        }
        let groupSecrets = try openSecrets(
            entry, welcome: welcome, bundle: bundle, algorithms: algorithms)
        let joined = JoinedSecrets(
            joinerSecret: groupSecrets.joinerSecret,
            preSharedKeys:
                try (previous?.withOwnResumptionSecrets(preSharedKeys) ?? preSharedKeys)
                .combined(groupSecrets.preSharedKeys, algorithms: algorithms),
            algorithms: algorithms)
        let groupInfo = try openGroupInfo(
            welcome, welcomeSecret: joined.welcomeSecret, algorithms: algorithms)
        let context = groupInfo.groupContext
        guard !existing.contains(context.groupID) else { throw .alreadyJoined }
        guard context.cipherSuite == welcome.cipherSuite else { throw .invalid(.welcomeSuite) }
        let checks = try LeafChecks(
            algorithms: algorithms, groupID: context.groupID, extensions: context.extensions,
            policy: policy, validator: validator, now: now, isSending: false)
        let tree = try verifiedTree(
            ratchetTree, groupInfo: groupInfo, own: bundle.keyPackage.leafNode, checks: checks,
            algorithms: algorithms)
        try verifyContinuation(
            of: previous, groupSecrets.preSharedKeys, context: context, tree: tree,
            validator: validator)

        guard let own = tree.index(of: bundle.keyPackage.leafNode) else {
            throw .invalid(.welcomeLeaf)
        }
        var privateKeys = TreePrivateKeys(leaf: own, key: bundle.encryptionKey)
        if let pathSecret = groupSecrets.pathSecret {
            try privateKeys.derive(from: pathSecret, of: groupInfo.signer, for: own, in: tree)
        }
        let epoch = try EpochState(
            context: context,
            epochSecret: joined.epochSecret(
                context: context.encoded(), algorithms: algorithms),
            tree: tree, privateKeys: privateKeys, ownLeaf: own, policy: policy,
            confirmationTag: groupInfo.confirmationTag)
        return Group(epoch, policy: policy)
    }

    private static func openSecrets(
        _ entry: EncryptedGroupSecrets, welcome: Welcome, bundle: KeyPackageBundle,
        algorithms: CipherAlgorithms
    ) throws(MLSError) -> GroupSecrets {
        guard
            let opened = algorithms.hpke("Welcome", context: welcome.encryptedGroupInfo)
                .decrypt(entry.encryptedGroupSecrets, with: bundle.initKey)
        else { throw .undecryptable }
        let secrets: GroupSecrets
        do { secrets = try GroupSecrets(decoding: opened) } catch { throw .malformed }
        var ties = 0
        for id in secrets.preSharedKeys {
            guard id.nonce.count == algorithms.hashByteCount else {
                throw .invalid(.preSharedKeyNonce)
            }
            if case .resumption(let usage, _, _) = id.source, usage != .application { ties += 1 }
        }
        guard ties <= 1 else { throw .invalid(.welcomePreSharedKeys) }
        return secrets
    }

    private static func openGroupInfo(
        _ welcome: Welcome, welcomeSecret: WelcomeSecret, algorithms: CipherAlgorithms
    ) throws(MLSError) -> GroupInfo {
        let (key, nonce) = welcomeSecret.keyAndNonce(algorithms)
        guard
            let opened = try? algorithms.open(
                welcome.encryptedGroupInfo, key: key, nonce: nonce, authenticating: [])
        else { throw .undecryptable }
        do { return try GroupInfo(decoding: opened) } catch { throw .malformed }
    }

    /// Checks tree and GroupInfo against each other (RFC 9420 §12.4.3.1).
    static func verifiedTree(
        _ detached: [UInt8]?, groupInfo: GroupInfo, own: LeafNode? = nil, checks: LeafChecks,
        algorithms: CipherAlgorithms
    ) throws(MLSError) -> RatchetTree {
        guard groupInfo.extensions.hasDistinctTypes else {
            throw .invalid(.duplicateExtension)
        }
        guard let encoded = groupInfo.extensions[.ratchetTree] ?? detached else {
            throw .invalid(.treeShape)
        }
        var tree = try RatchetTree(
            decoding: encoded, algorithms: algorithms,
            maximumLeafCount: checks.policy.maximumLeafCount)
        guard let signer = tree[groupInfo.signer],
            algorithms.isValid(
                signature: groupInfo.signature, of: groupInfo.toBeSigned, label: "GroupInfoTBS",
                by: signer.signatureKey)
        else { throw .invalid(.groupInfoSignature) }
        guard tree.treeHash() == groupInfo.groupContext.treeHash else {
            throw .invalid(.treeHash)
        }
        try checks.validateExternalSenders()
        try tree.verifyStructure()
        try tree.verifyParentHashes()
        let ownIndex = own.flatMap { tree.index(of: $0) }
        try tree.forEachLeaf { (index, leaf) throws(MLSError) in
            try checks.validate(leaf, as: .tree(index), isSigned: index == ownIndex)
        }
        // `verifyStructure` has seen that all encryption keys differ.
        try checks.validateIdentities(of: tree)
        return tree
    }
}

extension TreePrivateKeys {
    /// Takes over the keys above the common ancestor with the committer (RFC 9420 §12.4.3.1).
    mutating func derive(
        from secret: PathSecret, of committer: LeafIndex, for own: LeafIndex,
        in tree: RatchetTree
    ) throws(MLSError) {
        guard tree.width.contains(committer) else { throw .invalid(.pathSecret) }
        let steps = tree.filteredDirectPath(of: committer)
        let ancestor = tree.width.commonAncestor(own.node, committer.node)
        guard let start = steps.firstIndex(where: { $0.parent == ancestor }) else {
            throw .invalid(.pathSecret)
        }
        let secrets = try PathSecrets(
            from: secret, count: steps.count - start, algorithms: tree.algorithms)
        for (step, key) in zip(steps[start...], secrets.keys) {
            guard tree[step.parent]?.encryptionKey == key.publicKey else {
                throw .invalid(.pathKeys)
            }
            self[step.parent] = key
        }
    }
}

extension RatchetTree {
    /// Checks parents and their unmerged leaves (RFC 9420 §12.4.3.1).
    func verifyStructure() throws(MLSError) {
        var keys = DistinctKeys(expecting: width.nodeCount)
        var areDistinct = true
        try forEachLeaf { (_, leaf) in
            if !keys.insert(leaf.encryptionKey) { areDistinct = false }
        }
        for (index, parent) in parents {
            if !keys.insert(parent.encryptionKey) { areDistinct = false }
            guard algorithms.isPublicKey(parent.encryptionKey) else { throw .invalid(.publicKey) }
            let unmerged = parent.unmergedLeaves
            guard zip(unmerged, unmerged.dropFirst()).allSatisfy({ $0 < $1 }) else {
                throw .invalid(.unmergedLeaves)
            }
            for leaf in unmerged {
                guard index.contains(leaf.node), self[leaf] != nil else {
                    throw .invalid(.unmergedLeaves)
                }
                var between = leaf.node.parentInWideTree
                while between != index {
                    // A list that is not in order is refused anyway.
                    if let node = self.parent(at: between), !node.unmergedLeaves[...].holds(leaf) {
                        throw .invalid(.unmergedLeaves)
                    }
                    between = between.parentInWideTree
                }
            }
        }
        guard areDistinct else { throw .invalid(.uniqueParentKey) }
    }
}
