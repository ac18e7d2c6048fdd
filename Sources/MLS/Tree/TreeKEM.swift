internal import Cryptography
internal import TLSSyntax

/// The private keys that a member holds (RFC 9420 §4.2): its leaf's and those of parents above.
struct TreePrivateKeys: Sendable {
    private(set) var keys: [NodeIndex: HPKEPrivateKey]

    init(leaf: LeafIndex, key: HPKEPrivateKey) { keys = [leaf.node: key] }

    init(keys: [NodeIndex: HPKEPrivateKey]) { self.keys = keys }

    subscript(index: NodeIndex) -> HPKEPrivateKey? {
        get { keys[index] }
        set { keys[index] = newValue }
    }

    /// Drops the keys of nodes that are blank now, or have another key.
    mutating func prune(to tree: RatchetTree) {
        keys = keys.filter { tree[$0.key]?.encryptionKey == $0.value.publicKey }
    }
}

/// The secrets of one update, from the lowest parent of the path to the root (RFC 9420 §7.4).
struct PathSecrets: Sendable {
    let secrets: [PathSecret]
    let keys: [HPKEPrivateKey]
    let commitSecret: CommitSecret

    /// Derives what follows from the first secret for `count` parents.
    init(
        from first: PathSecret, count: Int, algorithms: CipherAlgorithms
    ) throws(MLSError) {
        var secrets: [PathSecret] = []
        var keys: [HPKEPrivateKey] = []
        var current = first
        do {
            for _ in 0..<count {
                secrets.append(current)
                keys.append(
                    try HPKEPrivateKey.derive(
                        from: algorithms.deriveSecret(current.bytes, "node"),
                        algorithms: algorithms))
                current = PathSecret(algorithms.deriveSecret(current.bytes, "path"))
            }
        } catch {
            throw .invalid(.pathSecret)
        }
        self.secrets = secrets
        self.keys = keys
        commitSecret = CommitSecret(current.bytes)
    }
}

extension RatchetTree {
    /// Encrypts a path's secrets to everyone but the sender (RFC 9420 §7.5, §7.6).
    ///
    /// - Parameters:
    ///   - excluded: leaves that the same commit adds.
    ///   - context: the provisional group context, encoded.
    func encrypt(
        _ secrets: PathSecrets, steps: [PathStep], excluding excluded: Set<LeafIndex>,
        context: [UInt8]
    ) throws(MLSError) -> [UpdatePathNode] {
        let hpke = algorithms.hpke("UpdatePathNode", context: context)
        var nodes: [UpdatePathNode] = []
        for (offset, step) in steps.enumerated() {
            var ciphertexts: [HPKECiphertext] = []
            for index in resolution(of: step.copathChild, excluding: excluded) {
                guard let node = self[index] else { continue }
                ciphertexts.append(
                    try hpke.encrypt(secrets.secrets[offset].bytes, to: node.encryptionKey))
            }
            nodes.append(
                UpdatePathNode(
                    encryptionKey: secrets.keys[offset].publicKey,
                    encryptedPathSecrets: EncryptedPathSecrets(ciphertexts)))
        }
        return nodes
    }

    /// Checks the numbers of a received path (RFC 9420 §7.5, §7.6, §12.4.2) against this tree, which
    /// has the proposals applied and the path not yet.
    func validate(
        _ path: UpdatePath, steps: [PathStep], excluding excluded: Set<LeafIndex>
    ) throws(MLSError) {
        guard path.nodes.count == steps.count else { throw .invalid(.pathLength) }
        for (node, step) in zip(path.nodes, steps) {
            let receivers = resolution(of: step.copathChild, excluding: excluded)
            guard node.encryptedPathSecrets.count == receivers.count else {
                throw .invalid(.pathCiphertextCount)
            }
        }
        let keys = path.nodes.map(\.encryptionKey) + [path.leafNode.encryptionKey]
        guard keys.allSatisfy({ algorithms.isPublicKey($0) }) else { throw .invalid(.publicKey) }
        var distinct = DistinctKeys(expecting: keys.count)
        guard keys.allSatisfy({ distinct.insert($0) }), !contains(anyOf: keys) else {
            throw .invalid(.pathKeysAreNew)
        }
    }

    /// Decrypts the path secret meant for us and derives those above (RFC 9420 §7.5).
    ///
    /// `self` has the path applied. Adds the new private keys to `privateKeys`.
    func decrypt(
        _ path: UpdatePath, steps: [PathStep], for receiver: LeafIndex,
        privateKeys: inout TreePrivateKeys, excluding excluded: Set<LeafIndex>, context: [UInt8]
    ) throws(MLSError) -> CommitSecret {
        guard
            let offset = steps.firstIndex(where: { $0.copathChild.contains(receiver.node) })
        else { throw .invalid(.pathSecret) }
        let receivers = resolution(of: steps[offset].copathChild, excluding: excluded)
        guard
            let position = receivers.firstIndex(where: { privateKeys[$0] != nil }),
            let key = privateKeys[receivers[position]],
            let ciphertext = path.nodes[offset].encryptedPathSecrets[position],
            let secret = algorithms.hpke("UpdatePathNode", context: context).decrypt(
                ciphertext, with: key),
            secret.count == algorithms.hashByteCount
        else { throw .invalid(.pathSecret) }
        let secrets = try PathSecrets(
            from: PathSecret(secret), count: steps.count - offset, algorithms: algorithms)
        for (index, key) in secrets.keys.enumerated() {
            let step = steps[offset + index]
            guard self[step.parent]?.encryptionKey == key.publicKey else {
                throw .invalid(.pathKeys)
            }
            privateKeys[step.parent] = key
        }
        return secrets.commitSecret
    }
}
