public import Cryptography
public import TLSSyntax

/// Storing a group: as entries of which an operation changes few, or as a whole.
///
/// What a message changes is its sender's ratchets, and at a sender's first message of an epoch
/// a handful of secrets of the tree above. Trees and epochs are written when a commit is merged.
extension Group {
    private static var formatVersion: UInt8 { 3 }

    /// The entries changed since the last call, or since the group was made or loaded.
    public mutating func takeChanges() -> [StateChange] {
        defer { changedKeys = [] }
        return changedKeys.map { StateChange(key: $0.bytes, value: entry($0)) }
    }

    /// Reads a group back from its entries.
    ///
    /// - Throws: `.corruptState`.
    public init(
        entries: [[UInt8]: SecretBytes], policy: GroupPolicy = .standard
    ) throws(MLSError) {
        do {
            self = try Self.load(entries, policy: policy)
        } catch {
            throw .corruptState
        }
    }

    /// The whole group.
    public func serialized() -> SecretBytes {
        SecretBytes(
            encodedBy: { writer in
                let keys = allKeys.sorted { $0.bytes.lexicographicallyPrecedes($1.bytes) }
                writer.write(UInt32(truncatingIfNeeded: keys.count))
                for key in keys {
                    writer.write(vector: key.bytes)
                    writer.write(secret: entry(key) ?? SecretBytes(count: 0))
                }
            }, capacity: 16_384)
    }

    /// Reads back what `serialized` gave.
    public init(
        serialized: SecretBytes, policy: GroupPolicy = .standard
    ) throws(MLSError) {
        let entries = try serialized.decoded { reader in
            var entries: [[UInt8]: SecretBytes] = [:]
            for _ in 0..<(try reader.readUInt32()) {
                let key = try reader.readVector()
                entries[key] = try reader.readSecret()
            }
            return entries
        }
        try self.init(entries: entries, policy: policy)
        changedKeys = []
    }

    // MARK: Keys

    func keys(of messages: MessageEpoch) -> [StateKey] {
        [.tree(epoch: messages.epoch), .epoch(messages.epoch)]
            + messages.secretTree.nodes.keys.map { .treeSecret(epoch: messages.epoch, $0) }
            + messages.secretTree.ratchets.keys.map { .ratchets(epoch: messages.epoch, $0) }
    }

    var proposalKeys: [StateKey] {
        (0..<UInt32(truncatingIfNeeded: proposals.all.count)).map { .proposal($0) }
    }

    var currentKeys: [StateKey] {
        [.core, .exporter(epoch: epoch)] + proposalKeys + keys(of: current.messages)
    }

    var allKeys: [StateKey] { currentKeys + past.flatMap { keys(of: $0.messages) } }

    private func messages(of epoch: UInt64) -> MessageEpoch? {
        epoch == self.epoch
            ? current.messages : past.first { $0.messages.epoch == epoch }?.messages
    }

    // MARK: Writing

    private func entry(_ key: StateKey) -> SecretBytes? {
        switch key {
        case .core:
            SecretBytes(encodedBy: encodeCore)
        case .tree(let epoch):
            messages(of: epoch).map { SecretBytes($0.tree.encoded()) }
        case .epoch(epoch):
            SecretBytes(encodedBy: current.encode(to:), capacity: 2_048)
        case .epoch(let epoch):
            messages(of: epoch).map { messages in
                SecretBytes(encodedBy: { writer in
                    writer.write(bytes: messages.context)
                    writer.write(secret: messages.senderDataSecret.bytes)
                })
            }
        case .treeSecret(let epoch, let node):
            messages(of: epoch)?.secretTree.nodes[node]?.bytes
        case .ratchets(let epoch, let leaf):
            messages(of: epoch)?.secretTree.ratchets[leaf].map { ratchets in
                SecretBytes(encodedBy: ratchets.encode(to:))
            }
        case .exporter(epoch):
            SecretBytes(encodedBy: current.secrets.exporter.encode(to:))
        case .exporter:
            nil
        case .proposal(let number):
            Int(exactly: number).flatMap { number in
                proposals.all.indices.contains(number) ? entry(proposals.all[number]) : nil
            }
        }
    }

