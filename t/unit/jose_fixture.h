/*
 * Keys, key sets and tokens for the tests of mcp_jwk, mcp_jwt and
 * mcp_principal: made with OpenSSL alone, so that what the code under test
 * reads was written by another hand.
 *
 * Everything fx_ functions return lives until fx_end(), the teardown of the
 * group.  fx_mem is an arena whose n-th allocation can be made to fail.
 */

#ifndef JOSE_FIXTURE_H
#define JOSE_FIXTURE_H


#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include "mcp_core.h"


#define fx_count(a)  (sizeof(a) / sizeof((a)[0]))


typedef enum {
    FX_RSA = 0,
    FX_RSA_2,
    FX_RSA_1024,
    FX_P256,
    FX_P256_2,
    FX_P384,
    FX_P521,
    FX_ED25519,
    FX_ED448,
    FX_KEYS
} fx_key_e;

typedef struct fx_block_s  fx_block_t;

struct fx_block_s {
    fx_block_t    *next;
    size_t         size;
    max_align_t    data[];
};


static fx_block_t  *fx_blocks;
static EVP_PKEY    *fx_pkeys[FX_KEYS];
static long         fx_fail_at = -1;    /* allocations that still succeed */


static inline void *
fx_alloc(size_t size)
{
    fx_block_t  *b;

    b = malloc(sizeof(fx_block_t) + size);
    assert_non_null(b);

    b->next = fx_blocks;
    b->size = size;
    fx_blocks = b;

    memset(b->data, 0xa5, size);

    return b->data;
}


static inline void *
fx_mem_alloc(void *ctx, size_t size)
{
    (void) ctx;

    if (fx_fail_at == 0) {
        return NULL;
    }

    if (fx_fail_at > 0) {
        fx_fail_at--;
    }

    return fx_alloc(size);
}


static const mcp_mem_t  fx_mem = { fx_mem_alloc, NULL };


/* Frees what was allocated after keep. */

static inline void
fx_release_to(const fx_block_t *keep)
{
    fx_block_t  *b;

    while (fx_blocks != keep) {
        b = fx_blocks;
        fx_blocks = b->next;
        free(b);
    }
}


static inline int
fx_end(void **state)
{
    int  i;

    (void) state;

    for (i = 0; i < FX_KEYS; i++) {
        EVP_PKEY_free(fx_pkeys[i]);
        fx_pkeys[i] = NULL;
    }

    fx_release_to(NULL);

    return 0;
}


static inline char *
fx_printf(const char *fmt, ...)
{
    int      n;
    char    *text;
    va_list  args;

    va_start(args, fmt);
    n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);

    text = fx_alloc((size_t) n + 1);

    va_start(args, fmt);
    (void) vsnprintf(text, (size_t) n + 1, fmt, args);
    va_end(args);

    return text;
}


static inline mcp_str_t
fx_str(const char *text)
{
    mcp_str_t  s;

    s.data = (unsigned char *) text;
    s.len = strlen(text);

    return s;
}


static inline EVP_PKEY *
fx_key(fx_key_e which)
{
    EVP_PKEY  **k;

    k = &fx_pkeys[which];

    if (*k != NULL) {
        return *k;
    }

    switch (which) {

    case FX_RSA:
    case FX_RSA_2:
        *k = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t) 2048);
        break;

    case FX_RSA_1024:
        *k = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t) 1024);
        break;

    case FX_P384:
        *k = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-384");
        break;

    case FX_P521:
        *k = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-521");
        break;

    case FX_ED25519:
        *k = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
        break;

    case FX_ED448:
        *k = EVP_PKEY_Q_keygen(NULL, NULL, "ED448");
        break;

    default:
        *k = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
        break;
    }

    assert_non_null(*k);

    return *k;
}


static inline char *
fx_b64(const void *data, size_t len)
{
    char  *text, *p;

    text = fx_alloc((len + 2) / 3 * 4 + 1);
    text[0] = '\0';

    if (len) {
        EVP_EncodeBlock((unsigned char *) text, data, (int) len);
    }

    for (p = text; *p; p++) {
        if (*p == '+') {
            *p = '-';

        } else if (*p == '/') {
            *p = '_';

        } else if (*p == '=') {
            *p = '\0';
            break;
        }
    }

    return text;
}


/* A big number of the key, base64url; width 0: minimal. */

static inline char *
fx_bn(EVP_PKEY *pkey, const char *param, int width)
{
    BIGNUM         *bn;
    unsigned char   buf[1024];

    bn = NULL;
    assert_int_equal(EVP_PKEY_get_bn_param(pkey, param, &bn), 1);

    if (width == 0) {
        width = BN_num_bytes(bn);
    }

    assert_int_equal(BN_bn2binpad(bn, buf, width), width);
    BN_free(bn);

    return fx_b64(buf, (size_t) width);
}


