/*
 * mcp_jwt_parse and base64url: every attack on the header or on the token's
 * text is a row of a table here.  Each token is correctly signed, so that
 * only the thing in question can be the reason.
 */

#include "jwt_fixture.h"


static void
test_base64url(void **state)
{
    long           n;
    size_t         i;
    unsigned char  out[16];

    static const struct {
        const char  *text;
        long         len;
        const char  *bytes;
    } rows[] = {
        { "", 0, "" },
        { "AA", 1, "\0" },
        { "_w", 1, "\xff" },
        { "_-8", 2, "\xff\xef" },
        { "-_-_", 3, "\xfb\xff\xbf" },
        { "Zm9vYmE", 5, "fooba" },
        { "A", -1, NULL },
        { "AAAAA", -1, NULL },
        { "AB", -1, NULL },             /* unused bits */
        { "AAB", -1, NULL },
        { "AC", -1, NULL },
        { "AE", -1, NULL },
        { "AI", -1, NULL },
        { "AAC", -1, NULL },
        { "_x", -1, NULL },
        { "_-9", -1, NULL },
        { "Zm9vYmF", -1, NULL },
        { "AA==", -1, NULL },
        { "AAA=", -1, NULL },
        { "A+AA", -1, NULL },
        { "A/AA", -1, NULL },
        { "AA\nA", -1, NULL },
        { " AAA", -1, NULL },
        { "AA.A", -1, NULL },
        { "AA\x80" "A", -1, NULL },
        { "A\xff", -1, NULL }
    };

    (void) state;

    for (i = 0; i < fx_count(rows); i++) {
        n = mcp_base64url_decode(out, (const unsigned char *) rows[i].text,
                                 strlen(rows[i].text));

        if (n != rows[i].len) {
            fail_msg("\"%s\": %ld", rows[i].text, n);
        }

        if (n > 0) {
            assert_memory_equal(out, rows[i].bytes, (size_t) n);
        }
    }
}


