/*
 * The credential of a request: which one, by its server and the caller's roles,
 * and what its headers say.
 */

#ifndef NGX_MCP_CREDENTIAL_H
#define NGX_MCP_CREDENTIAL_H


#include "ngx_mcp_module.h"


/*
 * Precontent phase, the request is authorised.  NGX_OK: ctx->credential is the
 * one to show (NULL: none), and ctx->fetched its token; NGX_AGAIN: waits, the
 * phase runs again; NGX_DONE: answered; else an error for the phase engine.
 */
ngx_int_t ngx_mcp_credential_get(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx);

/* For a subrequest that is there before its main request has the credential:
 * NGX_DECLINED, it is one that has to be fetched. */
ngx_int_t ngx_mcp_credential_early(ngx_mcp_ctx_t *ctx);

/* What a header of ctx->credential says, in the request's pool; after
 * ngx_mcp_credential_get(), before the event loop turns. */
ngx_int_t ngx_mcp_credential_value(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    ngx_mcp_credential_header_t *h, ngx_str_t *value);

/* 1 when some credential of the server is carried by a header of this name (in
 * lower case, "-" for "_"): what a client sends there is not forwarded. */
ngx_uint_t ngx_mcp_credential_carries(ngx_mcp_server_t *sv,
    const mcp_str_t *name);


#endif /* NGX_MCP_CREDENTIAL_H */
