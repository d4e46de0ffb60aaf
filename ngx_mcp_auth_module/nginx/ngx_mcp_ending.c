/*
 * A grant ends: read the record, put what ends it at the provider into the
 * queue and make the record a tombstone, in one script, over the version that
 * was read.  See ngx_mcp_ending.h.
 *
 * Always true: a record that became a tombstone by this has its token in the
 * queue, or there is nothing that its provider could be told.  Each call is on
 * the worker's list until it is over, belongs to no request, and ends in
 * ngx_mcp_ending_over().
 */

#include "ngx_mcp_ending.h"
#include "ngx_mcp_revoke.h"

#include <openssl/rand.h>


#define NGX_MCP_ENDING_TRIES  10        /* over versions that moved */
#define NGX_MCP_ENDING_CALLS  256       /* at a time, of this worker */


struct ngx_mcp_ending_call_s {
    ngx_queue_t              queue;
    ngx_mcp_endings_t       *endings;
    ngx_pool_t              *pool;
    ngx_uint_t               ncalls;
    ngx_mcp_credential_t    *cr;
    mcp_vault_owner_t        owner;
    u_char                   name[MCP_VAULT_NAME];
    const char              *reason;
    ngx_uint_t               judge;     /* only what is older than a watermark
                                           of the person */
    ngx_uint_t               tries;
    ngx_mcp_store_call_t    *store;
    ngx_mcp_redis_call_t    *redis;
    ngx_mcp_ending_pt        done;
    void                    *data;
};


static ngx_mcp_ending_call_t *ngx_mcp_ending_call(ngx_mcp_main_conf_t *mmcf,
    ngx_mcp_credential_t *cr, const mcp_vault_owner_t *owner,
    const char *reason);
static ngx_int_t ngx_mcp_ending_read(ngx_mcp_ending_call_t *ec);
static void ngx_mcp_ending_got(void *data, ngx_mcp_store_e rc,
    ngx_mcp_record_t *record);
static ngx_int_t ngx_mcp_ending_open(ngx_mcp_ending_call_t *ec,
    ngx_mcp_record_t *record, mcp_vault_tokens_t *t);
static ngx_int_t ngx_mcp_ending_id(u_char *id);
static ngx_int_t ngx_mcp_ending_begin(ngx_mcp_ending_call_t *ec,
    uint64_t version, const mcp_vault_tokens_t *t);
static void ngx_mcp_ending_begun(void *data, redisReply *reply);
static void ngx_mcp_ending_over(ngx_mcp_ending_call_t *ec, ngx_int_t rc);
static void ngx_mcp_ending_wipe(mcp_vault_tokens_t *t);


ngx_int_t
ngx_mcp_ending_conf(ngx_conf_t *cf, ngx_mcp_credential_t *cr)
{
    u_char      *p;
    size_t       escape;
    ngx_str_t   *endpoint;
    const char  *error;

    endpoint = (ngx_str_t *) &cr->provider.revoke_endpoint;

    if (endpoint->len == 0 && ngx_strcmp(cr->provider.name, "github") == 0) {

        escape = 2 * ngx_escape_uri(NULL, cr->client_id.data,
                                    cr->client_id.len,
                                    NGX_ESCAPE_URI_COMPONENT);

        p = ngx_pnalloc(cf->pool, sizeof("https://api.github.com/applications/"
                                         "/grant") - 1
                                  + cr->client_id.len + escape);
        if (p == NULL) {
            return NGX_ERROR;
        }

        endpoint->data = p;

        p = ngx_cpymem(p, "https://api.github.com/applications/",
                       sizeof("https://api.github.com/applications/") - 1);
        p = (u_char *) ngx_escape_uri(p, cr->client_id.data, cr->client_id.len,
                                      NGX_ESCAPE_URI_COMPONENT);
        p = ngx_cpymem(p, "/grant", sizeof("/grant") - 1);

        endpoint->len = p - endpoint->data;
    }

    if (endpoint->len == 0) {
        return NGX_OK;
    }

    if (ngx_mcp_url_parse(cf->pool, endpoint, &cr->revoke_url, &error)
        != NGX_OK)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid URL \"%V\": %s",
                           endpoint, error);
        return NGX_ERROR;
    }

    cr->revoke_fetch.timeout = cr->timeout;

    return ngx_mcp_fetch_conf_init(cf, &cr->revoke_fetch, &cr->revoke_url,
                                   &cr->trusted_certificate);
}


