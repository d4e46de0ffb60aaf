/*
 * The precontent phase: the downstream credential takes the caller's place.
 *
 * The list of request headers is built anew without what must not leave: the
 * caller's credentials and cookies, headers by which another proxy's identity
 * could be forged, ranges and encodings that would blind the filter.  Elements
 * are copied, not moved: other code points at the old ones, and may.  The
 * credential is then put in.  When there is none, nothing takes the caller's
 * place; it is never forwarded.  A variable that was made of a header before,
 * by `set` or a map, is out of reach: it still has what the caller sent.
 *
 * Every way upstream passes here: a request that was not authorised for this
 * server by its own access phase (a subrequest, say) is refused.
 */

#include "ngx_mcp_credential.h"
#include "ngx_mcp_compat.h"


#define ngx_mcp_swap_begins(name, s)                                          \
    ((name)->len >= sizeof(s) - 1                                             \
     && ngx_memcmp((name)->data, s, sizeof(s) - 1) == 0)


static ngx_int_t ngx_mcp_swap(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    ngx_mcp_server_t *sv, ngx_uint_t authorised);
static ngx_int_t ngx_mcp_swap_credential(ngx_http_request_t *r,
    ngx_mcp_ctx_t *ctx, ngx_list_t *list);
static ngx_int_t ngx_mcp_swap_session(ngx_http_request_t *r,
    ngx_mcp_ctx_t *ctx, ngx_list_t *list);
static ngx_int_t ngx_mcp_swap_filter(ngx_http_request_t *r,
    ngx_mcp_server_t *sv, ngx_list_t *list);
static void ngx_mcp_swap_forget(ngx_http_request_t *r);
static ngx_int_t ngx_mcp_swap_name(ngx_http_request_t *r, ngx_table_elt_t *h,
    mcp_str_t *name);
static ngx_uint_t ngx_mcp_swap_stripped(mcp_str_t *name, ngx_mcp_server_t *sv);
static ngx_uint_t ngx_mcp_swap_listed(mcp_str_t *name);
static ngx_uint_t ngx_mcp_swap_listed_x(mcp_str_t *name);
static ngx_uint_t ngx_mcp_swap_replays(ngx_http_request_t *r,
    mcp_str_t *name);
static ngx_table_elt_t *ngx_mcp_swap_push(ngx_http_request_t *r,
    ngx_list_t *list, ngx_str_t *key, ngx_str_t *lowcase, ngx_uint_t hash,
    ngx_str_t *value);


ngx_int_t
ngx_mcp_swap_handler(ngx_http_request_t *r)
{
    ngx_int_t              rc;
    ngx_uint_t             authorised;
    ngx_mcp_ctx_t         *ctx;
    ngx_mcp_server_t      *sv;
    ngx_mcp_loc_conf_t    *mlcf;

    mlcf = ngx_http_get_module_loc_conf(r, ngx_http_mcp_auth_module);
    ctx = ngx_mcp_get_ctx(r->main);
    sv = mlcf->server;

    if (sv) {
        if (ctx == NULL || ctx->state != NGX_MCP_DONE || ctx->server != sv) {
            ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                          "mcp_auth: %s that was not authorised for server "
                          "\"%V\" refused",
                          r == r->main ? "request" : "subrequest", &sv->name);
            return NGX_HTTP_FORBIDDEN;
        }

    } else {

        /*
         * An internal redirect out of the protected location: the caller's
         * token must not leave from there either.  Or a subrequest (a mirror,
         * say): it has the headers of the main request, and so its credential,
         * which is for the server only.
         */

        if (ctx == NULL
            || ctx->server == NULL
            || (r != r->main && !ctx->swapped))
        {
            return NGX_DECLINED;
        }

        sv = ctx->server;
    }

    if (r == r->main && ctx->swapped) {
        return NGX_DECLINED;
    }

    /* whoever was refused, and went on to an error page, gets nothing */

    authorised = ctx->state == NGX_MCP_DONE
                 && (r == r->main || mlcf->server);

    if (r == r->main && authorised) {
        rc = ngx_mcp_credential_get(r, ctx);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    if (r != r->main && authorised && !ctx->swapped
        && ngx_mcp_credential_early(ctx) != NGX_OK)
    {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "mcp_auth: subrequest to server \"%V\" before its "
                      "request has the credential refused", &sv->name);
        return NGX_HTTP_FORBIDDEN;
    }

    if (r == r->main) {
        ctx->swapped = 1;
    }

    rc = ngx_mcp_swap(r, ctx, sv, authorised);

    ngx_str_null(&ctx->fetched);

    if (rc != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_mcp_swap_forget(r);

    return NGX_DECLINED;
}


