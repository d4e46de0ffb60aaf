/*
 * mcp_connect: texts of sessions and states are read as they were written, and
 * nothing else is; the URL with which a browser leaves; scopes.
 */

#include "jose_fixture.h"
#include "mcp_connect.h"


static mcp_str_t
written(const mcp_connect_session_t *s, const mcp_connect_state_t *st)
{
    char       *buf;
    mcp_buf_t   b;
    mcp_str_t   text;

    buf = fx_alloc(MCP_CONNECT_TEXT + 1);
    mcp_buf_init(&b, buf, MCP_CONNECT_TEXT);

    if (s) {
        mcp_connect_session_write(&b, s);

    } else {
        mcp_connect_state_write(&b, st);
    }

    assert_int_equal(b.overflow, 0);
    *b.pos = '\0';

    text.data = b.start;
    text.len = (size_t) (b.pos - b.start);

    return text;
}


static mcp_connect_session_t
session(void)
{
    mcp_connect_session_t  s;

    memset(&s, 0, sizeof(s));

    s.issuer = fx_str("https://id.example.com/oauth2/default");
    s.user = fx_str("00u\xc3\xa9\"\\");
    s.name = fx_str("A <b>&\xe2\x80\xae");
    s.nonce = fx_str("abcdefghijklmnopqrstuv");
    s.begun = 1764115200;

    return s;
}


static mcp_connect_state_t
state_of(mcp_connect_kind_e kind)
{
    mcp_connect_state_t  s;

    memset(&s, 0, sizeof(s));

    s.kind = kind;
    s.credential = fx_str("jira");
    s.issuer = fx_str("https://idp.example.com");
    s.redirect_uri = fx_str("https://gw.example.com/connect/grant/jira");
    s.verifier = fx_str("verifier");
    s.nonce = fx_str("nonce");
    s.browser = fx_str("browser");
    s.person_issuer = fx_str("https://id.example.com");
    s.person = fx_str("00u");
    s.to = fx_str("to");
    s.ticket = fx_str("ticket");
    s.scope = fx_str("a.read b.write");
    s.begun = 1764115200;

    return s;
}


static void
test_session(void **state)
{
    size_t                 i;
    mcp_str_t              text, part;
    mcp_connect_session_t  s, got;

    (void) state;

    s = session();
    text = written(&s, NULL);

    assert_int_equal(mcp_connect_session_parse(&text, &fx_mem, &got), MCP_OK);
    assert_true(mcp_str_eq(&got.issuer, &s.issuer));
    assert_true(mcp_str_eq(&got.user, &s.user));
    assert_true(mcp_str_eq(&got.name, &s.name));
    assert_true(mcp_str_eq(&got.nonce, &s.nonce));
    assert_int_equal(got.begun, s.begun);

    for (i = 0; i < text.len; i++) {
        part.data = text.data;
        part.len = i;
        assert_int_equal(mcp_connect_session_parse(&part, &fx_mem, &got),
                         MCP_ERROR);
    }

    for (i = 0; i < 8; i++) {
        fx_fail_at = (long) i;

        if (mcp_connect_session_parse(&text, &fx_mem, &got) == MCP_OK) {
            break;
        }
    }

    fx_fail_at = -1;
    assert_true(i >= 1 && i <= 7);

    /* who is nobody, and a nonce of another length */

    s = session();
    s.user.len = 0;
    text = written(&s, NULL);
    assert_int_equal(mcp_connect_session_parse(&text, &fx_mem, &got),
                     MCP_ERROR);

    s = session();
    s.issuer.len = 0;
    text = written(&s, NULL);
    assert_int_equal(mcp_connect_session_parse(&text, &fx_mem, &got),
                     MCP_ERROR);

    s = session();
    s.nonce.len--;
    text = written(&s, NULL);
    assert_int_equal(mcp_connect_session_parse(&text, &fx_mem, &got),
                     MCP_ERROR);

    s = session();
    s.user.data = memset(fx_alloc(257), 'u', 257);
    s.user.len = 257;
    text = written(&s, NULL);
    assert_int_equal(mcp_connect_session_parse(&text, &fx_mem, &got),
                     MCP_ERROR);
    s.user.len = 256;
    text = written(&s, NULL);
    assert_int_equal(mcp_connect_session_parse(&text, &fx_mem, &got), MCP_OK);
}


