import Cryptography
import MLS

/// Groups that follow from others.
enum Continuing {
    static func reInit() throws {
        var example = try Example([Person("alice"), Person("bob")], suite: .x25519ChaCha20)
        let (alice, bob) = (example.people[0], example.people[1])
        let (addressBook, now) = (example.addressBook, Example.now)

        // snippet: reinit
        var content = CommitContent()
        content.reInit = ReInit(
            groupID: Random.bytes(32), cipherSuite: .xwingAES256, extensions: [])
        let commit = try example.groups[0].commit(
            content, signingKey: alice.key, validator: addressBook, at: now)
        try example.groups[0].merge(commit, at: now)
        try example.deliver(commit.message, from: 0)
        // end

        // snippet: continue
        let bundle = try bob.keyPackage(.xwingAES256)
        let next = try example.groups[0].reInitialized(
            with: [bundle.keyPackage], leaf: alice.leaf, signingKey: alice.key,
            lifetime: Example.lifetime, validator: addressBook, at: now)
        let joined = try Group.join(
            welcome: next.welcome, bundle: bundle, continuing: example.groups[1],
            existing: [example.groups[1].groupID], validator: addressBook, at: now)
        // end
        try expect(joined.suite == .xwingAES256)
        try expect(joined.epochAuthenticator == next.group.epochAuthenticator)
    }

    static func branch() throws {
        let example = try Example([Person("alice"), Person("bob"), Person("carol")])
        let (alice, bob) = (example.people[0], example.people[1])
        let (addressBook, now) = (example.addressBook, Example.now)

        // snippet: branch
        let bundle = try bob.keyPackage()
        let branch = try example.groups[0].branched(
            as: Random.bytes(32), with: [bundle.keyPackage], leaf: alice.leaf,
            signingKey: alice.key, lifetime: Example.lifetime, validator: addressBook, at: now)
        let joined = try Group.join(
            welcome: branch.welcome, bundle: bundle, continuing: example.groups[1],
            existing: [example.groups[1].groupID], validator: addressBook, at: now)
        // end
        try expect(joined.members.count == 2)
        try expect(joined.epochAuthenticator == branch.group.epochAuthenticator)
    }
}
