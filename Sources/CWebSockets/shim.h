// What Swift cannot import of libwebsockets, libuv, OpenSSL and the socket calls: macros, casts
// between socket address types, and creation structures whose strings live only during a call.
// Functions return 0 or a handle on success and a negative errno on failure unless they say otherwise.
#ifndef CURTAIN_WEBSOCKETS_SHIM_H
#define CURTAIN_WEBSOCKETS_SHIM_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libwebsockets.h>
#include <malloc.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

// MARK: - libwebsockets

/// Octets that lws_write wants free before a payload.
static inline int shim_headroom(void) { return LWS_PRE; }

static inline void shim_silence(void) { lws_set_log_level(0, NULL); }

/// Everything that must outlive a context, in one allocation that the caller frees after it.
struct shim_service {
    struct lws_protocols protocols[3];
    lws_retry_bo_t retry;
    void *loops[1];
    char subprotocol[128];
};

/// A context with one virtual host; without it if that cannot be made. NULL if nothing can.
///
/// Only the host is told of TLS. A context that is told takes a new number for what libwebsockets
/// 4.1.6 keeps in OpenSSL's objects, and forgets the one before it, for the whole process: handshakes
/// of other contexts then fail, and settings of other contexts are never freed. Without, the number
/// stays 0, which OpenSSL leaves to the application; OpenSSL itself begins by itself.
static inline struct lws_context *shim_context_create(
    struct shim_service *service, uv_loop_t *loop, void *user, lws_callback_function *callback,
    const char *subprotocol, size_t read_size, size_t receive_size, size_t send_size,
    const char *certificate,
    const char *private_key, SSL_CTX *client_tls) {
    struct lws_context_creation_info info;
    memset(&info, 0, sizeof(info));
    memset(service, 0, sizeof(*service));
    int is_server = subprotocol != NULL;
    if (is_server) {
        if (strlen(subprotocol) >= sizeof(service->subprotocol)) return NULL;
        strcpy(service->subprotocol, subprotocol);
    }
    for (int i = 0; i < (is_server ? 2 : 1); i++) {
        service->protocols[i].name = i ? service->subprotocol : "first";
        service->protocols[i].callback = callback;
        service->protocols[i].rx_buffer_size = receive_size;
        service->protocols[i].tx_packet_size = send_size;
    }
    service->loops[0] = loop;
    info.protocols = service->protocols;
    // All zero: libwebsockets sends no pings of its own; the connections' own clocks do.
    info.retry_and_idle_policy = &service->retry;
    info.foreign_loops = service->loops;
    info.user = user;
    info.pt_serv_buf_size = (unsigned int)read_size;
    info.alpn = "http/1.1";
    info.http_proxy_address = "";  // the environment's http_proxy must not redirect connections
    // The connections' own clocks, which can be set to five minutes, come first.
    info.timeout_secs = is_server ? 400 : 30;
    info.timeout_secs_ah_idle = 400;
    info.connect_timeout_secs = 120;
    info.gid = -1;
    info.uid = -1;
    // The sockets are listened on and accepted here, then handed over.
    info.port = is_server ? CONTEXT_PORT_NO_LISTEN_SERVER : CONTEXT_PORT_NO_LISTEN;
    info.options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_SKIP_SERVER_CANONICAL_NAME |
                   LWS_SERVER_OPTION_EXPLICIT_VHOSTS;
    struct lws_context *context = lws_create_context(&info);
    if (!context) return NULL;
    // A server's host is made settings for clients too, which need not load the system's CAs.
    info.options |= LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS;
    if (certificate || client_tls) info.options |= LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
    info.ssl_cert_filepath = certificate;
    info.ssl_private_key_filepath = private_key;
    info.provided_client_ssl_ctx = client_tls;
    (void)lws_create_vhost(context, &info);
    return context;
}

static inline int shim_has_host(struct lws_context *context) {
    return context && lws_get_vhost_by_name(context, "default");
}

/// Where to look for a handle, and whether the loop still has it.
struct shim_search {
    uv_handle_t *handle;
    int is_found;
};

