/*
 * Sessions of the legacy era (Mcp-Session-Id): the client has a sealed form of
 * the upstream's id, which opens for the same caller at the same server only.
 */

#ifndef NGX_MCP_SESSION_H
#define NGX_MCP_SESSION_H


#include "ngx_mcp_module.h"


/* mcp_session_key PATH... */
char *ngx_mcp_session_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* Keys for this worker: those of the configuration, or one that came with the
 * zone. */
ngx_int_t ngx_mcp_session_init_worker(ngx_cycle_t *cycle,
    ngx_mcp_main_conf_t *mmcf);

void ngx_mcp_session_exit_worker(ngx_mcp_main_conf_t *mmcf);

/*
 * Access phase, the caller and the message are known: NGX_OK and
 * ctx->upstream_session is what the upstream knows it by (empty: none);
 * NGX_DONE: answered with 404 (not a session of this caller) or 400 (this needs
 * one); else an error for the phase engine.
 */
ngx_int_t ngx_mcp_session_request(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx);

/* Header filter: seals what the upstream said, or takes it away (modern era).
 * NGX_DECLINED: it cannot be an id, or there are two; NGX_ERROR: no memory. */
ngx_int_t ngx_mcp_session_response(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx);


#endif /* NGX_MCP_SESSION_H */
