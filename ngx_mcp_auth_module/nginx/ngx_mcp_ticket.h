/*
 * Tickets: an MCP client whose person has to connect an account first is given
 * the URL of our own page with a secret in it, by which that page knows for
 * whom it was made.  Whoever else opens it is refused there.
 */

#ifndef NGX_MCP_TICKET_H
#define NGX_MCP_TICKET_H


#include "ngx_mcp_module.h"


/*
 * Where the caller of this request connects cr; *url is in the request's pool,
 * and is never logged.
 *   NGX_OK        *url
 *   NGX_AGAIN     w->wake is called exactly once, never before this returns,
 *                 and not when the request goes; then ask again
 *   NGX_ERROR     Redis does not answer: 503
 */
ngx_int_t ngx_mcp_ticket_get(ngx_http_request_t *r, ngx_mcp_ctx_t *ctx,
    ngx_mcp_credential_t *cr, ngx_mcp_keys_waiter_t *w, ngx_str_t *url);


#endif /* NGX_MCP_TICKET_H */
