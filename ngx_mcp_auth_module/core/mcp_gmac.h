/*
 * Keyed digests of what may be long: HMAC-SHA256 (RFC 2104) over the first
 * MCP_LONG_HEAD bytes and, when there are more, the AES-256-GMAC (NIST SP
 * 800-38D) of the rest; cut to 128 bits.  What is no longer than the head has
 * the digest that mcp_digest.h makes.
 *
 * GMAC is ten times as fast as SHA-256.  Under a fixed nonce, as here, it is a
 * universal hash with a pad that is always the same, and would give its key
 * away if anybody saw it; nobody does, it only goes into the HMAC, and that
 * makes a pseudo-random function of the whole (Carter and Wegman's way).  Who
 * does not have the keys cannot tell digests from random bytes, nor find two
 * texts with the same one, except with a chance of the text's blocks in 2^128.
 * Who has the keys can: what has to be proven to them wants HMAC alone.
 *
 * One mcp_gmac_t for each process.  GMAC needs a context, which takes long to
 * make: those that were given back are used again.
 */

#ifndef MCP_GMAC_H
#define MCP_GMAC_H


#include "mcp_digest.h"

#include <openssl/evp.h>


#define MCP_LONG_HEAD  1024             /* bytes */
#define MCP_GMAC_IDLE  64               /* contexts that are kept, at most */


typedef struct {
    mcp_digest_key_t     digest;
    unsigned char        key[32];       /* of GMAC */
    EVP_CIPHER_CTX      *idle[MCP_GMAC_IDLE];
    unsigned             nidle;
} mcp_gmac_t;

/* One text. */
typedef struct {
    mcp_digest_t         head;
    uint64_t             len;           /* so far */
    EVP_CIPHER_CTX      *rest;          /* NULL: there is none yet */
    unsigned             failed;
} mcp_long_t;


/*
 * key: MCP_DIGEST_KEY bytes, that of the HMAC; GMAC's is derived from it
 * (HKDF-SHA256, RFC 5869).  MCP_OK; MCP_ERROR: OpenSSL failed.
 */
int mcp_gmac_init(mcp_gmac_t *g, unsigned char *key);
void mcp_gmac_free(mcp_gmac_t *g);

void mcp_long_init(mcp_long_t *d, const mcp_gmac_t *g);

/* An error of OpenSSL is kept for mcp_long_final(). */
void mcp_long_update(mcp_long_t *d, mcp_gmac_t *g, const void *data,
    size_t len);

/*
 * Writes MCP_DIGEST_HEX lower-case hex digits to out, not terminated, and gives
 * the context back.  MCP_OK; MCP_ERROR: OpenSSL failed, nothing is written.
 */
int mcp_long_final(mcp_long_t *d, mcp_gmac_t *g, unsigned char *out);

/* The same without a digest; harmless after it. */
void mcp_long_drop(mcp_long_t *d, mcp_gmac_t *g);


#endif /* MCP_GMAC_H */
