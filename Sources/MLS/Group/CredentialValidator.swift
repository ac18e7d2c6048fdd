/// The application's judgement of who somebody is (RFC 9420 §5.3.1): its Authentication Service.
///
/// Asked for every leaf that is about to enter a group: of a key package, an update, a commit's
/// path, and of all members when joining.
public protocol CredentialValidator: Sendable {
    /// Whether the credential belongs to the signature key and may be in this place.
    func accepts(_ subject: CredentialSubject) -> Bool

    /// Whether someone outside may propose to the group (RFC 9420 §5.3.1, §12.1.8.1).
    ///
    /// Asked for everyone on the list when a commit sets or changes it, and when joining. Unless the
    /// application says otherwise, nobody may.
    func accepts(_ sender: ExternalSender, groupID: [UInt8]) -> Bool

    /// Whether two leaves stand for the same client: when a group continues another (RFC 9420 §11.2,
    /// §11.3), and when a client that joins from outside removes its old self (§12.2). Unless the
    /// application says otherwise, they do if their credentials are the same.
    func isSameClient(_ first: LeafNode, _ second: LeafNode) -> Bool
}

extension CredentialValidator {
    /// Lets nobody outside propose.
    public func accepts(_ sender: ExternalSender, groupID: [UInt8]) -> Bool { false }

    /// Compares the credentials.
    public func isSameClient(_ first: LeafNode, _ second: LeafNode) -> Bool {
        first.credential == second.credential
    }
}

/// Whom a ``CredentialValidator`` is asked about.
public struct CredentialSubject: Sendable {
    /// Who the member says it is.
    public let credential: Credential
    /// The key that the member signs with: 32 octets, Ed25519.
    public let signatureKey: [UInt8]
    /// The extensions of the member's leaf.
    public let extensions: [Extension]
    /// The leaf that is being replaced, by an update, a commit, or a client that joins again.
    public let previous: LeafNode?
    /// The group, if it is known.
    public let groupID: [UInt8]
    /// The caller's clock.
    public let now: UnixSeconds
}
