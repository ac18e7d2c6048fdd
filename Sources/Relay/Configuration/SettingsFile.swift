extension RelaySettings {
    /// A file of settings with all of them, as they are here.
    public var file: String {
        var lines = ["# Settings of curtain-relay serve. What is struck has its default."]
        for setting in Setting.all where !setting.isHidden {
            let value = setting.text(in: self)
            lines.append("")
            lines.append("# \(setting.meaning)")
            lines.append(
                "# \(setting.takes)\(setting.isReloadable ? "; SIGHUP brings it into force" : "")")
            lines.append("\(setting.name): \(Self.quoted(value))")
        }
        return lines.joined(separator: "\n")
    }

    /// YAML takes some plain words for something else than text.
    private static func quoted(_ value: String) -> String {
        let isPlain =
            value.first.map { $0.isLetter || $0.isNumber || $0 == "/" } == true
            && !value.contains(": ") && !value.contains(" #") && !value.hasSuffix(":")
        return isPlain ? value : "'\(value.replacing("'", with: "''"))'"
    }
}
