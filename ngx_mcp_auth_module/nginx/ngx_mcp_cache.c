/*
 * Verified tokens of this worker: a tree by key, and two LRU lists, of
 * principals and of refusals, each with its own bound.
 *
 * The path of nearly every request: one digest, one comparison of a number in
 * the zone, one walk down the tree.  The zone is asked only for what is not
 * here; its lock is taken then, never for a hit.
 *
 * An entry is one block of memory, principal included, and what its holders
 * made of it for the audit.  It is freed when it is
 * in no table and nobody holds it: the table does not count as a holder.
 * Called by the access phase and the variables; ngx_mcp_keys.c says which
 * generation of an issuer's keys counts.
 */

#include "ngx_mcp_cache.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>


#define NGX_MCP_CACHE_VALUE     16384   /* bytes; larger ones stay out of the
                                           zone */
#define NGX_MCP_CACHE_REFUSED   1024    /* entries */


struct ngx_mcp_cache_s {
    ngx_rbtree_t                  tree;
    ngx_rbtree_node_t             sentinel;
    ngx_queue_t                   lru;          /* newest first */
    ngx_queue_t                   refused;      /* newest first */
    ngx_uint_t                    n;
    ngx_uint_t                    nrefused;
    ngx_uint_t                    max;
    ngx_uint_t                    max_refused;

    ngx_mcp_zone_t               *zone;
    ngx_mcp_counters_t           *counters;
    uint64_t                      seen;         /* the zone's generation */
    ngx_mcp_cache_generation_pt   generation;
    void                         *data;

    EVP_MD                       *md;
    EVP_MD_CTX                   *ctx;
    u_char                        fingerprint[NGX_MCP_DIGEST];
    ngx_log_t                    *log;
    u_char                        buf[NGX_MCP_CACHE_VALUE];
};


static ngx_mcp_cache_entry_t *ngx_mcp_cache_find(ngx_mcp_cache_t *cache,
    u_char *key);
static ngx_mcp_cache_entry_t *ngx_mcp_cache_from_zone(ngx_mcp_cache_t *cache,
    u_char *key, time_t now);
static ngx_uint_t ngx_mcp_cache_over(ngx_mcp_cache_entry_t *e, time_t now);
static time_t ngx_mcp_cache_longest(const mcp_principal_t *principal);
static ngx_mcp_cache_entry_t *ngx_mcp_cache_entry(ngx_mcp_cache_t *cache,
    const mcp_principal_t *principal);
static ngx_mcp_cache_entry_t *ngx_mcp_cache_unpack(ngx_mcp_cache_t *cache,
    u_char *packed, size_t len);
static void ngx_mcp_cache_replace(ngx_mcp_cache_t *cache,
    ngx_mcp_cache_entry_t *e, u_char *key, time_t expires);
static void *ngx_mcp_cache_block(void *ctx, size_t size);
static void ngx_mcp_cache_link(ngx_mcp_cache_t *cache,
    ngx_mcp_cache_entry_t *e, u_char *key, time_t expires);
static void ngx_mcp_cache_unlink(ngx_mcp_cache_t *cache,
    ngx_mcp_cache_entry_t *e);
static void ngx_mcp_cache_free(ngx_mcp_cache_entry_t *e);


