internal import Cryptography
internal import TLSSyntax

@testable internal import MLS

/// A tree that a member changed, with a GroupInfo that fits and is signed, in a sealed Welcome or for
/// an external commit.
extension ForgeryFixture {
    /// Lets the newcomer join by what the script makes; gives what it says to it.
    @discardableResult func joinForged(_ octets: [UInt8]) -> MLSError? {
        var script = Script(octets)
        do {
            let group = try forgedJoin(&script)
            // Whoever is let in can be stored, and can commit and send.
            let stored = group.serialized()
            precondition((try? Group(serialized: stored))?.serialized() == stored, "not stored")
            var copy = group
            do {
                let leaf = group.member(at: group.ownLeafIndex)?.leafNode
                let key = signingKey(of: leaf) ?? newcomerKey
                _ = try copy.commit(signingKey: key, validator: Anyone(), at: Self.now)
                _ = try copy.encrypt([1], signingKey: key)
            } catch {
                preconditionFailure("who joined can do nothing: \(error)")
            }
            return nil
        } catch let error as MLSError {
            return error
        } catch {
            return .malformed
        }
    }

    private func forgedJoin(_ script: inout Script) throws -> Group {
        let isExternal = script.flag()
        var tree = tree
        let own = isExternal ? nil : try tree.add(newcomer.keyPackage.leafNode)
        for _ in 0..<script.number(5) { edit(&tree, by: &script) }
        let mending = script.octet()
        // All is mended unless the script says otherwise.
        mend(
            &tree, below: tree.width.root, hashes: mending & 1 == 0, signatures: mending & 2 == 0)
        if let own, mending & 4 == 0, own.node.rawValue < tree.width.nodeCount {
            tree.set(own.node, to: .leaf(newcomer.keyPackage.leafNode))
        }
        let members = tree.leaves.filter { $0.index != own }
        guard let signer = script.choice(members) else { throw MLSError.malformed }
        let key = signingKey(of: signer.node) ?? spareKeys[0]
        let pathSecret =
            try script.flag() ? renewPath(of: signer, in: &tree, for: own, key: key) : nil

        var encoded = tree.encoded()
        if script.flag() { script.damage(&encoded) }
        Self.compareVerdicts(on: encoded)
        var context = GroupContext(
            cipherSuite: Self.suite, groupID: context.groupID, epoch: context.epoch + 1,
            treeHash: tree.treeHash(), confirmedTranscriptHash: script.octets(32),
            extensions: forgedExtensions(&script))
        if let damaged = try? RatchetTree(decoding: encoded, algorithms: Self.algorithms) {
            var damaged = damaged
            context.treeHash = damaged.treeHash()
        }
        let preSharedKeyIDs =
            script.flag()
            ? [PreSharedKeyID(source: .external(id: [5]), nonce: script.octets(32))] : []
        let joinerSecret = JoinerSecret(SecretBytes(script.octets(32)))
        let joined = JoinedSecrets(
            joinerSecret: joinerSecret,
            preSharedKeys: try preSharedKeys.combined(
                preSharedKeyIDs, algorithms: Self.algorithms), algorithms: Self.algorithms)
        let (secrets, _) = EpochSecrets.derive(
            from: joined.epochSecret(context: context.encoded(), algorithms: Self.algorithms),
            algorithms: Self.algorithms)
        var extensions = [Extension(type: .ratchetTree, data: encoded)]
        if isExternal {
            let external = try HPKEPrivateKey.derive(
                from: secrets.externalSecret.bytes, algorithms: Self.algorithms)
            extensions.append(
                Extension(
                    type: .externalPub, data: ExternalPub(key: external.publicKey).encoded()))
        }
        func info(_ signature: [UInt8]) -> GroupInfo {
            GroupInfo(
                groupContext: context, extensions: extensions,
                confirmationTag: secrets.confirmationKey.tag(
                    confirmedTranscriptHash: context.confirmedTranscriptHash,
                    algorithms: Self.algorithms), signer: signer.index, signature: signature)
        }
        let groupInfo = info(
            try Self.algorithms.sign(info([]).toBeSigned, label: "GroupInfoTBS", with: key))
        if isExternal {
            return try Group.joinExternally(
                groupInfo: MLSMessage.groupInfo(groupInfo).encoded(),
                leaf: Self.leaf(11), signingKey: newcomerKey,
                replacing: script.flag() ? script.choice(members)?.index : nil,
                validator: Anyone(), at: Self.now, policy: Self.policy
            ).group
        }
        let welcome = try seal(
            groupInfo,
            GroupSecrets(
                joinerSecret: joinerSecret, pathSecret: pathSecret,
                preSharedKeys: preSharedKeyIDs), joined.welcomeSecret)
        return try Group.join(
            welcome: welcome, bundle: newcomer, preSharedKeys: preSharedKeys, existing: [],
            validator: Anyone(), at: Self.now, policy: Self.policy)
    }

