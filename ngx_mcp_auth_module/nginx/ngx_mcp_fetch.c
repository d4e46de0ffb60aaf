/*
 * One fetch: request out, response in; ngx_mcp_fetch.h is the contract.
 *
 * A fetch owns its pool, and with it everything: its log, the connection and
 * both buffers.  It begins with an event, never within ngx_mcp_fetch_start(),
 * so that done cannot be called too early, and ends in one place,
 * ngx_mcp_fetch_finish(): connection and timer go first, then done is called,
 * then the pool is destroyed.  After any call that may end it nothing of it is
 * touched.  One timer bounds the whole of it.
 *
 * Bytes of the response are judged by core/mcp_http_parse.c.  Requests and
 * responses may hold secrets: they are wiped and never logged, nor is the
 * query of the URL.
 *
 * URLs and the configuration are in ngx_mcp_fetch_conf.c.
 */

#include "ngx_mcp_fetch.h"
#include "ngx_mcp_conn.h"
#include "mcp_http_parse.h"


#define NGX_MCP_FETCH_RECV  4096


struct ngx_mcp_fetch_s {
    ngx_pool_t           *pool;
    ngx_log_t            *log;
    void                 *data;
    ngx_int_t             ident;        /* after three pointers, as in
                                           ngx_connection_t: for event logs */
    ngx_mcp_fetch_pt      done;
    ngx_event_t           event;        /* the beginning, then the timeout */
    ngx_msec_t            timeout;
    ngx_msec_t            deadline;
    ngx_str_t             url;          /* for logs: without the query */

    ngx_mcp_conn_t        conn;
    ngx_buf_t            *request;
    u_char               *recv;

    mcp_http_t            http;
    u_char               *body;
    size_t                body_len;
    size_t                body_size;

    unsigned              quiet:1;
    unsigned              finished:1;
};


static ngx_mcp_fetch_t *ngx_mcp_fetch_create(ngx_log_t *log);
static ngx_int_t ngx_mcp_fetch_init(ngx_mcp_fetch_t *f,
    ngx_mcp_fetch_request_t *req);
static ngx_int_t ngx_mcp_fetch_init_conn(ngx_mcp_fetch_t *f,
    ngx_mcp_fetch_request_t *req);
static ngx_int_t ngx_mcp_fetch_request(ngx_mcp_fetch_t *f,
    ngx_mcp_fetch_request_t *req);
static ngx_int_t ngx_mcp_fetch_response(ngx_mcp_fetch_t *f,
    ngx_mcp_fetch_request_t *req);
static void ngx_mcp_fetch_begin(ngx_event_t *ev);
static void ngx_mcp_fetch_timeout(ngx_event_t *ev);
static void ngx_mcp_fetch_connected(ngx_mcp_conn_t *conn);
static void ngx_mcp_fetch_not_connected(ngx_mcp_conn_t *conn);
static void ngx_mcp_fetch_write_handler(ngx_event_t *wev);
static void ngx_mcp_fetch_sent_handler(ngx_event_t *wev);
static void ngx_mcp_fetch_read_handler(ngx_event_t *rev);
static int ngx_mcp_fetch_body(void *ctx, const unsigned char *data,
    size_t len);
static void ngx_mcp_fetch_finish(ngx_mcp_fetch_t *f, const char *error);
static const char *ngx_mcp_fetch_error(ngx_mcp_fetch_t *f,
    const char *error);
static void ngx_mcp_fetch_log(ngx_mcp_fetch_t *f, const char *error,
    const char *text);
static void ngx_mcp_fetch_free(ngx_mcp_fetch_t *f);
static u_char *ngx_mcp_fetch_log_error(ngx_log_t *log, u_char *buf,
    size_t len);


ngx_int_t
ngx_mcp_fetch_start(ngx_mcp_fetch_request_t *req, ngx_log_t *log,
    ngx_mcp_fetch_t **fetch)
{
    ngx_mcp_fetch_t  *f;

    *fetch = NULL;

    f = ngx_mcp_fetch_create(log);

    if (f == NULL || ngx_mcp_fetch_init(f, req) != NGX_OK) {
        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "mcp fetch of \"%V\": out of memory", &req->url.host);

        if (f) {
            ngx_mcp_fetch_free(f);
        }

        return NGX_ERROR;
    }

    f->event.handler = ngx_mcp_fetch_begin;
    f->event.data = f;
    f->event.log = f->log;

    ngx_add_timer(&f->event, 0);

    *fetch = f;

    return NGX_AGAIN;
}


