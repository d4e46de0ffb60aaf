/*
 * Bearer JWTs: parsing and the signature.  The claims are mcp_jwt_claims.c.
 *
 * What is always true: nothing of a token chooses how it is checked.  The
 * algorithm must be on the issuer's list and fit the key; the key comes from
 * the issuer's set; embedded keys and URLs are never looked at.  A member that
 * is present but not what it must be refuses the token.  One token has one
 * text: strict base64url, strict JSON.
 *
 * A mcp_jwt_t is one malloc'ed block (struct, header, payload and signature
 * decoded) and two jansson trees; mcp_jwt_free() frees them.
 * lint: heap, it outlives no request but waits for keys apart from its pool
 *
 * Called by the access phase when a token is not in the cache of verified
 * tokens: the cold path.  jansson is at home here.
 */

#include "mcp_jwt.h"
#include "mcp_jose.h"
#include "mcp_json_tree.h"

#include <stdlib.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>


#define MCP_JWT_HEADER_MAX     4096     /* characters */
#define MCP_JWT_HEADER_DEPTH   4
#define MCP_JWT_PAYLOAD_DEPTH  32
#define MCP_JWT_KID_MAX        256      /* bytes */
#define MCP_JWT_KEYS_TRIED     4        /* of one kid */

#define MCP_ES_BYTES_MAX       66
#define MCP_ES_DER_MAX         (3 + 2 * (3 + MCP_ES_BYTES_MAX))


typedef struct {
    unsigned             algs;
    const char          *md;
    size_t               width;         /* ES*: of r and of s, bytes */
} mcp_jwt_digest_t;


static int mcp_jwt_split(const mcp_str_t *token, mcp_str_t *parts,
    const char **reason);
static long mcp_jwt_decode(unsigned char **pos, const mcp_str_t *part,
    mcp_str_t *dst);
static int mcp_jwt_header(mcp_jwt_t *jwt, const char **reason);
static int mcp_jwt_header_alg(mcp_jwt_t *jwt);
static int mcp_jwt_header_typ(mcp_jwt_t *jwt);
static int mcp_jwt_header_cty(const mcp_jwt_t *jwt);
static int mcp_jwt_header_kid(mcp_jwt_t *jwt);
static int mcp_jwt_key_fits(const mcp_jwt_t *jwt, const mcp_jwk_t *key);
static int mcp_jwt_signature(const mcp_jwt_t *jwt, EVP_PKEY *pkey);
static const mcp_jwt_digest_t *mcp_jwt_digest(unsigned alg);
static int mcp_jwt_digest_verify(const mcp_jwt_t *jwt, EVP_PKEY *pkey,
    const mcp_jwt_digest_t *digest, const mcp_str_t *signature);
static int mcp_jwt_es_valid(const unsigned char *n, size_t width);
static size_t mcp_jwt_es_der(unsigned char *der, const unsigned char *rs,
    size_t width);
static unsigned char *mcp_jwt_der_int(unsigned char *p,
    const unsigned char *n, size_t len);


/* 0xff: not in the alphabet of RFC 4648 section 5. */

#define X  0xff

static const unsigned char  mcp_base64url[256] = {
    X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,
    X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,
    X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  62, X,  X,
    52, 53, 54, 55, 56, 57, 58, 59, 60, 61, X,  X,  X,  X,  X,  X,
    X,  0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14,
    15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, X,  X,  X,  X,  63,
    X,  26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40,
    41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, X,  X,  X,  X,  X,
    X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,
    X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,
    X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,
    X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,
    X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,
    X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,
    X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,
    X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X
};

#undef X


static const mcp_jwt_digest_t  mcp_jwt_digests[] = {
    { MCP_ALG_RS256 | MCP_ALG_PS256, "SHA256", 0 },
    { MCP_ALG_RS384 | MCP_ALG_PS384, "SHA384", 0 },
    { MCP_ALG_RS512 | MCP_ALG_PS512, "SHA512", 0 },
    { MCP_ALG_ES256, "SHA256", 32 },
    { MCP_ALG_ES384, "SHA384", 48 },
    { MCP_ALG_ES512, "SHA512", 66 },
    { MCP_ALG_EDDSA, NULL, 0 }
};


/* The orders of P-256, P-384 and P-521, big-endian (SEC 2). */

static const unsigned char  mcp_order_p256[32] = {
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84,
    0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51
};

