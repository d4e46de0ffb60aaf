/*
 * mcp_issuer NAME { ... }: who may issue tokens, and how they are read.
 * Defaults are filled in when http {} is complete: ngx_mcp_conf_finish.c.
 */

#include "ngx_mcp_conf.h"
#include "mcp_connect.h"


static char *ngx_mcp_issuer_number(ngx_conf_t *cf, ngx_mcp_issuer_t *is,
    ngx_str_t *value);
static char *ngx_mcp_issuer_auth(ngx_conf_t *cf, ngx_mcp_issuer_t *is,
    ngx_str_t *value);
static char *ngx_mcp_issuer_openid(ngx_conf_t *cf, ngx_str_t *scope);
static char *ngx_mcp_issuer_role(ngx_conf_t *cf, ngx_mcp_issuer_t *is,
    ngx_str_t *value, ngx_uint_t n);


char *
ngx_mcp_conf_issuer(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_mcp_main_conf_t *mmcf = conf;

    char               *rv;
    ngx_str_t          *value;
    ngx_uint_t          i;
    ngx_mcp_issuer_t   *is, **isp;

    value = cf->args->elts;

    if (ngx_mcp_conf_name(cf, &value[1]) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    isp = mmcf->issuers.elts;

    for (i = 0; i < mmcf->issuers.nelts; i++) {
        if (isp[i]->name.len == value[1].len
            && ngx_memcmp(isp[i]->name.data, value[1].data, value[1].len) == 0)
        {
            return ngx_mcp_conf_error(cf, "duplicate mcp_issuer \"%V\"",
                                      &value[1]);
        }
    }

    is = ngx_pcalloc(cf->pool, sizeof(ngx_mcp_issuer_t));
    isp = ngx_array_push(&mmcf->issuers);

    if (is == NULL || isp == NULL) {
        return NGX_CONF_ERROR;
    }

    *isp = is;

    is->name = value[1];
    is->conf_file = cf->conf_file->file.name;
    is->conf_line = cf->conf_file->line;
    is->jwt.index = mmcf->issuers.nelts - 1;
    is->jwt.leeway = NGX_CONF_UNSET;
    is->jwks_stale = NGX_CONF_UNSET;
    is->jwks_refresh = NGX_CONF_UNSET;
    is->jwks_timeout = NGX_CONF_UNSET_MSEC;
    is->max_key_set = NGX_CONF_UNSET_SIZE;

    mmcf->issuer = is;
    rv = ngx_mcp_conf_block(cf, NGX_MCP_ISSUER_CONF);
    mmcf->issuer = NULL;

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    if (is->jwt.issuer.len == 0) {
        return ngx_mcp_conf_error(cf, "mcp_issuer \"%V\" has no \"issuer\"",
                                  &is->name);
    }

    if (is->jwks_uri.len && is->jwks_file.len) {
        return ngx_mcp_conf_error(cf, "mcp_issuer \"%V\" has both "
                                  "\"jwks_uri\" and \"jwks_file\"", &is->name);
    }

    return NGX_CONF_OK;
}



char *
ngx_mcp_issuer_line(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_mcp_main_conf_t *mmcf = conf;

    unsigned           *count, alg;
    mcp_str_t         **list;
    ngx_str_t          *value, *text;
    ngx_uint_t          i, n;
    ngx_mcp_issuer_t   *is;

    is = mmcf->issuer;
    value = cf->args->elts;
    n = cf->args->nelts - 1;

    text = NULL;
    list = NULL;
    count = NULL;

    switch (value[0].data[0]) {

    case 'i':
        text = (ngx_str_t *) &is->jwt.issuer;
        break;

    case 'j':
        if (ngx_strcmp(value[0].data, "jwks_uri") == 0) {
            text = &is->jwks_uri;

        } else if (ngx_strcmp(value[0].data, "jwks_file") == 0) {
            text = &is->jwks_file;

        } else {
            return ngx_mcp_issuer_number(cf, is, value);
        }

        break;

    case 'm':
    case 'l':
        return ngx_mcp_issuer_number(cf, is, value);

    case 's':
        if (ngx_strcmp(value[0].data, "ssl_trusted_certificate") == 0) {
            text = &is->trusted_certificate;

        } else {
            list = &is->jwt.scope_claims;
            count = &is->jwt.nscope_claims;
        }

        break;

    case 'r':
        if (ngx_strcmp(value[0].data, "role") == 0) {
            return ngx_mcp_issuer_role(cf, is, value, n);
        }

        text = (ngx_str_t *) &is->jwt.roles_claim;
        break;

    case 'u':
        list = &is->jwt.user_claims;
        count = &is->jwt.nuser_claims;
        break;

    case 'c':
        list = &is->jwt.client_claims;
        count = &is->jwt.nclient_claims;
        break;

    case 't':
        if (ngx_strcmp(value[1].data, "at+jwt") == 0) {
            is->jwt.at_jwt = 1;

        } else if (ngx_strcmp(value[1].data, "any") != 0) {
            return ngx_mcp_conf_error(cf, "\"token_type\" is \"any\" or "
                                      "\"at+jwt\", not \"%V\"", &value[1]);
        }

        return NGX_CONF_OK;

    default: /* algorithms, audience */

        if (ngx_strcmp(value[0].data, "audience") == 0) {
            if (is->naudiences) {
                return "is duplicate";
            }

            is->audiences = ngx_palloc(cf->pool, n * sizeof(ngx_str_t));
            if (is->audiences == NULL) {
                return NGX_CONF_ERROR;
            }

            ngx_memcpy(is->audiences, &value[1], n * sizeof(ngx_str_t));
            is->naudiences = n;

            return NGX_CONF_OK;
        }

        for (i = 1; i <= n; i++) {
            alg = mcp_alg((mcp_str_t *) &value[i]);

            if (alg == MCP_ALG_NONE) {
                return ngx_mcp_conf_error(cf, "unsupported algorithm \"%V\": "
                           "RS, PS or ES with 256, 384 or 512, or EdDSA",
                           &value[i]);
            }

            is->jwt.algs |= alg;
        }

        return NGX_CONF_OK;
    }

    if (text) {
        if (text->len) {
            return "is duplicate";
        }

        if (value[1].len == 0) {
            return "has an empty value";
        }

        *text = value[1];

        return NGX_CONF_OK;
    }

    if (*count) {
        return "is duplicate";
    }

    *list = ngx_palloc(cf->pool, n * sizeof(mcp_str_t));
    if (*list == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memcpy(*list, &value[1], n * sizeof(mcp_str_t));
    *count = n;

    return NGX_CONF_OK;
}


/* The gateway as a client of this issuer: for mcp_connect alone. */
char *
ngx_mcp_issuer_login(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_mcp_main_conf_t *mmcf = conf;

    char              *rv;
    ngx_str_t         *value, *text;
    const char        *error;
    ngx_mcp_url_t     *url;
    ngx_mcp_issuer_t  *is;

    is = mmcf->issuer;
    value = cf->args->elts;

    if (ngx_strcmp(value[0].data, "login_scope") == 0) {

        if (is->login_scope.len) {
            return "is duplicate";
        }

        rv = ngx_mcp_conf_words(cf, &value[1], cf->args->nelts - 1,
                                &is->login_scope);

        return rv == NGX_CONF_OK ? ngx_mcp_issuer_openid(cf, &is->login_scope)
                                 : rv;
    }

    if (ngx_strcmp(value[0].data, "auth_method") == 0) {
        return ngx_mcp_issuer_auth(cf, is, &value[1]);
    }

    text = ngx_strcmp(value[0].data, "client_id") == 0 ? &is->client_id
           : ngx_strcmp(value[0].data, "client_secret") == 0
             ? &is->client_secret
           : ngx_strcmp(value[0].data, "token_endpoint") == 0
             ? &is->token_endpoint : &is->authorization_endpoint;

    if (text->len) {
        return "is duplicate";
    }

    if (value[1].len == 0) {
        return "has an empty value";
    }

    if (text == &is->client_id || text == &is->client_secret) {
        return ngx_mcp_conf_secret(cf, &value[1], text);
    }

    url = (text == &is->token_endpoint) ? &is->token_url
                                        : &is->authorization_url;

    if (ngx_mcp_url_parse(cf->pool, &value[1], url, &error) == NGX_OK) {
        error = (url == &is->authorization_url)
                ? mcp_connect_endpoint((mcp_str_t *) &value[1]) : NULL;
    }

    if (error) {
        return ngx_mcp_conf_error(cf, "invalid URL \"%V\": %s", &value[1],
                                  error);
    }

    *text = value[1];

    return NGX_CONF_OK;
}


/* How the client shows the issuer who it is: it has a secret. */
static char *
ngx_mcp_issuer_auth(ngx_conf_t *cf, ngx_mcp_issuer_t *is, ngx_str_t *value)
{
    if (is->login_auth) {
        return "is duplicate";
    }

    if (ngx_strcmp(value->data, "client_secret_basic") == 0) {
        is->login_auth = MCP_OAUTH_BASIC;

    } else if (ngx_strcmp(value->data, "client_secret_post") == 0) {
        is->login_auth = MCP_OAUTH_POST;

    } else {
        return ngx_mcp_conf_error(cf, "unknown auth_method \"%V\"", value);
    }

    return NGX_CONF_OK;
}


/* Without it there is no ID token, which says who signed in. */
static char *
ngx_mcp_issuer_openid(ngx_conf_t *cf, ngx_str_t *scope)
{
    u_char  *p, *last;

    static const char  openid[] = "openid";

    last = scope->data + scope->len;

    for (p = scope->data; p < last; p++) {

        if ((size_t) (last - p) >= sizeof(openid) - 1
            && ngx_memcmp(p, openid, sizeof(openid) - 1) == 0
            && (p + sizeof(openid) - 1 == last
                || p[sizeof(openid) - 1] == ' '))
        {
            return NGX_CONF_OK;
        }

        while (p < last && *p != ' ') {
            p++;
        }
    }

    return ngx_mcp_conf_error(cf, "\"login_scope\" has no \"openid\"");
}


/* jwks_stale, jwks_refresh, jwks_timeout, leeway, max_key_set, max_keys,
 * max_groups */
static char *
ngx_mcp_issuer_number(ngx_conf_t *cf, ngx_mcp_issuer_t *is, ngx_str_t *value)
{
    ssize_t    size;
    ngx_int_t  n, max;

    if (ngx_strcmp(value[0].data, "max_key_set") == 0) {
        size = ngx_parse_size(&value[1]);

        if (size == NGX_ERROR || size < 128) {
            return "has an invalid size";
        }

        is->max_key_set = size;
        return NGX_CONF_OK;
    }

    if (value[0].data[0] == 'm') {
        n = ngx_atoi(value[1].data, value[1].len);
        max = 65536;

        if (ngx_strcmp(value[0].data, "max_keys") == 0) {
            is->max_keys = n;

        } else {
            is->jwt.max_groups = n;
        }

    } else if (ngx_strcmp(value[0].data, "jwks_timeout") == 0) {
        n = ngx_parse_time(&value[1], 0);
        max = 60000;
        is->jwks_timeout = n;

    } else {
        n = ngx_parse_time(&value[1], 1);

        if (value[0].data[0] == 'l') {
            if (n == 0) {
                is->jwt.leeway = 0;
                return NGX_CONF_OK;
            }

            max = 300;
            is->jwt.leeway = n;

        } else if (ngx_strcmp(value[0].data, "jwks_stale") == 0) {
            if (n == 0) {
                is->jwks_stale = 0;
                return NGX_CONF_OK;
            }

            max = 30 * 86400;
            is->jwks_stale = n;

        } else {
            max = 86400;
            is->jwks_refresh = n;
        }
    }

    if (n == NGX_ERROR || n < 1 || n > max) {
        return ngx_mcp_conf_error(cf, "invalid value \"%V\" of \"%V\"",
                                  &value[1], &value[0]);
    }

    return NGX_CONF_OK;
}


/* role NAME VALUE...: bearers of any of these values hold it */
static char *
ngx_mcp_issuer_role(ngx_conf_t *cf, ngx_mcp_issuer_t *is, ngx_str_t *value,
    ngx_uint_t n)
{
    ngx_uint_t       i, number;
    mcp_role_map_t  *map;

    if (ngx_strcmp(value[1].data, "*") == 0) {
        return ngx_mcp_conf_error(cf, "role \"*\" is held by every caller");
    }

    if (ngx_mcp_conf_name(cf, &value[1]) != NGX_CONF_OK
        || ngx_mcp_conf_role_number(cf, &value[1], &number) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    map = ngx_palloc(cf->pool,
                     (is->jwt.nrole_map + n - 1) * sizeof(mcp_role_map_t));
    if (map == NULL) {
        return NGX_CONF_ERROR;
    }

    if (is->jwt.nrole_map) {
        ngx_memcpy(map, is->jwt.role_map,
                   is->jwt.nrole_map * sizeof(mcp_role_map_t));
    }

    is->jwt.role_map = map;

    for (i = 0; i < is->jwt.nrole_map; i++) {
        if (map[i].role == number) {
            return ngx_mcp_conf_error(cf, "duplicate role \"%V\"", &value[1]);
        }
    }

    for (i = 2; i <= n; i++) {
        map[is->jwt.nrole_map].role = number;
        map[is->jwt.nrole_map].value = *(mcp_str_t *) &value[i];
        is->jwt.nrole_map++;
    }

    return NGX_CONF_OK;
}
