/*
 * Client assertions for private_key_jwt (RFC 7523 2.2), signed by libjwt.
 */

#ifndef MCP_ASSERTION_H
#define MCP_ASSERTION_H


#include "mcp_core.h"


typedef struct {
    mcp_str_t            client_id;     /* iss and sub */
    mcp_str_t            audience;
    mcp_str_t            key;           /* PEM, private */
    mcp_str_t            key_id;        /* kid, or empty */
    unsigned             es256:1;       /* else RS256; set by _check() */
} mcp_assertion_conf_t;


/* The algorithm is the key's: RSA of 2048 bits or more, RS256; P-256, ES256.
 * MCP_OK, or MCP_ERROR with *error static: it is no such key. */
int mcp_assertion_check(mcp_assertion_conf_t *conf, const char **error);

/* An assertion with exp = now + 60 and a random jti, in mem.  MCP_OK or
 * MCP_ERROR. */
int mcp_assertion_make(const mcp_assertion_conf_t *conf, int64_t now,
    const mcp_mem_t *mem, mcp_str_t *out);


#endif /* MCP_ASSERTION_H */
