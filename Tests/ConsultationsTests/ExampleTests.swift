import Consultations
import Credentials
import Cryptography
import Foundation
import TestSupport
import Testing

// example
/// A patient's whole consultation: joins, asks, answers what the doctor writes, and returns it
/// when the relay has erased everything.
func consult(
    invitation: String, card: String, home: String, passphrase: SecretBytes
) async throws -> [String] {
    guard case .open(let opened) = try InvitationText(invitation) else { return [] }
    let device = try await Device.join(opened, home: home, passphrase: passphrase)
    let events = await device.events()
    await device.connect()
    _ = try await device.request(try Card(card), at: .now, minutes: 20, reason: "Cough")
    var heard: [String] = []
    for await event in events {
        switch event {
        case .message(let id, let message):
            guard case .text(let words) = message.body, !message.isMine else { continue }
            heard.append(words)
            _ = try await device.send("Thank you.", to: id)
        case .receipt:
            await device.close()
            return heard
        default: continue
        }
    }
    return heard
}
// end of the example

struct ExampleTests {
    @Test(.timeLimit(.minutes(4)))
    func `the documented example runs`() async throws {
        let place = try Place()
        let doctor = try await place.doctor()
        try await doctor.sync()
        let (invitation, card) = (
            try place.invitation(.patient, "Paul Patient").text(), try await doctor.card().text
        )
        let (home, passphrase) = (place.folder.file("example"), place.passphrase)
        async let heard = consult(
            invitation: invitation, card: card, home: home, passphrase: passphrase)

        await doctor.connect()
        #expect(await eventually { try await !doctor.consultations().isEmpty })
        let asked = try #require(try await doctor.consultations().first)
        try await doctor.accept(asked.id)
        _ = try await doctor.send("Drink tea.", to: asked.id)
        #expect(
            await eventually {
                try await doctor.messages(of: asked.id).contains {
                    $0.body == .text("Thank you.")
                }
            })
        #expect(try await doctor.end(asked.id, wait: .seconds(120)) != nil)
        #expect(try await heard == ["Drink tea."])
        await doctor.close()
    }

    @Test func `the document shows the example that runs`() throws {
        let here = URL(filePath: #filePath)
        let source = try String(contentsOf: here, encoding: .utf8)
        let example = try #require(
            source.components(separatedBy: "// example\n").dropFirst().first?
                .components(separatedBy: "// end of the example").first)
        let document = try String(
            contentsOf: here.deletingLastPathComponent().appending(
                path: "../../Sources/Consultations/README.md"), encoding: .utf8)
        #expect(document.contains(example))
    }
}
