/*
 * mcp_jwt_verify: algorithms, signatures and the choice of the key.  Keys and
 * tokens are made by OpenSSL (jose_fixture.h); libjwt is the second opinion
 * where it can be one: RS* and ES*, typ JWT.
 */

#include "jwt_fixture.h"

#include <jwt.h>

#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/x509.h>


static const struct {
    const char  *alg;
    unsigned     bit;
    fx_key_e     key;
} algs[] = {
    { "RS256", MCP_ALG_RS256, FX_RSA },
    { "RS384", MCP_ALG_RS384, FX_RSA },
    { "RS512", MCP_ALG_RS512, FX_RSA },
    { "PS256", MCP_ALG_PS256, FX_RSA },
    { "PS384", MCP_ALG_PS384, FX_RSA },
    { "PS512", MCP_ALG_PS512, FX_RSA },
    { "ES256", MCP_ALG_ES256, FX_P256 },
    { "ES384", MCP_ALG_ES384, FX_P384 },
    { "ES512", MCP_ALG_ES512, FX_P521 },
    { "EdDSA", MCP_ALG_EDDSA, FX_ED25519 },
    { "Ed25519", MCP_ALG_EDDSA, FX_ED25519 },
    { "EdDSA", MCP_ALG_EDDSA, FX_ED448 },
    { "Ed448", MCP_ALG_EDDSA, FX_ED448 }
};


static void
test_algorithms(void **state)
{
    char              *token, *other, *dot, *header;
    size_t             i, j;
    const char        *reason;
    mcp_jwk_set_t     *sets[FX_KEYS];
    mcp_jwt_issuer_t   is;

    (void) state;

    for (j = 0; j < FX_KEYS; j++) {
        sets[j] = (j == FX_RSA_1024) ? NULL
                                     : set_of(fx_jwk((fx_key_e) j,
                                                     ",\"kid\":\"k\""));
    }

    for (i = 0; i < fx_count(algs); i++) {
        header = fx_printf("{\"alg\":\"%s\",\"kid\":\"k\"}", algs[i].alg);
        token = fx_token(algs[i].alg, algs[i].key, header, CLAIMS);

        is = issuer_default();
        is.algs = algs[i].bit;
        check_reason(algs[i].alg, refused(token, &is, sets[algs[i].key]),
                     NULL);

        is.algs = ALL & ~algs[i].bit;
        check_reason(algs[i].alg, refused(token, &is, sets[algs[i].key]),
                     "alg_not_allowed");

        is.algs = ALL;

        for (j = 0; j < FX_KEYS; j++) {
            if (sets[j] == NULL || j == algs[i].key) {
                continue;
            }

            reason = refused(token, &is, sets[j]);
            assert_non_null(reason);
        }

        /* each of the three parts is covered by the signature */

        other = fx_token(algs[i].alg, algs[i].key, header,
                         BASE ",\"jti\":\"AT.2\"}");
        dot = strrchr(other, '.');
        check_reason("other's signature",
                     refused(fx_printf("%s%s", fx_input(header, CLAIMS), dot),
                             &is, sets[algs[i].key]), "signature");

        header = fx_printf("{\"alg\":\"%s\",\"kid\":\"k\",\"x\":1}",
                           algs[i].alg);
        check_reason("other header",
                     refused(fx_printf("%s%s", fx_input(header, CLAIMS),
                                       strrchr(token, '.')),
                             &is, sets[algs[i].key]), "signature");

        dot = strrchr(token, '.');
        dot[10] = (dot[10] == 'A') ? 'B' : 'A';
        check_reason("flipped", refused(token, &is, sets[algs[i].key]),
                     "signature");
    }

    for (j = 0; j < FX_KEYS; j++) {
        mcp_jwk_set_free(sets[j]);
    }
}


/* One key for all RSA algorithms: a token may not trade one for another. */

