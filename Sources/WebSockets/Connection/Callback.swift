internal import CWebSockets

/// libwebsockets' callback: turns its arguments into values for the connection. Loop only.
func webSocketCallback(
    _ wsi: OpaquePointer?, _ reason: lws_callback_reasons, _ user: UnsafeMutableRawPointer?,
    _ input: UnsafeMutableRawPointer?, _ length: Int
) -> Int32 {
    guard let wsi = unsafe wsi else { return 0 }
    switch reason {
    case LWS_CALLBACK_RECEIVE, LWS_CALLBACK_CLIENT_RECEIVE:
        unsafe connection(wsi)?.received(
            UnsafeRawBufferPointer(start: input, count: length),
            isBinary: lws_frame_is_binary(wsi) != 0, isLast: lws_is_final_fragment(wsi) != 0,
            missing: Int(clamping: lws_remaining_packet_payload(wsi)))
        return 0
    case LWS_CALLBACK_SERVER_WRITEABLE, LWS_CALLBACK_CLIENT_WRITEABLE:
        unsafe connection(wsi)?.writable()
        return 0
    case LWS_CALLBACK_RECEIVE_PONG, LWS_CALLBACK_CLIENT_RECEIVE_PONG:
        unsafe connection(wsi)?.heard()
        return 0
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
        unsafe peerCloses(wsi, UnsafeRawBufferPointer(start: input, count: length))
        return 0
    case LWS_CALLBACK_ESTABLISHED, LWS_CALLBACK_CLIENT_ESTABLISHED:
        unsafe connection(wsi)?.opened()
        return 0
    case LWS_CALLBACK_CLOSED, LWS_CALLBACK_CLIENT_CLOSED, LWS_CALLBACK_WSI_DESTROY:
        if reason == LWS_CALLBACK_WSI_DESTROY { unsafe closeForgottenPoll(of: wsi) }
        guard let connection = unsafe connection(wsi) else { return 0 }
        if connection.phase == .opening, reason != LWS_CALLBACK_WSI_DESTROY { return 0 }
        connection.core.end(connection)
        return 0
    default:
        return unsafe handshakeCallback(wsi, reason, user, input, length)
    }
}

/// The callbacks before a connection is open.
private func handshakeCallback(
    _ wsi: OpaquePointer, _ reason: lws_callback_reasons, _ user: UnsafeMutableRawPointer?,
    _ input: UnsafeMutableRawPointer?, _ length: Int
) -> Int32 {
    switch reason {
    case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
        return unsafe confirmUpgrade(wsi, input)
    case LWS_CALLBACK_HTTP:
        guard let connection = unsafe connection(wsi) else { return -1 }
        let path = unsafe input.map {
            unsafe String(cString: $0.assumingMemoryBound(to: CChar.self))
        }
        let isHead = unsafe shim_is_head(wsi) != 0
        let isKnown = unsafe isHead || shim_is_get(wsi) != 0
        let request = PlainRequest(
            path: isKnown ? path : nil, isHead: isHead,
            forwardedFor: unsafe header(wsi, shim_forwarded_for))
        return connection.respond(to: request) ? 0 : -1
    case LWS_CALLBACK_HTTP_WRITEABLE:
        unsafe connection(wsi)?.writeHTTPBody()
        // One answer per connection; what is still buffered is flushed before it closes.
        return -1
    case LWS_CALLBACK_CLIENT_FILTER_PRE_ESTABLISH:
        guard let connection = unsafe connection(wsi) else { return -1 }
        return connection.confirms(subprotocol: unsafe subprotocolHeader(wsi)) ? 0 : -1
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
        if unsafe lws_get_socket_fd(wsi) < 0 { unsafe core(wsi)?.forgetful = wsi }
        let text = unsafe UnsafeRawBufferPointer(start: input, count: input == nil ? 0 : length)
        unsafe connection(wsi)?.failed(
            status: UInt16(clamping: lws_http_client_http_response(wsi)),
            reason: String(decoding: text.prefix { $0 != 0 }, as: UTF8.self))
        return 0
    case LWS_CALLBACK_OPENSSL_LOAD_EXTRA_SERVER_VERIFY_CERTS:
        if let user = unsafe user, let core = unsafe core(wsi) {
            unsafe shim_tls_harden(OpaquePointer(user))
            unsafe core.offered(serverTLS: OpaquePointer(user))
        }
        return 0
    case LWS_CALLBACK_HTTP_BODY, LWS_CALLBACK_HTTP_FILE_COMPLETION:
        return -1
    default:
        return 0
    }
}

private func core(_ wsi: OpaquePointer) -> LoopCore? {
    guard let context = unsafe lws_get_context(wsi), let user = unsafe lws_context_user(context)
    else { return nil }
    return unsafe Unmanaged<LoopCore>.fromOpaque(user).takeUnretainedValue()
}

private func closeForgottenPoll(of wsi: OpaquePointer) {
    guard let core = unsafe core(wsi), unsafe core.forgetful == wsi else { return }
    unsafe core.forgetful = nil
    unsafe shim_close_forgotten_poll(core.uvLoop, wsi)
}

private func connection(_ wsi: OpaquePointer) -> Connection? {
    guard let opaque = unsafe lws_get_opaque_user_data(wsi), let core = unsafe core(wsi) else {
        return nil
    }
    return core.connection(ConnectionID(rawValue: UInt64(UInt(bitPattern: opaque))))
}

private func peerCloses(_ wsi: OpaquePointer, _ payload: UnsafeRawBufferPointer) {
    guard let connection = unsafe connection(wsi) else { return }
    guard payload.count >= 2 else {
        return connection.peerCloses(code: .noStatusReceived, reason: "")
    }
    let code = unsafe UInt16(payload[0]) << 8 | UInt16(payload[1])
    let reason = unsafe String(decoding: payload.dropFirst(2), as: UTF8.self)
    connection.peerCloses(code: CloseCode(rawValue: code), reason: reason)
}

private func subprotocolHeader(_ wsi: OpaquePointer) -> String {
    unsafe header(wsi, shim_subprotocol) ?? ""
}

/// A header's content: empty if there is none, nil if it is too long.
private func header(
    _ wsi: OpaquePointer,
    _ copy: (OpaquePointer?, UnsafeMutablePointer<CChar>?, Int32) -> Int32
) -> String? {
    unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 1_024) { buffer in
        guard let base = buffer.baseAddress else { return nil }
        let length = unsafe copy(wsi, base, Int32(buffer.count))
        guard length >= 0 else { return nil }
        return length == 0 ? "" : unsafe String(cString: base)
    }
}

private func confirmUpgrade(_ wsi: OpaquePointer, _ input: UnsafeMutableRawPointer?) -> Int32 {
    guard let connection = unsafe connection(wsi), let input = unsafe input else { return -1 }
    let upgrade = unsafe String(cString: input.assumingMemoryBound(to: CChar.self))
    // Only WebSocket: no HTTP/2 in clear text.
    guard upgrade.lowercased() == "websocket" else {
        _ = unsafe lws_return_http_status(wsi, 400, nil)
        return -1
    }
    let request = UpgradeRequest(
        subprotocols: unsafe subprotocolHeader(wsi),
        forwardedFor: unsafe header(wsi, shim_forwarded_for))
    return connection.takes(request) ? 0 : -1
}
