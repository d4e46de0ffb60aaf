/*
 * mcp_ending, and what mcp_oauth knows of revocation: the entry of a grant that
 * ended, when its provider is told again, what it is told and what its answer
 * is taken for.
 */

#include "jose_fixture.h"
#include "mcp_ending.h"
#include "mcp_oauth.h"


static mcp_str_t
str(const char *s)
{
    mcp_str_t  v;

    v.data = (unsigned char *) s;
    v.len = strlen(s);

    return v;
}


static void
test_entry(void **state)
{
    size_t        i;
    char          buf[1024];
    mcp_buf_t     b;
    mcp_str_t     text;
    mcp_ending_t  e, got;

    static const char  *bad[] = {
        "", "[]", "null", "{}",
        "{\"credential\":\"a\",\"issuer\":\"b\",\"user\":\"c\","
        "\"refresh_token\":\"d\"}",
        "{\"credential\":\"a\",\"issuer\":\"b\",\"user\":\"c\","
        "\"refresh_token\":\"\",\"begun\":1}",
        "{\"credential\":\"a\",\"issuer\":\"b\",\"user\":\"c\","
        "\"refresh_token\":\"d\",\"begun\":\"1\"}",
        "{\"credential\":\"a\",\"issuer\":\"b\",\"user\":1,"
        "\"refresh_token\":\"d\",\"begun\":1}",
        "{\"credential\":\"a\",\"issuer\":\"b\",\"user\":\"c\",\"begun\":1}",
        "{\"credential\":\"a\",\"issuer\":\"b\",\"user\":\"c\","
        "\"refresh_token\":\"d\",\"access_token\":\"\",\"begun\":1}",
        "{\"credential\":\"a\",\"issuer\":\"b\",\"user\":\"c\","
        "\"refresh_token\":\"d\",\"id_token\":\"e\",\"begun\":1}",
        "{\"credential\":\"a\",\"issuer\":\"b\",\"user\":\"c\","
        "\"refresh_token\":\"d\",\"endpoint\":\"\",\"begun\":1}",
        "{\"credential\":\"a\",\"issuer\":\"b\",\"user\":\"c\","
        "\"refresh_token\":\"d\",\"expires\":-1,\"begun\":1}",
        "{\"credential\":\"a\",\"issuer\":\"b\",\"user\":\"c\","
        "\"refresh_token\":\"d\",\"expires\":1.5,\"begun\":1}",
        "{\"credential\":\"a\",\"issuer\":\"b\",\"user\":\"c\","
        "\"refresh_token\":\"d\",\"renewing\":false,\"begun\":1}",
        "{\"credential\":\"a\",\"issuer\":\"b\",\"user\":\"c\","
        "\"refresh_token\":\"d\",\"begun\":-1}",
        "{\"credential\":\"a\",\"issuer\":\"b\",\"user\":\"c\","
        "\"refresh_token\":\"d\",\"begun\":1,\"begun\":2}",
        "{\"credential\":\"a\",\"issuer\":\"b\",\"user\":\"c\","
        "\"refresh_token\":\"d\",\"begun\":1}x"
    };

    (void) state;

    memset(&e, 0, sizeof(e));
    e.owner.credential = str("jira");
    e.owner.issuer = str("https://idp.example.com/\"x");
    e.owner.user = str("00u\xc3\xa9");
    e.begun = 1764115200;

    for (i = 1; i < 32; i++) {

        if ((i & 3) == 0) {
            continue;
        }

        e.access_token = str((i & 1) ? "a\\k" : "");
        e.refresh_token = str((i & 2) ? "r\\\\k" : "");
        e.expires = (i & 4) ? 1764115300 : 0;
        e.renewing = (i & 8) != 0;
        e.endpoint = str((i & 16) ? "https://idp.example.com/token" : "");

        mcp_buf_init(&b, buf, sizeof(buf));
        mcp_ending_write(&b, &e);
        assert_int_equal(b.overflow, 0);

        text.data = b.start;
        text.len = (size_t) (b.pos - b.start);

        assert_true(text.len <= mcp_ending_size(&e));
        assert_int_equal(mcp_ending_parse(&text, &fx_mem, &got), MCP_OK);
        assert_int_equal(got.expires, e.expires);
        assert_int_equal(got.renewing, e.renewing);
        assert_int_equal(got.begun, e.begun);
        assert_true(mcp_str_eq(&got.owner.credential, &e.owner.credential));
        assert_true(mcp_str_eq(&got.owner.issuer, &e.owner.issuer));
        assert_true(mcp_str_eq(&got.owner.user, &e.owner.user));
        assert_int_equal(got.owner.client.len, 0);
        assert_true(mcp_str_eq(&got.access_token, &e.access_token));
        assert_true(mcp_str_eq(&got.refresh_token, &e.refresh_token));
        assert_true(mcp_str_eq(&got.endpoint, &e.endpoint));

        for (; text.len; text.len--) {
            if (text.data[text.len - 1] != '}') {
                assert_int_equal(mcp_ending_parse(&text, &fx_mem, &got),
                                 MCP_ERROR);
            }
        }
    }

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        text = str(bad[i]);
        assert_int_equal(mcp_ending_parse(&text, &fx_mem, &got), MCP_ERROR);
    }
}


