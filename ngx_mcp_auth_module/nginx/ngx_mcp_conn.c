/*
 * Resolve, connect, TLS; ngx_mcp_conn.h is the contract.
 *
 * Addresses are tried in turn, each with its share of the time left, so that
 * one black hole does not use up the time of the next.  Addresses that the
 * owner knew beforehand may be old: when none of them works, the resolver is
 * asked once.
 *
 * The handshake's events come to our own handler, not to nginx's, because
 * nginx's does not look at c->close: worker_shutdown_timeout sets it and calls
 * the read handler.  The timer is our own event as well; those of the
 * connection are the owner's, once it is established.
 *
 * Owned here until ngx_mcp_conn_close(): resolver context, socket, SSL, timer.
 * What fails leaves OpenSSL's error queue empty: what stays there would be
 * reported as an alert by the next connection of this worker.
 */

#include "ngx_mcp_conn.h"


/* stages; the failure of the attempt that came farthest is reported */
enum {
    NGX_MCP_CONN_RESOLVE = 0,
    NGX_MCP_CONN_CONNECT,
    NGX_MCP_CONN_TLS,
    NGX_MCP_CONN_VERIFY,
    NGX_MCP_CONN_LOCAL                  /* our own trouble */
};


static void ngx_mcp_conn_resolve(ngx_mcp_conn_t *conn);
static void ngx_mcp_conn_resolved(ngx_resolver_ctx_t *resolve);
static ngx_int_t ngx_mcp_conn_copy_addrs(ngx_mcp_conn_t *conn,
    ngx_resolver_ctx_t *resolve);
static void ngx_mcp_conn_connect(ngx_mcp_conn_t *conn);
static ngx_int_t ngx_mcp_conn_peer(ngx_mcp_conn_t *conn, ngx_addr_t *addr);
static void ngx_mcp_conn_next(ngx_mcp_conn_t *conn);
static void ngx_mcp_conn_error(ngx_mcp_conn_t *conn, const char *error,
    const char *detail, ngx_err_t err);
static void ngx_mcp_conn_fail(ngx_mcp_conn_t *conn);
static void ngx_mcp_conn_fail_local(ngx_mcp_conn_t *conn, const char *error);
static void ngx_mcp_conn_connected(ngx_event_t *ev);
static void ngx_mcp_conn_timeout(ngx_event_t *ev);
static const char *ngx_mcp_conn_strerror(ngx_err_t err);
static void ngx_mcp_conn_ssl_init(ngx_mcp_conn_t *conn);
static void ngx_mcp_conn_ssl_event(ngx_event_t *ev);
static void ngx_mcp_conn_ssl_handler(ngx_connection_t *c);
static void ngx_mcp_conn_ssl_done(ngx_mcp_conn_t *conn, ngx_int_t rc);
static ngx_int_t ngx_mcp_conn_ssl_verify(ngx_mcp_conn_t *conn);
static ngx_int_t ngx_mcp_conn_ssl_check_ip(ngx_mcp_conn_t *conn);
static void ngx_mcp_conn_ssl_message(int write, int version, int type,
    const void *buf, size_t len, SSL *ssl, void *arg);
static void ngx_mcp_conn_ready(ngx_mcp_conn_t *conn);
static void ngx_mcp_conn_close_peer(ngx_mcp_conn_t *conn);


void
ngx_mcp_conn_open(ngx_mcp_conn_t *conn)
{
    conn->ident = -1;
    conn->timer.handler = ngx_mcp_conn_timeout;
    conn->timer.data = conn;
    conn->timer.log = conn->log;
    conn->timer.cancelable = conn->cancelable;

    if (conn->name.len == 0) {
        conn->name = conn->host;
        conn->name_literal = conn->literal;
    }

    conn->deadline = ngx_current_msec + conn->timeout;
    conn->current = 0;
    conn->stage = NGX_MCP_CONN_RESOLVE;
    conn->reached = NGX_MCP_CONN_RESOLVE;
    conn->resolved = 0;
    conn->error = NULL;
    conn->detail = NULL;
    conn->err = 0;

    if (conn->naddrs == 0) {
        ngx_mcp_conn_resolve(conn);
        return;
    }

    ngx_mcp_conn_connect(conn);
}


