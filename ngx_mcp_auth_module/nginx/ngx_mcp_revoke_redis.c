/*
 * Revocations in Redis: what a worker does to keep the table current.
 *
 * It is subscribed before it loads: what is published meanwhile comes, what was
 * written before is in the hash.  A load is a whole HSCAN; every line is merged
 * into the table, then the table counts as loaded, and each PONG of the
 * subscription confirms it.  Loads are repeated every 30 s, after each
 * reconnect, and when the table lost something; when none succeeds for long,
 * a PONG confirms nothing any more.
 *
 * A load remembers which stamps Redis has.  What the table has, and Redis lacks
 * or has older, is put back afterwards: an emptied Redis takes no revocation
 * away.  The script does nothing when somebody else was faster.
 *
 * An entry that cannot be understood may be the revocation of anybody.  The
 * others are merged, and the table is not confirmed any more: after
 * revocation_stale nobody passes, and error.log names the field.
 *
 * Each worker of each gateway does all of this for itself; the same line twice
 * does no harm.  One HSCAN or so many EVALs are under way at a time.  No timer
 * of this keeps a worker that leaves.
 */

#include "ngx_mcp_revoke_redis.h"
#include "ngx_mcp_revoke.h"
#include "ngx_mcp_tree.h"
#include "ngx_mcp_ending.h"


#define NGX_MCP_REVOKE_RECONCILE  30000     /* ms between two loads */
#define NGX_MCP_REVOKE_OLD        90000     /* ms; a load, which then is not
                                               worth a confirmation any more */
#define NGX_MCP_REVOKE_RETRY      200       /* ms; Redis is down */
#define NGX_MCP_REVOKE_AGAIN      1000      /* ms; a message is missing */
#define NGX_MCP_REVOKE_BROKEN     5000      /* ms; what is there is broken */
#define NGX_MCP_REVOKE_LONG       60000     /* ms that a load may take */
#define NGX_MCP_REVOKE_COUNT      500       /* entries of an HSCAN */
#define NGX_MCP_REVOKE_ENTRY      8192      /* bytes of a large entry */
#define NGX_MCP_REVOKE_CURSOR     20        /* digits */
#define NGX_MCP_REVOKE_ROUNDS     16        /* of ngx_mcp_revoke_each() in one
                                               turn of the loop */
#define NGX_MCP_REVOKE_QUIET      60000     /* ms between two complaints */


/* what Redis has */
typedef struct {
    ngx_mcp_tree_node_t       node;
    uint64_t                  stamp;
} ngx_mcp_revoke_have_t;


struct ngx_mcp_revoke_redis_s {
    ngx_mcp_main_conf_t      *mmcf;
    ngx_mcp_redis_t          *redis;
    ngx_str_t                 hash;         /* keys */
    ngx_str_t                 channel;
    ngx_event_t               timer;        /* the next load */
    ngx_msec_t                last;         /* began, of those that succeeded */
    const char               *complaint;    /* the last one, */
    ngx_msec_t                said;         /* and when */

    /* the load under way */
    ngx_pool_t               *pool;         /* NULL: none */
    ngx_rbtree_t              have;
    ngx_rbtree_node_t         sentinel;
    uint64_t                  epoch;
    ngx_msec_t                when;         /* it began */
    ngx_mcp_redis_call_t     *scan;
    u_char                    cursor[NGX_MCP_REVOKE_CURSOR];
    size_t                    cursor_len;

    /* putting back */
    uint64_t                  position;
    ngx_uint_t                evals;        /* under way */
    ngx_uint_t                put;

    unsigned                  subscribed:1;
    unsigned                  loaded:1;     /* since it is subscribed */
    unsigned                  again:1;      /* after the load under way */
    unsigned                  broken:1;     /* an entry of this load */
    unsigned                  filling:1;    /* the load is over, its pool is
                                               for putting back */
    unsigned                  failed:1;     /* to put back */
};


