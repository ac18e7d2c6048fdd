/// A fuzzer's octets, read as choices. When they are used up, all choices are 0.
struct Script {
    private var rest: ArraySlice<UInt8>

    init(_ octets: [UInt8]) { rest = octets[...] }

    mutating func octet() -> UInt8 { rest.popFirst() ?? 0 }

    mutating func octets(_ count: Int) -> [UInt8] { (0..<count).map { _ in octet() } }

    mutating func flag() -> Bool { octet() & 1 == 1 }

    /// One of `count` numbers from 0.
    mutating func number(_ count: Int) -> Int { count > 0 ? Int(octet()) % count : 0 }

    mutating func choice<Element>(_ elements: [Element]) -> Element? {
        elements.isEmpty ? nil : elements[number(elements.count)]
    }

    /// Changes some octets of an encoded structure.
    mutating func damage(_ octets: inout [UInt8]) {
        for _ in 0..<number(4) where !octets.isEmpty {
            let place = (Int(octet()) << 8 | Int(octet())) % octets.count
            switch number(3) {
            case 0: octets[place] = octet()
            case 1: octets.remove(at: place)
            default: octets.insert(octet(), at: place)
            }
        }
    }
}
