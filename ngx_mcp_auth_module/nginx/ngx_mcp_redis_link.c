/*
 * A connection to Redis and its replies; ngx_mcp_redis_link.h is the contract.
 *
 * Owned here, for one attempt: pool, connection, reader, and what is to be
 * sent.  ngx_mcp_redis_link_close() frees all of it.
 *
 * hiredis bounds nothing: "$500000000" waits for as many bytes, "*100000000"
 * allocates as many pointers.  The functions by which its reader makes replies
 * are wrapped by ours, which count; what is larger than max_reply, with the
 * objects made of it, ends the connection.  So does what RESP2 does not have,
 * and a list in more lists than any answer of ours: hiredis 1.0 and later take
 * any number, and free them by recursion.
 *
 * The text of an error reply is never logged: Redis repeats in it what it was
 * sent, which may be the password.  Its first word is.
 */

#include "ngx_mcp_redis_link.h"
#include "ngx_mcp_compat.h"


#define NGX_MCP_REDIS_RECV      16384   /* bytes at once */
#define NGX_MCP_REDIS_OUT       (1024 * 1024)
#define NGX_MCP_REDIS_OUT_KEEP  (64 * 1024)
#define NGX_MCP_REDIS_REPLIES   64      /* in one turn of the loop */
#define NGX_MCP_REDIS_READS     16      /* likewise */
#define NGX_MCP_REDIS_ARGS      16
#define NGX_MCP_REDIS_DEPTH     8       /* lists in lists */
#define NGX_MCP_REDIS_BACKOFF   100     /* ms, doubling to */
#define NGX_MCP_REDIS_MAX_BACKOFF  5000
#define NGX_MCP_REDIS_GOOD_BACKOFF  1000    /* of a link that was good */
#define NGX_MCP_REDIS_STEADY    5000    /* ms; longer than that: at once */


/* replies to the greeting */
enum {
    NGX_MCP_REDIS_AUTH = 0,
    NGX_MCP_REDIS_SELECT,
    NGX_MCP_REDIS_SETNAME,
    NGX_MCP_REDIS_HELLO,
    NGX_MCP_REDIS_PING
};


static void ngx_mcp_redis_link_timer(ngx_event_t *ev);
static void ngx_mcp_redis_link_connect(ngx_mcp_redis_link_t *link);
static ngx_int_t ngx_mcp_redis_link_target(ngx_mcp_redis_link_t *link);
static void ngx_mcp_redis_link_failed(ngx_mcp_conn_t *conn);
static void ngx_mcp_redis_link_connected(ngx_mcp_conn_t *conn);
static ngx_int_t ngx_mcp_redis_link_reader(ngx_mcp_redis_link_t *link);
static ngx_int_t ngx_mcp_redis_link_greet(ngx_mcp_redis_link_t *link);
static ngx_int_t ngx_mcp_redis_link_greet_one(ngx_mcp_redis_link_t *link,
    ngx_uint_t what, ngx_uint_t argc, ngx_str_t *argv);
static const char *ngx_mcp_redis_link_greeted(ngx_mcp_redis_link_t *link,
    redisReply *reply);
static ngx_uint_t ngx_mcp_redis_link_equal(redisReply *reply,
    const char *text);
static void ngx_mcp_redis_link_ready(ngx_mcp_redis_link_t *link);
static void ngx_mcp_redis_link_write_handler(ngx_event_t *wev);
static ngx_int_t ngx_mcp_redis_link_send(ngx_mcp_redis_link_t *link,
    ngx_mcp_redis_out_t *out);
static void ngx_mcp_redis_link_read_handler(ngx_event_t *rev);
static void ngx_mcp_redis_link_read(ngx_mcp_redis_link_t *link,
    ngx_event_t *rev);
static ngx_int_t ngx_mcp_redis_link_replies(ngx_mcp_redis_link_t *link,
    ngx_uint_t *n);
static ngx_int_t ngx_mcp_redis_link_reply(ngx_mcp_redis_link_t *link,
    redisReply *reply);
