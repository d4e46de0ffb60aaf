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
 * Input buffers are consumed in every call and never pointed at afterwards;
 * output buffers are ours, recycled when they were sent, so that an hour of
 * events costs what one costs.  The filter's context belongs to the request
 * (or subrequest) that it reads; whose lists it cuts is the main request's.
 */

#include "ngx_mcp_module.h"
#include "ngx_mcp_reply.h"


/* output that may wait with the header for the document's end */
#define NGX_MCP_HOLD      32768
#define NGX_MCP_OUT_MIN   4096


typedef enum {
    NGX_MCP_FILTER_JSON = 1,
    NGX_MCP_FILTER_SSE,
    NGX_MCP_FILTER_REPLACE,
    NGX_MCP_FILTER_ENDED
} ngx_mcp_filter_mode_e;


struct ngx_mcp_filter_ctx_s {
    ngx_http_request_t      *request;
    ngx_mcp_ctx_t           *main;
    ngx_mcp_filter_mode_e    mode;

    mcp_list_filter_conf_t   list_conf;
    mcp_list_filter_t        list;
    u_char                  *list_buf;

    /* an event that is not complete yet */
    mcp_sse_t                sse;
    u_char                  *hold;
    size_t                   hold_len;
    size_t                   hold_size;

    /* the output of this call */
    ngx_buf_t               *out;
    ngx_chain_t             *out_link;
    ngx_chain_t             *free;
    ngx_chain_t             *busy;

    ngx_str_t                replace;
    size_t                   input;

    unsigned                 header_held:1;
    unsigned                 first_event_done:1;
    unsigned                 replaced:1;
};


static ngx_int_t ngx_mcp_filter_init(ngx_conf_t *cf);
static ngx_int_t ngx_mcp_header_filter(ngx_http_request_t *r);
static ngx_int_t ngx_mcp_header_upstream(ngx_http_request_t *r,
    ngx_mcp_ctx_t *ctx);
static void ngx_mcp_header_strip(ngx_http_request_t *r, ngx_uint_t all);
static ngx_mcp_filter_ctx_t *ngx_mcp_filter_create(ngx_http_request_t *r,
    ngx_mcp_ctx_t *ctx, ngx_mcp_filter_mode_e mode);
static ngx_uint_t ngx_mcp_is_event_stream(ngx_http_request_t *r);
static ngx_int_t ngx_mcp_header_replace(ngx_http_request_t *r,
    ngx_mcp_ctx_t *ctx, ngx_uint_t status, ngx_int_t code,
    const char *message, const char *reason);
static ngx_int_t ngx_mcp_replace_prepare(ngx_http_request_t *r,
    ngx_mcp_filter_ctx_t *fc, ngx_uint_t status, ngx_int_t code,
    const char *message, const char *reason);
static ngx_int_t ngx_mcp_body_filter(ngx_http_request_t *r, ngx_chain_t *in);
static ngx_int_t ngx_mcp_body_replace(ngx_http_request_t *r,
    ngx_mcp_filter_ctx_t *fc, ngx_chain_t *in);
static ngx_int_t ngx_mcp_body_read(ngx_mcp_filter_ctx_t *fc, ngx_chain_t *in,
    ngx_uint_t *last, ngx_uint_t *flush);
static ngx_int_t ngx_mcp_body_send(ngx_http_request_t *r,
    ngx_mcp_filter_ctx_t *fc, ngx_uint_t last, ngx_uint_t flush);
static ngx_int_t ngx_mcp_body_send_header(ngx_http_request_t *r,
    ngx_mcp_filter_ctx_t *fc, ngx_uint_t last);
static ngx_int_t ngx_mcp_body_fail(ngx_http_request_t *r,
    ngx_mcp_filter_ctx_t *fc, const char *reason);
static ngx_int_t ngx_mcp_json_feed(ngx_mcp_filter_ctx_t *fc, u_char *p,
    size_t len, ngx_uint_t eof);
