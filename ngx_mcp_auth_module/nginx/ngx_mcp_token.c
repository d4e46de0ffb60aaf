/*
 * The gateway's own tokens: who may try one, which record is its, and what that
 * says.
 *
 * A token is looked up by its HMAC under each pepper.  The token itself, its
 * hash and the peppers are in no log and no message.  The file is asked first,
 * then Redis, for which the request waits.  What is found is remembered for
 * NGX_MCP_CACHE_OWN s: a record of the file by this worker, which forgets all
 * when the file changes, one of Redis also in the zone.
 *
 * Called by the access phase, after the caches.  What a request waits with is
 * in its pool.
 */

#include "ngx_mcp_token.h"
#include "ngx_mcp_conf.h"
#include "ngx_mcp_token_file.h"
#include "ngx_mcp_token_redis.h"

#include <openssl/crypto.h>


#define NGX_MCP_TOKEN_FAILURES  20      /* a minute */
#define NGX_MCP_TOKEN_MOST      6000
#define NGX_MCP_TOKEN_REFUSED   5       /* s; a refusal */
#define NGX_MCP_TOKEN_SILENCE   60      /* s between complaints */
#define NGX_MCP_TOKEN_ZONE      1       /* as generation: no key is replaced */


struct ngx_mcp_tokens_s {
    mcp_pepper_ring_t        ring;
    ngx_int_t                failures;  /* of an address, a minute */
    ngx_mcp_token_file_t    *file;      /* NULL: none */

    /* this worker's */
    ngx_mcp_counters_t      *counters;
    time_t                   complained;
};


/* One request's question to Redis, in its pool. */
struct ngx_mcp_token_look_s {
    ngx_mcp_token_ask_t      ask;
    ngx_mcp_keys_waiter_t   *waiter;
    ngx_http_request_t      *request;
    u_char                   hashes[MCP_PEPPERS][MCP_ACCESS_KEY_HASH];
    ngx_uint_t               n;
    ngx_mcp_token_answer_e   answer;
    mcp_access_key_t         key;       /* when FOUND */
};


static ngx_mcp_tokens_t *ngx_mcp_token_create(ngx_conf_t *cf,
    ngx_mcp_main_conf_t *mmcf);
static char *ngx_mcp_token_conf_keys(ngx_conf_t *cf, ngx_mcp_tokens_t *tk);
static ngx_int_t ngx_mcp_token_look(ngx_http_request_t *r,
    ngx_mcp_ctx_t *ctx, ngx_mcp_keys_waiter_t *w,
    const mcp_access_key_t **key);
static ngx_int_t ngx_mcp_token_ask(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    ngx_mcp_keys_waiter_t *w, u_char (*hashes)[MCP_ACCESS_KEY_HASH],
    ngx_uint_t n);
static void ngx_mcp_token_answer(void *data, ngx_mcp_token_answer_e answer,
    ngx_str_t *line);
static const char *ngx_mcp_token_read(ngx_mcp_token_look_t *look,
    ngx_str_t *line);
static void ngx_mcp_token_complain(ngx_http_request_t *r, const char *error);
static ngx_int_t ngx_mcp_token_found(ngx_http_request_t *r,
    ngx_mcp_ctx_t *ctx, const mcp_access_key_t *key, const char **reason);
static ngx_int_t ngx_mcp_token_refused(ngx_mcp_main_conf_t *mmcf,
    ngx_mcp_ctx_t *ctx, const char *reason);


char *
ngx_mcp_token_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_mcp_main_conf_t *mmcf = conf;

    ngx_str_t         *value;
    ngx_mcp_tokens_t  *tk;

    tk = ngx_mcp_token_create(cf, mmcf);
    if (tk == NULL) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[0].data, "mcp_token_key") == 0) {
        return ngx_mcp_token_conf_keys(cf, tk);
    }

    if (ngx_strcmp(value[0].data, "mcp_token_file") == 0) {

        if (tk->file) {
            return "is duplicate";
        }

        if (value[1].len == 0) {
            return "has an empty value";
        }

        tk->file = ngx_mcp_token_file_conf(cf, &value[1]);

        return tk->file ? NGX_CONF_OK : NGX_CONF_ERROR;
    }

    /* mcp_token_failures */

    if (tk->failures != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    tk->failures = ngx_atoi(value[1].data, value[1].len);

    if (tk->failures == NGX_ERROR || tk->failures > NGX_MCP_TOKEN_MOST) {
        return ngx_mcp_conf_error(cf, "mcp_token_failures \"%V\" is not a "
                                  "number from 0 to %d", &value[1],
                                  NGX_MCP_TOKEN_MOST);
    }

    return NGX_CONF_OK;
}


