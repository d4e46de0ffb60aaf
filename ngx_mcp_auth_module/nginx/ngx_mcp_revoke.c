/*
 * Revocation at once: configuration, the check, who waits, the timer.
 *
 * Each worker has a timer of NGX_MCP_WATCH_TIME.  At each turn it looks at the
 * file, wakes who waited for the table, and when the table's generation moved
 * it looks at its open streams and cuts those of the revoked.  The timer goes
 * on in a worker that is being shut down, without keeping it alive: its streams
 * are to be cut too.
 *
 * The check costs a few loads of one cache line while nothing changes.  A
 * caller that is looked up passes with the generation that was read before the
 * look-up, so that what came in meanwhile is seen the next time.
 *
 * Not loaded: requests wait, until NGX_MCP_REVOKE_WAIT after the table was last
 * known to be loaded (or this worker began), then all get 503.  Stale (Redis
 * did not confirm it for revocation_stale): 503.  Streams that are open go on,
 * for stream_grace of their server; then they end too.
 */

#include "ngx_mcp_revoke.h"
#include "ngx_mcp_revoke_file.h"
#include "ngx_mcp_stream.h"
#include "mcp_audit.h"

#include <openssl/sha.h>


#define NGX_MCP_REVOKE_POLL   50        /* ms, while requests wait */
#define NGX_MCP_REVOKE_SIZE   (4 * 1024 * 1024)
#define NGX_MCP_REVOKE_MIN    (64 * 1024)


struct ngx_mcp_revoke_s {
    ngx_mcp_main_conf_t     *mmcf;
    ngx_mcp_revoke_file_t   *file;      /* NULL: none */
    ngx_mcp_revoke_block_t  *none;      /* NULL */
    ngx_uint_t               wanted;    /* parts */
    ngx_msec_t               stale;     /* ms */
    ngx_shm_zone_t          *shm_zone;

    /* this worker's */
    ngx_mcp_revoke_zone_t   *zone;
    ngx_mcp_revoke_head_t   *head;
    ngx_event_t              timer;
    ngx_event_t              poll;      /* only while requests wait */
    ngx_queue_t              waiters;
    ngx_msec_t               good;      /* when it was last seen loaded */
    ngx_msec_t               known;     /* when requests could be decided */
    uint64_t                 walked;    /* streams, at this generation */
};


static ngx_int_t ngx_mcp_revoke_state(ngx_mcp_revoke_t *rv);
static ngx_int_t ngx_mcp_revoke_find(ngx_mcp_revoke_t *rv,
    const mcp_principal_t *p, int leeway);
static ngx_int_t ngx_mcp_revoke_wait(ngx_mcp_revoke_t *rv,
    ngx_mcp_keys_waiter_t *w);
static ngx_uint_t ngx_mcp_revoke_late(ngx_mcp_revoke_t *rv);
static void ngx_mcp_revoke_wake(ngx_mcp_revoke_t *rv);
static void ngx_mcp_revoke_timer(ngx_event_t *ev);
static void ngx_mcp_revoke_poll(ngx_event_t *ev);
static void ngx_mcp_revoke_turn(ngx_mcp_revoke_t *rv);
static void ngx_mcp_revoke_streams(ngx_mcp_revoke_t *rv);
static void ngx_mcp_revoke_event(void *data, const mcp_revocation_t *r,
    ngx_uint_t lifted);


char *
ngx_mcp_revoke_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_mcp_main_conf_t *mmcf = conf;

    ngx_str_t         *value;
    ngx_mcp_revoke_t  *rv;

    if (mmcf->revoke) {
        return "is duplicate";
    }

    rv = ngx_pcalloc(cf->pool, sizeof(ngx_mcp_revoke_t));
    if (rv == NULL) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    rv->file = ngx_mcp_revoke_file_conf(cf, &value[1]);
    if (rv->file == NULL) {
        return NGX_CONF_ERROR;
    }

    mmcf->revoke = rv;

    return NGX_CONF_OK;
}


/*
 * The zone's name has what fills it: after a reload with another file or
 * another Redis there is a new zone, and old workers go on with theirs.
 */

