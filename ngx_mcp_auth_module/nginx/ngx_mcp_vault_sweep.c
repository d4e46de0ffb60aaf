/*
 * The sweep: every minute one worker of this nginx walks through the records in
 * Redis, one after the other.
 *
 * It counts them for mcp_status; it takes names of records that are gone out of
 * the set of names; and it has grants refreshed that nobody used for
 * `keepalive`, because a refresh token that rests too long dies.  That is an
 * ordinary flight: the lock and the version keep nodes from doing it twice.
 *
 * A record that cannot be read, or is of a credential that is not configured
 * here, is left alone.  Owned by the worker's vault; no timer of this keeps a
 * worker that leaves.
 */

#include "ngx_mcp_ending.h"
#include "ngx_mcp_revoke.h"


#define NGX_MCP_SWEEP_FIRST    2000     /* ms after the worker began */
#define NGX_MCP_SWEEP_TIME     60000    /* ms between two */
#define NGX_MCP_SWEEP_LEASE    300000   /* ms, of a worker that hangs */
#define NGX_MCP_SWEEP_PAUSE    100      /* ms, while others are refreshed */
#define NGX_MCP_SWEEP_COUNT    100      /* names at a time */
#define NGX_MCP_SWEEP_FLIGHTS  4        /* at a time */
#define NGX_MCP_SWEEP_CURSOR   20       /* digits */


typedef struct {
    ngx_atomic_uint_t         states[NGX_MCP_STATS_STATES];
    time_t                    expires;
} ngx_mcp_sweep_count_t;


typedef struct {
    u_char                    text[MCP_VAULT_NAME];
} ngx_mcp_sweep_name_t;


struct ngx_mcp_sweep_s {
    ngx_mcp_vault_t          *vault;
    ngx_event_t               timer;
    ngx_str_t                 names;        /* the set's key */
    ngx_mcp_redis_call_t     *scan;
    ngx_mcp_store_call_t     *call;
    u_char                    cursor[NGX_MCP_SWEEP_CURSOR];
    size_t                    cursor_len;

    /* while it walks */
    ngx_pool_t               *pool;         /* of these names; NULL: rests */
    ngx_array_t               page;         /* ngx_mcp_sweep_name_t */
    ngx_uint_t                next;         /* of the page */
    ngx_mcp_sweep_count_t    *counts;       /* of each mcp_credential */
};


static void ngx_mcp_sweep_timer(ngx_event_t *ev);
static ngx_int_t ngx_mcp_sweep_begin(ngx_mcp_sweep_t *sw);
static void ngx_mcp_sweep_scan(ngx_mcp_sweep_t *sw);
static void ngx_mcp_sweep_scanned(void *data, redisReply *reply);
static ngx_int_t ngx_mcp_sweep_page(ngx_mcp_sweep_t *sw, redisReply *reply);
static void ngx_mcp_sweep_next(ngx_mcp_sweep_t *sw);
static void ngx_mcp_sweep_got(void *data, ngx_mcp_store_e rc,
    ngx_mcp_record_t *record);
static void ngx_mcp_sweep_forget(ngx_mcp_sweep_t *sw, ngx_str_t *name);
static void ngx_mcp_sweep_record(ngx_mcp_sweep_t *sw, ngx_str_t *name,
    ngx_mcp_record_t *record);
static ngx_int_t ngx_mcp_sweep_owner(ngx_mcp_sweep_t *sw, ngx_str_t *name,
    ngx_mcp_record_t *record, ngx_pool_t *pool, mcp_vault_owner_t *owner);
static time_t ngx_mcp_sweep_issued(ngx_mcp_sweep_t *sw,
    ngx_mcp_credential_t *cr, ngx_mcp_record_t *record, ngx_pool_t *pool,
    mcp_vault_owner_t *owner);
static ngx_uint_t ngx_mcp_sweep_lives(ngx_mcp_sweep_t *sw,
    mcp_vault_owner_t *owner, time_t issued);
static void ngx_mcp_sweep_over(ngx_mcp_sweep_t *sw, ngx_uint_t whole);


