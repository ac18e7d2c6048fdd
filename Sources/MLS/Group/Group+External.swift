public import Cryptography
internal import TLSSyntax

/// Coming from outside: GroupInfos, external commits and external proposals (RFC 9420 §12.1.8,
/// §12.4.3.2).
extension Group {
    /// The current epoch as outsiders are told of it (RFC 9420 §12.4.3).
    ///
    /// - Parameters:
    ///   - allowsJoining: whether it holds the key for external commits.
    ///   - includesTree: whether it holds the ratchet tree.
    ///   - paddingBucket: pads it to a multiple of this many octets; 0 for no padding.
    ///   - signingKey: the key in the own leaf.
    /// - Returns: an MLSMessage with a GroupInfo.
    public func groupInfo(
        allowsJoining: Bool, includesTree: Bool = true, paddingBucket: Int = 0,
        signingKey: SigningKey
    ) throws(MLSError) -> [UInt8] {
        try requireActive(signingKey)
        return MLSMessage.groupInfo(
            try current.groupInfo(
                includesTree: includesTree, includesExternalKey: allowsJoining,
                paddingBucket: paddingBucket, signingKey: signingKey)
        ).encoded()
    }

    /// The current epoch's ratchet tree (RFC 9420 §12.4.3.3).
    public var ratchetTree: [UInt8] { current.tree.encoded() }

    /// An external commit that waits for the delivery service's word.
    public struct ExternalJoin: Sendable {
        /// The group as it is once the commit was taken. Drop it if it was not.
        public let group: Group
        /// The MLSMessage to send.
        public let message: [UInt8]
        /// SHA-256 of `message`.
        public let commitHash: [UInt8]
    }

