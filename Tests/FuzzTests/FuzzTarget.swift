private import Credentials
private import Cryptography
private import MLS
private import Prescriptions
private import RelayProtocol
private import TLSSyntax

/// A door through which bytes from outside come in.
///
/// `tools/fuzz` runs each under libFuzzer; the tests feed the same doors with seeded mutations.
public enum FuzzTarget: String, CaseIterable, Sendable {
    /// The reader of the presentation language, driven by the input itself.
    case syntax
    /// A message to a group; what is refused must not change it.
    case message
    /// A proposal of somebody whose proposals the group takes, and the commit that covers it.
    case proposal
    /// A key package.
    case keyPackage
    /// A Welcome for a key package of ours.
    case welcome
    /// A ratchet tree that goes with a true Welcome.
    case tree
    /// A GroupInfo for joining from outside.
    case groupInfo
    /// A script that changes a tree; what fits it is made, signed, and sealed in a Welcome or shown to a
    /// client that joins from outside.
    case forgedWelcome
    /// A script that makes a commit; it is hashed, tagged and signed with the sender's keys.
    case forgedCommit
    /// Stored state.
    case state
    /// Frames of the relay's wire, both ways.
    case relayFrame
    /// What members say inside the encryption: words, marks, notes of files.
    case payload
    /// Tokens, tickets and receipts.
    case relayStructure
    /// A prescription and a draft of one.
    case prescription
    /// Cards, invitations, vouchers, certificates.
    case credential

    /// Feeds the bytes in. Refusing them is fine; a trap, or a change by what was refused, is not.
    public func run(_ bytes: [UInt8]) {
        switch self {
        case .syntax: Self.runSyntax(bytes)
        case .message: GroupFixture.shared.receive(bytes)
        case .proposal: GroupFixture.shared.cover(bytes)
        case .keyPackage: GroupFixture.shared.add(bytes)
        case .welcome: GroupFixture.shared.join(welcome: bytes)
        case .tree: GroupFixture.shared.join(tree: bytes)
        case .groupInfo: GroupFixture.shared.join(groupInfo: bytes)
        case .forgedWelcome: ForgeryFixture.shared.joinForged(bytes)
        case .forgedCommit: ForgeryFixture.shared.commitForged(bytes)
        case .state: Self.runState(bytes)
        case .relayFrame: MessageDoors.receive(frame: bytes)
        case .payload: MessageDoors.receive(payload: bytes)
        case .relayStructure: Self.runRelayStructure(bytes)
        case .prescription: Self.runPrescription(bytes)
        case .credential: Self.runCredential(bytes)
        }
    }

    /// Inputs that are taken, to start from.
    public var seeds: [[UInt8]] {
        switch self {
        case .message: GroupFixture.shared.messages
        case .proposal: GroupFixture.shared.proposals
        case .keyPackage: [GroupFixture.shared.keyPackage]
        case .welcome: [GroupFixture.shared.welcome]
        case .tree: [GroupFixture.shared.ratchetTree]
        case .groupInfo: [GroupFixture.shared.groupInfo]
        case .state: [GroupFixture.shared.state]
        case .forgedWelcome, .forgedCommit: [[0], Array(1...64), Array((100...255).reversed())]
        case .relayFrame: MessageDoors.frames
        case .payload: MessageDoors.payloads
        case .syntax, .relayStructure, .prescription, .credential: []
        }
    }

    private static func runSyntax(_ bytes: [UInt8]) {
        var reader = TLSReader(bytes)
        do {
            while !reader.isAtEnd {
                switch try reader.readUInt8() % 8 {
                case 0: _ = try reader.readUInt16()
                case 1: _ = try reader.readUInt32()
                case 2: _ = try reader.readUInt64()
                case 3: _ = try reader.readVector()
                case 4: _ = try reader.readPresence()
                case 5: reader = try reader.readVectorReader()
                case 6: _ = try reader.readVectorLength()
                default: _ = try reader.readBytes(count: Int(try reader.readUInt8()))
                }
            }
        } catch {}
        _ = try? PrivateMessageHeader(message: bytes)
    }

    private static func runState(_ bytes: [UInt8]) {
        let secret = SecretBytes(bytes)
        _ = try? Group(serialized: secret)
        _ = try? KeyPackageBundle(serialized: secret)
        _ = try? PendingCommit(serialized: secret)
    }

    private static func runRelayStructure(_ bytes: [UInt8]) {
        _ = try? AdmissionToken(decoding: bytes)
        _ = try? Ticket(decoding: bytes)
        _ = try? ErasureReceipt(decoding: bytes)
    }

    private static func runPrescription(_ bytes: [UInt8]) {
        if let prescription = try? Prescription(sent: bytes) { _ = prescription.id }
        _ = try? PrescriptionDraft(json: bytes)
    }

    private static func runCredential(_ bytes: [UInt8]) {
        let text = String(decoding: bytes, as: UTF8.self)
        _ = try? Card(decoding: bytes)
        _ = try? Card(text)
        _ = try? Voucher(decoding: bytes)
        _ = try? Endorsement(decoding: bytes)
        _ = try? MemberExtension(decoding: bytes)
        _ = try? ClinicCertificate(der: bytes)
        _ = try? ClinicCertificate(pem: text)
        _ = try? CertificateRevocationList(der: bytes)
        _ = try? CertificateRequests(pem: text)
        _ = try? InvitationText(text)
    }
}
