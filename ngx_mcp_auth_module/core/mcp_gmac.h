/*
 * Keyed digests of long texts: ten times as fast as HMAC-SHA256.
 *
 * AES-256-GMAC (NIST SP 800-38D) under a fixed nonce is a universal hash with a
 * pad that is always the same.  As it is it would give its key away; it is only
 * shown encrypted with AES-256 under a second key, which makes it a
 * pseudo-random function (Carter and Wegman's way): who does not have the keys
 * cannot tell digests from random bytes, nor find two texts with the same one,
 * except with a chance of the text's blocks in 2^128.  Who has the keys can:
 * what has to be proven to them wants HMAC-SHA256 (mcp_digest.h).
 *
 * One mcp_gmac_t for each process.  A text is hashed in a context, which takes
 * long to make: those that were given back are used again.
 */

#ifndef MCP_GMAC_H
#define MCP_GMAC_H


#include "mcp_core.h"

#include <openssl/evp.h>


#define MCP_GMAC_HEX   32               /* characters written by _final() */
#define MCP_GMAC_IDLE  64               /* contexts that are kept, at most */


typedef struct {
    EVP_CIPHER_CTX      *encrypt;       /* AES-256, one block */
    EVP_CIPHER_CTX      *idle[MCP_GMAC_IDLE];
    unsigned             nidle;
    unsigned char        key[32];
} mcp_gmac_t;


/*
 * Keys are derived from secret (HKDF-SHA256, RFC 5869).  MCP_OK; MCP_ERROR:
 * OpenSSL failed, nothing is held.
 */
int mcp_gmac_init(mcp_gmac_t *g, const mcp_str_t *secret);
void mcp_gmac_free(mcp_gmac_t *g);

/* A context for one text; NULL: OpenSSL failed. */
EVP_CIPHER_CTX *mcp_gmac_begin(mcp_gmac_t *g);

/* MCP_OK or MCP_ERROR; after an error only _drop() is left. */
int mcp_gmac_update(EVP_CIPHER_CTX *ctx, const void *data, size_t len);

/*
 * Writes MCP_GMAC_HEX lower-case hex digits to out, not terminated, and takes
 * ctx back.  MCP_OK; MCP_ERROR: nothing is written.
 */
int mcp_gmac_final(mcp_gmac_t *g, EVP_CIPHER_CTX *ctx, unsigned char *out);

/* Takes ctx back. */
void mcp_gmac_drop(mcp_gmac_t *g, EVP_CIPHER_CTX *ctx);


#endif /* MCP_GMAC_H */
