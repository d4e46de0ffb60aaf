/*
 * Header and body filter: what of the response reaches the caller.
 *
 * The header filter takes away what an upstream must not tell a client
 * (challenges, cookies), turns what is the gateway's own trouble into 502, and
 * chooses how the body is read.  The body is always read: lists are recognised
 * by shape, whatever the request was and whatever the Content-Type says.
 *
 *   JSON     one document streams through core/mcp_list_filter.  The header is
 *            held back until the document ends or NGX_MCP_HOLD bytes of output
 *            are there, so that a response that is no JSON becomes a clear
 *            error; after that the only honest end is to cut the connection.
 *   SSE      each event is read when its blank line is there, filtered and
 *            sent; an event whose data cannot be read is dropped.  Upstream
 *            buffering is switched off: a stream stays a stream.
 *   REPLACE  our JSON-RPC error goes out in place of the body.
 *
 * Input buffers are consumed and never pointed at afterwards, except that
 * nothing is taken while the client has not taken what it was given: a slow
 * client slows the upstream down and costs one buffer.  Output buffers are
 * ours, recycled when they were sent, so that an hour of events costs what one
 * costs.  The filter's context belongs to the request (or subrequest) that it
 * reads; whose lists it cuts is the main request's.
 */

#include "ngx_mcp_filter.h"
#include "ngx_mcp_connect.h"
#include "ngx_mcp_session.h"
#include "ngx_mcp_stream.h"
#include "ngx_mcp_reply.h"


static ngx_int_t ngx_mcp_filter_init(ngx_conf_t *cf);
static ngx_int_t ngx_mcp_header_filter(ngx_http_request_t *r);
static ngx_int_t ngx_mcp_header_other(ngx_http_request_t *r,
    ngx_mcp_ctx_t *ctx);
static ngx_int_t ngx_mcp_header_upstream(ngx_http_request_t *r,
    ngx_mcp_ctx_t *ctx);
static ngx_int_t ngx_mcp_header_revoked(ngx_http_request_t *r,
    ngx_mcp_ctx_t *ctx, ngx_mcp_filter_ctx_t *fc, const char *reason);
static void ngx_mcp_header_strip(ngx_http_request_t *r, ngx_uint_t all);
static ngx_uint_t ngx_mcp_is_encoded(ngx_http_request_t *r);
static ngx_mcp_filter_ctx_t *ngx_mcp_filter_create(ngx_http_request_t *r,
    ngx_mcp_ctx_t *ctx, ngx_mcp_filter_mode_e mode);
static ngx_uint_t ngx_mcp_is_event_stream(ngx_http_request_t *r);
static void ngx_mcp_filter_buffer(ngx_http_request_t *r,
    ngx_http_upstream_t *u);
static ngx_int_t ngx_mcp_header_session(ngx_http_request_t *r,
    ngx_mcp_ctx_t *ctx, ngx_int_t rc);
static ngx_int_t ngx_mcp_header_refused(ngx_http_request_t *r,
    ngx_mcp_ctx_t *ctx);
static ngx_int_t ngx_mcp_header_replace(ngx_http_request_t *r,
    ngx_mcp_ctx_t *ctx, ngx_uint_t status, ngx_int_t code,
    const char *message, const char *reason);


