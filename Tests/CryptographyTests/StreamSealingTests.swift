import Cryptography
import Testing

struct StreamSealingTests {
    private func sealed(
        _ parts: [[UInt8]], key: SecretBytes
    ) throws -> (header: [UInt8], pieces: [[UInt8]]) {
        var sealer = try StreamSealing.Sealer(key: key)
        var pieces: [[UInt8]] = []
        for (index, part) in parts.enumerated() {
            pieces.append(sealer.seal(part, isLast: index == parts.count - 1))
        }
        return (sealer.header, pieces)
    }

    @Test func `pieces open in their order, and the last says so`() throws {
        let key = SecretBytes.random(count: 32)
        let parts: [[UInt8]] = [[1, 2, 3], [], [UInt8](repeating: 7, count: 65_519)]
        let (header, pieces) = try sealed(parts, key: key)
        #expect(header.count == StreamSealing.headerByteCount)
        var opener = try StreamSealing.Opener(key: key, header: header)
        for (index, piece) in pieces.enumerated() {
            #expect(piece.count == parts[index].count + StreamSealing.overheadByteCount)
            let (content, isLast) = try opener.open(piece)
            #expect(content == parts[index])
            #expect(isLast == (index == 2))
        }
    }

    @Test func `a piece that is changed, left out, repeated or of another stream doesn't open`()
        throws
    {
        let key = SecretBytes.random(count: 32)
        let (header, pieces) = try sealed([[1], [2], [3]], key: key)
        func fails(_ order: [[UInt8]], _ header: [UInt8], _ key: SecretBytes) -> Bool {
            do {
                var opener = try StreamSealing.Opener(key: key, header: header)
                for piece in order { _ = try opener.open(piece) }
                return false
            } catch {
                return true
            }
        }
        #expect(!fails(pieces, header, key))
        #expect(fails([pieces[1]], header, key))
        #expect(fails([pieces[0], pieces[2]], header, key))
        #expect(fails([pieces[0], pieces[0]], header, key))
        #expect(fails([pieces[0]], header, .random(count: 32)))
        let other = try sealed([[1], [2], [3]], key: key)
        #expect(fails([other.pieces[0]], header, key))
        for index in pieces[0].indices {
            var changed = pieces[0]
            changed[index] ^= 1
            #expect(fails([changed], header, key))
        }
        for count in 0..<pieces[0].count {
            #expect(fails([Array(pieces[0].prefix(count))], header, key))
        }
    }

    @Test func `keys and headers of another length are refused`() {
        #expect(throws: CryptographyError.wrongLength(expected: 32, actual: 31)) {
            _ = try StreamSealing.Sealer(key: SecretBytes(count: 31)).header
        }
        #expect(throws: CryptographyError.wrongLength(expected: 24, actual: 0)) {
            var opener = try StreamSealing.Opener(key: SecretBytes(count: 32), header: [])
            _ = try opener.open([])
        }
    }

    @Test func `a running hash is that of the whole`() {
        var running = RunningHash()
        #expect(running.value() == Hash.sha256([]))
        let octets = Random.bytes(10_000)
        var rest = octets[...]
        while !rest.isEmpty {
            running.add(Array(rest.prefix(777)))
            rest = rest.dropFirst(777)
            #expect(running.value() == Hash.sha256(Array(octets.prefix(octets.count - rest.count))))
        }
    }
}