static ngx_int_t ngx_mcp_sse_feed(ngx_mcp_filter_ctx_t *fc, u_char *p,
    size_t len);
static ngx_int_t ngx_mcp_sse_hold(ngx_mcp_filter_ctx_t *fc, const u_char *p,
    size_t len);
static ngx_int_t ngx_mcp_sse_event(ngx_mcp_filter_ctx_t *fc, const u_char *p,
    const u_char *last);
static ngx_int_t ngx_mcp_sse_rewrite(ngx_mcp_filter_ctx_t *fc,
    const u_char *p, const u_char *last, ngx_uint_t first, size_t mark);
static ngx_int_t ngx_mcp_sse_error(ngx_mcp_filter_ctx_t *fc);
static void ngx_mcp_filter_outcome(ngx_mcp_filter_ctx_t *fc);
static int ngx_mcp_filter_visible(void *data, mcp_list_e list,
    const mcp_str_t *name);
static int ngx_mcp_filter_emit(void *data, const unsigned char *p,
    size_t len);
static unsigned char *ngx_mcp_filter_grow(void *data, unsigned char *old,
    size_t used, size_t size);


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


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;
static ngx_http_output_body_filter_pt    ngx_http_next_body_filter;


static ngx_int_t
ngx_mcp_filter_init(ngx_conf_t *cf)
{
    ngx_mcp_main_conf_t  *mmcf;

    mmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_mcp_auth_module);

    if (!mmcf->used) {
        return NGX_OK;
    }

    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_mcp_header_filter;

    ngx_http_next_body_filter = ngx_http_top_body_filter;
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

    if (ctx == NULL) {

        if (mlcf->server == NULL || r != r->main) {
            return ngx_http_next_header_filter(r);
        }

        /* nginx itself refuses a request before any phase of ours */

        ctx = ngx_mcp_create_ctx(r);
        if (ctx == NULL) {
            return NGX_ERROR;
        }
    }

    if (ctx->local || ctx->server == NULL) {
        return ngx_http_next_header_filter(r);
    }

    if (r->upstream && r->upstream->cleanup) {
        return ngx_mcp_header_upstream(r, ctx);
    }

    if (r != r->main || mlcf->server == NULL) {
        return ngx_http_next_header_filter(r);
    }

    if (r->headers_out.status >= NGX_HTTP_BAD_REQUEST) {
        return ngx_mcp_header_replace(r, ctx, r->headers_out.status,
                                      ctx->state == NGX_MCP_DONE
                                      ? -32603
                                      : (ngx_int_t) r->headers_out.status,
                                      ctx->state == NGX_MCP_DONE
                                      ? "Upstream failed" : "Refused",
                                      ctx->state == NGX_MCP_DONE
                                      ? "upstream_failed" : "nginx");
    }

    if (ctx->principal && ctx->state == NGX_MCP_DONE) {
        return ngx_mcp_header_upstream(r, ctx);
    }

    return ngx_http_next_header_filter(r);
}