/*
 * The upstream has them: $http_authorization, $remote_user and others, which a
 * log_format may ask for, do not tell the gateway's secret, nor the name of
 * the upstream's session.
 */
void
ngx_mcp_swap_hide(ngx_mcp_ctx_t *ctx)
{
    ngx_uint_t                    i;
    ngx_http_request_t           *r;
    ngx_mcp_credential_header_t  *ch;

    if (ctx->nsecrets == 0 && ctx->session_header == NULL) {
        return;
    }

    r = ctx->request;

    if (ctx->session_header) {
        ngx_str_set(&ctx->session_header->value, "");
        ctx->session_header = NULL;
    }

    if (ctx->nsecrets) {
        ch = ctx->credential->headers.elts;

        for (i = 0; i < ctx->nsecrets; i++) {

            if (ch[i].token) {
                ngx_explicit_memzero(ctx->secrets[i]->value.data,
                                     ctx->secrets[i]->value.len);
            }

            ngx_str_set(&ctx->secrets[i]->value, "");
        }

        ctx->nsecrets = 0;

        r->headers_in.authorization = NULL;
        ngx_str_null(&r->headers_in.user);
        ngx_str_null(&r->headers_in.passwd);
    }

    ngx_mcp_swap_forget(r);
}


static ngx_int_t
ngx_mcp_swap(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx, ngx_mcp_server_t *sv,
    ngx_uint_t authorised)
{
    ngx_list_t  list;

    static ngx_str_t  key = ngx_string("Accept-Encoding");
    static ngx_str_t  lowcase = ngx_string("accept-encoding");
    static ngx_str_t  identity = ngx_string("identity");

    if (ngx_list_init(&list, r->pool, 20, sizeof(ngx_table_elt_t)) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_mcp_swap_filter(r, sv, &list) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_mcp_swap_push(r, &list, &key, &lowcase, 1, &identity) == NULL) {
        return NGX_ERROR;
    }

    r->headers_in.authorization = NULL;
    r->headers_in.range = NULL;
    r->headers_in.if_range = NULL;
    r->headers_in.if_match = NULL;
    r->headers_in.if_none_match = NULL;
    r->headers_in.if_modified_since = NULL;
    r->headers_in.if_unmodified_since = NULL;
    ngx_mcp_forget_cookies(r);

    /* accept_encoding stays: by it our own gzip answers the caller */

    /* a subrequest has a copy of the main request's list of its own */

    if (authorised
        && (ngx_mcp_swap_session(r, ctx, &list) != NGX_OK
            || ngx_mcp_swap_credential(r, ctx, &list) != NGX_OK))
    {
        return NGX_ERROR;
    }

    r->headers_in.headers = list;

    /* the list's last part is inside the list itself while there is one */

    if (list.last == &list.part) {
        r->headers_in.headers.last = &r->headers_in.headers.part;
    }

    return NGX_OK;
}


