/*
 * Sends what core/mcp_reply wrote.  Each function finalizes the request and
 * returns NGX_DONE, or returns an error for the phase engine to finalize.
 * Records decision, reason and JSON-RPC code in the context for the audit.
 */

#ifndef NGX_MCP_REPLY_H
#define NGX_MCP_REPLY_H


#include "ngx_mcp_module.h"
#include "mcp_reply.h"


/* Bytes that are enough for any body of ours but an echo of id and name. */
#define NGX_MCP_REPLY_SIZE  1024


/* status with a JSON-RPC error that says why; reason for the audit. */
ngx_int_t ngx_mcp_reply_error(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    ngx_uint_t status, ngx_int_t code, const char *message,
    const char *reason);

/* 401: invalid is 0 without a token, 1 with one that is refused. */
ngx_int_t ngx_mcp_reply_unauthorized(ngx_http_request_t *r,
    ngx_mcp_ctx_t *ctx, ngx_uint_t invalid, const char *reason);

/* 403 insufficient_scope with all scopes of the operation. */
ngx_int_t ngx_mcp_reply_scope(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    mcp_str_t *scope);

/* 503 with Retry-After. */
ngx_int_t ngx_mcp_reply_unavailable(ngx_http_request_t *r,
    ngx_mcp_ctx_t *ctx, time_t retry_after, const char *reason);

/* 429 with Retry-After: too many tokens that nobody has. */
ngx_int_t ngx_mcp_reply_limited(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    time_t retry_after, const char *reason);

/* 405 with Allow. */
ngx_int_t ngx_mcp_reply_method(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx);

/* Denied.  by_rule: by the role's rules, answered as `deny_reply` says; else
 * "as if it did not exist". */
ngx_int_t ngx_mcp_reply_denied(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    ngx_uint_t by_rule);

/* The person has to connect an account first, at url (empty: nobody knows
 * where), in the form that this client understands. */
ngx_int_t ngx_mcp_reply_connect(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    ngx_mcp_credential_t *cr, ngx_str_t *url, const char *reason);

/* server/discover of somebody without a grant: never denied, and it does not
 * reach the server. */
ngx_int_t ngx_mcp_reply_discover(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    const char *reason);

/* The message could not be accepted. */
ngx_int_t ngx_mcp_reply_fault(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    mcp_fault_t *fault);

/* 200 with this document, 204 when it is empty; metadata. */
ngx_int_t ngx_mcp_reply_document(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    ngx_str_t *body);

/* 204; the filter adds what a browser asks for. */
ngx_int_t ngx_mcp_reply_preflight(ngx_http_request_t *r,
    ngx_mcp_ctx_t *ctx);

/* A JSON-RPC error body for status, in the request's pool; the id when it is
 * known.  For the filter, which replaces bodies. */
ngx_int_t ngx_mcp_reply_body(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    ngx_int_t code, const char *message, ngx_str_t *body);

/* A response header; value is not copied. */
ngx_table_elt_t *ngx_mcp_add_header(ngx_http_request_t *r, const char *name,
    ngx_str_t *value);


#endif /* NGX_MCP_REPLY_H */
