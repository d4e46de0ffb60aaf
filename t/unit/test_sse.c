/*
 * Tests of core/mcp_sse: where events end, whatever the line ends and wherever
 * the pieces end, and what the lines of an event are.
 *
 * The ends that the table expects are those of the whole stream in one piece;
 * every split in two, single bytes and random pieces must give the same.  A
 * second opinion is a plain line splitter, written another way.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "mcp_sse.h"


#define MAX_ENDS  256
#define BOM       "\xef\xbb\xbf"


typedef struct {
    size_t   n;
    size_t   at[MAX_ENDS];
} ends_t;


typedef struct {
    const char  *text;
    size_t       len;
    const char  *ends;          /* offsets at which an event has ended */
} stream_t;

#define S(text, ends)  { text, sizeof(text) - 1, ends }


static const stream_t  streams[] = {
    S("", ""),
    S("\n", "1"),
    S("\r", "1"),
    S("\r\n", "1 2"),
    S("\n\n\n", "1 2 3"),
    S("data: x", ""),
    S("data: x\n", ""),
    S("data: x\n\n", "9"),
    S("data: x\r\r", "9"),
    S("data: x\r\n\r\n", "10 11"),
    S("data: x\n\r\n", "9 10"),
    S("data: x\r\n\n", "10"),
    S("data: x\r\n\r", "10"),
    S("data: x\r\ndata: y\r\n\r\ndata: z\n\n", "19 20 29"),
    S("data: x\rdata: y\ndata: z\r\n\r\n", "26 27"),
    S("data: x\n\ndata: y\n\n", "9 18"),
    S("data: x\n\ndata: y", "9"),
    S(": ping\n\n", "8"),
    S("id: a\0b\ndata\n\n", "14"),
    S("\0\n\n", "3"),
    S(BOM, ""),
    S(BOM "\n", "4"),
    S(BOM "\r\n", "4 5"),
    S(BOM "data: x\n\n", "12"),
    S(BOM BOM "\n\n", "8"),
    S("\xef\n\n", "3"),
    S("\xef\xbb\n\n", "4"),
    S("\xef\xbb" "data: x\n\n", "11"),
    S("\n" BOM "\n\n", "1 6"),
    S("\xef\xbb\xbb\n\n", "5"),
};


typedef struct {
    const char       *text;
    size_t            len;
    unsigned          first;
    mcp_sse_field_e   field;
    const char       *value;
    size_t            line;     /* bytes of the line, with its end */
} line_t;

