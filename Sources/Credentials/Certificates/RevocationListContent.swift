internal import FoundationEssentials
internal import SwiftASN1
internal import X509

/// `AlgorithmIdentifier` of Ed25519: without parameters (RFC 8410 §3).
struct Ed25519Algorithm: DERImplicitlyTaggable {
    static var defaultIdentifier: ASN1Identifier { .sequence }

    init() {}

    init(derEncoded node: ASN1Node, withIdentifier identifier: ASN1Identifier) throws {
        let algorithm = try DER.sequence(node, identifier: identifier) { nodes in
            try ASN1ObjectIdentifier(derEncoded: &nodes)
        }
        guard algorithm == CertificateProfile.ed25519 else {
            throw ASN1Error.invalidASN1Object(reason: "not Ed25519")
        }
    }

    func serialize(
        into coder: inout DER.Serializer, withIdentifier identifier: ASN1Identifier
    ) throws {
        try coder.serializeSequenceOf([CertificateProfile.ed25519], identifier: identifier)
    }
}

/// The part of a revocation list that is signed (RFC 5280 §5.1).
///
///     TBSCertList ::= SEQUENCE {
///         version INTEGER (1), signature AlgorithmIdentifier, issuer Name,
///         thisUpdate Time, nextUpdate Time,
///         revokedCertificates SEQUENCE OF SEQUENCE {
///             userCertificate INTEGER, revocationDate Time,
///             crlEntryExtensions Extensions OPTIONAL } OPTIONAL,
///         crlExtensions [0] Extensions }
struct RevocationListContent: DERImplicitlyTaggable, Hashable, Sendable {
    static var defaultIdentifier: ASN1Identifier { .sequence }
    static var refusal: ASN1Error {
        .invalidASN1Object(reason: "revocation list outside the profile")
    }
    private static let extensionsTag = ASN1Identifier(
        tagWithNumber: 0, tagClass: .contextSpecific)

    let issuer: DistinguishedName
    let thisUpdate: ASN1Time
    let nextUpdate: ASN1Time
    let entries: [Revocation]
    let number: UInt64
    let authorityKey: ArraySlice<UInt8>?

    init(
        issuer: DistinguishedName, thisUpdate: ASN1Time, nextUpdate: ASN1Time,
        entries: [Revocation], number: UInt64, authorityKey: ArraySlice<UInt8>?
    ) {
        self.issuer = issuer
        self.thisUpdate = thisUpdate
        self.nextUpdate = nextUpdate
        self.entries = entries
        self.number = number
        self.authorityKey = authorityKey
    }

    init(derEncoded node: ASN1Node, withIdentifier identifier: ASN1Identifier) throws {
        self = try DER.sequence(node, identifier: identifier) { nodes in
            guard try Int(derEncoded: &nodes) == 1 else { throw Self.refusal }
            _ = try Ed25519Algorithm(derEncoded: &nodes)
            guard let name = nodes.next(), let begin = nodes.next(), let end = nodes.next() else {
                throw Self.refusal
            }
            let issuer = try DistinguishedName(derEncoded: name)
            let thisUpdate = try ASN1Time(derEncoded: begin)
            let nextUpdate = try ASN1Time(derEncoded: end)
            guard var next = nodes.next() else { throw Self.refusal }
            var entries: [Revocation] = []
            if next.identifier == .sequence {
                guard case .constructed(let list) = next.content else { throw Self.refusal }
                for entry in list { entries.append(try Self.entry(entry)) }
                // An empty list is left out (RFC 5280 §5.1.2.6).
                guard !entries.isEmpty, let extensions = nodes.next() else { throw Self.refusal }
                next = extensions
            }
            guard next.identifier == Self.extensionsTag,
                case .constructed(let tagged) = next.content
            else { throw Self.refusal }
            var inner = tagged.makeIterator()
            guard let list = inner.next(), inner.next() == nil else { throw Self.refusal }
            let (number, authorityKey) = try Self.extensions(list)
            return RevocationListContent(
                issuer: issuer, thisUpdate: thisUpdate, nextUpdate: nextUpdate, entries: entries,
                number: number, authorityKey: authorityKey)
        }
    }