/* A response for an authorised caller, from an upstream or another handler. */
static ngx_int_t
ngx_mcp_header_upstream(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx)
{
    ngx_uint_t             status;
    ngx_str_t              value;
    ngx_table_elt_t       *h;
    ngx_mcp_filter_ctx_t  *fc;

    if (ctx->principal == NULL || ctx->state != NGX_MCP_DONE) {
        return ngx_http_next_header_filter(r);
    }

    status = r->headers_out.status;

    if (status == NGX_HTTP_UNAUTHORIZED || status == NGX_HTTP_FORBIDDEN) {
        return ngx_mcp_header_replace(r, ctx, NGX_HTTP_BAD_GATEWAY, -32603,
                                      "Upstream refused the credential of "
                                      "the gateway", "upstream_credential");
    }

    if (status < NGX_HTTP_OK) {

        /* a protocol switch would leave the filter aside */

        return NGX_ERROR;
    }

    if (status == NGX_HTTP_PARTIAL_CONTENT
        || (status >= NGX_HTTP_SPECIAL_RESPONSE
            && status < NGX_HTTP_BAD_REQUEST))
    {
        return ngx_mcp_header_replace(r, ctx, NGX_HTTP_BAD_GATEWAY, -32603,
                                      "Upstream sent an unexpected status",
                                      "upstream_status");
    }

    h = r->headers_out.content_encoding;

    if (h && h->hash
        && !mcp_str_caseeq(h->value.data, h->value.len, "identity", 8))
    {
        return ngx_mcp_header_replace(r, ctx, NGX_HTTP_BAD_GATEWAY, -32603,
                                      "Upstream sent an encoded response",
                                      "upstream_encoding");
    }

    ngx_mcp_header_strip(r, 0);

    if (status == NGX_HTTP_NO_CONTENT
        || r->header_only
        || r->headers_out.content_length_n == 0)
    {
        return ngx_http_next_header_filter(r);
    }

    fc = ngx_mcp_filter_create(r, ctx, ngx_mcp_is_event_stream(r)
                                       ? NGX_MCP_FILTER_SSE
                                       : NGX_MCP_FILTER_JSON);
    if (fc == NULL) {
        return NGX_ERROR;
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

    if (r->upstream) {
        r->upstream->buffering = 0;
    }

    ngx_str_set(&value, "no");

    if (ngx_mcp_add_header(r, "X-Accel-Buffering", &value) == NULL) {
        return NGX_ERROR;
    }

    return ngx_http_next_header_filter(r);
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
        ngx_string("Link")
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

    if (all) {
        r->headers_out.www_authenticate = NULL;
        r->headers_out.location = NULL;
        r->headers_out.content_encoding = NULL;
        r->headers_out.refresh = NULL;
    }
}


static ngx_mcp_filter_ctx_t *
ngx_mcp_filter_create(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    ngx_mcp_filter_mode_e mode)
{
    ngx_mcp_loc_conf_t    *conf;
    ngx_mcp_main_conf_t   *mmcf;
    ngx_mcp_filter_ctx_t  *fc;

    fc = ngx_pcalloc(r->pool, sizeof(ngx_mcp_filter_ctx_t));
    if (fc == NULL) {
        return NULL;
    }

    fc->request = r;
    fc->main = ctx;
    fc->mode = mode;

    ngx_http_set_ctx(r, fc, ngx_http_mcp_filter_module);

    if (mode == NGX_MCP_FILTER_REPLACE) {
        return fc;
    }

    mmcf = ngx_http_get_module_main_conf(r, ngx_http_mcp_auth_module);
    conf = ctx->conf;

    fc->list_buf = ngx_pnalloc(r->pool, 2 * conf->max_name + 64);
    if (fc->list_buf == NULL) {
        return NULL;
    }

    fc->list_conf.visible = ngx_mcp_filter_visible;
    fc->list_conf.emit = ngx_mcp_filter_emit;
    fc->list_conf.grow = ngx_mcp_filter_grow;
    fc->list_conf.data = fc;
    fc->list_conf.max_depth = conf->max_depth;
    fc->list_conf.max_name = conf->max_name;
    fc->list_conf.max_entry = conf->max_list_entry;

    mcp_list_filter_init(&fc->list, &fc->list_conf, fc->list_buf);
    mcp_sse_init(&fc->sse);

    if (!ctx->has_result_digest) {
        mcp_digest_init(&ctx->digest, &mmcf->digest);
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

    return ngx_http_next_header_filter(r);
}


/* Status, headers and body of our error in place of what was there. */
static ngx_int_t
ngx_mcp_replace_prepare(ngx_http_request_t *r, ngx_mcp_filter_ctx_t *fc,
    ngx_uint_t status, ngx_int_t code, const char *message,
    const char *reason)
{
    ngx_mcp_ctx_t  *ctx;

    ctx = fc->main;

    /* what was decided first stays: a record says one thing */

    if (ctx->decision == NULL || ctx->state == NGX_MCP_DONE) {
        ctx->decision = "error";
        ctx->reason = reason;
    }

    ctx->rpc_code = code;
    ctx->has_rpc_code = 1;

    if (ngx_mcp_reply_body(r, ctx, code, message, &fc->replace) != NGX_OK) {
        return NGX_ERROR;
    }

    if (r->upstream && r->upstream->cleanup) {
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


static ngx_int_t
ngx_mcp_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_int_t              rc;
    ngx_uint_t             last, flush;
    ngx_mcp_filter_ctx_t  *fc;

    fc = ngx_http_get_module_ctx(r, ngx_http_mcp_filter_module);

    if (fc == NULL) {
        return ngx_http_next_body_filter(r, in);
    }

    if (fc->mode == NGX_MCP_FILTER_REPLACE) {
        return ngx_mcp_body_replace(r, fc, in);
    }

    if (fc->mode == NGX_MCP_FILTER_ENDED) {
        return NGX_ERROR;
    }

    if (in == NULL) {
        return fc->header_held ? NGX_OK : ngx_http_next_body_filter(r, NULL);
    }

    rc = ngx_mcp_body_read(fc, in, &last, &flush);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_DECLINED) {
        return ngx_mcp_body_fail(r, fc, "upstream_invalid");
    }

    if (!last && r->upstream && r->upstream->cleanup == NULL) {

        /* the upstream went away: this call is all that tells it */

        if (fc->header_held) {
            return ngx_mcp_body_fail(r, fc, "upstream_closed");
        }

        fc->main->decision = "error";
        fc->main->reason = "upstream_closed";
    }

    return ngx_mcp_body_send(r, fc, last, flush);
}


/* The first call sends our body and ends the response; later ones swallow. */
static ngx_int_t
ngx_mcp_body_replace(ngx_http_request_t *r, ngx_mcp_filter_ctx_t *fc,
    ngx_chain_t *in)
{
    ngx_buf_t    *b;
    ngx_chain_t   out;

    for ( /* void */ ; in; in = in->next) {
        in->buf->pos = in->buf->last;
        in->buf->file_pos = in->buf->file_last;
    }

    if (fc->replaced) {
        return ngx_http_next_body_filter(r, NULL);
    }

    fc->replaced = 1;

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->pos = fc->replace.data;
    b->last = fc->replace.data + fc->replace.len;
    b->memory = 1;
    b->last_buf = (r == r->main);
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    return ngx_http_next_body_filter(r, &out);
}


/*
 * Consumes the chain.  NGX_DECLINED: the response cannot be let through;
 * NGX_ERROR: out of memory.
 */
static ngx_int_t
ngx_mcp_body_read(ngx_mcp_filter_ctx_t *fc, ngx_chain_t *in, ngx_uint_t *last,
    ngx_uint_t *flush)
{
    size_t      len;
    ngx_int_t   rc;
    ngx_buf_t  *b;

    *last = 0;
    *flush = 0;

    for ( /* void */ ; in; in = in->next) {
        b = in->buf;

        if (b->flush || b->recycled) {
            *flush = 1;
        }

        if (b->last_buf || (b->last_in_chain && fc->request
                                                != fc->request->main))
        {
            *last = 1;
        }

        if (!ngx_buf_in_memory(b)) {
            if (b->in_file && b->file_last > b->file_pos) {
                return NGX_DECLINED;
            }

            continue;
        }

        len = b->last - b->pos;

        if (len == 0) {
            continue;
        }

        fc->input += len;

        rc = fc->mode == NGX_MCP_FILTER_JSON
             ? ngx_mcp_json_feed(fc, b->pos, len, 0)
             : ngx_mcp_sse_feed(fc, b->pos, len);

        b->pos = b->last;

        if (rc != NGX_OK) {
            return rc;
        }
    }

    if (*last && fc->mode == NGX_MCP_FILTER_JSON && fc->input) {
        return ngx_mcp_json_feed(fc, NULL, 0, 1);
    }

    /* an event without its blank line was never one: it is not sent */

    return NGX_OK;
}


static ngx_int_t
ngx_mcp_body_send(ngx_http_request_t *r, ngx_mcp_filter_ctx_t *fc,
    ngx_uint_t last, ngx_uint_t flush)
{
    size_t        len;
    ngx_int_t     rc;
    ngx_buf_t    *b;
    ngx_chain_t  *out;

    len = fc->out ? fc->out->last - fc->out->pos : 0;

    if (fc->header_held) {

        if (!last && len < NGX_MCP_HOLD) {
            return NGX_OK;
        }

        rc = ngx_mcp_body_send_header(r, fc, last);

        if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
            return rc;
        }
    }

    if (len) {
        fc->main->result_bytes += len;
        mcp_digest_update(&fc->main->digest, fc->out->pos, len);

        b = fc->out;
        b->flush = flush;
        b->last_buf = last && r == r->main;
        b->last_in_chain = last;

        out = fc->out_link;
        fc->out = NULL;
        fc->out_link = NULL;

    } else if (last) {

        out = ngx_alloc_chain_link(r->pool);
        b = ngx_calloc_buf(r->pool);

        if (out == NULL || b == NULL) {
            return NGX_ERROR;
        }

        b->last_buf = (r == r->main);
        b->last_in_chain = 1;

        out->buf = b;
        out->next = NULL;

    } else {
        return NGX_OK;
    }

    rc = ngx_http_next_body_filter(r, out);

    ngx_chain_update_chains(r->pool, &fc->free, &fc->busy, &out,
                            (ngx_buf_tag_t) &ngx_http_mcp_filter_module);

    return rc;
}


static ngx_int_t
ngx_mcp_body_send_header(ngx_http_request_t *r, ngx_mcp_filter_ctx_t *fc,
    ngx_uint_t last)
{
    fc->header_held = 0;

    if (last) {
        r->headers_out.content_length_n = fc->out
                                          ? fc->out->last - fc->out->pos : 0;
    }

    return ngx_http_next_header_filter(r);
}


/*
 * The response must not reach the caller.  While the header is held that is
 * said properly; an event stream gets an error event; then it is cut.
 */
static ngx_int_t
ngx_mcp_body_fail(ngx_http_request_t *r, ngx_mcp_filter_ctx_t *fc,
    const char *reason)
{
    ngx_int_t       rc;
    ngx_uint_t      status;
    ngx_mcp_ctx_t  *ctx;

    ctx = fc->main;

    ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                  "mcp_auth: response of server \"%V\" refused: %s%s%s",
                  &ctx->server->name, reason, fc->list.error ? ", " : "",
                  fc->list.error ? fc->list.error : "");

    if (fc->header_held) {
        fc->header_held = 0;

        /* an error page that is no JSON keeps its status */

        status = r->headers_out.status >= NGX_HTTP_BAD_REQUEST
                 ? r->headers_out.status : NGX_HTTP_BAD_GATEWAY;

        if (ngx_mcp_replace_prepare(r, fc, status, -32603,
                                    "Upstream sent an invalid response",
                                    reason)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        rc = ngx_http_next_header_filter(r);

        if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
            return rc;
        }

        return ngx_mcp_body_replace(r, fc, NULL);
    }

    ctx->decision = "error";
    ctx->reason = reason;

    if (fc->mode == NGX_MCP_FILTER_SSE && ngx_mcp_sse_error(fc) == NGX_OK) {
        (void) ngx_mcp_body_send(r, fc, 0, 1);
    }

    fc->mode = NGX_MCP_FILTER_ENDED;
    r->keepalive = 0;

    return NGX_ERROR;
}


