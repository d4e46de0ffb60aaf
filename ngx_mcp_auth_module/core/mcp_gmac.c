/*
 * AES-256-GMAC, encrypted.  See mcp_gmac.h.  OpenSSL's error queue is left
 * empty.
 */

#include "mcp_gmac.h"
#include "mcp_gcm.h"

#include <openssl/err.h>


static const unsigned char  mcp_gmac_nonce[MCP_GCM_NONCE];


int
mcp_gmac_init(mcp_gmac_t *g, const mcp_str_t *secret)
{
    int            rc;
    unsigned char  key[32];

    memset(g, 0, sizeof(mcp_gmac_t));

    g->encrypt = EVP_CIPHER_CTX_new();

    rc = g->encrypt != NULL
         && mcp_derive(secret, "digest", "hash", g->key, sizeof(g->key))
            == MCP_OK
         && mcp_derive(secret, "digest", "encrypt", key, sizeof(key))
            == MCP_OK
         && EVP_EncryptInit_ex(g->encrypt, EVP_aes_256_ecb(), NULL, key, NULL)
            == 1
         && EVP_CIPHER_CTX_set_padding(g->encrypt, 0) == 1;

    OPENSSL_cleanse(key, sizeof(key));

    if (!rc) {
        ERR_clear_error();
        mcp_gmac_free(g);
        return MCP_ERROR;
    }

    return MCP_OK;
}


void
mcp_gmac_free(mcp_gmac_t *g)
{
    while (g->nidle) {
        EVP_CIPHER_CTX_free(g->idle[--g->nidle]);
    }

    EVP_CIPHER_CTX_free(g->encrypt);
    OPENSSL_cleanse(g, sizeof(mcp_gmac_t));
}


EVP_CIPHER_CTX *
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
    ERR_clear_error();

    return NULL;
}


int
mcp_gmac_update(EVP_CIPHER_CTX *ctx, const void *data, size_t len)
{
    int                   n, part;
    const unsigned char  *p;

    for (p = data; len; p += part, len -= (size_t) part) {
        part = (int) (len > INT32_MAX / 2 ? INT32_MAX / 2 : len);

        if (EVP_EncryptUpdate(ctx, NULL, &n, p, part) != 1) {
            ERR_clear_error();
            return MCP_ERROR;
        }
    }

    return MCP_OK;
}


int
mcp_gmac_final(mcp_gmac_t *g, EVP_CIPHER_CTX *ctx, unsigned char *out)
{
    int            n, rc;
    mcp_buf_t      b;
    unsigned char  tag[MCP_GCM_TAG], sealed[MCP_GCM_TAG];

    rc = EVP_EncryptFinal_ex(ctx, sealed, &n) == 1
         && EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, sizeof(tag), tag)
            == 1
         && EVP_EncryptUpdate(g->encrypt, sealed, &n, tag, sizeof(tag)) == 1
         && n == sizeof(sealed);

    mcp_gmac_drop(g, ctx);

    if (!rc) {
        ERR_clear_error();
        return MCP_ERROR;
    }

    mcp_buf_init(&b, out, MCP_GMAC_HEX);
    mcp_buf_hex(&b, sealed, sizeof(sealed));

    return MCP_OK;
}


void
mcp_gmac_drop(mcp_gmac_t *g, EVP_CIPHER_CTX *ctx)
{
    if (ctx && g->nidle < MCP_GMAC_IDLE) {
        g->idle[g->nidle++] = ctx;
        return;
    }

    EVP_CIPHER_CTX_free(ctx);
}
