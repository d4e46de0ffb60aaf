/*
 * The credential of a request.
 *
 * It is chosen by configuration and principal alone: the first `credential` of
 * the server whose role the caller holds, else the one for everybody else.  One
 * that is fetched comes from ngx_mcp_vault.c, and the request may wait for it.
 * When it cannot be had the request is answered here, and never forwarded with
 * less, with the caller's token, or with another's.
 *
 * A service has no person behind it, and one of our own tokens is nothing that
 * another issuer would exchange: such callers get the `fallback`, or a denial.
 * Nobody else gets it: who did not grant something yet shall not act as
 * somebody else by that.
 */

#include "ngx_mcp_credential.h"
#include "ngx_mcp_connect_ticket.h"
#include "ngx_mcp_reply.h"
#include "ngx_mcp_request.h"
#include "ngx_mcp_revoke.h"
#include "ngx_mcp_token.h"
#include "ngx_mcp_vault.h"


static ngx_mcp_credential_t *ngx_mcp_credential_of(ngx_mcp_server_t *sv,
    const mcp_principal_t *p);
static ngx_uint_t ngx_mcp_credential_possible(ngx_mcp_credential_t *cr,
    const mcp_principal_t *p);
static ngx_int_t ngx_mcp_credential_connect(ngx_http_request_t *r,
    ngx_mcp_ctx_t *ctx, ngx_mcp_credential_t *cr, const char *reason);
static ngx_int_t ngx_mcp_credential_fetch(ngx_http_request_t *r,
    ngx_mcp_ctx_t *ctx, ngx_mcp_credential_t *cr);
static ngx_int_t ngx_mcp_credential_caller(ngx_http_request_t *r,
    ngx_mcp_ctx_t *ctx);


ngx_int_t
ngx_mcp_credential_get(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx)
{
    ngx_mcp_credential_t  *cr;

    if (ctx->waiting) {
        return NGX_AGAIN;
    }

    cr = ngx_mcp_credential_of(ctx->server, ctx->principal);

    if (cr && !ngx_mcp_credential_possible(cr, ctx->principal)) {
        cr = cr->fallback;

        if (cr == NULL) {
            ctx->state = NGX_MCP_REFUSED;
            return ngx_mcp_reply_error(r, ctx, NGX_HTTP_FORBIDDEN, 403,
                                       "This server is for people: it needs "
                                       "the token of one", "no_person");
        }
    }

    if (cr && cr->type != NGX_MCP_CREDENTIAL_STATIC) {
        return ngx_mcp_credential_fetch(r, ctx, cr);
    }

    ctx->credential = cr;

    return NGX_OK;
}


static ngx_mcp_credential_t *
ngx_mcp_credential_of(ngx_mcp_server_t *sv, const mcp_principal_t *p)
{
    ngx_uint_t                    i;
    ngx_mcp_server_credential_t  *sc;

    sc = sv->credentials.elts;

    for (i = 0; i < sv->credentials.nelts; i++) {
        if (sc[i].role == 0 || mcp_role_held(&p->roles, sc[i].role)) {
            return sc[i].credential;
        }
    }

    return NULL;
}


static ngx_uint_t
ngx_mcp_credential_possible(ngx_mcp_credential_t *cr, const mcp_principal_t *p)
{
    switch (cr->type) {

    case NGX_MCP_CREDENTIAL_EXCHANGE:
        return p->kind == MCP_CALLER_USER && p->auth == MCP_AUTH_JWT;

    case NGX_MCP_CREDENTIAL_USER:
        return p->kind == MCP_CALLER_USER && p->user.len != 0;

    default:
        return 1;
    }
}


