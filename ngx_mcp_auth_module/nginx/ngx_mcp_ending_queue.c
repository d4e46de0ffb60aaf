/*
 * The queue of what providers have to be told: take an entry that is due, have
 * its provider told (ngx_mcp_ending_ask.c), and take the entry away or put it
 * off.
 *
 * Always true: an entry leaves the queue when the provider said that the grant
 * is over, or after MCP_ENDING_TIME, which is said at alert.  Whoever takes one
 * has it for `lease`; it comes back by itself.  A worker has one entry at a
 * time, and one worker of this nginx looks for them every few seconds (a lock
 * in the zone); who has just put one in looks at once.
 *
 * A provider that does not answer is not asked by this worker for a while: its
 * other entries are put off, so that those of other providers have their turn.
 */

#include "ngx_mcp_conf.h"
#include "ngx_mcp_ending.h"


#define NGX_MCP_ENDING_FIRST   1000     /* ms after the worker began */
#define NGX_MCP_ENDING_LOOK    5000     /* ms between two looks */
#define NGX_MCP_ENDING_HOLD    300000   /* ms, of a worker that hangs */


static void ngx_mcp_ending_timer(ngx_event_t *ev);
static void ngx_mcp_ending_take(ngx_mcp_endings_t *en);
static void ngx_mcp_ending_taken(void *data, redisReply *reply);
static ngx_int_t ngx_mcp_ending_unseal(ngx_mcp_endings_t *en,
    redisReply *sealed);
static void ngx_mcp_ending_next(ngx_mcp_endings_t *en);
static void ngx_mcp_ending_newer(void *data, ngx_mcp_store_e rc,
    ngx_mcp_record_t *record);
static void ngx_mcp_ending_changed(void *data, redisReply *reply);
static void ngx_mcp_ending_on(ngx_mcp_endings_t *en);
static void ngx_mcp_ending_settled(void *data, redisReply *reply);
static void ngx_mcp_ending_forget(ngx_mcp_endings_t *en);
static void ngx_mcp_ending_rest(ngx_mcp_endings_t *en);
static ngx_int_t ngx_mcp_ending_eval(ngx_mcp_endings_t *en,
    const char *script, ngx_str_t *args, ngx_uint_t n, ngx_mcp_redis_pt done);


/* 32 bytes, and no name of a record, which has hex digits only */
static u_char  ngx_mcp_ending_lock[] = "the queue of grants that ended..";


ngx_int_t
ngx_mcp_ending_queue_init(ngx_mcp_endings_t *en, ngx_cycle_t *cycle)
{
    en->closed = ngx_pcalloc(cycle->pool, sizeof(time_t)
                             * en->vault->mmcf->credentials.nelts);
    if (en->closed == NULL) {
        return NGX_ERROR;
    }

    en->timer.handler = ngx_mcp_ending_timer;
    en->timer.data = en;
    en->timer.log = cycle->log;
    en->timer.cancelable = 1;

    ngx_add_timer(&en->timer, NGX_MCP_ENDING_FIRST + ngx_random() % 1000);

    return NGX_OK;
}


void
ngx_mcp_ending_queue_exit(ngx_mcp_endings_t *en)
{
    if (en->redis) {
        ngx_mcp_redis_cancel(en->redis);
        en->redis = NULL;
    }

    if (en->store) {
        ngx_mcp_store_cancel(en->store);
        en->store = NULL;
    }

    if (en->fetch) {
        ngx_mcp_fetch_cancel(en->fetch);
        en->fetch = NULL;
    }

    ngx_mcp_ending_forget(en);

    if (en->timer.timer_set) {
        ngx_del_timer(&en->timer);
    }

    ngx_mcp_zone_lock_give(en->vault->mmcf->zone, ngx_mcp_ending_lock, 0);
}


void
ngx_mcp_ending_hurry(ngx_mcp_endings_t *en)
{
    if (en->busy) {
        en->again = 1;
        return;
    }

    if (en->timer.timer_set) {
        ngx_del_timer(&en->timer);
    }

    en->again = 1;
    ngx_add_timer(&en->timer, 1);
}


