/*
 * Sealed values: AES-256-GCM, base64url.  Who has no key can neither read one
 * nor make one; one that was made for somebody opens for nobody else.
 *
 * A sealed value is
 *     version (1) | key id (4) | nonce (12) | ciphertext | tag (16)
 * in base64url without padding.  The parts that it is bound to (the associated
 * data) go in one by one, each with its length before it, so that no two lists
 * of parts are alike.  The version is of both: it goes in as well.
 *
 * The nonce is made from the value and the parts by HMAC-SHA256 under a second
 * key (as in the synthetic IV modes): the same value for the same parts gives
 * the same text, and no counter has to survive a crash.  2^32 values under one
 * key are far from a collision.
 *
 * A ring holds several keys: the first one seals, each opens what it sealed.
 */

#ifndef MCP_SEAL_H
#define MCP_SEAL_H


#include "mcp_core.h"
#include "mcp_digest.h"

#include <openssl/evp.h>


#define MCP_SEAL_KEY       32           /* bytes of a master key, at least */
#define MCP_SEAL_KEYS      8            /* in a ring */
#define MCP_SEAL_OVERHEAD  33           /* version, key id, nonce, tag */

/* characters of a sealed value of n bytes */
#define mcp_seal_size(n)   ((((n) + MCP_SEAL_OVERHEAD) * 4 + 2) / 3)


typedef struct {
    unsigned char        id[4];
    unsigned char        encrypt[32];
    mcp_digest_key_t     nonce;
} mcp_seal_key_t;

typedef struct {
    unsigned             nkeys;
    mcp_seal_key_t       keys[MCP_SEAL_KEYS];
} mcp_seal_ring_t;


/*
 * Adds a key made from master (MCP_SEAL_KEY bytes or more, random) by
 * HKDF-SHA256 (RFC 5869) for this purpose, a fixed word: keys of two purposes
 * have nothing in common.  MCP_OK; MCP_DECLINED: the ring is full, has it
 * already, or master is too short; MCP_ERROR: OpenSSL failed.
 */
int mcp_seal_add(mcp_seal_ring_t *ring, const mcp_str_t *master,
    const char *purpose);

/*
 * Seals value for these parts into out (mcp_seal_size(value->len) characters);
 * *len is set to how many were written.  MCP_OK, or MCP_ERROR: no key, or
 * OpenSSL failed.  ctx is reused from call to call.
 */
int mcp_seal(const mcp_seal_ring_t *ring, EVP_CIPHER_CTX *ctx,
    const mcp_str_t *parts, unsigned nparts, const mcp_str_t *value,
    unsigned char *out, size_t *len);

/*
 * Opens text into out, which has room for text->len bytes.  MCP_OK and *len;
 * MCP_DECLINED: no sealed value, of no key of the ring, changed, or bound to
 * other parts (out is then undefined); MCP_ERROR: OpenSSL failed.
 */
int mcp_seal_open(const mcp_seal_ring_t *ring, EVP_CIPHER_CTX *ctx,
    const mcp_str_t *parts, unsigned nparts, const mcp_str_t *text,
    unsigned char *out, size_t *len);


#endif /* MCP_SEAL_H */
