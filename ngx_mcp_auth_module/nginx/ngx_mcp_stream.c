/*
 * Open event streams.
 *
 * A stream may outlive the token that opened it by hours.  Each has a timer: at
 * exp, with the issuer's leeway and the server's stream_grace, it is cut; that
 * of a caller who was revoked, when ngx_mcp_revoke.c has noticed.
 * First gently, as if the upstream had ended it, so that the client sees a
 * complete response and comes back to hear 401; one that takes no bytes is cut
 * off.
 *
 * A stream lives in the request's pool, from the header filter to the request's
 * cleanup, which takes timer and queue away.  Each worker counts its own in its
 * slot of the zone, which is free again when the process is gone, however it
 * went.
 */

#include "ngx_mcp_stream.h"
#include "ngx_mcp_revoke.h"


#define NGX_MCP_STREAM_LINGER  5000             /* ms, for the gentle end */
#define NGX_MCP_STREAM_REVOKED 500              /* the same for the revoked */
#define NGX_MCP_STREAM_TIMER   (24 * 3600)      /* s, at most at once */


typedef struct {
    ngx_queue_t              queue;
    ngx_http_request_t      *request;
    ngx_mcp_ctx_t           *ctx;
    ngx_event_t              timer;
    ngx_mcp_worker_slot_t   *slot;
    const char              *cut;               /* why, when it was ended
                                                   gently */
    unsigned                 revoked:1;         /* when it was opened */
} ngx_mcp_stream_t;


typedef struct {
    ngx_uint_t             (*over)(void *data, const mcp_principal_t *p);
    void                    *data;
    const char              *reason;
} ngx_mcp_stream_end_t;


static void ngx_mcp_stream_close(void *data);
static void ngx_mcp_stream_timer(ngx_mcp_stream_t *st);
static void ngx_mcp_stream_expired(ngx_event_t *ev);
static void ngx_mcp_stream_check_one(ngx_mcp_main_conf_t *mmcf,
    ngx_mcp_stream_t *st, void *data);
static void ngx_mcp_stream_end_one(ngx_mcp_main_conf_t *mmcf,
    ngx_mcp_stream_t *st, void *data);
static void ngx_mcp_stream_walk(ngx_mcp_main_conf_t *mmcf,
    void (*one)(ngx_mcp_main_conf_t *mmcf, ngx_mcp_stream_t *st, void *data),
    void *data);
static void ngx_mcp_stream_cut(ngx_mcp_stream_t *st, const char *reason,
    ngx_msec_t linger);


/* A slot for this process: a free one, or that of one that died. */
ngx_int_t
ngx_mcp_stream_init_worker(ngx_mcp_main_conf_t *mmcf)
{
    ngx_uint_t              i;
    ngx_atomic_uint_t       pid;
    ngx_mcp_counters_t     *counters;
    ngx_mcp_worker_slot_t  *slot;

    ngx_queue_init(&mmcf->streams);

    counters = ngx_mcp_zone_counters(mmcf->zone);

    for (i = 0; i < NGX_MCP_WORKERS; i++) {
        slot = &counters->workers[i];
        pid = slot->pid;

        if (pid && (kill((pid_t) pid, 0) == 0 || ngx_errno != NGX_ESRCH)) {
            continue;
        }

        if (ngx_atomic_cmp_set(&slot->pid, pid, ngx_pid)) {
            slot->streams = 0;
            mmcf->slot = slot;

            return NGX_OK;
        }
    }

    /* more workers than slots: these are not counted */

    mmcf->slot = NULL;

    return NGX_OK;
}


void
ngx_mcp_stream_exit_worker(ngx_mcp_main_conf_t *mmcf)
{
    if (mmcf->slot) {
        mmcf->slot->streams = 0;
        (void) ngx_atomic_cmp_set(&mmcf->slot->pid, ngx_pid, 0);
        mmcf->slot = NULL;
    }
}


