private import Foundation
private import RelayCore
private import WebSockets

/// What would keep a relay from starting as its settings want it: its folder, its keys, the database's
/// schema, certificates, addresses. Only looks, also while a relay runs on the folder.
public struct StartCheck: Sendable {
    /// Something that a start would fail at.
    public struct Fault: Sendable {
        /// Where the setting stands, and its name.
        public let place: String
        /// What is wrong.
        public let error: RelayError
    }

    /// All of them, in the order of the settings.
    public private(set) var faults: [Fault] = []
    /// What the operator may want to know, and no start fails at: one sentence each.
    public private(set) var remarks: [String] = []

    private let reading: SettingsReading
    private var isRelayRunning = false
    /// What the running relay says of itself.
    private var live: LiveStatus?

    /// Looks at everything that was written well, whatever else is wrong.
    public init(_ reading: SettingsReading) {
        self.reading = reading
        let settings = reading.settings
        look(at: "data", settings.dataFolder) { check, path throws(RelayError) in
            try check.lookAtFolder(path)
        }
        look(at: "clinic-root", settings.clinicRoot) { _, path throws(RelayError) in
            _ = try ClinicRoot.read(pemFile: path)
        }
        look(at: settings.listen, of: "listen")
        if settings.hasTLS, reading.isGood("tls-key"), !settings.tls.privateKeyPath.isEmpty {
            look(at: "tls-cert", settings.tls.certificatePath) { _, _ throws(RelayError) in
                if let problem = settings.tls.problem { throw .certificate(problem) }
            }
        }
        if let address = settings.metricsAddress { look(at: address, of: "metrics-listen") }
        look(at: "trail-mirror", settings.trailMirror) { _, path throws(RelayError) in
            guard let reason = PatientLook.result({ DataFolder.whyUnwritable(path) }) else {
                throw .dataFolder("the trail's mirror doesn't answer")
            }
            if let reason {
                throw .dataFolder("the trail's mirror can't be written: \(reason)")
            }
        }
    }

    private mutating func look(
        at name: String, _ path: String,
        _ look: (inout Self, String) throws(RelayError) -> Void
    ) {
        guard reading.isGood(name), !path.isEmpty else { return }
        do throws(RelayError) {
            try look(&self, path)
        } catch {
            note(name, error)
        }
    }

    private mutating func note(_ name: String, _ error: RelayError) {
        faults.append(Fault(place: reading.naming(name), error: error))
    }

    private mutating func lookAtFolder(_ path: String) throws(RelayError) {
        guard let folder = try DataFolder(whereOneIs: path) else { return lookAtDisk(of: path) }
        isRelayRunning = try folder.runningRelay() != nil
        if isRelayRunning { live = try? RelayStatus.ask(folder) }
        lookAtDisk(of: path)
        for error in folder.problems { note("data", error) }
        do throws(RelayError) {
            guard let found = try folder.schemaNumber, found < Schema.number else { return }
            remarks.append(
                """
                \(reading.naming("data")): the start brings the database from schema \(found) to \
                \(Schema.number); an older program refuses it then, so make a backup first
                """)
        } catch {
            note("data", error)
        }
    }

    /// A relay starts on a full disk, and waits.
    private mutating func lookAtDisk(of path: String) {
        var place = URL(fileURLWithPath: path)
        while unsafe access(place.path, F_OK) != 0, place.path != "/" {
            place.deleteLastPathComponent()
        }
        // One that runs knows what room there is in its database.
        guard let space = DiskSpace(at: place.path), !space.hasRoom(freed: 0), live?.isFull != false
        else { return }
        remarks.append(
            """
            \(reading.naming("data")): \(space.free >> 20) MiB are free on its disk: until there are more \
            than \(space.reserve >> 20), or as much in the database, the relay refuses what would grow, \
            and isn't ready (503)
            """)
    }

    /// Listens for a moment.
    private mutating func look(at address: SocketAddress, of name: String) {
        guard reading.isGood(name) else { return }
        let place = reading.naming(name)
        do throws(ListenError) {
            try WebSocketServer.tryListening(at: address)
        } catch {
            switch error {
            case .inUse where isOfRunningRelay(address, name):
                remarks.append("\(place): \(address) is in use by the relay that runs")
            case .notPermitted:
                remarks.append(
                    "\(place): port \(address.port) wants CAP_NET_BIND_SERVICE, which this check hasn't"
                )
            default: note(name, .listen("\(address): \(error)"))
            }
        }
    }

    /// A relay that doesn't say where it listens may listen here; one that has the port at another
    /// address of this machine gives it free, too, when it is replaced.
    private func isOfRunningRelay(_ address: SocketAddress, _ name: String) -> Bool {
        guard isRelayRunning else { return false }
        guard name == "listen",
            let running = (live?.address).flatMap(SocketAddress.init(listening:))
        else { return true }
        return running.port == address.port
    }
}