static void
test_header(void **state)
{
    char              *token, *deep;
    size_t             i;
    mcp_jwk_set_t     *set;
    mcp_jwt_issuer_t   is;

    static const struct {
        const char  *header;
        const char  *reason;
    } rows[] = {
        { "{\"alg\":\"ES256\"}", NULL },
        { " {\"alg\" : \"ES256\"}\n", NULL },
        { "{\"alg\":\"ES256\",\"typ\":\"JWT\"}", NULL },
        { "{\"alg\":\"ES256\",\"typ\":\"jwt\"}", NULL },
        { "{\"alg\":\"ES256\",\"typ\":\"application/jwt\"}", NULL },
        { "{\"alg\":\"ES256\",\"typ\":\"at+jwt\"}", NULL },
        { "{\"alg\":\"ES256\",\"typ\":\"Application/AT+JWT\"}", NULL },
        { "{\"alg\":\"ES256\",\"unknown\":{\"a\":[1]}}", NULL },
        { "{\"alg\":\"ES256\",\"cty\":\"json\"}", NULL },

        /* alg */
        { "{}", "alg" },
        { "{\"alg\":\"none\"}", "alg" },
        { "{\"alg\":\"None\"}", "alg" },
        { "{\"alg\":\"NONE\"}", "alg" },
        { "{\"alg\":\"nOnE\"}", "alg" },
        { "{\"alg\":\"\"}", "alg" },
        { "{\"alg\":null}", "alg" },
        { "{\"alg\":0}", "alg" },
        { "{\"alg\":[\"ES256\"]}", "alg" },
        { "{\"alg\":{\"alg\":\"ES256\"}}", "alg" },
        { "{\"alg\":\"es256\"}", "alg" },
        { "{\"alg\":\"ES256 \"}", "alg" },
        { "{\"alg\":\"ES256K\"}", "alg" },
        { "{\"alg\":\"HS256\"}", "alg" },
        { "{\"alg\":\"HS384\"}", "alg" },
        { "{\"alg\":\"HS512\"}", "alg" },
        { "{\"alg\":\"RSA-OAEP\"}", "alg" },
        { "{\"Alg\":\"ES256\"}", "alg" },
        { "{\"header\":{\"alg\":\"ES256\"}}", "alg" },
        { "{\"alg\":\"ES384\"}", "unknown_key" },
        { "{\"alg\":\"RS256\"}", "unknown_key" },

        /* extensions */
        { "{\"alg\":\"ES256\",\"crit\":[\"exp\"]}", "crit" },
        { "{\"alg\":\"ES256\",\"crit\":[]}", "crit" },
        { "{\"alg\":\"ES256\",\"crit\":\"b64\"}", "crit" },
        { "{\"alg\":\"ES256\",\"crit\":null}", "crit" },
        { "{\"alg\":\"ES256\",\"crit\":[\"b64\"],\"b64\":false}", "crit" },
        { "{\"alg\":\"ES256\",\"b64\":false}", "header_extension" },
        { "{\"alg\":\"ES256\",\"b64\":true}", "header_extension" },
        { "{\"alg\":\"ES256\",\"zip\":\"DEF\"}", "header_extension" },
        { "{\"alg\":\"ES256\",\"enc\":\"A256GCM\"}", "header_extension" },
        { "{\"alg\":\"ES256\",\"epk\":{}}", "header_extension" },
        { "{\"alg\":\"ES256\",\"p2c\":1000000000}", "header_extension" },

        /* other uses */
        { "{\"alg\":\"ES256\",\"typ\":\"application/okta-internal-at+jwt\"}",
          "typ" },
        { "{\"alg\":\"ES256\",\"typ\":\"oauth-id-jag+jwt\"}", "typ" },
        { "{\"alg\":\"ES256\",\"typ\":\"id-jag\"}", "typ" },
        { "{\"alg\":\"ES256\",\"typ\":\"dpop+jwt\"}", "typ" },
        { "{\"alg\":\"ES256\",\"typ\":\"logout+jwt\"}", "typ" },
        { "{\"alg\":\"ES256\",\"typ\":\"secevent+jwt\"}", "typ" },
        { "{\"alg\":\"ES256\",\"typ\":\"token-introspection+jwt\"}", "typ" },
        { "{\"alg\":\"ES256\",\"typ\":\"global-token-revocation+jwt\"}",
          "typ" },
        { "{\"alg\":\"ES256\",\"typ\":\"JOSE\"}", "typ" },
        { "{\"alg\":\"ES256\",\"typ\":\"JWT \"}", "typ" },
        { "{\"alg\":\"ES256\",\"typ\":\"application/\"}", "typ" },
        { "{\"alg\":\"ES256\",\"typ\":\"text/jwt\"}", "typ" },
        { "{\"alg\":\"ES256\",\"typ\":\"application/application/jwt\"}",
          "typ" },
        { "{\"alg\":\"ES256\",\"typ\":\"\"}", "typ" },
        { "{\"alg\":\"ES256\",\"typ\":null}", "typ" },
        { "{\"alg\":\"ES256\",\"typ\":[\"JWT\"]}", "typ" },
        { "{\"alg\":\"ES256\",\"cty\":\"JWT\"}", "nested" },
        { "{\"alg\":\"ES256\",\"cty\":\"jwt\"}", "nested" },
        { "{\"alg\":\"ES256\",\"cty\":\"application/jwt\"}", "nested" },
        { "{\"alg\":\"ES256\",\"cty\":1}", "nested" },

        /* kid */
        { "{\"alg\":\"ES256\",\"kid\":\"\"}", "kid" },
        { "{\"alg\":\"ES256\",\"kid\":1}", "kid" },
        { "{\"alg\":\"ES256\",\"kid\":null}", "kid" },
        { "{\"alg\":\"ES256\",\"kid\":[\"a\"]}", "kid" },
        { "{\"alg\":\"ES256\",\"kid\":\"../../dev/null\"}", "unknown_key" },
        { "{\"alg\":\"ES256\",\"kid\":\"x' UNION SELECT 'k\"}",
          "unknown_key" },
        { "{\"alg\":\"ES256\",\"kid\":\"\\r\\nFLUSHALL\\r\\n\"}",
          "unknown_key" },
        { "{\"alg\":\"ES256\",\"kid\":\"a\\u0000b\"}", "header_json" },

        /* JSON */
        { "", "token_segments" },
        { "null", "header_json" },
        { "[]", "header_json" },
        { "\"ES256\"", "header_json" },
        { "{\"alg\":\"ES256\"", "header_json" },
        { "{\"alg\":\"ES256\"}}", "header_json" },
        { "{\"alg\":\"ES256\"} x", "header_json" },
        { "{\"alg\":\"ES256\"}{}", "header_json" },
        { "{\"alg\":\"ES256\",}", "header_json" },
        { "{'alg':'ES256'}", "header_json" },
        { "\xef\xbb\xbf{\"alg\":\"ES256\"}", "header_json" },
        { "{\"alg\":\"ES256\",\"alg\":\"ES256\"}", "header_json" },
        { "{\"alg\":\"none\",\"alg\":\"ES256\"}", "header_json" },
        { "{\"alg\":\"ES256\",\"\\u0061lg\":\"none\"}", "header_json" },
        { "{\"alg\":\"ES256\",\"x\":\"\xff\"}", "header_json" },
        { "{\"alg\":\"ES256\",\"x\":\"\xc0\x80\"}", "header_json" },
        { "{\"alg\":\"ES256\",\"x\":\"\xed\xa0\x80\"}", "header_json" },
        { "{\"alg\":\"ES256\",\"x\":\"\\ud800\"}", "header_json" },
        { "{\"alg\":\"ES256\",\"x\":{\"a\":{\"b\":{\"c\":1}}}}", NULL },
        { "{\"alg\":\"ES256\",\"x\":{\"a\":{\"b\":{\"c\":[]}}}}",
          "header_json" },
        { "{\"alg\":\"ES256\",\"x\":\"[[[[[[[[\\\"[[[[[[[\"}", NULL },
        { "{\"alg\":\"ES256\",\"x\":\"\\\\\",\"y\":[[[[]]]]}",
          "header_json" }
    };

    (void) state;

    is = issuer_default();
    set = set_of(fx_jwk(FX_P256, ",\"kid\":\"k\""));

    for (i = 0; i < fx_count(rows); i++) {
        token = fx_token("ES256", FX_P256, rows[i].header, CLAIMS);
        check_reason(rows[i].header, refused(token, &is, set),
                     rows[i].reason);
    }

    /* a kid of 256 bytes is looked up, a longer one is not; 64 KiB neither */

    deep = fx_alloc(65537);
    memset(deep, 'k', 65536);
    deep[256] = '\0';
    token = fx_token("ES256", FX_P256,
                     fx_printf("{\"alg\":\"ES256\",\"kid\":\"%s\"}", deep),
                     CLAIMS);
    check_reason("kid 256", refused(token, &is, set), "unknown_key");

    deep[256] = 'k';
    deep[257] = '\0';
    token = fx_token("ES256", FX_P256,
                     fx_printf("{\"alg\":\"ES256\",\"kid\":\"%s\"}", deep),
                     CLAIMS);
    check_reason("kid 257", refused(token, &is, set), "kid");

    deep[257] = 'k';
    deep[65536] = '\0';
    token = fx_token("ES256", FX_P256,
                     fx_printf("{\"alg\":\"ES256\",\"kid\":\"%s\"}", deep),
                     CLAIMS);
    check_reason("kid 64k", refused(token, &is, set), "token_too_large");

    /* spaces */

    memset(deep, ' ', 65536);
    deep[5000] = '\0';
    token = fx_token("ES256", FX_P256,
                     fx_printf("{%s\"alg\":\"ES256\"}", deep), CLAIMS);
    check_reason("spaces", refused(token, &is, set), "header_too_large");

    mcp_jwk_set_free(set);
}


