/*
 * mcp_token_file: records of own tokens in a file that is read again when it
 * changes.
 */

#ifndef NGX_MCP_TOKEN_FILE_H
#define NGX_MCP_TOKEN_FILE_H


#include "ngx_mcp_module.h"
#include "mcp_access_key.h"


typedef struct ngx_mcp_token_file_s  ngx_mcp_token_file_t;


/* Reads it; NULL after logging at emerg: it cannot be used.  Lives as long as
 * the configuration. */
ngx_mcp_token_file_t *ngx_mcp_token_file_conf(ngx_conf_t *cf,
    ngx_str_t *path);

/* Warns of records that were made with a key which is not in the ring. */
void ngx_mcp_token_file_check(ngx_conf_t *cf, ngx_mcp_token_file_t *tf,
    const mcp_pepper_ring_t *ring);

void ngx_mcp_token_file_init_worker(ngx_mcp_token_file_t *tf,
    ngx_cycle_t *cycle, ngx_mcp_main_conf_t *mmcf);
void ngx_mcp_token_file_exit_worker(ngx_mcp_token_file_t *tf);

/* The record of this hash, valid until the event loop's next turn; NULL:
 * none. */
const mcp_access_key_t *ngx_mcp_token_file_find(ngx_mcp_token_file_t *tf,
    const u_char *hash);


#endif /* NGX_MCP_TOKEN_FILE_H */
