/*
 * HTTP responses: each one is fed whole, cut in two at every byte, and byte by
 * byte; the outcome must not depend on it.
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "mcp_http_parse.h"


#define MAX_HEADER  512
#define MAX_BODY    64

#define OK       "HTTP/1.1 200 OK\r\n"
#define CHUNKED  OK "Transfer-Encoding: chunked\r\n\r\n"

#define NO_AGE   -1


typedef struct {
    const char  *text;
    size_t       len;
    int          eof;               /* 0: stays open, 1: cut, 2: closed */
    const char  *error;             /* NULL: good */
    unsigned     status;
    const char  *body;
    const char  *type;
    int64_t      max_age;
} case_t;

#define S(s)                  s, sizeof(s) - 1
#define GOOD(s, st, b)        { S(s), 0, NULL, st, b, "", NO_AGE }
#define TYPE(s, t)            { S(s), 0, NULL, 200, "", t, NO_AGE }
#define AGE(s, n)                                                             \
    { S(OK s "Content-Length: 0\r\n\r\n"), 0, NULL, 200, "", "", n }
#define BAD(s, e)             { S(s), 0, e, 0, NULL, NULL, 0 }
#define HBAD(s, e)            BAD(OK s "\r\n\r\n", e)
#define CUT(s, how, e)        { S(s), how, e, 0, NULL, NULL, 0 }

#define E_HTTP     "the response is not HTTP/1.x"
#define E_STATUS   "invalid status in the response"
#define E_HEADER   "invalid header in the response"
#define E_CONTROL  "control character in the response headers"
#define E_LARGE    "response headers too large"
#define E_MANY     "too many response headers"
#define E_LENGTH   "invalid Content-Length"
#define E_TE       "unsupported Transfer-Encoding"
#define E_CE       "unsupported Content-Encoding"
#define E_BOTH     "both Content-Length and Transfer-Encoding"
#define E_TYPE     "more than one Content-Type"
#define E_CHUNK    "invalid chunk in the response"
#define E_BODY     "response body too large"
#define E_EMPTY    "connection closed without a response"
#define E_CLOSED   "connection closed before the end of the response"

#define X16   "xxxxxxxxxxxxxxxx"
#define X64   X16 X16 X16 X16
#define X256  X64 X64 X64 X64


