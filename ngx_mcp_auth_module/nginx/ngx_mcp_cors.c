/*
 * CORS: which pages of a browser may read what is answered.
 *
 * Who may is said by the same `origin`s that let a request in; the upstream has
 * no word in it.  ngx_mcp_cors_filter() is the last step of our header filter,
 * and the only place where these headers are made: it sees our own answers,
 * what replaced a page of nginx, and a header that was held back, when they go
 * out.  It may see one response twice, and then writes the same again.
 *
 * Nothing in a preflight's answer is what the caller wrote, but an Origin that
 * was found in the configuration, and names of Mcp-Param-* that are tokens.
 * Everything is in the request's pool.
 */

#include "ngx_mcp_filter.h"
#include "ngx_mcp_request.h"
#include "ngx_mcp_reply.h"


/* names that a preflight asks for, and bytes of each; more are not granted */
#define NGX_MCP_CORS_NAMES  32
#define NGX_MCP_CORS_NAME   128

#define NGX_MCP_CORS_HEADERS                                                  \
    "Authorization, Content-Type, Accept, MCP-Protocol-Version, Mcp-Method, " \
    "Mcp-Name, Mcp-Session-Id, Last-Event-ID"


static void ngx_mcp_cors_drop(ngx_http_request_t *r, ngx_uint_t vary);
static ngx_str_t *ngx_mcp_cors_origin(ngx_http_request_t *r,
    ngx_mcp_ctx_t *ctx);
static ngx_int_t ngx_mcp_cors_add(ngx_http_request_t *r, const char *name,
    const char *value);
static ngx_int_t ngx_mcp_cors_allow_headers(ngx_http_request_t *r);
static ngx_str_t *ngx_mcp_cors_next(ngx_list_part_t **part, ngx_uint_t *i,
    const char *name, size_t len);
static u_char *ngx_mcp_cors_names(u_char *dst, ngx_str_t *list,
    ngx_uint_t *n);
static ngx_uint_t ngx_mcp_cors_is_param(ngx_str_t *name);


ngx_http_output_header_filter_pt  ngx_mcp_cors_next_filter;


ngx_uint_t
ngx_mcp_is_preflight(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx)
{
    ngx_str_t        *method;
    ngx_uint_t        i;
    ngx_list_part_t  *part;

    static const char  name[] = "access-control-request-method";

    if (r->method != NGX_HTTP_OPTIONS || ctx->origin.data == NULL) {
        return 0;
    }

    part = &r->headers_in.headers.part;
    i = 0;

    method = ngx_mcp_cors_next(&part, &i, name, sizeof(name) - 1);

    return method && method->len;
}


ngx_int_t
ngx_mcp_cors_filter(ngx_http_request_t *r)
{
    ngx_str_t      *origin;
    ngx_mcp_ctx_t  *ctx;

    ctx = (r == r->main) ? ngx_mcp_get_ctx(r) : NULL;

    if (ctx == NULL
        || ctx->server == NULL
        || (ctx->ev && ngx_strcmp(ctx->ev, "metadata") == 0))
    {
        return ngx_mcp_cors_next_filter(r);
    }

    origin = ngx_mcp_cors_origin(r, ctx);

    ngx_mcp_cors_drop(r, origin != NULL);

    if (origin == NULL) {
        return ngx_mcp_cors_next_filter(r);
    }

    if (ngx_mcp_add_header(r, "Access-Control-Allow-Origin", origin) == NULL
        || ngx_mcp_cors_add(r, "Vary", "Origin") != NGX_OK
        || ngx_mcp_cors_add(r, "Access-Control-Expose-Headers",
                            "WWW-Authenticate, Mcp-Session-Id, "
                            "MCP-Protocol-Version")
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ctx->preflight
        && (ngx_mcp_cors_add(r, "Access-Control-Allow-Methods",
                             "POST, GET, DELETE")
            != NGX_OK
            || ngx_mcp_cors_add(r, "Access-Control-Max-Age", "600") != NGX_OK
            || ngx_mcp_cors_allow_headers(r) != NGX_OK))
    {
        return NGX_ERROR;
    }

    return ngx_mcp_cors_next_filter(r);
}


/* What the upstream said, or we in an earlier turn. */
static void
ngx_mcp_cors_drop(ngx_http_request_t *r, ngx_uint_t vary)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    static const char  prefix[] = "Access-Control-";

    part = &r->headers_out.headers.part;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                return;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (h[i].key.len >= sizeof(prefix) - 1
            && ngx_strncasecmp(h[i].key.data, (u_char *) prefix,
                               sizeof(prefix) - 1)
               == 0)
        {
            h[i].hash = 0;
            continue;
        }

        if (vary
            && mcp_str_caseeq(h[i].key.data, h[i].key.len, "Vary", 4)
            && mcp_str_caseeq(h[i].value.data, h[i].value.len, "Origin", 6))
        {
            h[i].hash = 0;
        }
    }
}


