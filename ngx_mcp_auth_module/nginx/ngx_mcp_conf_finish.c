/*
 * What is done when http {} is complete: defaults, references by name, what
 * cannot go together, the zone, and the fingerprint of cached verifications.
 */

#include "ngx_mcp_conf.h"
#include "ngx_mcp_connect.h"
#include "ngx_mcp_vault.h"
#include "ngx_mcp_keys.h"
#include "ngx_mcp_revoke.h"
#include "ngx_mcp_token.h"
#include "mcp_reply.h"


static ngx_int_t ngx_mcp_finish_issuer(ngx_conf_t *cf,
    ngx_mcp_main_conf_t *mmcf, ngx_mcp_issuer_t *is);
static ngx_int_t ngx_mcp_finish_roles(ngx_conf_t *cf,
    ngx_mcp_main_conf_t *mmcf, ngx_mcp_issuer_t *is);
static void ngx_mcp_finish_map(ngx_conf_t *cf, ngx_mcp_main_conf_t *mmcf,
    ngx_mcp_issuer_t *is);
static ngx_int_t ngx_mcp_finish_roles_of(ngx_conf_t *cf,
    ngx_mcp_main_conf_t *mmcf, ngx_mcp_server_t *sv);
static ngx_int_t ngx_mcp_finish_server(ngx_conf_t *cf,
    ngx_mcp_main_conf_t *mmcf, ngx_mcp_server_t *sv);
static ngx_int_t ngx_mcp_finish_issuers_of(ngx_conf_t *cf,
    ngx_mcp_main_conf_t *mmcf, ngx_mcp_server_t *sv);
static ngx_int_t ngx_mcp_finish_credential(ngx_conf_t *cf,
    ngx_mcp_main_conf_t *mmcf, ngx_mcp_server_t *sv);
static ngx_int_t ngx_mcp_finish_replies(ngx_conf_t *cf,
    ngx_mcp_server_t *sv);
static void ngx_mcp_finish_located(ngx_conf_t *cf, ngx_mcp_server_t *sv);
static ngx_int_t ngx_mcp_finish_locations(ngx_conf_t *cf,
    ngx_mcp_main_conf_t *mmcf);
static void ngx_mcp_finish_slash(ngx_conf_t *cf, ngx_mcp_main_conf_t *mmcf,
    void **loc);
static void ngx_mcp_finish_refuse(ngx_conf_t *cf, ngx_mcp_loc_conf_t *mlcf,
    const char *why);
static const char *ngx_mcp_finish_upstream(ngx_module_t *module, void *conf);
static void *ngx_mcp_finish_member(ngx_module_t *module,
    const char *directive, void *conf);
static void ngx_mcp_fingerprint(ngx_mcp_main_conf_t *mmcf);


