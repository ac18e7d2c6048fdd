/// Reads one copy of the trail from its beginning, a file at a time.
struct TrailReader {
    /// What comes next in it.
    enum Piece: Equatable {
        case entry(TrailEntry)
        /// Octets that are no entry.
        case unreadable
    }

    private let folder: TrailFolder?
    private var segments: ArraySlice<TrailFolder.Segment>
    private var pieces: ArraySlice<Piece>
    /// Octets behind the last file's last entry, once that was read. They are no damage by
    /// themselves: what a crash has torn was never confirmed to anybody.
    private(set) var restByteCount = 0

    init(_ folder: TrailFolder) throws(RelayError) {
        self.folder = folder
        segments = try folder.segments()[...]
        pieces = []
    }

    /// Entries that stand in no file.
    init(_ entries: [TrailEntry]) {
        folder = nil
        segments = []
        pieces = entries.map { .entry($0) }[...]
    }

    /// - Throws: `.trail` if a file can't be read.
    mutating func next() throws(RelayError) -> Piece? {
        while pieces.isEmpty, let folder, let segment = segments.popFirst() {
            try take(folder.read(segment), of: segment)
        }
        return pieces.popFirst()
    }

    private mutating func take(_ content: TrailFolder.Content, of segment: TrailFolder.Segment) {
        var damages = content.damages[...]
        // A file under another's name.
        if damages.first?.entryCount != 0, let first = content.entries.first,
            first.sequence != segment.first
        {
            pieces.append(.unreadable)
        }
        for (place, entry) in content.entries.enumerated() {
            if damages.first?.entryCount == place {
                pieces.append(.unreadable)
                damages.removeFirst()
            }
            pieces.append(.entry(entry))
        }
        if segments.isEmpty {
            restByteCount = content.restByteCount
        } else if content.restByteCount > 0 || content.entries.isEmpty {
            pieces.append(.unreadable)
        }
    }
}
