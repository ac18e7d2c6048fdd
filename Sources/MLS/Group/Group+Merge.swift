internal import Cryptography

extension Group {
    /// Enters the epoch of a received commit (RFC 9420 §12.4.2).
    ///
    /// - Throws: `.misuse(.staleCommit)` if another commit was merged since, or if it was not this
    ///   member's view of this very epoch that staged it.
    public mutating func merge(
        _ commit: StagedCommit, at now: UnixSeconds
    ) throws(MLSError) {
        guard isActive else { throw .inactive }
        guard commit.base == current.confirmationTag,
            commit.next?.ownLeaf ?? ownLeafIndex == ownLeafIndex
        else { throw .misuse(.staleCommit) }
        if let next = commit.next {
            advance(to: next, reInit: commit.reInit, at: now)
        } else {
            status = .removed
            proposals = []
            updateKeys = [:]
            changedKeys.insert(.core)
        }
    }

    /// Enters the epoch of an own commit, once the delivery service has taken it.
    ///
    /// - Throws: `.misuse(.staleCommit)` if another commit was merged since, or if it was not made by
    ///   this member in this very epoch.
    public mutating func merge(
        _ commit: PendingCommit, at now: UnixSeconds
    ) throws(MLSError) {
        guard isActive else { throw .inactive }
        guard commit.base == current.confirmationTag, commit.next.ownLeaf == ownLeafIndex else {
            throw .misuse(.staleCommit)
        }
        advance(to: commit.next, reInit: commit.reInit, at: now)
    }

    private mutating func advance(to next: EpochState, reInit: ReInit?, at now: UnixSeconds) {
        changedKeys.formUnion([.epoch(epoch), .exporter(epoch: epoch)])
        past.insert(PastEpoch(messages: current.messages, endedAt: now), at: 0)
        current = next
        // The policy may be stricter than when a stored commit was made.
        current.applyExporterPolicy(policy)
        proposals = []
        updateKeys = [:]
        resumptionSecrets.append((next.context.epoch, next.secrets.resumptionSecret))
        resumptionSecrets.removeFirst(
            max(0, resumptionSecrets.count - max(1, policy.resumptionSecretCount)))
        if let reInit { status = .reInitialized(reInit) }
        changedKeys.formUnion(currentKeys)
        prunePastEpochs(at: now)
    }

    /// Forgets the keys of past epochs that policy no longer keeps.
    public mutating func prunePastEpochs(at now: UnixSeconds) {
        let kept = past.prefix(max(0, policy.pastEpochCount)).filter { epoch in
            now < epoch.endedAt || now - epoch.endedAt <= policy.pastEpochSeconds
        }
        for epoch in past.dropFirst(kept.count) {
            changedKeys.formUnion(keys(of: epoch.messages))
            changedKeys.insert(.core)
        }
        past = Array(kept)
    }
}
