/*
 * Memory for what every call needs: the message, its parser, the filter of its
 * response.  It is more than a pool's block, so that each request would ask
 * malloc() for it, and for memory that is cold.  A worker keeps the blocks of
 * requests that ended and gives the last one to the next.
 *
 * Always true: a block belongs to one request, until the request's pool goes.
 * What does not fit is from that pool.
 */

#include "ngx_mcp_module.h"


#define NGX_MCP_BLOCK        12288
#define NGX_MCP_BLOCKS_KEPT  32


struct ngx_mcp_block_s {
    ngx_mcp_block_t     *next;
    u_char              *pos;
    u_char              *last;
};


#if !(NGX_DEBUG_PALLOC)
static ngx_mcp_block_t *ngx_mcp_block_get(ngx_mcp_main_conf_t *mmcf);
#endif


void *
ngx_mcp_block_alloc(void *data, size_t size)
{
    ngx_mcp_ctx_t *ctx = data;

#if !(NGX_DEBUG_PALLOC)

    u_char           *p;
    ngx_mcp_block_t  *b;

    if (ctx->block == NULL) {
        ctx->block = ngx_mcp_block_get(ngx_http_get_module_main_conf(
                                   ctx->request, ngx_http_mcp_auth_module));
    }

    b = ctx->block;

    if (b && size <= (size_t) (b->last - b->pos)) {
        p = b->pos;
        b->pos += ngx_min(ngx_align(size, 16), (size_t) (b->last - b->pos));

        return p;
    }

#endif

    /* with NGX_DEBUG_PALLOC each piece is malloc()'s, for the sanitizers */

    return ngx_palloc(ctx->request->pool, size);
}


#if !(NGX_DEBUG_PALLOC)

static ngx_mcp_block_t *
ngx_mcp_block_get(ngx_mcp_main_conf_t *mmcf)
{
    ngx_mcp_block_t  *b;

    b = mmcf->blocks;

    if (b) {
        mmcf->blocks = b->next;
        mmcf->nblocks--;

    } else {
        b = ngx_alloc(NGX_MCP_BLOCK, ngx_cycle->log);
        if (b == NULL) {
            return NULL;
        }

        b->last = (u_char *) b + NGX_MCP_BLOCK;
    }

    b->pos = (u_char *) b + ngx_align(sizeof(ngx_mcp_block_t), 64);

    return b;
}

#endif


void
ngx_mcp_block_free(ngx_mcp_ctx_t *ctx)
{
    ngx_mcp_block_t      *b;
    ngx_mcp_main_conf_t  *mmcf;

    b = ctx->block;

    if (b == NULL) {
        return;
    }

    ctx->block = NULL;

    mmcf = ngx_http_get_module_main_conf(ctx->request,
                                         ngx_http_mcp_auth_module);

    if (mmcf->nblocks == NGX_MCP_BLOCKS_KEPT) {
        ngx_free(b);
        return;
    }

    b->next = mmcf->blocks;
    mmcf->blocks = b;
    mmcf->nblocks++;
}


void
ngx_mcp_block_exit_worker(ngx_mcp_main_conf_t *mmcf)
{
    ngx_mcp_block_t  *b;

    while (mmcf->blocks) {
        b = mmcf->blocks;
        mmcf->blocks = b->next;
        ngx_free(b);
    }

    mmcf->nblocks = 0;
}
