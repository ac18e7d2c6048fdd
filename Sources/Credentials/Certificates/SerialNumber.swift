internal import X509

/// Serial numbers as plain octets, most significant first, without leading zeros.
enum SerialNumber {
    static func octets(_ serial: Certificate.SerialNumber) -> [UInt8] {
        normalised(serial.bytes)
    }

    static func normalised(_ octets: some Collection<UInt8>) -> [UInt8] {
        Array(octets.drop { $0 == 0 })
    }

    /// The content of a positive DER INTEGER.
    static func integerBytes(_ serial: [UInt8]) -> ArraySlice<UInt8> {
        let octets = normalised(serial)
        guard let first = octets.first, first < 0x80 else { return [0] + octets[...] }
        return octets[...]
    }
}
