internal import Cryptography
internal import MLS

/// What the fixtures' groups have in common: they take all that a group can be told to take.
protocol FuzzFixture {}

extension FuzzFixture {
    static var now: UnixSeconds { 1_800_000_000 }
    static var lifetime: Lifetime { Lifetime(notBefore: now - 3600, notAfter: now + 86_400) }
    static var suite: CipherSuite { .x25519ChaCha20 }
    static var customProposal: ProposalType { ProposalType(rawValue: 0xF0AA) }
    static var component: ComponentID { ComponentID(rawValue: 0x8001) }

    static var policy: GroupPolicy {
        var policy = GroupPolicy.standard
        policy.acceptsExternalCommits = true
        policy.acceptsNewMemberProposals = true
        policy.handshakeFormat = .publicMessage
        policy.applicationProposals = [
            customProposal: ApplicationProposalRules(isOpenToOutsiders: true)
        ]
        policy.ephemeralComponents = [component]
        return policy
    }

    /// The extension that lets an outsider make proposals.
    static func allowing(_ outsider: SigningKey) -> Extension {
        ExternalSender.groupContextExtension([
            ExternalSender(
                signatureKey: outsider.publicKey.bytes, credential: .basic(identity: [7]))
        ])
    }
}
