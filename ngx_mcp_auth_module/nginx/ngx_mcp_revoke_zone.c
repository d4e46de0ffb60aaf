/*
 * The zone of watermarks: a header, one block with the content of the file, and
 * a tree of what came from Redis.
 *
 * The discipline is that of ngx_mcp_zone.c.  The lock is shpool->mutex, which
 * the master opens again when a worker dies with it; under it there are pointer
 * updates and bounded copies, no logging and no call but to the slab.  `writer`
 * is odd while somebody changes structures: whoever gets the lock and finds it
 * odd begins anew with an empty slab.  Then no part is loaded, the epoch, the
 * file's serial and the generation move, and nobody passes until the file was
 * read again and Redis asked again.
 *
 * Always true: generation moves after the change that it stands for, in the
 * same odd stretch, so that a change without its generation does not survive.
 * What a caller may conclude from an old generation stays true: nothing that
 * revokes was added since.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_mcp_revoke_zone.h"
#include "ngx_mcp_tree.h"


#define NGX_MCP_REVOKE_MAGIC    0x4d435052      /* "MCPR" */
#define NGX_MCP_REVOKE_VERSION  2

#define NGX_MCP_REVOKE_KEEP     86400   /* s; kept after `until`, in case the
                                           clock was wrong */
#define NGX_MCP_REVOKE_SWEEP    64      /* entries looked at in one go */
#define NGX_MCP_REVOKE_SILENCE  60      /* s between two complaints */


typedef struct {
    uint32_t                 magic;
    uint32_t                 version;
    size_t                   self_size;

    ngx_atomic_t             writer;    /* odd: being changed */
    ngx_uint_t               resets;

    ngx_mcp_revoke_block_t  *block;     /* of the file */
    ngx_mcp_watch_t          watch;
    time_t                   file_since;

    ngx_rbtree_node_t       *root;      /* of Redis */
    ngx_rbtree_node_t        sentinel;
    uint64_t                 redis_max;     /* largest stamp */
    uint64_t                 redis_told;    /* what is older is no news */
    ngx_rbtree_key_t         sweep;     /* where it goes on */
    ngx_atomic_t             swept;     /* s */

    uint64_t                 complaint;
    time_t                   complained;

    u_char                   log_ctx[32];

    u_char                   pad[64];
    ngx_mcp_revoke_head_t    head;
} ngx_mcp_revoke_sh_t;


typedef struct {
    ngx_mcp_tree_node_t      tree;
    int64_t                  at;        /* 0: lifted */
    int64_t                  until;
    uint64_t                 stamp;
    size_t                   len;
    u_char                   line[1];
} ngx_mcp_revoke_entry_t;


/* This process's view. */
struct ngx_mcp_revoke_zone_s {
    ngx_slab_pool_t          *shpool;
    ngx_mcp_revoke_sh_t      *sh;
    ngx_rbtree_t              tree;     /* root is loaded under the lock */
    ngx_uint_t                wanted;
    ngx_uint_t                recovered;    /* to be said after unlocking */

    /* until the zone is initialised */
    ngx_mcp_revoke_block_t  **first;
    ngx_mcp_watch_t           watch;
};


static ngx_int_t ngx_mcp_revoke_zone_init(ngx_shm_zone_t *shm_zone, void *old);
static ngx_int_t ngx_mcp_revoke_zone_same(ngx_shm_zone_t *shm_zone,
    ngx_mcp_revoke_sh_t *sh);
static ngx_int_t ngx_mcp_revoke_zone_create(ngx_shm_zone_t *shm_zone,
    ngx_mcp_revoke_zone_t *zone);
