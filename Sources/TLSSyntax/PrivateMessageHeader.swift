/// What a PrivateMessage says in the clear (RFC 9420 §6.3), readable without any key.
public struct PrivateMessageHeader: Hashable, Sendable {
    /// The group's id.
    public let groupID: [UInt8]
    /// The epoch whose keys protect the message.
    public let epoch: UInt64
    /// 1 application data, 2 proposal, 3 commit (RFC 9420 §6).
    public let contentType: UInt8

    /// Reads the header of an MLSMessage that holds a PrivateMessage, and checks the rest's shape.
    ///
    /// - Throws: `.invalidValue` for another protocol version, wire format or content type.
    public init(message: [UInt8]) throws(TLSError) {
        var reader = TLSReader(message)
        guard try reader.readUInt16() == 1, try reader.readUInt16() == 2 else {
            throw .invalidValue
        }
        groupID = try reader.readVector()
        epoch = try reader.readUInt64()
        contentType = try reader.readUInt8()
        guard (1...3).contains(contentType) else { throw .invalidValue }
        for _ in 0..<3 { try reader.skipVector() }
        try reader.finish()
    }
}