static ngx_int_t
ngx_mcp_credential_fetch(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    ngx_mcp_credential_t *cr)
{
    time_t                   retry;
    uint64_t                 began;
    ngx_int_t                rc;
    ngx_str_t                subject;
    const char              *reason;
    ngx_mcp_vault_result_t   res;

    if (ctx->credential_waited) {
        rc = ngx_mcp_credential_caller(r, ctx);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    /* it was declined already: the answer waited for its address */

    reason = ngx_mcp_ticket_reason(ctx);

    if (reason) {
        return ngx_mcp_credential_connect(r, ctx, cr, reason);
    }

    ngx_str_null(&subject);

    if (cr->type == NGX_MCP_CREDENTIAL_EXCHANGE
        && ngx_mcp_bearer(r, &subject) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    began = ngx_mcp_now_us();

    if (ctx->credential_began == 0) {
        ctx->credential_began = began;

        /* what the access phase waited for has its own time */

        ngx_memzero(&ctx->waiter, sizeof(ngx_mcp_keys_waiter_t));
    }

    ctx->waiter.wake = ngx_mcp_access_wake;
    ctx->waiter.data = ctx;

    rc = ngx_mcp_vault_get(r, ctx, cr, &subject, &ctx->waiter, &res, &reason,
                           &retry);

    switch (rc) {

    case NGX_OK:
        ctx->credential = cr;
        ctx->fetched = res.token;
        ctx->credential_version = res.version;
        ctx->refreshed = ctx->credential_waited && res.refreshed;
        ctx->credential_us = ngx_mcp_now_us() - ctx->credential_began;

        return NGX_OK;

    case NGX_AGAIN:
        ctx->credential_waited = 1;
        return ngx_mcp_access_wait(r, ctx);

    case NGX_DECLINED:
        return ngx_mcp_credential_connect(r, ctx, cr, reason);

    default:
        ctx->state = NGX_MCP_REFUSED;
        return ngx_mcp_reply_unavailable(r, ctx, retry, reason);
    }
}


/* The address is the operator's own, or made for this caller. */
static ngx_int_t
ngx_mcp_credential_connect(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    ngx_mcp_credential_t *cr, const char *reason)
{
    ngx_int_t       rc;
    ngx_str_t       url;
    mcp_message_t  *m;

    url = cr->connect_url;
    m = ctx->message;

    if (m && m->kind == MCP_REQUEST
        && m->method_class == MCP_METHOD_DISCOVER)
    {
        ctx->state = NGX_MCP_REFUSED;
        return ngx_mcp_reply_discover(r, ctx, reason);
    }

    if (cr->connect && m && m->kind == MCP_REQUEST) {

        rc = ngx_mcp_ticket_get(r, ctx, cr, reason, &url);

        if (rc == NGX_AGAIN) {
            return ngx_mcp_access_wait(r, ctx);
        }

        if (rc != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    ctx->state = NGX_MCP_REFUSED;

    return ngx_mcp_reply_connect(r, ctx, cr, &url, reason);
}


/*
 * A provider may take a minute, and the caller be revoked meanwhile, or come to
 * the end of its token: nothing is sent for who would not be let in now.
 */
static ngx_int_t
ngx_mcp_credential_caller(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx)
{
    const char           *reason;
    ngx_mcp_main_conf_t  *mmcf;

    mmcf = ngx_http_get_module_main_conf(r, ngx_http_mcp_auth_module);
    reason = NULL;

    if (ngx_time() >= ctx->expires) {
        reason = "expired";

    } else {
        switch (ngx_mcp_revoke_caller(mmcf, ctx, NULL)) {

        case NGX_OK:
            break;

        case NGX_DECLINED:
            ngx_mcp_revoke_refused(mmcf);
            reason = "revoked";
            break;

        default:
            ctx->state = NGX_MCP_REFUSED;
            return ngx_mcp_reply_unavailable(r, ctx,
                                             NGX_MCP_UNKNOWN_TIME,
                                             "revocation_unknown");
        }
    }

    if (reason == NULL && ngx_mcp_token_over(mmcf, ctx)) {
        reason = "token_revoked";
    }

    if (reason == NULL) {
        return NGX_OK;
    }

    ctx->state = NGX_MCP_REFUSED;

    return ngx_mcp_reply_unauthorized(r, ctx, 1, reason);
}


ngx_int_t
ngx_mcp_credential_early(ngx_mcp_ctx_t *ctx)
{
    ngx_mcp_credential_t  *cr;

    cr = ngx_mcp_credential_of(ctx->server, ctx->principal);

    if (cr && cr->type != NGX_MCP_CREDENTIAL_STATIC) {
        return NGX_DECLINED;
    }

    ctx->credential = cr;

    return NGX_OK;
}


ngx_int_t
ngx_mcp_credential_value(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    ngx_mcp_credential_header_t *h, ngx_str_t *value)
{
    u_char  *p;

    if (!h->token) {
        *value = h->before;
        return NGX_OK;
    }

    if (ctx->fetched.len == 0) {
        return NGX_ERROR;
    }

    value->len = h->before.len + ctx->fetched.len + h->after.len;

    /* nginx's variables of headers end in a NUL */

    p = ngx_pnalloc(r->pool, value->len + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    value->data = p;

    p = ngx_cpymem(p, h->before.data, h->before.len);
    p = ngx_cpymem(p, ctx->fetched.data, ctx->fetched.len);
    p = ngx_cpymem(p, h->after.data, h->after.len);
    *p = '\0';

    return NGX_OK;
}


ngx_uint_t
ngx_mcp_credential_carries(ngx_mcp_server_t *sv, const mcp_str_t *name)
{
    ngx_str_t   *carrier;
    ngx_uint_t   i;

    carrier = sv->carriers.elts;

    for (i = 0; i < sv->carriers.nelts; i++) {
        if (carrier[i].len == name->len
            && ngx_memcmp(carrier[i].data, name->data, name->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}
