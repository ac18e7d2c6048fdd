/// Why a call was refused. The group is exactly as it was before the call.
public indirect enum MLSError: Error, Equatable, Sendable {
    /// The bytes are no such structure (RFC 9420 §2.1). Fault: sender.
    case malformed
    /// A rule of RFC 9420 does not hold. Fault: sender.
    case invalid(ValidationRule)
    /// This part of a commit's content can't be in it. Fault: caller, or where the part came from.
    case unsuitable(CommitPart, because: MLSError)
    /// The suite is not one of ours. Fault: sender, or caller who chose it.
    case unsupportedCipherSuite
    /// The message belongs to another group. Fault: network.
    case wrongGroup
    /// The message belongs to this epoch, which is neither current nor kept. Fault: network.
    case wrongEpoch(UInt64)
    /// No key for this generation: used already, or beyond the window (§9.2). Fault: network.
    case keyUnavailable(generation: UInt32)
    /// Key, tag or signature do not fit; which of them, nobody is told. Fault: sender.
    case undecryptable
    /// A commit refers to a proposal that has not come yet. Fault: network.
    case missingProposal
    /// A pre-shared key that the message needs was not given. Fault: caller.
    case missingPreSharedKey
    /// A Welcome for other key packages. Fault: network.
    case notAddressedToUs
    /// A Welcome to a group that the client is in already. Fault: network.
    case alreadyJoined
    /// The credential validator refused a member. Fault: that member.
    case credentialRefused
    /// The application's policy does not take such messages. Fault: sender.
    case refusedByPolicy
    /// This client was removed, or the group ended with a ReInit. Fault: caller.
    case inactive
    /// The call makes no sense now. Fault: caller.
    case misuse(Misuse)
    /// Stored state can't be read back. Fault: disk.
    case corruptState
    /// The machine could not provide memory or randomness. Fault: the machine.
    case machine
}

/// What was wrong with a call.
public enum Misuse: Hashable, Sendable {
    /// The signing key is not the one in the own leaf.
    case wrongSigningKey
    /// A staged or pending commit belongs to another group or epoch.
    case staleCommit
    /// The sender's ratchet has no generation left in this epoch.
    case ratchetExhausted
    /// An exported secret can't be that long.
    case exportTooLong
    /// The secret to be exported was destroyed, or given out already where it can be only once.
    case exporterDestroyed
    /// The exporter is whole: restrict it to labels before destroying one.
    case exporterUnrestricted
    /// A SelfRemove was sent already in this epoch (MLS extensions draft).
    case alreadyLeaving
    /// The message is too long to be encoded.
    case messageTooLong
    /// The message is not of a kind that this call takes.
    case wrongMessageKind
    /// The group has no such ReInit, or a GroupInfo no external key.
    case notContinuable
}
