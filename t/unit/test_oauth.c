/*
 * mcp_oauth, mcp_assertion: what is sent to token endpoints, and what their
 * answers are taken for.
 */

#include "jose_fixture.h"
#include "mcp_assertion.h"
#include "mcp_jwk.h"
#include "mcp_oauth.h"

#include <jwt.h>
#include <openssl/pem.h>


static mcp_str_t
str(const char *s)
{
    mcp_str_t  v;

    v.data = (unsigned char *) s;
    v.len = strlen(s);

    return v;
}


static void
text_is(const mcp_str_t *s, const char *text)
{
    assert_int_equal(s->len, strlen(text));

    if (s->len) {
        assert_memory_equal(s->data, text, s->len);
    }
}


static mcp_oauth_request_t
request(const char *provider, mcp_oauth_grant_e grant)
{
    mcp_str_t            name;
    mcp_oauth_request_t  req;

    memset(&req, 0, sizeof(req));
    name = str(provider);

    req.provider = mcp_oauth_provider(&name);
    assert_non_null(req.provider);

    req.auth = req.provider->auth;
    req.client_id = str("id:1 %");
    req.client_secret = str("s&e=c+r/et");
    req.grant = grant;
    req.token = str("tok+en/=");

    return req;
}


static void
sent(const mcp_oauth_request_t *req, const char *headers, const char *body)
{
    mcp_buf_t  h, b;
    char       hbuf[4096], bbuf[4096];

    mcp_buf_init(&h, hbuf, sizeof(hbuf) - 1);
    mcp_buf_init(&b, bbuf, sizeof(bbuf) - 1);

    assert_int_equal(mcp_oauth_request(req, &h, &b), MCP_OK);

    *h.pos = '\0';
    *b.pos = '\0';

    assert_string_equal(hbuf, headers);
    assert_string_equal(bbuf, body);
}


#define FORM  "Content-Type: application/x-www-form-urlencoded\r\n"


/* base64("id%3A1%20%25:s%26e%3Dc%2Br%2Fet") */
#define BASIC "Authorization: Basic "                                         \
              "aWQlM0ExJTIwJTI1OnMlMjZlJTNEYyUyQnIlMkZldA==\r\n"


static void
test_requests(void **state)
{
    mcp_oauth_request_t  req;

    (void) state;

    req = request("generic", MCP_OAUTH_CLIENT_CREDENTIALS);
    req.scope = str("a.read b.write");
    req.audience = str("api://x");
    req.resource = str("https://mcp.example.com/x?y=1");

    sent(&req, FORM BASIC,
         "grant_type=client_credentials&scope=a.read%20b.write&"
         "audience=api%3A%2F%2Fx&"
         "resource=https%3A%2F%2Fmcp.example.com%2Fx%3Fy%3D1");

    req = request("github", MCP_OAUTH_REFRESH);
    req.scope = str("ignored");

    sent(&req, FORM,
         "grant_type=refresh_token&refresh_token=tok%2Ben%2F%3D&"
         "client_id=id%3A1%20%25&client_secret=s%26e%3Dc%2Br%2Fet");

    req = request("okta", MCP_OAUTH_REFRESH);
    req.scope = str("ignored");
    req.audience = str("ignored");
    req.resource = str("https://mcp.example.com/x");

    sent(&req, FORM BASIC,
         "grant_type=refresh_token&refresh_token=tok%2Ben%2F%3D&"
         "resource=https%3A%2F%2Fmcp.example.com%2Fx");

    req = request("atlassian", MCP_OAUTH_REFRESH);
    req.client_secret = str("quote\" and \\");

    sent(&req, "Content-Type: application/json\r\n",
         "{\"grant_type\":\"refresh_token\",\"refresh_token\":\"tok+en/=\","
         "\"client_id\":\"id:1 %\",\"client_secret\":\"quote\\\" and \\\\\"}");

    req = request("okta", MCP_OAUTH_EXCHANGE);
    req.scope = str("api:access:read");
    req.audience = str("api://as");

    sent(&req, FORM BASIC,
         "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3A"
         "token-exchange&subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3A"
         "token-type%3Aaccess_token&subject_token=tok%2Ben%2F%3D&"
         "scope=api%3Aaccess%3Aread&audience=api%3A%2F%2Fas");

    req = request("generic", MCP_OAUTH_CLIENT_CREDENTIALS);
    req.auth = MCP_OAUTH_PRIVATE_KEY_JWT;
    req.client_id = str("c");
    req.assertion = str("a.b.c");

    sent(&req, FORM,
         "grant_type=client_credentials&client_id=c&client_assertion_type="
         "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&"
         "client_assertion=a.b.c");

    req = request("generic", MCP_OAUTH_CODE);
    req.auth = MCP_OAUTH_NONE;
    req.client_id = str("c");
    req.redirect_uri = str("https://gw/cb");
    req.verifier = str("v");

    sent(&req, FORM,
         "grant_type=authorization_code&code=tok%2Ben%2F%3D&"
         "redirect_uri=https%3A%2F%2Fgw%2Fcb&code_verifier=v&client_id=c");
}


