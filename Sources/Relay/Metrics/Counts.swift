extension Dictionary where Key: Comparable, Value == UInt64 {
    /// What has been counted since, in the order of the keys; nothing of what hasn't grown.
    func more(than before: Self) -> [(key: Key, count: UInt64)] {
        sorted { $0.key < $1.key }.compactMap { key, count in
            let old = before[key] ?? 0
            return count > old ? (key, count - old) : nil
        }
    }
}
