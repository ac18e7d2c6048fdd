import RelayCore
import RelayProtocol
import TLSSyntax

/// How records lie in slots: fixed sizes, so that overwriting one happens in its place on the page
/// and nothing of it is left behind (`protocol/relay.md`, "What is stored").
enum MailboxSlot {
    static let byteCount =
        1 + 32 + 1 + 8 + 1 + 32 + 4 + 4 + 4 + 4 + 8 + 8 + 256
        + 1 + 8 * MailboxRecord.membershipLimit

    static func encode(_ record: MailboxRecord) -> [UInt8] {
        var writer = TLSWriter()
        writer.reserve(byteCount)
        writer.write(UInt8(1))
        writer.write(bytes: record.id.bytes)
        writer.write(record.kind.rawValue)
        writer.write(record.counter)
        writer.write(UInt8(record.permitHash == nil ? 0 : 1))
        writer.write(bytes: record.permitHash ?? [UInt8](repeating: 0, count: 32))
        writer.write(record.permitUses)
        writer.write(record.ticketDay.rawValue)
        writer.write(record.ticketCount)
        writer.write(record.lastResortClaims)
        writer.write(record.requests.highest.rawValue)
        writer.write(record.requests.confirmed.rawValue)
        writer.write(bytes: record.requests.codes)
        writer.write(UInt8(clamping: record.memberships.count))
        for index in 0..<MailboxRecord.membershipLimit {
            let group = index < record.memberships.count ? record.memberships[index].rawValue : 0
            writer.write(UInt64(bitPattern: group))
        }
        return writer.bytes
    }

    /// - Throws: `.corrupt` if this can't be a record; `nil` for a free slot.
    static func decode(_ content: [UInt8]) throws(StoreError) -> MailboxRecord? {
        do {
            var reader = TLSReader(content)
            guard try reader.readUInt8() == 1 else { return nil }
            guard let id = MailboxID(try reader.readBytes(count: 32)),
                let kind = MailboxRecord.Kind(rawValue: try reader.readUInt8())
            else { throw TLSError.invalidValue }
            let counter = try reader.readUInt64()
            let hasPermit = try reader.readPresence()
            let permit = try reader.readBytes(count: 32)
            var record = MailboxRecord(
                id: id, kind: kind, counter: counter, permitHash: hasPermit ? permit : nil,
                permitUses: try reader.readUInt32(),
                ticketDay: Day(rawValue: try reader.readUInt32()),
                ticketCount: try reader.readUInt32(), lastResortClaims: try reader.readUInt32())
            let highest = RequestID(rawValue: try reader.readUInt64())
            let confirmed = RequestID(rawValue: try reader.readUInt64())
            let codes = try reader.readBytes(count: 256)
            guard
                let window = RequestWindow(highest: highest, confirmed: confirmed, codes: codes)
            else { throw TLSError.invalidValue }
            record.requests = window
            let count = Int(try reader.readUInt8())
            guard count <= MailboxRecord.membershipLimit else { throw TLSError.invalidValue }
            for index in 0..<MailboxRecord.membershipLimit {
                let number = Int64(bitPattern: try reader.readUInt64())
                if index < count { record.memberships.append(GroupNumber(rawValue: number)) }
            }
            try reader.finish()
            return record
        } catch {
            throw .corrupt("a mailbox can't be read")
        }
    }
}

/// The group's slot; see `MailboxSlot`.
enum GroupSlot {
    private static let memberByteCount = 1 + 8 + 1 + 4 + 1
    static let byteCount =
        1 + 32 + 8 + 32 + 1 + 4 + 1 + memberByteCount * ProtocolConstants.groupMembers

    static func encode(_ record: GroupRecord) -> [UInt8] {
        var writer = TLSWriter()
        writer.reserve(byteCount)
        writer.write(UInt8(1))
        writer.write(bytes: record.id.bytes)
        writer.write(record.epoch)
        writer.write(bytes: record.commitHash)
        writer.write(UInt8(record.isClosed ? 1 : 0))
        writer.write(record.deadline.rawValue)
        writer.write(UInt8(clamping: record.members.count))
        for index in 0..<ProtocolConstants.groupMembers {
            let member = index < record.members.count ? record.members[index] : nil
            writer.write(member?.state.rawValue ?? 0)
            writer.write(UInt64(bitPattern: member?.mailbox.rawValue ?? 0))
            writer.write(member?.role.rawValue ?? 0)
            writer.write(member?.expires?.rawValue ?? 0)
            writer.write(UInt8(member?.expires == nil ? 0 : 1))
        }
        return writer.bytes
    }

    static func decode(_ content: [UInt8]) throws(StoreError) -> GroupRecord? {
        do {
            var reader = TLSReader(content)
            guard try reader.readUInt8() == 1 else { return nil }
            guard let id = GroupID(try reader.readBytes(count: 32)) else {
                throw TLSError.invalidValue
            }
            var record = GroupRecord(
                id: id, epoch: try reader.readUInt64(),
                commitHash: try reader.readBytes(count: 32), isClosed: try reader.readPresence(),
                deadline: Day(rawValue: try reader.readUInt32()), members: [])
            let count = Int(try reader.readUInt8())
            guard count <= ProtocolConstants.groupMembers else { throw TLSError.invalidValue }
            for index in 0..<ProtocolConstants.groupMembers {
                let state = try reader.readUInt8()
                let mailbox = Int64(bitPattern: try reader.readUInt64())
                let role = try reader.readUInt8()
                let expires = Day(rawValue: try reader.readUInt32())
                let hasEnd = try reader.readPresence()
                guard index < count else { continue }
                guard state != 0 else {
                    record.members.append(nil)
                    continue
                }
                guard let state = MemberRecord.State(rawValue: state),
                    let role = Role(rawValue: role)
                else { throw TLSError.invalidValue }
                record.members.append(
                    MemberRecord(
                        mailbox: MailboxNumber(rawValue: mailbox), role: role,
                        expires: hasEnd ? expires : nil, state: state))
            }
            try reader.finish()
            return record
        } catch {
            throw .corrupt("a group can't be read")
        }
    }
}
