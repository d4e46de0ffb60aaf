/*
 * Own tokens in Redis: from a token's hashes to its record.
 *
 * A token may have been hashed under any pepper of the ring: all keys are asked
 * for at once.  Whoever asks for the same token meanwhile shares the question.
 * Nothing is remembered here: the caches come before this.
 *
 * Called by ngx_mcp_token.c, for ngx_mcp_main_conf_t with an mcp_redis.
 */

#ifndef NGX_MCP_TOKEN_REDIS_H
#define NGX_MCP_TOKEN_REDIS_H


#include "ngx_mcp_module.h"
#include "mcp_access_key.h"


typedef struct ngx_mcp_token_query_s  ngx_mcp_token_query_t;

typedef enum {
    NGX_MCP_TOKEN_FOUND = 0,
    NGX_MCP_TOKEN_NONE,             /* Redis has no record of it */
    NGX_MCP_TOKEN_UNKNOWN           /* Redis did not answer, or not well */
} ngx_mcp_token_answer_e;

/*
 * line: of FOUND, the record as it is in Redis, valid during the call.  The
 * caller parses it and refuses it unless its hash is that of the token: an
 * answer to another's question gives nobody an identity.
 */
typedef void (*ngx_mcp_token_redis_pt)(void *data,
    ngx_mcp_token_answer_e answer, ngx_str_t *line);


/* One that asks; lives in the waiting request's context, zeroed before the
 * first use. */
typedef struct {
    ngx_queue_t              queue;
    ngx_mcp_token_query_t   *query;     /* NULL: idle */
    ngx_mcp_token_redis_pt   done;
    void                    *data;
} ngx_mcp_token_ask_t;


ngx_int_t ngx_mcp_token_redis_init_worker(ngx_cycle_t *cycle,
    ngx_mcp_main_conf_t *mmcf);

/* Before ngx_mcp_redis_destroy(); who waits is not called any more. */
void ngx_mcp_token_redis_exit_worker(ngx_mcp_main_conf_t *mmcf);

/*
 * hashes: n of MCP_ACCESS_KEY_HASH bytes each, one for each pepper of the ring,
 * in its order.  NGX_AGAIN: ask->done will be called exactly once, never before
 * this returns.  NGX_ERROR: it will not be called: Redis is down, or no memory.
 */
ngx_int_t ngx_mcp_token_redis_find(ngx_mcp_main_conf_t *mmcf,
    u_char (*hashes)[MCP_ACCESS_KEY_HASH], ngx_uint_t n,
    ngx_mcp_token_ask_t *ask);

/* done will not be called.  Harmless when idle. */
void ngx_mcp_token_redis_cancel(ngx_mcp_token_ask_t *ask);

/*
 * A record was accepted: notes in Redis that the token of this id was used,
 * unless this worker did so in the last 10 min.  Waits for nothing, and nothing
 * depends on it.
 */
void ngx_mcp_token_redis_used(ngx_mcp_main_conf_t *mmcf, const mcp_str_t *id);


#endif /* NGX_MCP_TOKEN_REDIS_H */