static void ngx_mcp_revoke_zone_empty(ngx_mcp_revoke_sh_t *sh);
static ngx_int_t ngx_mcp_revoke_zone_lock(ngx_mcp_revoke_zone_t *zone);
static void ngx_mcp_revoke_zone_unlock(ngx_mcp_revoke_zone_t *zone);
static ngx_int_t ngx_mcp_revoke_zone_recover(ngx_mcp_revoke_zone_t *zone);
static void ngx_mcp_revoke_zone_begin(ngx_mcp_revoke_zone_t *zone);
static void ngx_mcp_revoke_zone_end(ngx_mcp_revoke_zone_t *zone,
    ngx_uint_t moved);
static ngx_uint_t ngx_mcp_revoke_zone_covers(int64_t at, int64_t until,
    int64_t iat, int leeway, time_t now);
static ngx_uint_t ngx_mcp_revoke_zone_in_file(ngx_mcp_revoke_block_t *block,
    unsigned char *name, int64_t iat, int leeway, time_t now);
static ngx_mcp_revoke_entry_t *ngx_mcp_revoke_zone_find(
    ngx_mcp_revoke_zone_t *zone, unsigned char *name);
static void ngx_mcp_revoke_zone_remove(ngx_mcp_revoke_zone_t *zone,
    ngx_mcp_revoke_entry_t *e);
static ngx_rbtree_node_t *ngx_mcp_revoke_zone_from(
    ngx_mcp_revoke_zone_t *zone, ngx_rbtree_key_t key);
static void ngx_mcp_revoke_zone_confirm(ngx_mcp_revoke_head_t *head,
    ngx_msec_t when);


ngx_shm_zone_t *
ngx_mcp_revoke_zone_add(ngx_conf_t *cf, ngx_str_t *name, size_t size,
    ngx_uint_t wanted, ngx_mcp_revoke_block_t **first, ngx_mcp_watch_t *watch)
{
    ngx_shm_zone_t         *shm_zone;
    ngx_mcp_revoke_zone_t  *zone;

    extern ngx_module_t  ngx_http_mcp_auth_module;

    zone = ngx_pcalloc(cf->pool, sizeof(ngx_mcp_revoke_zone_t));
    if (zone == NULL) {
        return NULL;
    }

    zone->wanted = wanted;
    zone->first = first;
    zone->watch = *watch;

    shm_zone = ngx_shared_memory_add(cf, name, size,
                                     &ngx_http_mcp_auth_module);
    if (shm_zone == NULL) {
        return NULL;
    }

    shm_zone->init = ngx_mcp_revoke_zone_init;
    shm_zone->data = zone;

    return shm_zone;
}


ngx_mcp_revoke_zone_t *
ngx_mcp_revoke_zone(ngx_shm_zone_t *shm_zone)
{
    ngx_mcp_revoke_zone_t  *zone;

    zone = shm_zone->data;

    return zone && zone->sh ? zone : NULL;
}


ngx_mcp_revoke_head_t *
ngx_mcp_revoke_zone_head(ngx_mcp_revoke_zone_t *zone)
{
    return &zone->sh->head;
}


size_t
ngx_mcp_revoke_zone_free(ngx_mcp_revoke_zone_t *zone)
{
    return zone->shpool->pfree * ngx_pagesize;
}


/* Runs in the master, also at a reload while old workers use the zone: then it
 * changes nothing.  They, and the new ones, look at the file themselves. */

static ngx_int_t
ngx_mcp_revoke_zone_init(ngx_shm_zone_t *shm_zone, void *old)
{
    ngx_int_t               rc;
    ngx_mcp_revoke_zone_t  *zone;

    zone = shm_zone->data;
    zone->shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    rc = (old || shm_zone->shm.exists)
         ? ngx_mcp_revoke_zone_same(shm_zone, zone->shpool->data)
         : ngx_mcp_revoke_zone_create(shm_zone, zone);

    if (*zone->first) {
        ngx_free(*zone->first);
        *zone->first = NULL;
    }

    if (rc != NGX_OK) {
        return NGX_ERROR;
    }

    zone->sh = zone->shpool->data;

    zone->tree.root = NULL;
    zone->tree.sentinel = &zone->sh->sentinel;
    zone->tree.insert = ngx_mcp_tree_order;

    return NGX_OK;
}