static ngx_http_module_t  ngx_http_mcp_filter_module_ctx = {
    NULL,                                  /* preconfiguration */
    ngx_mcp_filter_init,                   /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_mcp_filter_module = {
    NGX_MODULE_V1,
    &ngx_http_mcp_filter_module_ctx,       /* module context */
    NULL,                                  /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


ngx_http_output_header_filter_pt  ngx_mcp_next_header_filter;
ngx_http_output_body_filter_pt    ngx_mcp_next_body_filter;


static ngx_int_t
ngx_mcp_filter_init(ngx_conf_t *cf)
{
    ngx_mcp_main_conf_t  *mmcf;

    mmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_mcp_auth_module);

    if (!mmcf->used) {
        return NGX_OK;
    }

    /* whatever way a header goes out, CORS is its last step */

    ngx_mcp_cors_next_filter = ngx_http_top_header_filter;
    ngx_mcp_next_header_filter = ngx_mcp_cors_filter;
    ngx_http_top_header_filter = ngx_mcp_header_filter;

    ngx_mcp_next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = ngx_mcp_body_filter;

    return NGX_OK;
}


static ngx_int_t
ngx_mcp_header_filter(ngx_http_request_t *r)
{
    ngx_mcp_ctx_t       *ctx;
    ngx_mcp_loc_conf_t  *mlcf;

    mlcf = ngx_http_get_module_loc_conf(r, ngx_http_mcp_auth_module);
    ctx = ngx_mcp_get_ctx(r->main);

    if (mlcf->connect && r == r->main
        && ngx_mcp_connect_headers(r) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ctx == NULL) {

        if (mlcf->server == NULL || r != r->main) {
            return ngx_mcp_next_header_filter(r);
        }

        /* nginx itself refuses a request before any phase of ours */

        ctx = ngx_mcp_create_ctx(r);
        if (ctx == NULL) {
            return NGX_ERROR;
        }
    }

    if (ctx->local || ctx->server == NULL) {
        return ngx_mcp_next_header_filter(r);
    }

    if (r != r->main && r->header_only) {

        /* a mirror's or auth_request's: its body goes nowhere */

        return ngx_mcp_next_header_filter(r);
    }

    if (r->upstream && r->upstream->cleanup) {
        return ngx_mcp_header_upstream(r, ctx);
    }

    if (r != r->main) {
        return ngx_mcp_next_header_filter(r);
    }

    return ngx_mcp_header_other(r, ctx);
}


/*
 * A response that no upstream made: nginx's own error, or what error_page or
 * X-Accel-Redirect put in place of an upstream's, with headers of it.
 */
static ngx_int_t
ngx_mcp_header_other(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx)
{
    ngx_int_t            rc;
    ngx_uint_t           status, done;
    ngx_mcp_loc_conf_t  *mlcf;

    mlcf = ngx_http_get_module_loc_conf(r, ngx_http_mcp_auth_module);
    status = r->headers_out.status;
    done = (ctx->state == NGX_MCP_DONE);

    if (done) {
        rc = ngx_mcp_session_response(r, ctx);

        if (rc != NGX_OK) {
            return ngx_mcp_header_session(r, ctx, rc);
        }

        ngx_mcp_header_strip(r, 0);
    }

    if (done && r->upstream
        && (status == NGX_HTTP_UNAUTHORIZED || status == NGX_HTTP_FORBIDDEN)
        && status == r->upstream->headers_in.status_n)
    {
        return ngx_mcp_header_refused(r, ctx);
    }

    if (mlcf->server == NULL) {

        /* the operator's own page */

        if (done && status >= NGX_HTTP_INTERNAL_SERVER_ERROR) {
            ngx_mcp_outcome(ctx, "error", "upstream_failed");
        }

        return ngx_mcp_next_header_filter(r);
    }

    if (status == NGX_HTTP_REQUEST_ENTITY_TOO_LARGE && !done) {

        /* nginx's own limit, which is not above mcp_max_body */

        return ngx_mcp_header_replace(r, ctx, status, -32600,
                                      "Request too large", "body_too_large");
    }

    if (status >= NGX_HTTP_BAD_REQUEST) {
        return ngx_mcp_header_replace(r, ctx, status,
                                      done ? -32603 : (ngx_int_t) status,
                                      done ? "Upstream failed" : "Refused",
                                      done ? "upstream_failed" : "nginx");
    }

    return ngx_mcp_header_upstream(r, ctx);
}


/* A response for an authorised caller, from an upstream or another handler. */
static ngx_int_t
ngx_mcp_header_upstream(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx)
{
    ngx_int_t              rc;
    ngx_str_t              value;
    ngx_uint_t             status;
    const char            *reason;
    ngx_mcp_filter_ctx_t  *fc;

    if (ctx->principal == NULL || ctx->state != NGX_MCP_DONE) {
        return ngx_mcp_next_header_filter(r);
    }

    status = r->headers_out.status;

    if (status == NGX_HTTP_UNAUTHORIZED || status == NGX_HTTP_FORBIDDEN) {
        return ngx_mcp_header_refused(r, ctx);
    }

    if (r->upstream) {

        /* a protocol switch would leave the filter aside */

        r->upstream->upgrade = 0;
    }

    if (r->http_version < NGX_HTTP_VERSION_10) {

        /* nginx takes bytes without a status line for HTTP/0.9 */

        r->http_version = NGX_HTTP_VERSION_10;
    }

    if (status < NGX_HTTP_OK
        || status == NGX_HTTP_PARTIAL_CONTENT
        || (status >= NGX_HTTP_SPECIAL_RESPONSE
            && status < NGX_HTTP_BAD_REQUEST))
    {
        return ngx_mcp_header_replace(r, ctx, NGX_HTTP_BAD_GATEWAY, -32603,
                                      "Upstream sent an unexpected status",
                                      "upstream_status");
    }

    if (ngx_mcp_is_encoded(r)) {
        return ngx_mcp_header_replace(r, ctx, NGX_HTTP_BAD_GATEWAY, -32603,
                                      "Upstream sent an encoded response",
                                      "upstream_encoding");
    }

    rc = ngx_mcp_session_response(r, ctx);

    if (rc != NGX_OK) {
        return ngx_mcp_header_session(r, ctx, rc);
    }

    ngx_mcp_header_strip(r, 0);

    if (status == NGX_HTTP_NO_CONTENT
        || r->header_only
        || r->headers_out.content_length_n == 0)
    {
        return ngx_mcp_next_header_filter(r);
    }

    fc = ngx_mcp_filter_create(r, ctx, ngx_mcp_is_event_stream(r)
                                       ? NGX_MCP_FILTER_SSE
                                       : NGX_MCP_FILTER_JSON);
    if (fc == NULL) {
        return NGX_ERROR;
    }

    if (r->headers_out.content_length_n > 0) {

        /* room for the whole document, when it can be held back */

        fc->expect = ngx_min(r->headers_out.content_length_n
                             + NGX_MCP_OUT_MORE,
                             NGX_MCP_HOLD + NGX_MCP_OUT_MIN);

        if (fc->mode == NGX_MCP_FILTER_JSON && fc->upstream
            && !fc->upstream->buffering)
        {
            ngx_mcp_filter_buffer(r, fc->upstream);
        }
    }

    ngx_http_clear_content_length(r);
    ngx_http_clear_accept_ranges(r);
    ngx_http_clear_last_modified(r);
    ngx_http_clear_etag(r);

    r->allow_ranges = 0;
    r->filter_need_in_memory = 1;

    if (fc->mode == NGX_MCP_FILTER_JSON) {
        fc->header_held = 1;
        return NGX_OK;
    }

    if (fc->upstream) {
        fc->upstream->buffering = 0;

        rc = ngx_mcp_stream_open(r, ctx, &reason);

        if (rc != NGX_OK) {
            return rc == NGX_ERROR
                   ? NGX_ERROR : ngx_mcp_header_revoked(r, ctx, fc, reason);
        }
    }

    fc->unflushed = 1;

    ngx_str_set(&value, "no");

    if (ngx_mcp_add_header(r, "X-Accel-Buffering", &value) == NULL) {
        return NGX_ERROR;
    }

    return ngx_mcp_next_header_filter(r);
}


/*
 * Without buffering nginx reads a body by the 4k or 8k that it has for the
 * header.  Of a document that is held back until its end nothing leaves
 * earlier, so it may as well be read at once.  Nothing of the upstream's is in
 * that buffer any more but the beginning of the body.
 */
static void
ngx_mcp_filter_buffer(ngx_http_request_t *r, ngx_http_upstream_t *u)
{
    u_char     *p;
    size_t      size, len;
    ngx_buf_t  *b;

    b = &u->buffer;
    len = b->last - b->pos;

    /* with room for what should not come: then nginx sees it */

    size = ngx_min(r->headers_out.content_length_n, NGX_MCP_HOLD)
           + NGX_MCP_OUT_MORE;

    if (size <= (size_t) (b->end - b->pos)) {
        return;
    }

    p = ngx_palloc(r->pool, size);
    if (p == NULL) {
        return;
    }

    b->last = ngx_cpymem(p, b->pos, len);
    b->pos = p;
    b->start = p;
    b->end = p + size;
}


/* The upstream's session cannot be told to the caller. */
static ngx_int_t
ngx_mcp_header_session(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    ngx_int_t rc)
{
    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    ngx_mcp_header_strip(r, 1);

    return ngx_mcp_header_replace(r, ctx, NGX_HTTP_BAD_GATEWAY, -32603,
                                  "Upstream sent an invalid session id",
                                  "upstream_session");
}


/* Who was revoked since the request was forwarded has no stream. */
static ngx_int_t
ngx_mcp_header_revoked(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    ngx_mcp_filter_ctx_t *fc, const char *reason)
{
    if (ngx_mcp_replace_prepare(r, fc, NGX_HTTP_UNAUTHORIZED, 401,
                                "Unauthorized", reason)
        != NGX_OK
        || ngx_mcp_add_header(r, "WWW-Authenticate",
                              &ctx->server->challenge_invalid)
           == NULL)
    {
        return NGX_ERROR;
    }

    return ngx_mcp_next_header_filter(r);
}


/*
 * Headers of the upstream that are not for this client; all: everything, as
 * they were about a body that is replaced.
 */
static void
ngx_mcp_header_strip(ngx_http_request_t *r, ngx_uint_t all)
{
    ngx_uint_t        i, j;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    static const ngx_str_t  names[] = {
        ngx_string("WWW-Authenticate"),
        ngx_string("Proxy-Authenticate"),
        ngx_string("Authentication-Info"),
        ngx_string("Set-Cookie"),
        ngx_string("Set-Cookie2"),
        ngx_string("DPoP-Nonce"),
        ngx_string("Content-MD5"),
        ngx_string("Digest"),
        ngx_string("Content-Digest"),
        ngx_string("Repr-Digest"),
        ngx_string("Signature"),
        ngx_string("Signature-Input"),
        ngx_string("Content-Range"),
        ngx_string("Clear-Site-Data"),
        ngx_string("Alt-Svc"),
        ngx_string("Refresh"),
        ngx_string("Link"),
        ngx_string("Location"),
        ngx_string("Content-Location"),
        ngx_string("Trailer"),

        /* about the gateway's origin, which others share */

        ngx_string("Strict-Transport-Security"),
        ngx_string("Public-Key-Pins"),
        ngx_string("Report-To"),
        ngx_string("Reporting-Endpoints"),
        ngx_string("NEL"),
        ngx_string("Service-Worker-Allowed"),
        ngx_string("Speculation-Rules"),
        ngx_string("Accept-CH")
    };

    part = &r->headers_out.headers.part;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                break;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (all) {
            h[i].hash = 0;
            continue;
        }

        for (j = 0; j < sizeof(names) / sizeof(names[0]); j++) {
            if (h[i].key.len == names[j].len
                && ngx_strncasecmp(h[i].key.data, names[j].data,
                                   names[j].len) == 0)
            {
                h[i].hash = 0;
                break;
            }
        }
    }

    if (r->headers_out.location && r->headers_out.location->hash == 0) {

        /* nginx would write it anew */

        r->headers_out.location = NULL;
    }

    if (all) {
        r->headers_out.www_authenticate = NULL;
        r->headers_out.content_encoding = NULL;
        r->headers_out.refresh = NULL;
    }
}


