/*
 * mcp_jwk: which keys are taken, and for what.  A key that is left out is
 * counted; a set that nobody can use is an error with a sentence.
 */

#include "jose_fixture.h"

#include <time.h>

#include "mcp_jwk.h"


static mcp_jwk_set_t *
parse_text(const char *text, size_t len, unsigned max_keys,
    const char **error)
{
    mcp_jwk_set_t  *set;

    *error = "untouched";
    set = mcp_jwk_set_parse((const unsigned char *) text, len, max_keys,
                            error);
    assert_int_equal(ERR_peek_error(), 0);

    if (set == NULL) {
        assert_non_null(*error);
        assert_string_not_equal(*error, "untouched");

    } else {
        assert_null(*error);
        assert_true(set->nkeys > 0);
    }

    return set;
}


/* The algs of the only key; 0: it is left out. */

static unsigned
algs_of(const char *jwk)
{
    char           *text;
    unsigned        algs;
    const char     *error;
    mcp_jwk_set_t  *set;

    text = fx_printf("{\"keys\":[%s]}", jwk);
    set = parse_text(text, strlen(text), 64, &error);

    if (set == NULL) {
        assert_string_equal(error, "the key set has no key that can verify a "
                                   "token");
        return 0;
    }

    assert_int_equal(set->nkeys, 1);
    algs = set->keys[0].algs;
    assert_true(algs != 0);
    mcp_jwk_set_free(set);

    return algs;
}


static void
check(const char *jwk, unsigned algs)
{
    unsigned  got;

    got = algs_of(jwk);

    if (got != algs) {
        fail_msg("%s: 0x%x where 0x%x was expected", jwk, got, algs);
    }
}


#define RSA_ALL  (MCP_ALG_RS256 | MCP_ALG_RS384 | MCP_ALG_RS512               \
                  | MCP_ALG_PS256 | MCP_ALG_PS384 | MCP_ALG_PS512)


static void
test_names(void **state)
{
    size_t     i;
    mcp_str_t  s;

    static const struct {
        const char  *name;
        unsigned     alg;
    } rows[] = {
        { "RS256", MCP_ALG_RS256 }, { "RS384", MCP_ALG_RS384 },
        { "RS512", MCP_ALG_RS512 }, { "PS256", MCP_ALG_PS256 },
        { "PS384", MCP_ALG_PS384 }, { "PS512", MCP_ALG_PS512 },
        { "ES256", MCP_ALG_ES256 }, { "ES384", MCP_ALG_ES384 },
        { "ES512", MCP_ALG_ES512 }, { "EdDSA", MCP_ALG_EDDSA },
        { "Ed25519", MCP_ALG_EDDSA }, { "Ed448", MCP_ALG_EDDSA },
        { "none", 0 }, { "None", 0 }, { "HS256", 0 }, { "HS384", 0 },
        { "HS512", 0 }, { "rs256", 0 }, { "RS256 ", 0 }, { "RS25", 0 },
        { "RS2566", 0 }, { "ES256K", 0 }, { "", 0 }
    };

    (void) state;

    for (i = 0; i < fx_count(rows); i++) {
        s = fx_str(rows[i].name);
        assert_int_equal(mcp_alg(&s), rows[i].alg);
    }

    mcp_str_null(&s);
    assert_int_equal(mcp_alg(&s), MCP_ALG_NONE);
}


