import RelayProtocol
import Testing

@testable import Consultations

struct RefusalTests {
    @Test func `a relay that refuses for now is asked again, and the person told once`()
        async throws
    {
        let world = try World()
        let (patient, doctor) = try await world.open()
        world.alter(answersTo: patient) { outcome in
            outcome == .done ? .refused(.mailboxFull, retryAfterSeconds: 60) : outcome
        }
        try patient.say("bald")
        try world.settle()
        for _ in 0..<3 { try world.pass(seconds: 60) }
        let told = patient.events.compactMap { event -> Trouble? in
            if case .trouble(_, let trouble) = event { trouble } else { nil }
        }
        #expect(told == [.delayed(.mailboxFull, seconds: 60)])
        let waiting = try patient.messages().last
        #expect(waiting?.state == .waiting)
        world.tamper = nil
        try world.pass(seconds: 60)
        #expect(try doctor.texts() == ["bald"])
        let sent = try patient.messages().last
        #expect(sent?.state != .waiting)
    }
}