/* The session, by the name that the upstream gave it. */
static ngx_int_t
ngx_mcp_swap_session(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    ngx_list_t *list)
{
    ngx_table_elt_t  *h;

    static ngx_str_t  key = ngx_string("Mcp-Session-Id");
    static ngx_str_t  lowcase = ngx_string("mcp-session-id");

    if (ctx->upstream_session.len == 0) {
        return NGX_OK;
    }

    h = ngx_mcp_swap_push(r, list, &key, &lowcase, 1, &ctx->upstream_session);
    if (h == NULL) {
        return NGX_ERROR;
    }

    if (r == r->main) {
        ctx->session_header = h;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_mcp_swap_credential(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    ngx_list_t *list)
{
    ngx_str_t                     value;
    ngx_uint_t                    i;
    ngx_table_elt_t              *h;
    ngx_mcp_credential_header_t  *ch;

    if (ctx->credential == NULL) {
        return NGX_OK;
    }

    ch = ctx->credential->headers.elts;

    for (i = 0; i < ctx->credential->headers.nelts; i++) {

        if (r != r->main && i < ctx->nsecrets) {

            /* a subrequest may outlive what its main request cleanses */

            value.len = ctx->secrets[i]->value.len;
            value.data = ngx_pstrdup(r->pool, &ctx->secrets[i]->value);

            if (value.data == NULL) {
                return NGX_ERROR;
            }

        } else if (ngx_mcp_credential_value(r, ctx, &ch[i], &value) != NGX_OK)
        {
            return NGX_ERROR;
        }

        h = ngx_mcp_swap_push(r, list, &ch[i].name, &ch[i].lowcase,
                              ch[i].hash, &value);
        if (h == NULL) {
            return NGX_ERROR;
        }

        if (ch[i].lowcase.len == sizeof("authorization") - 1
            && ngx_memcmp(ch[i].lowcase.data, "authorization",
                          sizeof("authorization") - 1) == 0)
        {
            r->headers_in.authorization = h;
        }

        if (r == r->main) {
            ctx->secrets[ctx->nsecrets++] = h;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_mcp_swap_filter(ngx_http_request_t *r, ngx_mcp_server_t *sv,
    ngx_list_t *list)
{
    mcp_str_t         name;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *header, *h;

    part = &r->headers_in.headers.part;
    header = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                return NGX_OK;
            }

            part = part->next;
            header = part->elts;
            i = 0;
        }

        if (ngx_mcp_swap_name(r, &header[i], &name) != NGX_OK) {
            return NGX_ERROR;
        }

        if (ngx_mcp_swap_stripped(&name, sv)
            || ngx_mcp_swap_replays(r, &name))
        {
            continue;
        }

        h = ngx_list_push(list);
        if (h == NULL) {
            return NGX_ERROR;
        }

        *h = header[i];
        ngx_mcp_header_end(h);
    }
}


/* $http_authorization and its like may have been evaluated, and cached. */
static void
ngx_mcp_swap_forget(ngx_http_request_t *r)
{
    ngx_uint_t            i, *index;
    ngx_mcp_main_conf_t  *mmcf;

    mmcf = ngx_http_get_module_main_conf(r, ngx_http_mcp_auth_module);

    index = mmcf->header_variables.elts;

    for (i = 0; i < mmcf->header_variables.nelts; i++) {
        r->variables[index[i]].valid = 0;
        r->variables[index[i]].not_found = 0;
    }
}


/*
 * The name as a server behind CGI or WSGI sees it, where X_User is X-User.
 * nginx drops such headers, unless it is told "underscores_in_headers on".
 */
static ngx_int_t
ngx_mcp_swap_name(ngx_http_request_t *r, ngx_table_elt_t *h, mcp_str_t *name)
{
    size_t  i;

    name->data = h->lowcase_key;
    name->len = h->key.len;

    if (memchr(h->lowcase_key, '_', h->key.len) == NULL) {
        return NGX_OK;
    }

    name->data = ngx_pnalloc(r->pool, h->key.len);
    if (name->data == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < h->key.len; i++) {
        name->data[i] = h->lowcase_key[i] == '_' ? '-' : h->lowcase_key[i];
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_mcp_swap_stripped(mcp_str_t *name, ngx_mcp_server_t *sv)
{
    ngx_str_t   *strip;
    ngx_uint_t   i;

    if (ngx_mcp_swap_listed(name)) {
        return 1;
    }

    if (ngx_mcp_credential_carries(sv, name)) {
        return 1;
    }

    if (sv->strip.nelts == 0) {
        return 0;
    }

    strip = sv->strip.elts;

    for (i = 0; i < sv->strip.nelts; i++) {
        if (mcp_glob((mcp_str_t *) &strip[i], name)) {
            return 1;
        }
    }

    return 0;
}


/*
 * The caller's own credentials, what would blind the filter, and headers by
 * which servers behind a proxy learn who is calling.  The first letter decides
 * nearly always that it is none of them.
 */
static ngx_uint_t
ngx_mcp_swap_listed(mcp_str_t *name)
{
    switch (name->data[0]) {

    case 'a':
        return mcp_str_eq_lit(name, "authorization")
               || mcp_str_eq_lit(name, "accept-encoding");

    case 'c':
        return mcp_str_eq_lit(name, "cookie")
               || mcp_str_eq_lit(name, "cookie2")
               || ngx_mcp_swap_begins(name, "client-cert")
               || ngx_mcp_swap_begins(name, "cf-access-");

    case 'd':
        return mcp_str_eq_lit(name, "dpop");

    case 'i':
        return mcp_str_eq_lit(name, "if-range")
               || mcp_str_eq_lit(name, "if-none-match")
               || mcp_str_eq_lit(name, "if-modified-since")
               || mcp_str_eq_lit(name, "if-match")
               || mcp_str_eq_lit(name, "if-unmodified-since");

    case 'm':
        return mcp_str_eq_lit(name, "mcp-session-id");

    case 'o':
        return ngx_mcp_swap_begins(name, "oidc-");

    case 'p':
        return mcp_str_eq_lit(name, "proxy-authorization");

    case 'r':
        return mcp_str_eq_lit(name, "range")
               || ngx_mcp_swap_begins(name, "remote-");

    case 's':
        return ngx_mcp_swap_begins(name, "ssl-client-");

    case 't':
        return mcp_str_eq_lit(name, "te")
               || ngx_mcp_swap_begins(name, "tailscale-user-");

    case 'u':
        return mcp_str_eq_lit(name, "upgrade");

    case 'x':
        return ngx_mcp_swap_listed_x(name);

    default:
        return 0;
    }
}


/* Names and beginnings of names with an x. */
static ngx_uint_t
ngx_mcp_swap_listed_x(mcp_str_t *name)
{
    ngx_uint_t  i;

    static const ngx_str_t  names[] = {
        ngx_string("x-http-method-override"),
        ngx_string("x-http-method"),
        ngx_string("x-method-override"),
        ngx_string("x-original-url"),
        ngx_string("x-rewrite-url"),
        ngx_string("x-api-key"),
        ngx_string("x-access-token"),
        ngx_string("x-email"),
        ngx_string("x-groups"),
        ngx_string("x-roles"),
        ngx_string("x-tenant-id")
    };

    static const ngx_str_t  prefixes[] = {
        ngx_string("x-user"),
        ngx_string("x-auth"),
        ngx_string("x-remote-"),
        ngx_string("x-mcp-"),
        ngx_string("x-client-cert"),
        ngx_string("x-ssl-client"),
        ngx_string("x-amzn-oidc-"),
        ngx_string("x-goog-authenticated-"),
        ngx_string("x-goog-iap-"),
        ngx_string("x-ms-client-principal"),
        ngx_string("x-ms-token-"),
        ngx_string("x-webauth-"),
        ngx_string("x-consumer-"),
        ngx_string("x-credential-"),
        ngx_string("x-pomerium-")
    };

    /* where it came from may stay; whoever it says it is may not */

    if (ngx_mcp_swap_begins(name, "x-forwarded-")) {
        return !mcp_str_eq_lit(name, "x-forwarded-for")
               && !mcp_str_eq_lit(name, "x-forwarded-host")
               && !mcp_str_eq_lit(name, "x-forwarded-port")
               && !mcp_str_eq_lit(name, "x-forwarded-proto");
    }

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (name->len == names[i].len
            && ngx_memcmp(name->data, names[i].data, names[i].len) == 0)
        {
            return 1;
        }
    }

    for (i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
        if (name->len >= prefixes[i].len
            && ngx_memcmp(name->data, prefixes[i].data, prefixes[i].len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


/* A replay is asked for by GET, where it needs a session of the caller. */
static ngx_uint_t
ngx_mcp_swap_replays(ngx_http_request_t *r, mcp_str_t *name)
{
    return r->main->method != NGX_HTTP_GET
           && mcp_str_eq_lit(name, "last-event-id");
}


static ngx_table_elt_t *
ngx_mcp_swap_push(ngx_http_request_t *r, ngx_list_t *list, ngx_str_t *key,
    ngx_str_t *lowcase, ngx_uint_t hash, ngx_str_t *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(list);
    if (h == NULL) {
        return NULL;
    }

    h->hash = hash;
    h->key = *key;
    h->value = *value;
    h->lowcase_key = lowcase->data;
    ngx_mcp_header_end(h);

    return h;
}