ngx_int_t
ngx_mcp_ending_init_worker(ngx_mcp_vault_t *v, ngx_cycle_t *cycle)
{
    ngx_uint_t               i, n;
    ngx_mcp_endings_t       *en;
    ngx_mcp_credential_t   **crp;

    en = ngx_pcalloc(cycle->pool, sizeof(ngx_mcp_endings_t));
    if (en == NULL) {
        return NGX_ERROR;
    }

    en->vault = v;
    ngx_queue_init(&en->calls);

    crp = v->mmcf->credentials.elts;
    n = 0;

    for (i = 0; i < v->mmcf->credentials.nelts; i++) {
        if (crp[i]->type == NGX_MCP_CREDENTIAL_USER) {
            n++;
            en->lease = ngx_max(en->lease, (time_t) (crp[i]->timeout / 1000));
        }
    }

    if (n == 0) {
        return NGX_OK;
    }

    en->lease += 30;

    if (ngx_mcp_redis_key(v->mmcf->redis, cycle->pool, "rv", NULL, &en->hash)
           != NGX_OK
        || ngx_mcp_redis_key(v->mmcf->redis, cycle->pool, "rvq", NULL,
                             &en->set)
           != NGX_OK
        || ngx_mcp_redis_key(v->mmcf->redis, cycle->pool, "events", NULL,
                             &en->channel)
           != NGX_OK
        || ngx_mcp_ending_queue_init(en, cycle) != NGX_OK)
    {
        return NGX_ERROR;
    }

    v->endings = en;

    return NGX_OK;
}


void
ngx_mcp_ending_exit_worker(ngx_mcp_vault_t *v)
{
    ngx_queue_t        *q;
    ngx_mcp_endings_t  *en;

    en = v->endings;

    if (en == NULL) {
        return;
    }

    while (!ngx_queue_empty(&en->calls)) {
        q = ngx_queue_head(&en->calls);
        ngx_mcp_ending_over(ngx_queue_data(q, ngx_mcp_ending_call_t, queue),
                            NGX_ERROR);
    }

    ngx_mcp_ending_queue_exit(en);

    v->endings = NULL;
}


ngx_int_t
ngx_mcp_ending_grant(ngx_mcp_main_conf_t *mmcf, ngx_mcp_credential_t *cr,
    const mcp_vault_owner_t *owner, const char *reason, ngx_mcp_ending_pt done,
    void *data, ngx_mcp_ending_call_t **call)
{
    ngx_mcp_ending_call_t  *ec;

    ec = ngx_mcp_ending_call(mmcf, cr, owner, reason);
    if (ec == NULL) {
        return NGX_ERROR;
    }

    if (ngx_mcp_ending_read(ec) != NGX_OK) {
        ngx_mcp_ending_over(ec, NGX_ERROR);
        return NGX_ERROR;
    }

    ec->done = done;
    ec->data = data;
    *call = ec;

    return NGX_AGAIN;
}


void
ngx_mcp_ending_cancel(ngx_mcp_ending_call_t *call)
{
    call->done = NULL;
}


void
ngx_mcp_ending_person(ngx_mcp_main_conf_t *mmcf, const mcp_str_t *issuer,
    const mcp_str_t *user)
{
    ngx_uint_t              i;
    mcp_vault_owner_t       owner;
    ngx_mcp_credential_t  **crp;

    crp = mmcf->credentials.elts;

    for (i = 0; i < mmcf->credentials.nelts; i++) {

        if (crp[i]->type != NGX_MCP_CREDENTIAL_USER) {
            continue;
        }

        ngx_memzero(&owner, sizeof(mcp_vault_owner_t));

        owner.credential = *(mcp_str_t *) &crp[i]->name;
        owner.issuer = *issuer;
        owner.user = *user;

        ngx_mcp_ending_revoked(mmcf, crp[i], &owner);
    }
}


void
ngx_mcp_ending_revoked(ngx_mcp_main_conf_t *mmcf, ngx_mcp_credential_t *cr,
    const mcp_vault_owner_t *owner)
{
    ngx_mcp_ending_call_t  *ec;

    /* is there a watermark that is in force, of whatever time? */

    if (ngx_mcp_revoke_person(mmcf, &owner->issuer, &owner->user, 0)
        != NGX_DECLINED)
    {
        return;
    }

    ec = ngx_mcp_ending_call(mmcf, cr, owner, "user_revoked");
    if (ec == NULL) {
        return;
    }

    ec->judge = 1;

    if (ngx_mcp_ending_read(ec) != NGX_OK) {
        ngx_mcp_ending_over(ec, NGX_ERROR);
    }
}