/* No room anywhere: an error, and nothing written past the end. */
static void
test_room(void **state)
{
    int                  rc;
    char                 hbuf[256], bbuf[256];
    size_t               i, fits;
    mcp_buf_t            h, b;
    mcp_oauth_request_t  req;

    (void) state;

    req = request("okta", MCP_OAUTH_REFRESH);
    fits = 0;

    for (i = 0; i < 250; i++) {
        memset(hbuf, 'X', sizeof(hbuf));
        memset(bbuf, 'X', sizeof(bbuf));

        mcp_buf_init(&h, hbuf, i);
        mcp_buf_init(&b, bbuf, i);

        rc = mcp_oauth_request(&req, &h, &b);

        assert_int_equal(hbuf[i], 'X');
        assert_int_equal(bbuf[i], 'X');

        if (rc == MCP_OK) {
            fits++;
        } else {
            assert_int_equal(fits, 0);
        }
    }

    assert_true(fits > 0);
}


/* Id and secret of the most that is encoded for Basic, and one more. */
static void
test_basic(void **state)
{
    char                 hbuf[8192], bbuf[4096], secret[4096];
    mcp_buf_t            h, b;
    mcp_oauth_request_t  req;

    (void) state;

    memset(secret, 's', sizeof(secret));

    req = request("okta", MCP_OAUTH_CLIENT_CREDENTIALS);
    req.client_id = str("i");
    req.client_secret.data = (unsigned char *) secret;
    req.client_secret.len = 2046;

    mcp_buf_init(&h, hbuf, sizeof(hbuf));
    mcp_buf_init(&b, bbuf, sizeof(bbuf));
    assert_int_equal(mcp_oauth_request(&req, &h, &b), MCP_OK);

    req.client_secret.len++;

    mcp_buf_init(&h, hbuf, sizeof(hbuf));
    mcp_buf_init(&b, bbuf, sizeof(bbuf));
    assert_int_equal(mcp_oauth_request(&req, &h, &b), MCP_ERROR);
    assert_null(memmem(hbuf, (size_t) (h.pos - h.start), "Basic", 5));
}


typedef struct {
    const char          *provider;
    mcp_oauth_grant_e    grant;
    unsigned             status;
    const char          *body;
    mcp_oauth_class_e    class;
    const char          *error;
} answer_t;


