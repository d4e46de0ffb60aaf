/*
 * The Redis client of a worker: commands and their replies; ngx_mcp_redis.h is
 * the contract.  The connections are made by ngx_mcp_redis_link.c, what is
 * published comes in ngx_mcp_redis_sub.c.
 *
 * Commands whose replies are due stand in `pending`, in the order in which they
 * were written; a reply belongs to the first of them.  One that was cancelled
 * stays where it is, without its callback.  The first of them to be late ends
 * the connection.  Those that will get no reply move to `failed`, and hear of
 * it from there: a callback may send, cancel, end requests, or destroy the
 * client; the client is freed when nobody of ours is on the stack any more
 * (`held`).
 *
 * A worker that leaves waits for commands that somebody waits for, and for
 * nothing else of this.
 */

#include "ngx_mcp_redis_private.h"


#define NGX_MCP_REDIS_PENDING  4096         /* commands, at most */
#define NGX_MCP_REDIS_QUIET    60000        /* ms between two equal lines */


struct ngx_mcp_redis_call_s {
    ngx_queue_t              queue;
    ngx_mcp_redis_t         *redis;         /* NULL: failed already */
    ngx_mcp_redis_pt         done;          /* NULL: cancelled */
    void                    *data;
    ngx_msec_t               deadline;
};


static void ngx_mcp_redis_probed(void *data, redisReply *reply);
static void ngx_mcp_redis_ready(ngx_mcp_redis_link_t *link);
static void ngx_mcp_redis_reply(ngx_mcp_redis_link_t *link,
    redisReply *reply);
static const char *ngx_mcp_redis_useless(redisReply *reply);
static void ngx_mcp_redis_lost(ngx_mcp_redis_link_t *link);
static void ngx_mcp_redis_fail_pending(ngx_mcp_redis_t *redis);
static void ngx_mcp_redis_late(ngx_event_t *ev);
static void ngx_mcp_redis_arm(ngx_mcp_redis_t *redis);


ngx_mcp_redis_t *
ngx_mcp_redis_create(ngx_mcp_redis_conf_t *rcf, ngx_cycle_t *cycle)
{
    ngx_mcp_redis_t       *redis;
    ngx_mcp_redis_link_t  *link;

    redis = ngx_calloc(sizeof(ngx_mcp_redis_t), cycle->log);
    if (redis == NULL) {
        return NULL;
    }

    redis->conf = rcf;
    redis->log = cycle->log;

    ngx_queue_init(&redis->pending);
    ngx_queue_init(&redis->failed);

    redis->timer.handler = ngx_mcp_redis_late;
    redis->timer.data = redis;
    redis->timer.log = cycle->log;

    link = &redis->commands;
    link->redis = redis;
    link->conf = rcf;
    link->client_name = "mcp-auth";
    link->ready = ngx_mcp_redis_ready;
    link->reply = ngx_mcp_redis_reply;
    link->lost = ngx_mcp_redis_lost;

    ngx_mcp_redis_link_start(link, cycle->log);

    return redis;
}


void
ngx_mcp_redis_destroy(ngx_mcp_redis_t *redis)
{
    ngx_mcp_redis_hold(redis);

    redis->destroyed = 1;

    ngx_mcp_redis_unsubscribe(redis);
    ngx_mcp_redis_link_stop(&redis->commands);
    ngx_mcp_redis_fail_pending(redis);

    ngx_mcp_redis_release(redis);
}


void
ngx_mcp_redis_hold(ngx_mcp_redis_t *redis)
{
    redis->held++;
}


void
ngx_mcp_redis_release(ngx_mcp_redis_t *redis)
{
    if (--redis->held == 0 && redis->destroyed) {
        ngx_free(redis);
    }
}


/* error NULL: would anything be said now? */
ngx_uint_t
ngx_mcp_redis_loud(ngx_mcp_redis_t *redis, const char *error)
{
    ngx_uint_t  loud;

    loud = redis->error == NULL
           || ngx_current_msec - redis->said >= NGX_MCP_REDIS_QUIET;

    if (error && error != redis->error) {
        loud = 1;
    }

    if (error && loud) {
        redis->error = error;
        redis->said = ngx_current_msec;
    }

    return loud;
}