ngx_mcp_cache_t *
ngx_mcp_cache_create(ngx_mcp_zone_t *zone, ngx_uint_t max,
    u_char *fingerprint, ngx_log_t *log)
{
    ngx_mcp_cache_t  *cache;

    cache = ngx_calloc(sizeof(ngx_mcp_cache_t), log);
    if (cache == NULL) {
        return NULL;
    }

    cache->md = EVP_MD_fetch(NULL, "SHA256", NULL);
    cache->ctx = EVP_MD_CTX_new();

    if (cache->md == NULL || cache->ctx == NULL) {
        ngx_log_error(NGX_LOG_EMERG, log, 0, "OpenSSL has no SHA256");
        ERR_clear_error();
        ngx_mcp_cache_destroy(cache);
        return NULL;
    }

    ngx_rbtree_init(&cache->tree, &cache->sentinel, ngx_mcp_tree_order);
    ngx_queue_init(&cache->lru);
    ngx_queue_init(&cache->refused);

    cache->max = ngx_max(max, 1);
    cache->max_refused = ngx_min(cache->max, NGX_MCP_CACHE_REFUSED);
    cache->zone = zone;
    cache->counters = ngx_mcp_zone_counters(zone);
    cache->seen = ngx_mcp_zone_generation(zone);
    cache->log = log;
    ngx_memcpy(cache->fingerprint, fingerprint, NGX_MCP_DIGEST);

    return cache;
}


void
ngx_mcp_cache_generations(ngx_mcp_cache_t *cache,
    ngx_mcp_cache_generation_pt handler, void *data)
{
    cache->generation = handler;
    cache->data = data;
}


void
ngx_mcp_cache_destroy(ngx_mcp_cache_t *cache)
{
    if (cache->zone) {
        ngx_mcp_cache_flush(cache);
    }

    EVP_MD_CTX_free(cache->ctx);
    EVP_MD_free(cache->md);
    ngx_free(cache);
}


/* A prefetched digest in a context that is used again: the one-shot SHA256()
 * of OpenSSL 3 looks the algorithm up each time, half as expensive again. */

void
ngx_mcp_cache_key(ngx_mcp_cache_t *cache, ngx_str_t *token, u_char *key)
{
    ngx_uint_t  i;

    if (EVP_DigestInit_ex(cache->ctx, cache->md, NULL) != 1
        || EVP_DigestUpdate(cache->ctx, token->data, token->len) != 1
        || EVP_DigestFinal_ex(cache->ctx, key, NULL) != 1)
    {
        /* no digest, no key: one that nothing else can have, so that nothing
         * is found and what is put there is never found again */

        ERR_clear_error();

        if (RAND_bytes(key, NGX_MCP_DIGEST) != 1) {
            ngx_log_error(NGX_LOG_ALERT, cache->log, 0,
                          "OpenSSL makes neither digests nor random bytes");
            ngx_abort();
        }

        return;
    }

    for (i = 0; i < NGX_MCP_DIGEST; i++) {
        key[i] ^= cache->fingerprint[i];
    }
}


ngx_mcp_cache_entry_t *
ngx_mcp_cache_get(ngx_mcp_cache_t *cache, u_char *key, time_t now)
{
    uint64_t                generation;
    ngx_mcp_cache_entry_t  *e;

    generation = ngx_mcp_zone_generation(cache->zone);

    if (generation != cache->seen) {
        ngx_mcp_cache_flush(cache);
        cache->seen = generation;
    }

    e = ngx_mcp_cache_find(cache, key);

    if (e && ngx_mcp_cache_over(e, now)) {
        ngx_mcp_cache_unlink(cache, e);
        e = NULL;
    }

    if (e) {
        ngx_queue_remove(&e->lru);
        ngx_queue_insert_head(e->reason ? &cache->refused : &cache->lru,
                              &e->lru);

        (void) ngx_atomic_fetch_add(&cache->counters->cache_hits_worker, 1);

    } else {
        e = ngx_mcp_cache_from_zone(cache, key, now);

        (void) ngx_atomic_fetch_add(e ? &cache->counters->cache_hits_zone
                                      : &cache->counters->cache_misses, 1);
    }

    if (e) {
        e->refs++;
    }

    return e;
}


