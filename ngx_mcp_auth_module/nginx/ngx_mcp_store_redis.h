/*
 * Records of credentials in Redis.  See ngx_mcp_store.h, which has the
 * contract; called by ngx_mcp_store.c alone.
 */

#ifndef NGX_MCP_STORE_REDIS_H
#define NGX_MCP_STORE_REDIS_H


#include "ngx_mcp_store.h"
#include "ngx_mcp_redis.h"


ngx_int_t ngx_mcp_store_redis_read(ngx_mcp_main_conf_t *mmcf, u_char *name,
    ngx_mcp_store_pt done, void *data, ngx_mcp_store_call_t **call);
ngx_int_t ngx_mcp_store_redis_lock(ngx_mcp_main_conf_t *mmcf, u_char *name,
    ngx_str_t *owner, ngx_msec_t ttl, ngx_uint_t note, ngx_mcp_store_pt done,
    void *data, ngx_mcp_store_call_t **call);
ngx_int_t ngx_mcp_store_redis_write(ngx_mcp_main_conf_t *mmcf, u_char *name,
    ngx_str_t *owner, uint64_t version, ngx_mcp_record_t *record, time_t keep,
    ngx_mcp_store_pt done, void *data, ngx_mcp_store_call_t **call);
void ngx_mcp_store_redis_unlock(ngx_mcp_main_conf_t *mmcf, u_char *name,
    ngx_str_t *owner, ngx_str_t *note, ngx_msec_t hold);
void ngx_mcp_store_redis_used(ngx_mcp_main_conf_t *mmcf, u_char *name,
    time_t now);


/* ngx_mcp_store.c */
ngx_mcp_store_call_t *ngx_mcp_store_call(ngx_mcp_store_pt done, void *data);
ngx_mcp_redis_call_t **ngx_mcp_store_redis_call(ngx_mcp_store_call_t *sc);
void ngx_mcp_store_answer(ngx_mcp_store_call_t *sc, ngx_mcp_store_e rc,
    ngx_mcp_record_t *record);


#endif /* NGX_MCP_STORE_REDIS_H */
