/*
 * The token file is read by the master first, so that nginx -t refuses what
 * cannot be used; then each worker looks whether it changed, and reads it
 * again.  What cannot be read or understood changes nothing: the records that
 * were there stay in force, and error.log says why, once a minute, never what
 * stands there.
 *
 * Records of the file are remembered in the worker's own cache only, and that
 * is emptied when the file changes: what a changed file says counts at once,
 * and streams of a token that is revoked there, or gone, are cut.
 *
 * Called by ngx_mcp_token.c.  The records belong to this worker, and go with
 * the configuration's pool.
 */

#include "ngx_mcp_token_file.h"
#include "ngx_mcp_conf.h"
#include "ngx_mcp_stream.h"
#include "ngx_mcp_watch.h"


#define NGX_MCP_TOKEN_FILE_MAX  (64 * 1024 * 1024)  /* bytes */
#define NGX_MCP_TOKEN_SILENCE   60      /* s between complaints */


struct ngx_mcp_token_file_s {
    ngx_str_t                path;
    mcp_access_keys_t       *keys;      /* in force */
    ngx_uint_t               n;
    mcp_access_keys_t       *old;       /* until streams were looked at */
    ngx_mcp_watch_t          seen;

    const char              *error;     /* static; NULL: the file is in force */
    ngx_uint_t               line;      /* 0: not about a line */
    ngx_err_t                err;
    time_t                   complained;

    ngx_mcp_main_conf_t     *mmcf;
    ngx_event_t              timer;
};


static void ngx_mcp_token_file_free(void *data);
static ngx_int_t ngx_mcp_token_file_read(ngx_mcp_token_file_t *tf,
    ngx_log_t *log);
static ngx_int_t ngx_mcp_token_file_parse(ngx_mcp_token_file_t *tf,
    ngx_str_t *text);
static ngx_uint_t ngx_mcp_token_file_pepper(const mcp_pepper_ring_t *ring,
    const mcp_access_key_t *key);
static void ngx_mcp_token_file_look(ngx_event_t *ev);
static void ngx_mcp_token_file_streams(ngx_mcp_token_file_t *tf);
static ngx_uint_t ngx_mcp_token_file_over(void *data,
    const mcp_principal_t *p);
static int ngx_libc_cdecl ngx_mcp_token_file_cmp(const void *a,
    const void *b);
static void ngx_mcp_token_file_publish(ngx_mcp_token_file_t *tf);
static void ngx_mcp_token_file_complain(ngx_mcp_token_file_t *tf,
    ngx_log_t *log);


ngx_mcp_token_file_t *
ngx_mcp_token_file_conf(ngx_conf_t *cf, ngx_str_t *path)
{
    ngx_pool_cleanup_t    *cln;
    ngx_mcp_token_file_t  *tf;

    tf = ngx_pcalloc(cf->pool, sizeof(ngx_mcp_token_file_t));
    cln = ngx_pool_cleanup_add(cf->pool, 0);

    if (tf == NULL || cln == NULL) {
        return NULL;
    }

    cln->handler = ngx_mcp_token_file_free;
    cln->data = tf;

    tf->path = *path;

    if (ngx_conf_full_name(cf->cycle, &tf->path, 1) != NGX_OK) {
        return NULL;
    }

    if (ngx_mcp_token_file_read(tf, cf->log) == NGX_OK) {
        return tf;
    }

    if (tf->line) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "mcp_token_file \"%V\" line %ui: %s", &tf->path,
                           tf->line, tf->error);

    } else {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, tf->err,
                           "mcp_token_file \"%V\": %s", &tf->path, tf->error);
    }

    return NULL;
}


static void
ngx_mcp_token_file_free(void *data)
{
    ngx_mcp_token_file_t *tf = data;

    if (tf->keys) {
        mcp_access_keys_free(tf->keys);
        tf->keys = NULL;
    }

    if (tf->old) {
        mcp_access_keys_free(tf->old);
        tf->old = NULL;
    }
}


/*
 * NGX_OK: the file is another, its records are in force now; NGX_DECLINED:
 * nothing new; NGX_ERROR: the old ones stay, tf->error says why.
 */
