internal import CWebSockets

/// Whom a limit per address concerns: an IPv4 address, or an IPv6 network of 64 bits, which is what
/// one customer usually gets.
struct AddressKey: Hashable, Sendable {
    let high: UInt64
    let low: UInt64

    init(_ octets: AddressOctets) {
        high = octets.high
        low = octets.isIPv4 ? octets.low : 0
    }
}

/// The 128 bits of an address; IPv4 as `::ffff:a.b.c.d` (RFC 4291 §2.5.5.2).
struct AddressOctets: Hashable, Sendable {
    let high: UInt64
    let low: UInt64

    /// Nil if the text is no numeric address.
    init?(_ text: some StringProtocol) {
        // A scope, as in fe80::1%eth0, says which wire, not who.
        let address = String(text.prefix { $0 != "%" })
        var high: UInt64 = 0
        var low: UInt64 = 0
        guard unsafe shim_address_bits(address, &high, &low) == 0 else { return nil }
        self.high = high
        self.low = low
    }

    var isIPv4: Bool { high == 0 && low >> 32 == 0xFFFF }
}

/// A network, as in `10.0.0.0/8`, `2001:db8::/32`, or a single address.
public struct AddressBlock: Hashable, Sendable, CustomStringConvertible {
    private let high: UInt64
    private let low: UInt64
    private let highMask: UInt64
    private let lowMask: UInt64
    /// As it was written.
    public let description: String

    /// Nil if the text is no address with an optional length of the prefix, or if bits are set
    /// after the prefix.
    public init?(_ text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count <= 2, let address = AddressOctets(parts[0]) else { return nil }
        let isIPv4 = address.isIPv4 && !parts[0].contains(":")
        var length = 128
        if parts.count == 2 {
            guard let given = UInt8(parts[1]), given <= (isIPv4 ? 32 : 128) else { return nil }
            length = Int(given) + (isIPv4 ? 96 : 0)
        }
        highMask = length >= 64 ? .max : ~(UInt64.max >> UInt64(length))
        lowMask = length <= 64 ? 0 : length == 128 ? .max : ~(UInt64.max >> UInt64(length - 64))
        guard address.high & ~highMask == 0, address.low & ~lowMask == 0 else { return nil }
        (high, low, description) = (address.high, address.low, text)
    }

    func contains(_ address: AddressOctets) -> Bool {
        address.high & highMask == high && address.low & lowMask == low
    }

    /// This machine: `127.0.0.0/8` and `::1`.
    public static let loopback = ["127.0.0.0/8", "::1"].compactMap(AddressBlock.init)
}

/// The client that a chain of trusted proxies names in `X-Forwarded-For`.
enum ForwardedFor {
    enum Finding: Equatable {
        /// There is no such header.
        case absent
        /// The nearest address that is no trusted proxy.
        case client(AddressOctets)
        /// What a trusted proxy added is no address.
        case unreadable
    }

    /// Each proxy appends whom it heard, so that the list is true from its end for as long as the
    /// addresses are those of trusted proxies; what stands before is anybody's word.
    static func read(_ header: String, trusting proxies: [AddressBlock]) -> Finding {
        var finding = Finding.absent
        for entry in header.split(separator: ",").reversed() {
            guard let address = AddressOctets(withoutPort(entry)) else { return .unreadable }
            finding = .client(address)
            guard proxies.contains(where: { $0.contains(address) }) else { break }
        }
        return finding
    }

    /// `192.0.2.1:5000` and `[2001:db8::1]:5000` are seen too.
    private static func withoutPort(_ entry: Substring) -> Substring {
        var text = entry.drop { $0 == " " || $0 == "\t" }
        while text.last == " " || text.last == "\t" { text.removeLast() }
        if text.first == "[" { return text.dropFirst().prefix { $0 != "]" } }
        if text.contains("."), let colon = text.lastIndex(of: ":"),
            text.firstIndex(of: ":") == colon
        {
            return text[..<colon]
        }
        return text
    }
}
