/*
 * mcp_connect: what the directive says, and what it needs of the rest of the
 * configuration.  Runs in the master, once; read-only afterwards.
 *
 * The pages hand out sessions and take grants.  So they are reached by TLS or
 * not at all, under a URL that the configuration knows: nothing in it ever
 * comes from a request.  All that they need must be there: states and grants
 * rest in Redis under the vault's keys, sessions under mcp_session_key, and the
 * login issuer knows the gateway as its client.
 */

#include "ngx_mcp_connect.h"
#include "ngx_mcp_conf.h"
#include "ngx_mcp_keys.h"


#define NGX_MCP_CONNECT_PATH  256       /* bytes of a location's name */


static const char *ngx_mcp_connect_parameters(ngx_conf_t *cf,
    ngx_mcp_connect_t *cn);
static ngx_int_t ngx_mcp_connect_needs(ngx_conf_t *cf,
    ngx_mcp_main_conf_t *mmcf, ngx_mcp_connect_t *cn);
static ngx_int_t ngx_mcp_connect_issuer(ngx_conf_t *cf,
    ngx_mcp_main_conf_t *mmcf, ngx_mcp_connect_t *cn);
static ngx_int_t ngx_mcp_connect_endpoints(ngx_conf_t *cf,
    ngx_mcp_issuer_t *is);
static ngx_int_t ngx_mcp_connect_url(ngx_conf_t *cf, ngx_mcp_connect_t *cn);
static ngx_int_t ngx_mcp_connect_default_url(ngx_conf_t *cf,
    ngx_mcp_connect_t *cn);
static ngx_int_t ngx_mcp_connect_ssl_port(ngx_conf_t *cf,
    ngx_http_core_srv_conf_t *cscf, in_port_t *port);
#if (NGX_HTTP_SSL)
static ngx_uint_t ngx_mcp_connect_here(ngx_http_conf_addr_t *addr,
    ngx_http_core_srv_conf_t *cscf);
#endif
static ngx_uint_t ngx_mcp_connect_name(ngx_str_t *name);
static ngx_int_t ngx_mcp_connect_unique(ngx_conf_t *cf,
    ngx_mcp_main_conf_t *mmcf, ngx_mcp_connect_t *cn);
static ngx_int_t ngx_mcp_connect_credentials(ngx_conf_t *cf,
    ngx_mcp_main_conf_t *mmcf);
static ngx_int_t ngx_mcp_connect_credential(ngx_conf_t *cf,
    ngx_mcp_main_conf_t *mmcf, ngx_mcp_credential_t *cr);
static ngx_int_t ngx_mcp_connect_servers(ngx_conf_t *cf,
    ngx_mcp_main_conf_t *mmcf, ngx_mcp_credential_t *cr);
static ngx_int_t ngx_mcp_connect_refuse(ngx_conf_t *cf,
    ngx_mcp_connect_t *cn, const char *fmt, ...);


char *
ngx_mcp_connect_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_mcp_loc_conf_t *mlcf = conf;

    const char                *error;
    ngx_mcp_connect_t         *cn, **cnp;
    ngx_mcp_main_conf_t       *mmcf;
    ngx_http_core_loc_conf_t  *clcf;

    if (mlcf->connect) {
        return "is duplicate";
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->handler) {
        return "cannot share its location with another handler";
    }

    if (clcf->exact_match || clcf->named
#if (NGX_PCRE)
        || clcf->regex
#endif
        || clcf->name.len == 0
        || clcf->name.len > NGX_MCP_CONNECT_PATH
        || clcf->name.data[0] != '/'
        || clcf->name.data[clcf->name.len - 1] != '/'
        || ngx_strncmp(clcf->name.data, "//", 2) == 0)
    {
        return "stands in a prefix location that ends in \"/\"";
    }

    cn = ngx_pcalloc(cf->pool, sizeof(ngx_mcp_connect_t));
    if (cn == NULL) {
        return NGX_CONF_ERROR;
    }

    error = ngx_mcp_connect_parameters(cf, cn);

    if (error) {
        return (char *) error;
    }

    cn->path = clcf->name;
    cn->server = ngx_http_conf_get_module_srv_conf(cf, ngx_http_core_module);
    cn->conf_file = cf->conf_file->file.name;
    cn->conf_line = cf->conf_file->line;

    mmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_mcp_auth_module);

    cnp = ngx_array_push(&mmcf->connects);

    if (cnp == NULL
        || ngx_array_init(&cn->credentials, cf->pool, 4, sizeof(void *))
           != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    *cnp = cn;
    mlcf->connect = cn;
    clcf->handler = ngx_mcp_connect_handler;
    mmcf->used = 1;

    return NGX_CONF_OK;
}


