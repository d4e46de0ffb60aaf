/*
 * Shared memory: key sets, verified tokens, counters.
 *
 * One zone for the module (`mcp_zone`).  Only shpool->mutex; under the lock
 * only pointer updates and bounded copies; what is published is filled first
 * and swapped in.  Everything here can be made again: it survives a reload and
 * a worker's death, not a binary upgrade.  The zone's layout is versioned;
 * it holds no pointer to code or to a process's heap, and no token.
 */

#ifndef NGX_MCP_ZONE_H
#define NGX_MCP_ZONE_H


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_mcp_stats.h"
#include "ngx_mcp_token_limit.h"
#include "ngx_mcp_tree.h"


#define NGX_MCP_WORKERS  256

typedef struct {
    ngx_atomic_t         pid;           /* 0: free */
    ngx_atomic_t         streams;       /* open; written by that process */
} ngx_mcp_worker_slot_t;


typedef struct {
    ngx_atomic_t         audit_seq;     /* last number given */
    ngx_atomic_t         audit_written;
    ngx_atomic_t         audit_failed;
    ngx_atomic_t         cache_hits_worker;
    ngx_atomic_t         cache_hits_zone;
    ngx_atomic_t         cache_misses;
    ngx_atomic_t         key_fetches;
    ngx_atomic_t         key_failures;
    ngx_atomic_t         tokens_accepted;       /* own ones, looked up */
    ngx_atomic_t         tokens_refused;
    ngx_atomic_t         tokens_limited;
    ngx_atomic_t         token_records;         /* in mcp_token_file */
    ngx_atomic_t         token_file_time;       /* s since the epoch */
    ngx_atomic_t         token_file_failed;
    ngx_atomic_t         endings;       /* grants whose provider waits to be
                                           told of their end */
    ngx_mcp_limit_t      token_limit;
    ngx_mcp_stats_connect_t  connects;
    ngx_mcp_worker_slot_t  workers[NGX_MCP_WORKERS];
    ngx_mcp_stats_t      servers[NGX_MCP_STATS_SERVERS];
    ngx_mcp_stats_credential_t  credentials[NGX_MCP_STATS_CREDENTIALS];
} ngx_mcp_counters_t;


#define NGX_MCP_LOCKS    64             /* at once */

typedef struct {
    u_char               name[NGX_MCP_DIGEST];
    ngx_pid_t            pid;           /* 0: nobody shall have it */
    ngx_msec_t           until;         /* ngx_current_msec; 0: free */
} ngx_mcp_zone_slot_t;


typedef struct ngx_mcp_zone_s  ngx_mcp_zone_t;  /* private: ngx_mcp_zone.c */


/* Configuration time: the shared zone of this size, at least 128k; its data
 * pointer gives the ngx_mcp_zone_t after init.  NULL after logging at emerg. */
ngx_shm_zone_t *ngx_mcp_zone_add(ngx_conf_t *cf, size_t size);

/* NULL before the zone was initialised. */
ngx_mcp_zone_t *ngx_mcp_zone(ngx_shm_zone_t *shm_zone);

ngx_mcp_counters_t *ngx_mcp_zone_counters(ngx_mcp_zone_t *zone);

/* Bytes in whole pages that nothing is in. */
size_t ngx_mcp_zone_free(ngx_mcp_zone_t *zone);

/* 32 random bytes made with the zone: the key of the audit's digests when none
 * is configured. */
u_char *ngx_mcp_zone_secret(ngx_mcp_zone_t *zone);


/*
 * Verified tokens (level 2).  key: SHA-256 of the token mixed with the
 * configuration's fingerprint.  Values are packed principals, at most 16k.
 */

/* Copies the value into buf.  Its length, or -1: none, expired, or larger than
 * size.  *expires (s since the epoch) and *generation as they were put; whether
 * that generation still counts is the caller's to judge. */
ssize_t ngx_mcp_zone_token_get(ngx_mcp_zone_t *zone, u_char *key, time_t now,
    u_char *buf, size_t size, time_t *expires, uint64_t *generation);

/* Least recently used ones go when the zone is full; NGX_ERROR is harmless.
 * An entry of the same key is replaced. */
ngx_int_t ngx_mcp_zone_token_put(ngx_mcp_zone_t *zone, u_char *key,
    time_t expires, uint64_t generation, u_char *data, size_t len);


/*
 * Key sets, by issuer: name is the SHA-256 of issuer and source, so that a
 * changed jwks_uri is another set.  Generations are numbers of the whole zone:
 * each new set of any issuer gets the next one.
 */

typedef struct {
    uint64_t             generation;    /* 0: none yet */
    uint64_t             serial;        /* ends of leases so far */
    time_t               fetched;       /* s since the epoch */
    time_t               refresh;       /* when to fetch again */
    time_t               kid_fetch;     /* last start for an unknown kid */
    time_t               retry;         /* not before, after failures */
    ngx_uint_t           failures;      /* in a row */
    ngx_uint_t           leased;        /* somebody is fetching now */
} ngx_mcp_zone_keys_t;

/* The newest generation of any set: without lock, cheap enough for each
 * request.  Unchanged: no key set was replaced. */
uint64_t ngx_mcp_zone_generation(ngx_mcp_zone_t *zone);

/* The state; and, when its generation is neither 0 nor `have`, a copy of the
 * JSON in *data (ngx_alloc, the caller frees), else an empty string.  data may
 * be NULL.  NGX_OK, or NGX_ERROR: no memory. */
ngx_int_t ngx_mcp_zone_keys_get(ngx_mcp_zone_t *zone, u_char *name,
    uint64_t have, ngx_mcp_zone_keys_t *state, ngx_str_t *data);

/* Takes the lease for ttl s: NGX_OK, or NGX_DECLINED: somebody alive has it, or
 * a lease ended since *seen was read, or (kid_interval not 0: a fetch for an
 * unknown kid) the last one began less than kid_interval s ago; NGX_ERROR: no
 * memory in the zone. */
ngx_int_t ngx_mcp_zone_keys_lease(ngx_mcp_zone_t *zone, u_char *name,
    ngx_mcp_zone_keys_t *seen, time_t now, time_t ttl, time_t kid_interval);

/*
 * Ends the lease.  With data: the set is published under a new generation, or
 * under its old one when not a byte differs.  Without (NULL): a failure; the
 * old set stays and retry is noted.
 * NGX_OK; NGX_DECLINED: this process does not hold the lease (any more),
 * nothing was changed; NGX_ERROR: no memory in the zone, noted as a failure;
 * NGX_DONE: a failure noted, and less than a minute ago another one was (so
 * say nothing).
 */
ngx_int_t ngx_mcp_zone_keys_done(ngx_mcp_zone_t *zone, u_char *name,
    ngx_str_t *data, time_t now, time_t refresh, time_t retry);

/* Gives the lease back, when this process holds it, as if it had not been
 * taken. */
void ngx_mcp_zone_keys_release(ngx_mcp_zone_t *zone, u_char *name);


/*
 * Locks by name (32 bytes), for ttl ms at most, of a process that lives.
 * NGX_OK, or NGX_DECLINED: *hold is for how many ms nobody shall have it, 0:
 * somebody has it, or too many are held.
 */
ngx_int_t ngx_mcp_zone_lock_take(ngx_mcp_zone_t *zone, u_char *name,
    ngx_msec_t ttl, ngx_msec_t *hold);

/* Gives it back when this process has it; hold: for so many ms to nobody. */
void ngx_mcp_zone_lock_give(ngx_mcp_zone_t *zone, u_char *name,
    ngx_msec_t hold);


#endif /* NGX_MCP_ZONE_H */
