/*
 * Downstream credentials that are fetched: what this worker holds of them, and
 * who asks for more.  ngx_mcp_vault.h is the contract; the way to the store and
 * to the provider is in ngx_mcp_flight.c.
 *
 * A warm credential serves without asking anybody: for 60 s since its record
 * was last read or written, and never past its end.  After 45 s it is looked at
 * again while it serves; so is one of whose lifetime a fifth is left.  What is
 * published about a record, and the loss of the subscription, drops it.
 *
 * What could not be had is remembered for a second: those who wait ask again
 * when the flight is over, and find it here.
 *
 * Tokens are in this worker's heap alone, and cleansed when they go.
 */

#include "ngx_mcp_ending.h"
#include "ngx_mcp_flight.h"


#define NGX_MCP_WARM_MAX    4096        /* entries */
#define NGX_MCP_WARM_TIME   60          /* s */
#define NGX_MCP_WARM_LOOK   45          /* s; then it is looked at again */
#define NGX_MCP_WARM_USED   600         /* s between two notes of its use */
#define NGX_MCP_WARM_NONE   1           /* s, of what could not be had */
#define NGX_MCP_WARM_TURN   5000        /* ms between two looks for what is
                                           over */


static void ngx_mcp_vault_turn(ngx_event_t *ev);
static void ngx_mcp_vault_record(ngx_mcp_ctx_t *ctx, ngx_mcp_credential_t *cr,
    const mcp_vault_owner_t *owner, u_char *name);
static ngx_uint_t ngx_mcp_warm_kept(ngx_mcp_warm_t *e, time_t now);
static ngx_mcp_warm_t *ngx_mcp_warm_find(ngx_mcp_vault_t *v, u_char *name);
static ngx_mcp_warm_t *ngx_mcp_warm_entry(ngx_mcp_vault_t *v, u_char *name);
static void ngx_mcp_warm_delete(ngx_mcp_vault_t *v, ngx_mcp_warm_t *e);
static void ngx_mcp_warm_cleanse(ngx_mcp_warm_t *e);
static ngx_int_t ngx_mcp_vault_answer(ngx_mcp_warm_t *e,
    ngx_mcp_vault_result_t *res, const char **reason, time_t *retry_after);


