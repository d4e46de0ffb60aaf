/*
 * The life of an issuer's key set at run time: the zone holds its JSON,
 * generation, lease and times; this worker has made EVP_PKEYs of it.
 * (What the configuration says is in ngx_mcp_keys_conf.c.)
 *
 * Always true: kw->set is the set of kw->generation, and before it is given to
 * anybody the zone's generation has been looked at, so that a key which any
 * worker saw removed verifies nothing more here.  It is replaced in calls from
 * the outside and in timers only, and is not used past refresh + jwks_stale.
 * A fetch belongs to the worker, never to a request, and runs under the zone's
 * lease; it ends in ngx_mcp_keys_end() in each case.
 *
 * Requests wait in kw->waiters.  They are woken from event handlers only, by
 * the end of a fetch here or by the poll timer, which looks for the end of
 * another worker's fetch and for requests that waited jwks_timeout; it runs
 * only while somebody waits, and keeps an exiting worker alive that long.  The
 * other timer, for refreshing, does not.
 *
 * Called by the access phase and, through the cache, by whoever asks it.
 */

#include "ngx_mcp_keys.h"
#include "mcp_json_tree.h"


#define NGX_MCP_KEYS_KID_INTERVAL   30      /* s */
#define NGX_MCP_KEYS_MIN_REFRESH    60      /* s */
#define NGX_MCP_KEYS_MAX_BACKOFF    60      /* s */
#define NGX_MCP_KEYS_MAX_SLEEP      60      /* s */
#define NGX_MCP_KEYS_LOG            60      /* s between two log lines */
#define NGX_MCP_KEYS_POLL           50      /* ms */
#define NGX_MCP_KEYS_DISCOVERY      65536   /* bytes */
#define NGX_MCP_KEYS_STEPS          3       /* fetches in a row, at most */

#define NGX_MCP_KEYS_UNKNOWN        ((uint64_t) -1)


typedef enum {
    NGX_MCP_KEYS_OPENID = 0,
    NGX_MCP_KEYS_OAUTH,
    NGX_MCP_KEYS_SET
} ngx_mcp_keys_step_e;


struct ngx_mcp_keys_worker_s {
    ngx_mcp_issuer_t        *issuer;
    ngx_mcp_zone_t          *zone;
    ngx_mcp_cache_t         *cache;

    mcp_jwk_set_t           *set;
    uint64_t                 generation;    /* of set; 0: none */
    uint64_t                 seen;          /* the zone's at the last sync */
    time_t                   refresh;       /* of set */
    ngx_mcp_zone_keys_t      state;         /* at the last sync */

    ngx_event_t              timer;         /* refresh */
    ngx_event_t              poll;          /* waiters */
    ngx_queue_t              waiters;

    time_t                   no_room;       /* last said so */
    unsigned                 fetching:1;    /* the lease is ours */
    ngx_mcp_keys_step_e      step;
    ngx_mcp_fetch_t         *fetch;
    ngx_pool_t              *pool;          /* of this fetch */
    ngx_str_t                url;           /* of this step */
};


static ngx_int_t ngx_mcp_keys_worker(ngx_cycle_t *cycle,
    ngx_mcp_main_conf_t *mmcf, ngx_mcp_issuer_t *issuer);
static uint64_t ngx_mcp_keys_generation(void *data, ngx_uint_t issuer);
static ngx_int_t ngx_mcp_keys_look(ngx_mcp_keys_worker_t *kw);
static ngx_int_t ngx_mcp_keys_sync(ngx_mcp_keys_worker_t *kw);
static ngx_int_t ngx_mcp_keys_take(ngx_mcp_keys_worker_t *kw, ngx_str_t *json);
static ngx_uint_t ngx_mcp_keys_usable(ngx_mcp_keys_worker_t *kw);
static time_t ngx_mcp_keys_blocked(ngx_mcp_keys_worker_t *kw);

