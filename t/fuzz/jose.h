/*
 * Keys, key sets and signatures for the fuzz targets of tokens, made with
 * OpenSSL alone: another hand than the one that is looked at.
 */

#ifndef FUZZ_JOSE_H
#define FUZZ_JOSE_H


#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "fuzz.h"
#include "keys.h"
#include "mcp_jwt.h"


#define FZ_ISS    "https://id.example.com"
#define FZ_NOW    1700000000


typedef struct {
    const char  *alg;
    unsigned     bit;
    int          key;                   /* RSA, P-256, Ed25519 */
    const char  *md;
    unsigned     pss;
} fz_alg_t;


static const fz_alg_t  fz_algs[] = {
    { "ES256", MCP_ALG_ES256, 1, "SHA256", 0 },
    { "EdDSA", MCP_ALG_EDDSA, 2, NULL, 0 },
    { "RS256", MCP_ALG_RS256, 0, "SHA256", 0 },
    { "PS256", MCP_ALG_PS256, 0, "SHA256", 1 },
    { "RS384", MCP_ALG_RS384, 0, "SHA384", 0 },
    { "PS512", MCP_ALG_PS512, 0, "SHA512", 1 },
};

static const char *const  fz_kids[] = { "rsa", "ec", "ed" };
static EVP_PKEY          *fz_pkeys[3];
static mcp_jwk_set_t     *fz_set;


static inline EVP_PKEY *
fz_pem(const char *text)
{
    BIO       *bio;
    EVP_PKEY  *k;

    bio = BIO_new_mem_buf(text, -1);
    k = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    BIO_free(bio);
    CHECK(k != NULL);

    return k;
}


/* base64url without padding, NUL-terminated; the caller frees. */

static inline char *
fz_b64(const void *data, size_t len)
{
    char  *text, *p;

    text = malloc((len + 2) / 3 * 4 + 1);
    CHECK(text != NULL);
    text[0] = '\0';

    if (len) {
        EVP_EncodeBlock((unsigned char *) text, data, (int) len);
    }

    for (p = text; *p; p++) {
        *p = *p == '+' ? '-' : *p == '/' ? '_' : *p;

        if (*p == '=') {
            *p = '\0';
            break;
        }
    }

    return text;
}


static inline char *
fz_bn(EVP_PKEY *k, const char *param, int width)
{
    BIGNUM         *bn = NULL;
    unsigned char   buf[512];

    CHECK(EVP_PKEY_get_bn_param(k, param, &bn) == 1);
    width = width ? width : BN_num_bytes(bn);
    CHECK(BN_bn2binpad(bn, buf, width) == width);
    BN_free(bn);

    return fz_b64(buf, (size_t) width);
}


static inline void
fz_jose_init(void)
{
    char           *p[5], text[4096];
    size_t          len;
    const char     *error;
    unsigned char   raw[32];

    if (fz_set) {
        return;
    }

    fz_pkeys[0] = fz_pem(fz_rsa_pem);
    fz_pkeys[1] = fz_pem(fz_ec_pem);
    fz_pkeys[2] = fz_pem(fz_ed_pem);

    p[0] = fz_bn(fz_pkeys[0], OSSL_PKEY_PARAM_RSA_N, 0);
    p[1] = fz_bn(fz_pkeys[0], OSSL_PKEY_PARAM_RSA_E, 0);
    p[2] = fz_bn(fz_pkeys[1], OSSL_PKEY_PARAM_EC_PUB_X, 32);
    p[3] = fz_bn(fz_pkeys[1], OSSL_PKEY_PARAM_EC_PUB_Y, 32);

    len = sizeof(raw);
    CHECK(EVP_PKEY_get_raw_public_key(fz_pkeys[2], raw, &len) == 1);
    p[4] = fz_b64(raw, len);

    len = (size_t) snprintf(text, sizeof(text), "{\"keys\":["
        "{\"kty\":\"RSA\",\"kid\":\"rsa\",\"n\":\"%s\",\"e\":\"%s\"},"
        "{\"kty\":\"EC\",\"kid\":\"ec\",\"crv\":\"P-256\",\"x\":\"%s\","
        "\"y\":\"%s\"},"
        "{\"kty\":\"OKP\",\"kid\":\"ed\",\"crv\":\"Ed25519\",\"x\":\"%s\"}]}",
        p[0], p[1], p[2], p[3], p[4]);

    fz_set = mcp_jwk_set_parse((unsigned char *) text, len, 8, &error);
    CHECK(fz_set != NULL && fz_set->nkeys == 3);

    free(p[0]);
    free(p[1]);
    free(p[2]);
    free(p[3]);
    free(p[4]);
}


static inline EVP_MD_CTX *
fz_ctx(const fz_alg_t *alg, EVP_PKEY *k, int verify)
{
    EVP_MD_CTX    *ctx;
    EVP_PKEY_CTX  *pctx;

    ctx = EVP_MD_CTX_new();
    CHECK((verify ? EVP_DigestVerifyInit_ex(ctx, &pctx, alg->md, NULL, NULL,
                                            k, NULL)
                  : EVP_DigestSignInit_ex(ctx, &pctx, alg->md, NULL, NULL, k,
                                          NULL)) == 1);
    if (alg->pss) {
        CHECK(EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) == 1);
        CHECK(EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST)
              == 1);
    }

    return ctx;
}