static void
test_state(void **state)
{
    mcp_str_t              text;
    mcp_connect_kind_e     kind;
    mcp_connect_state_t    s, got;
    mcp_connect_session_t  other;

    (void) state;

    for (kind = MCP_CONNECT_LOGIN; kind <= MCP_CONNECT_TICKET; kind++) {
        s = state_of(kind);
        text = written(NULL, &s);

        assert_int_equal(mcp_connect_state_parse(&text, &fx_mem, &got),
                         MCP_OK);
        assert_int_equal(got.kind, kind);
        assert_true(mcp_str_eq(&got.credential, &s.credential));
        assert_true(mcp_str_eq(&got.issuer, &s.issuer));
        assert_true(mcp_str_eq(&got.redirect_uri, &s.redirect_uri));
        assert_true(mcp_str_eq(&got.verifier, &s.verifier));
        assert_true(mcp_str_eq(&got.nonce, &s.nonce));
        assert_true(mcp_str_eq(&got.browser, &s.browser));
        assert_true(mcp_str_eq(&got.person_issuer, &s.person_issuer));
        assert_true(mcp_str_eq(&got.person, &s.person));
        assert_true(mcp_str_eq(&got.to, &s.to));
        assert_true(mcp_str_eq(&got.ticket, &s.ticket));
        assert_true(mcp_str_eq(&got.scope, &s.scope));
        assert_int_equal(got.begun, s.begun);

        /* one is never the other */

        assert_int_equal(mcp_connect_session_parse(&text, &fx_mem, &other),
                         MCP_ERROR);
    }

    other = session();
    text = written(&other, NULL);
    assert_int_equal(mcp_connect_state_parse(&text, &fx_mem, &got), MCP_ERROR);

    s = state_of(0);
    text = written(NULL, &s);
    assert_int_equal(mcp_connect_state_parse(&text, &fx_mem, &got), MCP_ERROR);

    s = state_of(MCP_CONNECT_TICKET + 1);
    text = written(NULL, &s);
    assert_int_equal(mcp_connect_state_parse(&text, &fx_mem, &got), MCP_ERROR);
}


static void
test_strict(void **state)
{
    size_t                 i;
    mcp_str_t              text;
    mcp_connect_session_t  got;

#define S  "\"i\":\"i\",\"u\":\"u\",\"n\":\"n\","                             \
           "\"b\":\"abcdefghijklmnopqrstuv\""

    static const char  *bad[] = {
        "", "{}", "[]", "null", "1",
        "{\"v\":2,\"k\":0,\"t\":1," S "}",
        "{\"v\":\"1\",\"k\":0,\"t\":1," S "}",
        "{\"v\":1,\"k\":1,\"t\":1," S "}",
        "{\"v\":1,\"k\":-1,\"t\":1," S "}",
        "{\"v\":1,\"k\":0,\"t\":-1," S "}",
        "{\"v\":1,\"k\":0,\"t\":1.5," S "}",
        "{\"v\":1,\"k\":0,\"t\":\"1\"," S "}",
        "{\"v\":1,\"k\":0," S "}",
        "{\"v\":1,\"k\":0,\"t\":1," S ",\"x\":\"y\"}",
        "{\"v\":1,\"k\":0,\"t\":1," S ",\"u\":\"v\"}",
        "{\"v\":1,\"k\":0,\"t\":1," S "}}",
        "{\"v\":1,\"k\":0,\"t\":1,\"i\":\"i\",\"u\":1,\"n\":\"n\","
        "\"b\":\"abcdefghijklmnopqrstuv\"}"
    };

    (void) state;

    text = fx_str("{\"v\":1,\"k\":0,\"t\":1," S "}");
    assert_int_equal(mcp_connect_session_parse(&text, &fx_mem, &got), MCP_OK);

    for (i = 0; i < fx_count(bad); i++) {
        text = fx_str(bad[i]);

        if (mcp_connect_session_parse(&text, &fx_mem, &got) != MCP_ERROR) {
            fail_msg("%s is taken", bad[i]);
        }
    }

    text.data = memset(fx_alloc(MCP_CONNECT_TEXT + 1), ' ',
                       MCP_CONNECT_TEXT + 1);
    memcpy(text.data, "{\"v\":1,\"k\":0,\"t\":1," S "}",
           sizeof("{\"v\":1,\"k\":0,\"t\":1," S "}") - 1);
    text.len = MCP_CONNECT_TEXT;
    assert_int_equal(mcp_connect_session_parse(&text, &fx_mem, &got), MCP_OK);
    text.len++;
    assert_int_equal(mcp_connect_session_parse(&text, &fx_mem, &got),
                     MCP_ERROR);
}