static void
test_classes(void **state)
{
    size_t               i;
    mcp_str_t            body;
    mcp_oauth_answer_t   a;
    mcp_oauth_request_t  req;

    static const answer_t  answers[] = {

#define R  MCP_OAUTH_REFRESH
#define C  MCP_OAUTH_CLIENT_CREDENTIALS

        /* RFC 6749 */
        { "generic", R, 200, "{\"access_token\":\"a\","
          "\"token_type\":\"Bearer\",\"expires_in\":60}", MCP_OAUTH_OK, NULL },
        { "generic", R, 200, "{\"access_token\":\"a\","
          "\"token_type\":\"bEARER\"}", MCP_OAUTH_OK, NULL },
        { "generic", R, 400, "{\"error\":\"invalid_grant\"}",
          MCP_OAUTH_GRANT_DEAD, "invalid_grant" },
        { "google", R, 400, "{\"error\":\"invalid_grant\","
          "\"error_subtype\":\"invalid_rapt\"}", MCP_OAUTH_GRANT_DEAD,
          "invalid_grant" },
        { "generic", C, 401, "{\"error\":\"invalid_client\"}",
          MCP_OAUTH_CLIENT_BAD, "invalid_client" },
        { "generic", R, 400, "{\"error\":\"unauthorized_client\"}",
          MCP_OAUTH_CLIENT_BAD, "unauthorized_client" },
        { "generic", R, 503, "{\"error\":\"temporarily_unavailable\"}",
          MCP_OAUTH_TRANSIENT, "temporarily_unavailable" },
        { "entra", R, 400, "{\"error\":\"interaction_required\"}",
          MCP_OAUTH_INTERACT, "interaction_required" },

        /* errors in a 200 */
        { "github", R, 200, "{\"error\":\"bad_refresh_token\"}",
          MCP_OAUTH_GRANT_DEAD, "bad_refresh_token" },
        { "github", R, 200, "{\"error\":\"incorrect_client_credentials\"}",
          MCP_OAUTH_CLIENT_BAD, "incorrect_client_credentials" },
        { "slack", R, 200, "{\"ok\":false,\"error\":\"invalid_refresh_token\"}",
          MCP_OAUTH_GRANT_DEAD, "invalid_refresh_token" },
        { "slack", R, 200, "{\"ok\":false,\"error\":\"ratelimited\"}",
          MCP_OAUTH_TRANSIENT, "ratelimited" },
        { "slack", R, 200, "{\"ok\":false}", MCP_OAUTH_TRANSIENT,
          "unknown_error" },
        { "generic", R, 200, "{\"error\":\"new_one\"}", MCP_OAUTH_TRANSIENT,
          "unknown_error" },
        { "generic", R, 200, "{\"error\":{},\"access_token\":null}",
          MCP_OAUTH_TRANSIENT, "unknown_error" },
        { "generic", R, 200, "{\"error\":null,\"access_token\":\"a\"}",
          MCP_OAUTH_OK, NULL },

        /* an error and tokens: neither is believed */
        { "slack", R, 200, "{\"ok\":false,\"access_token\":\"a\"}",
          MCP_OAUTH_UNKNOWN, "contradiction" },
        { "slack", R, 200, "{\"ok\":\"false\",\"access_token\":\"a\"}",
          MCP_OAUTH_UNKNOWN, "contradiction" },
        { "slack", R, 200, "{\"ok\":0,\"access_token\":\"a\"}",
          MCP_OAUTH_UNKNOWN, "contradiction" },
        { "generic", R, 200, "{\"error\":\"new_one\",\"access_token\":\"a\"}",
          MCP_OAUTH_UNKNOWN, "contradiction" },
        { "generic", R, 200, "{\"error\":{},\"access_token\":\"a\"}",
          MCP_OAUTH_UNKNOWN, "contradiction" },
        { "generic", R, 200, "{\"error\":\"invalid_grant\","
          "\"access_token\":\"a\"}", MCP_OAUTH_UNKNOWN, "contradiction" },

        /* Atlassian: the grant, by the name of the client */
        { "atlassian", R, 403, "{\"error\":\"unauthorized_client\","
          "\"error_description\":\"Unknown or invalid refresh token.\"}",
          MCP_OAUTH_GRANT_DEAD, "unauthorized_client" },
        { "atlassian", R, 401, "{\"error\":\"unauthorized_client\","
          "\"error_description\":\"Unknown or invalid refresh token.\"}",
          MCP_OAUTH_GRANT_DEAD, "unauthorized_client" },
        { "atlassian", R, 400, "{\"error\":\"unauthorized_client\","
          "\"error_description\":\"Unknown or invalid refresh token.\"}",
          MCP_OAUTH_GRANT_DEAD, "unauthorized_client" },
        { "atlassian", R, 401, "{\"error\":\"unauthorized_client\","
          "\"error_description\":\"Grant type not allowed\"}",
          MCP_OAUTH_CLIENT_BAD, "unauthorized_client" },
        { "atlassian", C, 403, "{\"error\":\"unauthorized_client\","
          "\"error_description\":\"Unknown or invalid refresh token.\"}",
          MCP_OAUTH_CLIENT_BAD, "unauthorized_client" },
        { "generic", R, 400, "{\"error\":\"unauthorized_client\","
          "\"error_description\":\"Unknown or invalid refresh token.\"}",
          MCP_OAUTH_CLIENT_BAD, "unauthorized_client" },
        { "atlassian", R, 403, "{\"error\":\"unauthorized_client\"}",
          MCP_OAUTH_GRANT_DEAD, "unauthorized_client" },
        { "atlassian", R, 403, "{\"error\":\"invalid_grant\"}",
          MCP_OAUTH_GRANT_DEAD, "invalid_grant" },

        /* busy or broken: nobody's grant ends by that, nor is a client bad */
        { "generic", R, 429, "{\"error\":\"access_denied\"}",
          MCP_OAUTH_TRANSIENT, "http_429" },
        { "generic", R, 500, "{\"error\":\"invalid_grant\"}",
          MCP_OAUTH_TRANSIENT, "http_5xx" },
        { "entra", R, 503, "{\"error\":\"interaction_required\"}",
          MCP_OAUTH_TRANSIENT, "http_5xx" },
        { "generic", C, 503, "{\"error\":\"invalid_client\"}",
          MCP_OAUTH_TRANSIENT, "http_5xx" },
        { "generic", R, 504, "{\"error\":\"invalid_grant\"}",
          MCP_OAUTH_UNKNOWN, "http_5xx" },
        { "generic", R, 502, "{\"error\":\"server_error\"}",
          MCP_OAUTH_UNKNOWN, "http_5xx" },
        { "generic", R, 504, "{\"error\":\"temporarily_unavailable\"}",
          MCP_OAUTH_UNKNOWN, "http_5xx" },
        { "generic", R, 500, "{\"error\":\"server_error\"}",
          MCP_OAUTH_TRANSIENT, "server_error" },
        { "slack", R, 429, "{\"ok\":false,\"error\":\"ratelimited\"}",
          MCP_OAUTH_TRANSIENT, "ratelimited" },

        /* no JSON */
        { "generic", R, 500, "<html>", MCP_OAUTH_TRANSIENT, "http_5xx" },
        { "generic", R, 503, "", MCP_OAUTH_TRANSIENT, "http_5xx" },
        { "generic", R, 502, "<html>", MCP_OAUTH_UNKNOWN, "http_5xx" },
        { "generic", R, 504, "", MCP_OAUTH_UNKNOWN, "http_5xx" },
        { "generic", R, 429, "slow", MCP_OAUTH_TRANSIENT, "http_429" },
        { "generic", R, 401, "", MCP_OAUTH_CLIENT_BAD, "http_401" },
        { "generic", R, 408, "<html>", MCP_OAUTH_UNKNOWN, "http_408" },
        { "generic", R, 404, "<html>", MCP_OAUTH_CLIENT_BAD, "http_4xx" },
        { "generic", R, 302, "", MCP_OAUTH_CLIENT_BAD, "http_3xx" },
        { "generic", R, 200, "<html>", MCP_OAUTH_UNKNOWN, "no_json" },
        { "generic", R, 200, "{\"access_token\":\"a\"", MCP_OAUTH_UNKNOWN,
          "no_json" },
        { "generic", R, 200, "[]", MCP_OAUTH_UNKNOWN, "no_json" },
        { "generic", R, 200, "{\"access_token\":\"a\","
          "\"access_token\":\"b\"}", MCP_OAUTH_UNKNOWN, "no_json" },
        { "generic", R, 400, "{\"access_token\":\"a\"}", MCP_OAUTH_CLIENT_BAD,
          "http_4xx" },
        { "generic", R, 500, "{\"access_token\":\"a\"}", MCP_OAUTH_TRANSIENT,
          "http_5xx" },

        /* JSON that is no token */
        { "generic", R, 200, "{}", MCP_OAUTH_UNKNOWN, "no_access_token" },
        { "generic", R, 200, "{\"access_token\":\"\"}", MCP_OAUTH_UNKNOWN,
          "no_access_token" },
        { "generic", R, 200, "{\"access_token\":7}", MCP_OAUTH_UNKNOWN,
          "no_access_token" },
        { "generic", R, 200, "{\"access_token\":\"a\\r\\nX: y\"}",
          MCP_OAUTH_UNKNOWN, "no_access_token" },
        { "generic", R, 200, "{\"access_token\":\"a b\"}", MCP_OAUTH_UNKNOWN,
          "no_access_token" },
        { "generic", R, 200, "{\"access_token\":\"a\\u007f\"}",
          MCP_OAUTH_UNKNOWN, "no_access_token" },
        { "generic", R, 200, "{\"access_token\":\"a\\u0000\"}",
          MCP_OAUTH_UNKNOWN, "no_json" },
        { "generic", R, 200, "{\"access_token\":[\"a\"]}",
          MCP_OAUTH_UNKNOWN, "no_access_token" },
        { "generic", R, 200, "{\"access_token\":\"a\",\"expires_in\":1e999}",
          MCP_OAUTH_UNKNOWN, "no_json" },
        { "generic", R, 200, "{\"access_token\":\"a\"}x",
          MCP_OAUTH_UNKNOWN, "no_json" },
        { "generic", R, 200, "{\"access_token\":\"\\u00e4\"}",
          MCP_OAUTH_UNKNOWN, "no_access_token" },
        { "generic", R, 200, "{\"access_token\":\"a\","
          "\"token_type\":\"DPoP\"}", MCP_OAUTH_UNKNOWN, "token_type" },
        { "generic", R, 200, "{\"access_token\":\"a\",\"token_type\":\"mac\"}",
          MCP_OAUTH_UNKNOWN, "token_type" },
        { "slack", R, 200, "{\"ok\":true,\"access_token\":\"a\","
          "\"token_type\":\"user\"}", MCP_OAUTH_OK, NULL },
        { "slack", R, 200, "{\"ok\":true,\"access_token\":\"a\","
          "\"token_type\":\"bot\"}", MCP_OAUTH_UNKNOWN, "token_type" },
        { "generic", R, 200, "{\"access_token\":\"a\","
          "\"token_type\":\"user\"}", MCP_OAUTH_UNKNOWN, "token_type" },
        { "generic", R, 200, "{\"access_token\":\"a\","
          "\"token_type\":\"N_A\"}", MCP_OAUTH_UNKNOWN, "token_type" },
        { "generic", R, 200, "{\"access_token\":\"a\",\"token_type\":7}",
          MCP_OAUTH_UNKNOWN, "token_type" },
        { "generic", R, 200, "{\"access_token\":\"a\","
          "\"refresh_token\":\"b\\n\"}", MCP_OAUTH_UNKNOWN, "bad_token" },
        { "generic", C, 200, "{\"access_token\":\"a\",\"scope\":[]}",
          MCP_OAUTH_UNKNOWN, "bad_scope" },
        { "generic", C, 200, "{\"access_token\":\"a\",\"expires_in\":0}",
          MCP_OAUTH_UNKNOWN, "bad_expires_in" },
        { "generic", C, 200, "{\"access_token\":\"a\",\"expires_in\":-5}",
          MCP_OAUTH_UNKNOWN, "bad_expires_in" },
        { "generic", C, 200, "{\"access_token\":\"a\",\"expires_in\":true}",
          MCP_OAUTH_UNKNOWN, "bad_expires_in" },
        { "generic", C, 200, "{\"access_token\":\"a\",\"expires_in\":1e300}",
          MCP_OAUTH_UNKNOWN, "bad_expires_in" },
        { "generic", C, 200, "{\"access_token\":\"a\",\"expires_in\":\"6x\"}",
          MCP_OAUTH_UNKNOWN, "bad_expires_in" },
        { "generic", MCP_OAUTH_EXCHANGE, 200, "{\"access_token\":\"a\","
          "\"expires_in\":0}", MCP_OAUTH_UNKNOWN, "bad_expires_in" },
        { "generic", MCP_OAUTH_CODE, 200, "{\"access_token\":\"a\","
          "\"id_token\":7}", MCP_OAUTH_UNKNOWN, "bad_token" },
        { "generic", R, 200, "{\"access_token\":\"a\",\"expires_in\":\"60\"}",
          MCP_OAUTH_OK, NULL },
        { "slack", MCP_OAUTH_CODE, 200, "{\"ok\":true,"
          "\"access_token\":\"bot\"}", MCP_OAUTH_UNKNOWN, "no_access_token" },
    };

    (void) state;

    for (i = 0; i < fx_count(answers); i++) {
        req = request(answers[i].provider, answers[i].grant);
        body = str(answers[i].body);

        mcp_oauth_answer(&req, answers[i].status, &body, &fx_mem, &a);

        if (a.class != answers[i].class) {
            fail_msg("%u %s: %s", answers[i].status, answers[i].body,
                     mcp_oauth_class_name(a.class));
        }

        if (answers[i].error) {
            assert_string_equal(a.error, answers[i].error);
            assert_int_equal(a.access_token.len, 0);
            assert_int_equal(a.refresh_token.len, 0);

        } else {
            assert_null(a.error);
        }
    }

    assert_int_equal(ERR_peek_error(), 0);
}


