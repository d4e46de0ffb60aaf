/*
 * Revocations in Redis: this worker's part in keeping the table current.
 */

#ifndef NGX_MCP_REVOKE_REDIS_H
#define NGX_MCP_REVOKE_REDIS_H


#include "ngx_mcp_module.h"


/* With mcp_redis: after ngx_mcp_revoke_init_worker() and
 * ngx_mcp_redis_create(). */
ngx_int_t ngx_mcp_revoke_redis_init_worker(ngx_cycle_t *cycle,
    ngx_mcp_main_conf_t *mmcf);

/* After ngx_mcp_redis_destroy(). */
void ngx_mcp_revoke_redis_exit_worker(ngx_mcp_main_conf_t *mmcf);


#endif /* NGX_MCP_REVOKE_REDIS_H */