static void
test_away(void **state)
{
    char                buf[1024];
    size_t              i;
    mcp_buf_t           b;
    mcp_connect_away_t  a;

    (void) state;

    memset(&a, 0, sizeof(a));

    a.endpoint = fx_str("https://idp.example.com/authorize");
    a.client_id = fx_str("id&x=y");
    a.redirect_uri = fx_str("https://gw.example.com/connect/grant/jira");
    a.scope = fx_str("a.read b.write");
    a.state = fx_str("S");

    /* RFC 7636, appendix B */

    a.verifier = fx_str("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");

    mcp_buf_init(&b, buf, sizeof(buf) - 1);
    assert_int_equal(mcp_connect_away(&b, &a), MCP_OK);
    *b.pos = '\0';

    assert_string_equal(buf,
        "https://idp.example.com/authorize?response_type=code&"
        "client_id=id%26x%3Dy&redirect_uri=https%3A%2F%2Fgw.example.com%2F"
        "connect%2Fgrant%2Fjira&scope=a.read%20b.write&state=S&"
        "code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&"
        "code_challenge_method=S256");

    a.endpoint = fx_str("https://idp.example.com/authorize?tenant=1");
    a.extra = fx_str("prompt=consent&access_type=offline");
    a.scope_name = "user_scope";
    a.audience = fx_str("api://x");
    a.resource = fx_str("https://mcp.example.com");
    a.nonce = fx_str("N");
    a.verifier.len = 0;

    mcp_buf_init(&b, buf, sizeof(buf) - 1);
    assert_int_equal(mcp_connect_away(&b, &a), MCP_OK);
    *b.pos = '\0';

    assert_string_equal(buf,
        "https://idp.example.com/authorize?tenant=1&response_type=code&"
        "client_id=id%26x%3Dy&redirect_uri=https%3A%2F%2Fgw.example.com%2F"
        "connect%2Fgrant%2Fjira&user_scope=a.read%20b.write&"
        "audience=api%3A%2F%2Fx&resource=https%3A%2F%2Fmcp.example.com&"
        "state=S&nonce=N&prompt=consent&access_type=offline");

    for (i = 0; i < strlen(buf); i++) {
        mcp_buf_init(&b, fx_alloc(i + 1), i);
        assert_int_equal(mcp_connect_away(&b, &a), MCP_ERROR);
    }
}


static void
test_session_good(void **state)
{
    size_t                  i;
    mcp_str_t               issuer;
    mcp_connect_session_t   s;

    static const struct {
        const char  *issuer;
        int64_t      begun;
        int          good;
    } cases[] = {
        { "https://login.example.com", 1000000, 1 },
        { "https://login.example.com", 1000000 - 899, 1 },
        { "https://login.example.com", 1000000 - 900, 0 },
        { "https://login.example.com", 0, 0 },
        { "https://login.example.com", 1000060, 1 },
        { "https://login.example.com", 1000061, 0 },
        { "https://login.example.com", INT64_MAX, 0 },
        { "https://login.example.com/", 1000000, 0 },
        { "https://evil.example.com", 1000000, 0 },
        { "", 1000000, 0 }
    };

    (void) state;

    issuer = fx_str("https://login.example.com");
    memset(&s, 0, sizeof(s));

    for (i = 0; i < fx_count(cases); i++) {
        s.issuer = fx_str(cases[i].issuer);
        s.begun = cases[i].begun;

        if (mcp_connect_session_good(&s, &issuer, 1000000,
                                     MCP_CONNECT_SESSION)
            != cases[i].good)
        {
            fail_msg("case %zu", i);
        }
    }
}