ngx_int_t
ngx_mcp_revoke_conf_finish(ngx_conf_t *cf, ngx_mcp_main_conf_t *mmcf)
{
    ngx_str_t          name;
    SHA256_CTX         sha;
    ngx_mcp_watch_t    none;
    ngx_mcp_revoke_t  *rv;
    u_char             md[SHA256_DIGEST_LENGTH];

    static u_char  prefix[] = "mcp_revocations_";

    ngx_conf_init_size_value(mmcf->revocation_zone, NGX_MCP_REVOKE_SIZE);

    if (mmcf->revocation_zone < NGX_MCP_REVOKE_MIN) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "mcp_revocation_zone is smaller than 64k");
        return NGX_ERROR;
    }

    rv = mmcf->revoke;

    if (rv == NULL && mmcf->redis == NULL) {
        return NGX_OK;
    }

    if (rv == NULL) {
        rv = ngx_pcalloc(cf->pool, sizeof(ngx_mcp_revoke_t));
        if (rv == NULL) {
            return NGX_ERROR;
        }

        mmcf->revoke = rv;
    }

    rv->mmcf = mmcf;
    rv->stale = mmcf->redis ? mmcf->redis->revocation_stale : 0;
    rv->wanted = (rv->file ? NGX_MCP_REVOKE_FILE : 0)
                 | (mmcf->redis ? NGX_MCP_REVOKE_REDIS : 0);

    SHA256_Init(&sha);

    if (rv->file) {
        SHA256_Update(&sha, rv->file->path.data, rv->file->path.len);
    }

    SHA256_Update(&sha, "", 1);

    if (mmcf->redis) {
        SHA256_Update(&sha, mmcf->redis->server.data,
                      mmcf->redis->server.len);
        SHA256_Update(&sha, "", 1);
        SHA256_Update(&sha, mmcf->redis->prefix.data,
                      mmcf->redis->prefix.len);
        SHA256_Update(&sha, "", 1);
        SHA256_Update(&sha, &mmcf->redis->database,
                      sizeof(mmcf->redis->database));
    }

    SHA256_Final(md, &sha);

    name.data = ngx_pnalloc(cf->pool, sizeof(prefix) + 16);
    if (name.data == NULL) {
        return NGX_ERROR;
    }

    name.len = ngx_hex_dump(ngx_cpymem(name.data, prefix, sizeof(prefix) - 1),
                            md, 8)
               - name.data;

    ngx_memzero(&none, sizeof(ngx_mcp_watch_t));

    rv->shm_zone = ngx_mcp_revoke_zone_add(cf, &name, mmcf->revocation_zone,
                             rv->wanted,
                             rv->file ? &rv->file->first : &rv->none,
                             rv->file ? &rv->file->watch : &none);

    return rv->shm_zone ? NGX_OK : NGX_ERROR;
}


/* The event loop does not run yet: the timer starts everything. */

ngx_int_t
ngx_mcp_revoke_init_worker(ngx_cycle_t *cycle, ngx_mcp_main_conf_t *mmcf)
{
    ngx_mcp_revoke_t  *rv;

    rv = mmcf->revoke;

    if (rv == NULL) {
        return NGX_OK;
    }

    rv->zone = ngx_mcp_revoke_zone(rv->shm_zone);
    if (rv->zone == NULL) {
        return NGX_ERROR;
    }

    rv->head = ngx_mcp_revoke_zone_head(rv->zone);
    rv->good = ngx_current_msec;
    rv->known = ngx_current_msec;

    ngx_queue_init(&rv->waiters);

    if (rv->file) {
        ngx_mcp_revoke_file_init(rv->file);
    }

    rv->timer.handler = ngx_mcp_revoke_timer;
    rv->timer.data = rv;
    rv->timer.log = cycle->log;
    rv->timer.cancelable = 1;

    rv->poll.handler = ngx_mcp_revoke_poll;
    rv->poll.data = rv;
    rv->poll.log = cycle->log;

    ngx_add_timer(&rv->timer, 1);

    return NGX_OK;
}


void
ngx_mcp_revoke_exit_worker(ngx_mcp_main_conf_t *mmcf)
{
    ngx_queue_t       *q;
    ngx_mcp_revoke_t  *rv;

    rv = mmcf->revoke;

    if (rv == NULL || rv->zone == NULL) {
        return;
    }

    while (!ngx_queue_empty(&rv->waiters)) {
        q = ngx_queue_head(&rv->waiters);
        ngx_mcp_revoke_cancel(ngx_queue_data(q, ngx_mcp_keys_waiter_t,
                                             queue));
    }

    if (rv->timer.timer_set) {
        ngx_del_timer(&rv->timer);
    }

    if (rv->poll.timer_set) {
        ngx_del_timer(&rv->poll);
    }
}


