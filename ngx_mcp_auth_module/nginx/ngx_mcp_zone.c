/*
 * The shared zone: a header, verified tokens (tree and LRU list), key sets
 * (a short list), counters.
 *
 * Always true: the lock is shpool->mutex, because that is the one which the
 * master opens again when a worker dies with it.  Under it there are pointer
 * updates and bounded copies, no logging and no call out of this file but to
 * the slab.  `writer` is odd while somebody changes structures; whoever gets
 * the lock and finds it odd knows that the last holder died in the middle, and
 * begins anew with an empty slab (the header, its counters, its secret and the
 * last generation stay).  Nothing is lost: tokens are verified again,
 * key sets fetched again, and each worker goes on with the keys it has.
 *
 * No pointer into the zone leaves this file, but to counters and secret, which
 * never move.  The zone holds no pointer to code: the tree's insert function
 * is in a copy of ngx_rbtree_t outside of it.  Init runs in the master, also
 * at a reload, while old workers use the zone: then it changes nothing.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_mcp_zone.h"

#include <openssl/err.h>
#include <openssl/rand.h>


#define NGX_MCP_ZONE_MAGIC      0x4d43505a      /* "MCPZ" */
#define NGX_MCP_ZONE_VERSION    5
#define NGX_MCP_ZONE_MIN        (128 * 1024)

#define NGX_MCP_ZONE_VALUE      16384           /* bytes of one value */
#define NGX_MCP_ZONE_EVICT      32              /* at most, in one go */
#define NGX_MCP_ZONE_UNUSED     3600            /* s; then a key set may go */
#define NGX_MCP_ZONE_LOG        60              /* s between two log lines */
#define NGX_MCP_ZONE_TTL        600             /* s; no lease is longer */


typedef struct {
    uint32_t                 magic;
    uint32_t                 version;
    size_t                   self_size;

    ngx_atomic_t             writer;        /* odd: being changed */
    ngx_atomic_t             generation;    /* newest one of any set */
    ngx_uint_t               resets;

    ngx_rbtree_node_t       *root;
    ngx_rbtree_node_t        sentinel;
    ngx_queue_t              lru;           /* newest first */
    ngx_queue_t              keys;

    u_char                   secret[NGX_MCP_DIGEST];
    u_char                   log_ctx[32];
    ngx_mcp_zone_slot_t      locks[NGX_MCP_LOCKS];

    u_char                   pad[64];       /* counters change all the time */
    ngx_mcp_counters_t       counters;
} ngx_mcp_zone_sh_t;


typedef struct {
    ngx_mcp_tree_node_t      tree;
    ngx_queue_t              lru;
    uint64_t                 generation;
    time_t                   expires;
    time_t                   touched;
    size_t                   len;
    u_char                   data[1];
} ngx_mcp_zone_token_t;


typedef struct {
    ngx_queue_t              queue;
    u_char                   name[NGX_MCP_DIGEST];
    ngx_mcp_zone_keys_t      state;         /* leased: not used here */
    ngx_pid_t                lease_pid;
    time_t                   lease_until;
    time_t                   logged;
    time_t                   used;
    u_char                  *data;
    size_t                   len;
} ngx_mcp_zone_set_t;


/* This process's view. */
struct ngx_mcp_zone_s {
    ngx_slab_pool_t         *shpool;
    ngx_mcp_zone_sh_t       *sh;
    ngx_rbtree_t             tree;          /* root is loaded under the lock */
    ngx_uint_t               recovered;     /* to be said after unlocking */
};


static ngx_int_t ngx_mcp_zone_init(ngx_shm_zone_t *shm_zone, void *old);
static ngx_int_t ngx_mcp_zone_check(ngx_shm_zone_t *shm_zone,
    ngx_mcp_zone_sh_t *sh);
static ngx_mcp_zone_sh_t *ngx_mcp_zone_create(ngx_slab_pool_t *shpool);
static void ngx_mcp_zone_empty(ngx_mcp_zone_sh_t *sh);
static ngx_int_t ngx_mcp_zone_lock(ngx_mcp_zone_t *zone);
static void ngx_mcp_zone_unlock(ngx_mcp_zone_t *zone);
static ngx_int_t ngx_mcp_zone_recover(ngx_mcp_zone_t *zone);
static void ngx_mcp_zone_begin(ngx_mcp_zone_t *zone);
static void ngx_mcp_zone_end(ngx_mcp_zone_t *zone);
static ngx_mcp_zone_token_t *ngx_mcp_zone_find(ngx_mcp_zone_t *zone,
    u_char *key);