/* Keys that the token brings along are never used, nor fetched. */

static void
test_embedded_keys(void **state)
{
    char              *header, *token;
    size_t             i;
    mcp_jwk_set_t     *set;
    mcp_jwt_issuer_t   is;

    (void) state;

    is = issuer_default();
    set = set_of(fx_jwk(FX_P256, ",\"kid\":\"k\""));

    const char  *brought[] = {
        fx_printf("\"jwk\":%s", fx_jwk(FX_P256_2, "")),
        "\"jku\":\"http://127.0.0.1:1/keys\"",
        "\"jku\":\"https://good.example@evil.example/\"",
        "\"x5u\":\"http://127.0.0.1:1/cert\"",
        "\"x5c\":[\"MIIB\"]"
    };

    for (i = 0; i < fx_count(brought); i++) {
        header = fx_printf("{\"alg\":\"ES256\",\"kid\":\"k\",%s}",
                           brought[i]);
        token = fx_token("ES256", FX_P256_2, header, CLAIMS);
        check_reason(brought[i], refused(token, &is, set), "signature");

        token = fx_token("ES256", FX_P256, header, CLAIMS);
        check_reason(brought[i], refused(token, &is, set), NULL);
    }

    mcp_jwk_set_free(set);
}


static void
test_token_text(void **state)
{
    char              *good, *input, *huge, *h, *c, *s;
    size_t             i;
    mcp_jwk_set_t     *set;
    mcp_jwt_issuer_t   is;

    (void) state;

    is = issuer_default();
    set = set_of(fx_jwk(FX_P256, ""));

    good = fx_token("ES256", FX_P256, "{\"alg\":\"ES256\"}", CLAIMS);
    input = fx_input("{\"alg\":\"ES256\"}", CLAIMS);
    s = strrchr(good, '.') + 1;
    h = fx_b64("{\"alg\":\"ES256\"}", 15);
    c = fx_b64(CLAIMS, strlen(CLAIMS));

    const struct {
        const char  *token;
        const char  *reason;
    } rows[] = {
        { good, NULL },
        { "", "token_segments" },
        { ".", "token_segments" },
        { "..", "token_segments" },
        { "...", "token_segments" },
        { "....", "token_encrypted" },
        { ".....", "token_segments" },
        { "A.A.A", "token_encoding" },
        { h, "token_segments" },
        { input, "token_segments" },
        { fx_printf("%s.", input), "token_segments" },
        { fx_printf(".%s.%s", c, s), "token_segments" },
        { fx_printf("%s..%s", h, s), "token_segments" },
        { fx_printf("%s.", good), "token_segments" },
        { fx_printf("%s.%s", good, s), "token_segments" },
        { fx_printf("%s.%s.%s", good, s, s), "token_encrypted" },
        { fx_printf("%s=", good), "token_characters" },
        { fx_printf("%s==", good), "token_characters" },
        { fx_printf("%s!!!", good), "token_characters" },
        { fx_printf(" %s", good), "token_characters" },
        { fx_printf("%s ", good), "token_characters" },
        { fx_printf("%s\n", good), "token_characters" },
        { fx_printf("%s,%s", good, good), "token_characters" },
        { fx_printf("%s.%s+.%s", h, c, s), "token_characters" },
        { fx_printf("%s%%2E%s.%s", h, c, s), "token_characters" },
        { fx_printf("%sA", good), "signature" },
        { fx_printf("%sAA", good), "signature" },
        { fx_printf("%sAAA", good), "token_encoding" },
        { fx_printf("%s.%s", fx_input("{\"alg\":\"ES256\"}",
                                      "{\"iss\":\"" ISS "\"} x"), s),
          "payload_json" },
        { fx_printf("%s.%s", fx_input("{\"alg\":\"ES256\"}", "[]"), s),
          "payload_json" },
        { fx_printf("%s.%s.%s", h, fx_b64(CLAIMS "\0", sizeof(CLAIMS)), s),
          "payload_json" },
        { "{\"payload\":\"\",\"signatures\":[]}", "token_characters" }
    };

    for (i = 0; i < fx_count(rows); i++) {
        check_reason(rows[i].token, refused(rows[i].token, &is, set),
                     rows[i].reason);
    }

    /* the last character has four unused bits: only one form is the token */

    for (i = 0; i < 64; i++) {
        static const char  set64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklm"
                                     "nopqrstuvwxyz0123456789-_";

        huge = fx_printf("%s", good);

        if (huge[strlen(huge) - 1] != set64[i]) {
            huge[strlen(huge) - 1] = set64[i];
            assert_non_null(refused(huge, &is, set));
        }
    }

    /* 1 MB, and the limit itself */

    huge = fx_alloc(1024 * 1024 + 1);
    memset(huge, '.', 1024 * 1024);
    huge[1024 * 1024] = '\0';
    check_reason("1 MB", refused(huge, &is, set), "token_too_large");
    huge[16384] = '\0';
    check_reason("16k dots", refused(huge, &is, set), "token_segments");
    huge[16384] = '.';
    huge[16385] = '\0';
    check_reason("16k + 1", refused(huge, &is, set), "token_too_large");

    mcp_jwk_set_free(set);
}