/* memory for the strings of one line: never more than its length, and a byte
 * for each */
typedef struct {
    size_t                    used;
    u_char                    data[MCP_REVOCATION_LINE + 64];
} ngx_mcp_revoke_scratch_t;


static void ngx_mcp_revoke_up(void *data);
static void ngx_mcp_revoke_down(void *data);
static void ngx_mcp_revoke_message(void *data, ngx_str_t *payload);
static void ngx_mcp_revoke_alive(void *data, ngx_msec_t when);

static void ngx_mcp_revoke_timer(ngx_event_t *ev);
static void ngx_mcp_revoke_plan(ngx_mcp_revoke_redis_t *rr, ngx_msec_t delay);
static void ngx_mcp_revoke_load(ngx_mcp_revoke_redis_t *rr);
static ngx_int_t ngx_mcp_revoke_scan(ngx_mcp_revoke_redis_t *rr);
static void ngx_mcp_revoke_scanned(void *data, redisReply *reply);
static ngx_int_t ngx_mcp_revoke_page(ngx_mcp_revoke_redis_t *rr,
    redisReply *reply);
static ngx_int_t ngx_mcp_revoke_entry(ngx_mcp_revoke_redis_t *rr,
    redisReply *field, redisReply *value);
static ngx_int_t ngx_mcp_revoke_have(ngx_mcp_revoke_redis_t *rr,
    mcp_revocation_t *r);
static void ngx_mcp_revoke_complete(ngx_mcp_revoke_redis_t *rr);
static void ngx_mcp_revoke_abort(ngx_mcp_revoke_redis_t *rr,
    ngx_msec_t delay);

static void ngx_mcp_revoke_fill(ngx_mcp_revoke_redis_t *rr);
static void ngx_mcp_revoke_put(void *data, const mcp_revocation_t *r);
static void ngx_mcp_revoke_was_put(void *data, redisReply *reply);
static void ngx_mcp_revoke_filled(ngx_mcp_revoke_redis_t *rr);

static ngx_int_t ngx_mcp_revoke_parse(u_char *p, size_t len,
    ngx_mcp_revoke_scratch_t *scratch, mcp_revocation_t *r,
    const char **error);
static void *ngx_mcp_revoke_scratch(void *ctx, size_t size);
static void ngx_mcp_revoke_complain(ngx_mcp_revoke_redis_t *rr,
    const char *what, redisReply *reply, const char *error);


