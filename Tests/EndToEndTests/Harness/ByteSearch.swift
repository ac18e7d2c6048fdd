import Foundation

/// Raw search through every file of a folder, as someone who took the disk would do it.
enum ByteSearch {
    typealias Needle = (name: String, octets: [UInt8])

    /// A needle that was found, and where.
    struct Hit: CustomStringConvertible {
        let name: String
        let file: String
        let offset: Int
        var description: String { "\(name) in \(file) at \(offset)" }
    }

    /// Every file below `folder` with its content.
    static func files(below folder: String) -> [(path: String, content: Data)] {
        let found = FileManager.default.enumerator(atPath: folder)
        return (found?.compactMap { $0 as? String } ?? []).compactMap { name in
            let path = folder + "/" + name
            return FileManager.default.contents(atPath: path).map { (path, $0) }
        }
    }

    /// The first place in each file at which each needle lies.
    static func hits(of needles: [Needle], below folder: String) -> [Hit] {
        var hits: [Hit] = []
        for file in files(below: folder) {
            for needle in needles where !needle.octets.isEmpty {
                if let range = file.content.range(of: Data(needle.octets)) {
                    hits.append(Hit(name: needle.name, file: file.path, offset: range.lowerBound))
                }
            }
        }
        return hits
    }

    static func hits(ofTexts texts: [String], below folder: String) -> [Hit] {
        hits(of: needles(of: texts), below: folder)
    }

    /// Texts in UTF-8 and in UTF-16, as a careless string type would leave them.
    static func needles(of texts: [String]) -> [Needle] {
        texts.flatMap { text in
            [
                (name: "“\(text)”", octets: Array(text.utf8)),
                (
                    name: "“\(text)” in UTF-16",
                    octets: text.utf16.flatMap { [UInt8($0 & 0xff), UInt8($0 >> 8)] }
                ),
            ]
        }
    }
}
