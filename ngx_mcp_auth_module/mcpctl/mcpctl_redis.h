/*
 * One connection to Redis that waits for its answers.  hiredis formats commands
 * and parses replies; socket, TLS and time limits are ours.
 *
 * Replies are RESP2 and bounded, in bytes and in elements.  After any failure
 * the connection is not used again: no reply comes to another's question.
 */

#ifndef MCPCTL_REDIS_H
#define MCPCTL_REDIS_H


#include "mcpctl_conf.h"

#include <hiredis/hiredis.h>


typedef struct mcpctl_conn_s  mcpctl_conn_t;


/*
 * Connects, verifies the certificate (TLS), authenticates, selects the
 * database.  NULL: said what is wrong.
 */
mcpctl_conn_t *mcpctl_redis_connect(mcpctl_t *ctl,
    const mcpctl_redis_t *redis);
void mcpctl_redis_close(mcpctl_conn_t *c);

/*
 * Sends a command, waits for the reply; type: a REDIS_REPLY_..., or 0: any but
 * an error.  NULL: said what is wrong (what was sent is not told).  The reply
 * is freed by freeReplyObject().
 */
redisReply *mcpctl_redis_command(mcpctl_conn_t *c, int type, unsigned argc,
    const mcp_str_t *argv);

/* 1: the connection failed, what was sent last was done or not. */
unsigned mcpctl_redis_failed(const mcpctl_conn_t *c);

/* prefix + name + suffix. */
mcp_str_t mcpctl_redis_key(mcpctl_conn_t *c, const char *name,
    const char *suffix, size_t len);

/* The clock of Redis: s since the epoch; MCP_ERROR: said. */
int mcpctl_redis_time(mcpctl_conn_t *c, int64_t *sec);


#endif /* MCPCTL_REDIS_H */
