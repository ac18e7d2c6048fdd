import TestSupport

/// Everything that is left to chance in a simulated world comes from here, in one order.
final class Chance {
    private var generator: SeededGenerator

    init(seed: UInt64) { generator = SeededGenerator(seed: seed) }

    /// A number below `bound`, which is at least 1.
    func below(_ bound: Int) -> Int {
        Int(generator.next().multipliedFullWidth(by: UInt64(max(bound, 1))).high)
    }

    func between(_ range: ClosedRange<Int>) -> Int {
        range.lowerBound + below(range.upperBound - range.lowerBound + 1)
    }

    /// Whether something happens that happens so often in ten thousand times.
    func happens(_ perTenThousand: Int) -> Bool { below(10_000) < perTenThousand }

    func pick<Element>(_ elements: [Element]) -> Element? {
        elements.isEmpty ? nil : elements[below(elements.count)]
    }

    func bytes(_ count: Int) -> [UInt8] { generator.bytes(count) }

    /// A short time mostly, a long one now and then: octaves above `typical` microseconds.
    func delay(_ typical: Int) -> Int {
        var delay = typical / 2 + below(typical)
        for _ in 0..<12 where happens(700) { delay *= 3 }
        return delay
    }
}