static void
test_members(void **state)
{
    size_t  i;

    static const struct {
        fx_key_e     key;
        const char  *more;
        unsigned     algs;
    } rows[] = {
        { FX_RSA, "", RSA_ALL },
        { FX_P256, "", MCP_ALG_ES256 },
        { FX_P384, "", MCP_ALG_ES384 },
        { FX_P521, "", MCP_ALG_ES512 },
        { FX_ED25519, "", MCP_ALG_EDDSA },
        { FX_ED448, "", MCP_ALG_EDDSA },
        { FX_RSA_1024, "", 0 },

        /* alg narrows */
        { FX_RSA, ",\"alg\":\"RS256\"", MCP_ALG_RS256 },
        { FX_RSA, ",\"alg\":\"PS512\"", MCP_ALG_PS512 },
        { FX_RSA, ",\"alg\":\"ES256\"", 0 },
        { FX_RSA, ",\"alg\":\"HS256\"", 0 },
        { FX_RSA, ",\"alg\":\"none\"", 0 },
        { FX_RSA, ",\"alg\":\"rs256\"", 0 },
        { FX_RSA, ",\"alg\":\"RSA-OAEP\"", 0 },
        { FX_RSA, ",\"alg\":\"\"", 0 },
        { FX_RSA, ",\"alg\":null", 0 },
        { FX_RSA, ",\"alg\":[\"RS256\"]", 0 },
        { FX_P256, ",\"alg\":\"ES256\"", MCP_ALG_ES256 },
        { FX_P256, ",\"alg\":\"ES384\"", 0 },
        { FX_P256, ",\"alg\":\"ES256K\"", 0 },
        { FX_P384, ",\"alg\":\"ES256\"", 0 },
        { FX_P256, ",\"alg\":\"ECDH-ES\"", 0 },
        { FX_ED25519, ",\"alg\":\"EdDSA\"", MCP_ALG_EDDSA },
        { FX_ED25519, ",\"alg\":\"Ed25519\"", MCP_ALG_EDDSA },
        { FX_ED25519, ",\"alg\":\"Ed448\"", 0 },
        { FX_ED448, ",\"alg\":\"Ed448\"", MCP_ALG_EDDSA },
        { FX_ED448, ",\"alg\":\"Ed25519\"", 0 },

        /* use and key_ops */
        { FX_P256, ",\"use\":\"sig\"", MCP_ALG_ES256 },
        { FX_P256, ",\"use\":\"enc\"", 0 },
        { FX_P256, ",\"use\":\"\"", 0 },
        { FX_P256, ",\"use\":\"SIG\"", 0 },
        { FX_P256, ",\"use\":null", 0 },
        { FX_P256, ",\"use\":[\"sig\"]", 0 },
        { FX_P256, ",\"key_ops\":[\"verify\"]", MCP_ALG_ES256 },
        { FX_P256, ",\"key_ops\":[\"sign\",\"verify\"]", MCP_ALG_ES256 },
        { FX_P256, ",\"key_ops\":[\"sign\"]", 0 },
        { FX_P256, ",\"key_ops\":[\"encrypt\",\"wrapKey\"]", 0 },
        { FX_P256, ",\"key_ops\":[]", 0 },
        { FX_P256, ",\"key_ops\":[\"verify\",1]", 0 },
        { FX_P256, ",\"key_ops\":\"verify\"", 0 },
        { FX_P256, ",\"key_ops\":null", 0 },
        { FX_P256, ",\"use\":\"enc\",\"key_ops\":[\"verify\"]", 0 },
        { FX_P256, ",\"use\":\"sig\",\"key_ops\":[\"sign\"]", 0 },

        /* private members, whatever they hold */
        { FX_P256, ",\"d\":\"AQ\"", 0 },
        { FX_P256, ",\"d\":null", 0 },
        { FX_RSA, ",\"d\":\"AQ\"", 0 },
        { FX_RSA, ",\"p\":\"AQ\"", 0 },
        { FX_RSA, ",\"q\":\"AQ\"", 0 },
        { FX_RSA, ",\"dp\":\"AQ\"", 0 },
        { FX_RSA, ",\"dq\":\"AQ\"", 0 },
        { FX_RSA, ",\"qi\":\"AQ\"", 0 },
        { FX_RSA, ",\"oth\":[]", 0 },
        { FX_RSA, ",\"k\":\"AQ\"", 0 },

        /* kid */
        { FX_P256, ",\"kid\":\"a\"", MCP_ALG_ES256 },
        { FX_P256, ",\"kid\":1", 0 },
        { FX_P256, ",\"kid\":null", 0 },

        /* unknown members are ignored */
        { FX_P256, ",\"x5c\":[\"AQ\"],\"x5u\":\"http://a\",\"ext\":true",
          MCP_ALG_ES256 }
    };

    (void) state;

    for (i = 0; i < fx_count(rows); i++) {
        check(fx_jwk(rows[i].key, rows[i].more), rows[i].algs);
    }
}


static char *
rsa_jwk(const unsigned char *n, size_t nlen, const char *e)
{
    return fx_printf("{\"kty\":\"RSA\",\"n\":\"%s\",\"e\":\"%s\"}",
                     fx_b64(n, nlen), e);
}


