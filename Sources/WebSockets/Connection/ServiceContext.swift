internal import CWebSockets

/// One libwebsockets context on a loop: a server's, or that of the clients with one trust.
///
/// A context per server keeps libwebsockets from choosing between servers by their names.
///
/// `@safe`: the context's strings and arrays are freed by `free`, after the context itself.
@safe final class ServiceContext {
    private(set) var context: OpaquePointer?
    private let service = UnsafeMutablePointer<shim_service>.allocate(capacity: 1)
    /// The server's TLS settings, for new certificates.
    private(set) var serverTLS: OpaquePointer?
    private let trust: TLSClientSettings?
    private var isDestroyed = false
    private let loop: UnsafeMutablePointer<uv_loop_t>
    /// The handle of the context's own event descriptor.
    private var pipe: UnsafeMutablePointer<uv_handle_t>?

    /// Octets that one read takes at most, into a buffer that all connections share.
    static let readByteCount = 16 << 10
    /// Octets of a message that are handed on at a time, from a buffer of the connection's own: most
    /// of what an idle connection costs.
    static let receiveByteCount = 2 << 10
    /// Octets that one write passes to the system at most.
    static let sendByteCount = 256 << 10

    init?(
        core: LoopCore, subprotocol: String?, identity: WebSocketServer.TLSIdentity?,
        trust: TLSClientSettings?
    ) {
        self.trust = trust
        unsafe loop = core.uvLoop
        let user = unsafe Unmanaged.passUnretained(core).toOpaque()
        unsafe context = withOptionalCString(subprotocol) { subprotocol in
            unsafe withOptionalCString(identity?.certificatePath) { certificate in
                unsafe withOptionalCString(identity?.privateKeyPath) { key in
                    unsafe shim_context_create(
                        service, core.uvLoop, user, webSocketCallback, subprotocol,
                        ServiceContext.readByteCount, ServiceContext.receiveByteCount,
                        ServiceContext.sendByteCount,
                        certificate, key, trust?.settings)
                }
            }
        }
        guard unsafe context != nil else {
            unsafe service.deallocate()
            trust?.free()
            return nil
        }
        unsafe pipe = shim_newest_poll(loop)
        if identity != nil { unsafe serverTLS = core.takeServerTLS() }
    }

    /// Whether it can have connections; if not, it only waits for the end of its loop.
    var isUsable: Bool { unsafe shim_has_host(context) != 0 }

    /// Begins its end; outside of libwebsockets' callbacks only.
    func destroy() {
        if let context = unsafe context {
            unsafe shim_context_destroy(context, loop, pipe, shim_descriptor(pipe))
        }
        isDestroyed = true
    }

    /// Frees it, after the loop has run out of handles: a context on a loop that is not its own is
    /// freed only by being destroyed a second time.
    func free() {
        if let context = unsafe context { unsafe lws_context_destroy(context) }
        unsafe context = nil
        unsafe service.deallocate()
        trust?.free()
    }

    func kick() {
        if !isDestroyed, let context = unsafe context { unsafe lws_cancel_service(context) }
    }

    /// Hands an accepted socket over; it is closed if that fails.
    func adopt(_ descriptor: Int32, as id: ConnectionID) -> OpaquePointer? {
        guard let context = unsafe context, !isDestroyed else { return nil }
        return unsafe shim_adopt(context, descriptor, id.opaque)
    }

    /// Begins to connect to a numeric address.
    func connect(
        to address: String, url: WebSocketURL, subprotocol: String, as id: ConnectionID
    ) -> OpaquePointer? {
        guard let context = unsafe context, !isDestroyed else { return nil }
        let retry = unsafe UnsafePointer(service).pointer(to: \.retry)
        return unsafe shim_connect(
            context, retry, address, Int32(url.port), url.isSecure ? 1 : 0, url.authority,
            url.path, subprotocol, id.opaque)
    }
}

/// OpenSSL's settings for clients with one trust.
///
/// `@safe`: freed once, by `free`, after the contexts that use it.
@safe final class TLSClientSettings {
    let settings: OpaquePointer

    /// Nil if the CA file cannot be read.
    init?(_ trust: WebSocketClient.Trust, verificationError: UnsafeMutablePointer<Int32>) {
        let made = unsafe withOptionalCString(trust.authorityPath) {
            unsafe shim_tls_client($0, verificationError)
        }
        guard let made = unsafe made else { return nil }
        unsafe settings = made
    }

    func free() {
        unsafe SSL_CTX_free(settings)
    }
}

func withOptionalCString<R>(_ text: String?, _ body: (UnsafePointer<CChar>?) -> R) -> R {
    guard let text else { return body(nil) }
    return unsafe text.withCString { unsafe body($0) }
}
