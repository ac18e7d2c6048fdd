public import Cryptography
internal import TLSSyntax

extension Group {
    /// Makes a commit (RFC 9420 §12.4.1).
    ///
    /// The group itself stays in its epoch; only the own handshake ratchet moves. Store group and
    /// result before the message leaves. Pending proposals that can't be applied are left out, and the
    /// result says why (``PendingCommit/leftOut``).
    ///
    /// - Parameters:
    ///   - content: what to do besides covering the pending proposals.
    ///   - signingKey: the key in the own leaf, also when the commit replaces it.
    ///   - validator: is asked about key packages and updates.
    ///   - now: the caller's clock, for the lifetimes of added leaves.
    ///   - preSharedKeys: those that the commit uses, besides the group's own.
    /// - Throws: `.unsuitable`, naming it, if a part of `content` can't be in the commit.
    public mutating func commit(
        _ content: CommitContent = CommitContent(), signingKey: SigningKey,
        validator: some CredentialValidator, at now: UnixSeconds,
        preSharedKeys: PreSharedKeys = PreSharedKeys()
    ) throws(MLSError) -> PendingCommit {
        try requireActive(signingKey)
        let keys = withOwnResumptionSecrets(preSharedKeys)
        let maker = CommitMaker(
            group: self, usage: content.resumptionUsage, keys: keys, validator: validator, now: now)
        let (list, applied, leftOut) = try maker.apply(content)
        var next = try nextContext(extensions: applied.extensions)
        var tree = applied.tree
        var privateKeys = try privateKeys(after: applied)
        var renewal: PathRenewal?
        if applied.requiresPath || content.forcesPath {
            renewal = try renewPath(
                in: &tree, content: content, signingKey: signingKey, privateKeys: &privateKeys)
            let checks = try checks(
                extensions: applied.extensions, validator: validator, now: now, isSending: true)
            if let leafNode = renewal?.leafNode {
                try checks.validateCapabilities(of: leafNode)
                if leafNode.hasNewIdentity(comparedTo: current.tree[ownLeafIndex]) {
                    try checks.validateTogether(tree)
                }
            }
        } else if content.leaf != nil || content.newSigningKey != nil {
            throw .invalid(.pathRequired)
        }
        next.treeHash = tree.treeHash()
        privateKeys.prune(to: tree)
        var path: UpdatePath?
        if let renewal {
            path = UpdatePath(
                leafNode: renewal.leafNode,
                nodes: try tree.encrypt(
                    renewal.secrets, steps: renewal.steps, excluding: applied.addedLeaves,
                    context: next.encoded()))
        }
        let unconfirmed = try signed(
            .commit(Commit(proposals: list, path: path)),
            authenticatedData: content.authenticatedData, signingKey: signingKey,
            format: policy.handshakeFormat)
        next.confirmedTranscriptHash = Transcript.confirmedHash(
            after: current.interimTranscriptHash, unconfirmed, algorithms: algorithms)
        let joinerSecret = JoinerSecret(
            initSecret: current.secrets.initSecret,
            commitSecret: renewal?.secrets.commitSecret ?? CommitSecret(algorithms.zeroSecret),
            context: next.encoded(), algorithms: algorithms)
        let joined = JoinedSecrets(
            joinerSecret: joinerSecret,
            preSharedKeys: try keys.combined(applied.preSharedKeys, algorithms: algorithms),
            algorithms: algorithms)
        let state = try EpochState(
            context: next,
            epochSecret: joined.epochSecret(context: next.encoded(), algorithms: algorithms),
            tree: tree, privateKeys: privateKeys, ownLeaf: ownLeafIndex, policy: policy,
            confirmationTag: nil)
        let welcome =
            try applied.added.isEmpty
            ? nil
            : makeWelcome(
                for: applied, state: state, joinerSecret: joinerSecret,
                welcomeSecret: joined.welcomeSecret, renewal: renewal, content: content,
                signingKey: content.newSigningKey ?? signingKey)
        let message = try send(unconfirmed.confirmed(by: state.confirmationTag))
        prunePastEpochs(at: now)
        return PendingCommit(
            message: message.bytes, commitHash: Hash.sha256(message.bytes),
            welcome: welcome.map { MLSMessage.welcome($0).encoded() }, groupID: groupID,
            epoch: epoch, generation: message.generation,
            added: applied.added.map { Member(index: $0.leaf, leafNode: $0.keyPackage.leafNode) },
            removed: applied.removed.map { Member(index: $0.leaf, leafNode: $0.node) },
            applicationProposals: applied.application, reInit: applied.reInit, leftOut: leftOut,
            base: current.confirmationTag, next: state)
    }

