/*
 * mcp_jwt_claims: what becomes of the claims.  These tokens are parsed and
 * never verified; test_jwt_verify.c does that.
 */

#include "jwt_fixture.h"


static mcp_principal_t *
claims_of(const char *header, const char *claims, const mcp_jwt_issuer_t *is,
    const char **reason)
{
    char             *token;
    mcp_jwt_t        *jwt;
    mcp_str_t         s;
    mcp_principal_t  *p;

    token = fx_printf("%s.AAAA", fx_input(header, claims));
    s = fx_str(token);
    *reason = NULL;

    jwt = mcp_jwt_parse(&s, 16384, reason);
    if (jwt == NULL) {
        assert_non_null(*reason);
        return NULL;
    }

    p = mcp_jwt_claims(jwt, is, NOW, &fx_mem, reason);
    assert_int_equal(ERR_peek_error(), 0);

    if (p == NULL) {
        assert_non_null(*reason);

    } else {
        *reason = NULL;
    }

    /* the principal must not need the token any more */

    mcp_jwt_free(jwt);
    memset(token, 'x', strlen(token));

    return p;
}


static void
test_claims(void **state)
{
    char              *deep;
    size_t             i;
    const char        *reason;
    mcp_jwt_issuer_t   is;

#define SUB   "{\"iss\":\"" ISS "\",\"aud\":\"api\"," TIMES
#define AUD   "{\"iss\":\"" ISS "\",\"sub\":\"joe\"," TIMES
#define EXP   "{\"iss\":\"" ISS "\",\"sub\":\"joe\",\"aud\":\"api\","         \
              "\"iat\":1699999900"
#define IAT   "{\"iss\":\"" ISS "\",\"sub\":\"joe\",\"aud\":\"api\","         \
              "\"exp\":1700000300"
#define A8    "\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\""

    static const struct {
        const char  *claims;
        const char  *reason;
    } rows[] = {
        { BASE "}", NULL },

        /* exp: now is 1700000000, leeway 30 */
        { EXP "}", "exp" },
        { EXP ",\"Exp\":1700000300}", "exp" },
        { EXP ",\"exp\":1699999971}", NULL },
        { EXP ",\"exp\":1699999970}", "expired" },
        { EXP ",\"exp\":1699999970.9}", "expired" },
        { EXP ",\"exp\":1700000300.5}", NULL },
        { EXP ",\"exp\":1.7000003e9}", NULL },
        { EXP ",\"exp\":0}", "expired" },
        { EXP ",\"exp\":-0.0}", "expired" },
        { EXP ",\"exp\":-1}", "exp" },
        { EXP ",\"exp\":-0.5}", "exp" },
        { EXP ",\"exp\":\"1700000300\"}", "exp" },
        { EXP ",\"exp\":true}", "exp" },
        { EXP ",\"exp\":null}", "exp" },
        { EXP ",\"exp\":[1700000300]}", "exp" },
        { EXP ",\"exp\":{}}", "exp" },
        { EXP ",\"exp\":9007199254740991}", NULL },
        { EXP ",\"exp\":9007199254740992}", "exp" },
        { EXP ",\"exp\":9007199254740992.0}", "exp" },
        { EXP ",\"exp\":9223372036854775807}", "exp" },
        { EXP ",\"exp\":9223372036854775808}", "payload_json" },
        { EXP ",\"exp\":18446744073709551616}", "payload_json" },
        { EXP ",\"exp\":1e15}", NULL },
        { EXP ",\"exp\":1e300}", "exp" },
        { EXP ",\"exp\":1e400}", "payload_json" },
        { EXP ",\"exp\":1e999}", "payload_json" },
        { EXP ",\"exp\":NaN}", "payload_json" },
        { EXP ",\"exp\":Infinity}", "payload_json" },
        { EXP ",\"exp\":+1700000300}", "payload_json" },
        { EXP ",\"exp\":01700000300}", "payload_json" },
        { EXP ",\"exp\":0x7fffffff}", "payload_json" },
        { EXP ",\"exp\":1,\"exp\":1700000300}", "payload_json" },

        /* iat, nbf */
        { IAT "}", "iat" },
        { IAT ",\"iat\":1700000030}", NULL },
        { IAT ",\"iat\":1700000031}", "issued_in_future" },
        { IAT ",\"iat\":1700000030.1}", "issued_in_future" },
        { IAT ",\"iat\":0}", NULL },
        { IAT ",\"iat\":-1}", "iat" },
        { IAT ",\"iat\":\"1\"}", "iat" },
        { IAT ",\"iat\":null}", "iat" },
        { BASE ",\"nbf\":1700000030}", NULL },
        { BASE ",\"nbf\":1700000030.0}", NULL },
        { BASE ",\"nbf\":1700000030.5}", "not_yet_valid" },
        { BASE ",\"nbf\":1700000031}", "not_yet_valid" },
        { BASE ",\"nbf\":-1}", "nbf" },
        { BASE ",\"nbf\":\"1\"}", "nbf" },
        { BASE ",\"nbf\":null}", "nbf" },

        /* sub */
        { SUB "}", "sub" },
        { SUB ",\"Sub\":\"joe\"}", "sub" },
        { SUB ",\"sub\":\"\"}", "sub" },
        { SUB ",\"sub\":1}", "sub" },
        { SUB ",\"sub\":null}", "sub" },
        { SUB ",\"sub\":[\"joe\"]}", "sub" },
        { SUB ",\"sub\":\"a\\nb\"}", "sub" },
        { SUB ",\"sub\":\"a\\u007f\"}", "sub" },
        { SUB ",\"sub\":\"admin\\u0000x\"}", "payload_json" },
        { SUB ",\"sub\":\"\\ud800\"}", "payload_json" },
        { SUB ",\"sub\":\"\\ud83d\\ude00\"}", NULL },
        { SUB ",\"sub\":\"\xff\"}", "payload_json" },
        { SUB ",\"sub\":\"joe\",\"sub\":\"root\"}", "payload_json" },
        { SUB ",\"sub\":\"joe\",\"s\\u0075b\":\"root\"}", "payload_json" },

        /* user and client: present but malformed is not passed over */
        { BASE ",\"uid\":\"\"}", "user" },
        { BASE ",\"uid\":7}", "user" },
        { BASE ",\"uid\":null}", "user" },
        { BASE ",\"uid\":\"a\\u0001\"}", "user" },
        { BASE ",\"cid\":\"\"}", "client" },
        { BASE ",\"cid\":1,\"azp\":\"x\"}", "client" },
        { BASE ",\"azp\":[\"x\"]}", "client" },

        /* aud */
        { AUD "}", "aud" },
        { AUD ",\"aud\":\"\"}", "aud" },
        { AUD ",\"aud\":[]}", "aud" },
        { AUD ",\"aud\":null}", "aud" },
        { AUD ",\"aud\":1}", "aud" },
        { AUD ",\"aud\":{\"api\":1}}", "aud" },
        { AUD ",\"aud\":[\"api\"]}", NULL },
        { AUD ",\"aud\":[\"api\",1]}", "aud" },
        { AUD ",\"aud\":[\"api\",null]}", "aud" },
        { AUD ",\"aud\":[\"api\",[\"b\"]]}", "aud" },
        { AUD ",\"aud\":[\"api\",{\"b\":1}]}", "aud" },
        { AUD ",\"aud\":[\"api\",\"\"]}", "aud" },
        { AUD ",\"aud\":[" A8 "," A8 "," A8 "," A8 "]}", NULL },
        { AUD ",\"aud\":[" A8 "," A8 "," A8 "," A8 ",\"b\"]}", "aud" },
        { AUD ",\"aud\":\"a\",\"aud\":\"api\"}", "payload_json" },

        /* jti */
        { BASE ",\"jti\":\"\"}", "jti" },
        { BASE ",\"jti\":1}", "jti" },
        { BASE ",\"jti\":null}", "jti" },
        { BASE ",\"jti\":\"a\\tb\"}", "jti" },
        { BASE ",\"jti\":\"ID\"}", NULL },

        /* tokens for another use */
        { BASE ",\"jti\":\"ID.x\"}", "not_an_access_token" },
        { BASE ",\"nonce\":\"n\"}", "not_an_access_token" },
        { BASE ",\"nonce\":null}", "not_an_access_token" },
        { BASE ",\"at_hash\":\"n\"}", "not_an_access_token" },
        { BASE ",\"c_hash\":\"n\"}", "not_an_access_token" },
        { BASE ",\"events\":{}}", "not_an_access_token" },
        { BASE ",\"typ\":\"ID\"}", "not_an_access_token" },
        { BASE ",\"typ\":\"Refresh\"}", "not_an_access_token" },
        { BASE ",\"typ\":\"Bearer\"}", NULL },
        { BASE ",\"token_use\":\"id\"}", "not_an_access_token" },
        { BASE ",\"token_use\":\"access\"}", NULL },
        { BASE ",\"cnf\":{\"jkt\":\"x\"}}", "sender_constrained" },
        { BASE ",\"cnf\":{\"x5t#S256\":\"x\"}}", "sender_constrained" },
        { BASE ",\"cnf\":{}}", "sender_constrained" },
        { BASE ",\"cnf\":null}", "sender_constrained" },
        { BASE ",\"cnf\":\"\"}", "sender_constrained" },

        /* scopes */
        { BASE ",\"scp\":[]}", NULL },
        { BASE ",\"scp\":[\"a\",\"b:c/d\"]}", NULL },
        { BASE ",\"scp\":[\"a\",1]}", "scope" },
        { BASE ",\"scp\":[\"a\",\"\"]}", "scope" },
        { BASE ",\"scp\":[\"a b\"]}", "scope" },
        { BASE ",\"scp\":[null]}", "scope" },
        { BASE ",\"scp\":{\"a\":1}}", "scope" },
        { BASE ",\"scp\":null,\"scope\":\"a\"}", "scope" },
        { BASE ",\"scp\":1}", "scope" },
        { BASE ",\"scope\":\"a\\\"b\"}", "scope" },
        { BASE ",\"scope\":\"a\\\\b\"}", "scope" },
        { BASE ",\"scope\":\"a\\tb\"}", "scope" },
        { BASE ",\"scope\":\"a\\nb\"}", "scope" },
        { BASE ",\"scope\":\"\\u00e9\"}", "scope" },
        { BASE ",\"scope\":\"a\\u007f\"}", "scope" },

        /* groups: at most 4 */
        { BASE ",\"groups\":[\"a\",\"b\",\"c\",\"d\"]}", NULL },
        { BASE ",\"groups\":[\"a\",\"b\",\"c\",\"d\",\"e\"]}",
          "too_many_groups" },
        { BASE ",\"groups\":[\"a\",1]}", "roles" },
        { BASE ",\"groups\":[[\"a\"]]}", "roles" },
        { BASE ",\"groups\":{\"a\":1}}", "roles" },
        { BASE ",\"groups\":1}", "roles" },
        { BASE ",\"groups\":null}", "roles" },
        { BASE ",\"_claim_names\":{\"groups\":\"src1\"}}", "roles" },
        { BASE ",\"_claim_names\":{\"email\":\"src1\"}}", NULL },

        { "\xef\xbb\xbf" BASE "}", "payload_json" },
        { BASE "}]", "payload_json" },
        { BASE, "payload_json" }
    };

    (void) state;

    is = issuer_default();

    for (i = 0; i < fx_count(rows); i++) {
        (void) claims_of("{\"alg\":\"RS256\"}", rows[i].claims, &is, &reason);
        check_reason(rows[i].claims, reason, rows[i].reason);
    }

    /* nesting: 32 levels are read, 33 and 10,000 are not */

    deep = fx_alloc(20001);
    memset(deep, '[', 10000);
    memset(deep + 10000, ']', 10000);
    deep[20000] = '\0';

    for (i = 30; i < 34; i++) {
        (void) claims_of("{\"alg\":\"RS256\"}",
                         fx_printf("%s,\"x\":%.*s%.*s}", BASE, (int) i, deep,
                                   (int) i, deep + 10000), &is, &reason);
        check_reason("deep", reason, i <= 31 ? NULL : "payload_json");
    }

    deep[10000] = '\0';
    (void) claims_of("{\"alg\":\"RS256\"}",
                     fx_printf("%s,\"x\":%s", BASE, deep), &is, &reason);
    check_reason("10,000 levels", reason, "payload_json");

    /* lengths: 256 is the most for names */

    memset(deep, 'a', 300);

    for (i = 256; i < 258; i++) {
        (void) claims_of("{\"alg\":\"RS256\"}",
                         fx_printf("%s,\"sub\":\"%.*s\"}", SUB, (int) i,
                                   deep), &is, &reason);
        check_reason("sub", reason, i == 256 ? NULL : "sub");
        (void) claims_of("{\"alg\":\"RS256\"}",
                         fx_printf("%s,\"uid\":\"%.*s\"}", BASE, (int) i,
                                   deep), &is, &reason);
        check_reason("uid", reason, i == 256 ? NULL : "user");
        (void) claims_of("{\"alg\":\"RS256\"}",
                         fx_printf("%s,\"cid\":\"%.*s\"}", BASE, (int) i,
                                   deep), &is, &reason);
        check_reason("cid", reason, i == 256 ? NULL : "client");
        (void) claims_of("{\"alg\":\"RS256\"}",
                         fx_printf("%s,\"jti\":\"%.*s\"}", BASE, (int) i,
                                   deep), &is, &reason);
        check_reason("jti", reason, i == 256 ? NULL : "jti");
    }

    /* a negative leeway is none */

    is.leeway = -100;
    (void) claims_of("{\"alg\":\"RS256\"}", IAT ",\"iat\":1700000000}", &is,
                     &reason);
    check_reason("leeway", reason, NULL);
    (void) claims_of("{\"alg\":\"RS256\"}", EXP ",\"exp\":1700000000}", &is,
                     &reason);
    check_reason("leeway", reason, "expired");
}


