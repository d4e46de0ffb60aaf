/*
 * Key sets: what is accepted as a verification key.
 *
 * A key is accepted only when nothing about it is doubtful: public, meant for
 * signatures, strong, in canonical base64url, on its curve.  What it may
 * verify follows from the key (kty, crv, alg), never from a token.  Entries
 * that fail are counted and left out (RFC 7517 section 5); a name given twice
 * spoils the whole set, since no two readers agree on such JSON.
 *
 * Called by the life of the key sets, once for each set and worker, and by the
 * tests.  The set, its key ids and its EVP_PKEYs are malloc'ed and freed by
 * mcp_jwk_set_free(); everything else is freed before return.
 * lint: heap, a set lives until the next one takes its place
 */

#include "mcp_jwk.h"
#include "mcp_jwt.h"
#include "mcp_jose.h"
#include "mcp_json_tree.h"

#include <stdlib.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/params.h>


#define MCP_JWK_DEPTH       16
#define MCP_JWK_SET_MAX     (4 * 1024 * 1024)
#define MCP_JWK_KID_MAX     256

#define MCP_RSA_BYTES_MIN   (2048 / 8)
#define MCP_RSA_BYTES_MAX   (8192 / 8)
#define MCP_RSA_SMALL_MAX   751         /* factors looked for */
#define MCP_RSA_EXP_MAX     4           /* bytes: e < 2^32 */

#define MCP_EC_BYTES_MAX    66          /* a coordinate of P-521 */
#define MCP_OKP_BYTES_MAX   57          /* Ed448 */

#define MCP_ALG_RSA         (MCP_ALG_RS256 | MCP_ALG_RS384 | MCP_ALG_RS512    \
                             | MCP_ALG_PS256 | MCP_ALG_PS384 | MCP_ALG_PS512)


typedef struct {
    const char          *crv;
    const char          *group;         /* OpenSSL's name */
    size_t               len;           /* of each coordinate, bytes */
    unsigned             alg;
} mcp_jwk_curve_t;


static int mcp_jwk_parse(const json_t *json, mcp_jwk_t *key);
static int mcp_jwk_private(const json_t *json);
static int mcp_jwk_for_signatures(const json_t *json);
static int mcp_jwk_kid(const json_t *json, mcp_jwk_t *key);
static int mcp_jwk_restrict(const json_t *json, mcp_jwk_t *key);
static EVP_PKEY *mcp_jwk_rsa(const json_t *json, unsigned *algs);
static EVP_PKEY *mcp_jwk_rsa_make(const unsigned char *n, size_t nlen,
    const unsigned char *e, size_t elen);
static int mcp_jwk_rsa_weak(const BIGNUM *n);
static int mcp_jwk_rsa_roca(const BIGNUM *n);
static EVP_PKEY *mcp_jwk_ec(const json_t *json, unsigned *algs);
static EVP_PKEY *mcp_jwk_on_curve(EVP_PKEY *pkey);
static EVP_PKEY *mcp_jwk_okp(const json_t *json, unsigned *algs);
static EVP_PKEY *mcp_jwk_from_params(const char *type, OSSL_PARAM *params);
static long mcp_jwk_bytes(const json_t *json, const char *name,
    unsigned char *dst, size_t size);
static int mcp_jwk_is(const json_t *json, const char *name,
    const char *value);
static int mcp_jwk_text_is(const json_t *text, const char *value);


static const struct {
    mcp_str_t            name;
    unsigned             alg;
} mcp_algs[] = {
    { mcp_string("RS256"), MCP_ALG_RS256 },
    { mcp_string("RS384"), MCP_ALG_RS384 },
    { mcp_string("RS512"), MCP_ALG_RS512 },
    { mcp_string("PS256"), MCP_ALG_PS256 },
    { mcp_string("PS384"), MCP_ALG_PS384 },
    { mcp_string("PS512"), MCP_ALG_PS512 },
    { mcp_string("ES256"), MCP_ALG_ES256 },
    { mcp_string("ES384"), MCP_ALG_ES384 },
    { mcp_string("ES512"), MCP_ALG_ES512 },
    { mcp_string("EdDSA"), MCP_ALG_EDDSA },
    { mcp_string("Ed25519"), MCP_ALG_EDDSA },
    { mcp_string("Ed448"), MCP_ALG_EDDSA }
};