ngx_int_t
ngx_mcp_vault_init_worker(ngx_cycle_t *cycle, ngx_mcp_main_conf_t *mmcf)
{
    ngx_mcp_vault_t  *v;

    if (!mmcf->fetched_credentials) {
        return NGX_OK;
    }

    v = ngx_calloc(sizeof(ngx_mcp_vault_t), cycle->log);
    if (v == NULL) {
        return NGX_ERROR;
    }

    v->mmcf = mmcf;
    v->log = cycle->log;

    ngx_rbtree_init(&v->warm, &v->warm_sentinel, ngx_mcp_tree_order);
    ngx_rbtree_init(&v->flights, &v->flights_sentinel, ngx_mcp_tree_order);
    ngx_queue_init(&v->lru);
    ngx_queue_init(&v->all);

    v->turn.handler = ngx_mcp_vault_turn;
    v->turn.data = v;
    v->turn.log = cycle->log;
    v->turn.cancelable = 1;

    ngx_add_timer(&v->turn, NGX_MCP_WARM_TURN);

    mmcf->vault = v;

    if (ngx_mcp_ending_init_worker(v, cycle) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_mcp_sweep_init_worker(v, cycle);
}


/* What is over is not kept, whether somebody asks for it or not. */
static void
ngx_mcp_vault_turn(ngx_event_t *ev)
{
    time_t            now;
    ngx_queue_t      *q, *next;
    ngx_mcp_warm_t   *e;
    ngx_mcp_vault_t  *v;

    v = ev->data;
    now = ngx_time();

    for (q = ngx_queue_head(&v->lru);
         q != ngx_queue_sentinel(&v->lru);
         q = next)
    {
        next = ngx_queue_next(q);
        e = ngx_queue_data(q, ngx_mcp_warm_t, lru);

        /* failures are counted a little longer */

        if (e->until > now + NGX_MCP_WARM_TIME
            || (e->rc == NGX_OK ? e->until
                                : e->until + 2 * NGX_MCP_WARM_TIME) <= now)
        {
            ngx_mcp_warm_delete(v, e);
        }
    }

    ngx_add_timer(ev, NGX_MCP_WARM_TURN);
}


void
ngx_mcp_vault_exit_worker(ngx_mcp_main_conf_t *mmcf)
{
    ngx_mcp_vault_t  *v;

    v = mmcf->vault;

    if (v == NULL) {
        return;
    }

    if (v->turn.timer_set) {
        ngx_del_timer(&v->turn);
    }

    ngx_mcp_sweep_exit_worker(v);
    ngx_mcp_flight_end_all(v);
    ngx_mcp_ending_exit_worker(v);
    ngx_mcp_vault_drop(mmcf, NULL, 0);

    ngx_free(v);
    mmcf->vault = NULL;
}


ngx_int_t
ngx_mcp_vault_get(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    ngx_mcp_credential_t *cr, ngx_str_t *subject, ngx_mcp_keys_waiter_t *w,
    ngx_mcp_vault_result_t *res, const char **reason, time_t *retry_after)
{
    time_t             now;
    u_char             name[MCP_VAULT_NAME];
    ngx_mcp_warm_t    *e;
    ngx_mcp_vault_t   *v;
    mcp_vault_owner_t  owner;
    ngx_uint_t         due;
    ngx_mcp_flight_t  *f;

    v = ((ngx_mcp_main_conf_t *)
         ngx_http_get_module_main_conf(r, ngx_http_mcp_auth_module))->vault;

    ngx_mcp_vault_owner(ctx->principal, cr, &owner);
    ngx_mcp_vault_record(ctx, cr, &owner, name);

    now = ngx_time();
    e = ngx_mcp_warm_find(v, name);
    f = ngx_mcp_flight_find(v, name);

    if (e && ngx_mcp_warm_kept(e, now)
        && (e->rc != NGX_OK || ngx_mcp_warm_valid(e, now)))
    {
        due = e->refresh && now >= e->refresh;

        if (e->rc == NGX_OK && f == NULL && (due || now >= e->look)) {

            /* in the background; a failure changes nothing here */

            f = ngx_mcp_flight_start(v, cr, &owner, name, subject,
                                     ctx->principal->exp);
            if (f) {
                f->due = due;
            }
        }

        if (e->rc == NGX_OK && cr->type == NGX_MCP_CREDENTIAL_USER
            && now - e->used >= NGX_MCP_WARM_USED)
        {
            /* its person will see when */

            e->used = now;
            ngx_mcp_store_used(v->mmcf, name, now);
        }

        return ngx_mcp_vault_answer(e, res, reason, retry_after);
    }

    if (w->started && (ngx_msec_int_t) (ngx_current_msec - w->deadline) >= 0) {
        *reason = "credential_timeout";
        *retry_after = 1;
        return NGX_ERROR;
    }

    if (f == NULL) {
        f = ngx_mcp_flight_start(v, cr, &owner, name, subject,
                                 ctx->principal->exp);
    }

    if (f == NULL) {
        *reason = "credential_store";
        *retry_after = 1;
        return NGX_ERROR;
    }

    if (!w->started) {
        w->started = 1;
        w->deadline = ngx_current_msec + ngx_mcp_flight_time(cr);
    }

    w->waiting = 1;
    ngx_queue_insert_tail(&f->waiters, &w->queue);

    return NGX_AGAIN;
}


/* The record's name: a digest, which is kept with the verified token. */
static void
ngx_mcp_vault_record(ngx_mcp_ctx_t *ctx, ngx_mcp_credential_t *cr,
    const mcp_vault_owner_t *owner, u_char *name)
{
    ngx_mcp_cache_entry_t  *e;

    if (cr->type == NGX_MCP_CREDENTIAL_CLIENT) {
        ngx_memcpy(name, cr->record, MCP_VAULT_NAME);
        return;
    }

    e = ctx->entry;

    if (e == NULL || e->principal != ctx->principal) {
        mcp_vault_name(owner, name);
        return;
    }

    if (e->record_of != cr) {
        mcp_vault_name(owner, e->record);
        e->record_of = cr;
    }

    ngx_memcpy(name, e->record, MCP_VAULT_NAME);
}


void
ngx_mcp_vault_drop(ngx_mcp_main_conf_t *mmcf, u_char *name, uint64_t version)
{
    ngx_queue_t       *q;
    ngx_mcp_warm_t    *e;
    ngx_mcp_vault_t   *v;
    ngx_mcp_flight_t  *f;

    v = mmcf->vault;

    if (v == NULL) {
        return;
    }

    if (name) {
        e = ngx_mcp_warm_find(v, name);

        if (e && !(e->rc == NGX_OK && version && e->version >= version)) {
            ngx_mcp_warm_delete(v, e);
        }

        f = ngx_mcp_flight_find(v, name);

        if (f) {
            ngx_mcp_flight_changed(f, version);
        }

        return;
    }

    while (!ngx_queue_empty(&v->lru)) {
        q = ngx_queue_head(&v->lru);
        ngx_mcp_warm_delete(v, ngx_queue_data(q, ngx_mcp_warm_t, lru));
    }

    for (q = ngx_queue_head(&v->all);
         q != ngx_queue_sentinel(&v->all);
         q = ngx_queue_next(q))
    {
        ngx_mcp_flight_changed(ngx_queue_data(q, ngx_mcp_flight_t, queue), 0);
    }
}


/* Exchanges are of one token, which is not accepted any more. */
void
ngx_mcp_vault_revoked(ngx_mcp_main_conf_t *mmcf, const mcp_str_t *issuer,
    const mcp_str_t *user)
{
    u_char                  name[MCP_VAULT_NAME];
    ngx_uint_t              i;
    mcp_vault_owner_t       owner;
    ngx_mcp_credential_t  **crp;

    if (mmcf->vault == NULL) {
        return;
    }

    crp = mmcf->credentials.elts;

    for (i = 0; i < mmcf->credentials.nelts; i++) {
        if (crp[i]->type != NGX_MCP_CREDENTIAL_USER) {
            continue;
        }

        ngx_memzero(&owner, sizeof(mcp_vault_owner_t));

        owner.credential = *(mcp_str_t *) &crp[i]->name;
        owner.issuer = *issuer;
        owner.user = *user;

        mcp_vault_name(&owner, name);
        ngx_mcp_vault_drop(mmcf, name, 0);
    }
}


/* NAME, or NAME VERSION; anything else may be about any record. */
void
ngx_mcp_vault_event(ngx_mcp_main_conf_t *mmcf, ngx_str_t *text)
{
    ngx_int_t  version;

    version = 0;

    if (text->len > MCP_VAULT_NAME + 1) {
        version = ngx_atoi(text->data + MCP_VAULT_NAME + 1,
                           text->len - MCP_VAULT_NAME - 1);
    }

    ngx_mcp_vault_drop(mmcf, text->len < MCP_VAULT_NAME ? NULL : text->data,
                       version == NGX_ERROR ? 0 : version);
}


void
ngx_mcp_vault_owner(const mcp_principal_t *p, ngx_mcp_credential_t *cr,
    mcp_vault_owner_t *o)
{
    ngx_memzero(o, sizeof(mcp_vault_owner_t));

    o->credential = *(mcp_str_t *) &cr->name;

    switch (cr->type) {

    case NGX_MCP_CREDENTIAL_USER:
        o->issuer = p->iss;
        o->user = p->user;
        break;

    case NGX_MCP_CREDENTIAL_EXCHANGE:
        o->issuer = p->iss;
        o->user = p->user;
        o->client = p->client;
        o->subject = p->token_id;

        /* fall through */

    default: /* NGX_MCP_CREDENTIAL_CLIENT */
        o->audience = *(mcp_str_t *) &cr->audience;
        o->scope = *(mcp_str_t *) &cr->scope;
    }
}


static ngx_int_t
ngx_mcp_vault_answer(ngx_mcp_warm_t *e, ngx_mcp_vault_result_t *res,
    const char **reason, time_t *retry_after)
{
    if (e->rc != NGX_OK) {
        *reason = e->reason;
        *retry_after = e->retry;
        return e->rc;
    }

    res->token = e->token;
    res->version = e->version;
    res->refreshed = e->refreshed;

    return NGX_OK;
}


ngx_uint_t
ngx_mcp_warm_valid(ngx_mcp_warm_t *e, time_t now)
{
    return e->rc == NGX_OK && (e->expires == 0 || e->expires > now + 1);
}


/* What would be kept too long was put there before the clock was set back. */
static ngx_uint_t
ngx_mcp_warm_kept(ngx_mcp_warm_t *e, time_t now)
{
    return e->until > now && e->until <= now + NGX_MCP_WARM_TIME;
}


/* A token that is good: its text is copied. */
ngx_int_t
ngx_mcp_warm_put(ngx_mcp_vault_t *v, u_char *name,
    const mcp_vault_tokens_t *t, uint64_t version, ngx_uint_t refreshed)
{
    u_char          *token;
    time_t           now;
    ngx_mcp_warm_t  *e;

    token = ngx_alloc(t->access_token.len, v->log);
    e = token ? ngx_mcp_warm_entry(v, name) : NULL;

    if (e == NULL) {
        if (token) {
            ngx_free(token);
        }

        return NGX_ERROR;
    }

    ngx_mcp_warm_cleanse(e);
    ngx_memcpy(token, t->access_token.data, t->access_token.len);

    now = ngx_time();

    /* what was read again does not end a row of failures to refresh it */

    if (refreshed || version != e->version) {
        e->failures = 0;
    }

    e->rc = NGX_OK;
    e->token.data = token;
    e->token.len = t->access_token.len;
    e->version = version;
    e->refreshed = refreshed;
    e->expires = t->expires;
    e->refresh = mcp_vault_refresh_at(t, ngx_random() % 1000);
    e->until = now + NGX_MCP_WARM_TIME;
    e->look = now + NGX_MCP_WARM_LOOK;

    if (e->expires) {
        e->until = ngx_min(e->until, e->expires);
    }

    return NGX_OK;
}


/* The store says nothing, or the provider said no: what is good stays. */
ngx_int_t
ngx_mcp_warm_keep(ngx_mcp_vault_t *v, u_char *name, time_t later)
{
    time_t           now;
    ngx_mcp_warm_t  *e;

    e = ngx_mcp_warm_find(v, name);
    now = ngx_time();

    if (e == NULL
        || !ngx_mcp_warm_valid(e, now)
        || !ngx_mcp_warm_kept(e, now))
    {
        return NGX_DECLINED;
    }

    e->look = ngx_max(e->look, now + later);

    if (e->refresh) {
        e->refresh = ngx_max(e->refresh, now + later);
    }

    return NGX_OK;
}


void
ngx_mcp_warm_none(ngx_mcp_vault_t *v, u_char *name, ngx_int_t rc,
    const char *reason, time_t retry)
{
    ngx_mcp_warm_t  *e;

    e = ngx_mcp_warm_entry(v, name);
    if (e == NULL) {
        return;
    }

    ngx_mcp_warm_cleanse(e);

    e->rc = rc;
    e->reason = reason;
    e->retry = retry;
    e->until = ngx_time() + NGX_MCP_WARM_NONE;
}


/* How often in a row, of this worker's knowledge. */
ngx_uint_t
ngx_mcp_warm_failed(ngx_mcp_vault_t *v, u_char *name)
{
    ngx_mcp_warm_t  *e;

    e = ngx_mcp_warm_entry(v, name);

    return e ? ++e->failures : 1;
}


ngx_uint_t
ngx_mcp_warm_lost(ngx_mcp_vault_t *v, u_char *name, uint64_t version)
{
    ngx_mcp_warm_t  *e;

    e = ngx_mcp_warm_entry(v, name);

    if (e && e->lost == version) {
        return 0;
    }

    if (e) {
        e->lost = version;
    }

    return 1;
}


static ngx_mcp_warm_t *
ngx_mcp_warm_find(ngx_mcp_vault_t *v, u_char *name)
{
    ngx_mcp_warm_t       *e;
    ngx_mcp_tree_node_t  *n;

    n = ngx_mcp_tree_find(&v->warm, name);

    if (n == NULL) {
        return NULL;
    }

    e = ngx_queue_data(n, ngx_mcp_warm_t, tree);

    ngx_queue_remove(&e->lru);
    ngx_queue_insert_head(&v->lru, &e->lru);

    return e;
}


/* There already, or new and good for nothing yet. */
static ngx_mcp_warm_t *
ngx_mcp_warm_entry(ngx_mcp_vault_t *v, u_char *name)
{
    ngx_mcp_warm_t  *e;

    e = ngx_mcp_warm_find(v, name);
    if (e) {
        return e;
    }

    e = ngx_calloc(sizeof(ngx_mcp_warm_t), v->log);
    if (e == NULL) {
        return NULL;
    }

    if (v->n >= NGX_MCP_WARM_MAX) {
        ngx_mcp_warm_delete(v, ngx_queue_data(ngx_queue_last(&v->lru),
                                              ngx_mcp_warm_t, lru));
    }

    e->rc = NGX_ERROR;
    e->reason = "credential_store";

    ngx_mcp_tree_insert(&v->warm, &e->tree, name);
    ngx_queue_insert_head(&v->lru, &e->lru);
    v->n++;

    return e;
}


static void
ngx_mcp_warm_delete(ngx_mcp_vault_t *v, ngx_mcp_warm_t *e)
{
    ngx_rbtree_delete(&v->warm, &e->tree.node);
    ngx_queue_remove(&e->lru);
    v->n--;

    ngx_mcp_warm_cleanse(e);
    ngx_free(e);
}


static void
ngx_mcp_warm_cleanse(ngx_mcp_warm_t *e)
{
    if (e->token.data) {
        ngx_explicit_memzero(e->token.data, e->token.len);
        ngx_free(e->token.data);
        ngx_str_null(&e->token);
    }
}
