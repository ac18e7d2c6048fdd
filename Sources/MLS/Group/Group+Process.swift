internal import Cryptography
internal import TLSSyntax

extension Group {
    /// Takes in a message (RFC 9420 §6, §12, §15).
    ///
    /// Application data and proposals are final with this call. A commit is only staged, and can be
    /// processed again, also after a restart; ``merge(_:at:)-(StagedCommit,_)`` starts the new epoch.
    ///
    /// - Parameters:
    ///   - message: an MLSMessage with a PrivateMessage or PublicMessage.
    ///   - validator: is asked about leaves that come in, and about outsiders who may propose.
    ///   - now: the caller's clock, for leaf lifetimes and the credential validator.
    ///   - preSharedKeys: those that a commit may ask for, besides the group's own.
    public mutating func process(
        _ message: [UInt8], validator: some CredentialValidator, at now: UnixSeconds,
        preSharedKeys: PreSharedKeys = PreSharedKeys()
    ) throws(MLSError) -> ReceivedMessage {
        try policy.checkSize(of: message)
        let decoded: MLSMessage
        do { decoded = try MLSMessage(decoding: message) } catch { throw .malformed }
        let arrival = Arrival(
            hash: Hash.sha256(message), validator: validator, now: now,
            preSharedKeys: preSharedKeys)
        let received: ReceivedMessage
        switch decoded {
        case .privateMessage(let message): received = try process(message, arrival)
        case .publicMessage(let message): received = try process(message, arrival)
        case .welcome, .groupInfo, .keyPackage: throw .misuse(.wrongMessageKind)
        }
        prunePastEpochs(at: now)
        return received
    }

    /// What comes along with a message.
    struct Arrival {
        let hash: [UInt8]
        let validator: any CredentialValidator
        let now: UnixSeconds
        let preSharedKeys: PreSharedKeys
    }

    private mutating func process(
        _ message: PrivateMessage, _ arrival: Arrival
    ) throws(MLSError) -> ReceivedMessage {
        guard message.groupID == groupID else { throw .wrongGroup }
        guard message.epoch == epoch else { return try processPast(message, arrival) }
        guard status != .removed else { throw .inactive }
        let unprotected = try current.messages.unprotect(
            message, ownLeaf: ownLeafIndex, window: policy.window)
        guard case .content(let verified, let origin) = unprotected else {
            return own(unprotected, message, arrival)
        }
        let received: ReceivedMessage
        var kept: SecretTree.Opened? = origin.opened
        switch verified.content.content {
        case .application(let data):
            received = application(data, verified, from: origin)
        case .proposal(let proposal):
            received = .proposal(try admit(proposal, verified, arrival))
        case .commit:
            // It can be looked at again until an epoch ends. The merge of whichever commit ends it
            // must find the ratchets of this one, should it lose, to end them, too.
            received = .commit(try stage(verified, arrival))
            kept = origin.opened.unspent
        }
        if let kept {
            current.messages.secretTree.keep(kept)
            changedKeys.formUnion(kept.changes(in: epoch))
        }
        return received
    }

    private mutating func processPast(
        _ message: PrivateMessage, _ arrival: Arrival
    ) throws(MLSError) -> ReceivedMessage {
        guard
            let index = past.firstIndex(where: { $0.messages.epoch == message.epoch }),
            policy.keeps(past[index], at: arrival.now)
        else { throw .wrongEpoch(message.epoch) }
        if message.contentType != .application {
            // Of others' handshakes of the past nothing can follow.
            guard try past[index].messages.isOwn(message, ownLeaf: ownLeafIndex) else {
                throw .wrongEpoch(message.epoch)
            }
        }
        let unprotected = try past[index].messages.unprotect(
            message, ownLeaf: ownLeafIndex, window: policy.window)
        guard case .content(let verified, let origin) = unprotected else {
            return own(unprotected, message, arrival)
        }
        guard case .application(let data) = verified.content.content else { throw .malformed }
        let received = application(data, verified, from: origin)
        past[index].messages.secretTree.keep(origin.opened)
        changedKeys.formUnion(origin.opened.changes(in: message.epoch))
        return received
    }

    private func own(
        _ unprotected: MessageEpoch.Unprotected, _ message: PrivateMessage, _ arrival: Arrival
    ) -> ReceivedMessage {
        var generation: UInt32?
        if case .own(let number) = unprotected { generation = number }
        return .own(
            OwnMessage(
                contentType: message.contentType, epoch: message.epoch, generation: generation,
                messageHash: arrival.hash))
    }

