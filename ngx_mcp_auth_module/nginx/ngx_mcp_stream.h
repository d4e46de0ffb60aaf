/*
 * Open event streams of this worker: found by whoever has to cut them, ended
 * when their token is over, counted for all workers.
 */

#ifndef NGX_MCP_STREAM_H
#define NGX_MCP_STREAM_H


#include "ngx_mcp_module.h"


ngx_int_t ngx_mcp_stream_init_worker(ngx_mcp_main_conf_t *mmcf);
void ngx_mcp_stream_exit_worker(ngx_mcp_main_conf_t *mmcf);

/* Header filter: an upstream's event stream for an authorised caller begins.
 * NGX_OK, or NGX_ERROR: no memory. */
ngx_int_t ngx_mcp_stream_open(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx);

/* How many are open, in all workers that are alive. */
ngx_uint_t ngx_mcp_stream_count(ngx_mcp_zone_t *zone);


#endif /* NGX_MCP_STREAM_H */
