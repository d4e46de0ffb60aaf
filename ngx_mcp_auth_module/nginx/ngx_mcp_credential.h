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

/* What a header of ctx->credential says, in the request's pool. */
ngx_int_t ngx_mcp_credential_value(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    ngx_mcp_credential_header_t *h, ngx_str_t *value);

/* 1 when some credential of the server is carried by a header of this name (in
 * lower case, "-" for "_"): what a client sends there is not forwarded. */
ngx_uint_t ngx_mcp_credential_carries(ngx_mcp_server_t *sv,
    const mcp_str_t *name);

/* The request goes or is done: what was fetched for it is cleansed. */
void ngx_mcp_credential_forget(ngx_mcp_ctx_t *ctx);


#endif /* NGX_MCP_CREDENTIAL_H */
