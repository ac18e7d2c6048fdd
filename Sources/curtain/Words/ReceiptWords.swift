import Consultations
import Cryptography
import Foundation
import RelayProtocol
import Terminal

/// One erasure receipt as JSON.
struct ReceiptRow: Encodable {
    let consultation: String
    let receipt: String
    let erasedAt: Date
    let reason: String
    let messages: UInt32?
    let mailboxes: UInt8?
    let storedAt: Date

    init(_ receipt: KeptReceipt) {
        consultation = receipt.id.description
        self.receipt = Base64URL.encode(receipt.bytes)
        erasedAt = receipt.erasedAt
        reason = receipt.reason.word
        messages = receipt.receipt?.messageCount
        mailboxes = receipt.receipt?.mailboxCount
        storedAt = receipt.storedAt
    }
}

extension ErasureReceipt.Reason {
    /// The JSON word.
    var word: String {
        switch self {
        case .confirmed: "confirmed"
        case .deadline: "deadline"
        }
    }
}

extension KeptReceipt {
    /// What the receipt says, for people.
    var fields: [(String, String)] {
        var fields = [
            ("consultation", id.description),
            ("erased", TimeText.stamp(erasedAt) + " (the hour)"),
            ("because", reason == .confirmed ? "both sides confirmed" : "its deadline had come"),
        ]
        if let receipt {
            fields.append(
                ("deleted", "\(receipt.messageCount) messages, \(receipt.mailboxCount) mailboxes"))
        }
        return fields
    }
}
