/*
 * One flight: read the record; when that is not good enough take its lock, read
 * again, ask the provider, write.  See ngx_mcp_flight.h.
 *
 * Always true: there is at most one flight of a name in this worker, and of all
 * workers and nodes only the one that holds the lock asks the provider.  What
 * keeps grants safe is the version: a refresh token is used in the version in
 * which it was read under the lock, and what comes of it is written over that
 * version or not at all.  Before the provider is asked a note of it is in the
 * record; when the note is found later, the outcome of that refresh is lost,
 * which is said, and the provider's habits tell what may be done.  Without an
 * answer of the store nobody asks the provider.
 *
 * New tokens are in use as soon as the provider gave them.  The write that
 * keeps them is repeated while the store does not answer, for ten minutes: they
 * may be the only copy.
 *
 * Nobody owns a flight.  Each step ends in a call that comes back later, or in
 * ngx_mcp_flight_end(), after which nothing of it is touched.
 */

#include "ngx_mcp_flight.h"


#define NGX_MCP_FLIGHT_POLL      50     /* ms between two looks at a record */
#define NGX_MCP_FLIGHT_POLL_MAX  200    /* that somebody else refreshes */
#define NGX_MCP_FLIGHT_SPARE     15000  /* ms: a lock outlives its request by */
#define NGX_MCP_FLIGHT_WRITE     200    /* ms between two writes, at first */
#define NGX_MCP_FLIGHT_WRITE_MAX 5000
#define NGX_MCP_FLIGHT_GUARD     10000  /* ms, more than any store takes */
#define NGX_MCP_FLIGHT_KEEP      600000 /* ms that a write is repeated */
#define NGX_MCP_FLIGHT_LEAVING   20000  /* ms, in a worker that leaves */
#define NGX_MCP_FLIGHT_BACKOFF   30     /* s, at most between two failures */
#define NGX_MCP_FLIGHT_CLIENT    30     /* s, when the gateway is refused */
#define NGX_MCP_FLIGHT_GRANT     (400 * 86400)  /* s that a grant is kept */


static ngx_int_t ngx_mcp_flight_copy(ngx_mcp_flight_t *f,
    const mcp_vault_owner_t *owner, ngx_str_t *subject);
static void ngx_mcp_flight_read(ngx_mcp_flight_t *f);
static void ngx_mcp_flight_got(void *data, ngx_mcp_store_e rc,
    ngx_mcp_record_t *record);
static void ngx_mcp_flight_lock(ngx_mcp_flight_t *f);
static void ngx_mcp_flight_locked(void *data, ngx_mcp_store_e rc,
    ngx_mcp_record_t *record);
static void ngx_mcp_flight_held(ngx_mcp_flight_t *f, ngx_msec_t hold);
static void ngx_mcp_flight_again(ngx_event_t *ev);
static void ngx_mcp_flight_record(ngx_mcp_flight_t *f,
    ngx_mcp_record_t *record);
static ngx_int_t ngx_mcp_flight_open(ngx_mcp_flight_t *f,
    ngx_mcp_record_t *record);
static void ngx_mcp_flight_judge(ngx_mcp_flight_t *f,
    ngx_mcp_record_t *record);
static void ngx_mcp_flight_refresh(ngx_mcp_flight_t *f);
static void ngx_mcp_flight_ask(ngx_mcp_flight_t *f);
static ngx_int_t ngx_mcp_flight_request(ngx_mcp_flight_t *f,
    mcp_oauth_request_t *req);
static ngx_int_t ngx_mcp_flight_send(ngx_mcp_flight_t *f);
static void ngx_mcp_flight_asked(void *data, ngx_mcp_fetch_result_t *res);
static void ngx_mcp_flight_class(ngx_mcp_flight_t *f,
    ngx_mcp_fetch_result_t *res, mcp_oauth_answer_t *a);
static void ngx_mcp_flight_good(ngx_mcp_flight_t *f, mcp_oauth_answer_t *a);
static void ngx_mcp_flight_dead(ngx_mcp_flight_t *f, mcp_oauth_answer_t *a);
static void ngx_mcp_flight_failed(ngx_mcp_flight_t *f, mcp_oauth_answer_t *a,
    time_t retry_after);
static ngx_int_t ngx_mcp_flight_seal(ngx_mcp_flight_t *f, const char *state);
static void ngx_mcp_flight_write(ngx_mcp_flight_t *f);
static void ngx_mcp_flight_written(void *data, ngx_mcp_store_e rc,
    ngx_mcp_record_t *record);
static void ngx_mcp_flight_rewrite(ngx_mcp_flight_t *f);
static void ngx_mcp_flight_guard(ngx_event_t *ev);
static void ngx_mcp_flight_write_again(ngx_event_t *ev);
static void ngx_mcp_flight_store_lost(ngx_mcp_flight_t *f);
static void ngx_mcp_flight_unlock(ngx_mcp_flight_t *f, ngx_uint_t clear,
    time_t hold);
