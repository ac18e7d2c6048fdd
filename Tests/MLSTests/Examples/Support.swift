import Cryptography
import MLS

/// Something that an example states turned out otherwise.
struct ExampleFailure: Error {
    let line: Int
}

/// Stops the example unless the condition holds.
func expect(_ condition: Bool, line: Int = #line) throws {
    guard condition else { throw ExampleFailure(line: line) }
}

// snippet: validator
/// Knows which name belongs to which key: the application's Authentication Service.
struct AddressBook: CredentialValidator {
    var keys: [String: [UInt8]] = [:]

    func accepts(_ subject: CredentialSubject) -> Bool {
        guard case .basic(let identity) = subject.credential,
            let key = keys[String(decoding: identity, as: UTF8.self)]
        else { return false }
        return key == subject.signatureKey
    }
}
// end

/// Someone who takes part in an example.
struct Person {
    let name: String
    let key: SigningKey
    var leaf: LeafConfiguration

    init(
        _ name: String, extensions: [ExtensionType] = [.externalSenders],
        proposals: [ProposalType] = [.selfRemove]
    ) throws {
        self.name = name
        key = try SigningKey()
        leaf = LeafConfiguration(
            credential: .basic(identity: Array(name.utf8)),
            supportedExtensions: extensions, supportedProposals: proposals)
    }

    func keyPackage(_ suite: CipherSuite = .xwingAES256) throws -> KeyPackageBundle {
        try KeyPackageBundle(suite: suite, leaf: leaf, signingKey: key, lifetime: Example.lifetime)
    }
}

/// A group of people, as each of them sees it.
struct Example {
    static let now: UnixSeconds = 1_800_000_000
    static let lifetime = Lifetime(notBefore: now - 3_600, notAfter: now + 90 * 86_400)

    var people: [Person]
    var groups: [Group]
    var addressBook: AddressBook

    init(
        _ people: [Person], suite: CipherSuite = .xwingAES256, extensions: [Extension] = [],
        policy: GroupPolicy = .standard, addressBook others: AddressBook = AddressBook()
    ) throws {
        self.people = people
        addressBook = others
        for person in people { addressBook.keys[person.name] = person.key.publicKey.bytes }
        var first = try Group.create(
            groupID: Random.bytes(32), suite: suite, leaf: people[0].leaf,
            signingKey: people[0].key, lifetime: Self.lifetime, extensions: extensions,
            policy: policy)
        let bundles = try people.dropFirst().map { try $0.keyPackage(suite) }
        var content = CommitContent()
        content.adds = bundles.map(\.keyPackage)
        let commit = try first.commit(
            content, signingKey: people[0].key, validator: addressBook, at: Self.now)
        try first.merge(commit, at: Self.now)
        guard let welcome = commit.welcome else { throw ExampleFailure(line: #line) }
        groups = [first]
        for bundle in bundles {
            groups.append(
                try Group.join(
                    welcome: welcome, bundle: bundle, existing: [], validator: addressBook,
                    at: Self.now,
                    policy: policy))
        }
    }

    /// Everyone but its maker takes in a message, and merges it if it is a commit.
    mutating func deliver(
        _ message: [UInt8], from sender: Int?, keys: PreSharedKeys = PreSharedKeys()
    ) throws {
        for index in groups.indices where index != sender {
            if case .commit(let staged) = try groups[index].process(
                message, validator: addressBook, at: Self.now, preSharedKeys: keys)
            {
                try groups[index].merge(staged, at: Self.now)
            }
        }
    }

    var agree: Bool { Set(groups.map(\.epochAuthenticator)).count == 1 }
}