static void
ngx_mcp_ending_timer(ngx_event_t *ev)
{
    ngx_msec_t          hold;
    ngx_mcp_endings_t  *en;

    en = ev->data;

    if (!en->again
        && ngx_mcp_zone_lock_take(en->vault->mmcf->zone, ngx_mcp_ending_lock,
                                  NGX_MCP_ENDING_HOLD, &hold)
           != NGX_OK)
    {
        ngx_add_timer(&en->timer, (hold ? hold : NGX_MCP_ENDING_LOOK)
                                  + ngx_random() % 1000);
        return;
    }

    en->again = 0;
    en->busy = 1;

    ngx_mcp_ending_take(en);
}


static void
ngx_mcp_ending_take(ngx_mcp_endings_t *en)
{
    u_char     now[NGX_TIME_T_LEN], due[NGX_TIME_T_LEN];
    ngx_str_t  args[2];

    args[0].data = now;
    args[0].len = ngx_sprintf(now, "%T", ngx_time()) - now;
    args[1].data = due;
    args[1].len = ngx_sprintf(due, "%T", ngx_time() + en->lease) - due;

    if (ngx_mcp_ending_eval(en, mcp_ending_take_script, args, 2,
                            ngx_mcp_ending_taken)
        != NGX_OK)
    {
        ngx_mcp_ending_rest(en);
    }
}


/* { how many wait, ID, entry } */
static void
ngx_mcp_ending_taken(void *data, redisReply *reply)
{
    ngx_mcp_endings_t *en = data;

    mcp_str_t            name;
    redisReply          *id, *sealed;
    ngx_mcp_counters_t  *counters;

    en->redis = NULL;

    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY
        || reply->elements == 0
        || reply->element[0]->type != REDIS_REPLY_INTEGER)
    {
        ngx_mcp_ending_rest(en);
        return;
    }

    counters = ngx_mcp_zone_counters(en->vault->mmcf->zone);
    counters->endings = (ngx_atomic_uint_t) reply->element[0]->integer;

    if (reply->elements != 3
        || reply->element[1]->type != REDIS_REPLY_STRING
        || reply->element[2]->type != REDIS_REPLY_STRING)
    {
        ngx_mcp_ending_rest(en);
        return;
    }

    id = reply->element[1];
    sealed = reply->element[2];

    name.data = (u_char *) id->str;
    name.len = id->len;

    if (!mcp_vault_is_name(&name) || sealed->len == 0) {

        /* by nobody of us, not for a log, and due again when it is not thought
         * of */

        ngx_mcp_ending_take(en);
        return;
    }

    ngx_memcpy(en->id, id->str, MCP_ENDING_ID);

    en->pool = ngx_create_pool(4096, en->vault->log);

    if (en->pool == NULL) {
        ngx_mcp_ending_rest(en);
        return;
    }

    if (ngx_mcp_ending_unseal(en, sealed) != NGX_OK) {

        ngx_log_error(NGX_LOG_ERR, en->vault->log, 0,
                      "a grant that ended (%*s) cannot be opened with the "
                      "keys of mcp_vault_keys: its provider is not told",
                      (size_t) MCP_ENDING_ID, en->id);

        /* another node may have the key */

        ngx_mcp_ending_settle(en, ngx_time() + 3600);
        return;
    }

    ngx_mcp_ending_next(en);
}