static ngx_int_t
ngx_mcp_revoke_zone_same(ngx_shm_zone_t *shm_zone, ngx_mcp_revoke_sh_t *sh)
{
    if (sh != NULL
        && sh->magic == NGX_MCP_REVOKE_MAGIC
        && sh->version == NGX_MCP_REVOKE_VERSION
        && sh->self_size == sizeof(ngx_mcp_revoke_sh_t))
    {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                  "mcp_revocation_zone: the zone in memory was made by another "
                  "version of the module; upgrade the binary or restart nginx "
                  "instead of reloading it");

    return NGX_ERROR;
}


/* The header is the first thing that is taken from a new slab pool, so that
 * ngx_mcp_revoke_zone_recover() gets the same place again. */

static ngx_int_t
ngx_mcp_revoke_zone_create(ngx_shm_zone_t *shm_zone,
    ngx_mcp_revoke_zone_t *zone)
{
    struct timeval           tv;
    ngx_slab_pool_t         *shpool;
    ngx_mcp_revoke_sh_t     *sh;
    ngx_mcp_revoke_block_t  *first;

    shpool = zone->shpool;
    first = *zone->first;

    sh = ngx_slab_calloc(shpool, sizeof(ngx_mcp_revoke_sh_t));
    if (sh == NULL) {
        goto failed;
    }

    sh->magic = NGX_MCP_REVOKE_MAGIC;
    sh->version = NGX_MCP_REVOKE_VERSION;
    sh->self_size = sizeof(ngx_mcp_revoke_sh_t);
    sh->head.generation = 1;
    sh->head.epoch = 1;
    sh->file_since = ngx_time();

    ngx_gettimeofday(&tv);
    sh->redis_told = (uint64_t) tv.tv_sec * 1000000 + tv.tv_usec;

    ngx_mcp_revoke_zone_empty(sh);

    ngx_sprintf(sh->log_ctx, " in mcp_revocation_zone%Z");

    shpool->log_ctx = sh->log_ctx;
    shpool->log_nomem = 0;
    shpool->data = sh;

    if (first) {
        sh->block = ngx_slab_alloc(shpool, first->size);
        if (sh->block == NULL) {
            goto failed;
        }

        ngx_memcpy(sh->block, first, first->size);

        sh->watch = zone->watch;
        sh->head.nfile = first->n;
        sh->head.loaded = NGX_MCP_REVOKE_FILE;
    }

    return NGX_OK;

failed:

    ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                  "mcp_revocation_zone of %uz bytes is too small%s, raise it",
                  shm_zone->shm.size,
                  first ? " for mcp_revocation_file" : "");

    return NGX_ERROR;
}


static void
ngx_mcp_revoke_zone_empty(ngx_mcp_revoke_sh_t *sh)
{
    ngx_rbtree_sentinel_init(&sh->sentinel);
    sh->root = &sh->sentinel;
    sh->sweep = 0;

    sh->block = NULL;
    ngx_memzero(&sh->watch, sizeof(ngx_mcp_watch_t));

    sh->head.nfile = 0;
    sh->head.nredis = 0;
    sh->head.loaded = 0;
    sh->head.full = 0;
}


/* NGX_ERROR: not locked, the zone cannot be used. */

static ngx_int_t
ngx_mcp_revoke_zone_lock(ngx_mcp_revoke_zone_t *zone)
{
    ngx_shmtx_lock(&zone->shpool->mutex);

    if ((zone->sh->writer & 1)
        && ngx_mcp_revoke_zone_recover(zone) != NGX_OK)
    {
        ngx_shmtx_unlock(&zone->shpool->mutex);
        return NGX_ERROR;
    }

    zone->tree.root = zone->sh->root;

    return NGX_OK;
}