static void
test_token_type(void **state)
{
    size_t             i;
    const char        *reason;
    mcp_jwt_issuer_t   is;

    static const struct {
        const char  *header;
        const char  *more;
        const char  *any;
        const char  *at_jwt;
    } rows[] = {
        { "{\"alg\":\"RS256\"}", "", NULL, "typ" },
        { "{\"alg\":\"RS256\",\"typ\":\"JWT\"}", "", NULL, "typ" },
        { "{\"alg\":\"RS256\",\"typ\":\"at+jwt\"}", "", NULL, NULL },
        { "{\"alg\":\"RS256\",\"typ\":\"application/at+jwt\"}",
          ",\"nonce\":\"n\",\"jti\":\"ID.1\"", NULL, NULL },
        { "{\"alg\":\"RS256\",\"typ\":\"at+jwt\"}", ",\"cnf\":{}",
          "sender_constrained", "sender_constrained" }
    };

    (void) state;

    is = issuer_default();

    for (i = 0; i < fx_count(rows); i++) {
        is.at_jwt = 0;
        (void) claims_of(rows[i].header,
                         fx_printf("%s%s}", BASE, rows[i].more), &is,
                         &reason);
        check_reason(rows[i].header, reason, rows[i].any);

        is.at_jwt = 1;
        (void) claims_of(rows[i].header,
                         fx_printf("%s%s}", BASE, rows[i].more), &is,
                         &reason);
        check_reason(rows[i].header, reason, rows[i].at_jwt);
    }
}