static void
test_issuer(void **state)
{
    size_t             i;
    mcp_str_t          s;
    mcp_jwt_t         *jwt;
    const char        *reason;
    mcp_jwk_set_t     *set;
    mcp_jwt_issuer_t   is;

    static const struct {
        const char  *claims;
        const char  *reason;
    } rows[] = {
        { CLAIMS, NULL },
        { "{}", "iss" },
        { "{\"iss\":null}", "iss" },
        { "{\"iss\":\"\"}", "iss" },
        { "{\"iss\":1}", "iss" },
        { "{\"iss\":[\"" ISS "\"]}", "iss" },
        { "{\"iss\":{\"" ISS "\":1}}", "iss" },
        { "{\"iss\":\"" ISS "/\"}", "iss" },
        { "{\"iss\":\"https://id.example.com/oauth2/other\"}", "iss" },
        { "{\"iss\":\"https://id.example.com/oauth2/defaul\"}", "iss" },
        { "{\"iss\":\"https://ID.example.com/oauth2/default\"}", "iss" },
        { "{\"ISS\":\"" ISS "\"}", "iss" },
        { "{\"iss\":\"" ISS "\\u0000\"}", "payload_json" },
        { "{\"iss\":\"evil\",\"iss\":\"" ISS "\"}", "payload_json" }
    };

    (void) state;

    is = issuer_default();
    set = set_of(fx_jwk(FX_P256, ""));

    for (i = 0; i < fx_count(rows); i++) {
        check_reason(rows[i].claims,
                     refused(fx_token("ES256", FX_P256, "{\"alg\":\"ES256\"}",
                                      rows[i].claims), &is, set),
                     rows[i].reason);
    }

    s = fx_str(fx_token("ES256", FX_P256,
                        "{\"alg\":\"ES256\",\"kid\":\"k\"}", CLAIMS));
    jwt = mcp_jwt_parse(&s, s.len, &reason);
    assert_non_null(jwt);
    check_str(mcp_jwt_iss(jwt), ISS);
    check_str(mcp_jwt_kid(jwt), "k");

    /* the claims step does not trust the caller's choice either */

    mcp_str_set(&is.issuer, ISS "/");
    assert_null(mcp_jwt_claims(jwt, &is, NOW, &fx_mem, &reason));
    assert_string_equal(reason, "iss");
    mcp_jwt_free(jwt);

    s = fx_str(fx_token("ES256", FX_P256, "{\"alg\":\"ES256\"}", CLAIMS));
    jwt = mcp_jwt_parse(&s, s.len, &reason);
    assert_non_null(jwt);
    assert_int_equal(mcp_jwt_kid(jwt)->len, 0);
    mcp_jwt_free(jwt);

    mcp_jwk_set_free(set);
}