void
ngx_mcp_fetch_cancel(ngx_mcp_fetch_t *f)
{
    if (f->finished) {

        /* called by done itself: the end is under way */

        return;
    }

    ngx_log_debug1(NGX_LOG_DEBUG_EVENT, f->log, 0,
                   "mcp fetch of \"%V\" cancelled", &f->url);

    ngx_mcp_fetch_free(f);
}


/* Its own pool and log: it outlives the request that began it. */
static ngx_mcp_fetch_t *
ngx_mcp_fetch_create(ngx_log_t *log)
{
    ngx_pool_t       *pool;
    ngx_mcp_fetch_t  *f;

    pool = ngx_create_pool(4096, log);
    if (pool == NULL) {
        return NULL;
    }

    f = ngx_pcalloc(pool, sizeof(ngx_mcp_fetch_t));
    if (f == NULL) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    f->log = ngx_palloc(pool, sizeof(ngx_log_t));
    if (f->log == NULL) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    *f->log = *log;

    f->log->handler = ngx_mcp_fetch_log_error;
    f->log->data = f;
    f->log->action = NULL;
    f->log->connection = 0;

    f->pool = pool;
    f->pool->log = f->log;
    f->ident = -1;

    return f;
}


static ngx_int_t
ngx_mcp_fetch_init(ngx_mcp_fetch_t *f, ngx_mcp_fetch_request_t *req)
{
    u_char  *query;

    f->done = req->done;
    f->data = req->data;
    f->timeout = req->conf->timeout;
    f->deadline = ngx_current_msec + f->timeout;
    f->quiet = req->quiet;

    f->url.data = ngx_pstrdup(f->pool, &req->url.url);
    if (f->url.data == NULL) {
        return NGX_ERROR;
    }

    query = ngx_strlchr(f->url.data, f->url.data + req->url.url.len, '?');
    f->url.len = query ? (size_t) (query - f->url.data) : req->url.url.len;

    if (ngx_mcp_fetch_init_conn(f, req) != NGX_OK
        || ngx_mcp_fetch_request(f, req) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_mcp_fetch_response(f, req);
}


static ngx_int_t
ngx_mcp_fetch_init_conn(ngx_mcp_fetch_t *f, ngx_mcp_fetch_request_t *req)
{
    ngx_mcp_conn_t  *conn;

    conn = &f->conn;

    conn->pool = f->pool;
    conn->log = f->log;
    conn->data = f;
    conn->port = req->url.port;
    conn->literal = req->url.literal;
    conn->timeout = req->conf->timeout;
    conn->ssl = req->url.tls ? req->conf->conn.ssl : NULL;
    conn->ready = ngx_mcp_fetch_connected;
    conn->failed = ngx_mcp_fetch_not_connected;

    conn->host.len = req->url.host.len;
    conn->host.data = ngx_pnalloc(f->pool, conn->host.len + 1);
    if (conn->host.data == NULL) {
        return NGX_ERROR;
    }

    (void) ngx_cpystrn(conn->host.data, req->url.host.data,
                       conn->host.len + 1);

    return ngx_mcp_conn_addrs(conn, &req->conf->conn);
}


static ngx_int_t
ngx_mcp_fetch_request(ngx_mcp_fetch_t *f, ngx_mcp_fetch_request_t *req)
{
    size_t      len;
    ngx_buf_t  *b;

    static u_char  fixed[] =
        "User-Agent: nginx-mcp-auth" CRLF
        "Accept: application/json, application/*+json" CRLF
        "Accept-Encoding: identity" CRLF
        "Connection: close" CRLF;

    len = req->method.len + sizeof("  HTTP/1.1" CRLF "Host: " CRLF) - 1
          + req->url.uri.len + req->url.host_header.len + sizeof(fixed) - 1
          + sizeof("Content-Length: " CRLF) - 1 + NGX_SIZE_T_LEN
          + req->headers.len + sizeof(CRLF) - 1 + req->body.len;

    b = ngx_create_temp_buf(f->pool, len);
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->last = ngx_sprintf(b->last, "%V %V HTTP/1.1" CRLF "Host: %V" CRLF,
                          &req->method, &req->url.uri, &req->url.host_header);
    b->last = ngx_cpymem(b->last, fixed, sizeof(fixed) - 1);

    if (req->body.len
        || (req->method.len == 4
            && ngx_strncmp(req->method.data, "POST", 4) == 0))
    {
        b->last = ngx_sprintf(b->last, "Content-Length: %uz" CRLF,
                              req->body.len);
    }

    if (req->headers.len) {
        b->last = ngx_cpymem(b->last, req->headers.data, req->headers.len);
    }

    *b->last++ = CR;
    *b->last++ = LF;

    if (req->body.len) {
        b->last = ngx_cpymem(b->last, req->body.data, req->body.len);
    }

    f->request = b;

    return NGX_OK;
}


static ngx_int_t
ngx_mcp_fetch_response(ngx_mcp_fetch_t *f, ngx_mcp_fetch_request_t *req)
{
    f->recv = ngx_palloc(f->pool, NGX_MCP_FETCH_RECV);
    f->http.line = ngx_palloc(f->pool, req->conf->max_header);

    if (f->recv == NULL || f->http.line == NULL) {
        return NGX_ERROR;
    }

    f->http.max_header = req->conf->max_header;
    f->http.max_body = req->max_body;
    f->http.body = ngx_mcp_fetch_body;
    f->http.ctx = f;

    mcp_http_init(&f->http);

    return NGX_OK;
}


static void
ngx_mcp_fetch_begin(ngx_event_t *ev)
{
    ngx_mcp_fetch_t  *f;

    f = ev->data;

    ngx_log_debug1(NGX_LOG_DEBUG_EVENT, f->log, 0,
                   "mcp fetch of \"%V\"", &f->url);

    ev->handler = ngx_mcp_fetch_timeout;
    ev->timedout = 0;

    ngx_add_timer(ev, f->timeout);

    ngx_mcp_conn_open(&f->conn);
}


static void
ngx_mcp_fetch_timeout(ngx_event_t *ev)
{
    ngx_mcp_fetch_t  *f;

    f = ev->data;

    ngx_mcp_fetch_finish(f, f->conn.late);
}


static void
ngx_mcp_fetch_not_connected(ngx_mcp_conn_t *conn)
{
    ngx_mcp_fetch_finish(conn->data, conn->error);
}


static void
ngx_mcp_fetch_connected(ngx_mcp_conn_t *conn)
{
    ngx_mcp_fetch_t   *f;
    ngx_connection_t  *c;

    f = conn->data;
    c = conn->connection;

    if ((ngx_msec_int_t) (ngx_current_msec - f->deadline) >= 0) {

        /* events come before timers: nothing is sent that nobody waits for */

        ngx_mcp_fetch_finish(f, conn->late);
        return;
    }

    conn->late = "timed out waiting for the response";

    c->data = f;
    c->read->handler = ngx_mcp_fetch_read_handler;
    c->write->handler = ngx_mcp_fetch_write_handler;

    ngx_mcp_fetch_write_handler(c->write);
}


static void
ngx_mcp_fetch_write_handler(ngx_event_t *wev)
{
    ssize_t            n;
    ngx_buf_t         *b;
    ngx_mcp_fetch_t   *f;
    ngx_connection_t  *c;

    c = wev->data;
    f = c->data;
    b = f->request;

    while (b->pos < b->last) {

        n = c->send(c, b->pos, b->last - b->pos);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n <= 0) {
            ngx_mcp_fetch_finish(f, "cannot send the request");
            return;
        }

        b->pos += n;
    }

    if (b->pos == b->last) {
        wev->handler = ngx_mcp_fetch_sent_handler;
    }

    if (ngx_handle_write_event(wev, 0) != NGX_OK) {
        ngx_mcp_fetch_finish(f, "cannot send the request");
        return;
    }

    /*
     * what came before our handler was there, with the handshake's last
     * records perhaps, raises no event of its own
     */

    if (c->read->ready) {
        ngx_post_event(c->read, &ngx_posted_events);
    }
}


