/*
 * The gateway's own tokens: where their records are, and what one says.
 *
 * mcp_token_file is read by the master first, so that nginx -t refuses what
 * cannot be used; each worker looks whether it changed, and reads it again.
 * What cannot be read or understood then changes nothing: the records that were
 * there stay in force, and error.log says why, once a minute.
 *
 * A token is looked up by its HMAC under each pepper; the token itself, its
 * hash and the peppers are in no log and no message.  A record of the file is
 * remembered in this worker's cache only, which is emptied when the file
 * changes; so what a changed file says counts at once.
 *
 * Called by the access phase, after the caches.  Records and peppers belong to
 * the cycle's pool.
 */

#include "ngx_mcp_token.h"
#include "ngx_mcp_conf.h"
#include "ngx_mcp_watch.h"

#include <openssl/crypto.h>


#define NGX_MCP_TOKEN_FILE      (64 * 1024 * 1024)  /* bytes */
#define NGX_MCP_TOKEN_FAILURES  20                  /* a minute */
#define NGX_MCP_TOKEN_MOST      6000
#define NGX_MCP_TOKEN_TIME      30      /* s; a record in a cache */
#define NGX_MCP_TOKEN_REFUSED   5       /* s; a refusal */
#define NGX_MCP_TOKEN_SILENCE   60      /* s between complaints */


struct ngx_mcp_tokens_s {
    mcp_pepper_ring_t        ring;
    ngx_int_t                failures;  /* of an address, a minute */
    ngx_str_t                path;      /* empty: no file */

    /* the file, as it is in force; a worker replaces its own */
    mcp_access_keys_t       *keys;
    ngx_uint_t               n;
    ngx_uint_t               strange;   /* of a pepper that is not there */
    ngx_mcp_watch_t          seen;

    /* this worker's */
    ngx_mcp_main_conf_t     *mmcf;
    ngx_mcp_counters_t      *counters;
    ngx_event_t              timer;
    const char              *error;     /* static; NULL: the file is in force */
    ngx_uint_t               line;      /* 0: not about a line */
    ngx_err_t                err;
    time_t                   complained;
};


static ngx_mcp_tokens_t *ngx_mcp_token_create(ngx_conf_t *cf,
    ngx_mcp_main_conf_t *mmcf);
static char *ngx_mcp_token_conf_file(ngx_conf_t *cf, ngx_mcp_tokens_t *tk);
static char *ngx_mcp_token_conf_keys(ngx_conf_t *cf, ngx_mcp_tokens_t *tk);
static void ngx_mcp_token_free(void *data);
static ngx_int_t ngx_mcp_token_read(ngx_mcp_tokens_t *tk, ngx_log_t *log);
static void ngx_mcp_token_count(ngx_mcp_tokens_t *tk);
static ngx_uint_t ngx_mcp_token_pepper(ngx_mcp_tokens_t *tk,
    const mcp_access_key_t *key);
static void ngx_mcp_token_look(ngx_event_t *ev);
static void ngx_mcp_token_publish(ngx_mcp_tokens_t *tk);
static void ngx_mcp_token_complain(ngx_mcp_tokens_t *tk, ngx_log_t *log);
static const mcp_access_key_t *ngx_mcp_token_in_file(ngx_mcp_tokens_t *tk,
    ngx_str_t *token);
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

    if (ngx_strcmp(value[0].data, "mcp_token_file") == 0) {
        return ngx_mcp_token_conf_file(cf, tk);
    }

    if (ngx_strcmp(value[0].data, "mcp_token_key") == 0) {
        return ngx_mcp_token_conf_keys(cf, tk);
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
    ngx_mcp_tokens_t    *tk;
    ngx_pool_cleanup_t  *cln;

    if (mmcf->tokens) {
        return mmcf->tokens;
    }

    tk = ngx_pcalloc(cf->pool, sizeof(ngx_mcp_tokens_t));
    cln = ngx_pool_cleanup_add(cf->pool, 0);

    if (tk == NULL || cln == NULL) {
        return NULL;
    }

    cln->handler = ngx_mcp_token_free;
    cln->data = tk;

    tk->failures = NGX_CONF_UNSET;

    mmcf->tokens = tk;

    return tk;
}


static void
ngx_mcp_token_free(void *data)
{
    ngx_mcp_tokens_t *tk = data;

    if (tk->keys) {
        mcp_access_keys_free(tk->keys);
        tk->keys = NULL;
    }
}