static const mcp_jwk_curve_t  mcp_jwk_curves[] = {
    { "P-256", "prime256v1", 32, MCP_ALG_ES256 },
    { "P-384", "secp384r1", 48, MCP_ALG_ES384 },
    { "P-521", "secp521r1", 66, MCP_ALG_ES512 }
};


unsigned
mcp_alg(const mcp_str_t *name)
{
    size_t  i;

    for (i = 0; i < sizeof(mcp_algs) / sizeof(mcp_algs[0]); i++) {
        if (mcp_str_eq(name, &mcp_algs[i].name)) {
            return mcp_algs[i].alg;
        }
    }

    return MCP_ALG_NONE;
}


mcp_jwk_set_t *
mcp_jwk_set_parse(const unsigned char *data, size_t len, unsigned max_keys,
    const char **error)
{
    int             oom, rc;
    size_t          i, n;
    json_t         *json, *keys;
    mcp_jwk_set_t  *set;

    set = NULL;
    json = NULL;

    if (len > MCP_JWK_SET_MAX) {
        *error = "the key set is too large";
        return NULL;
    }

    json = mcp_json_tree(data, len, MCP_JWK_DEPTH, &oom);
    if (json == NULL) {
        *error = oom ? "out of memory"
                     : "the key set is not a JSON object without duplicate "
                       "names";
        return NULL;
    }

    keys = json_object_get(json, "keys");
    if (!json_is_array(keys)) {
        *error = "the key set has no array \"keys\"";
        goto failed;
    }

    n = json_array_size(keys);
    if (n > max_keys) {
        *error = "the key set has too many keys";
        goto failed;
    }

    *error = "out of memory";

    set = calloc(1, sizeof(mcp_jwk_set_t));
    if (set == NULL) {
        goto failed;
    }

    set->keys = calloc(n ? n : 1, sizeof(mcp_jwk_t));
    if (set->keys == NULL) {
        goto failed;
    }

    /* a set that lacks a key for want of memory would refuse its tokens until
     * the next one is loaded */

    for (i = 0; i < n; i++) {
        rc = mcp_jwk_parse(json_array_get(keys, i), &set->keys[set->nkeys]);

        if (rc == MCP_OK) {
            set->nkeys++;

        } else if (mcp_jose_no_memory() || rc == MCP_ERROR) {
            goto failed;

        } else {
            set->skipped++;
        }
    }

    ERR_clear_error();

    if (set->nkeys == 0) {
        *error = "the key set has no key that can verify a token";
        goto failed;
    }

    json_decref(json);

    *error = NULL;

    return set;

failed:

    json_decref(json);
    mcp_jwk_set_free(set);

    return NULL;
}


void
mcp_jwk_set_free(mcp_jwk_set_t *set)
{
    unsigned  i;

    if (set == NULL) {
        return;
    }

    for (i = 0; i < set->nkeys; i++) {
        EVP_PKEY_free(set->keys[i].pkey);
        free(set->keys[i].kid.data);
    }

    free(set->keys);
    free(set);
}


int
mcp_jose_no_memory(void)
{
    int            found;
    unsigned long  e;

    /*
     * An error whose making ran out of memory can be 0, as if it were the end
     * of the queue (OpenSSL 3.6).
     */

    e = ERR_peek_last_error();
    found = (ERR_GET_REASON(e) == ERR_R_MALLOC_FAILURE);

    while ((e = ERR_get_error()) != 0) {
        found |= (ERR_GET_REASON(e) == ERR_R_MALLOC_FAILURE);
    }

    ERR_clear_error();

    return found;
}


/* Fills key, or leaves it zeroed with MCP_DECLINED: the entry is left out;
 * MCP_ERROR: no memory, as far as that is known here. */

