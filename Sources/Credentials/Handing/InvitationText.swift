public import Cryptography
internal import TLSSyntax

/// What an invitation's URI or file holds.
public enum InvitationText: Sendable {
    /// An invitation that can be used at once.
    case open(Invitation)
    /// One that asks for its PIN first.
    case sealed(SealedInvitation)

    /// Reads the text of a URI or file; blanks and line ends around it don't matter.
    ///
    /// - Throws: `.malformed` or `.unsupportedVersion`, each of `.invitation`.
    public init(_ text: String) throws(CredentialError) {
        let characters = Armour.content(of: text, scheme: Invitation.scheme)
        guard let characters, characters.count <= 4 * (Invitation.maximumByteCount / 3),
            var bytes = Base64URL.decode(characters)
        else { throw .malformed(.invitation) }
        defer { TLSWriter.wipe(&bytes) }
        if bytes.first == Invitation.sealedVersion {
            self = .sealed(try SealedInvitation(decoding: bytes))
        } else {
            self = .open(try Invitation(decoding: bytes))
        }
    }
}

/// An invitation under a PIN.
public struct SealedInvitation: Sendable {
    /// More than that no honest clinic asks for.
    private static let maximumCost = (passes: UInt32(16), memoryKiB: UInt32(1_048_576))

    private let head: [UInt8]
    private let salt: [UInt8]
    private let cost: PasswordHash.Cost
    private let sealed: [UInt8]

    init(decoding bytes: [UInt8]) throws(CredentialError) {
        guard bytes.count <= Invitation.maximumByteCount else { throw .malformed(.invitation) }
        (head, salt, cost, sealed) = try Strict.decode(
            bytes, as: .invitation, version: Invitation.sealedVersion
        ) { reader throws(TLSError) in
            let salt = try reader.readBytes(count: PasswordHash.saltByteCount)
            let passes = try reader.readUInt32()
            let memoryKiB = try reader.readUInt32()
            let head = reader.bytesRead(since: 0)
            guard passes <= Self.maximumCost.passes, memoryKiB <= Self.maximumCost.memoryKiB,
                let cost = try? PasswordHash.Cost(validating: passes, memoryKiB: memoryKiB)
            else { throw .invalidValue }
            return (head, salt, cost, try reader.readVector())
        }
    }

    /// Opens the invitation.
    ///
    /// - Throws: `.wrongPIN` if the PIN is wrong or the text was altered.
    public func open(pin: SecretBytes) throws(CredentialError) -> Invitation {
        var bytes: [UInt8]
        do {
            let key = try PasswordHash.deriveKey(from: pin, salt: salt, cost: cost)
            bytes = try Sealing.open(sealed, key: key, associatedData: head)
        } catch .authenticationFailed {
            throw .wrongPIN
        } catch {
            throw .cryptography(error)
        }
        defer { TLSWriter.wipe(&bytes) }
        return try Invitation(decoding: bytes)
    }
}

/// The form of texts that people copy: a scheme and base64url.
enum Armour {
    static func content(of text: String, scheme: String) -> Substring.UTF8View? {
        var content = text[...]
        while let last = content.last, last.isWhitespace { content.removeLast() }
        while let first = content.first, first.isWhitespace { content.removeFirst() }
        guard content.hasPrefix(scheme) else { return nil }
        return content.dropFirst(scheme.count).utf8
    }
}
