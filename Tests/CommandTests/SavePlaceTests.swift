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