static const unsigned char  mcp_order_p384[48] = {
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xc7, 0x63, 0x4d, 0x81, 0xf4, 0x37, 0x2d, 0xdf,
    0x58, 0x1a, 0x0d, 0xb2, 0x48, 0xb0, 0xa7, 0x7a,
    0xec, 0xec, 0x19, 0x6a, 0xcc, 0xc5, 0x29, 0x73
};

static const unsigned char  mcp_order_p521[66] = {
    0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xfa, 0x51, 0x86, 0x87, 0x83, 0xbf, 0x2f,
    0x96, 0x6b, 0x7f, 0xcc, 0x01, 0x48, 0xf7, 0x09,
    0xa5, 0xd0, 0x3b, 0xb5, 0xc9, 0xb8, 0x89, 0x9c,
    0x47, 0xae, 0xbb, 0x6f, 0xb7, 0x1e, 0x91, 0x38,
    0x64, 0x09
};


long
mcp_base64url_decode(unsigned char *dst, const unsigned char *src, size_t len)
{
    size_t          i, full;
    unsigned        a, b, c, d;
    unsigned char  *p;

    if (len % 4 == 1) {
        return -1;
    }

    p = dst;
    full = len - len % 4;

    for (i = 0; i < full; i += 4) {
        a = mcp_base64url[src[i]];
        b = mcp_base64url[src[i + 1]];
        c = mcp_base64url[src[i + 2]];
        d = mcp_base64url[src[i + 3]];

        if ((a | b | c | d) & 0x80) {
            return -1;
        }

        *p++ = (unsigned char) (a << 2 | b >> 4);
        *p++ = (unsigned char) (b << 4 | c >> 2);
        *p++ = (unsigned char) (c << 6 | d);
    }

    if (len > full) {
        a = mcp_base64url[src[full]];
        b = mcp_base64url[src[full + 1]];
        c = (len - full == 3) ? mcp_base64url[src[full + 2]] : 0;

        /* the unused bits must be zero, else two texts have one meaning */

        if (((a | b | c) & 0x80)
            || (len - full == 2 && (b & 0x0f))
            || (len - full == 3 && (c & 0x03)))
        {
            return -1;
        }

        *p++ = (unsigned char) (a << 2 | b >> 4);

        if (len - full == 3) {
            *p++ = (unsigned char) (b << 4 | c >> 2);
        }
    }

    return p - dst;
}


mcp_jwt_t *
mcp_jwt_parse(const mcp_str_t *token, size_t max_token, const char **reason)
{
    int             oom;
    mcp_str_t       parts[3], header, payload;
    mcp_jwt_t      *jwt;
    unsigned char  *pos;

    if (token->len > max_token) {
        *reason = "token_too_large";
        return NULL;
    }

    if (mcp_jwt_split(token, parts, reason) != MCP_OK) {
        return NULL;
    }

    jwt = malloc(sizeof(mcp_jwt_t) + token->len);
    if (jwt == NULL) {
        *reason = "internal";
        return NULL;
    }

    memset(jwt, 0, sizeof(mcp_jwt_t));

    jwt->input.data = token->data;
    jwt->input.len = parts[0].len + 1 + parts[1].len;

    pos = (unsigned char *) jwt + sizeof(mcp_jwt_t);

    if (mcp_jwt_decode(&pos, &parts[0], &header) < 0
        || mcp_jwt_decode(&pos, &parts[1], &payload) < 0
        || mcp_jwt_decode(&pos, &parts[2], &jwt->signature) < 0)
    {
        *reason = "token_encoding";
        goto failed;
    }

    jwt->header = mcp_json_tree(header.data, header.len, MCP_JWT_HEADER_DEPTH,
                                &oom);
    if (jwt->header == NULL) {
        *reason = oom ? "internal" : "header_json";
        goto failed;
    }

    if (mcp_jwt_header(jwt, reason) != MCP_OK) {
        goto failed;
    }

    jwt->payload = mcp_json_tree(payload.data, payload.len,
                                 MCP_JWT_PAYLOAD_DEPTH, &oom);
    if (jwt->payload == NULL) {
        *reason = oom ? "internal" : "payload_json";
        goto failed;
    }

    jwt->iss = mcp_jwt_text(json_object_get(jwt->payload, "iss"));
    if (jwt->iss.len == 0) {
        *reason = "iss";
        goto failed;
    }

    return jwt;

failed:

    mcp_jwt_free(jwt);

    return NULL;
}


