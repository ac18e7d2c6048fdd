internal import Cryptography
internal import TLSSyntax

/// Which of a sender's two ratchets a message uses (RFC 9420 §9.1).
enum RatchetKind: Sendable {
    case handshake
    case application

    init(_ type: ContentType) { self = type == .application ? .application : .handshake }
}

/// Key and nonce of one message (RFC 9420 §9.1).
struct MessageKey: Sendable {
    let key: SecretBytes
    let nonce: SecretBytes
}

/// One of a sender's ratchets (RFC 9420 §9.1).
struct HashRatchet: Sendable {
    struct Skipped: Sendable {
        let generation: UInt32
        let key: MessageKey
    }

    /// How far a receiver follows a sender; the RFC leaves the numbers open (§9.1).
    struct Window: Sendable {
        let outOfOrder: UInt32
        let forward: UInt32
    }

    /// The secret of the next generation, nil when the last one was used.
    private(set) var secret: RatchetSecret?
    /// The next generation.
    private(set) var generation: UInt32
    /// Keys of generations passed over, in increasing order.
    private(set) var skipped: [Skipped]

    init(secret: RatchetSecret?, generation: UInt32 = 0, skipped: [Skipped] = []) {
        self.secret = secret
        self.generation = generation
        self.skipped = skipped
    }

    private mutating func step(
        _ algorithms: CipherAlgorithms, keepingKey: Bool
    ) throws(MLSError) -> MessageKey? {
        guard let secret else { throw .misuse(.ratchetExhausted) }
        func derive(_ label: String, _ count: Int) -> SecretBytes {
            algorithms.deriveTreeSecret(
                secret.bytes, label, generation: generation, count: count)
        }
        let key =
            keepingKey
            ? MessageKey(
                key: derive("key", algorithms.keyByteCount),
                nonce: derive("nonce", algorithms.nonceByteCount)) : nil
        let next = generation.addingReportingOverflow(1)
        self.secret =
            next.overflow ? nil : RatchetSecret(derive("secret", algorithms.hashByteCount))
        if !next.overflow { generation = next.partialValue }
        return key
    }

    /// The next key for sending; the ratchet keeps nothing of it.
    mutating func next(
        _ algorithms: CipherAlgorithms
    ) throws(MLSError) -> (generation: UInt32, key: MessageKey) {
        let current = generation
        guard let key = try step(algorithms, keepingKey: true) else {
            throw .misuse(.ratchetExhausted)
        }
        return (current, key)
    }

    /// The key of a received generation; the ratchet keeps nothing of it.
    ///
    /// Call it on a copy, and keep the copy when the message turned out to be authentic.
    mutating func key(
        for wanted: UInt32, window: Window, _ algorithms: CipherAlgorithms
    ) throws(MLSError) -> MessageKey {
        if secret == nil || wanted < generation {
            guard let position = skipped.firstIndex(where: { $0.generation == wanted }) else {
                throw .keyUnavailable(generation: wanted)
            }
            return skipped.remove(at: position).key
        }
        guard wanted - generation <= window.forward else {
            throw .keyUnavailable(generation: wanted)
        }
        while generation < wanted {
            let current = generation
            let key = try step(
                algorithms, keepingKey: wanted - current <= window.outOfOrder)
            if let key { skipped.append(Skipped(generation: current, key: key)) }
        }
        skipped.removeAll { wanted - $0.generation > window.outOfOrder }
        guard let key = try step(algorithms, keepingKey: true) else {
            throw .keyUnavailable(generation: wanted)
        }
        return key
    }
}

/// A sender's two ratchets (RFC 9420 §9.1).
struct SenderRatchets: Sendable {
    var handshake: HashRatchet
    var application: HashRatchet

    subscript(kind: RatchetKind) -> HashRatchet {
        get { kind == .handshake ? handshake : application }
        set {
            if kind == .handshake { handshake = newValue } else { application = newValue }
        }
    }
}

/// The keys for the messages of an epoch (RFC 9420 §9).
///
/// A node's secret is gone as soon as its children's are there; a leaf's becomes two ratchets.
struct SecretTree: Sendable {
    let algorithms: CipherAlgorithms
    let width: LeafCount
    private(set) var nodes: [NodeIndex: TreeNodeSecret]
    private(set) var ratchets: [LeafIndex: SenderRatchets]

    init(_ secret: EncryptionSecret, width: LeafCount, algorithms: CipherAlgorithms) {
        self.algorithms = algorithms
        self.width = width
        nodes = [width.root: TreeNodeSecret(secret.bytes)]
        ratchets = [:]
    }

