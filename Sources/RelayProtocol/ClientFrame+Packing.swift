extension ClientFrame {
    /// Puts acknowledgements, and behind them requests, into as few frames as a relay takes.
    ///
    /// - Parameter limit: octets of one frame, as the relay told; what is larger by itself is
    ///   left to the relay to refuse.
    public static func pack(
        _ acknowledgements: [Acknowledgement], _ requests: [Request], frameByteCount limit: Int
    ) -> [[UInt8]] {
        var frames: [[UInt8]] = []
        var frame: [UInt8] = []
        var fields = 0
        // The octets of a frame are those of its parts, one behind the other.
        func add(_ part: ClientFrame) {
            let octets = part.encoded()
            let count = FrameShape.fieldCount(octets, .clientFrame) ?? 0
            if !frame.isEmpty,
                frame.count + octets.count > limit
                    || fields + count > ProtocolConstants.frameFields
            {
                frames.append(frame)
                frame = []
                fields = 0
            }
            frame += octets
            fields += count
        }
        for item in acknowledgements {
            for start in stride(from: 0, to: item.deliveries.count, by: idsTogether) {
                let end = min(start + idsTogether, item.deliveries.count)
                add(
                    ClientFrame(acknowledgements: [
                        Acknowledgement(
                            mailbox: item.mailbox, deliveries: Array(item.deliveries[start..<end]))
                    ]))
            }
        }
        for request in requests { add(ClientFrame(requests: [request])) }
        if !frame.isEmpty { frames.append(frame) }
        return frames
    }

    /// Acknowledged ids that aren't put apart.
    private static let idsTogether = 1_000
}
