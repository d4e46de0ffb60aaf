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


/* How long a request waits for a table that is not loaded, from when it was
 * last (ms). */
#define NGX_MCP_REVOKE_WAIT  2000


/* mcp_revocation_file PATH: read now; one that is broken fails nginx -t. */
char *ngx_mcp_revoke_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* When http {} is complete: the zone, when something can revoke. */
ngx_int_t ngx_mcp_revoke_conf_finish(ngx_conf_t *cf,
    ngx_mcp_main_conf_t *mmcf);

/* Before ngx_mcp_redis_create(); streams and log are there already. */
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

/* The same for the caller of a request. */
ngx_int_t ngx_mcp_revoke_caller(ngx_mcp_main_conf_t *mmcf,
    ngx_mcp_ctx_t *ctx, ngx_mcp_keys_waiter_t *w);

/*
 * Was what this person had at `since` (s since the epoch) taken from her by a
 * watermark of her own, not by one of her issuer or of everybody.  NGX_OK: no;
 * NGX_DECLINED: yes; NGX_ERROR: nobody knows.
 */
ngx_int_t ngx_mcp_revoke_person(ngx_mcp_main_conf_t *mmcf,
    const mcp_str_t *issuer, const mcp_str_t *user, int64_t since);

/* The waiting request goes: wake will not be called.  Harmless when idle. */
void ngx_mcp_revoke_cancel(ngx_mcp_keys_waiter_t *w);

/* A stream was opened while nobody knew: it is looked at when somebody does. */
void ngx_mcp_revoke_look_again(ngx_mcp_main_conf_t *mmcf);

/* To be counted: a request was refused, a stream was cut. */
void ngx_mcp_revoke_refused(ngx_mcp_main_conf_t *mmcf);
void ngx_mcp_revoke_cut(ngx_mcp_main_conf_t *mmcf);


/*
 * For the store in Redis (ngx_mcp_revoke_redis.c).
 *
 * A load of everything:
 *     epoch = ngx_mcp_revoke_epoch();  when = ngx_current_msec;
 *     subscribed before; HSCAN the hash, ngx_mcp_revoke_merge() each line
 *     ngx_mcp_revoke_loaded(epoch, when)
 * and from then on ngx_mcp_revoke_current() whenever the subscription shows
 * that it lives.  One worker that does is enough for all.
 */

/* Moves when the table loses what was merged into it: a worker died while it
 * changed the table, or there was no room. */
uint64_t ngx_mcp_revoke_epoch(ngx_mcp_main_conf_t *mmcf);

/* A line with its stamp.  NGX_OK: the table has it now; NGX_DECLINED: it had it
 * or a newer one; NGX_ERROR: no room (the table counts as not loaded). */
ngx_int_t ngx_mcp_revoke_merge(ngx_mcp_main_conf_t *mmcf,
    const mcp_revocation_t *r);

/* All that Redis had was merged since epoch was read, and nothing that was
 * published before `when` (ngx_current_msec) is missing.  NGX_DECLINED: the
 * epoch is another one now, load again. */
ngx_int_t ngx_mcp_revoke_loaded(ngx_mcp_main_conf_t *mmcf, uint64_t epoch,
    ngx_msec_t when);

/* After a load: nothing that was published before `when` is missing.
 * NGX_DECLINED: the table is not loaded (any more), load again. */
ngx_int_t ngx_mcp_revoke_current(ngx_mcp_main_conf_t *mmcf, ngx_msec_t when);

/* Entries that came from Redis, for filling an emptied one again: copies them,
 * some at a time.  *cursor is 0 at first, and 0 again after the last; each() is
 * called without the lock, its strings are valid during the call.  NGX_OK, or
 * NGX_ERROR: not now (no memory, or the zone cannot be used). */
ngx_int_t ngx_mcp_revoke_each(ngx_mcp_main_conf_t *mmcf, uint64_t *cursor,
    void (*each)(void *data, const mcp_revocation_t *r), void *data);


/*
 * For mcp_status.
 */

typedef struct {
    ngx_uint_t           file;          /* entries of it; all that are there,
                                           also what ran out */
    ngx_uint_t           redis;         /* likewise */
    ngx_uint_t           ready;         /* requests are decided */
    ngx_uint_t           broken;        /* the file cannot be taken; what it
                                           had before is in force */
    ngx_uint_t           has_age;
    ngx_msec_t           age;           /* ms since the last confirmation */
    ngx_uint_t           applied;       /* since the zone was made */
    ngx_uint_t           lifted;
    ngx_uint_t           refused;       /* requests */
    ngx_uint_t           cut;           /* streams */
    size_t               free;          /* bytes in whole pages */
} ngx_mcp_revoke_status_t;

/* NGX_DECLINED: nothing is configured that could revoke. */
ngx_int_t ngx_mcp_revoke_status(ngx_mcp_main_conf_t *mmcf,
    ngx_mcp_revoke_status_t *st);


#endif /* NGX_MCP_REVOKE_H */
