/*
 * Open event streams of this worker: ended when their token is over or their
 * caller is revoked, counted for all workers.
 */

#ifndef NGX_MCP_STREAM_H
#define NGX_MCP_STREAM_H


#include "ngx_mcp_module.h"


ngx_int_t ngx_mcp_stream_init_worker(ngx_mcp_main_conf_t *mmcf);
void ngx_mcp_stream_exit_worker(ngx_mcp_main_conf_t *mmcf);

/* Header filter: an upstream's event stream for an authorised caller begins.
 * NGX_OK; NGX_DECLINED: the caller was revoked meanwhile, nothing of it must
 * be sent: it is cut in a moment; NGX_ERROR: no memory. */
ngx_int_t ngx_mcp_stream_open(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx);

/* The table of revocations changed, or (unknown, ms) nobody has known for so
 * long what is in it: streams of the revoked are cut, and those that go on
 * longer than stream_grace while nobody knows.  From a timer only. */
void ngx_mcp_stream_check(ngx_mcp_main_conf_t *mmcf, ngx_msec_t unknown);

/* Those of callers for whom over() says 1 are cut.  From a timer only. */
void ngx_mcp_stream_end(ngx_mcp_main_conf_t *mmcf,
    ngx_uint_t (*over)(void *data, const mcp_principal_t *p), void *data,
    const char *reason);

/* How many are open, in all workers that are alive. */
ngx_uint_t ngx_mcp_stream_count(ngx_mcp_zone_t *zone);


#endif /* NGX_MCP_STREAM_H */
