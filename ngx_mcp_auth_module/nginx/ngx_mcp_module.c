/*
 * The module: contexts, phase registration, process hooks, and the request
 * context that all phases share.  Nothing is decided here.
 *
 * The directive table is in ngx_mcp_conf.c.  A location without mcp_auth costs
 * one test in each phase.
 */

#include "ngx_mcp_module.h"
#include "ngx_mcp_connect.h"
#include "ngx_mcp_keys.h"
#include "ngx_mcp_revoke.h"
#include "ngx_mcp_revoke_redis.h"
#include "ngx_mcp_session.h"
#include "ngx_mcp_stream.h"
#include "ngx_mcp_token.h"
#include "ngx_mcp_token_redis.h"
#include "ngx_mcp_vault.h"
#include "mcp_audit.h"

#if defined(__GLIBC__)
#include <malloc.h>
#endif


/* bytes of free heap that a worker keeps */
#define NGX_MCP_KEEP_HEAP  (4 * 1024 * 1024)


static ngx_int_t ngx_mcp_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_mcp_postconfiguration(ngx_conf_t *cf);
static void *ngx_mcp_create_main_conf(ngx_conf_t *cf);
static void *ngx_mcp_create_srv_conf(ngx_conf_t *cf);
static void *ngx_mcp_create_loc_conf(ngx_conf_t *cf);
static char *ngx_mcp_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child);
static ngx_int_t ngx_mcp_enter_handler(ngx_http_request_t *r);
static ngx_int_t ngx_mcp_init_module(ngx_cycle_t *cycle);
static ngx_int_t ngx_mcp_init_process(ngx_cycle_t *cycle);
static ngx_int_t ngx_mcp_header_variables(ngx_cycle_t *cycle,
    ngx_mcp_main_conf_t *mmcf);
static ngx_int_t ngx_mcp_init_redis(ngx_cycle_t *cycle,
    ngx_mcp_main_conf_t *mmcf);
static void ngx_mcp_exit_process(ngx_cycle_t *cycle);
static void ngx_mcp_exit_asking(ngx_mcp_main_conf_t *mmcf);
static void ngx_mcp_exit_redis(ngx_mcp_main_conf_t *mmcf);
static void ngx_mcp_cleanup_ctx(void *data);
static void ngx_mcp_detach_ctx(void *data);
static void *ngx_mcp_pool_alloc(void *ctx, size_t size);


static ngx_http_module_t  ngx_http_mcp_auth_module_ctx = {
    ngx_mcp_preconfiguration,              /* preconfiguration */
    ngx_mcp_postconfiguration,             /* postconfiguration */

    ngx_mcp_create_main_conf,              /* create main configuration */
    NULL,                                  /* init main configuration */

    ngx_mcp_create_srv_conf,               /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_mcp_create_loc_conf,               /* create location configuration */
    ngx_mcp_merge_loc_conf                 /* merge location configuration */
};