/*
 * The Origin, when it is one and allowed.  Not always from the context: what
 * nginx refuses early never came to the access phase, which reads it.  And not
 * always from the headers: `strip` may take it out of what is forwarded.
 */
static ngx_str_t *
ngx_mcp_cors_origin(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx)
{
    ngx_str_t        *origin;
    ngx_uint_t        i;
    ngx_list_part_t  *part;

    if (ctx->swapped && ctx->origin.data) {
        origin = &ctx->origin;

    } else {
        part = &r->headers_in.headers.part;
        i = 0;

        origin = ngx_mcp_cors_next(&part, &i, "origin", 6);

        if (origin && ngx_mcp_cors_next(&part, &i, "origin", 6)) {
            return NULL;
        }
    }

    if (origin == NULL
        || ngx_mcp_origin_allowed(ctx->server, origin) != NGX_OK)
    {
        return NULL;
    }

    return origin;
}


static ngx_int_t
ngx_mcp_cors_add(ngx_http_request_t *r, const char *name, const char *value)
{
    ngx_str_t  text;

    text.data = (u_char *) value;
    text.len = ngx_strlen(value);

    return ngx_mcp_add_header(r, name, &text) ? NGX_OK : NGX_ERROR;
}


/* A "*" does not do: it would not cover Authorization. */
static ngx_int_t
ngx_mcp_cors_allow_headers(ngx_http_request_t *r)
{
    u_char           *p;
    ngx_str_t        *asked, value;
    ngx_uint_t        i, n;
    ngx_list_part_t  *part;

    static const char  name[] = "access-control-request-headers";

    value.data = ngx_pnalloc(r->pool, sizeof(NGX_MCP_CORS_HEADERS) - 1
                                      + NGX_MCP_CORS_NAMES
                                        * (2 + NGX_MCP_CORS_NAME));
    if (value.data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(value.data, NGX_MCP_CORS_HEADERS,
                   sizeof(NGX_MCP_CORS_HEADERS) - 1);

    part = &r->headers_in.headers.part;
    i = 0;
    n = 0;

    for ( ;; ) {
        asked = ngx_mcp_cors_next(&part, &i, name, sizeof(name) - 1);
        if (asked == NULL) {
            break;
        }

        p = ngx_mcp_cors_names(p, asked, &n);
    }

    value.len = p - value.data;

    return ngx_mcp_add_header(r, "Access-Control-Allow-Headers", &value)
           ? NGX_OK : NGX_ERROR;
}


/* The next request header of this name from *part and *i on; moves them. */
static ngx_str_t *
ngx_mcp_cors_next(ngx_list_part_t **part, ngx_uint_t *i, const char *name,
    size_t len)
{
    ngx_table_elt_t  *h;

    for ( /* void */ ; *part; *part = (*part)->next, *i = 0) {

        while (*i < (*part)->nelts) {
            h = (ngx_table_elt_t *) (*part)->elts + (*i)++;

            if (h->key.len == len && ngx_memcmp(h->lowcase_key, name, len) == 0)
            {
                return &h->value;
            }
        }
    }

    return NULL;
}


/* Appends those that are granted; *n counts them, over all lists. */
static u_char *
ngx_mcp_cors_names(u_char *dst, ngx_str_t *list, ngx_uint_t *n)
{
    u_char     *p, *last;
    ngx_str_t   name;

    p = list->data;
    last = p + list->len;

    while (p < last && *n < NGX_MCP_CORS_NAMES) {

        if (*p == ',' || *p == ' ' || *p == '\t') {
            p++;
            continue;
        }

        name.data = p;

        while (p < last && *p != ',') {
            p++;
        }

        name.len = p - name.data;

        while (name.data[name.len - 1] == ' '
               || name.data[name.len - 1] == '\t')
        {
            name.len--;
        }

        if (ngx_mcp_cors_is_param(&name)) {
            *dst++ = ',';
            *dst++ = ' ';
            dst = ngx_cpymem(dst, name.data, name.len);
            (*n)++;
        }
    }

    return dst;
}


/* Mcp-Param-..., and a token (RFC 9110, 5.6.2). */
static ngx_uint_t
ngx_mcp_cors_is_param(ngx_str_t *name)
{
    static const char  prefix[] = "mcp-param-";

    return name->len >= sizeof(prefix) - 1
           && name->len <= NGX_MCP_CORS_NAME
           && ngx_strncasecmp(name->data, (u_char *) prefix,
                              sizeof(prefix) - 1)
              == 0
           && ngx_mcp_token_end(name->data, name->data + name->len)
              == name->data + name->len;
}