/* The public JWK; more: further members with a leading comma, or "". */

static inline char *
fx_jwk(fx_key_e which, const char *more)
{
    int             w;
    size_t          len;
    EVP_PKEY       *k;
    const char     *crv;
    unsigned char   raw[64];

    k = fx_key(which);

    switch (which) {

    case FX_RSA:
    case FX_RSA_2:
    case FX_RSA_1024:
        return fx_printf("{\"kty\":\"RSA\",\"n\":\"%s\",\"e\":\"%s\"%s}",
                         fx_bn(k, OSSL_PKEY_PARAM_RSA_N, 0),
                         fx_bn(k, OSSL_PKEY_PARAM_RSA_E, 0), more);

    case FX_ED25519:
    case FX_ED448:
        len = sizeof(raw);
        assert_int_equal(EVP_PKEY_get_raw_public_key(k, raw, &len), 1);

        return fx_printf("{\"kty\":\"OKP\",\"crv\":\"%s\",\"x\":\"%s\"%s}",
                         which == FX_ED448 ? "Ed448" : "Ed25519",
                         fx_b64(raw, len), more);

    default:
        break;
    }

    w = which == FX_P384 ? 48 : which == FX_P521 ? 66 : 32;
    crv = w == 48 ? "P-384" : w == 66 ? "P-521" : "P-256";

    return fx_printf("{\"kty\":\"EC\",\"crv\":\"%s\",\"x\":\"%s\","
                     "\"y\":\"%s\"%s}", crv,
                     fx_bn(k, OSSL_PKEY_PARAM_EC_PUB_X, w),
                     fx_bn(k, OSSL_PKEY_PARAM_EC_PUB_Y, w), more);
}


/* ECDSA in JWS: R || S at full width. */

static inline size_t
fx_raw(unsigned char *sig, size_t len, int width)
{
    ECDSA_SIG            *es;
    const unsigned char  *p;

    p = sig;
    es = d2i_ECDSA_SIG(NULL, &p, (long) len);
    assert_non_null(es);

    BN_bn2binpad(ECDSA_SIG_get0_r(es), sig, width);
    BN_bn2binpad(ECDSA_SIG_get0_s(es), sig + width, width);
    ECDSA_SIG_free(es);

    return (size_t) (2 * width);
}


/* Signs input as alg says; salt is for PS* (RSA_PSS_SALTLEN_DIGEST). */

static inline size_t
fx_signature(const char *alg, EVP_PKEY *k, const char *input, int salt,
    unsigned char *sig)
{
    size_t         len;
    EVP_MD_CTX    *ctx;
    const char    *md;
    EVP_PKEY_CTX  *pctx;

    len = 1024;
    md = strstr(alg, "256") ? "SHA256" : strstr(alg, "384") ? "SHA384"
         : strstr(alg, "512") ? "SHA512" : NULL;

    ctx = EVP_MD_CTX_new();

    if (alg[0] == 'E' && alg[1] == 'd') {
        md = NULL;
    }

    assert_int_equal(EVP_DigestSignInit_ex(ctx, &pctx, md, NULL, NULL, k,
                                           NULL), 1);
    if (alg[0] == 'P') {
        assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(pctx,
                                                      RSA_PKCS1_PSS_PADDING),
                         1);
        assert_int_equal(EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, salt), 1);
    }

    assert_int_equal(EVP_DigestSign(ctx, sig, &len,
                                    (const unsigned char *) input,
                                    strlen(input)), 1);
    EVP_MD_CTX_free(ctx);

    if (EVP_PKEY_is_a(k, "EC")) {
        len = fx_raw(sig, len, (EVP_PKEY_get_bits(k) + 7) / 8);
    }

    return len;
}


static inline char *
fx_input(const char *header, const char *claims)
{
    return fx_printf("%s.%s", fx_b64(header, strlen(header)),
                     fx_b64(claims, strlen(claims)));
}


static inline char *
fx_token(const char *alg, fx_key_e which, const char *header,
    const char *claims)
{
    char           *input;
    size_t          len;
    unsigned char   sig[1024];

    input = fx_input(header, claims);
    len = fx_signature(alg, fx_key(which), input, RSA_PSS_SALTLEN_DIGEST,
                       sig);

    return fx_printf("%s.%s", input, fx_b64(sig, len));
}


/* xorshift: mutations that can be repeated. */

static inline uint32_t
fx_random(void)
{
    static uint32_t  x = 2463534242u;

    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;

    return x;
}


#endif /* JOSE_FIXTURE_H */
