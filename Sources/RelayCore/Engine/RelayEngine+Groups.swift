import Cryptography
import RelayProtocol
import TLSSyntax

/// Groups: making them, ordering commits, sending, closing.
extension RelayEngine {
    func createGroup(
        _ creation: GroupCreation, by mailbox: LiveMailbox
    ) throws(StoreError) -> Outcome {
        // Its mailbox goes with the group: so each group costs a ticket, and leaves what it leaves
        // behind, receipts and entries in the trail, as often as tickets are drawn.
        guard mailbox.record.kind == .consultation, mailbox.record.memberships.isEmpty,
            mailbox.record.permitUses == 0
        else { return .refused(.notAllowed, retryAfterSeconds: 0) }
        guard creation.members.count < memberLimit else {
            return .refused(.limit, retryAfterSeconds: 0)
        }
        // Final for who asks, so it goes by the day that allows more.
        guard creation.deadline > min(now.day, clock.trustedDay) else {
            return .refused(.malformed, retryAfterSeconds: 0)
        }
        guard
            creation.deadline <= latestDay.adding(days: limits.groupDays)
        else {
            return .refused(.limit, retryAfterSeconds: 0)
        }
        if let refusal = check(creation.welcomes, for: creation.members) {
            return .refused(refusal, retryAfterSeconds: 0)
        }
        guard try group(creation.groupID) == nil else {
            return .refused(.exists, retryAfterSeconds: 0)
        }
        guard store.groupCount < limits.groups else {
            return .refused(.limit, retryAfterSeconds: Self.secondsWithoutRoom)
        }
        let added: [LiveMailbox]
        switch try admit(creation.members, besides: [mailbox]) {
        case .refused(let refusal): return .refused(refusal, retryAfterSeconds: 0)
        case .admitted(let mailboxes): added = mailboxes
        }

        var members = [MemberRecord(mailbox: mailbox.number, role: .owner)]
        for (member, live) in zip(creation.members, added) {
            members.append(
                MemberRecord(mailbox: live.number, role: member.role, expires: member.expires))
            usePermit(of: live)
        }
        let record = GroupRecord(
            id: creation.groupID, epoch: creation.epoch, commitHash: creation.commitHash,
            deadline: creation.deadline, members: members)
        let number = try store.addGroup(record)
        let group = try hold(number, record)
        for live in [mailbox] + added {
            live.record.memberships.append(number)
            markDirty(live)
        }
        try welcome(creation.welcomes, in: group)
        return .done
    }

    func commit(_ request: CommitRequest, from mailbox: LiveMailbox) throws(StoreError) -> Outcome {
        guard let (group, position) = try activeMember(of: request.groupID, mailbox),
            group.record.members[position]?.role == .owner
        else { return .refused(.notAllowed, retryAfterSeconds: 0) }
        if case .answer(let outcome) = check(
            group, epoch: request.epoch, content: request.content, contentTypes: 3...3)
        {
            return outcome
        }
        guard group.record.epoch < .max else { return .refused(.limit, retryAfterSeconds: 0) }
        guard request.content.count <= limits.commitByteCount else {
            return .refused(.tooLarge, retryAfterSeconds: 0)
        }
        guard Set(request.removes).count == request.removes.count,
            request.adds.allSatisfy({ $0.role == .guest })
        else { return .refused(.malformed, retryAfterSeconds: 0) }
        if let refusal = check(request.welcomes, for: request.adds) {
            return .refused(refusal, retryAfterSeconds: 0)
        }

        var removed: [Int] = []
        for id in request.removes {
            let place = group.mailboxes.indices.first { index in
                group.mailboxes[index]?.record.id == id
                    && group.record.members[index]?.state == .active
            }
            guard let place, group.record.members[place]?.role == .guest else {
                return .refused(.notAllowed, retryAfterSeconds: 0)
            }
            removed.append(place)
        }
        let added: [LiveMailbox]
        switch try admit(request.adds, besides: group.mailboxes.compactMap { $0 }) {
        case .refused(let refusal): return .refused(refusal, retryAfterSeconds: 0)
        case .admitted(let mailboxes): added = mailboxes
        }
        let staying = group.record.members.count { $0?.state == .active } - removed.count
        let free = freePlaces(in: group)
        guard staying + added.count <= memberLimit, added.count <= free.count else {
            return .refused(.limit, retryAfterSeconds: 0)
        }

        // A commit has room that messages leave it, and how many there may be is bounded; who never
        // comes can't make the others fill the disk.
        let recipients = activeMembers(of: group)
        for case let (index, recipient?) in group.mailboxes.enumerated()
        where recipients & MemberSet(member: index) != 0 {
            let waiting = try backlog(of: recipient).byteCount
            guard waiting + request.content.count <= commitRoom(with: waiting) else {
                return .refused(.mailboxFull, retryAfterSeconds: 60)
            }
        }
        if let wait = takeCommit(from: mailbox, in: group) {
            return .refused(.rate, retryAfterSeconds: wait)
        }
        // From here on nothing is refused.
        group.record.epoch += 1
        group.record.commitHash = Hash.sha256(request.content)
        markDirty(group)
        for place in removed { group.record.members[place]?.state = .removed }
        try fanOut(.commit, request.content, in: group, to: recipients)
        for place in removed { try dropIfExpired(place, of: group) }
        for ((member, live), place) in zip(zip(request.adds, added), free) {
            let record = MemberRecord(
                mailbox: live.number, role: member.role, expires: member.expires)
            if place == group.record.members.count {
                group.record.members.append(record)
                group.mailboxes.append(live)
            } else {
                group.record.members[place] = record
                group.mailboxes[place] = live
            }
            usePermit(of: live)
            live.record.memberships.append(group.number)
            markDirty(live)
        }
        try welcome(request.welcomes, in: group)
        counters.acceptedStored += 1
        return .committed(epoch: group.record.epoch, commitHash: group.record.commitHash)
    }