    /// Joins a group by an external commit (RFC 9420 §12.4.3.2).
    ///
    /// - Parameters:
    ///   - groupInfo: an MLSMessage with a GroupInfo that allows joining.
    ///   - ratchetTree: the tree, if the GroupInfo comes without.
    ///   - leaf: what the own leaf is to say.
    ///   - signingKey: the key in that leaf.
    ///   - old: the own old leaf, to be removed by the same commit.
    ///   - selfRemoves: the pending SelfRemove messages of the epoch (MLS extensions draft).
    ///   - sources: pre-shared keys to mix in; `preSharedKeys` must hold them.
    ///   - preSharedKeys: the keys that are named in `sources`.
    ///   - validator: is asked about every member.
    ///   - now: the caller's clock.
    ///   - policy: the application's choices for this group.
    public static func joinExternally(
        groupInfo: [UInt8], ratchetTree: [UInt8]? = nil, leaf: LeafConfiguration,
        signingKey: SigningKey, replacing old: LeafIndex? = nil, selfRemoves: [[UInt8]] = [],
        mixingIn sources: [PreSharedKeySource] = [],
        preSharedKeys: PreSharedKeys = PreSharedKeys(), validator: some CredentialValidator,
        at now: UnixSeconds, policy: GroupPolicy = .standard
    ) throws(MLSError) -> ExternalJoin {
        try policy.checkSize(of: groupInfo, ratchetTree)
        guard let decoded = try? MLSMessage(decoding: groupInfo) else { throw .malformed }
        guard case .groupInfo(let groupInfo) = decoded else { throw .misuse(.wrongMessageKind) }
        let context = groupInfo.groupContext
        guard let algorithms = CipherAlgorithms(context.cipherSuite) else {
            throw .unsupportedCipherSuite
        }
        let checks = try LeafChecks(
            algorithms: algorithms, groupID: context.groupID, extensions: context.extensions,
            policy: policy, validator: validator, now: now, isSending: false)
        let oldTree = try verifiedTree(
            ratchetTree, groupInfo: groupInfo, checks: checks, algorithms: algorithms)
        guard
            let external = try groupInfo.extensions.decoded(.externalPub, as: ExternalPub.self)
        else { throw .misuse(.notContinuable) }
        let kem: (kemOutput: [UInt8], secret: SecretBytes)
        let leafKey: HPKEPrivateKey
        do {
            kem = try HPKESetup(info: [], algorithms: algorithms).export(
                to: external.key, context: ExternalInitialization.context,
                count: algorithms.hashByteCount)
            leafKey = try .generate(algorithms)
        } catch {
            throw .invalid(.publicKey)
        }

        var leaving = Set<LeafIndex>()
        var list: [(entry: ProposalOrRef, committed: CommittedProposal)] = []
        for message in selfRemoves {
            let (leaf, reference) = try selfRemove(
                message, context: context, tree: oldTree, algorithms: algorithms)
            guard leaving.insert(leaf).inserted else { continue }
            list.append(
                (
                    .reference(reference),
                    CommittedProposal(
                        PendingProposal(
                            reference: reference, sender: .member(leaf), proposal: .selfRemove),
                        checked: .signature)
                ))
        }
        var inline: [Proposal] = [.externalInit(kemOutput: kem.kemOutput)]
        // Where both ask for the same, a SelfRemove goes before a Remove.
        if let old, !leaving.contains(old) { inline.append(.remove(old)) }
        inline += sources.map {
            .preSharedKey(
                PreSharedKeyID(source: $0, nonce: Random.bytes(algorithms.hashByteCount)))
        }
        list =
            inline.map { proposal in
                (
                    .proposal(proposal),
                    CommittedProposal(proposal: proposal, sender: .newMemberCommit)
                )
            } + list
        let applied = try AppliedProposals(
            list.map(\.committed), tree: oldTree, context: context, committer: nil,
            policy: policy
        ) { (_: [Extension]) throws(MLSError) in checks }

        var tree = applied.tree
        let own = try tree.makeRoomForLeaf()
        let (number, overflow) = context.epoch.addingReportingOverflow(1)
        guard !overflow else { throw .inactive }
        var next = context
        next.epoch = number
        let steps = tree.filteredDirectPath(of: own)
        let secrets = try PathSecrets(
            from: PathSecret(.random(count: algorithms.hashByteCount)), count: steps.count,
            algorithms: algorithms)
        let parentHash = tree.setPath(
            of: own, steps: steps, keys: secrets.keys.map(\.publicKey))
        let leafNode = try LeafNode(
            leaf, encryptionKey: leafKey.publicKey, source: .commit(parentHash: parentHash),
            place: LeafNode.Place(groupID: context.groupID, leaf: own), signingKey: signingKey,
            algorithms: algorithms)
        try checks.validateCapabilities(of: leafNode)
        if let old = applied.resynced, !validator.isSameClient(leafNode, old) {
            throw .invalid(.resyncIdentity)
        }
        tree.set(own.node, to: .leaf(leafNode))
        try checks.validateTogether(tree)
        next.treeHash = tree.treeHash()
        var privateKeys = TreePrivateKeys(leaf: own, key: leafKey)
        for (step, key) in zip(steps, secrets.keys) { privateKeys[step.parent] = key }
        let path = UpdatePath(
            leafNode: leafNode,
            nodes: try tree.encrypt(
                secrets, steps: steps, excluding: [], context: next.encoded()))

        let framed = FramedContent(
            groupID: context.groupID, epoch: context.epoch, sender: .newMemberCommit,
            authenticatedData: [],
            content: .commit(Commit(proposals: list.map(\.entry), path: path)))
        let signature = try framed.signature(
            wireFormat: .publicMessage, context: context.encoded(), key: signingKey,
            algorithms: algorithms)
        let unconfirmed = AuthenticatedContent(
            wireFormat: .publicMessage, content: framed,
            auth: FramedContentAuthData(signature: signature, confirmationTag: nil))
        let interimHash = Transcript.interimHash(
            after: context.confirmedTranscriptHash, confirmationTag: groupInfo.confirmationTag,
            algorithms: algorithms)
        next.confirmedTranscriptHash = Transcript.confirmedHash(
            after: interimHash, unconfirmed, algorithms: algorithms)
        let joined = JoinedSecrets(
            joinerSecret: JoinerSecret(
                initSecret: InitSecret(kem.secret), commitSecret: secrets.commitSecret,
                context: next.encoded(), algorithms: algorithms),
            preSharedKeys: try preSharedKeys.combined(
                applied.preSharedKeys, algorithms: algorithms),
            algorithms: algorithms)
        let state = try EpochState(
            context: next,
            epochSecret: joined.epochSecret(context: next.encoded(), algorithms: algorithms),
            tree: tree, privateKeys: privateKeys, ownLeaf: own, policy: policy, confirmationTag: nil
        )
        let confirmed = unconfirmed.confirmed(by: state.confirmationTag)
        let message = MLSMessage.publicMessage(
            PublicMessage(content: confirmed.content, auth: confirmed.auth, membershipTag: nil)
        ).encoded()
        return ExternalJoin(
            group: Group(state, policy: policy), message: message,
            commitHash: Hash.sha256(message))
    }