/* Any Content-Encoding of several: what is read is not what it says. */
static ngx_uint_t
ngx_mcp_is_encoded(ngx_http_request_t *r)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    static const char  name[] = "Content-Encoding";

    part = &r->headers_out.headers.part;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                return 0;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (h[i].hash
            && h[i].key.len == sizeof(name) - 1
            && ngx_strncasecmp(h[i].key.data, (u_char *) name,
                               sizeof(name) - 1)
               == 0
            && !mcp_str_caseeq(h[i].value.data, h[i].value.len, "identity",
                               8))
        {
            return 1;
        }
    }
}


static ngx_mcp_filter_ctx_t *
ngx_mcp_filter_create(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    ngx_mcp_filter_mode_e mode)
{
    ngx_mcp_loc_conf_t    *conf;
    ngx_mcp_main_conf_t   *mmcf;
    ngx_mcp_filter_ctx_t  *fc;

    fc = ngx_mcp_block_alloc(ctx, sizeof(ngx_mcp_filter_ctx_t));
    if (fc == NULL) {
        return NULL;
    }

    ngx_memzero(fc, sizeof(ngx_mcp_filter_ctx_t));

    fc->request = r;
    fc->expect = NGX_MCP_OUT_MIN;
    fc->main = ctx;
    fc->mode = mode;

    if (r->upstream && r->upstream->cleanup) {
        fc->upstream = r->upstream;
    }

    ngx_http_set_ctx(r, fc, ngx_http_mcp_filter_module);

    if (mode == NGX_MCP_FILTER_REPLACE) {
        return fc;
    }

    mmcf = ngx_http_get_module_main_conf(r, ngx_http_mcp_auth_module);
    conf = ctx->conf;

    fc->list_buf = ngx_mcp_block_alloc(ctx, 2 * conf->max_name + 64);
    if (fc->list_buf == NULL) {
        return NULL;
    }

    fc->list_conf.visible = ngx_mcp_filter_visible;
    fc->list_conf.task = ngx_mcp_filter_task;
    fc->list_conf.emit = ngx_mcp_filter_emit;
    fc->list_conf.grow = ngx_mcp_filter_grow;
    fc->list_conf.data = fc;
    fc->list_conf.max_depth = conf->max_depth;
    fc->list_conf.max_name = conf->max_name;
    fc->list_conf.max_entry = conf->max_list_entry;

    mcp_list_filter_init(&fc->list, &fc->list_conf, fc->list_buf);
    mcp_sse_init(&fc->sse);

    if (!ctx->has_result_digest && ngx_mcp_log_wanted(ctx)) {
        mcp_long_init(&ctx->result, &mmcf->results);
        ctx->has_result_digest = 1;
    }

    return fc;
}


