internal import Cryptography
public import TLSSyntax

extension HashRatchet {
    func encode(to writer: inout TLSWriter) {
        writer.write(generation)
        writer.write(UInt8(secret == nil ? 0 : 1))
        if let secret { writer.write(secret: secret.bytes) }
        writer.write(UInt32(truncatingIfNeeded: skipped.count))
        for entry in skipped {
            writer.write(entry.generation)
            writer.write(secret: entry.key.key)
            writer.write(secret: entry.key.nonce)
        }
    }

    init(from reader: inout TLSReader) throws(TLSError) {
        let generation = try reader.readUInt32()
        let secret = try reader.readPresence() ? RatchetSecret(try reader.readSecret()) : nil
        var skipped: [Skipped] = []
        for _ in 0..<(try reader.readUInt32()) {
            skipped.append(
                Skipped(
                    generation: try reader.readUInt32(),
                    key: MessageKey(
                        key: try reader.readSecret(), nonce: try reader.readSecret())))
        }
        self.init(secret: secret, generation: generation, skipped: skipped)
    }
}

extension SenderRatchets {
    func encode(to writer: inout TLSWriter) {
        handshake.encode(to: &writer)
        application.encode(to: &writer)
    }

    init(from reader: inout TLSReader) throws(TLSError) {
        self.init(
            handshake: try HashRatchet(from: &reader),
            application: try HashRatchet(from: &reader))
    }
}

extension EpochSecrets {
    /// Everything but the exporter, which is an entry of its own.
    func encode(to writer: inout TLSWriter) {
        writer.write(secret: senderDataSecret.bytes)
        writer.write(secret: externalSecret.bytes)
        writer.write(secret: confirmationKey.bytes)
        writer.write(secret: membershipKey.bytes)
        writer.write(secret: resumptionSecret.bytes)
        writer.write(secret: epochAuthenticator.bytes)
        writer.write(secret: initSecret.bytes)
    }

    init(from reader: inout TLSReader, exporter: Exporter) throws(TLSError) {
        self.init(
            senderDataSecret: Secret(try reader.readSecret()), exporter: exporter,
            externalSecret: Secret(try reader.readSecret()),
            confirmationKey: Secret(try reader.readSecret()),
            membershipKey: Secret(try reader.readSecret()),
            resumptionSecret: Secret(try reader.readSecret()),
            epochAuthenticator: Secret(try reader.readSecret()),
            initSecret: Secret(try reader.readSecret()))
    }
}

extension TreePrivateKeys {
    func encode(to writer: inout TLSWriter) {
        writer.write(UInt32(truncatingIfNeeded: keys.count))
        for (index, key) in keys.sorted(by: { $0.key < $1.key }) {
            writer.write(UInt64(index.rawValue))
            writer.write(secret: key.bytes)
        }
    }

    init(from reader: inout TLSReader, algorithms: CipherAlgorithms) throws {
        var keys: [NodeIndex: HPKEPrivateKey] = [:]
        for _ in 0..<(try reader.readUInt32()) {
            let index = try reader.readUInt64()
            guard index < 1 << 33 else { throw TLSError.invalidValue }
            keys[NodeIndex(Int(index))] = try HPKEPrivateKey(
                try reader.readSecret(), algorithms: algorithms)
        }
        self.init(keys: keys)
    }
}

extension EpochState {
    /// Everything but the tree, the exporter and what hangs on the secret tree.
    func encode(to writer: inout TLSWriter) {
        writer.write(context)
        secrets.encode(to: &writer)
        writer.write(vector: confirmationTag)
        writer.write(vector: interimTranscriptHash)
        writer.write(ownLeaf)
        privateKeys.encode(to: &writer)
    }

    init(
        from reader: inout TLSReader, tree treeBytes: [UInt8],
        treeSecrets: [NodeIndex: TreeNodeSecret], ratchets: [LeafIndex: SenderRatchets],
        exporter: Exporter
    ) throws {
        let context = try GroupContext(from: &reader)
        guard let algorithms = CipherAlgorithms(context.cipherSuite) else {
            throw MLSError.unsupportedCipherSuite
        }
        let secrets = try EpochSecrets(from: &reader, exporter: exporter)
        let tag = try reader.readVector()
        let interimHash = try reader.readVector()
        let ownLeaf = try LeafIndex(from: &reader)
        let tree = try RatchetTree(decoding: treeBytes, algorithms: algorithms)
        guard tree[ownLeaf] != nil else { throw MLSError.corruptState }
        let keys = try TreePrivateKeys(from: &reader, algorithms: algorithms)
        self.init(
            context: context,
            messages: MessageEpoch(
                context: context, tree: tree, senderDataSecret: secrets.senderDataSecret,
                treeSecrets: treeSecrets, ratchets: ratchets),
            secrets: secrets, privateKeys: keys, confirmationTag: tag,
            interimTranscriptHash: interimHash, ownLeaf: ownLeaf)
    }
}

extension MessageEpoch {
    init(
        context: GroupContext, tree: RatchetTree, senderDataSecret: SenderDataSecret,
        treeSecrets: [NodeIndex: TreeNodeSecret], ratchets: [LeafIndex: SenderRatchets]
    ) {
        self.init(
            groupID: context.groupID, epoch: context.epoch, context: context.encoded(),
            tree: tree, senderDataSecret: senderDataSecret,
            secretTree: SecretTree(
                width: tree.width, nodes: treeSecrets, ratchets: ratchets,
                algorithms: tree.algorithms))
    }
}

extension PendingProposal: TLSCodable {
    /// Reads a stored pending proposal.
    public init(from reader: inout TLSReader) throws(TLSError) {
        reference = ProposalRef(bytes: try reader.readVector())
        sender = try Sender(from: &reader)
        proposal = try Proposal(from: &reader)
    }

    /// Writes a pending proposal for storing.
    public func encode(to writer: inout TLSWriter) {
        writer.write(vector: reference.bytes)
        writer.write(sender)
        writer.write(proposal)
    }
}