static ngx_mcp_tokens_t *
ngx_mcp_token_create(ngx_conf_t *cf, ngx_mcp_main_conf_t *mmcf)
{
    if (mmcf->tokens == NULL) {
        mmcf->tokens = ngx_pcalloc(cf->pool, sizeof(ngx_mcp_tokens_t));

        if (mmcf->tokens) {
            mmcf->tokens->failures = NGX_CONF_UNSET;
        }
    }

    return mmcf->tokens;
}


static char *
ngx_mcp_token_conf_keys(ngx_conf_t *cf, ngx_mcp_tokens_t *tk)
{
    int         rc;
    ngx_str_t  *value, secret;
    ngx_uint_t  i;

    if (tk->ring.n) {
        return "is duplicate";
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_mcp_conf_key_file(cf, &value[i], &secret) != NGX_OK) {
            return NGX_CONF_ERROR;
        }

        rc = mcp_pepper_add(&tk->ring, (mcp_str_t *) &secret);

        OPENSSL_cleanse(secret.data, secret.len);

        if (rc == MCP_DECLINED) {
            return ngx_mcp_conf_error(cf, "the key in \"%V\" is there twice, "
                                      "or is one of more than %d", &value[i],
                                      MCP_PEPPERS);
        }

        if (rc != MCP_OK) {
            return "failed";
        }
    }

    return NGX_CONF_OK;
}


ngx_int_t
ngx_mcp_token_conf_finish(ngx_conf_t *cf, ngx_mcp_main_conf_t *mmcf)
{
    ngx_uint_t          i;
    const char         *missing;
    ngx_mcp_tokens_t   *tk;
    ngx_mcp_server_t  **svp, *sv;

    tk = mmcf->tokens;
    svp = mmcf->servers.elts;

    for (i = 0; i < mmcf->servers.nelts; i++) {
        sv = svp[i];

        if (!sv->tokens) {
            continue;
        }

        if (mmcf->redis == NULL && !ngx_mcp_token_has_file(mmcf)) {
            missing = "\"mcp_token_file\" or \"mcp_redis\"";

        } else if (tk == NULL || tk->ring.n == 0) {
            missing = "\"mcp_token_key\"";

        } else {
            continue;
        }

        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "mcp_server \"%V\" has \"tokens on\" without %s in "
                      "%V:%ui", &sv->name, missing, &sv->conf_file,
                      sv->conf_line);
        return NGX_ERROR;
    }

    if (tk == NULL) {
        return NGX_OK;
    }

    if (tk->failures == NGX_CONF_UNSET) {
        tk->failures = NGX_MCP_TOKEN_FAILURES;
    }

    if (tk->file) {
        ngx_mcp_token_file_check(cf, tk->file, &tk->ring);
    }

    return NGX_OK;
}


ngx_uint_t
ngx_mcp_token_has_file(ngx_mcp_main_conf_t *mmcf)
{
    return mmcf->tokens && mmcf->tokens->file;
}


const mcp_pepper_ring_t *
ngx_mcp_token_ring(ngx_mcp_main_conf_t *mmcf)
{
    return mmcf->tokens ? &mmcf->tokens->ring : NULL;
}


ngx_int_t
ngx_mcp_token_init_worker(ngx_cycle_t *cycle, ngx_mcp_main_conf_t *mmcf)
{
    ngx_mcp_tokens_t  *tk;

    tk = mmcf->tokens;

    if (tk == NULL) {
        return NGX_OK;
    }

    tk->counters = ngx_mcp_zone_counters(mmcf->zone);
    tk->complained = ngx_time() - NGX_MCP_TOKEN_SILENCE;

    if (tk->file) {
        ngx_mcp_token_file_init_worker(tk->file, cycle, mmcf);
    }

    return NGX_OK;
}


void
ngx_mcp_token_exit_worker(ngx_mcp_main_conf_t *mmcf)
{
    if (ngx_mcp_token_has_file(mmcf)) {
        ngx_mcp_token_file_exit_worker(mmcf->tokens->file);
    }
}


