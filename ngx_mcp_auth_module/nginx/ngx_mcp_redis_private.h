/*
 * The Redis client of a worker, for its own files: ngx_mcp_redis.c (commands)
 * and ngx_mcp_redis_sub.c (the subscription).
 */

#ifndef NGX_MCP_REDIS_PRIVATE_H
#define NGX_MCP_REDIS_PRIVATE_H


#include "ngx_mcp_redis_link.h"


typedef struct {
    ngx_mcp_redis_link_t         link;
    ngx_str_t                    channel;
    ngx_mcp_redis_subscriber_t   subscriber;
    ngx_event_t                  timer;     /* next PING, or its PONG is due */
    ngx_msec_t                   sent;      /* the last PING, */
    ngx_uint_t                   pings;     /* its number, */
    u_char                       number[NGX_INT_T_LEN];     /* as text */
    size_t                       number_len;
    unsigned                     up:1;
    unsigned                     pinged:1;  /* a PONG is due */
} ngx_mcp_redis_sub_t;


struct ngx_mcp_redis_s {
    ngx_mcp_redis_conf_t    *conf;
    ngx_log_t               *log;

    ngx_mcp_redis_link_t     commands;
    ngx_queue_t              pending;       /* ngx_mcp_redis_call_t */
    ngx_queue_t              failed;        /* likewise */
    ngx_uint_t               npending;
    ngx_uint_t               waiting;       /* of them, not cancelled */
    ngx_event_t              timer;         /* a reply is due */

    ngx_mcp_redis_sub_t      sub;

    const char              *error;         /* the last one that was logged */
    ngx_msec_t               said;          /* when */
    ngx_uint_t               held;
    unsigned                 destroyed:1;
};


/* Ends the subscribed connection, which is made again. */
void ngx_mcp_redis_give_up(ngx_mcp_redis_t *redis, const char *error);

/* Closes the subscribed connection, if there is one. */
void ngx_mcp_redis_unsubscribe(ngx_mcp_redis_t *redis);


#endif /* NGX_MCP_REDIS_PRIVATE_H */
