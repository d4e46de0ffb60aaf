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
 * New tokens are in use as soon as the provider gave them, but for a record
 * that was changed or taken away meanwhile: then the write says first whether
 * they are good.  The write that keeps them is repeated while the store does
 * not answer, for ten minutes: they may be the only copy.
 *
 * Nobody owns a flight.  Each step ends in a call that comes back later, or in
 * ngx_mcp_flight_end(), after which nothing of it is touched.
 */

#include "ngx_mcp_flight.h"


#define NGX_MCP_FLIGHT_POLL      50     /* ms between two looks at a record */
#define NGX_MCP_FLIGHT_POLL_MAX  200    /* that somebody else refreshes */
#define NGX_MCP_FLIGHT_SPARE     15000  /* ms: a lock outlives its request by */
#define NGX_MCP_FLIGHT_LATE      10000  /* ms: one that came so late may be
                                           over before the request is */
#define NGX_MCP_FLIGHT_UNKNOWN   30     /* s, then it is looked at again */


#define ngx_mcp_flight_state(record, text)                                    \
    ((record)->state.len == sizeof(text) - 1                                  \
     && ngx_memcmp((record)->state.data, text, sizeof(text) - 1) == 0)


static ngx_int_t ngx_mcp_flight_copy(ngx_mcp_flight_t *f,
    const mcp_vault_owner_t *owner, ngx_str_t *subject);
static void ngx_mcp_flight_read(ngx_mcp_flight_t *f);
static void ngx_mcp_flight_got(void *data, ngx_mcp_store_e rc,
    ngx_mcp_record_t *record);
static void ngx_mcp_flight_lock(ngx_mcp_flight_t *f);
static void ngx_mcp_flight_locked(void *data, ngx_mcp_store_e rc,
    ngx_mcp_record_t *record);
static ngx_int_t ngx_mcp_flight_noted(ngx_mcp_flight_t *f,
    ngx_mcp_record_t *record);
static void ngx_mcp_flight_held(ngx_mcp_flight_t *f, ngx_msec_t hold);
static void ngx_mcp_flight_again(ngx_event_t *ev);
static ngx_int_t ngx_mcp_flight_open(ngx_mcp_flight_t *f,
    ngx_mcp_record_t *record);
static void ngx_mcp_flight_ungranted(ngx_mcp_flight_t *f);
static void ngx_mcp_flight_judge(ngx_mcp_flight_t *f,
    ngx_mcp_record_t *record);
static ngx_uint_t ngx_mcp_flight_may_ask(ngx_mcp_flight_t *f,
    ngx_mcp_record_t *record, ngx_uint_t valid);