static void ngx_mcp_flight_wake(ngx_mcp_flight_t *f);
static void ngx_mcp_flight_none(ngx_mcp_flight_t *f, ngx_int_t rc,
    const char *reason, time_t retry);
static void ngx_mcp_flight_end(ngx_mcp_flight_t *f);
static void ngx_mcp_flight_free(ngx_mcp_flight_t *f);


#define ngx_mcp_flight_name(f)  (f)->tree.digest
#define ngx_mcp_flight_user(f)  ((f)->cr->type == NGX_MCP_CREDENTIAL_USER)


ngx_mcp_flight_t *
ngx_mcp_flight_find(ngx_mcp_vault_t *v, u_char *name)
{
    ngx_mcp_tree_node_t  *n;

    n = ngx_mcp_tree_find(&v->flights, name);

    return n ? ngx_queue_data(n, ngx_mcp_flight_t, tree) : NULL;
}


/* The provider, once, and the store before and after. */
ngx_msec_t
ngx_mcp_flight_time(ngx_mcp_credential_t *cr)
{
    return cr->timeout + 3000;
}


ngx_mcp_flight_t *
ngx_mcp_flight_start(ngx_mcp_vault_t *v, ngx_mcp_credential_t *cr,
    const mcp_vault_owner_t *owner, u_char *name, ngx_str_t *subject,
    time_t subject_expires)
{
    ngx_pool_t        *pool;
    ngx_mcp_flight_t  *f;

    pool = ngx_create_pool(4096, v->log);
    if (pool == NULL) {
        return NULL;
    }

    f = ngx_pcalloc(pool, sizeof(ngx_mcp_flight_t));
    if (f == NULL) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    f->pool = pool;
    f->vault = v;
    f->cr = cr;
    f->subject_expires = subject_expires;
    f->deadline = ngx_current_msec + ngx_mcp_flight_time(cr);

    if (ngx_mcp_flight_copy(f, owner, subject) != NGX_OK) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    f->timer.data = f;
    f->timer.log = v->log;

    ngx_queue_init(&f->waiters);

    ngx_mcp_tree_insert(&v->flights, &f->tree, name);
    ngx_queue_insert_tail(&v->all, &f->queue);

    if (ngx_mcp_store_read(v->mmcf, name, ngx_mcp_flight_got, f, &f->call)
        != NGX_AGAIN)
    {
        /* the store is down: that is told as an answer would be */

        f->call = NULL;
        f->timer.handler = ngx_mcp_flight_again;
        f->pause = 0;

        ngx_add_timer(&f->timer, 0);
    }

    return f;
}


static ngx_int_t
ngx_mcp_flight_copy(ngx_mcp_flight_t *f, const mcp_vault_owner_t *owner,
    ngx_str_t *subject)
{
    u_char      *p;
    mcp_mem_t    mem;

    mem = ngx_mcp_mem(f->pool);

#define ngx_mcp_copy(field)                                                   \
    mcp_str_dup(&mem, &f->owner.field, owner->field.data, owner->field.len)

    if (ngx_mcp_copy(credential) != MCP_OK
        || ngx_mcp_copy(issuer) != MCP_OK
        || ngx_mcp_copy(user) != MCP_OK
        || ngx_mcp_copy(client) != MCP_OK
        || ngx_mcp_copy(audience) != MCP_OK
        || ngx_mcp_copy(scope) != MCP_OK
        || ngx_mcp_copy(subject) != MCP_OK)
    {
        return NGX_ERROR;
    }

#undef ngx_mcp_copy

    if (subject && subject->len) {
        f->subject.data = ngx_pstrdup(f->pool, subject);
        if (f->subject.data == NULL) {
            return NGX_ERROR;
        }

        f->subject.len = subject->len;
    }

    /* nobody else's: this host, process and flight */

    p = ngx_pnalloc(f->pool, NGX_MAXHOSTNAMELEN + 64);
    if (p == NULL) {
        return NGX_ERROR;
    }

    f->lock.data = p;
    f->lock.len = ngx_snprintf(p, NGX_MAXHOSTNAMELEN + 64, "%V:%P:%uL:%xL",
                               &ngx_cycle->hostname, ngx_pid,
                               ++f->vault->serial,
                               (uint64_t) ngx_random() << 32
                               | (uint32_t) ngx_random())
                  - p;

    return NGX_OK;
}


static void
ngx_mcp_flight_read(ngx_mcp_flight_t *f)
{
    if (ngx_mcp_store_read(f->vault->mmcf, ngx_mcp_flight_name(f),
                           ngx_mcp_flight_got, f, &f->call)
        != NGX_AGAIN)
    {
        f->call = NULL;
        ngx_mcp_flight_store_lost(f);
    }
}