ngx_module_t  ngx_http_mcp_auth_module = {
    NGX_MODULE_V1,
    &ngx_http_mcp_auth_module_ctx,         /* module context */
    ngx_mcp_commands,                      /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    ngx_mcp_init_module,                   /* init module */
    ngx_mcp_init_process,                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_mcp_exit_process,                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_int_t
ngx_mcp_preconfiguration(ngx_conf_t *cf)
{
    return ngx_mcp_add_variables(cf);
}


static ngx_int_t
ngx_mcp_postconfiguration(ngx_conf_t *cf)
{
    ngx_uint_t                  i;
    ngx_http_handler_pt        *h;
    ngx_mcp_main_conf_t        *mmcf;
    ngx_http_core_main_conf_t  *cmcf;

    static const struct {
        ngx_uint_t           phase;
        ngx_http_handler_pt  handler;
    } phases[] = {
        { NGX_HTTP_SERVER_REWRITE_PHASE, ngx_mcp_metadata_handler },
        { NGX_HTTP_REWRITE_PHASE, ngx_mcp_enter_handler },
        { NGX_HTTP_ACCESS_PHASE, ngx_mcp_access_handler },
        { NGX_HTTP_PRECONTENT_PHASE, ngx_mcp_swap_handler },
        { NGX_HTTP_LOG_PHASE, ngx_mcp_log_handler }
    };

    mmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_mcp_auth_module);

    if (ngx_mcp_conf_finish(cf, mmcf) != NGX_OK) {
        return NGX_ERROR;
    }

    if (!mmcf->used) {
        return NGX_OK;
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    for (i = 0; i < sizeof(phases) / sizeof(phases[0]); i++) {
        h = ngx_array_push(&cmcf->phases[phases[i].phase].handlers);
        if (h == NULL) {
            return NGX_ERROR;
        }

        *h = phases[i].handler;
    }

    return NGX_OK;
}


static void *
ngx_mcp_create_main_conf(ngx_conf_t *cf)
{
    ngx_str_t            *any;
    ngx_pool_t           *pool;
    ngx_mcp_main_conf_t  *mmcf;

    pool = cf->pool;

    mmcf = ngx_pcalloc(pool, sizeof(ngx_mcp_main_conf_t));
    if (mmcf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&mmcf->issuers, pool, 2, sizeof(void *)) != NGX_OK
        || ngx_array_init(&mmcf->credentials, pool, 4, sizeof(void *))
           != NGX_OK
        || ngx_array_init(&mmcf->servers, pool, 4, sizeof(void *)) != NGX_OK
        || ngx_array_init(&mmcf->logs, pool, 2, sizeof(void *)) != NGX_OK
        || ngx_array_init(&mmcf->connects, pool, 1, sizeof(void *)) != NGX_OK
        || ngx_array_init(&mmcf->locations, pool, 4, sizeof(void *)) != NGX_OK
        || ngx_array_init(&mmcf->claims, pool, 2, sizeof(ngx_str_t)) != NGX_OK
        || ngx_array_init(&mmcf->header_variables, pool, 8,
                          sizeof(ngx_uint_t))
           != NGX_OK
        || ngx_array_init(&mmcf->roles, pool, 8, sizeof(ngx_str_t)) != NGX_OK)
    {
        return NULL;
    }

    /* role 0: every authenticated caller */

    any = ngx_array_push(&mmcf->roles);
    if (any == NULL) {
        return NULL;
    }

    ngx_str_set(any, "*");

    mmcf->zone_size = NGX_CONF_UNSET_SIZE;
    mmcf->revocation_zone = NGX_CONF_UNSET_SIZE;
    mmcf->audit_key_set = 0;

    return mmcf;
}


static void *
ngx_mcp_create_srv_conf(ngx_conf_t *cf)
{
    ngx_mcp_srv_conf_t  *mscf;

    mscf = ngx_pcalloc(cf->pool, sizeof(ngx_mcp_srv_conf_t));
    if (mscf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&mscf->servers, cf->pool, 2, sizeof(void *)) != NGX_OK)
    {
        return NULL;
    }

    return mscf;
}


static void *
ngx_mcp_create_loc_conf(ngx_conf_t *cf)
{
    ngx_mcp_loc_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_mcp_loc_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     conf->server = NULL;
     *     conf->connect = NULL;
     *     conf->message = { 0 };
     */

    conf->auth = NGX_CONF_UNSET_PTR;
    conf->audit = NGX_CONF_UNSET_PTR;
    conf->max_token = NGX_CONF_UNSET_SIZE;
    conf->max_body = NGX_CONF_UNSET_SIZE;
    conf->max_id = NGX_CONF_UNSET_SIZE;
    conf->max_name = NGX_CONF_UNSET_SIZE;
    conf->max_list_entry = NGX_CONF_UNSET_SIZE;
    conf->max_event = NGX_CONF_UNSET_SIZE;
    conf->max_depth = NGX_CONF_UNSET_UINT;

    return conf;
}


static char *
ngx_mcp_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_mcp_loc_conf_t *prev = parent;
    ngx_mcp_loc_conf_t *conf = child;

    ngx_conf_merge_ptr_value(conf->auth, prev->auth, NULL);
    ngx_conf_merge_size_value(conf->max_token, prev->max_token, 16 * 1024);
    ngx_conf_merge_size_value(conf->max_body, prev->max_body,
                              4 * 1024 * 1024);
    ngx_conf_merge_size_value(conf->max_id, prev->max_id, 256);
    ngx_conf_merge_size_value(conf->max_name, prev->max_name, 1024);
    ngx_conf_merge_size_value(conf->max_list_entry, prev->max_list_entry,
                              1024 * 1024);
    ngx_conf_merge_size_value(conf->max_event, prev->max_event,
                              4 * 1024 * 1024);
    ngx_conf_merge_uint_value(conf->max_depth, prev->max_depth, 64);

    if (ngx_mcp_conf_location(cf, prev, conf) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    return ngx_mcp_connect_location(cf, prev, conf);
}