static void ngx_mcp_flight_refresh(ngx_mcp_flight_t *f);
static void ngx_mcp_flight_store_lost(ngx_mcp_flight_t *f);
static void ngx_mcp_flight_free(ngx_mcp_flight_t *f);


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
    f->since = ngx_current_msec;

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

        /* what was published while we asked for the lock may be newer */

        f->moved = f->reread;
        f->reread = 0;

        if (ngx_mcp_flight_noted(f, record) != NGX_OK) {
            ngx_mcp_flight_unlock(f, NGX_MCP_NOTE_LEAVE, 0);
            ngx_mcp_flight_none(f, NGX_ERROR, "no_memory", 1);
            return;
        }

        if (ngx_current_msec - f->since >= NGX_MCP_FLIGHT_LATE) {

            /* this process was stopped, or the whole machine */

            ngx_mcp_flight_unlock(f, NGX_MCP_NOTE_BACK, 0);
            ngx_mcp_flight_store_lost(f);
            return;
        }

        if (record->version == 0) {

            if (ngx_mcp_flight_user(f)) {

                /* it was taken away meanwhile */

                ngx_mcp_flight_ungranted(f);
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


/* What the lock call wrote over is put back, unless we ask. */
static ngx_int_t
ngx_mcp_flight_noted(ngx_mcp_flight_t *f, ngx_mcp_record_t *record)
{
    ngx_str_null(&f->note);

    if (record->flight.len == 0) {
        return NGX_OK;
    }

    f->note.data = ngx_pstrdup(f->pool, &record->flight);
    if (f->note.data == NULL) {
        return NGX_ERROR;
    }

    f->note.len = record->flight.len;

    return NGX_OK;
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

        /* it serves; let us see in a second what has become of it */

        (void) ngx_mcp_warm_keep(f->vault, ngx_mcp_flight_name(f), 1);
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
void
ngx_mcp_flight_record(ngx_mcp_flight_t *f, ngx_mcp_record_t *record)
{
    ngx_int_t  rc;

    if (f->reread && !f->locked) {
        f->reread = 0;
        ngx_mcp_flight_read(f);
        return;
    }

    f->version = record->version;

    if (ngx_mcp_flight_state(record, "revoked")) {
        ngx_mcp_flight_ungranted(f);
        return;
    }

    rc = NGX_DECLINED;

    if (ngx_mcp_flight_state(record, "active")
        || ngx_mcp_flight_state(record, "reauth"))
    {
        rc = ngx_mcp_flight_open(f, record);
    }

    if (rc == NGX_OK) {

        if (mcp_vault_from(&f->tokens.endpoint,
                           &f->cr->provider.token_endpoint))
        {
            ngx_mcp_flight_judge(f, record);

        } else if (ngx_mcp_flight_user(f)) {

            /* granted at another provider, which had this name then */

            ngx_mcp_flight_ungranted(f);

        } else {
            ngx_mcp_flight_refresh(f);
        }

        return;
    }

    if (rc == NGX_ERROR) {
        ngx_mcp_flight_unlock(f, NGX_MCP_NOTE_BACK, 0);
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
                  "keys of mcp_vault_keys, or is none", &f->cr->name);

    ngx_mcp_flight_unlock(f, NGX_MCP_NOTE_BACK, 0);
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

    ngx_mcp_flight_forget(&f->tokens.access_token);
    ngx_mcp_flight_forget(&f->tokens.refresh_token);

    rc = mcp_vault_tokens_parse(&text, &mem, &f->tokens);

    ngx_explicit_memzero(p, len);

    return rc == MCP_OK ? NGX_OK : NGX_DECLINED;
}


static void
ngx_mcp_flight_ungranted(ngx_mcp_flight_t *f)
{
    ngx_mcp_flight_unlock(f, NGX_MCP_NOTE_BACK, 0);
    ngx_mcp_flight_none(f, NGX_DECLINED, "no_grant", 0);
}


/* Is what the record has good enough? */
static void
ngx_mcp_flight_judge(ngx_mcp_flight_t *f, ngx_mcp_record_t *record)
{
    time_t       now;
    int64_t      at;
    ngx_uint_t   valid, due, dead;

    now = ngx_time();
    at = mcp_vault_refresh_at(&f->tokens, f->due ? 999 : 0);

    valid = f->tokens.expires == 0 || f->tokens.expires > now + 1;
    due = at && now >= at;
    if (f->keepalive && now - f->tokens.issued >= f->cr->keepalive) {
        due = 1;
    }

    dead = ngx_mcp_flight_state(record, "reauth");

    if (ngx_mcp_flight_user(f) && (dead || f->tokens.refresh_token.len == 0)) {

        /* nothing can be refreshed: it serves to its end */

        due = 0;
    }

    if (valid) {
        (void) ngx_mcp_warm_put(f->vault, ngx_mcp_flight_name(f), &f->tokens,
                                f->version, 0);

        if (!due) {
            ngx_mcp_flight_unlock(f, NGX_MCP_NOTE_BACK, 0);
            ngx_mcp_flight_wake(f);
            ngx_mcp_flight_end(f);
            return;
        }

        ngx_mcp_flight_wake(f);

    } else if (ngx_mcp_flight_user(f)
               && (dead || f->tokens.refresh_token.len == 0))
    {
        ngx_mcp_flight_unlock(f, NGX_MCP_NOTE_BACK, 0);
        ngx_mcp_flight_none(f, NGX_DECLINED,
                            dead ? "grant_dead" : "grant_expired", 0);
        return;
    }

    if (f->locked && !ngx_mcp_flight_may_ask(f, record, valid)) {
        return;
    }

    ngx_mcp_flight_refresh(f);
}


/*
 * A refresh of this version may have begun before.  Whether its refresh token
 * may be used again is the provider's habit; until then it is said that nobody
 * knows, and the access token serves to its end.  0: f has ended.
 */
static ngx_uint_t
ngx_mcp_flight_may_ask(ngx_mcp_flight_t *f, ngx_mcp_record_t *record,
    ngx_uint_t valid)
{
    time_t             now, at;
    ngx_str_t         *said;
    mcp_vault_note_t   note;

    static mcp_str_t  any = mcp_string("?");

    now = ngx_time();
    f->first = now;

    if (record->flight.len == 0) {
        return 1;
    }

    said = &record->flight;

    if (mcp_vault_note_parse((mcp_str_t *) said, &note) != MCP_OK) {

        /* whoever wrote that, it is no sign that nothing happened, nor is it
         * for a log */

        said = (ngx_str_t *) &any;

        note.version = f->version;
        note.first = 0;
        note.last = now;
        note.owner = any;
    }

    if (note.version != f->version) {
        return 1;
    }

    f->lost = 1;
    f->first = note.first;

    at = mcp_vault_note_retry(&note, f->cr->provider.rotates,
                              f->cr->provider.grace, f->tokens.expires, now);

    if (ngx_mcp_warm_lost(f->vault, ngx_mcp_flight_name(f), f->version)) {
        ngx_log_error(NGX_LOG_WARN, f->vault->log, 0,
                      "mcp_credential \"%V\": a refresh of version %uL began "
                      "and its outcome is unknown (%V)%s", &f->cr->name,
                      f->version, said,
                      at ? "; it is not repeated yet" : "");

        ngx_mcp_flight_event(f, 0, "credential_unknown");
    }

    if (at == 0) {
        return 1;
    }

    at = ngx_min(at - now, NGX_MCP_FLIGHT_UNKNOWN);

    ngx_mcp_flight_unlock(f, NGX_MCP_NOTE_BACK, 0);

    if (valid) {
        (void) ngx_mcp_warm_keep(f->vault, ngx_mcp_flight_name(f), at);
        ngx_mcp_flight_wake(f);
        ngx_mcp_flight_end(f);
        return 0;
    }

    ngx_mcp_flight_none(f, NGX_ERROR, "credential_unknown", at);

    return 0;
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


void
ngx_mcp_flight_changed(ngx_mcp_flight_t *f, uint64_t version)
{
    if (f->fresh || (version && version <= f->version)) {
        return;
    }

    if (f->locked) {
        f->moved = 1;

    } else {
        f->reread = 1;
    }
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


void
ngx_mcp_flight_unlock(ngx_mcp_flight_t *f, ngx_mcp_note_e note, time_t hold)
{
    u_char     text[NGX_INT64_LEN * 3 + 8];
    ngx_str_t  unknown, *n;

    if (!f->locked) {
        return;
    }

    f->locked = 0;

    switch (note) {

    case NGX_MCP_NOTE_BACK:
        n = &f->note;
        break;

    case NGX_MCP_NOTE_UNKNOWN:
        unknown.data = text;
        unknown.len = ngx_sprintf(text, "%uL %T - %T", f->version, f->first,
                                  f->asked)
                      - text;
        n = &unknown;
        break;

    default: /* NGX_MCP_NOTE_LEAVE */
        n = NULL;
    }

    ngx_mcp_store_unlock(f->vault->mmcf, ngx_mcp_flight_name(f), &f->lock, n,
                         (ngx_msec_t) hold * 1000);
}


/* Each asks again; whoever is woken may begin other flights, not this one. */
void
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


void
ngx_mcp_flight_none(ngx_mcp_flight_t *f, ngx_int_t rc, const char *reason,
    time_t retry)
{
    ngx_mcp_warm_none(f->vault, ngx_mcp_flight_name(f), rc, reason, retry);

    ngx_mcp_flight_wake(f);
    ngx_mcp_flight_end(f);
}


void
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

    if (f->keepalive) {
        f->vault->sweeping--;
    }

    if (f->subject.len) {
        ngx_explicit_memzero(f->subject.data, f->subject.len);
    }

    ngx_mcp_flight_forget(&f->tokens.access_token);
    ngx_mcp_flight_forget(&f->tokens.refresh_token);

    ngx_destroy_pool(f->pool);
}


/* A token that another takes the place of, in memory of the flight's pool. */
void
ngx_mcp_flight_forget(mcp_str_t *token)
{
    if (token->len) {
        ngx_explicit_memzero((u_char *) token->data, token->len);
    }

    mcp_str_null(token);
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
