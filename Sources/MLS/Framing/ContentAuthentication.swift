internal import Cryptography
internal import TLSSyntax

extension FramedContent {
    /// `FramedContentTBS` (RFC 9420 §6.1).
    ///
    /// - Parameter context: the encoded group context, which members and external joiners sign too.
    func toBeSigned(wireFormat: WireFormat, context: [UInt8]) -> [UInt8] {
        var writer = TLSWriter()
        writer.reserve(estimatedByteCount + context.count + 4)
        writer.write(code: ProtocolVersion.mls10)
        writer.write(code: wireFormat)
        writer.write(self)
        switch sender {
        case .member, .newMemberCommit: writer.write(bytes: context)
        case .external, .newMemberProposal: break
        }
        return writer.bytes
    }

    /// Signs the content for a wire format (RFC 9420 §6.1).
    func signature(
        wireFormat: WireFormat, context: [UInt8], key: SigningKey, algorithms: CipherAlgorithms
    ) throws(MLSError) -> [UInt8] {
        try algorithms.sign(
            toBeSigned(wireFormat: wireFormat, context: context), label: "FramedContentTBS",
            with: key)
    }
}

/// Content whose signature was checked. Only `AuthenticatedContent.verified` makes one.
struct VerifiedContent: Sendable {
    let authenticated: AuthenticatedContent

    var content: FramedContent { authenticated.content }

    fileprivate init(_ authenticated: AuthenticatedContent) { self.authenticated = authenticated }
}

extension AuthenticatedContent {
    /// Checks the signature (RFC 9420 §6.1).
    func verified(
        by signatureKey: [UInt8], context: [UInt8], algorithms: CipherAlgorithms
    ) throws(MLSError) -> VerifiedContent {
        guard
            algorithms.isValid(
                signature: auth.signature,
                of: content.toBeSigned(wireFormat: wireFormat, context: context),
                label: "FramedContentTBS", by: signatureKey)
        else { throw .invalid(.contentSignature) }
        return VerifiedContent(self)
    }

    /// The reference by which commits name this message's proposal (RFC 9420 §5.2).
    func proposalReference(_ algorithms: CipherAlgorithms) -> ProposalRef {
        ProposalRef(bytes: algorithms.refHash("MLS 1.0 Proposal Reference", encoded()))
    }

    /// `membership_tag` (RFC 9420 §6.2).
    func membershipTag(
        key: MembershipKey, context: [UInt8], algorithms: CipherAlgorithms
    ) -> [UInt8] {
        var writer = TLSWriter()
        writer.write(bytes: content.toBeSigned(wireFormat: wireFormat, context: context))
        auth.encode(to: &writer)
        return algorithms.authenticationCode(key: key.bytes, for: writer.bytes)
    }
}
