private import Crypto
public import Cryptography
private import Foundation
private import SwiftASN1
private import X509

/// The clinic's root certificate, of which the relay needs one thing: the key that signs admission
/// tokens.
public enum ClinicRoot {
    /// Reads the Ed25519 key of a PEM file with one certificate, and the certificate's fingerprint as
    /// the clinic authority prints it: SHA-256, in hexadecimal digits.
    ///
    /// - Throws: `.notFound` or `.clinicRoot`.
    public static func read(
        pemFile path: String
    ) throws(RelayError) -> (key: VerifyingKey, fingerprint: String) {
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
        var serializer = DER.Serializer()
        do { try serializer.serialize(certificate) } catch {
            throw .clinicRoot("\(path) holds no certificate")
        }
        let digits = Hash.sha256(serializer.serializedBytes).map { octet in
            (octet < 16 ? "0" : "") + String(octet, radix: 16)
        }
        return (verifying, digits.joined())
    }
}
