import Vault

extension Engine {
    /// Removes what a process that ended had begun to take in. What a full disk doesn't let go
    /// stays until the next start, and never leaves.
    func dropUnreadFiles(at now: UInt64) throws(DeviceError) {
        guard state.consultations.values.contains(where: \.isTakingFiles) else { return }
        do throws(DeviceError) {
            while try perform(at: now, { try $0.dropUnreadPieces() }) {}
        } catch {
            guard error == .vault(.diskFull) else { throw error }
        }
    }
}
