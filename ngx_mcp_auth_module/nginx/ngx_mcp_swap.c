/*
 * The precontent phase: the downstream credential takes the caller's place.
 *
 * The list of request headers is built anew without what must not leave: the
 * caller's credentials and cookies, headers by which another proxy's identity
 * could be forged, ranges and encodings that would blind the filter.  Elements
 * are copied, not moved: other code points at the old ones, and may.  The
 * credential is then put in.  When there is none, nothing takes the caller's
 * place; it is never forwarded.
 *
 * Every way upstream passes here: a request that was not authorised for this
 * server by its own access phase (a subrequest, say) is refused.
 */

#include "ngx_mcp_module.h"
#include "ngx_mcp_compat.h"


static ngx_int_t ngx_mcp_swap(ngx_http_request_t *r, ngx_mcp_server_t *sv);
static ngx_uint_t ngx_mcp_swap_stripped(ngx_table_elt_t *h,
    ngx_mcp_server_t *sv);
static ngx_uint_t ngx_mcp_swap_forgeable(ngx_table_elt_t *h);
static ngx_table_elt_t *ngx_mcp_swap_push(ngx_http_request_t *r,
    ngx_list_t *list, ngx_str_t *key, ngx_str_t *lowcase, ngx_uint_t hash,
    ngx_str_t *value);


ngx_int_t
ngx_mcp_swap_handler(ngx_http_request_t *r)
{
    ngx_mcp_ctx_t        *ctx;
    ngx_mcp_server_t     *sv;
    ngx_mcp_loc_conf_t   *mlcf;
    ngx_mcp_main_conf_t  *mmcf;

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
         * An internal redirect out of the protected location: the token of a
         * caller who was authorised must not leave from there either.
         */

        if (ctx == NULL || r != r->main || ctx->server == NULL) {
            return NGX_DECLINED;
        }

        sv = ctx->server;
    }

    if (r == r->main) {
        if (ctx->swapped) {
            return NGX_DECLINED;
        }

        ctx->swapped = 1;
    }

    /* a subrequest has a copy of the main request's list of its own */

    if (ngx_mcp_swap(r, sv) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    mmcf = ngx_http_get_module_main_conf(r, ngx_http_mcp_auth_module);

    /* $http_authorization may have been evaluated before, and cached */

    r->variables[mmcf->authorization_index].valid = 0;
    r->variables[mmcf->authorization_index].not_found = 0;

    return NGX_DECLINED;
}


static ngx_int_t
ngx_mcp_swap(ngx_http_request_t *r, ngx_mcp_server_t *sv)
{
    ngx_uint_t             i;
    ngx_list_t             list;
    ngx_list_part_t       *part;
    ngx_table_elt_t       *header, *h;
    ngx_mcp_credential_t  *cr;

    static ngx_str_t  key = ngx_string("Accept-Encoding");
    static ngx_str_t  lowcase = ngx_string("accept-encoding");
    static ngx_str_t  identity = ngx_string("identity");

    if (ngx_list_init(&list, r->pool, 20, sizeof(ngx_table_elt_t)) != NGX_OK)
    {
        return NGX_ERROR;
    }

    part = &r->headers_in.headers.part;
    header = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                break;
            }

            part = part->next;
            header = part->elts;
            i = 0;
        }

        if (ngx_mcp_swap_stripped(&header[i], sv)) {
            continue;
        }

        h = ngx_list_push(&list);
        if (h == NULL) {
            return NGX_ERROR;
        }

        *h = header[i];
        ngx_mcp_header_end(h);
    }

    if (ngx_mcp_swap_push(r, &list, &key, &lowcase, 1, &identity) == NULL) {
        return NGX_ERROR;
    }

    r->headers_in.authorization = NULL;
    r->headers_in.range = NULL;
    r->headers_in.if_range = NULL;
#if (NGX_HTTP_GZIP)
    r->headers_in.accept_encoding = NULL;
