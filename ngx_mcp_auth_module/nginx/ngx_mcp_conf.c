/*
 * The directives: their table, what the blocks share, and mcp_auth.
 * The blocks are in ngx_mcp_conf_issuer.c, _credential.c and _server.c, and in
 * ngx_mcp_redis_conf.c; what is done when http {} is complete is in
 * ngx_mcp_conf_finish.c.
 *
 * The blocks are ordinary nginx blocks with their own contexts; inside one, the
 * main configuration's issuer, credential, server and role point at what is
 * being read.  Everything that cannot work or can never match is refused here,
 * with file and line; nothing is changed after nginx -t.
 */

#include "ngx_mcp_conf.h"
#include "ngx_mcp_connect.h"
#include "ngx_mcp_revoke.h"
#include "ngx_mcp_session.h"
#include "ngx_mcp_token.h"
#include "ngx_mcp_vault.h"


#define NGX_MCP_ANY_BLOCK  (NGX_MCP_ISSUER_CONF|NGX_MCP_CREDENTIAL_CONF      \
                            |NGX_MCP_SERVER_CONF|NGX_MCP_ROLE_CONF            \
                            |NGX_MCP_REDIS_CONF)


static ngx_int_t ngx_mcp_conf_error_pages(ngx_conf_t *cf,
    ngx_http_core_loc_conf_t *clcf);


#define ngx_mcp_limit(name, set, member)                                      \
    { ngx_string(name),                                                       \
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,  \
      set, NGX_HTTP_LOC_CONF_OFFSET,                                          \
      offsetof(ngx_mcp_loc_conf_t, member), NULL }

#define ngx_mcp_line(name, type, args, set)                                   \
    { ngx_string(name), type|args, set, NGX_HTTP_MAIN_CONF_OFFSET, 0, NULL }


#define ngx_mcp_credential_take1(name)                                        \
    ngx_mcp_line(name, NGX_MCP_CREDENTIAL_CONF, NGX_CONF_TAKE1,               \
                 ngx_mcp_credential_line)


