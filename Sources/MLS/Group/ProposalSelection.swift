internal import Cryptography

/// Which of the pending proposals a commit covers (RFC 9420 §12.2).
///
/// What can't be applied is left out with its reason, so that nobody stops everybody's commits by
/// proposing it. Departures go before all else, a SelfRemove before a Remove; then the first list of
/// extensions that everyone supports, of each sender's only the last; then updates, of which the last
/// of a leaf counts, and adds.
struct ProposalSelection {
    /// What to cover, in the order in which it came.
    private(set) var taken: [PendingProposal] = []
    /// The rest.
    private(set) var leftOut: [LeftOutProposal] = []

    private let group: Group
    private var leaves: [(index: LeafIndex, node: LeafNode)] = []
    private let makeChecks: ([Extension]) throws(MLSError) -> LeafChecks
    /// The own leaf as the commit makes it, if it is to say something new; unsigned.
    private let newLeaf: LeafNode?
    private let adds: [KeyPackage]
    private var references: Set<ProposalRef> = []
    private var leaving: Set<LeafIndex>

    private var own: LeafIndex { group.ownLeafIndex }

    /// - Parameters:
    ///   - inline: the commit's own proposals, which are taken as they are.
    ///   - keys: the pre-shared keys at hand.
    ///   - checks: builds the checks for leaves from the new extensions.
    init(
        in group: Group, for content: CommitContent, inline: [Proposal], keys: PreSharedKeys,
        checks: @escaping ([Extension]) throws(MLSError) -> LeafChecks
    ) throws(MLSError) {
        self.group = group
        makeChecks = checks
        newLeaf = content.newLeaf(replacing: group.current.tree[group.ownLeafIndex])
        adds = content.adds
        leaving = Set(content.removes)
        let pending = candidates(for: content)
        if let reference = content.acceptedReInit {
            guard let reInit = group.proposals[reference], reInit.proposal.type == .reInit else {
                throw .missingProposal
            }
            guard inline.isEmpty else { throw .invalid(.reInitAlone) }
            taken = [reInit]
            for proposal in pending where proposal.reference != reference {
                leave(proposal, .invalid(.reInitAlone))
            }
        } else if content.reInit != nil {
            for proposal in pending { leave(proposal, .invalid(.reInitAlone)) }
        } else if !pending.isEmpty {
            leaves = group.current.tree.leaves
            for proposal in pending where proposal.proposal.type == .reInit {
                leave(proposal, .refusedByPolicy)
            }
            chooseDepartures(pending)
            chooseApplicationProposals(pending)
            let checks = try chooseExtensions(
                pending, content.groupContextExtensions)
            chooseLeaves(pending, checks)
            choosePreSharedKeys(pending, inline, keys)
            taken = pending.filter { references.contains($0.reference) }
        }
    }

    /// The pending proposals but for those that the caller doesn't want, and those that their sender
    /// made when it had made enough. All members must have them to follow, in whichever order they
    /// came to each.
    private mutating func candidates(for content: CommitContent) -> [PendingProposal] {
        guard content.includesPendingProposals else { return [] }
        var counts: [Sender: Int] = [:]
        var candidates: [PendingProposal] = []
        for pending in group.pendingProposals {
            if pending.proposal != .selfRemove { counts[pending.sender, default: 0] += 1 }
            if content.excludedProposals.contains(pending.reference) { continue }
            if counts[pending.sender] ?? 0 > group.policy.proposalsPerSender,
                pending.proposal != .selfRemove
            {
                leave(pending, .refusedByPolicy)
            } else {
                candidates.append(pending)
            }
        }
        return candidates
    }

    private mutating func leave(_ pending: PendingProposal, _ reason: MLSError) {
        leftOut.append(LeftOutProposal(proposal: pending, reason: reason))
    }

    /// Takes a proposal unless it turns out that it can't be applied.
    private mutating func take(
        _ pending: PendingProposal, if check: (inout Self) throws(MLSError) -> Void
    ) {
        do {
            try check(&self)
            references.insert(pending.reference)
        } catch {
            leave(pending, error)
        }
    }

    private func everyone(
        but leaving: Set<LeafIndex>, supports type: ProposalType
    ) -> Bool {
        leaves.allSatisfy { leaving.contains($0.index) || $0.node.capabilities.supports(type) }
    }

