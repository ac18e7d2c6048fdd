// swift-tools-version: 6.2
import PackageDescription

let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")
let x509 = Target.Dependency.product(name: "X509", package: "swift-certificates")
let asn1 = Target.Dependency.product(name: "SwiftASN1", package: "swift-asn1")
let protobuf = Target.Dependency.product(name: "SwiftProtobuf", package: "swift-protobuf")
let grdb = Target.Dependency.product(name: "GRDB", package: "GRDB.swift")
let sqlite = Target.Dependency.product(name: "GRDBSQLite", package: "GRDB.swift")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let yaml = Target.Dependency.product(name: "Yams", package: "Yams")
let arguments = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")

let fuzzed: [Target.Dependency] = [
    "MLS", "TLSSyntax", "RelayProtocol", "Consultations", "Prescriptions", "Credentials",
    "Cryptography",
]

let package = Package(
    name: "curtain",
    products: [
        .library(name: "MLS", targets: ["MLS", "Cryptography", "TLSSyntax"]),
        .library(name: "Consultations", targets: ["Consultations"]),
        .executable(name: "curtain", targets: ["curtain"]),
        .executable(name: "curtain-relay", targets: ["curtain-relay"]),
        .executable(name: "curtain-clinic", targets: ["curtain-clinic"]),
        .library(name: "LossyDisk", type: .dynamic, targets: ["LossyDisk"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-certificates", from: "1.21.1"),
        .package(url: "https://github.com/apple/swift-asn1", from: "1.7.4"),
        .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    ],
    targets: [
        .systemLibrary(
            name: "CSodium", pkgConfig: "libsodium", providers: [.apt(["libsodium-dev"])]),
        .systemLibrary(
            name: "CLibcrypto", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(
            name: "CWebSockets", pkgConfig: "libwebsockets",
            providers: [.apt(["libwebsockets-dev", "libwebsockets-evlib-uv", "libuv1-dev"])]),

        .systemLibrary(name: "CXWing"),
        .target(name: "Cryptography", dependencies: ["CSodium", "CLibcrypto", "CXWing", crypto]),
        .target(name: "TLSSyntax"),
        .target(name: "MLS", dependencies: ["TLSSyntax", "Cryptography"]),
        .target(
            name: "Credentials", dependencies: ["Cryptography", "TLSSyntax", x509, asn1, crypto]),
        .target(name: "Prescriptions", dependencies: ["Credentials", "Cryptography"]),
        .target(name: "RelayProtocol", dependencies: ["Cryptography", "TLSSyntax", protobuf]),
        .target(
            name: "RelayCore", dependencies: ["RelayProtocol", "Cryptography", "TLSSyntax"]),
        .target(name: "WebSockets", dependencies: ["CWebSockets"]),
        .target(
            name: "Relay",
            dependencies: [
                "RelayCore", "RelayProtocol", "TLSSyntax", "WebSockets", "Cryptography", grdb,
                sqlite, logging, yaml, x509, asn1, crypto,
            ], exclude: ["README.md"]),
        .target(name: "Vault", dependencies: ["Cryptography", grdb]),
        .target(
            name: "Consultations",
            dependencies: [
                "MLS", "Credentials", "Prescriptions", "RelayProtocol", "Vault", "WebSockets",
                "Cryptography", "TLSSyntax", protobuf,
            ], exclude: ["README.md"]),
        .target(
            name: "Clinic",
            dependencies: [
                "Credentials", "Cryptography", "RelayProtocol", "TLSSyntax", x509, asn1, crypto,
            ]),

        .executableTarget(
            name: "curtain",
            dependencies: [
                "Consultations", "Credentials", "Prescriptions", "RelayProtocol", "Vault",
                "Cryptography", "Terminal", arguments,
            ]),
        .executableTarget(
            name: "curtain-relay",
            dependencies: [
                "Relay", "RelayCore", "WebSockets", "Cryptography", "Terminal", arguments, logging,
            ]),
        .executableTarget(
            name: "curtain-clinic",
            dependencies: ["Clinic", "Credentials", "Cryptography", "Terminal", arguments]),
        .systemLibrary(name: "CTerminal"),
        .systemLibrary(name: "CEpoll"),
        .executableTarget(
            name: "benchmarks",
            dependencies: [
                "MLS", "RelayProtocol", "WebSockets", "Clinic", "Credentials", "Cryptography",
                "CEpoll", crypto, sqlite,
            ]),
        .target(name: "Terminal", dependencies: ["CTerminal", "Cryptography", arguments]),

        .target(
            name: "TestSupport", dependencies: ["Cryptography"], path: "Tests/TestSupport"),
        .target(
            name: "RelayTestSupport", dependencies: ["RelayCore", "RelayProtocol", "Cryptography"],
            path: "Tests/RelayTestSupport"),
        .target(
            name: "Simulation",
            dependencies: [
                "Relay", "RelayCore", "RelayProtocol", "Consultations", "Credentials", "Vault",
                "Clinic", "Cryptography", "TLSSyntax", "CSodium", "ClinicTestSupport",
                "RelayTestSupport",
                "TestSupport",
            ], path: "Tests/Simulation", exclude: ["README.md"]),
        .testTarget(name: "SimulationTests", dependencies: ["Simulation"]),
        .executableTarget(
            name: "soak", dependencies: ["Simulation", arguments]),
        .target(
            name: "ClinicTestSupport", dependencies: ["Clinic", "Credentials", "Cryptography"],
            path: "Tests/ClinicTestSupport"),
        .testTarget(name: "CryptographyTests", dependencies: ["Cryptography", "TestSupport"]),
        .testTarget(name: "TLSSyntaxTests", dependencies: ["TLSSyntax", "TestSupport"]),
        .testTarget(
            name: "MLSTests",
            dependencies: ["MLS", "TLSSyntax", "Cryptography", "TestSupport", crypto]),
        .testTarget(
            name: "CredentialsTests",
            dependencies: [
                "Credentials", "Clinic", "RelayProtocol", "Cryptography", "ClinicTestSupport",
                "TestSupport", x509, asn1, crypto,
            ]),
        .testTarget(
            name: "PrescriptionsTests",
            dependencies: [
                "Prescriptions", "Credentials", "Cryptography", "Clinic", "ClinicTestSupport",
                "TestSupport", x509, asn1, crypto,
            ]),
        .testTarget(
            name: "RelayProtocolTests",
            dependencies: ["RelayProtocol", "Cryptography", "TestSupport"]),
        .testTarget(
            name: "RelayCoreTests",
            dependencies: [
                "RelayCore", "RelayProtocol", "Cryptography", "TestSupport", "RelayTestSupport",
            ]),
        .testTarget(name: "WebSocketsTests", dependencies: ["WebSockets", "TestSupport"]),
        .testTarget(
            name: "RelayTests",
            dependencies: [
                "Relay", "RelayCore", "RelayProtocol", "WebSockets", "Cryptography", "TestSupport",
                "RelayTestSupport", grdb, sqlite, logging,
            ], exclude: ["Fixtures"]),
        .testTarget(
            name: "VaultTests", dependencies: ["Vault", "Cryptography", "TestSupport", grdb]),
        .testTarget(
            name: "ConsultationsTests",
            dependencies: [
                "Consultations", "MLS", "Credentials", "Prescriptions", "RelayProtocol", "Relay",
                "RelayCore", "Vault", "WebSockets", "Clinic", "Cryptography", "ClinicTestSupport",
                "RelayTestSupport", "TestSupport", "TLSSyntax", logging,
            ]),
        .testTarget(
            name: "ClinicTests",
            dependencies: [
                "Clinic", "Credentials", "RelayProtocol", "Cryptography", "ClinicTestSupport",
                "TestSupport",
            ]),
        .testTarget(name: "FuzzTests", dependencies: fuzzed + ["TestSupport"]),
        .testTarget(
            name: "TerminalTests",
            dependencies: ["Terminal", "Cryptography", "TestSupport", arguments]),
        .testTarget(
            name: "CommandTests",
            dependencies: [
                "curtain", "Consultations", "Credentials", "Prescriptions", "RelayProtocol",
                "Vault", "Cryptography", "Terminal", arguments,
            ]),
        .testTarget(
            name: "EndToEndTests",
            dependencies: [
                "Cryptography", "RelayProtocol", "WebSockets", "Clinic", "Credentials",
                "ClinicTestSupport", "RelayTestSupport", "TestSupport", grdb,
            ]),
        .target(name: "LossyDisk", path: "Tests/LossyDisk"),
    ],
    swiftLanguageModes: [.v6]
)

// libFuzzer brings the main function, so this program is only there when tools/fuzz asks for it. Its
// doors are those of the tests, which see the inside of MLS.
if Context.environment["CURTAIN_FUZZ"] != nil {
    package.targets.removeAll { $0.name == "FuzzTests" }
    package.targets += [
        .target(
            name: "FuzzTargets", dependencies: fuzzed, path: "Tests/FuzzTests",
            exclude: ["FuzzTests.swift"]),
        .executableTarget(
            name: "fuzz", dependencies: ["FuzzTargets"],
            swiftSettings: [.unsafeFlags(["-parse-as-library"])]),
    ]
    package.products.append(.executable(name: "fuzz", targets: ["fuzz"]))
}

for target in package.targets where target.type != .system && target.name != "LossyDisk" {
    target.swiftSettings =
        (target.swiftSettings ?? []) + [
            .swiftLanguageMode(.v6),
            .enableUpcomingFeature("ExistentialAny"),
            .enableUpcomingFeature("InternalImportsByDefault"),
            .enableUpcomingFeature("MemberImportVisibility"),
            .strictMemorySafety(),
            .treatAllWarnings(as: .error),
        ]
}
