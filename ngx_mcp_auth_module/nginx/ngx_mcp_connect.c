/*
 * mcp_connect: the content handler.  Which page is meant, the body of a form,
 * waiting, and the end of a request.
 *
 * Only what a client asked for itself is answered: to a subrequest and to an
 * internal redirect (error_page, try_files, X-Accel-Redirect) there is no such
 * page.  A request that is answered at once and one that waits for Redis or for
 * a provider end in the same way, by ngx_mcp_connect_end().
 *
 * While a code is being exchanged the request stays to its end even when the
 * browser goes: a code works once, and what it brought has to be written.
 */

#include "ngx_mcp_connect.h"
#include "ngx_mcp_connect_pages.h"
#include "ngx_mcp_reply.h"


/* steps that cost Redis or a provider something, a minute and an address */
#define NGX_MCP_CONNECT_RATE  300


#define NGX_MCP_CONNECT_GET   (NGX_HTTP_GET|NGX_HTTP_HEAD)


typedef struct {
    const char           *path;
    ngx_uint_t            methods;
    ngx_uint_t            named;        /* a credential's name follows */
    ngx_uint_t            costs;
    void                (*action)(ngx_mcp_connect_ctx_t *cc);
} ngx_mcp_connect_route_t;


static ngx_mcp_connect_ctx_t *ngx_mcp_connect_create(ngx_http_request_t *r);
static ngx_int_t ngx_mcp_connect_hide(ngx_mcp_connect_ctx_t *cc);
static const ngx_mcp_connect_route_t *ngx_mcp_connect_route(
    ngx_mcp_connect_ctx_t *cc);
static ngx_uint_t ngx_mcp_connect_named(ngx_mcp_connect_ctx_t *cc,
    ngx_str_t *name);
static ngx_int_t ngx_mcp_connect_get(ngx_mcp_connect_ctx_t *cc);
static ngx_int_t ngx_mcp_connect_post(ngx_mcp_connect_ctx_t *cc);
static ngx_uint_t ngx_mcp_connect_form(ngx_http_request_t *r);
static void ngx_mcp_connect_posted(ngx_http_request_t *r);
static ngx_int_t ngx_mcp_connect_read(ngx_mcp_connect_ctx_t *cc);
static ngx_uint_t ngx_mcp_connect_limited(ngx_mcp_connect_ctx_t *cc);
static void *ngx_mcp_connect_mem_alloc(void *ctx, size_t size);
static void ngx_mcp_connect_cancel(void *data);
static void ngx_mcp_connect_wipe(void *data);


/* HEAD changes nothing: where a GET takes a state or makes one, whoever only
 * looks whether there is something gets 405. */
static const ngx_mcp_connect_route_t  ngx_mcp_connect_routes[] = {

    { "", NGX_MCP_CONNECT_GET, 0, 0, ngx_mcp_connect_list },
    { "style.css", NGX_MCP_CONNECT_GET, 0, 0, ngx_mcp_connect_style },
    { "login", NGX_HTTP_GET, 0, 1, ngx_mcp_connect_login },
    { "callback", NGX_HTTP_GET, 0, 1, ngx_mcp_connect_callback },
    { "logout", NGX_HTTP_POST, 0, 0, ngx_mcp_connect_logout },
    { "start/", NGX_HTTP_GET|NGX_HTTP_POST, 1, 1, ngx_mcp_connect_start },
    { "grant/", NGX_HTTP_GET, 1, 1, ngx_mcp_connect_grant },
    { "done", NGX_MCP_CONNECT_GET, 0, 0, ngx_mcp_connect_done },
    { "disconnect/", NGX_HTTP_POST, 1, 1, ngx_mcp_connect_disconnect }
};

#define NGX_MCP_CONNECT_ROUTES                                                \
    (sizeof(ngx_mcp_connect_routes) / sizeof(ngx_mcp_connect_routes[0]))


/* Before limit_req, allow/deny and others can refuse the request, and say in a
 * log what it was. */