    /// Checks a SelfRemove as far as an outsider can (MLS extensions draft).
    private static func selfRemove(
        _ message: [UInt8], context: GroupContext, tree: RatchetTree,
        algorithms: CipherAlgorithms
    ) throws(MLSError) -> (leaf: LeafIndex, reference: ProposalRef) {
        guard let decoded = try? MLSMessage(decoding: message) else { throw .malformed }
        guard case .publicMessage(let message) = decoded,
            case .proposal(.selfRemove) = message.content.content,
            case .member(let leaf) = message.content.sender
        else { throw .misuse(.wrongMessageKind) }
        guard message.content.groupID == context.groupID else { throw .wrongGroup }
        guard message.content.epoch == context.epoch else {
            throw .wrongEpoch(message.content.epoch)
        }
        guard let node = tree[leaf] else { throw .invalid(.senderIsMember) }
        let content = message.authenticatedContent
        _ = try content.verified(
            by: node.signatureKey, context: context.encoded(), algorithms: algorithms)
        return (leaf, content.proposalReference(algorithms))
    }

    /// A proposal of an outsider whom the group's `external_senders` name (RFC 9420 §12.1.8).
    ///
    /// - Parameters:
    ///   - proposal: what to ask for.
    ///   - groupID: the group's id.
    ///   - epoch: the current epoch, in which alone the proposal counts.
    ///   - suite: the group's suite.
    ///   - senderIndex: the place in that list.
    ///   - signingKey: the key that the list names.
    /// - Returns: an MLSMessage.
    public static func externalProposal(
        _ proposal: Proposal, groupID: [UInt8], epoch: UInt64, suite: CipherSuite,
        senderIndex: UInt32, signingKey: SigningKey
    ) throws(MLSError) -> [UInt8] {
        try externalMessage(
            proposal, groupID: groupID, epoch: epoch, suite: suite,
            sender: .external(index: senderIndex), signingKey: signingKey)
    }

    /// A client's own proposal to be added (RFC 9420 §12.1.8).
    ///
    /// - Returns: an MLSMessage.
    public static func newMemberProposal(
        _ keyPackage: KeyPackage, groupID: [UInt8], epoch: UInt64, signingKey: SigningKey
    ) throws(MLSError) -> [UInt8] {
        try externalMessage(
            .add(keyPackage), groupID: groupID, epoch: epoch, suite: keyPackage.cipherSuite,
            sender: .newMemberProposal, signingKey: signingKey)
    }

    private static func externalMessage(
        _ proposal: Proposal, groupID: [UInt8], epoch: UInt64, suite: CipherSuite,
        sender: Sender, signingKey: SigningKey
    ) throws(MLSError) -> [UInt8] {
        guard let algorithms = CipherAlgorithms(suite) else { throw .unsupportedCipherSuite }
        let framed = FramedContent(
            groupID: groupID, epoch: epoch, sender: sender, authenticatedData: [],
            content: .proposal(proposal))
        let signature = try framed.signature(
            wireFormat: .publicMessage, context: [], key: signingKey, algorithms: algorithms)
        return MLSMessage.publicMessage(
            PublicMessage(
                content: framed,
                auth: FramedContentAuthData(signature: signature, confirmationTag: nil),
                membershipTag: nil)
        ).encoded()
    }
}
