/*
 * Sealed values.  See mcp_seal.h.
 *
 * Keys are derived once, when a ring is made.  Sealing and opening allocate
 * nothing: the cipher's context is the caller's, the base64url is done in the
 * output.
 */

#include "mcp_seal.h"
#include "mcp_gcm.h"
#include "mcp_jwt.h"

#include <openssl/crypto.h>
#include <openssl/err.h>


#define MCP_SEAL_VERSION  1
#define MCP_SEAL_HEAD     17            /* version, key id, nonce */
#define MCP_SEAL_NONCE    12
#define MCP_SEAL_TAG      MCP_GCM_TAG


static void mcp_seal_nonce(const mcp_seal_key_t *k, const mcp_str_t *parts,
    unsigned nparts, const mcp_str_t *value, unsigned char *nonce);
static size_t mcp_seal_encode(unsigned char *out, const unsigned char *p,
    size_t len);
static const mcp_seal_key_t *mcp_seal_find(const mcp_seal_ring_t *ring,
    const unsigned char *id);


int
mcp_seal_add(mcp_seal_ring_t *ring, const mcp_str_t *master,
    const char *purpose)
{
    mcp_seal_key_t  *k;
    unsigned char    nonce[MCP_DIGEST_KEY];

    if (master->len < MCP_SEAL_KEY || ring->nkeys == MCP_SEAL_KEYS) {
        return MCP_DECLINED;
    }

    k = &ring->keys[ring->nkeys];

    if (mcp_derive(master, purpose, "id", k->id, sizeof(k->id)) != MCP_OK
        || mcp_derive(master, purpose, "encrypt", k->encrypt,
                      sizeof(k->encrypt)) != MCP_OK
        || mcp_derive(master, purpose, "nonce", nonce, sizeof(nonce))
           != MCP_OK)
    {
        return MCP_ERROR;
    }

    mcp_digest_key(&k->nonce, nonce);
    OPENSSL_cleanse(nonce, sizeof(nonce));

    if (mcp_seal_find(ring, k->id)) {
        OPENSSL_cleanse(k, sizeof(mcp_seal_key_t));
        return MCP_DECLINED;
    }

    ring->nkeys++;

    return MCP_OK;
}


int
mcp_seal(const mcp_seal_ring_t *ring, EVP_CIPHER_CTX *ctx,
    const mcp_str_t *parts, unsigned nparts, const mcp_str_t *value,
    unsigned char *out, size_t *len)
{
    size_t                 size;
    mcp_str_t              head;
    unsigned char         *p;
    const mcp_seal_key_t  *k;

    if (ring->nkeys == 0 || value->len > INT32_MAX / 2) {
        return MCP_ERROR;
    }

    k = &ring->keys[0];

    /* the bytes lie at the end of out, and are encoded from there */

    size = value->len + MCP_SEAL_OVERHEAD;
    p = out + mcp_seal_size(value->len) - size;

    p[0] = MCP_SEAL_VERSION;
    memcpy(p + 1, k->id, sizeof(k->id));

    mcp_seal_nonce(k, parts, nparts, value, p + 5);

    head.data = p;
    head.len = 1;

    if (mcp_gcm_seal(ctx, k->encrypt, p + 5, &head, parts, nparts, value,
                     p + MCP_SEAL_HEAD) != MCP_OK)
    {
        return MCP_ERROR;
    }

    *len = mcp_seal_encode(out, p, size);

    return MCP_OK;
}


int
mcp_seal_open(const mcp_seal_ring_t *ring, EVP_CIPHER_CTX *ctx,
    const mcp_str_t *parts, unsigned nparts, const mcp_str_t *text,
    unsigned char *out, size_t *len)
{
    long                   size;
    mcp_str_t              value, version;
    unsigned char          head[MCP_SEAL_HEAD], tag[MCP_SEAL_TAG];
    const mcp_seal_key_t  *k;

    if (text->len < mcp_seal_size(0) || text->len > INT32_MAX / 2) {
        return MCP_DECLINED;
    }

    size = mcp_base64url_decode(out, text->data, text->len);

    if (size < MCP_SEAL_OVERHEAD || out[0] != MCP_SEAL_VERSION) {
        return MCP_DECLINED;
    }

    k = mcp_seal_find(ring, out + 1);
    if (k == NULL) {
        return MCP_DECLINED;
    }

    value.len = (size_t) size - MCP_SEAL_OVERHEAD;
    value.data = out;

    memcpy(head, out, MCP_SEAL_HEAD);
    memcpy(tag, out + MCP_SEAL_HEAD + value.len, MCP_SEAL_TAG);
    memmove(out, out + MCP_SEAL_HEAD, value.len);

    version.data = head;
    version.len = 1;

    *len = value.len;

    return mcp_gcm_open(ctx, k->encrypt, head + 5, &version, parts, nparts,
                        &value, tag, out);
}


static void
mcp_seal_nonce(const mcp_seal_key_t *k, const mcp_str_t *parts,
    unsigned nparts, const mcp_str_t *value, unsigned char *nonce)
{
    unsigned       i;
    mcp_digest_t   d;
    unsigned char  md[MCP_DIGEST_RAW], length[8];

    mcp_digest_init(&d, &k->nonce);

    /* how many: the last part is not the beginning of a value */

    mcp_gcm_length(nparts, length);
    mcp_digest_update(&d, length, sizeof(length));

    for (i = 0; i < nparts; i++) {
        mcp_gcm_length(parts[i].len, length);
        mcp_digest_update(&d, length, sizeof(length));
        mcp_digest_update(&d, parts[i].data, parts[i].len);
    }

    mcp_digest_update(&d, value->data, value->len);
    mcp_digest_raw(&d, &k->nonce, md);

    memcpy(nonce, md, MCP_SEAL_NONCE);
}


/* p may be the end of out's room: what is read is never behind the writing. */
static size_t
mcp_seal_encode(unsigned char *out, const unsigned char *p, size_t len)
{
    uint32_t        v;
    size_t          i;
    unsigned char  *start;

    static const char  digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    start = out;

    for (i = 0; i + 2 < len; i += 3) {
        v = (uint32_t) p[i] << 16 | (uint32_t) p[i + 1] << 8 | p[i + 2];

        *out++ = (unsigned char) digits[v >> 18];
        *out++ = (unsigned char) digits[(v >> 12) & 63];
        *out++ = (unsigned char) digits[(v >> 6) & 63];
        *out++ = (unsigned char) digits[v & 63];
    }

    if (i < len) {
        v = (uint32_t) p[i] << 16;

        if (i + 1 < len) {
            v |= (uint32_t) p[i + 1] << 8;
        }

        *out++ = (unsigned char) digits[v >> 18];
        *out++ = (unsigned char) digits[(v >> 12) & 63];

        if (i + 1 < len) {
            *out++ = (unsigned char) digits[(v >> 6) & 63];
        }
    }

    return (size_t) (out - start);
}


static const mcp_seal_key_t *
mcp_seal_find(const mcp_seal_ring_t *ring, const unsigned char *id)
{
    unsigned  i;

    for (i = 0; i < ring->nkeys; i++) {
        if (memcmp(ring->keys[i].id, id, sizeof(ring->keys[i].id)) == 0) {
            return &ring->keys[i];
        }
    }

    return NULL;
}
