public import Credentials
internal import Cryptography
public import FoundationEssentials

/// Offline verification, with nothing but the clinic's root and, if there is one, its revocation list.
extension Prescription {
    private typealias Outcomes = [VerificationReport.Check: VerificationReport.Outcome]

    /// Verifies the octets of a file; one final line feed is no part of them.
    public static func verify(
        _ file: [UInt8], root: ClinicCertificate, revocations: CertificateRevocationList? = nil,
        at date: Date
    ) -> VerificationReport {
        let octets = file.last == UInt8(ascii: "\n") ? file.dropLast() : file[...]
        do throws(PrescriptionError) {
            return try Prescription(sent: Array(octets))
                .check(root: root, revocations: revocations, at: date)
        } catch {
            var outcomes = online
            switch error {
            case .notAPrescription(.envelope):
                outcomes[.form] = .fail("not a compact JWS")
            case .notAPrescription(.header):
                outcomes[.form] = .fail("not the header of a prescription")
            case .notAPrescription(.json):
                outcomes[.form] = .pass
                outcomes[.document] = .fail("not JSON with one reading")
            default:
                outcomes[.form] = .pass
                outcomes[.document] = .fail("not a prescription document")
            }
            return VerificationReport(outcomes, nil)
        }
    }

    /// Verifies this prescription.
    ///
    /// - Parameter date: now. Certificates must hold now and have held when the signer says it was
    ///   signed: that time is the signer's word alone.
    public func check(
        root: ClinicCertificate, revocations: CertificateRevocationList? = nil, at date: Date
    ) -> VerificationReport {
        var outcomes = Self.online
        outcomes[.form] = .pass
        outcomes[.document] = .pass
        checkDays(at: date, &outcomes)
        if let doctor = checkCertificate(root: root, at: date, &outcomes) {
            outcomes[.revocation] = checkRevocation(revocations, root: root, at: date)
            let isSigned = jws.isSigned(by: doctor.key)
            outcomes[.signature] =
                isSigned ? .pass : .fail("not made with the certificate's key over these octets")
            let prescriber = document.prescriber
            let isHolder =
                prescriber.name == doctor.name && prescriber.licence == doctor.licence
                && prescriber.specialty == doctor.specialty
            outcomes[.prescriber] = isHolder ? .pass : .fail("not the holder of the certificate")
        }
        return VerificationReport(outcomes, self)
    }

    /// What can't be known offline.
    private static let online: Outcomes = [
        .cancellation: .notChecked("known to the relay only"),
        .redemption: .notChecked("known to the relay only"),
    ]

    private func checkDays(at date: Date, _ outcomes: inout Outcomes) {
        // The same moment is another day elsewhere: UTC-12 to UTC+14.
        let earliest = CalendarDay(signedAt, offsetSeconds: -12 * 3600)
        let latest = CalendarDay(signedAt, offsetSeconds: 14 * 3600)
        let isSameDay =
            if let earliest, let latest { (earliest...latest).contains(document.authoredOn) } else {
                false
            }
        outcomes[.signingDay] =
            if signedAt.timeIntervalSince(date) > 300 {
                .fail("signed in the future")
            } else if document.issuedSeconds != header.issuedAt || !isSameDay {
                .fail("not the day that the document names")
            } else { .pass }
        // A day is over when it is over everywhere.
        let today = CalendarDay(date, offsetSeconds: -12 * 3600)
        outcomes[.validity] =
            if let today, today <= document.validUntil { .pass } else {
                .fail("ended on \(document.validUntil)")
            }
    }

    /// The verified holder; of a certificate whose only fault is that its time is over, too, so that
    /// the signature can still be told.
    private func checkCertificate(
        root: ClinicCertificate, at date: Date, _ outcomes: inout Outcomes
    ) -> VerifiedDoctor? {
        guard !header.chain.contains(root.der) else {
            outcomes[.certificate] = .fail("carries the root, which only the verifier can name")
            return nil
        }
        var holder: VerifiedDoctor?
        for moment in [date, signedAt] {
            do throws(CredentialError) {
                let doctor = try DoctorCertificate.verify(
                    chain: header.chain, for: .prescription, root: root, at: moment)
                holder = holder ?? doctor
                outcomes[.certificateValidity] = outcomes[.certificateValidity] ?? .pass
            } catch {
                switch error {
                case .expired:
                    outcomes[.certificateValidity] =
                        moment == date ? .fail("expired") : .fail("had expired at signing")
                case .notYetValid:
                    outcomes[.certificateValidity] =
                        moment == date ? .fail("not yet valid") : .fail("not valid at signing")
                case .certificate(.extendedKeyUsage):
                    outcomes[.certificate] = .pass
                    outcomes[.purpose] = .fail("not for signing prescriptions")
                    return nil
                case .certificate(.profession), .certificate(.licence), .certificate(.subject):
                    outcomes[.certificate] = .pass
                    outcomes[.purpose] = .pass
                    outcomes[.profession] = .fail("names no licensed physician")
                    return nil
                case .certificate(.issuer), .certificate(.signature):
                    outcomes[.certificate] = .fail("not issued under this root")
                    return nil
                default:
                    outcomes[.certificate] = .fail("breaks the certificate profile")
                    return nil
                }
            }
        }
        // Whatever comes after these rules has been reached, so they hold.
        for check in [VerificationReport.Check.certificate, .purpose, .profession] {
            outcomes[check] = .pass
        }
        return holder
    }

    private func checkRevocation(
        _ list: CertificateRevocationList?, root: ClinicCertificate, at date: Date
    ) -> VerificationReport.Outcome {
        guard let list else { return .notChecked("no revocation list given") }
        let revocations: Revocations
        do throws(CredentialError) {
            revocations = try list.verified(by: root, at: date)
        } catch {
            switch error {
            case .expired: return .fail("the revocation list is out of date")
            case .notYetValid: return .fail("the revocation list is not yet valid")
            default: return .fail("the revocation list isn't the clinic's")
            }
        }
        // A compromised key can sign any time: only a list of reasons spares earlier signatures.
        do throws(CredentialError) {
            _ = try DoctorCertificate.verify(
                chain: header.chain, for: .prescription, root: root, at: signedAt,
                revocations: revocations)
            return .pass
        } catch {
            if case .revoked = error { return .fail("withdrawn by the clinic") }
            return .notChecked("the certificate didn't hold at signing")
        }
    }
}
