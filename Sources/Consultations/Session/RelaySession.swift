import Cryptography
import RelayProtocol

/// The handshake of one connection (`protocol/relay.md`): a greeting, a challenge that the pinned
/// key must have signed, and after it the proofs that open mailboxes. No proof exists before.
struct RelaySession {
    /// Why a relay isn't spoken to.
    enum Failure: Error, Equatable {
        /// The challenge isn't the pinned relay's, for this connection.
        case untrusted
        /// Something came that the protocol doesn't allow here.
        case unexpected
    }

    private enum Phase {
        case fresh
        case greeted(nonce: [UInt8])
        case open(OpeningProof, PublishedLimits)
    }

    private let relayKey: VerifyingKey
    private var phase = Phase.fresh

    init(relayKey: VerifyingKey) { self.relayKey = relayKey }

    /// The first frame; `nonce` is 32 random octets that are used once.
    mutating func greet(nonce: [UInt8]) -> ClientFrame {
        phase = .greeted(nonce: nonce)
        return ClientFrame(hello: Hello(nonce: nonce))
    }

    /// Checks the relay's introduction. After it mailboxes can be opened.
    mutating func receive(_ challenge: Challenge) throws(Failure) {
        guard case .greeted(let nonce) = phase else { throw .unexpected }
        do {
            try RelayIntroduction.verify(challenge, clientNonce: nonce, pinned: relayKey)
        } catch {
            throw .untrusted
        }
        let proof = OpeningProof(
            relayKey: relayKey, clientNonce: nonce, relayNonce: challenge.nonce)
        phase = .open(proof, challenge.limits)
    }

    /// What the relay accepts; `nil` before its challenge.
    var limits: PublishedLimits? {
        if case .open(_, let limits) = phase { limits } else { nil }
    }

    /// The request that opens a mailbox on this connection; `nil` before the challenge.
    func opening(
        of key: SigningKey, counter: UInt64, creation: Opening.Creation?
    ) throws(CryptographyError) -> Request? {
        guard case .open(let proof, _) = phase, let mailbox = MailboxID(key.publicKey.bytes) else {
            return nil
        }
        let signature = try proof.sign(with: key, counter: counter, creation: creation)
        let opening = Opening(counter: counter, signature: signature, creation: creation)
        return Request(mailbox: mailbox, id: .opening, operation: .open(opening))
    }
}