static void
test_tokens(void **state)
{
    char                 big[MCP_OAUTH_BODY + 64];
    mcp_str_t            body;
    mcp_oauth_answer_t   a;
    mcp_oauth_request_t  req;

    (void) state;

    req = request("okta", MCP_OAUTH_REFRESH);
    body = str("{\"access_token\":\"acc\",\"refresh_token\":\"ref\","
               "\"token_type\":\"Bearer\",\"expires_in\":3600,"
               "\"scope\":\"a b\",\"id_token\":\"i.d.t\"}");

    mcp_oauth_answer(&req, 200, &body, &fx_mem, &a);

    assert_int_equal(a.class, MCP_OAUTH_OK);
    assert_true(mcp_str_eq_lit(&a.access_token, "acc"));
    assert_true(mcp_str_eq_lit(&a.refresh_token, "ref"));
    assert_true(mcp_str_eq_lit(&a.scope, "a b"));
    assert_true(mcp_str_eq_lit(&a.id_token, "i.d.t"));
    assert_int_equal(a.expires_in, 3600);
    assert_int_equal(a.scope_said, 1);

    /* nothing granted is not nothing said */

    req = request("github", MCP_OAUTH_CODE);

    body = str("{\"access_token\":\"acc\",\"scope\":\"\"}");
    mcp_oauth_answer(&req, 200, &body, &fx_mem, &a);
    assert_int_equal(a.class, MCP_OAUTH_OK);
    assert_int_equal(a.scope.len, 0);
    assert_int_equal(a.scope_said, 1);

    body = str("{\"access_token\":\"acc\",\"scope\":null}");
    mcp_oauth_answer(&req, 200, &body, &fx_mem, &a);
    assert_int_equal(a.class, MCP_OAUTH_OK);
    assert_int_equal(a.scope_said, 0);

    /* GitHub: no expires_in, for ever; a refresh token with its own */

    req = request("github", MCP_OAUTH_REFRESH);
    body = str("{\"access_token\":\"ghu_x\",\"refresh_token\":\"ghr_x\","
               "\"refresh_token_expires_in\":15897600}");

    mcp_oauth_answer(&req, 200, &body, &fx_mem, &a);

    assert_int_equal(a.class, MCP_OAUTH_OK);
    assert_int_equal(a.expires_in, 0);
    assert_int_equal(a.refresh_expires_in, 15897600);

    /* one that makes no sense is not said; the tokens are good */

    body = str("{\"access_token\":\"ghu_x\",\"refresh_token\":\"ghr_x\","
               "\"refresh_token_expires_in\":0}");

    mcp_oauth_answer(&req, 200, &body, &fx_mem, &a);

    assert_int_equal(a.class, MCP_OAUTH_OK);
    assert_int_equal(a.refresh_expires_in, 0);

    body = str("{\"access_token\":\"ghu_x\",\"refresh_token\":\"ghr_x\","
               "\"refresh_token_expires_in\":\"never\"}");

    mcp_oauth_answer(&req, 200, &body, &fx_mem, &a);

    assert_int_equal(a.class, MCP_OAUTH_OK);
    assert_int_equal(a.refresh_expires_in, 0);
    assert_true(mcp_str_eq_lit(&a.refresh_token, "ghr_x"));

    /* without it others are taken for short-lived */

    req = request("generic", MCP_OAUTH_CLIENT_CREDENTIALS);
    body = str("{\"access_token\":\"x\",\"expires_in\":null}");

    mcp_oauth_answer(&req, 200, &body, &fx_mem, &a);
    assert_int_equal(a.expires_in, 300);

    body = str("{\"access_token\":\"x\",\"expires_in\":99999999999999}");

    mcp_oauth_answer(&req, 200, &body, &fx_mem, &a);
    assert_int_equal(a.class, MCP_OAUTH_OK);
    assert_int_equal(a.expires_in, 10LL * 366 * 86400);

    /* Slack's code: the person's, not the bot's */

    req = request("slack", MCP_OAUTH_CODE);
    body = str("{\"ok\":true,\"access_token\":\"bot\",\"authed_user\":"
               "{\"id\":\"U1\",\"access_token\":\"person\","
               "\"refresh_token\":\"r\",\"expires_in\":43200,"
               "\"token_type\":\"user\"}}");

    mcp_oauth_answer(&req, 200, &body, &fx_mem, &a);

    assert_int_equal(a.class, MCP_OAUTH_OK);
    assert_true(mcp_str_eq_lit(&a.access_token, "person"));
    assert_true(mcp_str_eq_lit(&a.refresh_token, "r"));

    /* too large, in whole or in part */

    memset(big, ' ', sizeof(big));
    memcpy(big, "{\"access_token\":\"x\"}", 20);
    body.data = (unsigned char *) big;
    body.len = MCP_OAUTH_BODY;

    req = request("generic", MCP_OAUTH_REFRESH);

    mcp_oauth_answer(&req, 200, &body, &fx_mem, &a);
    assert_int_equal(a.class, MCP_OAUTH_OK);

    body.len = MCP_OAUTH_BODY + 1;
    mcp_oauth_answer(&req, 200, &body, &fx_mem, &a);
    assert_int_equal(a.class, MCP_OAUTH_UNKNOWN);

    memset(big, 'x', sizeof(big));
    memcpy(big, "{\"access_token\":\"", 17);
    memcpy(big + 17 + MCP_OAUTH_TOKEN, "\"}", 2);
    body.len = 17 + MCP_OAUTH_TOKEN + 2;

    mcp_oauth_answer(&req, 200, &body, &fx_mem, &a);
    assert_int_equal(a.class, MCP_OAUTH_OK);
    assert_int_equal(a.access_token.len, MCP_OAUTH_TOKEN);

    memcpy(big + 17 + MCP_OAUTH_TOKEN, "x\"}", 3);
    body.len++;

    mcp_oauth_answer(&req, 200, &body, &fx_mem, &a);
    assert_int_equal(a.class, MCP_OAUTH_UNKNOWN);
}