    /// New keys for the own leaf and the parents above it.
    struct PathRenewal {
        let leafNode: LeafNode
        let steps: [RatchetTree.PathStep]
        let secrets: PathSecrets
    }

    /// Renews the own direct path (RFC 9420 §7.4, §7.5).
    private func renewPath(
        in tree: inout RatchetTree, content: CommitContent, signingKey: SigningKey,
        privateKeys: inout TreePrivateKeys
    ) throws(MLSError) -> PathRenewal {
        let steps = tree.filteredDirectPath(of: ownLeafIndex)
        let secrets = try PathSecrets(
            from: PathSecret(.random(count: algorithms.hashByteCount)), count: steps.count,
            algorithms: algorithms)
        let leafKey = try newKey()
        let parentHash = tree.setPath(
            of: ownLeafIndex, steps: steps, keys: secrets.keys.map(\.publicKey))
        let leafNode = try newLeaf(
            content.leaf, key: leafKey, source: .commit(parentHash: parentHash),
            signingKey: content.newSigningKey ?? signingKey)
        tree.set(ownLeafIndex.node, to: .leaf(leafNode))
        privateKeys[ownLeafIndex.node] = leafKey
        for (step, key) in zip(steps, secrets.keys) { privateKeys[step.parent] = key }
        return PathRenewal(leafNode: leafNode, steps: steps, secrets: secrets)
    }

    /// Encrypts the new epoch's GroupInfo and secrets for the added clients (RFC 9420 §12.4.3.1).
    private func makeWelcome(
        for applied: AppliedProposals, state: EpochState, joinerSecret: JoinerSecret,
        welcomeSecret: WelcomeSecret, renewal: PathRenewal?, content: CommitContent,
        signingKey: SigningKey
    ) throws(MLSError) -> Welcome {
        let groupInfo = try state.groupInfo(
            includesTree: content.welcomeIncludesTree, includesExternalKey: false,
            paddingBucket: content.welcomePaddingBucket, signingKey: signingKey)
        let (key, nonce) = welcomeSecret.keyAndNonce(algorithms)
        let encryptedGroupInfo: [UInt8]
        do {
            encryptedGroupInfo = try algorithms.seal(
                groupInfo.encoded(), key: key, nonce: nonce, authenticating: [])
        } catch {
            throw .machine
        }
        let hpke = algorithms.hpke("Welcome", context: encryptedGroupInfo)
        var secrets: [EncryptedGroupSecrets] = []
        for (leaf, keyPackage) in applied.added {
            let ancestor = state.tree.width.commonAncestor(leaf.node, ownLeafIndex.node)
            let pathSecret = renewal.flatMap { renewal in
                renewal.steps.firstIndex { $0.parent == ancestor }
                    .map { renewal.secrets.secrets[$0] }
            }
            let groupSecrets = GroupSecrets(
                joinerSecret: joinerSecret, pathSecret: pathSecret,
                preSharedKeys: applied.preSharedKeys)
            secrets.append(
                EncryptedGroupSecrets(
                    newMember: keyPackage.reference(algorithms),
                    encryptedGroupSecrets: try hpke.encrypt(
                        groupSecrets.encoded(), to: keyPackage.initKey)))
        }
        return Welcome(
            cipherSuite: suite, secrets: secrets, encryptedGroupInfo: encryptedGroupInfo)
    }
}

/// What a commit's proposals are decided with.
private struct CommitMaker {
    let group: Group
    let usage: ResumptionUsage
    let keys: PreSharedKeys
    let validator: any CredentialValidator
    let now: UnixSeconds