static void
test_principal(void **state)
{
    size_t             i;
    mcp_str_t          wanted;
    const char        *reason;
    mcp_principal_t   *p;
    mcp_jwt_issuer_t   is;

    static const struct {
        const char    *claims;
        mcp_caller_e   kind;
        const char    *user;
        const char    *client;
        const char    *scopes;
    } rows[] = {
        /* Okta: a user, a service */
        { SUB ",\"sub\":\"joe@example.com\",\"uid\":\"00u1\","
          "\"cid\":\"0oa1\",\"scp\":[\"openid\",\"mcp.read\"]}",
          MCP_CALLER_USER, "00u1", "0oa1", "openid mcp.read" },
        { SUB ",\"sub\":\"0oa1\",\"cid\":\"0oa1\",\"scp\":[\"mcp.read\"]}",
          MCP_CALLER_SERVICE, "", "0oa1", "mcp.read" },
        /* a uid makes a user, whatever the rest says */
        { SUB ",\"sub\":\"0oa1\",\"cid\":\"0oa1\",\"uid\":\"00u1\"}",
          MCP_CALLER_USER, "00u1", "0oa1", "" },
        { SUB ",\"sub\":\"0oa1\",\"cid\":\"0oa1\",\"uid\":\"0oa1\"}",
          MCP_CALLER_USER, "0oa1", "0oa1", "" },
        /* RFC 9068 */
        { BASE ",\"client_id\":\"web\",\"scope\":\"  a  b \"}",
          MCP_CALLER_USER, "joe", "web", "a b" },
        /* order of the claims that name the client and the scopes */
        { BASE ",\"azp\":\"z\",\"client_id\":\"y\",\"cid\":\"x\","
          "\"scope\":\"s\",\"scp\":\"t\"}",
          MCP_CALLER_USER, "joe", "x", "t" },
        { BASE "}", MCP_CALLER_USER, "joe", "", "" },
        { BASE ",\"scp\":[],\"scope\":\"a\"}", MCP_CALLER_USER, "joe", "",
          "" },
        { BASE ",\"scope\":\"\"}", MCP_CALLER_USER, "joe", "", "" },
        { BASE ",\"scope\":\"   \"}", MCP_CALLER_USER, "joe", "", "" }
    };

    (void) state;

    is = issuer_default();

    for (i = 0; i < fx_count(rows); i++) {
        p = claims_of("{\"alg\":\"RS256\"}", rows[i].claims, &is, &reason);
        assert_null(reason);
        assert_int_equal(p->kind, rows[i].kind);
        assert_int_equal(p->auth, MCP_AUTH_JWT);
        assert_int_equal(p->issuer, 7);
        assert_int_equal(p->exp, 1700000300);
        assert_int_equal(p->iat, 1699999900);
        check_str(&p->iss, ISS);
        check_str(&p->user, rows[i].user);
        check_str(&p->client, rows[i].client);
        check_str(&p->scopes, rows[i].scopes);

        assert_int_equal(p->naudiences, 1);
        check_str(&p->audiences[0], "api");
        mcp_str_set(&wanted, "api");
        assert_int_equal(mcp_principal_audience(p, &wanted, 1), 1);
    }

    /* exp is rounded down, iat up */

    p = claims_of("{\"alg\":\"RS256\"}", "{\"iss\":\"" ISS "\",\"aud\":"
                  "[\"x\",\"y\"],\"sub\":\"j\",\"exp\":1700000300.9,"
                  "\"iat\":1699999900.1}", &is, &reason);
    assert_non_null(p);
    assert_int_equal(p->exp, 1700000300);
    assert_int_equal(p->iat, 1699999901);
    assert_int_equal(p->naudiences, 2);
    check_str(&p->audiences[1], "y");

    /* a user claim that is not there */

    is.user_claims++;
    mcp_str_set(&user_claims[1], "email");
    is.nuser_claims = 1;
    (void) claims_of("{\"alg\":\"RS256\"}", BASE ",\"cid\":\"c\"}", &is,
                     &reason);
    check_reason("email", reason, "user");
    p = claims_of("{\"alg\":\"RS256\"}", BASE ",\"cid\":\"joe\"}", &is,
                  &reason);
    assert_non_null(p);
    assert_int_equal(p->kind, MCP_CALLER_SERVICE);
    p = claims_of("{\"alg\":\"RS256\"}",
                  BASE ",\"cid\":\"c\",\"email\":\"j@x\"}", &is, &reason);
    assert_non_null(p);
    check_str(&p->user, "j@x");
    mcp_str_set(&user_claims[1], "sub");
}


