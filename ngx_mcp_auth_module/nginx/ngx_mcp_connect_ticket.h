/*
 * Tickets: the address that a call without a usable grant is answered with.
 */

#ifndef NGX_MCP_CONNECT_TICKET_H
#define NGX_MCP_CONNECT_TICKET_H


#include "ngx_mcp_connect.h"


/*
 * For the caller of a request; the credential has a page of ours.
 *   NGX_OK        *url, with a ticket when one could be had
 *   NGX_AGAIN     ngx_mcp_access_wake() will be called once: ask again
 *   NGX_ERROR     out of memory
 */
ngx_int_t ngx_mcp_ticket_get(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    ngx_mcp_credential_t *cr, const char *reason, ngx_str_t *url);

/* Why one was asked for, the first time; NULL: none was. */
const char *ngx_mcp_ticket_reason(ngx_mcp_ctx_t *ctx);

/* The request goes.  Harmless when idle. */
void ngx_mcp_ticket_cancel(ngx_mcp_ctx_t *ctx);


#endif /* NGX_MCP_CONNECT_TICKET_H */
