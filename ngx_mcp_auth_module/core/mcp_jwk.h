/*
 * Key sets (RFC 7517): JSON -> EVP_PKEYs that only verify.
 *
 * Keys are made once, when a set is loaded.  Entries that are unknown, weak,
 * private, meant for encryption or malformed are left out, not fatal; a set
 * that is no JSON, too large, or has no usable key is an error.
 * Owner: the caller; mcp_jwk_set_free() frees the keys and the set (malloc).
 */

#ifndef MCP_JWK_H
#define MCP_JWK_H


#include "mcp_core.h"

#include <openssl/evp.h>


typedef enum {
    MCP_ALG_NONE = 0,
    MCP_ALG_RS256 = 1 << 0,
    MCP_ALG_RS384 = 1 << 1,
    MCP_ALG_RS512 = 1 << 2,
    MCP_ALG_PS256 = 1 << 3,
    MCP_ALG_PS384 = 1 << 4,
    MCP_ALG_PS512 = 1 << 5,
    MCP_ALG_ES256 = 1 << 6,
    MCP_ALG_ES384 = 1 << 7,
    MCP_ALG_ES512 = 1 << 8,
    MCP_ALG_EDDSA = 1 << 9              /* EdDSA and Ed25519, Ed448 */
} mcp_alg_e;


typedef struct {
    EVP_PKEY            *pkey;
    mcp_str_t            kid;           /* data NULL: none */
    unsigned             algs;          /* mcp_alg_e this key may verify */
} mcp_jwk_t;


typedef struct {
    mcp_jwk_t           *keys;
    unsigned             nkeys;
    unsigned             skipped;
} mcp_jwk_set_t;


/* The algorithm of a JOSE name, exact case; MCP_ALG_NONE when it is none of
 * ours ("none" and HS* never are). */
unsigned mcp_alg(const mcp_str_t *name);

/*
 * Reads a key set of len bytes; at most max_keys entries.  NULL with *error, a
 * static sentence.  Leaves OpenSSL's error queue empty.
 */
mcp_jwk_set_t *mcp_jwk_set_parse(const unsigned char *data, size_t len,
    unsigned max_keys, const char **error);

void mcp_jwk_set_free(mcp_jwk_set_t *set);


#endif /* MCP_JWK_H */
