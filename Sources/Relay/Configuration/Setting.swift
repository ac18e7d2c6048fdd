import WebSockets

/// One thing that an operator decides: its name in file, flag and environment, what it takes, and
/// what it means.
public struct Setting: Sendable {
    /// As in the file; `--` before it is the flag.
    public let name: String
    /// What is to be written.
    public let takes: String
    /// A word for it.
    public let valueName: String
    /// What it does.
    public let meaning: String
    /// Whether SIGHUP brings a new value into force.
    public let isReloadable: Bool
    /// Whether it is for tests and not shown.
    public let isHidden: Bool

    /// Takes a value; what is expected instead if it is none.
    let read: @Sendable (String, inout RelaySettings) -> String?
    private let write: @Sendable (RelaySettings) -> String

    /// The value in the words in which it can be written.
    public func text(in settings: RelaySettings) -> String { write(settings) }

    /// The value without a file, flag or variable.
    public var defaultText: String { write(RelaySettings()) }

    /// The value as a number, if it is a limit that is one.
    func number(in settings: RelaySettings) -> Double? {
        guard name.hasPrefix("limit-") else { return nil }
        let text = write(settings)
        return Octets.parse(text).map { Double($0) } ?? Double(text)
    }

    /// Whether the file may have a list for it.
    let takesList: Bool

    /// The name of the environment's variable.
    public var variable: String {
        Self.variablePrefix + name.uppercased().replacing("-", with: "_")
    }

    static let variablePrefix = "CURTAIN_RELAY_"

    /// The setting of this name.
    public static func named(_ name: String) -> Setting? { byName[name] }

    static let byName = Dictionary(uniqueKeysWithValues: all.map { ($0.name, $0) })
}

extension Setting {
    typealias Path<Value> = any WritableKeyPath<RelaySettings, Value> & Sendable

    private init<Value>(
        _ name: String, _ path: Path<Value>, _ valueName: String, takes: String, _ meaning: String,
        reload: Bool = false, hidden: Bool = false, list: Bool = false,
        parse: @escaping @Sendable (String) -> Value?,
        print: @escaping @Sendable (Value) -> String
    ) {
        self.name = name
        self.takes = takes
        self.valueName = valueName
        self.meaning = meaning
        isReloadable = reload
        isHidden = hidden
        takesList = list
        read = { text, settings in
            guard let value = parse(text) else { return takes }
            settings[keyPath: path] = value
            return nil
        }
        write = { print($0[keyPath: path]) }
    }

    static func path(
        _ name: String, _ path: Path<String>, _ meaning: String, reload: Bool = false,
        takes: String = "file"
    ) -> Setting {
        Setting(
            name, path, takes, takes: takes, meaning, reload: reload, parse: { $0 }, print: { $0 })
    }

    static func count<Value: FixedWidthInteger & Sendable>(
        _ name: String, _ path: Path<Value>, _ range: ClosedRange<Value>, _ meaning: String,
        unit: String = "number", hidden: Bool = false, reload: Bool = true
    ) -> Setting {
        Setting(
            name, path, "n", takes: "\(unit), \(range.lowerBound) to \(range.upperBound)", meaning,
            reload: reload, hidden: hidden,
            parse: { Value($0).flatMap { range.contains($0) ? $0 : nil } }, print: { "\($0)" })
    }

    static func octets<Value: FixedWidthInteger & Sendable>(
        _ name: String, _ path: Path<Value>, _ range: ClosedRange<Value>, _ meaning: String
    ) -> Setting {
        let (low, high) = (
            Octets.print(UInt64(range.lowerBound)), Octets.print(UInt64(range.upperBound))
        )
        return Setting(
            name, path, "octets", takes: "octets, \(low) to \(high)", meaning, reload: true,
            parse: { text in
                Octets.parse(text).flatMap(Value.init(exactly:)).flatMap {
                    range.contains($0) ? $0 : nil
                }
            }, print: { Octets.print(UInt64($0)) })
    }

    static func rate(
        _ name: String, _ path: Path<Double>, _ unit: String, _ meaning: String,
        _ range: ClosedRange<Double> = 0.01...10_000_000
    ) -> Setting {
        Setting(
            name, path,
            "n", takes: "\(unit), \(number(range.lowerBound)) to \(number(range.upperBound))",
            meaning, reload: true,
            parse: { Double($0).flatMap { range.contains($0) ? $0 : nil } }, print: number)
    }