ngx_command_t  ngx_mcp_commands[] = {

    { ngx_string("mcp_auth"),
      NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_mcp_conf_auth,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("mcp_status"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_mcp_status_conf,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("mcp_connect"),
      NGX_HTTP_LOC_CONF|NGX_CONF_TAKE12,
      ngx_mcp_connect_conf,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("mcp_zone"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_mcp_main_conf_t, zone_size),
      NULL },

    { ngx_string("mcp_audit"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_mcp_log_conf,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("mcp_audit_key"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_mcp_conf_audit_key,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("mcp_vault_keys"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_mcp_vault_conf,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("mcp_session_key"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_mcp_session_conf,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    ngx_mcp_line("mcp_token_file", NGX_HTTP_MAIN_CONF, NGX_CONF_TAKE1,
                 ngx_mcp_token_conf),
    ngx_mcp_line("mcp_token_key", NGX_HTTP_MAIN_CONF, NGX_CONF_1MORE,
                 ngx_mcp_token_conf),
    ngx_mcp_line("mcp_token_failures", NGX_HTTP_MAIN_CONF, NGX_CONF_TAKE1,
                 ngx_mcp_token_conf),

    { ngx_string("mcp_revocation_file"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_mcp_revoke_conf,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("mcp_revocation_zone"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_mcp_main_conf_t, revocation_zone),
      NULL },

    ngx_mcp_limit("mcp_max_token", ngx_conf_set_size_slot, max_token),
    ngx_mcp_limit("mcp_max_body", ngx_conf_set_size_slot, max_body),
    ngx_mcp_limit("mcp_max_id", ngx_conf_set_size_slot, max_id),
    ngx_mcp_limit("mcp_max_name", ngx_conf_set_size_slot, max_name),
    ngx_mcp_limit("mcp_max_list_entry", ngx_conf_set_size_slot,
                  max_list_entry),
    ngx_mcp_limit("mcp_max_event", ngx_conf_set_size_slot, max_event),
    ngx_mcp_limit("mcp_max_depth", ngx_conf_set_num_slot, max_depth),

    ngx_mcp_line("mcp_issuer", NGX_HTTP_MAIN_CONF,
                 NGX_CONF_BLOCK|NGX_CONF_TAKE1, ngx_mcp_conf_issuer),

    ngx_mcp_line("issuer", NGX_MCP_ISSUER_CONF, NGX_CONF_TAKE1,
                 ngx_mcp_issuer_line),
    ngx_mcp_line("jwks_uri", NGX_MCP_ISSUER_CONF, NGX_CONF_TAKE1,
                 ngx_mcp_issuer_line),
    ngx_mcp_line("jwks_file", NGX_MCP_ISSUER_CONF, NGX_CONF_TAKE1,
                 ngx_mcp_issuer_line),
    ngx_mcp_line("jwks_stale", NGX_MCP_ISSUER_CONF, NGX_CONF_TAKE1,
                 ngx_mcp_issuer_line),
    ngx_mcp_line("jwks_refresh", NGX_MCP_ISSUER_CONF, NGX_CONF_TAKE1,
                 ngx_mcp_issuer_line),
    ngx_mcp_line("jwks_timeout", NGX_MCP_ISSUER_CONF, NGX_CONF_TAKE1,
                 ngx_mcp_issuer_line),
    ngx_mcp_line("max_key_set", NGX_MCP_ISSUER_CONF, NGX_CONF_TAKE1,
                 ngx_mcp_issuer_line),
    ngx_mcp_line("max_keys", NGX_MCP_ISSUER_CONF, NGX_CONF_TAKE1,
                 ngx_mcp_issuer_line),
    ngx_mcp_line("max_groups", NGX_MCP_ISSUER_CONF, NGX_CONF_TAKE1,
                 ngx_mcp_issuer_line),
    ngx_mcp_line("audience", NGX_MCP_ISSUER_CONF, NGX_CONF_1MORE,
                 ngx_mcp_issuer_line),
    ngx_mcp_line("algorithms", NGX_MCP_ISSUER_CONF, NGX_CONF_1MORE,
                 ngx_mcp_issuer_line),
    ngx_mcp_line("token_type", NGX_MCP_ISSUER_CONF, NGX_CONF_TAKE1,
                 ngx_mcp_issuer_line),
    ngx_mcp_line("user_claim", NGX_MCP_ISSUER_CONF, NGX_CONF_1MORE,
                 ngx_mcp_issuer_line),
    ngx_mcp_line("client_claim", NGX_MCP_ISSUER_CONF, NGX_CONF_1MORE,
                 ngx_mcp_issuer_line),
    ngx_mcp_line("scope_claim", NGX_MCP_ISSUER_CONF, NGX_CONF_1MORE,
                 ngx_mcp_issuer_line),
    ngx_mcp_line("roles_claim", NGX_MCP_ISSUER_CONF, NGX_CONF_TAKE1,
                 ngx_mcp_issuer_line),
    ngx_mcp_line("leeway", NGX_MCP_ISSUER_CONF, NGX_CONF_TAKE1,
                 ngx_mcp_issuer_line),
    ngx_mcp_line("ssl_trusted_certificate", NGX_MCP_ISSUER_CONF,
                 NGX_CONF_TAKE1, ngx_mcp_issuer_line),
    ngx_mcp_line("role", NGX_MCP_ISSUER_CONF, NGX_CONF_2MORE,
                 ngx_mcp_issuer_line),
    ngx_mcp_line("client_id", NGX_MCP_ISSUER_CONF, NGX_CONF_TAKE1,
                 ngx_mcp_issuer_login),
    ngx_mcp_line("client_secret", NGX_MCP_ISSUER_CONF, NGX_CONF_TAKE1,
                 ngx_mcp_issuer_login),
    ngx_mcp_line("login_scope", NGX_MCP_ISSUER_CONF, NGX_CONF_1MORE,
                 ngx_mcp_issuer_login),
    ngx_mcp_line("auth_method", NGX_MCP_ISSUER_CONF, NGX_CONF_TAKE1,
                 ngx_mcp_issuer_login),
    ngx_mcp_line("authorization_endpoint", NGX_MCP_ISSUER_CONF,
                 NGX_CONF_TAKE1, ngx_mcp_issuer_login),
    ngx_mcp_line("token_endpoint", NGX_MCP_ISSUER_CONF, NGX_CONF_TAKE1,
                 ngx_mcp_issuer_login),

    ngx_mcp_line("mcp_credential", NGX_HTTP_MAIN_CONF,
                 NGX_CONF_BLOCK|NGX_CONF_TAKE1, ngx_mcp_conf_credential),

    ngx_mcp_line("header", NGX_MCP_CREDENTIAL_CONF, NGX_CONF_TAKE12,
                 ngx_mcp_credential_line),
    ngx_mcp_line("scope", NGX_MCP_CREDENTIAL_CONF, NGX_CONF_1MORE,
                 ngx_mcp_credential_line),
    ngx_mcp_credential_take1("type"),
    ngx_mcp_credential_take1("value"),
    ngx_mcp_credential_take1("provider"),
    ngx_mcp_credential_take1("token_endpoint"),
    ngx_mcp_credential_take1("authorize_endpoint"),
    ngx_mcp_credential_take1("revoke_endpoint"),
    ngx_mcp_credential_take1("auth_method"),
    ngx_mcp_credential_take1("client_id"),
    ngx_mcp_credential_take1("client_secret"),
    ngx_mcp_credential_take1("key"),
    ngx_mcp_credential_take1("key_id"),
    ngx_mcp_credential_take1("assertion_audience"),
    ngx_mcp_credential_take1("audience"),
    ngx_mcp_credential_take1("resource"),
    ngx_mcp_credential_take1("timeout"),
    ngx_mcp_credential_take1("ssl_trusted_certificate"),
    ngx_mcp_credential_take1("rotation"),
    ngx_mcp_credential_take1("grace"),
    ngx_mcp_credential_take1("keepalive"),
    ngx_mcp_credential_take1("connect_url"),
    ngx_mcp_credential_take1("fallback"),

    ngx_mcp_line("mcp_server", NGX_HTTP_MAIN_CONF,
                 NGX_CONF_BLOCK|NGX_CONF_TAKE1, ngx_mcp_conf_server),

    ngx_mcp_line("resource", NGX_MCP_SERVER_CONF, NGX_CONF_TAKE1,
                 ngx_mcp_server_line),
    ngx_mcp_line("issuer", NGX_MCP_SERVER_CONF, NGX_CONF_1MORE,
                 ngx_mcp_server_line),
    ngx_mcp_line("tokens", NGX_MCP_SERVER_CONF, NGX_CONF_TAKE1,
                 ngx_mcp_server_tokens),
    ngx_mcp_line("scope", NGX_MCP_SERVER_CONF, NGX_CONF_1MORE,
                 ngx_mcp_server_line),
    ngx_mcp_line("credential", NGX_MCP_SERVER_CONF, NGX_CONF_TAKE12,
                 ngx_mcp_server_line),
    ngx_mcp_line("origin", NGX_MCP_SERVER_CONF, NGX_CONF_1MORE,
                 ngx_mcp_server_line),
    ngx_mcp_line("deny_reply", NGX_MCP_SERVER_CONF, NGX_CONF_TAKE1,
                 ngx_mcp_server_line),
    ngx_mcp_line("enforce", NGX_MCP_SERVER_CONF|NGX_MCP_ROLE_CONF,
                 NGX_CONF_TAKE1, ngx_mcp_server_enforce),
    ngx_mcp_line("stream_grace", NGX_MCP_SERVER_CONF, NGX_CONF_TAKE1,
                 ngx_mcp_server_line),
    ngx_mcp_line("strip", NGX_MCP_SERVER_CONF, NGX_CONF_1MORE,
                 ngx_mcp_server_line),
    ngx_mcp_line("preview", NGX_MCP_SERVER_CONF, NGX_CONF_TAKE1,
                 ngx_mcp_server_line),
    ngx_mcp_line("params", NGX_MCP_SERVER_CONF, NGX_CONF_1MORE,
                 ngx_mcp_server_line),
    ngx_mcp_line("step_up", NGX_MCP_SERVER_CONF, NGX_CONF_2MORE,
                 ngx_mcp_server_line),
    ngx_mcp_line("role", NGX_MCP_SERVER_CONF, NGX_CONF_BLOCK|NGX_CONF_TAKE1,
                 ngx_mcp_server_role),
    ngx_mcp_line("allow", NGX_MCP_ROLE_CONF, NGX_CONF_2MORE,
                 ngx_mcp_server_rule),
    ngx_mcp_line("deny", NGX_MCP_ROLE_CONF, NGX_CONF_2MORE,
                 ngx_mcp_server_rule),

    ngx_mcp_line("mcp_redis", NGX_HTTP_MAIN_CONF,
                 NGX_CONF_BLOCK|NGX_CONF_NOARGS, ngx_mcp_redis_conf),

    ngx_mcp_line("server", NGX_MCP_REDIS_CONF, NGX_CONF_TAKE1,
                 ngx_mcp_redis_line),
    ngx_mcp_line("user", NGX_MCP_REDIS_CONF, NGX_CONF_TAKE1,
                 ngx_mcp_redis_line),
    ngx_mcp_line("password", NGX_MCP_REDIS_CONF, NGX_CONF_TAKE1,
                 ngx_mcp_redis_line),
    ngx_mcp_line("database", NGX_MCP_REDIS_CONF, NGX_CONF_TAKE1,
                 ngx_mcp_redis_line),
    ngx_mcp_line("tls", NGX_MCP_REDIS_CONF, NGX_CONF_TAKE1,
                 ngx_mcp_redis_line),
    ngx_mcp_line("ssl_trusted_certificate", NGX_MCP_REDIS_CONF,
                 NGX_CONF_TAKE1, ngx_mcp_redis_line),
    ngx_mcp_line("ssl_name", NGX_MCP_REDIS_CONF, NGX_CONF_TAKE1,
                 ngx_mcp_redis_line),
    ngx_mcp_line("prefix", NGX_MCP_REDIS_CONF, NGX_CONF_TAKE1,
                 ngx_mcp_redis_line),
    ngx_mcp_line("timeout", NGX_MCP_REDIS_CONF, NGX_CONF_TAKE1,
                 ngx_mcp_redis_line),
    ngx_mcp_line("connect_timeout", NGX_MCP_REDIS_CONF, NGX_CONF_TAKE1,
                 ngx_mcp_redis_line),
    ngx_mcp_line("revocation_stale", NGX_MCP_REDIS_CONF, NGX_CONF_TAKE1,
                 ngx_mcp_redis_line),
    ngx_mcp_line("max_reply", NGX_MCP_REDIS_CONF, NGX_CONF_TAKE1,
                 ngx_mcp_redis_line),

    ngx_mcp_line("include", NGX_MCP_ANY_BLOCK, NGX_CONF_TAKE1,
                 ngx_conf_include),

      ngx_null_command
};


/* Reads the block that has just been opened, with its own context. */
char *
ngx_mcp_conf_block(ngx_conf_t *cf, ngx_uint_t type)
{
    char        *rv;
    ngx_conf_t   save;

    save = *cf;
    cf->cmd_type = type;

    rv = ngx_conf_parse(cf, NULL);

    *cf = save;

    return rv;
}


/* A name of ours: letters, digits, "_", "-" and "."; it goes into the audit. */
char *
ngx_mcp_conf_name(ngx_conf_t *cf, ngx_str_t *name)
{
    u_char      c;
    ngx_uint_t  i;

    for (i = 0; i < name->len; i++) {
        c = name->data[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
              || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.'))
        {
            break;
        }
    }

    if (i < name->len || i == 0 || i > 64) {
        return ngx_mcp_conf_error(cf, "invalid name \"%V\"", name);
    }

    return NGX_CONF_OK;
}


/* Roles are numbered over all blocks; the number is a bit of mcp_roles_t. */
ngx_int_t
ngx_mcp_conf_role_number(ngx_conf_t *cf, ngx_str_t *name, ngx_uint_t *number)
{
    ngx_str_t            *role;
    ngx_uint_t            i;
    ngx_mcp_main_conf_t  *mmcf;

    mmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_mcp_auth_module);

    role = mmcf->roles.elts;

    for (i = 0; i < mmcf->roles.nelts; i++) {
        if (role[i].len == name->len
            && ngx_memcmp(role[i].data, name->data, name->len) == 0)
        {
            *number = i;
            return NGX_OK;
        }
    }

    if (i == MCP_MAX_ROLES) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "more than %d roles",
                           MCP_MAX_ROLES);
        return NGX_ERROR;
    }

    role = ngx_array_push(&mmcf->roles);
    if (role == NULL) {
        return NGX_ERROR;
    }

    *role = *name;
    *number = i;

    return NGX_OK;
}


char *
ngx_mcp_conf_append(ngx_conf_t *cf, ngx_array_t *to, ngx_str_t *value,
    ngx_uint_t n)
{
    ngx_uint_t  i;
    ngx_str_t  *s;

    for (i = 0; i < n; i++) {
        s = ngx_array_push(to);
        if (s == NULL) {
            return NGX_CONF_ERROR;
        }

        *s = value[i];
    }

    return NGX_CONF_OK;
}


/* Words, joined by single spaces; "a b" are two. */
char *
ngx_mcp_conf_words(ngx_conf_t *cf, ngx_str_t *value, ngx_uint_t n,
    ngx_str_t *out)
{
    u_char      *p;
    size_t       len;
    ngx_uint_t   i, j;

    len = 0;

    for (i = 0; i < n; i++) {
        len += value[i].len + 1;
    }

    p = ngx_pnalloc(cf->pool, len);
    if (p == NULL) {
        return NGX_CONF_ERROR;
    }

    out->data = p;

    for (i = 0; i < n; i++) {

        for (j = 0; j < value[i].len; j++) {

            if (value[i].data[j] < 0x20 || value[i].data[j] > 0x7e
                || value[i].data[j] == '"' || value[i].data[j] == '\\')
            {
                return ngx_mcp_conf_error(cf, "invalid scope \"%V\"",
                                          &value[i]);
            }

            if (value[i].data[j] == ' '
                && (p == out->data || p[-1] == ' '))
            {
                continue;
            }

            *p++ = value[i].data[j];
        }

        if (p > out->data && p[-1] != ' ') {
            *p++ = ' ';
        }
    }

    if (p > out->data) {
        p--;
    }

    out->len = p - out->data;

    return NGX_CONF_OK;
}


ngx_mcp_server_t *
ngx_mcp_conf_find_server(ngx_mcp_main_conf_t *mmcf, ngx_str_t *name)
{
    ngx_uint_t          i;
    ngx_mcp_server_t  **svp;

    svp = mmcf->servers.elts;

    for (i = 0; i < mmcf->servers.nelts; i++) {
        if (svp[i]->name.len == name->len
            && ngx_memcmp(svp[i]->name.data, name->data, name->len) == 0)
        {
            return svp[i];
        }
    }

    return NULL;
}


/* mcp_auth NAME | off */

char *
ngx_mcp_conf_auth(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_mcp_loc_conf_t *mlcf = conf;

    ngx_str_t           *value;
    ngx_mcp_auth_ref_t  *ref;

    if (mlcf->auth != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    ref = ngx_pcalloc(cf->pool, sizeof(ngx_mcp_auth_ref_t));
    if (ref == NULL) {
        return NGX_CONF_ERROR;
    }

    ref->file = cf->conf_file->file.name;
    ref->line = cf->conf_file->line;

    if (ngx_strcmp(value[1].data, "off") != 0) {
        ref->name = value[1];
    }

    mlcf->auth = ref;

    return NGX_CONF_OK;
}


/*
 * nginx refuses a body by its Content-Length before any phase of ours knows the
 * location; an error_page would then take the request, with the caller's
 * token, to wherever it points.  413 is answered by us alone.  The array may be
 * shared with other locations: it is copied.
 */
static ngx_int_t
ngx_mcp_conf_error_pages(ngx_conf_t *cf, ngx_http_core_loc_conf_t *clcf)
{
    ngx_uint_t            i;
    ngx_array_t          *pages;
    ngx_http_err_page_t  *from, *to;

    if (clcf->error_pages == NULL) {
        return NGX_OK;
    }

    pages = ngx_array_create(cf->pool, ngx_max(clcf->error_pages->nelts, 1),
                             sizeof(ngx_http_err_page_t));
    if (pages == NULL) {
        return NGX_ERROR;
    }

    from = clcf->error_pages->elts;

    for (i = 0; i < clcf->error_pages->nelts; i++) {

        if (from[i].status == NGX_HTTP_REQUEST_ENTITY_TOO_LARGE) {
            continue;
        }

        to = ngx_array_push(pages);
        if (to == NULL) {
            return NGX_ERROR;
        }

        *to = from[i];
    }

    clcf->error_pages = pages;

    return NGX_OK;
}


/* After merging: the location's server, limits, and what cannot go with it. */
char *
ngx_mcp_conf_location(ngx_conf_t *cf, ngx_mcp_loc_conf_t *prev,
    ngx_mcp_loc_conf_t *conf)
{
    unsigned                   n;
    ngx_uint_t                 i;
    ngx_http_conf_ctx_t       *ctx;
    ngx_mcp_server_t         **svp;
    ngx_mcp_auth_ref_t        *ref;
    ngx_mcp_srv_conf_t        *mscf;
    ngx_mcp_main_conf_t       *mmcf;
    ngx_http_core_loc_conf_t  *clcf;
    void                      **loc;

    mmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_mcp_auth_module);
    ref = conf->auth;

    ngx_conf_merge_ptr_value(conf->audit, prev->audit, NGX_CONF_UNSET_PTR);

    if (ref == NULL || ref->name.len == 0) {
        return NGX_CONF_OK;
    }

    conf->server = ngx_mcp_conf_find_server(mmcf, &ref->name);

    if (conf->server == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "unknown mcp_server \"%V\" in %V:%ui", &ref->name,
                      &ref->file, ref->line);
        return NGX_CONF_ERROR;
    }

    if (conf->audit == NGX_CONF_UNSET_PTR) {
        conf->audit = ngx_mcp_log_default(cf, mmcf);
        if (conf->audit == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    if (conf->max_depth < 4 || conf->max_depth > MCP_JSON_MAX_DEPTH
        || conf->max_name < 64 || conf->max_name > 65536
        || conf->max_id < 8 || conf->max_id > 256
        || conf->max_token < 64 || conf->max_body < 64
        || conf->max_list_entry < 256 || conf->max_event < 256)
    {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "a mcp_max_* limit is out of its range (depth 4 to %d, "
                      "name 64 to 64k, id 8 to 256, token and body from 64, "
                      "list entry and event from 256) for mcp_auth \"%V\" in "
                      "%V:%ui", MCP_JSON_MAX_DEPTH, &ref->name, &ref->file,
                      ref->line);
        return NGX_CONF_ERROR;
    }

    if (conf->server->audit == NULL) {
        conf->server->audit = conf->audit;
    }

    conf->message.max_depth = conf->max_depth;
    conf->message.max_id = conf->max_id;
    conf->message.max_name = conf->max_name;
    conf->message.max_value = conf->max_name;
    conf->message.pointers = mcp_policy_pointers(conf->server->policy, &n);
    conf->message.npointers = n;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (ngx_mcp_status_here(clcf)) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"mcp_status\" is no MCP server that mcp_auth \"%V\" "
                      "could protect in %V:%ui", &ref->name, &ref->file,
                      ref->line);
        return NGX_CONF_ERROR;
    }

    if (clcf->satisfy == NGX_HTTP_SATISFY_ANY) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"satisfy any\" lets requests past mcp_auth \"%V\" in "
                      "%V:%ui", &ref->name, &ref->file, ref->line);
        return NGX_CONF_ERROR;
    }

    /*
     * nginx's own limit of 1m, when it is the default, must not come before
     * ours; without any limit, ours is the one that bounds a chunked body.
     */

    if (clcf->client_max_body_size == 1024 * 1024
        || clcf->client_max_body_size == 0
        || clcf->client_max_body_size > (off_t) conf->max_body)
    {
        clcf->client_max_body_size = conf->max_body;
    }

    if (ngx_mcp_conf_error_pages(cf, clcf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    mmcf->used = 1;
    conf->server->located = 1;

    ctx = cf->ctx;

    loc = ngx_array_push(&mmcf->locations);
    if (loc == NULL) {
        return NGX_CONF_ERROR;
    }

    *loc = ctx->loc_conf;

    mscf = ctx->srv_conf[ngx_http_mcp_auth_module.ctx_index];
    svp = mscf->servers.elts;

    for (i = 0; i < mscf->servers.nelts; i++) {
        if (svp[i] == conf->server) {
            return NGX_CONF_OK;
        }
    }

    svp = ngx_array_push(&mscf->servers);
    if (svp == NULL) {
        return NGX_CONF_ERROR;
    }

    *svp = conf->server;

    return NGX_CONF_OK;
}
