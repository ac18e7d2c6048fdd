import Credentials
import Crypto
import Cryptography
import Foundation
import SwiftASN1
import Testing
import X509

/// What a doctor sends to the clinic.
struct `Certificate requests` {
    let identity: SigningKey
    let prescription: SigningKey

    init() throws {
        identity = try SigningKey()
        prescription = try SigningKey()
    }

    @Test func `come back with both keys and the name`() throws {
        let pem = try CertificateRequests.make(
            name: "Dr. Ada Lind", identity: identity, prescription: prescription)
        let requests = try CertificateRequests(pem: pem)
        #expect(requests.name == "Dr. Ada Lind")
        #expect(requests.identityKey == identity.publicKey)
        #expect(requests.prescriptionKey == prescription.publicKey)
    }

    @Test func `in the other order would swap the keys, so they are refused`() throws {
        let pem = try CertificateRequests.make(
            name: "Dr. Ada Lind", identity: identity, prescription: prescription)
        let parts = try PEMDocument.parseMultiple(pemString: pem)
        let swapped = parts.reversed().map(\.pemString).joined(separator: "\n")
        #expect(throws: CredentialError.wrongSignature(.certificateRequest)) {
            try CertificateRequests(pem: swapped)
        }
    }

    @Test func `of two doctors cannot be mixed`() throws {
        let mine = try CertificateRequests.make(
            name: "Dr. Ada Lind", identity: identity, prescription: prescription)
        let theirs = try CertificateRequests.make(
            name: "Dr. Ada Lind", identity: SigningKey(), prescription: SigningKey())
        let mixed =
            try PEMDocument.parseMultiple(pemString: mine)[0].pemString + "\n"
            + PEMDocument.parseMultiple(pemString: theirs)[1].pemString
        #expect(throws: CredentialError.wrongSignature(.certificateRequest)) {
            try CertificateRequests(pem: mixed)
        }
    }

    @Test func `need proof that both keys are held`() throws {
        let pem = try CertificateRequests.make(
            name: "Dr. Ada Lind", identity: identity, prescription: prescription)
        var parts = try PEMDocument.parseMultiple(pemString: pem)
        parts[0].derBytes[parts[0].derBytes.count - 1] ^= 1
        let altered = parts.map(\.pemString).joined(separator: "\n")
        #expect(throws: CredentialError.wrongSignature(.certificateRequest)) {
            try CertificateRequests(pem: altered)
        }
    }

    @Test func `that are not two, or none at all, are refused`() throws {
        let pem = try CertificateRequests.make(
            name: "Dr. Ada Lind", identity: identity, prescription: prescription)
        let parts = try PEMDocument.parseMultiple(pemString: pem).map(\.pemString)
        for text in ["", "x", parts[0], pem + parts[0]] {
            #expect(throws: CredentialError.malformed(.certificateRequest)) {
                try CertificateRequests(pem: text)
            }
        }
        #expect(throws: CredentialError.invalidText) {
            try CertificateRequests.make(
                name: "a\nb", identity: identity, prescription: prescription)
        }
    }

    @Test func `with any octet changed are refused`() throws {
        let pem = try CertificateRequests.make(
            name: "Dr. Ada Lind", identity: identity, prescription: prescription)
        let parts = try PEMDocument.parseMultiple(pemString: pem)
        for position in parts[0].derBytes.indices {
            var altered = parts
            altered[0].derBytes[position] ^= 1 << UInt8(position % 8)
            let text = altered.map(\.pemString).joined(separator: "\n")
            #expect(throws: CredentialError.self, "octet \(position)") {
                try CertificateRequests(pem: text)
            }
        }
    }

    @Test func `from openssl without the binding are refused`() throws {
        let subject = try DistinguishedName { CommonName("Dr. Ada Lind") }
        let text = try [identity, prescription].map { key in
            try CertificateSigningRequest(
                version: .v1, subject: subject,
                privateKey: Certificate.PrivateKey(Curve25519.Signing.PrivateKey(key)),
                attributes: CertificateSigningRequest.Attributes(),
                signatureAlgorithm: .ed25519
            ).serializeAsPEM().pemString
        }.joined(separator: "\n")
        #expect(throws: CredentialError.malformed(.certificateRequest)) {
            try CertificateRequests(pem: text)
        }
    }
}
