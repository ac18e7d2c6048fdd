internal import CWebSockets

/// A listening socket on a loop: accepts, and hands each connection on.
///
/// libwebsockets could listen itself, but binds `*` when asked for one IPv4 address unless IPv6 is
/// off, and spins when descriptors run out.
///
/// `@safe`: the poll handle is freed in its close callback, which also closes the socket.
@safe final class Listener {
    private let core: LoopCore
    private let descriptor: Int32
    private var poll: UnsafeMutablePointer<uv_poll_t>?
    private var accepted: ((Int32, SocketAddress) -> Void)?

    /// - Throws: the system's error number.
    init(
        core: LoopCore, descriptor: Int32, accepted: @escaping (Int32, SocketAddress) -> Void
    ) throws(ListenError) {
        self.core = core
        self.descriptor = descriptor
        self.accepted = accepted
        let poll = UnsafeMutablePointer<uv_poll_t>.allocate(capacity: 1)
        let error = unsafe uv_poll_init(core.uvLoop, poll, descriptor)
        guard error == 0 else {
            unsafe poll.deallocate()
            closeSocket(descriptor)
            throw .system(code: -error)
        }
        unsafe poll.pointee.data = Unmanaged.passRetained(self).toOpaque()
        unsafe self.poll = poll
        core.add(self)
        listen()
    }

    private func listen() {
        if let poll = unsafe poll {
            unsafe uv_poll_start(poll, Int32(UV_READABLE.rawValue), listenerReadable)
        }
    }

    /// Stops, and frees the port soon.
    func stop() {
        guard let poll = unsafe poll else { return }
        unsafe self.poll = nil
        accepted = nil
        core.remove(self)
        unsafe uv_close(shim_handle(poll), listenerClosed)
    }

    fileprivate func closeDescriptor() {
        closeSocket(descriptor)
    }

    fileprivate func acceptAll() {
        // Each takes a good part of a millisecond: the rest waits in the kernel's queue while others
        // are served.
        for _ in 0..<8 {
            guard unsafe poll != nil else { return }
            var port: UInt16 = 0
            var host = ""
            let result = unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 64) {
                unsafe $0.initialize(repeating: 0)
                guard let base = $0.baseAddress else { return -EINVAL }
                let result = unsafe shim_accept(descriptor, base, $0.count, &port)
                if result >= 0 { host = unsafe String(cString: base) }
                return result
            }
            switch result {
            case 0...:
                accepted?(result, SocketAddress(host: host, port: port))
            case -EMFILE, -ENFILE, -ENOBUFS, -ENOMEM:
                // Without descriptors the socket stays readable: look again a little later.
                if let poll = unsafe poll { unsafe uv_poll_stop(poll) }
                _ = core.schedule(after: .milliseconds(100), every: nil) { [weak self] in
                    self?.listen()
                }
                return
            case -EAGAIN:
                return
            default:
                continue  // That one went away before it was accepted.
            }
        }
    }

    /// Binds and listens; the descriptor and the address that the system really gave.
    static func bind(
        address: String, port: UInt16
    ) throws(ListenError) -> (descriptor: Int32, bound: SocketAddress) {
        let descriptor = unsafe shim_listen(address, port)
        switch descriptor {
        case 0...: break
        case -EINVAL: throw .address(address)
        case -EADDRNOTAVAIL: throw .address(address)
        case -EADDRINUSE: throw .inUse
        case -EACCES: throw .notPermitted
        default: throw .system(code: -descriptor)
        }
        return (descriptor, try localAddress(of: descriptor))
    }

    /// Takes over a socket that listens already.
    static func adopt(
        _ descriptor: Int32
    ) throws(ListenError) -> (descriptor: Int32, bound: SocketAddress) {
        let error = shim_adopt_listener(descriptor)
        guard error == 0 else {
            closeSocket(descriptor)
            throw .system(code: -error)
        }
        return (descriptor, try localAddress(of: descriptor))
    }

    /// Closes the socket if it has none.
    private static func localAddress(of descriptor: Int32) throws(ListenError) -> SocketAddress {
        var boundPort: UInt16 = 0
        var host = ""
        let error = unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 64) {
            unsafe $0.initialize(repeating: 0)
            guard let base = $0.baseAddress else { return -EINVAL }
            let error = unsafe shim_local_address(descriptor, base, $0.count, &boundPort)
            host = unsafe String(cString: base)
            return error
        }
        guard error == 0 else {
            closeSocket(descriptor)
            throw .system(code: -error)
        }
        return SocketAddress(host: host, port: boundPort)
    }
}

private func listenerReadable(
    _ handle: UnsafeMutablePointer<uv_poll_t>?, _ status: Int32, _ events: Int32
) {
    guard let data = unsafe handle?.pointee.data else { return }
    unsafe Unmanaged<Listener>.fromOpaque(data).takeUnretainedValue().acceptAll()
}

private func listenerClosed(_ handle: UnsafeMutablePointer<uv_handle_t>?) {
    guard let handle = unsafe handle, let data = unsafe handle.pointee.data else { return }
    let listener = unsafe Unmanaged<Listener>.fromOpaque(data).takeRetainedValue()
    listener.closeDescriptor()
    unsafe UnsafeMutableRawPointer(handle).deallocate()
}

/// A name of its own, beside the methods called `close`.
func closeSocket(_ descriptor: Int32) {
    _ = close(descriptor)
}