ngx_mcp_cache_entry_t *
ngx_mcp_cache_put(ngx_mcp_cache_t *cache, u_char *key,
    const mcp_principal_t *principal, uint64_t generation, time_t expires)
{
    size_t                  size;
    ngx_mcp_cache_entry_t  *e;

    size = mcp_principal_packed_size(principal);
    expires = ngx_min(expires, ngx_time() + ngx_mcp_cache_longest(principal));

    if (generation != NGX_MCP_CACHE_WORKER && size <= NGX_MCP_CACHE_VALUE) {
        mcp_principal_pack(principal, cache->buf);

        (void) ngx_mcp_zone_token_put(cache->zone, key, expires, generation,
                                      cache->buf, size);
    }

    e = ngx_mcp_cache_entry(cache, principal);
    if (e == NULL) {
        return NULL;
    }

    e->worker = (generation == NGX_MCP_CACHE_WORKER);

    ngx_mcp_cache_replace(cache, e, key, expires);
    e->refs++;

    return e;
}


void
ngx_mcp_cache_refuse(ngx_mcp_cache_t *cache, u_char *key,
    const mcp_principal_t *principal, const char *reason, time_t expires)
{
    ngx_mcp_cache_entry_t  *e;

    e = principal ? ngx_mcp_cache_entry(cache, principal)
                  : ngx_calloc(sizeof(ngx_mcp_cache_entry_t), cache->log);
    if (e == NULL) {
        return;
    }

    e->reason = reason;

    ngx_mcp_cache_replace(cache, e, key,
                          ngx_min(expires,
                                  ngx_time() + NGX_MCP_CACHE_REFUSAL));
}


void
ngx_mcp_cache_flush(ngx_mcp_cache_t *cache)
{
    ngx_queue_t            *q;
    ngx_mcp_cache_entry_t  *e;

    while (cache->n || cache->nrefused) {
        q = ngx_queue_head(cache->n ? &cache->lru : &cache->refused);
        e = ngx_queue_data(q, ngx_mcp_cache_entry_t, lru);
        ngx_mcp_cache_unlink(cache, e);
    }
}


void
ngx_mcp_cache_release(ngx_mcp_cache_entry_t *e)
{
    e->refs--;

    if (e->refs == 0 && !e->linked) {
        ngx_mcp_cache_free(e);
    }
}


static ngx_mcp_cache_entry_t *
ngx_mcp_cache_find(ngx_mcp_cache_t *cache, u_char *key)
{
    ngx_mcp_tree_node_t  *n;

    n = ngx_mcp_tree_find(&cache->tree, key);

    return n ? ngx_queue_data(n, ngx_mcp_cache_entry_t, tree) : NULL;
}


/* Not there, or verified with a key set that was replaced since: NULL.  The
 * generation is asked for before the comparison, so that a set which another
 * worker just published counts already. */

static ngx_mcp_cache_entry_t *
ngx_mcp_cache_from_zone(ngx_mcp_cache_t *cache, u_char *key, time_t now)
{
    time_t                  expires;
    ssize_t                 len;
    uint64_t                generation, current;
    ngx_mcp_cache_entry_t  *e;

    if (cache->generation == NULL) {
        return NULL;
    }

    len = ngx_mcp_zone_token_get(cache->zone, key, now, cache->buf,
                                 NGX_MCP_CACHE_VALUE, &expires, &generation);
    if (len < 0) {
        return NULL;
    }

    e = ngx_mcp_cache_unpack(cache, cache->buf, len);
    if (e == NULL) {
        return NULL;
    }

    e->expires = expires;

    current = cache->generation(cache->data, e->principal->issuer);

    if (current == 0 || generation < current || ngx_mcp_cache_over(e, now)) {
        ngx_free(e);
        return NULL;
    }

    ngx_mcp_cache_link(cache, e, key, expires);

    return e;
}


/* What ends too far away was put there before the clock was set back: nobody
 * knows how long ago that was. */

static ngx_uint_t
ngx_mcp_cache_over(ngx_mcp_cache_entry_t *e, time_t now)
{
    time_t  longest;

    longest = e->reason ? NGX_MCP_CACHE_REFUSAL
                        : ngx_mcp_cache_longest(e->principal);

    return e->expires <= now || e->expires > now + longest;
}


