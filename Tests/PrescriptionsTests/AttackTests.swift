import Clinic
import ClinicTestSupport
import Credentials
import Crypto
import Cryptography
import Foundation
import SwiftASN1
import TestSupport
import Testing
import X509

@testable import Prescriptions

@Suite struct `Forged and altered prescriptions` {
    @Test func `a flipped bit anywhere fails`() throws {
        let practice = try Practice()
        let honest = try practice.prescription()
        let bytes = honest.bytes
        let key = practice.doctor.prescriptionKey.publicKey
        let signedByteCount = bytes.count - 87
        var survivors: [Int] = []
        for position in bytes.indices {
            for bit in 0..<8 {
                var altered = bytes
                altered[position] ^= 1 << UInt8(bit)
                if position < signedByteCount {
                    // The signature covers both parts as they are written, certificates included.
                    let content = Array(altered.prefix(signedByteCount))
                    if key.isValid(signature: honest.jws.signature, for: content) {
                        survivors.append(position)
                    }
                } else if CompactJWS(altered)?.isSigned(by: key) == true {
                    survivors.append(position)
                }
                // The whole way, for a sample: certificates are slow in debug builds.
                if (position * 8 + bit).isMultiple(of: 331), practice.verify(altered).isPassed {
                    survivors.append(position)
                }
            }
        }
        #expect(survivors.isEmpty)
    }

    @Test func `a text cut off or grown anywhere fails`() throws {
        let practice = try Practice()
        let bytes = try practice.prescription().bytes
        for length in 0..<bytes.count {
            #expect(CompactJWS(Array(bytes.prefix(length))) == nil || length > bytes.count - 2)
        }
        for length in stride(from: 0, to: bytes.count, by: 101) {
            #expect(!practice.verify(Array(bytes.prefix(length))).isPassed)
        }
        for tail in [" ", "\n\n", "\r\n", "\n ", "=", "A", ".", ".e30", "\u{0}"] {
            #expect(!practice.verify(bytes + Array(tail.utf8)).isPassed, "\(tail)")
        }
        #expect(!practice.verify([0x0A] + bytes).isPassed)
        #expect(!practice.verify([UInt8](repeating: 0x41, count: 70_000)).isPassed)
    }

    private static let headers: [(String, String, String)] = [
        ("alg none", "\"alg\":\"EdDSA\"", "\"alg\":\"none\""),
        ("alg HS256", "\"alg\":\"EdDSA\"", "\"alg\":\"HS256\""),
        ("alg in other case", "\"alg\":\"EdDSA\"", "\"alg\":\"eddsa\""),
        ("no alg", "\"alg\":\"EdDSA\",", ""),
        ("alg twice", "\"alg\":\"EdDSA\"", "\"alg\":\"EdDSA\",\"alg\":\"EdDSA\""),
        ("alg twice, one none", "\"alg\":\"EdDSA\"", "\"alg\":\"EdDSA\",\"alg\":\"none\""),
        ("crit", "\"cty\"", "\"crit\":[\"exp\"],\"exp\":1,\"cty\""),
        ("b64", "\"cty\"", "\"b64\":false,\"crit\":[\"b64\"],\"cty\""),
        ("jwk", "\"cty\"", "\"jwk\":{\"kty\":\"OKP\"},\"cty\""),
        ("kid", "\"cty\"", "\"kid\":\"1\",\"cty\""),
        ("x5u", "\"cty\"", "\"x5u\":\"https://example.org\",\"cty\""),
        ("other typ", "rx+jws", "JWT"),
        ("other cty", "fhir+json", "json"),
        ("iat as text", "\"iat\":1795000000", "\"iat\":\"1795000000\""),
        ("iat as fraction", "\"iat\":1795000000", "\"iat\":1795000000.0"),
        ("iat below zero", "\"iat\":1795000000", "\"iat\":-1"),
        ("iat beyond all", "\"iat\":1795000000", "\"iat\":99999999999999999999"),
        ("white space", "\"cty\"", " \"cty\""),
        ("escaped name", "\"cty\"", "\"\\u0063ty\""),
        ("empty chain", "\"x5c\":[\"", "\"x5c\":[],\"x\":[\""),
        ("trailing", "}", "}{}"),
    ]

    @Test(arguments: headers.map(\.0))
    func `a header that isn't exactly ours fails, though rightly signed`(what: String) throws {
        let practice = try Practice()
        let (_, old, new) = try #require(Self.headers.first { $0.0 == what })
        let honest = try practice.prescription().jws.header
        let header = honest.replacing(old, new)
        #expect(header != honest)
        let report = practice.verify(try practice.forge(header: header))
        #expect(!report.isPassed)
        #expect(report.failed == [.form])
    }