static void
test_rsa(void **state)
{
    size_t          i;
    BIGNUM         *bn, *a, *b;
    BN_CTX         *ctx;
    unsigned char   n[256], m[2048];

    static const struct {
        const char  *e;
        unsigned     algs;
    } rows[] = {
        { "AQAB", RSA_ALL },
        { "Aw", RSA_ALL },              /* 3 */
        { "AAEAAQ", RSA_ALL },          /* leading zero */
        { "_____w", RSA_ALL },          /* 2^32 - 1 */
        { "AQAAAAE", 0 },               /* 2^32 + 1 */
        { "AQ", 0 },                    /* 1 */
        { "Ag", 0 },                    /* 2 */
        { "AQAA", 0 },                  /* even */
        { "AA", 0 },                    /* 0 */
        { "AAAAAAAA", 0 },
        { "AAAAAAAAAAAAAAAAAAAB", 0 },
        { "", 0 },
        { "AQAB=", 0 },
        { "AQAC ", 0 },
        { "Ax", 0 },                    /* unused bits */
        { "+w", 0 }
    };

    (void) state;

    bn = NULL;
    EVP_PKEY_get_bn_param(fx_key(FX_RSA), "n", &bn);
    BN_bn2binpad(bn, n, 256);
    BN_free(bn);

    for (i = 0; i < fx_count(rows); i++) {
        check(rsa_jwk(n, 256, rows[i].e), rows[i].algs);
    }

    check(fx_printf("{\"kty\":\"RSA\",\"n\":\"%s\"}", fx_b64(n, 256)), 0);
    check("{\"kty\":\"RSA\",\"e\":\"AQAB\"}", 0);
    check(fx_printf("{\"kty\":\"RSA\",\"n\":\"%s\",\"e\":65537}",
                    fx_b64(n, 256)), 0);
    check(fx_printf("{\"kty\":\"RSA\",\"n\":[\"%s\"],\"e\":\"AQAB\"}",
                    fx_b64(n, 256)), 0);
    check("{\"kty\":\"RSA\",\"n\":\"\",\"e\":\"AQAB\"}", 0);
    check("{\"kty\":\"RSA\",\"n\":\"AA\",\"e\":\"AQAB\"}", 0);

    /* leading zero octet */

    m[0] = 0;
    memcpy(m + 1, n, 256);
    check(rsa_jwk(m, 257, "AQAB"), RSA_ALL);

    /* even; 2047 bits; zeros are no bits */

    memcpy(m, n, 256);
    m[255] &= 0xfe;
    check(rsa_jwk(m, 256, "AQAB"), 0);

    memcpy(m, n, 256);
    m[0] = 0x7f;
    check(rsa_jwk(m, 256, "AQAB"), 0);

    memset(m, 0, 256);
    memcpy(m + 128, n, 128);
    check(rsa_jwk(m, 256, "AQAB"), 0);

    /* a small factor: 3, and 751 */

    memset(m, 0xff, 256);
    check(rsa_jwk(m, 256, "AQAB"), 0);

    a = BN_bin2bn(n, 256, NULL);
    BN_sub_word(a, BN_mod_word(a, 2 * 751));
    BN_add_word(a, 751);
    BN_bn2binpad(a, m, 256);
    check(rsa_jwk(m, 256, "AQAB"), 0);
    BN_free(a);

    /* 4096 bits, 8192; then one octet more; then 16k */

    a = b = NULL;
    ctx = BN_CTX_new();
    EVP_PKEY_get_bn_param(fx_key(FX_RSA), "n", &a);
    EVP_PKEY_get_bn_param(fx_key(FX_RSA_2), "n", &b);
    BN_mul(a, a, b, ctx);
    BN_bn2binpad(a, m, 512);
    check(rsa_jwk(m, 512, "AQAB"), RSA_ALL);
    BN_sqr(a, a, ctx);
    BN_bn2binpad(a, m, 1024);
    check(rsa_jwk(m, 1024, "AQAB"), RSA_ALL);
    BN_lshift(a, a, 8);
    BN_add_word(a, 17);
    BN_bn2binpad(a, m, 1025);
    check(rsa_jwk(m, 1025, "AQAB"), 0);
    BN_free(a);
    BN_free(b);
    BN_CTX_free(ctx);

    memset(m, 0xff, sizeof(m));
    check(rsa_jwk(m, 2048, "AQAB"), 0);
}


