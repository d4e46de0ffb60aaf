/*
 * Revocation at once: the table of watermarks, who keeps it current, and the
 * check that comes after every cache.
 *
 * The table is in a shared zone of its own: nothing but a line that lifts a
 * revocation, or a new file, takes an entry away.  Every worker watches
 * mcp_revocation_file and is subscribed to Redis; each puts what it learns into
 * the table, and the same thing twice does no harm.  A number, the table's
 * generation, moves with each change: whoever passed at this generation passes
 * without a look-up.
 */

#ifndef NGX_MCP_REVOKE_H
#define NGX_MCP_REVOKE_H


#include "ngx_mcp_module.h"
#include "mcp_revocation.h"


/* mcp_revocation_file PATH */
char *ngx_mcp_revoke_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

ngx_int_t ngx_mcp_revoke_init_worker(ngx_cycle_t *cycle,
    ngx_mcp_main_conf_t *mmcf);
void ngx_mcp_revoke_exit_worker(ngx_mcp_main_conf_t *mmcf);

/*
 * May this caller go on?  seen: where the caller's owner keeps the generation
 * at which it passed; 0 at first.
 *   NGX_OK        yes (or nothing is configured that could revoke)
 *   NGX_DECLINED  revoked
 *   NGX_AGAIN     the table was not loaded yet: w->wake is called exactly
 *                 once, never before this returns; then ask again
 *   NGX_ERROR     nobody knows: the table is stale, or cannot be loaded; 503
 * w may be NULL: then NGX_ERROR in place of NGX_AGAIN.  No lock is taken when
 * nothing changed since *seen.
 */
ngx_int_t ngx_mcp_revoke_check(ngx_mcp_main_conf_t *mmcf,
    const mcp_principal_t *p, int leeway, uint64_t *seen,
    ngx_mcp_keys_waiter_t *w);

/* The waiting request goes: wake will not be called.  Harmless when idle. */
void ngx_mcp_revoke_cancel(ngx_mcp_keys_waiter_t *w);


/*
 * For the store in Redis (ngx_mcp_revoke_redis.c).
 */

/* A line with its stamp.  NGX_OK: the table has it now; NGX_DECLINED: it had it
 * or a newer one; NGX_ERROR: no room (the table counts as not loaded). */
ngx_int_t ngx_mcp_revoke_merge(ngx_mcp_main_conf_t *mmcf,
    const mcp_revocation_t *r);

/* All that Redis had was merged, and nothing that was published before `when`
 * (ngx_current_msec) is missing. */
void ngx_mcp_revoke_current(ngx_mcp_main_conf_t *mmcf, ngx_msec_t when);

/* Entries that came from Redis, for filling an emptied one again: copies
 * "FIELD LINE STAMP" triples, some at a time.  *cursor is 0 at first, and 0
 * again after the last; each() is called without the lock. */
ngx_int_t ngx_mcp_revoke_each(ngx_mcp_main_conf_t *mmcf, uint64_t *cursor,
    void (*each)(void *data, const mcp_revocation_t *r), void *data);


#endif /* NGX_MCP_REVOKE_H */
