/*
 * mcp_connect: who is there.
 *
 * A session is a sealed cookie; nothing is kept here.  It is of one
 * mcp_connect, for fifteen minutes after the sign-in, and of no use to whoever
 * was revoked since.  Before the sign-in the browser has another cookie, with
 * a nonce that binds a state to it.
 *
 * A form has a token that is sealed for session, action and credential: another
 * site cannot make one, and one of another form or session is none.
 */

#include "ngx_mcp_connect.h"
#include "ngx_mcp_connect_pages.h"
#include "ngx_mcp_revoke.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>


#define NGX_MCP_COOKIE_SESSION  "__Host-mcp-connect"
#define NGX_MCP_COOKIE_BROWSER  "__Host-mcp-login"

#define NGX_MCP_COOKIE_MAX      6144    /* bytes of a value */
#define NGX_MCP_SESSION_TEXT    4096    /* bytes, before it is sealed */
#define NGX_MCP_BROWSER_TIME    3600    /* s */


static ngx_int_t ngx_mcp_connect_nonce(ngx_mcp_connect_ctx_t *cc,
    mcp_str_t *nonce);
static ngx_int_t ngx_mcp_connect_seal_cookie(ngx_mcp_connect_ctx_t *cc,
    const char *name, mcp_str_t *text, ngx_uint_t seconds);
static ngx_int_t ngx_mcp_connect_open_cookie(ngx_mcp_connect_ctx_t *cc,
    const char *name, mcp_str_t *text);
static ngx_uint_t ngx_mcp_connect_foreign(ngx_mcp_connect_ctx_t *cc);
static void ngx_mcp_connect_csrf_parts(ngx_mcp_connect_ctx_t *cc,
    const char *action, ngx_str_t *name, mcp_str_t *parts);


#define NGX_MCP_CSRF_PARTS  7


ngx_int_t
ngx_mcp_connect_session(ngx_mcp_connect_ctx_t *cc, time_t age)
{
    mcp_mem_t  mem;
    mcp_str_t  text;
    ngx_int_t  rc;

    mem = ngx_mcp_connect_mem(cc);

    if (ngx_mcp_connect_open_cookie(cc, NGX_MCP_COOKIE_SESSION, &text)
           != NGX_OK
        || mcp_connect_session_parse(&text, &mem, &cc->session) != MCP_OK
        || !mcp_connect_session_good(&cc->session,
                                     &cc->conf->issuer->jwt.issuer,
                                     ngx_time(), age))
    {
        return NGX_DECLINED;
    }

    rc = ngx_mcp_connect_person(cc, &cc->session.user, cc->session.begun);

    if (rc == NGX_ERROR) {
        ngx_mcp_connect_say(cc, NGX_MCP_SAY_UNAVAILABLE);
    }

    return rc;
}


/* Whether she may go on who signed in at `since`: NGX_DECLINED, revoked;
 * NGX_ERROR, nobody knows. */
ngx_int_t
ngx_mcp_connect_person(ngx_mcp_connect_ctx_t *cc, mcp_str_t *user,
    int64_t since)
{
    uint64_t         seen;
    mcp_principal_t  p;

    ngx_memzero(&p, sizeof(mcp_principal_t));

    p.kind = MCP_CALLER_USER;
    p.auth = MCP_AUTH_JWT;
    p.issuer = cc->conf->issuer->jwt.index;
    p.iss = cc->conf->issuer->jwt.issuer;
    p.user = *user;
    p.iat = since;
    p.exp = since + MCP_CONNECT_SESSION;

    seen = 0;

    return ngx_mcp_revoke_check(cc->mmcf, &p, 0, &seen, NULL);
}


/* cc->session has issuer, user and name: a new one, with a new nonce. */
ngx_int_t
ngx_mcp_connect_session_begin(ngx_mcp_connect_ctx_t *cc)
{
    u_char     *p;
    mcp_buf_t   b;
    mcp_str_t   text;

    p = ngx_mcp_connect_secret(cc, NGX_MCP_SESSION_TEXT);

    if (p == NULL
        || ngx_mcp_connect_nonce(cc, &cc->session.nonce) != NGX_OK)
    {
        return NGX_ERROR;
    }

    cc->session.begun = ngx_time();

    mcp_buf_init(&b, p, NGX_MCP_SESSION_TEXT);
    mcp_connect_session_write(&b, &cc->session);

    if (b.overflow) {
        return NGX_ERROR;
    }

    text.data = b.start;
    text.len = b.pos - b.start;

    /* who comes back from a provider after that is still known, by the state;
     * the time in the session is what counts elsewhere */

    return ngx_mcp_connect_seal_cookie(cc, NGX_MCP_COOKIE_SESSION, &text,
                                       MCP_CONNECT_SESSION
                                       + MCP_CONNECT_STATE);
}


