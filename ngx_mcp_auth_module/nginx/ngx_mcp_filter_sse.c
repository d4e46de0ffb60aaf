/*
 * Event streams: each event is read as a whole, cut like a JSON body, and put
 * into the output; one that cannot be read is dropped.
 *
 * Owns the bytes of the event that is not complete, at most mcp_max_event, and
 * gives a large buffer back when the event is done.  Called by the body filter
 * for each piece of the stream.
 *
 * Always true: nothing of an event is in the output before its blank line was
 * read.
 */

#include "ngx_mcp_filter.h"
#include "ngx_mcp_reply.h"


static ngx_int_t ngx_mcp_sse_hold(ngx_mcp_filter_ctx_t *fc, const u_char *p,
    size_t len);
static void ngx_mcp_sse_release(ngx_mcp_filter_ctx_t *fc);
static ngx_int_t ngx_mcp_sse_event(ngx_mcp_filter_ctx_t *fc, const u_char *p,
    const u_char *last);
static ngx_int_t ngx_mcp_sse_drop(ngx_mcp_filter_ctx_t *fc);
static ngx_int_t ngx_mcp_sse_rewrite(ngx_mcp_filter_ctx_t *fc,
    const u_char *p, const u_char *last, ngx_uint_t first, size_t mark);


/* Cuts the stream into events; each is read when it is complete. */
ngx_int_t
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

        ngx_mcp_sse_release(fc);

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
    size_t   need;

    need = fc->hold_len + len;

    if (need > fc->main->conf->max_event) {
        fc->list.error = "event too large";
        return NGX_DECLINED;
    }

    hold = ngx_mcp_filter_room(fc, fc->hold, fc->hold_len, &fc->hold_size,
                               need);
    if (hold == NULL) {
        return NGX_ERROR;
    }

    fc->hold = hold;

    ngx_memcpy(fc->hold + fc->hold_len, p, len);
    fc->hold_len = need;

    return NGX_OK;
}


/* A stream may rest for hours after one large event. */
static void
ngx_mcp_sse_release(ngx_mcp_filter_ctx_t *fc)
{
    ngx_pool_t  *pool;

    pool = fc->request->pool;

    if (fc->hold_size > NGX_MCP_KEEP) {
        (void) ngx_pfree(pool, fc->hold);
        fc->hold = NULL;
        fc->hold_size = 0;
    }

    if (fc->copy_size > NGX_MCP_KEEP) {
        (void) ngx_pfree(pool, fc->copy);
        fc->copy = NULL;
        fc->copy_size = 0;
    }

    if (fc->list.hold_size > NGX_MCP_KEEP) {
        (void) ngx_pfree(pool, fc->list.hold);
        fc->list.hold = NULL;
        fc->list.hold_size = 0;
    }
}


/* One complete event: filtered into the output, or dropped. */
static ngx_int_t
ngx_mcp_sse_event(ngx_mcp_filter_ctx_t *fc, const u_char *p,
    const u_char *last)
{
    int              rc;
    size_t           mark;
    ngx_uint_t       n, other, first;
    mcp_str_t        data;
    const u_char    *pos;
    mcp_sse_line_t   line;

    first = !fc->first_event_done;
    fc->first_event_done = 1;

    mcp_str_null(&data);
    n = 0;
    other = 0;

    for (pos = p;
         mcp_sse_line(&pos, last, first && pos == p, &line) == MCP_OK;
         /* void */ )
    {
        if (line.field == MCP_SSE_DATA) {
            if (n++ == 0) {
                data = line.value;
            }

        } else if (line.field == MCP_SSE_OTHER) {
            other = 1;
        }
    }

    if (n == 0 && other) {

        /* no event to a client that reads events; to others, who knows */

        fc->list.error = "no event";
        return ngx_mcp_sse_drop(fc);
    }

    if (n == 0 || (n == 1 && data.len == 0)) {

        /* a comment, a keep-alive, or the event that primes a resume */

        return ngx_mcp_filter_emit(fc, p, last - p) == MCP_OK ? NGX_OK
                                                              : NGX_ERROR;
    }

    mcp_list_filter_init(&fc->list, &fc->list_conf, fc->list_buf);

    fc->expect = ngx_max((size_t) (last - p) + NGX_MCP_OUT_MORE,
                         NGX_MCP_OUT_MIN);

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

    if (rc == MCP_OK && !fc->list.foreign) {
        ngx_mcp_filter_outcome(fc);
        return NGX_OK;
    }

    if (rc == MCP_OK) {
        fc->list.error = "about a task of others";
    }

    if (fc->out) {
        fc->out->last = fc->out->pos + mark;
    }

    return ngx_mcp_sse_drop(fc);
}


static ngx_int_t
ngx_mcp_sse_drop(ngx_mcp_filter_ctx_t *fc)
{
    ngx_log_error(NGX_LOG_ERR, fc->request->connection->log, 0,
                  "mcp_auth: event of server \"%V\" dropped: %s",
                  &fc->main->server->name,
                  fc->list.error ? fc->list.error : "not readable");

    fc->list.error = NULL;

    if (!fc->bad_task && !fc->list.bad_url) {
        ngx_mcp_outcome(fc->main, NULL, "event_dropped");
        return NGX_OK;
    }

    ngx_mcp_outcome(fc->main, "error", ngx_mcp_filter_reason(fc));
    fc->bad_task = 0;

    /* whoever waits for this answer gets one; it is nobody's question else */

    return fc->main->message && fc->main->message->id.len
           ? ngx_mcp_sse_error(fc) : NGX_OK;
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

    if (fc->out) {
        fc->out->last = fc->out->pos + mark;
    }

    if (!fc->list.changed) {
        return ngx_mcp_filter_emit(fc, p, last - p);
    }

    copy = ngx_mcp_filter_room(fc, fc->copy, 0, &fc->copy_size, len + 1);
    if (copy == NULL) {
        return MCP_ERROR;
    }

    fc->copy = copy;

    if (len) {
        ngx_memcpy(copy, fc->out->pos + mark, len);
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

    return MCP_OK;
}


ngx_int_t
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