ngx_uint_t
ngx_mcp_stream_count(ngx_mcp_zone_t *zone)
{
    ngx_uint_t              i, n;
    ngx_atomic_uint_t       pid;
    ngx_mcp_worker_slot_t  *slot;

    slot = ngx_mcp_zone_counters(zone)->workers;
    n = 0;

    for (i = 0; i < NGX_MCP_WORKERS; i++) {
        pid = slot[i].pid;

        if (pid && slot[i].streams
            && (kill((pid_t) pid, 0) == 0 || ngx_errno != NGX_ESRCH))
        {
            n += slot[i].streams;
        }
    }

    return n;
}


ngx_int_t
ngx_mcp_stream_open(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx)
{
    ngx_int_t             rc;
    ngx_mcp_stream_t     *st;
    ngx_http_cleanup_t   *cln;
    ngx_mcp_main_conf_t  *mmcf;

    mmcf = ngx_http_get_module_main_conf(r, ngx_http_mcp_auth_module);

    st = ngx_pcalloc(r->pool, sizeof(ngx_mcp_stream_t));
    if (st == NULL) {
        return NGX_ERROR;
    }

    cln = ngx_http_cleanup_add(r->main, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_mcp_stream_close;
    cln->data = st;

    st->request = r;
    st->ctx = ctx;
    st->slot = mmcf->slot;

    if (st->slot) {
        st->slot->streams++;
    }

    ngx_queue_insert_tail(&mmcf->streams, &st->queue);

    st->timer.handler = ngx_mcp_stream_expired;
    st->timer.data = st;
    st->timer.log = r->connection->log;
    st->timer.cancelable = 1;

    /* the answer may have taken an hour to begin */

    rc = ngx_mcp_revoke_caller(mmcf, ctx, NULL);

    if (rc == NGX_DECLINED) {
        ngx_mcp_revoke_cut(mmcf);

        st->revoked = 1;
        ngx_add_timer(&st->timer, 1);

        return NGX_DECLINED;
    }

    if (rc == NGX_ERROR) {
        ngx_mcp_revoke_look_again(mmcf);
    }

    ngx_mcp_stream_timer(st);

    return NGX_OK;
}


static void
ngx_mcp_stream_close(void *data)
{
    ngx_mcp_stream_t *st = data;

    if (st->timer.timer_set) {
        ngx_del_timer(&st->timer);
    }

    ngx_queue_remove(&st->queue);

    if (st->slot) {
        st->slot->streams--;
    }
}


/* A wall clock that was set meanwhile is looked at again, once a day. */
static void
ngx_mcp_stream_timer(ngx_mcp_stream_t *st)
{
    time_t  left;

    left = st->ctx->expires + st->ctx->server->stream_grace - ngx_time();
    left = ngx_max(left, 0);

    ngx_add_timer(&st->timer,
                  (ngx_msec_t) ngx_min(left, NGX_MCP_STREAM_TIMER) * 1000);
}


static void
ngx_mcp_stream_expired(ngx_event_t *ev)
{
    ngx_mcp_stream_t *st = ev->data;

    if (st->cut) {
        ngx_mcp_stream_cut(st, st->cut, 0);
        return;
    }

    if (st->revoked) {
        ngx_mcp_stream_cut(st, "revoked", NGX_MCP_STREAM_REVOKED);
        return;
    }

    if (ngx_time() < st->ctx->expires + st->ctx->server->stream_grace) {
        ngx_mcp_stream_timer(st);
        return;
    }

    ngx_mcp_stream_cut(st, "token_expired", NGX_MCP_STREAM_LINGER);
}


void
ngx_mcp_stream_check(ngx_mcp_main_conf_t *mmcf, ngx_msec_t unknown)
{
    ngx_mcp_stream_walk(mmcf, ngx_mcp_stream_check_one, &unknown);
}


static void
ngx_mcp_stream_check_one(ngx_mcp_main_conf_t *mmcf, ngx_mcp_stream_t *st,
    void *data)
{
    ngx_msec_t *unknown = data;

    ngx_int_t   rc;
    ngx_msec_t  grace;

    rc = ngx_mcp_revoke_caller(mmcf, st->ctx, NULL);

    if (rc == NGX_DECLINED) {
        ngx_mcp_revoke_cut(mmcf);
        ngx_mcp_stream_cut(st, "revoked", NGX_MCP_STREAM_REVOKED);
        return;
    }

    grace = (ngx_msec_t) st->ctx->server->stream_grace * 1000;

    if (rc == NGX_ERROR && *unknown > ngx_max(grace, NGX_MCP_REVOKE_WAIT)) {
        ngx_mcp_revoke_cut(mmcf);
        ngx_mcp_stream_cut(st, "revocation_unknown", NGX_MCP_STREAM_REVOKED);
    }
}


void
ngx_mcp_stream_end(ngx_mcp_main_conf_t *mmcf,
    ngx_uint_t (*over)(void *data, const mcp_principal_t *p), void *data,
    const char *reason)
{
    ngx_mcp_stream_end_t  end;

    end.over = over;
    end.data = data;
    end.reason = reason;

    ngx_mcp_stream_walk(mmcf, ngx_mcp_stream_end_one, &end);
}


static void
ngx_mcp_stream_end_one(ngx_mcp_main_conf_t *mmcf, ngx_mcp_stream_t *st,
    void *data)
{
    ngx_mcp_stream_end_t *end = data;

    if (end->over(end->data, st->ctx->principal)) {
        ngx_mcp_stream_cut(st, end->reason, NGX_MCP_STREAM_REVOKED);
    }
}


/* Those that nobody ends yet.  All move to a list of their own first: the end
 * of one may end others. */
static void
ngx_mcp_stream_walk(ngx_mcp_main_conf_t *mmcf,
    void (*one)(ngx_mcp_main_conf_t *mmcf, ngx_mcp_stream_t *st, void *data),
    void *data)
{
    ngx_queue_t        list, *q;
    ngx_mcp_stream_t  *st;

    if (ngx_queue_empty(&mmcf->streams)) {
        return;
    }

    ngx_queue_init(&list);
    ngx_queue_add(&list, &mmcf->streams);
    ngx_queue_init(&mmcf->streams);

    while (!ngx_queue_empty(&list)) {
        q = ngx_queue_head(&list);

        ngx_queue_remove(q);
        ngx_queue_insert_tail(&mmcf->streams, q);

        st = ngx_queue_data(q, ngx_mcp_stream_t, queue);

        if (st->cut == NULL && !st->revoked) {
            one(mmcf, st, data);
        }
    }
}


/* st is gone after that, or has a timer that comes back to here. */
static void
ngx_mcp_stream_cut(ngx_mcp_stream_t *st, const char *reason,
    ngx_msec_t linger)
{
    ngx_connection_t     *c;
    ngx_http_request_t   *r;
    ngx_http_upstream_t  *u;

    r = st->request;
    c = r->connection;
    u = r->upstream;

    ngx_http_set_log_request(c->log, r);

    ngx_log_error(NGX_LOG_INFO, c->log, 0,
                  "mcp_auth: stream of server \"%V\" cut: %s",
                  &st->ctx->server->name, reason);

    ngx_mcp_outcome(st->ctx, NULL, reason);

    if (st->cut == NULL
        && u && u->peer.connection && !u->buffering && !u->upgrade)
    {
        /* nginx's own way when the last byte was read */

        st->cut = reason;
        ngx_add_timer(&st->timer, linger);

        u->length = 0;
        u->keepalive = 0;
        u->read_event_handler(r, u);

    } else {
        r->keepalive = 0;

#if (NGX_HTTP_V2)

        if (r->stream) {

            /* what nginx queues for the client it sends in the connection's
             * next turn only, which may never come: a reset from a timer */

            ngx_post_event(r->stream->connection->connection->write,
                           &ngx_posted_events);
        }

#endif

        if (u && u->cleanup) {

            /* the upstream's cleanup gives back its hold of the request; it
             * must not be the last one while nginx walks the cleanups */

            r->main->count++;
        }

        ngx_http_finalize_request(r, NGX_ERROR);
    }

    ngx_http_run_posted_requests(c);
}