/*
 * The old refresh token may be used up: nothing that the gateway can do without
 * costs the new one.
 */
static void
test_beside(void **state)
{
    char                 text[256];
    size_t               i;
    mcp_str_t            body;
    mcp_oauth_answer_t   a;
    mcp_oauth_request_t  req;

    static const struct {
        const char  *provider;
        const char  *beside;
        int64_t      expires;
    } answers[] = {
        { "generic", "\"expires_in\":0", 300 },
        { "okta", "\"expires_in\":-3600", 300 },
        { "github", "\"expires_in\":\"never\"", 300 },
        { "okta", "\"expires_in\":\"\"", 300 },
        { "okta", "\"expires_in\":\"99999999999\"", 300 },
        { "okta", "\"expires_in\":1e300", 300 },
        { "okta", "\"expires_in\":-0.5", 300 },
        { "okta", "\"expires_in\":[3600]", 300 },
        { "okta", "\"expires_in\":9223372036854775807", 10LL * 366 * 86400 },
        { "okta", "\"expires_in\":60,\"scope\":[\"a\",\"b\"]", 60 },
        { "okta", "\"expires_in\":60,\"scope\":7", 60 },
        { "okta", "\"expires_in\":60,\"id_token\":{}", 60 },
        { "okta", "\"expires_in\":60,\"id_token\":\"a b\"", 60 },
    };

    (void) state;

    for (i = 0; i < fx_count(answers); i++) {
        snprintf(text, sizeof(text), "{\"access_token\":\"acc\","
                 "\"refresh_token\":\"ref\",%s}", answers[i].beside);

        req = request(answers[i].provider, MCP_OAUTH_REFRESH);
        body = str(text);

        mcp_oauth_answer(&req, 200, &body, &fx_mem, &a);

        if (a.class != MCP_OAUTH_OK || a.expires_in != answers[i].expires) {
            fail_msg("%s: %s, %lld", answers[i].beside,
                     mcp_oauth_class_name(a.class), (long long) a.expires_in);
        }

        assert_true(mcp_str_eq_lit(&a.access_token, "acc"));
        assert_true(mcp_str_eq_lit(&a.refresh_token, "ref"));
        assert_int_equal(a.scope.len, 0);
        assert_int_equal(a.id_token.len, 0);
    }
}