static void ngx_mcp_zone_link(ngx_mcp_zone_t *zone, ngx_mcp_zone_token_t *t,
    u_char *key);
static void ngx_mcp_zone_remove(ngx_mcp_zone_t *zone, ngx_mcp_zone_token_t *t);
static ngx_uint_t ngx_mcp_zone_evict(ngx_mcp_zone_t *zone, ngx_uint_t n,
    time_t expired);
static void *ngx_mcp_zone_alloc(ngx_mcp_zone_t *zone, size_t size);
static ngx_mcp_zone_set_t *ngx_mcp_zone_set(ngx_mcp_zone_t *zone,
    u_char *name);
static ngx_mcp_zone_set_t *ngx_mcp_zone_set_add(ngx_mcp_zone_t *zone,
    u_char *name);
static void ngx_mcp_zone_set_drop(ngx_mcp_zone_t *zone);
static ngx_pid_t ngx_mcp_zone_holder(ngx_mcp_zone_set_t *set, time_t now);
static ngx_uint_t ngx_mcp_zone_dead(ngx_pid_t pid);
static ngx_int_t ngx_mcp_zone_publish(ngx_mcp_zone_t *zone,
    ngx_mcp_zone_set_t *set, ngx_str_t *data);
static ngx_mcp_zone_slot_t *ngx_mcp_zone_slot(ngx_mcp_zone_t *zone,
    u_char *name);
static ngx_int_t ngx_mcp_zone_failed(ngx_mcp_zone_set_t *set, time_t now,
    time_t retry);


ngx_shm_zone_t *
ngx_mcp_zone_add(ngx_conf_t *cf, size_t size)
{
    ngx_str_t        name;
    ngx_shm_zone_t  *shm_zone;

    extern ngx_module_t  ngx_http_mcp_auth_module;

    if (size < NGX_MCP_ZONE_MIN) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "mcp_zone is too small, at least %uzk are needed",
                           (size_t) NGX_MCP_ZONE_MIN / 1024);
        return NULL;
    }

    ngx_str_set(&name, "mcp_zone");

    shm_zone = ngx_shared_memory_add(cf, &name, size,
                                     &ngx_http_mcp_auth_module);
    if (shm_zone == NULL) {
        return NULL;
    }

    shm_zone->init = ngx_mcp_zone_init;
    shm_zone->data = ngx_pcalloc(cf->pool, sizeof(ngx_mcp_zone_t));

    return shm_zone->data ? shm_zone : NULL;
}


ngx_mcp_zone_t *
ngx_mcp_zone(ngx_shm_zone_t *shm_zone)
{
    ngx_mcp_zone_t  *zone;

    zone = shm_zone->data;

    return zone && zone->sh ? zone : NULL;
}


ngx_mcp_counters_t *
ngx_mcp_zone_counters(ngx_mcp_zone_t *zone)
{
    return &zone->sh->counters;
}


size_t
ngx_mcp_zone_free(ngx_mcp_zone_t *zone)
{
    return zone->shpool->pfree * ngx_pagesize;
}


u_char *
ngx_mcp_zone_secret(ngx_mcp_zone_t *zone)
{
    return zone->sh->secret;
}


static ngx_int_t
ngx_mcp_zone_init(ngx_shm_zone_t *shm_zone, void *old)
{
    ngx_mcp_zone_t  *zone;

    zone = shm_zone->data;
    zone->shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    if (old || shm_zone->shm.exists) {
        if (ngx_mcp_zone_check(shm_zone, zone->shpool->data) != NGX_OK) {
            return NGX_ERROR;
        }

    } else {
        zone->shpool->data = ngx_mcp_zone_create(zone->shpool);

        if (zone->shpool->data == NULL) {
            ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                          "mcp_zone: cannot be initialised");
            return NGX_ERROR;
        }
    }

    zone->sh = zone->shpool->data;

    zone->tree.root = NULL;
    zone->tree.sentinel = &zone->sh->sentinel;
    zone->tree.insert = ngx_mcp_tree_order;

    return NGX_OK;
}


