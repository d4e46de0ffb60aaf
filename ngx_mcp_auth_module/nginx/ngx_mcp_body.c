/*
 * The request's body -> message, in nginx's own buffers: none, one, many, or a
 * temporary file that is read back in chunks.  The bytes are looked at where
 * they are; they are the ones that will be forwarded.
 */

#include "ngx_mcp_request.h"
#include "ngx_mcp_reply.h"


/* bytes read at once of a body in a temporary file */
#define NGX_MCP_FILE_CHUNK     32768


static ngx_int_t ngx_mcp_body_each(ngx_http_request_t *r,
    ngx_int_t (*each)(ngx_mcp_ctx_t *ctx, u_char *p, size_t len, off_t at),
    ngx_mcp_ctx_t *ctx);
static ngx_int_t ngx_mcp_body_scan(ngx_mcp_ctx_t *ctx, u_char *p, size_t len,
    off_t at);
static ngx_int_t ngx_mcp_body_digest(ngx_mcp_ctx_t *ctx, u_char *p,
    size_t len, off_t at);


/* Body -> message, in nginx's own buffers, wherever they are. */
ngx_int_t
ngx_mcp_read_message(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx)
{
    mcp_mem_t       mem;
    ngx_int_t       rc;
    mcp_message_t  *m;

    m = ngx_mcp_block_alloc(ctx, sizeof(mcp_message_t));
    if (m == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    mem.alloc = ngx_mcp_block_alloc;
    mem.ctx = ctx;

    if (mcp_message_init(m, &ctx->conf->message, &mem) != MCP_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->message = m;

    rc = ngx_mcp_body_each(r, ngx_mcp_body_scan, ctx);

    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (rc == NGX_OK) {
        rc = mcp_message_feed(m, NULL, 0, 1) == MCP_OK ? NGX_OK : NGX_DECLINED;
    }

    if (rc == NGX_OK && m->size > ctx->conf->max_body) {
        return ngx_mcp_reply_error(r, ctx, NGX_HTTP_REQUEST_ENTITY_TOO_LARGE,
                                   -32600, "Request too large",
                                   "body_too_large");
    }

    if (rc != NGX_OK || mcp_message_check(m, &ctx->mirror) != MCP_OK) {
        return ngx_mcp_reply_fault(r, ctx, &m->fault);
    }

    if (m->args_end > m->args_start && ngx_mcp_log_wanted(ctx)) {
        if (ngx_mcp_body_each(r, ngx_mcp_body_digest, ctx) == NGX_ERROR) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    ctx->state = NGX_MCP_DECIDE;

    return NGX_OK;
}


/*
 * Calls each with the pieces of the body and their offsets.  NGX_OK at the
 * end; NGX_DECLINED: each wants no more; NGX_ERROR: a read failed, or was
 * short.
 */
static ngx_int_t
ngx_mcp_body_each(ngx_http_request_t *r,
    ngx_int_t (*each)(ngx_mcp_ctx_t *ctx, u_char *p, size_t len, off_t at),
    ngx_mcp_ctx_t *ctx)
{
    off_t         at, pos;
    u_char       *chunk;
    size_t        size;
    ssize_t       n;
    ngx_buf_t    *b;
    ngx_int_t     rc;
    ngx_chain_t  *cl;

    if (r->request_body == NULL) {
        return NGX_OK;
    }

    at = 0;
    chunk = NULL;

    for (cl = r->request_body->bufs; cl; cl = cl->next) {
        b = cl->buf;

        if (ngx_buf_in_memory(b)) {
            if (b->last == b->pos) {
                continue;
            }

            rc = each(ctx, b->pos, b->last - b->pos, at);
            if (rc != NGX_OK) {
                return rc;
            }

            at += b->last - b->pos;
            continue;
        }

        if (!b->in_file) {
            continue;
        }

        if (chunk == NULL) {
            chunk = ngx_pnalloc(r->pool, NGX_MCP_FILE_CHUNK);
            if (chunk == NULL) {
                return NGX_ERROR;
            }
        }

        for (pos = b->file_pos; pos < b->file_last; pos += n) {
            size = ngx_min(b->file_last - pos, NGX_MCP_FILE_CHUNK);

            n = ngx_read_file(b->file, chunk, size, pos);

            if (n == NGX_ERROR || n == 0) {
                ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                              "mcp_auth: cannot read the request body back");
                return NGX_ERROR;
            }

            rc = each(ctx, chunk, n, at);
            if (rc != NGX_OK) {
                return rc;
            }

            at += n;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_mcp_body_scan(ngx_mcp_ctx_t *ctx, u_char *p, size_t len, off_t at)
{
    return mcp_message_feed(ctx->message, p, len, 0) == MCP_AGAIN
           ? NGX_OK : NGX_DECLINED;
}


/* The keyed digest of params.arguments, byte for byte as they were sent. */
static ngx_int_t
ngx_mcp_body_digest(ngx_mcp_ctx_t *ctx, u_char *p, size_t len, off_t at)
{
    uint64_t              start, end;
    mcp_message_t        *m;
    ngx_mcp_main_conf_t  *mmcf;

    m = ctx->message;

    mmcf = ngx_http_get_module_main_conf(ctx->request,
                                         ngx_http_mcp_auth_module);

    if (at + len <= m->args_start) {
        return NGX_OK;
    }

    start = ngx_max(m->args_start, (uint64_t) at);
    end = ngx_min(m->args_end, (uint64_t) at + len);

    if (start == m->args_start) {
        mcp_digest_init(&ctx->digest, &mmcf->digest);
    }

    mcp_digest_update(&ctx->digest, p + (start - at), end - start);

    if (end < m->args_end) {
        return NGX_OK;
    }

    mcp_digest_final(&ctx->digest, &mmcf->digest, ctx->params_digest);
    ctx->has_params_digest = 1;

    return NGX_DECLINED;
}
