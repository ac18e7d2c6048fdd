import MLS
import RelayTestSupport
import TestSupport
import Testing

@testable import Consultations

/// Two people, and everything that may break between them, one thing in a step, all from the
/// world's seed.
final class Turmoil {
    enum Mishap {
        case say, disconnect, connect, crash, crashBeforeCommit, crashAfterCommit, restartRelay
        case reopen, backUpRelay, restoreRelay, wait
    }

    private let world: World
    private let people: [TestDevice]
    /// What each one has said: the call returned, or it lies in the vault after a crash.
    private var said: [String: [String]]
    private var backup: MemoryState?

    init(_ world: World, _ first: TestDevice, _ second: TestDevice) {
        self.world = world
        people = [first, second]
        said = [first.name: [], second.name: []]
    }

    /// - Parameters:
    ///   - frames: how many go on their way in a step without a mishap.
    ///   - chances: in a hundred steps.
    ///   - act: what is done at the end of every step.
    func run(
        steps: Int, frames: Int = 3, _ chances: KeyValuePairs<Mishap, UInt32>,
        act: () throws -> Void = {}
    ) throws {
        for step in 0..<steps {
            let device = Bool.random(using: &world.random) ? people[0] : people[1]
            do {
                if let mishap = draw(chances) {
                    try befall(device, mishap, step)
                } else {
                    for _ in 0..<frames { _ = try world.step() }
                }
                try act()
            } catch is TestDevice.Killed {
                guard chances.contains(where: { $0.key == .say }) else { continue }
                // Durable or not: what lies in the vault was said.
                let mine = try device.messages().filter(\.isMine).compactMap {
                    if case .text(let text) = $0.body { text } else { nil }
                }
                #expect(mine.starts(with: said[device.name] ?? []), "what was said is gone")
                said[device.name] = mine
            }
        }
    }

    private func draw(_ chances: KeyValuePairs<Mishap, UInt32>) -> Mishap? {
        var roll = UInt32.random(in: 0..<100, using: &world.random)
        for (mishap, chance) in chances {
            guard roll >= chance else { return mishap }
            roll -= chance
        }
        return nil
    }

    private func befall(_ device: TestDevice, _ mishap: Mishap, _ step: Int) throws {
        switch mishap {
        case .say:
            // What was said is what the call returned for: it is durable then.
            try device.say("\(device.name) \(step)")
            said[device.name]?.append("\(device.name) \(step)")
        case .disconnect: world.disconnect(device)
        case .connect: try world.connect(device)
        case .crash: try device.crash()
        case .crashBeforeCommit: device.crashAtNextCommit(.beforeCommit)
        case .crashAfterCommit: device.crashAtNextCommit(.afterCommit)
        case .restartRelay: try world.restartRelay()
        case .reopen: try device.reopen()
        case .backUpRelay: backup = backup ?? world.relay.store.committed
        case .restoreRelay:
            guard let found = backup else { return }
            try world.restoreRelay(found)
            backup = nil
        case .wait: try world.pass(seconds: 61)
        }
    }

    /// All is well again: nothing lost or doubled, no key used twice, both in the same group.
    ///
    /// - Parameter inOrder: what each one said is shown as it was said.
    func expectWhole(inOrder: Bool) throws {
        for device in people {
            #expect(try device.gaps().isEmpty)
            #expect(try device.messages().filter(\.isMine).allSatisfy { $0.state >= .delivered })
            for (name, texts) in said {
                let shown = try device.texts().filter { $0.hasPrefix(name) }
                #expect(inOrder ? shown == texts : shown.sorted() == texts.sorted())
            }
            #expect(device.stateWords == ["open"])
        }
        #expect(world.repeatedKeys == 0)
        #expect(
            try people[0].only().group?.epochAuthenticator
                == people[1].only().group?.epochAuthenticator)
    }
}