ngx_int_t
ngx_mcp_connect_enter(ngx_http_request_t *r)
{
    if (r != r->main || r->internal || r->uri_changed
        || ngx_mcp_connect_find(r))
    {
        return NGX_DECLINED;
    }

    return ngx_mcp_connect_create(r) ? NGX_DECLINED
                                     : NGX_HTTP_INTERNAL_SERVER_ERROR;
}


/* The context is not where filters look for theirs. */
ngx_mcp_connect_ctx_t *
ngx_mcp_connect_find(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t  *cln;

    for (cln = r->pool->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_mcp_connect_wipe) {
            return cln->data;
        }
    }

    return NULL;
}


ngx_int_t
ngx_mcp_connect_handler(ngx_http_request_t *r)
{
    ngx_mcp_connect_ctx_t          *cc;
    const ngx_mcp_connect_route_t  *route;

    if (r != r->main || r->internal) {
        return NGX_HTTP_NOT_FOUND;
    }

    cc = ngx_mcp_connect_find(r);
    if (cc == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    route = ngx_mcp_connect_route(cc);

    if (route == NULL) {
        cc->action = ngx_mcp_connect_not_found;

    } else if ((r->method & route->methods) == 0) {
        cc->allow = route->methods;
        cc->action = ngx_mcp_connect_not_allowed;

    } else if (cc->query.len > NGX_MCP_CONNECT_ARGS) {
        cc->action = ngx_mcp_connect_bad_request;

    } else if (route->costs && ngx_mcp_connect_limited(cc)) {
        cc->action = ngx_mcp_connect_too_many;

    } else {
        cc->action = route->action;

        if (r->method == NGX_HTTP_POST) {
            return ngx_mcp_connect_post(cc);
        }
    }

    return ngx_mcp_connect_get(cc);
}


static ngx_mcp_connect_ctx_t *
ngx_mcp_connect_create(ngx_http_request_t *r)
{
    ngx_http_cleanup_t     *hcln;
    ngx_pool_cleanup_t     *cln;
    ngx_mcp_loc_conf_t     *mlcf;
    ngx_mcp_connect_ctx_t  *cc;

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_mcp_connect_ctx_t));
    if (cln == NULL) {
        return NULL;
    }

    cc = cln->data;
    ngx_memzero(cc, sizeof(ngx_mcp_connect_ctx_t));

    cln->handler = ngx_mcp_connect_wipe;

    mlcf = ngx_http_get_module_loc_conf(r, ngx_http_mcp_auth_module);

    cc->request = r;
    cc->conf = mlcf->connect;
    cc->mmcf = ngx_http_get_module_main_conf(r, ngx_http_mcp_auth_module);

    /* from here on the pool's cleanup takes it away again */

    cc->asking.cancel = ngx_mcp_connect_cancel;
    cc->asking.data = cc;
    ngx_queue_insert_tail(&cc->mmcf->asking, &cc->asking.queue);

    hcln = ngx_http_cleanup_add(r, 0);
    if (hcln == NULL) {
        return NULL;
    }

    hcln->handler = ngx_mcp_connect_cancel;
    hcln->data = cc;

    return ngx_mcp_connect_hide(cc) == NGX_OK ? cc : NULL;
}


/*
 * A query has codes, states and tickets: it is taken out of the request, so
 * that no log has it, neither $request nor what nginx adds to its errors.
 */
