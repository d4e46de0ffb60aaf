/*
 * What the pages of mcp_connect are sent with: headers, cookies, redirects.
 *
 * Each sender ends the request; afterwards neither it nor its context may be
 * touched.  Every answer has the same headers, whatever it is: nothing is
 * cached, framed, sniffed or told to the next site.  A redirect goes to a URL
 * that was made of the configuration, never of the request, and nginx does not
 * complete it by the Host header.
 */

#include "ngx_mcp_connect.h"
#include "ngx_mcp_reply.h"


#define NGX_MCP_CSP  "default-src 'none'; style-src 'self'; "                 \
                     "base-uri 'none'; frame-ancestors 'none'; form-action "


typedef struct {
    ngx_list_part_t      *part;
    ngx_uint_t            i;
} ngx_mcp_lines_t;


static void ngx_mcp_connect_lines(ngx_mcp_lines_t *lines,
    ngx_http_request_t *r);
static ngx_table_elt_t *ngx_mcp_connect_line(ngx_mcp_lines_t *lines,
    const char *name);
static ngx_int_t ngx_mcp_connect_policy(ngx_http_request_t *r);


void
ngx_mcp_connect_send(ngx_mcp_connect_ctx_t *cc, ngx_uint_t status,
    const char *type, ngx_str_t *body)
{
    ngx_int_t            rc;
    ngx_buf_t           *b;
    ngx_chain_t          out;
    ngx_http_request_t  *r;

    r = cc->request;

    r->headers_out.status = status;
    r->headers_out.content_length_n = body->len;

    if (body->len) {
        r->headers_out.content_type.data = (u_char *) type;
        r->headers_out.content_type.len = ngx_strlen(type);
        r->headers_out.content_type_len = r->headers_out.content_type.len;
        r->headers_out.content_type_lowcase = NULL;
    }

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        ngx_mcp_connect_end(cc, rc);
        return;
    }

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        ngx_mcp_connect_end(cc, NGX_ERROR);
        return;
    }

    if (body->len) {
        b->pos = body->data;
        b->last = body->data + body->len;
        b->memory = 1;
    }

    b->last_buf = 1;
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    ngx_mcp_connect_end(cc, ngx_http_output_filter(r, &out));
}