/* NULL: too many are under way, or no memory. */
static ngx_mcp_ending_call_t *
ngx_mcp_ending_call(ngx_mcp_main_conf_t *mmcf, ngx_mcp_credential_t *cr,
    const mcp_vault_owner_t *owner, const char *reason)
{
    mcp_mem_t               mem;
    ngx_uint_t              n;
    ngx_pool_t             *pool;
    ngx_queue_t            *q;
    ngx_mcp_endings_t      *en;
    ngx_mcp_ending_call_t  *ec;

    en = mmcf->vault ? mmcf->vault->endings : NULL;

    if (en == NULL) {
        return NULL;
    }

    n = 0;

    for (q = ngx_queue_head(&en->calls);
         q != ngx_queue_sentinel(&en->calls);
         q = ngx_queue_next(q))
    {
        if (++n == NGX_MCP_ENDING_CALLS) {
            return NULL;
        }
    }

    pool = ngx_create_pool(4096, en->vault->log);
    if (pool == NULL) {
        return NULL;
    }

    mem = ngx_mcp_mem(pool);
    ec = ngx_pcalloc(pool, sizeof(ngx_mcp_ending_call_t));

    if (ec == NULL
        || mcp_str_dup(&mem, &ec->owner.issuer, owner->issuer.data,
                       owner->issuer.len)
           != MCP_OK
        || mcp_str_dup(&mem, &ec->owner.user, owner->user.data,
                       owner->user.len)
           != MCP_OK)
    {
        ngx_destroy_pool(pool);
        return NULL;
    }

    ec->owner.credential = *(mcp_str_t *) &cr->name;
    ec->endings = en;
    ec->pool = pool;
    ec->cr = cr;
    ec->reason = reason;

    mcp_vault_name(&ec->owner, ec->name);
    ngx_queue_insert_tail(&en->calls, &ec->queue);

    return ec;
}


