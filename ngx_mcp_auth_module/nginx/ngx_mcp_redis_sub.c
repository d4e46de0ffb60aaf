/*
 * The subscribed connection of a Redis client.
 *
 * After SUBSCRIBE was confirmed, PING goes out once a second, numbered, one at
 * a time.  Redis answers in order: when the PONG is there, all that was
 * published before its PING was sent has come.  No PONG within the timeout: the
 * connection is given up, and who subscribed hears that it is down.
 *
 * None of the timers keeps a worker that leaves.
 */

#include "ngx_mcp_redis_private.h"


#define NGX_MCP_REDIS_PING_INTERVAL  1000       /* ms */


static void ngx_mcp_redis_sub_ready(ngx_mcp_redis_link_t *link);
static void ngx_mcp_redis_sub_reply(ngx_mcp_redis_link_t *link,
    redisReply *reply);
static void ngx_mcp_redis_sub_up(ngx_mcp_redis_t *redis);
static void ngx_mcp_redis_sub_pong(ngx_mcp_redis_t *redis);
static void ngx_mcp_redis_sub_lost(ngx_mcp_redis_link_t *link);
static void ngx_mcp_redis_sub_timer(ngx_event_t *ev);
static void ngx_mcp_redis_sub_ping(ngx_mcp_redis_t *redis);
static ngx_uint_t ngx_mcp_redis_sub_is(redisReply *reply, ngx_uint_t n,
    const char *kind, ngx_str_t *text);


void
ngx_mcp_redis_subscribe(ngx_mcp_redis_t *redis, ngx_str_t *channel,
    ngx_mcp_redis_subscriber_t *subscriber)
{
    ngx_mcp_redis_sub_t   *sub;
    ngx_mcp_redis_link_t  *link;

    sub = &redis->sub;

    sub->channel = *channel;
    sub->subscriber = *subscriber;

    sub->timer.handler = ngx_mcp_redis_sub_timer;
    sub->timer.data = redis;
    sub->timer.log = redis->log;
    sub->timer.cancelable = 1;

    link = &sub->link;
    link->redis = redis;
    link->conf = redis->conf;
    link->client_name = "mcp-auth-events";
    link->ready = ngx_mcp_redis_sub_ready;
    link->reply = ngx_mcp_redis_sub_reply;
    link->lost = ngx_mcp_redis_sub_lost;

    ngx_mcp_redis_link_start(link, redis->log);
}


void
ngx_mcp_redis_unsubscribe(ngx_mcp_redis_t *redis)
{
    if (redis->sub.timer.timer_set) {
        ngx_del_timer(&redis->sub.timer);
    }

    if (redis->sub.link.redis) {
        ngx_mcp_redis_link_stop(&redis->sub.link);
    }
}


void
ngx_mcp_redis_give_up(ngx_mcp_redis_t *redis, const char *error)
{
    if (redis->sub.link.state == NGX_MCP_REDIS_READY) {
        ngx_mcp_redis_link_fail(&redis->sub.link, error);
    }
}


static void
ngx_mcp_redis_sub_ready(ngx_mcp_redis_link_t *link)
{
    ngx_str_t             args[2];
    ngx_mcp_redis_sub_t  *sub;

    sub = &link->redis->sub;
    sub->up = 0;
    sub->pinged = 0;

    ngx_str_set(&args[0], "SUBSCRIBE");
    args[1] = sub->channel;

    if (ngx_mcp_redis_link_write(link, 2, args) != NGX_OK) {
        ngx_mcp_redis_link_fail(link, "out of memory");
        return;
    }

    ngx_add_timer(&sub->timer, link->conf->timeout);
}


