internal import Cryptography
internal import TLSSyntax

extension Group {
    /// Checks a commit and computes the epoch it opens (RFC 9420 §12.4.2). Changes nothing.
    func stage(
        _ verified: VerifiedContent, _ arrival: Arrival
    ) throws(MLSError) -> StagedCommit {
        guard case .commit(let commit) = verified.content.content,
            let tag = verified.authenticated.auth.confirmationTag
        else { throw .malformed }
        var committer: LeafIndex?
        if case .member(let leaf) = verified.content.sender {
            committer = leaf
        } else if !policy.acceptsExternalCommits {
            throw .refusedByPolicy
        }
        let applied = try AppliedProposals(
            resolve(commit.proposals, sender: verified.content.sender), tree: current.tree,
            context: current.context, committer: committer, policy: policy
        ) { extensions throws(MLSError) in
            try checks(
                extensions: extensions, validator: arrival.validator, now: arrival.now,
                isSending: false)
        }
        guard commit.path != nil || !applied.requiresPath else { throw .invalid(.pathRequired) }

        var next = try nextContext(extensions: applied.extensions)
        var tree = applied.tree
        var privateKeys = try privateKeys(after: applied)
        let removesSelf = applied.removed.contains { $0.leaf == ownLeafIndex }
        var commitSecret = CommitSecret(algorithms.zeroSecret)
        let leaf: LeafIndex
        if let committer { leaf = committer } else { leaf = try tree.makeRoomForLeaf() }
        if let path = commit.path {
            let replaced = committer == nil ? applied.resynced : current.tree[leaf]
            let checks = try checks(
                extensions: applied.extensions, validator: arrival.validator, now: arrival.now,
                isSending: false)
            let steps = tree.filteredDirectPath(of: leaf)
            try tree.validate(path, steps: steps, excluding: applied.addedLeaves)
            try checks.validate(path.leafNode, as: .commit(leaf, replacing: replaced))
            if let old = applied.resynced, !arrival.validator.isSameClient(path.leafNode, old) {
                throw .invalid(.resyncIdentity)
            }
            let parentHash = tree.setPath(
                of: leaf, steps: steps, keys: path.nodes.map(\.encryptionKey))
            guard path.leafNode.source == .commit(parentHash: parentHash) else {
                throw .invalid(.leafParentHash)
            }
            tree.set(leaf.node, to: .leaf(path.leafNode))
            if path.leafNode.hasNewIdentity(comparedTo: committer.flatMap { current.tree[$0] }) {
                try checks.validateTogether(tree)
            }
            next.treeHash = tree.treeHash()
            privateKeys.prune(to: tree)
            if !removesSelf {
                commitSecret = try tree.decrypt(
                    path, steps: steps, for: ownLeafIndex, privateKeys: &privateKeys,
                    excluding: applied.addedLeaves, context: next.encoded())
            }
        } else {
            next.treeHash = tree.treeHash()
            privateKeys.prune(to: tree)
        }
        guard !tree.hasParent(withKeyAmong: applied.newEncryptionKeys) else {
            throw .invalid(.uniqueParentKey)
        }
        next.confirmedTranscriptHash = Transcript.confirmedHash(
            after: current.interimTranscriptHash, verified.authenticated, algorithms: algorithms)

        var state: EpochState?
        if !removesSelf {
            let joinerSecret = JoinerSecret(
                initSecret: try initSecret(for: applied), commitSecret: commitSecret,
                context: next.encoded(), algorithms: algorithms)
            let keys = try withOwnResumptionSecrets(arrival.preSharedKeys)
                .combined(applied.preSharedKeys, algorithms: algorithms)
            let joined = JoinedSecrets(
                joinerSecret: joinerSecret, preSharedKeys: keys, algorithms: algorithms)
            state = try EpochState(
                context: next,
                epochSecret: joined.epochSecret(context: next.encoded(), algorithms: algorithms),
                tree: tree, privateKeys: privateKeys, ownLeaf: ownLeafIndex, policy: policy,
                confirmationTag: tag)
        }
        guard let committerNode = committer.flatMap({ current.tree[$0] }) ?? commit.path?.leafNode
        else { throw .malformed }
        return StagedCommit(
            groupID: groupID, epoch: next.epoch, commitHash: arrival.hash,
            committer: Member(index: leaf, leafNode: committerNode), isExternal: committer == nil,
            authenticatedData: verified.content.authenticatedData,
            added: applied.added.map { Member(index: $0.leaf, leafNode: $0.keyPackage.leafNode) },
            removed: applied.removed.map { Member(index: $0.leaf, leafNode: $0.node) },
            updated: applied.updated.map { Member(index: $0.leaf, leafNode: $0.node) }
                + (commit.path.map { [Member(index: leaf, leafNode: $0.leafNode)] } ?? []),
            removesSelf: removesSelf,
            groupContextExtensions: applied.changesExtensions ? applied.extensions : nil,
            applicationProposals: applied.application, reInit: applied.reInit,
            epochAuthenticator: state?.secrets.epochAuthenticator.bytes.exposedCopy() ?? [],
            isEncrypted: verified.authenticated.wireFormat == .privateMessage,
            base: current.confirmationTag, next: state)
    }