ngx_int_t
ngx_mcp_revoke_check(ngx_mcp_main_conf_t *mmcf, const mcp_principal_t *p,
    int leeway, uint64_t *seen, ngx_mcp_keys_waiter_t *w)
{
    uint64_t           generation;
    ngx_int_t          rc;
    ngx_mcp_revoke_t  *rv;

    rv = mmcf->revoke;

    if (rv == NULL) {
        return NGX_OK;
    }

    generation = rv->head->generation;

    rc = ngx_mcp_revoke_state(rv);

    if (rc == NGX_OK && *seen != generation) {
        rc = ngx_mcp_revoke_find(rv, p, leeway);

        if (rc == NGX_OK) {
            *seen = generation;
        }
    }

    if (rc == NGX_AGAIN) {
        return ngx_mcp_revoke_wait(rv, w);
    }

    return rc;
}


ngx_int_t
ngx_mcp_revoke_caller(ngx_mcp_main_conf_t *mmcf, ngx_mcp_ctx_t *ctx,
    ngx_mcp_keys_waiter_t *w)
{
    return ngx_mcp_revoke_check(mmcf, ctx->principal, ctx->leeway,
                                ctx->entry ? &ctx->entry->seen : &ctx->seen,
                                w);
}


/* Without lock.  NGX_OK; NGX_AGAIN: not loaded, but it may soon be;
 * NGX_ERROR. */

