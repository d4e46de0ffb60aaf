/*
 * mcp_server NAME { ... }: everything about one MCP server, with its roles.
 * Rules are compiled by core/mcp_policy as they are read, so that an error has
 * its file and line; what only the whole block can show is found at its end.
 */

#include "ngx_mcp_conf.h"
#include "mcp_audit.h"


#define NGX_MCP_STREAM_GRACE  60                /* s, default */
#define NGX_MCP_MAX_GRACE     86400


static ngx_uint_t ngx_mcp_server_roles(ngx_mcp_server_t *sv);
static char *ngx_mcp_server_origins(ngx_conf_t *cf, ngx_str_t *value,
    ngx_uint_t n);
static ngx_int_t ngx_mcp_server_origin(ngx_str_t *origin);
static size_t ngx_mcp_server_default_port(ngx_str_t *origin);
static char *ngx_mcp_server_resource(ngx_conf_t *cf, ngx_mcp_server_t *sv);
static char *ngx_mcp_server_credential(ngx_conf_t *cf, ngx_mcp_server_t *sv,
    ngx_str_t *value, ngx_uint_t n);
static void ngx_mcp_server_hyphens(ngx_str_t *name);
static char *ngx_mcp_server_preview(ngx_conf_t *cf, ngx_mcp_server_t *sv,
    ngx_str_t *value);
static char *ngx_mcp_server_deny_reply(ngx_conf_t *cf, ngx_mcp_server_t *sv,
    ngx_str_t *value);