    /// Looks up the proposals that a commit names by reference (RFC 9420 §12.4).
    private func resolve(
        _ entries: [ProposalOrRef], sender: Sender
    ) throws(MLSError) -> [CommittedProposal] {
        var resolved: [CommittedProposal] = []
        var references = Set<ProposalRef>()
        for entry in entries {
            switch entry {
            case .proposal(let proposal):
                resolved.append(CommittedProposal(proposal: proposal, sender: sender))
            case .reference(let reference):
                guard let pending = proposals[reference] else { throw .missingProposal }
                guard references.insert(reference).inserted else {
                    throw .invalid(.duplicateReference)
                }
                resolved.append(CommittedProposal(pending, checked: .signature))
            }
        }
        return resolved
    }

    /// The next epoch's context, without its hashes.
    func nextContext(extensions: [Extension]) throws(MLSError) -> GroupContext {
        let (number, overflow) = epoch.addingReportingOverflow(1)
        guard !overflow else { throw .inactive }
        var next = current.context
        next.epoch = number
        next.extensions = extensions
        return next
    }

    /// Our private keys after the proposals, with the key of an own Update if one is among them.
    func privateKeys(after applied: AppliedProposals) throws(MLSError) -> TreePrivateKeys {
        var keys = current.privateKeys
        for (leaf, node) in applied.updated where leaf == ownLeafIndex {
            guard let key = updateKeys[node.encryptionKey] else { throw .corruptState }
            keys[leaf.node] = key
        }
        return keys
    }

    /// The init secret that the new epoch starts from (RFC 9420 §8, §8.3).
    private func initSecret(for applied: AppliedProposals) throws(MLSError) -> InitSecret {
        guard let kemOutput = applied.externalInit else { return current.secrets.initSecret }
        guard
            let secret = HPKESetup(info: [], algorithms: algorithms).export(
                kemOutput: kemOutput, with: try current.externalKey(),
                context: ExternalInitialization.context, count: algorithms.hashByteCount)
        else { throw .invalid(.externalCommitProposals) }
        return InitSecret(secret)
    }
}

/// External initialization (RFC 9420 §8.3).
enum ExternalInitialization {
    static let context = Array("MLS 1.0 external init secret".utf8)
}

extension EpochState {
    /// The key pair of the whole group, for those who join by themselves (RFC 9420 §8).
    func externalKey() throws(MLSError) -> HPKEPrivateKey {
        do {
            return try .derive(from: secrets.externalSecret.bytes, algorithms: algorithms)
        } catch {
            throw .machine
        }
    }
}

extension LeafNode {
    /// Whether what members have in common must be looked at again.
    func hasNewIdentity(comparedTo old: LeafNode?) -> Bool {
        guard let old else { return true }
        return signatureKey != old.signatureKey || credential.type != old.credential.type
            || capabilities.credentials != old.capabilities.credentials
    }
}
