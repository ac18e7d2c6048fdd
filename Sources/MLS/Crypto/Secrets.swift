internal import Cryptography
internal import TLSSyntax

/// A secret with one purpose, so that no two kinds can be swapped by mistake.
struct Secret<Purpose>: Sendable {
    let bytes: SecretBytes

    init(_ bytes: SecretBytes) { self.bytes = bytes }
}

/// The kinds of secrets, after RFC 9420 §8 and §9.
enum Purpose {
    enum Commit {}
    enum PreSharedKeys {}
    enum Init {}
    enum Joiner {}
    enum Welcome {}
    enum Epoch {}
    enum SenderData {}
    enum Encryption {}
    enum Exporter {}
    enum ExporterLabel {}
    enum External {}
    enum Confirmation {}
    enum Membership {}
    enum Resumption {}
    enum Authentication {}
    enum Path {}
    enum TreeNode {}
    enum Ratchet {}
}

typealias CommitSecret = Secret<Purpose.Commit>
typealias CombinedPreSharedKeys = Secret<Purpose.PreSharedKeys>
typealias InitSecret = Secret<Purpose.Init>
typealias JoinerSecret = Secret<Purpose.Joiner>
typealias WelcomeSecret = Secret<Purpose.Welcome>
typealias EpochSecret = Secret<Purpose.Epoch>
typealias SenderDataSecret = Secret<Purpose.SenderData>
typealias EncryptionSecret = Secret<Purpose.Encryption>
typealias ExporterSecret = Secret<Purpose.Exporter>
typealias ExporterLabelSecret = Secret<Purpose.ExporterLabel>
typealias ExternalSecret = Secret<Purpose.External>
typealias ConfirmationKey = Secret<Purpose.Confirmation>
typealias MembershipKey = Secret<Purpose.Membership>
typealias ResumptionSecret = Secret<Purpose.Resumption>
typealias EpochAuthenticator = Secret<Purpose.Authentication>
typealias PathSecret = Secret<Purpose.Path>
typealias TreeNodeSecret = Secret<Purpose.TreeNode>
typealias RatchetSecret = Secret<Purpose.Ratchet>

extension SecretBytes {
    /// The octets that `body` writes; what was written in between is wiped.
    init(encodedBy body: (inout TLSWriter) -> Void, capacity: Int = 256) {
        var writer = TLSWriter(secretCapacity: capacity)
        body(&writer)
        self.init(writer.bytes)
        writer.wipe()
    }

    /// Reads stored octets to their end; what was read from is wiped.
    ///
    /// - Throws: `.corruptState`.
    func decoded<Value>(
        _ body: (inout TLSReader) throws -> Value
    ) throws(MLSError) -> Value {
        var octets = exposedCopy()
        defer { TLSWriter.wipe(&octets) }
        let value: Value
        do {
            var reader = TLSReader(octets)
            value = try body(&reader)
            try reader.finish()
        } catch {
            throw .corruptState
        }
        return value
    }
}

extension TLSWriter {
    /// Writes a secret as `opaque x<V>`.
    mutating func write(secret: SecretBytes) {
        unsafe secret.withUnsafeBytes { unsafe write(vector: $0) }
    }
}

extension TLSReader {
    /// Reads an `opaque x<V>` as a secret.
    mutating func readSecret() throws(TLSError) -> SecretBytes {
        var octets = try readVector()
        defer { TLSWriter.wipe(&octets) }
        return SecretBytes(octets)
    }
}
