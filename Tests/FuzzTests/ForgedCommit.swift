internal import Cryptography
internal import TLSSyntax

@testable internal import MLS

/// Commits with any content, hashed, tagged and signed with the sender's keys as if they were right.
extension ForgeryFixture {
    /// Gives the victim a commit that the script makes; gives what it says to it.
    @discardableResult func commitForged(_ octets: [UInt8]) -> MLSError? {
        var script = Script(octets)
        var group = victim
        do {
            let message = try forgedCommit(&script)
            guard
                case .commit(let staged) = try group.process(
                    message, validator: Anyone(), at: Self.now, preSharedKeys: preSharedKeys)
            else { return .malformed }
            try group.merge(staged, at: Self.now)
        } catch let error as MLSError {
            precondition(
                group.serialized() == victim.serialized(), "a refused commit changed the group")
            return error
        } catch {
            return .malformed
        }
        if group.isActive { requireJoinable(group) }
        return nil
    }

    /// What members take must be what newcomers take: no commit may lock others out.
    private func requireJoinable(_ group: Group) {
        do {
            guard
                let key = signingKey(of: group.member(at: group.ownLeafIndex)?.leafNode),
                case .groupInfo(let info) = try MLSMessage(
                    decoding: group.groupInfo(allowsJoining: true, signingKey: key))
            else { preconditionFailure("no GroupInfo") }
            let checks = try LeafChecks(
                algorithms: Self.algorithms, groupID: group.groupID, extensions: group.extensions,
                policy: Self.policy, validator: Anyone(), now: Self.now, isSending: false)
            _ = try Group.verifiedTree(
                nil, groupInfo: info, checks: checks, algorithms: Self.algorithms)
        } catch {
            preconditionFailure("members accept what newcomers refuse: \(error)")
        }
    }

    private func forgedCommit(_ script: inout Script) throws -> [UInt8] {
        // The sender: a member other than the victim, or somebody from outside.
        let isExternal = script.number(4) == 3
        let member = groups[script.number(groups.count - 1)]
        let entries = (0..<script.number(6)).map { _ in entry(from: member, &script) }
        var list = entries
        let external = try HPKESetup(info: [], algorithms: Self.algorithms).export(
            to: member.current.externalKey().publicKey, context: ExternalInitialization.context,
            count: 32)
        if isExternal, script.number(8) != 7 {
            list.append(.proposal(.externalInit(kemOutput: external.kemOutput)))
        }
        var next = try applied(list, by: isExternal ? nil : member.ownLeafIndex, member: member)
        next.context.epoch = member.epoch + 1
        let leaf = isExternal ? try next.tree.makeRoomForLeaf() : member.ownLeafIndex
        guard next.tree.width.contains(leaf) else { throw MLSError.malformed }
        let key =
            isExternal
            ? newcomerKey : signingKey(of: tree[leaf]) ?? newcomerKey
        var path: UpdatePath?
        var commitSecret = CommitSecret(Self.algorithms.zeroSecret)
        if script.number(4) != 3 {
            (path, commitSecret) = try forgedPath(&next, leaf, key, isExternal, &script)
        }
        next.context.treeHash = next.tree.treeHash()
        var encoded = Commit(proposals: list, path: path).encoded()
        if script.number(4) == 3 { script.damage(&encoded) }
        let commit = try Commit(decoding: encoded)
        let format: WireFormat =
            !isExternal && script.flag() ? .privateMessage : .publicMessage
        let content = FramedContent(
            groupID: context.groupID, epoch: context.epoch,
            sender: isExternal ? .newMemberCommit : .member(leaf), authenticatedData: [],
            content: .commit(commit))
        let unconfirmed = AuthenticatedContent(
            wireFormat: format, content: content,
            auth: FramedContentAuthData(
                signature: try content.signature(
                    wireFormat: format, context: member.current.contextBytes, key: key,
                    algorithms: Self.algorithms), confirmationTag: nil))
        next.context.confirmedTranscriptHash = Transcript.confirmedHash(
            after: member.current.interimTranscriptHash, unconfirmed, algorithms: Self.algorithms)
        let joined = JoinedSecrets(
            joinerSecret: JoinerSecret(
                initSecret: isExternal
                    ? InitSecret(external.secret) : member.current.secrets.initSecret,
                commitSecret: commitSecret, context: next.context.encoded(),
                algorithms: Self.algorithms),
            preSharedKeys: (try? member.withOwnResumptionSecrets(preSharedKeys).combined(
                next.preSharedKeys, algorithms: Self.algorithms))
                ?? CombinedPreSharedKeys(Self.algorithms.zeroSecret),
            algorithms: Self.algorithms)
        let (secrets, _) = EpochSecrets.derive(
            from: joined.epochSecret(
                context: next.context.encoded(), algorithms: Self.algorithms),
            algorithms: Self.algorithms)
        let confirmed = unconfirmed.confirmed(
            by: secrets.confirmationKey.tag(
                confirmedTranscriptHash: next.context.confirmedTranscriptHash,
                algorithms: Self.algorithms))
        guard format == .publicMessage else {
            return MLSMessage.privateMessage(
                try member.current.messages.protect(
                    confirmed, from: leaf, padding: .multiple(of: 1)
                ).message
            ).encoded()
        }
        let tag = confirmed.membershipTag(
            key: member.current.secrets.membershipKey, context: member.current.contextBytes,
            algorithms: Self.algorithms)
        return MLSMessage.publicMessage(
            PublicMessage(
                content: content, auth: confirmed.auth, membershipTag: isExternal ? nil : tag)
        ).encoded()
    }

