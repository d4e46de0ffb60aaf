/*
 * What the access phase asks of a request's headers and body.
 */

#ifndef NGX_MCP_REQUEST_H
#define NGX_MCP_REQUEST_H


#include "ngx_mcp_module.h"


/* One pass over the headers into ctx.  NGX_DECLINED: one of ours is there
 * twice. */
ngx_int_t ngx_mcp_read_headers(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx);

/* NGX_OK: no Origin, the server's own, or one of its `origin`s. */
ngx_int_t ngx_mcp_check_origin(ngx_mcp_ctx_t *ctx);

/* NGX_OK: the server's own, or one of its `origin`s. */
ngx_int_t ngx_mcp_origin_allowed(ngx_mcp_server_t *sv, ngx_str_t *origin);

/* 1: a browser asks what it may send from the Origin, which was checked. */
ngx_uint_t ngx_mcp_is_preflight(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx);

/* 1 when the query names an access token. */
ngx_uint_t ngx_mcp_has_query_token(ngx_str_t *args);

/* NGX_OK: application/json in UTF-8. */
ngx_int_t ngx_mcp_check_media_type(ngx_str_t *type);

/* The end of a token (RFC 9110, 5.6.2). */
u_char *ngx_mcp_token_end(u_char *p, u_char *last);

/*
 * The body that was read -> ctx->message, checked against the mirror headers,
 * with the digest of its arguments.  NGX_OK and ctx->state is NGX_MCP_DECIDE;
 * NGX_DONE: answered; else an error for the phase engine.
 */
ngx_int_t ngx_mcp_read_message(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx);

/*
 * May the caller do what ctx->message (NULL: GET, DELETE) asks for.  NGX_OK and
 * ctx->state is NGX_MCP_DONE; NGX_DONE: answered; else an error for the phase
 * engine.
 */
ngx_int_t ngx_mcp_decide(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx);


#endif /* NGX_MCP_REQUEST_H */