static void
ngx_mcp_flight_got(void *data, ngx_mcp_store_e rc, ngx_mcp_record_t *record)
{
    ngx_mcp_flight_t *f = data;

    f->call = NULL;

    switch (rc) {

    case NGX_MCP_STORE_OK:
        ngx_mcp_flight_record(f, record);
        return;

    case NGX_MCP_STORE_NONE:
        f->version = 0;

        if (ngx_mcp_flight_user(f)) {
            ngx_mcp_flight_none(f, NGX_DECLINED, "no_grant", 0);
            return;
        }

        ngx_mcp_flight_lock(f);
        return;

    default:
        ngx_mcp_flight_store_lost(f);
    }
}


static void
ngx_mcp_flight_lock(ngx_mcp_flight_t *f)
{
    if (ngx_mcp_store_lock(f->vault->mmcf, ngx_mcp_flight_name(f), &f->lock,
                           f->cr->timeout + NGX_MCP_FLIGHT_SPARE,
                           ngx_mcp_flight_user(f), ngx_mcp_flight_locked, f,
                           &f->call)
        != NGX_AGAIN)
    {
        f->call = NULL;
        ngx_mcp_flight_store_lost(f);
    }
}


static void
ngx_mcp_flight_locked(void *data, ngx_mcp_store_e rc,
    ngx_mcp_record_t *record)
{
    ngx_mcp_flight_t *f = data;

    f->call = NULL;

    switch (rc) {

    case NGX_MCP_STORE_OK:
        f->locked = 1;

        if (record->version == 0) {

            if (ngx_mcp_flight_user(f)) {

                /* it was taken away meanwhile */

                ngx_mcp_flight_unlock(f, 1, 0);
                ngx_mcp_flight_none(f, NGX_DECLINED, "no_grant", 0);
                return;
            }

            f->version = 0;
            ngx_mcp_flight_ask(f);
            return;
        }

        ngx_mcp_flight_record(f, record);
        return;

    case NGX_MCP_STORE_HELD:
        ngx_mcp_flight_held(f, record->hold);
        return;

    default:
        ngx_mcp_flight_store_lost(f);
    }
}


/* Somebody refreshes it: those who wait look again; or nobody shall. */
static void
ngx_mcp_flight_held(ngx_mcp_flight_t *f, ngx_msec_t hold)
{
    time_t  later;

    if (hold) {
        later = (hold + 999) / 1000;

        if (ngx_mcp_warm_keep(f->vault, ngx_mcp_flight_name(f), later)
            != NGX_OK)
        {
            ngx_mcp_flight_none(f, NGX_ERROR, "credential_provider", later);
            return;
        }

        ngx_mcp_flight_wake(f);
        ngx_mcp_flight_end(f);
        return;
    }

    if (ngx_queue_empty(&f->waiters)) {
        ngx_mcp_flight_end(f);
        return;
    }

    if ((ngx_msec_int_t) (ngx_current_msec - f->deadline) >= 0) {
        ngx_mcp_flight_none(f, NGX_ERROR, "credential_timeout", 1);
        return;
    }

    f->pause = f->pause ? ngx_min(f->pause * 2, NGX_MCP_FLIGHT_POLL_MAX)
                        : NGX_MCP_FLIGHT_POLL;

    f->timer.handler = ngx_mcp_flight_again;
    ngx_add_timer(&f->timer, f->pause);
}


static void
ngx_mcp_flight_again(ngx_event_t *ev)
{
    ngx_mcp_flight_read(ev->data);
}


/* A record, read or under the lock. */
static void
ngx_mcp_flight_record(ngx_mcp_flight_t *f, ngx_mcp_record_t *record)
{
    ngx_int_t  rc;

    f->version = record->version;

    if (record->state.len == 7
        && ngx_strncmp(record->state.data, "revoked", 7) == 0)
    {
        ngx_mcp_flight_unlock(f, 1, 0);
        ngx_mcp_flight_none(f, NGX_DECLINED, "no_grant", 0);
        return;
    }

    rc = ngx_mcp_flight_open(f, record);

    if (rc == NGX_OK) {
        ngx_mcp_flight_judge(f, record);
        return;
    }

    if (rc == NGX_ERROR) {
        ngx_mcp_flight_unlock(f, 1, 0);
        ngx_mcp_flight_none(f, NGX_ERROR, "no_memory", 1);
        return;
    }

    if (!ngx_mcp_flight_user(f)) {

        /* sealed with a key that is gone: there will be another */

        ngx_mcp_flight_refresh(f);
        return;
    }

    ngx_log_error(NGX_LOG_ERR, f->vault->log, 0,
                  "mcp_credential \"%V\": a grant cannot be opened with the "
                  "keys of mcp_vault_keys", &f->cr->name);

    ngx_mcp_flight_unlock(f, 1, 0);
    ngx_mcp_flight_none(f, NGX_ERROR, "credential_unreadable", 60);
}


