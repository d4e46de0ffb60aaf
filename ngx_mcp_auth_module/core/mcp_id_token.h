/*
 * The claims of an ID token (OpenID Connect Core 1.0, 3.1.3.7) whose signature
 * was verified by mcp_jwt_verify(): that it is of this issuer, for this client,
 * an answer to this request, and of now; and who it is about.
 */

#ifndef MCP_ID_TOKEN_H
#define MCP_ID_TOKEN_H


#include "mcp_jwt.h"


#define MCP_ID_TOKEN_NAME  200          /* bytes of a name that is shown */


typedef struct {
    mcp_str_t            user;          /* the first of the user claims */
    mcp_str_t            name;          /* as it wants to be called, bounded,
                                           untrusted; else the user */
} mcp_id_token_t;


/*
 * MCP_OK, strings in mem; MCP_ERROR: refused, *reason is static.  nonce: that
 * of the request.  now: s since the epoch.
 */
int mcp_id_token_claims(const mcp_jwt_t *jwt, const mcp_jwt_issuer_t *issuer,
    const mcp_str_t *client_id, const mcp_str_t *nonce, int64_t now,
    const mcp_mem_t *mem, mcp_id_token_t *id, const char **reason);


#endif /* MCP_ID_TOKEN_H */