static ngx_int_t
ngx_mcp_zone_check(ngx_shm_zone_t *shm_zone, ngx_mcp_zone_sh_t *sh)
{
    if (sh != NULL
        && sh->magic == NGX_MCP_ZONE_MAGIC
        && sh->version == NGX_MCP_ZONE_VERSION
        && sh->self_size == sizeof(ngx_mcp_zone_sh_t))
    {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                  "mcp_zone: the zone in memory was made by another version "
                  "of the module; upgrade the binary or restart nginx instead "
                  "of reloading it");

    return NGX_ERROR;
}


/* The header is the first thing that is taken from a new slab pool, so that
 * ngx_mcp_zone_recover() gets the same place again. */

static ngx_mcp_zone_sh_t *
ngx_mcp_zone_create(ngx_slab_pool_t *shpool)
{
    ngx_mcp_zone_sh_t  *sh;

    sh = ngx_slab_calloc(shpool, sizeof(ngx_mcp_zone_sh_t));
    if (sh == NULL) {
        return NULL;
    }

    if (RAND_bytes(sh->secret, NGX_MCP_DIGEST) != 1) {
        ERR_clear_error();
        return NULL;
    }

    sh->magic = NGX_MCP_ZONE_MAGIC;
    sh->version = NGX_MCP_ZONE_VERSION;
    sh->self_size = sizeof(ngx_mcp_zone_sh_t);

    ngx_mcp_zone_empty(sh);

    ngx_sprintf(sh->log_ctx, " in mcp_zone%Z");

    shpool->log_ctx = sh->log_ctx;
    shpool->log_nomem = 0;

    return sh;
}


static void
ngx_mcp_zone_empty(ngx_mcp_zone_sh_t *sh)
{
    ngx_rbtree_sentinel_init(&sh->sentinel);
    sh->root = &sh->sentinel;

    ngx_queue_init(&sh->lru);
    ngx_queue_init(&sh->keys);
}


/* NGX_ERROR: not locked, the zone cannot be used. */

static ngx_int_t
ngx_mcp_zone_lock(ngx_mcp_zone_t *zone)
{
    ngx_shmtx_lock(&zone->shpool->mutex);

    if ((zone->sh->writer & 1) && ngx_mcp_zone_recover(zone) != NGX_OK) {
        ngx_shmtx_unlock(&zone->shpool->mutex);
        return NGX_ERROR;
    }

    zone->tree.root = zone->sh->root;

    return NGX_OK;
}


static void
ngx_mcp_zone_unlock(ngx_mcp_zone_t *zone)
{
    ngx_shmtx_unlock(&zone->shpool->mutex);

    if (zone->recovered) {
        zone->recovered = 0;

        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "mcp_zone: a worker died while it changed the zone; "
                      "cached tokens and key sets were dropped and are made "
                      "again");
    }
}


/*
 * The slab's own lists may be torn as well, so all of it begins anew.  The
 * counter stays odd until that is done: should this process die here too, the
 * next one repeats it.
 */

static ngx_int_t
ngx_mcp_zone_recover(ngx_mcp_zone_t *zone)
{
    void               *p;
    ngx_slab_pool_t    *shpool;
    ngx_mcp_zone_sh_t   saved;

    shpool = zone->shpool;
    ngx_memcpy(&saved, zone->sh, sizeof(ngx_mcp_zone_sh_t));

    ngx_slab_init(shpool);

    p = ngx_slab_alloc_locked(shpool, sizeof(ngx_mcp_zone_sh_t));
    if (p != zone->sh) {
        return NGX_ERROR;
    }

    ngx_memcpy(zone->sh, &saved, sizeof(ngx_mcp_zone_sh_t));
    ngx_mcp_zone_empty(zone->sh);

    shpool->log_ctx = zone->sh->log_ctx;
    shpool->log_nomem = 0;

    zone->sh->resets++;
    zone->recovered = 1;

    ngx_memory_barrier();
    zone->sh->writer++;

    return NGX_OK;
}


static void
ngx_mcp_zone_begin(ngx_mcp_zone_t *zone)
{
    zone->sh->writer++;
    ngx_memory_barrier();
}


static void
ngx_mcp_zone_end(ngx_mcp_zone_t *zone)
{
    zone->sh->root = zone->tree.root;
    ngx_memory_barrier();
    zone->sh->writer++;
}