    private mutating func chooseDepartures(_ pending: [PendingProposal]) {
        // Those who leave needn't know how; so all who may be leaving are looked at together.
        var going = leaving
        for proposal in pending {
            if let leaf = proposal.departing, leaf != own { going.insert(leaf) }
        }
        let knowSelfRemove = everyone(but: going, supports: .selfRemove)
        let departures =
            pending.filter { $0.proposal == .selfRemove }
            + pending.filter { $0.proposal.type == .remove }
        for proposal in departures {
            guard let leaf = proposal.departing else { continue }
            take(proposal) { selection throws(MLSError) in
                guard leaf != selection.own else { throw .invalid(.committerRemove) }
                guard proposal.proposal != .selfRemove || knowSelfRemove else {
                    throw .invalid(.proposalTypeSupport)
                }
                guard selection.leaving.insert(leaf).inserted else {
                    throw .invalid(.oneChangePerLeaf)
                }
            }
        }
    }

    private mutating func chooseApplicationProposals(_ pending: [PendingProposal]) {
        var known: [ProposalType: Bool] = [:]
        for proposal in pending {
            guard case .application(let content) = proposal.proposal else { continue }
            let isKnown =
                known[content.type] ?? everyone(but: leaving, supports: content.type)
            known[content.type] = isKnown
            take(proposal) { selection throws(MLSError) in
                try selection.group.policy.validate(content, from: proposal.sender)
                guard isKnown else { throw .invalid(.proposalTypeSupport) }
            }
        }
    }

    /// Chooses the group's extensions; gives the checks that new leaves have to pass with them.
    private mutating func chooseExtensions(
        _ pending: [PendingProposal], _ given: [Extension]?
    ) throws(MLSError) -> LeafChecks {
        var chosen = try makeChecks(given ?? group.extensions)
        var isChanged = given != nil
        // To look at a list is work for each member; so a sender is heard once.
        var last: [Sender: ProposalRef] = [:]
        for proposal in pending where proposal.proposal.type == .groupContextExtensions {
            last[proposal.sender] = proposal.reference
        }
        for proposal in pending {
            guard case .groupContextExtensions(let extensions) = proposal.proposal else { continue }
            take(proposal) { selection throws(MLSError) in
                guard !isChanged, last[proposal.sender] == proposal.reference else {
                    throw .invalid(.oneGroupContextExtensions)
                }
                let checks = try selection.makeChecks(extensions)
                try checks.validateExternalSenders(known: selection.group.extensions)
                for (index, leaf) in selection.leaves where !selection.leaving.contains(index) {
                    try checks.validateCapabilities(of: leaf)
                }
                if let leaf = selection.newLeaf { try checks.validateCapabilities(of: leaf) }
                for keyPackage in selection.adds {
                    try checks.validateCapabilities(of: keyPackage.leafNode)
                }
                chosen = checks
                isChanged = true
            }
        }
        return chosen
    }

    private mutating func chooseLeaves(_ pending: [PendingProposal], _ checks: LeafChecks) {
        let types = Set(pending.map(\.proposal.type))
        guard types.contains(.update) || types.contains(.add) else { return }
        var roster = Roster()
        for (index, leaf) in leaves where !leaving.contains(index) { roster.enter(leaf, at: index) }
        if let newLeaf { roster.enter(newLeaf, at: own) }
        for keyPackage in adds { roster.enter(keyPackage.leafNode, at: nil) }
        for (_, parent) in group.current.tree.parents { roster.enter(parent) }
        var updated = Set<LeafIndex>()
        for proposal in pending.reversed() {
            guard case .update(let leafNode) = proposal.proposal,
                case .member(let leaf) = proposal.sender, let old = group.current.tree[leaf]
            else { continue }
            take(proposal) { selection throws(MLSError) in
                guard leaf != selection.own else { throw .invalid(.committerUpdate) }
                guard !selection.leaving.contains(leaf), !updated.contains(leaf) else {
                    throw .invalid(.oneChangePerLeaf)
                }
                try checks.validate(leafNode, as: .update(leaf, replacing: old), isSigned: true)
                try roster.admit(leafNode, at: leaf)
                updated.insert(leaf)
            }
        }
        for proposal in pending {
            guard case .add(let keyPackage) = proposal.proposal else { continue }
            take(proposal) { (_) throws(MLSError) in
                try checks.validate(keyPackage, isSigned: true)
                guard !roster.hasClient(keyPackage.leafNode.signatureKey) else {
                    throw .invalid(.duplicateAdd)
                }
                try roster.admit(keyPackage.leafNode, at: nil)
            }
        }
    }

