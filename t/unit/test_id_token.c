/*
 * mcp_id_token: the rules of OpenID Connect Core 1.0, 3.1.3.7, each with a token
 * that breaks it; and that an access token is no ID token, nor one an access
 * token.
 */

#include "jwt_fixture.h"
#include "mcp_id_token.h"


#define NONCE  "n-0S6_WzA2Mj"
#define REST   TIMES ",\"nonce\":\"" NONCE "\""
#define GOOD   "{\"iss\":\"" ISS "\",\"sub\":\"joe\",\"aud\":\"gw\"," REST
#define HEAD   "{\"alg\":\"RS256\"}"


static mcp_id_token_t  id;
static mcp_str_t       by = mcp_string("");     /* the user claim; else ISS's */


/* Why these claims are refused; NULL: they are good. */
static const char *
judged(const char *header, const char *claims, const char *client,
    const char *nonce, int64_t now)
{
    int                rc;
    mcp_str_t          token, client_id, wanted;
    mcp_jwt_t         *jwt;
    const char        *reason;
    mcp_jwk_set_t     *set;
    mcp_jwt_issuer_t   is, any;

    is = issuer_default();

    if (by.len) {
        is.user_claims = &by;
        is.nuser_claims = 1;
    }

    set = set_of(fx_jwk(FX_RSA, ""));

    token = fx_str(fx_token("RS256", FX_RSA, header, claims));
    client_id = fx_str(client);
    wanted = fx_str(nonce);
    reason = NULL;

    jwt = mcp_jwt_parse(&token, 16384, &reason);

    if (jwt == NULL) {
        mcp_jwk_set_free(set);
        return reason;
    }

    /* the rules are judged by themselves, whatever the signature's say */

    any = is;
    any.issuer = *mcp_jwt_iss(jwt);
    assert_int_equal(mcp_jwt_verify(jwt, &any, set, &reason), MCP_OK);

    memset(&id, 0, sizeof(id));
    reason = "unset";

    rc = mcp_id_token_claims(jwt, &is, &client_id, &wanted, now, &fx_mem, &id,
                             &reason);

    assert_int_equal(rc, reason ? MCP_ERROR : MCP_OK);
    assert_int_equal(ERR_peek_error(), 0);

    mcp_jwt_free(jwt);
    mcp_jwk_set_free(set);

    return reason;
}


static void
check(const char *claims, const char *reason)
{
    check_reason(claims, judged(HEAD, claims, "gw", NONCE, NOW), reason);
}


static void
test_good(void **state)
{
    (void) state;

    check(GOOD "}", NULL);
    check_str(&id.user, "joe");
    check_str(&id.name, "joe");

    check(GOOD ",\"uid\":\"00u1\",\"name\":\"Joe D\xc3\xb6 \xe2\x80\xae\"}",
          NULL);
    check_str(&id.user, "00u1");
    check_str(&id.name, "Joe D\xc3\xb6 \xe2\x80\xae");

    check(GOOD ",\"preferred_username\":\"joe@example.com\","
          "\"email\":\"other@example.com\"}", NULL);
    check_str(&id.name, "joe@example.com");

    /* a name that cannot be shown is none, and no reason to refuse */

    check(GOOD ",\"name\":\"a\\nb\",\"email\":\"joe@example.com\"}", NULL);
    check_str(&id.name, "joe@example.com");
    check(GOOD ",\"name\":7}", NULL);
    check_str(&id.name, "joe");
    check(fx_printf(GOOD ",\"name\":\"%0201d\"}", 0), NULL);
    check_str(&id.name, "joe");

    check_reason("typ JWT", judged("{\"alg\":\"RS256\",\"typ\":\"JWT\"}",
                                   GOOD "}", "gw", NONCE, NOW), NULL);
}


static void
test_issuer(void **state)
{
    (void) state;

    check("{\"iss\":\"" ISS "/\",\"sub\":\"joe\",\"aud\":\"gw\"," REST "}",
          "iss");
    check("{\"iss\":\"https://evil.example.com\",\"sub\":\"joe\","
          "\"aud\":\"gw\"," REST "}", "iss");
}


