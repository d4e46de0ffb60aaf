/*
 * A small HTTPS client on nginx's event loop: key sets and discovery now,
 * token endpoints later.
 *
 * One fetch is one connection: HTTP/1.1, `Connection: close`, verified TLS, no
 * redirects, no cookies, identity encoding, everything bounded.  It belongs to
 * no request: it has its own pool and log, so many requests may wait for one
 * fetch and any of them may go.  No call blocks.
 */

#ifndef NGX_MCP_FETCH_H
#define NGX_MCP_FETCH_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "ngx_mcp_conn.h"


/*
 * How to reach the hosts of one configuration block; made at configuration
 * time, read-only afterwards.
 */
typedef struct {
    ngx_mcp_conn_conf_t  conn;
    ngx_msec_t           timeout;       /* ms, the whole fetch */
    size_t               max_header;    /* bytes */
} ngx_mcp_fetch_conf_t;


typedef struct {
    ngx_str_t            url;           /* as given */
    ngx_str_t            host;          /* without brackets */
    ngx_str_t            host_header;   /* host[:port] as in the URL */
    ngx_str_t            uri;           /* path and query, "/" at least */
    in_port_t            port;
    unsigned             tls:1;
    unsigned             literal:1;     /* host is an IP address */
} ngx_mcp_url_t;


typedef struct {
    const char          *error;         /* sentence, valid during the callback;
                                           NULL: got a complete response */
    ngx_uint_t           status;
    ngx_str_t            body;          /* valid during the callback only */
    ngx_str_t            content_type;
    time_t               max_age;       /* s, Cache-Control; -1: none */
    time_t               retry_after;   /* s; -1: none */
    ngx_uint_t           sent;          /* with an error: 0 when not a byte of
                                           the request left */
} ngx_mcp_fetch_result_t;


typedef struct ngx_mcp_fetch_s  ngx_mcp_fetch_t;

typedef void (*ngx_mcp_fetch_pt)(void *data, ngx_mcp_fetch_result_t *res);


typedef struct {
    const ngx_mcp_fetch_conf_t  *conf;
    ngx_str_t            method;        /* "GET", "POST" */
    ngx_mcp_url_t        url;           /* copied */
    ngx_str_t            headers;       /* whole lines with CRLF, or empty */
    ngx_str_t            body;          /* POST */
    size_t               max_body;      /* bytes; more is an error */
    unsigned             quiet:1;       /* the caller logs failures */
    ngx_mcp_fetch_pt     done;
    void                *data;
} ngx_mcp_fetch_request_t;


/*
 * Parses an absolute http or https URL.  Refuses userinfo, fragments, controls
 * and spaces, and http:// to a host that is not loopback (127.0.0.0/8, ::1,
 * localhost).  NGX_OK or NGX_ERROR with *error static.  Strings point into
 * pool or text.
 */
ngx_int_t ngx_mcp_url_parse(ngx_pool_t *pool, ngx_str_t *text,
    ngx_mcp_url_t *url, const char **error);

/*
 * The host and port of a URL, or "HOST[:PORT]" by itself: fills host,
 * host_header, literal, and port unless it has none.  NULL, or what is wrong.
 */
const char *ngx_mcp_url_authority(ngx_pool_t *pool, ngx_str_t *text,
    ngx_mcp_url_t *url);

/* 1: the host is this machine whatever a name server says. */
ngx_uint_t ngx_mcp_url_loopback(ngx_mcp_url_t *url);

/*
 * Configuration time, when http {} is complete: TLS context and addresses, as
 * ngx_mcp_conn_conf_ssl() and _resolver() say.  url may be NULL.  timeout and
 * max_header: 0 takes 10 s and 16k.  NGX_OK, or NGX_ERROR after logging at
 * emerg with file and line.
 */
ngx_int_t ngx_mcp_fetch_conf_init(ngx_conf_t *cf, ngx_mcp_fetch_conf_t *fc,
    ngx_mcp_url_t *url, ngx_str_t *trusted);

/*
 * Starts a fetch.  NGX_AGAIN: done will be called exactly once, never before
 * this returns; *fetch may be used to cancel until then.  NGX_ERROR: done will
 * not be called (logged).  Everything in req but conf is copied; so is log,
 * whose file must outlive the fetch: the cycle's, not a request's.  A failure
 * is logged here, once, at error level (quiet: info), without the query of the
 * URL.
 */
ngx_int_t ngx_mcp_fetch_start(ngx_mcp_fetch_request_t *req, ngx_log_t *log,
    ngx_mcp_fetch_t **fetch);

/* done will not be called; everything is freed. */
void ngx_mcp_fetch_cancel(ngx_mcp_fetch_t *fetch);


#endif /* NGX_MCP_FETCH_H */