static time_t
ngx_mcp_cache_longest(const mcp_principal_t *principal)
{
    return principal->auth == MCP_AUTH_JWT ? NGX_MCP_CACHE_JWT
                                           : NGX_MCP_CACHE_OWN;
}


/* An entry that has a copy of the principal. */

static ngx_mcp_cache_entry_t *
ngx_mcp_cache_entry(ngx_mcp_cache_t *cache, const mcp_principal_t *principal)
{
    mcp_mem_t               mem;
    mcp_principal_t        *copy;
    ngx_mcp_cache_entry_t  *e;

    e = NULL;
    mem.alloc = ngx_mcp_cache_block;
    mem.ctx = &e;

    copy = mcp_principal_dup(principal, &mem);

    if (copy == NULL) {
        if (e) {
            ngx_free(e);
        }

        return NULL;
    }

    e->principal = copy;

    return e;
}


static ngx_mcp_cache_entry_t *
ngx_mcp_cache_unpack(ngx_mcp_cache_t *cache, u_char *packed, size_t len)
{
    mcp_mem_t               mem;
    mcp_principal_t        *principal;
    ngx_mcp_cache_entry_t  *e;

    e = NULL;
    mem.alloc = ngx_mcp_cache_block;
    mem.ctx = &e;

    principal = mcp_principal_unpack(packed, len, &mem);

    if (principal == NULL) {
        if (e) {
            ngx_free(e);
        }

        return NULL;
    }

    e->principal = principal;

    return e;
}


/* A principal is one block: the entry goes in front of it. */

static void *
ngx_mcp_cache_block(void *ctx, size_t size)
{
    size_t                   head;
    ngx_mcp_cache_entry_t  **e;

    e = ctx;
    head = ngx_align(sizeof(ngx_mcp_cache_entry_t), 16);

    if (*e) {
        return NULL;
    }

    *e = ngx_alloc(head + size, ngx_cycle->log);
    if (*e == NULL) {
        return NULL;
    }

    ngx_memzero(*e, head);

    return (u_char *) *e + head;
}


static void
ngx_mcp_cache_replace(ngx_mcp_cache_t *cache, ngx_mcp_cache_entry_t *e,
    u_char *key, time_t expires)
{
    ngx_mcp_cache_entry_t  *old;

    old = ngx_mcp_cache_find(cache, key);
    if (old) {
        ngx_mcp_cache_unlink(cache, old);
    }

    ngx_mcp_cache_link(cache, e, key, expires);
}


/* The oldest one goes when there are too many. */

static void
ngx_mcp_cache_link(ngx_mcp_cache_t *cache, ngx_mcp_cache_entry_t *e,
    u_char *key, time_t expires)
{
    ngx_uint_t   *n, max;
    ngx_queue_t  *list;

    if (e->reason) {
        list = &cache->refused;
        n = &cache->nrefused;
        max = cache->max_refused;

    } else {
        list = &cache->lru;
        n = &cache->n;
        max = cache->max;
    }

    if (*n >= max) {
        ngx_mcp_cache_unlink(cache, ngx_queue_data(ngx_queue_last(list),
                                                   ngx_mcp_cache_entry_t,
                                                   lru));
    }

    e->expires = expires;
    e->linked = 1;

    ngx_mcp_tree_insert(&cache->tree, &e->tree, key);
    ngx_queue_insert_head(list, &e->lru);
    (*n)++;
}


static void
ngx_mcp_cache_unlink(ngx_mcp_cache_t *cache, ngx_mcp_cache_entry_t *e)
{
    ngx_rbtree_delete(&cache->tree, &e->tree.node);
    ngx_queue_remove(&e->lru);
    e->linked = 0;

    if (e->reason) {
        cache->nrefused--;

    } else {
        cache->n--;
    }

    if (e->refs == 0) {
        ngx_mcp_cache_free(e);
    }
}


static void
ngx_mcp_cache_free(ngx_mcp_cache_entry_t *e)
{
    ngx_free(e->who);
    ngx_free(e);
}