    /// A pending proposal, with the private key of an own update.
    private func entry(_ pending: PendingProposal) -> SecretBytes {
        var key: HPKEPrivateKey?
        if case .update(let leafNode) = pending.proposal {
            key = updateKeys[leafNode.encryptionKey]
        }
        return SecretBytes(encodedBy: { writer in
            writer.write(pending)
            writer.write(UInt8(key == nil ? 0 : 1))
            if let key { writer.write(secret: key.bytes) }
        })
    }

    private func encodeCore(to writer: inout TLSWriter) {
        writer.write(Self.formatVersion)
        writer.write(epoch)
        switch status {
        case .active: writer.write(UInt8(0))
        case .removed: writer.write(UInt8(1))
        case .reInitialized(let reInit):
            writer.write(UInt8(2))
            writer.write(reInit)
        }
        writer.write(UInt32(truncatingIfNeeded: past.count))
        for epoch in past {
            writer.write(epoch.messages.epoch)
            writer.write(epoch.endedAt)
        }
        writer.write(UInt32(truncatingIfNeeded: resumptionSecrets.count))
        for (epoch, secret) in resumptionSecrets {
            writer.write(epoch)
            writer.write(secret: secret.bytes)
        }
    }

    // MARK: Reading

    private static func load(
        _ entries: [[UInt8]: SecretBytes], policy: GroupPolicy
    ) throws -> Group {
        var stored: [StateKey: [UInt8]] = [:]
        defer {
            // The keys by themselves: a view of them would share the values, and a copy be wiped.
            for key in Array(stored.keys) { TLSWriter.wipe(&stored[key, default: []]) }
        }
        for (key, value) in entries { stored[try StateKey(bytes: key)] = value.exposedCopy() }

        func reader(_ key: StateKey) throws -> TLSReader {
            guard let bytes = stored[key] else { throw MLSError.corruptState }
            return TLSReader(bytes)
        }
        var treeSecrets: [UInt64: [NodeIndex: TreeNodeSecret]] = [:]
        var ratchets: [UInt64: [LeafIndex: SenderRatchets]] = [:]
        var proposalCount: UInt32 = 0
        for (key, value) in stored {
            switch key {
            case .treeSecret(let epoch, let node):
                treeSecrets[epoch, default: [:]][node] = TreeNodeSecret(SecretBytes(value))
            case .ratchets(let epoch, let leaf):
                var reader = TLSReader(value)
                ratchets[epoch, default: [:]][leaf] = try SenderRatchets(from: &reader)
                try reader.finish()
            case .proposal: proposalCount += 1
            case .core, .tree, .epoch, .exporter: break
            }
        }

        var core = try reader(.core)
        guard try core.readUInt8() == formatVersion else { throw MLSError.corruptState }
        let epoch = try core.readUInt64()
        var state = try reader(.epoch(epoch))
        var exporter = try reader(.exporter(epoch: epoch))
        var group = Group(
            try EpochState(
                from: &state, tree: stored[.tree(epoch: epoch)] ?? [],
                treeSecrets: treeSecrets[epoch] ?? [:], ratchets: ratchets[epoch] ?? [:],
                exporter: try Exporter(from: &exporter)),
            policy: policy)
        try state.finish()
        try exporter.finish()
        switch try core.readUInt8() {
        case 0: group.status = .active
        case 1: group.status = .removed
        case 2: group.status = .reInitialized(try ReInit(from: &core))
        default: throw MLSError.corruptState
        }
        for _ in 0..<(try core.readUInt32()) {
            let number = try core.readUInt64()
            let endedAt = try core.readUInt64()
            var reader = try reader(.epoch(number))
            let context = try GroupContext(from: &reader)
            let senderDataSecret = SenderDataSecret(try reader.readSecret())
            try reader.finish()
            let tree = try RatchetTree(
                decoding: stored[.tree(epoch: number)] ?? [], algorithms: group.algorithms)
            group.past.append(
                PastEpoch(
                    messages: MessageEpoch(
                        context: context, tree: tree, senderDataSecret: senderDataSecret,
                        treeSecrets: treeSecrets[number] ?? [:],
                        ratchets: ratchets[number] ?? [:]),
                    endedAt: endedAt))
        }
        for number in 0..<proposalCount {
            var reader = try reader(.proposal(number))
            group.proposals.append(try PendingProposal(from: &reader))
            if try reader.readPresence() {
                let key = try HPKEPrivateKey(
                    try reader.readSecret(), algorithms: group.algorithms)
                group.updateKeys[key.publicKey] = key
            }
            try reader.finish()
        }
        group.resumptionSecrets = []
        for _ in 0..<(try core.readUInt32()) {
            group.resumptionSecrets.append(
                (try core.readUInt64(), ResumptionSecret(try core.readSecret())))
        }
        try core.finish()
        group.changedKeys = []
        return group
    }
}