static void
test_token_id(void **state)
{
    char              *want, *input;
    size_t             i;
    const char        *reason;
    unsigned char      md[32];
    mcp_principal_t   *p;
    mcp_jwt_issuer_t   is;

    (void) state;

    is = issuer_default();

    p = claims_of("{\"alg\":\"RS256\"}", CLAIMS, &is, &reason);
    assert_non_null(p);
    check_str(&p->token_id, "AT.1");

    input = fx_input("{\"alg\":\"RS256\"}", BASE "}");
    EVP_Digest(input, strlen(input), md, NULL, EVP_sha256(), NULL);
    want = fx_printf("sha256:");

    for (i = 0; i < 16; i++) {
        want = fx_printf("%s%02x", want, md[i]);
    }

    p = claims_of("{\"alg\":\"RS256\"}", BASE "}", &is, &reason);
    assert_non_null(p);
    check_str(&p->token_id, want);
}


static void
test_roles(void **state)
{
    size_t             i, j;
    const char        *reason;
    mcp_principal_t   *p;
    mcp_jwt_issuer_t   is;

    static const struct {
        const char  *path;
        const char  *more;
        int          roles[5];          /* besides 0; ends with 0 */
    } rows[] = {
        { "groups", "", { 0 } },
        { "groups", ",\"groups\":[]", { 0 } },
        { "groups", ",\"groups\":[\"other\",\"mcp-en\",\"mcp-engx\","
          "\"MCP-ENG\"]", { 0 } },
        { "groups", ",\"groups\":[\"mcp-eng\"]", { 1, 255, 0 } },
        { "groups", ",\"groups\":[\"mcp-ops\",\"mcp-eng-leads\",\"mcp-ops\"]",
          { 2, 70, 0 } },
        { "groups", ",\"groups\":\"mcp-ops\"", { 2, 0 } },
        { "groups", ",\"groups\":\"mcp-ops mcp-eng\"", { 0 } },
        { "groups", ",\"Groups\":[\"mcp-ops\"]", { 0 } },
        { "realm_access/roles",
          ",\"realm_access\":{\"roles\":[\"mcp-ops\"]}", { 2, 0 } },
        { "realm_access/roles", ",\"realm_access\":{\"role\":[\"mcp-ops\"]}",
          { 0 } },
        { "realm_access/roles", ",\"realm_access\":[\"mcp-ops\"]", { 0 } },
        { "a/b/c", ",\"a\":{\"b\":{\"c\":\"mcp-ops\"}}", { 2, 0 } },
        { "a/b", ",\"a\":{\"b\":\"mcp-ops\"},\"a/b\":\"mcp-eng-leads\"",
          { 70, 0 } },
        { "https://x.example/roles",
          ",\"https://x.example/roles\":[\"mcp-ops\"]", { 2, 0 } },
        { "a//b", ",\"a\":{\"\":{\"b\":\"mcp-ops\"}}", { 0 } },
        { "a/", ",\"a\":{\"\":\"mcp-ops\"}", { 0 } },
        { "/", ",\"\":{\"\":\"mcp-ops\"}", { 0 } },
        { "", ",\"\":\"mcp-ops\"", { 0 } }
    };

    (void) state;

    is = issuer_default();

    for (i = 0; i < fx_count(rows); i++) {
        mcp_roles_t  want;

        is.roles_claim = fx_str(rows[i].path);
        p = claims_of("{\"alg\":\"RS256\"}",
                      fx_printf("%s%s}", BASE, rows[i].more), &is, &reason);
        check_reason(rows[i].more, reason, NULL);

        memset(&want, 0, sizeof(want));
        mcp_role_set(&want, 0);

        for (j = 0; rows[i].roles[j]; j++) {
            mcp_role_set(&want, rows[i].roles[j]);
        }

        if (memcmp(&want, &p->roles, sizeof(want)) != 0) {
            fail_msg("%s %s", rows[i].path, rows[i].more);
        }
    }
}