    // MARK: Proposals

    private func entry(from member: Group, _ script: inout Script) -> ProposalOrRef {
        let leaf = LeafIndex(rawValue: UInt32(script.number(tree.width.rawValue + 1)))
        switch script.number(11) {
        case 0..<3:
            return .reference(
                script.choice(pending)?.reference ?? ProposalRef(bytes: script.octets(32)))
        case 3: return .reference(ProposalRef(bytes: script.octets(script.number(33))))
        case 4: return .proposal(.remove(leaf))
        case 5:
            guard let keyPackage = script.choice(keyPackages) else { break }
            guard script.flag() else { return .proposal(.add(keyPackage)) }
            return .proposal(.add(forged(keyPackage, &script)))
        case 6:
            guard let node = tree[member.ownLeafIndex] else { break }
            let new = edited(node.edited(source: .update), in: tree, by: &script)
            return .proposal(.update(signed(new, at: member.ownLeafIndex)))
        case 7:
            let sources: [PreSharedKeySource] = [
                .external(id: [5]), .external(id: []),
                .resumption(usage: .application, groupID: context.groupID, epoch: context.epoch),
                .resumption(usage: .branch, groupID: context.groupID, epoch: context.epoch),
            ]
            return .proposal(
                .preSharedKey(
                    PreSharedKeyID(
                        source: script.choice(sources) ?? sources[0],
                        nonce: script.octets(script.flag() ? 32 : 31))))
        case 8: return .proposal(.groupContextExtensions(forgedExtensions(&script)))
        case 9:
            return .proposal(
                .application(
                    script.flag()
                        ? .ephemeral(component: Self.component, data: script.octets(2))
                        : .custom(type: Self.customProposal, data: script.octets(2))))
        default: break
        }
        switch script.number(3) {
        case 0: return .proposal(.selfRemove)
        case 1: return .proposal(.externalInit(kemOutput: script.octets(32)))
        default:
            return .proposal(
                .reInit(
                    ReInit(
                        groupID: [8], version: ProtocolVersion(rawValue: UInt16(script.octet())),
                        cipherSuite: Self.suite, extensions: [])))
        }
    }

    /// A key package whose leaf was changed, signed again.
    private func forged(_ keyPackage: KeyPackage, _ script: inout Script) -> KeyPackage {
        let leaf = edited(keyPackage.leafNode, in: tree, by: &script)
        let key = signingKey(of: leaf) ?? spareKeys[0]
        let signedLeaf = signed(leaf, at: LeafIndex(rawValue: 0))
        let initKey =
            script.flag()
            ? keyPackage.initKey : script.flag() ? leaf.encryptionKey : script.octets(32)
        func made(_ signature: [UInt8]) -> KeyPackage {
            KeyPackage(
                version: keyPackage.version, cipherSuite: keyPackage.cipherSuite,
                initKey: initKey, leafNode: signedLeaf, extensions: keyPackage.extensions,
                signature: signature)
        }
        let signature = try? Self.algorithms.sign(
            made([]).toBeSigned, label: "KeyPackageTBS", with: key)
        return made(signature ?? [])
    }