void
ngx_mcp_conn_close(ngx_mcp_conn_t *conn)
{
    if (conn->timer.timer_set) {
        ngx_del_timer(&conn->timer);
    }

    if (conn->resolve) {
        ngx_resolve_name_done(conn->resolve);
        conn->resolve = NULL;
    }

    ngx_mcp_conn_close_peer(conn);
}


ngx_int_t
ngx_mcp_conn_literal(ngx_pool_t *pool, ngx_str_t *host, ngx_addr_t *addr)
{
    return ngx_parse_addr(pool, addr, host->data, host->len);
}


static void
ngx_mcp_conn_resolve(ngx_mcp_conn_t *conn)
{
    ngx_msec_int_t       left;
    ngx_resolver_ctx_t  *ctx;

    conn->resolved = 1;
    conn->stage = NGX_MCP_CONN_RESOLVE;
    conn->late = "timed out resolving the host name";

    if (conn->resolver == NULL || conn->literal) {
        ngx_mcp_conn_error(conn, "no resolver for the host name", NULL, 0);
        ngx_mcp_conn_fail(conn);
        return;
    }

    left = (ngx_msec_int_t) (conn->deadline - ngx_current_msec);

    if (left <= 0) {
        ngx_mcp_conn_error(conn, conn->late, NULL, 0);
        ngx_mcp_conn_fail(conn);
        return;
    }

    /* literals never come here, so no quick context on the stack is needed */

    ctx = ngx_resolve_start(conn->resolver, NULL);

    if (ctx == NULL) {
        ngx_mcp_conn_fail_local(conn, "out of memory");
        return;
    }

    if (ctx == NGX_NO_RESOLVER) {
        ngx_mcp_conn_error(conn, "no resolver for the host name", NULL, 0);
        ngx_mcp_conn_fail(conn);
        return;
    }

    ctx->name = conn->host;
    ctx->handler = ngx_mcp_conn_resolved;
    ctx->data = conn;
    ctx->timeout = ngx_min(conn->resolver_timeout, (ngx_msec_t) left);

    conn->resolve = ctx;

    if (ngx_resolve_name(ctx) != NGX_OK) {

        /* the context is freed, the handler was not called */

        conn->resolve = NULL;
        ngx_mcp_conn_error(conn, "host not found", NULL, 0);
        ngx_mcp_conn_fail(conn);
        return;
    }

    /* the handler may have run, and conn may be gone */
}


static void
ngx_mcp_conn_resolved(ngx_resolver_ctx_t *resolve)
{
    ngx_int_t        state, rc;
    ngx_mcp_conn_t  *conn;

    conn = resolve->data;
    state = resolve->state;
    rc = NGX_ERROR;

    if (state == NGX_OK) {
        rc = ngx_mcp_conn_copy_addrs(conn, resolve);
    }

    ngx_resolve_name_done(resolve);
    conn->resolve = NULL;

    if (state != NGX_OK) {
        ngx_mcp_conn_error(conn,
                           state == NGX_RESOLVE_TIMEDOUT ? conn->late
                                                         : "host not found",
                           ngx_resolver_strerror(state), 0);
        ngx_mcp_conn_fail(conn);
        return;
    }

    if (rc != NGX_OK) {
        ngx_mcp_conn_fail_local(conn, "out of memory");
        return;
    }

    ngx_mcp_conn_connect(conn);
}


