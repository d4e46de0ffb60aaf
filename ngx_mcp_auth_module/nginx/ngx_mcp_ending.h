/*
 * Grants that end: because the person disconnected an account, or was revoked.
 * The record becomes a tombstone at once, on all nodes; the provider is told in
 * the background, from a queue in Redis that outlives processes
 * (core/mcp_ending.h).
 */

#ifndef NGX_MCP_ENDING_H
#define NGX_MCP_ENDING_H


#include "ngx_mcp_flight.h"
#include "mcp_ending.h"


/* NGX_OK: it is over here, and the provider will be told; NGX_DECLINED: there
 * was none; NGX_ERROR: nobody knows. */
typedef void (*ngx_mcp_ending_pt)(void *data, ngx_int_t rc);

typedef struct ngx_mcp_ending_call_s  ngx_mcp_ending_call_t;


/*
 * Ends owner's grant of the `type user` credential cr, whenever it was given.
 * reason: static, for the audit.  NGX_AGAIN: done is called exactly once, never
 * before this returns; NGX_ERROR: it is not, and nothing was done.  owner is
 * copied.
 */
ngx_int_t ngx_mcp_ending_grant(ngx_mcp_main_conf_t *mmcf,
    ngx_mcp_credential_t *cr, const mcp_vault_owner_t *owner,
    const char *reason, ngx_mcp_ending_pt done, void *data,
    ngx_mcp_ending_call_t **call);

/* done will not be called; what was begun goes on. */
void ngx_mcp_ending_cancel(ngx_mcp_ending_call_t *call);

/* A watermark of this person may have come: ends what she granted before it.
 * What cannot be done now is done by the sweep. */
void ngx_mcp_ending_person(ngx_mcp_main_conf_t *mmcf, const mcp_str_t *issuer,
    const mcp_str_t *user);

/* The same, of one credential; for the sweep. */
void ngx_mcp_ending_revoked(ngx_mcp_main_conf_t *mmcf,
    ngx_mcp_credential_t *cr, const mcp_vault_owner_t *owner);

/* New tokens of a grant that ended while they were asked for. */
void ngx_mcp_ending_tokens(ngx_mcp_main_conf_t *mmcf,
    ngx_mcp_credential_t *cr, const mcp_vault_owner_t *owner,
    const mcp_vault_tokens_t *t);

/* http {} is complete: where the provider is told. */
ngx_int_t ngx_mcp_ending_conf(ngx_conf_t *cf, ngx_mcp_credential_t *cr);

ngx_int_t ngx_mcp_ending_init_worker(ngx_mcp_vault_t *v, ngx_cycle_t *cycle);
void ngx_mcp_ending_exit_worker(ngx_mcp_vault_t *v);


/*
 * Between ngx_mcp_ending.c, ngx_mcp_ending_queue.c and ngx_mcp_ending_ask.c.
 */

/* One for each worker. */
struct ngx_mcp_endings_s {
    ngx_mcp_vault_t         *vault;
    ngx_queue_t              calls;     /* that are under way */

    ngx_str_t                hash;      /* keys */
    ngx_str_t                set;
    ngx_str_t                channel;
    time_t                   lease;     /* s that an entry is ours */

    /* the entry that this worker has in hand */
    ngx_event_t              timer;
    ngx_uint_t               busy;
    ngx_uint_t               again;     /* something came meanwhile */
    ngx_pool_t              *pool;      /* NULL: none */
    ngx_mcp_redis_call_t    *redis;
    ngx_mcp_store_call_t    *store;
    ngx_mcp_fetch_t         *fetch;
    u_char                   id[MCP_ENDING_ID];
    mcp_ending_t             entry;
    ngx_mcp_credential_t    *cr;
    mcp_oauth_request_t      request;
    void                   (*changed)(ngx_mcp_endings_t *en);
                                        /* NULL: it is as it was taken */
    ngx_uint_t               renewed;   /* its tokens are new */
    ngx_uint_t               before;    /* somebody sent the refresh token
                                           before us, and heard nothing */
    uint64_t                 asked_us;
    time_t                  *closed;    /* of each credential: not asked
                                           before, s since the epoch */
};

/* Something is in the queue: the provider is told soon. */
void ngx_mcp_ending_hurry(ngx_mcp_endings_t *en);

/* The provider is told of the entry that is in hand. */
void ngx_mcp_ending_ask(ngx_mcp_endings_t *en);

/* It could not be told; reason: for the audit, us: how long that took, or -1;
 * retry_after: s, or -1. */
void ngx_mcp_ending_failed(ngx_mcp_endings_t *en, const char *reason,
    int64_t us, time_t retry_after);

ngx_int_t ngx_mcp_ending_change(ngx_mcp_endings_t *en, time_t due,
    void (*done)(ngx_mcp_endings_t *en));
void ngx_mcp_ending_settle(ngx_mcp_endings_t *en, time_t due);

/* A sealed entry, in pool.  id: MCP_ENDING_ID bytes, what it is called. */
ngx_int_t ngx_mcp_ending_seal(ngx_mcp_main_conf_t *mmcf, ngx_pool_t *pool,
    const mcp_ending_t *entry, const u_char *id, ngx_str_t *sealed);

/* A record of what was done; us: how long the provider took, or -1. */
void ngx_mcp_ending_event(ngx_mcp_main_conf_t *mmcf, const char *method,
    const char *decision, const char *reason, const mcp_vault_owner_t *owner,
    int64_t us);

ngx_int_t ngx_mcp_ending_queue_init(ngx_mcp_endings_t *en,
    ngx_cycle_t *cycle);
void ngx_mcp_ending_queue_exit(ngx_mcp_endings_t *en);


#endif /* NGX_MCP_ENDING_H */