static char *
ngx_mcp_token_conf_file(ngx_conf_t *cf, ngx_mcp_tokens_t *tk)
{
    ngx_str_t  *value;

    if (tk->path.len) {
        return "is duplicate";
    }

    value = cf->args->elts;
    tk->path = value[1];

    if (tk->path.len == 0) {
        return "has an empty value";
    }

    if (ngx_conf_full_name(cf->cycle, &tk->path, 1) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    if (ngx_mcp_token_read(tk, cf->log) == NGX_OK) {
        return NGX_CONF_OK;
    }

    if (tk->line) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "mcp_token_file \"%V\" line "
                           "%ui: %s", &tk->path, tk->line, tk->error);

    } else {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, tk->err,
                           "mcp_token_file \"%V\": %s", &tk->path, tk->error);
    }

    return NGX_CONF_ERROR;
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
    ngx_mcp_tokens_t   *tk;
    ngx_mcp_server_t  **svp, *sv;

    tk = mmcf->tokens;
    svp = mmcf->servers.elts;

    for (i = 0; i < mmcf->servers.nelts; i++) {
        sv = svp[i];

        if (!sv->tokens) {
            continue;
        }

        if (tk == NULL || tk->path.len == 0) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "mcp_server \"%V\" has \"tokens on\" without "
                          "\"mcp_token_file\" in %V:%ui", &sv->name,
                          &sv->conf_file, sv->conf_line);
            return NGX_ERROR;
        }

        if (tk->ring.n == 0) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "mcp_server \"%V\" has \"tokens on\" without "
                          "\"mcp_token_key\" in %V:%ui", &sv->name,
                          &sv->conf_file, sv->conf_line);
            return NGX_ERROR;
        }
    }

    if (tk == NULL) {
        return NGX_OK;
    }

    if (tk->failures == NGX_CONF_UNSET) {
        tk->failures = NGX_MCP_TOKEN_FAILURES;
    }

    ngx_mcp_token_count(tk);

    if (tk->strange) {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "mcp_token_file \"%V\": %ui of %ui tokens were made "
                      "with a key that is not in mcp_token_key and are "
                      "refused", &tk->path, tk->strange, tk->n);
    }

    return NGX_OK;
}


ngx_uint_t
ngx_mcp_token_has_file(ngx_mcp_main_conf_t *mmcf)
{
    return mmcf->tokens && mmcf->tokens->path.len;
}


const mcp_pepper_ring_t *
ngx_mcp_token_ring(ngx_mcp_main_conf_t *mmcf)
{
    return mmcf->tokens ? &mmcf->tokens->ring : NULL;
}


/*
 * NGX_OK: the file is another, its records are in force now; NGX_DECLINED:
 * nothing new; NGX_ERROR: the old ones stay, tk->error says why.
 */
static ngx_int_t
ngx_mcp_token_read(ngx_mcp_tokens_t *tk, ngx_log_t *log)
{
    ngx_int_t           rc;
    ngx_str_t           text;
    unsigned            line;
    const char         *error;
    ngx_mcp_watch_t     now;
    mcp_access_keys_t  *keys;

    rc = ngx_mcp_watch_read(&tk->path, NGX_MCP_TOKEN_FILE, &tk->seen, &now,
                            &text, &tk->error, &tk->err, log);

    if (rc == NGX_ERROR) {
        tk->line = 0;

        /* once it can be read again it counts as new */

        ngx_memzero(&tk->seen, sizeof(ngx_mcp_watch_t));

        return NGX_ERROR;
    }

    tk->seen = now;

    if (rc == NGX_DECLINED) {
        return tk->error ? NGX_ERROR : NGX_DECLINED;
    }

    keys = mcp_access_keys_parse((mcp_str_t *) &text, &error, &line);

    ngx_free(text.data);

    if (keys == NULL) {
        tk->error = error;
        tk->line = line;
        tk->err = 0;

        if (line == 0) {

            /* no memory, perhaps: the next look tries again */

            ngx_memzero(&tk->seen, sizeof(ngx_mcp_watch_t));
        }

        return NGX_ERROR;
    }

    if (tk->keys) {
        mcp_access_keys_free(tk->keys);
    }

    tk->keys = keys;
    tk->error = NULL;

    ngx_mcp_token_count(tk);

    return NGX_OK;
}


/* How many there are, and how many that no token can match. */

static void
ngx_mcp_token_count(ngx_mcp_tokens_t *tk)
{
    const mcp_access_key_t  *key;

    tk->n = 0;
    tk->strange = 0;

    if (tk->keys == NULL) {
        return;
    }

    for ( ;; ) {
        key = mcp_access_keys_get(tk->keys, tk->n);

        if (key == NULL) {
            return;
        }

        tk->n++;
        tk->strange += !ngx_mcp_token_pepper(tk, key);
    }
}


static ngx_uint_t
ngx_mcp_token_pepper(ngx_mcp_tokens_t *tk, const mcp_access_key_t *key)
{
    ngx_uint_t  i;

    for (i = 0; i < tk->ring.n; i++) {
        if (ngx_memcmp(tk->ring.peppers[i].id, key->pepper,
                       sizeof(key->pepper))
            == 0)
        {
            return 1;
        }
    }

    return 0;
}


