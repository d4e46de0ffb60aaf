/*
 * mcp_redact: secrets go, wherever they stand and however little room there is
 * for the rest; everything else stays byte for byte.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mcp_redact.h"


#define NELTS(a)  (sizeof(a) / sizeof((a)[0]))

static const char  *secrets[][2] = {
    { "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl", "jwt" },
    { "AKIAIOSFODNN7EXAMPLE", "aws" },
    { "ghp_0123456789abcdefghijABCDEFGHIJ012345", "github" },
    { "github_pat_11ABCDEFG0123456789_abcdefghij", "github" },
    { "glpat-0123456789abcdefghij", "gitlab" },
    { "xoxb-123456789012-abcdefghijkl", "slack" },
    { "AIzaSyA0123456789abcdefghijklmnopqrstuv", "google" },
    { "npm_0123456789abcdefghijABCDEFGHIJ012345", "npm" },
    { "sk-proj-0123456789abcdefghij", "sk" },
    { "sk_live_0123456789abcdef", "sk" },
    { "mcpp_0123456789abcdefghijABCDEFGHIJ0123456789abc012345", "own" },
    { "mcpv_0123456789abcdefghijABCDEFGHIJ0123456789abc012345", "own" },
    { "4111 1111 1111 1111", "card" },
    { "4111-1111-1111-1111", "card" },
    { "5555555555554444", "card" },
    { "-----BEGIN RSA PRIVATE KEY-----\nMIIEow==\n-----END RSA PRIVATE KEY-----",
      "pem" },
};


static void
check(const char *in, const char *want, unsigned more)
{
    size_t          n, len;
    unsigned char  *text, out[4096];

    len = strlen(in);
    text = malloc(len ? len : 1);
    memcpy(text, in, len);

    n = mcp_redact(text, len, more, out, sizeof(out));
    free(text);

    if (n != strlen(want) || memcmp(out, want, n) != 0) {
        print_error("%s\n-> %.*s\nnot %s\n", in, (int) n, out, want);
        fail();
    }
}


static void
test_secrets(void **state)
{
    size_t   i, k;
    char     in[512], want[512];

    static const char  *around[][2] = {
        { "", "" }, { "x ", " y" }, { "\"", "\"" }, { "k=", "," },
        { "(", ")" }, { "\n", "\n" }, { "a_", " " }, { "\xc3\xa9 ", " \xc3" },
    };

    (void) state;

    for (i = 0; i < NELTS(secrets); i++) {
        for (k = 0; k < NELTS(around); k++) {
            snprintf(in, sizeof(in), "%s%s%s", around[k][0], secrets[i][0],
                     around[k][1]);
            snprintf(want, sizeof(want), "%s[redacted:%s]%s", around[k][0],
                     secrets[i][1], around[k][1]);
            check(in, want, 0);
        }
    }
}


static void
test_context(void **state)
{
    (void) state;

    check("Authorization: Bearer abcdefgh0123", "Authorization: Bearer "
          "[redacted:bearer]", 0);
    check("bearer  x", "bearer  x", 0);
    check("Bearer  abcdefgh0123", "Bearer  [redacted:bearer]", 0);
    check("BASIC dXNlcjpwYXNz, y", "BASIC [redacted:basic], y", 0);
    check("https://user:pw@host/p", "https://[redacted:userinfo]@host/p", 0);
    check("db://u@h", "db://[redacted:userinfo]@h", 0);
    check("https://host/a@b", "https://host/a@b", 0);
    check("https://h/?token=abc&x=1", "https://h/?token=[redacted:query]&x=1",
          0);
    check("https://h/?x=1&API_KEY=abc#f", "https://h/?x=1&API_KEY="
          "[redacted:query]#f", 0);
    check("https://h/#access_token=abc", "https://h/#access_token="
          "[redacted:query]", 0);
    check("https://h/?token=", "https://h/?token=", 0);
    check("https://h/?tokens=abc", "https://h/?tokens=abc", 0);
    check("two: AKIAIOSFODNN7EXAMPLE AKIAIOSFODNN7EXAMPL2",
          "two: [redacted:aws] [redacted:aws]", 0);
}


/* in text in text: as JSON, PHP, Go and browsers write it */

