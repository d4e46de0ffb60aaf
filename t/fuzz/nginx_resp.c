/*
 * What Redis says, by whom nothing is believed: the client of
 * nginx/ngx_mcp_redis*.c with hiredis's reader behind it, and those who ask it
 * for records of tokens and credentials, on connections that give the input.
 *
 * - Every command that was sent is answered exactly once, whatever comes and
 *   however it is cut; one that was cancelled never.
 * - Nobody is given a record that is none: a version, a state, sealed tokens.
 * - The bytes of a reply are not needed any more after it was given.
 * - Afterwards nothing is left: no block, no timer, no event.
 *
 * Input: a byte that cuts, a byte: which commands are cancelled; the bytes of
 * the first connection (commands), and behind "---" those of the second one
 * (subscription).  The greeting comes first on each.
 */

#include "ngx_fuzz.h"
#include "ngx_mcp_module.h"
#include "ngx_mcp_redis.h"
#include "ngx_mcp_store_redis.h"
#include "ngx_mcp_token_redis.h"


#define CALLS  5


typedef struct {
    ngx_connection_t         c;
    ngx_event_t              read;
    ngx_event_t              write;
    const uint8_t           *pos;
    const uint8_t           *end;
    ngx_mcp_conn_t          *conn;
} peer_t;

struct ngx_mcp_store_call_s {
    ngx_mcp_redis_call_t    *redis;
    ngx_mcp_store_pt         done;
    void                    *data;
};


static peer_t                  peers[2];
static ngx_uint_t              npeers;
static unsigned                cut, seed;
static ngx_mcp_redis_conf_t    rcf;
static ngx_mcp_main_conf_t     mmcf;
static ngx_uint_t              asked, answered, messages, ups, downs;


/* The connections: made at once, twice at most; then there is no Redis. */

static ssize_t
peer_recv(ngx_connection_t *c, u_char *buf, size_t size)
{
    size_t   n;
    peer_t  *p = (peer_t *) c;

    if (p->pos == p->end) {
        return 0;
    }

    n = fz_piece(cut, &seed, (size_t) (p->end - p->pos));
    n = n < size ? n : size;
    memcpy(buf, p->pos, n);
    p->pos += n;

    return (ssize_t) n;
}


static ssize_t
peer_send(ngx_connection_t *c, u_char *buf, size_t size)
{
    CHECK(size > 0 && buf[0] == '*');

    return (ssize_t) size;
}


void
ngx_mcp_conn_open(ngx_mcp_conn_t *conn)
{
    peer_t  *p;

    if (npeers == fz_count(peers)) {
        conn->error = "refused";
        conn->failed(conn);
        return;
    }

    p = &peers[npeers++];

    p->c.read = &p->read;
    p->c.write = &p->write;
    p->c.recv = peer_recv;
    p->c.send = peer_send;
    p->c.log = &fz_log;
    p->read.data = &p->c;
    p->read.log = &fz_log;
    p->read.ready = 1;
    p->write.data = &p->c;
    p->write.log = &fz_log;
    p->write.write = 1;
    p->write.ready = 1;
    p->conn = conn;

    conn->connection = &p->c;
    conn->ready(conn);
}


void
ngx_mcp_conn_close(ngx_mcp_conn_t *conn)
{
    ngx_connection_t  *c;

    c = conn->connection;

    if (c == NULL) {
        return;
    }

    if (c->read->posted) {
        ngx_delete_posted_event(c->read);
    }

    if (c->write->posted) {
        ngx_delete_posted_event(c->write);
    }

    ((peer_t *) c)->conn = NULL;
    conn->connection = NULL;
}


ngx_int_t
ngx_mcp_conn_addrs(ngx_mcp_conn_t *conn, const ngx_mcp_conn_conf_t *cc)
{
    return NGX_OK;
}


ngx_int_t
ngx_mcp_redis_key(ngx_mcp_redis_conf_t *conf, ngx_pool_t *pool,
    const char *name, ngx_str_t *suffix, ngx_str_t *key)
{
    CHECK(suffix == NULL);

    key->len = conf->prefix.len + ngx_strlen(name);
    key->data = ngx_pnalloc(pool, key->len + 1);
    CHECK(key->data != NULL);
    (void) ngx_sprintf(key->data, "%V%s%Z", &conf->prefix, name);

    return NGX_OK;
}


ngx_int_t
ngx_tcp_nodelay(ngx_connection_t *c)
{
    return NGX_OK;
}


ngx_int_t
ngx_handle_read_event(ngx_event_t *rev, ngx_uint_t flags)
{
    return NGX_OK;
}


ngx_int_t
ngx_handle_write_event(ngx_event_t *wev, size_t lowat)
{
    return NGX_OK;
}


/* As in ngx_mcp_store.c. */