static void ngx_mcp_redis_link_close(ngx_mcp_redis_link_t *link);
static ngx_msec_t ngx_mcp_redis_link_backoff(ngx_mcp_redis_link_t *link);
static void ngx_mcp_redis_link_log(ngx_mcp_redis_link_t *link,
    const char *error);
static u_char *ngx_mcp_redis_link_log_error(ngx_log_t *log, u_char *buf,
    size_t len);
static ngx_int_t ngx_mcp_redis_out_add(ngx_mcp_redis_out_t *out,
    ngx_uint_t argc, ngx_str_t *argv, ngx_log_t *log);
static ngx_int_t ngx_mcp_redis_out_append(ngx_mcp_redis_out_t *out,
    const char *data, size_t len, ngx_log_t *log);
static void ngx_mcp_redis_out_free(ngx_mcp_redis_out_t *out);
static ngx_mcp_redis_link_t *ngx_mcp_redis_count(const redisReadTask *task,
    size_t size);
static void *ngx_mcp_redis_create_string(const redisReadTask *task, char *str,
    size_t len);
static void *ngx_mcp_redis_create_array(const redisReadTask *task,
    ngx_mcp_redis_elements_t n);
static void *ngx_mcp_redis_create_integer(const redisReadTask *task,
    long long n);
static void *ngx_mcp_redis_create_nil(const redisReadTask *task);
#if (HIREDIS_MAJOR >= 1)
static void *ngx_mcp_redis_create_double(const redisReadTask *task,
    double value, char *str, size_t len);
static void *ngx_mcp_redis_create_bool(const redisReadTask *task, int value);
#endif


void
ngx_mcp_redis_link_start(ngx_mcp_redis_link_t *link, ngx_log_t *log)
{
    link->log = *log;
    link->state = NGX_MCP_REDIS_DOWN;

    link->timer.handler = ngx_mcp_redis_link_timer;
    link->timer.data = link;
    link->timer.log = &link->log;
    link->timer.cancelable = 1;

    ngx_add_timer(&link->timer, 1);
}


void
ngx_mcp_redis_link_stop(ngx_mcp_redis_link_t *link)
{
    link->state = NGX_MCP_REDIS_STOPPED;

    if (link->timer.timer_set) {
        ngx_del_timer(&link->timer);
    }

    ngx_mcp_redis_link_close(link);
}


static void
ngx_mcp_redis_link_timer(ngx_event_t *ev)
{
    ngx_mcp_redis_t       *redis;
    ngx_mcp_redis_link_t  *link;

    link = ev->data;
    redis = link->redis;

    ngx_mcp_redis_hold(redis);

    if (link->state == NGX_MCP_REDIS_DOWN) {
        ngx_mcp_redis_link_connect(link);

    } else {
        ngx_mcp_redis_link_fail(link, "no answer to the greeting in time");
    }

    ngx_mcp_redis_release(redis);
}


static void
ngx_mcp_redis_link_connect(ngx_mcp_redis_link_t *link)
{
    ngx_mcp_conn_t  *conn;

    link->state = NGX_MCP_REDIS_CONNECTING;
    link->code[0] = '\0';

    /* nginx has lines of its own about a socket: as often as ours */

    link->log = *ngx_cycle->log;
    link->log.handler = ngx_mcp_redis_link_log_error;
    link->log.data = link;
    link->log.connection = 0;

    if (!ngx_mcp_redis_loud(link->redis, NULL)
        && link->log.log_level < NGX_LOG_DEBUG_FIRST)
    {
        link->log.log_level = ngx_min(link->log.log_level, NGX_LOG_ALERT);
    }

    link->pool = ngx_create_pool(1024, &link->log);

    if (link->pool == NULL) {
        ngx_mcp_redis_link_fail(link, "out of memory");
        return;
    }

    conn = &link->conn;
    ngx_memzero(conn, sizeof(ngx_mcp_conn_t));

    conn->pool = link->pool;
    conn->log = &link->log;
    conn->data = link;
    conn->timeout = link->conf->connect_timeout;
    conn->ready = ngx_mcp_redis_link_connected;
    conn->failed = ngx_mcp_redis_link_failed;
    conn->cancelable = 1;

    if (ngx_mcp_redis_link_target(link) != NGX_OK) {
        ngx_mcp_redis_link_fail(link, "out of memory");
        return;
    }

    ngx_mcp_conn_open(conn);
}