    /// The commit's own proposals, and the pending ones that go together with them (RFC 9420 §12.2).
    func apply(
        _ content: CommitContent
    ) throws(MLSError) -> (
        list: [ProposalOrRef], applied: AppliedProposals, leftOut: [LeftOutProposal]
    ) {
        let parts = content.parts { group.newID($0) }
        let own = parts.map { part in
            CommittedProposal(proposal: part.proposal, sender: .member(group.ownLeafIndex))
        }
        do {
            let selection = try ProposalSelection(
                in: group, for: content, inline: parts.map(\.proposal), keys: keys, checks: checks)
            let applied = try apply(
                own + selection.taken.map { CommittedProposal($0, checked: .everything) })
            return (
                own.map { .proposal($0.proposal) }
                    + selection.taken.map { .reference($0.reference) },
                applied, selection.leftOut
            )
        } catch {
            throw error == .machine ? error : cause(of: error, parts.map(\.part), own)
        }
    }

    private func checks(_ extensions: [Extension]) throws(MLSError) -> LeafChecks {
        try group.checks(extensions: extensions, validator: validator, now: now, isSending: true)
    }

    private func apply(_ proposals: [CommittedProposal]) throws(MLSError) -> AppliedProposals {
        let applied = try AppliedProposals(
            proposals, tree: group.current.tree, context: group.current.context,
            committer: group.ownLeafIndex, usage: usage, policy: group.policy, checks: checks)
        for id in applied.preSharedKeys where keys[id.source] == nil {
            throw .missingPreSharedKey
        }
        // Nobody could join such a tree (RFC 9420 §12.4.3.1). Parents that the path is going to replace
        // are as good as others.
        guard !applied.tree.hasParent(withKeyAmong: applied.newEncryptionKeys) else {
            throw .invalid(.uniqueParentKey)
        }
        return applied
    }

    /// Finds the part of a content that can't be in a commit together with those before it.
    private func cause(
        of error: MLSError, _ parts: [CommitPart], _ own: [CommittedProposal]
    ) -> MLSError {
        func fault(count: Int) -> MLSError? {
            do {
                _ = try apply(Array(own.prefix(count)))
                return nil
            } catch {
                return error
            }
        }
        guard var reason = fault(count: own.count) else { return error }
        var (good, bad) = (0, own.count)
        while bad - good > 1 {
            let middle = (good + bad) / 2
            if let earlier = fault(count: middle) {
                (bad, reason) = (middle, earlier)
            } else {
                good = middle
            }
        }
        return .unsuitable(parts[bad - 1], because: reason)
    }
}

extension AuthenticatedContent {
    /// The same with its confirmation tag, which the signature does not cover.
    func confirmed(by tag: [UInt8]) -> AuthenticatedContent {
        AuthenticatedContent(
            wireFormat: wireFormat, content: content,
            auth: FramedContentAuthData(signature: auth.signature, confirmationTag: tag))
    }
}

extension EpochState {
    /// The epoch as others are told of it (RFC 9420 §12.4.3).
    func groupInfo(
        includesTree: Bool, includesExternalKey: Bool, paddingBucket: Int, signingKey: SigningKey
    ) throws(MLSError) -> GroupInfo {
        var extensions: [Extension] = []
        if includesTree { extensions.append(Extension(type: .ratchetTree, data: tree.encoded())) }
        if includesExternalKey {
            let key = ExternalPub(key: try externalKey().publicKey)
            extensions.append(Extension(type: .externalPub, data: key.encoded()))
        }
        func groupInfo(_ signature: [UInt8]) -> GroupInfo {
            GroupInfo(
                groupContext: context, extensions: extensions, confirmationTag: confirmationTag,
                signer: ownLeaf, signature: signature)
        }
        if paddingBucket > 0 {
            // A signature has always the same length; the extension itself takes up to 7 octets.
            let count = groupInfo([UInt8](repeating: 0, count: 64)).encoded().count + 7
            let padding = (paddingBucket - count % paddingBucket) % paddingBucket
            extensions.append(
                Extension(type: .padding, data: [UInt8](repeating: 0, count: padding)))
        }
        return groupInfo(
            try algorithms.sign(
                groupInfo([]).toBeSigned, label: "GroupInfoTBS", with: signingKey))
    }
}