static inline void shim_search_step(uv_handle_t *handle, void *search) {
    struct shim_search *wanted = (struct shim_search *)search;
    if (handle == wanted->handle) wanted->is_found = 1;
}

/// Begins to destroy a context, and keeps libwebsockets 4.1.6 from closing its event descriptor twice.
///
/// It closes the descriptor now, and the same number again when libuv has closed the handle: by then
/// another thread may have opened a file or accepted a connection under that number. There is no
/// call to say "it is closed already", so that the copy of the number in the pipe's `struct lws` is
/// looked for, and overwritten only where the library's own getter shows that it was the one.
static inline void shim_context_destroy(
    struct lws_context *context, uv_loop_t *loop, uv_handle_t *pipe, int descriptor) {
    lws_context_destroy(context);
    struct shim_search search = {pipe, 0};
    uv_walk(loop, shim_search_step, &search);
    if (!search.is_found || !uv_is_closing(pipe)) return;
    struct lws *wsi = (struct lws *)pipe->data;
    if (!wsi || descriptor < 0 || lws_get_socket_fd(wsi) != descriptor) return;
    volatile int *words = (volatile int *)(void *)wsi;
    for (size_t i = 0; i < malloc_usable_size(wsi) / sizeof(int); i++) {
        if (words[i] != descriptor) continue;
        words[i] = -1;
        if (lws_get_socket_fd(wsi) == -1) return;
        words[i] = descriptor;
    }
}

static inline void shim_free_handle(uv_handle_t *handle) { free(handle); }

static inline void shim_forgotten_poll_step(uv_handle_t *handle, void *wsi) {
    if (handle->data == wsi && uv_handle_get_type(handle) == UV_POLL && !uv_is_closing(handle))
        uv_close(handle, shim_free_handle);
}

/// Closes the poll handle of a client's attempt that is being freed.
///
/// libwebsockets 4.1.6 closes the socket of an attempt that failed at once by itself, and takes that
/// for a sign that there is no handle either: it stays in the loop, stopped, pointing to what is free.
static inline void shim_close_forgotten_poll(uv_loop_t *loop, struct lws *wsi) {
    uv_walk(loop, shim_forgotten_poll_step, wsi);
}

static inline struct lws *shim_adopt(struct lws_context *context, int fd, void *opaque) {
    lws_adopt_desc_t info;
    memset(&info, 0, sizeof(info));
    info.vh = lws_get_vhost_by_name(context, "default");
    if (!info.vh) {
        close(fd);
        return NULL;
    }
    info.type = LWS_ADOPT_SOCKET | LWS_ADOPT_HTTP | LWS_ADOPT_ALLOW_SSL;
    info.fd.sockfd = fd;
    info.opaque = opaque;
    return lws_adopt_descriptor_vhost_via_info(&info);
}

static inline struct lws *shim_connect(
    struct lws_context *context, const lws_retry_bo_t *retry, const char *address, int port,
    int is_secure, const char *host, const char *path, const char *subprotocol, void *opaque) {
    struct lws_client_connect_info info;
    memset(&info, 0, sizeof(info));
    info.context = context;
    info.address = address;
    info.port = port;
    info.ssl_connection = LCCSCF_HTTP_NO_FOLLOW_REDIRECT | (is_secure ? LCCSCF_USE_SSL : 0);
    info.path = path;
    info.host = host;
    info.protocol = subprotocol;
    info.local_protocol_name = "first";
    info.alpn = "http/1.1";
    info.opaque_user_data = opaque;
    info.retry_and_idle_policy = retry;
    return lws_client_connect_via_info(&info);
}

static inline int shim_write_binary(struct lws *wsi, unsigned char *payload, size_t count) {
    return lws_write(wsi, payload, count, LWS_WRITE_BINARY);
}

static inline int shim_write_ping(struct lws *wsi, unsigned char *payload, size_t count) {
    return lws_write(wsi, payload, count, LWS_WRITE_PING);
}

static inline int shim_write_http_body(struct lws *wsi, unsigned char *body, size_t count) {
    return lws_write(wsi, body, count, LWS_WRITE_HTTP_FINAL);
}

