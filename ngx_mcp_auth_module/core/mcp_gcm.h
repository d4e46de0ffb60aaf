/*
 * What everything sealed is made with: keys by HKDF-SHA256 (RFC 5869), values
 * by AES-256-GCM with associated data in parts.
 *
 * Each part goes in with its length (8 bytes, big endian) before it, so that no
 * two lists of parts are alike.
 */

#ifndef MCP_GCM_H
#define MCP_GCM_H


#include "mcp_core.h"

#include <openssl/evp.h>


#define MCP_GCM_KEY    32
#define MCP_GCM_NONCE  12
#define MCP_GCM_TAG    16


/* len bytes of key material from secret and salt (may be empty) for info.
 * MCP_OK or MCP_ERROR. */
int mcp_hkdf(const mcp_str_t *secret, const mcp_str_t *salt,
    const mcp_str_t *info, unsigned char *out, size_t len);

/* The same without salt, for two fixed words: keys of two purposes have nothing
 * in common.  The info is purpose, a NUL, what; 64 bytes at most. */
int mcp_derive(const mcp_str_t *secret, const char *purpose,
    const char *what, unsigned char *out, size_t len);

/*
 * value -> out: as many bytes, and MCP_GCM_TAG behind them.  head: associated
 * data before the parts, as it is.  MCP_OK or MCP_ERROR.
 */
int mcp_gcm_seal(EVP_CIPHER_CTX *ctx, const unsigned char *key,
    const unsigned char *nonce, const mcp_str_t *head, const mcp_str_t *parts,
    unsigned nparts, const mcp_str_t *value, unsigned char *out);

/*
 * The other way; value is without the tag, out may be its memory.  MCP_OK;
 * MCP_DECLINED: it is not what was sealed so (out is undefined); MCP_ERROR:
 * OpenSSL failed.
 */
int mcp_gcm_open(EVP_CIPHER_CTX *ctx, const unsigned char *key,
    const unsigned char *nonce, const mcp_str_t *head, const mcp_str_t *parts,
    unsigned nparts, const mcp_str_t *value, const unsigned char *tag,
    unsigned char *out);

/* n, big endian, into 8 bytes. */
void mcp_gcm_length(uint64_t n, unsigned char *out);


#endif /* MCP_GCM_H */
