internal import CWebSockets

/// What an upgrade asks for, as far as taking it depends on it.
struct UpgradeRequest {
    /// Sec-WebSocket-Protocol (RFC 6455 §11.3.4).
    var subprotocols: String
    /// X-Forwarded-For: empty if there is none, nil if it is too long.
    var forwardedFor: String?
}

/// A request that asks for no upgrade.
struct PlainRequest {
    /// What a GET or HEAD asks for; nil if it is another request.
    var path: String?
    /// Asks for an answer without its body.
    var isHead: Bool
    /// As in `UpgradeRequest`.
    var forwardedFor: String?
}

/// What comes before there is a WebSocket, or instead of one.
extension Connection {
    /// Answers an upgrade that isn't taken; true if it is.
    func takes(_ request: UpgradeRequest) -> Bool {
        guard let owner, let wsi = unsafe wsi else { return false }
        guard let response = owner.refusal(of: self, request) else { return true }
        if unsafe writeHead(of: response, on: wsi) {
            httpBody = response.body
            writeHTTPBody()
        }
        return false
    }

    private func writeHead(
        of response: WebSocketServer.HTTPResponse, on wsi: OpaquePointer
    ) -> Bool {
        unsafe shim_http_headers(
            wsi, UInt32(response.status), response.contentType, response.body.count,
            response.retryAfterSeconds.map(Int64.init) ?? -1) == 0
    }

    func confirms(subprotocol: String) -> Bool {
        owner?.confirms(subprotocol: subprotocol) ?? false
    }

    /// Answers a request that asks for no upgrade; false asks libwebsockets to close.
    func respond(to request: PlainRequest) -> Bool {
        guard let wsi = unsafe wsi else { return false }
        let response =
            owner?.response(to: request, on: self)
            ?? WebSocketServer.HTTPResponse(status: 404, body: Array("not found\n".utf8))
        guard unsafe writeHead(of: response, on: wsi) else { return false }
        httpBody = request.isHead ? nil : response.body
        unsafe lws_callback_on_writable(wsi)
        return true
    }

    func writeHTTPBody() {
        guard let wsi = unsafe wsi, let body = httpBody else { return }
        httpBody = nil
        _ = unsafe core.withScratch(body) { unsafe shim_write_http_body(wsi, $0, body.count) }
    }
}
