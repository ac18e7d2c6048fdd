private import Glibc

/// A file descriptor with whole writes and interruptible reads.
struct Descriptor: Sendable {
    let number: Int32

    static let standardInput = Descriptor(number: STDIN_FILENO)
    static let standardOutput = Descriptor(number: STDOUT_FILENO)
    static let standardError = Descriptor(number: STDERR_FILENO)

    /// Takes the numbers of standard streams that are closed, or the next file that is opened would
    /// get one, and what is meant for the stream. To read and to write them fails as before.
    static func reserveStandard() {
        for stream in [standardInput, standardOutput, standardError]
        where fcntl(stream.number, F_GETFD) < 0 {
            let isInput = stream.number == STDIN_FILENO
            // The lowest number that is free: this one.
            _ = unsafe Glibc.open("/dev/null", isInput ? O_WRONLY : O_RDONLY)
        }
    }

    var isTerminal: Bool { isatty(number) == 1 }

    /// Columns and rows of the terminal, if it is one and says so.
    var windowSize: (columns: Int, rows: Int)? {
        var size = winsize()
        guard unsafe ioctl(number, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else {
            return nil
        }
        return (Int(size.ws_col), Int(size.ws_row))
    }

    /// Writes all of `bytes`, waiting where the other end is slow.
    ///
    /// - Throws: `BrokenPipe` if nobody reads any more, a `Failure` with status 74 otherwise.
    func write(_ bytes: [UInt8]) throws {
        var rest = bytes[...]
        while !rest.isEmpty {
            let written = unsafe rest.withUnsafeBytes {
                unsafe Glibc.write(number, $0.baseAddress, $0.count)
            }
            if written > 0 {
                rest = rest.dropFirst(written)
            } else if errno == EAGAIN {
                var waiting = pollfd(fd: number, events: Int16(POLLOUT), revents: 0)
                unsafe poll(&waiting, 1, -1)
            } else if errno == EPIPE || errno == EIO {
                throw BrokenPipe()
            } else if errno != EINTR {
                throw Failure(.inputOutput, "writing failed (\(SystemError.text(errno)))")
            }
        }
    }

    enum ReadOutcome {
        case bytes([UInt8])
        case end
        case timedOut
        /// One of the other descriptors became readable.
        case woken
    }

    /// Waits until something can be read here, or until `wake` becomes readable.
    ///
    /// - Parameter timeout: in milliseconds; -1 waits for ever.
    func read(wake: Int32, timeout: Int32 = -1, limit: Int = 4096) throws -> ReadOutcome {
        while true {
            var waiting = [
                pollfd(fd: number, events: Int16(POLLIN), revents: 0),
                pollfd(fd: wake, events: Int16(POLLIN), revents: 0),
            ]
            let ready = unsafe poll(&waiting, 2, timeout)
            if ready == 0 { return .timedOut }
            if ready < 0 {
                if errno == EINTR { continue }
                throw Failure(.inputOutput, "waiting for input failed (\(SystemError.text(errno)))")
            }
            if waiting[1].revents != 0 { return .woken }
            var failure: Int32 = 0
            let bytes = unsafe [UInt8](unsafeUninitializedCapacity: limit) { buffer, count in
                let read = unsafe Glibc.read(number, buffer.baseAddress, limit)
                if read < 0 { failure = errno }
                count = max(0, read)
            }
            switch failure {
            case 0: return bytes.isEmpty ? .end : .bytes(bytes)
            case EINTR, EAGAIN: continue
            case EIO: return .end
            default: throw Failure(.inputOutput, "reading failed (\(SystemError.text(failure)))")
            }
        }
    }
}

/// A pipe for waking a thread that waits for input: not inherited by children, never blocking.
struct WakePipe: Sendable {
    let read: Int32
    let write: Int32

    init?() {
        var ends: [Int32] = [-1, -1]
        guard unsafe pipe(&ends) == 0 else { return nil }
        (read, write) = (ends[0], ends[1])
        for end in ends {
            _ = fcntl(end, F_SETFD, FD_CLOEXEC)
            _ = fcntl(end, F_SETFL, O_NONBLOCK)
        }
    }
}

/// The operating system's words for its error numbers.
enum SystemError {
    static func text(_ number: Int32) -> String {
        guard let words = unsafe strerror(number) else { return "error \(number)" }
        return unsafe String(cString: words).lowercased()
    }
}