    private mutating func choosePreSharedKeys(
        _ pending: [PendingProposal], _ inline: [Proposal], _ keys: PreSharedKeys
    ) {
        var ids = Set<PreSharedKeyID>()
        for case .preSharedKey(let id) in inline { ids.insert(id) }
        let addsAnyone =
            !adds.isEmpty
            || pending.contains { $0.proposal.type == .add && references.contains($0.reference) }
        let (groupID, epoch) = (group.groupID, group.epoch)
        for proposal in pending {
            guard case .preSharedKey(let id) = proposal.proposal else { continue }
            take(proposal) { (_) throws(MLSError) in
                // Of this group's epochs every member has the current one; who came later, or is added
                // now, has no older one, and could never follow.
                if case .resumption(_, groupID, let old) = id.source {
                    guard old == epoch, !addsAnyone else { throw .missingPreSharedKey }
                }
                guard keys[id.source] != nil else { throw .missingPreSharedKey }
                guard ids.insert(id).inserted else { throw .invalid(.duplicatePreSharedKey) }
            }
        }
    }
}

extension ProposalSelection {
    /// What members must not have in common, and what they must (RFC 9420 §7.3).
    ///
    /// Stricter than a commit has to be: keys and credential types that an update gives up count until
    /// the next epoch. So whatever is admitted goes together with the rest, in any order.
    private struct Roster {
        private enum Holder: Hashable {
            case member(LeafIndex)
            case newcomer
            case parent
        }

        private var signatureKeys: [[UInt8]: Holder] = [:]
        private var encryptionKeys: [EncryptionKey: Holder] = [:]
        private var types: Set<CredentialType> = []
        /// The credential types that everyone supports.
        private var supported: Set<CredentialType>?

        private static func holder(_ leaf: LeafIndex?) -> Holder {
            leaf.map { .member($0) } ?? .newcomer
        }

        func hasClient(_ signatureKey: [UInt8]) -> Bool { signatureKeys[signatureKey] != nil }

        mutating func enter(_ leafNode: LeafNode, at leaf: LeafIndex?) {
            let holder = Self.holder(leaf)
            signatureKeys[leafNode.signatureKey] = holder
            encryptionKeys[EncryptionKey(octets: leafNode.encryptionKey)] = holder
            types.insert(leafNode.credential.type)
            let credentials = Set(leafNode.capabilities.credentials)
            supported = supported?.intersection(credentials) ?? credentials
        }

        mutating func enter(_ parent: ParentNode) {
            encryptionKeys[EncryptionKey(octets: parent.encryptionKey)] = .parent
        }

        mutating func admit(_ leafNode: LeafNode, at leaf: LeafIndex?) throws(MLSError) {
            func isFree(_ holder: Holder?) -> Bool {
                holder == nil || leaf != nil && holder == Self.holder(leaf)
            }
            guard isFree(signatureKeys[leafNode.signatureKey]) else {
                throw .invalid(.uniqueSignatureKey)
            }
            let other = encryptionKeys[EncryptionKey(octets: leafNode.encryptionKey)]
            guard other != .parent else { throw .invalid(.uniqueParentKey) }
            guard isFree(other) else { throw .invalid(.uniqueEncryptionKey) }
            guard supported?.contains(leafNode.credential.type) != false,
                types.isSubset(of: leafNode.capabilities.credentials)
            else { throw .invalid(.credentialTypeSupport) }
            enter(leafNode, at: leaf)
        }
    }
}

extension PendingProposal {
    /// Who is not in the group any more if a commit covers this.
    fileprivate var departing: LeafIndex? {
        switch (proposal, sender) {
        case (.selfRemove, .member(let leaf)), (.remove(let leaf), _): leaf
        default: nil
        }
    }
}

extension CommitContent {
    /// The leaf that the committer is going to have, if it says anything new; unsigned.
    fileprivate func newLeaf(replacing old: LeafNode?) -> LeafNode? {
        guard let old, leaf != nil || newSigningKey != nil else { return nil }
        let configuration = leaf ?? LeafConfiguration(old)
        return LeafNode(
            encryptionKey: old.encryptionKey,
            signatureKey: newSigningKey?.publicKey.bytes ?? old.signatureKey,
            credential: configuration.credential, capabilities: configuration.capabilities,
            source: .update, extensions: configuration.extensions, signature: [])
    }
}