/// Closes at once, without a Close frame; outside of callbacks only.
static inline void shim_kill_now(struct lws *wsi) {
    lws_set_timeout(wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_SYNC);
}

/// Closes at the next turn whatever the connection's state, without a Close frame.
static inline void shim_kill(struct lws *wsi) {
    lws_set_timeout(wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
}

/// Begins the closing handshake; outside of callbacks only.
static inline void shim_close(struct lws *wsi, int code, unsigned char *reason, size_t count) {
    lws_close_reason(wsi, (enum lws_close_status)code, reason, count);
    lws_set_timeout(wsi, PENDING_TIMEOUT_CLOSE_SEND, LWS_TO_KILL_SYNC);
}

/// Writes status line and headers of an HTTP answer after which the connection ends.
static inline int shim_http_headers(
    struct lws *wsi, unsigned int status, const char *content_type, size_t length,
    int64_t retry_after) {
    unsigned char buffer[LWS_PRE + 1024];
    unsigned char *start = buffer + LWS_PRE, *p = start, *end = buffer + sizeof(buffer) - 1;
    if (lws_add_http_common_headers(wsi, status, content_type, length, &p, end)) return -1;
    if (lws_add_http_header_by_token(
            wsi, WSI_TOKEN_HTTP_CACHE_CONTROL, (const unsigned char *)"no-store", 8, &p, end))
        return -1;
    if (lws_add_http_header_by_token(
            wsi, WSI_TOKEN_CONNECTION, (const unsigned char *)"close", 5, &p, end))
        return -1;
    if (retry_after >= 0) {
        char seconds[24];
        int count = snprintf(seconds, sizeof(seconds), "%lld", (long long)retry_after);
        if (lws_add_http_header_by_token(
                wsi, WSI_TOKEN_HTTP_RETRY_AFTER, (const unsigned char *)seconds, count, &p, end))
            return -1;
    }
    return lws_finalize_write_http_header(wsi, start, &p, end);
}

/// Whether the request is a HEAD.
static inline int shim_is_head(struct lws *wsi) {
    return lws_hdr_total_length(wsi, WSI_TOKEN_HEAD_URI) > 0;
}

/// Whether the request is a GET.
static inline int shim_is_get(struct lws *wsi) {
    return lws_hdr_total_length(wsi, WSI_TOKEN_GET_URI) > 0;
}

/// Copies the header Sec-WebSocket-Protocol; its length, 0 if there is none, negative if too long.
static inline int shim_subprotocol(struct lws *wsi, char *out, int size) {
    int length = lws_hdr_total_length(wsi, WSI_TOKEN_PROTOCOL);
    if (length <= 0) return 0;
    return lws_hdr_copy(wsi, out, size, WSI_TOKEN_PROTOCOL);
}

/// The same for X-Forwarded-For.
static inline int shim_forwarded_for(struct lws *wsi, char *out, int size) {
    int length = lws_hdr_total_length(wsi, WSI_TOKEN_X_FORWARDED_FOR);
    if (length <= 0) return 0;
    return lws_hdr_copy(wsi, out, size, WSI_TOKEN_X_FORWARDED_FOR);
}

// MARK: - libuv and threads

/// Names the calling thread; the system keeps fifteen octets.
static inline void shim_name_thread(const char *name) { prctl(PR_SET_NAME, name, 0, 0, 0); }

static inline void shim_newest_poll_step(uv_handle_t *handle, void *newest) {
    if (uv_handle_get_type(handle) == UV_POLL) *(uv_handle_t **)newest = handle;
}

/// The handle of the descriptor that the loop watches since last.
static inline uv_handle_t *shim_newest_poll(uv_loop_t *loop) {
    uv_handle_t *newest = NULL;
    uv_walk(loop, shim_newest_poll_step, &newest);
    return newest;
}

static inline int shim_descriptor(uv_handle_t *handle) {
    uv_os_fd_t descriptor;
    return handle && uv_fileno(handle, &descriptor) == 0 ? descriptor : -1;
}

static inline uv_handle_t *shim_handle(void *handle) { return (uv_handle_t *)handle; }

// MARK: - Sockets

/// The numeric address and port of a socket address.
static inline int shim_describe(
    const struct sockaddr_storage *address, char *host, size_t size, uint16_t *port) {
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)address;
        *port = ntohs(in->sin_port);
        return inet_ntop(AF_INET, &in->sin_addr, host, (socklen_t)size) ? 0 : -errno;
    }
    if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;
        *port = ntohs(in6->sin6_port);
        return inet_ntop(AF_INET6, &in6->sin6_addr, host, (socklen_t)size) ? 0 : -errno;
    }
    return -EAFNOSUPPORT;
}