/* CVE-2017-15361: n is a power of 65537 modulo the product of the first
 * primes.  Such a number is made here; a step aside it is taken. */

static void
test_roca(void **state)
{
    size_t         i;
    BN_CTX        *ctx;
    BIGNUM        *g, *m, *n, *k;
    unsigned       p, d, prime;
    unsigned char  buf[256];

    (void) state;

    ctx = BN_CTX_new();
    g = BN_new();
    k = BN_new();
    m = BN_new();
    n = BN_new();

    BN_set_word(m, 2);

    for (p = 3; p <= 701; p += 2) {
        for (d = 3, prime = 1; d * d <= p; d += 2) {
            prime &= (p % d != 0);
        }

        if (prime) {
            BN_mul_word(m, p);
        }
    }

    for (i = 0; i < 2; i++) {
        BN_set_word(g, 65537);
        BN_set_word(k, 123457);
        BN_mod_exp(g, g, k, m, ctx);    /* also odd: m is even, g is odd */

        /* the smallest n = g + t * m of 2048 bits without a factor to 751 */

        BN_one(n);
        BN_lshift(n, n, 2047);
        BN_div(n, NULL, n, m, ctx);
        BN_add_word(n, 1);
        BN_mul(n, n, m, ctx);
        BN_add(n, n, g);

        for (d = 701; d <= 751; d += 2) {
            if (BN_mod_word(n, d) == 0) {
                BN_add(n, n, m);
                d = 699;
            }
        }

        /* aside: the next number without a small factor */

        if (i) {
            do {
                BN_add_word(n, 2);

                for (d = 3; d <= 751 && BN_mod_word(n, d); d += 2) { }

            } while (d <= 751);
        }

        assert_int_equal(BN_num_bits(n), 2048);
        BN_bn2binpad(n, buf, 256);
        check(rsa_jwk(buf, 256, "AQAB"), i ? RSA_ALL : 0);
    }

    BN_free(g);
    BN_free(k);
    BN_free(m);
    BN_free(n);
    BN_CTX_free(ctx);
}


static void
test_ec(void **state)
{
    char           *x, *y, *zx, *lx;
    size_t          i;
    BIGNUM         *bn;
    unsigned char   b[67];

    (void) state;

    x = fx_bn(fx_key(FX_P256), OSSL_PKEY_PARAM_EC_PUB_X, 32);
    y = fx_bn(fx_key(FX_P256), OSSL_PKEY_PARAM_EC_PUB_Y, 32);

    bn = NULL;
    EVP_PKEY_get_bn_param(fx_key(FX_P256), OSSL_PKEY_PARAM_EC_PUB_X, &bn);
    BN_bn2binpad(bn, b, 32);
    BN_free(bn);

    lx = fx_b64(b + 1, 31);             /* a byte short */
    memmove(b + 1, b, 32);
    b[0] = 0;
    zx = fx_b64(b, 33);                 /* a byte more */
    b[32] ^= 1;
    memset(b + 33, 0, sizeof(b) - 33);

    const struct {
        const char  *crv;
        const char  *x;
        const char  *y;
        unsigned     algs;
    } rows[] = {
        { "P-256", x, y, MCP_ALG_ES256 },
        { "P-256", y, x, 0 },           /* not on the curve */
        { "P-256", x, x, 0 },
        { "P-256", fx_b64(b + 1, 32), y, 0 },
        { "P-256", lx, y, 0 },
        { "P-256", zx, y, 0 },
        { "P-256", x, "", 0 },
        { "P-256", "", y, 0 },
        { "P-256", fx_b64(b + 33, 32), fx_b64(b + 33, 32), 0 },
        { "P-384", x, y, 0 },
        { "P-521", x, y, 0 },
        { "p-256", x, y, 0 },
        { "secp256k1", x, y, 0 },
        { "prime256v1", x, y, 0 },
        { "P-224", x, y, 0 },
        { "", x, y, 0 }
    };

    for (i = 0; i < fx_count(rows); i++) {
        check(fx_printf("{\"kty\":\"EC\",\"crv\":\"%s\",\"x\":\"%s\","
                        "\"y\":\"%s\"}", rows[i].crv, rows[i].x, rows[i].y),
              rows[i].algs);
    }

    check(fx_printf("{\"kty\":\"EC\",\"x\":\"%s\",\"y\":\"%s\"}", x, y), 0);
    check(fx_printf("{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"%s\"}", x), 0);
    check(fx_printf("{\"kty\":\"OKP\",\"crv\":\"P-256\",\"x\":\"%s\","
                    "\"y\":\"%s\"}", x, y), 0);
    check(fx_printf("{\"kty\":\"RSA\",\"crv\":\"P-256\",\"x\":\"%s\","
                    "\"y\":\"%s\"}", x, y), 0);
}