static ngx_int_t
ngx_mcp_json_feed(ngx_mcp_filter_ctx_t *fc, u_char *p, size_t len,
    ngx_uint_t eof)
{
    int  rc;

    rc = mcp_list_filter_feed(&fc->list, p, len, eof);

    if (rc == MCP_ERROR) {
        return NGX_DECLINED;
    }

    if (eof) {
        ngx_mcp_filter_outcome(fc);
    }

    return NGX_OK;
}


/* Cuts the stream into events; each is read when it is complete. */
static ngx_int_t
ngx_mcp_sse_feed(ngx_mcp_filter_ctx_t *fc, u_char *p, size_t len)
{
    ngx_int_t      rc;
    const u_char  *pos, *last, *start;

    pos = p;
    last = p + len;

    while (pos < last) {
        start = pos;

        if (mcp_sse_find_end(&fc->sse, &pos, last) != MCP_OK) {
            return ngx_mcp_sse_hold(fc, start, last - start);
        }

        if (fc->hold_len == 0) {

            if ((size_t) (pos - start) > fc->main->conf->max_event) {
                fc->list.error = "event too large";
                return NGX_DECLINED;
            }

            rc = ngx_mcp_sse_event(fc, start, pos);

        } else {
            rc = ngx_mcp_sse_hold(fc, start, pos - start);

            if (rc == NGX_OK) {
                rc = ngx_mcp_sse_event(fc, fc->hold, fc->hold + fc->hold_len);
                fc->hold_len = 0;
            }
        }

        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_mcp_sse_hold(ngx_mcp_filter_ctx_t *fc, const u_char *p, size_t len)
{
    u_char  *hold;
    size_t   size, need;

    need = fc->hold_len + len;

    if (need > fc->main->conf->max_event) {
        fc->list.error = "event too large";
        return NGX_DECLINED;
    }

    if (need > fc->hold_size) {
        size = fc->hold_size ? fc->hold_size : NGX_MCP_OUT_MIN;

        while (size < need) {
            size *= 2;
        }

        hold = ngx_palloc(fc->request->pool, size);
        if (hold == NULL) {
            return NGX_ERROR;
        }

        if (fc->hold_len) {
            ngx_memcpy(hold, fc->hold, fc->hold_len);
        }

        if (fc->hold_size) {
            (void) ngx_pfree(fc->request->pool, fc->hold);
        }

        fc->hold = hold;
        fc->hold_size = size;
    }

    ngx_memcpy(fc->hold + fc->hold_len, p, len);
    fc->hold_len = need;

    return NGX_OK;
}


/* One complete event: filtered into the output, or dropped. */
static ngx_int_t
ngx_mcp_sse_event(ngx_mcp_filter_ctx_t *fc, const u_char *p,
    const u_char *last)
{
    int              rc;
    size_t           mark;
    ngx_uint_t       n, first;
    mcp_str_t        data;
    const u_char    *pos;
    mcp_sse_line_t   line;

    first = !fc->first_event_done;
    fc->first_event_done = 1;

    mcp_str_null(&data);
    n = 0;

    for (pos = p;
         mcp_sse_line(&pos, last, first && pos == p, &line) == MCP_OK;
         /* void */ )
    {
        if (line.field == MCP_SSE_DATA) {
            if (n++ == 0) {
                data = line.value;
            }
        }
    }

    if (n == 0 || (n == 1 && data.len == 0)) {

        /* a comment, a keep-alive, or the event that primes a resume */

        return ngx_mcp_filter_emit(fc, p, last - p) == MCP_OK ? NGX_OK
                                                              : NGX_ERROR;
    }

    mcp_list_filter_init(&fc->list, &fc->list_conf, fc->list_buf);

    mark = fc->out ? fc->out->last - fc->out->pos : 0;

    if (n > 1) {
        rc = ngx_mcp_sse_rewrite(fc, p, last, first, mark);

    } else if (ngx_mcp_filter_emit(fc, p, data.data - p) != MCP_OK) {
        return NGX_ERROR;

    } else {
        rc = mcp_list_filter_feed(&fc->list, data.data, data.len, 1);

        if (rc == MCP_OK) {
            p = data.data + data.len;
            rc = ngx_mcp_filter_emit(fc, p, last - p);
        }
    }

    if (rc == MCP_OK) {
        ngx_mcp_filter_outcome(fc);
        return NGX_OK;
    }

    if (fc->out) {
        fc->out->last = fc->out->pos + mark;
    }

    ngx_log_error(NGX_LOG_ERR, fc->request->connection->log, 0,
                  "mcp_auth: event of server \"%V\" dropped: %s",
                  &fc->main->server->name,
                  fc->list.error ? fc->list.error : "not readable");

    fc->list.error = NULL;
    fc->main->reason = "event_dropped";

    return NGX_OK;
}


/*
 * An event whose data stands on several lines: they are one document, joined
 * by line feeds.  When the filter changed it, the lines are written anew at
 * the place of the first one.
 */
static ngx_int_t
ngx_mcp_sse_rewrite(ngx_mcp_filter_ctx_t *fc, const u_char *p,
    const u_char *last, ngx_uint_t first, size_t mark)
{
    u_char          *copy, *end, *lf;
    size_t           len;
    ngx_uint_t       n;
    const u_char    *pos;
    mcp_sse_line_t   line;

    n = 0;

    for (pos = p;
         mcp_sse_line(&pos, last, first && pos == p, &line) == MCP_OK;
         /* void */ )
    {
        if (line.field != MCP_SSE_DATA) {
            continue;
        }

        if (n++
            && mcp_list_filter_feed(&fc->list, (u_char *) "\n", 1, 0)
               == MCP_ERROR)
        {
            return MCP_ERROR;
        }

        if (mcp_list_filter_feed(&fc->list, line.value.data, line.value.len,
                                 0)
            == MCP_ERROR)
        {
            return MCP_ERROR;
        }
    }

    if (mcp_list_filter_feed(&fc->list, NULL, 0, 1) != MCP_OK) {
        return MCP_ERROR;
    }

    /* now the output has the document; take it out again */

    len = fc->out ? fc->out->last - fc->out->pos - mark : 0;

    copy = ngx_palloc(fc->request->pool, len + 1);
    if (copy == NULL) {
        return MCP_ERROR;
    }

    if (len) {
        ngx_memcpy(copy, fc->out->pos + mark, len);
        fc->out->last = fc->out->pos + mark;
    }

    if (!fc->list.changed) {
        (void) ngx_pfree(fc->request->pool, copy);
        return ngx_mcp_filter_emit(fc, p, last - p);
    }

    copy[len] = LF;
    n = 0;

    for (pos = p;
         mcp_sse_line(&pos, last, first && pos == p, &line) == MCP_OK;
         /* void */ )
    {
        if (line.field != MCP_SSE_DATA) {
            if (ngx_mcp_filter_emit(fc, line.line.data, line.line.len)
                != MCP_OK)
            {
                return MCP_ERROR;
            }

            continue;
        }

        if (n++) {
            continue;
        }

        for (end = copy; end <= copy + len; end = lf + 1) {
            lf = ngx_strlchr(end, copy + len + 1, LF);

            if (ngx_mcp_filter_emit(fc, (u_char *) "data: ", 6) != MCP_OK
                || ngx_mcp_filter_emit(fc, end, lf + 1 - end) != MCP_OK)
            {
                return MCP_ERROR;
            }
        }
    }

    (void) ngx_pfree(fc->request->pool, copy);

    return MCP_OK;
}


static ngx_int_t
ngx_mcp_sse_error(ngx_mcp_filter_ctx_t *fc)
{
    ngx_str_t  body;

    static u_char  head[] = "event: message\ndata: ";
    static u_char  tail[] = "\n\n";

    if (ngx_mcp_reply_body(fc->request, fc->main, -32603,
                           "Upstream sent an invalid response", &body)
        != NGX_OK
        || ngx_mcp_filter_emit(fc, head, sizeof(head) - 1) != MCP_OK
        || ngx_mcp_filter_emit(fc, body.data, body.len) != MCP_OK
        || ngx_mcp_filter_emit(fc, tail, sizeof(tail) - 1) != MCP_OK)
    {
        return NGX_ERROR;
    }

    fc->main->rpc_code = -32603;
    fc->main->has_rpc_code = 1;

    return NGX_OK;
}


/* What the document was, for the record: the last answer counts. */
static void
ngx_mcp_filter_outcome(ngx_mcp_filter_ctx_t *fc)
{
    ngx_mcp_ctx_t      *ctx;
    mcp_list_filter_t  *f;

    f = &fc->list;
    ctx = fc->main;

    ctx->removed += f->removed;
    ctx->has_list |= f->has_list;

    if (f->outcome != MCP_OUTCOME_RESULT && f->outcome != MCP_OUTCOME_ERROR) {
        return;
    }

    ctx->has_outcome = 1;
    ctx->is_error = f->is_error;
    ctx->has_rpc_code = (f->outcome == MCP_OUTCOME_ERROR);
    ctx->rpc_code = f->rpc_code;
}


static int
ngx_mcp_filter_visible(void *data, mcp_list_e list, const mcp_str_t *name)
{
    ngx_mcp_filter_ctx_t *fc = data;

    return mcp_policy_visible(fc->main->server->policy,
                              &fc->main->principal->roles, list, name);
}


/* Appends to the output of this call. */
static int
ngx_mcp_filter_emit(void *data, const unsigned char *p, size_t len)
{
    ngx_mcp_filter_ctx_t *fc = data;

    u_char       *start;
    size_t        used, size;
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    b = fc->out;

    if (b == NULL) {
        cl = ngx_chain_get_free_buf(fc->request->pool, &fc->free);
        if (cl == NULL) {
            return MCP_ERROR;
        }

        b = cl->buf;

        b->tag = (ngx_buf_tag_t) &ngx_http_mcp_filter_module;
        b->memory = 0;
        b->temporary = 1;
        b->flush = 0;
        b->last_buf = 0;
        b->last_in_chain = 0;
        b->pos = b->start;
        b->last = b->start;

        cl->next = NULL;

        fc->out = b;
        fc->out_link = cl;
    }

    if ((size_t) (b->end - b->last) < len) {
        used = b->last - b->pos;
        size = b->end - b->start ? 2 * (b->end - b->start) : NGX_MCP_OUT_MIN;

        while (size < used + len) {
            size *= 2;
        }

        start = ngx_palloc(fc->request->pool, size);
        if (start == NULL) {
            return MCP_ERROR;
        }

        if (used) {
            ngx_memcpy(start, b->pos, used);
        }

        if (b->start) {
            (void) ngx_pfree(fc->request->pool, b->start);
        }

        b->start = start;
        b->pos = start;
        b->last = start + used;
        b->end = start + size;
    }

    b->last = ngx_cpymem(b->last, p, len);

    return MCP_OK;
}


static unsigned char *
ngx_mcp_filter_grow(void *data, unsigned char *old, size_t used, size_t size)
{
    ngx_mcp_filter_ctx_t *fc = data;

    u_char  *p;

    p = ngx_palloc(fc->request->pool, size);
    if (p == NULL) {
        return NULL;
    }

    if (used) {
        ngx_memcpy(p, old, used);
    }

    if (old) {
        (void) ngx_pfree(fc->request->pool, old);
    }

    return p;
}
