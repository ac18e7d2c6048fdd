internal import Cryptography
internal import TLSSyntax

/// A proposal of a commit, with who made it.
struct CommittedProposal: Sendable {
    let proposal: Proposal
    let sender: Sender
    let isByReference: Bool
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
        var updates: [(LeafIndex, LeafNode)] = []
        var selfRemoves: [LeafIndex] = []
        var removes: [LeafIndex] = []
        var adds: [KeyPackage] = []
        for entry in proposals {
            switch entry.proposal {
            case .add(let keyPackage):
                adds.append(keyPackage)
            case .update(let leafNode):
                guard case .member(let leaf) = entry.sender else {
                    throw .invalid(.senderMaySend)
                }
                guard leaf != committer else { throw .invalid(.committerUpdate) }
                updates.append((leaf, leafNode))
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
        let changed = updates.map(\.0) + selfRemoves + removes
        guard Set(changed).count == changed.count else { throw .invalid(.oneChangePerLeaf) }
        let checks = try checks(extensions)
        for (leaf, leafNode) in updates {
            guard let old = tree[leaf] else { throw .invalid(.senderIsMember) }
            try checks.validate(leafNode, as: .update(leaf, replacing: old))
            self.tree.update(leaf, to: leafNode)
            updated.append((leaf, leafNode))
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
        _ adds: [KeyPackage], _ checks: LeafChecks
    ) throws(MLSError) {
        guard !adds.isEmpty else { return }
        var clients = DistinctKeys(expecting: tree.width.rawValue + adds.count)
        try tree.forEachLeaf { (_, leaf) in _ = clients.insert(leaf.signatureKey) }
        for keyPackage in adds {
            try checks.validate(keyPackage)
            guard clients.insert(keyPackage.leafNode.signatureKey) else {
                throw .invalid(.duplicateAdd)
            }
            added.append((try tree.add(keyPackage.leafNode), keyPackage))
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