    /// - Returns: `nil` if the answer comes later.
    func send(
        _ request: MessageRequest, _ id: RequestID, from mailbox: LiveMailbox,
        on connection: Connection
    ) throws(StoreError) -> Outcome? {
        guard let (group, position) = try activeMember(of: request.groupID, mailbox) else {
            return .refused(.notAllowed, retryAfterSeconds: 0)
        }
        let isApplication: Bool
        switch check(
            group, epoch: request.epoch, content: request.content, contentTypes: 1...2)
        {
        case .answer(let outcome): return outcome
        case .fits(let contentType): isApplication = contentType == 1
        }
        let recipients = activeMembers(of: group) & ~MemberSet(member: position)
        for case let (index, recipient?) in group.mailboxes.enumerated()
        where recipients & MemberSet(member: index) != 0 {
            let backlog = try backlog(of: recipient)
            guard backlog.count + recipient.heldCount < limits.mailboxMessages,
                backlog.byteCount + recipient.heldByteCount + request.content.count
                    <= messageRoom(with: backlog.byteCount)
            else { return .refused(.mailboxFull, retryAfterSeconds: 60) }
        }
        if isApplication, canHold(request.content, in: group, for: recipients) {
            try hold(
                request.content, in: group, for: recipients, from: mailbox, id, on: connection)
            return nil
        }
        try fanOut(.message, request.content, in: group, to: recipients)
        counters.acceptedStored += 1
        return .done
    }

    /// What `send` does, where everything that it needs is in memory and the message can be held.
    ///
    /// - Returns: false if nothing was done, since it isn't so.
    func sendFromMemory(
        _ request: MessageRequest, _ id: RequestID, from mailbox: LiveMailbox,
        on connection: Connection
    ) throws(StoreError) -> Bool {
        guard hasNumbers, let group = groupsByID[request.groupID],
            let position = group.position(of: mailbox),
            group.record.members[position]?.isActive(on: clock.trustedDay) == true,
            case .fits(contentType: 1) = check(
                group, epoch: request.epoch, content: request.content, contentTypes: 1...1)
        else { return false }
        let recipients = activeMembers(of: group) & ~MemberSet(member: position)
        guard canHold(request.content, in: group, for: recipients),
            connection.requestBucket.take(
                perSecond: limits.connectionRequestsPerSecond,
                burst: limits.connectionRequestBurst, at: now.monotonicMilliseconds) == nil,
            mailbox.requestBucket.take(
                perSecond: limits.requestsPerSecond, burst: limits.requestBurst,
                at: now.monotonicMilliseconds) == nil
        else { return false }
        try hold(
            request.content, in: group, for: recipients, from: mailbox, id, on: connection)
        return true
    }

    func close(_ request: MessageRequest, by mailbox: LiveMailbox) throws(StoreError) -> Outcome {
        guard let (group, position) = try activeMember(of: request.groupID, mailbox),
            group.record.members[position]?.role == .owner
        else { return .refused(.notAllowed, retryAfterSeconds: 0) }
        if case .answer(let outcome) = check(
            group, epoch: request.epoch, content: request.content, contentTypes: 1...1)
        {
            return outcome
        }
        group.record.isClosed = true
        group.record.deadline = min(
            group.record.deadline, latestDay.adding(days: ProtocolConstants.closingDays))
        markDirty(group)
        try fanOut(.closing, request.content, in: group, to: activeMembers(of: group))
        counters.acceptedStored += 1
        return .done
    }

    func inspect(_ id: GroupID, by mailbox: LiveMailbox) throws(StoreError) -> Outcome {
        guard let (group, _) = try activeMember(of: id, mailbox) else {
            return .refused(.notAllowed, retryAfterSeconds: 0)
        }
        let waiting = try backlog(of: mailbox).count(in: group.number)
        var members: [Member] = []
        for case let (member?, live?) in zip(group.record.members, group.mailboxes)
        where member.state != .removed {
            members.append(
                Member(mailbox: live.record.id, role: member.role, expires: member.expires))
        }
        return .groupState(
            GroupState(
                epoch: group.record.epoch, commitHash: group.record.commitHash,
                closed: group.record.isClosed, deadline: group.record.deadline, members: members,
                waiting: UInt32(clamping: waiting)))
    }