static ngx_int_t
ngx_mcp_revoke_state(ngx_mcp_revoke_t *rv)
{
    ngx_mcp_revoke_head_t  *head;

    head = rv->head;

    if ((head->loaded & rv->wanted) != rv->wanted) {
        return (head->full & rv->wanted) ? NGX_ERROR : NGX_AGAIN;
    }

    if ((rv->wanted & NGX_MCP_REVOKE_REDIS)
        && (ngx_msec_int_t) (ngx_current_msec - (ngx_msec_t) head->confirmed)
           > (ngx_msec_int_t) rv->stale)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* What is hashed is hashed before the lock is taken. */

static ngx_int_t
ngx_mcp_revoke_find(ngx_mcp_revoke_t *rv, const mcp_principal_t *p, int leeway)
{
    unsigned       n;
    unsigned char  names[MCP_REVOCATION_NAMES][MCP_REVOCATION_NAME];

    n = mcp_revocation_names(p, names);

    return ngx_mcp_revoke_zone_check(rv->zone, names, n, p->iat, leeway,
                                     ngx_time());
}


ngx_int_t
ngx_mcp_revoke_person(ngx_mcp_main_conf_t *mmcf, const mcp_str_t *issuer,
    const mcp_str_t *user, int64_t since)
{
    ngx_int_t          rc;
    mcp_revocation_t   r;
    unsigned char      name[1][MCP_REVOCATION_NAME];

    if (mmcf->revoke == NULL) {
        return NGX_OK;
    }

    ngx_memzero(&r, sizeof(mcp_revocation_t));

    r.type = MCP_REVOKE_USER;
    r.issuer = *issuer;
    r.value = *user;

    mcp_revocation_name(&r, name[0]);

    rc = ngx_mcp_revoke_zone_check(mmcf->revoke->zone, name, 1, since, 0,
                                   ngx_time());

    return rc == NGX_AGAIN ? NGX_ERROR : rc;
}


static ngx_int_t
ngx_mcp_revoke_wait(ngx_mcp_revoke_t *rv, ngx_mcp_keys_waiter_t *w)
{
    if (w == NULL || ngx_mcp_revoke_late(rv)) {
        return NGX_ERROR;
    }

    if (!w->waiting) {
        w->waiting = 1;
        ngx_queue_insert_tail(&rv->waiters, &w->queue);
    }

    if (!rv->poll.timer_set) {
        ngx_add_timer(&rv->poll, NGX_MCP_REVOKE_POLL);
    }

    return NGX_AGAIN;
}


static ngx_uint_t
ngx_mcp_revoke_late(ngx_mcp_revoke_t *rv)
{
    return (ngx_msec_int_t) (ngx_current_msec - rv->good)
           > NGX_MCP_REVOKE_WAIT;
}


void
ngx_mcp_revoke_cancel(ngx_mcp_keys_waiter_t *w)
{
    if (w->waiting) {
        w->waiting = 0;
        ngx_queue_remove(&w->queue);
    }
}


/* Those to be woken move to a list of their own first: wake() may wait again,
 * end other requests that are on either list, or free its own. */

static void
ngx_mcp_revoke_wake(ngx_mcp_revoke_t *rv)
{
    ngx_queue_t             list, *q;
    ngx_mcp_keys_waiter_t  *w;

    if (ngx_queue_empty(&rv->waiters)) {
        return;
    }

    ngx_queue_init(&list);
    ngx_queue_add(&list, &rv->waiters);
    ngx_queue_init(&rv->waiters);

    while (!ngx_queue_empty(&list)) {
        q = ngx_queue_head(&list);
        w = ngx_queue_data(q, ngx_mcp_keys_waiter_t, queue);

        ngx_mcp_revoke_cancel(w);
        w->wake(w->data);
    }
}


static void
ngx_mcp_revoke_timer(ngx_event_t *ev)
{
    ngx_mcp_revoke_turn(ev->data);

    ngx_add_timer(ev, NGX_MCP_WATCH_TIME);
}


static void
ngx_mcp_revoke_poll(ngx_event_t *ev)
{
    ngx_mcp_revoke_t  *rv;

    rv = ev->data;

    ngx_mcp_revoke_turn(rv);

    if (!ngx_queue_empty(&rv->waiters) && !ev->timer_set) {
        ngx_add_timer(ev, NGX_MCP_REVOKE_POLL);
    }
}


static void
ngx_mcp_revoke_turn(ngx_mcp_revoke_t *rv)
{
    if (rv->file) {
        ngx_mcp_revoke_file_look(rv->file, rv->zone, ngx_mcp_revoke_event, rv);
    }

    if (rv->wanted & NGX_MCP_REVOKE_REDIS) {
        ngx_mcp_revoke_zone_sweep(rv->zone, ngx_time());
    }

    if ((rv->head->loaded & rv->wanted) == rv->wanted) {
        rv->good = ngx_current_msec;
    }

    if (ngx_mcp_revoke_state(rv) != NGX_AGAIN || ngx_mcp_revoke_late(rv)) {
        ngx_mcp_revoke_wake(rv);
    }

    ngx_mcp_revoke_streams(rv);
}


/* Each is asked for by itself, so that it remembers at which generation it
 * passed. */

static void
ngx_mcp_revoke_streams(ngx_mcp_revoke_t *rv)
{
    uint64_t  generation;

    generation = rv->head->generation;

    if (ngx_mcp_revoke_state(rv) == NGX_OK) {
        rv->known = ngx_current_msec;

        if (generation == rv->walked) {
            return;
        }

        rv->walked = generation;

    } else {
        rv->walked = 0;
    }

    ngx_mcp_stream_check(rv->mmcf, ngx_current_msec - rv->known);
}


void
ngx_mcp_revoke_look_again(ngx_mcp_main_conf_t *mmcf)
{
    mmcf->revoke->walked = 0;
}


void
ngx_mcp_revoke_refused(ngx_mcp_main_conf_t *mmcf)
{
    (void) ngx_atomic_fetch_add(&mmcf->revoke->head->refused, 1);
}


void
ngx_mcp_revoke_cut(ngx_mcp_main_conf_t *mmcf)
{
    (void) ngx_atomic_fetch_add(&mmcf->revoke->head->cut, 1);
}


/* A change that this worker was the first to know of.  No server knows whom it
 * concerns: it is recorded in each log. */

static void
ngx_mcp_revoke_event(void *data, const mcp_revocation_t *r, ngx_uint_t lifted)
{
    ngx_mcp_revoke_t *rv = data;

    int64_t          late;
    mcp_audit_t      a;
    struct timeval   tv;
    mcp_principal_t  p;

    ngx_memzero(&a, sizeof(mcp_audit_t));
    ngx_memzero(&p, sizeof(mcp_principal_t));

    p.iss = r->issuer;

    switch (r->type) {

    case MCP_REVOKE_USER:
        p.user = r->value;
        break;

    case MCP_REVOKE_CLIENT:
        p.client = r->value;
        break;

    case MCP_REVOKE_TOKEN:
        p.token_id = r->value;
        break;

    default:
        break;
    }

    a.ev = "revocation";
    a.http_method = mcp_revocation_method(r->type, lifted != 0);
    a.decision = "allow";
    a.reason = "revocation";
    a.principal = &p;
    a.at = r->at;
    a.until = r->until;
    a.note = r->reason;
    a.store = r->stamp ? "redis" : "file";
    a.by = r->by;
    a.late_us = -1;

    if (r->stamp) {
        ngx_gettimeofday(&tv);

        late = (int64_t) tv.tv_sec * 1000000 + tv.tv_usec
               - (int64_t) r->stamp;
        a.late_us = ngx_max(late, 0);
    }

    (void) ngx_atomic_fetch_add(lifted ? &rv->head->lifted
                                       : &rv->head->applied, 1);

    ngx_mcp_log_event(rv->mmcf, &a);
}


uint64_t
ngx_mcp_revoke_epoch(ngx_mcp_main_conf_t *mmcf)
{
    return mmcf->revoke->head->epoch;
}


ngx_int_t
ngx_mcp_revoke_merge(ngx_mcp_main_conf_t *mmcf, const mcp_revocation_t *r)
{
    ngx_int_t          rc;
    ngx_uint_t         news;
    ngx_mcp_revoke_t  *rv;

    rv = mmcf->revoke;

    rc = ngx_mcp_revoke_zone_merge(rv->zone, r, &news);

    if (rc == NGX_OK && news) {
        ngx_mcp_revoke_event(rv, r, r->at == 0);
    }

    if (rc == NGX_ERROR
        && ngx_mcp_revoke_zone_complain(rv->zone, NGX_MCP_REVOKE_REDIS,
                                        ngx_time()))
    {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "what Redis has does not fit into mcp_revocation_zone, "
                      "raise it; requests are refused until it does (503)");
    }

    return rc;
}