/* The resolver's addresses are its own: they go with the context. */
static ngx_int_t
ngx_mcp_conn_copy_addrs(ngx_mcp_conn_t *conn, ngx_resolver_ctx_t *resolve)
{
    ngx_uint_t   i, n;
    ngx_addr_t  *addrs;

    n = ngx_min(resolve->naddrs, NGX_MCP_CONN_MAX_ADDRS);

    addrs = ngx_pcalloc(conn->pool, n * sizeof(ngx_addr_t));
    if (addrs == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {
        addrs[i].socklen = resolve->addrs[i].socklen;
        addrs[i].sockaddr = ngx_palloc(conn->pool, addrs[i].socklen);

        if (addrs[i].sockaddr == NULL) {
            return NGX_ERROR;
        }

        ngx_memcpy(addrs[i].sockaddr, resolve->addrs[i].sockaddr,
                   addrs[i].socklen);
    }

    conn->addrs = addrs;
    conn->naddrs = n;
    conn->current = 0;

    return NGX_OK;
}


/* Connects to the current address, or to the next one that lets us. */
static void
ngx_mcp_conn_connect(ngx_mcp_conn_t *conn)
{
    ngx_int_t          rc;
    ngx_uint_t         shares;
    ngx_msec_int_t     left;
    ngx_connection_t  *c;

    conn->stage = NGX_MCP_CONN_CONNECT;
    conn->late = "timed out connecting";
    left = (ngx_msec_int_t) (conn->deadline - ngx_current_msec);

    if (left <= 0) {
        ngx_mcp_conn_error(conn, conn->late, NULL, 0);
        ngx_mcp_conn_fail(conn);
        return;
    }

    shares = conn->naddrs - conn->current;

    if (conn->resolver && !conn->resolved && !conn->literal) {
        shares++;
    }

    rc = ngx_mcp_conn_peer(conn, &conn->addrs[conn->current]);

    if (rc == NGX_ERROR) {
        ngx_mcp_conn_fail_local(conn,
                                "no socket or connection left in this worker");
        return;
    }

    if (rc != NGX_OK && rc != NGX_AGAIN) {
        ngx_mcp_conn_next(conn);
        return;
    }

    c = conn->peer.connection;
    c->data = conn;
    c->pool = conn->pool;
    conn->log->connection = c->number;

    c->read->handler = ngx_mcp_conn_connected;
    c->write->handler = ngx_mcp_conn_connected;

    ngx_add_timer(&conn->timer, left / shares + 1);

    if (rc == NGX_OK) {
        ngx_mcp_conn_connected(c->write);
    }
}


static ngx_int_t
ngx_mcp_conn_peer(ngx_mcp_conn_t *conn, ngx_addr_t *addr)
{
    size_t      len;
    u_char     *p;
    ngx_int_t   rc;
    ngx_str_t  *name;

    name = ngx_palloc(conn->pool, sizeof(ngx_str_t) + NGX_SOCKADDR_STRLEN);
    if (name == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(&conn->peer, sizeof(ngx_peer_connection_t));

    conn->peer.sockaddr = ngx_palloc(conn->pool, addr->socklen);
    if (conn->peer.sockaddr == NULL) {
        return NGX_ERROR;
    }

    /* a copy: addrs may be the configuration's */

    ngx_memcpy(conn->peer.sockaddr, addr->sockaddr, addr->socklen);
    ngx_inet_set_port(conn->peer.sockaddr, conn->port);

    p = (u_char *) name + sizeof(ngx_str_t);
    len = ngx_sock_ntop(conn->peer.sockaddr, addr->socklen, p,
                        NGX_SOCKADDR_STRLEN, 1);
    name->data = p;
    name->len = len;

    conn->peer.socklen = addr->socklen;
    conn->peer.name = name;
    conn->peer.get = ngx_event_get_peer;
    conn->peer.log = conn->log;
    conn->peer.log_error = NGX_ERROR_ERR;

    ngx_set_errno(0);

    rc = ngx_event_connect_peer(&conn->peer);

    if (rc != NGX_OK && rc != NGX_AGAIN) {

        /*
         * nginx has logged the error already and does not return it; nothing
         * after connect() sets errno unless it fails itself, and at worst the
         * sentence is less precise
         */

        ngx_mcp_conn_error(conn, ngx_mcp_conn_strerror(ngx_socket_errno),
                           NULL, 0);
    }

    return rc;
}


/* This address did not work, and ngx_mcp_conn_error() was told why. */
static void
ngx_mcp_conn_next(ngx_mcp_conn_t *conn)
{
    if (conn->timer.timer_set) {
        ngx_del_timer(&conn->timer);
    }

    ngx_mcp_conn_close_peer(conn);

    if (++conn->current < conn->naddrs) {
        ngx_mcp_conn_connect(conn);
        return;
    }

    if (conn->resolver && !conn->resolved && !conn->literal) {
        ngx_mcp_conn_resolve(conn);
        return;
    }

    ngx_mcp_conn_fail(conn);
}


/*
 * Keeps what to report: behind a certificate that is refused on the first
 * address a closed port on the second is not the news.
 */
static void
ngx_mcp_conn_error(ngx_mcp_conn_t *conn, const char *error, const char *detail,
    ngx_err_t err)
{
    if (conn->error && conn->stage < conn->reached) {
        return;
    }

    conn->reached = conn->stage;
    conn->error = error;
    conn->detail = detail;
    conn->err = err;
}


static void
ngx_mcp_conn_fail_local(ngx_mcp_conn_t *conn, const char *error)
{
    conn->stage = NGX_MCP_CONN_LOCAL;

    ngx_mcp_conn_error(conn, error, NULL, 0);
    ngx_mcp_conn_fail(conn);
}


static void
ngx_mcp_conn_fail(ngx_mcp_conn_t *conn)
{
    ngx_mcp_conn_close(conn);

    ngx_log_debug1(NGX_LOG_DEBUG_EVENT, conn->log, 0,
                   "mcp connection failed: %s", conn->error);

    conn->failed(conn);
}


/* The first event of the socket, whichever it is. */
static void
ngx_mcp_conn_connected(ngx_event_t *ev)
{
    int                err;
    socklen_t          len;
    ngx_mcp_conn_t    *conn;
    ngx_connection_t  *c;

    c = ev->data;
    conn = c->data;

    if (c->close) {
        ngx_mcp_conn_fail_local(conn, "the worker is shutting down");
        return;
    }

    err = 0;
    len = sizeof(int);

    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, (void *) &err, &len) == -1) {
        err = ngx_socket_errno;
    }

    if (err) {
        ngx_mcp_conn_error(conn, ngx_mcp_conn_strerror(err), NULL, err);
        ngx_mcp_conn_next(conn);
        return;
    }

    if (conn->ssl) {
        ngx_mcp_conn_ssl_init(conn);
        return;
    }

    ngx_mcp_conn_ready(conn);
}