/*
 * What limit_req, allow/deny and others refuse before the access phase goes on
 * to an error page that may stand in another location: from here on it is
 * known that the request was one of ours.  Authentication has not begun yet;
 * a `rewrite` that goes elsewhere is on its way and not ours.
 */
static ngx_int_t
ngx_mcp_enter_handler(ngx_http_request_t *r)
{
    ngx_mcp_loc_conf_t  *mlcf;

    mlcf = ngx_http_get_module_loc_conf(r, ngx_http_mcp_auth_module);

    if (mlcf->connect) {
        return ngx_mcp_connect_enter(r);
    }

    if (mlcf->server == NULL
        || r != r->main
        || r->uri_changed
        || ngx_mcp_get_ctx(r))
    {
        return NGX_DECLINED;
    }

    return ngx_mcp_create_ctx(r) ? NGX_DECLINED
                                 : NGX_HTTP_INTERNAL_SERVER_ERROR;
}


/* In the master, after the zone was made or found again. */
static ngx_int_t
ngx_mcp_init_module(ngx_cycle_t *cycle)
{
    ngx_uint_t              i;
    ngx_mcp_server_t      **svp;
    ngx_mcp_counters_t     *counters;
    ngx_mcp_main_conf_t    *mmcf;
    ngx_mcp_credential_t  **crp;

    mmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                               ngx_http_mcp_auth_module);

    if (mmcf == NULL || !mmcf->used) {
        return NGX_OK;
    }

    counters = ngx_mcp_zone_counters(ngx_mcp_zone(mmcf->shm_zone));

    svp = mmcf->servers.elts;

    for (i = 0; i < mmcf->servers.nelts; i++) {
        svp[i]->stats = ngx_mcp_stats_of(counters->servers, &svp[i]->name);
    }

    crp = mmcf->credentials.elts;

    for (i = 0; i < mmcf->credentials.nelts; i++) {
        if (crp[i]->type != NGX_MCP_CREDENTIAL_STATIC) {
            crp[i]->stats = ngx_mcp_stats_credential(counters->credentials,
                                                     &crp[i]->name);
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_mcp_init_process(ngx_cycle_t *cycle)
{
    u_char               *key, raw[MCP_DIGEST_RAW];
    mcp_digest_t          d;
    ngx_mcp_main_conf_t  *mmcf;

    if (ngx_process != NGX_PROCESS_WORKER
        && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    mmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                               ngx_http_mcp_auth_module);

    if (mmcf == NULL || !mmcf->used) {
        return NGX_OK;
    }

#if defined(__GLIBC__)

    /*
     * The memory of a few dozen requests that end together exceeds glibc's
     * 128k: without this it is given back to the system, and asked for again
     * page by page, at each turn of the loop.
     */

    (void) mallopt(M_TRIM_THRESHOLD, NGX_MCP_KEEP_HEAP);

#endif

    mmcf->zone = ngx_mcp_zone(mmcf->shm_zone);

    ngx_queue_init(&mmcf->asking);

    key = mmcf->audit_key_set ? mmcf->audit_key
                              : ngx_mcp_zone_secret(mmcf->zone);

    mcp_digest_key(&mmcf->digest, key);
    mcp_digest_key(&mmcf->zone_digest, ngx_mcp_zone_secret(mmcf->zone));

    mcp_digest_init(&d, &mmcf->zone_digest);
    mcp_digest_update(&d, "connect", sizeof("connect"));
    mcp_digest_raw(&d, &mmcf->zone_digest, raw);
    mcp_digest_key(&mmcf->connect_digest, raw);

    mmcf->cache = ngx_mcp_cache_create(mmcf->zone, 4096, mmcf->fingerprint,
                                       cycle->log);
    if (mmcf->cache == NULL) {
        return NGX_ERROR;
    }

    if (mcp_gmac_init(&mmcf->results, key) != MCP_OK) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "mcp_auth: OpenSSL has no HKDF");
        return NGX_ERROR;
    }

    if (ngx_mcp_header_variables(cycle, mmcf) != NGX_OK
        || ngx_mcp_log_init_worker(cycle, mmcf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_mcp_session_init_worker(cycle, mmcf) != NGX_OK
        || ngx_mcp_stream_init_worker(mmcf) != NGX_OK
        || ngx_mcp_revoke_init_worker(cycle, mmcf) != NGX_OK
        || ngx_mcp_token_init_worker(cycle, mmcf) != NGX_OK
        || ngx_mcp_vault_init_worker(cycle, mmcf) != NGX_OK
        || ngx_mcp_init_redis(cycle, mmcf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_mcp_keys_init_worker(cycle, mmcf);
}


/*
 * $http_NAME and $cookie_NAME that the configuration uses: known when all of
 * it was read.  Those that `set` or a map made are not made of a header.
 */
static ngx_int_t
ngx_mcp_header_variables(ngx_cycle_t *cycle, ngx_mcp_main_conf_t *mmcf)
{
    ngx_uint_t                  i, *index;
    ngx_http_variable_t        *v;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_core_module);

    v = cmcf->variables.elts;

    for (i = 0; i < cmcf->variables.nelts; i++) {

        if ((v[i].flags & NGX_HTTP_VAR_CHANGEABLE)
            || ((v[i].name.len < 6
                 || ngx_memcmp(v[i].name.data, "http_", 5) != 0)
                && (v[i].name.len < 8
                    || ngx_memcmp(v[i].name.data, "cookie_", 7) != 0)))
        {
            continue;
        }

        index = ngx_array_push(&mmcf->header_variables);
        if (index == NULL) {
            return NGX_ERROR;
        }

        *index = i;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_mcp_init_redis(ngx_cycle_t *cycle, ngx_mcp_main_conf_t *mmcf)
{
    if (mmcf->redis == NULL) {
        return NGX_OK;
    }

    mmcf->redis_client = ngx_mcp_redis_create(mmcf->redis, cycle);

    if (mmcf->redis_client == NULL
        || ngx_mcp_token_redis_init_worker(cycle, mmcf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_mcp_revoke_redis_init_worker(cycle, mmcf);
}


static void
ngx_mcp_exit_process(ngx_cycle_t *cycle)
{
    ngx_mcp_main_conf_t  *mmcf;

    mmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                               ngx_http_mcp_auth_module);

    if (mmcf == NULL || mmcf->cache == NULL) {
        return;
    }

    ngx_mcp_exit_asking(mmcf);
    ngx_mcp_login_exit_worker(mmcf);
    ngx_mcp_vault_exit_worker(mmcf);
    ngx_mcp_exit_redis(mmcf);
    ngx_mcp_token_exit_worker(mmcf);
    ngx_mcp_keys_exit_worker(mmcf);
    ngx_mcp_revoke_exit_worker(mmcf);
    ngx_mcp_log_exit_worker(mmcf);
    ngx_mcp_stream_exit_worker(mmcf);
    ngx_mcp_session_exit_worker(mmcf);
    mcp_gmac_free(&mmcf->results);
    ngx_mcp_block_exit_worker(mmcf);
    ngx_mcp_cache_destroy(mmcf->cache);
    mmcf->cache = NULL;
}


static void
ngx_mcp_exit_asking(ngx_mcp_main_conf_t *mmcf)
{
    ngx_queue_t       *q;
    ngx_mcp_asking_t  *as;

    for (q = ngx_queue_head(&mmcf->asking);
         q != ngx_queue_sentinel(&mmcf->asking);
         q = ngx_queue_next(q))
    {
        as = ngx_queue_data(q, ngx_mcp_asking_t, queue);
        as->cancel(as->data);
    }
}


/* Requests that wait are not called any more; they go with the process. */
static void
ngx_mcp_exit_redis(ngx_mcp_main_conf_t *mmcf)
{
    if (mmcf->redis_client == NULL) {
        return;
    }

    ngx_mcp_token_redis_exit_worker(mmcf);

    ngx_mcp_redis_destroy(mmcf->redis_client);
    mmcf->redis_client = NULL;

    ngx_mcp_revoke_redis_exit_worker(mmcf);
}


/*
 * The context of the main request.  An internal redirect zeroes r->ctx; then
 * it is found by its cleanup, as in ngx_http_realip_module.
 */
ngx_mcp_ctx_t *
ngx_mcp_get_ctx(ngx_http_request_t *r)
{
    ngx_mcp_ctx_t       *ctx;
    ngx_pool_cleanup_t  *cln;

    ctx = ngx_http_get_module_ctx(r, ngx_http_mcp_auth_module);

    if (ctx == NULL && (r->internal || r->filter_finalize)) {

        for (cln = r->pool->cleanup; cln; cln = cln->next) {
            if (cln->handler == ngx_mcp_cleanup_ctx) {
                ctx = cln->data;

                if (ctx->request == r) {
                    ngx_http_set_ctx(r, ctx, ngx_http_mcp_auth_module);
                    return ctx;
                }
            }
        }

        return NULL;
    }

    return ctx;
}


ngx_mcp_ctx_t *
ngx_mcp_create_ctx(ngx_http_request_t *r)
{
    ngx_mcp_ctx_t       *ctx;
    ngx_http_cleanup_t  *hcln;
    ngx_pool_cleanup_t  *cln;

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_mcp_ctx_t));
    if (cln == NULL) {
        return NULL;
    }

    ctx = cln->data;
    ngx_memzero(ctx, sizeof(ngx_mcp_ctx_t));

    ctx->request = r;
    ctx->conf = ngx_http_get_module_loc_conf(r, ngx_http_mcp_auth_module);
    ctx->server = ctx->conf->server;
    ctx->start = ngx_mcp_now_us();

    cln->handler = ngx_mcp_cleanup_ctx;

    hcln = ngx_http_cleanup_add(r, 0);
    if (hcln == NULL) {
        return NULL;
    }

    hcln->handler = ngx_mcp_detach_ctx;
    hcln->data = ctx;

    ngx_http_set_ctx(r, ctx, ngx_http_mcp_auth_module);

    return ctx;
}


/*
 * Runs before the log phase: nothing may call the request any more, and no log
 * shall find the credential in it.
 */
static void
ngx_mcp_detach_ctx(void *data)
{
    ngx_mcp_access_cancel(data);
    ngx_mcp_swap_hide(data);
}


/* Runs after the log phase: what the record needed is given back. */
static void
ngx_mcp_cleanup_ctx(void *data)
{
    ngx_mcp_ctx_t *ctx = data;

    ngx_mcp_main_conf_t  *mmcf;

    ngx_mcp_access_cancel(ctx);

    if (ctx->entry) {
        ngx_mcp_cache_release(ctx->entry);
        ctx->entry = NULL;
        ctx->principal = NULL;
    }

    if (ctx->early) {
        ngx_mcp_cache_release(ctx->early);
        ctx->early = NULL;
    }

    if (ctx->has_result_digest) {
        mmcf = ngx_http_get_module_main_conf(ctx->request,
                                             ngx_http_mcp_auth_module);
        mcp_long_drop(&ctx->result, &mmcf->results);
    }

    ngx_mcp_block_free(ctx);
}


static void *
ngx_mcp_pool_alloc(void *ctx, size_t size)
{
    return ngx_palloc(ctx, size);
}


/* A pool as core/ wants it. */
mcp_mem_t
ngx_mcp_mem(ngx_pool_t *pool)
{
    mcp_mem_t  mem;

    mem.alloc = ngx_mcp_pool_alloc;
    mem.ctx = pool;

    return mem;
}


/* Ends a stretch of our own work, as `ms.auth` of the record counts it. */
/* 32 hex digits, or empty: of the message's _meta, else of the header. */
mcp_str_t
ngx_mcp_ctx_trace_id(ngx_mcp_ctx_t *ctx)
{
    return mcp_trace_id(ctx->message && ctx->message->traceparent.len
                        ? &ctx->message->traceparent
                        : (mcp_str_t *) &ctx->traceparent);
}


/*
 * What became of a request after it was authorised; decision is NULL when that
 * stays as it is.  What a shadow would have denied remains the first thing to
 * know: the answer's status tells the rest.
 */
void
ngx_mcp_outcome(ngx_mcp_ctx_t *ctx, const char *decision, const char *reason)
{
    if (ctx->would_deny) {
        return;
    }

    ctx->reason = reason;

    if (decision) {
        ctx->decision = decision;
    }
}


void
ngx_mcp_account(ngx_mcp_ctx_t *ctx)
{
    if (ctx->step) {
        ctx->auth += ngx_mcp_now_us() - ctx->step;
        ctx->step = 0;
    }
}


/* Microseconds of a clock that never goes back. */
uint64_t
ngx_mcp_now_us(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}
