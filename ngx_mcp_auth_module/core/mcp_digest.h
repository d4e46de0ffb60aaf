/*
 * Keyed digests: HMAC-SHA256 (RFC 2104); for the audit cut to 128 bits.
 *
 * The key's two blocks are hashed once, when the key is set; a digest then
 * costs the message and two copies of a small struct.  No allocation, so that
 * a request can hold one while its response streams by.
 */

#ifndef MCP_DIGEST_H
#define MCP_DIGEST_H


#ifndef OPENSSL_SUPPRESS_DEPRECATED
#define OPENSSL_SUPPRESS_DEPRECATED
#endif

#include "mcp_core.h"

#include <openssl/sha.h>


#define MCP_DIGEST_KEY  32
#define MCP_DIGEST_HEX  32              /* characters written by _final() */
#define MCP_DIGEST_RAW  32              /* bytes written by _raw() */


typedef struct {
    SHA256_CTX           inner;
    SHA256_CTX           outer;
} mcp_digest_key_t;

typedef struct {
    SHA256_CTX           hash;
} mcp_digest_t;


void mcp_digest_key(mcp_digest_key_t *k, const unsigned char *key);
void mcp_digest_init(mcp_digest_t *d, const mcp_digest_key_t *k);
void mcp_digest_update(mcp_digest_t *d, const void *data, size_t len);

/* Writes MCP_DIGEST_HEX lower-case hex digits to out, not terminated. */
void mcp_digest_final(mcp_digest_t *d, const mcp_digest_key_t *k,
    unsigned char *out);

/* Writes all MCP_DIGEST_RAW bytes of it. */
void mcp_digest_raw(mcp_digest_t *d, const mcp_digest_key_t *k,
    unsigned char *out);


#endif /* MCP_DIGEST_H */