static int
mcp_jwk_parse(const json_t *json, mcp_jwk_t *key)
{
    int  rc;

    if (!json_is_object(json) || mcp_jwk_private(json)
        || !mcp_jwk_for_signatures(json))
    {
        return MCP_DECLINED;
    }

    if (mcp_jwk_is(json, "kty", "RSA")) {
        key->pkey = mcp_jwk_rsa(json, &key->algs);

    } else if (mcp_jwk_is(json, "kty", "EC")) {
        key->pkey = mcp_jwk_ec(json, &key->algs);

    } else if (mcp_jwk_is(json, "kty", "OKP")) {
        key->pkey = mcp_jwk_okp(json, &key->algs);
    }

    rc = MCP_DECLINED;

    if (key->pkey != NULL && mcp_jwk_restrict(json, key) == MCP_OK) {
        rc = mcp_jwk_kid(json, key);

        if (rc == MCP_OK) {
            return MCP_OK;
        }
    }

    EVP_PKEY_free(key->pkey);
    memset(key, 0, sizeof(mcp_jwk_t));

    return rc;
}


/* A published private or symmetric key proves nothing any more: everybody can
 * sign with it. */

static int
mcp_jwk_private(const json_t *json)
{
    size_t  i;

    static const char  *names[] = {
        "d", "p", "q", "dp", "dq", "qi", "oth", "k"
    };

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (json_object_get(json, names[i]) != NULL) {
            return 1;
        }
    }

    return 0;
}


static int
mcp_jwk_for_signatures(const json_t *json)
{
    int      verify;
    size_t   i;
    json_t  *ops, *op;

    if (json_object_get(json, "use") != NULL
        && !mcp_jwk_is(json, "use", "sig"))
    {
        return 0;
    }

    ops = json_object_get(json, "key_ops");
    if (ops == NULL) {
        return 1;
    }

    if (!json_is_array(ops)) {
        return 0;
    }

    verify = 0;

    json_array_foreach(ops, i, op) {

        if (!json_is_string(op)) {
            return 0;
        }

        if (mcp_jwk_text_is(op, "verify")) {
            verify = 1;
        }
    }

    return verify;
}


static int
mcp_jwk_kid(const json_t *json, mcp_jwk_t *key)
{
    size_t   len;
    json_t  *kid;

    kid = json_object_get(json, "kid");
    if (kid == NULL) {
        return MCP_OK;
    }

    if (!json_is_string(kid)) {
        return MCP_DECLINED;
    }

    len = json_string_length(kid);
    if (len == 0) {
        return MCP_OK;
    }

    if (len > MCP_JWK_KID_MAX) {
        return MCP_DECLINED;
    }

    key->kid.data = malloc(len);
    if (key->kid.data == NULL) {
        return MCP_ERROR;
    }

    memcpy(key->kid.data, json_string_value(kid), json_string_length(kid));
    key->kid.len = len;

    return MCP_OK;
}


/* The member alg narrows what the kind of key allows, and never widens it. */

static int
mcp_jwk_restrict(const json_t *json, mcp_jwk_t *key)
{
    json_t     *alg;
    mcp_str_t   name;

    alg = json_object_get(json, "alg");
    if (alg == NULL) {
        return MCP_OK;
    }

    if (!json_is_string(alg)) {
        return MCP_ERROR;
    }

    name.data = (unsigned char *) json_string_value(alg);
    name.len = json_string_length(alg);

    key->algs &= mcp_alg(&name);

    if ((mcp_str_eq_lit(&name, "Ed25519")
         && EVP_PKEY_get_base_id(key->pkey) != EVP_PKEY_ED25519)
        || (mcp_str_eq_lit(&name, "Ed448")
            && EVP_PKEY_get_base_id(key->pkey) != EVP_PKEY_ED448))
    {
        return MCP_ERROR;
    }

    return key->algs ? MCP_OK : MCP_ERROR;
}


/* Sizes are checked here: OpenSSL's import takes e = 1 and 256 bits gladly. */