static void
test_algorithm_swap(void **state)
{
    char              *token, *header;
    size_t             i, j;
    mcp_jwk_set_t     *set;
    mcp_jwt_issuer_t   is;

    (void) state;

    is = issuer_default();
    set = set_of(fx_jwk(FX_RSA, ""));

    for (i = 0; i < 6; i++) {
        for (j = 0; j < 6; j++) {
            header = fx_printf("{\"alg\":\"%s\"}", algs[j].alg);
            token = fx_token(algs[i].alg, FX_RSA, header, CLAIMS);
            check_reason(header, refused(token, &is, set),
                         i == j ? NULL : "signature");
        }
    }

    mcp_jwk_set_free(set);
}


static void
test_libjwt_agrees(void **state)
{
    int                rc;
    BIO               *bio;
    char              *pem, *text, *token;
    long               len;
    jwt_t             *jwt;
    size_t             i, k;
    EVP_PKEY          *pkey;
    jwt_alg_t          alg;
    mcp_jwk_set_t     *set;
    mcp_jwt_issuer_t   is;

    (void) state;

    is = issuer_default();

    for (i = 0; i < fx_count(algs); i++) {
        alg = jwt_str_alg(algs[i].alg);

        if (alg == JWT_ALG_INVAL || algs[i].alg[0] == 'P') {
            continue;
        }

        pkey = fx_key(algs[i].key);
        set = set_of(fx_jwk(algs[i].key, ""));

        /* libjwt signs, we verify */

        bio = BIO_new(BIO_s_mem());
        assert_int_equal(PEM_write_bio_PrivateKey(bio, pkey, NULL, NULL, 0,
                                                  NULL, NULL), 1);
        len = BIO_get_mem_data(bio, &pem);
        assert_int_equal(jwt_new(&jwt), 0);
        assert_int_equal(jwt_add_grants_json(jwt, CLAIMS), 0);
        assert_int_equal(jwt_set_alg(jwt, alg, (unsigned char *) pem,
                                     (int) len), 0);
        text = jwt_encode_str(jwt);
        assert_non_null(text);
        ERR_clear_error();
        check_reason("libjwt's", refused(text, &is, set), NULL);
        free(text);
        jwt_free(jwt);
        BIO_free(bio);

        /* we (the fixture) sign, both verify, both refuse */

        bio = BIO_new(BIO_s_mem());
        assert_int_equal(PEM_write_bio_PUBKEY(bio, pkey), 1);
        len = BIO_get_mem_data(bio, &pem);
        token = fx_token(algs[i].alg, algs[i].key,
                         fx_printf("{\"typ\":\"JWT\",\"alg\":\"%s\"}",
                                   algs[i].alg), CLAIMS);

        for (k = 0; k < 40; k++) {
            jwt = NULL;
            text = fx_printf("%s", token);

            if (k) {
                text[strlen(text) - 2 - k] ^= 1;

                if (strchr("{}`@/[+|~^,:;?=<>^", text[strlen(text) - 2 - k]))
                {
                    continue;       /* libb64 skips foreign characters */
                }
            }

            rc = jwt_decode(&jwt, text, (unsigned char *) pem, (int) len);
            ERR_clear_error();

            assert_int_equal(rc == 0, k == 0);
            assert_int_equal(refused(text, &is, set) == NULL, k == 0);
            jwt_free(jwt);
        }

        BIO_free(bio);
        mcp_jwk_set_free(set);
    }
}


/* RS256 -> HS256: the public key, in any of its forms, as the secret. */