/* The pages' own URL is as browsers write it. */
static void
test_own(void **state)
{
    size_t     i;
    mcp_str_t  url;

    static const struct {
        const char  *url;
        unsigned     good;
    } cases[] = {
        { "https://gw.example.com/connect/", 1 },
        { "https://gw.example.com/Connect/", 1 },
        { "https://gw.example.com:8443/", 1 },
        { "https://gw.example.com:80/", 1 },
        { "https://gw.example.com:4430/", 1 },
        { "https://gw.example.com/a:443/", 1 },
        { "http://127.0.0.1:443/c/", 1 },
        { "https://[::443]/c/", 1 },
        { "https://[::1]:8443/c/", 1 },
        { "https://gw.example.com:443/connect/", 0 },
        { "https://[::1]:443/c/", 0 },
        { "http://127.0.0.1:80/c/", 0 },
        { "HTTPS://gw.example.com/connect/", 0 },
        { "https://GW.example.com/connect/", 0 },
        { "https://gw.example.com/$(id)/", 0 }
    };

    (void) state;

    for (i = 0; i < fx_count(cases); i++) {
        url = fx_str(cases[i].url);

        if ((mcp_connect_own(&url) == NULL) != cases[i].good) {
            fail_msg("%s", cases[i].url);
        }
    }
}


/* What only the gateway may say is in no endpoint's query. */
static void
test_endpoint(void **state)
{
    size_t               i;
    char                 buf[2048];
    mcp_buf_t            b;
    mcp_str_t            url;
    mcp_connect_away_t   a;

    static const struct {
        const char  *query;
        unsigned     good;
    } cases[] = {
        { "", 1 },
        { "?", 1 },
        { "?tenant=1", 1 },
        { "?tenant=state&b=redirect_uri", 1 },
        { "?states=1&my_state=2&xnonce", 1 },
        { "?a=%73tate", 1 },
        { "/state=1", 1 },
        { "?state=1", 0 },
        { "?state", 0 },
        { "?STATE=1", 0 },
        { "?a=1&redirect_uri=https://evil.example.com/", 0 },
        { "?a=1&&&client_id=", 0 },
        { "?a=1;code_challenge=x", 0 },
        { "?code_challenge_method=plain", 0 },
        { "?response_type=token", 0 },
        { "?response_mode=fragment", 0 },
        { "?request_uri=https://evil.example.com/", 0 },
        { "?request=eyJ", 0 },
        { "?scope=all", 0 },
        { "?user_scope=all", 0 },
        { "?nonce=1", 0 },
        { "?resource=x", 0 },
        { "?st%61te=1", 0 },
        { "?a=b&+state=1", 0 },
        { "?a=1?state=1", 1 },
        { "#", 0 },
        { "?tenant=1#state", 0 },
        { "/$(id)", 0 },
        { "/%24%28id%29", 1 },
        { "/a;b", 0 },
        { "/it's", 0 },
        { "/`id`", 0 },
        { "/a|b", 0 },
        { "/a b", 0 },
        { "/a\\b", 0 },
        { "/\r\nSet-Cookie:a", 0 },
        { "/\xc3\xb6", 0 },
        { "/!*+,~@:=", 1 }
    };

    (void) state;

    memset(&a, 0, sizeof(a));
    a.state = fx_str("S");

    for (i = 0; i < fx_count(cases); i++) {
        url = fx_str(fx_printf("https://idp.example.com/a%s",
                               cases[i].query));
        a.endpoint = url;

        mcp_buf_init(&b, buf, sizeof(buf));

        if ((mcp_connect_endpoint(&url) == NULL) != cases[i].good
            || mcp_connect_away(&b, &a) != (cases[i].good ? MCP_OK
                                                          : MCP_ERROR))
        {
            fail_msg("%s", cases[i].query);
        }

        if (!cases[i].good) {
            assert_ptr_equal(b.pos, b.start);
        }
    }

    /* a line of the configuration before a provider's habit */

    a.endpoint = fx_str("https://idp.example.com/a");
    a.extra = fx_str("audience=api.example.com&prompt=consent");

    mcp_buf_init(&b, buf, sizeof(buf) - 1);
    assert_int_equal(mcp_connect_away(&b, &a), MCP_OK);
    *b.pos = '\0';
    assert_string_equal(buf, "https://idp.example.com/a?response_type=code&"
                        "state=S&audience=api.example.com&prompt=consent");

    a.audience = fx_str("api://mine");

    mcp_buf_init(&b, buf, sizeof(buf) - 1);
    assert_int_equal(mcp_connect_away(&b, &a), MCP_OK);
    *b.pos = '\0';
    assert_string_equal(buf, "https://idp.example.com/a?response_type=code&"
                        "audience=api%3A%2F%2Fmine&state=S&prompt=consent");
}


