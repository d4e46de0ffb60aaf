/*
 * HMAC-SHA256 with a prepared key.  See mcp_digest.h.  The low-level SHA256
 * interface is used because an EVP context cannot live on the stack: the
 * digest of each call's parameters is on the hot path.
 */

#include "mcp_digest.h"


void
mcp_digest_key(mcp_digest_key_t *k, const unsigned char *key)
{
    size_t         i;
    unsigned char  block[SHA256_CBLOCK];

    memset(block, 0x36, sizeof(block));

    for (i = 0; i < MCP_DIGEST_KEY; i++) {
        block[i] ^= key[i];
    }

    SHA256_Init(&k->inner);
    SHA256_Update(&k->inner, block, sizeof(block));

    for (i = 0; i < sizeof(block); i++) {
        block[i] ^= 0x36 ^ 0x5c;
    }

    SHA256_Init(&k->outer);
    SHA256_Update(&k->outer, block, sizeof(block));
}


void
mcp_digest_init(mcp_digest_t *d, const mcp_digest_key_t *k)
{
    d->hash = k->inner;
}


void
mcp_digest_update(mcp_digest_t *d, const void *data, size_t len)
{
    SHA256_Update(&d->hash, data, len);
}


void
mcp_digest_final(mcp_digest_t *d, const mcp_digest_key_t *k,
    unsigned char *out)
{
    size_t         i;
    unsigned char  md[MCP_DIGEST_RAW];

    static const char  hex[] = "0123456789abcdef";

    mcp_digest_raw(d, k, md);

    for (i = 0; i < MCP_DIGEST_HEX / 2; i++) {
        *out++ = (unsigned char) hex[md[i] >> 4];
        *out++ = (unsigned char) hex[md[i] & 0xf];
    }
}


void
mcp_digest_raw(mcp_digest_t *d, const mcp_digest_key_t *k, unsigned char *out)
{
    SHA256_CTX     outer;
    unsigned char  md[SHA256_DIGEST_LENGTH];

    SHA256_Final(md, &d->hash);

    outer = k->outer;
    SHA256_Update(&outer, md, sizeof(md));
    SHA256_Final(out, &outer);
}
