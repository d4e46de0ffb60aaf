/*
 * What the headers of a request say: mirror headers, origin, media type, the
 * bearer token.  Nothing is decided by them but what needs no body to be wrong.
 * Called by the access phase, and for $mcp_auth_* before it.
 */

#include "ngx_mcp_request.h"


static ngx_str_t *ngx_mcp_header_slot(ngx_http_request_t *r,
    ngx_mcp_ctx_t *ctx, ngx_table_elt_t *h);
static u_char *ngx_mcp_media_space(u_char *p, u_char *last);


/*
 * One pass over the request's headers.  NGX_DECLINED: one of ours is there
 * twice, and what reads the other one would be told something else.
 */
ngx_int_t
ngx_mcp_read_headers(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx)
{
    ngx_str_t        *to;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *header;

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

        to = ngx_mcp_header_slot(r, ctx, &header[i]);

        if (to == NULL) {
            continue;
        }

        if (to->data && to == &ctx->traceparent) {

            /* nobody can tell which one: there is none (W3C Trace Context) */

            to->len = 0;
            continue;
        }

        if (to->data) {
            return NGX_DECLINED;
        }

        *to = header[i].value;
    }
}


static ngx_str_t *
ngx_mcp_header_slot(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    ngx_table_elt_t *h)
{
#define ngx_mcp_is(h, s)                                                      \
    ((h)->key.len == sizeof(s) - 1                                            \
     && ngx_memcmp((h)->lowcase_key, s, sizeof(s) - 1) == 0)

    switch (h->lowcase_key[0]) {

    case 'm':
        if (ngx_mcp_is(h, "mcp-method")) {
            return (ngx_str_t *) &ctx->mirror.method;
        }

        if (ngx_mcp_is(h, "mcp-name")) {
            return (ngx_str_t *) &ctx->mirror.name;
        }

        if (ngx_mcp_is(h, "mcp-protocol-version")) {
            return (ngx_str_t *) &ctx->mirror.protocol_version;
        }

        if (ngx_mcp_is(h, "mcp-session-id")) {
            return &ctx->session;
        }

        return NULL;

    case 'l':
        return ngx_mcp_is(h, "last-event-id") ? &ctx->last_event_id : NULL;

    case 'o':
        return ngx_mcp_is(h, "origin") ? &ctx->origin : NULL;

    case 't':
        return ngx_mcp_is(h, "traceparent") ? &ctx->traceparent : NULL;

    case 'c':
        if (ngx_mcp_is(h, "content-type")) {
            return &ctx->content_type;
        }

        return ngx_mcp_is(h, "content-encoding") ? &ctx->content_encoding
                                                 : NULL;

    case 'a':
        return ngx_mcp_is(h, "authorization") ? &ctx->token : NULL;

    default:
        return NULL;
    }
}


/* Requests without an Origin do not come from a browser's page. */
ngx_int_t
ngx_mcp_check_origin(ngx_mcp_ctx_t *ctx)
{
    if (ctx->origin.data == NULL) {
        return NGX_OK;
    }

    return ngx_mcp_origin_allowed(ctx->server, &ctx->origin);
}


ngx_int_t
ngx_mcp_origin_allowed(ngx_mcp_server_t *sv, ngx_str_t *origin)
{
    ngx_str_t   *listed;
    ngx_uint_t   i;

    if (mcp_str_caseeq(origin->data, origin->len, sv->origin.data,
                       sv->origin.len))
    {
        return NGX_OK;
    }

    listed = sv->origins.elts;

    for (i = 0; i < sv->origins.nelts; i++) {
        if (mcp_str_caseeq(origin->data, origin->len, listed[i].data,
                           listed[i].len))
        {
            return NGX_OK;
        }
    }

    return NGX_DECLINED;
}


/*
 * access_token=... in the query (forbidden by MCP; it would be forwarded), as
 * whatever reads the query would see it: unescaped.
 */
