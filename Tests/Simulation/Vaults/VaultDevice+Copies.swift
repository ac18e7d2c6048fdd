import Consultations
import FoundationEssentials
import TestSupport

/// Copies of a vault, and going on with one of them (`protocol/vault.md`, "Copies").
extension VaultDevice {
    /// Copies the home as it is, connected or not; a copy made by a file system's snapshot would be
    /// no other.
    func copyHome() {
        guard let core, !core.isCopied else { return }
        do {
            copyCount += 1
            let copy = home + "-\(copyCount)"
            try replace(copy, by: home)
            copies.append((copy, works))
            if copies.count > 3 { copies.remove(at: world.chance.below(copies.count)) }
            world.trace.note(.homeCopied, at: world.now, number, copyCount)
        } catch {
            violate("can't be copied: \(error)")
        }
    }

    /// The process ends, and the next one finds an older copy in the home's place.
    func fallBack() {
        guard isUp, let copy = world.chance.pick(copies) else { return }
        world.trace.note(.homeFellBack, at: world.now, number)
        goDown()
        do {
            try replace(home, by: copy.home)
        } catch {
            violate("can't be put back: \(error)")
        }
        hasFallenBack = true
        isOlder = copy.works != works
    }

    private func replace(_ target: String, by source: String) throws {
        let manager = FileManager.default
        if manager.fileExists(atPath: target) { try manager.removeItem(atPath: target) }
        try manager.copyItem(atPath: source, toPath: target)
    }

    /// What this vault has of what was said is what counts from now on. The rest only the other can
    /// have.
    func takeStock(_ core: BareDevice) throws {
        hasFallenBack = false
        hasForgotten = true
        let known = world.relay.counter(of: mailboxes.first)
        if isOlder, try known <= core.openingCounter { isUntold = true }
        said = [:]
        seen = [:]
        sent = [:]
        for it in core.consultations {
            said[it.id] = try texts(of: it.id, isMine: true, core)
            sent[it.id] = Set(try ownFiles(of: it.id, core))
        }
    }

    /// Its person goes on with this copy.
    func goOnIfCopied() {
        guard let core, core.isCopied else { return }
        world.trace.note(.recovered, at: world.now, number)
        isUntold = false
        work { try $0.recover(at: world.milliseconds) }
    }
}