/* The n-th allocation fails: never half an answer that counts as one. */
static void
test_memory(void **state)
{
    long                 n;
    mcp_str_t            body;
    mcp_oauth_answer_t   a;
    mcp_oauth_request_t  req;

    (void) state;

    req = request("generic", MCP_OAUTH_REFRESH);
    body = str("{\"access_token\":\"a\",\"refresh_token\":\"b\","
               "\"scope\":\"c\"}");

    for (n = 0; n < 10; n++) {
        fx_fail_at = n;
        mcp_oauth_answer(&req, 200, &body, &fx_mem, &a);

        if (a.class == MCP_OAUTH_OK) {
            break;
        }

        assert_int_equal(a.class, MCP_OAUTH_UNKNOWN);
    }

    fx_fail_at = -1;

    assert_int_equal(a.class, MCP_OAUTH_OK);
    assert_true(n > 0);
    assert_true(mcp_str_eq_lit(&a.refresh_token, "b"));
}


/* What is not given to the caller, who would wipe it, stays nowhere. */
static void
test_wiped(void **state)
{
    size_t               i;
    mcp_str_t            body;
    fx_block_t          *b;
    const fx_block_t    *keep;
    mcp_oauth_answer_t   a;
    mcp_oauth_request_t  req;

    static const char  *const  bodies[] = {
        "{\"access_token\":\"secret\",\"token_type\":\"mac\"}",
        "{\"access_token\":\"secret\",\"refresh_token\":7}",
        "{\"access_token\":\"a\",\"refresh_token\":\"secret\","
        "\"id_token\":[]}",
        "{\"access_token\":\"a\",\"id_token\":\"secret\",\"scope\":7}",
        "{\"access_token\":\"secret\",\"expires_in\":-1}",
    };

    (void) state;

    req = request("generic", MCP_OAUTH_CODE);
    keep = fx_blocks;

    for (i = 0; i < fx_count(bodies); i++) {
        body = str(bodies[i]);

        mcp_oauth_answer(&req, 200, &body, &fx_mem, &a);
        assert_int_equal(a.class, MCP_OAUTH_UNKNOWN);

        for (b = fx_blocks; b != keep; b = b->next) {
            if (memmem(b->data, b->size, "secret", 6)) {
                fail_msg("%s", bodies[i]);
            }
        }
    }

    assert_ptr_not_equal(fx_blocks, keep);
}