static ngx_int_t
ngx_mcp_ending_read(ngx_mcp_ending_call_t *ec)
{
    if (ec->tries++ == NGX_MCP_ENDING_TRIES) {
        return NGX_ERROR;
    }

    if (ngx_mcp_store_read(ec->endings->vault->mmcf, ec->name,
                           ngx_mcp_ending_got, ec, &ec->store)
        != NGX_AGAIN)
    {
        ec->store = NULL;
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_mcp_ending_got(void *data, ngx_mcp_store_e rc, ngx_mcp_record_t *record)
{
    ngx_mcp_ending_call_t *ec = data;

    ngx_int_t             readable;
    mcp_vault_tokens_t    t;
    ngx_mcp_main_conf_t  *mmcf;

    ec->store = NULL;
    mmcf = ec->endings->vault->mmcf;

    if (rc == NGX_MCP_STORE_NONE
        || (rc == NGX_MCP_STORE_OK && record->state.len == 7
            && ngx_memcmp(record->state.data, "revoked", 7) == 0))
    {
        ngx_mcp_ending_over(ec, NGX_DECLINED);
        return;
    }

    if (rc != NGX_MCP_STORE_OK) {
        ngx_mcp_ending_over(ec, NGX_ERROR);
        return;
    }

    readable = ngx_mcp_ending_open(ec, record, &t);

    if (readable == NGX_ERROR) {
        ngx_mcp_ending_over(ec, NGX_ERROR);
        return;
    }

    /* what cannot be opened is of no use to anybody, and ends as well */

    if (ec->judge && readable == NGX_OK
        && ngx_mcp_revoke_person(mmcf, &ec->owner.issuer, &ec->owner.user,
                                 t.granted ? t.granted : t.issued)
           != NGX_DECLINED)
    {
        ngx_mcp_ending_wipe(&t);
        ngx_mcp_ending_over(ec, NGX_DECLINED);
        return;
    }

    if (readable != NGX_OK) {
        ngx_log_error(NGX_LOG_ERR, ec->endings->vault->log, 0,
                      "mcp_credential \"%V\": a grant that ends cannot be "
                      "opened with the keys of mcp_vault_keys: its provider "
                      "cannot be told", &ec->cr->name);
    }

    if (ngx_mcp_ending_begin(ec, record->version,
                             readable == NGX_OK ? &t : NULL)
        != NGX_OK)
    {
        ngx_mcp_ending_wipe(&t);
        ngx_mcp_ending_over(ec, NGX_ERROR);
        return;
    }

    ngx_mcp_ending_wipe(&t);
}


/* NGX_DECLINED: it does not open. */
static ngx_int_t
ngx_mcp_ending_open(ngx_mcp_ending_call_t *ec, ngx_mcp_record_t *record,
    mcp_vault_tokens_t *t)
{
    int         rc;
    u_char     *p;
    size_t      len;
    mcp_mem_t   mem;
    mcp_str_t   text;

    ngx_memzero(t, sizeof(mcp_vault_tokens_t));

    p = ngx_pnalloc(ec->pool, record->tokens.len + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    rc = mcp_vault_open(&ec->endings->vault->mmcf->vault_keys, &ec->owner,
                        "tokens", record->version,
                        (mcp_str_t *) &record->tokens, p, &len);

    if (rc != MCP_OK) {
        return rc == MCP_DECLINED ? NGX_DECLINED : NGX_ERROR;
    }

    text.data = p;
    text.len = len;
    mem = ngx_mcp_mem(ec->pool);

    rc = mcp_vault_tokens_parse(&text, &mem, t);

    ngx_explicit_memzero(p, len);

    return rc == MCP_OK ? NGX_OK : NGX_DECLINED;
}


static ngx_int_t
ngx_mcp_ending_id(u_char *id)
{
    u_char  random[MCP_ENDING_ID / 2];

    if (RAND_bytes(random, sizeof(random)) != 1) {
        return NGX_ERROR;
    }

    ngx_hex_dump(id, random, sizeof(random));

    return NGX_OK;
}


ngx_int_t
ngx_mcp_ending_seal(ngx_mcp_main_conf_t *mmcf, ngx_pool_t *pool,
    const mcp_ending_t *entry, const u_char *id, ngx_str_t *sealed)
{
    int                 rc;
    u_char             *p;
    size_t              size;
    mcp_buf_t           b;
    mcp_str_t           text;
    mcp_vault_owner_t   by_name;

    size = mcp_ending_size(entry);

    p = ngx_pnalloc(pool, 2 * size + MCP_VAULT_OVERHEAD);
    if (p == NULL) {
        return NGX_ERROR;
    }

    mcp_buf_init(&b, p, size);
    mcp_ending_write(&b, entry);

    text.data = b.start;
    text.len = b.pos - b.start;
    sealed->data = p + size;

    mcp_vault_owner_by_name(&by_name, id);

    rc = b.overflow ? MCP_ERROR
                    : mcp_vault_seal(&mmcf->vault_keys, &by_name,
                                     MCP_ENDING_FIELD, 0, &text, sealed->data,
                                     &sealed->len);

    ngx_explicit_memzero(p, size);

    return rc == MCP_OK ? NGX_OK : NGX_ERROR;
}


/* t: NULL, they cannot be read */
static ngx_int_t
ngx_mcp_ending_begin(ngx_mcp_ending_call_t *ec, uint64_t version,
    const mcp_vault_tokens_t *t)
{
    u_char              id[MCP_ENDING_ID], v[NGX_INT64_LEN],
                        due[NGX_INT64_LEN], key[128];
    ngx_str_t           argv[12];
    mcp_ending_t        entry;
    ngx_mcp_endings_t  *en;

    en = ec->endings;

    ngx_str_set(&argv[0], "EVAL");
    argv[1].data = (u_char *) mcp_ending_begin_script;
    argv[1].len = ngx_strlen(mcp_ending_begin_script);
    ngx_str_set(&argv[2], "3");

    argv[3].data = key;
    argv[3].len = ngx_snprintf(key, sizeof(key), "%Vcred:%*s",
                               &en->vault->mmcf->redis->prefix,
                               (size_t) MCP_VAULT_NAME, ec->name)
                  - key;
    argv[4] = en->hash;
    argv[5] = en->set;

    argv[6].data = v;
    argv[6].len = ngx_sprintf(v, "%uL", version) - v;

    ngx_str_null(&argv[7]);
    ngx_str_null(&argv[8]);

    if (t && mcp_ending_make(&ec->cr->provider, &ec->owner, t, ngx_time(),
                             &entry)
             == MCP_OK)
    {

        if (ngx_mcp_ending_id(id) != NGX_OK
            || ngx_mcp_ending_seal(en->vault->mmcf, ec->pool, &entry, id,
                                   &argv[8])
               != NGX_OK)
        {
            return NGX_ERROR;
        }

        argv[7].data = id;
        argv[7].len = MCP_ENDING_ID;
    }

    argv[9].data = due;
    argv[9].len = ngx_sprintf(due, "%T", ngx_time()) - due;
    argv[10].data = ec->name;
    argv[10].len = MCP_VAULT_NAME;
    argv[11] = en->channel;

    if (ngx_mcp_redis_send(en->vault->mmcf->redis_client, 12, argv,
                           ngx_mcp_ending_begun, ec, &ec->redis)
        != NGX_AGAIN)
    {
        ec->redis = NULL;
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_mcp_ending_begun(void *data, redisReply *reply)
{
    ngx_mcp_ending_call_t *ec = data;

    ngx_mcp_main_conf_t  *mmcf;

    ec->redis = NULL;
    mmcf = ec->endings->vault->mmcf;

    if (reply == NULL || reply->type != REDIS_REPLY_INTEGER) {
        ngx_mcp_ending_over(ec, NGX_ERROR);
        return;
    }

    if (reply->integer == 0) {

        /* somebody refreshed it, or ended it, meanwhile */

        if (ngx_mcp_ending_read(ec) != NGX_OK) {
            ngx_mcp_ending_over(ec, NGX_ERROR);
        }

        return;
    }

    ngx_mcp_vault_drop(mmcf, ec->name, 0);

    ngx_mcp_ending_event(mmcf, "credential/end", "allow", ec->reason,
                         &ec->owner, -1);

    if (ec->cr->provider.revoke_endpoint.len == 0) {
        ngx_mcp_ending_event(mmcf, "credential/revoke", "error",
                             "no_revoke_endpoint", &ec->owner, -1);
    }

    ngx_mcp_ending_hurry(ec->endings);
    ngx_mcp_ending_over(ec, NGX_OK);
}


static void
ngx_mcp_ending_over(ngx_mcp_ending_call_t *ec, ngx_int_t rc)
{
    void               *data;
    ngx_mcp_ending_pt   done;

    if (ec->store) {
        ngx_mcp_store_cancel(ec->store);
    }

    if (ec->redis) {
        ngx_mcp_redis_cancel(ec->redis);
    }

    done = ec->done;
    data = ec->data;

    ngx_queue_remove(&ec->queue);
    ngx_destroy_pool(ec->pool);

    if (done) {
        done(data, rc);
    }
}


void
ngx_mcp_ending_tokens(ngx_mcp_main_conf_t *mmcf, ngx_mcp_credential_t *cr,
    const mcp_vault_owner_t *owner, const mcp_vault_tokens_t *t)
{
    ngx_int_t           rc;
    u_char              id[MCP_ENDING_ID], due[NGX_INT64_LEN];
    ngx_str_t           argv[8];
    ngx_pool_t         *pool;
    mcp_ending_t        entry;
    ngx_mcp_endings_t  *en;

    en = mmcf->vault->endings;

    if (en == NULL
        || mcp_ending_make(&cr->provider, owner, t, ngx_time(), &entry)
           != MCP_OK)
    {
        return;
    }

    pool = ngx_create_pool(4096, en->vault->log);
    rc = NGX_ERROR;

    if (pool && ngx_mcp_ending_id(id) == NGX_OK
        && ngx_mcp_ending_seal(mmcf, pool, &entry, id, &argv[6]) == NGX_OK)
    {
        ngx_str_set(&argv[0], "EVAL");
        argv[1].data = (u_char *) mcp_ending_add_script;
        argv[1].len = ngx_strlen(mcp_ending_add_script);
        ngx_str_set(&argv[2], "2");
        argv[3] = en->hash;
        argv[4] = en->set;
        argv[5].data = id;
        argv[5].len = MCP_ENDING_ID;
        argv[7].data = due;
        argv[7].len = ngx_sprintf(due, "%T", ngx_time()) - due;

        rc = ngx_mcp_redis_send(mmcf->redis_client, 8, argv, NULL, NULL, NULL);
    }

    if (rc == NGX_AGAIN) {
        ngx_mcp_ending_hurry(en);

    } else {
        ngx_log_error(NGX_LOG_ALERT, en->vault->log, 0,
                      "mcp_credential \"%V\": new tokens of a grant that ended "
                      "meanwhile could not be put aside, their provider is not "
                      "told", &cr->name);
    }

    if (pool) {
        ngx_destroy_pool(pool);
    }
}


void
ngx_mcp_ending_event(ngx_mcp_main_conf_t *mmcf, const char *method,
    const char *decision, const char *reason, const mcp_vault_owner_t *owner,
    int64_t us)
{
    mcp_audit_t      a;
    mcp_principal_t  p;

    ngx_memzero(&a, sizeof(mcp_audit_t));
    ngx_memzero(&p, sizeof(mcp_principal_t));

    p.iss = owner->issuer;
    p.user = owner->user;

    a.ev = "credential";
    a.http_method = method;
    a.decision = decision;
    a.reason = reason;
    a.principal = &p;
    a.credential = owner->credential;
    a.credential_us = us;

    ngx_mcp_log_event(mmcf, &a);
}


static void
ngx_mcp_ending_wipe(mcp_vault_tokens_t *t)
{
    ngx_mcp_flight_forget(&t->access_token);
    ngx_mcp_flight_forget(&t->refresh_token);
}
