public import Cryptography
internal import TLSSyntax

/// Groups that continue others: re-initialization and branching (RFC 9420 §11.2, §11.3).
extension Group {
    /// The new group's first member's part, and what the others need to come along.
    public struct Continuation: Sendable {
        /// The new group, in its first epoch.
        public let group: Group
        /// The MLSMessage with the Welcome for all others.
        public let welcome: [UInt8]
    }

    /// Starts the group that a committed ReInit asks for (RFC 9420 §11.2).
    ///
    /// - Parameters:
    ///   - keyPackages: of all other members, for the new suite.
    ///   - leaf: what the own leaf says in the new group.
    ///   - signingKey: the key in that leaf.
    ///   - lifetime: of that leaf, until a commit replaces it.
    ///   - validator: is asked about the key packages.
    ///   - now: the caller's clock.
    /// - Throws: `.misuse(.notContinuable)` if no commit of a ReInit was merged.
    public func reInitialized(
        with keyPackages: [KeyPackage], leaf: LeafConfiguration, signingKey: SigningKey,
        lifetime: Lifetime, validator: some CredentialValidator, at now: UnixSeconds
    ) throws(MLSError) -> Continuation {
        guard let reInit else { throw .misuse(.notContinuable) }
        let old = members.filter { $0.index != ownLeafIndex }
        guard
            Self.areSame(
                keyPackages.map(\.leafNode), old.map(\.leafNode), validator: validator)
        else { throw .invalid(.continuesGroup) }
        return try continued(
            as: reInit.groupID, suite: reInit.cipherSuite, extensions: reInit.extensions,
            usage: .reInit, keyPackages: keyPackages, leaf: leaf, signingKey: signingKey,
            lifetime: lifetime, validator: validator, now: now)
    }

    /// Starts a group of some of the members (RFC 9420 §11.3).
    ///
    /// - Parameters:
    ///   - groupID: the new group's id: random octets.
    ///   - keyPackages: of the other members that are to be in it.
    ///   - extensions: of the new group's context.
    ///   - leaf: what the own leaf says in the new group.
    ///   - signingKey: the key in that leaf.
    ///   - lifetime: of that leaf, until a commit replaces it.
    ///   - validator: is asked about the key packages.
    ///   - now: the caller's clock.
    public func branched(
        as groupID: [UInt8], with keyPackages: [KeyPackage], extensions: [Extension] = [],
        leaf: LeafConfiguration, signingKey: SigningKey, lifetime: Lifetime,
        validator: some CredentialValidator, at now: UnixSeconds
    ) throws(MLSError) -> Continuation {
        guard
            keyPackages.allSatisfy({ keyPackage in
                members.contains { validator.isSameClient(keyPackage.leafNode, $0.leafNode) }
            })
        else { throw .invalid(.continuesGroup) }
        return try continued(
            as: groupID, suite: suite, extensions: extensions, usage: .branch,
            keyPackages: keyPackages, leaf: leaf, signingKey: signingKey, lifetime: lifetime,
            validator: validator, now: now)
    }

    private func continued(
        as groupID: [UInt8], suite: CipherSuite, extensions: [Extension], usage: ResumptionUsage,
        keyPackages: [KeyPackage], leaf: LeafConfiguration, signingKey: SigningKey,
        lifetime: Lifetime, validator: some CredentialValidator, now: UnixSeconds
    ) throws(MLSError) -> Continuation {
        var group = try Group.create(
            groupID: groupID, suite: suite, leaf: leaf, signingKey: signingKey,
            lifetime: lifetime, extensions: extensions, policy: policy)
        var content = CommitContent()
        content.adds = keyPackages
        content.preSharedKeys = [
            .resumption(usage: usage, groupID: self.groupID, epoch: epoch)
        ]
        content.resumptionUsage = usage
        let commit = try group.commit(
            content, signingKey: signingKey, validator: validator, at: now,
            preSharedKeys: withOwnResumptionSecrets(PreSharedKeys()))
        guard let welcome = commit.welcome else { throw .invalid(.continuesGroup) }
        try group.merge(commit, at: now)
        return Continuation(group: group, welcome: welcome)
    }

    /// Whether each of some leaves stands for a client of the others.
    private static func are(
        _ some: [LeafNode], among all: [LeafNode], validator: any CredentialValidator
    ) -> Bool {
        some.allSatisfy { leaf in all.contains { validator.isSameClient(leaf, $0) } }
    }

    /// Whether leaves stand for the same clients: none is missing, and none came along.
    private static func areSame(
        _ new: [LeafNode], _ old: [LeafNode], validator: any CredentialValidator
    ) -> Bool {
        new.count == old.count && are(old, among: new, validator: validator)
            && are(new, among: old, validator: validator)
    }

    /// Checks that a group joined by Welcome continues another as its keys say (§12.4.3.1).
    static func verifyContinuation(
        of previous: Group?, _ ids: [PreSharedKeyID], context: GroupContext, tree: RatchetTree,
        validator: any CredentialValidator
    ) throws(MLSError) {
        var tie: (usage: ResumptionUsage, groupID: [UInt8], epoch: UInt64)?
        for id in ids {
            if case .resumption(let usage, let groupID, let epoch) = id.source,
                usage != .application
            {
                tie = (usage, groupID, epoch)
            }
        }
        guard let tie else { return }
        guard let previous, previous.groupID == tie.groupID, context.epoch == 1 else {
            throw .invalid(.continuesGroup)
        }
        let newLeaves = tree.leaves.map(\.node)
        let oldLeaves = previous.members.map(\.leafNode)
        switch tie.usage {
        case .application:
            break
        case .reInit:
            guard let reInit = previous.reInit, tie.epoch == previous.epoch,
                reInit.groupID == context.groupID, reInit.version == .mls10,
                reInit.cipherSuite == context.cipherSuite,
                reInit.extensions == context.extensions,
                areSame(newLeaves, oldLeaves, validator: validator)
            else { throw .invalid(.continuesGroup) }
        case .branch:
            guard context.cipherSuite == previous.suite,
                are(newLeaves, among: oldLeaves, validator: validator)
            else { throw .invalid(.continuesGroup) }
        }
    }
}