    // MARK: What follows

    private struct Next {
        var tree: RatchetTree
        var context: GroupContext
        var added: Set<LeafIndex> = []
        var preSharedKeys: [PreSharedKeyID] = []
    }

    /// What proposals make of the group, right or not.
    private func applied(
        _ entries: [ProposalOrRef], by committer: LeafIndex?, member: Group
    ) throws -> Next {
        var next = Next(tree: tree, context: context)
        var list: [(proposal: Proposal, sender: LeafIndex?)] = []
        for entry in entries {
            switch entry {
            case .proposal(let proposal): list.append((proposal, committer))
            case .reference(let reference):
                guard let known = pending.first(where: { $0.reference == reference }) else {
                    continue
                }
                var sender: LeafIndex?
                if case .member(let leaf) = known.sender { sender = leaf }
                list.append((known.proposal, sender))
            }
        }
        var removed: [LeafIndex] = []
        for (proposal, sender) in list {
            switch proposal {
            case .update(let leaf):
                if let sender, next.tree[sender] != nil { next.tree.update(sender, to: leaf) }
            case .remove(let leaf): removed.append(leaf)
            case .selfRemove: if let sender { removed.append(sender) }
            case .preSharedKey(let id): next.preSharedKeys.append(id)
            case .groupContextExtensions(let extensions): next.context.extensions = extensions
            case .add, .reInit, .externalInit, .application: break
            }
        }
        for leaf in removed where next.tree[leaf] != nil { next.tree.remove(leaf) }
        if !removed.isEmpty { next.tree.narrow() }
        for case (.add(let keyPackage), _) in list {
            next.added.insert(try next.tree.add(keyPackage.leafNode))
        }
        return next
    }

    private func forgedPath(
        _ next: inout Next, _ leaf: LeafIndex, _ key: SigningKey, _ isExternal: Bool,
        _ script: inout Script
    ) throws -> (UpdatePath, CommitSecret) {
        let steps = next.tree.filteredDirectPath(of: leaf)
        let secrets = try PathSecrets(
            from: PathSecret(.random(count: 32)), count: steps.count, algorithms: Self.algorithms)
        var keys = secrets.keys.map(\.publicKey)
        if script.number(6) == 5, !keys.isEmpty {
            let place = NodeIndex(script.number(next.tree.width.nodeCount))
            keys[script.number(keys.count)] = next.tree[place]?.encryptionKey ?? script.octets(32)
        }
        let old = tree
        let hash = next.tree.setPath(of: leaf, steps: steps, keys: keys)
        let configuration = isExternal ? Self.leaf(11) : old[leaf].map { LeafConfiguration($0) }
        var node = try LeafNode(
            configuration ?? Self.leaf(11),
            encryptionKey: HPKEPrivateKey.generate(Self.algorithms).publicKey,
            source: .commit(parentHash: hash), place: nil, signingKey: key,
            algorithms: Self.algorithms)
        if script.number(4) == 3 { node = edited(node, in: old, by: &script) }
        node = signed(node, at: leaf)
        next.tree.set(leaf.node, to: .leaf(node))
        next.context.treeHash = next.tree.treeHash()
        var nodes = try next.tree.encrypt(
            secrets, steps: steps, excluding: script.number(6) == 5 ? [] : next.added,
            context: next.context.encoded())
        nodes = zip(nodes, keys).map {
            UpdatePathNode(
                encryptionKey: $1, encryptedPathSecrets: $0.encryptedPathSecrets)
        }
        switch script.number(8) {
        case 5: nodes = Array(nodes.dropLast())
        case 6: nodes.append(contentsOf: nodes.prefix(1))
        case 7: nodes.reverse()
        default: break
        }
        return (UpdatePath(leafNode: node, nodes: nodes), secrets.commitSecret)
    }
}