static ngx_uint_t
ngx_mcp_is_event_stream(ngx_http_request_t *r)
{
    ngx_str_t  *type;

    static const char  name[] = "text/event-stream";

    type = &r->headers_out.content_type;

    return type->len >= sizeof(name) - 1
           && ngx_strncasecmp(type->data, (u_char *) name, sizeof(name) - 1)
              == 0
           && (type->len == sizeof(name) - 1
               || type->data[sizeof(name) - 1] == ';'
               || type->data[sizeof(name) - 1] == ' ');
}


/*
 * 401 and 403 are about our credential.  Of somebody's own account it may be
 * that access was taken back where the gateway is not told; only that person
 * can know, and mend it.
 */
static ngx_int_t
ngx_mcp_header_refused(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx)
{
    u_char                *p;
    size_t                 size;
    const char            *message;
    ngx_mcp_credential_t  *cr;

    message = "Upstream refused the credential of the gateway";
    cr = ctx->credential;

    if (cr && cr->connect_url.len) {
        size = cr->name.len + cr->connect_url.len + 256;

        p = ngx_pnalloc(r->pool, size);
        if (p == NULL) {
            return NGX_ERROR;
        }

        ngx_sprintf(p, "Upstream refused your account for \"%V\".  If access "
                    "was taken back or is too narrow, disconnect it at %V and "
                    "connect it again.%Z", &cr->name, &cr->connect_url);

        message = (const char *) p;
    }

    return ngx_mcp_header_replace(r, ctx, NGX_HTTP_BAD_GATEWAY, -32603,
                                  message, "upstream_credential");
}


