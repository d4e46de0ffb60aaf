/*
 * Where people sign in: the endpoints of a login issuer, as it publishes them.
 *
 * Asked for when somebody needs them, once for all who wait, by each worker for
 * itself, and again after an hour.  While the issuer does not answer, what was
 * known serves for a day.  A document that is not this issuer's, or that leads
 * to another host or port, is no answer: whoever could put an endpoint there
 * would get codes and the client's secret.  Lines of the configuration have
 * precedence and may name any host.
 */

#include "ngx_mcp_connect.h"
#include "mcp_json_tree.h"


#define NGX_MCP_LOGIN_DOCUMENT  65536   /* bytes */
#define NGX_MCP_LOGIN_FRESH     3600    /* s */
#define NGX_MCP_LOGIN_STALE     86400   /* s */
#define NGX_MCP_LOGIN_PAUSE     2       /* s between two that failed */


struct ngx_mcp_login_worker_s {
    ngx_mcp_login_t          login;     /* in pool */
    ngx_pool_t              *pool;      /* NULL: nothing is known yet */
    time_t                   fetched;
    time_t                   tried;
    ngx_queue_t              waiters;
    ngx_mcp_fetch_t         *fetch;     /* NULL: none is under way */
    ngx_mcp_issuer_t        *issuer;
};


static ngx_mcp_login_worker_t *ngx_mcp_login_worker(ngx_mcp_issuer_t *is);
static ngx_int_t ngx_mcp_login_fetch(ngx_mcp_login_worker_t *lw);
static void ngx_mcp_login_fetched(void *data, ngx_mcp_fetch_result_t *res);
static const char *ngx_mcp_login_read(ngx_mcp_login_worker_t *lw,
    ngx_str_t *body);
static const char *ngx_mcp_login_document(ngx_mcp_issuer_t *is, json_t *doc,
    ngx_pool_t *pool, ngx_mcp_login_t *login);
static const char *ngx_mcp_login_endpoint(ngx_mcp_issuer_t *is, json_t *doc,
    const char *name, ngx_pool_t *pool, ngx_mcp_url_t *url);
static ngx_uint_t ngx_mcp_login_same_origin(ngx_mcp_url_t *a,
    ngx_mcp_url_t *b);
static void ngx_mcp_login_wake(ngx_mcp_login_worker_t *lw);


ngx_int_t
ngx_mcp_login_get(ngx_mcp_issuer_t *is, ngx_mcp_keys_waiter_t *w,
    ngx_mcp_login_t *login)
{
    time_t                   age;
    ngx_mcp_login_worker_t  *lw;

    if (is->authorization_endpoint.len && is->token_endpoint.len) {
        login->authorization = is->authorization_url;
        login->token = is->token_url;
        login->iss = 0;

        return NGX_OK;
    }

    lw = ngx_mcp_login_worker(is);
    if (lw == NULL) {
        return NGX_ERROR;
    }

    age = lw->pool ? ngx_time() - lw->fetched : NGX_MCP_LOGIN_STALE;

    if (age < 0) {
        lw->fetched = ngx_time();
        age = 0;
    }

    if (age >= NGX_MCP_LOGIN_FRESH && lw->fetch == NULL
        && (lw->tried == 0 || ngx_time() < lw->tried
            || ngx_time() - lw->tried >= NGX_MCP_LOGIN_PAUSE))
    {
        (void) ngx_mcp_login_fetch(lw);
    }

    if (age < NGX_MCP_LOGIN_STALE) {
        *login = lw->login;
        return NGX_OK;
    }

    if (lw->fetch == NULL) {
        return NGX_ERROR;
    }

    w->waiting = 1;
    ngx_queue_insert_tail(&lw->waiters, &w->queue);

    return NGX_AGAIN;
}


static ngx_mcp_login_worker_t *
ngx_mcp_login_worker(ngx_mcp_issuer_t *is)
{
    ngx_mcp_login_worker_t  *lw;

    if (is->login_worker) {
        return is->login_worker;
    }

    lw = ngx_calloc(sizeof(ngx_mcp_login_worker_t), ngx_cycle->log);
    if (lw == NULL) {
        return NULL;
    }

    lw->issuer = is;
    ngx_queue_init(&lw->waiters);

    is->login_worker = lw;

    return lw;
}


void
ngx_mcp_login_exit_worker(ngx_mcp_main_conf_t *mmcf)
{
    ngx_uint_t                i;
    ngx_queue_t              *q;
    ngx_mcp_issuer_t        **isp;
    ngx_mcp_keys_waiter_t    *w;
    ngx_mcp_login_worker_t   *lw;

    isp = mmcf->issuers.elts;

    for (i = 0; i < mmcf->issuers.nelts; i++) {
        lw = isp[i]->login_worker;

        if (lw == NULL) {
            continue;
        }

        if (lw->fetch) {
            ngx_mcp_fetch_cancel(lw->fetch);
        }

        while (!ngx_queue_empty(&lw->waiters)) {
            q = ngx_queue_head(&lw->waiters);
            w = ngx_queue_data(q, ngx_mcp_keys_waiter_t, queue);

            w->waiting = 0;
            ngx_queue_remove(q);
        }

        if (lw->pool) {
            ngx_destroy_pool(lw->pool);
        }

        ngx_free(lw);
        isp[i]->login_worker = NULL;
    }
}