    private static let payloads: [(String, String, String)] = [
        (
            "a doubled member", "\"type\":\"document\"",
            "\"type\":\"document\",\"type\":\"document\""
        ),
        (
            "a doubled member deep inside", "\"numberOfRepeatsAllowed\":0",
            "\"numberOfRepeatsAllowed\":0,\"numberOfRepeatsAllowed\":9"
        ),
        ("a hidden extension", "\"status\":\"active\"", "\"extension\":[],\"status\":\"active\""),
        ("another status", "\"status\":\"active\"", "\"status\":\"draft\""),
        ("a note that is no text", "\"intent\":\"order\"", "\"intent\":\"order\",\"note\":[{}]"),
        ("white space", "\"intent\":", "\"intent\": "),
        ("an escaped text", "\"Paul Patient\"", "\"\\u0050aul Patient\""),
        ("another narrative", "xhtml\\\">Amoxicillin 500", "xhtml\\\">Amoxicillin 900"),
        ("a control character", "\"Paul Patient\"", "\"Paul\\u001b[2J\""),
        ("an amount of nothing", "\"value\":21", "\"value\":0"),
        ("an amount as power", "\"value\":21", "\"value\":2.1e1"),
        ("a code out of form", "J01CA04", "J01CA0X"),
        ("another catalogue", "http://www.whocc.no/atc", "http://example.org/atc"),
        ("an impossible birthday", "1980-02-29", "1981-02-29"),
        ("a reference elsewhere", "\"reference\":\"urn:uuid:", "\"reference\":\"urn:uuid:0"),
        ("not UTF-8", "", ""),
    ]

    @Test(arguments: payloads.map(\.0))
    func `a document that isn't exactly ours fails, though rightly signed`(what: String) throws {
        let practice = try Practice()
        let (_, old, new) = try #require(Self.payloads.first { $0.0 == what })
        let honest = try practice.prescription().jws.payload
        let payload = what == "not UTF-8" ? honest + [0xFF] : honest.replacing(old, new)
        #expect(payload != honest)
        let report = practice.verify(try practice.forge(payload: payload))
        #expect(!report.isPassed)
        #expect(report.failed == [.document])
    }

    @Test func `the form in JSON, a second signature and a fourth part aren't read`() throws {
        let practice = try Practice()
        let bytes = try practice.prescription().bytes
        let parts = String(decoding: bytes, as: UTF8.self).split(separator: ".")
        let signature = "\"signature\":\"\(parts[2])\""
        for text in [
            "{\"payload\":\"\(parts[1])\",\"protected\":\"\(parts[0])\",\(signature)}",
            "{\"payload\":\"\(parts[1])\",\"protected\":\"\(parts[0])\","
                + "\"header\":{\"alg\":\"none\"},\(signature)}",
            "{\"payload\":\"\(parts[1])\",\"signatures\":[{\"protected\":\"\(parts[0])\","
                + "\(signature)},{\"protected\":\"\(parts[0])\",\(signature)}]}",
            parts.joined(separator: ".") + "." + parts[2],
            "\(parts[0]).\(parts[1]).", "..", "",
            "\(parts[0]) .\(parts[1]).\(parts[2])", "\(parts[0])=.\(parts[1]).\(parts[2])",
        ] {
            #expect(practice.verify(Array(text.utf8)).failed == [.form], "\(text.prefix(40))")
        }
        // A detached payload (RFC 7515, appendix F) isn't read either.
        let detached = Array("\(parts[0])..\(parts[2])".utf8)
        #expect(practice.verify(detached).failed == [.document])
    }

