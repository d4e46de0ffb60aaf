/*
 * mcp_vault_keys, and what credentials that are fetched need of the rest of the
 * configuration.  Runs in the master; read-only afterwards.
 */

#include "ngx_mcp_ending.h"
#include "ngx_mcp_vault.h"
#include "ngx_mcp_conf.h"
#include "ngx_mcp_credential.h"


static ngx_int_t ngx_mcp_vault_conf_one(ngx_conf_t *cf,
    ngx_mcp_main_conf_t *mmcf, ngx_mcp_credential_t *cr);
static ngx_int_t ngx_mcp_vault_conf_carriers(ngx_conf_t *cf,
    ngx_mcp_server_t *sv);
static ngx_int_t ngx_mcp_vault_conf_fallback(ngx_conf_t *cf,
    ngx_mcp_main_conf_t *mmcf, ngx_mcp_credential_t *cr);
static ngx_int_t ngx_mcp_vault_conf_refuse(ngx_conf_t *cf,
    ngx_mcp_credential_t *cr, const char *why);


/* mcp_vault_keys PATH */
char *
ngx_mcp_vault_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_mcp_main_conf_t *mmcf = conf;

    unsigned     line;
    mcp_mem_t    mem;
    ngx_str_t   *value, text;
    const char  *error;

    if (mmcf->vault_keys.nkeys) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_mcp_conf_key_file(cf, &value[1], &text) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    mem = ngx_mcp_mem(cf->pool);

    if (mcp_vault_keys((mcp_str_t *) &text, &mem, &mmcf->vault_keys, &error,
                       &line)
        != MCP_OK)
    {
        return ngx_mcp_conf_error(cf, "\"%V\", line %ud: %s", &value[1], line,
                                  error);
    }

    return NGX_CONF_OK;
}


ngx_int_t
ngx_mcp_vault_conf_finish(ngx_conf_t *cf, ngx_mcp_main_conf_t *mmcf)
{
    ngx_uint_t              i;
    ngx_mcp_server_t      **svp;
    ngx_mcp_credential_t  **crp;

    crp = mmcf->credentials.elts;

    for (i = 0; i < mmcf->credentials.nelts; i++) {

        if (crp[i]->type == NGX_MCP_CREDENTIAL_STATIC) {
            continue;
        }

        if (ngx_mcp_vault_conf_one(cf, mmcf, crp[i]) != NGX_OK) {
            return NGX_ERROR;
        }

        mmcf->fetched_credentials = 1;
    }

    svp = mmcf->servers.elts;

    for (i = 0; i < mmcf->servers.nelts; i++) {
        if (ngx_mcp_vault_conf_carriers(cf, svp[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* What no client may send to this server, whichever credential it gets. */
static ngx_int_t
ngx_mcp_vault_conf_carriers(ngx_conf_t *cf, ngx_mcp_server_t *sv)
{
    ngx_str_t                    *carrier;
    ngx_uint_t                    i, j;
    ngx_mcp_credential_t         *cr;
    ngx_mcp_credential_header_t  *h;
    ngx_mcp_server_credential_t  *sc;

    if (ngx_array_init(&sv->carriers, cf->pool, 1, sizeof(ngx_str_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    sc = sv->credentials.elts;

    for (i = 0; i < sv->credentials.nelts; i++) {

        for (cr = sc[i].credential; cr; cr = cr->fallback) {
            h = cr->headers.elts;

            for (j = 0; j < cr->headers.nelts; j++) {

                if (ngx_mcp_credential_carries(sv, (mcp_str_t *) &h[j].lowcase))
                {
                    continue;
                }

                carrier = ngx_array_push(&sv->carriers);
                if (carrier == NULL) {
                    return NGX_ERROR;
                }

                *carrier = h[j].lowcase;
            }
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_mcp_vault_conf_one(ngx_conf_t *cf, ngx_mcp_main_conf_t *mmcf,
    ngx_mcp_credential_t *cr)
{
    mcp_vault_owner_t  owner;

    if (mmcf->vault_keys.nkeys == 0) {
        return ngx_mcp_vault_conf_refuse(cf, cr, "needs \"mcp_vault_keys\", "
                                         "under which its tokens rest");
    }

    if (cr->type == NGX_MCP_CREDENTIAL_USER && mmcf->redis == NULL) {
        return ngx_mcp_vault_conf_refuse(cf, cr, "of \"type user\" needs "
                                         "\"mcp_redis\", where grants rest");
    }

    if (ngx_mcp_vault_conf_fallback(cf, mmcf, cr) != NGX_OK) {
        return NGX_ERROR;
    }

    if (cr->type == NGX_MCP_CREDENTIAL_CLIENT) {
        ngx_mcp_vault_owner(NULL, cr, &owner);
        mcp_vault_name(&owner, cr->record);
    }

    if (cr->type == NGX_MCP_CREDENTIAL_USER
        && ngx_mcp_ending_conf(cf, cr) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_mcp_fetch_conf_init(cf, &cr->fetch, &cr->url,
                                   &cr->trusted_certificate);
}


static ngx_int_t
ngx_mcp_vault_conf_fallback(ngx_conf_t *cf, ngx_mcp_main_conf_t *mmcf,
    ngx_mcp_credential_t *cr)
{
    ngx_mcp_credential_t  *other;

    if (cr->fallback_name.len == 0) {
        return NGX_OK;
    }

    other = ngx_mcp_conf_find_credential(mmcf, &cr->fallback_name);

    if (other == NULL) {
        return ngx_mcp_vault_conf_refuse(cf, cr, "has a \"fallback\" that is "
                                         "not there");
    }

    if (other->type != NGX_MCP_CREDENTIAL_STATIC
        && other->type != NGX_MCP_CREDENTIAL_CLIENT)
    {
        return ngx_mcp_vault_conf_refuse(cf, cr, "has a \"fallback\" that "
                                         "needs a person as well");
    }

    cr->fallback = other;

    return NGX_OK;
}


static ngx_int_t
ngx_mcp_vault_conf_refuse(ngx_conf_t *cf, ngx_mcp_credential_t *cr,
    const char *why)
{
    ngx_log_error(NGX_LOG_EMERG, cf->log, 0, "mcp_credential \"%V\" %s in "
                  "%V:%ui", &cr->name, why, &cr->conf_file, cr->conf_line);

    return NGX_ERROR;
}