ngx_int_t
ngx_mcp_token_get(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    ngx_mcp_keys_waiter_t *w, const char **reason, time_t *retry_after)
{
    ngx_int_t                rc;
    ngx_mcp_tokens_t        *tk;
    ngx_mcp_limit_try_t      t;
    ngx_mcp_main_conf_t     *mmcf;
    const mcp_access_key_t  *key;

    mmcf = ngx_http_get_module_main_conf(r, ngx_http_mcp_auth_module);
    tk = mmcf->tokens;
    key = NULL;

    ngx_mcp_limit_try(&t, &tk->counters->token_limit, tk->failures,
                      r->connection->sockaddr, ctx->key, &mmcf->zone_digest);

    /* not again for one that has waited for its answer */

    *retry_after = ctx->token_look ? 0 : ngx_mcp_limit_wait(&t);

    if (*retry_after) {
        (void) ngx_atomic_fetch_add(&tk->counters->tokens_limited, 1);
        return NGX_BUSY;
    }

    *reason = "token_malformed";
    rc = NGX_DECLINED;

    if (mcp_access_key_check((mcp_str_t *) &ctx->token) == MCP_OK) {
        *reason = "token_unknown";
        rc = ngx_mcp_token_look(r, ctx, w, &key);
    }

    /* a record of the other kind is somebody's slip of the pen */

    if (rc == NGX_OK
        && key->auth != mcp_access_key_kind((mcp_str_t *) &ctx->token))
    {
        rc = NGX_DECLINED;
    }

    if (rc == NGX_DECLINED) {
        ngx_mcp_limit_failed(&t);
        rc = ngx_mcp_token_refused(mmcf, ctx, *reason);

    } else if (rc == NGX_OK) {
        rc = ngx_mcp_token_found(r, ctx, key, reason);
    }

    if (rc == NGX_OK) {
        ngx_mcp_limit_good(&t);
        (void) ngx_atomic_fetch_add(&tk->counters->tokens_accepted, 1);

    } else if (rc == NGX_DECLINED) {
        (void) ngx_atomic_fetch_add(&tk->counters->tokens_refused, 1);

        ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                      "mcp_auth: own token refused: %s", *reason);
    }

    return rc;
}


/* NGX_OK: *key is its record; NGX_DECLINED: there is none; NGX_AGAIN: Redis is
 * asked; NGX_ERROR: nobody knows. */

static ngx_int_t
ngx_mcp_token_look(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    ngx_mcp_keys_waiter_t *w, const mcp_access_key_t **key)
{
    u_char                 hashes[MCP_PEPPERS][MCP_ACCESS_KEY_HASH];
    ngx_uint_t             i;
    ngx_mcp_tokens_t      *tk;
    ngx_mcp_main_conf_t   *mmcf;

    if (ctx->token_look) {

        /* Redis has answered */

        *key = &ctx->token_look->key;

        switch (ctx->token_look->answer) {

        case NGX_MCP_TOKEN_FOUND:
            return NGX_OK;

        case NGX_MCP_TOKEN_NONE:
            return NGX_DECLINED;

        default:
            return NGX_ERROR;
        }
    }

    mmcf = ngx_http_get_module_main_conf(r, ngx_http_mcp_auth_module);
    tk = mmcf->tokens;

    for (i = 0; i < tk->ring.n; i++) {
        mcp_access_key_hash(&tk->ring.peppers[i], (mcp_str_t *) &ctx->token,
                            hashes[i]);
    }

    for (i = 0; tk->file && i < tk->ring.n; i++) {
        *key = ngx_mcp_token_file_find(tk->file, hashes[i]);

        if (*key) {
            return NGX_OK;
        }
    }

    return mmcf->redis ? ngx_mcp_token_ask(r, ctx, w, hashes, tk->ring.n)
                       : NGX_DECLINED;
}


static ngx_int_t
ngx_mcp_token_ask(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    ngx_mcp_keys_waiter_t *w, u_char (*hashes)[MCP_ACCESS_KEY_HASH],
    ngx_uint_t n)
{
    ngx_int_t              rc;
    ngx_mcp_main_conf_t   *mmcf;
    ngx_mcp_token_look_t  *look;

    mmcf = ngx_http_get_module_main_conf(r, ngx_http_mcp_auth_module);

    look = ngx_pcalloc(r->pool, sizeof(ngx_mcp_token_look_t));
    if (look == NULL) {
        return NGX_ERROR;
    }

    look->request = r;
    look->waiter = w;
    look->n = n;
    ngx_memcpy(look->hashes, hashes, n * MCP_ACCESS_KEY_HASH);

    look->ask.done = ngx_mcp_token_answer;
    look->ask.data = look;

    rc = ngx_mcp_token_redis_find(mmcf, look->hashes, n, &look->ask);

    if (rc == NGX_AGAIN) {
        ctx->token_look = look;
    }

    return rc;
}


static void
ngx_mcp_token_answer(void *data, ngx_mcp_token_answer_e answer,
    ngx_str_t *line)
{
    ngx_mcp_token_look_t *look = data;

    const char  *error;

    look->answer = answer;

    if (answer == NGX_MCP_TOKEN_FOUND) {
        error = ngx_mcp_token_read(look, line);

        if (error) {

            /* a newer mcpctl may have meant a restriction: nobody knows */

            look->answer = NGX_MCP_TOKEN_UNKNOWN;
            ngx_mcp_token_complain(look->request, error);
        }
    }

    look->waiter->wake(look->waiter->data);
}


