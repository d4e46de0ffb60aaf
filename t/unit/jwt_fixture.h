/*
 * What the tests of mcp_jwt share: an issuer, the time, claims that are good,
 * and checks that say what they compared.  After each call OpenSSL's error
 * queue must be empty: nginx's TLS would take what is left for its own.
 */

#ifndef JWT_FIXTURE_H
#define JWT_FIXTURE_H


#include "jose_fixture.h"

#include <time.h>

#include "mcp_jwt.h"


#define ISS    "https://id.example.com/oauth2/default"
#define NOW    1700000000
#define CLAIMS "{\"iss\":\"" ISS "\",\"sub\":\"joe\",\"aud\":\"api\","        \
               "\"exp\":1700000300,\"iat\":1699999900,\"jti\":\"AT.1\"}"
#define TIMES  "\"exp\":1700000300,\"iat\":1699999900"
#define BASE   "{\"iss\":\"" ISS "\",\"sub\":\"joe\",\"aud\":\"api\"," TIMES
#define ALL    0x3ff


static mcp_str_t  user_claims[] = { mcp_string("uid"), mcp_string("sub") };
static mcp_str_t  client_claims[] = {
    mcp_string("cid"), mcp_string("client_id"), mcp_string("azp")
};
static mcp_str_t  scope_claims[] = { mcp_string("scp"), mcp_string("scope") };
static mcp_str_t  extra_claims[] = {
    mcp_string("org"), mcp_string("level"), mcp_string("ratio"),
    mcp_string("admin"), mcp_string("guest"), mcp_string("a/b"),
    mcp_string("ctl"), mcp_string("long"), mcp_string("list"),
    mcp_string("nothing")
};
static mcp_role_map_t  role_map[] = {
    { 1, mcp_string("mcp-eng") },
    { 2, mcp_string("mcp-ops") },
    { 70, mcp_string("mcp-eng-leads") },
    { 255, mcp_string("mcp-eng") },
    { 256, mcp_string("mcp-eng") }
};


static inline mcp_jwt_issuer_t
issuer_default(void)
{
    mcp_jwt_issuer_t  is;

    memset(&is, 0, sizeof(is));

    mcp_str_set(&is.issuer, ISS);
    is.index = 7;
    is.algs = ALL;
    is.leeway = 30;
    is.user_claims = user_claims;
    is.nuser_claims = fx_count(user_claims);
    is.client_claims = client_claims;
    is.nclient_claims = fx_count(client_claims);
    is.scope_claims = scope_claims;
    is.nscope_claims = fx_count(scope_claims);
    mcp_str_set(&is.roles_claim, "groups");
    is.role_map = role_map;
    is.nrole_map = fx_count(role_map);
    is.max_groups = 4;
    is.claims = extra_claims;
    is.nclaims = fx_count(extra_claims);

    return is;
}


static inline void
check_reason(const char *what, const char *got, const char *want)
{
    if ((got == NULL) != (want == NULL)
        || (got && want && strcmp(got, want) != 0))
    {
        fail_msg("%s: \"%s\" where \"%s\" was expected", what,
                 got ? got : "good", want ? want : "good");
    }
}


static inline void
check_str(const mcp_str_t *got, const char *want)
{
    if (got->len != strlen(want)
        || (got->len && memcmp(got->data, want, got->len) != 0))
    {
        fail_msg("\"%.*s\" where \"%s\" was expected", (int) got->len,
                 got->data ? (char *) got->data : "", want);
    }
}


static inline mcp_jwk_set_t *
set_of(const char *jwks)
{
    char           *text;
    const char     *error;
    mcp_jwk_set_t  *set;

    text = fx_printf("{\"keys\":[%s]}", jwks);
    set = mcp_jwk_set_parse((unsigned char *) text, strlen(text), 64, &error);

    assert_non_null(set);
    assert_int_equal(ERR_peek_error(), 0);

    return set;
}


/* The reason a token is refused by parse or verify; NULL: it is good. */

static inline const char *
refused(const char *token, const mcp_jwt_issuer_t *is,
    const mcp_jwk_set_t *set)
{
    int          rc;
    mcp_jwt_t   *jwt;
    mcp_str_t    s;
    const char  *reason;

    s = fx_str(token);
    reason = NULL;

    jwt = mcp_jwt_parse(&s, 16384, &reason);
    assert_int_equal(ERR_peek_error(), 0);

    if (jwt == NULL) {
        assert_non_null(reason);
        return reason;
    }

    reason = NULL;
    rc = mcp_jwt_verify(jwt, is, set, &reason);
    assert_int_equal(ERR_peek_error(), 0);

    if (rc == MCP_OK) {
        assert_null(reason);

    } else {
        assert_non_null(reason);
        assert_int_equal(rc, reason && strcmp(reason, "unknown_key") == 0
                             ? MCP_DECLINED : MCP_ERROR);
    }

    mcp_jwt_free(jwt);

    return reason;
}


#endif /* JWT_FIXTURE_H */