static void
test_again(void **state)
{
    int64_t   now, next;
    unsigned  n;

    (void) state;

    assert_int_equal(mcp_ending_again(1000, 1000, -1), 1005);
    assert_int_equal(mcp_ending_again(1000, 1020, -1), 1040);
    assert_int_equal(mcp_ending_again(1000, 1020, 60), 1080);
    assert_int_equal(mcp_ending_again(1000, 1020, 99999), 1020 + 3600);
    assert_int_equal(mcp_ending_again(1000, 9000, -1), 9000 + 3600);

    /* a clock that went back: not at once, and not never */

    assert_int_equal(mcp_ending_again(5000, 1000, -1), 1005);

    /* a week is not many attempts */

    now = 0;

    for (n = 0; now < MCP_ENDING_TIME; n++) {
        next = mcp_ending_again(0, now, -1);
        assert_true(next >= now + 5 && next <= now + 3600);
        now = next;
    }

    assert_true(n >= 100 && n <= 200);
}


static void
revocation(const char *provider, unsigned refresh, const char *method,
    const char *headers, const char *body)
{
    char                  hbuf[1024], bbuf[1024];
    mcp_buf_t             h, b;
    mcp_str_t             name;
    mcp_oauth_request_t   req;
    mcp_oauth_provider_t  p;

    name = str(provider);
    p = *mcp_oauth_provider(&name);
    p.revoke_endpoint = str("https://idp.example.com/revoke");

    memset(&req, 0, sizeof(req));

    req.provider = &p;
    req.auth = p.auth;
    req.client_id = str("id");
    req.client_secret = str("se&cret");
    req.token = str("to/ken");
    req.grant = mcp_oauth_revoke_by(&p, refresh);

    mcp_buf_init(&h, hbuf, sizeof(hbuf) - 1);
    mcp_buf_init(&b, bbuf, sizeof(bbuf) - 1);

    assert_int_equal(mcp_oauth_request(&req, &h, &b), MCP_OK);

    *h.pos = '\0';
    *b.pos = '\0';

    assert_string_equal(mcp_oauth_method(&req), method);
    assert_string_equal(hbuf, headers);
    assert_string_equal(bbuf, body);
}


#define FORM   "Content-Type: application/x-www-form-urlencoded\r\n"
#define JSON   "Content-Type: application/json\r\n"
#define BASIC  "Authorization: Basic aWQ6c2UlMjZjcmV0\r\n"


static void
test_request(void **state)
{
    mcp_str_t             name;
    mcp_oauth_provider_t  p;

    (void) state;

    revocation("generic", 1, "POST", FORM BASIC,
               "token=to%2Fken&token_type_hint=refresh_token");
    revocation("okta", 0, "POST", FORM BASIC,
               "token=to%2Fken&token_type_hint=access_token");

    /* also where token requests are JSON */

    revocation("atlassian", 1, "POST", FORM,
               "token=to%2Fken&token_type_hint=refresh_token&client_id=id&"
               "client_secret=se%26cret");

    revocation("github", 1, "DELETE", JSON BASIC,
               "{\"access_token\":\"to/ken\"}");
    revocation("slack", 1, "POST", FORM, "token=to%2Fken");
    revocation("google", 1, "POST", FORM, "token=to%2Fken");

    /* no endpoint: nothing to be told */

    name = str("entra");
    p = *mcp_oauth_provider(&name);
    assert_int_equal(mcp_oauth_revoke_by(&p, 1), 0);

    name = str("slack");
    assert_int_equal(mcp_oauth_revoke_by(mcp_oauth_provider(&name), 1),
                     MCP_OAUTH_REVOKE_ACCESS);

    name = str("google");
    assert_int_equal(mcp_oauth_revoke_by(mcp_oauth_provider(&name), 1),
                     MCP_OAUTH_REVOKE_REFRESH);
}


