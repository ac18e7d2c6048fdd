/// A structure with an encoding in the presentation language (RFC 9420 §2.1).
public protocol TLSEncodable {
    /// Appends the encoding.
    func encode(to writer: inout TLSWriter)
}

/// A structure that can be read back from its encoding (RFC 9420 §2.1).
public protocol TLSDecodable {
    /// Reads one value and leaves the reader behind it.
    init(from reader: inout TLSReader) throws(TLSError)
}

/// Both directions; decoding and encoding again gives the same bytes.
public typealias TLSCodable = TLSDecodable & TLSEncodable

extension TLSEncodable {
    /// The encoding as bytes of their own.
    @inlinable
    public func encoded() -> [UInt8] {
        var writer = TLSWriter()
        encode(to: &writer)
        return writer.bytes
    }
}

extension TLSDecodable {
    /// Decodes a value that takes up all of `bytes`.
    @inlinable
    public init(decoding bytes: [UInt8]) throws(TLSError) {
        var reader = TLSReader(bytes)
        try self.init(from: &reader)
        try reader.finish()
    }
}