static ngx_int_t
ngx_mcp_header_replace(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    ngx_uint_t status, ngx_int_t code, const char *message,
    const char *reason)
{
    ngx_mcp_filter_ctx_t  *fc;

    fc = ngx_mcp_filter_create(r, ctx, NGX_MCP_FILTER_REPLACE);

    if (fc == NULL
        || ngx_mcp_replace_prepare(r, fc, status, code, message, reason)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (fc->upstream) {

        /* nginx would hold back what comes of the body until a buffer is full
         * or the body has ended, and us with it */

        fc->upstream->buffering = 0;
    }

    return ngx_mcp_next_header_filter(r);
}


ngx_int_t
ngx_mcp_replace_prepare(ngx_http_request_t *r, ngx_mcp_filter_ctx_t *fc,
    ngx_uint_t status, ngx_int_t code, const char *message,
    const char *reason)
{
    ngx_mcp_ctx_t  *ctx;

    ctx = fc->main;

    /* what was decided first stays: a record says one thing */

    if (ctx->decision == NULL || ctx->state == NGX_MCP_DONE) {
        ngx_mcp_outcome(ctx, "error", reason);
    }

    ctx->rpc_code = code;
    ctx->has_rpc_code = 1;

    if (ngx_mcp_reply_body(r, ctx, code, message, &fc->replace) != NGX_OK) {
        return NGX_ERROR;
    }

    if (fc->upstream) {
        ngx_mcp_header_strip(r, 1);
    }

    fc->mode = NGX_MCP_FILTER_REPLACE;

    r->headers_out.status = status;
    r->headers_out.status_line.len = 0;
    r->headers_out.content_length_n = fc->replace.len;

    if (r->headers_out.content_length) {
        r->headers_out.content_length->hash = 0;
        r->headers_out.content_length = NULL;
    }

    ngx_str_set(&r->headers_out.content_type, "application/json");
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;
    ngx_str_null(&r->headers_out.charset);

    return NGX_OK;
}