ngx_int_t
ngx_mcp_revoke_loaded(ngx_mcp_main_conf_t *mmcf, uint64_t epoch,
    ngx_msec_t when)
{
    return ngx_mcp_revoke_zone_loaded(mmcf->revoke->zone, epoch, when);
}


ngx_int_t
ngx_mcp_revoke_current(ngx_mcp_main_conf_t *mmcf, ngx_msec_t when)
{
    return ngx_mcp_revoke_zone_current(mmcf->revoke->zone, when);
}


ngx_int_t
ngx_mcp_revoke_each(ngx_mcp_main_conf_t *mmcf, uint64_t *cursor,
    void (*each)(void *data, const mcp_revocation_t *r), void *data)
{
    size_t             len;
    u_char            *buf, *p;
    uint64_t           stamp;
    ngx_uint_t         n;
    mcp_revocation_t   r;
    u_char             strings[NGX_MCP_REVOKE_LINE];

    buf = ngx_alloc(NGX_MCP_REVOKE_BATCH, ngx_cycle->log);
    if (buf == NULL) {
        return NGX_ERROR;
    }

    n = ngx_mcp_revoke_zone_next(mmcf->revoke->zone, cursor, buf,
                                 NGX_MCP_REVOKE_BATCH);

    for (p = buf; n; n--) {
        ngx_memcpy(&stamp, p, sizeof(uint64_t));
        p += sizeof(uint64_t);
        ngx_memcpy(&len, p, sizeof(size_t));
        p += sizeof(size_t);

        if (ngx_mcp_revoke_line(p, len, strings, &r) == NGX_OK) {
            r.stamp = stamp;
            each(data, &r);
        }

        p += len;
    }

    ngx_free(buf);

    return NGX_OK;
}


ngx_int_t
ngx_mcp_revoke_status(ngx_mcp_main_conf_t *mmcf, ngx_mcp_revoke_status_t *st)
{
    ngx_mcp_revoke_t       *rv;
    ngx_mcp_revoke_head_t  *head;

    rv = mmcf->revoke;

    if (rv == NULL) {
        return NGX_DECLINED;
    }

    head = rv->head;

    ngx_memzero(st, sizeof(ngx_mcp_revoke_status_t));

    st->file = head->nfile;
    st->redis = head->nredis;
    st->ready = (ngx_mcp_revoke_state(rv) == NGX_OK);
    st->broken = head->broken;
    st->applied = head->applied;
    st->lifted = head->lifted;
    st->refused = head->refused;
    st->cut = head->cut;
    st->free = ngx_mcp_revoke_zone_free(rv->zone);

    if ((rv->wanted & NGX_MCP_REVOKE_REDIS)
        && (head->loaded & NGX_MCP_REVOKE_REDIS))
    {
        st->has_age = 1;
        st->age = ngx_current_msec - (ngx_msec_t) head->confirmed;
        st->age = ngx_max((ngx_msec_int_t) st->age, 0);
    }

    return NGX_OK;
}