static ngx_int_t
ngx_mcp_token_file_read(ngx_mcp_token_file_t *tf, ngx_log_t *log)
{
    ngx_int_t        rc;
    ngx_str_t        text;
    ngx_mcp_watch_t  now;

    rc = ngx_mcp_watch_read(&tf->path, NGX_MCP_TOKEN_FILE_MAX, &tf->seen, &now,
                            &text, &tf->error, &tf->err, log);

    if (rc == NGX_ERROR) {
        tf->line = 0;

        /* once it can be read again it counts as new */

        ngx_memzero(&tf->seen, sizeof(ngx_mcp_watch_t));

        return NGX_ERROR;
    }

    tf->seen = now;

    if (rc == NGX_DECLINED) {
        return tf->error ? NGX_ERROR : NGX_DECLINED;
    }

    rc = ngx_mcp_token_file_parse(tf, &text);

    ngx_free(text.data);

    return rc;
}


static ngx_int_t
ngx_mcp_token_file_parse(ngx_mcp_token_file_t *tf, ngx_str_t *text)
{
    unsigned            line;
    const char         *error;
    mcp_access_keys_t  *keys;

    keys = mcp_access_keys_parse((mcp_str_t *) text, &error, &line);

    if (keys == NULL) {
        tf->error = error;
        tf->line = line;
        tf->err = 0;

        if (line == 0) {

            /* no memory, perhaps: the next look tries again */

            ngx_memzero(&tf->seen, sizeof(ngx_mcp_watch_t));
        }

        return NGX_ERROR;
    }

    tf->old = tf->keys;
    tf->keys = keys;
    tf->error = NULL;

    for (tf->n = 0; mcp_access_keys_get(keys, tf->n); tf->n++) { /* void */ }

    return NGX_OK;
}


void
ngx_mcp_token_file_check(ngx_conf_t *cf, ngx_mcp_token_file_t *tf,
    const mcp_pepper_ring_t *ring)
{
    ngx_uint_t  i, n;

    n = 0;

    for (i = 0; i < tf->n; i++) {
        n += !ngx_mcp_token_file_pepper(ring,
                                        mcp_access_keys_get(tf->keys, i));
    }

    if (n) {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "mcp_token_file \"%V\": %ui of %ui tokens were made "
                      "with a key that is not in mcp_token_key and are "
                      "refused", &tf->path, n, tf->n);
    }
}


static ngx_uint_t
ngx_mcp_token_file_pepper(const mcp_pepper_ring_t *ring,
    const mcp_access_key_t *key)
{
    ngx_uint_t  i;

    for (i = 0; i < ring->n; i++) {
        if (ngx_memcmp(ring->peppers[i].id, key->pepper, sizeof(key->pepper))
            == 0)
        {
            return 1;
        }
    }

    return 0;
}


void
ngx_mcp_token_file_init_worker(ngx_mcp_token_file_t *tf, ngx_cycle_t *cycle,
    ngx_mcp_main_conf_t *mmcf)
{
    tf->mmcf = mmcf;

    /* the master could read it; can a worker? */

    ngx_memzero(&tf->seen, sizeof(ngx_mcp_watch_t));

    tf->complained = ngx_time() - NGX_MCP_TOKEN_SILENCE;

    tf->timer.handler = ngx_mcp_token_file_look;
    tf->timer.data = tf;
    tf->timer.log = cycle->log;
    tf->timer.cancelable = 1;

    ngx_mcp_token_file_look(&tf->timer);
}


void
ngx_mcp_token_file_exit_worker(ngx_mcp_token_file_t *tf)
{
    if (tf->timer.timer_set) {
        ngx_del_timer(&tf->timer);
    }
}