ngx_int_t
ngx_mcp_redis_send(ngx_mcp_redis_t *redis, ngx_uint_t argc, ngx_str_t *argv,
    ngx_mcp_redis_pt done, void *data, ngx_mcp_redis_call_t **call)
{
    ngx_mcp_redis_call_t  *cl;
    ngx_mcp_redis_link_t  *link;

    link = &redis->commands;

    /* while it is being established for the first time, or again after it was
     * good, what is sent waits; else it fails at once */

    if (redis->destroyed
        || link->state == NGX_MCP_REDIS_STOPPED
        || (link->state != NGX_MCP_REDIS_READY && link->failures)
        || redis->npending == NGX_MCP_REDIS_PENDING)
    {
        return NGX_ERROR;
    }

    cl = ngx_alloc(sizeof(ngx_mcp_redis_call_t), redis->log);
    if (cl == NULL) {
        return NGX_ERROR;
    }

    if (ngx_mcp_redis_link_write(link, argc, argv) != NGX_OK) {
        ngx_free(cl);
        return NGX_ERROR;
    }

    cl->redis = redis;
    cl->done = done;
    cl->data = data;
    cl->deadline = ngx_current_msec + redis->conf->timeout;

    ngx_queue_insert_tail(&redis->pending, &cl->queue);

    redis->npending++;

    if (done) {
        redis->waiting++;
    }

    ngx_mcp_redis_arm(redis);

    if (call) {
        *call = cl;
    }

    return NGX_AGAIN;
}


void
ngx_mcp_redis_cancel(ngx_mcp_redis_call_t *call)
{
    if (call->redis && call->done) {
        call->redis->waiting--;
        call->done = NULL;
        ngx_mcp_redis_arm(call->redis);
    }

    call->done = NULL;
}


/*
 * A master that was made a replica keeps its connections, and goes on answering
 * PING.
 */
void
ngx_mcp_redis_probe(ngx_mcp_redis_t *redis)
{
    ngx_str_t  hello = ngx_string("HELLO");

    (void) ngx_mcp_redis_send(redis, 1, &hello, ngx_mcp_redis_probed, redis,
                              NULL);
}


static void
ngx_mcp_redis_probed(void *data, redisReply *reply)
{
    ngx_mcp_redis_t *redis = data;

    const char  *error;

    if (reply == NULL || reply->type == REDIS_REPLY_ERROR) {
        return;
    }

    error = ngx_mcp_redis_hello(reply);

    if (error) {
        ngx_mcp_redis_give_up(redis, error);
        ngx_mcp_redis_link_fail(&redis->commands, error);
    }
}


static void
ngx_mcp_redis_ready(ngx_mcp_redis_link_t *link)
{
    /* what waits is written by the link */

    link->good = 1;
}


static void
ngx_mcp_redis_reply(ngx_mcp_redis_link_t *link, redisReply *reply)
{
    void                  *data;
    const char            *error;
    ngx_queue_t           *q;
    ngx_mcp_redis_t       *redis;
    ngx_mcp_redis_pt       done;
    ngx_mcp_redis_call_t  *call;

    redis = link->redis;

    if (ngx_queue_empty(&redis->pending)) {
        ngx_mcp_redis_link_fail(link, "it answered what nobody had asked");
        return;
    }

    q = ngx_queue_head(&redis->pending);
    call = ngx_queue_data(q, ngx_mcp_redis_call_t, queue);

    ngx_queue_remove(q);

    done = call->done;
    data = call->data;

    ngx_free(call);

    redis->npending--;

    if (done) {
        redis->waiting--;
    }

    ngx_mcp_redis_arm(redis);

    error = ngx_mcp_redis_useless(reply);

    if (error) {
        ngx_mcp_redis_link_code(link, reply);
    }

    if (done) {
        done(data, reply);
    }

    if (error && !redis->destroyed) {
        ngx_mcp_redis_give_up(redis, error);
        ngx_mcp_redis_link_fail(link, error);
    }
}


