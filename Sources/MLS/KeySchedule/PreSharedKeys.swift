public import Cryptography
internal import TLSSyntax

/// The pre-shared keys that the caller can provide (RFC 9420 §8.4).
public struct PreSharedKeys: Sendable {
    private struct ResumptionKey: Hashable {
        let groupID: [UInt8]
        let epoch: UInt64
    }

    private var external: [[UInt8]: SecretBytes] = [:]
    private var resumption: [ResumptionKey: SecretBytes] = [:]

    /// None yet.
    public init() {}

    /// Provides a key under the name that proposals use.
    public mutating func provide(_ key: SecretBytes, externalID: [UInt8]) {
        external[externalID] = key
    }

    /// Provides another group's resumption secret (``Group/resumptionSecret``).
    public mutating func provide(_ key: SecretBytes, groupID: [UInt8], epoch: UInt64) {
        resumption[ResumptionKey(groupID: groupID, epoch: epoch)] = key
    }

    subscript(source: PreSharedKeySource) -> SecretBytes? {
        switch source {
        case .external(let id): external[id]
        case .resumption(_, let groupID, let epoch):
            resumption[ResumptionKey(groupID: groupID, epoch: epoch)]
        }
    }

    /// The keys' combination, in this order (RFC 9420 §8.4).
    func combined(
        _ ids: [PreSharedKeyID], algorithms: CipherAlgorithms
    ) throws(MLSError) -> CombinedPreSharedKeys {
        guard let count = UInt16(exactly: ids.count) else { throw .malformed }
        var secret = algorithms.zeroSecret
        var index: UInt16 = 0
        for id in ids {
            guard let key = self[id.source] else { throw .missingPreSharedKey }
            var label = TLSWriter()
            label.write(id)
            label.write(index)
            label.write(count)
            let input = algorithms.expandWithLabel(
                algorithms.extract(salt: algorithms.zeroSecret, input: key), "derived psk",
                context: label.bytes, count: algorithms.hashByteCount)
            secret = algorithms.extract(salt: input, input: secret)
            index += 1
        }
        return CombinedPreSharedKeys(secret)
    }
}
