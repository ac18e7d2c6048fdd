private import Cryptography
public import Foundation
private import SwiftASN1
private import X509

/// A TLS certificate as it was read from the disk.
public struct CertificateFile: Equatable, Sendable {
    /// Where it was.
    public let path: String
    /// When it expires.
    public let expiry: Date
    /// SHA-256 of its text.
    let hash: [UInt8]

    /// Reads the first certificate of a PEM file; nil if there is none that can be read.
    public init?(_ path: String) {
        guard let content = FileManager.default.contents(atPath: path) else { return nil }
        let text = String(decoding: content, as: UTF8.self)
        guard let start = text.firstRange(of: "-----BEGIN CERTIFICATE-----"),
            let end = text.firstRange(of: "-----END CERTIFICATE-----"),
            start.lowerBound < end.lowerBound
        else { return nil }
        let first = String(text[start.lowerBound..<end.upperBound])
        guard let certificate = try? Certificate(pemEncoded: first) else { return nil }
        self.path = path
        expiry = certificate.notValidAfter
        hash = Hash.sha256(Array(first.utf8))
    }
}
