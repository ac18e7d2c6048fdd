/// The protected header: exactly these members, so that `crit`, `jwk`, `jku`, another algorithm or
/// none have no place to stand (RFC 7515 §4, RFC 8037 §3.1, RFC 8725 §3.1).
struct PrescriptionHeader: Hashable, Sendable {
    static let maximumChainCount = 3

    /// When it was signed, by the signer's clock: Unix seconds.
    let issuedAt: Int64
    /// Certificates as DER, leaf first, without the root (RFC 7515 §4.1.6).
    let chain: [[UInt8]]

    init(issuedAt: Int64, chain: [[UInt8]]) {
        self.issuedAt = issuedAt
        self.chain = chain
    }

    /// Reads a header; only the octets that `encoded` would give are taken.
    init?(_ octets: [UInt8]) {
        guard let json = try? JSONParser.parse(octets),
            let issuedAt = json["iat"]?.digits.flatMap({ Int64($0) }), issuedAt >= 0,
            issuedAt <= CalendarDay.lastUnixSecond,
            let certificates = json["x5c"]?.elements,
            (1...Self.maximumChainCount).contains(certificates.count)
        else { return nil }
        let chain = certificates.compactMap { $0.text.flatMap(Base64.decode) }
        self.init(issuedAt: issuedAt, chain: chain)
        guard chain.count == certificates.count, encoded == octets else { return nil }
    }

    var encoded: [UInt8] {
        JSONValue.members([
            "alg": .string("EdDSA"), "typ": .string("rx+jws"), "cty": .string("fhir+json"),
            "iat": .number(String(issuedAt)),
            "x5c": .array(chain.map { .string(Base64.encode($0)) }),
        ]).minified
    }
}