static void
test_extra_claims(void **state)
{
    char              *text;
    size_t             i;
    const char        *reason;
    mcp_principal_t   *p;
    mcp_jwt_issuer_t   is;

    static const struct {
        const char  *name;
        const char  *value;
    } want[] = {
        { "org", "acme" }, { "level", "-7" }, { "ratio", "0.5" },
        { "admin", "true" }, { "guest", "false" }, { "a/b", "deep" }
    };

    (void) state;

    is = issuer_default();
    text = fx_alloc(1026);
    memset(text, 'x', 1025);
    text[1025] = '\0';

    p = claims_of("{\"alg\":\"RS256\"}",
                  fx_printf("%s,\"org\":\"acme\",\"level\":-7,\"ratio\":0.5,"
                            "\"admin\":true,\"guest\":false,"
                            "\"a\":{\"b\":\"deep\"},\"ctl\":\"a\\r\\nX: y\","
                            "\"long\":\"%s\",\"list\":[\"a\"],"
                            "\"nothing\":null}", BASE, text), &is, &reason);
    assert_non_null(p);
    assert_int_equal(p->nclaims, fx_count(want));

    for (i = 0; i < fx_count(want); i++) {
        check_str(&p->claims[i].name, want[i].name);
        check_str(&p->claims[i].value, want[i].value);
    }

    text[1024] = '\0';
    p = claims_of("{\"alg\":\"RS256\"}",
                  fx_printf("%s,\"long\":\"%s\"}", BASE, text), &is,
                  &reason);
    assert_non_null(p);
    assert_int_equal(p->nclaims, 1);
    assert_int_equal(p->claims[0].value.len, 1024);
}