    /// New keys on the signer's path, as its commit would have set them; gives the newcomer's secret.
    private func renewPath(
        of signer: (index: LeafIndex, node: LeafNode), in tree: inout RatchetTree,
        for own: LeafIndex?, key: SigningKey
    ) throws -> PathSecret? {
        let steps = tree.filteredDirectPath(of: signer.index)
        let secrets = try PathSecrets(
            from: PathSecret(.random(count: 32)), count: steps.count, algorithms: Self.algorithms)
        let hash = tree.setPath(
            of: signer.index, steps: steps, keys: secrets.keys.map(\.publicKey))
        let leaf = signer.node.edited(
            encryptionKey: try HPKEPrivateKey.generate(Self.algorithms).publicKey,
            signatureKey: key.publicKey.bytes, source: .commit(parentHash: hash))
        tree.set(signer.index.node, to: .leaf(signed(leaf, at: signer.index)))
        guard let own, tree.width.contains(own) else { return nil }
        let ancestor = tree.width.commonAncestor(own.node, signer.index.node)
        return steps.firstIndex { $0.parent == ancestor }.map { secrets.secrets[$0] }
    }

    /// What a group's extensions could be.
    func forgedExtensions(_ script: inout Script) -> [Extension] {
        var extensions = context.extensions
        switch script.number(24) {
        case 1: extensions.append(contentsOf: extensions)
        case 2:
            let required = RequiredCapabilities(
                extensions: [ExtensionType(rawValue: UInt16(script.octet()))],
                proposals: [ProposalType(rawValue: UInt16(script.octet()))],
                credentials: [script.flag() ? .basic : .x509])
            extensions.append(Extension(type: .requiredCapabilities, data: required.encoded()))
        case 3: extensions = [Extension(type: .externalSenders, data: script.octets(4))]
        case 4: extensions.append(Extension(type: Self.customExtension, data: script.octets(3)))
        case 5: extensions.append(Extension(type: ExtensionType(rawValue: 0xF0FE), data: []))
        case 6:
            extensions = extensions.map {
                var data = $0.data
                script.damage(&data)
                return Extension(type: $0.type, data: data)
            }
        default: break
        }
        return extensions
    }

    private func seal(
        _ groupInfo: GroupInfo, _ secrets: GroupSecrets, _ welcomeSecret: WelcomeSecret
    ) throws -> [UInt8] {
        let (key, nonce) = welcomeSecret.keyAndNonce(Self.algorithms)
        let encryptedInfo = try Self.algorithms.seal(
            groupInfo.encoded(), key: key, nonce: nonce, authenticating: [])
        let hpke = Self.algorithms.hpke("Welcome", context: encryptedInfo)
        return MLSMessage.welcome(
            Welcome(
                cipherSuite: Self.suite,
                secrets: [
                    EncryptedGroupSecrets(
                        newMember: newcomer.reference,
                        encryptedGroupSecrets: try hpke.encrypt(
                            secrets.encoded(), to: newcomer.keyPackage.initKey))
                ], encryptedGroupInfo: encryptedInfo)
        ).encoded()
    }
}