#define L(text, first, field, value, line)                                    \
    { text, sizeof(text) - 1, first, MCP_SSE_##field, value, line }


static const line_t  lines[] = {
    L("\n", 0, BLANK, "", 1),
    L("\r", 0, BLANK, "", 1),
    L("\r\nx", 0, BLANK, "", 2),
    L("\n\n", 0, BLANK, "", 1),
    L("\r\r", 0, BLANK, "", 1),
    L("data: x\n", 0, DATA, "x", 8),
    L("data: x\rdata", 0, DATA, "x", 8),
    L("data: x\r\ndata", 0, DATA, "x", 9),
    L("data: x", 0, DATA, "x", 7),
    L("data:x\n", 0, DATA, "x", 7),
    L("data:  x \n", 0, DATA, " x ", 10),
    L("data:\tx\n", 0, DATA, "\tx", 8),
    L("data: a:b\n", 0, DATA, "a:b", 10),
    L("data\n", 0, DATA, "", 5),
    L("data:\n", 0, DATA, "", 6),
    L("data: \n", 0, DATA, "", 7),
    L("data:", 0, DATA, "", 5),
    L("data: ", 0, DATA, "", 6),
    L("event: message\n", 0, EVENT, "message", 15),
    L("event\n", 0, EVENT, "", 6),
    L("id: 7\n", 0, ID, "7", 6),
    L("id\n", 0, ID, "", 3),
    L("retry: 10\n", 0, RETRY, "10", 10),
    L(": ping\n", 0, COMMENT, "ping", 7),
    L(":\n", 0, COMMENT, "", 2),
    L(":data: x\n", 0, COMMENT, "data: x", 9),
    L("Data: x\n", 0, OTHER, "x", 8),
    L(" data: x\n", 0, OTHER, "x", 9),
    L("data : x\n", 0, OTHER, "x", 9),
    L("dat: x\n", 0, OTHER, "x", 7),
    L("dato\n", 0, OTHER, "", 5),
    L("is: x\n", 0, OTHER, "x", 6),
    L("evens: x\n", 0, OTHER, "x", 9),
    L("\0data: x\n", 0, OTHER, "x", 9),
    L(BOM "data: x\n", 1, DATA, "x", 11),
    L(BOM "data: x\n", 0, OTHER, "x", 11),
    L(BOM "\n", 1, BLANK, "", 4),
    L(BOM, 1, BLANK, "", 3),
    L(BOM BOM "data: x\n", 1, OTHER, "x", 14),
    L("\xef\xbb", 1, OTHER, "", 2),
};


static void
feed(mcp_sse_t *s, const char *text, size_t len, size_t base, ends_t *ends)
{
    unsigned char        *copy;
    const unsigned char  *p;

    /* its own allocation, so that a byte read too far is seen */
    copy = malloc(len ? len : 1);
    assert_non_null(copy);
    memcpy(copy, text, len);

    p = copy;

    while (mcp_sse_find_end(s, &p, copy + len) == MCP_OK) {
        assert_true(ends->n < MAX_ENDS);
        ends->at[ends->n++] = base + (size_t) (p - copy);
    }

    assert_ptr_equal(p, copy + len);
    free(copy);
}


static void
parse_ends(const char *s, ends_t *ends)
{
    char  *end;

    ends->n = 0;

    while (*s) {
        ends->at[ends->n++] = (size_t) strtoul(s, &end, 10);
        s = end;
    }
}


/* The same by lines, as the standard's grammar has it. */

static void
plain_ends(const char *s, size_t len, ends_t *ends)
{
    size_t  i, start;

    ends->n = 0;
    i = 0;

    if (len >= 3 && memcmp(s, BOM, 3) == 0) {
        i = 3;
    }

    for (start = i; i < len; i++) {

        if (s[i] != '\n' && s[i] != '\r') {
            continue;
        }

        if (i == start) {
            ends->at[ends->n++] = i + 1;

        } else if (s[i] == '\r' && i + 1 < len && s[i + 1] == '\n') {
            i++;
        }

        start = i + 1;
    }
}


static void
assert_ends(const ends_t *a, const ends_t *b)
{
    assert_int_equal(a->n, b->n);
    assert_memory_equal(a->at, b->at, a->n * sizeof(a->at[0]));
}


static void
check_stream(const char *text, size_t len, const ends_t *expected)
{
    size_t     i, n;
    ends_t     got;
    mcp_sse_t  s;

    for (i = 0; i <= len; i++) {
        mcp_sse_init(&s);
        got.n = 0;
        feed(&s, text, i, 0, &got);
        feed(&s, text + i, len - i, i, &got);
        assert_ends(&got, expected);
    }

    mcp_sse_init(&s);
    got.n = 0;

    for (i = 0; i < len; i++) {
        feed(&s, text + i, 1, i, &got);
        feed(&s, text + i, 0, i, &got);
    }

    assert_ends(&got, expected);

    mcp_sse_init(&s);
    got.n = 0;

    for (i = 0; i < len; i += n) {
        n = 1 + (size_t) rand() % 7;
        n = n < len - i ? n : len - i;
        feed(&s, text + i, n, i, &got);
    }

    assert_ends(&got, expected);
}


static void
test_ends(void **state)
{
    size_t  i;
    ends_t  expected;

    (void) state;

    for (i = 0; i < sizeof(streams) / sizeof(streams[0]); i++) {
        parse_ends(streams[i].ends, &expected);
        check_stream(streams[i].text, streams[i].len, &expected);
    }
}


/* All streams of up to 8 bytes over an alphabet with all that is special. */

static void
test_ends_all_short(void **state)
{
    char               s[8];
    size_t             len, i;
    unsigned           n, left;
    ends_t             expected, got;
    mcp_sse_t          sse;
    static const char  alphabet[4] = { '\r', '\n', 'a', ':' };

    (void) state;

    for (len = 0; len <= sizeof(s); len++) {

        for (n = 0; n < 1u << (2 * len); n++) {

            for (i = 0, left = n; i < len; i++, left >>= 2) {
                s[i] = alphabet[left & 3];
            }

            plain_ends(s, len, &expected);

            mcp_sse_init(&sse);
            got.n = 0;
            feed(&sse, s, len, 0, &got);
            assert_ends(&got, &expected);

            mcp_sse_init(&sse);
            got.n = 0;
            feed(&sse, s, len / 2, 0, &got);
            feed(&sse, s + len / 2, len - len / 2, len / 2, &got);
            assert_ends(&got, &expected);
        }
    }
}


/* Line ends around the window of the search. */

static void
test_long_lines(void **state)
{
    char    s[800];
    size_t  i;
    ends_t  expected;

    (void) state;

    for (i = 240; i < 530; i++) {
        memset(s, 'x', sizeof(s));
        s[i] = '\r';
        s[i + 1] = '\n';
        s[i + 2] = '\r';
        s[790] = '\n';
        s[791] = '\n';

        plain_ends(s, sizeof(s), &expected);
        assert_int_equal(expected.n, 2);

        if (i % 64 == 0) {
            check_stream(s, sizeof(s), &expected);

        } else {
            ends_t     got;
            mcp_sse_t  sse;

            mcp_sse_init(&sse);
            got.n = 0;
            feed(&sse, s, sizeof(s), 0, &got);
            assert_ends(&got, &expected);
        }
    }
}


static void
test_lines(void **state)
{
    size_t                i;
    unsigned char        *copy;
    const line_t         *t;
    mcp_sse_line_t        line;
    const unsigned char  *p;

    (void) state;

    for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        t = &lines[i];

        copy = malloc(t->len);
        assert_non_null(copy);
        memcpy(copy, t->text, t->len);
        p = copy;

        assert_int_equal(mcp_sse_line(&p, copy + t->len, t->first, &line),
                         MCP_OK);

        if (line.field != t->field) {
            fail_msg("line %zu: field %d, expected %d", i, line.field,
                     t->field);
        }

        assert_int_equal(line.value.len, strlen(t->value));
        assert_memory_equal(line.value.data, t->value, line.value.len);
        assert_ptr_equal(line.line.data, copy);
        assert_int_equal(line.line.len, t->line);
        assert_ptr_equal(p, copy + t->line);

        free(copy);
    }

    p = (const unsigned char *) "";
    assert_int_equal(mcp_sse_line(&p, p, 0, &line), MCP_DECLINED);
}


/* The lines of an event put together are the event. */

static void
test_lines_of_event(void **state)
{
    size_t                n, data;
    mcp_sse_line_t        line;
    const unsigned char  *p, *next, *last;
    static const char     event[] =
        BOM ": hi\r\nevent: message\rid:\ndata: {\"a\":\r\ndata\ndata:1}\r\n\r";

    (void) state;

    p = (const unsigned char *) event;
    last = p + sizeof(event) - 1;
    next = p;
    n = 0;
    data = 0;

    while (mcp_sse_line(&p, last, n == 0, &line) == MCP_OK) {
        assert_ptr_equal(line.line.data, next);
        next += line.line.len;
        assert_ptr_equal(p, next);
        data += (line.field == MCP_SSE_DATA);
        assert_int_equal(n == 0, line.field == MCP_SSE_COMMENT);
        n++;
    }

    assert_ptr_equal(next, last);
    assert_int_equal(n, 7);
    assert_int_equal(data, 3);
    assert_int_equal(line.field, MCP_SSE_BLANK);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_ends_all_short),
        cmocka_unit_test(test_long_lines),
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_lines_of_event),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
