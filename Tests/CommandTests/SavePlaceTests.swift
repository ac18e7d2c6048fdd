import Foundation
import Testing

@testable import curtain

struct SavePlaceTests {
    @Test(arguments: [
        ("scan.pdf", "scan.pdf"), ("/etc/passwd", "passwd"), ("..", "file"), ("", "file"),
        ("../../x.sh", "x.sh"), (".bashrc", "bashrc"), ("-rf", "rf"), ("~root", "root"),
        ("C:\\evil.exe", "evil.exe"), ("a\u{202E}fdp.exe", "afdp.exe"), ("a\n\u{1B}[2Jb", "a[2Jb"),
        ("a/", "a"), ("x. . ", "x"), ("\u{0}", "file"),
        ("Kniebefund Müller 日本.pdf", "Kniebefund Müller 日本.pdf"),
    ])
    func `a peer's name for a file becomes a harmless one`(name: String, saved: String) {
        #expect(SavePlace.harmless(name) == saved)
        #expect(SavePlace(name, wanted: nil).first == saved)
    }

    @Test(arguments: [
        ("/\u{200D}home/\u{200D}bob/\u{200D}.ssh/\u{200D}authorized_keys", "authorized_keys"),
        ("/\u{200C}etc/\u{200C}passwd", "passwd"), ("/\u{301}etc/\u{301}passwd", "passwd"),
        ("/\u{E0041}etc/\u{E0041}passwd", "passwd"), ("C:\\\u{200D}x\\\u{301}y.exe", "y.exe"),
        (".\u{301}bashrc", "bashrc"), ("-\u{301}rf", "rf"), ("~\u{200D}root", "root"),
        (".\u{200D}.\u{200D}/\u{200D}", "file"), ("a\u{301}.pdf", "á.pdf"),
    ])
    func `no mark or joiner makes a name a path`(name: String, saved: String) {
        #expect(SavePlace.harmless(name) == saved)
    }

    @Test(arguments: ["\u{200D}", "\u{200C}", "\u{301}", "\u{E0041}", "\u{FE0F}", "\u{20DD}"])
    func `whatever stands around a separator, one name in one folder is left`(joiner: String) {
        for separator in ["/", "\\", ".", "..", "../", "-", "~", "~/", " ", "\r\n"] {
            let part = joiner + separator + joiner
            for name in [part, part + "x", "x" + part, "x" + part + "y", part + "x" + part + part] {
                let saved = SavePlace.harmless(name).utf8
                #expect(!saved.contains { "/\\\0".utf8.contains($0) }, "\(name.debugDescription)")
                #expect(saved.first.map { !".-~".utf8.contains($0) } == true)
            }
        }
    }

    @Test func `a name whose stem is one character too long to keep isn't left hidden`() {
        let name = "a" + String(repeating: "\u{301}", count: 120) + ".pdf"
        #expect(SavePlace.harmless(name) == "file")
    }

    @Test func `a long name is cut, its ending isn't`() {
        let name = SavePlace.harmless(String(repeating: "ä", count: 300) + ".pdf")
        #expect(name.utf8.count <= 200)
        #expect(name.hasSuffix("ä.pdf"))
    }

    @Test func `a name of one's own is taken as it is, a folder gets the peer's`() {
        #expect(SavePlace("a.pdf", wanted: "/tmp/x/b").paths == ["/tmp/x/b"])
        #expect(SavePlace("a.pdf", wanted: "/tmp").first == "/tmp/a.pdf")
        #expect(SavePlace("a.pdf", wanted: "/nowhere/").first == "/nowhere/a.pdf")
        #expect(
            Array(SavePlace("a.tar.gz", wanted: nil).paths.prefix(2)) == [
                "a.tar.gz", "a.tar (2).gz",
            ])
        #expect(SavePlace("readme", wanted: nil).paths[1] == "readme (2)")
    }

    @Test func `sizes are told as people read them`() {
        #expect(SizeText.text(0) == "0 octets")
        #expect(SizeText.text(1_023) == "1023 octets")
        #expect(SizeText.text(1_536) == "1.5 KiB")
        #expect(SizeText.text(3 << 20) == "3.0 MiB")
        #expect(SizeText.text(32 << 20) == "32 MiB")
    }
}
