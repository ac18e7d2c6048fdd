internal import Cryptography
internal import TLSSyntax

/// What is needed to write and read an epoch's encrypted messages (RFC 9420 §6.3).
struct MessageEpoch: Sendable {
    let groupID: [UInt8]
    let epoch: UInt64
    /// The encoded group context, which signatures cover.
    let context: [UInt8]
    let tree: RatchetTree
    let senderDataSecret: SenderDataSecret
    var secretTree: SecretTree

    var algorithms: CipherAlgorithms { tree.algorithms }
}

/// `SenderData` (RFC 9420 §6.3.2).
struct SenderData: Sendable {
    let leaf: LeafIndex
    let generation: UInt32
    let reuseGuard: [UInt8]

    init(leaf: LeafIndex, generation: UInt32, reuseGuard: [UInt8]) {
        self.leaf = leaf
        self.generation = generation
        self.reuseGuard = reuseGuard
    }

    init(decoding bytes: [UInt8]) throws(TLSError) {
        var reader = TLSReader(bytes)
        leaf = try LeafIndex(from: &reader)
        generation = try reader.readUInt32()
        reuseGuard = try reader.readBytes(count: 4)
        try reader.finish()
    }

    func encoded() -> [UInt8] {
        var writer = TLSWriter()
        writer.write(leaf)
        writer.write(generation)
        writer.write(bytes: reuseGuard)
        return writer.bytes
    }

    /// The message's nonce with the guard mixed in (RFC 9420 §6.3.1), to be wiped after use.
    func guarded(_ nonce: SecretBytes) -> [UInt8] {
        var nonce = nonce.exposedCopy()
        for (index, octet) in reuseGuard.enumerated() where index < nonce.count {
            nonce[index] ^= octet
        }
        return nonce
    }
}

extension SenderDataSecret {
    /// Key and nonce for the sender data, from a sample of the ciphertext (RFC 9420 §6.3.2).
    func keyAndNonce(
        for ciphertext: [UInt8], algorithms: CipherAlgorithms
    ) -> (key: SecretBytes, nonce: [UInt8]) {
        let sample = Array(ciphertext.prefix(algorithms.hashByteCount))
        let key = algorithms.expandWithLabel(
            bytes, "key", context: sample, count: algorithms.keyByteCount)
        let nonce = algorithms.expandWithLabel(
            bytes, "nonce", context: sample, count: algorithms.nonceByteCount)
        return (key, nonce.exposedCopy())
    }
}

extension PrivateMessage {
    /// `SenderDataAAD` (RFC 9420 §6.3.2).
    static func senderDataAAD(groupID: [UInt8], epoch: UInt64, _ type: ContentType) -> [UInt8] {
        var writer = TLSWriter()
        writer.write(vector: groupID)
        writer.write(epoch)
        writer.write(type.rawValue)
        return writer.bytes
    }

    /// `PrivateContentAAD` (RFC 9420 §6.3.1).
    static func contentAAD(_ senderDataAAD: [UInt8], authenticatedData: [UInt8]) -> [UInt8] {
        var writer = TLSWriter()
        writer.write(bytes: senderDataAAD)
        writer.write(vector: authenticatedData)
        return writer.bytes
    }
}

extension MessageEpoch {
    /// How much padding a message gets.
    enum Padding {
        /// As if the application data had this many octets, if it has fewer.
        case applicationData(count: Int)
        /// Up to a multiple of this many octets.
        case multiple(of: Int)
    }

    /// What an encrypted message came from.
    enum Unprotected {
        /// The own leaf: its keys are gone, so the content stays closed.
        case own(generation: UInt32)
        /// Someone else.
        case content(VerifiedContent, Origin)
    }

    /// Who sent an encrypted message, as of its epoch, and which of theirs it is.
    struct Origin {
        let sender: Member
        let generation: UInt32
        /// What to keep in the secret tree if the message is taken.
        let opened: SecretTree.Opened
    }

    /// Encrypts a signed content of the own leaf (RFC 9420 §6.3.1).
    ///
    /// - Returns: the message, its generation, and what to keep in the secret tree.
    func protect(
        _ content: AuthenticatedContent, from leaf: LeafIndex, padding: Padding
    ) throws(MLSError) -> (
        message: PrivateMessage, generation: UInt32, opened: SecretTree.Opened
    ) {
        let type = content.content.content.type
        let (generation, messageKey, opened) = try secretTree.nextKey(of: leaf, RatchetKind(type))
        let senderData = SenderData(
            leaf: leaf, generation: generation, reuseGuard: Random.bytes(4))
        let senderDataAAD = PrivateMessage.senderDataAAD(groupID: groupID, epoch: epoch, type)
        let aad = PrivateMessage.contentAAD(
            senderDataAAD, authenticatedData: content.content.authenticatedData)
        var contentNonce = senderData.guarded(messageKey.nonce)
        defer { TLSWriter.wipe(&contentNonce) }
        do {
            let ciphertext = try algorithms.seal(
                Self.plaintext(of: content, padding: padding), key: messageKey.key,
                nonce: contentNonce, authenticating: aad)
            let (key, nonce) = senderDataSecret.keyAndNonce(
                for: ciphertext, algorithms: algorithms)
            let encryptedSenderData = try algorithms.seal(
                senderData.encoded(), key: key, nonce: nonce, authenticating: senderDataAAD)
            let message = PrivateMessage(
                groupID: groupID, epoch: epoch, contentType: type,
                authenticatedData: content.content.authenticatedData,
                encryptedSenderData: encryptedSenderData, ciphertext: ciphertext)
            return (message, generation, opened)
        } catch {
            throw .machine
        }
    }