static void
ngx_mcp_redis_sub_reply(ngx_mcp_redis_link_t *link, redisReply *reply)
{
    ngx_str_t             text, number;
    ngx_mcp_redis_t      *redis;
    ngx_mcp_redis_sub_t  *sub;

    redis = link->redis;
    sub = &redis->sub;

    if (reply->type == REDIS_REPLY_ERROR) {
        ngx_mcp_redis_link_code(link, reply);
        ngx_mcp_redis_link_fail(link, "it does not let us subscribe");
        return;
    }

    if (!sub->up) {

        if (ngx_mcp_redis_sub_is(reply, 3, "subscribe", &sub->channel)) {
            ngx_mcp_redis_sub_up(redis);
            return;
        }

        ngx_mcp_redis_link_fail(link, "it does not let us subscribe");
        return;
    }

    if (ngx_mcp_redis_sub_is(reply, 3, "message", &sub->channel)
        && reply->element[2]->type == REDIS_REPLY_STRING)
    {
        text.data = (u_char *) reply->element[2]->str;
        text.len = reply->element[2]->len;

        sub->subscriber.message(sub->subscriber.data, &text);
        return;
    }

    number.data = sub->number;
    number.len = sub->number_len;

    if (sub->pinged && ngx_mcp_redis_sub_is(reply, 2, "pong", &number)) {
        ngx_mcp_redis_sub_pong(redis);
        return;
    }

    ngx_mcp_redis_link_fail(link, "unexpected message on the subscription");
}


static void
ngx_mcp_redis_sub_up(ngx_mcp_redis_t *redis)
{
    ngx_mcp_redis_sub_t  *sub;

    sub = &redis->sub;
    sub->up = 1;
    sub->link.good = 1;

    ngx_mcp_redis_sub_ping(redis);

    if (sub->up) {
        sub->subscriber.up(sub->subscriber.data);
    }
}


static void
ngx_mcp_redis_sub_pong(ngx_mcp_redis_t *redis)
{
    ngx_msec_int_t        left;
    ngx_mcp_redis_sub_t  *sub;

    sub = &redis->sub;
    sub->pinged = 0;

    left = (ngx_msec_int_t) (sub->sent + NGX_MCP_REDIS_PING_INTERVAL
                             - ngx_current_msec);

    ngx_del_timer(&sub->timer);
    ngx_add_timer(&sub->timer, ngx_max(left, 1));

    sub->subscriber.alive(sub->subscriber.data, sub->sent);
}


static void
ngx_mcp_redis_sub_lost(ngx_mcp_redis_link_t *link)
{
    ngx_mcp_redis_sub_t  *sub;

    sub = &link->redis->sub;

    if (sub->timer.timer_set) {
        ngx_del_timer(&sub->timer);
    }

    if (sub->up) {
        sub->up = 0;
        sub->subscriber.down(sub->subscriber.data);
    }
}


static void
ngx_mcp_redis_sub_timer(ngx_event_t *ev)
{
    ngx_mcp_redis_t      *redis;
    ngx_mcp_redis_sub_t  *sub;

    redis = ev->data;
    sub = &redis->sub;

    ngx_mcp_redis_hold(redis);

    if (sub->up && !sub->pinged) {
        ngx_mcp_redis_sub_ping(redis);

    } else {
        ngx_mcp_redis_link_fail(&sub->link,
                                sub->up ? "no PONG in time"
                                        : "no answer to SUBSCRIBE in time");
    }

    ngx_mcp_redis_release(redis);
}


static void
ngx_mcp_redis_sub_ping(ngx_mcp_redis_t *redis)
{
    ngx_str_t             args[2];
    ngx_mcp_redis_sub_t  *sub;

    sub = &redis->sub;

    sub->pinged = 1;
    sub->sent = ngx_current_msec;
    sub->number_len = ngx_sprintf(sub->number, "%ui", ++sub->pings)
                      - sub->number;

    ngx_str_set(&args[0], "PING");
    args[1].data = sub->number;
    args[1].len = sub->number_len;

    if (ngx_mcp_redis_link_write(&sub->link, 2, args) != NGX_OK) {
        ngx_mcp_redis_link_fail(&sub->link, "out of memory");
        return;
    }

    ngx_add_timer(&sub->timer, redis->conf->timeout);
}


/* An array of n whose first element is kind and whose second one is text. */
static ngx_uint_t
ngx_mcp_redis_sub_is(redisReply *reply, ngx_uint_t n, const char *kind,
    ngx_str_t *text)
{
    size_t        len;
    redisReply  **e;

    len = ngx_strlen(kind);

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != n) {
        return 0;
    }

    e = reply->element;

    return e[0]->type == REDIS_REPLY_STRING
           && e[0]->len == len
           && ngx_memcmp(e[0]->str, kind, len) == 0
           && e[1]->type == REDIS_REPLY_STRING
           && e[1]->len == text->len
           && ngx_memcmp(e[1]->str, text->data, text->len) == 0;
}
