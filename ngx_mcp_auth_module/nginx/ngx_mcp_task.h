/*
 * Whose task it is: noted when a response makes one, asked for whenever one is
 * named.
 */

#ifndef NGX_MCP_TASK_H
#define NGX_MCP_TASK_H


#include "ngx_mcp_module.h"


/* A response to this caller made the task; ttl in ms as written, or empty.
 * NGX_OK: it is the caller's; NGX_DECLINED: it was somebody else's already;
 * NGX_ERROR: no room to note it. */
ngx_int_t ngx_mcp_task_made(ngx_mcp_ctx_t *ctx, const mcp_str_t *id,
    const mcp_str_t *ttl);

/* 1 when the task is known, and the caller's. */
ngx_uint_t ngx_mcp_task_owned(ngx_mcp_ctx_t *ctx, const mcp_str_t *id);


#endif /* NGX_MCP_TASK_H */