static inline int shim_close_after(int fd, int error) {
    close(fd);
    return -error;
}

/// A listening, non-blocking socket bound to exactly this numeric address; -EINVAL if it is none.
static inline int shim_listen(const char *address, uint16_t port) {
    struct sockaddr_storage storage;
    socklen_t length;
    memset(&storage, 0, sizeof(storage));
    struct sockaddr_in *in = (struct sockaddr_in *)&storage;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&storage;
    if (inet_pton(AF_INET, address, &in->sin_addr) == 1) {
        in->sin_family = AF_INET;
        in->sin_port = htons(port);
        length = sizeof(*in);
    } else if (inet_pton(AF_INET6, address, &in6->sin6_addr) == 1) {
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons(port);
        length = sizeof(*in6);
    } else {
        return -EINVAL;
    }
    int fd = socket(storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    int one = 1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one))) {
        return shim_close_after(fd, errno);
    }
    if (storage.ss_family == AF_INET6 &&
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one))) {
        return shim_close_after(fd, errno);
    }
    if (bind(fd, (struct sockaddr *)&storage, length)) return shim_close_after(fd, errno);
    if (listen(fd, 4096)) return shim_close_after(fd, errno);
    return fd;
}

/// Makes a socket that another process bound and listens on ours; -EINVAL if it is no such TCP socket.
static inline int shim_adopt_listener(int fd) {
    int is_listening = 0, domain = 0, type = 0;
    socklen_t size = sizeof(int);
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &size)) return -errno;
    size = sizeof(int);
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size)) return -errno;
    size = sizeof(int);
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size)) return -errno;
    if (!is_listening || type != SOCK_STREAM || (domain != AF_INET && domain != AF_INET6))
        return -EINVAL;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) || fcntl(fd, F_SETFD, FD_CLOEXEC))
        return -errno;
    return 0;
}

/// The 128 bits of a numeric address, IPv4 as ::ffff:a.b.c.d; -EINVAL if it is none.
static inline int shim_address_bits(const char *text, uint64_t *high, uint64_t *low) {
    unsigned char octets[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (inet_pton(AF_INET, text, octets + 12) != 1 && inet_pton(AF_INET6, text, octets) != 1)
        return -EINVAL;
    *high = *low = 0;
    for (int i = 0; i < 8; i++) {
        *high = *high << 8 | octets[i];
        *low = *low << 8 | octets[i + 8];
    }
    return 0;
}

/// What a socket is really bound to.
static inline int shim_local_address(int fd, char *host, size_t size, uint16_t *port) {
    struct sockaddr_storage storage;
    socklen_t length = sizeof(storage);
    if (getsockname(fd, (struct sockaddr *)&storage, &length)) return -errno;
    return shim_describe(&storage, host, size, port);
}

/// The next waiting connection, non-blocking and without Nagle's delay; -EAGAIN if there is none.
static inline int shim_accept(int listener, char *host, size_t size, uint16_t *port) {
    struct sockaddr_storage storage;
    socklen_t length = sizeof(storage);
    int fd = accept4(listener, (struct sockaddr *)&storage, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return -errno;
    int one = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    int error = shim_describe(&storage, host, size, port);
    if (error) return shim_close_after(fd, -error);
    return fd;
}

/// Octets that the peer's TCP has acknowledged since the connection began; 0 if unknown.
static inline uint64_t shim_acknowledged(int fd) {
    // glibc's struct ends before these members of the kernel's, and their headers exclude each other.
    struct {
        struct tcp_info old;
        uint64_t pacing_rate, max_pacing_rate, bytes_acked;
    } info;
    socklen_t length = sizeof(info);
    memset(&info, 0, sizeof(info));
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length)) return 0;
    return info.bytes_acked;
}