static void
test_other(void **state)
{
    size_t  i;

    static const char  *rows[] = {
        "null", "1", "[]", "\"RSA\"", "{}",
        "{\"kty\":\"oct\",\"k\":\"AAAA\"}",
        "{\"kty\":\"oct\"}",
        "{\"kty\":null}",
        "{\"kty\":[\"RSA\"]}",
        "{\"kty\":\"rsa\",\"n\":\"AQ\",\"e\":\"AQAB\"}",
        "{\"kty\":\"AKP\",\"alg\":\"ML-DSA-44\",\"pub\":\"AA\"}",
        "{\"kty\":\"OKP\"}",
        "{\"kty\":\"OKP\",\"crv\":\"Ed25519\"}",
        "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AAAA\"}",
        "{\"kty\":\"OKP\",\"crv\":\"X25519\",\"x\":"
        "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}",
        "{\"kty\":\"OKP\",\"crv\":\"Ed448\",\"x\":"
        "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}"
    };

    (void) state;

    for (i = 0; i < fx_count(rows); i++) {
        check(rows[i], 0);
    }
}


static void
test_set(void **state)
{
    char           *text, *key, *kid;
    size_t          i, len;
    const char     *error;
    mcp_jwk_set_t  *set;

    (void) state;

    /* unknown ones are left out and counted, order is kept */

    text = fx_printf("{\"x\":1,\"keys\":[{\"kty\":\"oct\",\"k\":\"AA\"},%s,7,"
                     "%s,%s]}", fx_jwk(FX_P256, ",\"kid\":\"a\""),
                     fx_jwk(FX_RSA_1024, ",\"kid\":\"w\""),
                     fx_jwk(FX_ED25519, ",\"kid\":\"\""));
    set = parse_text(text, strlen(text), 5, &error);
    assert_non_null(set);
    assert_int_equal(set->nkeys, 2);
    assert_int_equal(set->skipped, 3);
    assert_int_equal(set->keys[0].kid.len, 1);
    assert_memory_equal(set->keys[0].kid.data, "a", 1);
    assert_int_equal(set->keys[0].algs, MCP_ALG_ES256);
    assert_null(set->keys[1].kid.data);
    assert_int_equal(set->keys[1].kid.len, 0);
    memset(text, 0, strlen(text));      /* nothing points into it */
    assert_memory_equal(set->keys[0].kid.data, "a", 1);
    mcp_jwk_set_free(set);

    /* 64 keys, not 65 */

    key = fx_jwk(FX_ED25519, "");
    text = fx_alloc(66 * (strlen(key) + 1) + 32);
    len = (size_t) sprintf(text, "{\"keys\":[%s", key);

    for (i = 1; i < 64; i++) {
        len += (size_t) sprintf(text + len, ",%s", key);
    }

    strcpy(text + len, "]}");
    set = parse_text(text, strlen(text), 64, &error);
    assert_non_null(set);
    assert_int_equal(set->nkeys, 64);
    mcp_jwk_set_free(set);

    sprintf(text + len, ",%s]}", key);
    assert_null(parse_text(text, strlen(text), 64, &error));
    assert_string_equal(error, "the key set has too many keys");

    /* kid: 256 bytes at most */

    kid = fx_alloc(258);
    memset(kid, 'k', 257);
    kid[256] = '\0';
    check(fx_jwk(FX_P256, fx_printf(",\"kid\":\"%s\"", kid)), MCP_ALG_ES256);
    kid[256] = 'k';
    kid[257] = '\0';
    check(fx_jwk(FX_P256, fx_printf(",\"kid\":\"%s\"", kid)), 0);

    mcp_jwk_set_free(NULL);
}


