import RelayProtocol
import Vault

/// What is asked about files and not answered yet, on one connection. Unlike other requests these
/// aren't stored, and several are under way at a time: the relay takes a piece that it has as done
/// and gives one as often as it is asked, so after a stop it is asked what it has, and what is
/// missing goes again under another number (`protocol/relay.md`, "Blobs").
struct Transfers {
    /// Things under way on all mailboxes together, at most: half a mebibyte.
    private static let limit = 8
    /// Who writes a message waits about that long for the pieces before it, in milliseconds.
    private static let patience: UInt64 = 1_000

    private struct Name: Hashable {
        let mailbox: MailboxID
        let id: RequestID
    }

    private var pending: [Name: PendingTransfer] = [:]
    /// As many as the relay answers within that time.
    private var window = 2

    /// A mailbox always has room for one, so that none waits for the others' files.
    func hasRoom(for mailbox: MailboxID) -> Bool {
        pending.count < window || !pending.keys.contains { $0.mailbox == mailbox }
    }

    /// Things under way for a file, those that were given up not counted.
    func count(of file: FileState, in consultation: Vault.ConsultationNumber) -> Int {
        pending.values.count {
            $0.consultation == consultation && $0.file == file.number
                && $0.attempt == file.attempt
        }
    }

    mutating func add(_ transfer: PendingTransfer) {
        pending[Name(mailbox: transfer.mailbox, id: transfer.id)] = transfer
    }

    /// Takes out what an answer is to, if it is to something about a file.
    mutating func take(
        _ id: RequestID, of mailbox: MailboxID, at now: UInt64
    ) -> PendingTransfer? {
        guard let found = pending.removeValue(forKey: Name(mailbox: mailbox, id: id)) else {
            return nil
        }
        let isSlow = now > found.askedAt && now - found.askedAt > Self.patience
        window = isSlow ? max(1, window / 2) : min(window + 1, Self.limit)
        return found
    }
}

/// One thing that is asked about a file.
struct PendingTransfer {
    enum Question {
        case inspection
        case beginning
        case putting(Int)
        case reading(Int)
    }

    let mailbox: MailboxID
    let id: RequestID
    let question: Question
    let consultation: Vault.ConsultationNumber
    let file: Int64
    /// The file's, when it was asked.
    let attempt: Int
    /// Unix milliseconds.
    let askedAt: UInt64

    init(
        _ request: Request, file: Int64, attempt: Int,
        of consultation: Vault.ConsultationNumber, at now: UInt64
    ) {
        mailbox = request.mailbox
        id = request.id
        question =
            switch request.operation {
            case .putPiece(let piece, _): .putting(Int(piece.index))
            case .readPiece(let piece): .reading(Int(piece.index))
            case .beginBlob: .beginning
            default: .inspection
            }
        self.consultation = consultation
        self.file = file
        self.attempt = attempt
        askedAt = now
    }
}