    private static func entry(_ node: ASN1Node) throws -> Revocation {
        try DER.sequence(node, identifier: .sequence) { nodes in
            let serial = try ArraySlice<UInt8>(derEncoded: &nodes)
            guard serial.count <= 21, let time = nodes.next() else { throw refusal }
            let date = try ASN1Time(derEncoded: time).date
            var reason = RevocationReason.unspecified
            if let extensions = nodes.next() {
                for entryExtension in try readExtensions(extensions) {
                    guard entryExtension.oid == CertificateProfile.reasonCode else {
                        guard !entryExtension.critical else { throw refusal }
                        continue
                    }
                    reason = try Self.reason(entryExtension.value)
                }
            }
            return Revocation(serial: Array(serial), date: date, reason: reason)
        }
    }

    private static func reason(_ value: ArraySlice<UInt8>) throws -> RevocationReason {
        let node = try DER.parse(value)
        guard node.identifier == .enumerated, case .primitive(let content) = node.content,
            content.count == 1, let code = content.first,
            let reason = RevocationReason(rawValue: code)
        else { throw refusal }
        return reason
    }

    private static func extensions(
        _ node: ASN1Node
    ) throws -> (number: UInt64, authorityKey: ArraySlice<UInt8>?) {
        var number: UInt64?
        var authorityKey: ArraySlice<UInt8>?
        for listExtension in try readExtensions(node) {
            switch listExtension.oid {
            case CertificateProfile.revocationListNumber:
                number = try UInt64(derEncoded: listExtension.value)
            case .X509ExtensionID.authorityKeyIdentifier:
                authorityKey = try AuthorityKeyIdentifier(listExtension).keyIdentifier
            default:
                // A delta or partitioned list would mean something else than it seems to.
                guard !listExtension.critical else { throw refusal }
            }
        }
        guard let number else { throw refusal }
        return (number, authorityKey)
    }

    private static func readExtensions(_ node: ASN1Node) throws -> Certificate.Extensions {
        try Certificate.Extensions(
            DER.sequence(of: Certificate.Extension.self, identifier: .sequence, rootNode: node))
    }

    func serialize(
        into coder: inout DER.Serializer, withIdentifier identifier: ASN1Identifier
    ) throws {
        try coder.appendConstructedNode(identifier: identifier) { coder in
            try coder.serialize(1)
            try coder.serialize(Ed25519Algorithm())
            try coder.serialize(issuer)
            try coder.serialize(thisUpdate)
            try coder.serialize(nextUpdate)
            if !entries.isEmpty {
                try coder.appendConstructedNode(identifier: .sequence) { coder in
                    for entry in entries { try Self.write(entry, to: &coder) }
                }
            }
            let extensions = try listExtensions()
            try coder.serialize(explicitlyTaggedWithTagNumber: 0, tagClass: .contextSpecific) {
                try $0.serializeSequenceOf(extensions)
            }
        }
    }

    private static func write(_ entry: Revocation, to coder: inout DER.Serializer) throws {
        try coder.appendConstructedNode(identifier: .sequence) { coder in
            try coder.serialize(SerialNumber.integerBytes(entry.serial))
            try coder.serialize(try ASN1Time(entry.date))
            // "unspecified" is said by leaving the reason out (RFC 5280 §5.3.1).
            guard entry.reason != .unspecified else { return }
            let value: [UInt8] = [0x0a, 1, entry.reason.rawValue]
            try coder.serializeSequenceOf([
                Certificate.Extension(
                    oid: CertificateProfile.reasonCode, critical: false, value: value[...])
            ])
        }
    }

    private func listExtensions() throws -> [Certificate.Extension] {
        var coder = DER.Serializer()
        try coder.serialize(number)
        var extensions = [
            Certificate.Extension(
                oid: CertificateProfile.revocationListNumber, critical: false,
                value: coder.serializedBytes[...])
        ]
        if let authorityKey {
            extensions.append(
                try Certificate.Extension(
                    AuthorityKeyIdentifier(keyIdentifier: authorityKey), critical: false))
        }
        return extensions
    }
}
