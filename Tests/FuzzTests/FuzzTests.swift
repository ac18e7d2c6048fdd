import TestSupport
import Testing

/// What libFuzzer does for hours, done briefly and the same way each time.
@Suite struct `Bytes from outside` {
    @Test(arguments: FuzzTarget.allCases)
    func `never trap and never change what refuses them`(target: FuzzTarget) {
        var random = SeededGenerator(seed: 11)
        let seeds = target.seeds
        for seed in seeds {
            target.run(seed)
            for count in stride(from: 0, to: seed.count, by: max(1, seed.count / 40)) {
                target.run(Array(seed[..<count]))
            }
        }
        for round in 0..<200 {
            var bytes: [UInt8]
            if let seed = seeds.randomElement(using: &random), round % 8 != 0 {
                bytes = seed
                mutate(&bytes, &random)
            } else {
                bytes = random.bytes(Int.random(in: 0..<300, using: &random))
            }
            target.run(bytes)
        }
    }

    /// The doors that sign and seal what they change: the inputs must come past the cryptography.
    @Test func `reach what is behind signatures and seals`() {
        let fixture = ForgeryFixture.shared
        for door in [fixture.joinForged, fixture.commitForged] {
            #expect(door([]) == nil, "what is right is refused")
            var random = SeededGenerator(seed: 5)
            var verdicts: [String: Int] = [:]
            for _ in 0..<400 {
                let script = random.bytes(Int.random(in: 8..<120, using: &random))
                verdicts[door(script).map { "\($0)" } ?? "taken", default: 0] += 1
            }
            #expect(verdicts["taken"] ?? 0 > 5)
            #expect(verdicts.count > 12, "\(verdicts)")
            for outermost in [
                "groupInfoSignature", "membershipTag", "contentSignature", "undecryptable",
            ] {
                #expect(verdicts["invalid(MLS.ValidationRule.\(outermost))"] ?? 0 < 40)
            }
        }
    }

    private func mutate(_ bytes: inout [UInt8], _ random: inout SeededGenerator) {
        for _ in 0..<Int.random(in: 1...4, using: &random) {
            guard !bytes.isEmpty else { return }
            let place = Int.random(in: bytes.indices, using: &random)
            switch Int.random(in: 0..<5, using: &random) {
            case 0: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            case 1: bytes[place] = [0, 0xff, 0x7f, 0x80, 0xbf].randomElement(using: &random) ?? 0
            case 2: bytes.remove(at: place)
            case 3: bytes.insert(contentsOf: random.bytes(3), at: place)
            default:
                let length = min(8, bytes.count - place)
                let other = Int.random(in: 0...bytes.count - length, using: &random)
                bytes.replaceSubrange(place..<place + length, with: bytes[other..<other + length])
            }
        }
    }
}