/* Signs as JWS says; the length. */

static inline size_t
fz_sign(const fz_alg_t *alg, const void *input, size_t size,
    unsigned char sig[512])
{
    size_t                len;
    ECDSA_SIG            *es;
    EVP_MD_CTX           *ctx;
    const unsigned char  *p;

    len = 512;
    ctx = fz_ctx(alg, fz_pkeys[alg->key], 0);
    CHECK(EVP_DigestSign(ctx, sig, &len, input, size) == 1);
    EVP_MD_CTX_free(ctx);

    if (alg->key == 1) {
        p = sig;
        es = d2i_ECDSA_SIG(NULL, &p, (long) len);
        CHECK(es != NULL);
        BN_bn2binpad(ECDSA_SIG_get0_r(es), sig, 32);
        BN_bn2binpad(ECDSA_SIG_get0_s(es), sig + 32, 32);
        ECDSA_SIG_free(es);
        len = 64;
    }

    return len;
}


/* Does OpenSSL take sig for this key's signature? */

static inline int
fz_verify(const fz_alg_t *alg, const void *input, size_t size,
    const unsigned char *sig, size_t len)
{
    int             ok, n;
    BIGNUM         *r, *s;
    ECDSA_SIG      *es;
    EVP_MD_CTX     *ctx;
    unsigned char   der[128], *p;

    if (alg->key == 1) {
        if (len != 64) {
            return 0;
        }

        r = BN_bin2bn(sig, 32, NULL);
        s = BN_bin2bn(sig + 32, 32, NULL);
        es = ECDSA_SIG_new();
        ECDSA_SIG_set0(es, r, s);
        p = der;
        n = i2d_ECDSA_SIG(es, &p);
        ECDSA_SIG_free(es);
        sig = der;
        len = (size_t) n;
    }

    ctx = fz_ctx(alg, fz_pkeys[alg->key], 1);
    ok = EVP_DigestVerify(ctx, sig, len, input, size) == 1;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();

    return ok;
}


/* header.claims.signature, signed by alg; the caller frees. */

static inline char *
fz_token(const fz_alg_t *alg, const mcp_str_t *header,
    const mcp_str_t *claims)
{
    int             n;
    char           *h, *c, *s, *token;
    size_t          size;
    unsigned char   sig[512];

    h = fz_b64(header->data, header->len);
    c = fz_b64(claims->data, claims->len);
    size = strlen(h) + strlen(c) + 1 + 700;

    token = malloc(size);
    CHECK(token != NULL);

    n = snprintf(token, size, "%s.%s", h, c);
    s = fz_b64(sig, fz_sign(alg, token, (size_t) n, sig));
    snprintf(token + n, size - (size_t) n, ".%s", s);

    free(h);
    free(c);
    free(s);

    return token;
}


static mcp_str_t  fz_user_claims[] = { mcp_string("uid"), mcp_string("sub") };
static mcp_str_t  fz_client_claims[] = {
    mcp_string("cid"), mcp_string("client_id"), mcp_string("azp")
};
static mcp_str_t  fz_scope_claims[] = {
    mcp_string("scp"), mcp_string("scope")
};
static mcp_str_t  fz_claims[] = {
    mcp_string("org"), mcp_string("a/b"), mcp_string("level")
};
static mcp_role_map_t  fz_role_map[] = {
    { 1, mcp_string("eng") }, { 70, mcp_string("ops") }
};


static inline mcp_jwt_issuer_t
fz_issuer(void)
{
    mcp_jwt_issuer_t  is;

    memset(&is, 0, sizeof(is));

    mcp_str_set(&is.issuer, FZ_ISS);
    is.index = 7;
    is.algs = 0x3ff;
    is.leeway = 30;
    is.user_claims = fz_user_claims;
    is.nuser_claims = fz_count(fz_user_claims);
    is.client_claims = fz_client_claims;
    is.nclient_claims = fz_count(fz_client_claims);
    is.scope_claims = fz_scope_claims;
    is.nscope_claims = fz_count(fz_scope_claims);
    mcp_str_set(&is.roles_claim, "groups");
    is.role_map = fz_role_map;
    is.nrole_map = fz_count(fz_role_map);
    is.max_groups = 16;
    is.claims = fz_claims;
    is.nclaims = fz_count(fz_claims);

    return is;
}


/* The claims of a token as jansson reads them. */

static inline json_t *
fz_payload(const mcp_str_t *token)
{
    long            n;
    json_t         *tree;
    const char     *a, *b;
    unsigned char  *buf;

    a = memchr(token->data, '.', token->len);
    CHECK(a != NULL);
    a++;
    b = memchr(a, '.', (size_t) ((char *) token->data + token->len - a));
    CHECK(b != NULL);

    buf = malloc((size_t) (b - a) + 3);
    CHECK(buf != NULL);
    n = mcp_base64url_decode(buf, (unsigned char *) a, (size_t) (b - a));
    CHECK(n >= 0);

    tree = json_loadb((char *) buf, (size_t) n, JSON_REJECT_DUPLICATES, NULL);
    free(buf);

    return tree;
}


static inline int
fz_is(json_t *v, const char *text)
{
    return json_is_string(v) && strcmp(json_string_value(v), text) == 0;
}


#endif /* FUZZ_JOSE_H */
