public import TLSSyntax

/// The number of a part of an application (MLS extensions draft §4.1).
public struct ComponentID: RawRepresentable, Hashable, Comparable, Sendable {
    /// The number on the wire; 0x8000 and above are for private use.
    public let rawValue: UInt16
    /// Any number.
    public init(rawValue: UInt16) { self.rawValue = rawValue }

    /// By number.
    public static func < (left: ComponentID, right: ComponentID) -> Bool {
        left.rawValue < right.rawValue
    }
}

/// A proposal that means something to the application and nothing to MLS.
///
/// All members of the epoch learn it by the commit that covers it, in the commit's order.
/// ``GroupPolicy`` says which are known; every member must list the type in its capabilities.
public enum ApplicationProposal: Hashable, Sendable {
    /// `AppEphemeral`: data for a component (MLS extensions draft §4.8).
    case ephemeral(component: ComponentID, data: [UInt8])
    /// A type of the application's own (RFC 9420 §13.2). Its body is one `opaque data<V>`, since a body of
    /// another form has no end that a client without knowledge of it could find.
    case custom(type: ProposalType, data: [UInt8])

    /// The type's number.
    public var type: ProposalType {
        switch self {
        case .ephemeral: .appEphemeral
        case .custom(let type, _): type
        }
    }

    /// Reads the structure of a proposal whose type is known already.
    init(_ type: ProposalType, from reader: inout TLSReader) throws(TLSError) {
        guard type != .appEphemeral else {
            self = .ephemeral(
                component: ComponentID(rawValue: try reader.readUInt16()),
                data: try reader.readVector())
            return
        }
        guard type.isFree else { throw .invalidValue }
        self = .custom(type: type, data: try reader.readVector())
    }

    /// Writes the structure without its type.
    func encodeBody(to writer: inout TLSWriter) {
        switch self {
        case .ephemeral(let component, let data):
            writer.write(component.rawValue)
            writer.write(vector: data)
        case .custom(_, let data):
            writer.write(vector: data)
        }
    }
}

/// What the application wants to hold for a proposal type of its own.
///
/// Members judge commits by it, so all of them have to have the same.
public struct ApplicationProposalRules: Hashable, Sendable {
    /// Whether a commit that covers such a proposal must renew its sender's path (RFC 9420 §12.4).
    public var requiresPath: Bool
    /// Whether external senders and external joiners may make such a proposal (RFC 9420 §12.1.8, §12.4.3.2).
    public var isOpenToOutsiders: Bool

    /// Neither, unless stated.
    public init(requiresPath: Bool = false, isOpenToOutsiders: Bool = false) {
        self.requiresPath = requiresPath
        self.isOpenToOutsiders = isOpenToOutsiders
    }
}

/// A proposal of the application that a commit covers, with who made it.
public struct CommittedApplicationProposal: Hashable, Sendable {
    /// Who made it.
    public let sender: Sender
    /// What it says.
    public let proposal: ApplicationProposal
}

extension CommittedApplicationProposal: TLSCodable {
    /// Reads a stored proposal.
    public init(from reader: inout TLSReader) throws(TLSError) {
        sender = try Sender(from: &reader)
        proposal = try ApplicationProposal(try reader.readCode(), from: &reader)
    }

    /// Writes a proposal for storing.
    public func encode(to writer: inout TLSWriter) {
        writer.write(sender)
        writer.write(code: proposal.type)
        proposal.encodeBody(to: &writer)
    }
}

extension GroupPolicy {
    /// What holds for a proposal of the application; nil if the application does not know it.
    func rules(for proposal: ApplicationProposal) -> ApplicationProposalRules? {
        switch proposal {
        case .ephemeral(let component, _):
            ephemeralComponents.contains(component)
                ? ApplicationProposalRules(isOpenToOutsiders: true) : nil
        case .custom(let type, _):
            type.isFree ? applicationProposals[type] : nil
        }
    }

    /// Whether a commit that covers the proposal must renew its sender's path (RFC 9420 §12.4).
    func requiresPath(_ proposal: Proposal) -> Bool {
        switch proposal {
        case .add, .preSharedKey, .reInit: false
        case .update, .remove, .externalInit, .groupContextExtensions, .selfRemove: true
        case .application(let proposal): rules(for: proposal)?.requiresPath ?? false
        }
    }

    /// Refuses what the application does not know, or not from such a sender.
    func validate(_ proposal: ApplicationProposal, from sender: Sender) throws(MLSError) {
        guard let rules = rules(for: proposal) else { throw .invalid(.knownProposal) }
        if case .member = sender { return }
        guard rules.isOpenToOutsiders else { throw .invalid(.senderMaySend) }
    }
}