static EVP_PKEY *
mcp_jwk_rsa(const json_t *json, unsigned *algs)
{
    long                  len;
    size_t                nlen, elen;
    unsigned char         nbuf[MCP_RSA_BYTES_MAX + 1];
    unsigned char         ebuf[MCP_RSA_EXP_MAX + 1];
    const unsigned char  *n, *e;

    len = mcp_jwk_bytes(json, "n", nbuf, sizeof(nbuf));
    if (len <= 0) {
        return NULL;
    }

    nlen = (size_t) len;

    len = mcp_jwk_bytes(json, "e", ebuf, sizeof(ebuf));
    if (len <= 0) {
        return NULL;
    }

    elen = (size_t) len;

    /* a leading zero octet is tolerated: some publish DER integers */

    for (n = nbuf; nlen > 1 && *n == 0; n++) {
        nlen--;
    }

    for (e = ebuf; elen > 1 && *e == 0; e++) {
        elen--;
    }

    if (nlen < MCP_RSA_BYTES_MIN || nlen > MCP_RSA_BYTES_MAX
        || (nlen == MCP_RSA_BYTES_MIN && n[0] < 0x80)
        || (n[nlen - 1] & 1) == 0)
    {
        return NULL;
    }

    if (elen > MCP_RSA_EXP_MAX || (e[elen - 1] & 1) == 0
        || (elen == 1 && e[0] < 3))
    {
        return NULL;
    }

    *algs = MCP_ALG_RSA;

    return mcp_jwk_rsa_make(n, nlen, e, elen);
}


static EVP_PKEY *
mcp_jwk_rsa_make(const unsigned char *n, size_t nlen, const unsigned char *e,
    size_t elen)
{
    BIGNUM          *nbn, *ebn;
    EVP_PKEY        *pkey;
    OSSL_PARAM      *params;
    OSSL_PARAM_BLD  *bld;

    pkey = NULL;
    params = NULL;

    bld = OSSL_PARAM_BLD_new();
    nbn = BN_bin2bn(n, (int) nlen, NULL);
    ebn = BN_bin2bn(e, (int) elen, NULL);

    if (bld != NULL && nbn != NULL && ebn != NULL
        && !mcp_jwk_rsa_weak(nbn)
        && OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, nbn) == 1
        && OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, ebn) == 1)
    {
        params = OSSL_PARAM_BLD_to_param(bld);
    }

    if (params != NULL) {
        pkey = mcp_jwk_from_params("RSA", params);
    }

    /* numbers that passed are a key: what failed is OpenSSL */

    if (pkey == NULL && (nbn == NULL || !mcp_jwk_rsa_weak(nbn))) {
        ERR_raise(ERR_LIB_USER, ERR_R_MALLOC_FAILURE);
    }

    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(bld);
    BN_free(nbn);
    BN_free(ebn);

    return pkey;
}


/*
 * What EVP_PKEY_public_check() would find, but for its primality test, which
 * takes 6 ms with 2048 bits and 340 ms with 8192: a worker must not stand still
 * that long.
 */

static int
mcp_jwk_rsa_weak(const BIGNUM *n)
{
    unsigned  d;

    for (d = 3; d <= MCP_RSA_SMALL_MAX; d += 2) {
        if (BN_mod_word(n, d) == 0) {
            return 1;
        }
    }

    return mcp_jwk_rsa_roca(n);
}


/*
 * Keys of CVE-2017-15361 (ROCA) can be factored; they are powers of 65537
 * modulo each small prime.  Of others, one in more than 10^8 is.
 */

static int
mcp_jwk_rsa_roca(const BIGNUM *n)
{
    size_t    i;
    unsigned  p, r, power;

    static const unsigned char  primes[] = {
        11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73,
        79, 83, 89, 97, 101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151,
        157, 163, 167
    };

    for (i = 0; i < sizeof(primes) / sizeof(primes[0]); i++) {
        p = primes[i];
        r = (unsigned) BN_mod_word(n, p);
        power = 1;

        while (power != r) {
            power = power * (65537 % p) % p;

            if (power == 1) {
                return 0;
            }
        }
    }

    return 1;
}


