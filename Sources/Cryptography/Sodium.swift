internal import CSodium

/// The one place where libsodium is made ready; every wrapper touches it before its first call.
enum Sodium {
    /// Whether the library started. A process without it can do nothing safe and ends.
    static let ready: Void = {
        precondition(sodium_init() >= 0, "libsodium could not be initialised")
    }()
}
