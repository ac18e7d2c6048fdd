private import Foundation

/// What the operator's commands ask a running relay: one line of at most 64 octets.
enum ControlRequest: Equatable, Sendable {
    /// How the relay is.
    case status
    /// Copy the database into the data folder, online.
    case backup
    /// What was made of the copy is verified, or has its name, or couldn't get it.
    case backupStep(BackupStep)
    /// A restore was rehearsed.
    case rehearsed(passed: Bool)
    /// Sign the trail's head now.
    case signHead

    static let lineLimit = 64

    /// Reads a line without its end; `nil` for anything else.
    init?(_ line: some Collection<UInt8>) {
        switch String(decoding: line.prefix(Self.lineLimit + 1), as: UTF8.self) {
        case "status": self = .status
        case "backup": self = .backup
        case "rehearsed passed": self = .rehearsed(passed: true)
        case "rehearsed failed": self = .rehearsed(passed: false)
        case "sign-head": self = .signHead
        case let text:
            guard let step = BackupStep(rawValue: text) else { return nil }
            self = .backupStep(step)
        }
    }

    /// The line.
    var text: String {
        switch self {
        case .status: "status"
        case .backup: "backup"
        case .backupStep(let step): step.rawValue
        case .rehearsed(let passed): "rehearsed \(passed ? "passed" : "failed")"
        case .signHead: "sign-head"
        }
    }
}

/// The relay's answer: one line of JSON.
struct ControlReply: Codable, Equatable, Sendable {
    /// Why it couldn't be done, in words; `nil` if it was.
    var problem: String?
    /// For `status`.
    var live: LiveStatus?
    /// For `backup`: the copy, in the data folder; with a problem what there is of it.
    var copy: String?

    static let done = ControlReply()
    static func refused(_ problem: String) -> ControlReply { ControlReply(problem: problem) }

    /// One line, its end included.
    func encoded() -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let octets = (try? encoder.encode(self)) ?? Data(#"{"problem":"no memory"}"#.utf8)
        return [UInt8](octets) + [10]
    }

    init(problem: String? = nil, live: LiveStatus? = nil, copy: String? = nil) {
        self.problem = problem
        self.live = live
        self.copy = copy
    }

    /// Reads a line.
    init?(_ line: [UInt8]) {
        guard let reply = try? JSONDecoder().decode(ControlReply.self, from: Data(line)) else {
            return nil
        }
        self = reply
    }
}

/// What only a running relay knows of itself.
public struct LiveStatus: Codable, Equatable, Sendable {
    /// The program's version.
    public var version: String
    /// Where it listens.
    public var address: String
    /// Connections open now.
    public var connections: Int
    /// What is kept.
    public var store: StoreFigures
    /// Whether erasure by deadline is paused because the clock isn't trusted.
    public var isClockDoubted: Bool
    /// Whether the disk is nearly full, and what would grow refused.
    public var isFull: Bool
    /// What is wrong with the trail or its mirror, in words.
    public var troubles: [String]
    /// Where the certificate was read that it serves, if it speaks TLS itself.
    public var certificatePath: String?
    /// When that certificate expires: Unix seconds.
    public var certificateExpiry: Double?
    /// SHA-256 of its text.
    public var certificateHash: [UInt8]?
    /// The mirror of the trail.
    public var trailMirror: String?
    /// The limits in force, as `name=value`.
    public var limits: [String]
}
