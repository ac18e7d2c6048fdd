import Foundation
import Glibc
import Testing

@Suite struct `Exit statuses and standard streams` {
    @Test(.timeLimit(.minutes(10)))
    func `each refusal has the status that scripts were promised`() async throws {
        try await Stage.with { stage in
            let doctor = try await stage.doctor("Dr. Ada Weiss")
            let patient = try await stage.patient("Jonas Feld")
            let id = try await stage.consultation(of: patient, with: doctor)

            // 64: usage.
            try await patient.curtain("sendd", exits: 64)
            try await patient.curtain("send", exits: 64)
            try await patient.curtain(
                "request", doctor.home + ".card", "--at", "some day", exits: 64)
            let unprotected = try await stage.clinic(
                [
                    "invite", "--home", stage.clinicFolder, "--relay", "ws://relay.example",
                    "--relay-key", stage.relayKey(), "--role", "patient", "--name", "Mia Brandt",
                ], exits: 64)
            #expect(unprotected.output.isEmpty)

            // 66: no such thing.
            try await patient.curtain("send", "zzzzzzzz", "hello", exits: 66)
            try await patient.curtain("read", "zzzzzzzz", exits: 66)
            try await patient.curtain("rx", "show", "zzzzzzzz", exits: 66)
            let stranger = try Person("Nobody", on: stage, folder: "nobody")
            try await stranger.curtain("me", exits: 66)

            // 77: wrong passphrase; a passphrase file that others can read.
            let thief = try Person(copyOf: patient, folder: "thief")
            try stage.writeSecret("a guess", to: thief.passphraseFile)
            let refused = try await thief.curtain("consultations", exits: 77)
            #expect(refused.errors.hasPrefix("curtain: "))
            #expect(refused.output.isEmpty)
            try stage.writeSecret("passphrase of Jonas Feld", to: thief.passphraseFile)
            try FileManager.default.setAttributes(
                [.posixPermissions: 0o644], ofItemAtPath: thief.passphraseFile)
            try await thief.curtain("consultations", exits: 77)

            // 77: not this role's to do.
            try await patient.curtain("accept", id, exits: 77)
            try await patient.curtain("card", exits: 77)

            // 73: a vault is there already; an output file too.
            let again = try await stage.invitation(role: "patient", name: "Jonas Feld")
            try await patient.curtain("join", "-", input: [again], exits: 73)

            // 65: data that isn't what it should be.
            let other = try Person("Other", on: stage, folder: "other")
            try await other.curtain("join", "-", input: ["curtain:AAAA"], exits: 65)
            try Data("not a prescription".utf8)
                .write(to: URL(fileURLWithPath: stage.folder + "/no.jws"))
            try await patient.curtain(
                "rx", "verify", stage.folder + "/no.jws", "--root", stage.rootFile, exits: 65)

            // An invitation works once.
            let once = try await stage.invitation(role: "patient", name: "Mia Brandt")
            let first = try Person("Mia Brandt", on: stage, folder: "mia")
            try await first.curtain("join", "-", input: [once])
            let second = try Person("Mia Brandt", on: stage, folder: "mia-again")
            try await second.curtain("join", "-", input: [once], exits: 77)

            // 75, then 0: the relay is away; what was written waits.
            try await stage.stopRelay()
            let waiting = try await patient.curtain("send", id, "later", exits: 75)
            #expect(waiting.errors.hasPrefix("curtain: "))
            try await patient.curtain("sync", exits: 69)
            try await stage.startRelay()
            try await patient.curtain("sync")
            try await doctor.curtain("sync")
            #expect(try await doctor.texts(id) == ["later"])
        }
    }

    @Test(.timeLimit(.minutes(8)))
    func `a second process is told who holds the vault`() async throws {
        try await Stage.with { stage in
            let patient = try await stage.patient("Jonas Feld")
            let holder = try await patient.hold(["sync", "--wait", "200"])
            let refused = try await patient.curtain("me", exits: 75)
            #expect(refused.errors.contains("\(holder.pid)"))
            holder.signal(SIGTERM)
            try await holder.wait()
            try await patient.curtain("me")
        }
    }

    @Test(.timeLimit(.minutes(8)))
    func `two short commands at one moment wait for each other`() async throws {
        try await Stage.with { stage in
            let patient = try await stage.patient("Jonas Feld")
            // This test stands for the first of them, so that its end is exact.
            let path = patient.home + "/vault.lock"
            let lock = unsafe open(path, O_RDWR | O_CLOEXEC)
            try #require(flock(lock, LOCK_EX | LOCK_NB) == 0)
            let watch = inotify_init1(Int32(IN_NONBLOCK | IN_CLOEXEC))
            defer { close(watch) }
            try #require(unsafe inotify_add_watch(watch, path, UInt32(IN_CLOSE)) >= 0)
            let second = try patient.start("me")
            try await eventually("the second has tried in vain", every: .milliseconds(2)) {
                var waiting = pollfd(fd: watch, events: Int16(POLLIN), revents: 0)
                return unsafe poll(&waiting, 1, 0) == 1
            }
            close(lock)
            #expect(try await second.wait() == .exited(0))
        }
    }

    @Test(.timeLimit(.minutes(10)), arguments: [SIGINT, SIGTERM])
    func `a signal ends what runs and leaves nothing half done`(signal: Int32) async throws {
        try await Stage.with { stage in
            let doctor = try await stage.doctor("Dr. Ada Weiss")
            let patient = try await stage.patient("Jonas Feld")
            let id = try await stage.consultation(of: patient, with: doctor)

            for arguments in [
                ["chat", id], ["read", id, "--follow", "--json"], ["sync", "--wait", "200"],
            ] {
                let child = try await patient.hold(arguments)
                // In its start or at work: both must end well.
                try await Task.sleep(for: .milliseconds(Int.random(in: 0...500)))
                child.signal(signal)
                let ending = try await child.wait()
                #expect(
                    ending == .exited(0) || ending == .killed(signal: signal)
                        || ending == .exited(128 + signal),
                    "\(arguments): \(ending)\n\(child.output)\n\(child.errors)")
                try await patient.curtain("me")
            }
            try await patient.curtain("send", id, "still here")
            try await doctor.curtain("sync")
            #expect(try await doctor.texts(id) == ["still here"])
        }
    }
}
