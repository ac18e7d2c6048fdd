import Cryptography
import MLS

/// What survives a restart.
enum Storing {
    static func snapshotAndChanges() throws {
        var example = try Example([Person("alice"), Person("bob")])
        let (aliceKey, bobKey) = (example.people[0].key, example.people[1].key)
        let (addressBook, now) = (example.addressBook, Example.now)
        let alicesGroup = example.groups[0]
        var bobsGroup = example.groups[1]

        // snippet: snapshot
        let snapshot: SecretBytes = alicesGroup.serialized()
        let restored = try Group(serialized: snapshot)
        // end
        try expect(restored.epochAuthenticator == alicesGroup.epochAuthenticator)
        example.groups[0] = restored

        // snippet: changes
        var table: [[UInt8]: SecretBytes] = [:]
        for change in bobsGroup.takeChanges() { table[change.key] = change.value }

        let message = try example.groups[0].encrypt([1, 2, 3], signingKey: aliceKey)
        // In one transaction: read, keep what was read, and write what changed.
        _ = try bobsGroup.process(message.bytes, validator: addressBook, at: now)
        for change in bobsGroup.takeChanges() { table[change.key] = change.value }

        var again = try Group(entries: table)
        // end
        do {
            _ = try again.process(message.bytes, validator: addressBook, at: now)
            throw ExampleFailure(line: #line)
        } catch MLSError.keyUnavailable {}
        let answer = try again.encrypt([4], signingKey: bobKey)
        guard
            case .application = try example.groups[0].process(
                answer.bytes, validator: addressBook, at: now)
        else { throw ExampleFailure(line: #line) }
    }

    static func lastResort() throws {
        let bob = try Person("bob")

        // snippet: last-resort
        let bundle = try KeyPackageBundle(
            suite: .xwingAES256, leaf: bob.leaf, signingKey: bob.key, lifetime: Example.lifetime,
            isLastResort: true)
        let stored: SecretBytes = bundle.serialized()
        // Store it before it is published, and keep it after it was used.
        let restored = try KeyPackageBundle(serialized: stored)
        try expect(restored.keyPackage.isLastResort)
        try expect(restored.reference == bundle.reference)
        // end
    }

    static func pastEpochs() throws {
        var example = try Example([Person("alice"), Person("bob")])
        let (aliceKey, addressBook, now) = (example.people[0].key, example.addressBook, Example.now)
        let late = try example.groups[0].encrypt([1], signingKey: aliceKey)
        let commit = try example.groups[0].commit(
            signingKey: aliceKey, validator: addressBook, at: now)
        try example.groups[0].merge(commit, at: now)
        try example.deliver(commit.message, from: 0)
        var bobsGroup = example.groups[1]

        // snippet: past-epochs
        guard let end = bobsGroup.pastEpochsEnd else { throw ExampleFailure(line: #line) }
        // At rest until then:
        bobsGroup.prunePastEpochs(at: end)
        try expect(bobsGroup.pastEpochsEnd == nil)
        // Store what `takeChanges()` gives: the keys are gone only when the disk has lost them too.
        // end
        do {
            _ = try bobsGroup.process(late.bytes, validator: addressBook, at: now)
            throw ExampleFailure(line: #line)
        } catch MLSError.wrongEpoch {}
    }
}
