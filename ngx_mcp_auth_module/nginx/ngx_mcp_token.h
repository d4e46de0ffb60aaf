/*
 * The gateway's own tokens (PAT, VAT): from a token to who is calling.
 *
 * Records are in mcp_token_file, which each worker reads again when it changes,
 * and in Redis.  Both may be configured; the file is asked first.
 */

#ifndef NGX_MCP_TOKEN_H
#define NGX_MCP_TOKEN_H


#include "ngx_mcp_module.h"
#include "mcp_access_key.h"


/* mcp_token_file PATH; mcp_token_key PATH...; mcp_token_failures NUMBER */
char *ngx_mcp_token_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* When http {} is complete: what `tokens on` needs is there. */
ngx_int_t ngx_mcp_token_conf_finish(ngx_conf_t *cf,
    ngx_mcp_main_conf_t *mmcf);

ngx_uint_t ngx_mcp_token_has_file(ngx_mcp_main_conf_t *mmcf);

/* NULL: none. */
const mcp_pepper_ring_t *ngx_mcp_token_ring(ngx_mcp_main_conf_t *mmcf);

ngx_int_t ngx_mcp_token_init_worker(ngx_cycle_t *cycle,
    ngx_mcp_main_conf_t *mmcf);
void ngx_mcp_token_exit_worker(ngx_mcp_main_conf_t *mmcf);

/*
 * ctx->token begins like one of ours and is in no cache.
 *   NGX_OK        ctx->principal (and its cache entry) is set
 *   NGX_AGAIN     Redis is asked: w->wake is called exactly once, never before
 *                 this returns; then ask again
 *   NGX_DECLINED  refused, *reason; ctx->principal: whose it is, when there is
 *                 such a token
 *   NGX_BUSY      too many failures from this address: 429, *retry_after in s
 *   NGX_ERROR     nobody knows (Redis is down, no memory): 503
 */
ngx_int_t ngx_mcp_token_get(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    ngx_mcp_keys_waiter_t *w, const char **reason, time_t *retry_after);

/* The waiting request goes.  Harmless when idle. */
void ngx_mcp_token_cancel(ngx_mcp_ctx_t *ctx);


#endif /* NGX_MCP_TOKEN_H */