/* 32 bytes, and no name of a record, which has hex digits only */
static u_char  ngx_mcp_sweep_lock[] = "the sweep of downstream records.";


ngx_int_t
ngx_mcp_sweep_init_worker(ngx_mcp_vault_t *v, ngx_cycle_t *cycle)
{
    ngx_mcp_sweep_t  *sw;

    if (v->mmcf->redis == NULL) {
        return NGX_OK;
    }

    sw = ngx_pcalloc(cycle->pool, sizeof(ngx_mcp_sweep_t));

    if (sw == NULL
        || ngx_mcp_redis_key(v->mmcf->redis, cycle->pool, "creds", NULL,
                             &sw->names)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    sw->vault = v;
    sw->timer.handler = ngx_mcp_sweep_timer;
    sw->timer.data = sw;
    sw->timer.log = cycle->log;
    sw->timer.cancelable = 1;

    v->sweep = sw;

    ngx_add_timer(&sw->timer, NGX_MCP_SWEEP_FIRST + ngx_random() % 1000);

    return NGX_OK;
}


void
ngx_mcp_sweep_exit_worker(ngx_mcp_vault_t *v)
{
    ngx_mcp_sweep_t  *sw;

    sw = v->sweep;

    if (sw == NULL) {
        return;
    }

    if (sw->scan) {
        ngx_mcp_redis_cancel(sw->scan);
    }

    if (sw->call) {
        ngx_mcp_store_cancel(sw->call);
    }

    if (sw->pool) {
        ngx_destroy_pool(sw->pool);
        ngx_mcp_zone_lock_give(v->mmcf->zone, ngx_mcp_sweep_lock, 0);
    }

    if (sw->timer.timer_set) {
        ngx_del_timer(&sw->timer);
    }

    v->sweep = NULL;
}


static void
ngx_mcp_sweep_timer(ngx_event_t *ev)
{
    ngx_msec_t        hold;
    ngx_mcp_sweep_t  *sw;

    sw = ev->data;

    if (sw->pool) {
        ngx_mcp_sweep_next(sw);
        return;
    }

    if (ngx_mcp_zone_lock_take(sw->vault->mmcf->zone, ngx_mcp_sweep_lock,
                               NGX_MCP_SWEEP_LEASE, &hold)
        != NGX_OK)
    {
        ngx_add_timer(&sw->timer, hold ? hold + ngx_random() % 1000
                                       : NGX_MCP_SWEEP_TIME);
        return;
    }

    if (ngx_mcp_sweep_begin(sw) != NGX_OK) {
        ngx_mcp_sweep_over(sw, 0);
        return;
    }

    ngx_mcp_sweep_scan(sw);
}


static ngx_int_t
ngx_mcp_sweep_begin(ngx_mcp_sweep_t *sw)
{
    sw->pool = ngx_create_pool(4096, sw->vault->log);
    if (sw->pool == NULL) {
        return NGX_ERROR;
    }

    sw->counts = ngx_pcalloc(sw->pool, sizeof(ngx_mcp_sweep_count_t)
                             * sw->vault->mmcf->credentials.nelts);

    if (sw->counts == NULL
        || ngx_array_init(&sw->page, sw->pool, NGX_MCP_SWEEP_COUNT,
                          sizeof(ngx_mcp_sweep_name_t))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    sw->cursor[0] = '0';
    sw->cursor_len = 1;
    sw->next = 0;

    return NGX_OK;
}


static void
ngx_mcp_sweep_scan(ngx_mcp_sweep_t *sw)
{
    ngx_str_t  argv[5];
    u_char     count[NGX_INT_T_LEN];

    ngx_str_set(&argv[0], "SSCAN");
    argv[1] = sw->names;
    argv[2].data = sw->cursor;
    argv[2].len = sw->cursor_len;
    ngx_str_set(&argv[3], "COUNT");
    argv[4].data = count;
    argv[4].len = ngx_sprintf(count, "%d", NGX_MCP_SWEEP_COUNT) - count;

    if (ngx_mcp_redis_send(sw->vault->mmcf->redis_client, 5, argv,
                           ngx_mcp_sweep_scanned, sw, &sw->scan)
        != NGX_AGAIN)
    {
        sw->scan = NULL;
        ngx_mcp_sweep_over(sw, 0);
    }
}


static void
ngx_mcp_sweep_scanned(void *data, redisReply *reply)
{
    ngx_mcp_sweep_t *sw = data;

    sw->scan = NULL;

    if (ngx_mcp_sweep_page(sw, reply) != NGX_OK) {
        ngx_mcp_sweep_over(sw, 0);
        return;
    }

    ngx_mcp_sweep_next(sw);
}


/* [ cursor, [ name, ... ] ] */
static ngx_int_t
ngx_mcp_sweep_page(ngx_mcp_sweep_t *sw, redisReply *reply)
{
    size_t                 i;
    redisReply            *cursor, *names, *n;
    ngx_mcp_sweep_name_t  *name;

    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY
        || reply->elements != 2)
    {
        return NGX_ERROR;
    }

    cursor = reply->element[0];
    names = reply->element[1];

    if (cursor->type != REDIS_REPLY_STRING
        || (size_t) cursor->len > NGX_MCP_SWEEP_CURSOR
        || names->type != REDIS_REPLY_ARRAY)
    {
        return NGX_ERROR;
    }

    ngx_memcpy(sw->cursor, cursor->str, cursor->len);
    sw->cursor_len = cursor->len;

    sw->page.nelts = 0;
    sw->next = 0;

    for (i = 0; i < names->elements; i++) {
        n = names->element[i];

        if (n->type != REDIS_REPLY_STRING || n->len != MCP_VAULT_NAME) {
            continue;
        }

        name = ngx_array_push(&sw->page);
        if (name == NULL) {
            return NGX_ERROR;
        }

        ngx_memcpy(name->text, n->str, MCP_VAULT_NAME);
    }

    return NGX_OK;
}


static void
ngx_mcp_sweep_next(ngx_mcp_sweep_t *sw)
{
    ngx_mcp_sweep_name_t  *name;

    if (sw->vault->sweeping >= NGX_MCP_SWEEP_FLIGHTS) {
        ngx_add_timer(&sw->timer, NGX_MCP_SWEEP_PAUSE);
        return;
    }

    if (sw->next == sw->page.nelts) {

        if (sw->cursor_len == 1 && sw->cursor[0] == '0') {
            ngx_mcp_sweep_over(sw, 1);
            return;
        }

        ngx_mcp_sweep_scan(sw);
        return;
    }

    name = (ngx_mcp_sweep_name_t *) sw->page.elts + sw->next;

    if (ngx_mcp_store_read(sw->vault->mmcf, name->text, ngx_mcp_sweep_got, sw,
                           &sw->call)
        != NGX_AGAIN)
    {
        sw->call = NULL;
        ngx_mcp_sweep_over(sw, 0);
    }
}


static void
ngx_mcp_sweep_got(void *data, ngx_mcp_store_e rc, ngx_mcp_record_t *record)
{
    ngx_mcp_sweep_t *sw = data;

    ngx_str_t              name;
    ngx_mcp_sweep_name_t  *names;

    sw->call = NULL;

    names = sw->page.elts;
    name.data = names[sw->next++].text;
    name.len = MCP_VAULT_NAME;

    switch (rc) {

    case NGX_MCP_STORE_OK:
        ngx_mcp_sweep_record(sw, &name, record);
        break;

    case NGX_MCP_STORE_NONE:
        ngx_mcp_sweep_forget(sw, &name);
        break;

    default:
        ngx_mcp_sweep_over(sw, 0);
        return;
    }

    ngx_mcp_sweep_next(sw);
}


/* Not when there is one again. */
static void
ngx_mcp_sweep_forget(ngx_mcp_sweep_t *sw, ngx_str_t *name)
{
    u_char      key[128];
    ngx_str_t   argv[6];

    static ngx_str_t  script = ngx_string(
        "if redis.call('EXISTS', KEYS[1]) == 0 then "
            "redis.call('SREM', KEYS[2], ARGV[1]) "
        "end "
        "return 1");

    ngx_str_set(&argv[0], "EVAL");
    argv[1] = script;
    ngx_str_set(&argv[2], "2");
    argv[3].data = key;
    argv[3].len = ngx_snprintf(key, sizeof(key), "%Vcred:%V",
                               &sw->vault->mmcf->redis->prefix, name)
                  - key;
    argv[4] = sw->names;
    argv[5] = *name;

    (void) ngx_mcp_redis_send(sw->vault->mmcf->redis_client, 6, argv, NULL,
                              NULL, NULL);
}


static void
ngx_mcp_sweep_record(ngx_mcp_sweep_t *sw, ngx_str_t *name,
    ngx_mcp_record_t *record)
{
    time_t                   now, issued;
    ngx_uint_t               i;
    ngx_pool_t              *pool;
    mcp_vault_note_t         note;
    ngx_mcp_flight_t        *f;
    mcp_vault_owner_t        owner;
    ngx_mcp_credential_t   **crp;
    ngx_mcp_sweep_count_t   *count;

    pool = ngx_create_pool(4096, sw->vault->log);

    if (pool == NULL) {
        return;
    }

    if (ngx_mcp_sweep_owner(sw, name, record, pool, &owner) != NGX_OK) {
        ngx_destroy_pool(pool);
        return;
    }

    now = ngx_time();
    crp = sw->vault->mmcf->credentials.elts;

    for (i = 0; i < sw->vault->mmcf->credentials.nelts; i++) {
        if (crp[i]->type != NGX_MCP_CREDENTIAL_STATIC
            && mcp_str_eq((mcp_str_t *) &crp[i]->name, &owner.credential))
        {
            break;
        }
    }

    if (i == sw->vault->mmcf->credentials.nelts) {
        ngx_destroy_pool(pool);
        return;
    }

    count = &sw->counts[i];

    if (crp[i]->type == NGX_MCP_CREDENTIAL_USER
        && !(record->state.len == 7
             && ngx_memcmp(record->state.data, "revoked", 7) == 0))
    {
        /* what a message about her, or a worker, did not end */

        ngx_mcp_ending_revoked(sw->vault->mmcf, crp[i], &owner);
    }

    if (record->state.len != 6
        || ngx_strncmp(record->state.data, "active", 6) != 0)
    {
        if (record->state.len == 6) {
            count->states[NGX_MCP_STATS_REAUTH]++;
        }

        ngx_destroy_pool(pool);
        return;
    }

    if (record->expires > now
        && (count->expires == 0 || record->expires < count->expires))
    {
        count->expires = record->expires;
    }

    if (record->flight.len
        && mcp_vault_note_parse((mcp_str_t *) &record->flight, &note)
           == MCP_OK
        && note.version == record->version
        && now - note.last > (time_t) (crp[i]->timeout / 1000))
    {
        count->states[NGX_MCP_STATS_UNKNOWN]++;

    } else {
        count->states[NGX_MCP_STATS_ACTIVE]++;
    }

    if (crp[i]->type == NGX_MCP_CREDENTIAL_USER && crp[i]->keepalive
        && ngx_mcp_flight_find(sw->vault, name->data) == NULL)
    {
        issued = ngx_mcp_sweep_issued(sw, crp[i], record, pool, &owner);

        if (issued && now - issued >= crp[i]->keepalive
            && ngx_mcp_sweep_lives(sw, &owner, issued))
        {
            f = ngx_mcp_flight_start(sw->vault, crp[i], &owner, name->data,
                                     NULL, 0);
            if (f) {
                f->keepalive = 1;
                sw->vault->sweeping++;
            }
        }
    }

    ngx_destroy_pool(pool);
}


/* Whose it is: what is sealed in it has to give the name again. */
static ngx_int_t
ngx_mcp_sweep_owner(ngx_mcp_sweep_t *sw, ngx_str_t *name,
    ngx_mcp_record_t *record, ngx_pool_t *pool, mcp_vault_owner_t *owner)
{
    u_char             *p, again[MCP_VAULT_NAME];
    size_t              len;
    mcp_mem_t           mem;
    mcp_str_t           text;
    mcp_vault_owner_t   by_name;

    p = ngx_pnalloc(pool, record->meta.len + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    mcp_vault_owner_by_name(&by_name, name->data);

    if (mcp_vault_open(&sw->vault->mmcf->vault_keys, &by_name, "meta", 0,
                       (mcp_str_t *) &record->meta, p, &len)
        != MCP_OK)
    {
        return NGX_DECLINED;
    }

    text.data = p;
    text.len = len;
    mem = ngx_mcp_mem(pool);

    if (mcp_vault_owner_parse(&text, &mem, owner) != MCP_OK) {
        return NGX_DECLINED;
    }

    mcp_vault_name(owner, again);

    return ngx_memcmp(again, name->data, MCP_VAULT_NAME) == 0 ? NGX_OK
                                                              : NGX_DECLINED;
}


/* When its tokens were given, s since the epoch; 0: not known, or there is
 * nothing that cr's provider could refresh. */
static time_t
ngx_mcp_sweep_issued(ngx_mcp_sweep_t *sw, ngx_mcp_credential_t *cr,
    ngx_mcp_record_t *record, ngx_pool_t *pool, mcp_vault_owner_t *owner)
{
    u_char              *p;
    size_t               len;
    time_t               issued;
    mcp_mem_t            mem;
    mcp_str_t            text;
    mcp_vault_tokens_t   t;

    p = ngx_pnalloc(pool, record->tokens.len + 1);

    if (p == NULL
        || mcp_vault_open(&sw->vault->mmcf->vault_keys, owner, "tokens",
                          record->version, (mcp_str_t *) &record->tokens, p,
                          &len)
           != MCP_OK)
    {
        return 0;
    }

    text.data = p;
    text.len = len;
    mem = ngx_mcp_mem(pool);
    issued = 0;

    if (mcp_vault_tokens_parse(&text, &mem, &t) == MCP_OK) {
        issued = (t.refresh_token.len
                  && mcp_vault_from(&t.endpoint, &cr->provider.token_endpoint))
                 ? t.issued : 0;

        ngx_mcp_flight_forget(&t.access_token);
        ngx_mcp_flight_forget(&t.refresh_token);
    }

    ngx_explicit_memzero(p, len);

    return issued;
}


/*
 * 0: she was revoked after her grant was refreshed last.  Nobody keeps alive
 * what somebody left behind.
 */
static ngx_uint_t
ngx_mcp_sweep_lives(ngx_mcp_sweep_t *sw, mcp_vault_owner_t *owner,
    time_t issued)
{
    uint64_t         seen;
    mcp_principal_t  p;

    ngx_memzero(&p, sizeof(mcp_principal_t));

    p.kind = MCP_CALLER_USER;
    p.auth = MCP_AUTH_JWT;
    p.iss = owner->issuer;
    p.user = owner->user;
    p.iat = issued;

    seen = 0;

    return ngx_mcp_revoke_check(sw->vault->mmcf, &p, 0, &seen, NULL) == NGX_OK;
}


/* What was counted counts when all was seen. */
static void
ngx_mcp_sweep_over(ngx_mcp_sweep_t *sw, ngx_uint_t whole)
{
    ngx_uint_t                    i, j;
    ngx_mcp_credential_t        **crp;
    ngx_mcp_stats_credential_t   *s;

    crp = sw->vault->mmcf->credentials.elts;

    for (i = 0; whole && i < sw->vault->mmcf->credentials.nelts; i++) {
        s = crp[i]->stats;

        if (s == NULL) {
            continue;
        }

        for (j = 0; j < NGX_MCP_STATS_STATES; j++) {
            s->states[j] = sw->counts[i].states[j];
        }

        s->expires = sw->counts[i].expires;
    }

    if (sw->pool) {
        ngx_destroy_pool(sw->pool);
        sw->pool = NULL;
    }

    /* nobody else of this nginx does it again before */

    ngx_mcp_zone_lock_give(sw->vault->mmcf->zone, ngx_mcp_sweep_lock,
                           whole ? NGX_MCP_SWEEP_TIME : 5000);

    ngx_add_timer(&sw->timer, (whole ? NGX_MCP_SWEEP_TIME : 5000)
                              + ngx_random() % 1000);
}