static void
ngx_mcp_fetch_sent_handler(ngx_event_t *wev)
{
    ngx_log_debug0(NGX_LOG_DEBUG_EVENT, wev->log, 0, "mcp fetch sent already");
}


static void
ngx_mcp_fetch_read_handler(ngx_event_t *rev)
{
    int                rc;
    ssize_t            n;
    ngx_mcp_fetch_t   *f;
    ngx_connection_t  *c;

    c = rev->data;
    f = c->data;

    if (c->close) {
        ngx_mcp_fetch_finish(f, "the worker is shutting down");
        return;
    }

    for ( ;; ) {

        n = c->recv(c, f->recv, NGX_MCP_FETCH_RECV);

        if (n == NGX_AGAIN) {

            if (ngx_handle_read_event(rev, 0) != NGX_OK) {
                ngx_mcp_fetch_finish(f, "cannot read the response");
            }

            return;
        }

        if (n == NGX_ERROR) {
            ngx_mcp_fetch_finish(f, "cannot read the response");
            return;
        }

        if (n == 0) {
            rc = mcp_http_eof(&f->http, c->ssl == NULL || f->conn.tls_closed);

        } else {
            rc = mcp_http_feed(&f->http, f->recv, n);
        }

        if (rc == MCP_OK) {
            ngx_mcp_fetch_finish(f, NULL);
            return;
        }

        if (rc == MCP_ERROR) {
            ngx_mcp_fetch_finish(f, f->http.error);
            return;
        }
    }
}


