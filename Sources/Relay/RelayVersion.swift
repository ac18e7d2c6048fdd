/// The program's version.
public enum RelayVersion {
    /// As `curtain-relay --version` says it.
    public static let current = "0.1.0"
}