static ngx_int_t
ngx_mcp_redis_link_target(ngx_mcp_redis_link_t *link)
{
    ngx_mcp_conn_t        *conn;
    ngx_mcp_redis_conf_t  *rcf;

    conn = &link->conn;
    rcf = link->conf;

    if (rcf->socket) {
        conn->literal = 1;
        conn->addrs = rcf->socket;
        conn->naddrs = 1;

        return NGX_OK;
    }

    conn->host = rcf->host;
    conn->port = rcf->url.port;
    conn->literal = rcf->url.literal;
    conn->name = rcf->name;
    conn->name_literal = rcf->name_literal;
    conn->ssl = rcf->tls ? rcf->conn.ssl : NULL;

    return ngx_mcp_conn_addrs(conn, &rcf->conn);
}


static void
ngx_mcp_redis_link_failed(ngx_mcp_conn_t *conn)
{
    ngx_mcp_redis_t       *redis;
    ngx_mcp_redis_link_t  *link;

    link = conn->data;
    redis = link->redis;

    ngx_mcp_redis_hold(redis);

    ngx_mcp_redis_link_fail(link, conn->error);

    ngx_mcp_redis_release(redis);
}


static void
ngx_mcp_redis_link_connected(ngx_mcp_conn_t *conn)
{
    ngx_connection_t      *c;
    ngx_mcp_redis_t       *redis;
    ngx_mcp_redis_link_t  *link;

    link = conn->data;
    c = conn->connection;
    redis = link->redis;

    ngx_mcp_redis_hold(redis);

    link->state = NGX_MCP_REDIS_GREETING;

    c->data = link;
    c->read->handler = ngx_mcp_redis_link_read_handler;
    c->write->handler = ngx_mcp_redis_link_write_handler;

    ngx_add_timer(&link->timer, link->conf->connect_timeout);

    if (ngx_tcp_nodelay(c) != NGX_OK
        || ngx_mcp_redis_link_reader(link) != NGX_OK
        || ngx_mcp_redis_link_greet(link) != NGX_OK)
    {
        ngx_mcp_redis_link_fail(link, "out of memory");

    } else {

        /* what came with the handshake's last records raises no event */

        if (c->read->ready) {
            ngx_post_event(c->read, &ngx_posted_events);
        }

        ngx_mcp_redis_link_write_handler(c->write);
    }

    ngx_mcp_redis_release(redis);
}


static ngx_int_t
ngx_mcp_redis_link_reader(ngx_mcp_redis_link_t *link)
{
    link->recv = ngx_palloc(link->pool, NGX_MCP_REDIS_RECV);
    if (link->recv == NULL) {
        return NGX_ERROR;
    }

    link->reader = redisReaderCreate();
    if (link->reader == NULL) {
        return NGX_ERROR;
    }

    link->hiredis = link->reader->fn;
    link->functions = *link->hiredis;

    link->functions.createString = ngx_mcp_redis_create_string;
    link->functions.createArray = ngx_mcp_redis_create_array;
    link->functions.createInteger = ngx_mcp_redis_create_integer;
    link->functions.createNil = ngx_mcp_redis_create_nil;

#if (HIREDIS_MAJOR >= 1)
    link->functions.createDouble = ngx_mcp_redis_create_double;
    link->functions.createBool = ngx_mcp_redis_create_bool;
#endif

    link->reader->fn = &link->functions;
    link->reader->privdata = link;
    link->size = 0;

    return NGX_OK;
}


/*
 * All of it at once.  PING comes last: a Redis that is loading its data lets
 * the others pass.
 */