static ngx_int_t
ngx_mcp_login_fetch(ngx_mcp_login_worker_t *lw)
{
    ngx_mcp_fetch_request_t  req;

    lw->tried = ngx_time();

    ngx_memzero(&req, sizeof(ngx_mcp_fetch_request_t));

    req.conf = &lw->issuer->login_fetch;
    ngx_str_set(&req.method, "GET");
    req.url = lw->issuer->login_url;
    req.max_body = NGX_MCP_LOGIN_DOCUMENT;
    req.done = ngx_mcp_login_fetched;
    req.data = lw;

    if (ngx_mcp_fetch_start(&req, ngx_cycle->log, &lw->fetch) != NGX_AGAIN) {
        lw->fetch = NULL;
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_mcp_login_fetched(void *data, ngx_mcp_fetch_result_t *res)
{
    ngx_mcp_login_worker_t *lw = data;

    const char  *error;

    lw->fetch = NULL;

    /* what ended without a response is in the log */

    if (res->error == NULL) {
        error = res->status == 200 ? ngx_mcp_login_read(lw, &res->body)
                                   : "unexpected status";

        if (error) {
            ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                          "mcp_issuer \"%V\": no endpoints for the login from "
                          "\"%V\": %s (%ui)", &lw->issuer->name,
                          &lw->issuer->login_url.url, error, res->status);
        }
    }

    ngx_mcp_login_wake(lw);
}


static const char *
ngx_mcp_login_read(ngx_mcp_login_worker_t *lw, ngx_str_t *body)
{
    int               oom;
    json_t           *doc;
    ngx_pool_t       *pool;
    const char       *error;
    ngx_mcp_login_t   login;

    pool = ngx_create_pool(4096, ngx_cycle->log);
    if (pool == NULL) {
        return "out of memory";
    }

    ngx_memzero(&login, sizeof(ngx_mcp_login_t));

    doc = mcp_json_tree(body->data, body->len, MCP_JSON_TREE_DEPTH, &oom);

    error = doc ? ngx_mcp_login_document(lw->issuer, doc, pool, &login)
                : oom ? "out of memory" : "it is not valid JSON";

    json_decref(doc);

    if (error) {
        ngx_destroy_pool(pool);
        return error;
    }

    if (lw->pool) {
        ngx_destroy_pool(lw->pool);
    }

    lw->pool = pool;
    lw->login = login;
    lw->fetched = ngx_time();
    lw->tried = 0;

    return NULL;
}


static const char *
ngx_mcp_login_document(ngx_mcp_issuer_t *is, json_t *doc, ngx_pool_t *pool,
    ngx_mcp_login_t *login)
{
    json_t      *value;
    const char  *error;

    value = json_object_get(doc, "issuer");

    if (!json_is_string(value)
        || json_string_length(value) != is->jwt.issuer.len
        || ngx_memcmp(json_string_value(value), is->jwt.issuer.data,
                      is->jwt.issuer.len)
           != 0)
    {
        return "it is another issuer's";
    }

    login->authorization = is->authorization_url;
    login->token = is->token_url;

    if (is->authorization_endpoint.len == 0) {
        error = ngx_mcp_login_endpoint(is, doc, "authorization_endpoint", pool,
                                       &login->authorization);
        if (error == NULL) {
            error = mcp_connect_endpoint((mcp_str_t *)
                                         &login->authorization.url);
        }

        if (error) {
            return error;
        }
    }

    if (is->token_endpoint.len == 0) {
        error = ngx_mcp_login_endpoint(is, doc, "token_endpoint", pool,
                                       &login->token);
        if (error) {
            return error;
        }
    }

    login->iss = json_is_true(json_object_get(doc,
                           "authorization_response_iss_parameter_supported"));

    return NULL;
}


static const char *
ngx_mcp_login_endpoint(ngx_mcp_issuer_t *is, json_t *doc, const char *name,
    ngx_pool_t *pool, ngx_mcp_url_t *url)
{
    json_t      *value;
    ngx_str_t    text;
    const char  *error;

    value = json_object_get(doc, name);

    if (!json_is_string(value)) {
        return "an endpoint is missing";
    }

    text.len = json_string_length(value);
    text.data = ngx_pnalloc(pool, text.len + 1);
    if (text.data == NULL) {
        return "out of memory";
    }

    /* with its NUL */
    ngx_memcpy(text.data, json_string_value(value),
               json_string_length(value) + 1);

    if (ngx_mcp_url_parse(pool, &text, url, &error) != NGX_OK) {
        return error;
    }

    return ngx_mcp_login_same_origin(url, &is->login_url)
           ? NULL : "an endpoint is on another host: it has to be written in "
                    "the configuration";
}


static ngx_uint_t
ngx_mcp_login_same_origin(ngx_mcp_url_t *a, ngx_mcp_url_t *b)
{
    return a->tls == b->tls && a->port == b->port
           && a->host.len == b->host.len
           && ngx_memcmp(a->host.data, b->host.data, a->host.len) == 0;
}


/* They move to a list of their own first: wake() may wait again, and end other
 * requests that are on either list. */
static void
ngx_mcp_login_wake(ngx_mcp_login_worker_t *lw)
{
    ngx_queue_t             list, *q;
    ngx_mcp_keys_waiter_t  *w;

    if (ngx_queue_empty(&lw->waiters)) {
        return;
    }

    ngx_queue_init(&list);
    ngx_queue_add(&list, &lw->waiters);
    ngx_queue_init(&lw->waiters);

    while (!ngx_queue_empty(&list)) {
        q = ngx_queue_head(&list);
        w = ngx_queue_data(q, ngx_mcp_keys_waiter_t, queue);

        w->waiting = 0;
        ngx_queue_remove(q);

        w->wake(w->data);
    }
}