static void
test_alg_confusion(void **state)
{
    BIO               *bio;
    char              *pem, *jwk, *input, *nbytes;
    long               plen;
    size_t             i, j;
    unsigned           hlen;
    BIGNUM            *bn;
    unsigned char      mac[EVP_MAX_MD_SIZE], *der, n[256];
    mcp_jwk_set_t     *set;
    mcp_jwt_issuer_t   is;

    static const char  *headers[] = {
        "{\"alg\":\"HS256\"}", "{\"alg\":\"RS256\"}", "{\"alg\":\"ES256\"}",
        "{\"alg\":\"EdDSA\"}"
    };

    (void) state;

    is = issuer_default();
    jwk = fx_jwk(FX_RSA, "");
    set = set_of(fx_printf("%s,%s,%s", jwk, fx_jwk(FX_P256, ""),
                           fx_jwk(FX_ED25519, "")));

    bio = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_PUBKEY(bio, fx_key(FX_RSA)), 1);
    plen = BIO_get_mem_data(bio, &pem);
    pem = fx_printf("%.*s", (int) plen, pem);
    BIO_free(bio);

    der = NULL;
    plen = i2d_PUBKEY(fx_key(FX_RSA), &der);
    bn = NULL;
    EVP_PKEY_get_bn_param(fx_key(FX_RSA), "n", &bn);
    BN_bn2binpad(bn, n, sizeof(n));
    BN_free(bn);
    nbytes = fx_bn(fx_key(FX_RSA), "n", 0);

    const mcp_str_t  secrets[] = {
        fx_str(pem), fx_str(fx_printf(" \n%s", pem)),
        { (size_t) plen, der }, { sizeof(n), n }, fx_str(nbytes),
        fx_str(jwk), fx_str("")
    };

    for (i = 0; i < fx_count(secrets); i++) {
        for (j = 0; j < fx_count(headers); j++) {
            input = fx_input(headers[j], CLAIMS);
            HMAC(EVP_sha256(), secrets[i].data, (int) secrets[i].len,
                 (unsigned char *) input, strlen(input), mac, &hlen);
            check_reason(headers[j],
                         refused(fx_printf("%s.%s", input,
                                           fx_b64(mac, hlen)), &is, set),
                         j == 0 ? "alg" : "signature");
        }
    }

    OPENSSL_free(der);
    mcp_jwk_set_free(set);
}


/* Order of the curve, as OpenSSL knows it, base64url. */

static void
es_order(EVP_PKEY *k, unsigned char *n, int width)
{
    BIGNUM  *bn;

    bn = NULL;
    assert_int_equal(EVP_PKEY_get_bn_param(k, OSSL_PKEY_PARAM_EC_ORDER, &bn),
                     1);
    BN_bn2binpad(bn, n, width);
    BN_free(bn);
}


static void
test_es_signature(void **state)
{
    int                len;
    char              *input;
    size_t             i, j, w, tried;
    BIGNUM            *s, *n;
    const char        *header;
    ECDSA_SIG         *es;
    EVP_PKEY          *k;
    unsigned char      sig[1024], bad[1024], order[66], *der;
    mcp_jwk_set_t     *set;
    mcp_jwt_issuer_t   is;

    (void) state;

    is = issuer_default();

    for (i = 6; i < 9; i++) {
        k = fx_key(algs[i].key);
        set = set_of(fx_jwk(algs[i].key, ""));
        w = (size_t) (EVP_PKEY_get_bits(k) + 7) / 8;
        header = fx_printf("{\"alg\":\"%s\"}", algs[i].alg);
        input = fx_input(header, CLAIMS);
        es_order(k, order, (int) w);

        assert_int_equal(fx_signature(algs[i].alg, k, input, 0, sig), 2 * w);

#define es_check(data, size, want)                                            \
        check_reason(header, refused(fx_printf("%s.%s", input,                \
                                               fx_b64(data, size)),           \
                                     &is, set), want)

        es_check(sig, 2 * w, NULL);

        /* psychic: r and s of 0 and n, in all combinations */

        for (j = 0; j < 16; j++) {
            memset(bad, 0, sizeof(bad));

            if ((j & 3) == 1) {
                memcpy(bad, order, w);
            } else if ((j & 3) == 2) {
                memcpy(bad, sig, w);
            } else if ((j & 3) == 3) {
                bad[w - 1] = 1;
            }

            if ((j >> 2) == 1) {
                memcpy(bad + w, order, w);
            } else if ((j >> 2) == 2) {
                memset(bad + w, 0xff, w);
            } else if ((j >> 2) == 3) {
                bad[2 * w - 1] = 1;
            }

            es_check(bad, 2 * w, "signature");
        }

        /* lengths */

        memset(bad, 0, sizeof(bad));
        memcpy(bad, sig, 2 * w);
        es_check(bad, 2 * w - 1, "signature");
        es_check(bad, 2 * w + 1, "signature");
        es_check(bad, w, "signature");
        es_check(bad, 1, "signature");
        es_check(bad, 1000, "signature");

        memset(bad, 0, 1);
        memcpy(bad + 1, sig, w);
        memset(bad + 1 + w, 0, 1);
        memcpy(bad + 2 + w, sig + w, w);
        es_check(bad, 2 * w + 2, "signature");

        /* DER as it is */

        es = ECDSA_SIG_new();
        s = BN_bin2bn(sig + w, (int) w, NULL);
        ECDSA_SIG_set0(es, BN_bin2bn(sig, (int) w, NULL), s);
        der = NULL;
        len = i2d_ECDSA_SIG(es, &der);
        es_check(der, (size_t) len, "signature");
        OPENSSL_free(der);

        /* n - s is as good as s, so signatures name no token */

        n = BN_bin2bn(order, (int) w, NULL);
        memcpy(bad, sig, w);
        BN_sub(n, n, s);
        BN_bn2binpad(n, bad + w, (int) w);
        es_check(bad, 2 * w, NULL);
        BN_free(n);
        ECDSA_SIG_free(es);

        /* short r or s: DER of each length */

        for (j = 0, tried = 0; j < 600 && tried < 2; j++) {
            input = fx_input(header, fx_printf("%s,\"n\":%zu}", BASE, j));
            fx_signature(algs[i].alg, k, input, 0, sig);

            if ((w == 66 ? sig[1] : sig[0]) == 0
                || (w == 66 ? sig[w + 1] : sig[w]) == 0)
            {
                tried++;
                es_check(sig, 2 * w, NULL);
            }
        }

        mcp_jwk_set_free(set);
    }

#undef es_check
}