static const case_t  cases[] = {

    /* by length */
    GOOD(OK "Content-Length: 2\r\n\r\nok", 200, "ok"),
    GOOD(OK "content-LENGTH:2\r\n\r\nok", 200, "ok"),
    GOOD(OK "Content-Length: \t 2 \t\r\n\r\nok", 200, "ok"),
    GOOD(OK "Content-Length: 002\r\n\r\nok", 200, "ok"),
    GOOD(OK "Content-Length: 2\r\nContent-Length: 2\r\n\r\nok", 200, "ok"),
    GOOD(OK "Content-Length: 2\r\n\r\nok and more", 200, "ok"),
    GOOD(OK "Content-Length: 0\r\n\r\n", 200, ""),
    GOOD(OK "Content-Length: 3\r\n\r\na\0b", 200, "a"),
    GOOD(OK "Content-Length: 64\r\n\r\n" X64, 200, X64),

    /* status line */
    GOOD("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, "ok"),
    GOOD("HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n", 404, ""),
    GOOD("HTTP/1.1 404 \r\nContent-Length: 0\r\n\r\n", 404, ""),
    GOOD("HTTP/1.1 302 Found\r\nLocation: http://x/\r\nContent-Length: 0\r\n"
         "\r\n", 302, ""),
    GOOD("HTTP/1.1 503 \303\244\r\nContent-Length: 0\r\n\r\n", 503, ""),
    GOOD("HTTP/1.1 204 No Content\r\n\r\n", 204, ""),
    GOOD("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 304, ""),
    GOOD("HTTP/1.1 200 OK\nContent-Length: 2\n\nok", 200, "ok"),

    /* interim responses: their headers say nothing about the final one */
    GOOD("HTTP/1.1 100 Continue\r\n\r\n" OK "Content-Length: 2\r\n\r\nok",
         200, "ok"),
    GOOD("HTTP/1.1 103 Early Hints\r\nContent-Length: 9\r\n"
         "Content-Encoding: br\r\nTransfer-Encoding: x\r\n\r\n"
         "HTTP/1.1 100 \r\n\r\n" OK "Content-Length: 2\r\n\r\nok", 200, "ok"),

    /* chunks */
    GOOD(CHUNKED "2\r\nok\r\n0\r\n\r\n", 200, "ok"),
    GOOD(CHUNKED "2\r\nok\r\n3\r\nsir\r\n0\r\n\r\nmore", 200, "oksir"),
    GOOD(CHUNKED "a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", 200,
         "01234567890123456789"),
    GOOD(CHUNKED "0000000000000002\r\nok\r\n0\r\n\r\n", 200, "ok"),
    GOOD(CHUNKED "2;a=\"b\"\r\nok\r\n0;z\r\n\r\n", 200, "ok"),
    GOOD(CHUNKED "2 \r\nok\r\n0\t\r\n\r\n", 200, "ok"),
    GOOD(CHUNKED "2\nok\n0\n\n", 200, "ok"),
    GOOD(CHUNKED "0\r\n\r\n", 200, ""),
    GOOD(CHUNKED "2\r\nok\r\n0\r\nContent-Length: x\r\nA: b\r\n\r\n", 200,
         "ok"),
    GOOD(CHUNKED "40\r\n" X64 "\r\n0\r\n\r\n", 200, X64),
    GOOD(OK "Transfer-Encoding: Chunked\r\n\r\n0\r\n\r\n", 200, ""),

    /* what is kept */
    TYPE(OK "Content-Type: application/json\r\nContent-Length: 0\r\n\r\n",
         "application/json"),
    TYPE(OK "Content-Type:  a/b; c=\"d\" \r\nContent-Length: 0\r\n\r\n",
         "a/b; c=\"d\""),
    TYPE(OK "Content-Type: " X64 X64 "\r\nContent-Length: 0\r\n\r\n", X64 X64),
    TYPE(OK "Content-Type: " X64 X64 "x\r\nContent-Length: 0\r\n\r\n", ""),
    TYPE(OK "Content-Encoding: Identity\r\nContent-Length: 0\r\n\r\n", ""),
    AGE("", NO_AGE),
    AGE("Cache-Control: max-age=60\r\n", 60),
    AGE("Cache-Control: public, MAX-AGE=60, must-revalidate\r\n", 60),
    AGE("Cache-Control: max-age=\"60\"\r\n", 60),
    AGE("Cache-Control: max-age=60,max-age=30\r\n", 30),
    AGE("Cache-Control: max-age=30\r\nCache-Control: max-age=60\r\n", 30),
    AGE("Cache-Control: max-age=x\r\n", 0),
    AGE("Cache-Control: max-age=\r\n", NO_AGE),
    AGE("Cache-Control: x-max-age=60, s-maxage=5\r\n", NO_AGE),
    AGE("Cache-Control: max-age=99999999999999999999\r\n", 0x7fffffff),
    AGE("Cache-Control: no-store, max-age=60\r\n", 0),
    AGE("Cache-Control: ,, no-cache ,\r\n", 0),
    AGE("Cache-Control: max-age=60\r\nAge: 20\r\n", 40),
    AGE("Age: 20\r\nCache-Control: max-age=60\r\n", 40),
    AGE("Cache-Control: max-age=60\r\nAge: 60\r\n", 0),
    AGE("Cache-Control: max-age=60\r\nAge: 99999999999999999999\r\n", 0),
    AGE("Age: 20\r\n", NO_AGE),

    /* until close */
    { S(OK "\r\nok"), 2, NULL, 200, "ok", "", NO_AGE },
    { S(OK "\r\n"), 2, NULL, 200, "", "", NO_AGE },
    { S(OK "Content-Length: 2\r\n\r\nok"), 1, NULL, 200, "ok", "", NO_AGE },
    { S(CHUNKED "2\r\nok\r\n0\r\n\r\n"), 1, NULL, 200, "ok", "", NO_AGE },
    CUT(OK "\r\nok", 1, E_CLOSED),
    CUT(OK "Content-Length: 3\r\n\r\nok", 2, E_CLOSED),
    CUT(CHUNKED "2\r\nok\r\n0\r\n", 2, E_CLOSED),
    CUT(CHUNKED "2\r\nok\r\n", 2, E_CLOSED),
    CUT(CHUNKED, 2, E_CLOSED),
    CUT(OK "Content-Length: 0\r\n", 2, E_CLOSED),
    CUT("HTTP/1.1 2", 2, E_CLOSED),
    CUT("HTTP/1.1 100 Continue\r\n\r\n", 2, E_CLOSED),
    CUT("", 2, E_EMPTY),
    CUT(OK "\r\n" X64 "x", 2, E_BODY),

    /* not HTTP */
    BAD("\r\n", E_HTTP), BAD("SSH-2.0-OpenSSH\r\n", E_HTTP),
    BAD("HTTP/2.0 200 OK\r\n", E_HTTP), BAD("HTTP/1.1\r\n", E_HTTP),
    BAD("http/1.1 200 OK\r\n", E_HTTP), BAD("HTTP/1.x 200 OK\r\n", E_HTTP),
    BAD(" HTTP/1.1 200 OK\r\n", E_HTTP), BAD("HTTP/1.1 2000 OK\r\n", E_HTTP),
    BAD("HTTP/1.1  200 OK\r\n", E_HTTP), BAD("HTTP/1.1 2x0 OK\r\n", E_STATUS),
    BAD("HTTP/1.1 099 OK\r\n", E_STATUS), BAD("HTTP/1.1 600 OK\r\n", E_STATUS),
    BAD("HTTP/1.1 101 Switching\r\n", E_STATUS),
    BAD("HTTP/1.1 200 O\0K\r\n", E_CONTROL),
    BAD("HTTP/1.1 200 O\rK\r\n", E_CONTROL),

    /* headers */
    HBAD("a b: c", E_HEADER), HBAD("a : c", E_HEADER), HBAD(": c", E_HEADER),
    HBAD("abc", E_HEADER), HBAD("a: b\r\n c: d", E_HEADER),
    HBAD("a\201: b", E_HEADER), HBAD("a(: b", E_HEADER),
    HBAD("a: b\0c", E_CONTROL), HBAD("a: b\rc", E_CONTROL),
    HBAD("a: \177", E_CONTROL), HBAD("a: b\r", E_CONTROL),
    HBAD("Content-Length: ", E_LENGTH), HBAD("Content-Length: -1", E_LENGTH),
    HBAD("Content-Length: +1", E_LENGTH), HBAD("Content-Length: 1x", E_LENGTH),
    HBAD("Content-Length: 1, 1", E_LENGTH),
    HBAD("Content-Length: 0x1", E_LENGTH),
    HBAD("Content-Length: 18446744073709551617", E_LENGTH),
    HBAD("Content-Length: 1\r\nContent-Length: 2", E_LENGTH),
    HBAD("Content-Length: 65", E_BODY),
    HBAD("Content-Length: 999999999999999999", E_BODY),
    HBAD("Transfer-Encoding: gzip", E_TE),
    HBAD("Transfer-Encoding: gzip, chunked", E_TE),
    HBAD("Transfer-Encoding: identity", E_TE),
    HBAD("Transfer-Encoding: ", E_TE),
    HBAD("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", E_TE),
    BAD("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", E_TE),
    HBAD("Transfer-Encoding: chunked\r\nContent-Length: 1", E_BOTH),
    HBAD("Content-Length: 1\r\nTransfer-Encoding: chunked", E_BOTH),
    HBAD("Content-Encoding: gzip", E_CE),
    HBAD("Content-Encoding: identity, br", E_CE),
    HBAD("Content-Type: a/b\r\nContent-Type: a/b", E_TYPE),
    HBAD("X: " X256 X256, E_LARGE),
    HBAD("X: " X256 "\r\nY: " X64 X64 X64 X64, E_LARGE),
    BAD("HTTP/1.1 200 " X256 X256, E_LARGE),
    BAD("HTTP/1.1 100 " X256 "\r\n\r\n" "HTTP/1.1 100 " X256, E_LARGE),

    /* chunks */
    BAD(CHUNKED "\r\n", E_CHUNK), BAD(CHUNKED "x\r\n", E_CHUNK),
    BAD(CHUNKED "-1\r\n", E_CHUNK), BAD(CHUNKED "0x1\r\n", E_CHUNK),
    BAD(CHUNKED " 1\r\n", E_CHUNK), BAD(CHUNKED "1g\r\n", E_CHUNK),
    BAD(CHUNKED ";a\r\n", E_CHUNK), BAD(CHUNKED "2\r\noks\r\n", E_CHUNK),
    BAD(CHUNKED "2\r\nok2\r\nok\r\n", E_CHUNK),
    BAD(CHUNKED "2\r\nok\r\nx\r\n", E_CHUNK),
    BAD(CHUNKED "00000000000000002\r\n", E_CHUNK),
    BAD(CHUNKED "2;\001\r\n", E_CONTROL),
    BAD(CHUNKED "1;" X256, E_CHUNK),
    BAD(CHUNKED "1;" X64 X64 X64 X16 "\r\n1\r\n1;" X64 X64 X64 X64, E_CHUNK),
    BAD(CHUNKED "1;" X64 X64 X64 X16 "\r\n1\r\n1;" X64 X64 X64 X16 "\r\n1\r\n"
        "1;" X64 X64 X64 X16 "\r\n", E_LARGE),
    BAD(CHUNKED "41\r\n", E_BODY), BAD(CHUNKED "ffffffffffffffff\r\n", E_BODY),
    BAD(CHUNKED "40\r\n" X64 "\r\n1\r\n", E_BODY),
    BAD(CHUNKED "0\r\na b\r\n", E_HEADER),
    BAD(CHUNKED "0\r\nX: " X256 "\r\nY: " X256, E_LARGE),
};


typedef struct {
    mcp_http_t      h;
    unsigned char  *line;
    unsigned char   body[MAX_BODY];
    size_t          body_len;
    int             rc;
} run_t;


static int
keep(void *ctx, const unsigned char *data, size_t len)
{
    run_t  *run = ctx;

    assert_true(len != 0);
    assert_true(len <= sizeof(run->body) - run->body_len);
    memcpy(run->body + run->body_len, data, len);
    run->body_len += len;

    return MCP_OK;
}


static int
no_memory(void *ctx, const unsigned char *data, size_t len)
{
    (void) ctx;
    (void) data;
    (void) len;

    return MCP_ERROR;
}


/* The line buffer is exactly as long as promised, for the sanitizer. */
static void
begin(run_t *run)
{
    memset(run, 0, sizeof(run_t));
    run->line = malloc(MAX_HEADER);
    assert_non_null(run->line);
    run->h.line = run->line;
    run->h.max_header = MAX_HEADER;
    run->h.max_body = MAX_BODY;
    run->h.body = keep;
    run->h.ctx = run;
    mcp_http_init(&run->h);
    run->rc = MCP_AGAIN;
}


/* Each piece lies at the end of its own block. */
static void
feed(run_t *run, const char *text, size_t len)
{
    unsigned char  *copy;

    copy = malloc(len + 1);
    assert_non_null(copy);
    memcpy(copy + 1, text, len);
    run->rc = mcp_http_feed(&run->h, copy + 1, len);
    free(copy);
}


static void
check(run_t *run, const case_t *c)
{
    if (run->rc == MCP_AGAIN && c->eof) {
        run->rc = mcp_http_eof(&run->h, c->eof == 2);
    }

    if (c->error) {
        assert_int_equal(run->rc, MCP_ERROR);
        assert_string_equal(run->h.error, c->error);

        /* and stays so */
        assert_int_equal(mcp_http_feed(&run->h, "x", 1), MCP_ERROR);
        assert_int_equal(mcp_http_eof(&run->h, 1), MCP_ERROR);
        assert_string_equal(run->h.error, c->error);

    } else {
        assert_int_equal(run->rc, MCP_OK);
        assert_null(run->h.error);
        assert_int_equal(run->h.status, c->status);
        assert_true(run->body_len >= strlen(c->body));
        assert_memory_equal(run->body, c->body, strlen(c->body));
        assert_int_equal(run->h.content_type.len, strlen(c->type));

        if (run->h.content_type.len != 0) {
            assert_memory_equal(run->h.content_type.data, c->type,
                                run->h.content_type.len);
        }

        assert_true(run->h.max_age == c->max_age);
        assert_int_equal(mcp_http_feed(&run->h, "x", 1), MCP_OK);
        assert_int_equal(mcp_http_eof(&run->h, 0), MCP_OK);
    }

    free(run->line);
}


static void
test_cases(void **state)
{
    run_t          run;
    size_t         i, n, at;
    const case_t  *c;

    (void) state;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        c = &cases[i];
        print_message("[ case     ] %zu: %.60s\n", i, c->text);

        begin(&run);
        feed(&run, c->text, c->len);
        n = run.body_len;
        check(&run, c);

        for (at = 1; at < c->len; at++) {
            begin(&run);
            feed(&run, c->text, at);
            feed(&run, c->text + at, c->len - at);
            assert_true(run.body_len == n || c->error != NULL);
            check(&run, c);
        }

        begin(&run);

        for (at = 0; at < c->len; at++) {
            feed(&run, c->text + at, 1);
        }

        assert_true(run.body_len == n || c->error != NULL);
        check(&run, c);
    }
}


/* A NUL in a body is a byte as any other. */
static void
test_body_bytes(void **state)
{
    run_t              run;
    static const char  text[] = OK "Content-Length: 3\r\n\r\na\0b";

    (void) state;

    begin(&run);
    feed(&run, text, sizeof(text) - 1);
    assert_int_equal(run.rc, MCP_OK);
    assert_int_equal(run.body_len, 3);
    assert_memory_equal(run.body, "a\0b", 3);
    free(run.line);
}


static void
test_too_many_headers(void **state)
{
    int             i, limit;
    run_t           run;
    unsigned char  *line;

    (void) state;

    for (limit = MCP_HTTP_MAX_HEADERS; limit <= MCP_HTTP_MAX_HEADERS + 1;
         limit++)
    {
        begin(&run);
        line = malloc(4096);
        assert_non_null(line);
        run.h.line = line;
        run.h.max_header = 4096;

        feed(&run, OK, sizeof(OK) - 1);

        for (i = 0; i < limit; i++) {
            assert_int_equal(run.rc, MCP_AGAIN);
            feed(&run, "A:\r\n", 4);
        }

        if (limit > MCP_HTTP_MAX_HEADERS) {
            assert_int_equal(run.rc, MCP_ERROR);
            assert_string_equal(run.h.error, E_MANY);

        } else {
            assert_int_equal(run.rc, MCP_AGAIN);
        }

        free(line);
        free(run.line);
    }
}


/* The limit is of what was sent before the empty line, which is included. */
static void
test_header_limit(void **state)
{
    run_t   run;
    size_t  len;

    (void) state;

    for (len = sizeof(OK) + 1; len <= sizeof(OK) + 3; len++) {
        begin(&run);
        run.h.max_header = len;
        feed(&run, OK "\r\n", sizeof(OK "\r\n") - 1);
        assert_int_equal(run.rc, MCP_AGAIN);
        free(run.line);
    }

    begin(&run);
    run.h.max_header = sizeof(OK);
    feed(&run, OK "\r\n", sizeof(OK "\r\n") - 1);
    assert_int_equal(run.rc, MCP_ERROR);
    assert_string_equal(run.h.error, E_LARGE);
    free(run.line);
}


/* A chunk's line may be longer than what is there for headers. */
static void
test_small_line(void **state)
{
    run_t              run;
    unsigned char     *line;
    static const char  text[] = CHUNKED "1;" X64 "\r\n";

    (void) state;

    begin(&run);
    line = malloc(sizeof(CHUNKED));
    assert_non_null(line);
    run.h.line = line;
    run.h.max_header = sizeof(CHUNKED);
    feed(&run, text, sizeof(text) - 1);
    assert_int_equal(run.rc, MCP_ERROR);
    assert_string_equal(run.h.error, E_CHUNK);
    free(line);
    free(run.line);
}


static void
test_no_memory(void **state)
{
    run_t  run;

    (void) state;

    begin(&run);
    run.h.body = no_memory;
    feed(&run, OK "\r\nx", sizeof(OK "\r\nx") - 1);
    assert_int_equal(run.rc, MCP_ERROR);
    assert_string_equal(run.h.error, "out of memory");
    free(run.line);
}


/* Nothing is left of the response before. */
static void
test_again(void **state)
{
    run_t              run;
    static const char  one[] = OK "Cache-Control: no-store, max-age=9\r\n"
                               "Age: 3\r\nContent-Type: a/b\r\n"
                               "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    static const char  two[] = "HTTP/1.0 404 \r\nContent-Type: c\r\n"
                               "Content-Length: 0\r\n\r\n";

    (void) state;

    begin(&run);
    feed(&run, one, sizeof(one) - 1);
    assert_int_equal(run.rc, MCP_OK);
    assert_true(run.h.max_age == 0);

    mcp_http_init(&run.h);
    feed(&run, two, sizeof(two) - 1);
    assert_int_equal(run.rc, MCP_OK);
    assert_int_equal(run.h.status, 404);
    assert_int_equal(run.h.content_type.len, 1);
    assert_true(run.h.max_age == -1);
    free(run.line);
}


static void
test_retry_after(void **state)
{
    size_t         i;
    mcp_http_t     h;
    unsigned char  line[MAX_HEADER];
    char           text[256];

    static const struct {
        const char  *header;
        int64_t      seconds;
    } cases[] = {
        { "", -1 },
        { "Retry-After: 7\r\n", 7 },
        { "retry-after:  0 \r\n", 0 },
        { "Retry-After: Wed, 21 Oct 2026 07:28:00 GMT\r\n", -1 },
        { "Retry-After: 7s\r\n", -1 },
        { "Retry-After: -7\r\n", -1 },
        { "Retry-After:\r\n", -1 },
        { "Retry-After: 99999999999999999999\r\n", MCP_HTTP_MAX_AGE },
    };

    (void) state;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        memset(&h, 0, sizeof(h));
        h.line = line;
        h.max_header = MAX_HEADER;
        h.max_body = MAX_BODY;
        mcp_http_init(&h);

        snprintf(text, sizeof(text), "HTTP/1.1 429 Slow\r\n%s"
                 "Content-Length: 0\r\n\r\n", cases[i].header);

        assert_int_equal(mcp_http_feed(&h, text, strlen(text)), MCP_OK);
        assert_true(h.retry_after == cases[i].seconds);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_retry_after),
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_body_bytes),
        cmocka_unit_test(test_too_many_headers),
        cmocka_unit_test(test_header_limit),
        cmocka_unit_test(test_small_line),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
