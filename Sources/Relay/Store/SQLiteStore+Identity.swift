import Cryptography
import RelayCore
import RelayProtocol

/// What of the relay's identity is as old as its store.
extension SQLiteStore {
    /// Who the relay is; draws incarnation and delivery key if the store is new.
    func identity(
        _ keys: DataFolder.Keys, clinicRoot: VerifyingKey
    ) throws(StoreError) -> RelayIdentity {
        try begin()
        let incarnation: [UInt8]
        let deliveryKey: [UInt8]
        if let stored = try setting(SettingRow.incarnation),
            let key = try setting(SettingRow.deliveryKey)
        {
            (incarnation, deliveryKey) = (stored, key)
        } else {
            incarnation = Random.bytes(ProtocolConstants.incarnationByteCount)
            deliveryKey = Random.bytes(32)
            try set(SettingRow.incarnation, to: incarnation)
            try set(SettingRow.deliveryKey, to: deliveryKey)
        }
        try commit()
        let floor = try setting(SettingRow.tokenFloor)
        return RelayIdentity(
            identity: keys.identity, ticketKey: keys.ticketKey,
            deliveryKey: SecretBytes(deliveryKey), incarnation: incarnation,
            clinicRoot: clinicRoot, tokenFloor: floor.map(UInt64.init(bigEndianOctets:)) ?? 0)
    }
}