/*
 * What no further command would fare better with, so that both connections are
 * made again.  All else (NOPERM, OOM, MISCONF, BUSY, WRONGTYPE) concerns only
 * the command.
 */
static const char *
ngx_mcp_redis_useless(redisReply *reply)
{
    ngx_uint_t  i;

    static const struct {
        const char  *code;
        const char  *error;
    } codes[] = {
        { "LOADING", "it is loading its data" },
        { "READONLY", "it became a replica" },
        { "MASTERDOWN", "it became a replica, without a master" },
        { "NOAUTH", "it wants a password" },
        { "CLUSTERDOWN", "it is a cluster, which is not supported" },
        { "MOVED", "it is a cluster, which is not supported" }
    };

    if (reply->type != REDIS_REPLY_ERROR) {
        return NULL;
    }

    for (i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        if (ngx_mcp_redis_is(reply, codes[i].code)) {
            return codes[i].error;
        }
    }

    return NULL;
}


static void
ngx_mcp_redis_lost(ngx_mcp_redis_link_t *link)
{
    ngx_mcp_redis_fail_pending(link->redis);
}


/* Whoever calls holds the client. */
static void
ngx_mcp_redis_fail_pending(ngx_mcp_redis_t *redis)
{
    void                  *data;
    ngx_queue_t           *q;
    ngx_mcp_redis_pt       done;
    ngx_mcp_redis_call_t  *call;

    for (q = ngx_queue_head(&redis->pending);
         q != ngx_queue_sentinel(&redis->pending);
         q = ngx_queue_next(q))
    {
        call = ngx_queue_data(q, ngx_mcp_redis_call_t, queue);
        call->redis = NULL;
    }

    if (!ngx_queue_empty(&redis->pending)) {
        ngx_queue_add(&redis->failed, &redis->pending);
        ngx_queue_init(&redis->pending);
    }

    redis->npending = 0;
    redis->waiting = 0;

    ngx_mcp_redis_arm(redis);

    while (!ngx_queue_empty(&redis->failed)) {
        q = ngx_queue_head(&redis->failed);
        call = ngx_queue_data(q, ngx_mcp_redis_call_t, queue);

        ngx_queue_remove(q);

        done = call->done;
        data = call->data;

        ngx_free(call);

        if (done) {
            done(data, NULL);
        }
    }
}


static void
ngx_mcp_redis_late(ngx_event_t *ev)
{
    ngx_queue_t           *q;
    ngx_mcp_redis_t       *redis;
    ngx_mcp_redis_call_t  *call;

    redis = ev->data;

    if (ngx_queue_empty(&redis->pending)) {
        return;
    }

    q = ngx_queue_head(&redis->pending);
    call = ngx_queue_data(q, ngx_mcp_redis_call_t, queue);

    if ((ngx_msec_int_t) (call->deadline - ngx_current_msec) > 0) {
        ngx_mcp_redis_arm(redis);
        return;
    }

    ngx_mcp_redis_hold(redis);

    ngx_mcp_redis_link_fail(&redis->commands, "no answer in time");

    ngx_mcp_redis_release(redis);
}


/* The timer runs while replies are due; it is looked at again when it fires,
 * and not with each reply. */
static void
ngx_mcp_redis_arm(ngx_mcp_redis_t *redis)
{
    ngx_queue_t           *q;
    ngx_msec_int_t         left;
    ngx_mcp_redis_call_t  *call;

    redis->timer.cancelable = (redis->waiting == 0);

    if (ngx_queue_empty(&redis->pending)) {
        if (redis->timer.timer_set) {
            ngx_del_timer(&redis->timer);
        }

        return;
    }

    if (redis->timer.timer_set) {
        return;
    }

    q = ngx_queue_head(&redis->pending);
    call = ngx_queue_data(q, ngx_mcp_redis_call_t, queue);

    left = (ngx_msec_int_t) (call->deadline - ngx_current_msec);

    ngx_add_timer(&redis->timer, ngx_max(left, 1));
}