/* A second of damage to the text: nothing is touched out of bounds, and nothing
 * damaged is taken for good. */

static void
test_mutations(void **state)
{
    char              *good, *token;
    size_t             i, n, len, rounds;
    clock_t            end;
    fx_block_t        *keep;
    mcp_jwk_set_t     *set;
    mcp_jwt_issuer_t   is;

    (void) state;

    is = issuer_default();
    set = set_of(fx_jwk(FX_ED25519, ""));
    good = fx_token("EdDSA", FX_ED25519, "{\"alg\":\"EdDSA\"}", CLAIMS);
    len = strlen(good);
    keep = fx_blocks;
    end = clock() + CLOCKS_PER_SEC;

    for (rounds = 0; clock() < end; rounds++) {
        token = fx_printf("%s", good);
        n = 1 + fx_random() % 3;

        for (i = 0; i < n; i++) {
            token[fx_random() % len] = (char) (1 + fx_random() % 255);
        }

        if (fx_random() % 8 == 0) {
            token[fx_random() % len] = '\0';
        }

        if (strcmp(token, good) != 0) {
            assert_non_null(refused(token, &is, set));
        }

        fx_release_to(keep);
    }

    assert_true(rounds > 100);
    assert_null(refused(good, &is, set));
    mcp_jwk_set_free(set);
}


/* jansson loses a NUL that follows a number; nobody else reads such JSON. */

static void
test_nul(void **state)
{
    char        *head, *token, claims[] = "{\"iss\":\"x\",\"iat\":17?}";
    size_t       i;
    mcp_jwt_t   *jwt;
    mcp_str_t    s;
    const char  *reason;

    (void) state;

    head = fx_b64("{\"alg\":\"ES256\"}", 15);

    for (i = 0; i < 2; i++) {
        claims[sizeof(claims) - 3] = i ? '\0' : '0';

        token = fx_printf("%s.%s.AAAA", head,
                          fx_b64(claims, sizeof(claims) - 1));
        s = fx_str(token);
        jwt = mcp_jwt_parse(&s, 16384, &reason);

        if (i) {
            assert_null(jwt);

        } else {
            assert_non_null(jwt);
            mcp_jwt_free(jwt);
        }
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_base64url),
        cmocka_unit_test(test_header),
        cmocka_unit_test(test_embedded_keys),
        cmocka_unit_test(test_token_text),
        cmocka_unit_test(test_issuer),
        cmocka_unit_test(test_nul),
        cmocka_unit_test(test_mutations)
    };

    return cmocka_run_group_tests(tests, NULL, fx_end);
}
