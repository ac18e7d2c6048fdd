import Foundation
import GRDB
import TestSupport
import Testing

@testable import Vault

@Suite struct `Schema dump` {
    @Test func `the tables are those of the specification`() throws {
        let vault = try Home().create()
        _ = try vault.write { try $0.createConsultation() }
        let rows = try vault.queue.writeWithoutTransaction {
            try $0.rows("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name")
        }
        let statements = rows.compactMap { row -> String? in
            if case .string(let sql) = row[0].storage { sql + ";" } else { nil }
        }
        let dump =
            ([
                "PRAGMA application_id = \(Schema.applicationID);",
                "PRAGMA user_version = \(Schema.version);",
            ] + statements)
            .joined(separator: "\n") + "\n"
        let file = URL(fileURLWithPath: #filePath)
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
            .appendingPathComponent("protocol/vault.sql")
        let committed =
            try String(contentsOf: file, encoding: .utf8)
            .split(separator: "\n").filter { !$0.hasPrefix("--") }.joined(separator: "\n") + "\n"
        #expect(dump == committed)
    }
}