static ngx_mcp_zone_token_t *
ngx_mcp_zone_find(ngx_mcp_zone_t *zone, u_char *key)
{
    ngx_mcp_tree_node_t  *n;

    n = ngx_mcp_tree_find(&zone->tree, key);

    return n ? ngx_queue_data(n, ngx_mcp_zone_token_t, tree) : NULL;
}


static void
ngx_mcp_zone_link(ngx_mcp_zone_t *zone, ngx_mcp_zone_token_t *t, u_char *key)
{
    ngx_mcp_tree_insert(&zone->tree, &t->tree, key);
    ngx_queue_insert_head(&zone->sh->lru, &t->lru);
}


static void
ngx_mcp_zone_remove(ngx_mcp_zone_t *zone, ngx_mcp_zone_token_t *t)
{
    ngx_rbtree_delete(&zone->tree, &t->tree.node);
    ngx_queue_remove(&t->lru);
    ngx_slab_free_locked(zone->shpool, t);
}


/* Least recently used tokens go, at most n; with expired, only those that
 * ended by then.  How many went. */

static ngx_uint_t
ngx_mcp_zone_evict(ngx_mcp_zone_t *zone, ngx_uint_t n, time_t expired)
{
    ngx_uint_t             i;
    ngx_queue_t           *q;
    ngx_mcp_zone_token_t  *t;

    for (i = 0; i < n && !ngx_queue_empty(&zone->sh->lru); i++) {
        q = ngx_queue_last(&zone->sh->lru);
        t = ngx_queue_data(q, ngx_mcp_zone_token_t, lru);

        if (expired && t->expires > expired) {
            break;
        }

        ngx_mcp_zone_remove(zone, t);
    }

    return i;
}


/* One after the other, until it fits: those that go may be of another slab
 * class.  The caller holds the lock and writes. */

static void *
ngx_mcp_zone_alloc(ngx_mcp_zone_t *zone, size_t size)
{
    void        *p;
    ngx_uint_t   i;

    for (i = 0; i < NGX_MCP_ZONE_EVICT; i++) {
        p = ngx_slab_alloc_locked(zone->shpool, size);

        if (p || ngx_mcp_zone_evict(zone, 1, 0) == 0) {
            return p;
        }
    }

    return NULL;
}


ssize_t
ngx_mcp_zone_token_get(ngx_mcp_zone_t *zone, u_char *key, time_t now,
    u_char *buf, size_t size, time_t *expires, uint64_t *generation)
{
    ssize_t                len;
    ngx_mcp_zone_token_t  *t;

    if (ngx_mcp_zone_lock(zone) != NGX_OK) {
        return -1;
    }

    len = -1;
    t = ngx_mcp_zone_find(zone, key);

    if (t && t->expires > now && t->len <= size) {
        len = t->len;
        *expires = t->expires;
        *generation = t->generation;
        ngx_memcpy(buf, t->data, len);

        if (t->touched != now) {
            ngx_mcp_zone_begin(zone);
            t->touched = now;
            ngx_queue_remove(&t->lru);
            ngx_queue_insert_head(&zone->sh->lru, &t->lru);
            ngx_mcp_zone_end(zone);
        }
    }

    ngx_mcp_zone_unlock(zone);

    return len;
}


