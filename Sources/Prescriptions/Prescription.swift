public import FoundationEssentials

/// A signed prescription whose form is known to hold; `check` says what it is worth.
public struct Prescription: Hashable, Sendable {
    /// The compact JWS, ASCII: what is sent, kept and exported.
    public let bytes: [UInt8]
    /// The signed content.
    public let document: PrescriptionDocument
    let jws: CompactJWS
    let header: PrescriptionHeader

    /// Reads a compact JWS; signature and certificates are left to `check`.
    ///
    /// - Throws: `.notAPrescription` for any other octets.
    public init(sent bytes: [UInt8]) throws(PrescriptionError) {
        guard let jws = CompactJWS(bytes) else { throw .notAPrescription(.envelope) }
        guard let header = PrescriptionHeader(jws.header) else { throw .notAPrescription(.header) }
        self.bytes = bytes
        self.jws = jws
        self.header = header
        document = try PrescriptionDocument(fhir: jws.payload)
    }

    /// When it was signed, by the signer's word.
    public var signedAt: Date { Date(timeIntervalSince1970: TimeInterval(header.issuedAt)) }

    /// The prescription's UUID, lower case.
    public var id: String { document.id }
}
