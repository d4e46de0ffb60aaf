/*
 * Body filter: the bytes of a response on their way to the caller.
 *
 * Owns the input that waits for a slow client and the buffers of the output,
 * all of them from the request's pool.  Called by nginx; a JSON body goes
 * through core/mcp_list_filter here, an event stream in ngx_mcp_filter_sse.c.
 *
 * Always true: a buffer of the input that was read is empty; one of the output
 * is not written to until all of it was sent; a buffer without bytes is never
 * used again.
 */

#include "ngx_mcp_filter.h"
#include "ngx_mcp_task.h"
#include "ngx_mcp_reply.h"


static ngx_int_t ngx_mcp_body_replace(ngx_http_request_t *r,
    ngx_mcp_filter_ctx_t *fc, ngx_chain_t *in);
static void ngx_mcp_body_leave(ngx_mcp_filter_ctx_t *fc);
static ngx_int_t ngx_mcp_body_waits(ngx_http_request_t *r,
    ngx_mcp_filter_ctx_t *fc);
static ngx_int_t ngx_mcp_body_read(ngx_mcp_filter_ctx_t *fc,
    ngx_uint_t *last, ngx_uint_t *flush);
static ngx_int_t ngx_mcp_body_buf(ngx_mcp_filter_ctx_t *fc, ngx_buf_t *b);
static ngx_int_t ngx_mcp_body_send(ngx_http_request_t *r,
    ngx_mcp_filter_ctx_t *fc, ngx_uint_t last, ngx_uint_t flush);
static ngx_chain_t *ngx_mcp_body_special(ngx_http_request_t *r,
    ngx_uint_t last);
static void ngx_mcp_body_recycle(ngx_mcp_filter_ctx_t *fc,
    ngx_chain_t **out);
static ngx_int_t ngx_mcp_body_send_header(ngx_http_request_t *r,
    ngx_mcp_filter_ctx_t *fc, ngx_uint_t last);
static ngx_int_t ngx_mcp_body_fail(ngx_http_request_t *r,
    ngx_mcp_filter_ctx_t *fc, const char *reason);
static void ngx_mcp_body_preview(ngx_mcp_filter_ctx_t *fc, const u_char *p,
    size_t len);
static ngx_int_t ngx_mcp_json_feed(ngx_mcp_filter_ctx_t *fc, u_char *p,
    size_t len, ngx_uint_t eof);


ngx_int_t
ngx_mcp_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_int_t              rc;
    ngx_uint_t             last, flush;
    ngx_mcp_filter_ctx_t  *fc;

    fc = ngx_http_get_module_ctx(r, ngx_http_mcp_filter_module);

    if (fc == NULL) {
        return ngx_mcp_next_body_filter(r, in);
    }

    if (fc->mode == NGX_MCP_FILTER_REPLACE) {
        return ngx_mcp_body_replace(r, fc, in);
    }

    if (fc->mode == NGX_MCP_FILTER_ENDED) {
        return NGX_ERROR;
    }

    if (in && ngx_chain_add_copy(r->pool, &fc->in, in) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = ngx_mcp_body_waits(r, fc);

    if (rc != NGX_OK || fc->in == NULL) {
        return rc;
    }

    rc = ngx_mcp_body_read(fc, &last, &flush);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_DECLINED) {
        return ngx_mcp_body_fail(r, fc, fc->closed ? "upstream_closed"
                                                   : ngx_mcp_filter_reason(fc));
    }

    return ngx_mcp_body_send(r, fc, last, flush);
}


/*
 * Gives what is below us another turn.  NGX_AGAIN: it still has what it was
 * given, and will call again.
 */
static ngx_int_t
ngx_mcp_body_waits(ngx_http_request_t *r, ngx_mcp_filter_ctx_t *fc)
{
    ngx_int_t     rc;
    ngx_chain_t  *none;

    if (fc->header_held || (fc->in && !(fc->busy && r->connection->buffered)))
    {
        return NGX_OK;
    }

    none = NULL;

    rc = ngx_mcp_next_body_filter(r, NULL);

    ngx_mcp_body_recycle(fc, &none);

    if (rc == NGX_ERROR || fc->in == NULL) {
        return rc;
    }

    return fc->busy && r->connection->buffered ? NGX_AGAIN : NGX_OK;
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
        return ngx_mcp_next_body_filter(r, NULL);
    }

    fc->replaced = 1;

    ngx_mcp_body_leave(fc);

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

    return ngx_mcp_next_body_filter(r, &out);
}


/*
 * Nobody needs the rest of what the upstream says, which may take its time or
 * never end: nginx takes it for complete, and closes the connection.
 */