/* 303: whatever came, a GET follows. */
void
ngx_mcp_connect_see(ngx_mcp_connect_ctx_t *cc, ngx_str_t *url)
{
    ngx_str_t  body;

    if (ngx_mcp_add_header(cc->request, "Location", url) == NULL) {
        ngx_mcp_connect_end(cc, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    ngx_str_null(&body);

    ngx_mcp_connect_send(cc, NGX_HTTP_SEE_OTHER, NULL, &body);
}


/* A page of ours: the location's URL and what is behind it. */
void
ngx_mcp_connect_see_own(ngx_mcp_connect_ctx_t *cc, const char *path,
    ngx_str_t *name)
{
    ngx_str_t  url;

    if (ngx_mcp_connect_own(cc, path, name, &url) != NGX_OK) {
        ngx_mcp_connect_end(cc, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    ngx_mcp_connect_see(cc, &url);
}


/* PATH TO [?ticket=TICKET] for start/, PATH ?to=TO[&ticket=TICKET] for login:
 * names of ours, and what has the characters of a ticket. */
void
ngx_mcp_connect_see_query(ngx_mcp_connect_ctx_t *cc, const char *path,
    mcp_str_t *to, mcp_str_t *ticket)
{
    mcp_buf_t   b;
    u_char     *p;
    size_t      size;
    ngx_str_t   url;

    size = cc->conf->url.len + ngx_strlen(path) + 3 * (to->len + ticket->len)
           + 64;

    p = ngx_mcp_connect_secret(cc, size);
    if (p == NULL) {
        ngx_mcp_connect_end(cc, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    mcp_buf_init(&b, p, size);
    mcp_buf_put(&b, cc->conf->url.data, cc->conf->url.len);
    mcp_buf_put(&b, path, ngx_strlen(path));

    if (path[ngx_strlen(path) - 1] == '/') {
        mcp_buf_str(&b, to);
        mcp_form_put(&b, '?', "ticket", ticket);

    } else {
        mcp_form_put(&b, '?', "to", to);
        mcp_form_put(&b, '&', "ticket", ticket);
    }

    url.data = b.start;
    url.len = b.pos - b.start;

    ngx_mcp_connect_see(cc, &url);
}


ngx_int_t
ngx_mcp_connect_own(ngx_mcp_connect_ctx_t *cc, const char *path,
    ngx_str_t *name, ngx_str_t *url)
{
    size_t  len;

    len = cc->conf->url.len + ngx_strlen(path) + (name ? name->len : 0);

    url->data = ngx_pnalloc(cc->request->pool, len);
    if (url->data == NULL) {
        return NGX_ERROR;
    }

    url->len = ngx_sprintf(url->data, "%V%s", &cc->conf->url, path)
               - url->data;

    if (name) {
        ngx_memcpy(url->data + url->len, name->data, name->len);
        url->len += name->len;
    }

    return NGX_OK;
}


/* seconds 0: the browser forgets it.  __Host- demands Secure, Path=/ and no
 * Domain: no other host can set one of this name. */
ngx_int_t
ngx_mcp_connect_set_cookie(ngx_mcp_connect_ctx_t *cc, const char *name,
    mcp_str_t *value, ngx_uint_t seconds)
{
    ngx_str_t  text;

    text.data = ngx_pnalloc(cc->request->pool,
                            ngx_strlen(name) + value->len + 128);
    if (text.data == NULL) {
        return NGX_ERROR;
    }

    text.len = ngx_sprintf(text.data, "%s=%V; Path=/; Max-Age=%ui; Secure; "
                           "HttpOnly; SameSite=Lax", name,
                           (ngx_str_t *) value, seconds)
               - text.data;

    return ngx_mcp_add_header(cc->request, "Set-Cookie", &text) ? NGX_OK
                                                                 : NGX_ERROR;
}


/*
 * The cookie of this name, as it was sent.  NGX_DECLINED: none, or more than
 * one: a browser has one of a __Host- name.
 */
ngx_int_t
ngx_mcp_connect_cookie(ngx_http_request_t *r, const char *name,
    mcp_str_t *value)
{
    u_char           *p, *end, *last;
    size_t            len;
    ngx_uint_t        n;
    ngx_table_elt_t  *h;
    ngx_mcp_lines_t   lines;

    len = ngx_strlen(name);
    n = 0;

    ngx_mcp_connect_lines(&lines, r);

    while ((h = ngx_mcp_connect_line(&lines, "cookie")) != NULL) {
        last = h->value.data + h->value.len;

        for (p = h->value.data; p < last; p = end + 1) {

            while (p < last && *p == ' ') {
                p++;
            }

            end = ngx_strlchr(p, last, ';');
            if (end == NULL) {
                end = last;
            }

            if ((size_t) (end - p) > len && p[len] == '='
                && ngx_memcmp(p, name, len) == 0)
            {
                value->data = p + len + 1;
                value->len = end - value->data;
                n++;
            }
        }
    }

    return n == 1 && value->len ? NGX_OK : NGX_DECLINED;
}


/* The header of this name, in lower case; of several the last. */
ngx_int_t
ngx_mcp_connect_header(ngx_http_request_t *r, const char *name,
    mcp_str_t *value)
{
    ngx_int_t         rc;
    ngx_table_elt_t  *h;
    ngx_mcp_lines_t   lines;

    rc = NGX_DECLINED;

    ngx_mcp_connect_lines(&lines, r);

    while ((h = ngx_mcp_connect_line(&lines, name)) != NULL) {
        *value = *(mcp_str_t *) &h->value;
        rc = NGX_OK;
    }

    return rc;
}


static void
ngx_mcp_connect_lines(ngx_mcp_lines_t *lines, ngx_http_request_t *r)
{
    lines->part = &r->headers_in.headers.part;
    lines->i = 0;
}


/* The next one of this name; NULL: there is none any more. */
static ngx_table_elt_t *
ngx_mcp_connect_line(ngx_mcp_lines_t *lines, const char *name)
{
    size_t            len;
    ngx_table_elt_t  *h;

    len = ngx_strlen(name);

    for ( ;; ) {

        if (lines->i >= lines->part->nelts) {

            if (lines->part->next == NULL) {
                return NULL;
            }

            lines->part = lines->part->next;
            lines->i = 0;
            continue;
        }

        h = lines->part->elts;
        h += lines->i++;

        if (h->key.len == len
            && ngx_strncasecmp(h->key.data, (u_char *) name, len) == 0)
        {
            return h;
        }
    }
}


/* Of the location's answers, also of those that are nginx's own: what was
 * refused before it came here. */
ngx_int_t
ngx_mcp_connect_headers(ngx_http_request_t *r)
{
    ngx_uint_t  i;
    ngx_str_t   value;

    static const struct {
        const char  *name;
        const char  *value;
    } headers[] = {
        { "Cache-Control", "no-store" },
        { "Referrer-Policy", "no-referrer" },
        { "X-Content-Type-Options", "nosniff" },
        { "X-Frame-Options", "DENY" },
        { "Cross-Origin-Opener-Policy", "same-origin" },
        { "Cross-Origin-Resource-Policy", "same-origin" }
    };

    for (i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        value.data = (u_char *) headers[i].value;
        value.len = ngx_strlen(headers[i].value);

        if (ngx_mcp_add_header(r, headers[i].name, &value) == NULL) {
            return NGX_ERROR;
        }
    }

    return ngx_mcp_connect_policy(r);
}


/*
 * Browsers hold the redirects that follow a form to form-action as well: the
 * form that begins a grant leads to the provider, and from there to wherever
 * its own login is.
 */
static ngx_int_t
ngx_mcp_connect_policy(ngx_http_request_t *r)
{
    ngx_str_t               value;
    ngx_mcp_connect_ctx_t  *cc;

    static ngx_str_t  own = ngx_string(NGX_MCP_CSP "'self'");
    static ngx_str_t  away = ngx_string(NGX_MCP_CSP "'self' https:");

    value = own;
    cc = ngx_mcp_connect_find(r);

    if (cc && cc->leads_away) {
        value.len = away.len + 1 + cc->away.len;
        value.data = ngx_pnalloc(r->pool, value.len);
        if (value.data == NULL) {
            return NGX_ERROR;
        }

        value.len = ngx_sprintf(value.data, "%V %V", &away, &cc->away)
                    - value.data;
    }

    return ngx_mcp_add_header(r, "Content-Security-Policy", &value)
           ? NGX_OK : NGX_ERROR;
}