/* The line into look->key; NULL, or what is wrong with it. */

static const char *
ngx_mcp_token_read(ngx_mcp_token_look_t *look, ngx_str_t *line)
{
    mcp_mem_t    mem;
    ngx_uint_t   i;
    const char  *error;

    mem = ngx_mcp_mem(look->request->pool);

    if (mcp_access_key_parse((mcp_str_t *) line, &mem, &look->key, &error)
        != MCP_OK)
    {
        return error;
    }

    for (i = 0; i < look->n; i++) {
        if (CRYPTO_memcmp(look->key.hash, look->hashes[i],
                          MCP_ACCESS_KEY_HASH)
            == 0)
        {
            return NULL;
        }
    }

    return "it is another token's";
}


/* Once a minute; nothing of the record is shown. */

static void
ngx_mcp_token_complain(ngx_http_request_t *r, const char *error)
{
    ngx_mcp_tokens_t     *tk;
    ngx_mcp_main_conf_t  *mmcf;

    mmcf = ngx_http_get_module_main_conf(r, ngx_http_mcp_auth_module);
    tk = mmcf->tokens;

    if (ngx_time() - tk->complained < NGX_MCP_TOKEN_SILENCE) {
        return;
    }

    tk->complained = ngx_time();

    ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                  "mcp_redis: the record of a token cannot be used: %s", error);
}


void
ngx_mcp_token_cancel(ngx_mcp_ctx_t *ctx)
{
    if (ctx->token_look) {
        ngx_mcp_token_redis_cancel(&ctx->token_look->ask);
    }
}


void
ngx_mcp_token_cached(ngx_mcp_main_conf_t *mmcf, ngx_mcp_ctx_t *ctx)
{
    if (ctx->entry->worker && ngx_mcp_token_has_file(mmcf)) {
        ctx->token_version = ngx_mcp_token_file_version(mmcf->tokens->file);
    }
}


/* A body may be long under way, and an answer too, before it is a stream. */

ngx_uint_t
ngx_mcp_token_over(ngx_mcp_main_conf_t *mmcf, ngx_mcp_ctx_t *ctx)
{
    uint64_t               version;
    ngx_mcp_token_file_t  *file;

    if (ctx->token_version == 0 || ctx->principal->auth == MCP_AUTH_JWT) {
        return 0;
    }

    file = mmcf->tokens->file;
    version = ngx_mcp_token_file_version(file);

    if (version == ctx->token_version) {
        return 0;
    }

    if (!ngx_mcp_token_file_good(file, &ctx->principal->token_id)) {
        (void) ngx_atomic_fetch_add(&mmcf->tokens->counters->tokens_refused,
                                    1);
        return 1;
    }

    ctx->token_version = version;

    return 0;
}


/*
 * There is such a token: whose it is, is known from here on, also when it is
 * not worth anything any more.
 */
static ngx_int_t
ngx_mcp_token_found(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    const mcp_access_key_t *key, const char **reason)
{
    time_t                now;
    mcp_mem_t             mem;
    mcp_principal_t      *principal;
    ngx_mcp_main_conf_t  *mmcf;

    mmcf = ngx_http_get_module_main_conf(r, ngx_http_mcp_auth_module);
    mem = ngx_mcp_mem(r->pool);
    now = ngx_time();

    principal = mcp_access_key_principal(key, mmcf->issuers.nelts,
                                         mmcf->roles.elts, mmcf->roles.nelts,
                                         &mem);
    if (principal == NULL) {
        return NGX_ERROR;
    }

    ctx->principal = principal;

    if (key->revoked) {
        *reason = "token_revoked";
        return ngx_mcp_token_refused(mmcf, ctx, *reason);
    }

    if (key->expires <= now) {
        *reason = "expired";
        return ngx_mcp_token_refused(mmcf, ctx, *reason);
    }

    if (ctx->token_look == NULL) {
        ctx->token_version = ngx_mcp_token_file_version(mmcf->tokens->file);
    }

    ctx->entry = ngx_mcp_cache_put(mmcf->cache, ctx->key, principal,
                                   ctx->token_look ? NGX_MCP_TOKEN_ZONE
                                                   : NGX_MCP_CACHE_WORKER,
                                   (time_t) key->expires);
    if (ctx->entry) {
        ctx->principal = ctx->entry->principal;
    }

    if (ctx->token_look) {
        ngx_mcp_token_redis_used(mmcf, &key->id);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_mcp_token_refused(ngx_mcp_main_conf_t *mmcf, ngx_mcp_ctx_t *ctx,
    const char *reason)
{
    ngx_mcp_cache_refuse(mmcf->cache, ctx->key, ctx->principal, reason,
                         ngx_time() + NGX_MCP_TOKEN_REFUSED);

    return NGX_DECLINED;
}
