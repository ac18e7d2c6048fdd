internal import Cryptography
internal import TLSSyntax

/// A proposal of a commit, with who made it.
struct CommittedProposal: Sendable {
    let proposal: Proposal
    let sender: Sender
    let isByReference: Bool
    /// What of its leaf or key package was seen to hold when it came, or since.
    let checked: Checked

    enum Checked {
        case nothing
        /// Signatures, which don't change.
        case signature
        /// Everything, by the group's new extensions and the time of now.
        case everything
    }

    /// A proposal by value.
    init(proposal: Proposal, sender: Sender) {
        self.proposal = proposal
        self.sender = sender
        isByReference = false
        checked = .nothing
    }

    /// A proposal by reference.
    init(_ pending: PendingProposal, checked: Checked) {
        proposal = pending.proposal
        sender = pending.sender
        isByReference = true
        self.checked = checked
    }
}

/// What a commit's proposals make of tree and extensions (RFC 9420 §12.2, §12.3).
struct AppliedProposals: Sendable {
    var tree: RatchetTree
    var extensions: [Extension]
    var changesExtensions = false
    var added: [(leaf: LeafIndex, keyPackage: KeyPackage)] = []
    var removed: [(leaf: LeafIndex, node: LeafNode)] = []
    var updated: [(leaf: LeafIndex, node: LeafNode)] = []
    var preSharedKeys: [PreSharedKeyID] = []
    var externalInit: [UInt8]?
    var reInit: ReInit?
    var application: [CommittedApplicationProposal] = []
    /// The old leaf of a member that joins again by an external commit.
    var resynced: LeafNode?
    var requiresPath: Bool

    var addedLeaves: Set<LeafIndex> { Set(added.map(\.leaf)) }

    /// The keys of leaves that aren't the committer's.
    var newEncryptionKeys: [[UInt8]] {
        added.map(\.keyPackage.leafNode.encryptionKey) + updated.map(\.node.encryptionKey)
    }

    /// Validates a list and applies it to a copy of the tree.
    ///
    /// - Parameters:
    ///   - committer: nil for an external commit.
    ///   - usage: what resumption keys may be for, besides the application.
    ///   - policy: knows the application's own proposals.
    ///   - checks: builds the checks for leaves from the new extensions.
    init(
        _ proposals: [CommittedProposal], tree: RatchetTree, context: GroupContext,
        committer: LeafIndex?, usage: ResumptionUsage = .application, policy: GroupPolicy,
        checks: ([Extension]) throws(MLSError) -> LeafChecks
    ) throws(MLSError) {
        self.tree = tree
        extensions = context.extensions
        requiresPath =
            proposals.isEmpty || proposals.contains { policy.requiresPath($0.proposal) }
        try Self.validateShape(proposals, committer: committer)
        var updates: [(LeafChecks.Role, CommittedProposal.Checked)] = []
        var selfRemoves: [LeafIndex] = []
        var removes: [LeafIndex] = []
        var adds: [(KeyPackage, CommittedProposal.Checked)] = []
        for entry in proposals {
            switch entry.proposal {
            case .add(let keyPackage):
                adds.append((keyPackage, entry.checked))
            case .update(let leafNode):
                guard case .member(let leaf) = entry.sender, let old = tree[leaf] else {
                    throw .invalid(.senderMaySend)
                }
                guard leaf != committer else { throw .invalid(.committerUpdate) }
                updated.append((leaf, leafNode))
                updates.append((.update(leaf, replacing: old), entry.checked))
            case .remove(let leaf):
                guard leaf != committer else { throw .invalid(.committerRemove) }
                removes.append(leaf)
                if committer == nil { resynced = tree[leaf] }
            case .selfRemove:
                guard case .member(let leaf) = entry.sender, entry.isByReference else {
                    throw .invalid(.senderMaySend)
                }
                guard leaf != committer else { throw .invalid(.committerRemove) }
                selfRemoves.append(leaf)
            case .preSharedKey(let id):
                try Self.validate(id, usage: usage, algorithms: tree.algorithms)
                preSharedKeys.append(id)
            case .reInit(let reInit):
                guard reInit.version.rawValue >= ProtocolVersion.mls10.rawValue else {
                    throw .invalid(.reInitVersion)
                }
                guard reInit.extensions.hasDistinctTypes else {
                    throw .invalid(.duplicateExtension)
                }
                self.reInit = reInit
            case .externalInit(let kemOutput):
                externalInit = kemOutput
            case .groupContextExtensions(let extensions):
                guard !changesExtensions else { throw .invalid(.oneGroupContextExtensions) }
                self.extensions = extensions
                changesExtensions = true
            case .application(let proposal):
                try policy.validate(proposal, from: entry.sender)
                application.append(
                    CommittedApplicationProposal(sender: entry.sender, proposal: proposal))
            }
        }
        guard Set(preSharedKeys).count == preSharedKeys.count else {
            throw .invalid(.duplicatePreSharedKey)
        }
        let changed = updated.map(\.leaf) + selfRemoves + removes
        guard Set(changed).count == changed.count else { throw .invalid(.oneChangePerLeaf) }
        let checks = try checks(extensions)
        for ((leaf, leafNode), (role, checked)) in zip(updated, updates) {
            if checked != .everything {
                try checks.validate(leafNode, as: role, isSigned: checked == .signature)
            }
            self.tree.update(leaf, to: leafNode)
        }
        for leaf in selfRemoves + removes {
            guard let old = tree[leaf] else { throw .invalid(.removedIsMember) }
            self.tree.remove(leaf)
            removed.append((leaf, old))
        }
        if !removed.isEmpty { self.tree.narrow() }
        try requireSupport(for: proposals, before: tree)
        try apply(adds, checks)
        if changesExtensions {
            try checks.validateExternalSenders(known: context.extensions)
            for (_, leaf) in self.tree.leaves { try checks.validateCapabilities(of: leaf) }
        }
        if !adds.isEmpty || !updates.isEmpty {
            try checks.validateTogether(self.tree)
        }
    }