ngx_int_t
ngx_mcp_revoke_redis_init_worker(ngx_cycle_t *cycle,
    ngx_mcp_main_conf_t *mmcf)
{
    ngx_mcp_revoke_redis_t      *rr;
    ngx_mcp_redis_subscriber_t   subscriber;

    rr = ngx_pcalloc(cycle->pool, sizeof(ngx_mcp_revoke_redis_t));
    if (rr == NULL) {
        return NGX_ERROR;
    }

    rr->mmcf = mmcf;
    rr->redis = mmcf->redis_client;

    if (ngx_mcp_redis_key(mmcf->redis, cycle->pool, "rev", NULL, &rr->hash)
           != NGX_OK
        || ngx_mcp_redis_key(mmcf->redis, cycle->pool, "events", NULL,
                             &rr->channel)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    rr->timer.handler = ngx_mcp_revoke_timer;
    rr->timer.data = rr;
    rr->timer.log = cycle->log;
    rr->timer.cancelable = 1;

    mmcf->revoke_redis = rr;

    subscriber.up = ngx_mcp_revoke_up;
    subscriber.message = ngx_mcp_revoke_message;
    subscriber.alive = ngx_mcp_revoke_alive;
    subscriber.down = ngx_mcp_revoke_down;
    subscriber.data = rr;

    ngx_mcp_redis_subscribe(rr->redis, &rr->channel, &subscriber);

    return NGX_OK;
}


void
ngx_mcp_revoke_redis_exit_worker(ngx_mcp_main_conf_t *mmcf)
{
    ngx_mcp_revoke_redis_t  *rr;

    rr = mmcf->revoke_redis;

    if (rr == NULL) {
        return;
    }

    if (rr->timer.timer_set) {
        ngx_del_timer(&rr->timer);
    }

    if (rr->pool) {
        ngx_destroy_pool(rr->pool);
    }

    mmcf->revoke_redis = NULL;
}


static void
ngx_mcp_revoke_up(void *data)
{
    ngx_mcp_revoke_redis_t *rr = data;

    rr->subscribed = 1;
    rr->loaded = 0;

    /* whatever was published meanwhile did not come */

    ngx_mcp_vault_drop(rr->mmcf, NULL, 0);

    if (rr->filling) {

        /* no more than is under way: the load is what is waited for */

        rr->failed = 1;
        return;
    }

    if (rr->pool) {

        /* began before we were subscribed again: it shows nothing */

        ngx_mcp_revoke_abort(rr, 1);
        return;
    }

    ngx_mcp_revoke_load(rr);
}


static void
ngx_mcp_revoke_down(void *data)
{
    ngx_mcp_revoke_redis_t *rr = data;

    rr->subscribed = 0;
    rr->loaded = 0;
}


static void
ngx_mcp_revoke_message(void *data, ngx_str_t *payload)
{
    ngx_mcp_revoke_redis_t *rr = data;

    ngx_str_t                  text;
    const char                *error;
    mcp_revocation_t           r;
    ngx_mcp_revoke_scratch_t   scratch;

    if (payload->len > 5 && ngx_memcmp(payload->data, "cred ", 5) == 0) {
        text.data = payload->data + 5;
        text.len = payload->len - 5;

        ngx_mcp_vault_event(rr->mmcf, &text);
        return;
    }

    /* other kinds may come to be */

    if (payload->len < 4 || ngx_memcmp(payload->data, "rev ", 4) != 0) {
        return;
    }

    if (ngx_mcp_revoke_parse(payload->data + 4, payload->len - 4, &scratch, &r,
                             &error)
        != NGX_OK)
    {
        ngx_mcp_revoke_complain(rr, "a message cannot be understood", NULL,
                                error);

    } else {
        if (r.type == MCP_REVOKE_USER) {
            ngx_mcp_vault_revoked(rr->mmcf, &r.issuer, &r.value);
        }

        if (ngx_mcp_revoke_merge(rr->mmcf, &r) != NGX_ERROR) {

            if (r.type == MCP_REVOKE_USER && rr->mmcf->vault) {
                ngx_mcp_ending_person(rr->mmcf, &r.issuer, &r.value);
            }

            return;
        }
    }

    /* whatever it was, it is in the hash, and not in the table */

    rr->loaded = 0;
    rr->again = 1;

    if (rr->pool == NULL) {
        ngx_mcp_revoke_plan(rr, NGX_MCP_REVOKE_AGAIN);
    }
}


static void
ngx_mcp_revoke_alive(void *data, ngx_msec_t when)
{
    ngx_mcp_revoke_redis_t *rr = data;

    if (!rr->loaded) {
        return;
    }

    if (ngx_current_msec - rr->last > NGX_MCP_REVOKE_OLD) {
        ngx_mcp_revoke_complain(rr, "they could not be loaded for a long time",
                                NULL, NULL);
        rr->loaded = 0;
        return;
    }

    if (ngx_mcp_revoke_current(rr->mmcf, when) != NGX_OK) {
        rr->loaded = 0;

        if (rr->pool == NULL) {
            ngx_mcp_revoke_plan(rr, 1);
        }
    }
}


static void
ngx_mcp_revoke_timer(ngx_event_t *ev)
{
    ngx_mcp_revoke_redis_t  *rr;

    rr = ev->data;

    if (rr->filling && rr->evals == 0) {
        ngx_mcp_revoke_fill(rr);

    } else if (rr->subscribed) {
        ngx_mcp_revoke_load(rr);
    }
}


/* An earlier one stays. */
static void
ngx_mcp_revoke_plan(ngx_mcp_revoke_redis_t *rr, ngx_msec_t delay)
{
    if (rr->timer.timer_set
        && (ngx_msec_int_t) (rr->timer.timer.key - ngx_current_msec)
           <= (ngx_msec_int_t) delay)
    {
        return;
    }

    ngx_add_timer(&rr->timer, delay);
}


static void
ngx_mcp_revoke_load(ngx_mcp_revoke_redis_t *rr)
{
    if (rr->pool) {

        /* one at a time; its end plans the next one */

        rr->again = 1;
        return;
    }

    rr->pool = ngx_create_pool(16 * 1024, ngx_cycle->log);

    if (rr->pool == NULL) {
        ngx_mcp_revoke_plan(rr, NGX_MCP_REVOKE_RETRY);
        return;
    }

    ngx_rbtree_init(&rr->have, &rr->sentinel, ngx_mcp_tree_order);

    rr->again = 0;
    rr->broken = 0;
    rr->filling = 0;
    rr->epoch = ngx_mcp_revoke_epoch(rr->mmcf);
    rr->when = ngx_current_msec;

    rr->cursor[0] = '0';
    rr->cursor_len = 1;

    ngx_mcp_redis_probe(rr->redis);

    if (ngx_mcp_revoke_scan(rr) != NGX_OK) {
        ngx_mcp_revoke_abort(rr, NGX_MCP_REVOKE_RETRY);
    }
}


/* As many entries as fit into a reply, even if all of them are large. */
static ngx_int_t
ngx_mcp_revoke_scan(ngx_mcp_revoke_redis_t *rr)
{
    u_char      count[NGX_INT_T_LEN];
    ngx_str_t   args[5];
    ngx_uint_t  n;

    n = ngx_min(NGX_MCP_REVOKE_COUNT,
                rr->mmcf->redis->max_reply / NGX_MCP_REVOKE_ENTRY);

    ngx_str_set(&args[0], "HSCAN");
    args[1] = rr->hash;
    args[2].data = rr->cursor;
    args[2].len = rr->cursor_len;
    ngx_str_set(&args[3], "COUNT");
    args[4].data = count;
    args[4].len = ngx_sprintf(count, "%ui", n) - count;

    return ngx_mcp_redis_send(rr->redis, 5, args, ngx_mcp_revoke_scanned, rr,
                              &rr->scan)
           == NGX_AGAIN ? NGX_OK : NGX_ERROR;
}


static void
ngx_mcp_revoke_scanned(void *data, redisReply *reply)
{
    ngx_mcp_revoke_redis_t *rr = data;

    rr->scan = NULL;

    if (reply == NULL) {
        ngx_mcp_revoke_abort(rr, NGX_MCP_REVOKE_RETRY);
        return;
    }

    if (ngx_mcp_revoke_page(rr, reply) != NGX_OK) {
        rr->loaded = 0;
        ngx_mcp_revoke_abort(rr, NGX_MCP_REVOKE_BROKEN);
        return;
    }

    if (rr->cursor_len == 1 && rr->cursor[0] == '0') {
        ngx_mcp_revoke_complete(rr);
        return;
    }

    if (ngx_current_msec - rr->when >= NGX_MCP_REVOKE_LONG) {
        ngx_mcp_revoke_complain(rr, "loading takes too long", NULL, NULL);
        ngx_mcp_revoke_abort(rr, NGX_MCP_REVOKE_BROKEN);
        return;
    }

    if (ngx_mcp_revoke_scan(rr) != NGX_OK) {
        ngx_mcp_revoke_abort(rr, NGX_MCP_REVOKE_RETRY);
    }
}


/* The next cursor, and fields and values in turn. */
static ngx_int_t
ngx_mcp_revoke_page(ngx_mcp_revoke_redis_t *rr, redisReply *reply)
{
    size_t       i;
    redisReply  *cursor, *list;

    if (reply->type == REDIS_REPLY_ERROR) {
        ngx_mcp_revoke_complain(rr, "HSCAN failed", reply, NULL);
        return NGX_ERROR;
    }

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2
        || reply->element[0]->type != REDIS_REPLY_STRING
        || reply->element[0]->len == 0
        || reply->element[0]->len > NGX_MCP_REVOKE_CURSOR
        || reply->element[1]->type != REDIS_REPLY_ARRAY
        || reply->element[1]->elements % 2)
    {
        goto invalid;
    }

    cursor = reply->element[0];
    list = reply->element[1];

    for (i = 0; i < cursor->len; i++) {
        if (cursor->str[i] < '0' || cursor->str[i] > '9') {
            goto invalid;
        }
    }

    ngx_memcpy(rr->cursor, cursor->str, cursor->len);
    rr->cursor_len = cursor->len;

    for (i = 0; i < list->elements; i += 2) {

        if (list->element[i]->type != REDIS_REPLY_STRING
            || list->element[i + 1]->type != REDIS_REPLY_STRING)
        {
            goto invalid;
        }

        if (ngx_mcp_revoke_entry(rr, list->element[i], list->element[i + 1])
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;

invalid:

    ngx_mcp_revoke_complain(rr, "HSCAN was not answered as it should be", NULL,
                            NULL);

    return NGX_ERROR;
}


/* NGX_ERROR: no room, and the load is over; a broken entry is only noted. */
static ngx_int_t
ngx_mcp_revoke_entry(ngx_mcp_revoke_redis_t *rr, redisReply *field,
    redisReply *value)
{
    u_char                     name[MCP_REVOCATION_LINE];
    mcp_buf_t                  b;
    const char                *error;
    mcp_revocation_t           r;
    ngx_mcp_revoke_scratch_t   scratch;

    if (ngx_mcp_revoke_parse((u_char *) value->str, value->len, &scratch, &r,
                             &error)
        == NGX_OK)
    {
        mcp_buf_init(&b, name, sizeof(name));
        mcp_revocation_field(&b, &r);

        if (!b.overflow
            && field->len == (size_t) (b.pos - b.start)
            && ngx_memcmp(field->str, b.start, field->len) == 0)
        {
            if (ngx_mcp_revoke_merge(rr->mmcf, &r) == NGX_ERROR) {
                return NGX_ERROR;
            }

            return ngx_mcp_revoke_have(rr, &r);
        }

        error = "it is about something else than its field";
    }

    rr->broken = 1;

    ngx_mcp_revoke_complain(rr, "an entry cannot be understood", field, error);

    return NGX_OK;
}


/* HSCAN may show an entry twice. */
static ngx_int_t
ngx_mcp_revoke_have(ngx_mcp_revoke_redis_t *rr, mcp_revocation_t *r)
{
    u_char                  name[MCP_REVOCATION_NAME];
    ngx_mcp_revoke_have_t  *h;

    mcp_revocation_name(r, name);

    h = (ngx_mcp_revoke_have_t *) ngx_mcp_tree_find(&rr->have, name);

    if (h == NULL) {
        h = ngx_palloc(rr->pool, sizeof(ngx_mcp_revoke_have_t));
        if (h == NULL) {
            return NGX_ERROR;
        }

        ngx_mcp_tree_insert(&rr->have, &h->node, name);
        h->stamp = 0;
    }

    h->stamp = ngx_max(h->stamp, r->stamp);

    return NGX_OK;
}


static void
ngx_mcp_revoke_complete(ngx_mcp_revoke_redis_t *rr)
{
    if (rr->broken) {
        rr->loaded = 0;
        ngx_mcp_revoke_abort(rr, NGX_MCP_REVOKE_BROKEN);
        return;
    }

    /* the subscription may have been lost meanwhile, or a message */

    if (!rr->subscribed || rr->again) {
        ngx_mcp_revoke_abort(rr, NGX_MCP_REVOKE_AGAIN);
        return;
    }

    if (ngx_mcp_revoke_loaded(rr->mmcf, rr->epoch, rr->when) != NGX_OK) {
        rr->loaded = 0;
        ngx_mcp_revoke_abort(rr, NGX_MCP_REVOKE_RETRY);
        return;
    }

    rr->loaded = 1;
    rr->last = rr->when;
    rr->filling = 1;
    rr->failed = 0;
    rr->position = 0;
    rr->put = 0;

    ngx_mcp_revoke_fill(rr);
}


static void
ngx_mcp_revoke_abort(ngx_mcp_revoke_redis_t *rr, ngx_msec_t delay)
{
    if (rr->scan) {
        ngx_mcp_redis_cancel(rr->scan);
        rr->scan = NULL;
    }

    ngx_destroy_pool(rr->pool);
    rr->pool = NULL;
    rr->filling = 0;

    ngx_mcp_revoke_plan(rr, delay);
}


/* Goes through the table until some that Redis lacks are on their way, or all
 * were seen, or it was enough for one turn. */
static void
ngx_mcp_revoke_fill(ngx_mcp_revoke_redis_t *rr)
{
    ngx_uint_t  n;

    for (n = 0; n < NGX_MCP_REVOKE_ROUNDS; n++) {

        if (ngx_mcp_revoke_each(rr->mmcf, &rr->position, ngx_mcp_revoke_put,
                                rr)
            != NGX_OK)
        {
            rr->failed = 1;
        }

        if (rr->evals) {
            return;
        }

        if (rr->position == 0 || rr->failed) {
            ngx_mcp_revoke_filled(rr);
            return;
        }
    }

    ngx_mcp_revoke_plan(rr, 1);
}


static void
ngx_mcp_revoke_put(void *data, const mcp_revocation_t *r)
{
    ngx_mcp_revoke_redis_t *rr = data;

    u_char                  name[MCP_REVOCATION_NAME], stamp[NGX_INT64_LEN];
    u_char                  field[MCP_REVOCATION_LINE];
    u_char                  line[MCP_REVOCATION_LINE];
    mcp_buf_t               bf, bl;
    ngx_str_t               args[8];
    ngx_mcp_revoke_have_t  *h;

    if (rr->failed || (r->until && r->until <= ngx_time())) {
        return;
    }

    mcp_revocation_name(r, name);

    h = (ngx_mcp_revoke_have_t *) ngx_mcp_tree_find(&rr->have, name);

    if (h && h->stamp >= r->stamp) {
        return;
    }

    mcp_buf_init(&bf, field, sizeof(field));
    mcp_revocation_field(&bf, r);

    mcp_buf_init(&bl, line, sizeof(line));
    mcp_revocation_write(&bl, r);

    if (bf.overflow || bl.overflow) {
        return;
    }

    ngx_str_set(&args[0], "EVAL");
    args[1].data = (u_char *) mcp_revocation_script;
    args[1].len = ngx_strlen(mcp_revocation_script);
    ngx_str_set(&args[2], "2");
    args[3] = rr->hash;
    args[4] = rr->channel;
    args[5].data = bf.start;
    args[5].len = bf.pos - bf.start;
    args[6].data = bl.start;
    args[6].len = bl.pos - bl.start;
    args[7].data = stamp;
    args[7].len = ngx_sprintf(stamp, "%uL", r->stamp) - stamp;

    if (ngx_mcp_redis_send(rr->redis, 8, args, ngx_mcp_revoke_was_put, rr,
                           NULL)
        == NGX_AGAIN)
    {
        rr->evals++;

    } else {
        rr->failed = 1;
    }
}


static void
ngx_mcp_revoke_was_put(void *data, redisReply *reply)
{
    ngx_mcp_revoke_redis_t *rr = data;

    rr->evals--;

    if (reply == NULL) {
        rr->failed = 1;

    } else if (reply->type != REDIS_REPLY_STRING) {
        ngx_mcp_revoke_complain(rr, "what it lacks cannot be put back", reply,
                                NULL);
        rr->failed = 1;

    } else {
        rr->put++;
    }

    if (rr->evals) {
        return;
    }

    if (rr->position && !rr->failed) {
        ngx_mcp_revoke_fill(rr);
        return;
    }

    ngx_mcp_revoke_filled(rr);
}


static void
ngx_mcp_revoke_filled(ngx_mcp_revoke_redis_t *rr)
{
    ngx_msec_t  delay;

    if (rr->put) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "mcp_redis \"%V\": %ui revocations that it lacked were "
                      "put back", &rr->mmcf->redis->server, rr->put);
    }

    delay = NGX_MCP_REVOKE_RECONCILE - ngx_random() % 3000;

    if (!rr->loaded) {
        delay = 1;

    } else if (rr->again) {
        delay = NGX_MCP_REVOKE_AGAIN;

    } else if (rr->failed) {
        delay = NGX_MCP_REVOKE_BROKEN;
    }

    ngx_mcp_revoke_abort(rr, delay);
}


