import Clinic
import ClinicTestSupport
import Credentials
import Cryptography
import Foundation
import TestSupport
import Testing

private let openSSL: String? = ["/usr/bin/openssl", "/usr/local/bin/openssl"].first {
    FileManager.default.isExecutableFile(atPath: $0)
}

/// Other people's tools read what the clinic makes.
@Suite(.enabled(if: openSSL != nil, "openssl is not installed"))
struct `openssl` {
    let temporary: TemporaryFolder
    var folder: String { temporary.path }
    let clinic: TestClinic

    init() throws {
        clinic = try TestClinic(name: "Clinic on the Hill")
        temporary = try TemporaryFolder()
        try write(clinic.root.pem, "root.pem")
    }

    private func write(_ text: String, _ name: String) throws {
        try text.write(toFile: folder + "/" + name, atomically: true, encoding: .utf8)
    }

    private func run(_ arguments: [String]) throws -> (status: Int32, output: String) {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: try #require(openSSL))
        process.arguments = arguments
        process.currentDirectoryURL = URL(fileURLWithPath: folder)
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = pipe
        try process.run()
        let output = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return (process.terminationStatus, String(decoding: output, as: UTF8.self))
    }

    @Test func `verifies chains, reads lists and refuses the revoked`() throws {
        let doctor = try clinic.doctor(name: "Dr. Åsa Öst")
        try write(DoctorCertificate.pem(doctor.identityChain), "identity.pem")
        try write(DoctorCertificate.pem(doctor.prescriptionChain), "prescription.pem")
        let strict = ["verify", "-x509_strict", "-CAfile", "root.pem"]
        for name in ["identity.pem", "prescription.pem"] {
            let result = try run(strict + [name])
            #expect(result.status == 0, "\(result.output)")
        }
        let entry = Revocation(
            serial: doctor.certificates.identitySerial, date: Date(), reason: .keyCompromise)
        try write(clinic.authority.revocationList([entry], number: 7, at: Date()).pem, "crl.pem")
        let list = try run(["crl", "-in", "crl.pem", "-CAfile", "root.pem", "-noout", "-text"])
        #expect(list.status == 0)
        #expect(list.output.contains("verify OK"))
        #expect(list.output.contains("Key Compromise"))
        let checked = strict + ["-crl_check", "-CRLfile", "crl.pem"]
        #expect(try run(checked + ["identity.pem"]).output.contains("certificate revoked"))
        #expect(try run(checked + ["prescription.pem"]).status == 0)
        try write(TestClinic().root.pem, "root.pem")
        #expect(try run(strict + ["identity.pem"]).status != 0)
    }

    @Test func `verifies both certificate requests`() throws {
        let pem = try CertificateRequests.make(
            name: "Dr. Ada Lind", identity: SigningKey(), prescription: SigningKey())
        let end = "-----END CERTIFICATE REQUEST-----\n"
        let parts = pem.components(separatedBy: end).filter { !$0.isEmpty }
        #expect(parts.count == 2)
        for part in parts {
            try write(part + end, "request.pem")
            let result = try run(["req", "-in", "request.pem", "-verify", "-noout"])
            #expect(result.status == 0, "\(result.output)")
        }
    }

    @Test func `makes a root that the clinic's users accept`() throws {
        #expect(
            try run(["genpkey", "-algorithm", "ed25519", "-out", "key.pem"]).status == 0)
        let made = try run([
            "req", "-x509", "-new", "-key", "key.pem", "-out", "own.pem", "-days", "10",
            "-subj", "/CN=Own Root", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
        ])
        #expect(made.status == 0, "\(made.output)")
        let pem = try String(contentsOfFile: folder + "/own.pem", encoding: .utf8)
        #expect(try ClinicCertificate(pem: pem).name == "Own Root")
        let exported = try run(["pkey", "-in", "key.pem", "-outform", "DER", "-out", "key.der"])
        #expect(exported.status == 0)
        let der = try Data(contentsOf: URL(fileURLWithPath: folder + "/key.der"))
        let key = try SigningKey(seed: SecretBytes(Array(der.suffix(32))))
        let root = try ClinicRoot(certificate: ClinicCertificate(pem: pem), key: key)
        let certificates = try root.certify(
            DoctorEntry(name: "Dr. A", licence: "1", specialty: "x"),
            identityKey: SigningKey().publicKey, prescriptionKey: SigningKey().publicKey,
            at: Date(), days: 5)
        try write(certificates.pem, "leaf.pem")
        let verified = try run(["verify", "-CAfile", "own.pem", "leaf.pem"])
        #expect(verified.status == 0, "\(verified.output)")
    }
}