static mcp_str_t
pem(fx_key_e key, int private)
{
    BIO        *bio;
    char       *p;
    long        len;
    mcp_str_t   s;

    bio = BIO_new(BIO_s_mem());

    if (private) {
        PEM_write_bio_PrivateKey(bio, fx_key(key), NULL, NULL, 0, NULL, NULL);
    } else {
        PEM_write_bio_PUBKEY(bio, fx_key(key));
    }

    len = BIO_get_mem_data(bio, &p);

    s.len = (size_t) len;
    s.data = fx_alloc(s.len + 1);
    memcpy(s.data, p, s.len);
    s.data[s.len] = '\0';

    BIO_free(bio);

    return s;
}


static void
assertion(fx_key_e key, unsigned es256)
{
    char                  *text, jti[33];
    jwt_t                 *jwt;
    mcp_str_t              out, again, public;
    mcp_assertion_conf_t   conf;

    memset(&conf, 0, sizeof(conf));
    conf.client_id = str("client-1");
    conf.audience = str("https://idp.example.com/token");
    conf.key = pem(key, 1);
    conf.key_id = str("k1");
    conf.es256 = es256;

    assert_int_equal(mcp_assertion_make(&conf, 1700000000, &fx_mem, &out),
                     MCP_OK);
    assert_int_equal(mcp_assertion_make(&conf, 1700000000, &fx_mem, &again),
                     MCP_OK);

    public = pem(key, 0);

    text = fx_alloc(again.len + 1);
    memcpy(text, again.data, again.len);
    text[again.len] = '\0';

    assert_int_equal(jwt_decode(&jwt, text, public.data, (int) public.len),
                     0);
    memcpy(jti, jwt_get_grant(jwt, "jti"), sizeof(jti));
    jwt_free(jwt);

    text = fx_alloc(out.len + 1);
    memcpy(text, out.data, out.len);
    text[out.len] = '\0';

    assert_int_equal(jwt_decode(&jwt, text, public.data, (int) public.len),
                     0);

    assert_int_equal(jwt_get_alg(jwt), es256 ? JWT_ALG_ES256 : JWT_ALG_RS256);
    assert_string_equal(jwt_get_header(jwt, "kid"), "k1");
    assert_string_equal(jwt_get_grant(jwt, "iss"), "client-1");
    assert_string_equal(jwt_get_grant(jwt, "sub"), "client-1");
    assert_string_equal(jwt_get_grant(jwt, "aud"),
                        "https://idp.example.com/token");
    assert_int_equal(jwt_get_grant_int(jwt, "iat"), 1700000000);
    assert_int_equal(jwt_get_grant_int(jwt, "exp"), 1700000060);
    assert_int_equal(strlen(jwt_get_grant(jwt, "jti")), 32);


    /* another jti each time, in all of its parts */

    assert_memory_not_equal(jwt_get_grant(jwt, "jti"), jti, 16);
    assert_memory_not_equal(jwt_get_grant(jwt, "jti") + 16, jti + 16, 16);

    jwt_free(jwt);
}


static void
test_assertions(void **state)
{
    mcp_str_t              out;
    const char            *error;
    mcp_assertion_conf_t   conf;

    (void) state;

    assertion(FX_RSA, 0);
    assertion(FX_P256, 1);

    memset(&conf, 0, sizeof(conf));
    conf.client_id = str("c");
    conf.audience = str("a");

    conf.key = pem(FX_RSA, 1);
    assert_int_equal(mcp_assertion_check(&conf, &error), MCP_OK);
    assert_int_equal(conf.es256, 0);

    conf.key = pem(FX_P256, 1);
    assert_int_equal(mcp_assertion_check(&conf, &error), MCP_OK);
    assert_int_equal(conf.es256, 1);

    conf.key = pem(FX_P384, 1);
    assert_int_equal(mcp_assertion_check(&conf, &error), MCP_ERROR);
    assert_non_null(strstr(error, "P-256"));

    conf.key = pem(FX_RSA_1024, 1);
    assert_int_equal(mcp_assertion_check(&conf, &error), MCP_ERROR);

    conf.key = pem(FX_ED25519, 1);
    assert_int_equal(mcp_assertion_check(&conf, &error), MCP_ERROR);

    conf.key = pem(FX_RSA, 0);
    assert_int_equal(mcp_assertion_check(&conf, &error), MCP_ERROR);
    assert_non_null(strstr(error, "private"));

    conf.key = str("no key");
    assert_int_equal(mcp_assertion_check(&conf, &error), MCP_ERROR);
    assert_int_equal(mcp_assertion_make(&conf, 1, &fx_mem, &out), MCP_ERROR);

    conf.key = pem(FX_RSA, 1);
    conf.client_id.data = (unsigned char *) "a\0b";
    conf.client_id.len = 3;
    assert_int_equal(mcp_assertion_make(&conf, 1, &fx_mem, &out), MCP_ERROR);

    assert_int_equal(ERR_peek_error(), 0);
}


