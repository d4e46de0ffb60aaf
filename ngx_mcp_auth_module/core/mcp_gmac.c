/*
 * HMAC-SHA256 of a head and the AES-256-GMAC of the rest.  See mcp_gmac.h.
 * OpenSSL's error queue is left empty.
 */

#include "mcp_gmac.h"
#include "mcp_gcm.h"

#include <openssl/err.h>


static EVP_CIPHER_CTX *mcp_gmac_begin(mcp_gmac_t *g);
static int mcp_gmac_update(EVP_CIPHER_CTX *ctx, const unsigned char *p,
    size_t len);


static const unsigned char  mcp_gmac_nonce[MCP_GCM_NONCE];


int
mcp_gmac_init(mcp_gmac_t *g, unsigned char *key)
{
    mcp_str_t  secret;

    memset(g, 0, sizeof(mcp_gmac_t));
    mcp_digest_key(&g->digest, key);

    secret.data = key;
    secret.len = MCP_DIGEST_KEY;

    return mcp_derive(&secret, "digest", "gmac", g->key, sizeof(g->key));
}


void
mcp_gmac_free(mcp_gmac_t *g)
{
    while (g->nidle) {
        EVP_CIPHER_CTX_free(g->idle[--g->nidle]);
    }

    OPENSSL_cleanse(g, sizeof(mcp_gmac_t));
}


static EVP_CIPHER_CTX *
mcp_gmac_begin(mcp_gmac_t *g)
{
    EVP_CIPHER_CTX  *ctx;

    if (g->nidle) {
        ctx = g->idle[--g->nidle];

        if (EVP_EncryptInit_ex(ctx, NULL, NULL, NULL, mcp_gmac_nonce) == 1) {
            return ctx;
        }

    } else {
        ctx = EVP_CIPHER_CTX_new();

        if (ctx && EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, g->key,
                                      mcp_gmac_nonce) == 1)
        {
            return ctx;
        }
    }

    EVP_CIPHER_CTX_free(ctx);

    return NULL;
}


static int
mcp_gmac_update(EVP_CIPHER_CTX *ctx, const unsigned char *p, size_t len)
{
    int  n, part;

    for ( /* void */ ; len; p += part, len -= (size_t) part) {
        part = (int) (len > INT32_MAX / 2 ? INT32_MAX / 2 : len);

        if (EVP_EncryptUpdate(ctx, NULL, &n, p, part) != 1) {
            return MCP_ERROR;
        }
    }

    return MCP_OK;
}


void
mcp_long_init(mcp_long_t *d, const mcp_gmac_t *g)
{
    mcp_digest_init(&d->head, &g->digest);
    d->len = 0;
    d->rest = NULL;
    d->failed = 0;
}


void
mcp_long_update(mcp_long_t *d, mcp_gmac_t *g, const void *data, size_t len)
{
    size_t                n;
    const unsigned char  *p;

    p = data;

    if (d->len < MCP_LONG_HEAD) {
        n = (size_t) (MCP_LONG_HEAD - d->len);
        n = len < n ? len : n;

        mcp_digest_update(&d->head, p, n);

        d->len += n;
        p += n;
        len -= n;
    }

    if (len == 0 || d->failed) {
        return;
    }

    d->len += len;

    if (d->rest == NULL) {
        d->rest = mcp_gmac_begin(g);
    }

    if (d->rest == NULL || mcp_gmac_update(d->rest, p, len) != MCP_OK) {
        d->failed = 1;
        ERR_clear_error();
    }
}


int
mcp_long_final(mcp_long_t *d, mcp_gmac_t *g, unsigned char *out)
{
    int            n, rc;
    unsigned char  tag[MCP_GCM_TAG];

    rc = !d->failed;

    if (rc && d->rest) {
        rc = EVP_EncryptFinal_ex(d->rest, tag, &n) == 1
             && EVP_CIPHER_CTX_ctrl(d->rest, EVP_CTRL_AEAD_GET_TAG,
                                    sizeof(tag), tag) == 1;

        if (rc) {
            mcp_digest_update(&d->head, tag, sizeof(tag));
        }
    }

    mcp_long_drop(d, g);

    if (!rc) {
        ERR_clear_error();
        return MCP_ERROR;
    }

    mcp_digest_final(&d->head, &g->digest, out);

    return MCP_OK;
}


void
mcp_long_drop(mcp_long_t *d, mcp_gmac_t *g)
{
    if (d->rest && g->nidle < MCP_GMAC_IDLE) {
        g->idle[g->nidle++] = d->rest;

    } else {
        EVP_CIPHER_CTX_free(d->rest);
    }

    d->rest = NULL;
}