/* When http {} is complete: names are resolved, endpoints prepared. */
ngx_int_t
ngx_mcp_conf_finish(ngx_conf_t *cf, ngx_mcp_main_conf_t *mmcf)
{
    ngx_str_t           name;
    ngx_uint_t          i;
    ngx_mcp_issuer_t  **isp;
    ngx_mcp_server_t  **svp;

    if (ngx_mcp_collect_claims(cf, mmcf) != NGX_OK) {
        return NGX_ERROR;
    }

    isp = mmcf->issuers.elts;

    for (i = 0; i < mmcf->issuers.nelts; i++) {
        if (ngx_mcp_finish_issuer(cf, mmcf, isp[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    svp = mmcf->servers.elts;

    for (i = 0; i < mmcf->servers.nelts; i++) {
        if (ngx_mcp_finish_server(cf, mmcf, svp[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (mmcf->redis
        && ngx_mcp_redis_conf_finish(cf, mmcf->redis) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_mcp_token_conf_finish(cf, mmcf) != NGX_OK
        || ngx_mcp_vault_conf_finish(cf, mmcf) != NGX_OK
        || ngx_mcp_connect_conf_finish(cf, mmcf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (!mmcf->used) {
        return NGX_OK;
    }

    if (ngx_process == NGX_PROCESS_SINGLE
        && !ngx_is_init_cycle(cf->cycle->old_cycle))
    {
        /* nginx would not start this module's timers and tables again */

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "mcp_auth cannot be reloaded with "
                           "\"master_process off\"");
        return NGX_ERROR;
    }

    if (ngx_mcp_finish_locations(cf, mmcf) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_mcp_fingerprint(mmcf);

    ngx_str_set(&name, "request_id");

    mmcf->request_id_index = ngx_http_get_variable_index(cf, &name);
    if (mmcf->request_id_index == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (mmcf->zone_size == NGX_CONF_UNSET_SIZE) {
        mmcf->zone_size = 16 * 1024 * 1024;
    }

    if (mmcf->zone_size < 256 * 1024) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "mcp_zone is smaller than 256k");
        return NGX_ERROR;
    }

    mmcf->shm_zone = ngx_mcp_zone_add(cf, mmcf->zone_size);

    return mmcf->shm_zone ? ngx_mcp_revoke_conf_finish(cf, mmcf) : NGX_ERROR;
}


static ngx_int_t
ngx_mcp_finish_issuer(ngx_conf_t *cf, ngx_mcp_main_conf_t *mmcf,
    ngx_mcp_issuer_t *is)
{
    static mcp_str_t  user[] = { mcp_string("uid"), mcp_string("sub") };
    static mcp_str_t  client[] = { mcp_string("cid"),
                                   mcp_string("client_id"),
                                   mcp_string("azp") };
    static mcp_str_t  scope[] = { mcp_string("scp"), mcp_string("scope") };

    if (is->jwt.algs == 0) {
        is->jwt.algs = MCP_ALG_RS256|MCP_ALG_ES256;
    }

    if (is->jwt.nuser_claims == 0) {
        is->jwt.user_claims = user;
        is->jwt.nuser_claims = 2;
    }

    if (is->jwt.nclient_claims == 0) {
        is->jwt.client_claims = client;
        is->jwt.nclient_claims = 3;
    }

    if (is->jwt.nscope_claims == 0) {
        is->jwt.scope_claims = scope;
        is->jwt.nscope_claims = 2;
    }

    if (is->jwt.roles_claim.len == 0) {
        mcp_str_set(&is->jwt.roles_claim, "groups");
    }

    if (is->jwt.leeway == NGX_CONF_UNSET) {
        is->jwt.leeway = 30;
    }

    if (is->jwt.max_groups == 0) {
        is->jwt.max_groups = 1024;
    }

    if (is->max_keys == 0) {
        is->max_keys = 64;
    }

    if (is->login_auth == 0) {
        is->login_auth = MCP_OAUTH_BASIC;
    }

    if (is->login_scope.len == 0) {
        ngx_str_set(&is->login_scope, "openid profile");
    }

    ngx_conf_init_value(is->jwks_stale, 86400);
    ngx_conf_init_value(is->jwks_refresh, 86400);
    ngx_conf_init_msec_value(is->jwks_timeout, 5000);
    ngx_conf_init_size_value(is->max_key_set, 256 * 1024);

    is->jwt.claims = mmcf->claims.elts;
    is->jwt.nclaims = mmcf->claims.nelts;

    if (ngx_mcp_finish_roles(cf, mmcf, is) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_mcp_keys_conf(cf, is) == NGX_CONF_OK ? NGX_OK : NGX_ERROR;
}


/*
 * An issuer without any `role` line: a role is held by bearers of its own
 * name.  With one, only what is written counts: another issuer's role cannot
 * be had by a group that happens to have its name.
 */
static ngx_int_t
ngx_mcp_finish_roles(ngx_conf_t *cf, ngx_mcp_main_conf_t *mmcf,
    ngx_mcp_issuer_t *is)
{
    ngx_str_t       *role;
    ngx_uint_t       i;
    mcp_role_map_t  *map;

    if (is->jwt.nrole_map) {
        ngx_mcp_finish_map(cf, mmcf, is);
        return NGX_OK;
    }

    role = mmcf->roles.elts;

    map = ngx_palloc(cf->pool, mmcf->roles.nelts * sizeof(mcp_role_map_t));
    if (map == NULL) {
        return NGX_ERROR;
    }

    for (i = 1; i < mmcf->roles.nelts; i++) {
        map[i - 1].role = i;
        map[i - 1].value = *(mcp_str_t *) &role[i];
    }

    is->jwt.role_map = map;
    is->jwt.nrole_map = mmcf->roles.nelts - 1;

    return NGX_OK;
}


/*
 * A role that no server knows may be a slip of the pen, or an issuer that
 * several gateways include: it grants nothing, and is only said.
 */
static void
ngx_mcp_finish_map(ngx_conf_t *cf, ngx_mcp_main_conf_t *mmcf,
    ngx_mcp_issuer_t *is)
{
    unsigned            number;
    ngx_str_t          *role;
    ngx_uint_t          i, j;
    ngx_mcp_server_t  **svp;

    svp = mmcf->servers.elts;
    role = mmcf->roles.elts;

    for (i = 0; i < is->jwt.nrole_map; i++) {
        number = is->jwt.role_map[i].role;

        if (i && is->jwt.role_map[i - 1].role == number) {
            continue;
        }

        for (j = 0; j < mmcf->servers.nelts; j++) {
            if (mcp_role_held(&svp[j]->roles, number)) {
                break;
            }
        }

        if (j == mmcf->servers.nelts) {
            ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                          "mcp_issuer \"%V\": role \"%V\" is in no "
                          "mcp_server in %V:%ui", &is->name, &role[number],
                          &is->conf_file, is->conf_line);
        }
    }
}


/* Rules of a role that none of the issuers grants can never match; a token of
 * our own may have any role. */
static ngx_int_t
ngx_mcp_finish_roles_of(ngx_conf_t *cf, ngx_mcp_main_conf_t *mmcf,
    ngx_mcp_server_t *sv)
{
    ngx_str_t         *role;
    ngx_uint_t         i, j, n, found;
    mcp_jwt_issuer_t  *jwt;

    if (sv->tokens) {
        return NGX_OK;
    }

    role = mmcf->roles.elts;

    for (n = 1; n < mmcf->roles.nelts; n++) {

        if (!mcp_role_held(&sv->roles, n)) {
            continue;
        }

        found = 0;

        for (i = 0; i < sv->nissuers && !found; i++) {
            jwt = &sv->issuers[i]->jwt;

            for (j = 0; j < jwt->nrole_map && !found; j++) {
                found = (jwt->role_map[j].role == n);
            }
        }

        if (!found) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "mcp_server \"%V\": role \"%V\" is in the \"role\" "
                          "lines of none of its issuers in %V:%ui",
                          &sv->name, &role[n], &sv->conf_file,
                          sv->conf_line);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_mcp_finish_server(ngx_conf_t *cf, ngx_mcp_main_conf_t *mmcf,
    ngx_mcp_server_t *sv)
{
    if (ngx_mcp_finish_issuers_of(cf, mmcf, sv) != NGX_OK
        || ngx_mcp_finish_roles_of(cf, mmcf, sv) != NGX_OK
        || ngx_mcp_finish_credential(cf, mmcf, sv) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_mcp_finish_located(cf, sv);

    return ngx_mcp_finish_replies(cf, sv);
}


/*
 * Whoever wrote all the rules and forgot mcp_auth has an open location and
 * believes that it is protected.
 */
static void
ngx_mcp_finish_located(ngx_conf_t *cf, ngx_mcp_server_t *sv)
{
    if (sv->located) {
        return;
    }

    ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                  "mcp_server \"%V\" protects nothing: no location has "
                  "\"mcp_auth %V\" in %V:%ui", &sv->name, &sv->name,
                  &sv->conf_file, sv->conf_line);
}


static ngx_int_t
ngx_mcp_finish_issuers_of(ngx_conf_t *cf, ngx_mcp_main_conf_t *mmcf,
    ngx_mcp_server_t *sv)
{
    ngx_str_t          *name;
    ngx_uint_t          i, j, k;
    ngx_mcp_issuer_t  **isp;

    name = sv->issuer_names.elts;
    isp = mmcf->issuers.elts;

    sv->nissuers = sv->issuer_names.nelts;
    sv->issuers = ngx_palloc(cf->pool, sv->nissuers * sizeof(void *));
    if (sv->issuers == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < sv->nissuers; i++) {

        for (j = 0; j < mmcf->issuers.nelts; j++) {
            if (isp[j]->name.len == name[i].len
                && ngx_memcmp(isp[j]->name.data, name[i].data, name[i].len)
                   == 0)
            {
                break;
            }
        }

        if (j == mmcf->issuers.nelts) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "mcp_server \"%V\": unknown mcp_issuer \"%V\" "
                          "in %V:%ui", &sv->name, &name[i],
                          &sv->conf_file, sv->conf_line);
            return NGX_ERROR;
        }

        for (k = 0; k < i; k++) {
            if (mcp_str_eq(&sv->issuers[k]->jwt.issuer, &isp[j]->jwt.issuer))
            {
                ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                              "mcp_server \"%V\": issuers \"%V\" and \"%V\" "
                              "have the same \"issuer\" in %V:%ui",
                              &sv->name, &sv->issuers[k]->name, &name[i],
                              &sv->conf_file, sv->conf_line);
                return NGX_ERROR;
            }
        }

        sv->issuers[i] = isp[j];
    }

    return NGX_OK;
}


/* The one for everybody else goes last. */
static ngx_int_t
ngx_mcp_finish_credential(ngx_conf_t *cf, ngx_mcp_main_conf_t *mmcf,
    ngx_mcp_server_t *sv)
{
    ngx_str_t                    *role;
    ngx_uint_t                    i, n;
    ngx_mcp_server_credential_t  *sc, rest;

    sc = sv->credentials.elts;
    n = sv->credentials.nelts;
    role = mmcf->roles.elts;

    for (i = 0; i < n; i++) {
        sc[i].credential = ngx_mcp_conf_find_credential(mmcf, &sc[i].name);

        if (sc[i].credential == NULL) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "mcp_server \"%V\": unknown mcp_credential \"%V\" "
                          "in %V:%ui", &sv->name, &sc[i].name, &sv->conf_file,
                          sv->conf_line);
            return NGX_ERROR;
        }

        if (sc[i].role && !mcp_role_held(&sv->roles, sc[i].role)) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "mcp_server \"%V\": credential \"%V\" is for role "
                          "\"%V\", which has no rules here, in %V:%ui",
                          &sv->name, &sc[i].name, &role[sc[i].role],
                          &sv->conf_file, sv->conf_line);
            return NGX_ERROR;
        }
    }

    for (i = 0; i + 1 < n; i++) {
        if (sc[i].role == 0) {
            rest = sc[i];
            sc[i] = sc[i + 1];
            sc[i + 1] = rest;
        }
    }

    return NGX_OK;
}


/* What the gateway says about this server never changes: it is made once. */
static ngx_int_t
ngx_mcp_finish_replies(ngx_conf_t *cf, ngx_mcp_server_t *sv)
{
    u_char           *p;
    size_t            size;
    mcp_buf_t         b;
    mcp_str_t        *urls, *meta;
    ngx_uint_t        i;
    const mcp_str_t  *scope;

    urls = ngx_palloc(cf->pool, sv->nissuers * sizeof(mcp_str_t));
    if (urls == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < sv->nissuers; i++) {
        urls[i] = sv->issuers[i]->jwt.issuer;
    }

    scope = mcp_policy_server_scope(sv->policy);
    meta = (mcp_str_t *) &sv->metadata_url;

    size = 1024 + 2 * (sv->resource.len + sv->metadata_url.len)
           + 2 * scope->len + sv->name.len;

    for (i = 0; i < sv->nissuers; i++) {
        size += 2 * urls[i].len + 8;
    }

    p = ngx_pnalloc(cf->pool, 3 * size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    mcp_buf_init(&b, p, size);
    mcp_reply_challenge(&b, NULL, meta, scope, NULL);
    sv->challenge.data = b.start;
    sv->challenge.len = b.pos - b.start;

    mcp_buf_init(&b, p + size, size);
    mcp_reply_challenge(&b, "invalid_token", meta, scope,
                        "The access token is invalid or expired");
    sv->challenge_invalid.data = b.start;
    sv->challenge_invalid.len = b.pos - b.start;

    mcp_buf_init(&b, p + 2 * size, size);
    mcp_reply_metadata(&b, (mcp_str_t *) &sv->resource, urls, sv->nissuers,
                       scope, (mcp_str_t *) &sv->name);
    sv->metadata.data = b.start;
    sv->metadata.len = b.pos - b.start;

    return b.overflow ? NGX_ERROR : NGX_OK;
}


/* What other modules are told to do in our locations. */
static ngx_int_t
ngx_mcp_finish_locations(ngx_conf_t *cf, ngx_mcp_main_conf_t *mmcf)
{
    void         **loc, ***locs;
    ngx_uint_t     i, j, m;
    ngx_module_t  *module;
    const char    *why;

    static const char  *modules[] = {
        "ngx_http_proxy_module", "ngx_http_fastcgi_module",
        "ngx_http_uwsgi_module", "ngx_http_scgi_module",
        "ngx_http_grpc_module"
    };

    locs = mmcf->locations.elts;

    for (i = 0; i < mmcf->locations.nelts; i++) {
        ngx_mcp_finish_slash(cf, mmcf, locs[i]);
    }

    for (m = 0; cf->cycle->modules[m]; m++) {
        module = cf->cycle->modules[m];

        for (j = 0; j < sizeof(modules) / sizeof(modules[0]); j++) {
            if (ngx_strcmp(module->name, modules[j]) == 0) {
                break;
            }
        }

        if (j == sizeof(modules) / sizeof(modules[0])) {
            continue;
        }

        for (i = 0; i < mmcf->locations.nelts; i++) {
            loc = locs[i];

            why = ngx_mcp_finish_upstream(module, loc[module->ctx_index]);

            if (why == NULL) {
                continue;
            }

            ngx_mcp_finish_refuse(cf, loc[ngx_http_mcp_auth_module.ctx_index],
                                  why);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/*
 * "location /mcp/" with a proxy_pass: nginx redirects /mcp to it, and no client
 * follows that with a POST and its token.
 */
static void
ngx_mcp_finish_slash(ngx_conf_t *cf, ngx_mcp_main_conf_t *mmcf, void **loc)
{
    void                    ***locs;
    ngx_str_t                  path;
    ngx_uint_t                 i;
    ngx_mcp_loc_conf_t        *mlcf;
    ngx_http_core_loc_conf_t  *clcf, *other;

    static const char  well_known[] = "/.well-known/oauth-protected-resource";

    clcf = loc[ngx_http_core_module.ctx_index];
    mlcf = loc[ngx_http_mcp_auth_module.ctx_index];

    /* of the resource: what the path of its metadata ends in */

    path.data = mlcf->server->metadata_path.data + sizeof(well_known) - 1;
    path.len = mlcf->server->metadata_path.len - (sizeof(well_known) - 1);

    if (!clcf->auto_redirect
        || clcf->name.len != path.len + 1
        || ngx_memcmp(clcf->name.data, path.data, path.len) != 0)
    {
        return;
    }

    locs = mmcf->locations.elts;

    for (i = 0; i < mmcf->locations.nelts; i++) {
        other = locs[i][ngx_http_core_module.ctx_index];

        if (other->name.len == path.len
            && ngx_memcmp(other->name.data, path.data, path.len) == 0)
        {
            return;
        }
    }

    ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                  "nginx redirects \"%V\", the resource of mcp_server \"%V\", "
                  "to \"%V\", which MCP clients do not follow; \"location = "
                  "%V\" is meant in %V:%ui", &path, &mlcf->server->name,
                  &clcf->name, &path, &mlcf->auth->file, mlcf->auth->line);
}


static void
ngx_mcp_finish_refuse(ngx_conf_t *cf, ngx_mcp_loc_conf_t *mlcf,
    const char *why)
{
    ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                  "%s in a location of mcp_auth \"%V\" in %V:%ui", why,
                  &mlcf->auth->name, &mlcf->auth->file, mlcf->auth->line);
}


/*
 * What would make of an authorised request another one, or mix callers; NULL:
 * nothing.  X-Accel-Redirect, which would too, is switched off.  Such a
 * module's configuration begins with that of its upstream.
 */
static const char *
ngx_mcp_finish_upstream(ngx_module_t *module, void *conf)
{
    ngx_str_t                 *body;
    ngx_http_upstream_conf_t  *u;
    ngx_http_complex_value_t  **method;

    u = conf;

    if (u == NULL) {
        return NULL;
    }

    /* an upstream that could choose where an authorised request goes next could
     * choose what nginx keeps from everybody, and would get the credential
     * there; redirects to the client are refused for the same reason */

    u->ignore_headers |= NGX_HTTP_UPSTREAM_IGN_XA_REDIRECT;

    if (u->store == 1) {
        return "a store would keep one caller's responses for others";
    }

#if (NGX_HTTP_CACHE)

    if (u->cache == 1) {
        return "a cache would mix callers";
    }

#endif

    if (ngx_strcmp(module->name, "ngx_http_grpc_module") == 0) {
        return NULL;
    }

    if (u->pass_request_body == 0) {
        return "\"pass_request_body off\" forwards another request than the "
               "one that was authorised";
    }

    if (u->pass_request_headers == 0) {
        return "\"pass_request_headers off\" keeps back the credential";
    }

    body = ngx_mcp_finish_member(module, "proxy_set_body", conf);

    if (body && body->data) {
        return "\"proxy_set_body\" forwards another request than the one that "
               "was authorised";
    }

    method = ngx_mcp_finish_member(module, "proxy_method", conf);

    if (method && *method && *method != NGX_CONF_UNSET_PTR) {
        return "\"proxy_method\" forwards another request than the one that "
               "was authorised";
    }

    return NULL;
}


/* Where a module keeps the value of its directive; NULL when it has none. */
static void *
ngx_mcp_finish_member(ngx_module_t *module, const char *directive, void *conf)
{
    ngx_command_t  *cmd;

    for (cmd = module->commands; cmd && cmd->name.len; cmd++) {
        if (ngx_strcmp(cmd->name.data, directive) == 0) {
            return (u_char *) conf + cmd->offset;
        }
    }

    return NULL;
}


/*
 * What a cached verification depends on: issuers with their keys' source, role
 * numbers, wanted claims, keys and store of own tokens.  Lengths go in so that
 * fields cannot run together, and before each list how many there are.
 */
static void
ngx_mcp_fingerprint(ngx_mcp_main_conf_t *mmcf)
{
    SHA256_CTX                sha;
    ngx_str_t                *s;
    ngx_uint_t                i, j, k;
    mcp_str_t                *lists[3];
    unsigned                  n[3];
    mcp_jwt_issuer_t         *jwt;
    ngx_mcp_issuer_t        **isp;
    ngx_mcp_server_t        **svp;
    const mcp_pepper_ring_t  *ring;

#define ngx_mcp_fp(p, size)   SHA256_Update(&sha, p, size)
#define ngx_mcp_fp_num(v)     ngx_mcp_fp(&(v), sizeof(v))
#define ngx_mcp_fp_str(str)                                                   \
    ngx_mcp_fp_num((str)->len); ngx_mcp_fp((str)->data, (str)->len)

    SHA256_Init(&sha);

    s = mmcf->roles.elts;
    ngx_mcp_fp_num(mmcf->roles.nelts);

    for (i = 0; i < mmcf->roles.nelts; i++) {
        ngx_mcp_fp_str(&s[i]);
    }

    s = mmcf->claims.elts;
    ngx_mcp_fp_num(mmcf->claims.nelts);

    for (i = 0; i < mmcf->claims.nelts; i++) {
        ngx_mcp_fp_str(&s[i]);
    }

    isp = mmcf->issuers.elts;
    ngx_mcp_fp_num(mmcf->issuers.nelts);

    for (i = 0; i < mmcf->issuers.nelts; i++) {
        jwt = &isp[i]->jwt;
        k = jwt->at_jwt;

        ngx_mcp_fp_str(&jwt->issuer);
        ngx_mcp_fp(isp[i]->zone_name, NGX_MCP_DIGEST);
        ngx_mcp_fp_num(jwt->algs);
        ngx_mcp_fp_num(k);
        ngx_mcp_fp_num(jwt->leeway);
        ngx_mcp_fp_num(jwt->max_groups);
        ngx_mcp_fp_str(&jwt->roles_claim);

        lists[0] = jwt->user_claims;
        lists[1] = jwt->client_claims;
        lists[2] = jwt->scope_claims;
        n[0] = jwt->nuser_claims;
        n[1] = jwt->nclient_claims;
        n[2] = jwt->nscope_claims;

        for (j = 0; j < 3; j++) {
            ngx_mcp_fp_num(n[j]);

            for (k = 0; k < n[j]; k++) {
                ngx_mcp_fp_str(&lists[j][k]);
            }
        }

        ngx_mcp_fp_num(jwt->nrole_map);

        for (j = 0; j < jwt->nrole_map; j++) {
            ngx_mcp_fp_num(jwt->role_map[j].role);
            ngx_mcp_fp_str(&jwt->role_map[j].value);
        }
    }

    ring = ngx_mcp_token_ring(mmcf);
    k = ring ? ring->n : 0;
    ngx_mcp_fp_num(k);

    for (i = 0; i < k; i++) {
        ngx_mcp_fp(ring->peppers[i].id, sizeof(ring->peppers[i].id));
    }

    if (mmcf->redis) {
        ngx_mcp_fp_str(&mmcf->redis->server);
        ngx_mcp_fp_str(&mmcf->redis->prefix);
        ngx_mcp_fp_num(mmcf->redis->database);
    }

    SHA256_Final(mmcf->fingerprint, &sha);

    /* two mcp_issuer may read the tokens of one issuer differently: what one
     * of them made of a token is found by the servers that ask the same ones */

    svp = mmcf->servers.elts;

    for (i = 0; i < mmcf->servers.nelts; i++) {
        SHA256_Init(&sha);

        for (j = 0; j < svp[i]->nissuers; j++) {
            ngx_mcp_fp_num(svp[i]->issuers[j]->jwt.index);
        }

        SHA256_Final(svp[i]->fingerprint, &sha);
    }
}