static void
ngx_mcp_conn_timeout(ngx_event_t *ev)
{
    ngx_mcp_conn_t  *conn;

    conn = ev->data;
    ngx_mcp_conn_error(conn, conn->late, NULL, 0);
    ngx_mcp_conn_next(conn);
}


static const char *
ngx_mcp_conn_strerror(ngx_err_t err)
{
    switch (err) {

    case NGX_ECONNREFUSED:
        return "connection refused";

    case NGX_ECONNRESET:
        return "connection reset";

    case NGX_ETIMEDOUT:
        return "timed out connecting";

    case NGX_ENETUNREACH:
    case NGX_EHOSTUNREACH:
    case NGX_ENETDOWN:
    case NGX_EHOSTDOWN:
        return "host unreachable";

    default:
        return "cannot connect";
    }
}


static void
ngx_mcp_conn_ssl_init(ngx_mcp_conn_t *conn)
{
    ngx_connection_t  *c;

    c = conn->peer.connection;

    conn->stage = NGX_MCP_CONN_TLS;
    conn->late = "timed out in the TLS handshake";
    conn->tls_closed = 0;

    if (ngx_ssl_create_connection(conn->ssl, c, NGX_SSL_CLIENT) != NGX_OK) {
        ngx_mcp_conn_fail_local(conn, "cannot start TLS");
        return;
    }

    c->ssl->handler = ngx_mcp_conn_ssl_handler;

    SSL_set_msg_callback(c->ssl->connection, ngx_mcp_conn_ssl_message);
    SSL_set_msg_callback_arg(c->ssl->connection, conn);

    /* RFC 6066, section 3: literal addresses are not permitted in SNI */

    if (!conn->name_literal
        && SSL_set_tlsext_host_name(c->ssl->connection,
                                    (char *) conn->name.data)
           == 0)
    {
        ngx_mcp_conn_fail_local(conn, "cannot start TLS");
        return;
    }

    ngx_mcp_conn_ssl_done(conn, ngx_ssl_handshake(c));
}


static void
ngx_mcp_conn_ssl_event(ngx_event_t *ev)
{
    ngx_mcp_conn_t    *conn;
    ngx_connection_t  *c;

    c = ev->data;
    conn = c->data;

    if (c->close) {
        ngx_mcp_conn_fail_local(conn, "the worker is shutting down");
        return;
    }

    ngx_mcp_conn_ssl_done(conn, ngx_ssl_handshake(c));
}