static void
test_missing(void **state)
{
    size_t     i;
    mcp_str_t  wanted, granted, got;

    static const struct {
        const char  *wanted;
        const char  *granted;
        const char  *missing;
        const char  *provider;
    } cases[] = {
        { "", "", "", NULL },
        { "a", "a", "", NULL },
        { "a", "", "a", NULL },
        { "a b", "b a", "", NULL },
        { "a b", "a", "b", NULL },
        { "a  b", "b,a", "", NULL },
        { "a b c", "a,c", "b", NULL },
        { "a", "A", "a", NULL },
        { "a", "ab", "a", NULL },
        { "ab", "a b", "ab", NULL },
        { "a", "a b c", "", NULL },
        { "a b", "c d e b", "a", NULL },
        { "openid offline_access a", "a", "", NULL },
        { "openid a", "openid", "a", NULL },
        { "a", " a", "", NULL },
        { "a", ",,a", "", NULL },

        /* as Slack's documents write them */

        { "a:b,c", "c,a:b", "", "slack" },
        { "a:b,c", "a:b", "c", "slack" },

        /* what one scope has in it is not said again, at GitHub alone */

        { "user gist user:email", "gist,user", "", "github" },
        { "repo:status", "repo", "", "github" },
        { "repo", "repo:status", "repo", "github" },
        { "admin:org", "write:org", "admin:org", "github" },
        { "read:org", "admin:org", "", "github" },
        { "user:email", "user", "user:email", "generic" },
        { "user:email", "user", "user:email", NULL },
        { "user:email", "users", "user:email", "github" },

        /* long names */

        { "openid email", "https://www.googleapis.com/auth/userinfo.email", "",
          "google" },
        { "profile", "https://www.googleapis.com/auth/userinfo.email",
          "profile", "google" },
        { "email", "https://www.googleapis.com/auth/userinfo.email", "email",
          "okta" },

        { "openid profile api://x/A.Read", "api://x/a.read", "", "entra" },
        { "api://x/.default", "api://x/a.read", "", "entra" },
        { "Mail.Read Mail.Send", "mail.read", "Mail.Send", "entra" },
        { "profile", "a", "profile", "okta" },
        { "x/.default", "a", "x/.default", "generic" }
    };

    (void) state;

    for (i = 0; i < fx_count(cases); i++) {
        wanted = fx_str(cases[i].wanted);
        granted = fx_str(cases[i].granted);

        got = mcp_connect_missing(&wanted, &granted, cases[i].provider);

        if (got.len != strlen(cases[i].missing)
            || (got.len && memcmp(got.data, cases[i].missing, got.len) != 0))
        {
            fail_msg("\"%s\" of \"%s\": \"%.*s\" is missing",
                     cases[i].granted, cases[i].wanted, (int) got.len,
                     (char *) got.data);
        }
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_session),
        cmocka_unit_test(test_state),
        cmocka_unit_test(test_strict),
        cmocka_unit_test(test_away),
        cmocka_unit_test(test_session_good),
        cmocka_unit_test(test_own),
        cmocka_unit_test(test_endpoint),
        cmocka_unit_test(test_missing),
    };

    return cmocka_run_group_tests(tests, NULL, fx_end);
}