/// Whether the text is a numeric IPv4 (4) or IPv6 (6) address, else 0.
static inline int shim_numeric_family(const char *text) {
    struct in6_addr scratch;
    if (inet_pton(AF_INET, text, &scratch) == 1) return 4;
    if (inet_pton(AF_INET6, text, &scratch) == 1) return 6;
    return 0;
}

/// Resolves a name to numeric addresses, one per line, in the order of RFC 6724. Blocks.
/// Returns 0 or getaddrinfo's error.
static inline int shim_resolve(const char *name, char *out, size_t size) {
    struct addrinfo hints, *results = NULL;
    memset(&hints, 0, sizeof(hints));
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_ADDRCONFIG;
    int error = getaddrinfo(name, NULL, &hints, &results);
    if (error) return error;
    size_t used = 0;
    out[0] = 0;
    for (struct addrinfo *entry = results; entry; entry = entry->ai_next) {
        char host[INET6_ADDRSTRLEN];
        uint16_t port;
        struct sockaddr_storage storage;
        memset(&storage, 0, sizeof(storage));
        if (entry->ai_addrlen > sizeof(storage)) continue;
        memcpy(&storage, entry->ai_addr, entry->ai_addrlen);
        if (shim_describe(&storage, host, sizeof(host), &port)) continue;
        size_t count = strlen(host);
        if (used + count + 2 > size) break;
        memcpy(out + used, host, count);
        used += count;
        out[used++] = '\n';
        out[used] = 0;
    }
    freeaddrinfo(results);
    return 0;
}

// MARK: - TLS

static inline const char *shim_tls_error(void) {
    unsigned long code = ERR_get_error();
    ERR_clear_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    return reason ? reason : "unknown";
}

static inline int shim_tls_identity(SSL_CTX *tls, const char *certificate, const char *key) {
    ERR_clear_error();
    return SSL_CTX_use_certificate_chain_file(tls, certificate) == 1 &&
           SSL_CTX_use_PrivateKey_file(tls, key, SSL_FILETYPE_PEM) == 1 &&
           SSL_CTX_check_private_key(tls) == 1;
}

/// NULL if certificate and key can be read and belong together, else what is wrong.
static inline const char *shim_tls_check_identity(const char *certificate, const char *key) {
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
    if (!tls) return shim_tls_error();
    const char *problem = shim_tls_identity(tls, certificate, key) ? NULL : shim_tls_error();
    SSL_CTX_free(tls);
    return problem;
}

static inline void shim_tls_harden(SSL_CTX *tls) {
    (void)SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION);
    (void)SSL_CTX_set_mode(
        tls, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
}

/// Verifies as OpenSSL does by itself, and leaves the reason of a refusal where `error` points.
static inline int shim_tls_verify(X509_STORE_CTX *chain, void *error) {
    int result = X509_verify_cert(chain);
    if (result <= 0) *(int *)error = X509_STORE_CTX_get_error(chain);
    return result;
}

/// Client settings that trust the given CA file, or the system's CAs if it is NULL.
static inline SSL_CTX *shim_tls_client(const char *authority, int *verification_error) {
    ERR_clear_error();
    SSL_CTX *tls = SSL_CTX_new(TLS_client_method());
    if (!tls) return NULL;
    int loaded = authority ? SSL_CTX_load_verify_locations(tls, authority, NULL)
                           : SSL_CTX_set_default_verify_paths(tls);
    if (loaded != 1) {
        SSL_CTX_free(tls);
        return NULL;
    }
    shim_tls_harden(tls);
    SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(tls, shim_tls_verify, verification_error);
    return tls;
}

static inline const char *shim_tls_verification_problem(int error) {
    return X509_verify_cert_error_string(error);
}

#endif
