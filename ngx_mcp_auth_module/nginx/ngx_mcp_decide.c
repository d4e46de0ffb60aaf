/*
 * The last state of the access phase: may this caller do what the message asks
 * for.  core/mcp_policy decides; here is only what its questions are for each
 * class of method, and what is answered.
 *
 * Called once for each request, with the caller known and the message read;
 * leaves decision, reason and rule in the context.
 */

#include "ngx_mcp_request.h"
#include "ngx_mcp_reply.h"
#include "ngx_mcp_session.h"
#include "ngx_mcp_task.h"


static ngx_int_t ngx_mcp_decide_would(ngx_http_request_t *r,
    ngx_mcp_ctx_t *ctx, mcp_decision_t *scopes);
static ngx_int_t ngx_mcp_decide_message(ngx_mcp_ctx_t *ctx,
    mcp_decision_t *d);
static ngx_int_t ngx_mcp_decide_uris(ngx_mcp_ctx_t *ctx, mcp_decision_t *d);
static ngx_int_t ngx_mcp_decide_scopes(ngx_mcp_ctx_t *ctx, mcp_target_e kind,
    mcp_decision_t *d, u_char *scope, size_t size);
static ngx_int_t ngx_mcp_decide_allow(ngx_mcp_ctx_t *ctx, const char *ev);


