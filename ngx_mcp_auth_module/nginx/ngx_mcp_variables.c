/*
 * $mcp_auth_*: who called, what for, and what was decided.
 *
 * Answered from the main request's context, also after internal redirects, in
 * subrequests and in the log phase.  In the phases before access who calls is
 * answered from the cache of verified tokens, so that limit_req can count by
 * it; that is no authorisation yet.  In `set` and `if` all are empty.  None has
 * a control character: it could be a header of its own in proxy_set_header.
 * Values live in the request's pool or longer.
 */

#include "ngx_mcp_module.h"


typedef enum {
    NGX_MCP_VAR_USER = 0,
    NGX_MCP_VAR_CLIENT,
    NGX_MCP_VAR_KIND,
    NGX_MCP_VAR_ROLES,
    NGX_MCP_VAR_ISSUER,
    NGX_MCP_VAR_SERVER,
    NGX_MCP_VAR_METHOD,
    NGX_MCP_VAR_TARGET,
    NGX_MCP_VAR_DECISION,
    NGX_MCP_VAR_REASON,
    NGX_MCP_VAR_RULE,
    NGX_MCP_VAR_TRACE_ID
} ngx_mcp_variable_e;


static ngx_int_t ngx_mcp_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_mcp_variable_get(ngx_http_request_t *r,
    ngx_mcp_ctx_t *ctx, ngx_mcp_variable_e var, mcp_str_t *value);
static mcp_principal_t *ngx_mcp_variable_caller(ngx_http_request_t *r,
    ngx_mcp_ctx_t *ctx);
static ngx_int_t ngx_mcp_principal_variable(ngx_http_request_t *r,
    ngx_mcp_ctx_t *ctx, ngx_mcp_variable_e var, mcp_str_t *value);
static ngx_int_t ngx_mcp_variable_escape(ngx_http_request_t *r,
    mcp_str_t *value);
static ngx_int_t ngx_mcp_claim_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static void ngx_mcp_variable_set(ngx_http_variable_value_t *v,
    mcp_str_t *value);
static void ngx_mcp_variable_text(mcp_str_t *value, const char *text);


/* in the order of ngx_mcp_variable_e */
static ngx_str_t  ngx_mcp_variables[] = {
    ngx_string("mcp_auth_user"),
    ngx_string("mcp_auth_client"),
    ngx_string("mcp_auth_kind"),
    ngx_string("mcp_auth_roles"),
    ngx_string("mcp_auth_issuer"),
    ngx_string("mcp_auth_server"),
    ngx_string("mcp_auth_method"),
    ngx_string("mcp_auth_target"),
    ngx_string("mcp_auth_decision"),
    ngx_string("mcp_auth_reason"),
    ngx_string("mcp_auth_rule"),
    ngx_string("mcp_auth_trace_id")
};


static ngx_str_t  ngx_mcp_claim_prefix = ngx_string("mcp_auth_claim_");


ngx_int_t
ngx_mcp_add_variables(ngx_conf_t *cf)
{
    ngx_uint_t            i;
    ngx_http_variable_t  *var;

    for (i = 0;
         i < sizeof(ngx_mcp_variables) / sizeof(ngx_mcp_variables[0]);
         i++)
    {
        var = ngx_http_add_variable(cf, &ngx_mcp_variables[i],
                                    NGX_HTTP_VAR_NOCACHEABLE);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = ngx_mcp_variable;
        var->data = i;
    }

    var = ngx_http_add_variable(cf, &ngx_mcp_claim_prefix,
                                NGX_HTTP_VAR_NOCACHEABLE|NGX_HTTP_VAR_PREFIX);
    if (var == NULL) {
        return NGX_ERROR;
    }

    var->get_handler = ngx_mcp_claim_variable;

    return NGX_OK;
}


/*
 * The claims that are kept with a principal are those some $mcp_auth_claim_NAME
 * of the configuration asks for.
 */
ngx_int_t
ngx_mcp_collect_claims(ngx_conf_t *cf, ngx_mcp_main_conf_t *mmcf)
{
    ngx_str_t                  *claim;
    ngx_uint_t                  i;
    ngx_http_variable_t        *v;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    v = cmcf->variables.elts;

    for (i = 0; i < cmcf->variables.nelts; i++) {

        if (v[i].name.len <= ngx_mcp_claim_prefix.len
            || ngx_strncmp(v[i].name.data, ngx_mcp_claim_prefix.data,
                           ngx_mcp_claim_prefix.len) != 0)
        {
            continue;
        }

        if (mmcf->claims.nelts == MCP_MAX_CLAIMS) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "more than %d $mcp_auth_claim_ variables",
                               MCP_MAX_CLAIMS);
            return NGX_ERROR;
        }

        claim = ngx_array_push(&mmcf->claims);
        if (claim == NULL) {
            return NGX_ERROR;
        }

        claim->data = v[i].name.data + ngx_mcp_claim_prefix.len;
        claim->len = v[i].name.len - ngx_mcp_claim_prefix.len;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_mcp_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    mcp_str_t       value;
    ngx_mcp_ctx_t  *ctx;

    mcp_str_null(&value);

    ctx = ngx_mcp_get_ctx(r->main);

    if (ctx && ngx_mcp_variable_get(r->main, ctx, data, &value) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_mcp_variable_set(v, &value);

    return NGX_OK;
}