    init(
        width: LeafCount, nodes: [NodeIndex: TreeNodeSecret],
        ratchets: [LeafIndex: SenderRatchets], algorithms: CipherAlgorithms
    ) {
        self.algorithms = algorithms
        self.width = width
        self.nodes = nodes
        self.ratchets = ratchets
    }

    /// What using a leaf's ratchets would change. Nothing of it holds before `keep`.
    struct Opened: Sendable {
        fileprivate let leaf: LeafIndex
        fileprivate var ratchets: SenderRatchets
        fileprivate let nodes: [NodeIndex: TreeNodeSecret?]
        private let unused: SenderRatchets

        fileprivate init(
            leaf: LeafIndex, ratchets: SenderRatchets, nodes: [NodeIndex: TreeNodeSecret?] = [:]
        ) {
            self.leaf = leaf
            self.ratchets = ratchets
            self.nodes = nodes
            unused = ratchets
        }

        /// The same with all keys still there; nil if that is what the tree has.
        var unspent: Opened? {
            nodes.isEmpty ? nil : Opened(leaf: leaf, ratchets: unused, nodes: nodes)
        }

        /// The entries of the stored state that differ afterwards.
        func changes(in epoch: UInt64) -> [StateKey] {
            [.ratchets(epoch: epoch, leaf)] + nodes.keys.map { .treeSecret(epoch: epoch, $0) }
        }
    }

    /// Derives the ratchets of a leaf on first use.
    private func open(_ leaf: LeafIndex) throws(MLSError) -> Opened {
        guard width.contains(leaf) else { throw .keyUnavailable(generation: 0) }
        if let known = ratchets[leaf] { return Opened(leaf: leaf, ratchets: known) }
        var path = [leaf.node] + width.directPath(of: leaf.node)
        guard let start = path.firstIndex(where: { nodes[$0] != nil }),
            var secret = nodes[path[start]]
        else { throw .keyUnavailable(generation: 0) }
        path.removeSubrange((start + 1)...)
        var opened: [NodeIndex: TreeNodeSecret?] = [:]
        for (index, next) in zip(path.reversed(), path.reversed().dropFirst()) {
            guard let left = index.left, let right = index.right else { break }
            let leftSecret = child("left", of: secret)
            let rightSecret = child("right", of: secret)
            opened[index] = .some(nil)
            opened[next == left ? right : left] = next == left ? rightSecret : leftSecret
            secret = next == left ? leftSecret : rightSecret
        }
        opened[leaf.node] = .some(nil)
        return Opened(
            leaf: leaf,
            ratchets: SenderRatchets(
                handshake: ratchet("handshake", secret),
                application: ratchet("application", secret)),
            nodes: opened)
    }

    private func child(_ side: String, of secret: TreeNodeSecret) -> TreeNodeSecret {
        TreeNodeSecret(
            algorithms.expandWithLabel(
                secret.bytes, "tree", context: Array(side.utf8), count: algorithms.hashByteCount))
    }

    private func ratchet(_ label: String, _ secret: TreeNodeSecret) -> HashRatchet {
        HashRatchet(
            secret: RatchetSecret(
                algorithms.expandWithLabel(
                    secret.bytes, label, context: [], count: algorithms.hashByteCount)))
    }

    /// The next key of the own leaf.
    func nextKey(
        of leaf: LeafIndex, _ kind: RatchetKind
    ) throws(MLSError) -> (generation: UInt32, key: MessageKey, opened: Opened) {
        var opened = try open(leaf)
        let (generation, key) = try opened.ratchets[kind].next(algorithms)
        return (generation, key, opened)
    }

    /// The key of a received message.
    func key(
        of leaf: LeafIndex, _ kind: RatchetKind, generation: UInt32, window: HashRatchet.Window
    ) throws(MLSError) -> (key: MessageKey, opened: Opened) {
        var opened = try open(leaf)
        let key = try opened.ratchets[kind].key(for: generation, window: window, algorithms)
        return (key, opened)
    }

    /// Ends the handshake ratchets of all leaves whose ratchets are there, and of `leaf`.
    ///
    /// - Returns: the entries of the stored state that differ afterwards.
    mutating func endHandshakes(committer leaf: LeafIndex?, in epoch: UInt64) -> [StateKey] {
        var changes: [StateKey] = []
        if let leaf, ratchets[leaf] == nil, let opened = try? open(leaf) {
            keep(opened)
            changes += opened.changes(in: epoch)
        }
        for leaf in ratchets.keys {
            ratchets[leaf]?.handshake = HashRatchet(secret: nil)
            changes.append(.ratchets(epoch: epoch, leaf))
        }
        return changes
    }

    /// Makes the use of a key final: it is gone from now on.
    mutating func keep(_ opened: Opened) {
        ratchets[opened.leaf] = opened.ratchets
        for (index, secret) in opened.nodes { nodes[index] = secret }
    }
}
