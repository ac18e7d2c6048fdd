import TLSSyntax
import Testing

@Suite struct `The presentation language` {
    @Test(
        arguments: [
            (0, [0x00]), (1, [0x01]), (63, [0x3f]), (64, [0x40, 0x40]), (16383, [0x7f, 0xff]),
            (16384, [0x80, 0x00, 0x40, 0x00]), (1 << 30 - 1, [0xbf, 0xff, 0xff, 0xff]),
        ] as [(Int, [UInt8])])
    func `length prefixes take 1, 2 or 4 octets`(length: Int, header: [UInt8]) throws {
        var writer = TLSWriter()
        writer.write(vectorLength: length)
        #expect(writer.bytes == header)
        var reader = TLSReader(header)
        #expect(try reader.readVectorLength() == length)
        #expect(reader.isAtEnd)
    }

    @Test(
        arguments: [
            [0x40, 0x3f], [0x40, 0x00], [0x80, 0x00, 0x00, 0x00], [0x80, 0x00, 0x3f, 0xff],
        ] as [[UInt8]])
    func `a prefix longer than needed is refused`(header: [UInt8]) {
        var reader = TLSReader(header)
        #expect(throws: TLSError.nonMinimalLength) { try reader.readVectorLength() }
    }

    @Test(arguments: [0xc0, 0xff] as [UInt8])
    func `a prefix starting with 11 is refused`(first: UInt8) {
        var reader = TLSReader([first, 0, 0, 0, 0, 0, 0, 0])
        #expect(throws: TLSError.reservedLengthPrefix) { try reader.readVectorLength() }
    }

    @Test func `integers are big endian`() throws {
        var writer = TLSWriter()
        writer.write(UInt8(1))
        writer.write(UInt16(0x0203))
        writer.write(UInt32(0x0405_0607))
        writer.write(UInt64(0x0809_0a0b_0c0d_0e0f))
        #expect(writer.bytes == Array(1...15))
        var reader = TLSReader(writer.bytes)
        #expect(try reader.readUInt8() == 1)
        #expect(try reader.readUInt16() == 0x0203)
        #expect(try reader.readUInt32() == 0x0405_0607)
        #expect(try reader.readUInt64() == 0x0809_0a0b_0c0d_0e0f)
        #expect(reader.bytesRead(since: 1) == Array(2...15))
    }

    @Test func `every truncation of a vector is refused and no octet too many is taken`() throws {
        var writer = TLSWriter()
        writer.write(vector: [UInt8](repeating: 7, count: 100))
        let whole = writer.bytes
        for count in 0..<whole.count {
            var reader = TLSReader(Array(whole.prefix(count)))
            #expect(throws: TLSError.truncated) { try reader.readVector() }
        }
        var reader = TLSReader(whole + [1])
        _ = try reader.readVector()
        #expect(throws: TLSError.trailingBytes) { try reader.finish() }
    }

    @Test func `a claimed length beyond the bytes allocates nothing`() {
        var reader = TLSReader([0xbf, 0xff, 0xff, 0xff, 1, 2, 3])
        #expect(throws: TLSError.truncated) { try reader.readVector() }
    }

    @Test func `an element that crosses its vector's end is refused`() {
        // A vector of 3 octets cannot hold two uint16.
        var reader = TLSReader([3, 0, 1, 0, 1])
        #expect(throws: TLSError.truncated) { try reader.readArray(of: Short.self) }
    }

    @Test func `presence octets other than 0 and 1 are refused`() throws {
        var absent = TLSReader([0])
        #expect(try absent.readOptional(of: Short.self) == nil)
        var present = TLSReader([1, 0, 9])
        #expect(try present.readOptional(of: Short.self)?.value == 9)
        var other = TLSReader([2, 0, 9])
        #expect(throws: TLSError.invalidValue) { try other.readOptional(of: Short.self) }
    }

    @Test func `a secret writer gives the same bytes as an ordinary one`() {
        var plain = TLSWriter()
        var secret = TLSWriter(secretCapacity: 4)
        for _ in 0..<50 {
            plain.writeVector { $0.write(vector: [UInt8](repeating: 5, count: 70)) }
            secret.writeVector { $0.write(vector: [UInt8](repeating: 5, count: 70)) }
        }
        #expect(plain.bytes == secret.bytes)
        secret.wipe()
        #expect(secret.bytes.isEmpty)
    }

    private struct Short: TLSCodable {
        let value: UInt16
        init(from reader: inout TLSReader) throws(TLSError) { value = try reader.readUInt16() }
        func encode(to writer: inout TLSWriter) { writer.write(value) }
    }
}