    static func seconds(
        _ name: String, _ path: Path<Duration>, _ range: ClosedRange<Int64>, _ meaning: String
    ) -> Setting {
        Setting(
            name, path, "seconds", takes: "seconds, \(range.lowerBound) to \(range.upperBound)",
            meaning,
            reload: true,
            parse: { Int64($0).flatMap { range.contains($0) ? .seconds($0) : nil } },
            print: { "\($0.components.seconds)" })
    }

    static func choice<Value: RawRepresentable<String> & CaseIterable & Sendable>(
        _ name: String, _ path: Path<Value>, _ meaning: String, reload: Bool
    ) -> Setting {
        Setting(
            name, path, "word", takes: Value.allCases.map(\.rawValue).joined(separator: ", "),
            meaning,
            reload: reload, parse: Value.init(rawValue:), print: \.rawValue)
    }

    static func truth(_ name: String, _ path: Path<Bool>, _ meaning: String) -> Setting {
        Setting(
            name, path, "bool", takes: "true or false", meaning,
            parse: { $0 == "true" ? true : $0 == "false" ? false : nil }, print: { "\($0)" })
    }

    static func blocks(_ name: String, _ path: Path<[AddressBlock]>, _ meaning: String) -> Setting {
        Setting(
            name, path, "networks", takes: "addresses or networks, separated by commas", meaning,
            reload: true,
            list: true,
            parse: { text in
                let entries = text.split { $0 == "," || $0 == " " }
                let blocks = entries.compactMap { AddressBlock(String($0)) }
                return blocks.count == entries.count ? blocks : nil
            }, print: { $0.map(\.description).joined(separator: ", ") })
    }

    static func address(
        _ name: String, _ path: Path<SocketAddress>, _ meaning: String
    ) -> Setting {
        Setting(
            name, path, "addr:port", takes: "numeric address:port", meaning,
            parse: SocketAddress.init(listening:), print: \.description)
    }

    static func metrics(
        _ name: String, _ path: Path<MetricsListener>, _ meaning: String
    ) -> Setting {
        Setting(
            name, path, "addr:port", takes: "numeric address:port, auto, or off", meaning,
            parse: { text in
                switch text {
                case "auto": .besideListen
                case "off", "": .off
                default: SocketAddress(listening: text).map(MetricsListener.address)
                }
            },
            print: {
                switch $0 {
                case .besideListen: "auto"
                case .off: "off"
                case .address(let address): address.description
                }
            })
    }

    private static func number(_ value: Double) -> String {
        Int(exactly: value).map(String.init) ?? "\(value)"
    }
}

/// Octets as people write them: `65536`, `64 KiB`, `64KiB`, `8 MiB`, `1 GiB`.
enum Octets {
    private static let units: [(name: String, size: UInt64)] = [
        ("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10),
    ]

    static func parse(_ text: String) -> UInt64? {
        for unit in units where text.hasSuffix(unit.name) {
            var digits = text.dropLast(unit.name.count)
            if digits.last == " " { digits.removeLast() }
            guard let count = UInt64(digits) else { return nil }
            let (octets, overflow) = count.multipliedReportingOverflow(by: unit.size)
            return overflow ? nil : octets
        }
        return UInt64(text)
    }

    static func print(_ octets: UInt64) -> String {
        for unit in units where octets >= unit.size && octets % unit.size == 0 {
            return "\(octets / unit.size) \(unit.name)"
        }
        return "\(octets)"
    }
}

extension SocketAddress {
    /// `127.0.0.1:7443` or `[::1]:7443`; nil if it is anything else.
    init?(listening text: String) {
        guard let colon = text.lastIndex(of: ":"),
            let port = UInt16(text[text.index(after: colon)...])
        else { return nil }
        var host = text[..<colon]
        if host.contains(":") {
            guard host.hasPrefix("["), host.hasSuffix("]") else { return nil }
            host = host.dropFirst().dropLast()
        }
        guard !host.contains("/"), AddressBlock(String(host)) != nil else { return nil }
        self.init(host: String(host), port: port)
    }
}