static void
test_audience(void **state)
{
    size_t  i;

#define OF(aud)  "{\"iss\":\"" ISS "\",\"sub\":\"joe\"," REST ",\"aud\":" aud

    static const struct {
        const char  *claims;
        const char  *reason;
    } cases[] = {
        { OF("[\"gw\"]") "}", NULL },
        { OF("[\"gw\",\"api\"]") ",\"azp\":\"gw\"}", NULL },
        { OF("\"gw\"") ",\"azp\":\"gw\"}", NULL },
        { OF("[\"gw\",\"api\"]") "}", "aud" },
        { OF("[\"api\",\"gw\"]") ",\"azp\":\"api\"}", "aud" },
        { OF("\"gw\"") ",\"azp\":\"other\"}", "aud" },
        { OF("\"gw\"") ",\"azp\":7}", "aud" },
        { OF("\"gw\"") ",\"azp\":\"\"}", "aud" },
        { OF("\"other\"") "}", "aud" },
        { OF("\"GW\"") "}", "aud" },
        { OF("\"gw2\"") "}", "aud" },
        { OF("\"\"") "}", "aud" },
        { OF("[]") "}", "aud" },
        { OF("[\"other\"]") "}", "aud" },
        { OF("{\"gw\":1}") "}", "aud" },
        { OF("null") "}", "aud" }
    };

    (void) state;

    for (i = 0; i < fx_count(cases); i++) {
        check(cases[i].claims, cases[i].reason);
    }

    check("{\"iss\":\"" ISS "\",\"sub\":\"joe\"," REST "}", "aud");

    /* a client without an id is nobody's audience */

    check_reason("no client", judged(HEAD, GOOD "}", "", NONCE, NOW), "aud");
}


static void
test_nonce(void **state)
{
    (void) state;

    check_reason("another", judged(HEAD, GOOD "}", "gw", "n-0S6_WzA2Mk", NOW),
                 "nonce");
    check_reason("longer", judged(HEAD, GOOD "}", "gw", NONCE "x", NOW),
                 "nonce");
    check_reason("shorter", judged(HEAD, GOOD "}", "gw", "n-0S6_WzA2M", NOW),
                 "nonce");
    check_reason("none was sent", judged(HEAD, GOOD "}", "gw", "", NOW),
                 "nonce");

    check("{\"iss\":\"" ISS "\",\"sub\":\"joe\",\"aud\":\"gw\"," TIMES "}",
          "nonce");
    check("{\"iss\":\"" ISS "\",\"sub\":\"joe\",\"aud\":\"gw\"," TIMES
          ",\"nonce\":\"\"}", "nonce");
    check("{\"iss\":\"" ISS "\",\"sub\":\"joe\",\"aud\":\"gw\"," TIMES
          ",\"nonce\":null}", "nonce");
    check("{\"iss\":\"" ISS "\",\"sub\":\"joe\",\"aud\":\"gw\"," TIMES
          ",\"nonce\":[\"" NONCE "\"]}", "nonce");
}


static void
test_times(void **state)
{
    (void) state;

    /* iat is NOW - 100, exp NOW + 300, the leeway 30 */

    check_reason("exp", judged(HEAD, GOOD "}", "gw", NONCE, NOW + 329), NULL);
    check_reason("exp", judged(HEAD, GOOD "}", "gw", NONCE, NOW + 330),
                 "expired");
    check_reason("iat", judged(HEAD, GOOD "}", "gw", NONCE, NOW - 130), NULL);
    check_reason("iat", judged(HEAD, GOOD "}", "gw", NONCE, NOW - 131),
                 "issued_in_future");

#define AT(times)  "{\"iss\":\"" ISS "\",\"sub\":\"joe\",\"aud\":\"gw\","     \
                   "\"nonce\":\"" NONCE "\"" times "}"

    /* one that is good for days, but was made long ago */

    check(AT(",\"exp\":1800000000,\"iat\":1699999370"), NULL);
    check(AT(",\"exp\":1800000000,\"iat\":1699999369"), "expired");

    check(AT(",\"iat\":1699999900"), "exp");
    check(AT(",\"exp\":1700000300"), "iat");
    check(AT(",\"exp\":\"1700000300\",\"iat\":1699999900"), "exp");
    check(AT(",\"exp\":-1,\"iat\":1699999900"), "exp");
    check(AT(",\"exp\":1e300,\"iat\":1699999900"), "exp");
    check(AT(",\"exp\":1700000300,\"iat\":-5"), "iat");
    check(AT(",\"exp\":1700000300,\"iat\":true"), "iat");
    check(AT(",\"exp\":1700000300.5,\"iat\":1699999900.5"), NULL);

    check(GOOD ",\"nbf\":1700000030}", NULL);
    check(GOOD ",\"nbf\":1700000031}", "not_yet_valid");
    check(GOOD ",\"nbf\":null}", "nbf");
    check(GOOD ",\"nbf\":\"0\"}", "nbf");
}