#endif

    cr = sv->credential;

    if (cr) {
        h = ngx_mcp_swap_push(r, &list, &cr->header, &cr->lowcase, cr->hash,
                              &cr->value);
        if (h == NULL) {
            return NGX_ERROR;
        }

        if (cr->lowcase.len == sizeof("authorization") - 1
            && ngx_memcmp(cr->lowcase.data, "authorization",
                          sizeof("authorization") - 1) == 0)
        {
            r->headers_in.authorization = h;
        }
    }

    r->headers_in.headers = list;

    /* the list's last part is inside the list itself while there is one */

    if (list.last == &list.part) {
        r->headers_in.headers.last = &r->headers_in.headers.part;
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_mcp_swap_stripped(ngx_table_elt_t *h, ngx_mcp_server_t *sv)
{
    size_t       n;
    mcp_str_t    name;
    ngx_str_t   *strip;
    ngx_uint_t   i;

    static const ngx_str_t  names[] = {
        ngx_string("authorization"),
        ngx_string("proxy-authorization"),
        ngx_string("dpop"),
        ngx_string("cookie"),
        ngx_string("cookie2"),
        ngx_string("accept-encoding"),
        ngx_string("range"),
        ngx_string("if-range"),
        ngx_string("if-none-match"),
        ngx_string("if-modified-since"),
        ngx_string("if-match"),
        ngx_string("if-unmodified-since"),
        ngx_string("upgrade"),
        ngx_string("te"),
        ngx_string("x-http-method-override"),
        ngx_string("x-http-method"),
        ngx_string("x-method-override"),
        ngx_string("remote-user"),
        ngx_string("x-original-url"),
        ngx_string("x-rewrite-url"),
        ngx_null_string
    };

    n = h->key.len;

    for (i = 0; names[i].len; i++) {
        if (names[i].len == n
            && names[i].data[0] == h->lowcase_key[0]
            && ngx_memcmp(names[i].data, h->lowcase_key, n) == 0)
        {
            return 1;
        }
    }

    if (h->lowcase_key[0] == 'x' && ngx_mcp_swap_forgeable(h)) {
        return 1;
    }

    if (sv->credential
        && sv->credential->lowcase.len == n
        && ngx_memcmp(sv->credential->lowcase.data, h->lowcase_key, n) == 0)
    {
        return 1;
    }

    if (sv->strip.nelts == 0) {
        return 0;
    }

    strip = sv->strip.elts;
    name.data = h->lowcase_key;
    name.len = n;

    for (i = 0; i < sv->strip.nelts; i++) {
        if (mcp_glob((mcp_str_t *) &strip[i], &name)) {
            return 1;
        }
    }

    return 0;
}


/* Headers by which servers behind a proxy learn who is calling. */
static ngx_uint_t
ngx_mcp_swap_forgeable(ngx_table_elt_t *h)
{
    ngx_uint_t  i;

    static const struct {
        ngx_str_t   prefix;
        ngx_uint_t  exact;
    } names[] = {
        { ngx_string("x-user"), 0 },
        { ngx_string("x-auth"), 0 },
        { ngx_string("x-remote-"), 0 },
        { ngx_string("x-mcp-"), 0 },
        { ngx_string("x-client-cert"), 0 },
        { ngx_string("x-ssl-client"), 0 },
        { ngx_string("x-amzn-oidc-"), 0 },
        { ngx_string("x-goog-authenticated-"), 0 },
        { ngx_string("x-goog-iap-"), 0 },
        { ngx_string("x-ms-client-principal"), 0 },
        { ngx_string("x-ms-token-"), 0 },
        { ngx_string("x-api-key"), 1 },
        { ngx_string("x-access-token"), 1 },
        { ngx_string("x-email"), 1 },
        { ngx_string("x-groups"), 1 },
        { ngx_string("x-roles"), 1 },
        { ngx_string("x-tenant-id"), 1 }
    };

    static const ngx_str_t  forwarded[] = {
        ngx_string("x-forwarded-for"),
        ngx_string("x-forwarded-host"),
        ngx_string("x-forwarded-port"),
        ngx_string("x-forwarded-proto")
    };

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (h->key.len >= names[i].prefix.len
            && (!names[i].exact || h->key.len == names[i].prefix.len)
            && ngx_memcmp(h->lowcase_key, names[i].prefix.data,
                          names[i].prefix.len) == 0)
        {
            return 1;
        }
    }

    if (h->key.len < sizeof("x-forwarded-") - 1
        || ngx_memcmp(h->lowcase_key, "x-forwarded-",
                      sizeof("x-forwarded-") - 1) != 0)
    {
        return 0;
    }

    /* where it came from may stay; whoever it says it is may not */

    for (i = 0; i < sizeof(forwarded) / sizeof(forwarded[0]); i++) {
        if (h->key.len == forwarded[i].len
            && ngx_memcmp(h->lowcase_key, forwarded[i].data, h->key.len) == 0)
        {
            return 0;
        }
    }

    return 1;
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