static void
test_written(void **state)
{
    size_t  i;

#define JWT  "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln"
#define GH   "ghp_0123456789abcdefghijABCDEFGHIJ012345"

    static const char  *t[][2] = {
        { "the token:\\n" JWT "\\nend", "the token:\\n[redacted:jwt]\\nend" },
        { "\\t" GH "\\r\\n", "\\t[redacted:github]\\r\\n" },
        { "\\\\n" GH "\\\\n", "\\\\n[redacted:github]\\\\n" },
        { "\\u0022" JWT "\\u0022", "\\u0022[redacted:jwt]\\u0022" },
        { "\\n4111 1111 1111 1111\\n", "\\n[redacted:card]\\n" },
        { "/a%20" JWT "%26x", "/a%20[redacted:jwt]%26x" },
        { "?x=Bearer%20abcdefgh01%3D%3D&y", "?x=Bearer%20[redacted:bearer]&y" },
        { "Bearer+abcdefgh01&y", "Bearer+[redacted:bearer]&y" },
        { "Basic dXNlcjpw\\/YXNz+x==\\n", "Basic [redacted:basic]\\n" },
        { "Bearer\\u0020abcdefgh\\u002b01", "Bearer\\u0020[redacted:bearer]" },
        { "https:\\/\\/u:p@h\\/x", "https:\\/\\/[redacted:userinfo]@h\\/x" },
        { "u=https%3A%2F%2Fu%3Ap%40h%2Fx&y=1@2",
          "u=https%3A%2F%2F[redacted:userinfo]%40h%2Fx&y=1@2" },
        { "https://u:p%2Fw%3Fz@h/x", "https://[redacted:userinfo]@h/x" },
        { "https://h/?a=1\\u0026token=abc\\u0026x=1",
          "https://h/?a=1\\u0026token=[redacted:query]\\u0026x=1" },
        { "https://h/?access%5Ftoken=abc%26def&x=1",
          "https://h/?access%5Ftoken=[redacted:query]&x=1" },
        { "u=https%3A%2F%2Fh%3Ftoken%3Dabc%26x%3D1",
          "u=https%3A%2F%2Fh%3Ftoken%3D[redacted:query]%26x%3D1" },
        { "u=%253Ftoken%253Dabc%2526x", "u=%253Ftoken%253D[redacted:query]%2526x"
        },
        { "{\"password\":\"a\\\"b\",\"x\":1}",
          "{\"password\":\"[redacted:member]\",\"x\":1}" },
        { "\"accessToken\" : \"opaque\"", "\"accessToken\" : \""
          "[redacted:member]\"" },
        { "{\\\"client_secret\\\":\\\"x\\\\\\\"y\\\",\\\"z\\\":1}",
          "{\\\"client_secret\\\":\\\"[redacted:member]\\\",\\\"z\\\":1}" },
        { "\\u0022X-Api-Key\\u0022:\\u0022k\\u0022,",
          "\\u0022X-Api-Key\\u0022:\\u0022[redacted:member]\\u0022," },
        { "\"Authorization\":\"Digest x\"", "\"Authorization\":\""
          "[redacted:member]\"" },
    };

    (void) state;

    for (i = 0; i < NELTS(t); i++) {
        check(t[i][0], t[i][1], 0);
    }

    check("\"password\":\"not all of it", "\"password\":\"[redacted:member]", 1);
    check("see https://user:pass", "see https://[redacted:userinfo]", 1);
    check("see https://host", "see https://host", 1);
    check("card 4111 1111 11", "card [redacted:card]", 1);
    check("card 4111 1111 11 x", "card 4111 1111 11 x", 1);
}