static ngx_int_t
ngx_mcp_redis_link_greet(ngx_mcp_redis_link_t *link)
{
    u_char                 number[NGX_INT_T_LEN];
    ngx_uint_t             n;
    ngx_str_t              args[3];
    ngx_mcp_redis_conf_t  *rcf;

    rcf = link->conf;
    link->nexpect = 0;
    link->greeted = 0;

    if (rcf->password.len) {
        n = 0;
        ngx_str_set(&args[n], "AUTH");

        if (rcf->user.len) {
            args[++n] = rcf->user;
        }

        args[++n] = rcf->password;

        if (ngx_mcp_redis_link_greet_one(link, NGX_MCP_REDIS_AUTH, n + 1, args)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (rcf->database) {
        ngx_str_set(&args[0], "SELECT");
        args[1].data = number;
        args[1].len = ngx_sprintf(number, "%i", rcf->database) - number;

        if (ngx_mcp_redis_link_greet_one(link, NGX_MCP_REDIS_SELECT, 2, args)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    ngx_str_set(&args[0], "CLIENT");
    ngx_str_set(&args[1], "SETNAME");
    args[2].data = (u_char *) link->client_name;
    args[2].len = ngx_strlen(link->client_name);

    if (ngx_mcp_redis_link_greet_one(link, NGX_MCP_REDIS_SETNAME, 3, args)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_str_set(&args[0], "HELLO");
    ngx_str_set(&args[1], "PING");

    if (ngx_mcp_redis_link_greet_one(link, NGX_MCP_REDIS_HELLO, 1, &args[0])
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_mcp_redis_link_greet_one(link, NGX_MCP_REDIS_PING, 1, &args[1]);
}


static ngx_int_t
ngx_mcp_redis_link_greet_one(ngx_mcp_redis_link_t *link, ngx_uint_t what,
    ngx_uint_t argc, ngx_str_t *argv)
{
    link->expect[link->nexpect++] = what;

    return ngx_mcp_redis_out_add(&link->greeting, argc, argv, &link->log);
}


/*
 * NULL: it goes on.  A name and HELLO (which tells whom we speak to) are not
 * worth a failure: an ACL may refuse them, and HELLO is there since Redis 6.
 */
static const char *
ngx_mcp_redis_link_greeted(ngx_mcp_redis_link_t *link, redisReply *reply)
{
    ngx_uint_t  what;

    what = link->expect[link->greeted++];

    if (reply->type == REDIS_REPLY_ERROR) {
        ngx_mcp_redis_link_code(link, reply);

        if (ngx_mcp_redis_is(reply, "NOAUTH")) {
            return "it wants a password";
        }

        if (what == NGX_MCP_REDIS_SETNAME || what == NGX_MCP_REDIS_HELLO) {
            link->code[0] = '\0';
            return NULL;
        }

        if (what == NGX_MCP_REDIS_AUTH) {
            return "it does not accept user and password";
        }

        if (what == NGX_MCP_REDIS_SELECT) {
            return "the database cannot be selected";
        }

        /* a snapshot that cannot be saved forbids writing only */

        return ngx_mcp_redis_is(reply, "MISCONF") ? NULL
                                                  : "it is not ready";
    }

    if (what == NGX_MCP_REDIS_HELLO) {
        return ngx_mcp_redis_hello(reply);
    }

    if (reply->type != REDIS_REPLY_STATUS) {
        return "unexpected answer to the greeting";
    }

    return NULL;
}


/*
 * Names and values in turn.  A replica may have been cut off from its master,
 * and would tell us for ever that nothing new was revoked.
 */
const char *
ngx_mcp_redis_hello(redisReply *reply)
{
    size_t        i;
    redisReply  **e;

    if (reply->type != REDIS_REPLY_ARRAY) {
        return "unexpected answer to the greeting";
    }

    e = reply->element;

    for (i = 0; i + 1 < reply->elements; i += 2) {

        if (ngx_mcp_redis_link_equal(e[i], "role")
            && !ngx_mcp_redis_link_equal(e[i + 1], "master"))
        {
            return "it is a replica, and may not know what was revoked";
        }

        if (ngx_mcp_redis_link_equal(e[i], "mode")
            && !ngx_mcp_redis_link_equal(e[i + 1], "standalone"))
        {
            return "it is a cluster or a sentinel, which are not supported";
        }
    }

    return NULL;
}


static ngx_uint_t
ngx_mcp_redis_link_equal(redisReply *reply, const char *text)
{
    size_t  len;

    len = ngx_strlen(text);

    return (reply->type == REDIS_REPLY_STRING
            || reply->type == REDIS_REPLY_STATUS)
           && reply->len == len
           && ngx_memcmp(reply->str, text, len) == 0;
}


static void
ngx_mcp_redis_link_ready(ngx_mcp_redis_link_t *link)
{
    ngx_uint_t         level;
    ngx_connection_t  *c;

    c = link->conn.connection;
    level = link->failures ? NGX_LOG_NOTICE : NGX_LOG_INFO;

    ngx_del_timer(&link->timer);

    link->state = NGX_MCP_REDIS_READY;
    link->since = ngx_current_msec;
    link->good = 0;
    link->code[0] = '\0';

    ngx_log_error(level, ngx_cycle->log, 0,
                  "mcp_redis \"%V\": connected as \"%s\"",
                  &link->conf->server, link->client_name);

    ngx_post_event(c->write, &ngx_posted_events);

    link->ready(link);
}


ngx_int_t
ngx_mcp_redis_link_write(ngx_mcp_redis_link_t *link, ngx_uint_t argc,
    ngx_str_t *argv)
{
    if (ngx_mcp_redis_out_add(&link->out, argc, argv, &link->log) != NGX_OK) {
        return NGX_ERROR;
    }

    if (link->state == NGX_MCP_REDIS_READY) {
        ngx_post_event(link->conn.connection->write, &ngx_posted_events);
    }

    return NGX_OK;
}


static void
ngx_mcp_redis_link_write_handler(ngx_event_t *wev)
{
    ngx_int_t              rc;
    ngx_connection_t      *c;
    ngx_mcp_redis_t       *redis;
    ngx_mcp_redis_link_t  *link;

    c = wev->data;
    link = c->data;
    redis = link->redis;

    ngx_mcp_redis_hold(redis);

    rc = ngx_mcp_redis_link_send(link, &link->greeting);

    if (rc == NGX_OK && link->state == NGX_MCP_REDIS_READY) {
        rc = ngx_mcp_redis_link_send(link, &link->out);
    }

    if (rc == NGX_ERROR || ngx_handle_write_event(wev, 0) != NGX_OK) {
        ngx_mcp_redis_link_fail(link, "the connection is broken");
    }

    ngx_mcp_redis_release(redis);
}


static ngx_int_t
ngx_mcp_redis_link_send(ngx_mcp_redis_link_t *link, ngx_mcp_redis_out_t *out)
{
    ssize_t            n;
    ngx_connection_t  *c;

    c = link->conn.connection;

    while (out->pos < out->len) {

        n = c->send(c, out->data + out->pos, out->len - out->pos);

        if (n == NGX_AGAIN) {
            return NGX_AGAIN;
        }

        if (n <= 0) {
            return NGX_ERROR;
        }

        out->pos += n;
    }

    if (out->size > NGX_MCP_REDIS_OUT_KEEP || out == &link->greeting) {
        ngx_mcp_redis_out_free(out);
    }

    out->pos = 0;
    out->len = 0;

    return NGX_OK;
}


static void
ngx_mcp_redis_link_read_handler(ngx_event_t *rev)
{
    ngx_connection_t      *c;
    ngx_mcp_redis_t       *redis;
    ngx_mcp_redis_link_t  *link;

    c = rev->data;
    link = c->data;
    redis = link->redis;

    ngx_mcp_redis_hold(redis);

    if (c->close) {

        /* worker_shutdown_timeout: this worker is about to go */

        ngx_mcp_redis_link_fail(link, "the worker is shutting down");

    } else {
        ngx_mcp_redis_link_read(link, rev);
    }

    ngx_mcp_redis_release(redis);
}


/* Until there is no more, or enough for one turn: then it goes on in the next,
 * after the events of others. */
static void
ngx_mcp_redis_link_read(ngx_mcp_redis_link_t *link, ngx_event_t *rev)
{
    ssize_t            n;
    ngx_int_t          rc;
    ngx_uint_t         replies, reads;
    ngx_connection_t  *c;

    c = rev->data;
    replies = 0;

    for (reads = 0; /* void */ ; reads++) {

        rc = ngx_mcp_redis_link_replies(link, &replies);

        if (rc == NGX_DONE) {
            return;
        }

        if (rc == NGX_AGAIN || reads == NGX_MCP_REDIS_READS) {
            ngx_post_event(rev, &ngx_posted_next_events);
            return;
        }

        n = c->recv(c, link->recv, NGX_MCP_REDIS_RECV);

        if (n == NGX_AGAIN) {

            if (ngx_handle_read_event(rev, 0) != NGX_OK) {
                ngx_mcp_redis_link_fail(link, "the connection is broken");
            }

            return;
        }

        if (n == 0 || n == NGX_ERROR) {
            ngx_mcp_redis_link_fail(link,
                                    n ? "the connection is broken"
                                      : "it has closed the connection");
            return;
        }

        if (redisReaderFeed(link->reader, (char *) link->recv, n)
            != REDIS_OK)
        {
            ngx_mcp_redis_link_fail(link, "out of memory");
            return;
        }
    }
}


/* NGX_OK: more bytes are needed; NGX_AGAIN: enough for this turn; NGX_DONE:
 * this connection is gone. */
static ngx_int_t
ngx_mcp_redis_link_replies(ngx_mcp_redis_link_t *link, ngx_uint_t *n)
{
    int           rc;
    void         *reply;
    redisReader  *reader;

    reader = link->reader;

    for ( ;; ) {

        if (*n == NGX_MCP_REDIS_REPLIES) {
            return NGX_AGAIN;
        }

        reply = NULL;
        rc = redisReaderGetReply(reader, &reply);

        if (link->size + (reader->len - reader->pos) > link->conf->max_reply
            && reply == NULL)
        {
            ngx_mcp_redis_link_fail(link, "a reply is larger than max_reply");
            return NGX_DONE;
        }

        if (rc != REDIS_OK) {
            ngx_mcp_redis_link_fail(link, "it does not speak its protocol");
            return NGX_DONE;
        }

        if (reply == NULL) {
            return NGX_OK;
        }

        link->size = 0;
        (*n)++;

        if (ngx_mcp_redis_link_reply(link, reply) != NGX_OK) {
            return NGX_DONE;
        }
    }
}


/* NGX_DONE: this connection is gone. */
static ngx_int_t
ngx_mcp_redis_link_reply(ngx_mcp_redis_link_t *link, redisReply *reply)
{
    const char   *error;
    redisReader  *reader;

    reader = link->reader;

    if (link->state == NGX_MCP_REDIS_READY) {
        link->reply(link, reply);
        freeReplyObject(reply);

    } else {
        error = ngx_mcp_redis_link_greeted(link, reply);
        freeReplyObject(reply);

        if (error) {
            ngx_mcp_redis_link_fail(link, error);

        } else if (link->greeted == link->nexpect) {
            ngx_mcp_redis_link_ready(link);
        }
    }

    return link->reader == reader ? NGX_OK : NGX_DONE;
}


void
ngx_mcp_redis_link_fail(ngx_mcp_redis_link_t *link, const char *error)
{
    if (link->good && ngx_current_msec - link->since >= NGX_MCP_REDIS_STEADY)
    {
        link->failures = 0;

    } else {
        link->failures++;
    }

    ngx_mcp_redis_link_log(link, error);
    ngx_mcp_redis_link_close(link);

    link->state = NGX_MCP_REDIS_DOWN;

    ngx_add_timer(&link->timer, ngx_mcp_redis_link_backoff(link));

    link->good = 0;
    link->lost(link);
}


static void
ngx_mcp_redis_link_close(ngx_mcp_redis_link_t *link)
{
    if (link->timer.timer_set) {
        ngx_del_timer(&link->timer);
    }

    ngx_mcp_conn_close(&link->conn);

    ngx_mcp_redis_out_free(&link->greeting);
    ngx_mcp_redis_out_free(&link->out);

    if (link->reader) {
        redisReaderFree(link->reader);
        link->reader = NULL;
    }

    if (link->pool) {
        ngx_destroy_pool(link->pool);
        link->pool = NULL;
    }
}


/* After a link that was good for a while: at once, or nearly so.  After one
 * that was good at all, not too late: requests may depend on it soon. */
static ngx_msec_t
ngx_mcp_redis_link_backoff(ngx_mcp_redis_link_t *link)
{
    ngx_msec_t  delay, max;

    if (link->failures == 0) {
        return 1 + ngx_random() % 20;
    }

    delay = NGX_MCP_REDIS_BACKOFF << ngx_min(link->failures - 1, 6);
    max = link->good ? NGX_MCP_REDIS_GOOD_BACKOFF : NGX_MCP_REDIS_MAX_BACKOFF;
    delay = ngx_min(delay, max);

    return delay - ngx_random() % (delay / 4);
}


static void
ngx_mcp_redis_link_log(ngx_mcp_redis_link_t *link, const char *error)
{
    ngx_err_t    err;
    ngx_uint_t   level;
    const char  *detail;

    err = 0;
    detail = (char *) link->code;

    if (error == link->conn.error) {
        err = link->conn.err;
        detail = link->conn.detail ? link->conn.detail : "";
    }

    level = !ngx_exiting && ngx_mcp_redis_loud(link->redis, error)
            ? NGX_LOG_ERR : NGX_LOG_INFO;

    ngx_log_error(level, ngx_cycle->log, err, "mcp_redis \"%V\": %s%s%s%s",
                  &link->conf->server, error, *detail ? " (" : "", detail,
                  *detail ? ")" : "");
}


/* For nginx's own lines about the socket. */
static u_char *
ngx_mcp_redis_link_log_error(ngx_log_t *log, u_char *buf, size_t len)
{
    ngx_mcp_redis_link_t  *link;

    link = log->data;

    return ngx_snprintf(buf, len, " of mcp_redis \"%V\"",
                        &link->conf->server);
}


void
ngx_mcp_redis_link_code(ngx_mcp_redis_link_t *link, redisReply *reply)
{
    size_t  i;

    for (i = 0; i < reply->len && i < NGX_MCP_REDIS_CODE - 1; i++) {

        if (reply->str[i] < 'A' || reply->str[i] > 'Z') {
            break;
        }

        link->code[i] = reply->str[i];
    }

    link->code[i] = '\0';
}


ngx_uint_t
ngx_mcp_redis_is(redisReply *reply, const char *code)
{
    size_t  len;

    len = ngx_strlen(code);

    return reply->type == REDIS_REPLY_ERROR
           && reply->len >= len
           && ngx_memcmp(reply->str, code, len) == 0
           && (reply->len == len || reply->str[len] == ' ');
}


/* hiredis formats into memory of its own, which may hold a secret. */
static ngx_int_t
ngx_mcp_redis_out_add(ngx_mcp_redis_out_t *out, ngx_uint_t argc,
    ngx_str_t *argv, ngx_log_t *log)
{
    int          n;
    char        *command;
    size_t       lens[NGX_MCP_REDIS_ARGS];
    ngx_int_t    rc;
    ngx_uint_t   i;
    const char  *args[NGX_MCP_REDIS_ARGS];

    if (argc > NGX_MCP_REDIS_ARGS) {
        return NGX_ERROR;
    }

    for (i = 0; i < argc; i++) {
        args[i] = (char *) argv[i].data;
        lens[i] = argv[i].len;
    }

    command = NULL;
    n = (int) redisFormatCommandArgv(&command, argc, args, lens);

    if (n < 0 || command == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_mcp_redis_out_append(out, command, n, log);

    ngx_explicit_memzero(command, n);
    redisFreeCommand(command);

    return rc;
}


static ngx_int_t
ngx_mcp_redis_out_append(ngx_mcp_redis_out_t *out, const char *data,
    size_t len, ngx_log_t *log)
{
    u_char               *p;
    size_t                left;
    ngx_mcp_redis_out_t   bigger;

    left = out->len - out->pos;

    if (len > NGX_MCP_REDIS_OUT - left) {
        return NGX_ERROR;
    }

    if (len > out->size - out->len) {

        bigger.size = ngx_max(2 * (left + len), 1024);
        bigger.pos = 0;
        bigger.len = left;

        p = ngx_alloc(bigger.size, log);
        if (p == NULL) {
            return NGX_ERROR;
        }

        bigger.data = p;

        if (left) {
            ngx_memcpy(p, out->data + out->pos, left);
        }

        ngx_mcp_redis_out_free(out);
        *out = bigger;
    }

    ngx_memcpy(out->data + out->len, data, len);
    out->len += len;

    return NGX_OK;
}


static void
ngx_mcp_redis_out_free(ngx_mcp_redis_out_t *out)
{
    if (out->data) {
        ngx_explicit_memzero(out->data, out->size);
        ngx_free(out->data);
    }

    ngx_memzero(out, sizeof(ngx_mcp_redis_out_t));
}


/* NULL when the reply becomes too large, or is of a type of RESP3: hiredis then
 * reports that it has no memory for it. */
static ngx_mcp_redis_link_t *
ngx_mcp_redis_count(const redisReadTask *task, size_t size)
{
    ngx_mcp_redis_link_t  *link;

    link = task->privdata;
    link->size += sizeof(redisReply) + size;

    if (task->type > REDIS_REPLY_ERROR) {
        return NULL;
    }

    return link->size > link->conf->max_reply ? NULL : link;
}


static void *
ngx_mcp_redis_create_string(const redisReadTask *task, char *str, size_t len)
{
    ngx_mcp_redis_link_t  *link;

    link = ngx_mcp_redis_count(task, len);

    return link ? link->hiredis->createString(task, str, len) : NULL;
}


static void *
ngx_mcp_redis_create_array(const redisReadTask *task,
    ngx_mcp_redis_elements_t n)
{
    ngx_uint_t             depth;
    const redisReadTask   *parent;
    ngx_mcp_redis_link_t  *link;

    depth = 0;

    for (parent = task->parent; parent; parent = parent->parent) {
        if (++depth == NGX_MCP_REDIS_DEPTH) {
            return NULL;
        }
    }

    link = ngx_mcp_redis_count(task, n > 0 ? n * sizeof(redisReply *) : 0);

    return link ? link->hiredis->createArray(task, n) : NULL;
}


static void *
ngx_mcp_redis_create_integer(const redisReadTask *task, long long n)
{
    ngx_mcp_redis_link_t  *link;

    link = ngx_mcp_redis_count(task, 0);

    return link ? link->hiredis->createInteger(task, n) : NULL;
}


static void *
ngx_mcp_redis_create_nil(const redisReadTask *task)
{
    ngx_mcp_redis_link_t  *link;

    link = ngx_mcp_redis_count(task, 0);

    return link ? link->hiredis->createNil(task) : NULL;
}


#if (HIREDIS_MAJOR >= 1)

/* types of RESP3, which nobody asked for */

static void *
ngx_mcp_redis_create_double(const redisReadTask *task, double value,
    char *str, size_t len)
{
    return NULL;
}


static void *
ngx_mcp_redis_create_bool(const redisReadTask *task, int value)
{
    return NULL;
}

#endif