void
mcp_jwt_free(mcp_jwt_t *jwt)
{
    if (jwt == NULL) {
        return;
    }

    json_decref(jwt->header);
    json_decref(jwt->payload);
    free(jwt);
}


const mcp_str_t *
mcp_jwt_iss(const mcp_jwt_t *jwt)
{
    return &jwt->iss;
}


const mcp_str_t *
mcp_jwt_kid(const mcp_jwt_t *jwt)
{
    return &jwt->kid;
}


int
mcp_jwt_verify(const mcp_jwt_t *jwt, const mcp_jwt_issuer_t *issuer,
    const mcp_jwk_set_t *set, const char **reason)
{
    int               rc;
    unsigned          i, known, fits;
    const char       *why;
    const mcp_jwk_t  *keys[MCP_JWT_KEYS_TRIED];

    if (!mcp_str_eq(&jwt->iss, &issuer->issuer)) {
        *reason = "iss";
        return MCP_ERROR;
    }

    if ((jwt->alg & issuer->algs) == 0) {
        *reason = "alg_not_allowed";
        return MCP_ERROR;
    }

    known = 0;
    fits = 0;

    for (i = 0; i < set->nkeys && fits < MCP_JWT_KEYS_TRIED; i++) {

        if (jwt->kid.len && !mcp_str_eq(&jwt->kid, &set->keys[i].kid)) {
            continue;
        }

        known++;

        if (mcp_jwt_key_fits(jwt, &set->keys[i])) {
            keys[fits++] = &set->keys[i];
        }
    }

    if (fits == 0) {

        if (jwt->kid.len && known) {

            /* a newer set would not help: the kid is there */

            *reason = "alg_key_mismatch";
            return MCP_ERROR;
        }

        *reason = "unknown_key";
        return MCP_DECLINED;
    }

    if (jwt->kid.len == 0 && fits > 1) {
        *reason = "kid_missing";
        return MCP_ERROR;
    }

    why = "signature";

    for (i = 0; i < fits; i++) {
        rc = mcp_jwt_signature(jwt, keys[i]->pkey);

        if (rc == MCP_OK) {
            ERR_clear_error();
            return MCP_OK;
        }

        if (mcp_jose_no_memory() || rc == MCP_ERROR) {

            /* nobody knows: such a refusal is not to be remembered */

            why = "internal";
        }
    }

    *reason = why;

    return MCP_ERROR;
}


mcp_str_t
mcp_jwt_text(const json_t *json)
{
    mcp_str_t  s;

    s.data = (unsigned char *) json_string_value(json);
    s.len = json_string_length(json);

    return s;
}


/* Three segments, none empty, of base64url characters and nothing else. */

static int
mcp_jwt_split(const mcp_str_t *token, mcp_str_t *parts, const char **reason)
{
    size_t          i;
    unsigned        dots;
    unsigned char  *start;

    dots = 0;
    start = token->data;

    for (i = 0; i < token->len; i++) {

        if (token->data[i] == '.') {

            if (dots < 3) {
                parts[dots].data = start;
                parts[dots].len = (size_t) (&token->data[i] - start);
            }

            start = &token->data[i + 1];
            dots++;
            continue;
        }

        if (mcp_base64url[token->data[i]] & 0x80) {
            *reason = "token_characters";
            return MCP_ERROR;
        }
    }

    if (dots == 4) {
        *reason = "token_encrypted";
        return MCP_ERROR;
    }

    if (dots != 2) {
        *reason = "token_segments";
        return MCP_ERROR;
    }

    parts[2].data = start;
    parts[2].len = (size_t) (token->data + token->len - start);

    if (parts[0].len == 0 || parts[1].len == 0 || parts[2].len == 0) {
        *reason = "token_segments";
        return MCP_ERROR;
    }

    if (parts[0].len > MCP_JWT_HEADER_MAX) {
        *reason = "header_too_large";
        return MCP_ERROR;
    }

    return MCP_OK;
}


static long
mcp_jwt_decode(unsigned char **pos, const mcp_str_t *part, mcp_str_t *dst)
{
    long  len;

    len = mcp_base64url_decode(*pos, part->data, part->len);
    if (len < 0) {
        return -1;
    }

    dst->data = *pos;
    dst->len = (size_t) len;
    *pos += len;

    return len;
}