static void
ngx_mcp_revoke_zone_unlock(ngx_mcp_revoke_zone_t *zone)
{
    ngx_shmtx_unlock(&zone->shpool->mutex);

    if (zone->recovered) {
        zone->recovered = 0;

        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "mcp_revocation_zone: a worker died while it changed the "
                      "table; it is loaded again, and nobody passes until it "
                      "is");
    }
}


/*
 * The slab's own lists may be torn as well, so all of it begins anew.  The
 * counter stays odd until that is done: should this process die here too, the
 * next one repeats it.  Who reads without the lock sees that nothing is loaded
 * before the generation moves.
 */

static ngx_int_t
ngx_mcp_revoke_zone_recover(ngx_mcp_revoke_zone_t *zone)
{
    void                 *p;
    ngx_slab_pool_t      *shpool;
    ngx_mcp_revoke_sh_t   saved;

    zone->sh->head.loaded = 0;
    ngx_memory_barrier();

    shpool = zone->shpool;
    ngx_memcpy(&saved, zone->sh, sizeof(ngx_mcp_revoke_sh_t));

    ngx_slab_init(shpool);

    p = ngx_slab_alloc_locked(shpool, sizeof(ngx_mcp_revoke_sh_t));
    if (p != zone->sh) {
        return NGX_ERROR;
    }

    ngx_memcpy(zone->sh, &saved, sizeof(ngx_mcp_revoke_sh_t));
    ngx_mcp_revoke_zone_empty(zone->sh);

    shpool->log_ctx = zone->sh->log_ctx;
    shpool->log_nomem = 0;

    zone->sh->resets++;
    zone->recovered = 1;

    zone->sh->head.serial++;
    zone->sh->head.epoch++;

    ngx_memory_barrier();
    zone->sh->head.generation++;

    ngx_memory_barrier();
    zone->sh->writer++;

    return NGX_OK;
}


static void
ngx_mcp_revoke_zone_begin(ngx_mcp_revoke_zone_t *zone)
{
    zone->sh->writer++;
    ngx_memory_barrier();
}


/* moved: what a caller concluded before may be wrong now */

static void
ngx_mcp_revoke_zone_end(ngx_mcp_revoke_zone_t *zone, ngx_uint_t moved)
{
    zone->sh->root = zone->tree.root;

    if (moved) {
        ngx_memory_barrier();
        zone->sh->head.generation++;
    }

    ngx_memory_barrier();
    zone->sh->writer++;
}


