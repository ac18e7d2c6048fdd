import FuzzTargets
import Glibc

// libFuzzer's main is in its library. `CURTAIN_FUZZ_TARGET` says which door to try; with
// `CURTAIN_FUZZ_SEEDS`, a folder, the target's own seeds are written there first.

private let target: FuzzTarget = {
    guard let name = unsafe getenv("CURTAIN_FUZZ_TARGET"),
        let target = FuzzTarget(rawValue: unsafe String(cString: name))
    else { fatalError("CURTAIN_FUZZ_TARGET must be one of \(FuzzTarget.allCases)") }
    return target
}()

/// Called once before the first input.
@_cdecl("LLVMFuzzerInitialize")
public func initialize(
    _ count: UnsafeMutablePointer<CInt>, _ arguments: UnsafeMutableRawPointer
) -> CInt {
    guard let folder = unsafe getenv("CURTAIN_FUZZ_SEEDS") else { return 0 }
    for (number, seed) in target.seeds.enumerated() {
        let path = unsafe String(cString: folder) + "/seed-\(number)"
        guard let file = unsafe fopen(path, "w") else { fatalError("can't write \(path)") }
        _ = unsafe fwrite(seed, 1, seed.count, file)
        _ = unsafe fclose(file)
    }
    return 0
}

/// Called for each input.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    target.run(unsafe [UInt8](UnsafeBufferPointer(start: bytes, count: count)))
    return 0
}
