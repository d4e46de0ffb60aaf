/*
 * The last token of a connection and its key in the cache.
 *
 * A client that keeps its connection sends the same token with each request:
 * comparing it costs a tenth of hashing it.  What is remembered is what
 * ngx_mcp_cache_key() made of these bytes and nothing else; whether the token
 * is good is asked of the cache each time.
 *
 * The copy is in the connection's pool and is wiped when that goes.  It is
 * made at a connection's second request: who has only one pays nothing.
 */

#ifndef NGX_MCP_MEMO_H
#define NGX_MCP_MEMO_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_mcp_cache.h"


/* As ngx_mcp_cache_key(). */
void ngx_mcp_memo_key(ngx_http_request_t *r, ngx_mcp_cache_t *cache,
    ngx_str_t *token, u_char *key);


#endif /* NGX_MCP_MEMO_H */