static ngx_int_t
ngx_mcp_connect_hide(ngx_mcp_connect_ctx_t *cc)
{
    u_char              *p, *last;
    ngx_str_t            line;
    ngx_http_request_t  *r;

    r = cc->request;

    if (r->args.len) {
        cc->query.data = ngx_mcp_connect_secret(cc, r->args.len);
        if (cc->query.data == NULL) {
            return NGX_ERROR;
        }

        cc->query.len = r->args.len;
        ngx_memcpy(cc->query.data, r->args.data, r->args.len);
        r->args.len = 0;
    }

    last = r->unparsed_uri.data + r->unparsed_uri.len;
    p = ngx_strlchr(r->unparsed_uri.data, last, '?');

    if (p == NULL) {
        return NGX_OK;
    }

    /* args are a part of it, or what `set` put there: the configuration's */

    ngx_explicit_memzero(p + 1, last - p - 1);
    r->unparsed_uri.len = p - r->unparsed_uri.data;

    line.data = ngx_pnalloc(r->pool, r->method_name.len + r->unparsed_uri.len
                                     + r->http_protocol.len + 2);
    if (line.data == NULL) {
        return NGX_ERROR;
    }

    line.len = ngx_sprintf(line.data, "%V %V %V", &r->method_name,
                           &r->unparsed_uri, &r->http_protocol)
               - line.data;

    /* over HTTP/2 it is a copy */

    last = r->request_line.data + r->request_line.len;
    p = ngx_strlchr(r->request_line.data, last, '?');

    if (p && r->http_protocol.len < (size_t) (last - p)
        && (r->http_protocol.data < r->request_line.data
            || r->http_protocol.data >= last))
    {
        ngx_explicit_memzero(p, last - p);
    }

    r->request_line = line;

    return NGX_OK;
}


/* By nginx's own reading of the path: decoded, without dots and doubled
 * slashes. */
static const ngx_mcp_connect_route_t *
ngx_mcp_connect_route(ngx_mcp_connect_ctx_t *cc)
{
    size_t                          len;
    ngx_str_t                       path;
    ngx_uint_t                      i;
    const ngx_mcp_connect_route_t  *route;

    path = cc->request->uri;

    if (path.len < cc->conf->path.len
        || ngx_memcmp(path.data, cc->conf->path.data, cc->conf->path.len) != 0)
    {
        return NULL;
    }

    path.data += cc->conf->path.len;
    path.len -= cc->conf->path.len;

    for (i = 0; i < NGX_MCP_CONNECT_ROUTES; i++) {
        route = &ngx_mcp_connect_routes[i];
        len = ngx_strlen(route->path);

        if (path.len < len || ngx_memcmp(path.data, route->path, len) != 0) {
            continue;
        }

        if (!route->named) {
            if (path.len == len) {
                return route;
            }

            continue;
        }

        path.data += len;
        path.len -= len;

        return ngx_mcp_connect_named(cc, &path) ? route : NULL;
    }

    return NULL;
}


/* One of those that are connected here. */
static ngx_uint_t
ngx_mcp_connect_named(ngx_mcp_connect_ctx_t *cc, ngx_str_t *name)
{
    ngx_uint_t              i;
    ngx_mcp_credential_t  **crp;

    crp = cc->conf->credentials.elts;

    for (i = 0; i < cc->conf->credentials.nelts; i++) {
        if (crp[i]->name.len == name->len
            && ngx_memcmp(crp[i]->name.data, name->data, name->len) == 0)
        {
            cc->credential = crp[i];
            return 1;
        }
    }

    return 0;
}


static ngx_int_t
ngx_mcp_connect_get(ngx_mcp_connect_ctx_t *cc)
{
    ngx_int_t            rc;
    ngx_http_request_t  *r;

    r = cc->request;

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    /* the action may end the request before it returns */

    r->main->count++;

    cc->action(cc);

    return NGX_DONE;
}


static ngx_int_t
ngx_mcp_connect_post(ngx_mcp_connect_ctx_t *cc)
{
    ngx_int_t            rc;
    ngx_http_request_t  *r;

    r = cc->request;

    if (!ngx_mcp_connect_form(r)) {
        cc->action = ngx_mcp_connect_no_form;
        return ngx_mcp_connect_get(cc);
    }

    if (r->headers_in.content_length_n > NGX_MCP_CONNECT_BODY) {
        cc->action = ngx_mcp_connect_too_large;
        return ngx_mcp_connect_get(cc);
    }

    r->request_body_in_single_buf = 1;

    rc = ngx_http_read_client_request_body(r, ngx_mcp_connect_posted);

    return rc >= NGX_HTTP_SPECIAL_RESPONSE ? rc : NGX_DONE;
}