static void
test_not_a_set(void **state)
{
    char        *huge, *key;
    size_t       i;
    const char  *error;

    (void) state;

    key = fx_jwk(FX_P256, "");

    const struct {
        const char  *text;
        const char  *error;
    } rows[] = {
        { "", "JSON" },
        { "<html></html>", "JSON" },
        { "[]", "JSON" },
        { "null", "JSON" },
        { fx_printf("[%s]", key), "JSON" },
        { fx_printf("{\"keys\":[%s]", key), "JSON" },
        { fx_printf("{\"keys\":[%s]} x", key), "JSON" },
        { fx_printf("{\"keys\":[%s],\"keys\":[]}", key), "JSON" },
        { fx_printf("{\"keys\":[%s]}", fx_jwk(FX_P256, ",\"x\":\"AA\"")),
          "JSON" },
        { fx_printf("{\"keys\":[%s]}", fx_jwk(FX_P256,
                                              ",\"kid\":\"a\\u0000b\"")),
          "JSON" },
        { fx_printf("{\"keys\":[%s]}", fx_jwk(FX_P256,
                                              ",\"kid\":\"\xff\"")),
          "JSON" },
        { fx_printf("\xef\xbb\xbf{\"keys\":[%s]}", key), "JSON" },
        { key, "no array" },
        { "{}", "no array" },
        { "{\"keys\":{}}", "no array" },
        { "{\"keys\":null}", "no array" },
        { "{\"keys\":[]}", "no key that" }
    };

    for (i = 0; i < fx_count(rows); i++) {
        assert_null(parse_text(rows[i].text, strlen(rows[i].text), 64,
                               &error));

        if (strstr(error, rows[i].error) == NULL) {
            fail_msg("%s: %s", rows[i].text, error);
        }
    }

    huge = fx_alloc(5 * 1024 * 1024 + 1);
    memset(huge, ' ', 5 * 1024 * 1024);
    huge[5 * 1024 * 1024] = '\0';
    assert_null(parse_text(huge, 5 * 1024 * 1024, 64, &error));
    assert_string_equal(error, "the key set is too large");

    memset(huge, '[', 1024 * 1024);
    memcpy(huge, "{\"keys\":", 8);
    assert_null(parse_text(huge, 1024 * 1024, 64, &error));
}


/* A second of damage. */

static void
test_mutations(void **state)
{
    char           *good, *text;
    size_t          i, n, len;
    clock_t         end;
    const char     *error;
    fx_block_t     *keep;
    mcp_jwk_set_t  *set;

    static const char  bytes[] = "\"\\{}[],:AQgw_-+/=01 \n\xff";

    (void) state;

    good = fx_printf("{\"keys\":[%s,%s,%s]}",
                     fx_jwk(FX_P256, ",\"kid\":\"a\",\"alg\":\"ES256\""),
                     fx_jwk(FX_ED25519, ",\"use\":\"sig\""),
                     fx_jwk(FX_RSA, ",\"key_ops\":[\"verify\"]"));
    len = strlen(good);
    keep = fx_blocks;
    end = clock() + CLOCKS_PER_SEC;

    while (clock() < end) {
        text = fx_printf("%s", good);
        n = 1 + fx_random() % 4;

        for (i = 0; i < n; i++) {
            text[fx_random() % len] = bytes[fx_random()
                                            % (sizeof(bytes) - 1)];
        }

        set = parse_text(text, fx_random() % 8 ? len : fx_random() % len, 64,
                         &error);

        for (i = 0; set != NULL && i < set->nkeys; i++) {
            assert_non_null(set->keys[i].pkey);
            assert_true(set->keys[i].algs != 0);
        }

        mcp_jwk_set_free(set);

        fx_release_to(keep);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_members),
        cmocka_unit_test(test_rsa),
        cmocka_unit_test(test_roca),
        cmocka_unit_test(test_ec),
        cmocka_unit_test(test_other),
        cmocka_unit_test(test_set),
        cmocka_unit_test(test_not_a_set),
        cmocka_unit_test(test_mutations)
    };

    return cmocka_run_group_tests(tests, NULL, fx_end);
}
