/// Hash functions of FIPS 180-4 over whole octet strings.
public enum Hash {
    /// SHA-256: 32 octets.
    public static func sha256(_ octets: [UInt8]) -> [UInt8] {
        unsafe octets.withUnsafeBytes { unsafe SHA256.hash($0) }
    }

    /// SHA-256 over a label and fields, each preceded by its length as four octets, so that no two
    /// different lists give the same input: 32 octets.
    public static func sha256(label: String, _ fields: [UInt8]...) -> [UInt8] {
        sha256(LabelledContent.encode(label: label, fields: fields))
    }
}