static void ngx_mcp_keys_timer(ngx_event_t *ev);
static time_t ngx_mcp_keys_due(ngx_mcp_keys_worker_t *kw, time_t now);
static void ngx_mcp_keys_arm(ngx_mcp_keys_worker_t *kw);
static ngx_int_t ngx_mcp_keys_wait(ngx_mcp_keys_worker_t *kw,
    ngx_mcp_keys_waiter_t *w);
static ngx_uint_t ngx_mcp_keys_late(ngx_mcp_keys_waiter_t *w);
static void ngx_mcp_keys_poll(ngx_event_t *ev);
static void ngx_mcp_keys_wake(ngx_mcp_keys_worker_t *kw, ngx_uint_t all);

static ngx_int_t ngx_mcp_keys_start(ngx_mcp_keys_worker_t *kw,
    time_t kid_interval);
static ngx_int_t ngx_mcp_keys_request(ngx_mcp_keys_worker_t *kw,
    ngx_mcp_url_t *url, ngx_mcp_keys_step_e step);
static void ngx_mcp_keys_fetched(void *data, ngx_mcp_fetch_result_t *res);
static void ngx_mcp_keys_fetched_set(ngx_mcp_keys_worker_t *kw,
    ngx_mcp_fetch_result_t *res);
static const char *ngx_mcp_keys_discovered(ngx_mcp_keys_worker_t *kw,
    ngx_str_t *body);
static const char *ngx_mcp_keys_jwks_uri(ngx_mcp_keys_worker_t *kw,
    json_t *doc, ngx_str_t *text);
static void ngx_mcp_keys_end(ngx_mcp_keys_worker_t *kw, ngx_str_t *data,
    time_t max_age, const char *error, ngx_uint_t status);
static void ngx_mcp_keys_failed(ngx_mcp_keys_worker_t *kw, ngx_int_t rc,
    const char *error, ngx_uint_t status);
static time_t ngx_mcp_keys_lifetime(ngx_mcp_issuer_t *issuer, time_t max_age);
static time_t ngx_mcp_keys_backoff(ngx_uint_t failures);


