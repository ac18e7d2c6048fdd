internal import Cryptography
internal import TLSSyntax

/// What all members of an epoch agree on (RFC 9420 §8.1).
struct GroupContext: Hashable, Sendable, TLSCodable {
    var cipherSuite: CipherSuite
    var groupID: [UInt8]
    var epoch: UInt64
    var treeHash: [UInt8]
    var confirmedTranscriptHash: [UInt8]
    var extensions: [Extension]

    init(
        cipherSuite: CipherSuite, groupID: [UInt8], epoch: UInt64, treeHash: [UInt8],
        confirmedTranscriptHash: [UInt8], extensions: [Extension]
    ) {
        self.cipherSuite = cipherSuite
        self.groupID = groupID
        self.epoch = epoch
        self.treeHash = treeHash
        self.confirmedTranscriptHash = confirmedTranscriptHash
        self.extensions = extensions
    }

    init(from reader: inout TLSReader) throws(TLSError) {
        guard try reader.readCode(ProtocolVersion.self) == .mls10 else { throw .invalidValue }
        cipherSuite = try reader.readCode()
        groupID = try reader.readVector()
        epoch = try reader.readUInt64()
        treeHash = try reader.readVector()
        confirmedTranscriptHash = try reader.readVector()
        extensions = try reader.readArray()
    }

    func encode(to writer: inout TLSWriter) {
        writer.write(code: ProtocolVersion.mls10)
        writer.write(code: cipherSuite)
        writer.write(vector: groupID)
        writer.write(epoch)
        writer.write(vector: treeHash)
        writer.write(vector: confirmedTranscriptHash)
        writer.write(array: extensions)
    }
}
