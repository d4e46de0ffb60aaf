/*
 * RFC 9728 documents.
 *
 * Served for every mcp_auth location of a server {} before any location is
 * chosen, without authentication: by the path of the server's resource, and at
 * the root when the server {} protects one resource only.  The document was
 * made when the configuration was read: nothing in it comes from the request.
 */

#include "ngx_mcp_module.h"
#include "ngx_mcp_reply.h"


static ngx_mcp_server_t *ngx_mcp_metadata_find(ngx_mcp_srv_conf_t *mscf,
    ngx_str_t *uri);
static ngx_int_t ngx_mcp_metadata_headers(ngx_http_request_t *r);


static ngx_str_t  ngx_mcp_well_known =
    ngx_string("/.well-known/oauth-protected-resource");


ngx_int_t
ngx_mcp_metadata_handler(ngx_http_request_t *r)
{
    ngx_int_t            rc;
    ngx_str_t            body, allow;
    ngx_mcp_ctx_t       *ctx;
    ngx_mcp_server_t    *sv;
    ngx_mcp_srv_conf_t  *mscf;

    if (r->internal
        || r->uri.len < ngx_mcp_well_known.len
        || ngx_memcmp(r->uri.data, ngx_mcp_well_known.data,
                      ngx_mcp_well_known.len) != 0)
    {
        return NGX_DECLINED;
    }

    mscf = ngx_http_get_module_srv_conf(r, ngx_http_mcp_auth_module);

    sv = ngx_mcp_metadata_find(mscf, &r->uri);
    if (sv == NULL) {
        return NGX_DECLINED;
    }

    ctx = ngx_mcp_create_ctx(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->server = sv;
    ctx->ev = "metadata";

    rc = ngx_mcp_metadata_headers(r);
    if (rc != NGX_OK) {
        return rc;
    }

    if (r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD)) {
        return ngx_mcp_reply_document(r, ctx, &sv->metadata);
    }

    if (r->method == NGX_HTTP_OPTIONS) {
        ngx_str_null(&body);
        return ngx_mcp_reply_document(r, ctx, &body);
    }

    ngx_str_set(&allow, "GET, HEAD, OPTIONS");

    if (ngx_mcp_add_header(r, "Allow", &allow) == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_mcp_reply_error(r, ctx, NGX_HTTP_NOT_ALLOWED, -32600,
                               "Method not allowed", "http_method");
}


static ngx_mcp_server_t *
ngx_mcp_metadata_find(ngx_mcp_srv_conf_t *mscf, ngx_str_t *uri)
{
    ngx_uint_t          i;
    ngx_mcp_server_t  **svp;

    svp = mscf->servers.elts;

    for (i = 0; i < mscf->servers.nelts; i++) {
        if (svp[i]->metadata_path.len == uri->len
            && ngx_memcmp(svp[i]->metadata_path.data, uri->data, uri->len)
               == 0)
        {
            return svp[i];
        }
    }

    /* clients that know no path ask the root */

    if (mscf->servers.nelts == 1 && uri->len == ngx_mcp_well_known.len) {
        return svp[0];
    }

    return NULL;
}


/* Browsers read it from any page (facts/mcp.md 3.1). */
static ngx_int_t
ngx_mcp_metadata_headers(ngx_http_request_t *r)
{
    ngx_uint_t  i, n;
    ngx_str_t   value;

    static const struct {
        const char  *name;
        const char  *value;
    } headers[] = {
        { "Access-Control-Allow-Origin", "*" },
        { "Access-Control-Allow-Methods", "GET, HEAD, OPTIONS" },
        { "Access-Control-Allow-Headers", "MCP-Protocol-Version" },
        { "Cache-Control", "public, max-age=3600" }
    };

    n = sizeof(headers) / sizeof(headers[0]);

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {

        /* not the document */
        n--;
    }

    for (i = 0; i < n; i++) {
        value.data = (u_char *) headers[i].value;
        value.len = ngx_strlen(headers[i].value);

        if (ngx_mcp_add_header(r, headers[i].name, &value) == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    return NGX_OK;
}