static void
ngx_mcp_body_leave(ngx_mcp_filter_ctx_t *fc)
{
    ngx_http_upstream_t  *u;

    u = fc->upstream;

    if (u == NULL || u->peer.connection == NULL) {
        return;
    }

    if (u->buffering) {

        if (!u->pipe->upstream_done) {
            u->pipe->upstream_done = 1;
            u->keepalive = 0;
        }

    } else if (u->length != 0) {
        u->length = 0;
        u->keepalive = 0;
    }
}


/*
 * Consumes the input.  NGX_DECLINED: the response cannot be let through;
 * NGX_ERROR: out of memory.
 */
static ngx_int_t
ngx_mcp_body_read(ngx_mcp_filter_ctx_t *fc, ngx_uint_t *last,
    ngx_uint_t *flush)
{
    ngx_int_t     rc;
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    *last = 0;
    *flush = 0;

    while (fc->in) {
        cl = fc->in;
        b = cl->buf;

        fc->in = cl->next;
        ngx_free_chain(fc->request->pool, cl);

        if (b->flush || b->recycled) {
            *flush = 1;
        }

        if (b->last_buf || (b->last_in_chain && fc->request
                                                != fc->request->main))
        {
            *last = 1;
        }

        rc = ngx_mcp_body_buf(fc, b);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    /* the end may come twice: ngx_http_addition_module takes the first one away
     * and sends another behind what it adds */

    if (*last && fc->mode == NGX_MCP_FILTER_JSON && fc->input
        && !fc->list.done)
    {
        return ngx_mcp_json_feed(fc, NULL, 0, 1);
    }

    /* an event without its blank line was never one: it is not sent */

    return NGX_OK;
}


static ngx_int_t
ngx_mcp_body_buf(ngx_mcp_filter_ctx_t *fc, ngx_buf_t *b)
{
    size_t     len;
    ngx_int_t  rc;

    if (!ngx_buf_in_memory(b)) {

        if (b->in_file && b->file_last > b->file_pos) {
            return NGX_DECLINED;
        }

        if (b->flush && !b->last_buf && fc->upstream
            && fc->upstream->cleanup == NULL)
        {
            /*
             * The upstream is gone and this is not the end: a flush alone is
             * all that tells it.
             */

            fc->closed = 1;

            if (fc->header_held) {
                return NGX_DECLINED;
            }

            fc->main->decision = "error";
            fc->main->reason = "upstream_closed";
        }

        return NGX_OK;
    }

    len = b->last - b->pos;

    if (len == 0) {
        return NGX_OK;
    }

    fc->input += len;

    rc = fc->mode == NGX_MCP_FILTER_JSON
         ? ngx_mcp_json_feed(fc, b->pos, len, 0)
         : ngx_mcp_sse_feed(fc, b->pos, len);

    b->pos = b->last;

    return rc;
}


static ngx_int_t
ngx_mcp_body_send(ngx_http_request_t *r, ngx_mcp_filter_ctx_t *fc,
    ngx_uint_t last, ngx_uint_t flush)
{
    size_t                len;
    ngx_int_t             rc;
    ngx_buf_t            *b;
    ngx_chain_t          *out;
    ngx_mcp_main_conf_t  *mmcf;

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

        if (fc->main->has_result_digest) {
            mmcf = ngx_http_get_module_main_conf(r, ngx_http_mcp_auth_module);

            mcp_long_update(&fc->main->result, &mmcf->results, fc->out->pos,
                            len);
        }

        if (fc->main->server->preview) {
            ngx_mcp_body_preview(fc, fc->out->pos, len);
        }

        b = fc->out;
        b->flush = flush;
        b->last_buf = last && r == r->main;
        b->last_in_chain = last;

        out = fc->out_link;
        fc->out = NULL;
        fc->out_link = NULL;

    } else if (last || (flush && fc->unflushed)) {

        out = ngx_mcp_body_special(r, last);
        if (out == NULL) {
            return NGX_ERROR;
        }

    } else {
        return NGX_OK;
    }

    fc->unflushed = !flush;

    rc = ngx_mcp_next_body_filter(r, out);

    ngx_mcp_body_recycle(fc, &out);

    return rc;
}


/*
 * A buffer without bytes, never recycled: those below may keep it while it
 * looks sent.
 */
static ngx_chain_t *
ngx_mcp_body_special(ngx_http_request_t *r, ngx_uint_t last)
{
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    cl = ngx_alloc_chain_link(r->pool);
    b = ngx_calloc_buf(r->pool);

    if (cl == NULL || b == NULL) {
        return NULL;
    }

    if (last) {
        b->last_buf = (r == r->main);
        b->last_in_chain = 1;

    } else {
        b->flush = 1;
    }

    cl->buf = b;
    cl->next = NULL;

    return cl;
}