/* The habits are what the providers document; docs/providers has them too. */
static void
test_providers(void **state)
{
    size_t                       i;
    mcp_str_t                    name;
    const mcp_oauth_provider_t  *p;

    static const struct {
        const char        *name;
        const char        *token_endpoint;
        const char        *authorize_endpoint;
        const char        *revoke_endpoint;
        const char        *authorize_extra;
        mcp_oauth_auth_e   auth;
        unsigned           json, rotates, pkce;
        int                grace, lifetime, keepalive;
        const char        *within;
    } want[] = {
        { "generic", "", "", "", "", MCP_OAUTH_BASIC, 0, 1, 1,
          0, 300, 3 * 86400, "" },
        { "github", "https://github.com/login/oauth/access_token",
          "https://github.com/login/oauth/authorize", "", "",
          MCP_OAUTH_POST, 0, 1, 1, 0, 0, 30 * 86400, "" },
        { "atlassian", "https://auth.atlassian.com/oauth/token",
          "https://auth.atlassian.com/authorize", "",
          "audience=api.atlassian.com&prompt=consent",
          MCP_OAUTH_POST, 1, 1, 0, 600, 3600, 30 * 86400, "" },
        { "slack", "https://slack.com/api/oauth.v2.access",
          "https://slack.com/oauth/v2/authorize",
          "https://slack.com/api/auth.revoke", "",
          MCP_OAUTH_POST, 0, 1, 0, 0, 0, 0, "authed_user" },
        { "google", "https://oauth2.googleapis.com/token",
          "https://accounts.google.com/o/oauth2/v2/auth",
          "https://oauth2.googleapis.com/revoke",
          "access_type=offline&prompt=consent",
          MCP_OAUTH_POST, 0, 0, 1, -1, 3600, 0, "" },
        { "entra", "", "", "", "", MCP_OAUTH_POST, 0, 0, 1,
          -1, 3600, 30 * 86400, "" },
        { "okta", "", "", "", "", MCP_OAUTH_BASIC, 0, 1, 1,
          30, 3600, 3 * 86400, "" },
    };

    (void) state;

#define is(member)  text_is(&p->member, want[i].member)

    for (i = 0; i < fx_count(want); i++) {
        name = str(want[i].name);
        p = mcp_oauth_provider(&name);
        assert_non_null(p);

        is(token_endpoint);
        is(authorize_endpoint);
        is(revoke_endpoint);
        is(authorize_extra);
        is(within);

        assert_int_equal(p->auth, want[i].auth);
        assert_int_equal(p->json, want[i].json);
        assert_int_equal(p->rotates, want[i].rotates);
        assert_int_equal(p->pkce, want[i].pkce);
        assert_int_equal(p->grace, want[i].grace);
        assert_int_equal(p->lifetime, want[i].lifetime);
        assert_int_equal(p->keepalive, want[i].keepalive);
    }

#undef is

    name = str("Github");
    assert_null(mcp_oauth_provider(&name));
    name = str("");
    assert_null(mcp_oauth_provider(&name));
    name = str("githubs");
    assert_null(mcp_oauth_provider(&name));

    assert_string_equal(mcp_oauth_class_name(MCP_OAUTH_GRANT_DEAD),
                        "grant_dead");
}


/* jansson loses a NUL that follows a number. */

static void
test_nul(void **state)
{
    mcp_str_t             body;
    mcp_oauth_answer_t    a;
    mcp_oauth_request_t   req;

    static char  text[] = "{\"access_token\":\"a\",\"expires_in\":60?}";

    (void) state;

    req = request("generic", MCP_OAUTH_REFRESH);
    body.data = (unsigned char *) text;
    body.len = sizeof(text) - 1;

    text[sizeof(text) - 3] = '0';
    mcp_oauth_answer(&req, 200, &body, &fx_mem, &a);
    assert_int_equal(a.class, MCP_OAUTH_OK);

    text[sizeof(text) - 3] = '\0';
    mcp_oauth_answer(&req, 200, &body, &fx_mem, &a);
    assert_int_equal(a.class, MCP_OAUTH_UNKNOWN);
    assert_string_equal(a.error, "no_json");
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_room),
        cmocka_unit_test(test_basic),
        cmocka_unit_test(test_classes),
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_beside),
        cmocka_unit_test(test_nul),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_wiped),
        cmocka_unit_test(test_assertions),
        cmocka_unit_test(test_providers),
    };

    return cmocka_run_group_tests(tests, NULL, fx_end);
}
