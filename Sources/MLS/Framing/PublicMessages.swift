internal import Cryptography
internal import TLSSyntax

extension MessageEpoch {
    /// Frames a member's signed content as a PublicMessage (RFC 9420 §6.2).
    func protectPublicly(
        _ content: AuthenticatedContent, membershipKey: MembershipKey
    ) throws(MLSError) -> PublicMessage {
        if case .application = content.content.content { throw .misuse(.wrongMessageKind) }
        return PublicMessage(
            content: content.content, auth: content.auth,
            membershipTag: content.membershipTag(
                key: membershipKey, context: context, algorithms: algorithms))
    }

    /// Checks a PublicMessage's membership tag, sender and signature (RFC 9420 §6.1, §6.2).
    func unprotect(
        _ message: PublicMessage, membershipKey: MembershipKey, extensions: [Extension]
    ) throws(MLSError) -> VerifiedContent {
        let content = message.authenticatedContent
        if case .application = content.content.content {
            throw .invalid(.applicationIsPrivate)
        }
        if case .member = content.content.sender {
            let tag = content.membershipTag(
                key: membershipKey, context: context, algorithms: algorithms)
            guard let received = message.membershipTag, ConstantTime.areEqual(tag, received)
            else { throw .invalid(.membershipTag) }
        }
        return try content.verified(
            by: signatureKey(of: content.content, extensions: extensions), context: context,
            algorithms: algorithms)
    }

    /// The key that must have signed a content, by its sender's kind (RFC 9420 §6.1).
    private func signatureKey(
        of content: FramedContent, extensions: [Extension]
    ) throws(MLSError) -> [UInt8] {
        switch (content.sender, content.content) {
        case (.member(let leaf), _):
            guard let node = tree[leaf] else { throw .invalid(.senderIsMember) }
            return node.signatureKey
        case (.external(let index), .proposal):
            let list = try extensions.decoded(.externalSenders, as: ExternalSenders.self)
            guard let senders = list?.senders, senders.indices.contains(Int(index)) else {
                throw .invalid(.externalSender)
            }
            return senders[Int(index)].signatureKey
        case (.newMemberProposal, .proposal(.add(let keyPackage))):
            return keyPackage.leafNode.signatureKey
        case (.newMemberCommit, .commit(let commit)):
            guard let path = commit.path else { throw .invalid(.externalCommitShape) }
            return path.leafNode.signatureKey
        default:
            throw .invalid(.senderMaySend)
        }
    }
}