static void
test_rsa_signature(void **state)
{
    char              *input, *header;
    size_t             i, len;
    EVP_PKEY          *k;
    unsigned char      sig[1024], bad[1024];
    mcp_jwk_set_t     *set;
    mcp_jwt_issuer_t   is;

    static const struct {
        int          salt;
        const char  *reason;
    } salts[] = {
        { RSA_PSS_SALTLEN_DIGEST, NULL },
        { 32, NULL },
        { 0, "signature" },
        { 20, "signature" },
        { 31, "signature" },
        { 33, "signature" },
        { RSA_PSS_SALTLEN_MAX, "signature" }
    };

    (void) state;

    is = issuer_default();
    k = fx_key(FX_RSA);
    set = set_of(fx_jwk(FX_RSA, ""));

    header = fx_printf("{\"alg\":\"RS256\"}");
    input = fx_input(header, CLAIMS);
    len = fx_signature("RS256", k, input, 0, sig);
    assert_int_equal(len, 256);

#define rsa_check(data, size, want)                                           \
    check_reason(header, refused(fx_printf("%s.%s", input,                    \
                                           fx_b64(data, size)), &is, set),    \
                 want)

    rsa_check(sig, 256, NULL);
    rsa_check(sig, 255, "signature");
    rsa_check(sig, 1, "signature");
    rsa_check(sig + 1, 255, "signature");
    memset(bad, 0, sizeof(bad));
    memcpy(bad, sig, 256);
    rsa_check(bad, 257, "signature");
    rsa_check(bad, 512, "signature");
    memset(bad, 0, sizeof(bad));
    memcpy(bad + 1, sig, 256);
    rsa_check(bad, 257, "signature");
    memset(bad, 0, sizeof(bad));
    rsa_check(bad, 256, "signature");
    bad[255] = 1;
    rsa_check(bad, 256, "signature");
    memset(bad, 0xff, sizeof(bad));
    rsa_check(bad, 256, "signature");

    header = fx_printf("{\"alg\":\"PS256\"}");
    input = fx_input(header, CLAIMS);

    for (i = 0; i < fx_count(salts); i++) {
        len = fx_signature("PS256", k, input, salts[i].salt, sig);
        rsa_check(sig, len, salts[i].reason);
    }

    mcp_jwk_set_free(set);

#undef rsa_check
}