ngx_int_t
ngx_mcp_token_init_worker(ngx_cycle_t *cycle, ngx_mcp_main_conf_t *mmcf)
{
    ngx_mcp_tokens_t  *tk;

    tk = mmcf->tokens;

    if (tk == NULL) {
        return NGX_OK;
    }

    tk->mmcf = mmcf;
    tk->counters = ngx_mcp_zone_counters(mmcf->zone);

    if (tk->path.len == 0) {
        return NGX_OK;
    }

    /* the master could read it; can a worker? */

    ngx_memzero(&tk->seen, sizeof(ngx_mcp_watch_t));

    tk->complained = ngx_time() - NGX_MCP_TOKEN_SILENCE;

    tk->timer.handler = ngx_mcp_token_look;
    tk->timer.data = tk;
    tk->timer.log = cycle->log;
    tk->timer.cancelable = 1;

    ngx_mcp_token_look(&tk->timer);

    return NGX_OK;
}


void
ngx_mcp_token_exit_worker(ngx_mcp_main_conf_t *mmcf)
{
    if (mmcf->tokens && mmcf->tokens->timer.timer_set) {
        ngx_del_timer(&mmcf->tokens->timer);
    }
}


static void
ngx_mcp_token_look(ngx_event_t *ev)
{
    ngx_mcp_tokens_t *tk = ev->data;

    switch (ngx_mcp_token_read(tk, ev->log)) {

    case NGX_OK:
        ngx_mcp_cache_flush(tk->mmcf->cache);
        ngx_mcp_token_publish(tk);

        ngx_log_error(NGX_LOG_INFO, ev->log, 0,
                      "mcp_token_file \"%V\": %ui tokens", &tk->path, tk->n);
        break;

    case NGX_ERROR:
        ngx_mcp_token_publish(tk);
        ngx_mcp_token_complain(tk, ev->log);
        break;

    default: /* NGX_DECLINED */
        break;
    }

    ngx_add_timer(ev, NGX_MCP_WATCH_TIME);
}


/* For mcp_status; an old worker says nothing about the new one's file. */

static void
ngx_mcp_token_publish(ngx_mcp_tokens_t *tk)
{
    if (ngx_exiting) {
        return;
    }

    tk->counters->token_file_failed = (tk->error != NULL);

    if (tk->error == NULL) {
        tk->counters->token_records = tk->n;
        tk->counters->token_file_time = tk->seen.mtime / 1000000000;
    }
}


static void
ngx_mcp_token_complain(ngx_mcp_tokens_t *tk, ngx_log_t *log)
{
    if (ngx_time() - tk->complained < NGX_MCP_TOKEN_SILENCE) {
        return;
    }

    tk->complained = ngx_time();

    if (tk->line) {
        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "mcp_token_file \"%V\" line %ui: %s; the tokens that "
                      "were there before stay in force", &tk->path, tk->line,
                      tk->error);

    } else {
        ngx_log_error(NGX_LOG_ERR, log, tk->err,
                      "mcp_token_file \"%V\": %s; the tokens that were there "
                      "before stay in force", &tk->path, tk->error);
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

    ngx_mcp_limit_try(&t, &tk->counters->token_limit, tk->failures,
                      r->connection->sockaddr, ctx->key, &mmcf->zone_digest);

    *retry_after = ngx_mcp_limit_wait(&t);

    if (*retry_after) {
        (void) ngx_atomic_fetch_add(&tk->counters->tokens_limited, 1);
        return NGX_BUSY;
    }

    key = NULL;
    *reason = "token_malformed";

    if (mcp_access_key_check((mcp_str_t *) &ctx->token) == MCP_OK) {
        *reason = "token_unknown";
        key = ngx_mcp_token_in_file(tk, &ctx->token);
    }

    if (key == NULL) {
        ngx_mcp_limit_failed(&t);
        rc = ngx_mcp_token_refused(mmcf, ctx, *reason);

    } else {
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


/* A record says the same as the token's beginning, or is somebody's slip. */

static const mcp_access_key_t *
ngx_mcp_token_in_file(ngx_mcp_tokens_t *tk, ngx_str_t *token)
{
    u_char                   hash[MCP_ACCESS_KEY_HASH];
    ngx_uint_t               i;
    const mcp_access_key_t  *key;

    if (tk->keys == NULL) {
        return NULL;
    }

    for (i = 0; i < tk->ring.n; i++) {
        mcp_access_key_hash(&tk->ring.peppers[i], (mcp_str_t *) token, hash);

        key = mcp_access_keys_find(tk->keys, hash);

        if (key) {
            return key->auth == mcp_access_key_kind((mcp_str_t *) token)
                   ? key : NULL;
        }
    }

    return NULL;
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

    ctx->entry = ngx_mcp_cache_put(mmcf->cache, ctx->key, principal,
                                   NGX_MCP_CACHE_WORKER,
                                   ngx_min(now + NGX_MCP_TOKEN_TIME,
                                           (time_t) key->expires));
    if (ctx->entry) {
        ctx->principal = ctx->entry->principal;
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