static const char *
ngx_mcp_connect_parameters(ngx_conf_t *cf, ngx_mcp_connect_t *cn)
{
    size_t       len;
    ngx_str_t   *value, *text;
    ngx_uint_t   i;

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "login=", 6) == 0) {
            text = &cn->login;
            len = 6;

        } else if (ngx_strncmp(value[i].data, "url=", 4) == 0) {
            text = &cn->url;
            len = 4;

        } else {
            return ngx_mcp_conf_error(cf, "invalid parameter \"%V\"",
                                      &value[i]);
        }

        if (text->len || value[i].len == len) {
            return ngx_mcp_conf_error(cf, "invalid parameter \"%V\"",
                                      &value[i]);
        }

        text->data = value[i].data + len;
        text->len = value[i].len - len;
    }

    return cn->login.len ? NULL : "needs \"login=ISSUER\"";
}


char *
ngx_mcp_connect_location(ngx_conf_t *cf, ngx_mcp_loc_conf_t *prev,
    ngx_mcp_loc_conf_t *conf)
{
    ngx_mcp_main_conf_t       *mmcf;
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    /* `if` and `limit_except` are the same location in other circumstances */

    if (conf->connect == NULL && prev->connect && clcf->noname
        && clcf->handler == NULL)
    {
        conf->connect = prev->connect;
        clcf->handler = ngx_mcp_connect_handler;
    }

    if (conf->connect == NULL) {
        return NGX_CONF_OK;
    }

    /* steps on the pages are on record, with mcp_auth in the configuration or
     * without */

    if (conf->audit == NGX_CONF_UNSET_PTR) {
        mmcf = ngx_http_conf_get_module_main_conf(cf,
                                                  ngx_http_mcp_auth_module);

        conf->audit = ngx_mcp_log_default(cf, mmcf);
        if (conf->audit == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    if (conf->server == NULL) {
        return NGX_CONF_OK;
    }

    (void) ngx_mcp_connect_refuse(cf, conf->connect, "mcp_connect is for "
                                  "browsers, which have no token for "
                                  "mcp_auth \"%V\"; \"mcp_auth off\" is meant",
                                  &conf->auth->name);

    return NGX_CONF_ERROR;
}


ngx_int_t
ngx_mcp_connect_conf_finish(ngx_conf_t *cf, ngx_mcp_main_conf_t *mmcf)
{
    ngx_uint_t           i;
    ngx_mcp_connect_t  **cnp;

    cnp = mmcf->connects.elts;

    for (i = 0; i < mmcf->connects.nelts; i++) {

        if (ngx_mcp_connect_needs(cf, mmcf, cnp[i]) != NGX_OK
            || ngx_mcp_connect_issuer(cf, mmcf, cnp[i]) != NGX_OK
            || ngx_mcp_connect_url(cf, cnp[i]) != NGX_OK
            || ngx_mcp_connect_unique(cf, mmcf, cnp[i]) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return i ? ngx_mcp_connect_credentials(cf, mmcf) : NGX_OK;
}


static ngx_int_t
ngx_mcp_connect_needs(ngx_conf_t *cf, ngx_mcp_main_conf_t *mmcf,
    ngx_mcp_connect_t *cn)
{
    if (mmcf->redis == NULL) {
        return ngx_mcp_connect_refuse(cf, cn, "mcp_connect needs "
                                      "\"mcp_redis\", where grants rest");
    }

    if (mmcf->vault_keys.nkeys == 0) {
        return ngx_mcp_connect_refuse(cf, cn, "mcp_connect needs "
                                      "\"mcp_vault_keys\", under which grants "
                                      "rest");
    }

    if (mmcf->sessions.nkeys == 0) {
        return ngx_mcp_connect_refuse(cf, cn, "mcp_connect needs "
                                      "\"mcp_session_key\", which seals "
                                      "sessions of browsers");
    }

    return NGX_OK;
}


static ngx_int_t
ngx_mcp_connect_issuer(ngx_conf_t *cf, ngx_mcp_main_conf_t *mmcf,
    ngx_mcp_connect_t *cn)
{
    ngx_uint_t          i;
    ngx_mcp_issuer_t  **isp;

    isp = mmcf->issuers.elts;

    for (i = 0; i < mmcf->issuers.nelts; i++) {
        if (isp[i]->name.len == cn->login.len
            && ngx_memcmp(isp[i]->name.data, cn->login.data, cn->login.len)
               == 0)
        {
            break;
        }
    }

    if (i == mmcf->issuers.nelts) {
        return ngx_mcp_connect_refuse(cf, cn, "unknown mcp_issuer \"%V\"",
                                      &cn->login);
    }

    cn->issuer = isp[i];

    if (isp[i]->client_id.len == 0 || isp[i]->client_secret.len == 0) {
        return ngx_mcp_connect_refuse(cf, cn, "persons cannot sign in: "
                                      "mcp_issuer \"%V\" has no \"client_id\" "
                                      "and \"client_secret\"", &cn->login);
    }

    return ngx_mcp_connect_endpoints(cf, isp[i]);
}


/* Several mcp_connect may have one login. */
static ngx_int_t
ngx_mcp_connect_endpoints(ngx_conf_t *cf, ngx_mcp_issuer_t *is)
{
    if (is->login) {
        return NGX_OK;
    }

    is->login = 1;

    /* what is not written is found where the keys would be */

    if ((is->authorization_endpoint.len == 0 || is->token_endpoint.len == 0)
        && ngx_mcp_keys_conf_login(cf, is) != NGX_CONF_OK)
    {
        return NGX_ERROR;
    }

    is->login_fetch.timeout = is->jwks_timeout;

    return ngx_mcp_fetch_conf_init(cf, &is->login_fetch,
                                   is->token_endpoint.len ? &is->token_url
                                                          : &is->login_url,
                                   &is->trusted_certificate);
}


static ngx_int_t
ngx_mcp_connect_url(ngx_conf_t *cf, ngx_mcp_connect_t *cn)
{
    const char     *error;
    ngx_mcp_url_t   url;

    if (cn->url.len == 0 && ngx_mcp_connect_default_url(cf, cn) != NGX_OK) {
        return NGX_ERROR;
    }

    /* it goes into answers to MCP clients */

    if (ngx_mcp_url_parse(cf->pool, &cn->url, &url, &error) == NGX_OK) {
        error = mcp_connect_own((mcp_str_t *) &cn->url);
    }

    if (error) {
        return ngx_mcp_connect_refuse(cf, cn, "invalid URL \"%V\": %s",
                                      &cn->url, error);
    }

    /* the path as it is written: the location has it decoded */

    if (cn->url.data[cn->url.len - 1] != '/'
        || url.uri.len != cn->path.len
        || ngx_memcmp(url.uri.data, cn->path.data, url.uri.len) != 0)
    {
        return ngx_mcp_connect_refuse(cf, cn, "the path of \"%V\" is not that "
                                      "of the location, \"%V\"", &cn->url,
                                      &cn->path);
    }

    if (ngx_strlchr(url.uri.data, url.uri.data + url.uri.len, '%')) {
        return ngx_mcp_connect_refuse(cf, cn, "the path of \"%V\" has %%XX",
                                      &cn->url);
    }

    cn->origin.data = cn->url.data;
    cn->origin.len = cn->url.len - cn->path.len;

    return NGX_OK;
}


static ngx_int_t
ngx_mcp_connect_default_url(ngx_conf_t *cf, ngx_mcp_connect_t *cn)
{
    u_char                  *p;
    in_port_t                port;
    ngx_http_server_name_t  *name;

    if (ngx_mcp_connect_ssl_port(cf, cn->server, &port) != NGX_OK) {
        return ngx_mcp_connect_refuse(cf, cn, "mcp_connect needs TLS: a "
                                      "\"listen ... ssl\" in its server, or "
                                      "\"url=https://...\"");
    }

    name = cn->server->server_names.elts;

    if (cn->server->server_names.nelts == 0
        || !ngx_mcp_connect_name(&name->name))
    {
        return ngx_mcp_connect_refuse(cf, cn, "mcp_connect needs to know its "
                                      "name: as the first one in "
                                      "\"server_name\", or \"url=https://...\"");
    }

    cn->url.data = ngx_pnalloc(cf->pool, sizeof("https://:65535") - 1
                                         + name->name.len + cn->path.len);
    if (cn->url.data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_sprintf(cn->url.data, "https://%V", &name->name);

    if (port != 443) {
        p = ngx_sprintf(p, ":%ui", (ngx_uint_t) port);
    }

    p = ngx_sprintf(p, "%V", &cn->path);

    cn->url.len = p - cn->url.data;

    return NGX_OK;
}


/* 443 when the server has TLS there, else the lowest of its ports with TLS. */
static ngx_int_t
ngx_mcp_connect_ssl_port(ngx_conf_t *cf, ngx_http_core_srv_conf_t *cscf,
    in_port_t *port)
{
#if (NGX_HTTP_SSL)
    in_port_t                    n;
    ngx_uint_t                   i, j;
    ngx_http_conf_port_t        *ports;
    ngx_http_conf_addr_t        *addr;
    ngx_http_core_main_conf_t   *cmcf;

    *port = 0;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    if (cmcf->ports == NULL) {
        return NGX_DECLINED;
    }

    ports = cmcf->ports->elts;

    for (i = 0; i < cmcf->ports->nelts; i++) {
        addr = ports[i].addrs.elts;

        for (j = 0; j < ports[i].addrs.nelts; j++) {

            if (!addr[j].opt.ssl || !ngx_mcp_connect_here(&addr[j], cscf)) {
                continue;
            }

            n = ngx_inet_get_port(addr[j].opt.sockaddr);

            if (n && (*port == 0 || n == 443 || (*port != 443 && n < *port)))
            {
                *port = n;
            }
        }
    }

    return *port ? NGX_OK : NGX_DECLINED;
#else
    return NGX_DECLINED;
#endif
}


#if (NGX_HTTP_SSL)

static ngx_uint_t
ngx_mcp_connect_here(ngx_http_conf_addr_t *addr,
    ngx_http_core_srv_conf_t *cscf)
{
    ngx_uint_t                   i;
    ngx_http_core_srv_conf_t   **servers;

    servers = addr->servers.elts;

    for (i = 0; i < addr->servers.nelts; i++) {
        if (servers[i] == cscf) {
            return 1;
        }
    }

    return 0;
}

#endif


/* A literal one: neither empty, nor a wildcard, nor a regex. */
static ngx_uint_t
ngx_mcp_connect_name(ngx_str_t *name)
{
    u_char  c;
    size_t  i;

    for (i = 0; i < name->len; i++) {
        c = name->data[i];

        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')
              || c == '-' || (c == '.' && i)))
        {
            return 0;
        }
    }

    return i ? 1 : 0;
}


static ngx_int_t
ngx_mcp_connect_unique(ngx_conf_t *cf, ngx_mcp_main_conf_t *mmcf,
    ngx_mcp_connect_t *cn)
{
    ngx_uint_t           i;
    ngx_mcp_connect_t  **cnp;

    cnp = mmcf->connects.elts;

    for (i = 0; cnp[i] != cn; i++) {
        if (cnp[i]->url.len == cn->url.len
            && ngx_memcmp(cnp[i]->url.data, cn->url.data, cn->url.len) == 0)
        {
            return ngx_mcp_connect_refuse(cf, cn, "there is another "
                                          "mcp_connect with the URL \"%V\"",
                                          &cn->url);
        }
    }

    return NGX_OK;
}


/* Which page connects which credential. */
static ngx_int_t
ngx_mcp_connect_credentials(ngx_conf_t *cf, ngx_mcp_main_conf_t *mmcf)
{
    ngx_uint_t              i;
    ngx_mcp_credential_t  **crp;

    crp = mmcf->credentials.elts;

    for (i = 0; i < mmcf->credentials.nelts; i++) {

        if (crp[i]->type == NGX_MCP_CREDENTIAL_USER
            && ngx_mcp_connect_credential(cf, mmcf, crp[i]) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/*
 * The page that its connect_url names, or the only one there is.  Another
 * connect_url is the operator's own page.
 */
static ngx_int_t
ngx_mcp_connect_credential(ngx_conf_t *cf, ngx_mcp_main_conf_t *mmcf,
    ngx_mcp_credential_t *cr)
{
    const char             *error;
    ngx_uint_t              i;
    ngx_mcp_connect_t     **cnp;
    ngx_mcp_credential_t  **crp;

    cnp = mmcf->connects.elts;
    error = NULL;

    if (cr->connect_url.len == 0) {
        i = 0;

        if (mmcf->connects.nelts > 1) {
            error = "needs a \"connect_url\": there is more than one "
                    "mcp_connect";
        }

    } else {
        for (i = 0; i < mmcf->connects.nelts; i++) {
            if (cnp[i]->url.len == cr->connect_url.len
                && ngx_memcmp(cnp[i]->url.data, cr->connect_url.data,
                              cr->connect_url.len)
                   == 0)
            {
                break;
            }
        }

        if (i == mmcf->connects.nelts) {
            return NGX_OK;
        }
    }

    if (error == NULL && cr->provider.authorize_endpoint.len == 0) {
        error = "needs an \"authorize_endpoint\", where accounts are "
                "connected";
    }

    if (error) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "mcp_credential \"%V\" %s in %V:%ui", &cr->name, error,
                      &cr->conf_file, cr->conf_line);
        return NGX_ERROR;
    }

    cr->connect = cnp[i];
    cr->connect_url = cnp[i]->url;

    crp = ngx_array_push(&cnp[i]->credentials);
    if (crp == NULL) {
        return NGX_ERROR;
    }

    *crp = cr;

    return ngx_mcp_connect_servers(cf, mmcf, cr);
}


/* Who signs in there has to be who calls here: of the same issuer. */
static ngx_int_t
ngx_mcp_connect_servers(ngx_conf_t *cf, ngx_mcp_main_conf_t *mmcf,
    ngx_mcp_credential_t *cr)
{
    ngx_uint_t                    i, j, k;
    ngx_mcp_server_t            **svp;
    ngx_mcp_server_credential_t  *sc;

    svp = mmcf->servers.elts;

    for (i = 0; i < mmcf->servers.nelts; i++) {
        sc = svp[i]->credentials.elts;

        for (j = 0; j < svp[i]->credentials.nelts; j++) {

            if (sc[j].credential != cr) {
                continue;
            }

            for (k = 0; k < svp[i]->nissuers; k++) {
                if (svp[i]->issuers[k] == cr->connect->issuer) {
                    break;
                }
            }

            if (k == svp[i]->nissuers) {
                ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                              "mcp_server \"%V\": mcp_credential \"%V\" is "
                              "connected by persons of mcp_issuer \"%V\", "
                              "which is none of its issuers in %V:%ui",
                              &svp[i]->name, &cr->name, &cr->connect->login,
                              &svp[i]->conf_file, svp[i]->conf_line);
                return NGX_ERROR;
            }
        }
    }

    return NGX_OK;
}


/* NGX_ERROR, with the place of the directive. */
static ngx_int_t
ngx_mcp_connect_refuse(ngx_conf_t *cf, ngx_mcp_connect_t *cn,
    const char *fmt, ...)
{
    u_char   *p, buf[NGX_MAX_CONF_ERRSTR];
    va_list   args;

    va_start(args, fmt);
    p = ngx_vslprintf(buf, buf + NGX_MAX_CONF_ERRSTR, fmt, args);
    va_end(args);

    ngx_log_error(NGX_LOG_EMERG, cf->log, 0, "%*s in %V:%ui",
                  (size_t) (p - buf), buf, &cn->conf_file, cn->conf_line);

    return NGX_ERROR;
}
