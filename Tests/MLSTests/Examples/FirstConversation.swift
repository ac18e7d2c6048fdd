import Cryptography
import MLS

/// From two identities to a conversation.
enum FirstConversation {
    static func run() throws {
        // snippet: identities
        let aliceKey = try SigningKey()
        let bobKey = try SigningKey()
        let alice = LeafConfiguration(credential: .basic(identity: Array("alice".utf8)))
        let bob = LeafConfiguration(credential: .basic(identity: Array("bob".utf8)))
        let addressBook = AddressBook(keys: [
            "alice": aliceKey.publicKey.bytes, "bob": bobKey.publicKey.bytes,
        ])
        let now: UnixSeconds = 1_800_000_000
        let lifetime = Lifetime(notBefore: now - 3_600, notAfter: now + 90 * 86_400)
        // end

        // snippet: key-package
        let bundle = try KeyPackageBundle(
            suite: .xwingAES256, leaf: bob, signingKey: bobKey, lifetime: lifetime)
        let published: [UInt8] = bundle.keyPackage.message
        // end

        // snippet: check-key-package
        let found = try KeyPackage(message: published)
        try found.validate(at: now)
        try expect(try found.reference() == bundle.reference)
        // end

        // snippet: grease
        let greased = bob.greased()
        // end
        try expect(greased.credential == bob.credential)

        // snippet: create
        var alicesGroup = try Group.create(
            groupID: Random.bytes(32), suite: .xwingAES256, leaf: alice, signingKey: aliceKey,
            lifetime: lifetime)
        // end

        // snippet: add
        var content = CommitContent()
        content.adds = [try KeyPackage(message: published)]
        let commit = try alicesGroup.commit(
            content, signingKey: aliceKey, validator: addressBook, at: now)
        // The delivery service took `commit.message`:
        try alicesGroup.merge(commit, at: now)
        // end
        guard let welcome = commit.welcome else { throw ExampleFailure(line: #line) }

        // snippet: join
        let bobsGroups: Set<[UInt8]> = []
        var bobsGroup = try Group.join(
            welcome: welcome, bundle: bundle, existing: bobsGroups, validator: addressBook, at: now)
        // end
        try expect(bobsGroup.epochAuthenticator == alicesGroup.epochAuthenticator)

        // snippet: send
        let message = try alicesGroup.encrypt(
            Array("Hello, Bob".utf8), paddedTo: 256, signingKey: aliceKey)
        // Store alicesGroup, then let `message.bytes` leave.
        // end

        // snippet: receive
        switch try bobsGroup.process(message.bytes, validator: addressBook, at: now) {
        case .application(let received):
            try expect(received.plaintext == Array("Hello, Bob".utf8))
            try expect(received.sender.credential == alice.credential)
        case .proposal, .commit, .own:
            throw ExampleFailure(line: #line)
        }
        // Store bobsGroup, then acknowledge the message.
        // end

        // snippet: own
        if case .own(let echo) = try alicesGroup.process(
            message.bytes, validator: addressBook, at: now)
        {
            try expect(echo.generation == message.generation)
        }
        // end
    }
}
