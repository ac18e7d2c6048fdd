public import Foundation
private import SwiftASN1
private import X509

/// A TLS certificate on the disk.
public enum CertificateFile {
    /// When the first certificate of a PEM file expires; nil if there is none that can be read.
    public static func expiry(ofPEMFile path: String) -> Date? {
        guard let content = FileManager.default.contents(atPath: path) else { return nil }
        let text = String(decoding: content, as: UTF8.self)
        let end = "-----END CERTIFICATE-----"
        guard let range = text.firstRange(of: end) else { return nil }
        let first = String(text[..<range.upperBound])
        return (try? Certificate(pemEncoded: first))?.notValidAfter
    }
}
