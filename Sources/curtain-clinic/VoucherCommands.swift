import ArgumentParser
import Clinic
import Credentials
import Foundation
import Terminal

struct VouchersCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "vouchers", abstract: "List what was issued, or withdraw a voucher.",
        discussion: "A withdrawal counts for others with the next 'curtain-clinic crl'.")

    @OptionGroup var home: HomeOptions
    @Option(help: ArgumentHelp("Withdraw this voucher.", valueName: "serial")) var revoke: String?
    @OptionGroup var output: OutputOptions

    func run() throws {
        let clinic = try home.open()
        let output = output.output
        if let revoke {
            let withdrawal = try clinic.revokeVoucher(revoke, at: Date())
            return try RevokeCommand.show(withdrawal, on: output)
        }
        let now = Date()
        var table = Table(["SERIAL", "ROLE", "STATE", "UNTIL", "NAME"])
        for voucher in clinic.vouchers {
            let withdrawal = clinic.withdrawal(of: voucher.serial)
            let state =
                withdrawal != nil ? "withdrawn" : voucher.expires < now ? "expired" : "valid"
            if output.isJSON {
                try output.json(Row(voucher, state: state, withdrawal: withdrawal))
            }
            table.add([
                String(voucher.serial.prefix(12)), voucher.role, state,
                TimeText.day(voucher.expires), Sanitiser.line(voucher.name),
            ])
        }
        if !output.isJSON { try output.table(table) }
    }

    private struct Row: Encodable {
        let serial: String
        let role: String
        let name: String
        let born: String?
        let reference: String?
        let issued: Date
        let joinBefore: Date
        let expires: Date
        let state: String
        let withdrawn: Date?

        init(_ voucher: IssuedVoucher, state: String, withdrawal: Withdrawal?) {
            serial = voucher.serial
            role = voucher.role
            name = voucher.name
            born = voucher.born.isEmpty ? nil : voucher.born
            reference = voucher.reference.isEmpty ? nil : voucher.reference
            issued = voucher.issued
            joinBefore = voucher.joinBefore
            expires = voucher.expires
            self.state = state
            withdrawn = withdrawal?.date
        }
    }
}
