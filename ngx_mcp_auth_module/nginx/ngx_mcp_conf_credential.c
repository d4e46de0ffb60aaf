/*
 * mcp_credential NAME { ... }: what an MCP server is shown.  Its secrets are
 * read by ngx_mcp_conf_secret.c.
 */

#include "ngx_mcp_conf.h"


char *
ngx_mcp_conf_credential(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_mcp_main_conf_t *mmcf = conf;

    char                   *rv;
    ngx_str_t              *value;
    ngx_uint_t              i;
    ngx_mcp_credential_t   *cr, **crp;

    value = cf->args->elts;

    if (ngx_mcp_conf_name(cf, &value[1]) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    crp = mmcf->credentials.elts;

    for (i = 0; i < mmcf->credentials.nelts; i++) {
        if (crp[i]->name.len == value[1].len
            && ngx_memcmp(crp[i]->name.data, value[1].data, value[1].len)
               == 0)
        {
            return ngx_mcp_conf_error(cf, "duplicate mcp_credential \"%V\"",
                                      &value[1]);
        }
    }

    cr = ngx_pcalloc(cf->pool, sizeof(ngx_mcp_credential_t));
    crp = ngx_array_push(&mmcf->credentials);

    if (cr == NULL || crp == NULL) {
        return NGX_CONF_ERROR;
    }

    *crp = cr;

    cr->name = value[1];
    cr->conf_file = cf->conf_file->file.name;
    cr->conf_line = cf->conf_file->line;

    mmcf->credential = cr;
    rv = ngx_mcp_conf_block(cf, NGX_MCP_CREDENTIAL_CONF);
    mmcf->credential = NULL;

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    if (cr->value.len == 0) {
        return ngx_mcp_conf_error(cf, "mcp_credential \"%V\" has no \"value\"",
                                  &cr->name);
    }

    if (cr->header.len == 0) {
        ngx_str_set(&cr->header, "Authorization");
    }

    cr->lowcase.len = cr->header.len;
    cr->lowcase.data = ngx_pnalloc(cf->pool, cr->header.len);
    if (cr->lowcase.data == NULL) {
        return NGX_CONF_ERROR;
    }

    cr->hash = ngx_hash_strlow(cr->lowcase.data, cr->header.data,
                               cr->header.len);

    return NGX_CONF_OK;
}


char *
ngx_mcp_credential_line(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_mcp_main_conf_t *mmcf = conf;

    u_char                 c;
    ngx_str_t             *value;
    ngx_uint_t             i;
    ngx_mcp_credential_t  *cr;

    static const char  forbidden[] = " content-length transfer-encoding host "
                                     "connection content-type content-encoding "
                                     "expect upgrade te trailer mcp-method "
                                     "mcp-name mcp-protocol-version ";
    u_char             name[66];

    cr = mmcf->credential;
    value = cf->args->elts;

    if (value[0].data[0] == 't') {
        if (ngx_strcmp(value[1].data, "static") != 0) {
            return ngx_mcp_conf_error(cf, "unknown credential type \"%V\"",
                                      &value[1]);
        }

        return NGX_CONF_OK;
    }

    if (value[0].data[0] == 'v') {
        if (cr->value.len) {
            return "is duplicate";
        }

        return ngx_mcp_conf_secret(cf, &value[1], &cr->value);
    }

    if (cr->header.len) {
        return "is duplicate";
    }

    for (i = 0; i < value[1].len; i++) {
        c = value[1].data[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
              || (c >= '0' && c <= '9') || c == '-'))
        {
            break;
        }
    }

    if (i < value[1].len || i == 0 || i > 64) {
        return ngx_mcp_conf_error(cf, "invalid header name \"%V\"",
                                  &value[1]);
    }

    name[0] = ' ';
    ngx_strlow(&name[1], value[1].data, value[1].len);
    name[value[1].len + 1] = '\0';

    if (ngx_strstr(forbidden, name)
        && *(ngx_strstr(forbidden, name) + value[1].len + 1) == ' ')
    {
        return ngx_mcp_conf_error(cf, "header \"%V\" cannot carry a "
                                  "credential", &value[1]);
    }

    cr->header = value[1];

    return NGX_CONF_OK;
}
