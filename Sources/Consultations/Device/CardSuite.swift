import Cryptography
import MLS

/// What a card asks of a patient's device: the suite that consultations use.
enum CardSuite {
    static var required: UInt16 { CipherSuite.consultations.rawValue }
}