/* nginx's way to tell the result; ours comes first, but it may want one. */
static void
ngx_mcp_conn_ssl_handler(ngx_connection_t *c)
{
    ngx_mcp_conn_ssl_done(c->data, c->ssl->handshaked ? NGX_OK : NGX_ERROR);
}


static void
ngx_mcp_conn_ssl_done(ngx_mcp_conn_t *conn, ngx_int_t rc)
{
    ngx_connection_t  *c;

    c = conn->peer.connection;

    if (rc == NGX_AGAIN) {

        /* ngx_ssl_handshake() has put its own handlers there */

        c->read->handler = ngx_mcp_conn_ssl_event;
        c->write->handler = ngx_mcp_conn_ssl_event;
        return;
    }

    if (rc != NGX_OK || !c->ssl->handshaked) {
        ngx_mcp_conn_error(conn, "TLS handshake failed", NULL, 0);
        ngx_mcp_conn_next(conn);
        return;
    }

    if (ngx_mcp_conn_ssl_verify(conn) == NGX_OK) {
        ngx_mcp_conn_ready(conn);
        return;
    }

    /*
     * another address of the same service would show the same certificate:
     * only fresh addresses are worth a second look
     */

    conn->current = conn->naddrs;
    ngx_mcp_conn_next(conn);
}


static ngx_int_t
ngx_mcp_conn_ssl_verify(ngx_mcp_conn_t *conn)
{
    long               result;
    ngx_int_t          rc;
    ngx_connection_t  *c;

    c = conn->peer.connection;
    conn->stage = NGX_MCP_CONN_VERIFY;

    result = SSL_get_verify_result(c->ssl->connection);

    if (result != X509_V_OK) {
        ngx_mcp_conn_error(conn, "certificate verify failed",
                           X509_verify_cert_error_string(result), 0);
        return NGX_ERROR;
    }

    /* both refuse a peer without a certificate, for which result is OK */

    if (conn->name_literal) {
        rc = ngx_mcp_conn_ssl_check_ip(conn);

    } else {
        rc = ngx_ssl_check_host(c, &conn->name);
    }

    ERR_clear_error();

    if (rc != NGX_OK) {
        ngx_mcp_conn_error(conn, "certificate does not match the host name",
                           NULL, 0);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* ngx_ssl_check_host() never matches an IP address. */
static ngx_int_t
ngx_mcp_conn_ssl_check_ip(ngx_mcp_conn_t *conn)
{
    int    rc;
    X509  *cert;

    cert = SSL_get_peer_certificate(conn->peer.connection->ssl->connection);
    if (cert == NULL) {
        return NGX_ERROR;
    }

    rc = X509_check_ip_asc(cert, (char *) conn->name.data, 0);

    X509_free(cert);

    return rc == 1 ? NGX_OK : NGX_ERROR;
}


/*
 * nginx sets SSL_OP_IGNORE_UNEXPECTED_EOF, so that a connection cut by anybody
 * looks like one that was closed.  Only the alert itself tells.
 */
static void
ngx_mcp_conn_ssl_message(int write, int version, int type, const void *buf,
    size_t len, SSL *ssl, void *arg)
{
    const u_char    *alert = buf;
    ngx_mcp_conn_t  *conn = arg;

    (void) version;
    (void) ssl;

    if (!write && type == SSL3_RT_ALERT && len == 2
        && alert[1] == SSL_AD_CLOSE_NOTIFY)
    {
        conn->tls_closed = 1;
    }
}


static void
ngx_mcp_conn_ready(ngx_mcp_conn_t *conn)
{
    if (conn->timer.timer_set) {
        ngx_del_timer(&conn->timer);
    }

    conn->connection = conn->peer.connection;
    conn->error = NULL;
    conn->detail = NULL;
    conn->err = 0;

    conn->ready(conn);
}


static void
ngx_mcp_conn_close_peer(ngx_mcp_conn_t *conn)
{
    ngx_connection_t  *c;

    c = conn->peer.connection;

    conn->peer.connection = NULL;
    conn->connection = NULL;

    if (c == NULL) {
        return;
    }

    if (c->ssl) {

        /* with both flags it neither writes nor waits: it only frees */

        c->ssl->no_wait_shutdown = 1;
        c->ssl->no_send_shutdown = 1;

        (void) ngx_ssl_shutdown(c);

        ERR_clear_error();
    }

    ngx_close_connection(c);
}