static ngx_int_t
ngx_mcp_ending_unseal(ngx_mcp_endings_t *en, redisReply *sealed)
{
    int                 rc;
    u_char             *p;
    size_t              len;
    mcp_mem_t           mem;
    mcp_str_t           text;
    mcp_vault_owner_t   by_name;

    p = ngx_pnalloc(en->pool, sealed->len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    text.data = (u_char *) sealed->str;
    text.len = sealed->len;

    mcp_vault_owner_by_name(&by_name, en->id);

    if (mcp_vault_open(&en->vault->mmcf->vault_keys, &by_name,
                       MCP_ENDING_FIELD, 0, &text, p, &len)
        != MCP_OK)
    {
        return NGX_ERROR;
    }

    text.data = p;
    text.len = len;
    mem = ngx_mcp_mem(en->pool);

    rc = mcp_ending_parse(&text, &mem, &en->entry);

    ngx_explicit_memzero(p, len);

    return rc == MCP_OK ? NGX_OK : NGX_ERROR;
}


static void
ngx_mcp_ending_next(ngx_mcp_endings_t *en)
{
    u_char                name[MCP_VAULT_NAME];
    ngx_mcp_main_conf_t  *mmcf;

    mmcf = en->vault->mmcf;

    en->cr = ngx_mcp_conf_find_credential(mmcf,
                                          (ngx_str_t *) &en->entry.owner
                                                        .credential);

    if (en->cr == NULL || en->cr->type != NGX_MCP_CREDENTIAL_USER
        || !mcp_vault_from(&en->entry.endpoint,
                           &en->cr->provider.token_endpoint)
        || mcp_oauth_revoke_by(&en->cr->provider,
                               en->entry.refresh_token.len != 0)
           == 0)
    {

        /* not here, or not any more */

        en->cr = NULL;
        ngx_mcp_ending_failed(en, "no_revoke_endpoint", -1, -1);
        return;
    }

    /*
     * Many providers know one authorization of a person for a client: by the
     * old token all of it would end, also what she granted since.
     */

    mcp_vault_name(&en->entry.owner, name);

    if (ngx_mcp_store_read(mmcf, name, ngx_mcp_ending_newer, en, &en->store)
        != NGX_AGAIN)
    {
        en->store = NULL;
        ngx_mcp_ending_forget(en);
        ngx_mcp_ending_rest(en);
    }
}


static void
ngx_mcp_ending_newer(void *data, ngx_mcp_store_e rc, ngx_mcp_record_t *record)
{
    ngx_mcp_endings_t *en = data;

    en->store = NULL;

    if (rc != NGX_MCP_STORE_OK && rc != NGX_MCP_STORE_NONE) {
        ngx_mcp_ending_forget(en);
        ngx_mcp_ending_rest(en);
        return;
    }

    /* an active record is another grant: this one's became a tombstone, or
     * this was never in a record */

    if (rc == NGX_MCP_STORE_OK && record->state.len == 6
        && ngx_memcmp(record->state.data, "active", 6) == 0)
    {
        ngx_mcp_ending_event(en->vault->mmcf, "credential/revoke", "allow",
                             "granted_again", &en->entry.owner, -1);
        ngx_mcp_ending_settle(en, 0);
        return;
    }

    ngx_mcp_ending_ask(en);
}


/*
 * The entry as it is now into the place of the one that was taken, due then.
 * done: when it is there, or whatever becomes of it if its tokens are new.
 * NGX_ERROR: it is not, and nothing was begun.
 */
ngx_int_t
ngx_mcp_ending_change(ngx_mcp_endings_t *en, time_t due,
    void (*done)(ngx_mcp_endings_t *en))
{
    u_char     at[NGX_TIME_T_LEN];
    ngx_str_t  args[3];

    if (ngx_mcp_ending_seal(en->vault->mmcf, en->pool, &en->entry, en->id,
                            &args[1])
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    args[0].data = en->id;
    args[0].len = MCP_ENDING_ID;
    args[2].data = at;
    args[2].len = ngx_sprintf(at, "%T", due) - at;

    en->changed = done;

    return ngx_mcp_ending_eval(en, mcp_ending_put_script, args, 3,
                               ngx_mcp_ending_changed);
}


static void
ngx_mcp_ending_changed(void *data, redisReply *reply)
{
    ngx_mcp_endings_t *en = data;

    en->redis = NULL;

    if (en->renewed
        || (reply && reply->type == REDIS_REPLY_INTEGER && reply->integer))
    {
        en->changed(en);
        return;
    }

    /* somebody else was faster, or it comes back when the lease ends */

    ngx_mcp_ending_forget(en);
    ngx_mcp_ending_rest(en);
}


/* due: 0, it is done */
void
ngx_mcp_ending_settle(ngx_mcp_endings_t *en, time_t due)
{
    ngx_int_t  rc;
    u_char     at[NGX_TIME_T_LEN];
    ngx_str_t  args[2];

    if (due && en->changed) {

        /* the one in Redis is not what it was when it was taken */

        if (ngx_mcp_ending_change(en, due, ngx_mcp_ending_on) != NGX_OK) {
            ngx_mcp_ending_rest(en);
        }

        return;
    }

    ngx_mcp_ending_forget(en);

    args[0].data = en->id;
    args[0].len = MCP_ENDING_ID;
    args[1].data = at;
    args[1].len = ngx_sprintf(at, "%T", due) - at;

    rc = due ? ngx_mcp_ending_eval(en, mcp_ending_later_script, args, 2,
                                   ngx_mcp_ending_settled)
             : ngx_mcp_ending_eval(en, mcp_ending_done_script, args, 1,
                                   ngx_mcp_ending_settled);

    if (rc != NGX_OK) {
        ngx_mcp_ending_rest(en);
    }
}


static void
ngx_mcp_ending_on(ngx_mcp_endings_t *en)
{
    ngx_mcp_ending_forget(en);
    ngx_mcp_ending_take(en);
}


/* What Redis did not learn is asked again when the lease ends. */
static void
ngx_mcp_ending_settled(void *data, redisReply *reply)
{
    ngx_mcp_endings_t *en = data;

    en->redis = NULL;

    if (reply == NULL) {
        ngx_mcp_ending_rest(en);
        return;
    }

    ngx_mcp_ending_take(en);
}


static void
ngx_mcp_ending_forget(ngx_mcp_endings_t *en)
{
    if (en->pool == NULL) {
        return;
    }

    ngx_mcp_flight_forget(&en->entry.access_token);
    ngx_mcp_flight_forget(&en->entry.refresh_token);

    ngx_memzero(&en->entry, sizeof(mcp_ending_t));
    ngx_memzero(&en->request, sizeof(mcp_oauth_request_t));
    en->cr = NULL;
    en->changed = NULL;
    en->renewed = 0;

    ngx_destroy_pool(en->pool);
    en->pool = NULL;
}


static void
ngx_mcp_ending_rest(ngx_mcp_endings_t *en)
{
    ngx_mcp_ending_forget(en);

    en->busy = 0;

    if (en->again) {
        ngx_mcp_ending_hurry(en);
        return;
    }

    /* nobody else of this nginx looks before */

    ngx_mcp_zone_lock_give(en->vault->mmcf->zone, ngx_mcp_ending_lock,
                           NGX_MCP_ENDING_LOOK);

    ngx_add_timer(&en->timer, NGX_MCP_ENDING_LOOK + ngx_random() % 1000);
}


static ngx_int_t
ngx_mcp_ending_eval(ngx_mcp_endings_t *en, const char *script,
    ngx_str_t *args, ngx_uint_t n, ngx_mcp_redis_pt done)
{
    ngx_uint_t  i;
    ngx_str_t   argv[8];

    ngx_str_set(&argv[0], "EVAL");
    argv[1].data = (u_char *) script;
    argv[1].len = ngx_strlen(script);
    ngx_str_set(&argv[2], "2");
    argv[3] = en->hash;
    argv[4] = en->set;

    for (i = 0; i < n; i++) {
        argv[5 + i] = args[i];
    }

    if (ngx_mcp_redis_send(en->vault->mmcf->redis_client, 5 + n, argv, done,
                           en, &en->redis)
        != NGX_AGAIN)
    {
        en->redis = NULL;
        return NGX_ERROR;
    }

    return NGX_OK;
}