static EVP_PKEY *
mcp_jwk_ec(const json_t *json, unsigned *algs)
{
    size_t                  i;
    EVP_PKEY               *pkey;
    OSSL_PARAM              params[3];
    unsigned char           point[1 + 2 * MCP_EC_BYTES_MAX];
    unsigned char           pad[MCP_EC_BYTES_MAX + 1];
    const mcp_jwk_curve_t  *curve;

    curve = NULL;

    for (i = 0; i < sizeof(mcp_jwk_curves) / sizeof(mcp_jwk_curves[0]); i++) {
        if (mcp_jwk_is(json, "crv", mcp_jwk_curves[i].crv)) {
            curve = &mcp_jwk_curves[i];
        }
    }

    if (curve == NULL) {
        return NULL;
    }

    /* full width, leading zeros kept: RFC 7518 section 6.2.1.2 */

    point[0] = 0x04;

    if (mcp_jwk_bytes(json, "x", pad, sizeof(pad)) != (long) curve->len) {
        return NULL;
    }

    memcpy(&point[1], pad, curve->len);

    if (mcp_jwk_bytes(json, "y", pad, sizeof(pad)) != (long) curve->len) {
        return NULL;
    }

    memcpy(&point[1 + curve->len], pad, curve->len);

    params[0] = OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME,
                                                 (char *) curve->group, 0);
    params[1] = OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY,
                                                  point, 1 + 2 * curve->len);
    params[2] = OSSL_PARAM_construct_end();

    *algs = curve->alg;

    pkey = mcp_jwk_on_curve(mcp_jwk_from_params("EC", params));

    if (pkey == NULL) {

        /* when memory is short OpenSSL does not always say so */

        pkey = mcp_jwk_on_curve(mcp_jwk_from_params("EC", params));
    }

    return pkey;
}


/* The import refuses points off the curve already; this is the full check. */

static EVP_PKEY *
mcp_jwk_on_curve(EVP_PKEY *pkey)
{
    EVP_PKEY_CTX  *ctx;

    if (pkey == NULL) {
        return NULL;
    }

    ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);

    if (ctx == NULL) {
        ERR_raise(ERR_LIB_USER, ERR_R_MALLOC_FAILURE);
    }

    if (ctx == NULL || EVP_PKEY_public_check(ctx) != 1) {
        EVP_PKEY_free(pkey);
        pkey = NULL;
    }

    EVP_PKEY_CTX_free(ctx);

    return pkey;
}


static EVP_PKEY *
mcp_jwk_okp(const json_t *json, unsigned *algs)
{
    int            type;
    long           len;
    EVP_PKEY      *pkey;
    unsigned char  x[MCP_OKP_BYTES_MAX + 1];

    len = mcp_jwk_bytes(json, "x", x, sizeof(x));

    if (len == 32 && mcp_jwk_is(json, "crv", "Ed25519")) {
        type = EVP_PKEY_ED25519;

    } else if (len == 57 && mcp_jwk_is(json, "crv", "Ed448")) {
        type = EVP_PKEY_ED448;

    } else {
        return NULL;
    }

    *algs = MCP_ALG_EDDSA;

    /* any string of that length is one, until it is used */

    pkey = EVP_PKEY_new_raw_public_key(type, NULL, x, (size_t) len);

    if (pkey == NULL) {
        ERR_raise(ERR_LIB_USER, ERR_R_MALLOC_FAILURE);
    }

    return pkey;
}


static EVP_PKEY *
mcp_jwk_from_params(const char *type, OSSL_PARAM *params)
{
    EVP_PKEY      *pkey;
    EVP_PKEY_CTX  *ctx;

    pkey = NULL;

    ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);

    if (ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1) {
        ERR_raise(ERR_LIB_USER, ERR_R_MALLOC_FAILURE);
        EVP_PKEY_CTX_free(ctx);
        return NULL;
    }

    if (EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1) {
        EVP_PKEY_CTX_free(ctx);
        EVP_PKEY_free(pkey);
        return NULL;
    }

    EVP_PKEY_CTX_free(ctx);

    return pkey;
}


/* The base64url member name in dst; its length, or -1: absent, no string,
 * malformed or longer than size. */

static long
mcp_jwk_bytes(const json_t *json, const char *name, unsigned char *dst,
    size_t size)
{
    size_t       len;
    json_t      *member;
    const char  *text;

    member = json_object_get(json, name);
    if (!json_is_string(member)) {
        return -1;
    }

    text = json_string_value(member);
    len = json_string_length(member);

    if (len * 3 / 4 > size) {
        return -1;
    }

    return mcp_base64url_decode(dst, (const unsigned char *) text, len);
}


static int
mcp_jwk_is(const json_t *json, const char *name, const char *value)
{
    return mcp_jwk_text_is(json_object_get(json, name), value);
}


static int
mcp_jwk_text_is(const json_t *text, const char *value)
{
    return json_is_string(text)
           && json_string_length(text) == strlen(value)
           && memcmp(json_string_value(text), value, strlen(value)) == 0;
}