    /// `PrivateMessageContent` (RFC 9420 §6.3.1).
    private static func plaintext(of content: AuthenticatedContent, padding: Padding) -> [UInt8] {
        var writer = TLSWriter()
        content.content.content.encode(to: &writer)
        content.auth.encode(to: &writer)
        let missing: Int
        switch padding {
        case .applicationData(let count):
            if case .application(let data) = content.content.content, data.count < count {
                missing = count - data.count + headerCount(count) - headerCount(data.count)
            } else {
                missing = 0
            }
        case .multiple(let bucket):
            missing = bucket > 1 ? (bucket - writer.bytes.count % bucket) % bucket : 0
        }
        writer.write(zeros: missing)
        return writer.bytes
    }

    private static func headerCount(_ length: Int) -> Int {
        length <= 0x3f ? 1 : length <= 0x3fff ? 2 : 4
    }

    /// Decrypts a message and checks its signature (RFC 9420 §6.3). Changes nothing.
    func unprotect(
        _ message: PrivateMessage, ownLeaf: LeafIndex?, window: HashRatchet.Window
    ) throws(MLSError) -> Unprotected {
        let senderData = try openSenderData(of: message)
        guard let leafNode = tree[senderData.leaf] else { throw .invalid(.senderIsMember) }
        if senderData.leaf == ownLeaf { return .own(generation: senderData.generation) }
        let (messageKey, opened) = try secretTree.key(
            of: senderData.leaf, RatchetKind(message.contentType),
            generation: senderData.generation, window: window)
        let aad = PrivateMessage.contentAAD(
            PrivateMessage.senderDataAAD(
                groupID: message.groupID, epoch: message.epoch, message.contentType),
            authenticatedData: message.authenticatedData)
        let plaintext: [UInt8]?
        var nonce = senderData.guarded(messageKey.nonce)
        defer { TLSWriter.wipe(&nonce) }
        do {
            plaintext = try algorithms.open(
                message.ciphertext, key: messageKey.key, nonce: nonce, authenticating: aad)
        } catch {
            throw .machine
        }
        guard let plaintext else { throw .undecryptable }
        let content = try Self.content(of: message, from: plaintext, sender: senderData.leaf)
        let verified = try content.verified(
            by: leafNode.signatureKey, context: context, algorithms: algorithms)
        return .content(
            verified,
            Origin(
                sender: Member(index: senderData.leaf, leafNode: leafNode),
                generation: senderData.generation, opened: opened))
    }

    /// Whether a message says that the own leaf sent it.
    func isOwn(_ message: PrivateMessage, ownLeaf: LeafIndex) throws(MLSError) -> Bool {
        try openSenderData(of: message).leaf == ownLeaf
    }

    private func openSenderData(of message: PrivateMessage) throws(MLSError) -> SenderData {
        let (key, nonce) = senderDataSecret.keyAndNonce(
            for: message.ciphertext, algorithms: algorithms)
        let aad = PrivateMessage.senderDataAAD(
            groupID: message.groupID, epoch: message.epoch, message.contentType)
        guard
            let bytes = try? algorithms.open(
                message.encryptedSenderData, key: key, nonce: nonce, authenticating: aad)
        else { throw .undecryptable }
        do { return try SenderData(decoding: bytes) } catch { throw .malformed }
    }

    private static func content(
        of message: PrivateMessage, from plaintext: [UInt8], sender: LeafIndex
    ) throws(MLSError) -> AuthenticatedContent {
        do {
            var reader = TLSReader(plaintext)
            let content = try MessageContent(message.contentType, from: &reader)
            let auth = try FramedContentAuthData(message.contentType, from: &reader)
            guard reader.readRemaining().allSatisfy({ $0 == 0 }) else {
                throw MLSError.invalid(.padding)
            }
            return AuthenticatedContent(
                wireFormat: .privateMessage,
                content: FramedContent(
                    groupID: message.groupID, epoch: message.epoch, sender: .member(sender),
                    authenticatedData: message.authenticatedData, content: content),
                auth: auth)
        } catch let error as MLSError {
            throw error
        } catch {
            throw .malformed
        }
    }
}