ngx_mcp_store_call_t *
ngx_mcp_store_call(ngx_mcp_store_pt done, void *data)
{
    ngx_mcp_store_call_t  *sc;

    sc = ngx_calloc(sizeof(ngx_mcp_store_call_t), &fz_log);
    CHECK(sc != NULL);
    sc->done = done;
    sc->data = data;

    return sc;
}


ngx_mcp_redis_call_t **
ngx_mcp_store_redis_call(ngx_mcp_store_call_t *sc)
{
    return &sc->redis;
}


void
ngx_mcp_store_answer(ngx_mcp_store_call_t *sc, ngx_mcp_store_e rc,
    ngx_mcp_record_t *record)
{
    void              *data;
    ngx_mcp_store_pt   done;

    done = sc->done;
    data = sc->data;
    ngx_free(sc);
    done(data, rc, record);
}


/* Who asks. */

typedef struct {
    ngx_mcp_store_call_t  *call;
    ngx_uint_t             lock;
    ngx_uint_t             done;
    ngx_uint_t             cancelled;
} ask_t;


static void
read_all(const ngx_str_t *s)
{
    size_t             i;
    volatile unsigned  sum = 0;

    for (i = 0; i < s->len; i++) {
        sum += s->data[i];
    }

    (void) sum;
}


static void
on_record(void *data, ngx_mcp_store_e rc, ngx_mcp_record_t *record)
{
    ask_t  *ask = data;

    CHECK(!ask->done && !ask->cancelled);
    ask->done = 1;
    ask->call = NULL;
    answered++;

    switch (rc) {

    case NGX_MCP_STORE_OK:
        if (record && (record->version || !ask->lock)) {
            CHECK(record->version > 0 && record->state.data != NULL);
            CHECK(record->tokens.data != NULL && record->expires >= 0);
        }

        break;

    case NGX_MCP_STORE_CONFLICT:
    case NGX_MCP_STORE_HELD:
        CHECK(record != NULL);
        break;

    default:
        CHECK(record == NULL);
        return;
    }

    if (record) {
        read_all(&record->state);
        read_all(&record->tokens);
        read_all(&record->meta);
        read_all(&record->flight);
    }
}


static void
on_token(void *data, ngx_mcp_token_answer_e answer, ngx_str_t *line)
{
    ask_t  *ask = data;

    CHECK(!ask->done && !ask->cancelled);
    ask->done = 1;
    answered++;
    CHECK((answer == NGX_MCP_TOKEN_FOUND) == (line != NULL));

    if (line) {
        read_all(line);
    }
}


static void
on_message(void *data, ngx_str_t *payload)
{
    CHECK(ups == downs + 1);
    messages++;
    read_all(payload);
}


static void
on_up(void *data)
{
    CHECK(ups == downs);
    ups++;
}


static void
on_down(void *data)
{
    downs++;
    CHECK(ups == downs);
}


static void
on_alive(void *data, ngx_msec_t when)
{
    CHECK(ups == downs + 1);
}


static void
run_events(ngx_queue_t *posted)
{
    ngx_queue_t  *q;
    ngx_event_t  *ev;

    while (!ngx_queue_empty(posted)) {
        q = ngx_queue_head(posted);
        ev = ngx_queue_data(q, ngx_event_t, queue);
        ngx_delete_posted_event(ev);
        ev->handler(ev);
    }
}


static void
turn(ngx_msec_t ms)
{
    ngx_uint_t  i;

    ngx_current_msec += ms;
    ngx_event_expire_timers();

    for (i = 0; i < npeers; i++) {
        if (peers[i].conn && !peers[i].read.posted) {
            ngx_post_event(&peers[i].read, &ngx_posted_events);
        }
    }

    run_events(&ngx_posted_events);

    while (!ngx_queue_empty(&ngx_posted_next_events)) {
        ngx_queue_t  *q = ngx_queue_head(&ngx_posted_next_events);
        ngx_event_t  *ev = ngx_queue_data(q, ngx_event_t, queue);

        ngx_delete_posted_event(ev);
        ngx_post_event(ev, &ngx_posted_events);
    }
}