ngx_int_t
ngx_mcp_zone_token_put(ngx_mcp_zone_t *zone, u_char *key, time_t expires,
    uint64_t generation, u_char *data, size_t len)
{
    time_t                 now;
    ngx_mcp_zone_token_t  *t, *old;

    if (len > NGX_MCP_ZONE_VALUE) {
        return NGX_ERROR;
    }

    now = ngx_time();

    if (ngx_mcp_zone_lock(zone) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_mcp_zone_begin(zone);

    (void) ngx_mcp_zone_evict(zone, 2, now);

    old = ngx_mcp_zone_find(zone, key);
    if (old) {
        ngx_mcp_zone_remove(zone, old);
    }

    t = ngx_mcp_zone_alloc(zone, offsetof(ngx_mcp_zone_token_t, data) + len);

    if (t) {
        t->generation = generation;
        t->expires = expires;
        t->touched = now;
        t->len = len;
        ngx_memcpy(t->data, data, len);

        ngx_mcp_zone_link(zone, t, key);
    }

    ngx_mcp_zone_end(zone);
    ngx_mcp_zone_unlock(zone);

    return t ? NGX_OK : NGX_ERROR;
}


uint64_t
ngx_mcp_zone_generation(ngx_mcp_zone_t *zone)
{
    return zone->sh->generation;
}


/* The record of this name, or NULL.  `used` keeps it from being dropped. */

static ngx_mcp_zone_set_t *
ngx_mcp_zone_set(ngx_mcp_zone_t *zone, u_char *name)
{
    ngx_queue_t         *q;
    ngx_mcp_zone_set_t  *set;

    for (q = ngx_queue_head(&zone->sh->keys);
         q != ngx_queue_sentinel(&zone->sh->keys);
         q = ngx_queue_next(q))
    {
        set = ngx_queue_data(q, ngx_mcp_zone_set_t, queue);

        if (ngx_memcmp(set->name, name, NGX_MCP_DIGEST) == 0) {
            set->used = ngx_time();
            return set;
        }
    }

    return NULL;
}


static ngx_mcp_zone_set_t *
ngx_mcp_zone_set_add(ngx_mcp_zone_t *zone, u_char *name)
{
    ngx_mcp_zone_set_t  *set;

    ngx_mcp_zone_begin(zone);

    ngx_mcp_zone_set_drop(zone);

    set = ngx_mcp_zone_alloc(zone, sizeof(ngx_mcp_zone_set_t));

    if (set) {
        ngx_memzero(set, sizeof(ngx_mcp_zone_set_t));
        ngx_memcpy(set->name, name, NGX_MCP_DIGEST);
        set->used = ngx_time();
        ngx_queue_insert_tail(&zone->sh->keys, &set->queue);
    }

    ngx_mcp_zone_end(zone);

    return set;
}


/* Sets that no worker asked for in an hour belong to issuers which are no
 * longer configured. */

static void
ngx_mcp_zone_set_drop(ngx_mcp_zone_t *zone)
{
    time_t               now;
    ngx_queue_t         *q, *next;
    ngx_mcp_zone_set_t  *set;

    now = ngx_time();

    for (q = ngx_queue_head(&zone->sh->keys);
         q != ngx_queue_sentinel(&zone->sh->keys);
         q = next)
    {
        next = ngx_queue_next(q);
        set = ngx_queue_data(q, ngx_mcp_zone_set_t, queue);

        if (now - set->used < NGX_MCP_ZONE_UNUSED) {
            continue;
        }

        ngx_queue_remove(q);

        if (set->data) {
            ngx_slab_free_locked(zone->shpool, set->data);
        }

        ngx_slab_free_locked(zone->shpool, set);
    }
}


/* Whose lease it is, 0: nobody's.  One that ends too far away was taken before
 * the clock was set back. */

static ngx_pid_t
ngx_mcp_zone_holder(ngx_mcp_zone_set_t *set, time_t now)
{
    if (set->lease_pid == 0
        || set->lease_until <= now
        || set->lease_until > now + NGX_MCP_ZONE_TTL)
    {
        return 0;
    }

    return set->lease_pid;
}


static ngx_uint_t
ngx_mcp_zone_dead(ngx_pid_t pid)
{
    return pid != ngx_pid && kill(pid, 0) == -1 && ngx_errno == NGX_ESRCH;
}


ngx_int_t
ngx_mcp_zone_keys_get(ngx_mcp_zone_t *zone, u_char *name, uint64_t have,
    ngx_mcp_zone_keys_t *state, ngx_str_t *data)
{
    size_t               size;
    u_char              *copy;
    ngx_pid_t            holder;
    ngx_mcp_zone_set_t  *set;

    copy = NULL;
    size = 0;

    for ( ;; ) {
        holder = 0;
        ngx_memzero(state, sizeof(ngx_mcp_zone_keys_t));

        if (ngx_mcp_zone_lock(zone) != NGX_OK) {
            goto failed;
        }

        set = ngx_mcp_zone_set(zone, name);

        if (set) {
            *state = set->state;
            holder = ngx_mcp_zone_holder(set, ngx_time());
        }

        if (data == NULL || state->generation == 0
            || state->generation == have)
        {
            ngx_mcp_zone_unlock(zone);

            if (data) {
                ngx_str_null(data);
            }

            break;
        }

        if (set->len <= size) {
            data->len = set->len;
            data->data = copy;
            ngx_memcpy(copy, set->data, set->len);
            copy = NULL;
            ngx_mcp_zone_unlock(zone);
            break;
        }

        /* memory is not taken under the lock: then look again */

        size = set->len;
        ngx_mcp_zone_unlock(zone);

        if (copy) {
            ngx_free(copy);
        }

        copy = ngx_alloc(size, ngx_cycle->log);
        if (copy == NULL) {
            goto failed;
        }
    }

    if (copy) {
        ngx_free(copy);
    }

    state->leased = holder && !ngx_mcp_zone_dead(holder);

    return NGX_OK;

failed:

    if (copy) {
        ngx_free(copy);
    }

    if (data) {
        ngx_str_null(data);
    }

    return NGX_ERROR;
}


ngx_int_t
ngx_mcp_zone_keys_lease(ngx_mcp_zone_t *zone, u_char *name,
    ngx_mcp_zone_keys_t *seen, time_t now, time_t ttl, time_t kid_interval)
{
    ngx_int_t            rc;
    ngx_pid_t            holder, dead;
    ngx_mcp_zone_set_t  *set;

    dead = 0;

    for ( ;; ) {
        if (ngx_mcp_zone_lock(zone) != NGX_OK) {
            return NGX_ERROR;
        }

        set = ngx_mcp_zone_set(zone, name);

        if (set == NULL) {
            set = ngx_mcp_zone_set_add(zone, name);

            if (set == NULL) {
                ngx_mcp_zone_unlock(zone);
                return NGX_ERROR;
            }
        }

        rc = NGX_DECLINED;
        holder = ngx_mcp_zone_holder(set, now);

        if ((holder == 0 || holder == dead)
            && set->state.serial == seen->serial
            && (kid_interval == 0 || holder /* died with its answer */
                || now - set->state.kid_fetch >= kid_interval
                || now < set->state.kid_fetch))
        {
            rc = NGX_OK;
            set->lease_until = now + ngx_min(ttl, NGX_MCP_ZONE_TTL);
            set->lease_pid = ngx_pid;

            if (kid_interval) {
                set->state.kid_fetch = now;
            }
        }

        ngx_mcp_zone_unlock(zone);

        if (rc == NGX_OK || holder == 0 || holder == dead
            || !ngx_mcp_zone_dead(holder))
        {
            return rc;
        }

        dead = holder;
    }
}


ngx_int_t
ngx_mcp_zone_keys_done(ngx_mcp_zone_t *zone, u_char *name, ngx_str_t *data,
    time_t now, time_t refresh, time_t retry)
{
    ngx_int_t            rc;
    ngx_uint_t           more;
    ngx_mcp_zone_set_t  *set;

    for ( ;; ) {
        if (ngx_mcp_zone_lock(zone) != NGX_OK) {
            return NGX_ERROR;
        }

        set = ngx_mcp_zone_set(zone, name);

        if (set == NULL || set->lease_pid != ngx_pid) {
            ngx_mcp_zone_unlock(zone);
            return NGX_DECLINED;
        }

        if (data == NULL) {
            rc = ngx_mcp_zone_failed(set, now, retry);
            break;
        }

        rc = ngx_mcp_zone_publish(zone, set, data);

        if (rc == NGX_OK) {
            set->state.fetched = now;
            set->state.refresh = refresh;
            set->state.retry = 0;
            set->state.failures = 0;
            set->state.serial++;
            set->lease_pid = 0;
            break;
        }

        /* make room, some at a time, and let others in between */

        ngx_mcp_zone_begin(zone);
        more = ngx_mcp_zone_evict(zone, NGX_MCP_ZONE_EVICT, 0);
        ngx_mcp_zone_end(zone);

        if (more == 0) {
            (void) ngx_mcp_zone_failed(set, now, retry);
            break;
        }

        ngx_mcp_zone_unlock(zone);
    }

    ngx_mcp_zone_unlock(zone);

    return rc;
}


/* NGX_ERROR: no room. */

static ngx_int_t
ngx_mcp_zone_publish(ngx_mcp_zone_t *zone, ngx_mcp_zone_set_t *set,
    ngx_str_t *data)
{
    u_char  *copy, *old;

    if (set->data && set->len == data->len
        && ngx_memcmp(set->data, data->data, data->len) == 0)
    {
        return NGX_OK;
    }

    ngx_mcp_zone_begin(zone);

    copy = ngx_slab_alloc_locked(zone->shpool, data->len);

    if (copy) {
        ngx_memcpy(copy, data->data, data->len);

        old = set->data;
        set->data = copy;
        set->len = data->len;
        set->state.generation = zone->sh->generation + 1;

        /* workers look at this one without the lock: it moves last */
        ngx_memory_barrier();
        zone->sh->generation++;

        if (old) {
            ngx_slab_free_locked(zone->shpool, old);
        }
    }

    ngx_mcp_zone_end(zone);

    return copy ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_mcp_zone_failed(ngx_mcp_zone_set_t *set, time_t now, time_t retry)
{
    set->state.retry = retry;
    set->state.failures++;
    set->state.serial++;
    set->lease_pid = 0;

    if (set->logged <= now && now - set->logged < NGX_MCP_ZONE_LOG) {
        return NGX_DONE;
    }

    set->logged = now;

    return NGX_OK;
}


void
ngx_mcp_zone_keys_release(ngx_mcp_zone_t *zone, u_char *name)
{
    ngx_mcp_zone_set_t  *set;

    if (ngx_mcp_zone_lock(zone) != NGX_OK) {
        return;
    }

    set = ngx_mcp_zone_set(zone, name);

    if (set && set->lease_pid == ngx_pid) {
        set->lease_pid = 0;
        set->state.kid_fetch = 0;
    }

    ngx_mcp_zone_unlock(zone);
}


ngx_int_t
ngx_mcp_zone_lock_take(ngx_mcp_zone_t *zone, u_char *name, ngx_msec_t ttl,
    ngx_msec_t *hold)
{
    ngx_int_t             rc;
    ngx_pid_t             holder, dead;
    ngx_mcp_zone_slot_t  *slot;

    dead = 0;

    for ( ;; ) {
        *hold = 0;
        holder = 0;
        rc = NGX_DECLINED;

        if (ngx_mcp_zone_lock(zone) != NGX_OK) {
            return NGX_DECLINED;
        }

        slot = ngx_mcp_zone_slot(zone, name);

        if (slot && slot->until && slot->pid == 0) {
            *hold = slot->until - ngx_current_msec;

        } else if (slot) {
            holder = slot->until ? slot->pid : 0;

            if (holder == 0 || holder == dead) {
                ngx_memcpy(slot->name, name, NGX_MCP_DIGEST);
                slot->pid = ngx_pid;
                slot->until = ngx_max(ngx_current_msec + ttl, 1);
                rc = NGX_OK;
            }
        }

        ngx_mcp_zone_unlock(zone);

        if (rc == NGX_OK || holder == 0 || holder == dead
            || !ngx_mcp_zone_dead(holder))
        {
            return rc;
        }

        dead = holder;
    }
}


void
ngx_mcp_zone_lock_give(ngx_mcp_zone_t *zone, u_char *name, ngx_msec_t hold)
{
    ngx_mcp_zone_slot_t  *slot;

    if (ngx_mcp_zone_lock(zone) != NGX_OK) {
        return;
    }

    slot = ngx_mcp_zone_slot(zone, name);

    if (slot && slot->until && slot->pid == ngx_pid) {
        slot->pid = 0;
        slot->until = hold ? ngx_max(ngx_current_msec + hold, 1) : 0;
    }

    ngx_mcp_zone_unlock(zone);
}


/* The place of this name, or a free one (until is 0); NULL: none is free.  What
 * ran out is free. */
static ngx_mcp_zone_slot_t *
ngx_mcp_zone_slot(ngx_mcp_zone_t *zone, u_char *name)
{
    ngx_uint_t            i;
    ngx_mcp_zone_slot_t  *slot, *spare;

    spare = NULL;

    for (i = 0; i < NGX_MCP_LOCKS; i++) {
        slot = &zone->sh->locks[i];

        if (slot->until
            && (ngx_msec_int_t) (slot->until - ngx_current_msec) <= 0)
        {
            slot->until = 0;
        }

        if (slot->until == 0) {
            spare = slot;

        } else if (ngx_memcmp(slot->name, name, NGX_MCP_DIGEST) == 0) {
            return slot;
        }
    }

    return spare;
}