ngx_int_t
ngx_mcp_revoke_zone_check(ngx_mcp_revoke_zone_t *zone,
    unsigned char (*names)[MCP_REVOCATION_NAME], ngx_uint_t n, int64_t iat,
    int leeway, time_t now)
{
    ngx_int_t                rc;
    ngx_uint_t               i;
    ngx_mcp_revoke_entry_t  *e;

    if (ngx_mcp_revoke_zone_lock(zone) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = NGX_OK;

    if ((zone->sh->head.loaded & zone->wanted) != zone->wanted) {
        rc = NGX_AGAIN;
        n = 0;
    }

    for (i = 0; i < n; i++) {

        if (ngx_mcp_revoke_zone_in_file(zone->sh->block, names[i], iat, leeway,
                                        now))
        {
            rc = NGX_DECLINED;
            break;
        }

        e = ngx_mcp_revoke_zone_find(zone, names[i]);

        if (e && ngx_mcp_revoke_zone_covers(e->at, e->until, iat, leeway,
                                            now))
        {
            rc = NGX_DECLINED;
            break;
        }
    }

    ngx_mcp_revoke_zone_unlock(zone);

    return rc;
}


static ngx_uint_t
ngx_mcp_revoke_zone_covers(int64_t at, int64_t until, int64_t iat, int leeway,
    time_t now)
{
    return at
           && (until == 0 || until + leeway > (int64_t) now)
           && mcp_revocation_covers(at, iat, leeway);
}


/* A file may have several lines about the same: one that covers is enough. */

static ngx_uint_t
ngx_mcp_revoke_zone_in_file(ngx_mcp_revoke_block_t *block,
    unsigned char *name, int64_t iat, int leeway, time_t now)
{
    ngx_uint_t              low, high, middle;
    ngx_mcp_revoke_item_t  *item;

    if (block == NULL) {
        return 0;
    }

    low = 0;
    high = block->n;

    while (low < high) {
        middle = low + (high - low) / 2;

        if (ngx_memcmp(block->items[middle].name, name, MCP_REVOCATION_NAME)
            < 0)
        {
            low = middle + 1;

        } else {
            high = middle;
        }
    }

    for ( /* void */ ; low < block->n; low++) {
        item = &block->items[low];

        if (ngx_memcmp(item->name, name, MCP_REVOCATION_NAME) != 0) {
            break;
        }

        if (ngx_mcp_revoke_zone_covers(item->at, item->until, iat, leeway,
                                       now))
        {
            return 1;
        }
    }

    return 0;
}


ngx_int_t
ngx_mcp_revoke_zone_content(ngx_mcp_revoke_zone_t *zone,
    ngx_mcp_revoke_content_t *content)
{
    size_t                size;
    ngx_mcp_revoke_sh_t  *sh;

    content->block = NULL;
    size = 0;

    for ( ;; ) {
        if (ngx_mcp_revoke_zone_lock(zone) != NGX_OK) {
            break;
        }

        sh = zone->sh;

        if (sh->block == NULL || sh->block->size <= size) {
            content->watch = sh->watch;
            content->serial = sh->head.serial;
            content->since = sh->file_since;
            content->loaded = (sh->head.loaded & NGX_MCP_REVOKE_FILE) != 0;

            if (sh->block) {
                ngx_memcpy(content->block, sh->block, sh->block->size);

            } else if (content->block) {
                content->block->n = 0;
            }

            ngx_mcp_revoke_zone_unlock(zone);
            return NGX_OK;
        }

        /* memory is not taken under the lock: then look again */

        size = sh->block->size;
        ngx_mcp_revoke_zone_unlock(zone);

        if (content->block) {
            ngx_free(content->block);
        }

        content->block = ngx_alloc(size, ngx_cycle->log);

        if (content->block == NULL) {
            return NGX_ERROR;
        }
    }

    if (content->block) {
        ngx_free(content->block);
        content->block = NULL;
    }

    return NGX_ERROR;
}


ngx_int_t
ngx_mcp_revoke_zone_watch(ngx_mcp_revoke_zone_t *zone, ngx_mcp_watch_t *watch,
    uint64_t *serial)
{
    if (ngx_mcp_revoke_zone_lock(zone) != NGX_OK) {
        return NGX_ERROR;
    }

    *watch = zone->sh->watch;
    *serial = zone->sh->head.serial;

    ngx_mcp_revoke_zone_unlock(zone);

    return NGX_OK;
}


ngx_int_t
ngx_mcp_revoke_zone_publish(ngx_mcp_revoke_zone_t *zone, uint64_t serial,
    const ngx_mcp_watch_t *watch, const ngx_mcp_revoke_block_t *block)
{
    ngx_mcp_revoke_sh_t     *sh;
    ngx_mcp_revoke_block_t  *copy, *old;

    if (ngx_mcp_revoke_zone_lock(zone) != NGX_OK) {
        return NGX_DECLINED;
    }

    sh = zone->sh;

    if (sh->head.serial != serial) {
        ngx_mcp_revoke_zone_unlock(zone);
        return NGX_DECLINED;
    }

    ngx_mcp_revoke_zone_begin(zone);

    old = sh->block;
    copy = ngx_slab_alloc_locked(zone->shpool, block->size);

    if (copy == NULL && old) {

        /* without the old one there may be room; readers wait for the lock */

        sh->block = NULL;
        ngx_slab_free_locked(zone->shpool, old);
        old = NULL;

        copy = ngx_slab_alloc_locked(zone->shpool, block->size);
    }

    if (copy) {
        ngx_memcpy(copy, block, block->size);

        sh->block = copy;
        sh->watch = *watch;
        sh->head.nfile = block->n;
        sh->head.loaded |= NGX_MCP_REVOKE_FILE;
        sh->head.full &= ~NGX_MCP_REVOKE_FILE;

        if (old) {
            ngx_slab_free_locked(zone->shpool, old);
        }

    } else {
        sh->block = NULL;
        ngx_memzero(&sh->watch, sizeof(ngx_mcp_watch_t));
        sh->head.nfile = 0;
        sh->head.loaded &= ~NGX_MCP_REVOKE_FILE;
        sh->head.full |= NGX_MCP_REVOKE_FILE;
    }

    sh->head.serial++;
    sh->file_since = ngx_time();

    ngx_mcp_revoke_zone_end(zone, 1);
    ngx_mcp_revoke_zone_unlock(zone);

    return copy ? NGX_OK : NGX_ERROR;
}


static ngx_mcp_revoke_entry_t *
ngx_mcp_revoke_zone_find(ngx_mcp_revoke_zone_t *zone,
    unsigned char *name)
{
    ngx_mcp_tree_node_t  *n;

    n = ngx_mcp_tree_find(&zone->tree, name);

    return n ? ngx_queue_data(n, ngx_mcp_revoke_entry_t, tree) : NULL;
}


static void
ngx_mcp_revoke_zone_remove(ngx_mcp_revoke_zone_t *zone,
    ngx_mcp_revoke_entry_t *e)
{
    ngx_rbtree_delete(&zone->tree, &e->tree.node);
    ngx_slab_free_locked(zone->shpool, e);
    zone->sh->head.nredis--;
}


ngx_int_t
ngx_mcp_revoke_zone_merge(ngx_mcp_revoke_zone_t *zone,
    const mcp_revocation_t *r, ngx_uint_t *news)
{
    u_char                   line[NGX_MCP_REVOKE_LINE];
    size_t                   len, size;
    ngx_uint_t               was;
    ngx_mcp_revoke_sh_t     *sh;
    ngx_mcp_revoke_entry_t  *e, *old;
    unsigned char            name[MCP_REVOCATION_NAME];

    *news = 0;

    if (r->until && r->until + NGX_MCP_REVOKE_KEEP < (int64_t) ngx_time()) {
        return NGX_DECLINED;
    }

    mcp_revocation_name(r, name);
    len = ngx_mcp_revoke_zone_line(r, line);
    size = offsetof(ngx_mcp_revoke_entry_t, line) + len;

    if (ngx_mcp_revoke_zone_lock(zone) != NGX_OK) {
        return NGX_ERROR;
    }

    sh = zone->sh;
    old = ngx_mcp_revoke_zone_find(zone, name);

    if (old && old->stamp >= r->stamp) {
        ngx_mcp_revoke_zone_unlock(zone);
        return NGX_DECLINED;
    }

    was = old && old->at;

    ngx_mcp_revoke_zone_begin(zone);

    e = ngx_slab_alloc_locked(zone->shpool, size);

    if (e == NULL && old) {
        ngx_mcp_revoke_zone_remove(zone, old);
        old = NULL;

        e = ngx_slab_alloc_locked(zone->shpool, size);
    }

    if (e) {
        e->at = r->at;
        e->until = r->until;
        e->stamp = r->stamp;
        e->len = len;
        ngx_memcpy(e->line, line, len);

        if (old) {
            ngx_mcp_revoke_zone_remove(zone, old);
        }

        ngx_mcp_tree_insert(&zone->tree, &e->tree, name);
        sh->head.nredis++;

        /* what a first load brings was there before this nginx; what one
         * brings after the table was lost was told, if it is not newer */

        *news = (r->at || was)
                && ((sh->head.loaded & NGX_MCP_REVOKE_REDIS)
                    || r->stamp > sh->redis_told);

        sh->redis_max = ngx_max(sh->redis_max, r->stamp);

        if (sh->head.loaded & NGX_MCP_REVOKE_REDIS) {
            sh->redis_told = sh->redis_max;
        }

    } else {
        sh->head.loaded &= ~NGX_MCP_REVOKE_REDIS;
        sh->head.full |= NGX_MCP_REVOKE_REDIS;
        sh->head.epoch++;
    }

    ngx_mcp_revoke_zone_end(zone, 1);
    ngx_mcp_revoke_zone_unlock(zone);

    return e ? NGX_OK : NGX_ERROR;
}


size_t
ngx_mcp_revoke_zone_line(const mcp_revocation_t *r, u_char *buf)
{
    mcp_buf_t         b;
    mcp_revocation_t  less;

    mcp_buf_init(&b, buf, NGX_MCP_REVOKE_LINE);
    mcp_revocation_write(&b, r);

    if (b.overflow) {
        less = *r;
        mcp_str_null(&less.by);
        mcp_str_null(&less.reason);

        mcp_buf_init(&b, buf, NGX_MCP_REVOKE_LINE);
        mcp_revocation_write(&b, &less);
    }

    return b.pos - b.start;
}


ngx_int_t
ngx_mcp_revoke_zone_loaded(ngx_mcp_revoke_zone_t *zone, uint64_t epoch,
    ngx_msec_t when)
{
    ngx_uint_t            first;
    ngx_mcp_revoke_sh_t  *sh;

    if (ngx_mcp_revoke_zone_lock(zone) != NGX_OK) {
        return NGX_DECLINED;
    }

    sh = zone->sh;

    if (sh->head.epoch != epoch) {
        ngx_mcp_revoke_zone_unlock(zone);
        return NGX_DECLINED;
    }

    first = !(sh->head.loaded & NGX_MCP_REVOKE_REDIS);

    if (first) {
        sh->head.confirmed = when;

    } else {
        ngx_mcp_revoke_zone_confirm(&sh->head, when);
    }

    /* a load that nothing was missing from changes nothing */

    if (first || sh->head.full & NGX_MCP_REVOKE_REDIS) {
        ngx_mcp_revoke_zone_begin(zone);

        sh->head.full &= ~NGX_MCP_REVOKE_REDIS;

        if (sh->redis_max) {
            sh->redis_told = sh->redis_max;
        }

        ngx_memory_barrier();
        sh->head.loaded |= NGX_MCP_REVOKE_REDIS;

        ngx_mcp_revoke_zone_end(zone, 1);
    }

    ngx_mcp_revoke_zone_unlock(zone);

    return NGX_OK;
}


/* No lock: `loaded` is taken back under it, and a time that comes with it is
 * overwritten by the next load. */

ngx_int_t
ngx_mcp_revoke_zone_current(ngx_mcp_revoke_zone_t *zone, ngx_msec_t when)
{
    ngx_mcp_revoke_head_t  *head;

    head = &zone->sh->head;

    if (!(head->loaded & NGX_MCP_REVOKE_REDIS)) {
        return NGX_DECLINED;
    }

    ngx_mcp_revoke_zone_confirm(head, when);

    return NGX_OK;
}


/* Only ever later. */

static void
ngx_mcp_revoke_zone_confirm(ngx_mcp_revoke_head_t *head, ngx_msec_t when)
{
    ngx_atomic_uint_t  old;

    do {
        old = head->confirmed;

        if ((ngx_msec_int_t) (when - (ngx_msec_t) old) <= 0) {
            return;
        }

    } while (!ngx_atomic_cmp_set(&head->confirmed, old, when));
}


/* The first node whose key is not less, or NULL. */

static ngx_rbtree_node_t *
ngx_mcp_revoke_zone_from(ngx_mcp_revoke_zone_t *zone, ngx_rbtree_key_t key)
{
    ngx_rbtree_node_t  *node, *found;

    found = NULL;
    node = zone->tree.root;

    while (node != zone->tree.sentinel) {

        if (node->key < key) {
            node = node->right;

        } else {
            found = node;
            node = node->left;
        }
    }

    return found;
}


ngx_uint_t
ngx_mcp_revoke_zone_next(ngx_mcp_revoke_zone_t *zone, uint64_t *cursor,
    u_char *buf, size_t size)
{
    u_char                  *p, *last;
    ngx_uint_t               n;
    ngx_rbtree_node_t       *node;
    ngx_mcp_revoke_entry_t  *e;

    n = 0;
    p = buf;
    last = buf + size;

    if (ngx_mcp_revoke_zone_lock(zone) != NGX_OK) {
        *cursor = 0;
        return 0;
    }

    node = ngx_mcp_revoke_zone_from(zone, (ngx_rbtree_key_t) *cursor);

    for ( /* void */ ; node; node = ngx_rbtree_next(&zone->tree, node)) {
        e = (ngx_mcp_revoke_entry_t *) node;

        if ((size_t) (last - p) < sizeof(uint64_t) + sizeof(size_t) + e->len)
        {
            break;
        }

        p = ngx_cpymem(p, &e->stamp, sizeof(uint64_t));
        p = ngx_cpymem(p, &e->len, sizeof(size_t));
        p = ngx_cpymem(p, e->line, e->len);
        n++;
    }

    *cursor = node ? node->key : 0;

    ngx_mcp_revoke_zone_unlock(zone);

    return n;
}


void
ngx_mcp_revoke_zone_sweep(ngx_mcp_revoke_zone_t *zone, time_t now)
{
    ngx_uint_t               i;
    ngx_atomic_uint_t        swept;
    ngx_rbtree_node_t       *node, *next;
    ngx_mcp_revoke_sh_t     *sh;
    ngx_mcp_revoke_entry_t  *e;

    sh = zone->sh;
    swept = sh->swept;

    if (swept == (ngx_atomic_uint_t) now
        || !ngx_atomic_cmp_set(&sh->swept, swept, (ngx_atomic_uint_t) now)
        || ngx_mcp_revoke_zone_lock(zone) != NGX_OK)
    {
        return;
    }

    ngx_mcp_revoke_zone_begin(zone);

    node = ngx_mcp_revoke_zone_from(zone, sh->sweep);

    for (i = 0; node && i < NGX_MCP_REVOKE_SWEEP; i++) {
        next = ngx_rbtree_next(&zone->tree, node);
        e = (ngx_mcp_revoke_entry_t *) node;

        if (e->until && e->until + NGX_MCP_REVOKE_KEEP < (int64_t) now) {
            ngx_mcp_revoke_zone_remove(zone, e);
        }

        node = next;
    }

    sh->sweep = node ? node->key : 0;

    ngx_mcp_revoke_zone_end(zone, 0);
    ngx_mcp_revoke_zone_unlock(zone);
}


ngx_uint_t
ngx_mcp_revoke_zone_complain(ngx_mcp_revoke_zone_t *zone, uint64_t what,
    time_t now)
{
    ngx_uint_t            say;
    ngx_mcp_revoke_sh_t  *sh;

    if (ngx_mcp_revoke_zone_lock(zone) != NGX_OK) {
        return 1;
    }

    sh = zone->sh;

    say = sh->complaint != what
          || now < sh->complained
          || now - sh->complained >= NGX_MCP_REVOKE_SILENCE;

    if (say) {
        sh->complaint = what;
        sh->complained = now;
    }

    ngx_mcp_revoke_zone_unlock(zone);

    return say;
}