ngx_uint_t
ngx_mcp_has_query_token(ngx_str_t *args)
{
    u_char  *p, *last, *src, *dst;
    u_char   text[3 * (sizeof("access_token=") - 1)];

    static const char  name[] = "access_token=";

    p = args->data;
    last = p + args->len;

    while (p < last) {
        src = p;

        while (p < last && *p != '&' && *p != ';') {
            p++;
        }

        dst = text;
        ngx_unescape_uri(&dst, &src, ngx_min((size_t) (p - src),
                                             sizeof(text)), 0);

        if ((size_t) (dst - text) >= sizeof(name) - 1
            && ngx_strncasecmp(text, (u_char *) name, sizeof(name) - 1) == 0)
        {
            return 1;
        }

        p++;
    }

    return 0;
}


/*
 * application/json with parameters (RFC 9110, 5.6.6), of which each charset
 * must be utf-8.  What is not quite so, another parser reads in another way.
 */
ngx_int_t
ngx_mcp_check_media_type(ngx_str_t *type)
{
    u_char     *p, *last;
    ngx_str_t   name, value;

    static const char  json[] = "application/json";

    p = type->data;
    last = p + type->len;

    if (type->len < sizeof(json) - 1
        || ngx_strncasecmp(p, (u_char *) json, sizeof(json) - 1) != 0)
    {
        return NGX_DECLINED;
    }

    p = ngx_mcp_media_space(p + sizeof(json) - 1, last);

    while (p < last) {

        if (*p != ';') {
            return NGX_DECLINED;
        }

        p = ngx_mcp_media_space(p + 1, last);

        if (p == last || *p == ';') {
            continue;
        }

        name.data = p;
        p = ngx_mcp_token_end(p, last);
        name.len = p - name.data;

        if (name.len == 0 || p == last || *p != '=') {
            return NGX_DECLINED;
        }

        if (++p < last && *p == '"') {
            value.data = ++p;

            while (p < last && *p != '"' && *p != '\\') {
                p++;
            }

            if (p == last || *p == '\\') {
                return NGX_DECLINED;
            }

            value.len = p++ - value.data;

        } else {
            value.data = p;
            p = ngx_mcp_token_end(p, last);
            value.len = p - value.data;
        }

        if (value.len == 0
            || (mcp_str_caseeq(name.data, name.len, "charset", 7)
                && !mcp_str_caseeq(value.data, value.len, "utf-8", 5)))
        {
            return NGX_DECLINED;
        }

        p = ngx_mcp_media_space(p, last);
    }

    return NGX_OK;
}


static u_char *
ngx_mcp_media_space(u_char *p, u_char *last)
{
    while (p < last && (*p == ' ' || *p == '\t')) {
        p++;
    }

    return p;
}


u_char *
ngx_mcp_token_end(u_char *p, u_char *last)
{
    while (p < last && *p > 0x20 && *p < 0x7f
           && ngx_strchr("\"(),/:;<=>?@[\\]{}", *p) == NULL)
    {
        p++;
    }

    return p;
}


/*
 * RFC 6750 2.1: "Bearer" 1*SP token68; the scheme in any case.  The token's
 * characters are checked when it is read, not each time that it is found in
 * the cache.
 */
ngx_int_t
ngx_mcp_bearer(ngx_http_request_t *r, ngx_str_t *token)
{
    u_char     *p, *last;
    ngx_str_t  *value;

    ngx_str_null(token);

    if (r->headers_in.authorization == NULL) {
        return NGX_DECLINED;
    }

    value = &r->headers_in.authorization->value;

    if (value->len < sizeof("Bearer x") - 1
        || ngx_strncasecmp(value->data, (u_char *) "Bearer ",
                           sizeof("Bearer ") - 1) != 0)
    {
        return NGX_DECLINED;
    }

    p = value->data + sizeof("Bearer ") - 1;
    last = value->data + value->len;

    while (p < last && *p == ' ') {
        p++;
    }

    token->data = p;
    token->len = last - p;

    return token->len ? NGX_OK : NGX_DECLINED;
}