static ngx_int_t
ngx_mcp_variable_get(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    ngx_mcp_variable_e var, mcp_str_t *value)
{
    switch (var) {

    case NGX_MCP_VAR_SERVER:
        if (ctx->server) {
            *value = *(mcp_str_t *) &ctx->server->name;
        }

        return NGX_OK;

    case NGX_MCP_VAR_METHOD:
        if (ctx->message) {
            *value = ctx->message->method;
        }

        return ngx_mcp_variable_escape(r, value);

    case NGX_MCP_VAR_TARGET:
        if (ctx->message) {
            *value = ctx->message->target;
        }

        return ngx_mcp_variable_escape(r, value);

    case NGX_MCP_VAR_TRACE_ID:
        *value = ngx_mcp_ctx_trace_id(ctx);
        return NGX_OK;

    case NGX_MCP_VAR_DECISION:
        ngx_mcp_variable_text(value, ctx->decision);
        return NGX_OK;

    case NGX_MCP_VAR_REASON:
        ngx_mcp_variable_text(value, ctx->reason);
        return NGX_OK;

    case NGX_MCP_VAR_RULE:
        *value = ctx->rule;
        return NGX_OK;

    default:
        return ngx_mcp_principal_variable(r, ctx, var, value);
    }
}


/* Who calls; before authentication, as a verification in the cache says. */
static mcp_principal_t *
ngx_mcp_variable_caller(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx)
{
    u_char                key[NGX_MCP_DIGEST];
    ngx_str_t             token;
    mcp_principal_t      *p;
    ngx_mcp_server_t     *sv;
    ngx_mcp_issuer_t     *issuer;
    ngx_mcp_main_conf_t  *mmcf;

    if (ctx->principal) {
        return ctx->principal;
    }

    sv = ctx->server;

    if (ctx->state != NGX_MCP_START || sv == NULL) {
        return NULL;
    }

    if (!ctx->looked_up) {
        ctx->looked_up = 1;

        if (ngx_mcp_bearer(r, &token) != NGX_OK
            || token.len > ctx->conf->max_token)
        {
            return NULL;
        }

        mmcf = ngx_http_get_module_main_conf(r, ngx_http_mcp_auth_module);

        ngx_mcp_token_key(r, mmcf, sv, &token, key);
        ctx->early = ngx_mcp_cache_get(mmcf->cache, key, ngx_time());
    }

    if (ctx->early == NULL || ctx->early->reason) {
        return NULL;
    }

    p = ctx->early->principal;

    return ngx_mcp_caller_known(sv, p, &issuer) ? p : NULL;
}


static ngx_int_t
ngx_mcp_principal_variable(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    ngx_mcp_variable_e var, mcp_str_t *value)
{
    u_char           *p;
    mcp_buf_t         b;
    mcp_principal_t  *principal;

    principal = ngx_mcp_variable_caller(r, ctx);

    if (principal == NULL) {
        return NGX_OK;
    }

    switch (var) {

    case NGX_MCP_VAR_USER:
        *value = principal->user;
        return NGX_OK;

    case NGX_MCP_VAR_CLIENT:
        *value = principal->client;
        return NGX_OK;

    case NGX_MCP_VAR_ISSUER:
        *value = principal->iss;
        return NGX_OK;

    case NGX_MCP_VAR_KIND:
        ngx_mcp_variable_text(value, principal->kind == MCP_CALLER_SERVICE
                                     ? "service" : "user");
        return NGX_OK;

    default: /* NGX_MCP_VAR_ROLES */

        p = ngx_pnalloc(r->pool, 4096);
        if (p == NULL) {
            return NGX_ERROR;
        }

        mcp_buf_init(&b, p, 4096);
        mcp_policy_roles_text(ctx->server->policy, &principal->roles, &b);

        value->data = b.start;
        value->len = b.pos - b.start;

        return NGX_OK;
    }
}


static ngx_int_t
ngx_mcp_claim_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    ngx_str_t *name = (ngx_str_t *) data;

    size_t            len;
    u_char           *claim;
    unsigned          i;
    mcp_str_t         value;
    mcp_claim_t      *c;
    ngx_mcp_ctx_t    *ctx;
    mcp_principal_t  *principal;

    mcp_str_null(&value);

    claim = name->data + ngx_mcp_claim_prefix.len;
    len = name->len - ngx_mcp_claim_prefix.len;

    ctx = ngx_mcp_get_ctx(r->main);

    principal = ctx ? ngx_mcp_variable_caller(r->main, ctx) : NULL;

    if (principal) {
        c = principal->claims;

        for (i = 0; i < principal->nclaims; i++) {
            if (c[i].name.len == len
                && ngx_memcmp(c[i].name.data, claim, len) == 0)
            {
                value = c[i].value;
            }
        }
    }

    ngx_mcp_variable_set(v, &value);

    return NGX_OK;
}


/* What a caller may write freely: control characters become %0A. */
static ngx_int_t
ngx_mcp_variable_escape(ngx_http_request_t *r, mcp_str_t *value)
{
    u_char  *p;
    size_t   i, n;

    static const u_char  hex[] = "0123456789ABCDEF";

    for (i = 0, n = 0; i < value->len; i++) {
        n += (value->data[i] < 0x20 || value->data[i] == 0x7f);
    }

    if (n == 0) {
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, value->len + 2 * n);
    if (p == NULL) {
        return NGX_ERROR;
    }

    for (i = 0, n = 0; i < value->len; i++) {
        if (value->data[i] >= 0x20 && value->data[i] != 0x7f) {
            p[n++] = value->data[i];
            continue;
        }

        p[n++] = '%';
        p[n++] = hex[value->data[i] >> 4];
        p[n++] = hex[value->data[i] & 0xf];
    }

    value->data = p;
    value->len = n;

    return NGX_OK;
}


static void
ngx_mcp_variable_set(ngx_http_variable_value_t *v, mcp_str_t *value)
{
    v->len = value->len;
    v->data = value->data;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = (value->data == NULL);
}


static void
ngx_mcp_variable_text(mcp_str_t *value, const char *text)
{
    if (text) {
        value->data = (u_char *) text;
        value->len = ngx_strlen(text);
    }
}