/* Every allocation of the arena fails once: refused, never a half principal. */

static void
test_out_of_memory(void **state)
{
    long               i;
    const char        *reason;
    mcp_principal_t   *p;
    mcp_jwt_issuer_t   is;

    (void) state;

    is = issuer_default();

    for (i = 0, p = NULL; p == NULL; i++) {
        fx_fail_at = i;
        p = claims_of("{\"alg\":\"RS256\"}", BASE ",\"scp\":[\"a\"]}", &is,
                      &reason);
        fx_fail_at = -1;

        if (p == NULL) {
            assert_string_equal(reason, "internal");
        }
    }

    assert_int_equal(i, 3);
}


/* A second of damage to the JSON. */

static void
test_mutations(void **state)
{
    char              *text;
    size_t             i, n, rounds;
    clock_t            end;
    const char        *reason;
    fx_block_t        *keep;
    mcp_jwt_issuer_t   is;

    static const char  bytes[] =
        "\"\\{}[],:0123456789eE.-+truefalsn \n\xff\x01";

    (void) state;

    is = issuer_default();
    keep = fx_blocks;
    end = clock() + CLOCKS_PER_SEC;

    for (rounds = 0; clock() < end; rounds++) {
        text = fx_printf("%s,\"scp\":[\"a\",\"b\"],\"groups\":[\"mcp-eng\"],"
                         "\"cid\":\"c\",\"org\":\"o\",\"ratio\":1.5}", BASE);
        n = 1 + fx_random() % 4;

        for (i = 0; i < n; i++) {
            text[fx_random() % strlen(text)] =
                bytes[fx_random() % (sizeof(bytes) - 1)];
        }

        (void) claims_of("{\"alg\":\"EdDSA\"}", text, &is, &reason);

        fx_release_to(keep);
    }

    assert_true(rounds > 100);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_claims),
        cmocka_unit_test(test_token_type),
        cmocka_unit_test(test_principal),
        cmocka_unit_test(test_token_id),
        cmocka_unit_test(test_roles),
        cmocka_unit_test(test_extra_claims),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_mutations)
    };

    return cmocka_run_group_tests(tests, NULL, fx_end);
}