ngx_int_t
ngx_mcp_keys_init_worker(ngx_cycle_t *cycle, ngx_mcp_main_conf_t *mmcf)
{
    ngx_uint_t          i;
    ngx_mcp_issuer_t  **issuer;

    issuer = mmcf->issuers.elts;

    for (i = 0; i < mmcf->issuers.nelts; i++) {
        if (issuer[i]->file_set == NULL
            && ngx_mcp_keys_worker(cycle, mmcf, issuer[i]) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    ngx_mcp_cache_generations(mmcf->cache, ngx_mcp_keys_generation, mmcf);

    return NGX_OK;
}


/* The event loop does not run yet: the timer starts everything. */

static ngx_int_t
ngx_mcp_keys_worker(ngx_cycle_t *cycle, ngx_mcp_main_conf_t *mmcf,
    ngx_mcp_issuer_t *issuer)
{
    ngx_mcp_keys_worker_t  *kw;

    kw = ngx_calloc(sizeof(ngx_mcp_keys_worker_t), cycle->log);
    if (kw == NULL) {
        return NGX_ERROR;
    }

    kw->issuer = issuer;
    kw->zone = mmcf->zone;
    kw->cache = mmcf->cache;
    kw->seen = NGX_MCP_KEYS_UNKNOWN;
    ngx_queue_init(&kw->waiters);

    kw->timer.handler = ngx_mcp_keys_timer;
    kw->timer.data = kw;
    kw->timer.log = cycle->log;
    kw->timer.cancelable = 1;

    kw->poll.handler = ngx_mcp_keys_poll;
    kw->poll.data = kw;
    kw->poll.log = cycle->log;

    issuer->keys = kw;

    ngx_add_timer(&kw->timer, 1 + ngx_random() % 50);

    return NGX_OK;
}


void
ngx_mcp_keys_exit_worker(ngx_mcp_main_conf_t *mmcf)
{
    ngx_uint_t               i;
    ngx_queue_t             *q;
    ngx_mcp_issuer_t       **issuer;
    ngx_mcp_keys_waiter_t   *w;
    ngx_mcp_keys_worker_t   *kw;

    issuer = mmcf->issuers.elts;

    for (i = 0; i < mmcf->issuers.nelts; i++) {
        kw = issuer[i]->keys;

        if (kw == NULL) {
            continue;
        }

        while (!ngx_queue_empty(&kw->waiters)) {
            q = ngx_queue_head(&kw->waiters);
            w = ngx_queue_data(q, ngx_mcp_keys_waiter_t, queue);
            ngx_mcp_keys_cancel(w);
        }

        if (kw->timer.timer_set) {
            ngx_del_timer(&kw->timer);
        }

        if (kw->poll.timer_set) {
            ngx_del_timer(&kw->poll);
        }

        if (kw->fetch) {
            ngx_mcp_fetch_cancel(kw->fetch);
        }

        if (kw->fetching) {
            ngx_mcp_zone_keys_release(kw->zone, issuer[i]->zone_name);
        }

        if (kw->pool) {
            ngx_destroy_pool(kw->pool);
        }

        mcp_jwk_set_free(kw->set);
        ngx_free(kw);
        issuer[i]->keys = NULL;
    }
}


ngx_int_t
ngx_mcp_keys_get(ngx_mcp_issuer_t *issuer, ngx_mcp_keys_waiter_t *w,
    mcp_jwk_set_t **set, uint64_t *generation, time_t *retry_after)
{
    ngx_mcp_keys_worker_t  *kw;

    if (issuer->file_set) {
        *set = issuer->file_set;
        *generation = 1;
        return NGX_OK;
    }

    kw = issuer->keys;
    *retry_after = 1;

    if (kw == NULL || ngx_mcp_keys_look(kw) != NGX_OK) {
        return NGX_ERROR;
    }

    if (!ngx_mcp_keys_usable(kw)) {

        /* another worker may have fetched the same set again */

        if (ngx_mcp_keys_sync(kw) != NGX_OK) {
            return NGX_ERROR;
        }

        if (!ngx_mcp_keys_usable(kw)) {

            if (ngx_mcp_keys_late(w)) {
                return NGX_ERROR;
            }

            if (kw->fetching || kw->state.leased) {
                return ngx_mcp_keys_wait(kw, w);
            }

            *retry_after = ngx_mcp_keys_blocked(kw);

            if (*retry_after) {
                return NGX_ERROR;
            }

            *retry_after = 1;

            /* declined: somebody was faster; the poll timer will see it */

            if (ngx_mcp_keys_start(kw, 0) == NGX_ERROR) {
                return NGX_ERROR;
            }

            return ngx_mcp_keys_wait(kw, w);
        }
    }

    *set = kw->set;
    *generation = kw->generation;

    return NGX_OK;
}


ngx_int_t
ngx_mcp_keys_unknown_kid(ngx_mcp_issuer_t *issuer, uint64_t generation,
    ngx_mcp_keys_waiter_t *w)
{
    ngx_int_t               rc;
    ngx_mcp_keys_worker_t  *kw;

    if (issuer->file_set) {
        return NGX_DECLINED;
    }

    kw = issuer->keys;

    if (kw == NULL || ngx_mcp_keys_sync(kw) != NGX_OK) {
        return NGX_ERROR;
    }

    if (kw->generation != generation) {
        return NGX_OK;
    }

    if (ngx_mcp_keys_late(w)) {
        return NGX_ERROR;
    }

    if (kw->fetching || kw->state.leased) {
        return ngx_mcp_keys_wait(kw, w);
    }

    if (ngx_mcp_keys_blocked(kw)) {
        return NGX_ERROR;
    }

    rc = ngx_mcp_keys_start(kw, NGX_MCP_KEYS_KID_INTERVAL);

    if (rc == NGX_OK) {
        return ngx_mcp_keys_wait(kw, w);
    }

    if (rc == NGX_ERROR || ngx_mcp_keys_sync(kw) != NGX_OK) {
        return NGX_ERROR;
    }

    /* declined: too early for another one, or somebody was faster */

    if (kw->generation != generation) {
        return NGX_OK;
    }

    if (kw->state.leased) {
        return ngx_mcp_keys_wait(kw, w);
    }

    return kw->state.failures ? NGX_ERROR : NGX_DECLINED;
}


void
ngx_mcp_keys_cancel(ngx_mcp_keys_waiter_t *w)
{
    if (w->waiting) {
        w->waiting = 0;
        ngx_queue_remove(&w->queue);
    }
}


static uint64_t
ngx_mcp_keys_generation(void *data, ngx_uint_t issuer)
{
    ngx_mcp_main_conf_t *mmcf = data;

    ngx_mcp_issuer_t       **is;
    ngx_mcp_keys_worker_t   *kw;

    if (issuer >= mmcf->issuers.nelts) {

        /* the gateway's own tokens: no key verified them */

        return issuer == mmcf->issuers.nelts ? 1 : 0;
    }

    is = mmcf->issuers.elts;

    if (is[issuer]->file_set) {
        return 1;
    }

    kw = is[issuer]->keys;

    if (kw == NULL || ngx_mcp_keys_look(kw) != NGX_OK) {
        return 0;
    }

    return kw->generation;
}


/* For each use: nothing to do but when a set of this zone was replaced. */

static ngx_int_t
ngx_mcp_keys_look(ngx_mcp_keys_worker_t *kw)
{
    if (kw->seen == ngx_mcp_zone_generation(kw->zone)) {
        return NGX_OK;
    }

    return ngx_mcp_keys_sync(kw);
}


/* Makes state and set those of the zone.  NGX_ERROR: out of memory; what the
 * set is worth is not known then, and it must not be used. */

static ngx_int_t
ngx_mcp_keys_sync(ngx_mcp_keys_worker_t *kw)
{
    uint64_t   seen;
    ngx_int_t  rc;
    ngx_str_t  json;

    seen = ngx_mcp_zone_generation(kw->zone);
    kw->seen = NGX_MCP_KEYS_UNKNOWN;

    if (ngx_mcp_zone_keys_get(kw->zone, kw->issuer->zone_name, kw->generation,
                              &kw->state, &json)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    rc = NGX_OK;

    if (json.len) {
        rc = ngx_mcp_keys_take(kw, &json);
        ngx_free(json.data);
    }

    if (rc == NGX_OK) {
        kw->seen = seen;

        /* no generation: the zone began anew and ours is all there is */

        if (kw->state.generation) {
            kw->refresh = kw->state.refresh;
        }
    }

    return rc;
}


static ngx_int_t
ngx_mcp_keys_take(ngx_mcp_keys_worker_t *kw, ngx_str_t *json)
{
    const char     *error;
    mcp_jwk_set_t  *set;

    error = "out of memory";

    set = mcp_jwk_set_parse(json->data, json->len, kw->issuer->max_keys,
                            &error);

    if (set == NULL) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "mcp_issuer \"%V\": the key set in mcp_zone cannot be "
                      "used: %s", &kw->issuer->name, error);
        return NGX_ERROR;
    }

    mcp_jwk_set_free(kw->set);

    kw->set = set;
    kw->generation = kw->state.generation;

    ngx_mcp_cache_flush(kw->cache);

    ngx_log_error(NGX_LOG_INFO, ngx_cycle->log, 0,
                  "mcp_issuer \"%V\": %ud keys, generation %uL",
                  &kw->issuer->name, set->nkeys, kw->generation);

    return NGX_OK;
}


static ngx_uint_t
ngx_mcp_keys_usable(ngx_mcp_keys_worker_t *kw)
{
    return kw->set && ngx_time() <= kw->refresh + kw->issuer->jwks_stale;
}


/* Seconds until the back-off ends; a time that is too far away was written
 * before the clock was set back. */

static time_t
ngx_mcp_keys_blocked(ngx_mcp_keys_worker_t *kw)
{
    time_t  left;

    left = kw->state.retry - ngx_time();

    return left > 0 && left <= NGX_MCP_KEYS_MAX_BACKOFF ? left : 0;
}


static void
ngx_mcp_keys_timer(ngx_event_t *ev)
{
    time_t                  now;
    ngx_mcp_keys_worker_t  *kw;

    kw = ev->data;

    if (ngx_exiting || ngx_terminate || ngx_quit) {
        return;
    }

    now = ngx_time();

    if (!kw->fetching
        && ngx_mcp_keys_sync(kw) == NGX_OK
        && !kw->state.leased
        && ngx_mcp_keys_due(kw, now) <= now
        && ngx_mcp_keys_start(kw, 0) == NGX_OK)
    {
        return;
    }

    ngx_mcp_keys_arm(kw);
}


static time_t
ngx_mcp_keys_due(ngx_mcp_keys_worker_t *kw, time_t now)
{
    if (kw->state.failures) {
        return now + ngx_mcp_keys_blocked(kw);
    }

    if (kw->state.generation == 0
        || kw->state.fetched > now + NGX_MCP_KEYS_MIN_REFRESH)
    {
        return now;
    }

    return kw->state.refresh;
}


/* Sleeps until the set is due, but not too long: it also keeps the set in the
 * zone from looking unused.  The jitter makes one worker the first. */

static void
ngx_mcp_keys_arm(ngx_mcp_keys_worker_t *kw)
{
    time_t      now, left;
    ngx_msec_t  delay;

    if (ngx_exiting || ngx_terminate || ngx_quit) {
        return;
    }

    now = ngx_time();

    left = kw->state.leased ? 1 : ngx_mcp_keys_due(kw, now) - now;
    left = ngx_max(left, 0);
    left = ngx_min(left, NGX_MCP_KEYS_MAX_SLEEP);

    delay = left * 1000 + 100 + ngx_random() % 900;

    ngx_add_timer(&kw->timer, delay);
}


static ngx_int_t
ngx_mcp_keys_wait(ngx_mcp_keys_worker_t *kw, ngx_mcp_keys_waiter_t *w)
{
    if (!w->started) {
        w->started = 1;
        w->deadline = ngx_current_msec + kw->issuer->jwks_timeout;
    }

    if (!w->waiting) {
        w->waiting = 1;
        ngx_queue_insert_tail(&kw->waiters, &w->queue);
    }

    if (!kw->poll.timer_set) {
        ngx_add_timer(&kw->poll, NGX_MCP_KEYS_POLL);
    }

    return NGX_AGAIN;
}


static ngx_uint_t
ngx_mcp_keys_late(ngx_mcp_keys_waiter_t *w)
{
    return w->started
           && (ngx_msec_int_t) (w->deadline - ngx_current_msec) <= 0;
}


static void
ngx_mcp_keys_poll(ngx_event_t *ev)
{
    uint64_t                serial, generation;
    ngx_uint_t              all;
    ngx_mcp_keys_worker_t  *kw;

    kw = ev->data;

    if (ngx_queue_empty(&kw->waiters)) {
        return;
    }

    all = 0;

    if (!kw->fetching) {
        serial = kw->state.serial;
        generation = kw->generation;

        all = ngx_mcp_keys_sync(kw) != NGX_OK
              || !kw->state.leased
              || kw->state.serial != serial
              || kw->generation != generation;
    }

    ngx_mcp_keys_wake(kw, all);

    if (!ngx_queue_empty(&kw->waiters) && !kw->poll.timer_set) {
        ngx_add_timer(&kw->poll, NGX_MCP_KEYS_POLL);
    }
}


/*
 * Those to be woken move to a list of their own first: wake() may wait again,
 * end other requests that are on either list, or free its own.
 */

static void
ngx_mcp_keys_wake(ngx_mcp_keys_worker_t *kw, ngx_uint_t all)
{
    ngx_queue_t             list, *q, *next;
    ngx_mcp_keys_waiter_t  *w;

    ngx_queue_init(&list);

    for (q = ngx_queue_head(&kw->waiters);
         q != ngx_queue_sentinel(&kw->waiters);
         q = next)
    {
        next = ngx_queue_next(q);
        w = ngx_queue_data(q, ngx_mcp_keys_waiter_t, queue);

        if (all || ngx_mcp_keys_late(w)) {
            ngx_queue_remove(q);
            ngx_queue_insert_tail(&list, q);
        }
    }

    while (!ngx_queue_empty(&list)) {
        q = ngx_queue_head(&list);
        w = ngx_queue_data(q, ngx_mcp_keys_waiter_t, queue);

        ngx_mcp_keys_cancel(w);
        w->wake(w->data);
    }
}


/* NGX_OK: a fetch is under way here; NGX_DECLINED: not allowed; NGX_ERROR. */

static ngx_int_t
ngx_mcp_keys_start(ngx_mcp_keys_worker_t *kw, time_t kid_interval)
{
    time_t             ttl;
    ngx_int_t          rc;
    ngx_mcp_issuer_t  *issuer;

    if (kw->fetching) {
        return NGX_OK;
    }

    issuer = kw->issuer;
    ttl = NGX_MCP_KEYS_STEPS * (issuer->jwks_timeout / 1000 + 1) + 2;

    rc = ngx_mcp_zone_keys_lease(kw->zone, issuer->zone_name, &kw->state,
                                 ngx_time(), ttl, kid_interval);
    if (rc == NGX_ERROR && ngx_time() - kw->no_room >= NGX_MCP_KEYS_LOG) {
        kw->no_room = ngx_time();

        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "mcp_issuer \"%V\": keys cannot be fetched, there is no "
                      "room in mcp_zone", &issuer->name);
    }

    if (rc != NGX_OK) {
        return rc;
    }

    kw->fetching = 1;

    (void) ngx_atomic_fetch_add(
                          &ngx_mcp_zone_counters(kw->zone)->key_fetches, 1);

    kw->pool = ngx_create_pool(2048, ngx_cycle->log);

    if (kw->pool == NULL
        || ngx_mcp_keys_request(kw, &issuer->url,
                                issuer->jwks_uri.len ? NGX_MCP_KEYS_SET
                                                     : NGX_MCP_KEYS_OPENID)
           != NGX_OK)
    {
        /* requests that wait already are woken by the poll timer */

        ngx_mcp_keys_end(kw, NULL, -1, "the fetch cannot be started", 0);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_mcp_keys_request(ngx_mcp_keys_worker_t *kw, ngx_mcp_url_t *url,
    ngx_mcp_keys_step_e step)
{
    u_char                  *query;
    ngx_int_t                rc;
    ngx_mcp_fetch_request_t  req;

    ngx_memzero(&req, sizeof(ngx_mcp_fetch_request_t));

    req.conf = &kw->issuer->fetch;
    ngx_str_set(&req.method, "GET");
    req.url = *url;
    req.max_body = step == NGX_MCP_KEYS_SET ? kw->issuer->max_key_set
                                            : NGX_MCP_KEYS_DISCOVERY;
    req.quiet = 1;
    req.done = ngx_mcp_keys_fetched;
    req.data = kw;

    kw->step = step;
    kw->url = url->url;

    /* for logs, which need not know a query */

    query = ngx_strlchr(kw->url.data, kw->url.data + kw->url.len, '?');
    if (query) {
        kw->url.len = query - kw->url.data;
    }

    rc = ngx_mcp_fetch_start(&req, ngx_cycle->log, &kw->fetch);

    if (rc != NGX_AGAIN) {
        kw->fetch = NULL;
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_mcp_keys_fetched(void *data, ngx_mcp_fetch_result_t *res)
{
    const char             *error;
    ngx_mcp_keys_worker_t  *kw;

    kw = data;
    kw->fetch = NULL;

    if (res->error) {
        error = res->error;

    } else if (kw->step == NGX_MCP_KEYS_OPENID && res->status / 100 == 4) {
        error = ngx_mcp_keys_request(kw, &kw->issuer->oauth_url,
                                     NGX_MCP_KEYS_OAUTH) == NGX_OK
                ? NULL : "the fetch cannot be started";

    } else if (res->status != 200) {
        error = "unexpected status";

    } else if (kw->step == NGX_MCP_KEYS_SET) {
        ngx_mcp_keys_fetched_set(kw, res);
        ngx_mcp_keys_wake(kw, 1);
        return;

    } else {
        error = ngx_mcp_keys_discovered(kw, &res->body);
    }

    if (error) {
        ngx_mcp_keys_end(kw, NULL, -1, error, res->error ? 0 : res->status);
        ngx_mcp_keys_wake(kw, 1);
    }
}


/* Only a set that can be used is published. */

static void
ngx_mcp_keys_fetched_set(ngx_mcp_keys_worker_t *kw,
    ngx_mcp_fetch_result_t *res)
{
    const char     *error;
    mcp_jwk_set_t  *set;

    error = "out of memory";

    set = mcp_jwk_set_parse(res->body.data, res->body.len,
                            kw->issuer->max_keys, &error);

    if (set == NULL) {
        ngx_mcp_keys_end(kw, NULL, -1, error, res->status);
        return;
    }

    mcp_jwk_set_free(set);

    ngx_mcp_keys_end(kw, &res->body, res->max_age, NULL, res->status);
}


/* The document names the key set: on to the next step.  NULL or an error. */

static const char *
ngx_mcp_keys_discovered(ngx_mcp_keys_worker_t *kw, ngx_str_t *body)
{
    int             oom;
    json_t         *doc;
    ngx_str_t       text;
    const char     *error;
    ngx_mcp_url_t   url;

    doc = mcp_json_tree(body->data, body->len, MCP_JSON_TREE_DEPTH, &oom);
    if (doc == NULL) {
        return oom ? "out of memory"
                   : "the discovery document is not valid JSON";
    }

    error = ngx_mcp_keys_jwks_uri(kw, doc, &text);

    json_decref(doc);

    if (error) {
        return error;
    }

    error = "invalid URL";

    if (ngx_mcp_url_parse(kw->pool, &text, &url, &error) != NGX_OK) {
        ngx_log_error(NGX_LOG_INFO, ngx_cycle->log, 0,
                      "mcp_issuer \"%V\": jwks_uri of the discovery document: "
                      "%s", &kw->issuer->name, error);
        return "the discovery document has an invalid jwks_uri";
    }

    if (ngx_mcp_keys_request(kw, &url, NGX_MCP_KEYS_SET) != NGX_OK) {
        return "the fetch cannot be started";
    }

    return NULL;
}


/* RFC 8414, section 3.3: the issuer must be the one that was asked, byte for
 * byte, or the document must not be used. */

static const char *
ngx_mcp_keys_jwks_uri(ngx_mcp_keys_worker_t *kw, json_t *doc, ngx_str_t *text)
{
    json_t     *issuer, *uri;
    mcp_str_t   s;

    issuer = json_object_get(doc, "issuer");

    if (!json_is_string(issuer)) {
        return "the discovery document has no issuer";
    }

    s.data = (u_char *) json_string_value(issuer);
    s.len = json_string_length(issuer);

    if (!mcp_str_eq(&s, &kw->issuer->jwt.issuer)) {
        return "the discovery document is of another issuer";
    }

    uri = json_object_get(doc, "jwks_uri");

    if (!json_is_string(uri)) {
        return "the discovery document has no jwks_uri";
    }

    text->len = json_string_length(uri);
    text->data = ngx_pnalloc(kw->pool, text->len + 1);

    if (text->data == NULL) {
        return "out of memory";
    }

    /* with its NUL */
    ngx_memcpy(text->data, json_string_value(uri), json_string_length(uri) + 1);

    return NULL;
}


/* The one end of each fetch.  Wakes nobody: it may run inside of a request's
 * call. */

static void
ngx_mcp_keys_end(ngx_mcp_keys_worker_t *kw, ngx_str_t *data, time_t max_age,
    const char *error, ngx_uint_t status)
{
    time_t      now, refresh, retry;
    ngx_int_t   rc;
    ngx_uint_t  failures;

    now = ngx_time();
    failures = kw->state.failures;
    refresh = now + ngx_mcp_keys_lifetime(kw->issuer, max_age);
    retry = now + ngx_mcp_keys_backoff(failures);

    rc = ngx_mcp_zone_keys_done(kw->zone, kw->issuer->zone_name, data, now,
                                refresh, retry);

    if (data && rc == NGX_ERROR) {
        error = "no room in mcp_zone";
    }

    if (error) {
        ngx_mcp_keys_failed(kw, rc, error, status);

    } else if (failures && rc == NGX_OK) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "mcp_issuer \"%V\": keys are fetched again from \"%V\" "
                      "after %ui failures", &kw->issuer->name, &kw->url,
                      failures);
    }

    kw->fetching = 0;
    ngx_str_null(&kw->url);

    if (kw->pool) {
        ngx_destroy_pool(kw->pool);
        kw->pool = NULL;
    }

    (void) ngx_mcp_keys_sync(kw);

    ngx_mcp_keys_arm(kw);
}


static void
ngx_mcp_keys_failed(ngx_mcp_keys_worker_t *kw, ngx_int_t rc,
    const char *error, ngx_uint_t status)
{
    (void) ngx_atomic_fetch_add(
                         &ngx_mcp_zone_counters(kw->zone)->key_failures, 1);

    if (rc == NGX_DONE) {
        return;
    }

    if (status) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "mcp_issuer \"%V\": no keys from \"%V\": %s "
                      "(status %ui)%s", &kw->issuer->name, &kw->url, error,
                      status, kw->set ? ", the old ones serve" : "");
        return;
    }

    ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                  "mcp_issuer \"%V\": no keys from \"%V\": %s%s",
                  &kw->issuer->name, &kw->url, error,
                  kw->set ? ", the old ones serve" : "");
}


/* What the issuer says, but never longer than jwks_refresh, nor shorter than a
 * minute unless that directive is; 10 % more or less. */

static time_t
ngx_mcp_keys_lifetime(ngx_mcp_issuer_t *issuer, time_t max_age)
{
    time_t  n;

    n = issuer->jwks_refresh;

    if (max_age >= 0 && max_age < n) {
        n = ngx_max(max_age, ngx_min(n, NGX_MCP_KEYS_MIN_REFRESH));
    }

    return n - n / 10 + (time_t) (ngx_random() % (n / 5 + 1));
}


/* 1 s doubling to 60 s, up to a quarter less. */

static time_t
ngx_mcp_keys_backoff(ngx_uint_t failures)
{
    time_t  n;

    n = failures < 6 ? (time_t) 1 << failures : NGX_MCP_KEYS_MAX_BACKOFF;

    return n - (time_t) (ngx_random() % (n / 4 + 1));
}
