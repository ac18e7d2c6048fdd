import RelayCore
package import RelayProtocol

/// Turns what a batch sends over one connection into few frames of bounded size.
package enum FramePacker {
    /// Octets of content after which a new frame begins; a frame has at most this, or one part.
    ///
    /// At least 16 octets are counted for each field, so that a frame of this size has no more
    /// fields than it may have (`ProtocolConstants.frameFields`).
    package static let target = 256 << 10
    /// What a part adds besides its content, roughly: at most ten fields.
    private static let overhead = 160

    /// Octets that a frame takes, roughly; none for an empty one.
    static func byteCount(of frame: RelayFrame) -> Int {
        frame.deliveries.reduce(0) { $0 + $1.content.count + overhead }
            + frame.replies.reduce(0) { $0 + size(of: $1) }
            + (frame.notices.count + (frame.challenge == nil ? 0 : 1)) * overhead
    }

    /// - Parameter target: less makes more frames.
    /// - Returns: none for an empty frame.
    package static func encode(_ frame: RelayFrame, target: Int = target) -> [[UInt8]] {
        let total = byteCount(of: frame)
        guard total > 0 else { return [] }
        guard total > target else { return [frame.encoded()] }

        var frames: [[UInt8]] = []
        var part = RelayFrame(challenge: frame.challenge)
        var filled = 0
        func flushIfFull(_ next: Int) {
            guard filled > 0, filled + next > target else { return }
            frames.append(part.encoded())
            part = RelayFrame()
            filled = 0
        }
        for reply in frame.replies {
            flushIfFull(size(of: reply))
            part.replies.append(reply)
            filled += size(of: reply)
        }
        for delivery in frame.deliveries {
            flushIfFull(delivery.content.count + overhead)
            part.deliveries.append(delivery)
            filled += delivery.content.count + overhead
        }
        for notice in frame.notices {
            flushIfFull(overhead)
            part.notices.append(notice)
            filled += overhead
        }
        frames.append(part.encoded())
        return frames
    }

    private static func size(of reply: Reply) -> Int {
        switch reply.outcome {
        case .tickets(let tickets): overhead + tickets.count * 60
        case .keyPackage(let sealed, _): overhead + sealed.count
        case .erased(let receipts): overhead + receipts.count * 150
        case .piece(let content): overhead + content.count
        case .groupState(let state): overhead + state.members.count * 80
        default: overhead
        }
    }
}
