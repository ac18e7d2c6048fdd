public import RelayProtocol

/// Which of a mailbox's requests were answered, and how: one octet for each id above the highest
/// confirmed one, so that the usual answer costs no row of its own.
public struct RequestWindow: Equatable, Sendable {
    /// How a request was answered.
    public enum Answer: Equatable, Sendable {
        /// With `.done`.
        case done
        /// With more, kept as an answer of its own.
        case stored
        /// With the state of the shelf, which is read again.
        case shelf
        /// With a final refusal.
        case refused(Refusal)
    }

    /// What an id means at this moment.
    public enum Standing: Equatable, Sendable {
        /// Confirmed already; its answer is gone.
        case forgotten
        /// Answered like this.
        case answered(Answer)
        /// Free to be carried out.
        case free
        /// Too far above the highest confirmed one.
        case beyond
    }

    /// The highest id answered so far.
    public private(set) var highest: RequestID
    /// Every answer up to this id is on the device.
    public private(set) var confirmed: RequestID
    /// One octet for each id of the window, at the place `id % 256`.
    public private(set) var codes: [UInt8]

    private static let width = ProtocolConstants.requestWindow

    /// No request yet.
    public init() {
        highest = .opening
        confirmed = .opening
        codes = [UInt8](repeating: 0, count: Int(Self.width))
    }

    /// Takes up a stored window; `nil` if it can't be one.
    public init?(highest: RequestID, confirmed: RequestID, codes: [UInt8]) {
        guard codes.count == Int(Self.width) else { return nil }
        self.highest = highest
        self.confirmed = confirmed
        self.codes = codes
    }

    /// What an id means.
    public func standing(of id: RequestID) -> Standing {
        guard id > confirmed else { return .forgotten }
        guard id.rawValue - confirmed.rawValue <= Self.width else { return .beyond }
        switch codes[place(id.rawValue)] {
        case 0: return .free
        case 1: return .answered(.done)
        case 2: return .answered(.stored)
        case 3: return .answered(.shelf)
        case let code: return .answered(.refused(Refusal(rawValue: code - Self.refusalBase)))
        }
    }

    /// Notes the answer to an id that was `.free`.
    public mutating func record(_ answer: Answer, for id: RequestID) {
        guard standing(of: id) == .free else { return }
        switch answer {
        case .done: codes[place(id.rawValue)] = 1
        case .stored: codes[place(id.rawValue)] = 2
        case .shelf: codes[place(id.rawValue)] = 3
        case .refused(let refusal):
            let (code, overflow) = refusal.rawValue.addingReportingOverflow(Self.refusalBase)
            codes[place(id.rawValue)] = overflow ? .max : code
        }
        highest = max(highest, id)
    }

    /// Whether an answer of its own is kept for an id that `confirm(through:)` would confirm.
    public func hasStored(through id: RequestID) -> Bool {
        guard id > confirmed else { return false }
        let count = min(id.rawValue - confirmed.rawValue, Self.width)
        return (1...count).contains { codes[place(confirmed.rawValue &+ $0)] == 2 }
    }

    /// The device has every answer up to `id`. Returns whether a stored answer is among them.
    public mutating func confirm(through id: RequestID) -> Bool {
        guard id > confirmed else { return false }
        var hadStored = false
        let count = min(id.rawValue - confirmed.rawValue, Self.width)
        for offset in 1...count {
            let place = place(confirmed.rawValue &+ offset)
            if codes[place] == 2 { hadStored = true }
            codes[place] = 0
        }
        confirmed = id
        return hadStored
    }

    private static let refusalBase: UInt8 = 16

    private func place(_ id: UInt64) -> Int { Int(id % Self.width) }
}
