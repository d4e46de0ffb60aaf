/*
 * Verified tokens, level 1: this worker's own table over the zone's.
 *
 * Key: SHA-256 of the token and the configuration's fingerprint.  An entry is
 * reference-counted: a request holds it as long as it needs the principal,
 * eviction only takes it out of the table.  Refused tokens are kept here
 * briefly and in a bounded number, never in the zone.
 *
 * No entry outlives its key: when any key set is replaced (the zone's
 * generation moves), this worker's table is emptied at the next look-up, and
 * what the zone has from an older generation of its issuer is not taken.  Nor
 * does one outlive a clock that was ahead: what would end later than anything
 * that is put there now is over.
 */

#ifndef NGX_MCP_CACHE_H
#define NGX_MCP_CACHE_H


#include <ngx_config.h>
#include <ngx_core.h>

#include "mcp_principal.h"
#include "ngx_mcp_tree.h"
#include "ngx_mcp_zone.h"


/* s; nothing is kept longer, whatever its end */
#define NGX_MCP_CACHE_JWT      300
#define NGX_MCP_CACHE_OWN      30       /* the gateway's own tokens */
#define NGX_MCP_CACHE_REFUSAL  10


typedef struct ngx_mcp_cache_s  ngx_mcp_cache_t;

/* The generation of the issuer's current key set (issuer: the index in the
 * principal); 0: there is none, its tokens are not taken from the zone. */
typedef uint64_t (*ngx_mcp_cache_generation_pt)(void *data,
    ngx_uint_t issuer);


/* in place of a generation: in no other worker's cache */
#define NGX_MCP_CACHE_WORKER  0


typedef struct {
    mcp_principal_t     *principal;     /* NULL: refused, nobody's */
    const char          *reason;        /* static, when refused; else NULL */
    time_t               expires;       /* s */
    uint64_t             seen;          /* the generation of revocations at
                                           which it passed; its holders' */
    u_char              *who;           /* its part of the audit's records, */
    size_t               who_len;       /* as who_policy names the roles; kept
                                           by its holders in memory of */
    const void          *who_policy;    /* ngx_alloc(), freed with it */
    unsigned             worker:1;      /* in no other worker's cache */
    const void          *record_of;     /* the credential that its holders */
    u_char               record[32];    /* wrote down the record's name of */

    /* private */
    ngx_uint_t           refs;
    ngx_queue_t          lru;
    ngx_mcp_tree_node_t  tree;
    unsigned             linked:1;
} ngx_mcp_cache_entry_t;


/* Per worker.  max: entries; fingerprint: 32 bytes over what verification
 * depends on.  NULL: out of memory (logged). */
ngx_mcp_cache_t *ngx_mcp_cache_create(ngx_mcp_zone_t *zone, ngx_uint_t max,
    u_char *fingerprint, ngx_log_t *log);

/* How to ask for generations (ngx_mcp_keys_init_worker() does it); before, what
 * is in the zone is not taken. */
void ngx_mcp_cache_generations(ngx_mcp_cache_t *cache,
    ngx_mcp_cache_generation_pt handler, void *data);

/* Entries that are still held live until their last release. */
void ngx_mcp_cache_destroy(ngx_mcp_cache_t *cache);

/* The key of a token. */
void ngx_mcp_cache_key(ngx_mcp_cache_t *cache, ngx_str_t *token, u_char *key);

/* The entry with a reference taken, from this worker or the zone; NULL: not
 * known.  Expired entries are never given. */
ngx_mcp_cache_entry_t *ngx_mcp_cache_get(ngx_mcp_cache_t *cache, u_char *key,
    time_t now);

/* Keeps a verified principal (copied) in both levels until expires, at most
 * NGX_MCP_CACHE_JWT or _OWN from now; returns the entry with a reference taken,
 * or NULL: out of memory.  generation: of the key set that verified it, or
 * NGX_MCP_CACHE_WORKER. */
ngx_mcp_cache_entry_t *ngx_mcp_cache_put(ngx_mcp_cache_t *cache, u_char *key,
    const mcp_principal_t *principal, uint64_t generation, time_t expires);

/* Keeps a refusal in this worker until expires, NGX_MCP_CACHE_REFUSAL from now
 * at most.  principal: whose token it is (copied), or NULL. */
void ngx_mcp_cache_refuse(ngx_mcp_cache_t *cache, u_char *key,
    const mcp_principal_t *principal, const char *reason, time_t expires);

/* Drops all of this worker's entries (a key set was replaced). */
void ngx_mcp_cache_flush(ngx_mcp_cache_t *cache);

/* Gives a reference back.  May free the entry. */
void ngx_mcp_cache_release(ngx_mcp_cache_entry_t *entry);


#endif /* NGX_MCP_CACHE_H */