char *
ngx_mcp_conf_server(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_mcp_main_conf_t *mmcf = conf;

    char               *rv;
    char                error[512];
    mcp_mem_t           mem, *kept;
    ngx_str_t          *value;
    ngx_mcp_server_t   *sv, **svp;

    value = cf->args->elts;

    if (ngx_mcp_conf_name(cf, &value[1]) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    if (ngx_mcp_conf_find_server(mmcf, &value[1])) {
        return ngx_mcp_conf_error(cf, "duplicate mcp_server \"%V\"",
                                  &value[1]);
    }

    if (ngx_strcmp(value[1].data, "off") == 0) {
        return ngx_mcp_conf_error(cf, "an mcp_server cannot be named \"off\"");
    }

    sv = ngx_pcalloc(cf->pool, sizeof(ngx_mcp_server_t));
    svp = ngx_array_push(&mmcf->servers);
    kept = ngx_palloc(cf->pool, sizeof(mcp_mem_t));

    if (sv == NULL || svp == NULL || kept == NULL
        || ngx_array_init(&sv->issuer_names, cf->pool, 2, sizeof(ngx_str_t))
           != NGX_OK
        || ngx_array_init(&sv->origins, cf->pool, 2, sizeof(ngx_str_t))
           != NGX_OK
        || ngx_array_init(&sv->strip, cf->pool, 2, sizeof(ngx_str_t))
           != NGX_OK
        || ngx_array_init(&sv->credentials, cf->pool, 1,
                          sizeof(ngx_mcp_server_credential_t))
           != NGX_OK
        || ngx_array_init(&sv->clear, cf->pool, 2, sizeof(unsigned))
           != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    *svp = sv;

    mem = ngx_mcp_mem(cf->pool);
    *kept = mem;

    sv->policy = mcp_policy_create(kept);
    if (sv->policy == NULL) {
        return NGX_CONF_ERROR;
    }

    sv->name = value[1];
    sv->stream_grace = NGX_CONF_UNSET;
    sv->conf_file = cf->conf_file->file.name;
    sv->conf_line = cf->conf_file->line;

    mmcf->server = sv;
    rv = ngx_mcp_conf_block(cf, NGX_MCP_SERVER_CONF);
    mmcf->server = NULL;

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    if (sv->resource.len == 0) {
        return ngx_mcp_conf_error(cf, "mcp_server \"%V\" has no \"resource\"",
                                  &sv->name);
    }

    if (sv->issuer_names.nelts == 0) {
        return ngx_mcp_conf_error(cf, "mcp_server \"%V\" has no \"issuer\"",
                                  &sv->name);
    }

    if (sv->stream_grace == NGX_CONF_UNSET) {
        sv->stream_grace = NGX_MCP_STREAM_GRACE;
    }

    if (ngx_mcp_server_roles(sv) == 0) {
        return ngx_mcp_conf_error(cf, "mcp_server \"%V\" has no \"role\", "
                                  "nobody could call anything", &sv->name);
    }

    if (mcp_policy_finish(sv->policy, error, sizeof(error)) != MCP_OK) {
        return ngx_mcp_conf_error(cf, "mcp_server \"%V\": %s", &sv->name,
                                  error);
    }

    return NGX_CONF_OK;
}


char *
ngx_mcp_server_line(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_mcp_main_conf_t *mmcf = conf;

    char               error[512];
    unsigned           index, *clear;
    ngx_str_t         *value;
    ngx_uint_t         i, n;
    ngx_mcp_server_t  *sv;

    sv = mmcf->server;
    value = cf->args->elts;
    n = cf->args->nelts - 1;

    switch (value[0].data[0]) {

    case 'r': /* resource */
        if (sv->resource.len) {
            return "is duplicate";
        }

        sv->resource = value[1];
        return ngx_mcp_server_resource(cf, sv);

    case 'i': /* issuer */
        return ngx_mcp_conf_append(cf, &sv->issuer_names, &value[1], n);

    case 'c': /* credential */
        return ngx_mcp_server_credential(cf, sv, &value[1], n);

    case 'd': /* deny_reply */
        return ngx_mcp_server_deny_reply(cf, sv, &value[1]);

    case 'o': /* origin */
        if (ngx_mcp_server_origins(cf, &value[1], n) != NGX_CONF_OK) {
            return NGX_CONF_ERROR;
        }

        return ngx_mcp_conf_append(cf, &sv->origins, &value[1], n);

    case 'p': /* params, preview */

        if (value[0].data[1] == 'r') {
            return ngx_mcp_server_preview(cf, sv, &value[1]);
        }

        for (i = 1; i <= n; i++) {
            if (mcp_policy_pointer(sv->policy, (mcp_str_t *) &value[i],
                                   &index, error, sizeof(error))
                != MCP_OK)
            {
                return ngx_mcp_conf_error(cf, "%s", error);
            }

            clear = ngx_array_push(&sv->clear);
            if (clear == NULL) {
                return NGX_CONF_ERROR;
            }

            *clear = index;
        }

        return NGX_CONF_OK;
    }

    if (ngx_strcmp(value[0].data, "scope") == 0) {
        for (i = 1; i <= n; i++) {
            if (mcp_policy_scope(sv->policy, (mcp_str_t *) &value[i])
                != MCP_OK)
            {
                return ngx_mcp_conf_error(cf, "invalid scope \"%V\"",
                                          &value[i]);
            }
        }

        return NGX_CONF_OK;
    }

    if (ngx_strcmp(value[0].data, "stream_grace") == 0) {
        if (sv->stream_grace != NGX_CONF_UNSET) {
            return "is duplicate";
        }

        sv->stream_grace = ngx_parse_time(&value[1], 1);

        if (sv->stream_grace == (time_t) NGX_ERROR
            || sv->stream_grace > NGX_MCP_MAX_GRACE)
        {
            return ngx_mcp_conf_error(cf, "invalid stream_grace \"%V\": a "
                                      "time of at most a day", &value[1]);
        }

        return NGX_CONF_OK;
    }

    if (ngx_strcmp(value[0].data, "strip") == 0) {
        for (i = 1; i <= n; i++) {
            ngx_strlow(value[i].data, value[i].data, value[i].len);
            ngx_mcp_server_hyphens(&value[i]);

            if (value[i].len == 0 || value[i].data[0] == '*') {
                return ngx_mcp_conf_error(cf, "\"%V\" would strip headers "
                                          "that nginx needs", &value[i]);
            }
        }

        return ngx_mcp_conf_append(cf, &sv->strip, &value[1], n);
    }

    /* step_up */

    if (mcp_policy_step_up(sv->policy, (mcp_str_t *) &value[1], n, error,
                           sizeof(error))
        != MCP_OK)
    {
        return ngx_mcp_conf_error(cf, "%s", error);
    }

    return NGX_CONF_OK;
}


char *
ngx_mcp_server_role(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_mcp_main_conf_t *mmcf = conf;

    int          rc;
    ngx_str_t   *value;

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "*") != 0
        && ngx_mcp_conf_name(cf, &value[1]) != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (ngx_mcp_conf_role_number(cf, &value[1], &mmcf->role) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    rc = mcp_policy_role(mmcf->server->policy, mmcf->role,
                         (mcp_str_t *) &value[1]);

    if (rc == MCP_DECLINED) {
        return ngx_mcp_conf_error(cf, "duplicate role \"%V\"", &value[1]);
    }

    if (rc != MCP_OK) {
        return NGX_CONF_ERROR;
    }

    mcp_role_set(&mmcf->server->roles, mmcf->role);

    mmcf->role_enforce = 0;

    return ngx_mcp_conf_block(cf, NGX_MCP_ROLE_CONF);
}


/* credential NAME [role=ROLE]: of several the first whose role is held */
static char *
ngx_mcp_server_credential(ngx_conf_t *cf, ngx_mcp_server_t *sv,
    ngx_str_t *value, ngx_uint_t n)
{
    ngx_str_t                     role;
    ngx_uint_t                    i, number;
    ngx_mcp_server_credential_t  *sc;

    number = 0;

    if (n == 2) {
        if (value[1].len <= 5 || ngx_strncmp(value[1].data, "role=", 5) != 0) {
            return ngx_mcp_conf_error(cf, "invalid parameter \"%V\"",
                                      &value[1]);
        }

        role.data = value[1].data + 5;
        role.len = value[1].len - 5;

        if (ngx_mcp_conf_role_number(cf, &role, &number) != NGX_OK) {
            return NGX_CONF_ERROR;
        }
    }

    sc = sv->credentials.elts;

    for (i = 0; i < sv->credentials.nelts; i++) {
        if (sc[i].role == number) {
            return "is duplicate";
        }
    }

    sc = ngx_array_push(&sv->credentials);
    if (sc == NULL) {
        return NGX_CONF_ERROR;
    }

    sc->name = value[0];
    sc->role = number;
    sc->credential = NULL;

    return NGX_CONF_OK;
}


static ngx_uint_t
ngx_mcp_server_roles(ngx_mcp_server_t *sv)
{
    ngx_uint_t  i;

    for (i = 0; i < MCP_MAX_ROLES / 64; i++) {
        if (sv->roles.bits[i]) {
            return 1;
        }
    }

    return 0;
}


char *
ngx_mcp_server_rule(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_mcp_main_conf_t *mmcf = conf;

    char  error[512];

    if (mcp_policy_rule(mmcf->server->policy, mmcf->role,
                        (mcp_str_t *) cf->args->elts, cf->args->nelts, error,
                        sizeof(error))
        != MCP_OK)
    {
        return ngx_mcp_conf_error(cf, "%s", error);
    }

    return NGX_CONF_OK;
}


static char *
ngx_mcp_server_preview(ngx_conf_t *cf, ngx_mcp_server_t *sv, ngx_str_t *value)
{
    ssize_t  size;

    if (sv->preview) {
        return "is duplicate";
    }

    size = ngx_parse_size(value);

    if (size < 16 || size > MCP_AUDIT_PREVIEW) {
        return ngx_mcp_conf_error(cf, "preview \"%V\" is not a size from 16 "
                                  "to %d", value, MCP_AUDIT_PREVIEW);
    }

    sv->preview = size;

    return NGX_CONF_OK;
}


static char *
ngx_mcp_server_deny_reply(ngx_conf_t *cf, ngx_mcp_server_t *sv,
    ngx_str_t *value)
{
    if (sv->deny_reply != NGX_MCP_DENY_UNSET) {
        return "is duplicate";
    }

    if (ngx_strcmp(value->data, "unknown") == 0) {
        sv->deny_reply = NGX_MCP_DENY_UNKNOWN;

    } else if (ngx_strcmp(value->data, "forbidden") == 0) {
        sv->deny_reply = NGX_MCP_DENY_FORBIDDEN;

    } else if (ngx_strcmp(value->data, "tool_error") == 0) {
        sv->deny_reply = NGX_MCP_DENY_TOOL_ERROR;

    } else {
        return ngx_mcp_conf_error(cf, "deny_reply \"%V\" is not unknown, "
                                  "forbidden or tool_error", value);
    }

    return NGX_CONF_OK;
}


/* tokens on | off: the gateway's own */
char *
ngx_mcp_server_tokens(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_mcp_main_conf_t *mmcf = conf;

    ngx_str_t         *value;
    ngx_mcp_server_t  *sv;

    value = cf->args->elts;
    sv = mmcf->server;

    if (sv->tokens_set) {
        return "is duplicate";
    }

    sv->tokens_set = 1;

    if (ngx_strcmp(value[1].data, "on") == 0) {
        sv->tokens = 1;

    } else if (ngx_strcmp(value[1].data, "off") != 0) {
        return ngx_mcp_conf_error(cf, "tokens \"%V\" is neither on nor off",
                                  &value[1]);
    }

    return NGX_CONF_OK;
}


/* enforce on | shadow; that of a role or a server must not be forgotten */
char *
ngx_mcp_server_enforce(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_mcp_main_conf_t *mmcf = conf;

    ngx_str_t   *value;
    ngx_uint_t   role, *said;

    value = cf->args->elts;
    role = (cf->cmd_type == NGX_MCP_ROLE_CONF);
    said = role ? &mmcf->role_enforce : &mmcf->server->enforce;

    if (*said) {
        return "is duplicate";
    }

    *said = 1;

    if (ngx_strcmp(value[1].data, "on") == 0) {
        return NGX_CONF_OK;
    }

    if (ngx_strcmp(value[1].data, "shadow") != 0) {
        return ngx_mcp_conf_error(cf, "enforce \"%V\" is neither on nor "
                                  "shadow", &value[1]);
    }

    mcp_policy_shadow(mmcf->server->policy, role ? mmcf->role : MCP_MAX_ROLES);

    ngx_conf_log_error(NGX_LOG_WARN, cf, 0, "%s of mcp_server \"%V\" in "
                       "shadow: denials are recorded, not enforced",
                       role ? "a role" : "the rules", &mmcf->server->name);

    return NGX_CONF_OK;
}


/* As ngx_mcp_swap.c compares: X_User is X-User. */
static void
ngx_mcp_server_hyphens(ngx_str_t *name)
{
    size_t  i;

    for (i = 0; i < name->len; i++) {
        if (name->data[i] == '_') {
            name->data[i] = '-';
        }
    }
}


/* As a browser writes them (RFC 6454, 6.1): scheme://host[:port], no more. */
static char *
ngx_mcp_server_origins(ngx_conf_t *cf, ngx_str_t *value, ngx_uint_t n)
{
    ngx_uint_t  i;

    for (i = 0; i < n; i++) {

        if (ngx_mcp_server_origin(&value[i]) != NGX_OK) {
            return ngx_mcp_conf_error(cf, "origin \"%V\" is not "
                                      "scheme://host[:port]", &value[i]);
        }

        if (ngx_mcp_server_default_port(&value[i])) {
            return ngx_mcp_conf_error(cf, "origin \"%V\" can never match: "
                                      "browsers leave out the scheme's own "
                                      "port", &value[i]);
        }
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_mcp_server_origin(ngx_str_t *origin)
{
    u_char     *p, *host, *last;
    ngx_int_t   port;

    p = origin->data;
    last = p + origin->len;

    while (p < last && *p != ':') {
        p++;
    }

    if (p == origin->data || last - p <= 3 || ngx_strncmp(p, "://", 3) != 0) {
        return NGX_DECLINED;
    }

    host = p + 3;
    p = host;

    if (*p == '[') {

        while (p < last && *p != ']') {
            p++;
        }

        if (p++ == last) {
            return NGX_DECLINED;
        }

    } else {

        while (p < last && *p > 0x20 && *p < 0x7f
               && ngx_strchr("/?#@*\"\\,:[]", *p) == NULL)
        {
            p++;
        }
    }

    if (p == last) {
        return NGX_OK;
    }

    if (p == host || *p++ != ':' || p == last || *p == '0') {
        return NGX_DECLINED;
    }

    port = ngx_atoi(p, last - p);

    return (port != NGX_ERROR && port < 65536) ? NGX_OK : NGX_DECLINED;
}


/* The length of ":443" or ":80" that no browser writes; 0: there is none. */
static size_t
ngx_mcp_server_default_port(ngx_str_t *origin)
{
    ngx_uint_t  i;

    static const struct {
        ngx_str_t  scheme;
        ngx_str_t  port;
    } own[] = {
        { ngx_string("https://"), ngx_string(":443") },
        { ngx_string("http://"), ngx_string(":80") }
    };

    for (i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
        if (origin->len > own[i].scheme.len + own[i].port.len
            && ngx_strncasecmp(origin->data, own[i].scheme.data,
                               own[i].scheme.len)
               == 0
            && ngx_strncmp(origin->data + origin->len - own[i].port.len,
                           own[i].port.data, own[i].port.len)
               == 0)
        {
            return own[i].port.len;
        }
    }

    return 0;
}


/* The resource: an absolute URL without fragment; from it the origin and where
 * its RFC 9728 document is (section 3.1). */
static char *
ngx_mcp_server_resource(ngx_conf_t *cf, ngx_mcp_server_t *sv)
{
    u_char         *p, *path, *last;
    size_t          len, scheme;
    ngx_str_t       tail;
    const char     *error;
    ngx_mcp_url_t   url;

    static const char  well_known[] = "/.well-known/oauth-protected-resource";

    if (ngx_mcp_url_parse(cf->pool, &sv->resource, &url, &error) != NGX_OK) {
        return ngx_mcp_conf_error(cf, "resource \"%V\": %s", &sv->resource,
                                  error);
    }

    if (ngx_strlchr(sv->resource.data, sv->resource.data + sv->resource.len,
                    '?')
        || ngx_strlchr(sv->resource.data, sv->resource.data
                       + sv->resource.len, '"')
        || ngx_strlchr(sv->resource.data, sv->resource.data
                       + sv->resource.len, '\\'))
    {
        return ngx_mcp_conf_error(cf, "resource \"%V\" must not have a query, "
                                  "quotes or backslashes", &sv->resource);
    }

    if (ngx_strlchr(sv->resource.data, sv->resource.data + sv->resource.len,
                    '%'))
    {
        /* nginx compares paths decoded, clients as they are written */

        return ngx_mcp_conf_error(cf, "resource \"%V\" must not have %%XX: "
                                  "its metadata would never be found",
                                  &sv->resource);
    }

    last = sv->resource.data + sv->resource.len;
    scheme = url.tls ? sizeof("https://") - 1 : sizeof("http://") - 1;

    path = ngx_strlchr(sv->resource.data + scheme, last, '/');
    if (path == NULL) {
        path = last;
    }

    sv->origin.data = sv->resource.data;
    sv->origin.len = path - sv->resource.data;

    tail.data = path;
    tail.len = last - path;

    if (tail.len == 1) {
        tail.len = 0;
    }

    len = sv->origin.len + sizeof(well_known) - 1 + tail.len;

    p = ngx_pnalloc(cf->pool, len);
    if (p == NULL) {
        return NGX_CONF_ERROR;
    }

    sv->metadata_url.data = p;
    sv->metadata_url.len = len;

    p = ngx_cpymem(p, sv->origin.data, sv->origin.len);
    sv->metadata_path.data = p;
    sv->metadata_path.len = len - sv->origin.len;

    p = ngx_cpymem(p, well_known, sizeof(well_known) - 1);
    ngx_memcpy(p, tail.data, tail.len);

    /* what pages of it say */

    sv->origin.len -= ngx_mcp_server_default_port(&sv->origin);

    return NGX_CONF_OK;
}