/* What a browser sends for a form of ours. */
static ngx_uint_t
ngx_mcp_connect_form(ngx_http_request_t *r)
{
    size_t      len;
    ngx_str_t  *type;

    static const char  form[] = "application/x-www-form-urlencoded";

    if (r->headers_in.content_type == NULL) {
        return 0;
    }

    type = &r->headers_in.content_type->value;
    len = sizeof(form) - 1;

    return type->len >= len
           && ngx_strncasecmp(type->data, (u_char *) form, len) == 0
           && (type->len == len || type->data[len] == ';'
               || type->data[len] == ' ');
}


static void
ngx_mcp_connect_posted(ngx_http_request_t *r)
{
    ngx_mcp_connect_ctx_t  *cc;

    cc = ngx_mcp_connect_find(r);

    if (cc == NULL) {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    if (ngx_mcp_connect_read(cc) != NGX_OK) {
        ngx_mcp_connect_too_large(cc);
        return;
    }

    cc->action(cc);
}


/* The body is small: it is in memory, in one buffer, unless the operator wants
 * bodies in files. */
static ngx_int_t
ngx_mcp_connect_read(ngx_mcp_connect_ctx_t *cc)
{
    u_char       *p;
    size_t        len;
    ssize_t       n;
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    if (cc->request->request_body == NULL) {
        return NGX_ERROR;
    }

    cc->body.data = ngx_mcp_connect_secret(cc, NGX_MCP_CONNECT_BODY);
    if (cc->body.data == NULL) {
        return NGX_ERROR;
    }

    for (cl = cc->request->request_body->bufs; cl; cl = cl->next) {
        b = cl->buf;
        p = cc->body.data + cc->body.len;

        if (ngx_buf_size(b) > (off_t) (NGX_MCP_CONNECT_BODY - cc->body.len)) {
            return NGX_ERROR;
        }

        len = (size_t) ngx_buf_size(b);

        if (ngx_buf_in_memory(b)) {
            ngx_memcpy(p, b->pos, len);
            ngx_explicit_memzero(b->pos, len);

        } else if (b->in_file) {
            n = ngx_read_file(b->file, p, len, b->file_pos);

            if (n == NGX_ERROR || (size_t) n != len) {
                return NGX_ERROR;
            }
        }

        cc->body.len += len;
    }

    return NGX_OK;
}


/* Each step counts, whoever made it: behind one address may be a company. */
static ngx_uint_t
ngx_mcp_connect_limited(ngx_mcp_connect_ctx_t *cc)
{
    ngx_mcp_limit_try_t  t;
    u_char               key[NGX_MCP_DIGEST];
    uint64_t             n;

    ngx_memzero(key, sizeof(key));
    n = ngx_mcp_now_us();
    ngx_memcpy(key, &n, sizeof(n));

    /* the table of wrong tokens, in which these are other addresses */

    ngx_mcp_limit_try(&t, &ngx_mcp_zone_counters(cc->mmcf->zone)->token_limit,
                      NGX_MCP_CONNECT_RATE,
                      cc->request->connection->sockaddr, key,
                      &cc->mmcf->connect_digest);

    cc->retry_after = ngx_mcp_limit_wait(&t);

    if (cc->retry_after) {
        return 1;
    }

    ngx_mcp_limit_failed(&t);

    return 0;
}


void
ngx_mcp_connect_wait(ngx_mcp_connect_ctx_t *cc)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = cc->request;
    c = r->connection;

    r->write_event_handler = ngx_http_request_empty_handler;

    if (cc->stays) {
        r->read_event_handler = ngx_http_block_reading;
        return;
    }

    r->read_event_handler = ngx_http_test_reading;

    if (c->read->ready) {
        ngx_post_event(c->read, &ngx_posted_events);

    } else {
        (void) ngx_handle_read_event(c->read, 0);
    }
}


void
ngx_mcp_connect_go(ngx_mcp_connect_ctx_t *cc, ngx_int_t rc)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = cc->request;
    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    r->read_event_handler = ngx_http_block_reading;

    cc->done(cc, rc);

    ngx_http_run_posted_requests(c);
}


