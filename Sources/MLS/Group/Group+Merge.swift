internal import Cryptography

extension Group {
    /// Enters the epoch of a received commit (RFC 9420 §12.4.2).
    ///
    /// - Throws: `.misuse(.staleCommit)` if it was made in another state of the group, for instance
    ///   before another commit was merged.
    public mutating func merge(
        _ commit: StagedCommit, at now: UnixSeconds
    ) throws(MLSError) {
        guard isActive else { throw .inactive }
        guard commit.base == current.confirmationTag,
            commit.next?.ownLeaf ?? ownLeafIndex == ownLeafIndex
        else { throw .misuse(.staleCommit) }
        spendHandshakeKeys(of: commit.isEncrypted ? commit.committer.index : nil)
        if let next = commit.next {
            advance(to: next, reInit: commit.reInit, at: now)
        } else {
            status = .removed
            forgetProposals()
            changedKeys.formUnion(currentKeys)
            current.retire()
            prunePastEpochs(at: now)
        }
    }

    /// Enters the epoch of an own commit, once the delivery service has taken it.
    ///
    /// - Throws: `.misuse(.staleCommit)` if it was made in another state of the group, for instance
    ///   before another commit was merged.
    public mutating func merge(
        _ commit: PendingCommit, at now: UnixSeconds
    ) throws(MLSError) {
        guard isActive else { throw .inactive }
        guard commit.base == current.confirmationTag, commit.next.ownLeaf == ownLeafIndex else {
            throw .misuse(.staleCommit)
        }
        spendHandshakeKeys(of: nil)
        advance(to: commit.next, reInit: commit.reInit, at: now)
    }

    private mutating func advance(to next: EpochState, reInit: ReInit?, at now: UnixSeconds) {
        changedKeys.formUnion([.epoch(epoch), .exporter(epoch: epoch)])
        past.insert(PastEpoch(messages: current.messages, endedAt: now), at: 0)
        current = next
        // The policy may be stricter than when a stored commit was made.
        current.applyExporterPolicy(policy)
        forgetProposals()
        resumptionSecrets.append((next.context.epoch, next.secrets.resumptionSecret))
        resumptionSecrets.removeFirst(
            max(0, resumptionSecrets.count - max(1, policy.resumptionSecretCount)))
        if let reInit { status = .reInitialized(reInit) }
        changedKeys.formUnion(currentKeys)
        prunePastEpochs(at: now)
    }

    private mutating func forgetProposals() {
        changedKeys.formUnion(proposalKeys)
        proposals = PendingProposals()
        updateKeys = [:]
    }

    /// Ends all handshakes of an epoch that a commit ends: only application data of it are still read.
    ///
    /// - Parameter leaf: whose encrypted commit it was, which may have been its first message.
    private mutating func spendHandshakeKeys(of leaf: LeafIndex?) {
        changedKeys.formUnion(
            current.messages.secretTree.endHandshakes(committer: leaf, in: epoch))
    }

    /// Forgets the keys of past epochs that policy no longer keeps. Every call that is told the time
    /// does this; a group at rest needs it from time to time (``pastEpochsEnd``).
    public mutating func prunePastEpochs(at now: UnixSeconds) {
        let kept = past.prefix(max(0, policy.pastEpochCount)).filter { policy.keeps($0, at: now) }
        guard kept.count < past.count else { return }
        let numbers = Set(kept.map(\.messages.epoch))
        for epoch in past where !numbers.contains(epoch.messages.epoch) {
            changedKeys.formUnion(keys(of: epoch.messages))
        }
        changedKeys.insert(.core)
        past = kept
    }

    /// When the next past epoch's time is up, if any is kept.
    public var pastEpochsEnd: UnixSeconds? {
        past.map { epoch in
            let (end, overflow) = epoch.endedAt.addingReportingOverflow(policy.pastEpochSeconds)
            return overflow || end == .max ? .max : end + 1
        }.min()
    }
}

extension GroupPolicy {
    /// Whether a past epoch is still readable.
    func keeps(_ epoch: PastEpoch, at now: UnixSeconds) -> Bool {
        now < epoch.endedAt || now - epoch.endedAt <= pastEpochSeconds
    }
}
