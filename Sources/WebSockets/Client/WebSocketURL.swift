internal import CWebSockets

/// The address of a WebSocket server (RFC 6455 §3), without user, query or fragment.
public struct WebSocketURL: Sendable, Hashable, CustomStringConvertible {
    /// `wss`.
    public let isSecure: Bool
    /// A name or a numeric address, without brackets.
    public let host: String
    /// 80 or 443 if the text names none.
    public let port: UInt16
    /// Begins with a slash.
    public let path: String

    /// Reads `ws://host`, `wss://host:7443/path`, `ws://[::1]:7443`; nil for anything else.
    public init?(_ text: String) {
        var rest = Substring(text)
        func drop(_ prefix: String) -> Bool {
            guard rest.lowercased().hasPrefix(prefix) else { return false }
            rest = rest.dropFirst(prefix.count)
            return true
        }
        guard text.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else { return nil }
        if drop("wss://") {
            isSecure = true
        } else if drop("ws://") {
            isSecure = false
        } else {
            return nil
        }
        guard !rest.contains(where: { "?#@\"<>\\^`{|}".contains($0) }) else { return nil }
        let slash = rest.firstIndex(of: "/") ?? rest.endIndex
        path = slash == rest.endIndex ? "/" : String(rest[slash...])
        let authority = rest[..<slash]
        var portText: Substring?
        if authority.first == "[" {
            guard let bracket = authority.firstIndex(of: "]") else { return nil }
            host = String(authority[authority.index(after: authority.startIndex)..<bracket])
            guard unsafe shim_numeric_family(host) == 6 else { return nil }
            let tail = authority[authority.index(after: bracket)...]
            guard tail.isEmpty || tail.first == ":" else { return nil }
            portText = tail.isEmpty ? nil : tail.dropFirst()
        } else {
            let parts = authority.split(
                separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            host = String(parts[0])
            guard !host.isEmpty, host.utf8.count <= 253 else { return nil }
            portText = parts.count > 1 ? parts[1] : nil
            if portText?.contains(":") == true { return nil }
        }
        guard let portText else {
            port = isSecure ? 443 : 80
            return
        }
        guard portText.allSatisfy(\.isNumber), let number = UInt16(portText), number > 0 else {
            return nil
        }
        port = number
    }

    /// Whether the address is numeric and only this machine's, or the name `localhost`.
    public var isLoopback: Bool {
        host.lowercased() == "localhost" || isLoopbackAddress(host)
    }

    /// Host and port as the HTTP header has them (RFC 9110 §7.2).
    var authority: String {
        let bracketed = host.contains(":") ? "[\(host)]" : host
        return port == (isSecure ? 443 : 80) ? bracketed : "\(bracketed):\(port)"
    }

    /// The URL.
    public var description: String {
        "\(isSecure ? "wss" : "ws")://\(authority)\(path)"
    }
}