static void
test_harmless(void **state)
{
    size_t  i;

    static const char  *same[] = {
        "", "a", "the bearer of bad news", "basic facts", "risk-averse-people",
        "sk-learn", "eyJ", "monkey=banana", "4111 1111 1111 1112",
        "12345", "2026-11-23T03:04:05.000000Z", "0000000000000000",
        "task-0123456789abcdefghij", "jira://issue/4711?view=1", "a://b/c",
        "-----BEGIN CERTIFICATE-----\nMIIE==\n-----END CERTIFICATE-----",
        "AKIA", "ghp_short", "\xff\xfe\x80", "https://host:8080/path",
        "41111111111111111111111111111111", "\\", "\\\\\\", "%", "%4", "%25",
        "%2541", "100%", "\\u00", "\\u12", "\"password\":7", "\"password\":\"\"",
        "\"key\":\"PROJ-1\"", "\"tokens\":\"x\"", "\"password\"", "\"token\":",
        "\"token\":{\"type\":\"string\"}", "a\\nb", "%e2%82%ac",
        "https://host%40x/", "\"\"", "C:\\new\\eyJ",
    };

    (void) state;

    for (i = 0; i < NELTS(same); i++) {
        check(same[i], same[i], 0);
    }

    /* what the cut text ends in may be one */

    check("a eyJhbG", "a [redacted:jwt]", 1);
    check("a sk-ab", "a [redacted:sk]", 1);
    check("Bearer ab", "Bearer [redacted:bearer]", 1);
    check("-----BEGIN PRIVATE KEY-----\nMII", "[redacted:pem]", 1);
    check("a ghp_short b", "a ghp_short b", 1);

    /* an end that is none, before a secret whose name has a "-" in it */

    check("-----BEGIN RSA PRIVATE KEY-----END RSA PRIV\n"
          "glpat-0123456789abcdefghij x", "[redacted:pem]", 0);
    check("-----BEGIN RSA PRIVATE KEY-----MII-----END RSA PRIV-\n"
          "glpat-0123456789abcdefghij x", "[redacted:pem]", 0);
    check("-----BEGIN RSA PRIVATE KEY-----MII-----END RSA PRIVATE KEY-----\n"
          "glpat-0123456789abcdefghij x", "[redacted:pem]\n"
          "[redacted:gitlab] x", 0);
}


/* whatever the room: nothing of the secret, nothing beyond the end */

/*
 * Short names take a short way: the same text with a line feed behind it, which
 * takes the long one, must not be changed either.
 */

static void
test_short(void **state)
{
    int            i;
    size_t         n, len;
    const char    *s;
    unsigned char  text[16], out[64];

    static const char *const  parts[] = {
        "eyJ", "AKIA", "ASIA", "ghp_", "xox", "ya29.", "npm_", "sk_live_",
        "rk_live_", "mcpp_", "4111", "1", "0", "a", "Z", "_", ".", "/",
        "basic", "bearer", "token", "key"
    };

    (void) state;
    srand(1);

    for (i = 0; i < 200000; i++) {
        len = 0;

        do {
            s = parts[(size_t) rand() % (sizeof(parts) / sizeof(parts[0]))];
            n = strlen(s);
            n = n < 12 - len ? n : 12 - len;
            memcpy(text + len, s, n);
            len += n;
        } while (len < 12 && rand() % 5);

        assert_int_equal(mcp_redact(text, len, 0, out, sizeof(out)), len);
        assert_memory_equal(out, text, len);

        text[len++] = '\n';

        assert_int_equal(mcp_redact(text, len, 0, out, sizeof(out)), len);
        assert_memory_equal(out, text, len);
    }
}


static void
test_room(void **state)
{
    size_t          i, k, n, size;
    char            in[512];
    unsigned char  *out;

    (void) state;

    for (i = 0; i < NELTS(secrets); i++) {
        n = (size_t) snprintf(in, sizeof(in), "before %s after",
                              secrets[i][0]);

        for (size = 0; size <= n + 32; size++) {
            out = malloc(size ? size : 1);
            k = mcp_redact((unsigned char *) in, n, 0, out, size);

            assert_true(k <= size);
            assert_memory_equal(out, "before ", k < 7 ? k : 7);

            if (k > 7) {
                assert_memory_equal(out + 7, "[redacted:",
                                    k - 7 < 10 ? k - 7 : 10);
            }

            free(out);
        }
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_secrets),
        cmocka_unit_test(test_context),
        cmocka_unit_test(test_written),
        cmocka_unit_test(test_harmless),
        cmocka_unit_test(test_short),
        cmocka_unit_test(test_room),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