static int
mcp_jwt_header(mcp_jwt_t *jwt, const char **reason)
{
    size_t  i;

    /* extensions that change what is signed, or that nobody here knows */

    static const char  *refused[] = {
        "crit", "b64", "zip", "enc", "epk", "p2c", "p2s"
    };

    for (i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        if (json_object_get(jwt->header, refused[i]) != NULL) {
            *reason = (i == 0) ? "crit" : "header_extension";
            return MCP_ERROR;
        }
    }

    if (mcp_jwt_header_alg(jwt) != MCP_OK) {
        *reason = "alg";
        return MCP_ERROR;
    }

    if (mcp_jwt_header_typ(jwt) != MCP_OK) {
        *reason = "typ";
        return MCP_ERROR;
    }

    if (mcp_jwt_header_cty(jwt) != MCP_OK) {
        *reason = "nested";
        return MCP_ERROR;
    }

    if (mcp_jwt_header_kid(jwt) != MCP_OK) {
        *reason = "kid";
        return MCP_ERROR;
    }

    return MCP_OK;
}


static int
mcp_jwt_header_alg(mcp_jwt_t *jwt)
{
    mcp_str_t  alg;

    alg = mcp_jwt_text(json_object_get(jwt->header, "alg"));

    jwt->alg = mcp_alg(&alg);
    if (jwt->alg == MCP_ALG_NONE) {
        return MCP_ERROR;
    }

    jwt->curve = mcp_str_eq_lit(&alg, "Ed25519") ? EVP_PKEY_ED25519
                 : mcp_str_eq_lit(&alg, "Ed448") ? EVP_PKEY_ED448
                 : EVP_PKEY_NONE;

    return MCP_OK;
}


/* RFC 7515 section 4.1.9: a media type, case-insensitive, whose "application/"
 * may be left out. */

static int
mcp_jwt_header_typ(mcp_jwt_t *jwt)
{
    json_t     *json;
    mcp_str_t   typ;

    static const mcp_str_t  application = mcp_string("application/");

    json = json_object_get(jwt->header, "typ");
    if (json == NULL) {
        jwt->typ = MCP_TYP_NONE;
        return MCP_OK;
    }

    typ = mcp_jwt_text(json);

    if (typ.len > application.len
        && mcp_str_caseeq(typ.data, application.len, application.data,
                          application.len))
    {
        typ.data += application.len;
        typ.len -= application.len;
    }

    if (mcp_str_caseeq(typ.data, typ.len, "at+jwt", 6)) {
        jwt->typ = MCP_TYP_AT_JWT;
        return MCP_OK;
    }

    if (mcp_str_caseeq(typ.data, typ.len, "jwt", 3)) {
        jwt->typ = MCP_TYP_JWT;
        return MCP_OK;
    }

    return MCP_ERROR;
}


/* A JWT in a JWT would have its claims one level further down. */

static int
mcp_jwt_header_cty(const mcp_jwt_t *jwt)
{
    json_t     *json;
    mcp_str_t   cty;

    json = json_object_get(jwt->header, "cty");
    if (json == NULL) {
        return MCP_OK;
    }

    cty = mcp_jwt_text(json);

    if (cty.len == 0
        || (cty.len >= 3
            && mcp_str_caseeq(cty.data + cty.len - 3, 3, "jwt", 3)))
    {
        return MCP_ERROR;
    }

    return MCP_OK;
}


static int
mcp_jwt_header_kid(mcp_jwt_t *jwt)
{
    json_t  *json;

    json = json_object_get(jwt->header, "kid");
    if (json == NULL) {
        return MCP_OK;
    }

    jwt->kid = mcp_jwt_text(json);

    return jwt->kid.len && jwt->kid.len <= MCP_JWT_KID_MAX ? MCP_OK
                                                            : MCP_ERROR;
}


static int
mcp_jwt_key_fits(const mcp_jwt_t *jwt, const mcp_jwk_t *key)
{
    if ((jwt->alg & key->algs) == 0) {
        return 0;
    }

    return jwt->curve == EVP_PKEY_NONE
           || jwt->curve == EVP_PKEY_get_base_id(key->pkey);
}


/* MCP_OK; MCP_DECLINED: it is none of this key; MCP_ERROR: OpenSSL failed.  May
 * leave OpenSSL's errors; the caller clears them. */

