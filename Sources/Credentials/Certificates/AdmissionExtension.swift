public import SwiftASN1

/// The extension `admission` of a doctor's certificate (Common PKI 2.0, part 1).
///
///     AdmissionSyntax ::= SEQUENCE {
///         contentsOfAdmissions SEQUENCE OF SEQUENCE {      -- exactly one
///             professionInfos SEQUENCE OF SEQUENCE {       -- exactly one
///                 professionItems SEQUENCE OF UTF8String,  -- the specialty, exactly one
///                 professionOIDs SEQUENCE OF OBJECT IDENTIFIER,
///                 registrationNumber PrintableString } } } -- the licence
///
/// The optional fields of the full syntax are neither written nor accepted.
public struct AdmissionExtension: DERImplicitlyTaggable, Hashable, Sendable {
    /// What the holder may practise.
    public let professions: [ASN1ObjectIdentifier]
    /// The field of medicine, in words.
    public let specialty: String
    /// The number under which the profession's register lists the holder.
    public let licence: String

    /// Takes checked fields; `isValid` tells whether they are.
    public init(professions: [ASN1ObjectIdentifier], specialty: String, licence: String) {
        self.professions = professions
        self.specialty = specialty
        self.licence = licence
    }

    /// The tag of a sequence.
    public static var defaultIdentifier: ASN1Identifier { .sequence }

    /// Whether a licence can be written: up to 64 characters of `PrintableString`.
    public static func isValid(licence: String) -> Bool {
        Text.isValid(licence, maximumByteCount: 64)
            && (try? ASN1PrintableString(licence)) != nil
    }

    /// Reads the extension's value.
    public init(derEncoded node: ASN1Node, withIdentifier identifier: ASN1Identifier) throws {
        self = try DER.sequence(node, identifier: identifier) { nodes in
            try Self.only(in: &nodes) { admission in
                try Self.only(in: &admission) { information in
                    var items = try Self.sequence(&information)
                    let item = try ASN1UTF8String(derEncoded: &items)
                    guard items.next() == nil else { throw Self.refusal }
                    var identifiers = try Self.sequence(&information)
                    var professions: [ASN1ObjectIdentifier] = []
                    while let node = identifiers.next() {
                        professions.append(try ASN1ObjectIdentifier(derEncoded: node))
                    }
                    let licence = String(try ASN1PrintableString(derEncoded: &information))
                    guard let specialty = Text.decode(Array(item.bytes), maximumByteCount: 128),
                        Self.isValid(licence: licence)
                    else { throw Self.refusal }
                    return AdmissionExtension(
                        professions: professions, specialty: specialty, licence: licence)
                }
            }
        }
    }

    /// Writes the extension's value.
    public func serialize(
        into coder: inout DER.Serializer, withIdentifier identifier: ASN1Identifier
    ) throws {
        let licence = try ASN1PrintableString(licence)
        try coder.appendConstructedNode(identifier: identifier) { coder in
            try coder.appendConstructedNode(identifier: .sequence) { coder in
                try coder.appendConstructedNode(identifier: .sequence) { coder in
                    try coder.appendConstructedNode(identifier: .sequence) { coder in
                        try coder.appendConstructedNode(identifier: .sequence) { coder in
                            try coder.serializeSequenceOf([ASN1UTF8String(specialty)])
                            try coder.serializeSequenceOf(professions)
                            try coder.serialize(licence)
                        }
                    }
                }
            }
        }
    }

    private static var refusal: ASN1Error {
        .invalidASN1Object(reason: "admission extension outside the profile")
    }

    private static func sequence(
        _ nodes: inout ASN1NodeCollection.Iterator
    ) throws -> ASN1NodeCollection.Iterator {
        guard let node = nodes.next(), node.identifier == .sequence,
            case .constructed(let content) = node.content
        else { throw refusal }
        return content.makeIterator()
    }

    /// Reads a SEQUENCE OF with exactly one SEQUENCE in it, and that inner one to its end.
    private static func only<Value>(
        in nodes: inout ASN1NodeCollection.Iterator,
        _ body: (inout ASN1NodeCollection.Iterator) throws -> Value
    ) throws -> Value {
        var list = try sequence(&nodes)
        var element = try sequence(&list)
        let value = try body(&element)
        guard element.next() == nil, list.next() == nil else { throw refusal }
        return value
    }
}