void
ngx_mcp_connect_woken(void *data)
{
    ngx_mcp_connect_go(data, NGX_OK);
}


void
ngx_mcp_connect_end(ngx_mcp_connect_ctx_t *cc, ngx_int_t rc)
{
    ngx_http_finalize_request(cc->request, rc);
}


u_char *
ngx_mcp_connect_secret(ngx_mcp_connect_ctx_t *cc, size_t size)
{
    ngx_mcp_connect_secret_t  *s;

    s = ngx_palloc(cc->request->pool, sizeof(ngx_mcp_connect_secret_t));
    if (s == NULL) {
        return NULL;
    }

    s->data = ngx_palloc(cc->request->pool, size);
    if (s->data == NULL) {
        return NULL;
    }

    s->size = size;
    s->next = cc->secrets;
    cc->secrets = s;

    return s->data;
}


static void *
ngx_mcp_connect_mem_alloc(void *ctx, size_t size)
{
    return ngx_mcp_connect_secret(ctx, size);
}


/* The same as core/ wants it. */
mcp_mem_t
ngx_mcp_connect_mem(ngx_mcp_connect_ctx_t *cc)
{
    mcp_mem_t  mem;

    mem.alloc = ngx_mcp_connect_mem_alloc;
    mem.ctx = cc;

    return mem;
}


void
ngx_mcp_connect_audit(ngx_mcp_connect_ctx_t *cc, const char *method,
    const char *decision, const char *reason)
{
    mcp_audit_t      a;
    mcp_principal_t  p;

    /* the page has it as well: who asks for help can say it */

    cc->reason = (ngx_strcmp(decision, "allow") == 0) ? NULL : reason;

    ngx_memzero(&a, sizeof(mcp_audit_t));
    ngx_memzero(&p, sizeof(mcp_principal_t));

    if (cc->session.user.len) {
        p.kind = MCP_CALLER_USER;
        p.iss = cc->session.issuer;
        p.user = cc->session.user;
        a.principal = &p;
    }

    a.ev = "connect";
    a.http_method = method;
    a.decision = decision;
    a.reason = reason;

    if (cc->credential) {
        a.credential = *(mcp_str_t *) &cc->credential->name;
        a.credential_version = cc->version;
        a.credential_us = -1;
    }

    if (cc->version) {
        a.store = "redis";
        a.until = cc->until;
        a.note = cc->scope;
        a.late_us = -1;
    }

    a.client_ip = *(mcp_str_t *) &cc->request->connection->addr_text;

    ngx_mcp_stats_connect(ngx_mcp_zone_counters(cc->mmcf->zone)->connects,
                          method + sizeof("connect/") - 1, decision);

    ngx_mcp_log_event(cc->mmcf, &a);
}


/* The request ends: nothing may call it any more. */
static void
ngx_mcp_connect_cancel(void *data)
{
    ngx_mcp_connect_ctx_t *cc = data;

    if (cc->redis) {
        ngx_mcp_redis_cancel(cc->redis);
        cc->redis = NULL;
    }

    if (cc->store) {
        ngx_mcp_store_cancel(cc->store);
        cc->store = NULL;
    }

    if (cc->fetch) {
        ngx_mcp_fetch_cancel(cc->fetch);
        cc->fetch = NULL;
    }

    if (cc->ending) {
        ngx_mcp_ending_cancel(cc->ending);
        cc->ending = NULL;
    }

    ngx_mcp_keys_cancel(&cc->waiter);

    if (cc->timer.timer_set) {
        ngx_del_timer(&cc->timer);
    }

    if (cc->jwt) {
        mcp_jwt_free(cc->jwt);
        cc->jwt = NULL;
    }
}


static void
ngx_mcp_connect_wipe(void *data)
{
    ngx_mcp_connect_ctx_t *cc = data;

    ngx_mcp_connect_secret_t  *s;

    ngx_mcp_connect_cancel(cc);

    ngx_queue_remove(&cc->asking.queue);

    for (s = cc->secrets; s; s = s->next) {
        ngx_explicit_memzero(s->data, s->size);
    }
}