/* NGX_DECLINED: it does not open. */
static ngx_int_t
ngx_mcp_flight_open(ngx_mcp_flight_t *f, ngx_mcp_record_t *record)
{
    int         rc;
    u_char     *p;
    size_t      len;
    mcp_mem_t   mem;
    mcp_str_t   text;

    p = ngx_pnalloc(f->pool, record->tokens.len + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    rc = mcp_vault_open(&f->vault->mmcf->vault_keys, &f->owner, "tokens",
                        record->version, (mcp_str_t *) &record->tokens, p,
                        &len);
    if (rc != MCP_OK) {
        return rc == MCP_DECLINED ? NGX_DECLINED : NGX_ERROR;
    }

    text.data = p;
    text.len = len;
    mem = ngx_mcp_mem(f->pool);

    rc = mcp_vault_tokens_parse(&text, &mem, &f->tokens);

    ngx_explicit_memzero(p, len);

    return rc == MCP_OK ? NGX_OK : NGX_DECLINED;
}


/* Is what the record has good enough? */
static void
ngx_mcp_flight_judge(ngx_mcp_flight_t *f, ngx_mcp_record_t *record)
{
    time_t       now;
    int64_t      at;
    ngx_str_t    flight;
    ngx_uint_t   valid, due, dead;

    now = ngx_time();
    at = mcp_vault_refresh_at(&f->tokens, 0);

    valid = f->tokens.expires == 0 || f->tokens.expires > now + 1;
    due = at && now >= at;
    dead = record->state.len == 6
           && ngx_strncmp(record->state.data, "reauth", 6) == 0;

    if (ngx_mcp_flight_user(f) && (dead || f->tokens.refresh_token.len == 0)) {

        /* nothing can be refreshed: it serves to its end */

        due = 0;
    }

    if (valid) {
        (void) ngx_mcp_warm_put(f->vault, ngx_mcp_flight_name(f), &f->tokens,
                                f->version, 0);

        if (!due) {
            ngx_mcp_flight_unlock(f, 1, 0);
            ngx_mcp_flight_wake(f);
            ngx_mcp_flight_end(f);
            return;
        }

        ngx_mcp_flight_wake(f);

    } else if (ngx_mcp_flight_user(f)
               && (dead || f->tokens.refresh_token.len == 0))
    {
        ngx_mcp_flight_unlock(f, 1, 0);
        ngx_mcp_flight_none(f, NGX_DECLINED,
                            dead ? "grant_dead" : "grant_expired", 0);
        return;
    }

    /* whose note is it?  "VERSION S OWNER" */

    flight = record->flight;

    if (f->locked && flight.len) {
        f->lost = ngx_strlchr(flight.data, flight.data + flight.len, ' ')
                  && ngx_atoi(flight.data,
                              ngx_strlchr(flight.data,
                                          flight.data + flight.len, ' ')
                              - flight.data)
                     == (ngx_int_t) f->version;
    }

    if (f->lost) {
        ngx_log_error(NGX_LOG_WARN, f->vault->log, 0,
                      "mcp_credential \"%V\": a refresh of version %uL began "
                      "(%V) and its outcome is not known", &f->cr->name,
                      f->version, &flight);
    }

    ngx_mcp_flight_refresh(f);
}


static void
ngx_mcp_flight_refresh(ngx_mcp_flight_t *f)
{
    if (f->locked) {
        ngx_mcp_flight_ask(f);
        return;
    }

    ngx_mcp_flight_lock(f);
}


/* The provider is asked; the lock is ours. */
static void
ngx_mcp_flight_ask(ngx_mcp_flight_t *f)
{
    mcp_oauth_answer_t  a;

    f->asked = ngx_time();
    f->asked_us = ngx_mcp_now_us();

    if (ngx_mcp_flight_send(f) == NGX_OK) {
        return;
    }

    ngx_memzero(&a, sizeof(mcp_oauth_answer_t));
    a.class = MCP_OAUTH_TRANSIENT;
    a.error = "not_sent";

    ngx_mcp_flight_failed(f, &a, 1);
}


static ngx_int_t
ngx_mcp_flight_request(ngx_mcp_flight_t *f, mcp_oauth_request_t *req)
{
    mcp_mem_t              mem;
    ngx_mcp_credential_t  *cr;

    cr = f->cr;
    ngx_memzero(req, sizeof(mcp_oauth_request_t));

    req->provider = &cr->provider;
    req->auth = cr->provider.auth;
    req->client_id = *(mcp_str_t *) &cr->client_id;
    req->client_secret = *(mcp_str_t *) &cr->client_secret;
    req->scope = *(mcp_str_t *) &cr->scope;
    req->audience = *(mcp_str_t *) &cr->audience;
    req->resource = *(mcp_str_t *) &cr->resource;

    switch (cr->type) {

    case NGX_MCP_CREDENTIAL_USER:
        req->grant = MCP_OAUTH_REFRESH;
        req->token = f->tokens.refresh_token;
        break;

    case NGX_MCP_CREDENTIAL_EXCHANGE:
        req->grant = MCP_OAUTH_EXCHANGE;
        req->token = *(mcp_str_t *) &f->subject;
        break;

    default: /* NGX_MCP_CREDENTIAL_CLIENT */
        req->grant = MCP_OAUTH_CLIENT_CREDENTIALS;
    }

    if (req->auth != MCP_OAUTH_PRIVATE_KEY_JWT) {
        return NGX_OK;
    }

    mem = ngx_mcp_mem(f->pool);

    return mcp_assertion_make(&cr->assertion, f->asked, &mem, &req->assertion)
           == MCP_OK ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_mcp_flight_send(ngx_mcp_flight_t *f)
{
    u_char                   *p;
    size_t                    size;
    ngx_int_t                 rc;
    mcp_buf_t                 headers, body;
    mcp_oauth_request_t       req;
    ngx_mcp_fetch_request_t   fr;

    if (ngx_mcp_flight_request(f, &req) != NGX_OK) {
        return NGX_ERROR;
    }

    /* three characters for one, at worst */

    size = 3 * (req.token.len + req.client_id.len + req.client_secret.len
                + req.assertion.len + req.scope.len + req.audience.len
                + req.resource.len) + 1024;

    p = ngx_pnalloc(f->pool, 2 * size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    mcp_buf_init(&headers, p, size);
    mcp_buf_init(&body, p + size, size);

    rc = NGX_ERROR;

    if (mcp_oauth_request(&req, &headers, &body) == MCP_OK) {

        ngx_memzero(&fr, sizeof(ngx_mcp_fetch_request_t));

        fr.conf = &f->cr->fetch;
        ngx_str_set(&fr.method, "POST");
        fr.url = f->cr->url;
        fr.headers.data = headers.start;
        fr.headers.len = headers.pos - headers.start;
        fr.body.data = body.start;
        fr.body.len = body.pos - body.start;
        fr.max_body = MCP_OAUTH_BODY;
        fr.done = ngx_mcp_flight_asked;
        fr.data = f;

        rc = ngx_mcp_fetch_start(&fr, f->vault->log, &f->fetch);
    }

    ngx_explicit_memzero(p, 2 * size);

    return rc == NGX_AGAIN ? NGX_OK : NGX_ERROR;
}


static void
ngx_mcp_flight_asked(void *data, ngx_mcp_fetch_result_t *res)
{
    ngx_mcp_flight_t *f = data;

    ngx_uint_t          level;
    mcp_oauth_answer_t  a;

    f->fetch = NULL;

    ngx_mcp_flight_class(f, res, &a);

    level = (a.class == MCP_OAUTH_OK) ? NGX_LOG_INFO : NGX_LOG_ERR;

    ngx_log_error(level, f->vault->log, 0,
                  "mcp_credential \"%V\": token endpoint: %s%s%s (%ui)",
                  &f->cr->name, mcp_oauth_class_name(a.class),
                  a.error ? ", " : "", a.error ? a.error : "", res->status);

    switch (a.class) {

    case MCP_OAUTH_OK:
        ngx_mcp_flight_good(f, &a);
        return;

    case MCP_OAUTH_GRANT_DEAD:
    case MCP_OAUTH_INTERACT:

        if (ngx_mcp_flight_user(f)) {
            ngx_mcp_flight_dead(f, &a);
            return;
        }

        break;

    default:
        break;
    }

    ngx_mcp_flight_failed(f, &a, res->retry_after);
}


static void
ngx_mcp_flight_class(ngx_mcp_flight_t *f, ngx_mcp_fetch_result_t *res,
    mcp_oauth_answer_t *a)
{
    mcp_mem_t            mem;
    mcp_oauth_request_t  req;

    if (res->error) {
        ngx_memzero(a, sizeof(mcp_oauth_answer_t));

        a->class = res->sent ? MCP_OAUTH_UNKNOWN : MCP_OAUTH_TRANSIENT;
        a->error = res->sent ? "no_answer" : "not_sent";

        return;
    }

    ngx_memzero(&req, sizeof(mcp_oauth_request_t));

    req.provider = &f->cr->provider;
    req.grant = ngx_mcp_flight_user(f) ? MCP_OAUTH_REFRESH
                                       : MCP_OAUTH_CLIENT_CREDENTIALS;

    mem = ngx_mcp_mem(f->pool);

    mcp_oauth_answer(&req, res->status, (mcp_str_t *) &res->body, &mem, a);
}


static void
ngx_mcp_flight_good(ngx_mcp_flight_t *f, mcp_oauth_answer_t *a)
{
    f->fresh = 1;

    f->tokens.access_token = a->access_token;
    f->tokens.issued = f->asked;
    f->tokens.expires = a->expires_in ? f->asked + a->expires_in : 0;

    if (a->refresh_token.len) {
        f->tokens.refresh_token = a->refresh_token;
        f->tokens.refresh_expires = a->refresh_expires_in
                                    ? f->asked + a->refresh_expires_in : 0;
    }

    if (a->scope.len) {
        f->tokens.scope = a->scope;
    }

    switch (f->cr->type) {

    case NGX_MCP_CREDENTIAL_USER:
        f->keep = f->tokens.refresh_expires
                  ? f->tokens.refresh_expires - f->asked
                  : NGX_MCP_FLIGHT_GRANT;
        break;

    case NGX_MCP_CREDENTIAL_EXCHANGE:

        /* never longer than what it was exchanged for */

        if (f->tokens.expires == 0
            || f->tokens.expires > f->subject_expires)
        {
            f->tokens.expires = f->subject_expires;
        }

        /* fall through */

    default:
        mcp_str_null(&f->tokens.refresh_token);
        f->keep = f->tokens.expires ? f->tokens.expires - f->asked
                                    : NGX_MCP_FLIGHT_GRANT;
    }

    (void) ngx_mcp_warm_put(f->vault, ngx_mcp_flight_name(f), &f->tokens,
                            f->version + 1, 1);

    if (ngx_mcp_flight_seal(f, "active") != NGX_OK) {
        ngx_log_error(NGX_LOG_ALERT, f->vault->log, 0,
                      "mcp_credential \"%V\": new tokens cannot be sealed, "
                      "they are lost with this worker", &f->cr->name);

        ngx_mcp_flight_wake(f);
        ngx_mcp_flight_end(f);
        return;
    }

    f->deadline = ngx_current_msec + NGX_MCP_FLIGHT_KEEP;
    f->pause = 0;

    ngx_mcp_flight_write(f);
}


/* The person has to grant it again; the access token serves to its end. */
static void
ngx_mcp_flight_dead(ngx_mcp_flight_t *f, mcp_oauth_answer_t *a)
{
    ngx_log_error(NGX_LOG_WARN, f->vault->log, 0,
                  "mcp_credential \"%V\": a grant is over: %s%s",
                  &f->cr->name, a->error,
                  f->lost ? ", after a refresh whose outcome was lost" : "");

    f->keep = NGX_MCP_FLIGHT_GRANT;

    if (ngx_mcp_flight_seal(f, "reauth") != NGX_OK) {
        ngx_mcp_flight_unlock(f, 0, NGX_MCP_FLIGHT_BACKOFF);
        ngx_mcp_flight_none(f, NGX_DECLINED, "grant_dead", 0);
        return;
    }

    f->deadline = ngx_current_msec + ngx_mcp_flight_time(f->cr);
    f->pause = 0;

    ngx_mcp_flight_write(f);
}


/* Nobody asks the provider for a while, here or anywhere. */
static void
ngx_mcp_flight_failed(ngx_mcp_flight_t *f, mcp_oauth_answer_t *a,
    time_t retry_after)
{
    time_t       hold;
    ngx_uint_t   n;
    const char  *reason;

    n = ngx_mcp_warm_failed(f->vault, ngx_mcp_flight_name(f));

    hold = (time_t) 1 << ngx_min(n - 1, 5);
    hold = ngx_max(hold, retry_after);

    switch (a->class) {

    case MCP_OAUTH_CLIENT_BAD:
        hold = ngx_max(hold, NGX_MCP_FLIGHT_CLIENT);
        reason = "credential_client";
        break;

    case MCP_OAUTH_GRANT_DEAD:
    case MCP_OAUTH_INTERACT:
        reason = "credential_refused";
        break;

    case MCP_OAUTH_UNKNOWN:
        reason = "credential_unknown";
        break;

    default:
        reason = "credential_provider";
    }

    hold = ngx_min(hold, ngx_max(retry_after, NGX_MCP_FLIGHT_BACKOFF));

    ngx_mcp_flight_unlock(f, a->class != MCP_OAUTH_UNKNOWN, hold);

    if (ngx_mcp_warm_keep(f->vault, ngx_mcp_flight_name(f), hold) == NGX_OK) {
        ngx_mcp_flight_wake(f);
        ngx_mcp_flight_end(f);
        return;
    }

    ngx_mcp_flight_none(f, NGX_ERROR, reason, hold);
}


static ngx_int_t
ngx_mcp_flight_seal(ngx_mcp_flight_t *f, const char *state)
{
    u_char             *p;
    size_t              size, len;
    mcp_buf_t           b;
    mcp_str_t           text;
    mcp_vault_owner_t   by_name;
    mcp_vault_ring_t   *ring;

    ring = &f->vault->mmcf->vault_keys;

    /* a character may be escaped: two for one in tokens, else six */

    size = 2 * (f->tokens.access_token.len + f->tokens.refresh_token.len)
           + 6 * f->tokens.scope.len + 256;

    size = ngx_max(size, 6 * (f->owner.credential.len + f->owner.issuer.len
                              + f->owner.user.len + f->owner.client.len
                              + f->owner.audience.len + f->owner.scope.len
                              + f->owner.subject.len) + 256);

    p = ngx_pnalloc(f->pool, 3 * (size + MCP_VAULT_OVERHEAD));
    if (p == NULL) {
        return NGX_ERROR;
    }

    mcp_buf_init(&b, p, size);
    mcp_vault_tokens_write(&b, &f->tokens);

    text.data = b.start;
    text.len = b.pos - b.start;

    f->record.tokens.data = p + size;

    if (b.overflow
        || mcp_vault_seal(ring, &f->owner, "tokens", f->version + 1, &text,
                          f->record.tokens.data, &len)
           != MCP_OK)
    {
        ngx_explicit_memzero(p, size);
        return NGX_ERROR;
    }

    f->record.tokens.len = len;

    /* whose it is, for mcpctl, which knows the name alone */

    mcp_buf_init(&b, p, size);
    mcp_vault_owner_write(&b, &f->owner);

    text.len = b.pos - b.start;

    mcp_vault_owner_by_name(&by_name, ngx_mcp_flight_name(f));

    f->record.meta.data = f->record.tokens.data + size + MCP_VAULT_OVERHEAD;

    if (b.overflow
        || mcp_vault_seal(ring, &by_name, "meta", 0, &text,
                          f->record.meta.data, &len)
           != MCP_OK)
    {
        ngx_explicit_memzero(p, size);
        return NGX_ERROR;
    }

    ngx_explicit_memzero(p, size);

    f->record.meta.len = len;
    f->record.state.data = (u_char *) state;
    f->record.state.len = ngx_strlen(state);
    f->record.expires = f->tokens.expires;

    return NGX_OK;
}


static void
ngx_mcp_flight_write(ngx_mcp_flight_t *f)
{
    if (ngx_mcp_store_write(f->vault->mmcf, ngx_mcp_flight_name(f), &f->lock,
                            f->version, &f->record, f->keep,
                            ngx_mcp_flight_written, f, &f->call)
        != NGX_AGAIN)
    {
        f->call = NULL;
        ngx_mcp_flight_rewrite(f);
        return;
    }

    /* a worker that leaves waits for that */

    f->timer.handler = ngx_mcp_flight_guard;
    ngx_add_timer(&f->timer, NGX_MCP_FLIGHT_GUARD);

    if (f->fresh) {

        /* what the provider gave is good, whatever the store says */

        ngx_mcp_flight_wake(f);
    }
}


static void
ngx_mcp_flight_written(void *data, ngx_mcp_store_e rc,
    ngx_mcp_record_t *record)
{
    ngx_mcp_flight_t *f = data;

    f->call = NULL;

    if (f->timer.timer_set) {
        ngx_del_timer(&f->timer);
    }

    if (rc == NGX_MCP_STORE_UNKNOWN) {
        ngx_mcp_flight_rewrite(f);
        return;
    }

    /* an earlier write of ours may have arrived after all */

    if (rc == NGX_MCP_STORE_CONFLICT
        && !(record->version == f->version + 1
             && record->tokens.len == f->record.tokens.len
             && ngx_memcmp(record->tokens.data, f->record.tokens.data,
                           record->tokens.len) == 0))
    {
        ngx_log_error(NGX_LOG_ERR, f->vault->log, 0,
                      "mcp_credential \"%V\": version %uL was written by "
                      "somebody else meanwhile, ours is dropped",
                      &f->cr->name, f->version + 1);

        ngx_mcp_vault_drop(f->vault->mmcf, ngx_mcp_flight_name(f));

        f->locked = 0;
        f->fresh = 0;

        if (record->version == 0) {
            ngx_mcp_flight_none(f, NGX_DECLINED, "no_grant", 0);
            return;
        }

        ngx_mcp_flight_record(f, record);
        return;
    }

    f->locked = 0;

    if (f->fresh) {
        ngx_mcp_flight_wake(f);
        ngx_mcp_flight_end(f);
        return;
    }

    /* the grant is dead */

    if (ngx_mcp_warm_keep(f->vault, ngx_mcp_flight_name(f),
                          NGX_MCP_FLIGHT_BACKOFF)
        == NGX_OK)
    {
        ngx_mcp_flight_wake(f);
        ngx_mcp_flight_end(f);
        return;
    }

    ngx_mcp_flight_none(f, NGX_DECLINED, "grant_dead", 0);
}


/* The store did not answer.  New tokens may be all that is left of a grant. */
static void
ngx_mcp_flight_rewrite(ngx_mcp_flight_t *f)
{
    if (f->fresh) {
        ngx_mcp_flight_wake(f);
    }

    if (ngx_exiting || ngx_terminate || ngx_quit) {
        if (f->deadline - ngx_current_msec > NGX_MCP_FLIGHT_LEAVING) {
            f->deadline = ngx_current_msec + NGX_MCP_FLIGHT_LEAVING;
        }
    }

    if ((ngx_msec_int_t) (ngx_current_msec - f->deadline) >= 0) {

        ngx_log_error(NGX_LOG_ALERT, f->vault->log, 0,
                      "mcp_credential \"%V\": version %uL could not be "
                      "written, and is lost%s", &f->cr->name, f->version + 1,
                      ngx_mcp_flight_user(f) ? "; the grant may be, too" : "");

        if (f->fresh) {
            ngx_mcp_flight_end(f);
            return;
        }

        ngx_mcp_flight_none(f, NGX_DECLINED, "grant_dead", 0);
        return;
    }

    f->pause = f->pause ? ngx_min(f->pause * 2, NGX_MCP_FLIGHT_WRITE_MAX)
                        : NGX_MCP_FLIGHT_WRITE;

    f->timer.handler = ngx_mcp_flight_write_again;
    ngx_add_timer(&f->timer, f->pause);
}


/* The store has a timeout of its own: nothing to do here. */
static void
ngx_mcp_flight_guard(ngx_event_t *ev)
{
    /* void */
}


static void
ngx_mcp_flight_write_again(ngx_event_t *ev)
{
    ngx_mcp_flight_write(ev->data);
}


/* Nobody knows what the record has: nothing is asked, nothing is changed. */
static void
ngx_mcp_flight_store_lost(ngx_mcp_flight_t *f)
{
    f->locked = 0;

    if (ngx_mcp_warm_keep(f->vault, ngx_mcp_flight_name(f), 5) == NGX_OK) {
        ngx_mcp_flight_wake(f);
        ngx_mcp_flight_end(f);
        return;
    }

    ngx_mcp_flight_none(f, NGX_ERROR, "credential_store", 1);
}


/* hold: s that nobody shall ask the provider */
static void
ngx_mcp_flight_unlock(ngx_mcp_flight_t *f, ngx_uint_t clear, time_t hold)
{
    if (!f->locked) {
        return;
    }

    f->locked = 0;

    ngx_mcp_store_unlock(f->vault->mmcf, ngx_mcp_flight_name(f), &f->lock,
                         clear && !f->lost, (ngx_msec_t) hold * 1000);
}


/* Each asks again; whoever is woken may begin other flights, not this one. */
static void
ngx_mcp_flight_wake(ngx_mcp_flight_t *f)
{
    ngx_queue_t            *q, waiters;
    ngx_mcp_keys_waiter_t  *w;

    if (ngx_queue_empty(&f->waiters)) {
        return;
    }

    ngx_queue_init(&waiters);
    ngx_queue_add(&waiters, &f->waiters);
    ngx_queue_init(&f->waiters);

    while (!ngx_queue_empty(&waiters)) {
        q = ngx_queue_head(&waiters);
        w = ngx_queue_data(q, ngx_mcp_keys_waiter_t, queue);

        ngx_queue_remove(q);
        w->waiting = 0;

        w->wake(w->data);
    }
}


static void
ngx_mcp_flight_none(ngx_mcp_flight_t *f, ngx_int_t rc, const char *reason,
    time_t retry)
{
    ngx_mcp_warm_none(f->vault, ngx_mcp_flight_name(f), rc, reason, retry);

    ngx_mcp_flight_wake(f);
    ngx_mcp_flight_end(f);
}


static void
ngx_mcp_flight_end(ngx_mcp_flight_t *f)
{
    ngx_queue_t       waiters;
    ngx_mcp_flight_t  copy;

    /* who began to wait while others were woken has to ask somebody else */

    ngx_rbtree_delete(&f->vault->flights, &f->tree.node);
    ngx_queue_remove(&f->queue);

    if (ngx_queue_empty(&f->waiters)) {
        ngx_mcp_flight_free(f);
        return;
    }

    ngx_queue_init(&waiters);
    ngx_queue_add(&waiters, &f->waiters);

    ngx_mcp_flight_free(f);

    ngx_queue_init(&copy.waiters);
    ngx_queue_add(&copy.waiters, &waiters);

    ngx_mcp_flight_wake(&copy);
}


static void
ngx_mcp_flight_free(ngx_mcp_flight_t *f)
{
    if (f->timer.timer_set) {
        ngx_del_timer(&f->timer);
    }

    if (f->call) {
        ngx_mcp_store_cancel(f->call);
    }

    if (f->fetch) {
        ngx_mcp_fetch_cancel(f->fetch);
    }

    if (f->subject.len) {
        ngx_explicit_memzero(f->subject.data, f->subject.len);
    }

    if (f->tokens.access_token.len) {
        ngx_explicit_memzero(f->tokens.access_token.data,
                             f->tokens.access_token.len);
    }

    if (f->tokens.refresh_token.len) {
        ngx_explicit_memzero(f->tokens.refresh_token.data,
                             f->tokens.refresh_token.len);
    }

    ngx_destroy_pool(f->pool);
}


/* The worker goes.  What was not written is said. */
void
ngx_mcp_flight_end_all(ngx_mcp_vault_t *v)
{
    ngx_queue_t       *q;
    ngx_mcp_flight_t  *f;

    while (!ngx_queue_empty(&v->all)) {
        q = ngx_queue_head(&v->all);
        f = ngx_queue_data(q, ngx_mcp_flight_t, queue);

        if (f->fresh) {
            ngx_log_error(NGX_LOG_ALERT, v->log, 0,
                          "mcp_credential \"%V\": the worker leaves before "
                          "version %uL was written", &f->cr->name,
                          f->version + 1);
        }

        ngx_rbtree_delete(&v->flights, &f->tree.node);
        ngx_queue_remove(&f->queue);
        ngx_mcp_flight_free(f);
    }
}
