import Clinic
import ClinicTestSupport
import Credentials
import Cryptography
import Foundation
import TestSupport
import Testing

@testable import Prescriptions

@Suite struct `Signing` {
    @Test func `a signed prescription verifies, with a line for each check`() throws {
        let practice = try Practice()
        let prescription = try practice.prescription()
        let report = practice.verify(prescription.bytes)
        #expect(report.isPassed, "\(report.lines.map(\.text))")
        #expect(report.lines.map(\.check) == VerificationReport.Check.allCases)
        let unchecked = report.lines.filter { $0.outcome != .pass }.map(\.check)
        #expect(unchecked == [.revocation, .cancellation, .redemption])
        #expect(report.prescription == prescription)
        #expect(practice.verify(prescription.bytes + [0x0A]).isPassed)
        let list = try practice.clinic.authority.revocationList([], number: 1, at: practice.now)
        let checked = practice.verify(prescription.bytes, revocations: list)
        #expect(checked.outcome(.revocation) == .pass)
    }

    @Test func `the octets are those of the standards`() throws {
        let practice = try Practice()
        let prescription = try practice.prescription()
        let header = try #require(
            JSONSerialization.jsonObject(with: Data(prescription.jws.header)) as? [String: Any])
        #expect(Set(header.keys) == ["alg", "typ", "cty", "iat", "x5c"])
        #expect(header["alg"] as? String == "EdDSA")
        #expect(header["typ"] as? String == "rx+jws")
        #expect(header["cty"] as? String == "fhir+json")
        #expect(header["iat"] as? Int == 1_795_000_000)
        let chain = (header["x5c"] as? [String])?.map { Data(base64Encoded: $0).map { Array($0) } }
        #expect(chain == practice.doctor.prescriptionChain)
        #expect(!practice.doctor.prescriptionChain.contains(practice.clinic.root.der))

