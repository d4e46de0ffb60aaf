/*
 * One connection to Redis, made again and again: what the two connections of a
 * client have in common.  Only ngx_mcp_redis.c and ngx_mcp_redis_sub.c know of
 * it.
 *
 * A link is down (waiting for the next attempt), being established, being
 * greeted (AUTH, SELECT, ...), or ready; from then on its owner gets each reply
 * in order.  However it ends, lost() is called once, with everything closed and
 * the next attempt under way.  Nothing that was written survives an end.
 */

#ifndef NGX_MCP_REDIS_LINK_H
#define NGX_MCP_REDIS_LINK_H


#include "ngx_mcp_redis.h"


#define NGX_MCP_REDIS_CODE  32          /* bytes of an error code, with NUL */


typedef struct ngx_mcp_redis_link_s  ngx_mcp_redis_link_t;

typedef enum {
    NGX_MCP_REDIS_STOPPED = 0,          /* no more attempts */
    NGX_MCP_REDIS_DOWN,
    NGX_MCP_REDIS_CONNECTING,
    NGX_MCP_REDIS_GREETING,
    NGX_MCP_REDIS_READY
} ngx_mcp_redis_state_e;

typedef struct {
    u_char                  *data;      /* ngx_alloc */
    size_t                   pos;       /* sent up to here */
    size_t                   len;
    size_t                   size;
} ngx_mcp_redis_out_t;


struct ngx_mcp_redis_link_s {
    /* set by the owner; everything else is zeroed */
    ngx_mcp_redis_t         *redis;
    ngx_mcp_redis_conf_t    *conf;
    const char              *client_name;       /* CLIENT SETNAME */
    void                   (*ready)(ngx_mcp_redis_link_t *link);
    void                   (*reply)(ngx_mcp_redis_link_t *link,
                                    redisReply *reply);
    void                   (*lost)(ngx_mcp_redis_link_t *link);

    ngx_mcp_redis_state_e    state;
    ngx_uint_t               failures;  /* in a row; 0: the next attempt is
                                           expected to succeed */
    ngx_uint_t               good;      /* set by the owner: it is of use */

    /* private */
    ngx_log_t                log;
    ngx_pool_t              *pool;      /* of this attempt */
    ngx_mcp_conn_t           conn;
    ngx_event_t              timer;     /* next attempt, greeting */
    ngx_msec_t               since;     /* ready */
    redisReader             *reader;
    redisReplyObjectFunctions   functions;      /* bounded ones, */
    redisReplyObjectFunctions  *hiredis;        /* and those behind them */
    size_t                   size;      /* of the reply being read */
    u_char                  *recv;
    ngx_mcp_redis_out_t      greeting;
    ngx_mcp_redis_out_t      out;
    ngx_uint_t               expect[5]; /* replies to the greeting */
    ngx_uint_t               nexpect;
    ngx_uint_t               greeted;
    u_char                   code[NGX_MCP_REDIS_CODE];
};


/* The first attempt is made soon. */
void ngx_mcp_redis_link_start(ngx_mcp_redis_link_t *link, ngx_log_t *log);

/* Closed, and no more attempts; lost() is not called. */
void ngx_mcp_redis_link_stop(ngx_mcp_redis_link_t *link);

/* Ends it and makes the next attempt; error is a static sentence for the log.
 * Calls lost(). */
void ngx_mcp_redis_link_fail(ngx_mcp_redis_link_t *link, const char *error);

/* Appends a command, sent when the link is ready, with all others of this
 * turn of the loop.  NGX_ERROR: no memory, or too much is waiting. */
ngx_int_t ngx_mcp_redis_link_write(ngx_mcp_redis_link_t *link, ngx_uint_t argc,
    ngx_str_t *argv);

/* Keeps the code of an error reply ("NOPERM") for the log. */
void ngx_mcp_redis_link_code(ngx_mcp_redis_link_t *link, redisReply *reply);

/* The reply to HELLO.  NULL, or why this Redis will not do. */
const char *ngx_mcp_redis_hello(redisReply *reply);

/* An error reply of this code? */
ngx_uint_t ngx_mcp_redis_is(redisReply *reply, const char *code);


/*
 * ngx_mcp_redis.c: while a client is held it is not freed, whatever the owner
 * of a reply does.  Each event handler of a link holds it.
 */
void ngx_mcp_redis_hold(ngx_mcp_redis_t *redis);
void ngx_mcp_redis_release(ngx_mcp_redis_t *redis);

/* One line about a failure, not too often. */
ngx_uint_t ngx_mcp_redis_loud(ngx_mcp_redis_t *redis, const char *error);


#endif /* NGX_MCP_REDIS_LINK_H */