static void
test_user(void **state)
{
    (void) state;

#define WHO(who)  "{\"iss\":\"" ISS "\",\"aud\":\"gw\"," REST who "}"

    check(WHO(""), "user");
    check(WHO(",\"sub\":\"\""), "user");
    check(WHO(",\"sub\":7"), "user");
    check(WHO(",\"uid\":\"00u\""), "user");
    check(WHO(",\"sub\":\"joe\",\"uid\":\"\""), "user");
    check(WHO(",\"sub\":\"joe\",\"uid\":7"), "user");
    check(WHO(",\"sub\":\"jo\\ne\""), "user");
    check(WHO(",\"sub\":\"jo\\u007fe\""), "user");
    check(fx_printf(WHO(",\"sub\":\"%0256d\""), 0), NULL);
    check(fx_printf(WHO(",\"sub\":\"%0257d\""), 0), "user");
}


/* Who may choose her address may not choose who she is. */
static void
test_email(void **state)
{
    (void) state;

#define MAIL  ",\"sub\":\"joe\",\"email\":\"boss@example.com\""

    check(WHO(MAIL ",\"email_verified\":false"), NULL);
    check_str(&id.user, "joe");

    by = fx_str("email");

    check(WHO(MAIL), NULL);
    check_str(&id.user, "boss@example.com");
    check(WHO(MAIL ",\"email_verified\":true"), NULL);
    check(WHO(MAIL ",\"email_verified\":\"true\""), NULL);
    check(WHO(MAIL ",\"email_verified\":false"), "user");
    check(WHO(MAIL ",\"email_verified\":\"false\""), "user");
    check(WHO(MAIL ",\"email_verified\":null"), "user");
    check(WHO(MAIL ",\"email_verified\":1"), "user");
    check(WHO(",\"sub\":\"joe\",\"email_verified\":true"), "user");

    mcp_str_null(&by);
}


static void
test_kinds(void **state)
{
    mcp_str_t          token;
    mcp_jwt_t         *jwt;
    const char        *reason;
    mcp_jwt_issuer_t   is;

    (void) state;

    check_reason("at+jwt", judged("{\"alg\":\"RS256\",\"typ\":\"at+jwt\"}",
                                  GOOD "}", "gw", NONCE, NOW), "typ");

    /* and the reverse: it lets nobody call anything */

    is = issuer_default();
    token = fx_str(fx_token("RS256", FX_RSA, HEAD, GOOD "}"));
    jwt = mcp_jwt_parse(&token, 16384, &reason);
    assert_non_null(jwt);

    reason = NULL;
    assert_null(mcp_jwt_claims(jwt, &is, NOW, &fx_mem, &reason));
    assert_string_equal(reason, "not_an_access_token");

    mcp_jwt_free(jwt);
}


static void
test_memory(void **state)
{
    long  i;

    (void) state;

    for (i = 0; i < 2; i++) {
        fx_fail_at = i;
        check(GOOD "}", "internal");
    }

    fx_fail_at = -1;
    check(GOOD "}", NULL);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_issuer),
        cmocka_unit_test(test_audience),
        cmocka_unit_test(test_nonce),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_user),
        cmocka_unit_test(test_email),
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_memory),
    };

    return cmocka_run_group_tests(tests, NULL, fx_end);
}
