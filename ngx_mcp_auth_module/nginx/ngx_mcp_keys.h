/*
 * The life of an issuer's key set: first load, background refresh, unknown
 * kid, stale service (DESIGN.md sections 6 and 9).
 *
 * The zone holds each set's JSON with a generation; each worker makes its own
 * EVP_PKEYs from it when the generation it knows is older.  Whoever takes the
 * lease in the zone fetches (pid and deadline, so that a dead worker's lease
 * ends); the others see the new generation, at the latest, a short timer
 * later.  A fetched set replaces the old one; a set that cannot be used does
 * not.  At most one fetch per issuer for unknown kids in 30 s over all workers.
 * While a first load fails, it is retried with back-off (1 s doubling to 60 s
 * with jitter); on failure the old set serves up to jwks_stale.
 */

#ifndef NGX_MCP_KEYS_H
#define NGX_MCP_KEYS_H


#include "ngx_mcp_module.h"
#include "ngx_mcp_fetch.h"
#include "mcp_jwk.h"


/*
 * Configuration time, when the issuer block is complete: jwks_uri, jwks_file
 * (read and parsed here: a file that cannot be used fails nginx -t) or
 * discovery.  NGX_CONF_OK or NGX_CONF_ERROR, logged.
 */
char *ngx_mcp_keys_conf(ngx_conf_t *cf, ngx_mcp_issuer_t *issuer);

/* Configuration time, for mcp_connect: login_url, the place of the document
 * that has the issuer's endpoints.  As above. */
char *ngx_mcp_keys_conf_login(ngx_conf_t *cf, ngx_mcp_issuer_t *issuer);

/* Per worker: timers and the worker's tables.  Never fails for reasons of run
 * time.  Called in workers and in the single process only. */
ngx_int_t ngx_mcp_keys_init_worker(ngx_cycle_t *cycle,
    ngx_mcp_main_conf_t *mmcf);
void ngx_mcp_keys_exit_worker(ngx_mcp_main_conf_t *mmcf);

/*
 * The current set of the issuer.
 *   NGX_OK        *set, *generation; valid until control returns to nginx
 *   NGX_AGAIN     none yet and a load is under way: w->wake is called exactly
 *                 once, then ask again
 *   NGX_ERROR     none, and none can be had now, or this request has waited
 *                 jwks_timeout: 503, *retry_after in s
 * w->wake and w->data are set; wake is never called before this returns.
 */
ngx_int_t ngx_mcp_keys_get(ngx_mcp_issuer_t *issuer, ngx_mcp_keys_waiter_t *w,
    mcp_jwk_set_t **set, uint64_t *generation, time_t *retry_after);

/*
 * No key of this generation has the token's kid.
 *   NGX_OK        a newer generation is there: ask ngx_mcp_keys_get() again
 *   NGX_AGAIN     a refetch is under way (perhaps in another worker): w->wake
 *                 is called exactly once, then ask again with the same
 *                 generation
 *   NGX_DECLINED  the set is current: the token is refused
 *   NGX_ERROR     the issuer does not answer, so that nobody knows: 503
 */
ngx_int_t ngx_mcp_keys_unknown_kid(ngx_mcp_issuer_t *issuer,
    uint64_t generation, ngx_mcp_keys_waiter_t *w);

/* The waiting request goes: wake will not be called.  Harmless when idle. */
void ngx_mcp_keys_cancel(ngx_mcp_keys_waiter_t *w);


#endif /* NGX_MCP_KEYS_H */