        let bundle = try #require(
            JSONSerialization.jsonObject(with: Data(prescription.jws.payload)) as? [String: Any])
        #expect(bundle["resourceType"] as? String == "Bundle")
        #expect(bundle["type"] as? String == "document")
        let entries = try #require(bundle["entry"] as? [[String: Any]])
        let resources = entries.compactMap { $0["resource"] as? [String: Any] }
        #expect(
            resources.compactMap { $0["resourceType"] as? String }
                == ["Composition", "Patient", "Practitioner", "MedicationRequest", "Medication"])
        let urls = entries.compactMap { $0["fullUrl"] as? String }
        #expect(Set(urls).count == 5)
        let text = String(decoding: prescription.jws.payload, as: UTF8.self)
        // Each resource but the Composition is referred to, by its own URL.
        for url in urls.dropFirst() { #expect(text.components(separatedBy: url).count > 2) }
        #expect(!text.contains(": ") || !text.contains(", \""))
        #expect(resources[3]["authoredOn"] as? String == "2026-11-18")
        #expect(resources[1]["birthDate"] as? String == "1980-02-29")
    }

    @Test func `everything that is signed is shown before`() throws {
        let practice = try Practice()
        let prepared = try practice.prepare { draft in
            draft.note = "brand only: allergy to E 110"
            draft.patientAddress = "Elm Row 3, 10115 Berlin"
            draft.practice.registration = "AB1234563"
            draft.dose.asNeeded = "fever"
            draft.dose.text = "Take with water & food <always>."
            draft.repeats = 2
            draft.substitution = false
            draft.medication.codes.append(.init(system: .snomed, code: "27658006"))
        }
        let preview = prepared.preview
        for text in [
            "Paul Patient", "1980-02-29", "P-1", "Elm Row 3", "Amoxicillin 500 mg capsules",
            "ATC J01CA04", "SNOMED 27658006", "capsule", "amoxicillin 500 mg per 1 capsule",
            "Take with water & food <always>.",
            "1 capsule 3 times a day, for 7 days, by mouth, as needed: fever", "21 capsule",
            "Repeats:         2", "not allowed", "brand only", "Dr. Ada Lind", "DE-12345",
            "General practice", "Example Street 1", "DE", "+49 30 1234567",
            "practice@example.org", "AB1234563", "2026-11-18", "2026-12-16", prepared.document.id,
        ] {
            #expect(preview.contains(text), "\(text)")
        }
        let signed = try prepared.sign(with: practice.doctor.prescriptionKey, at: practice.now)
        #expect(signed.document == prepared.document)
        #expect(practice.verify(signed.bytes).isPassed)
        let narrative = String(decoding: signed.jws.payload, as: UTF8.self)
        #expect(narrative.contains("water &amp; food &lt;always&gt;"))
    }

    @Test func `the same content gives the same octets, and another id another document`() throws {
        let practice = try Practice()
        let prepared = try practice.prepare()
        let first = try prepared.sign(with: practice.doctor.prescriptionKey, at: practice.now)
        #expect(first.document.fhir == prepared.document.fhir)
        #expect(try practice.prescription().id != first.id)
    }

    @Test func `only the certificate's key signs, and only soon after the preview`() throws {
        let practice = try Practice()
        let prepared = try practice.prepare()
        let key = practice.doctor.prescriptionKey
        #expect(
            refusal { _ = try prepared.sign(with: practice.doctor.identityKey, at: practice.now) }
                == .wrongKey)
        for seconds in [-60.0, 901, 86_400, .infinity] {
            #expect(
                refusal {
                    _ = try prepared.sign(
                        with: key, at: practice.now.addingTimeInterval(seconds))
                } == .previewTooOld)
        }
        _ = try prepared.sign(with: key, at: practice.now.addingTimeInterval(600))
    }

    @Test func `nothing is prepared without a proper doctor and patient`() throws {
        let practice = try Practice()
        let draft = try PrescriptionDraft(json: Array(PrescriptionDraft.exampleJSON.utf8))
        #expect(
            refusal {
                _ = try PreparedPrescription(
                    draft, patient: practice.patient, chain: practice.doctor.identityChain,
                    root: practice.clinic.root, at: practice.now)
            } != nil)
        for (role, born, field) in [
            (PersonRole.guest, "1980-02-29", "patient"), (.patient, "", "patient.born"),
        ] {
            let invitation = try practice.clinic.invitation(role: role, born: born)
            let key = try SigningKey()
            let person = try VerifiedPerson.verify(
                voucher: invitation.voucher, endorsement: invitation.endorse(key.publicKey),
                identityKey: key.publicKey, root: practice.clinic.root, at: practice.now)
            let error = refusal {
                _ = try PreparedPrescription(
                    draft, patient: person, chain: practice.doctor.prescriptionChain,
                    root: practice.clinic.root, at: practice.now)
            }
            guard case .invalid(let problems) = error else {
                Issue.record("\(field): got \(String(describing: error))")
                continue
            }
            #expect(problems.map(\.field) == [field])
        }
        let brief = try Practice(days: 10)
        #expect(refusal { _ = try brief.prepare() } != nil)
        _ = try brief.prepare { $0.validDays = 5 }
    }

    @Test func `the day of signing is the doctor's own`() throws {
        let practice = try Practice()
        let draft = try PrescriptionDraft(json: Array(PrescriptionDraft.exampleJSON.utf8))
        for (offset, day) in [
            (13 * 3600, "2026-11-19"), (-12 * 3600, "2026-11-17"), (0, "2026-11-18"),
        ] {
            let prepared = try PreparedPrescription(
                draft, patient: practice.patient, chain: practice.doctor.prescriptionChain,
                root: practice.clinic.root, at: practice.now, dayOffsetSeconds: offset)
            #expect(prepared.document.authoredOn.description == day)
            let signed = try prepared.sign(
                with: practice.doctor.prescriptionKey, at: practice.now)
            #expect(practice.verify(signed.bytes).isPassed)
        }
    }

    /// `tools/interop/prescription` names the folder and lets other programs check what is in it.
    @Test(.enabled(if: ProcessInfo.processInfo.environment["CURTAIN_INTEROP"] != nil))
    func `a prescription is written down for other programs to verify`() throws {
        let folder = try #require(ProcessInfo.processInfo.environment["CURTAIN_INTEROP"])
        let practice = try Practice(at: Date())
        let prescription = try practice.prescription()
        for (name, octets) in [
            ("prescription.jws", prescription.bytes), ("payload.json", prescription.document.fhir),
            ("root.pem", Array(practice.clinic.root.pem.utf8)),
        ] {
            try Data(octets).write(to: URL(fileURLWithPath: folder + "/" + name))
        }
    }
}