    private func application(
        _ data: [UInt8], _ verified: VerifiedContent, from origin: MessageEpoch.Origin
    ) -> ReceivedMessage {
        .application(
            ApplicationMessage(
                sender: origin.sender, generation: origin.generation,
                epoch: verified.content.epoch,
                authenticatedData: verified.content.authenticatedData, plaintext: data))
    }

    private mutating func process(
        _ message: PublicMessage, _ arrival: Arrival
    ) throws(MLSError) -> ReceivedMessage {
        guard message.content.groupID == groupID else { throw .wrongGroup }
        guard message.content.epoch == epoch else { throw .wrongEpoch(message.content.epoch) }
        guard status != .removed else { throw .inactive }
        let verified = try current.messages.unprotect(
            message, membershipKey: current.secrets.membershipKey, extensions: extensions)
        if case .member(ownLeafIndex) = verified.content.sender {
            return .own(
                OwnMessage(
                    contentType: verified.content.content.type, epoch: epoch, generation: nil,
                    messageHash: arrival.hash))
        }
        if case .proposal(let proposal) = verified.content.content {
            return .proposal(try admit(proposal, verified, arrival))
        }
        return .commit(try stage(verified, arrival))
    }

    /// Checks a received proposal by itself (RFC 9420 §12.1) and keeps it.
    private mutating func admit(
        _ proposal: Proposal, _ verified: VerifiedContent, _ arrival: Arrival
    ) throws(MLSError) -> PendingProposal {
        if verified.content.sender == .newMemberProposal, !policy.acceptsNewMemberProposals {
            throw .refusedByPolicy
        }
        let pending = PendingProposal(
            reference: verified.authenticated.proposalReference(algorithms),
            sender: verified.content.sender, proposal: proposal)
        guard proposals[pending.reference] == nil else { return pending }
        guard
            proposals.hasRoom(
                for: proposal, from: pending.sender, among: policy.keptProposalsPerSender)
        else { throw .refusedByPolicy }
        try validate(
            proposal, from: pending.sender,
            checks(
                extensions: extensions, validator: arrival.validator, now: arrival.now,
                isSending: false))
        keep(pending)
        return pending
    }

    /// Keeps a proposal for the epoch's commit. One that is known already has the same reference: a
    /// public message with the same content is the same message.
    mutating func keep(_ pending: PendingProposal) {
        guard proposals[pending.reference] == nil else { return }
        changedKeys.insert(.proposal(UInt32(truncatingIfNeeded: proposals.all.count)))
        proposals.append(pending)
    }

    /// The rules of RFC 9420 §12.1 for a proposal that stands by itself.
    func validate(
        _ proposal: Proposal, from sender: Sender, _ checks: LeafChecks
    ) throws(MLSError) {
        guard proposal.encoded().count <= policy.maximumProposalByteCount else {
            throw .refusedByPolicy
        }
        switch proposal {
        case .add(let keyPackage):
            try checks.validate(keyPackage)
        case .update(let leafNode):
            guard case .member(let leaf) = sender, let old = current.tree[leaf] else {
                throw .invalid(.senderMaySend)
            }
            try checks.validate(leafNode, as: .update(leaf, replacing: old))
        case .remove(let leaf):
            guard current.tree[leaf] != nil else { throw .invalid(.removedIsMember) }
        case .preSharedKey(let id):
            guard id.nonce.count == algorithms.hashByteCount else {
                throw .invalid(.preSharedKeyNonce)
            }
            if case .resumption(let usage, _, _) = id.source, usage != .application {
                throw .invalid(.preSharedKeyUsage)
            }
        case .reInit(let reInit):
            guard reInit.version.rawValue >= ProtocolVersion.mls10.rawValue else {
                throw .invalid(.reInitVersion)
            }
            guard reInit.extensions.hasDistinctTypes else { throw .invalid(.duplicateExtension) }
        case .externalInit:
            throw .invalid(.externalInitInside)
        case .groupContextExtensions(let extensions):
            try self.checks(
                extensions: extensions, validator: checks.validator, now: checks.now,
                isSending: checks.isSending
            ).validateExternalSenders(known: self.extensions)
        case .selfRemove:
            guard case .member = sender else { throw .invalid(.senderMaySend) }
        case .application(let proposal):
            try policy.validate(proposal, from: sender)
        }
    }
}