ngx_int_t
ngx_mcp_connect_session_end(ngx_mcp_connect_ctx_t *cc)
{
    mcp_str_t  none;

    mcp_str_null(&none);

    if (ngx_mcp_connect_set_cookie(cc, NGX_MCP_COOKIE_SESSION, &none, 0)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_mcp_connect_set_cookie(cc, NGX_MCP_COOKIE_BROWSER, &none, 0);
}


ngx_int_t
ngx_mcp_connect_known_browser(ngx_mcp_connect_ctx_t *cc)
{
    if (ngx_mcp_connect_open_cookie(cc, NGX_MCP_COOKIE_BROWSER, &cc->browser)
           != NGX_OK
        || cc->browser.len != MCP_CONNECT_NONCE)
    {
        mcp_str_null(&cc->browser);
        return NGX_DECLINED;
    }

    return NGX_OK;
}


/* Two tabs have one: the nonce that is there stays. */
ngx_int_t
ngx_mcp_connect_browser(ngx_mcp_connect_ctx_t *cc)
{
    if (ngx_mcp_connect_known_browser(cc) != NGX_OK
        && ngx_mcp_connect_nonce(cc, &cc->browser) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_mcp_connect_seal_cookie(cc, NGX_MCP_COOKIE_BROWSER,
                                       &cc->browser, NGX_MCP_BROWSER_TIME);
}


/* 16 random bytes in base64url. */
static ngx_int_t
ngx_mcp_connect_nonce(ngx_mcp_connect_ctx_t *cc, mcp_str_t *nonce)
{
    u_char     raw[16];
    ngx_str_t  src, dst;

    dst.data = ngx_mcp_connect_secret(cc, 32);

    if (dst.data == NULL || RAND_bytes(raw, sizeof(raw)) != 1) {
        return NGX_ERROR;
    }

    src.data = raw;
    src.len = sizeof(raw);

    ngx_encode_base64url(&dst, &src);

    nonce->data = dst.data;
    nonce->len = dst.len;

    return dst.len == MCP_CONNECT_NONCE ? NGX_OK : NGX_ERROR;
}


/* Sealed for this page and this cookie. */
static ngx_int_t
ngx_mcp_connect_seal_cookie(ngx_mcp_connect_ctx_t *cc, const char *name,
    mcp_str_t *text, ngx_uint_t seconds)
{
    size_t     len;
    mcp_str_t  parts[2], value;

    parts[0].data = (u_char *) name;
    parts[0].len = ngx_strlen(name);
    parts[1] = *(mcp_str_t *) &cc->conf->url;

    value.data = ngx_mcp_connect_secret(cc, mcp_seal_size(text->len));
    if (value.data == NULL) {
        return NGX_ERROR;
    }

    if (mcp_seal(&cc->mmcf->browsers, cc->mmcf->seal, parts, 2, text,
                 value.data, &len)
        != MCP_OK)
    {
        return NGX_ERROR;
    }

    value.len = len;

    return ngx_mcp_connect_set_cookie(cc, name, &value, seconds);
}


static ngx_int_t
ngx_mcp_connect_open_cookie(ngx_mcp_connect_ctx_t *cc, const char *name,
    mcp_str_t *text)
{
    size_t     len;
    mcp_str_t  parts[2], value;

    if (ngx_mcp_connect_cookie(cc->request, name, &value) != NGX_OK
        || value.len > NGX_MCP_COOKIE_MAX)
    {
        return NGX_DECLINED;
    }

    parts[0].data = (u_char *) name;
    parts[0].len = ngx_strlen(name);
    parts[1] = *(mcp_str_t *) &cc->conf->url;

    text->data = ngx_mcp_connect_secret(cc, value.len);
    if (text->data == NULL) {
        return NGX_DECLINED;
    }

    if (mcp_seal_open(&cc->mmcf->browsers, cc->mmcf->seal, parts, 2, &value,
                      text->data, &len)
        != MCP_OK)
    {
        return NGX_DECLINED;
    }

    text->len = len;

    return NGX_OK;
}


ngx_int_t
ngx_mcp_connect_csrf(ngx_mcp_connect_ctx_t *cc, const char *action,
    ngx_str_t *name, mcp_str_t *token)
{
    size_t     len;
    mcp_str_t  parts[NGX_MCP_CSRF_PARTS];

    ngx_mcp_connect_csrf_parts(cc, action, name, parts);

    token->data = ngx_mcp_connect_secret(cc,
                                      mcp_seal_size(cc->session.nonce.len));

    if (token->data == NULL
        || mcp_seal(&cc->mmcf->browsers, cc->mmcf->seal, parts,
                    NGX_MCP_CSRF_PARTS, &cc->session.nonce, token->data, &len)
           != MCP_OK)
    {
        return NGX_ERROR;
    }

    token->len = len;

    return NGX_OK;
}


ngx_uint_t
ngx_mcp_connect_csrf_good(ngx_mcp_connect_ctx_t *cc, const char *action,
    ngx_str_t *name)
{
    size_t      len;
    u_char     *p;
    mcp_str_t   token, parts[NGX_MCP_CSRF_PARTS];

    if (mcp_form_get(&cc->args, "csrf", &token) != MCP_OK
        || token.len > mcp_seal_size(MCP_CONNECT_NONCE))
    {
        return 0;
    }

    p = ngx_mcp_connect_secret(cc, token.len);
    if (p == NULL) {
        return 0;
    }

    ngx_mcp_connect_csrf_parts(cc, action, name, parts);

    return mcp_seal_open(&cc->mmcf->browsers, cc->mmcf->seal, parts,
                         NGX_MCP_CSRF_PARTS, &token, p, &len)
           == MCP_OK
           && len == cc->session.nonce.len
           && CRYPTO_memcmp(p, cc->session.nonce.data, len) == 0
           && !ngx_mcp_connect_foreign(cc);
}


/*
 * What the browser says itself of who sent the form.  The token decides; this
 * is for a page that got hold of one.  With Referrer-Policy no-referrer an
 * Origin is "null".
 */
static ngx_uint_t
ngx_mcp_connect_foreign(ngx_mcp_connect_ctx_t *cc)
{
    mcp_str_t  value;

    if (ngx_mcp_connect_header(cc->request, "sec-fetch-site", &value) == NGX_OK
        && !mcp_str_eq_lit(&value, "same-origin"))
    {
        return 1;
    }

    return ngx_mcp_connect_header(cc->request, "origin", &value) == NGX_OK
           && !mcp_str_eq_lit(&value, "null")
           && !mcp_str_eq(&value, (mcp_str_t *) &cc->conf->origin);
}


static void
ngx_mcp_connect_csrf_parts(ngx_mcp_connect_ctx_t *cc, const char *action,
    ngx_str_t *name, mcp_str_t *parts)
{
    mcp_str_set(&parts[0], "form");
    parts[1] = *(mcp_str_t *) &cc->conf->url;
    parts[2] = cc->session.issuer;
    parts[3] = cc->session.user;
    parts[4] = cc->session.nonce;
    parts[5].data = (u_char *) action;
    parts[5].len = ngx_strlen(action);

    if (name) {
        parts[6] = *(mcp_str_t *) name;

    } else {
        mcp_str_null(&parts[6]);
    }
}


ngx_int_t
ngx_mcp_connect_args(ngx_mcp_connect_ctx_t *cc)
{
    mcp_mem_t   mem;
    ngx_str_t  *text;

    mem = ngx_mcp_connect_mem(cc);

    text = (cc->request->method == NGX_HTTP_POST) ? &cc->body : &cc->query;

    return mcp_form_parse((mcp_str_t *) text, &mem, &cc->args) == MCP_OK
           ? NGX_OK : NGX_DECLINED;
}


/* Two secrets. */
ngx_uint_t
ngx_mcp_connect_same(mcp_str_t *a, mcp_str_t *b)
{
    return a->len && a->len == b->len
           && CRYPTO_memcmp(a->data, b->data, a->len) == 0;
}


/* What ngx_mcp_connect_random() made, or could have made. */
ngx_uint_t
ngx_mcp_connect_is_random(mcp_str_t *text)
{
    u_char  c;
    size_t  i;

    if (text->len != 43) {
        return 0;
    }

    for (i = 0; i < text->len; i++) {
        c = text->data[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
              || (c >= '0' && c <= '9') || c == '-' || c == '_'))
        {
            return 0;
        }
    }

    return 1;
}