static void
test_key_choice(void **state)
{
    char              *rsa, *p256, *token;
    size_t             i;
    mcp_jwk_set_t     *set;
    mcp_jwt_issuer_t   is;

    (void) state;

    is = issuer_default();
    rsa = fx_jwk(FX_RSA, ",\"kid\":\"k\"");
    p256 = fx_jwk(FX_P256, ",\"kid\":\"k\"");

#define P256_2(m)  fx_jwk(FX_P256_2, m)

    const struct {
        const char  *set;
        const char  *header;
        const char  *reason;
    } rows[] = {
        /* no kid in the token */
        { fx_jwk(FX_P256, ""), "{\"alg\":\"ES256\"}", NULL },
        { p256, "{\"alg\":\"ES256\"}", NULL },
        { fx_printf("%s,%s", p256, rsa), "{\"alg\":\"ES256\"}", NULL },
        { fx_printf("%s,%s", p256, P256_2("")), "{\"alg\":\"ES256\"}",
          "kid_missing" },
        { rsa, "{\"alg\":\"ES256\"}", "unknown_key" },

        /* with one */
        { p256, "{\"alg\":\"ES256\",\"kid\":\"k\"}", NULL },
        { p256, "{\"alg\":\"ES256\",\"kid\":\"K\"}", "unknown_key" },
        { p256, "{\"alg\":\"ES256\",\"kid\":\"kk\"}", "unknown_key" },
        { fx_jwk(FX_P256, ""), "{\"alg\":\"ES256\",\"kid\":\"k\"}",
          "unknown_key" },
        { fx_printf("%s,%s", P256_2(",\"kid\":\"j\""), p256),
          "{\"alg\":\"ES256\",\"kid\":\"k\"}", NULL },
        { fx_printf("%s,%s", p256, P256_2(",\"kid\":\"j\"")),
          "{\"alg\":\"ES256\",\"kid\":\"j\"}", "signature" },
        { rsa, "{\"alg\":\"ES256\",\"kid\":\"k\"}", "alg_key_mismatch" },
        { fx_jwk(FX_RSA, ",\"kid\":\"k\",\"alg\":\"PS256\""),
          "{\"alg\":\"RS256\",\"kid\":\"k\"}", "alg_key_mismatch" },
        { fx_jwk(FX_ED448, ",\"kid\":\"k\""),
          "{\"alg\":\"Ed25519\",\"kid\":\"k\"}", "alg_key_mismatch" },
        { fx_jwk(FX_ED25519, ",\"kid\":\"k\""),
          "{\"alg\":\"Ed448\",\"kid\":\"k\"}", "alg_key_mismatch" },

        /* the same kid more than once: those that fit, at most four */
        { fx_printf("%s,%s", rsa, p256), "{\"alg\":\"ES256\",\"kid\":\"k\"}",
          NULL },
        { fx_printf("%s,%s", P256_2(",\"kid\":\"k\""), p256),
          "{\"alg\":\"ES256\",\"kid\":\"k\"}", NULL },
        { fx_printf("%s,%s,%s,%s", P256_2(",\"kid\":\"k\""),
                    P256_2(",\"kid\":\"k\""), P256_2(",\"kid\":\"k\""), p256),
          "{\"alg\":\"ES256\",\"kid\":\"k\"}", NULL },
        { fx_printf("%s,%s,%s,%s,%s", P256_2(",\"kid\":\"k\""),
                    P256_2(",\"kid\":\"k\""), P256_2(",\"kid\":\"k\""),
                    P256_2(",\"kid\":\"k\""), p256),
          "{\"alg\":\"ES256\",\"kid\":\"k\"}", "signature" },
        { fx_printf("%s,%s,%s,%s,%s", rsa, rsa, rsa, rsa, p256),
          "{\"alg\":\"ES256\",\"kid\":\"k\"}", NULL }
    };

    for (i = 0; i < fx_count(rows); i++) {
        set = set_of(rows[i].set);
        token = fx_token("ES256", FX_P256, rows[i].header, CLAIMS);
        check_reason(rows[i].header, refused(token, &is, set),
                     rows[i].reason);
        mcp_jwk_set_free(set);
    }

#undef P256_2
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_algorithms),
        cmocka_unit_test(test_algorithm_swap),
        cmocka_unit_test(test_libjwt_agrees),
        cmocka_unit_test(test_alg_confusion),
        cmocka_unit_test(test_es_signature),
        cmocka_unit_test(test_rsa_signature),
        cmocka_unit_test(test_key_choice)
    };

    return cmocka_run_group_tests(tests, NULL, fx_end);
}