static int
mcp_jwt_signature(const mcp_jwt_t *jwt, EVP_PKEY *pkey)
{
    mcp_str_t                signature;
    unsigned char            der[MCP_ES_DER_MAX];
    const mcp_jwt_digest_t  *digest;

    digest = mcp_jwt_digest(jwt->alg);
    if (digest == NULL) {
        return MCP_DECLINED;
    }

    signature = jwt->signature;

    if (digest->width) {

        /* r and s at full width, nothing else: not DER, not truncated */

        if (signature.len != 2 * digest->width
            || !mcp_jwt_es_valid(signature.data, digest->width)
            || !mcp_jwt_es_valid(signature.data + digest->width,
                                 digest->width))
        {
            return MCP_DECLINED;
        }

        signature.len = mcp_jwt_es_der(der, signature.data, digest->width);
        signature.data = der;
    }

    return mcp_jwt_digest_verify(jwt, pkey, digest, &signature);
}


static const mcp_jwt_digest_t *
mcp_jwt_digest(unsigned alg)
{
    size_t  i;

    for (i = 0; i < sizeof(mcp_jwt_digests) / sizeof(mcp_jwt_digests[0]); i++)
    {
        if (mcp_jwt_digests[i].algs & alg) {
            return &mcp_jwt_digests[i];
        }
    }

    return NULL;
}


static int
mcp_jwt_digest_verify(const mcp_jwt_t *jwt, EVP_PKEY *pkey,
    const mcp_jwt_digest_t *digest, const mcp_str_t *signature)
{
    int            rc;
    EVP_MD_CTX    *ctx;
    EVP_PKEY_CTX  *pctx;

    ctx = EVP_MD_CTX_new();
    if (ctx == NULL) {
        return MCP_ERROR;
    }

    rc = EVP_DigestVerifyInit_ex(ctx, &pctx, digest->md, NULL, NULL, pkey,
                                 NULL);

    if (rc == 1
        && (jwt->alg & (MCP_ALG_PS256 | MCP_ALG_PS384 | MCP_ALG_PS512)))
    {
        rc = EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING);

        if (rc == 1) {

            /* RFC 7518 section 3.5: the salt is as long as the digest */

            rc = EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx,
                                                  RSA_PSS_SALTLEN_DIGEST);
        }
    }

    if (rc != 1) {
        EVP_MD_CTX_free(ctx);
        return MCP_ERROR;
    }

    rc = EVP_DigestVerify(ctx, signature->data, signature->len,
                          jwt->input.data, jwt->input.len);

    EVP_MD_CTX_free(ctx);

    /* 0: bad signature, negative: another error */

    return rc == 1 ? MCP_OK : rc == 0 ? MCP_DECLINED : MCP_ERROR;
}


/* 1 <= n < order of the curve; CVE-2022-21449 was the lack of this. */

static int
mcp_jwt_es_valid(const unsigned char *n, size_t width)
{
    size_t                i;
    const unsigned char  *order;

    order = (width == sizeof(mcp_order_p256)) ? mcp_order_p256
            : (width == sizeof(mcp_order_p384)) ? mcp_order_p384
            : mcp_order_p521;

    for (i = 0; i < width; i++) {
        if (n[i]) {
            return memcmp(n, order, width) < 0;
        }
    }

    return 0;
}


/* Ecdsa-Sig-Value (RFC 3279 section 2.2.3) in DER: at most MCP_ES_DER_MAX. */

static size_t
mcp_jwt_es_der(unsigned char *der, const unsigned char *rs, size_t width)
{
    size_t          len;
    unsigned char  *p, body[MCP_ES_DER_MAX];

    p = mcp_jwt_der_int(body, rs, width);
    p = mcp_jwt_der_int(p, rs + width, width);

    len = (size_t) (p - body);
    p = der;

    *p++ = 0x30;

    if (len > 0x7f) {
        *p++ = 0x81;
    }

    *p++ = (unsigned char) len;

    memcpy(p, body, len);

    return (size_t) (p - der) + len;
}


static unsigned char *
mcp_jwt_der_int(unsigned char *p, const unsigned char *n, size_t len)
{
    unsigned  pad;

    while (len > 1 && *n == 0) {
        n++;
        len--;
    }

    pad = (*n & 0x80) ? 1 : 0;

    *p++ = 0x02;
    *p++ = (unsigned char) (len + pad);

    if (pad) {
        *p++ = 0;
    }

    memcpy(p, n, len);

    return p + len;
}