/* Takes back what was sent, and frees what one large event needed. */
static void
ngx_mcp_body_recycle(ngx_mcp_filter_ctx_t *fc, ngx_chain_t **out)
{
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    ngx_chain_update_chains(fc->request->pool, &fc->free, &fc->busy, out,
                            (ngx_buf_tag_t) &ngx_http_mcp_filter_module);

    for (cl = fc->free; cl; cl = cl->next) {
        b = cl->buf;

        if (b->end - b->start > NGX_MCP_KEEP) {
            (void) ngx_pfree(fc->request->pool, b->start);

            b->start = NULL;
            b->pos = NULL;
            b->last = NULL;
            b->end = NULL;
        }
    }
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

    return ngx_mcp_next_header_filter(r);
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
    ngx_chain_t    *in;
    ngx_mcp_ctx_t  *ctx;

    ctx = fc->main;

    ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                  "mcp_auth: response of server \"%V\" refused: %s%s%s",
                  &ctx->server->name, reason, fc->list.error ? ", " : "",
                  fc->list.error ? fc->list.error : "");

    in = fc->in;
    fc->in = NULL;

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

        rc = ngx_mcp_next_header_filter(r);

        if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
            return rc;
        }

        return ngx_mcp_body_replace(r, fc, in);
    }

    ngx_mcp_outcome(ctx, "error", reason);

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
        if (fc->list.foreign) {
            fc->list.error = "about a task of others";
            return NGX_DECLINED;
        }

        ngx_mcp_filter_outcome(fc);
    }

    return NGX_OK;
}


const char *
ngx_mcp_filter_reason(ngx_mcp_filter_ctx_t *fc)
{
    return fc->bad_task ? "upstream_task"
           : fc->list.bad_url ? "elicitation_url"
           : "upstream_invalid";
}


u_char *
ngx_mcp_filter_room(ngx_mcp_filter_ctx_t *fc, u_char *old, size_t used,
    size_t *size, size_t need)
{
    u_char  *p;
    size_t   n;

    if (need <= *size) {
        return old;
    }

    /* what begins with much will be more */

    n = *size ? *size
              : need < NGX_MCP_OUT_MIN / 2 ? NGX_MCP_OUT_MIN
                                           : 4 * NGX_MCP_OUT_MIN;

    while (n < need) {
        n *= 2;
    }

    p = ngx_mcp_filter_grow(fc, old, used, n);

    if (p) {
        *size = n;
    }

    return p;
}


void
ngx_mcp_filter_outcome(ngx_mcp_filter_ctx_t *fc)
{
    ngx_mcp_ctx_t      *ctx;
    mcp_list_filter_t  *f;

    f = &fc->list;
    ctx = fc->main;

    if (f->icons_removed) {
        ngx_mcp_outcome(ctx, NULL, "icon_removed");
    }

    ctx->removed += f->removed + f->shadowed;
    ctx->has_list |= f->has_list;

    if (f->outcome != MCP_OUTCOME_RESULT && f->outcome != MCP_OUTCOME_ERROR) {
        return;
    }

    ctx->has_outcome = 1;
    ctx->is_error = f->is_error;
    ctx->has_rpc_code = (f->outcome == MCP_OUTCOME_ERROR);
    ctx->rpc_code = f->rpc_code;
}


int
ngx_mcp_filter_visible(void *data, mcp_list_e list, const mcp_str_t *name)
{
    ngx_mcp_filter_ctx_t *fc = data;

    if (list == MCP_LIST_TASKS) {
        return ngx_mcp_task_owned(fc->main, name);
    }

    return mcp_policy_visible(fc->main->server->policy,
                              &fc->main->principal->roles, list, name);
}


int
ngx_mcp_filter_task(void *data, const mcp_str_t *id, const mcp_str_t *ttl)
{
    ngx_mcp_filter_ctx_t *fc = data;

    /* all servers share the zone: none may fill it with one response */

    if (fc->tasks++ < NGX_MCP_TASKS
        && ngx_mcp_task_made(fc->main, id, ttl) == NGX_OK)
    {
        return MCP_OK;
    }

    fc->bad_task = 1;

    return MCP_ERROR;
}


/* Keeps how the response begins, and a little more, for the record. */
static void
ngx_mcp_body_preview(ngx_mcp_filter_ctx_t *fc, const u_char *p, size_t len)
{
    size_t      max;
    ngx_str_t  *text;

    text = &fc->main->preview;
    max = fc->main->server->preview + NGX_MCP_PREVIEW_AHEAD;

    if (text->data == NULL) {
        text->data = ngx_pnalloc(fc->main->request->pool, max);

        if (text->data == NULL) {
            return;
        }
    }

    len = ngx_min(len, max - text->len);

    ngx_memcpy(text->data + text->len, p, len);
    text->len += len;
}


/* Appends to the output of this call. */
int
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
        size = ngx_max(2 * (size_t) (b->end - b->start), fc->expect);

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


unsigned char *
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