    // MARK: Checks

    private var memberLimit: Int {
        min(Int(limits.published.groupMembers), ProtocolConstants.groupMembers)
    }

    /// The group and the place of a mailbox that takes part in it today.
    func activeMember(
        of id: GroupID, _ mailbox: LiveMailbox
    ) throws(StoreError) -> (LiveGroup, Int)? {
        guard let group = try group(id), let position = group.position(of: mailbox),
            group.record.members[position]?.isActive(on: clock.trustedDay) == true
        else { return nil }
        return (group, position)
    }

    func activeMembers(of group: LiveGroup) -> MemberSet {
        var set: MemberSet = 0
        for case let (index, member?) in group.record.members.enumerated()
        where member.isActive(on: clock.trustedDay) {
            set |= MemberSet(member: index)
        }
        return set
    }

    private enum Check {
        /// Nothing speaks against it.
        case fits(contentType: UInt8)
        case answer(Outcome)
    }

    /// What speaks against a message of a member; the header is what MLS says in the clear.
    private func check(
        _ group: LiveGroup, epoch: UInt64, content: [UInt8], contentTypes: ClosedRange<UInt8>
    ) -> Check {
        guard content.count <= Int(limits.published.messageByteCount) else {
            return .answer(.refused(.tooLarge, retryAfterSeconds: 0))
        }
        guard let header = try? PrivateMessageHeader(message: content),
            header.groupID == group.record.id.bytes, header.epoch == epoch,
            contentTypes.contains(header.contentType)
        else { return .answer(.refused(.malformed, retryAfterSeconds: 0)) }
        guard !group.record.isClosed else {
            return .answer(.refused(.groupClosed, retryAfterSeconds: 0))
        }
        guard epoch == group.record.epoch else {
            return .answer(
                .staleEpoch(epoch: group.record.epoch, commitHash: group.record.commitHash))
        }
        return .fits(contentType: header.contentType)
    }

    /// What speaks against Welcomes: each is for one of the new members, at most one for each.
    private func check(_ welcomes: [WelcomeDelivery], for members: [Member]) -> Refusal? {
        let names = Set(members.map(\.mailbox))
        guard names.count == members.count, Set(welcomes.map(\.mailbox)).count == welcomes.count,
            welcomes.allSatisfy({ names.contains($0.mailbox) && !$0.content.isEmpty })
        else { return .malformed }
        let limit = Int(limits.published.messageByteCount)
        return welcomes.contains { $0.content.count > limit } ? .tooLarge : nil
    }

    private func takeCommit(from mailbox: LiveMailbox, in group: LiveGroup) -> UInt32? {
        let rate = limits.commitsPerHour / 3_600
        return mailbox.commitBucket.take(
            perSecond: rate, burst: limits.commitBurst, at: now.monotonicMilliseconds)
            ?? group.commitBucket.take(
                perSecond: rate, burst: limits.commitBurst, at: now.monotonicMilliseconds)
    }

    private enum Admission {
        case admitted([LiveMailbox])
        case refused(Refusal)
    }

    /// Checks that each new member's permit is there; changes nothing.
    private func admit(
        _ members: [Member], besides present: [LiveMailbox]
    ) throws(StoreError) -> Admission {
        var added: [LiveMailbox] = []
        for member in members {
            guard let permit = member.permit, let mailbox = try mailbox(member.mailbox),
                mailbox.record.permitUses > 0, let hash = mailbox.record.permitHash,
                ConstantTime.areEqual(hash, permit.hash)
            else { return .refused(.permit) }
            guard !present.contains(where: { $0 === mailbox }) else { return .refused(.exists) }
            guard mailbox.record.memberships.count < MailboxRecord.membershipLimit else {
                return .refused(.limit)
            }
            added.append(mailbox)
        }
        return .admitted(added)
    }

    private func usePermit(of mailbox: LiveMailbox) {
        mailbox.record.permitUses -= min(mailbox.record.permitUses, 1)
        if mailbox.record.permitUses == 0 { mailbox.record.permitHash = nil }
        markDirty(mailbox)
    }

    /// Places for new members: those without a member, then new ones.
    private func freePlaces(in group: LiveGroup) -> [Int] {
        group.record.members.indices.filter { group.record.members[$0] == nil }
            + Array(group.record.members.count..<ProtocolConstants.groupMembers)
    }

    private func welcome(
        _ welcomes: [WelcomeDelivery], in group: LiveGroup
    ) throws(StoreError) {
        for welcome in welcomes {
            let place = group.mailboxes.indices.first { index in
                group.mailboxes[index]?.record.id == welcome.mailbox
                    && group.record.members[index]?.state == .active
            }
            guard let place else { continue }
            try fanOut(.welcome, welcome.content, in: group, to: MemberSet(member: place))
        }
    }
}
