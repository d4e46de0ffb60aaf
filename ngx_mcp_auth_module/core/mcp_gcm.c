/*
 * HKDF-SHA256 and AES-256-GCM.  See mcp_gcm.h.  OpenSSL's error queue is left
 * empty.
 */

#include "mcp_gcm.h"

#include <openssl/err.h>
#include <openssl/kdf.h>


static int mcp_gcm_parts(EVP_CIPHER_CTX *ctx, const mcp_str_t *head,
    const mcp_str_t *parts, unsigned nparts);


int
mcp_hkdf(const mcp_str_t *secret, const mcp_str_t *salt, const mcp_str_t *info,
    unsigned char *out, size_t len)
{
    int            rc;
    EVP_PKEY_CTX  *ctx;

    if (secret->len > INT32_MAX || salt->len > INT32_MAX
        || info->len > INT32_MAX)
    {
        return MCP_ERROR;
    }

    ctx = EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, NULL);
    if (ctx == NULL) {
        ERR_clear_error();
        return MCP_ERROR;
    }

    rc = EVP_PKEY_derive_init(ctx) > 0
         && EVP_PKEY_CTX_set_hkdf_md(ctx, EVP_sha256()) > 0
         && EVP_PKEY_CTX_set1_hkdf_key(ctx, secret->data, (int) secret->len)
            > 0
         && (salt->len == 0
             || EVP_PKEY_CTX_set1_hkdf_salt(ctx, salt->data, (int) salt->len)
                > 0)
         && EVP_PKEY_CTX_add1_hkdf_info(ctx, info->data, (int) info->len) > 0
         && EVP_PKEY_derive(ctx, out, &len) > 0;

    EVP_PKEY_CTX_free(ctx);

    if (!rc) {
        ERR_clear_error();
        return MCP_ERROR;
    }

    return MCP_OK;
}


int
mcp_derive(const mcp_str_t *secret, const char *purpose, const char *what,
    unsigned char *out, size_t len)
{
    mcp_buf_t      b;
    mcp_str_t      info, none;
    unsigned char  buf[64];

    /* the NUL between them keeps purposes apart */

    mcp_buf_init(&b, buf, sizeof(buf));
    mcp_buf_put(&b, purpose, strlen(purpose) + 1);
    mcp_buf_put(&b, what, strlen(what));

    if (b.overflow) {
        return MCP_ERROR;
    }

    info.data = b.start;
    info.len = (size_t) (b.pos - b.start);
    mcp_str_null(&none);

    return mcp_hkdf(secret, &none, &info, out, len);
}


int
mcp_gcm_seal(EVP_CIPHER_CTX *ctx, const unsigned char *key,
    const unsigned char *nonce, const mcp_str_t *head, const mcp_str_t *parts,
    unsigned nparts, const mcp_str_t *value, unsigned char *out)
{
    int  n;

    if (value->len > INT32_MAX / 2
        || EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, nonce) != 1
        || mcp_gcm_parts(ctx, head, parts, nparts) != MCP_OK
        || EVP_EncryptUpdate(ctx, out, &n, value->data, (int) value->len) != 1
        || EVP_EncryptFinal_ex(ctx, out + value->len, &n) != 1
        || EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, MCP_GCM_TAG,
                               out + value->len) != 1)
    {
        ERR_clear_error();
        return MCP_ERROR;
    }

    return MCP_OK;
}


int
mcp_gcm_open(EVP_CIPHER_CTX *ctx, const unsigned char *key,
    const unsigned char *nonce, const mcp_str_t *head, const mcp_str_t *parts,
    unsigned nparts, const mcp_str_t *value, const unsigned char *tag,
    unsigned char *out)
{
    int            n;
    unsigned char  copy[MCP_GCM_TAG];

    memcpy(copy, tag, MCP_GCM_TAG);

    if (value->len > INT32_MAX / 2
        || EVP_DecryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, nonce) != 1
        || mcp_gcm_parts(ctx, head, parts, nparts) != MCP_OK
        || EVP_DecryptUpdate(ctx, out, &n, value->data, (int) value->len) != 1
        || EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, MCP_GCM_TAG, copy)
           != 1)
    {
        ERR_clear_error();
        return MCP_ERROR;
    }

    if (EVP_DecryptFinal_ex(ctx, out + value->len, &n) != 1) {
        ERR_clear_error();
        return MCP_DECLINED;
    }

    return MCP_OK;
}


/* The associated data, part by part. */
static int
mcp_gcm_parts(EVP_CIPHER_CTX *ctx, const mcp_str_t *head,
    const mcp_str_t *parts, unsigned nparts)
{
    int            n;
    unsigned       i;
    unsigned char  length[8];

    if (EVP_CipherUpdate(ctx, NULL, &n, head->data, (int) head->len) != 1) {
        return MCP_ERROR;
    }

    for (i = 0; i < nparts; i++) {
        mcp_gcm_length(parts[i].len, length);

        if (parts[i].len > INT32_MAX
            || EVP_CipherUpdate(ctx, NULL, &n, length, sizeof(length)) != 1)
        {
            return MCP_ERROR;
        }

        if (parts[i].len
            && EVP_CipherUpdate(ctx, NULL, &n, parts[i].data,
                                (int) parts[i].len) != 1)
        {
            return MCP_ERROR;
        }
    }

    return MCP_OK;
}


void
mcp_gcm_length(uint64_t n, unsigned char *out)
{
    unsigned  i;

    for (i = 0; i < 8; i++) {
        out[i] = (unsigned char) (n >> (56 - 8 * i));
    }
}
