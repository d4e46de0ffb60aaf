/*
 * Redis on nginx's event loop.  nginx owns sockets, TLS and timers; hiredis
 * formats commands and parses replies, and does nothing else.
 *
 * Each worker has one client for its mcp_redis, with two connections: one for
 * commands, pipelined, and one that is subscribed.  Replies belong to commands
 * by their order alone; therefore a command whose caller has gone stays in the
 * queue, and a command that is not answered in time ends the connection: no
 * reply can come to another's question.
 *
 * Nothing is sent twice: when a connection ends, its commands fail, and whether
 * Redis did what they said is not known.  While Redis is down commands fail at
 * once.
 */

#ifndef NGX_MCP_REDIS_H
#define NGX_MCP_REDIS_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <hiredis/hiredis.h>

#include "ngx_mcp_fetch.h"


typedef struct ngx_mcp_redis_s       ngx_mcp_redis_t;       /* the client */
typedef struct ngx_mcp_redis_call_s  ngx_mcp_redis_call_t;


/* mcp_redis { ... }; read-only at run time */
typedef struct {
    ngx_str_t            server;        /* as it was written */
    ngx_mcp_url_t        url;           /* host and port, */
    ngx_str_t            host;          /* NUL-terminated; */
    ngx_addr_t          *socket;        /* or a unix socket */
    ngx_mcp_conn_conf_t  conn;
    ngx_flag_t           tls;
    ngx_str_t            trusted_certificate;
    ngx_str_t            name;          /* ssl_name, NUL-terminated, or empty */
    ngx_uint_t           name_literal;
    ngx_str_t            user;
    ngx_str_t            password;      /* secret; never logged */
    ngx_int_t            database;
    ngx_str_t            prefix;
    ngx_msec_t           timeout;       /* ms, for a reply */
    ngx_msec_t           connect_timeout;   /* ms, TCP and TLS; and again for
                                               AUTH and the like */
    ngx_msec_t           revocation_stale;  /* ms */
    size_t               max_reply;     /* bytes */
    ngx_str_t            conf_file;     /* where the block stands */
    ngx_uint_t           conf_line;
} ngx_mcp_redis_conf_t;

/* reply: valid during the call, may be an error (REDIS_REPLY_ERROR); NULL: none
 * came, and nobody knows whether the command was carried out. */
typedef void (*ngx_mcp_redis_pt)(void *data, redisReply *reply);


typedef struct {
    /* subscribed; what was published from now on will come: time to load */
    void       (*up)(void *data);
    void       (*message)(void *data, ngx_str_t *payload);
    /* all that was published before `when` (ngx_current_msec) has come */
    void       (*alive)(void *data, ngx_msec_t when);
    void       (*down)(void *data);
    void        *data;
} ngx_mcp_redis_subscriber_t;


/* mcp_redis { ... } and its lines */
char *ngx_mcp_redis_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_mcp_redis_line(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* When http {} is complete: defaults, TLS, addresses. */
ngx_int_t ngx_mcp_redis_conf_finish(ngx_conf_t *cf,
    ngx_mcp_redis_conf_t *rcf);

/* Per worker; connects by itself, soon, and again after each loss, with
 * back-off (100 ms doubling to 5 s, with jitter).  NULL: no memory. */
ngx_mcp_redis_t *ngx_mcp_redis_create(ngx_mcp_redis_conf_t *rcf,
    ngx_cycle_t *cycle);

/* Every command fails, both connections are closed. */
void ngx_mcp_redis_destroy(ngx_mcp_redis_t *redis);

/* One channel, one subscriber; before the event loop runs. */
void ngx_mcp_redis_subscribe(ngx_mcp_redis_t *redis, ngx_str_t *channel,
    ngx_mcp_redis_subscriber_t *subscriber);

/*
 * Sends a command, argv is copied.  NGX_AGAIN: done (NULL: nobody waits) will
 * be called exactly once, never before this returns; *call (call may be NULL)
 * can be cancelled until then.  NGX_ERROR: it will not be called: Redis is
 * down, too much is waiting, or no memory.
 */
ngx_int_t ngx_mcp_redis_send(ngx_mcp_redis_t *redis, ngx_uint_t argc,
    ngx_str_t *argv, ngx_mcp_redis_pt done, void *data,
    ngx_mcp_redis_call_t **call);

/* done will not be called; the command is carried out or not. */
void ngx_mcp_redis_cancel(ngx_mcp_redis_call_t *call);

/* Asks Redis whether it still is what we may rely on (a master); when it is
 * not, both connections are given up. */
void ngx_mcp_redis_probe(ngx_mcp_redis_t *redis);

/* prefix + name, in pool: a key. */
ngx_int_t ngx_mcp_redis_key(ngx_mcp_redis_conf_t *rcf, ngx_pool_t *pool,
    const char *name, ngx_str_t *suffix, ngx_str_t *key);


#endif /* NGX_MCP_REDIS_H */
