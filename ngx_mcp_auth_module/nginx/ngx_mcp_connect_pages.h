/*
 * What mcp_connect says in a sentence; each ends the request.
 */

#ifndef NGX_MCP_CONNECT_PAGES_H
#define NGX_MCP_CONNECT_PAGES_H


#include "ngx_mcp_connect.h"
#include "mcp_page.h"


typedef enum {
    NGX_MCP_SAY_NOT_FOUND = 0,
    NGX_MCP_SAY_NOT_ALLOWED,
    NGX_MCP_SAY_BAD_REQUEST,
    NGX_MCP_SAY_NO_FORM,
    NGX_MCP_SAY_TOO_LARGE,
    NGX_MCP_SAY_TOO_MANY,
    NGX_MCP_SAY_UNAVAILABLE,
    NGX_MCP_SAY_STATE_OVER,
    NGX_MCP_SAY_OTHER_BROWSER,
    NGX_MCP_SAY_OTHER_PERSON,
    NGX_MCP_SAY_LOGIN_FAILED,
    NGX_MCP_SAY_SIGNED_OUT,
    NGX_MCP_SAY_FORM_OVER,
    NGX_MCP_SAY_TICKET_OVER,
    NGX_MCP_SAY_TICKET_OTHER,
    NGX_MCP_SAY_GRANT_REFUSED,
    NGX_MCP_SAY_GRANT_FAILED,
    NGX_MCP_SAY_GRANT_SCOPE,
    NGX_MCP_SAY_GRANT_LOST,
    NGX_MCP_SAY_DONE
} ngx_mcp_say_e;


void ngx_mcp_connect_say(ngx_mcp_connect_ctx_t *cc, ngx_mcp_say_e what);

/* A page that core/mcp_page wrote. */
void ngx_mcp_connect_page(ngx_mcp_connect_ctx_t *cc, mcp_buf_t *b);

/* actions */
void ngx_mcp_connect_style(ngx_mcp_connect_ctx_t *cc);
void ngx_mcp_connect_not_found(ngx_mcp_connect_ctx_t *cc);
void ngx_mcp_connect_not_allowed(ngx_mcp_connect_ctx_t *cc);
void ngx_mcp_connect_bad_request(ngx_mcp_connect_ctx_t *cc);
void ngx_mcp_connect_no_form(ngx_mcp_connect_ctx_t *cc);
void ngx_mcp_connect_too_large(ngx_mcp_connect_ctx_t *cc);
void ngx_mcp_connect_too_many(ngx_mcp_connect_ctx_t *cc);


#endif /* NGX_MCP_CONNECT_PAGES_H */