    @Test func `base64 has one spelling only`() {
        #expect(Base64.decode("+/8=") == [0xFB, 0xFF])
        for text in ["+/8", "-_8=", "+/9=", " +/8="] { #expect(Base64.decode(text) == nil) }
    }

    @Test func `another clinic's root fails`() throws {
        let practice = try Practice()
        let other = try TestClinic(name: "Test Clinic", at: practice.now)
        let report = practice.verify(try practice.prescription().bytes, root: other.root)
        #expect(report.failed == [.certificate])
        #expect(report.prescription == nil)
    }

    @Test func `certificates fail before and after their time`() throws {
        let practice = try Practice()
        let bytes = try practice.prescription { $0.validDays = 300 }.bytes
        let later = practice.verify(bytes, at: practice.now.addingTimeInterval(366 * 86_400))
        #expect(later.failed == [.certificateValidity, .validity])
        #expect(later.outcome(.certificateValidity) == .fail("expired"))
        #expect(later.outcome(.signature) == .pass)
        let earlier = practice.verify(bytes, at: practice.now.addingTimeInterval(-10 * 86_400))
        #expect(earlier.failed.contains(.certificateValidity))
        #expect(earlier.failed.contains(.signingDay))
        // A signer who dates back to when the certificate didn't hold yet.
        let honest = try practice.prescription()
        let header = honest.jws.header.replacing("1795000000", "1690000000")
        let payload = honest.jws.payload
        let dated = practice.verify(try practice.forge(header: header, payload: payload))
        #expect(dated.outcome(.certificateValidity) == .fail("not valid at signing"))
        #expect(dated.failed.contains(.signingDay))
    }

    @Test func `a prescription ends, and one from the future fails`() throws {
        let practice = try Practice()
        let bytes = try practice.prescription().bytes
        let last = practice.now.addingTimeInterval(28 * 86_400)
        #expect(practice.verify(bytes, at: last).isPassed)
        let ended = practice.verify(bytes, at: last.addingTimeInterval(2 * 86_400))
        #expect(ended.failed == [.validity])
        let early = practice.verify(bytes, at: practice.now.addingTimeInterval(-600))
        #expect(early.failed.contains(.signingDay))
    }

    @Test func `withdrawn certificates fail as their reason says`() throws {
        let practice = try Practice()
        let bytes = try practice.prescription().bytes
        let leaf = try Certificate(derEncoded: practice.doctor.prescriptionChain[0])
        let serial = Array(leaf.serialNumber.bytes)
        let later = practice.now.addingTimeInterval(86_400)
        func report(
            _ reason: RevocationReason, on date: Date
        ) throws -> VerificationReport {
            let list = try practice.clinic.authority.revocationList(
                [Revocation(serial: serial, date: date, reason: reason)], number: 2, at: later)
            return practice.verify(bytes, revocations: list, at: later)
        }
        // Whoever has the key can date back, so a compromise reaches what seems to be older.
        #expect(try report(.keyCompromise, on: later).failed == [.revocation])
        #expect(try report(.unspecified, on: later).failed == [.revocation])
        #expect(try report(.cessationOfOperation, on: later).isPassed)
        #expect(try report(.cessationOfOperation, on: practice.now).failed == [.revocation])
        let foreign = try TestClinic(name: "Test Clinic", at: practice.now)
        let list = try foreign.authority.revocationList([], number: 1, at: practice.now)
        #expect(practice.verify(bytes, revocations: list).failed == [.revocation])
        let old = try practice.clinic.authority.revocationList(
            [], number: 1, at: practice.now.addingTimeInterval(-300 * 86_400))
        #expect(practice.verify(bytes, revocations: old).failed == [.revocation])
    }

    /// The doctor's certificate made anew under the same root, with a change.
    private static func certificate(
        like leaf: [UInt8], of practice: Practice, without oid: ASN1ObjectIdentifier
    ) throws -> [UInt8] {
        let original = try Certificate(derEncoded: leaf)
        let extensions = try Certificate.Extensions(
            original.extensions.filter { $0.oid != oid })
        let rootKey = unsafe try practice.clinic.rootKey.seed.withUnsafeBytes {
            unsafe try Curve25519.Signing.PrivateKey(rawRepresentation: $0)
        }
        let changed = try Certificate(
            version: .v3, serialNumber: original.serialNumber, publicKey: original.publicKey,
            notValidBefore: original.notValidBefore, notValidAfter: original.notValidAfter,
            issuer: original.issuer, subject: original.subject, signatureAlgorithm: .ed25519,
            extensions: extensions, issuerPrivateKey: Certificate.PrivateKey(rootKey))
        var serializer = DER.Serializer()
        try serializer.serialize(changed)
        return serializer.serializedBytes
    }

    @Test func `certificates for other purposes or without the profession fail`() throws {
        let practice = try Practice()
        let honest = try practice.prescription()
        func report(chain: [[UInt8]], key: SigningKey) throws -> VerificationReport {
            let header = PrescriptionHeader(issuedAt: 1_795_000_000, chain: chain)
            let jws = try CompactJWS(
                header: header.encoded, payload: honest.jws.payload, key: key)
            return practice.verify(jws.bytes)
        }
        let doctor = practice.doctor
        let identity = try report(chain: doctor.identityChain, key: doctor.identityKey)
        #expect(!identity.isPassed)
        let leaf = doctor.prescriptionChain[0]
        #expect(try report(chain: [leaf], key: doctor.prescriptionKey).isPassed)
        let noProfession = try Self.certificate(
            like: leaf, of: practice, without: [1, 3, 36, 8, 3, 3])
        #expect(
            try report(chain: [noProfession], key: doctor.prescriptionKey).failed == [.profession])
        let noPurpose = try Self.certificate(
            like: leaf, of: practice, without: .X509ExtensionID.extendedKeyUsage)
        #expect(try report(chain: [noPurpose], key: doctor.prescriptionKey).failed == [.purpose])
        let root = practice.clinic.root.der
        #expect(!(try report(chain: [leaf, root], key: doctor.prescriptionKey).isPassed))
        #expect(!(try report(chain: [root], key: practice.clinic.rootKey).isPassed))
        #expect(!(try report(chain: [[1, 2, 3]], key: doctor.prescriptionKey).isPassed))
    }

    @Test func `another doctor's name or key fails`() throws {
        let practice = try Practice()
        let honest = try practice.prescription()
        let other = try practice.clinic.doctor(name: "Dr. Eve Quack", licence: "DE-9")
        // Another doctor signs with her own certificate what names the first as prescriber.
        let header = PrescriptionHeader(
            issuedAt: 1_795_000_000, chain: other.prescriptionChain)
        let foreign = try CompactJWS(
            header: header.encoded, payload: honest.jws.payload, key: other.prescriptionKey)
        #expect(practice.verify(foreign.bytes).failed == [.prescriber])
        // She signs with her key under the first doctor's certificate.
        let stolen = try CompactJWS(
            header: honest.jws.header, payload: honest.jws.payload, key: other.prescriptionKey)
        #expect(practice.verify(stolen.bytes).failed == [.signature])
    }
}
