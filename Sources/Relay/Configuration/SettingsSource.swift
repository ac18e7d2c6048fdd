/// Where settings come from: the file, over it the environment, over that the command line.
public struct SettingsSource: Sendable {
    /// The file, if there is one.
    public var file: String?
    /// The process's environment.
    public var environment: [String: String]
    /// The command line, by the settings' names.
    public var flags: [String: String]

    /// Variables of the same prefix that mean something to other programs.
    private static let foreignVariables: Set = ["CURTAIN_RELAY_CA"]
    /// The variable that names the file where no flag does.
    public static let fileVariable = "CURTAIN_RELAY_CONFIG"

    /// Puts a source together; without `file` the environment may name one.
    public init(file: String?, environment: [String: String], flags: [String: String]) {
        self.file = file ?? environment[Self.fileVariable].flatMap { $0.isEmpty ? nil : $0 }
        self.environment = environment
        self.flags = flags
    }

    /// Reads and checks everything that doesn't need another file.
    ///
    /// - Throws: all that is wrong, in the order in which it was read.
    public func load() throws(SettingsError) -> RelaySettings {
        let reading = read()
        guard reading.problems.isEmpty else { throw SettingsError(problems: reading.problems) }
        return reading.settings
    }

    /// The same for whoever wants to look at what is right beside what is wrong.
    public func read() -> SettingsReading {
        var reading = SettingsReading()
        if let file { reading.readFile(file) }
        for (variable, value) in environment.sorted(by: { $0.key < $1.key })
        where variable.hasPrefix(Setting.variablePrefix)
            && variable != Self.fileVariable && !Self.foreignVariables.contains(variable)
        {
            let name = variable.dropFirst(Setting.variablePrefix.count).lowercased()
                .replacing("_", with: "-")
            reading.take(name, value, from: .environment(variable))
        }
        for (name, value) in flags.sorted(by: { $0.key < $1.key }) {
            reading.take(name, value, from: .flag(name))
        }
        reading.compare()
        return reading
    }
}

/// All that is wrong with the settings. Fault: the operator.
public struct SettingsError: Error, Equatable, Sendable {
    /// One sentence each, with the place and what to do.
    public let problems: [String]
}
