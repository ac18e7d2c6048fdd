/// Why octets from the other side aren't what `protocol/relay.md` says. Fault: the sender.
public enum RelayProtocolError: Error, Equatable, Sendable {
    /// Not a Protocol Buffers message of this schema.
    case notAFrame
    /// A field has the wrong size, or a value outside its range; the field's name in `relay.proto`.
    case invalidField(String)
    /// The structure has the wrong size or carries an unknown version.
    case invalidStructure
    /// A signature doesn't verify, or the wrong key made it.
    case wrongSignature
    /// The structure was made for another relay.
    case wrongRelay
    /// The structure's time is over.
    case expired
}
