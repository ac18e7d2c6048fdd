import Cryptography
import RelayProtocol
import Testing

@testable import Consultations

/// The octets inside the encryption (`protocol/payload.proto`).
struct PayloadTests {
    private static let bodies: [Payload.Body] = [
        .text("Grüße 👩‍⚕️"), .text(""),
        .request(time: 1_800_000_000, minutes: 20, reason: "Husten", deadlineDay: 20_900),
        .accept, .decline(reason: "full"), .marks, .prescription(jws: [1, 2, 3]),
        .close(reason: ""), .clock,
    ]

    @Test(arguments: bodies) func `a payload is read as it was written`(_ body: Payload.Body) throws
    {
        var payload = Payload(
            id: [UInt8](repeating: 7, count: 16), sentAt: 1_800_000_000_123, counter: 5, body: body)
        payload.seen = [
            Payload.Seen(
                member: [UInt8](repeating: 9, count: 32), received: 8, missing: [3, 4], read: 2)
        ]
        payload.epochTag = [1, 2, 3, 4, 5, 6, 7, 8]
        payload.reopen = Payload.Reopen(
            consultation: [UInt8](repeating: 3, count: 16), beganAt: 9, reason: 2)
        #expect(Payload(decoding: try payload.encoded()) == payload)
    }

    @Test func `no files that are lacking is another word than none said, and too many is none`()
        throws
    {
        let blobs = (0...256).compactMap { _ in BlobID(Random.bytes(BlobID.byteCount)) }
        for (said, read) in [
            (nil, nil), ([], []), (Array(blobs.prefix(3)), Array(blobs.prefix(3))),
            (Array(blobs.prefix(256)), Array(blobs.prefix(256))), (blobs, nil),
        ] as [([BlobID]?, [BlobID]?)] {
            var payload = Payload(
                id: [UInt8](repeating: 7, count: 16), sentAt: 1, counter: 5, body: .marks)
            payload.seen = [
                Payload.Seen(
                    member: [UInt8](repeating: 9, count: 32), received: 8, missing: [], read: 2,
                    lacking: said)
            ]
            #expect(Payload(decoding: try payload.encoded())?.seen.first?.lacking == read)
        }
    }

    @Test func `truncation at every length never crashes`() throws {
        for body in Self.bodies {
            let payload = Payload(
                id: [UInt8](repeating: 7, count: 16), sentAt: 1, counter: 5, body: body)
            let octets = try payload.encoded()
            for count in 0..<octets.count { _ = Payload(decoding: Array(octets.prefix(count))) }
        }
    }

    @Test func `an id of another length, and counter 0 of a message, are refused`() throws {
        let short = Payload(id: [1, 2], sentAt: 1, counter: 1, body: .accept)
        #expect(Payload(decoding: try short.encoded()) == nil)
        let id = [UInt8](repeating: 7, count: 16)
        let uncounted = Payload(id: id, sentAt: 1, counter: 0, body: .text("x"))
        #expect(Payload(decoding: try uncounted.encoded()) == nil)
        let marks = Payload(id: id, sentAt: 1, counter: 0, body: .marks)
        #expect(Payload(decoding: try marks.encoded()) != nil)
    }

    @Test func `a payload that names no consultation to go on with is refused`() throws {
        let id = [UInt8](repeating: 7, count: 16)
        var payload = Payload(id: id, sentAt: 1, counter: 1, body: .text("x"))
        for count in [0, 15, 17] {
            payload.reopen = Payload.Reopen(
                consultation: [UInt8](repeating: 3, count: count), beganAt: 9, reason: 2)
            #expect(Payload(decoding: try payload.encoded()) == nil)
        }
    }

    @Test func `a body of a newer version is kept as one`() throws {
        let known = Payload(
            id: [UInt8](repeating: 7, count: 16), sentAt: 1, counter: 1, body: .unknown)
        // Field 99, length-delimited, empty.
        let octets = try known.encoded() + [0x9a, 0x06, 0x00]
        #expect(Payload(decoding: octets)?.body == .unknown)
    }

    @Test func `an id is 26 letters and is read back in either case`() throws {
        let id = ConsultationID(groupID: (0..<32).map { UInt8($0 * 7 & 255) })
        #expect(id.description.count == 26)
        #expect(ConsultationID(id.description.uppercased()) == id)
        #expect(ConsultationID("not an id") == nil)
        #expect(ConsultationID(String(id.description.dropLast())) == nil)
        #expect(ConsultationID("") == nil)
    }
}
