/*
 * What mcp_jwk.c, mcp_jwt.c and mcp_jwt_claims.c share.  Private to them; the
 * trees are jansson's and are owned by the mcp_jwt_t.
 */

#ifndef MCP_JOSE_H
#define MCP_JOSE_H


#include "mcp_core.h"

#include <jansson.h>


typedef enum {
    MCP_TYP_NONE = 0,
    MCP_TYP_JWT,
    MCP_TYP_AT_JWT
} mcp_typ_e;


struct mcp_jwt_s {
    mcp_str_t            input;         /* the signed bytes, as received */
    mcp_str_t            signature;
    json_t              *header;
    json_t              *payload;
    mcp_str_t            kid;
    mcp_str_t            iss;
    unsigned             alg;
    int                  curve;         /* EVP_PKEY_NONE: any that fits */
    mcp_typ_e            typ;
};


/* Empties OpenSSL's error queue; 1: memory was the cause of one of them. */
int mcp_jose_no_memory(void);

/* The bytes of a JSON string, in the tree; data NULL when json is none. */
mcp_str_t mcp_jwt_text(const json_t *json);


#endif /* MCP_JOSE_H */
