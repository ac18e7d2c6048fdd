import ArgumentParser
import Consultations
import Foundation
import Terminal

struct SaveCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "save", abstract: "Save a file that a message brought.",
        discussion: """
            The message is named by its number in 'curtain read'. What isn't here yet is fetched \
            first. Nothing is ever overwritten. A saved file is yours: it isn't erased with the \
            consultation.
            """)

    @OptionGroup var consultation: ConsultationArgument

    @Argument(help: ArgumentHelp("The message's number.", valueName: "n"))
    var number: Int64

    @Argument(
        help: "Where to put it: a new file, or a folder. By default here, under its own name.",
        completion: .file())
    var path: String?

    @OptionGroup var session: SessionOptions
    @OptionGroup var output: OutputOptions

    private struct Row: Encodable {
        let path: String
        let file: String
        let mediaType: String
        let fileBytes: Int
    }

    func run() async throws {
        let output = output.output
        try await session.withDevice(showing: output) { device in
            let found = try await device.consultation(matching: consultation.id)
            if let closed = found.closedFailure { throw closed }
            var file = try await device.file(number, of: found.id)
            if file.isComing {
                let progress = await ProgressLine(of: device, in: found.id)
                file = try await device.fetched(number, of: found.id)
                progress.end()
            }
            let path = try await device.save(number, file, of: found.id, to: path)
            if output.isJSON {
                try output.json(
                    Row(
                        path: path, file: file.name, mediaType: file.mediaType,
                        fileBytes: file.byteCount))
            } else {
                try output.sentence("saved as \(Sanitiser.line(path))")
            }
        }
    }
}

extension Device {
    /// Saves a file where the person wants it, or here under a name made of its own.
    ///
    /// - Returns: where it lies.
    func save(
        _ number: Int64, _ file: FileDetail, of id: ConsultationID, to wanted: String?
    ) throws -> String {
        let place = SavePlace(file.name, wanted: wanted)
        for path in place.paths {
            do {
                try saveFile(number, of: id, to: path)
                return path
            } catch {
                guard error == .file(.exists) else { throw error }
            }
        }
        throw Failure(
            .cannotCreate, "\(Sanitiser.line(place.first)) exists already; nothing is overwritten",
            advice: "name another")
    }
}

/// Where a file is saved, without ever overwriting anything.
struct SavePlace: Equatable {
    private let folder: String
    private let name: String
    /// A name that the person gave is taken as it is.
    private let isGiven: Bool

    /// Numbers that are tried behind a name that is taken.
    private static let tries = 99

    init(_ name: String, wanted: String?) {
        var isFolder: ObjCBool = false
        if let wanted {
            let isThere = unsafe FileManager.default.fileExists(
                atPath: wanted, isDirectory: &isFolder)
            guard isThere && isFolder.boolValue || wanted.hasSuffix("/") else {
                (folder, self.name, isGiven) = ("", wanted, true)
                return
            }
            folder = wanted.hasSuffix("/") ? wanted : wanted + "/"
        } else {
            folder = ""
        }
        self.name = Self.harmless(name)
        isGiven = false
    }

    var first: String { folder + name }

    /// In the order in which they are tried: `scan.pdf`, `scan (2).pdf`, …
    var paths: [String] {
        guard !isGiven else { return [first] }
        let dot = name.dropFirst().lastIndex(of: ".") ?? name.endIndex
        return [first]
            + (2...Self.tries).map { "\(folder)\(name[..<dot]) (\($0))\(name[dot...])" }
    }

    /// A peer's name for a file as a name in one folder: no path, nothing hidden, nothing that a
    /// terminal obeys or nobody can see, not too long.
    ///
    /// What nobody can see goes first, and the rest is looked at scalar by scalar: with a joiner or
    /// a combining mark behind it a `/` is another Character, and to the system still a `/`.
    static func harmless(_ name: String) -> String {
        let visible = Array(name.unicodeScalars).filter { !isInvisible($0) }
        var last = visible.split { $0 == "/" || $0 == "\\" }.last ?? []
        last = last.drop { isMark($0) || ".-~".unicodeScalars.contains($0) || isSpace($0) }
        while let end = last.last, end == "." || isSpace(end) { last.removeLast() }
        var name = String(String.UnicodeScalarView(last))
        let dot = name.lastIndex(of: ".") ?? name.endIndex
        let suffix = name[dot...].utf8.count <= 20 ? String(name[dot...]) : ""
        var stem = String(name.dropLast(suffix.count))
        while stem.utf8.count + suffix.utf8.count > 200 { stem.removeLast() }
        name = stem + suffix
        // Whatever was overlooked above: nothing but a name in one folder leaves here.
        guard let first = name.utf8.first, !".-~".utf8.contains(first),
            !name.utf8.contains(where: { "/\\".utf8.contains($0) })
        else { return "file" }
        return name
    }

    private static func isInvisible(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator,
            .paragraphSeparator:
            true
        default: false
        }
    }

    private static func isMark(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .nonspacingMark, .spacingMark, .enclosingMark: true
        default: false
        }
    }

    private static func isSpace(_ scalar: Unicode.Scalar) -> Bool { scalar.properties.isWhitespace }
}

/// A line on the person's terminal that says how far files are; nothing where there is no terminal.
struct ProgressLine {
    private let watching: Task<Void, Never>?

    init(of device: Device, in id: ConsultationID) async {
        guard Diagnostic.isTerminal else {
            watching = nil
            return
        }
        let events = await device.events()
        watching = Task {
            for await event in events {
                guard !Task.isCancelled else { return }
                if case .transfer(id, let transfer) = event {
                    Diagnostic.progress(transfer.words)
                }
            }
        }
    }

    /// Takes the line away.
    func end() {
        guard let watching else { return }
        watching.cancel()
        Diagnostic.progress("")
    }
}

extension Transfer {
    /// How far it is.
    var words: String { "\(FileName.cut(name)) \(Int(fraction * 100)) %" }
}

/// Octets and files as people read them.
enum SizeText {
    static func files(_ count: Int) -> String { count == 1 ? "a file" : "\(count) files" }

    static func text(_ byteCount: Int) -> String {
        let units = ["KiB", "MiB", "GiB"]
        guard byteCount >= 1_024 else { return "\(byteCount) octets" }
        var value = Double(byteCount) / 1_024
        var unit = 0
        while value >= 1_024, unit < units.count - 1 {
            value /= 1_024
            unit += 1
        }
        return String(format: value < 10 ? "%.1f " : "%.0f ", value) + units[unit]
    }
}
