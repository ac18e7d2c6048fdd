private import Crypto
public import Cryptography
private import Foundation
private import SwiftASN1
private import X509

/// The clinic's root certificate, of which the relay needs one thing: the key that signs admission
/// tokens.
public enum ClinicRoot {
    /// Reads the Ed25519 key of a PEM file with one certificate.
    ///
    /// - Throws: `.notFound` or `.clinicRoot`.
    public static func key(ofPEMFile path: String) throws(RelayError) -> VerifyingKey {
        guard let content = FileManager.default.contents(atPath: path) else {
            throw .notFound("the clinic's root certificate can't be read: \(path)")
        }
        guard
            let certificate = try? Certificate(
                pemEncoded: String(decoding: content, as: UTF8.self))
        else { throw .clinicRoot("\(path) holds no certificate") }
        guard let key = Curve25519.Signing.PublicKey(certificate.publicKey),
            let verifying = try? VerifyingKey(Array(key.rawRepresentation))
        else { throw .clinicRoot("the key of the one in \(path) isn't Ed25519") }
        return verifying
    }
}