static void
test_answers(void **state)
{
    size_t               i;
    mcp_str_t            name, body;
    const char          *error;
    mcp_oauth_request_t  req;

    static const struct {
        const char        *provider;
        unsigned           status;
        const char        *body;
        mcp_oauth_class_e  class;
    } cases[] = {
        { "generic", 200, "", MCP_OAUTH_OK },
        { "generic", 200, "{}", MCP_OAUTH_OK },
        { "generic", 200, "done", MCP_OAUTH_OK },
        { "generic", 204, "", MCP_OAUTH_OK },
        { "generic", 400, "{\"error\":\"invalid_token\"}",
          MCP_OAUTH_GRANT_DEAD },
        { "generic", 400, "{\"error\":\"unsupported_token_type\"}",
          MCP_OAUTH_CLIENT_BAD },
        { "generic", 401, "{\"error\":\"invalid_client\"}",
          MCP_OAUTH_CLIENT_BAD },
        { "generic", 401, "", MCP_OAUTH_CLIENT_BAD },
        { "generic", 404, "<html>", MCP_OAUTH_CLIENT_BAD },
        { "generic", 302, "", MCP_OAUTH_CLIENT_BAD },
        { "generic", 429, "", MCP_OAUTH_TRANSIENT },
        { "generic", 429, "{\"error\":\"invalid_token\"}",
          MCP_OAUTH_TRANSIENT },
        { "generic", 503, "{\"error\":\"invalid_token\"}",
          MCP_OAUTH_TRANSIENT },
        { "generic", 503, "", MCP_OAUTH_TRANSIENT },
        { "generic", 502, "<html>", MCP_OAUTH_UNKNOWN },

        { "slack", 200, "{\"ok\":true,\"revoked\":true}", MCP_OAUTH_OK },
        { "slack", 200, "{\"ok\":false,\"error\":\"token_revoked\"}",
          MCP_OAUTH_GRANT_DEAD },
        { "slack", 200, "{\"ok\":false,\"error\":\"ratelimited\"}",
          MCP_OAUTH_TRANSIENT },
        { "slack", 200, "{\"ok\":false,\"error\":\"not_heard_of\"}",
          MCP_OAUTH_TRANSIENT },
        { "slack", 200, "<html>", MCP_OAUTH_UNKNOWN },
        { "slack", 200, "", MCP_OAUTH_UNKNOWN },

        { "github", 204, "", MCP_OAUTH_OK },
        { "github", 404, "{\"message\":\"Not Found\"}",
          MCP_OAUTH_GRANT_DEAD },
        { "github", 422, "", MCP_OAUTH_GRANT_DEAD },
        { "github", 401, "{\"message\":\"Bad credentials\"}",
          MCP_OAUTH_CLIENT_BAD },

        { "google", 200, "{}", MCP_OAUTH_OK },
        { "google", 400, "{\"error\":\"invalid_token\","
                         "\"error_description\":\"Token expired\"}",
          MCP_OAUTH_GRANT_DEAD }
    };

    (void) state;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        memset(&req, 0, sizeof(req));

        name = str(cases[i].provider);
        body = str(cases[i].body);

        req.provider = mcp_oauth_provider(&name);
        req.grant = MCP_OAUTH_REVOKE_REFRESH;
        error = "unset";

        if (mcp_oauth_revoked(&req, cases[i].status, &body, &error)
            != cases[i].class)
        {
            fail_msg("%s %u %s: %s", cases[i].provider, cases[i].status,
                     cases[i].body, error ? error : "-");
        }

        assert_true((error == NULL) == (cases[i].class == MCP_OAUTH_OK));

        if (cases[i].status == 404 || cases[i].status == 422) {

            /* what is not there is told from what has ended */

            assert_int_equal(error && strcmp(error, "not_found") == 0,
                             cases[i].class == MCP_OAUTH_GRANT_DEAD);
        }
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_entry),
        cmocka_unit_test(test_again),
        cmocka_unit_test(test_request),
        cmocka_unit_test(test_answers),
    };

    return cmocka_run_group_tests(tests, NULL, fx_end);
}
