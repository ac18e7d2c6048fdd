#if canImport(Glibc)
    import Glibc
#endif

/// Writes the presentation language (RFC 9420 §2.1).
///
/// What takes arrays or structures is spelled out or inlinable, so that no generic code runs.
public struct TLSWriter: Sendable {
    /// The longest vector that a length prefix can describe (RFC 9420 §2.1.2).
    public static let maximumVectorCount = 1 << 30 - 1

    /// What was written so far.
    public private(set) var bytes: [UInt8] = []

    private let wipesOnGrowth: Bool

    /// Starts with nothing.
    public init() {
        wipesOnGrowth = false
    }

    /// A writer of secrets: when its memory has to grow, what it leaves behind is wiped.
    ///
    /// Call ``wipe()`` when the bytes have been taken over.
    public init(secretCapacity: Int) {
        wipesOnGrowth = true
        bytes.reserveCapacity(secretCapacity)
    }

    /// Overwrites everything written so far and starts again with nothing.
    public mutating func wipe() {
        Self.wipe(&bytes)
        bytes.removeAll(keepingCapacity: true)
    }

    /// Overwrites an array that held a secret.
    public static func wipe(_ bytes: inout [UInt8]) {
        unsafe bytes.withUnsafeMutableBytes { buffer in
            guard let base = buffer.baseAddress else { return }
            unsafe explicit_bzero(base, buffer.count)
        }
    }

    private mutating func makeRoom(for count: Int) {
        guard wipesOnGrowth, bytes.count + count > bytes.capacity else { return }
        var grown: [UInt8] = []
        grown.reserveCapacity(2 * (bytes.count + count))
        grown.append(contentsOf: bytes)
        swap(&grown, &bytes)
        Self.wipe(&grown)
    }

    /// Makes room ahead of writing `count` more octets.
    public mutating func reserve(_ count: Int) {
        if wipesOnGrowth {
            makeRoom(for: count)
        } else {
            bytes.reserveCapacity(bytes.count + count)
        }
    }

    /// Writes a `uint8`.
    public mutating func write(_ value: UInt8) {
        makeRoom(for: 1)
        bytes.append(value)
    }

    /// Writes a `uint16`.
    public mutating func write(_ value: UInt16) {
        makeRoom(for: 2)
        bytes.append(UInt8(truncatingIfNeeded: value >> 8))
        bytes.append(UInt8(truncatingIfNeeded: value))
    }

    /// Writes a `uint32`.
    public mutating func write(_ value: UInt32) {
        write(UInt16(truncatingIfNeeded: value >> 16))
        write(UInt16(truncatingIfNeeded: value))
    }

    /// Writes a `uint64`.
    public mutating func write(_ value: UInt64) {
        write(UInt32(truncatingIfNeeded: value >> 32))
        write(UInt32(truncatingIfNeeded: value))
    }

    /// Writes octets without a length.
    public mutating func write(bytes content: [UInt8]) {
        makeRoom(for: content.count)
        bytes.append(contentsOf: content)
    }

    /// Writes octets without a length.
    public mutating func write(bytes content: some Collection<UInt8>) {
        makeRoom(for: content.count)
        bytes.append(contentsOf: content)
    }

    /// Writes this many zero octets.
    public mutating func write(zeros count: Int) {
        write(bytes: [UInt8](repeating: 0, count: count))
    }

    /// Writes octets without a length.
    public mutating func write(bytes content: UnsafeRawBufferPointer) {
        makeRoom(for: content.count)
        unsafe bytes.append(contentsOf: content)
    }

    /// Writes a vector's length prefix (RFC 9420 §2.1.2).
    ///
    /// - Precondition: `length` is at most ``maximumVectorCount``.
    public mutating func write(vectorLength length: Int) {
        precondition(length >= 0 && length <= Self.maximumVectorCount, "vector too long")
        if length <= 0x3f {
            write(UInt8(length))
        } else if length <= 0x3fff {
            write(0x4000 | UInt16(length))
        } else {
            write(0x8000_0000 | UInt32(length))
        }
    }

    /// Writes an `opaque x<V>`.
    public mutating func write(vector content: [UInt8]) {
        write(vectorLength: content.count)
        write(bytes: content)
    }

    /// Writes an `opaque x<V>`.
    public mutating func write(vector content: some Collection<UInt8>) {
        write(vectorLength: content.count)
        write(bytes: content)
    }

    /// Writes an `opaque x<V>`.
    public mutating func write(vector content: UnsafeRawBufferPointer) {
        write(vectorLength: content.count)
        unsafe write(bytes: content)
    }

    /// Writes a vector whose content is written by `body`.
    public mutating func writeVector(_ body: (inout TLSWriter) -> Void) {
        // Most vectors are short: one octet of length is put down, and more inserted where needed.
        let start = bytes.count
        write(UInt8(0))
        body(&self)
        let count = bytes.count - start - 1
        precondition(count <= Self.maximumVectorCount, "vector too long")
        if count <= 0x3f {
            bytes[start] = UInt8(count)
        } else if count <= 0x3fff {
            makeRoom(for: 1)
            bytes[start] = 0x40 | UInt8(count >> 8)
            bytes.insert(UInt8(count & 0xff), at: start + 1)
        } else {
            makeRoom(for: 3)
            bytes[start] = 0x80 | UInt8(count >> 24)
            bytes.insert(
                contentsOf: [
                    UInt8(count >> 16 & 0xff), UInt8(count >> 8 & 0xff), UInt8(count & 0xff),
                ],
                at: start + 1)
        }
    }

    /// Writes a `T x<V>`.
    @inlinable
    public mutating func write(array elements: some Collection<some TLSEncodable>) {
        writeVector { content in
            for element in elements { element.encode(to: &content) }
        }
    }

    /// Writes an `optional<T>` (RFC 9420 §2.1.1).
    @inlinable
    public mutating func write(optional value: (some TLSEncodable)?) {
        write(UInt8(value == nil ? 0 : 1))
        value?.encode(to: &self)
    }

    /// Writes a structure.
    @inlinable
    public mutating func write(_ value: some TLSEncodable) {
        value.encode(to: &self)
    }
}