/* The parser has checked that it fits into max_body. */
static int
ngx_mcp_fetch_body(void *ctx, const unsigned char *data, size_t len)
{
    size_t            size;
    u_char           *p;
    ngx_mcp_fetch_t  *f;

    f = ctx;

    if (len > f->body_size - f->body_len) {

        size = ngx_max(f->body_size * 2, (size_t) NGX_MCP_FETCH_RECV);
        size = ngx_max(size, f->body_len + len);
        size = ngx_min(size, f->http.max_body);

        p = ngx_palloc(f->pool, size);
        if (p == NULL) {
            return MCP_ERROR;
        }

        if (f->body) {
            ngx_memcpy(p, f->body, f->body_len);
            ngx_explicit_memzero(f->body, f->body_len);
            (void) ngx_pfree(f->pool, f->body);
        }

        f->body = p;
        f->body_size = size;
    }

    ngx_memcpy(f->body + f->body_len, data, len);
    f->body_len += len;

    return MCP_OK;
}


/* The end, but for a cancelled one. */
static void
ngx_mcp_fetch_finish(ngx_mcp_fetch_t *f, const char *error)
{
    ngx_mcp_fetch_result_t  res;

    f->finished = 1;

    ngx_mcp_conn_close(&f->conn);

    if (f->event.timer_set) {
        ngx_del_timer(&f->event);
    }

    ngx_memzero(&res, sizeof(ngx_mcp_fetch_result_t));

    res.max_age = -1;
    res.retry_after = -1;
    res.sent = (f->request->pos != f->request->start);

    if (error) {
        res.error = ngx_mcp_fetch_error(f, error);
        ngx_mcp_fetch_log(f, error, res.error);

    } else {
        res.status = f->http.status;
        res.body.data = f->body ? f->body : f->recv;
        res.body.len = f->body_len;
        res.content_type.data = f->http.content_type.data;
        res.content_type.len = f->http.content_type.len;
        res.max_age = (time_t) f->http.max_age;
        res.retry_after = (time_t) f->http.retry_after;

        ngx_log_debug3(NGX_LOG_DEBUG_EVENT, f->log, 0,
                       "mcp fetch of \"%V\": %ui, %uz bytes",
                       &f->url, res.status, res.body.len);
    }

    f->done(f->data, &res);

    ngx_mcp_fetch_free(f);
}


/* With what the connection knows about it. */
static const char *
ngx_mcp_fetch_error(ngx_mcp_fetch_t *f, const char *error)
{
    u_char      *p;
    const char  *detail;

    detail = f->conn.detail;

    if (detail == NULL || error != f->conn.error) {
        return error;
    }

    p = ngx_pnalloc(f->pool, ngx_strlen(error) + ngx_strlen(detail)
                             + sizeof(" ()"));
    if (p == NULL) {
        return error;
    }

    ngx_sprintf(p, "%s (%s)%Z", error, detail);

    return (char *) p;
}


/* The one line about a failure; nginx's own lines name the URL at their end. */
static void
ngx_mcp_fetch_log(ngx_mcp_fetch_t *f, const char *error, const char *text)
{
    ngx_uint_t  level;

    level = f->quiet ? NGX_LOG_INFO : NGX_LOG_ERR;

    f->log->handler = NULL;

    ngx_log_error(level, f->log,
                  error == f->conn.error ? f->conn.err : 0,
                  "mcp fetch of \"%V\": %s", &f->url, text);

    f->log->handler = ngx_mcp_fetch_log_error;
}


static void
ngx_mcp_fetch_free(ngx_mcp_fetch_t *f)
{
    ngx_mcp_conn_close(&f->conn);

    if (f->event.timer_set) {
        ngx_del_timer(&f->event);
    }

    if (f->request) {
        ngx_explicit_memzero(f->request->start,
                             f->request->end - f->request->start);
    }

    if (f->body) {
        ngx_explicit_memzero(f->body, f->body_len);
    }

    if (f->recv) {
        ngx_explicit_memzero(f->recv, NGX_MCP_FETCH_RECV);
    }

    ngx_destroy_pool(f->pool);
}


static u_char *
ngx_mcp_fetch_log_error(ngx_log_t *log, u_char *buf, size_t len)
{
    ngx_mcp_fetch_t  *f;

    f = log->data;

    return ngx_snprintf(buf, len, " while fetching \"%V\"", &f->url);
}