ngx_int_t
ngx_mcp_decide(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx)
{
    ngx_int_t        rc;
    mcp_target_e     kind;
    mcp_message_t   *m;
    mcp_decision_t   d, scopes;
    u_char           buf[1024];

    rc = ngx_mcp_session_request(r, ctx);
    if (rc != NGX_OK) {
        return rc;
    }

    m = ctx->message;
    kind = MCP_TARGET_NONE;

    ngx_memzero(&d, sizeof(mcp_decision_t));
    d.reason = "allow";

    if (m) {
        rc = ngx_mcp_decide_message(ctx, &d);

        if ((rc == NGX_OK || d.shadow)
            && m->method_class != MCP_METHOD_OWNER)
        {
            kind = (m->method_class == MCP_METHOD_LISTEN && m->nuris)
                   ? MCP_TARGET_RESOURCE : m->target_kind;
        }

        if (m->method_class == MCP_METHOD_DISCOVER
            && m->kind == MCP_REQUEST)
        {
            return ngx_mcp_decide_allow(ctx, "session");
        }
    }

    ctx->rule = d.rule;
    ctx->reason = d.reason;

    if (rc == NGX_ABORT) {
        return ngx_mcp_reply_denied(r, ctx, 0);
    }

    ngx_memzero(&scopes, sizeof(mcp_decision_t));

    if (ngx_mcp_decide_scopes(ctx, kind, &scopes, buf, sizeof(buf))
        != NGX_OK)
    {
        if (!scopes.shadow) {
            ctx->rule = scopes.rule;
            return ngx_mcp_reply_scope(r, ctx, &scopes.scope);
        }

        if (ngx_mcp_decide_would(r, ctx, &scopes) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    if (rc != NGX_OK) {
        if (!d.shadow) {
            return ngx_mcp_reply_denied(r, ctx, 1);
        }

        ctx->would_deny = 1;
    }

    if (m == NULL) {
        return ngx_mcp_decide_allow(ctx, r->method == NGX_HTTP_GET
                                         ? "stream" : "session");
    }

    switch (m->method_class) {

    case MCP_METHOD_OWNER:
        return ngx_mcp_decide_allow(ctx, m->task.len ? "call" : "list");

    case MCP_METHOD_LIST:
        return ngx_mcp_decide_allow(ctx, "list");

    case MCP_METHOD_LISTEN:
        return ngx_mcp_decide_allow(ctx, "stream");

    case MCP_METHOD_FREE:
        return ngx_mcp_decide_allow(ctx, "session");

    default:
        return ngx_mcp_decide_allow(ctx, m->kind == MCP_RESPONSE ? "session"
                                                                 : "call");
    }
}


/* A missing scope that is only recorded, beside what the rules said. */
static ngx_int_t
ngx_mcp_decide_would(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    mcp_decision_t *scopes)
{
    u_char  *p;

    ctx->would_deny = 1;

    if (ngx_strcmp(ctx->reason, "allow") == 0) {
        ctx->reason = scopes->reason;
        ctx->rule = scopes->rule;

        return NGX_OK;
    }

    if (scopes->rule.len == 0) {
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, ctx->rule.len + 2 + scopes->rule.len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    scopes->rule.len = ngx_sprintf(p, "%V%s%V", (ngx_str_t *) &ctx->rule,
                                   ctx->rule.len ? "; " : "",
                                   (ngx_str_t *) &scopes->rule)
                       - p;
    ctx->rule.data = p;
    ctx->rule.len = scopes->rule.len;

    return NGX_OK;
}


/*
 * NGX_OK; NGX_DECLINED by the rules; NGX_ABORT: no rule, and no shadow, could
 * open it.  d->reason and d->rule say why.
 */
static ngx_int_t
ngx_mcp_decide_message(ngx_mcp_ctx_t *ctx, mcp_decision_t *d)
{
    ngx_uint_t           i;
    mcp_message_t       *m;
    const mcp_policy_t  *policy;
    const mcp_roles_t   *roles;

    m = ctx->message;
    policy = ctx->server->policy;
    roles = &ctx->principal->roles;

    if (m->kind == MCP_RESPONSE) {
        return NGX_OK;
    }

    /* a method in the other's form: a request's name without an id, or a
     * notification's with one */

    if (m->method_class != MCP_METHOD_UNKNOWN
        && (m->kind == MCP_NOTIFICATION)
           != (m->method.len > 14
               && ngx_strncmp(m->method.data, "notifications/", 14) == 0))
    {
        d->reason = "message_form";
        return NGX_ABORT;
    }

    switch (m->method_class) {

    case MCP_METHOD_OWNER:

        /* a list of tasks is cut to those that are the caller's */

        if (m->task.len == 0 || ngx_mcp_task_owned(ctx, &m->task)) {
            return NGX_OK;
        }

        d->reason = "task_owner";
        return NGX_ABORT;

    case MCP_METHOD_UNKNOWN:

        /* a method of the other era is no extension for rules to open */

        if (mcp_method_class(&m->method) != MCP_METHOD_UNKNOWN) {
            d->reason = "era";
            return NGX_ABORT;
        }

        /* fall through */

    case MCP_METHOD_TARGET:
        return mcp_policy_decide(policy, roles, m->target_kind, &m->target,
                                 m->values, d) == MCP_OK
               ? NGX_OK : NGX_DECLINED;

    case MCP_METHOD_LISTEN:

        for (i = 0; i < m->ntasks; i++) {
            if (!ngx_mcp_task_owned(ctx, &m->tasks[i])) {
                d->reason = "task_owner";
                return NGX_ABORT;
            }
        }

        return ngx_mcp_decide_uris(ctx, d);

    default:
        return NGX_OK;
    }
}


/* Each URI of a subscription; one that is denied denies it. */
static ngx_int_t
ngx_mcp_decide_uris(ngx_mcp_ctx_t *ctx, mcp_decision_t *d)
{
    ngx_int_t       rc;
    ngx_uint_t      i;
    mcp_message_t  *m;
    mcp_decision_t  one;

    m = ctx->message;
    rc = NGX_OK;

    for (i = 0; i < m->nuris; i++) {

        if (mcp_policy_decide(ctx->server->policy, &ctx->principal->roles,
                              MCP_TARGET_RESOURCE, &m->uris[i], NULL, &one)
            == MCP_OK)
        {
            if (rc == NGX_OK) {
                *d = one;
            }

            continue;
        }

        /* what a shadow lets pass is told, unless one is denied in earnest */

        if (rc == NGX_OK || !one.shadow) {
            *d = one;
            m->target_kind = MCP_TARGET_RESOURCE;
            m->target = m->uris[i];
        }

        rc = NGX_DECLINED;

        if (!one.shadow) {
            break;
        }
    }

    return rc;
}


/*
 * The server's scopes, and those of the target; a subscription has a target for
 * each URI, the first that lacks a scope is told.  scope is written to.
 */
static ngx_int_t
ngx_mcp_decide_scopes(ngx_mcp_ctx_t *ctx, mcp_target_e kind,
    mcp_decision_t *d, u_char *scope, size_t size)
{
    ngx_uint_t           i, n;
    mcp_str_t           *target;
    mcp_message_t       *m;
    const mcp_policy_t  *policy;

    static mcp_str_t  none = { 0, NULL };

    m = ctx->message;
    policy = ctx->server->policy;

    target = m ? &m->target : &none;
    n = 1;

    if (m && m->method_class == MCP_METHOD_LISTEN && m->nuris) {
        target = m->uris;
        n = m->nuris;
    }

    for (i = 0; i < n; i++) {
        if (mcp_policy_scopes(policy, &ctx->principal->scopes, kind,
                              &target[i], d, scope, size)
            != MCP_OK)
        {
            return NGX_DECLINED;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_mcp_decide_allow(ngx_mcp_ctx_t *ctx, const char *ev)
{
    ctx->ev = ev;
    ctx->decision = ctx->would_deny ? "would_deny" : "allow";

    if (ctx->reason == NULL) {
        ctx->reason = "allow";
    }

    ctx->state = NGX_MCP_DONE;

    return NGX_OK;
}
