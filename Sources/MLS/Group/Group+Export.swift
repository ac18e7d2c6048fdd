public import Cryptography

/// Secrets for other protocols, and their end (RFC 9420 §8.5, and §4.4 of the MLS extensions draft).
extension Group {
    /// Derives a secret for another protocol from this epoch (RFC 9420 §8.5).
    ///
    /// It can be derived again as long as the epoch lasts, unless its label was destroyed.
    ///
    /// - Parameters:
    ///   - label: names the use, different for each protocol.
    ///   - context: what else the secret is for.
    ///   - count: octets wanted, 1...(255 · Nh).
    /// - Returns: the same octets for every member of the epoch and for nobody else.
    /// - Throws: `.misuse(.exporterDestroyed)` if the label was not kept.
    public func export(
        label: String, context: [UInt8], count: Int
    ) throws(MLSError) -> SecretBytes {
        guard (1...255 * algorithms.hashByteCount).contains(count) else {
            throw .misuse(.exportTooLong)
        }
        guard
            let secret = current.secrets.exporter.export(
                label: label, context: context, count: count, algorithms: algorithms)
        else { throw .misuse(.exporterDestroyed) }
        return secret
    }

    /// Destroys the epoch's exporter secret and keeps the secrets of these labels, as far as they are
    /// still there. ``GroupPolicy/exporterLabels`` does it at the start of each epoch.
    public mutating func restrictExporter(to labels: Set<String>) {
        current.secrets.exporter.restrict(to: labels, algorithms: algorithms)
        changedKeys.insert(.exporter(epoch: epoch))
    }

    /// Destroys a label's secret: this client can't export it again in this epoch.
    ///
    /// - Throws: `.misuse(.exporterUnrestricted)` as long as the exporter secret is there, from which
    ///   the label's follows.
    public mutating func destroyExporter(label: String) throws(MLSError) {
        let exporter = current.secrets.exporter
        guard exporter.secret == nil else { throw .misuse(.exporterUnrestricted) }
        restrictExporter(to: Set(exporter.labels.keys).subtracting([label]))
    }

    /// Gives out a component's secret of this epoch, `Nh` octets, and forgets it (MLS extensions draft §4.4).
    ///
    /// Nothing that the group keeps leads back to it: with the returned secret goes the last trace.
    ///
    /// - Returns: the same octets for every member of the epoch and for nobody else.
    /// - Throws: `.misuse(.exporterDestroyed)` the second time.
    public mutating func exportOnce(for component: ComponentID) throws(MLSError) -> SecretBytes {
        guard let secret = current.secrets.exporter.take(component, algorithms: algorithms) else {
            throw .misuse(.exporterDestroyed)
        }
        changedKeys.insert(.exporter(epoch: epoch))
        return secret
    }

}

extension EpochState {
    /// Keeps of a new epoch's exporter what policy wants.
    mutating func applyExporterPolicy(_ policy: GroupPolicy) {
        guard let labels = policy.exporterLabels else { return }
        secrets.exporter.restrict(to: labels, algorithms: algorithms)
    }
}