extension PendingCommit {
    private static var formatVersion: UInt8 { 1 }

    /// Everything, the next epoch's secrets included, for storing.
    public func serialized() -> SecretBytes {
        SecretBytes(
            encodedBy: { writer in
                writer.write(Self.formatVersion)
                writer.write(vector: message)
                writer.write(UInt8(welcome == nil ? 0 : 1))
                if let welcome { writer.write(vector: welcome) }
                writer.write(epoch)
                writer.write(UInt8(generation == nil ? 0 : 1))
                if let generation { writer.write(generation) }
                writer.write(array: added)
                writer.write(array: removed)
                writer.write(array: applicationProposals)
                writer.write(optional: reInit)
                writer.write(vector: base)
                writer.write(vector: next.tree.encoded())
                let nodes = next.messages.secretTree.nodes
                writer.write(UInt32(truncatingIfNeeded: nodes.count))
                for (index, secret) in nodes {
                    writer.write(UInt64(index.rawValue))
                    writer.write(secret: secret.bytes)
                }
                next.secrets.exporter.encode(to: &writer)
                next.encode(to: &writer)
            }, capacity: 16_384)
    }

    /// Reads back what `serialized` gave.
    ///
    /// - Throws: `.corruptState`.
    public init(serialized: SecretBytes) throws(MLSError) {
        self = try serialized.decoded { try PendingCommit(stored: &$0) }
    }

    private init(stored reader: inout TLSReader) throws {
        guard try reader.readUInt8() == Self.formatVersion else { throw MLSError.corruptState }
        message = try reader.readVector()
        commitHash = Hash.sha256(message)
        welcome = try reader.readPresence() ? try reader.readVector() : nil
        epoch = try reader.readUInt64()
        generation = try reader.readPresence() ? try reader.readUInt32() : nil
        added = try reader.readArray()
        removed = try reader.readArray()
        applicationProposals = try reader.readArray()
        reInit = try reader.readOptional()
        leftOut = []
        base = try reader.readVector()
        let tree = try reader.readVector()
        var nodes: [NodeIndex: TreeNodeSecret] = [:]
        for _ in 0..<(try reader.readUInt32()) {
            let index = try reader.readUInt64()
            guard index < 1 << 33 else { throw MLSError.corruptState }
            nodes[NodeIndex(Int(index))] = TreeNodeSecret(try reader.readSecret())
        }
        let exporter = try Exporter(from: &reader)
        next = try EpochState(
            from: &reader, tree: tree, treeSecrets: nodes, ratchets: [:], exporter: exporter)
        groupID = next.context.groupID
    }
}

extension Member: TLSCodable {
    /// Reads a stored member.
    public init(from reader: inout TLSReader) throws(TLSError) {
        index = try LeafIndex(from: &reader)
        leafNode = try LeafNode(from: &reader)
    }

    /// Writes a member for storing.
    public func encode(to writer: inout TLSWriter) {
        writer.write(index)
        writer.write(leafNode)
    }
}
