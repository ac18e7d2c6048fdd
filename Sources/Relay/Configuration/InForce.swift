private import WebSockets

/// The settings in force, with what was read of the certificate they name; a reload changes both.
struct InForce: Sendable {
    let settings: RelaySettings
    /// `nil` without TLS.
    let certificate: CertificateFile?

    init(_ settings: RelaySettings) {
        self.settings = settings
        certificate = settings.tlsIdentity.flatMap { CertificateFile($0.certificatePath) }
    }
}