static void
ngx_mcp_token_file_look(ngx_event_t *ev)
{
    ngx_mcp_token_file_t *tf = ev->data;

    switch (ngx_mcp_token_file_read(tf, ev->log)) {

    case NGX_OK:
        ngx_mcp_cache_flush(tf->mmcf->cache);
        ngx_mcp_token_file_streams(tf);
        ngx_mcp_token_file_publish(tf);

        ngx_log_error(NGX_LOG_INFO, ev->log, 0,
                      "mcp_token_file \"%V\": %ui tokens", &tf->path, tf->n);
        break;

    case NGX_ERROR:
        ngx_mcp_token_file_publish(tf);
        ngx_mcp_token_file_complain(tf, ev->log);
        break;

    default: /* NGX_DECLINED */
        break;
    }

    ngx_add_timer(ev, NGX_MCP_WATCH_TIME);
}


/* Which tokens were good and are none now; their streams end. */

static void
ngx_mcp_token_file_streams(ngx_mcp_token_file_t *tf)
{
    ngx_uint_t               i;
    ngx_array_t              over;
    ngx_pool_t              *pool;
    const mcp_access_key_t  *was, *is, **id;

    if (tf->old == NULL) {
        return;
    }

    pool = ngx_create_pool(NGX_MIN_POOL_SIZE, tf->timer.log);
    if (pool == NULL) {
        goto done;
    }

    if (ngx_array_init(&over, pool, 4, sizeof(void *)) != NGX_OK) {
        goto done;
    }

    for (i = 0; /* void */ ; i++) {
        was = mcp_access_keys_get(tf->old, i);
        if (was == NULL) {
            break;
        }

        is = mcp_access_keys_find(tf->keys, was->hash);

        if (was->revoked
            || (is && !is->revoked && is->expires > ngx_time()))
        {
            continue;
        }

        id = ngx_array_push(&over);
        if (id == NULL) {
            goto done;
        }

        *id = was;
    }

    if (over.nelts) {
        ngx_qsort(over.elts, over.nelts, sizeof(void *),
                  ngx_mcp_token_file_cmp);
        ngx_mcp_stream_end(tf->mmcf, ngx_mcp_token_file_over, &over,
                           "token_revoked");
    }

done:

    if (pool) {
        ngx_destroy_pool(pool);
    }

    mcp_access_keys_free(tf->old);
    tf->old = NULL;
}


static ngx_uint_t
ngx_mcp_token_file_over(void *data, const mcp_principal_t *p)
{
    ngx_array_t *over = data;

    mcp_access_key_t  key, *id;

    if (p->auth == MCP_AUTH_JWT) {
        return 0;
    }

    key.id = p->token_id;
    id = &key;

    return bsearch(&id, over->elts, over->nelts, sizeof(void *),
                   ngx_mcp_token_file_cmp) != NULL;
}


static int ngx_libc_cdecl
ngx_mcp_token_file_cmp(const void *a, const void *b)
{
    const mcp_access_key_t *const *p = a, *const *q = b;

    return ngx_memn2cmp((*p)->id.data, (*q)->id.data, (*p)->id.len,
                        (*q)->id.len);
}


/* For mcp_status; an old worker says nothing about the new one's file. */

static void
ngx_mcp_token_file_publish(ngx_mcp_token_file_t *tf)
{
    ngx_mcp_counters_t  *counters;

    if (ngx_exiting) {
        return;
    }

    counters = ngx_mcp_zone_counters(tf->mmcf->zone);

    counters->token_file_failed = (tf->error != NULL);

    if (tf->error == NULL) {
        counters->token_records = tf->n;
        counters->token_file_time = tf->seen.mtime / 1000000000;
    }
}


static void
ngx_mcp_token_file_complain(ngx_mcp_token_file_t *tf, ngx_log_t *log)
{
    if (ngx_time() - tf->complained < NGX_MCP_TOKEN_SILENCE) {
        return;
    }

    tf->complained = ngx_time();

    if (tf->line) {
        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "mcp_token_file \"%V\" line %ui: %s; the tokens that "
                      "were there before stay in force", &tf->path, tf->line,
                      tf->error);

    } else {
        ngx_log_error(NGX_LOG_ERR, log, tf->err,
                      "mcp_token_file \"%V\": %s; the tokens that were there "
                      "before stay in force", &tf->path, tf->error);
    }
}


const mcp_access_key_t *
ngx_mcp_token_file_find(ngx_mcp_token_file_t *tf, const u_char *hash)
{
    return mcp_access_keys_find(tf->keys, hash);
}