    private mutating func apply(
        _ adds: [(KeyPackage, CommittedProposal.Checked)], _ checks: LeafChecks
    ) throws(MLSError) {
        guard !adds.isEmpty else { return }
        var clients = DistinctKeys(expecting: tree.width.rawValue + adds.count)
        try tree.forEachLeaf { (_, leaf) in _ = clients.insert(leaf.signatureKey) }
        for (keyPackage, checked) in adds {
            if checked != .everything {
                try checks.validate(keyPackage, isSigned: checked == .signature)
            }
            guard clients.insert(keyPackage.leafNode.signatureKey) else {
                throw .invalid(.duplicateAdd)
            }
            let leaf = try tree.add(keyPackage.leafNode, after: added.last?.leaf)
            added.append((leaf, keyPackage))
        }
    }

    /// Those who process the commit must know its proposals (RFC 9420 §12.2).
    private func requireSupport(
        for proposals: [CommittedProposal], before tree: RatchetTree
    ) throws(MLSError) {
        let types = Set(proposals.map(\.proposal.type)).filter { !$0.isDefault }
        guard !types.isEmpty else { return }
        let leaving = Set(removed.map(\.leaf))
        for (index, leaf) in tree.leaves where !leaving.contains(index) {
            guard types.allSatisfy({ leaf.capabilities.supports($0) }) else {
                throw .invalid(.proposalTypeSupport)
            }
        }
    }

    /// The rules on which proposals go together (RFC 9420 §12.2).
    private static func validateShape(
        _ proposals: [CommittedProposal], committer: LeafIndex?
    ) throws(MLSError) {
        let types = proposals.map(\.proposal.type)
        if committer == nil {
            guard types.count(where: { $0 == .externalInit }) == 1 else {
                throw .invalid(.externalCommitShape)
            }
            guard types.count(where: { $0 == .remove }) <= 1,
                proposals.allSatisfy({ entry in
                    switch entry.proposal {
                    case .externalInit, .remove, .preSharedKey, .application:
                        !entry.isByReference
                    case .selfRemove: entry.isByReference
                    case .add, .update, .reInit, .groupContextExtensions: false
                    }
                })
            else { throw .invalid(.externalCommitProposals) }
        } else {
            guard !types.contains(.externalInit) else { throw .invalid(.externalInitInside) }
            guard !types.contains(.reInit) || types.count == 1 else {
                throw .invalid(.reInitAlone)
            }
        }
    }

    private static func validate(
        _ id: PreSharedKeyID, usage: ResumptionUsage, algorithms: CipherAlgorithms
    ) throws(MLSError) {
        guard id.nonce.count == algorithms.hashByteCount else {
            throw .invalid(.preSharedKeyNonce)
        }
        if case .resumption(let given, _, _) = id.source, given != .application, given != usage {
            throw .invalid(.preSharedKeyUsage)
        }
    }
}