static void
ask_all(ask_t *asks, ngx_mcp_token_ask_t *token)
{
    u_char            name[] = "0123456789abcdef0123456789abcdef";
    u_char            hashes[2][MCP_ACCESS_KEY_HASH];
    ngx_str_t         owner = ngx_string("owner-1");
    mcp_str_t         id = mcp_string("pat-0123456789AB");
    ngx_mcp_record_t  record;

    ngx_memzero(&record, sizeof(record));
    ngx_str_set(&record.state, "active");
    ngx_str_set(&record.tokens, "sealed");
    ngx_str_set(&record.meta, "meta");
    ngx_memset(hashes, 0x11, sizeof(hashes));

    token->done = on_token;
    token->data = &asks[0];
    asked += ngx_mcp_token_redis_find(&mmcf, hashes, 2, token) == NGX_AGAIN;

    asked += ngx_mcp_store_redis_read(&mmcf, name, on_record, &asks[1],
                                      &asks[1].call)
             == NGX_AGAIN;
    asks[2].lock = 1;
    asked += ngx_mcp_store_redis_lock(&mmcf, name, &owner, 1000, 1, on_record,
                                      &asks[2], &asks[2].call)
             == NGX_AGAIN;
    asks[3].lock = 1;
    asked += ngx_mcp_store_redis_write(&mmcf, name, &owner, 4, &record, 100,
                                       on_record, &asks[3], &asks[3].call)
             == NGX_AGAIN;

    ngx_mcp_store_redis_unlock(&mmcf, name, &owner, NULL, 0);
    ngx_mcp_store_redis_used(&mmcf, name, 1700000000);
    ngx_mcp_token_redis_used(&mmcf, &id);
    ngx_mcp_redis_probe(mmcf.redis_client);

    asks[4].lock = 0;
    asked += ngx_mcp_store_redis_read(&mmcf, name, on_record, &asks[4],
                                      &asks[4].call)
             == NGX_AGAIN;
}


/* One that does not wait any more; its block is the owner's to free. */

static void
cancel(ask_t *asks, ngx_mcp_token_ask_t *token, unsigned which)
{
    ngx_uint_t  i;

    if (which & 1 && token->query) {
        ngx_mcp_token_redis_cancel(token);
        asks[0].cancelled = 1;
        asked--;
    }

    for (i = 1; i < CALLS; i++) {
        if (which & 1u << i && asks[i].call) {
            ngx_mcp_redis_cancel(asks[i].call->redis);
            ngx_free(asks[i].call);
            asks[i].call = NULL;
            asks[i].cancelled = 1;
            asked--;
        }
    }
}


static void
client(fz_in_t *in)
{
    ask_t                        asks[CALLS];
    unsigned                     i, which;
    const uint8_t               *dashes;
    ngx_str_t                    channel = ngx_string("mcp:events");
    ngx_pool_t                  *pool;
    ngx_mcp_token_ask_t          token;
    ngx_mcp_redis_subscriber_t   sub = {
        on_up, on_message, on_alive, on_down, NULL
    };

    ngx_memzero(asks, sizeof(asks));
    ngx_memzero(&token, sizeof(token));
    ngx_memzero(peers, sizeof(peers));
    npeers = asked = answered = messages = ups = downs = 0;
    seed = 0;

    cut = fz_byte(in);
    which = fz_byte(in);

    dashes = in->pos < in->end
             ? memmem(in->pos, (size_t) (in->end - in->pos), "---", 3) : NULL;

    peers[0].pos = in->pos;
    peers[0].end = dashes ? dashes : in->end;
    peers[1].pos = dashes ? dashes + 3 : in->end;
    peers[1].end = in->end;

    pool = ngx_create_pool(1024, &fz_log);
    CHECK(pool != NULL);
    fz_cycle.pool = pool;

    mmcf.redis = &rcf;
    mmcf.redis_client = ngx_mcp_redis_create(&rcf, &fz_cycle);
    CHECK(mmcf.redis_client != NULL);
    CHECK(ngx_mcp_token_redis_init_worker(&fz_cycle, &mmcf) == NGX_OK);

    ask_all(asks, &token);
    turn(2);

    ngx_mcp_redis_subscribe(mmcf.redis_client, &channel, &sub);

    for (i = 0; i < 40; i++) {
        turn(2);

        if (i == which >> 5) {
            cancel(asks, &token, which);
        }
    }

    /* what nobody answered ends in time */

    turn(6000);
    turn(6000);

    if (token.query) {
        ngx_mcp_token_redis_cancel(&token);
        asked--;
    }

    ngx_mcp_token_redis_exit_worker(&mmcf);
    ngx_mcp_redis_destroy(mmcf.redis_client);

    CHECK(asked == answered);
    CHECK(ngx_queue_empty(&ngx_posted_events));
    CHECK(ngx_queue_empty(&ngx_posted_next_events));
    CHECK(ngx_event_no_timers_left() == NGX_OK);
    CHECK(ngx_event_timer_rbtree.root == ngx_event_timer_rbtree.sentinel);

    ngx_destroy_pool(pool);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fz_in_t             in;
    static ngx_uint_t   ready;

    if (!ready) {
        ready = 1;
        fz_nginx_init();
        ngx_str_set(&rcf.server, "127.0.0.1:6379");
        ngx_str_set(&rcf.prefix, "mcp:");
        ngx_str_set(&rcf.host, "127.0.0.1");
        rcf.timeout = 1000;
        rcf.connect_timeout = 1000;
        rcf.max_reply = 65536;
    }

    in = fz_in(data, size);
    client(&in);

    return 0;
}