/* "STAMP LINE" */
static ngx_int_t
ngx_mcp_revoke_parse(u_char *p, size_t len, ngx_mcp_revoke_scratch_t *scratch,
    mcp_revocation_t *r, const char **error)
{
    u_char     *last;
    uint64_t    stamp;
    mcp_mem_t   mem;
    mcp_str_t   line;

    last = p + len;
    stamp = 0;

    for ( /* void */ ; p < last && *p >= '0' && *p <= '9'; p++) {

        stamp = stamp * 10 + (*p - '0');

        if (stamp > MCP_REVOCATION_STAMP) {
            *error = "its stamp is too large";
            return NGX_ERROR;
        }
    }

    if (stamp == 0 || p == last || *p != ' ') {
        *error = "it has no stamp";
        return NGX_ERROR;
    }

    line.data = p + 1;
    line.len = last - line.data;

    scratch->used = 0;
    mem.alloc = ngx_mcp_revoke_scratch;
    mem.ctx = scratch;

    if (mcp_revocation_parse(&line, &mem, r, error) != MCP_OK) {
        return NGX_ERROR;
    }

    r->stamp = stamp;

    return NGX_OK;
}


static void *
ngx_mcp_revoke_scratch(void *ctx, size_t size)
{
    ngx_mcp_revoke_scratch_t *scratch = ctx;

    u_char  *p;

    if (size > sizeof(scratch->data) - scratch->used) {
        return NULL;
    }

    p = scratch->data + scratch->used;
    scratch->used += size;

    return p;
}


/* Once a minute.  Of an error reply its code, of a field what can be shown. */
static void
ngx_mcp_revoke_complain(ngx_mcp_revoke_redis_t *rr, const char *what,
    redisReply *reply, const char *error)
{
    u_char  text[256];
    size_t  i, n;

    if (rr->complaint == what
        && ngx_current_msec - rr->said < NGX_MCP_REVOKE_QUIET)
    {
        return;
    }

    rr->complaint = what;
    rr->said = ngx_current_msec;

    n = 0;

    for (i = 0; reply && i < reply->len && i < sizeof(text); i++) {

        if (reply->type == REDIS_REPLY_ERROR && reply->str[i] == ' ') {
            break;
        }

        text[n++] = reply->str[i] >= 0x20 && reply->str[i] < 0x7f
                    ? reply->str[i] : '?';
    }

    ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                  "mcp_redis \"%V\": revocations in \"%V\": %s%s%*s%s%s%s",
                  &rr->mmcf->redis->server, &rr->hash, what,
                  n ? " \"" : "", n, text, n ? "\"" : "",
                  error ? ": " : "", error ? error : "");
}
