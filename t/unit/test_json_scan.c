/*
 * The JSON scanner: a table of documents, each with its verdict, is scanned
 * whole, split at every byte, byte by byte and in random pieces; the events
 * must not depend on it.  jansson is the second opinion on the verdict.
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <jansson.h>

#include "mcp_json_scan.h"


#define MAX_EVENTS  4096
#define MAX_LOG     65536
#define SCRATCH     4096


typedef struct {
    const char  *text;
    size_t       len;
    int          good;
    int          other;             /* jansson's verdict when it differs */
} doc_t;

#define SAME  -1

/* documents with a NUL or raw bytes: the length is of the literal */
#define Y(s)  { s, sizeof(s) - 1, 1, SAME }
#define N(s)  { s, sizeof(s) - 1, 0, SAME }
#define YJ(s, j)  { s, sizeof(s) - 1, 1, j }
#define NJ(s, j)  { s, sizeof(s) - 1, 0, j }


/* all that a scan told: compared as a whole */
typedef struct {
    int     verdict;
    int     too_deep;
    char    log[MAX_LOG];
    size_t  len;
} outcome_t;


static const doc_t  docs[] = {

    /* structure */
    Y("{}"), Y("[]"), Y(" [] "), Y("\t\n\r {\t\n\r }\t\n\r "), Y("[[]]"),
    Y("[{}]"), Y("{\"a\":{}}"), Y("[[],[[]]]"), Y("{\"\":0}"), Y("[\"\"]"),
    Y("{\"a\":1,\"b\":[1,2,{\"c\":null}],\"d\":\"e\"}"),
    Y("{\"a\":\"b\",\"a\":\"c\"}"), Y("{\"a\":\"b\",\"a\":\"b\"}"),
    Y("[1\n]"), Y(" [1]"), Y("[1,null,null,null,2]"), Y("[2] "),
    Y("{ \"min\": -1.0e+28, \"max\": 1.0e+28 }"),
    Y("{\"x\":[{\"id\": \"xx\"}], \"id\": \"xx\"}"), Y("{\n\"a\": \"b\"\n}"),
    Y("[[[[[[[[[[[[[[[[[[[[0]]]]]]]]]]]]]]]]]]]]"),
    N(""), N(" "), N("["), N("]"), N("{"), N("}"), N("[[]"), N("[]]"),
    N("{}}"), N("[}"), N("{]"), N("[,]"), N("[1,]"), N("[,1]"), N("[1,,2]"),
    N("{,}"), N("{\"a\":1,}"), N("{\"a\":1,,\"b\":2}"), N("[1 2]"),
    N("{\"a\" \"b\"}"), N("{\"a\"}"), N("{\"a\":}"), N("{:1}"), N("{1:1}"),
    N("{a:1}"), N("{'a':1}"), N("{\"a\",1}"), N("{\"a\"::1}"), N("{null:1}"),
    N("{[]:1}"), N("[\"a\":1]"), N("[1:2]"), N("{\"a\":1 \"b\":2}"),
    N("{\"a\":\"b\"}/**/"), N("{\"a\":\"b\"}#"), N("{\"a\":\"b\"}//"),
    N("/**/{}"), N("[1,/*x*/2]"), N("{\"a\":\"b\"} {}"), N("[] []"),
    N("[1]x"), N("[][]"), N("{}\x00"), N("[1]\x00"), N("\x00"), N("[\x00]"),
    N("[\x0c]"), N("[\x0b]"), N("\xc2\xa0[]"), N("[]\xc2\xa0"),
    N("\xe2\x80\x8b[]"), N("\xef\xbb\xbf[]"), N("\xef\xbb\xbf{}"),
    N("\xef\xbb"), N("\xfe\xff\x00[\x00]"), N("*"), N("<null>"), N("()"),
    N("[\"a\""), N("{\"a\":\"a"), N("{\"a\":1"), N("{\"a\":"), N("{\"a\""),
    N("[1,"), N("[{}"), N("[\\u000A\"\"]"), N("\\"), N("{\"a\":[1}"),
    N("[{\"a\":1]}"), N("[0,{]}"), N("{\"a\":{\"b\":[}}"), N("\xe9"),

    /* scalars at the root: legal JSON; jansson wants a container */
    YJ("0", 1), YJ("\"x\"", 1), YJ("true", 1), YJ("null ", 1),
    YJ(" -1.5e3 ", 1), Y("12"), Y("-0"), Y("\"\""), Y("1e5"),

    /* literals */
    Y("[true]"), Y("[false]"), Y("[null]"), Y("[true,false,null]"),
    Y("[ true , false ]"),
    N("[True]"), N("[TRUE]"), N("[tru]"), N("[truee]"), N("[truex]"),
    N("[fals]"), N("[nul]"), N("[nulll]"), N("[nan]"), N("[NaN]"),
    N("[Infinity]"), N("[-Infinity]"), N("[inf]"), N("[undefined]"), N("tru"),
    N("nul"), N("t"), N("[t]"), N("[true false]"), N("[falsetrue]"),

    /* numbers */
    Y("[0]"), Y("[-0]"), Y("[0.0]"), Y("[-0.0]"), Y("[1]"), Y("[-1]"),
    Y("[123]"), Y("[10]"), Y("[0e1]"), Y("[0e+1]"), Y("[0E-1]"),
    Y("[1e5]"), Y("[1E5]"), Y("[1e+5]"), Y("[1E-5]"), Y("[1.5e-07]"),
    Y("[123.456e78]"), Y("[123e-10000000]"), Y("[0.000000000000001]"),
    Y("[9223372036854775807]"), Y("[-9223372036854775808]"),
    Y("[ 4]"), Y("[20e1]"), Y("[-123]"), Y("[1.0]"),
    YJ("[9223372036854775808]", 0), YJ("[123456789012345678901234567890]", 0),
    YJ("[1e999]", 0), YJ("[-1e+9999]", 0), YJ("[0.4e006699999999999996]", 0),
    N("[+1]"), N("[-]"), N("[01]"), N("[-01]"), N("[00]"), N("[1.]"),
    N("[.5]"), N("[-.5]"), N("[1.e1]"), N("[1e]"), N("[1e+]"), N("[1E-]"),
    N("[1.0e]"), N("[1.0e+]"), N("[1eE2]"), N("[1e1.5]"), N("[1.2.3]"),
    N("[--1]"), N("[1-2]"), N("[1+2]"), N("[0x1]"), N("[0x42]"), N("[1a]"),
    N("[1_000]"), N("[1 000]"), N("[-foo]"), N("[- 1]"), N("[0.e1]"),
    N("[0e]"), N("[0e+]"), N("[2.e3]"), N("[2.e-3]"), N("[9.e+]"), N("[++1]"),
    N("[1ea]"), N("[-1x]"), N("[1e1e1]"), N("[1.8011670033376514H-308]"),
    N("[\xef\xbc\x91]"), N("[1\xe5]"), N("[0e1\xe5]"), N("[123\xe5]"), N("-"),
    N("1."), N("1e"), N("-01"), N("2@"), N("[-2.]"), N("[0.1.2]"),
    NJ("[1\x00]", 1),
    N("[0.3e]"), N("[0.3e+]"), N("[0E]"), N("[0E+]"), N("[012]"), N("1 2"),

    /* strings: escapes */
    Y("[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]"), Y("[\"\\u0041\\u00e9\\u20ac\"]"),
    Y("[\"\\u0061\\u30af\\u30EA\\u30b9\"]"), Y("[\"\\uD801\\udc37\"]"),
    Y("[\"\\ud83d\\ude39\\ud83d\\udc8d\"]"), Y("[\"\\uDBFF\\uDFFF\"]"),
    Y("[\"\\\\u0000\"]"), Y("[\"\\uFFFF\"]"), Y("[\"\\uFDD0\"]"),
    Y("[\"\\\\a\"]"), Y("[\"\\\\n\"]"), Y("[\"\\u0022\"]"), Y("[\"\\u005C\"]"),
    Y("[\"\\ud7ff\\ue000\"]"), Y("[\"x\\u002fy\"]"), Y("{\"\\u0061\":1}"),
    Y("{\"a\\tb\\u20acc\\ud83d\\ude00d\":\"\\n\"}"),
    YJ("[\"\\u0000\"]", 0), YJ("{\"a\\u0000b\":\"c\"}", 0),
    N("[\"\\x00\"]"), N("[\"\\a\"]"), N("[\"\\'\"]"), N("[\"\\0\"]"),
    N("[\"\\U0041\"]"), N("[\"\\\\\\\"]"), N("[\"\\\"]"), N("[\"\\\t\"]"),
    N("[\"\\ \"]"), N("[\"\\\xf0\x9f\x8c\x80\"]"), N("[\"\\u\"]"),
    N("[\"\\u0\"]"), N("[\"\\u00\"]"), N("[\"\\u004\"]"), N("[\"\\u004g\"]"),
    N("[\"\\u00A\"]"), N("[\"\\uqqqq\"]"), N("[\"\\u 041\"]"),
    N("[\"\\u{41}\"]"), N("[\"\\u-041\"]"), N("[\"\\"), N("[\"\\u"),
    N("[\"\\uD800\"]"), N("[\"\\uDC00\"]"), N("[\"\\uDFFF\"]"),
    N("[\"\\uD800x\"]"), N("[\"\\uD800\\n\"]"), N("[\"\\uD800\\u0041\"]"),
    N("[\"\\uD800\\uD800\"]"), N("[\"\\uD800\\uD800\\uDC00\"]"),
    N("[\"\\uDd1ea\"]"), N("[\"\\uD834\\uDd\"]"), N("[\"\\uD800\\"),
    N("[\"\\uD800\\u\"]"), N("[\"\\uD800\\u1\"]"), N("[\"\\uDADA\"]"),
    N("[\"\\uDBFF\\uDBFF\"]"), N("[\"\\uDC00\\uD800\"]"),

    /* strings: raw bytes */
    Y("[\"\x7f\"]"), Y("[\"a/*b*/c\"]"), Y("[\"\xc3\xa9\"]"),
    Y("[\"\xe2\x82\xac\"]"), Y("[\"\xf0\x9d\x84\x9e\"]"),
    Y("[\"\xf4\x8f\xbf\xbf\"]"), Y("[\"\xef\xbf\xbf\"]"),
    Y("[\"\xed\x9f\xbf\xee\x80\x80\"]"), Y("[\"\xef\xbb\xbf\"]"),
    Y("[\"\xe2\x80\xa8\xe2\x80\xa9\"]"), Y("[\"\xc2\x80\"]"),
    Y("[\"\xe0\xa0\x80\xf0\x90\x80\x80\"]"),
    Y("{\"\xd0\xbf\xd1\x80\xd0\xb8\":\"\xe3\x81\x82\xe3\x81\x84 a "
      "\xe3\x81\x86\xf0\x9f\x98\x80\xc3\xa9\"}"),
    Y("[\"0123456789abcdef0123456789abcdef0123456789abcdef\"]"),
    Y("[\"0123456789abcde\\n0123456789abcdef0123456789\xc3\xa9" "bcdef\"]"),
    N("[\"\x00\"]"), N("[\"a\x00" "a\"]"), N("[\"\x1f\"]"), N("[\"\n\"]"),
    N("[\"\t\"]"), N("[\"0123456789abcdef01234\x01" "6789abcdef\"]"),
    N("[\"0123456789abcdef\x1f" "0123456789abcdef\"]"),
    Y("[\"0123456789abcdef\x20\x7f" "0123456789abcdef\"]"),
    N("[\"0123456789abcdef\x80" "0123456789abcdef\"]"),
    N("[\"\x80\"]"), N("[\"\xbf\"]"), N("[\"\xc0\xaf\"]"),
    N("[\"\xc1\xbf\"]"), N("[\"\xc0\x80\"]"), N("[\"\xc3\"]"),
    N("[\"\xc3(\"]"), N("[\"\xe0\x80\xaf\"]"), N("[\"\xe0\x9f\xbf\"]"),
    N("[\"\xe2\x82\"]"), N("[\"\xe2(\xa1\"]"), N("[\"\xe2\x28\xa1\"]"),
    N("[\"\xed\xa0\x80\"]"), N("[\"\xed\xbf\xbf\"]"),
    N("[\"\xed\xa0\x81\xed\xb0\x80\"]"), N("[\"\xf0\x80\x80\xaf\"]"),
    N("[\"\xf0\x8f\xbf\xbf\"]"), N("[\"\xf0\x9d\x84\"]"),
    N("[\"\xf4\x90\x80\x80\"]"), N("[\"\xf5\x80\x80\x80\"]"),
    N("[\"\xf8\x88\x80\x80\x80\"]"), N("[\"\xfc\x80\x80\x80\x80\x80\"]"),
    N("[\"\xff\"]"), N("[\"\xfe\"]"), N("[\"\xe9\"]"), N("[\"\xe5\xe5\"]"),
    N("[\"abc\xc3"), N("\xc3\xa9"), N("[\xc3\xa9]"), N("[\"\xe6\x97\xa5\xd1\x88"
    "\xfa\"]"), N("['a']"), N("[\"a]"), N("[a\"]"), N("[\"a\"b]"), N("\""),
    N("\"x"), N("[\"x\", truth]"), N("{\"a\xed\xa0\x80\":1}"),
    N("[\"\xc3\xa9\xe3\x81\x82\xc3\"]")
};

#define NDOCS  (sizeof(docs) / sizeof(docs[0]))


static outcome_t  whole, other;


/* one line of the log for each event */
static void
record(outcome_t *o, const mcp_json_event_t *ev)
{
    int     n;
    size_t  i;

    n = snprintf(o->log + o->len, MAX_LOG - o->len, "%d %u %u-%u %u%u%u ",
                 ev->type, ev->depth, (unsigned) ev->start,
                 (unsigned) ev->end, ev->captured, ev->escaped,
                 ev->truncated);
    assert_true(n > 0);
    o->len += (size_t) n;

    assert_true(o->len + ev->text.len * 2 + 2 < MAX_LOG);

    for (i = 0; i < ev->text.len; i++) {
        sprintf(o->log + o->len, "%02x", ev->text.data[i]);
        o->len += 2;
    }

    o->log[o->len++] = '\n';
}


/*
 * A scan in pieces that end where cut[] says (one byte for each offset, 1: a
 * piece ends before it).  Each piece is a copy of its own, so that a sanitizer
 * sees a pointer kept into an old one.
 */
static void
scan(outcome_t *o, const char *text, size_t len, const unsigned char *cut,
    unsigned capture, unsigned max_depth, size_t scratch_size,
    unsigned skip_depth)
{
    int                   rc;
    size_t                start, end;
    unsigned              eof;
    unsigned char        *piece, *scratch;
    mcp_json_scan_t       s;
    mcp_json_event_t      ev;
    const unsigned char  *pos;

    memset(&ev, 0xa5, sizeof(ev));
    o->len = 0;
    scratch = malloc(scratch_size);
    mcp_json_init(&s, max_depth, scratch, scratch_size);
    s.capture = capture;
    start = 0;

    do {
        for (end = start + 1; end < len && !(cut && cut[end]); end++) {
            /* void */
        }

        if (end > len) {
            end = len;
        }

        /* sometimes the end is known only later */
        eof = (end == len && !(cut && cut[0]));
        piece = malloc(end - start + 1);
        memcpy(piece, text + start, end - start);
        pos = piece;

        do {
            rc = mcp_json_next(&s, &pos, piece + (end - start), eof, &ev);

            if (rc == MCP_OK) {
                record(o, &ev);

                if (skip_depth && ev.depth == skip_depth
                    && (ev.type == MCP_JSON_OBJECT
                        || ev.type == MCP_JSON_ARRAY))
                {
                    mcp_json_skip(&s);
                }
            }

        } while (rc == MCP_OK && ev.type != MCP_JSON_DONE);

        if (rc == MCP_AGAIN) {
            assert_false(eof);
            assert_ptr_equal(pos, piece + (end - start));
            assert_int_equal(s.offset, end);
        }

        free(piece);
        start = end;

    } while (rc == MCP_AGAIN && start < len);

    while (rc == MCP_AGAIN
           || (rc == MCP_OK && ev.type != MCP_JSON_DONE))
    {
        pos = NULL;
        rc = mcp_json_next(&s, &pos, NULL, 1, &ev);
        assert_int_not_equal(rc, MCP_AGAIN);

        if (rc == MCP_OK) {
            record(o, &ev);
        }
    }

    o->verdict = rc;
    o->too_deep = s.too_deep;

    if (rc == MCP_ERROR) {
        assert_non_null(s.error);
        o->len += (size_t) snprintf(o->log + o->len, MAX_LOG - o->len,
                                    "%s at %u\n", s.error,
                                    (unsigned) s.offset);

        /* it stays of no use */
        pos = (const unsigned char *) "1";
        assert_int_equal(mcp_json_next(&s, &pos, pos + 1, 0, &ev), MCP_ERROR);
    }

    free(scratch);
}


static void
same(const doc_t *d)
{
    if (whole.verdict == other.verdict && whole.too_deep == other.too_deep
        && whole.len == other.len
        && memcmp(whole.log, other.log, whole.len) == 0)
    {
        return;
    }

    fail_msg("\"%s\": whole:\n%.*s\nin pieces:\n%.*s", d->text,
             (int) whole.len, whole.log, (int) other.len, other.log);
}


static void
split_everywhere(const doc_t *d, unsigned capture, unsigned skip)
{
    size_t         i, k;
    unsigned char  cut[512];

    assert_true(d->len < sizeof(cut));

    scan(&whole, d->text, d->len, NULL, capture, 64, SCRATCH, skip);

    for (i = 0; i <= d->len; i++) {
        memset(cut, 0, sizeof(cut));
        cut[i] = 1;
        scan(&other, d->text, d->len, cut, capture, 64, SCRATCH, skip);
        same(d);
    }

    memset(cut, 1, sizeof(cut));
    scan(&other, d->text, d->len, cut, capture, 64, SCRATCH, skip);
    same(d);

    for (k = 0; k < 8; k++) {
        for (i = 0; i <= d->len; i++) {
            cut[i] = (rand() % 3 == 0);
        }

        scan(&other, d->text, d->len, cut, capture, 64, SCRATCH, skip);
        same(d);
    }
}


static void
test_verdicts(void **state)
{
    size_t         i;
    int            want;
    json_t        *tree;
    json_error_t   error;

    (void) state;

    for (i = 0; i < NDOCS; i++) {
        scan(&whole, docs[i].text, docs[i].len, NULL, 1, 64, SCRATCH, 0);

        if ((whole.verdict == MCP_OK) != docs[i].good) {
            fail_msg("\"%s\" is %s", docs[i].text,
                     docs[i].good ? "refused" : "accepted");
        }

        tree = json_loadb(docs[i].text, docs[i].len, JSON_DECODE_ANY, &error);
        want = docs[i].other == SAME ? docs[i].good : docs[i].other;

        if ((tree != NULL) != want) {
            fail_msg("\"%s\": jansson differs: %s", docs[i].text, error.text);
        }

        json_decref(tree);
    }
}


static void
test_splits(void **state)
{
    size_t    i;
    unsigned  skip;

    (void) state;

    for (i = 0; i < NDOCS; i++) {
        for (skip = 0; skip < 3; skip++) {
            split_everywhere(&docs[i], 1, skip);
            split_everywhere(&docs[i], 0, skip);
        }
    }
}


/* what is skipped is checked all the same: the verdict does not change */
static void
test_skip_checks(void **state)
{
    size_t         i, n;
    char           text[600];
    unsigned char  cut[600];

    (void) state;
    memset(cut, 1, sizeof(cut));

    for (i = 0; i < NDOCS; i++) {
        n = 0;
        memcpy(text, "[[", 2);
        n += 2;
        memcpy(text + n, docs[i].text, docs[i].len);
        n += docs[i].len;
        memcpy(text + n, "],7]", 4);
        n += 4;

        scan(&whole, text, n, NULL, 1, 64, SCRATCH, 0);
        scan(&other, text, n, NULL, 1, 64, SCRATCH, 1);
        assert_int_equal(whole.verdict, other.verdict);

        scan(&whole, text, n, cut, 1, 64, SCRATCH, 1);
        same(&docs[i]);
    }
}


static void
test_skip_events(void **state)
{
    static const char  text[] = "{\"a\":{\"b\":[1,{\"c\":2}],\"d\":\"}\"},"
                                "\"e\":[[]],\"f\":3}";

    (void) state;

    scan(&whole, text, sizeof(text) - 1, NULL, 1, 64, SCRATCH, 1);
    whole.log[whole.len] = '\0';
    assert_string_equal(whole.log,
        "1 0 0-1 000 \n"
        "5 1 1-4 100 61\n" "1 1 5-6 000 \n" "2 1 29-30 000 \n"
        "5 1 31-34 100 65\n" "3 1 35-36 000 \n" "4 1 38-39 000 \n"
        "5 1 40-43 100 66\n" "7 1 44-45 100 33\n"
        "2 0 45-46 000 \n" "11 0 46-46 000 \n");

    /* the root itself */
    scan(&whole, "[1,[2]] ", 8, NULL, 1, 64, SCRATCH, 0);
    assert_int_equal(whole.verdict, MCP_OK);
}


static void
test_events(void **state)
{
    static const char  text[] = " {\"m\\u0065\":[-0,1.0,true,\"a\\nb\"],"
                                "\"\":false,\"n\":null}";

    (void) state;

    scan(&whole, text, sizeof(text) - 1, NULL, 1, 64, SCRATCH, 0);
    whole.log[whole.len] = '\0';
    assert_string_equal(whole.log,
        "1 0 1-2 000 \n" "5 1 2-11 110 6d65\n" "3 1 12-13 000 \n"
        "7 2 13-15 100 2d30\n" "7 2 16-19 100 312e30\n" "8 2 20-24 000 \n"
        "6 2 25-31 110 610a62\n" "4 1 31-32 000 \n" "5 1 33-35 100 \n"
        "9 1 36-41 000 \n" "5 1 42-45 100 6e\n" "10 1 46-50 000 \n"
        "2 0 50-51 000 \n" "11 0 51-51 000 \n");

    /* not captured: keys only */
    scan(&whole, text, sizeof(text) - 1, NULL, 0, 64, SCRATCH, 0);
    whole.log[whole.len] = '\0';
    assert_non_null(strstr(whole.log, "5 1 2-11 110 6d65\n"));
    assert_non_null(strstr(whole.log, "7 2 16-19 000 \n"));
    assert_non_null(strstr(whole.log, "6 2 25-31 010 \n"));
}


static void
test_decode(void **state)
{
    unsigned                    i;
    static const struct {
        const char             *text;
        const char             *hex;
    } cases[] = {
        { "\"\\u0000\"", " 00\n" },
        { "\"\\u007f\\u0080\"", " 7fc280\n" },
        { "\"\\u07ff\\u0800\"", " dfbfe0a080\n" },
        { "\"\\uffff\\ud800\\udc00\"", " efbfbff0908080\n" },
        { "\"\\udbff\\udfff\"", " f48fbfbf\n" },
        { "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", " 225c2f080c0a0d09\n" },
        { "\"\\u20AC\\u20ac\"", " e282ace282ac\n" },
        { "\"\xe2\x82\xac\"", " e282ac\n" }
    };

    (void) state;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        scan(&whole, cases[i].text, strlen(cases[i].text), NULL, 1, 64,
             SCRATCH, 0);
        whole.log[whole.len] = '\0';
        assert_int_equal(whole.verdict, MCP_OK);
        assert_non_null(strstr(whole.log, cases[i].hex));
    }
}


static void
test_zero_copy(void **state)
{
    unsigned char         scratch[64];
    mcp_json_scan_t       s;
    mcp_json_event_t      ev;
    static const char     text[] = "\"0123456789\xc3\xa9\"";
    const unsigned char  *pos, *start;

    (void) state;

    start = (const unsigned char *) text;
    pos = start;
    mcp_json_init(&s, 1, scratch, sizeof(scratch));
    s.capture = 1;

    assert_int_equal(mcp_json_next(&s, &pos, pos + sizeof(text) - 1, 1, &ev),
                     MCP_OK);
    assert_ptr_equal(ev.text.data, start + 1);
    assert_int_equal(ev.text.len, 12);
}


static void
test_truncated(void **state)
{
    char           text[400];
    size_t         n;
    unsigned char  cut[400];

    (void) state;

    /* a long key in one piece is had in place, whatever the scratch */
    n = (size_t) sprintf(text, "{\"%0100d\":1}", 0);
    scan(&whole, text, n, NULL, 1, 64, 64, 0);
    assert_int_equal(whole.verdict, MCP_OK);
    whole.log[whole.len] = '\0';
    assert_non_null(strstr(whole.log, " 100 3030"));

    /* split, it is cut and says so; what follows is not hurt */
    memset(cut, 1, sizeof(cut));
    scan(&whole, text, n, cut, 1, 64, 64, 0);
    whole.log[whole.len] = '\0';
    assert_int_equal(whole.verdict, MCP_OK);
    assert_non_null(strstr(whole.log, "5 1 1-103 101 3030"));
    assert_non_null(strstr(whole.log, "7 1 104-105 100 31\n"));

    /* so with an escape, at the very end of the scratch too */
    n = (size_t) sprintf(text, "[\"%062d\\u20ac\",\"b\"]", 0);
    scan(&whole, text, n, NULL, 1, 64, 64, 0);
    whole.log[whole.len] = '\0';
    assert_non_null(strstr(whole.log, " 111 30"));
    assert_non_null(strstr(whole.log, "30e282\n"));
    assert_non_null(strstr(whole.log, " 100 62\n"));

    n = (size_t) sprintf(text, "[\"%061d\\u20ac\"]", 0);
    scan(&whole, text, n, NULL, 1, 64, 64, 0);
    whole.log[whole.len] = '\0';
    assert_non_null(strstr(whole.log, " 110 30"));
    assert_non_null(strstr(whole.log, "30e282ac\n"));
}


static void
test_depth(void **state)
{
    unsigned       i, n, max;
    static char    text[2 * MCP_JSON_MAX_DEPTH + 8];
    unsigned char  cut[sizeof(text)];

    (void) state;
    memset(cut, 1, sizeof(cut));

    for (n = 1; n <= MCP_JSON_MAX_DEPTH + 1; n += (n < 4 || n > 510) ? 1 : 7) {

        for (i = 0, max = 0; i < n; i++) {
            text[max++] = '[';
        }

        for (i = 0; i < n; i++) {
            text[max++] = ']';
        }

        scan(&whole, text, max, NULL, 0, n, 64, 0);
        assert_int_equal(whole.verdict,
                         n <= MCP_JSON_MAX_DEPTH ? MCP_OK : MCP_ERROR);

        scan(&whole, text, max, NULL, 0, n - 1, 64, 0);
        assert_int_equal(whole.verdict, MCP_ERROR);
        assert_true(whole.too_deep);

        scan(&whole, text, max, cut, 0, n - 1, 64, 1);
        assert_int_equal(whole.verdict, MCP_ERROR);
        assert_true(whole.too_deep);
    }

    scan(&whole, "[}", 2, NULL, 0, 8, 64, 0);
    assert_false(whole.too_deep);
}


/* the kind of each open container is remembered at every depth */
static void
test_nesting_kinds(void **state)
{
    int            want;
    size_t         len, at;
    unsigned       i, k;
    unsigned char  kinds[300];
    static char    text[4096];

    (void) state;

    for (k = 0; k < 50; k++) {
        len = 0;

        for (i = 0; i < sizeof(kinds); i++) {
            kinds[i] = rand() & 1;
            len += (size_t) sprintf(text + len, kinds[i] ? "{\"\":" : "[");
        }

        text[len++] = '1';

        at = len;

        while (i--) {
            text[len++] = kinds[i] ? '}' : ']';
        }

        want = MCP_OK;

        if (k & 1) {
            at += (size_t) rand() % sizeof(kinds);
            text[at] = text[at] == '}' ? ']' : '}';
            want = MCP_ERROR;
        }

        scan(&whole, text, len, NULL, 0, 512, 64, 0);
        assert_int_equal(whole.verdict, want);
        scan(&whole, text, len, NULL, 0, 512, 64, 1 + k);
        assert_int_equal(whole.verdict, want);
    }
}


/* mutations of good documents: the splits agree, jansson never accepts more */
static void
test_mutations(void **state)
{
    char           text[512];
    json_t        *tree;
    size_t         n, i;
    unsigned       k;
    const doc_t   *d;
    unsigned char  cut[512];
    static const char  bytes[] = "{}[]\",:\\u0019eE+-.tfn \t"
                                 "\x80\xc3\xe2\xed\x00";

    (void) state;

    for (k = 0; k < 20000; k++) {
        d = &docs[(size_t) rand() % NDOCS];
        n = d->len;

        if (n == 0) {
            continue;
        }

        memcpy(text, d->text, n);
        text[(size_t) rand() % n] = bytes[(size_t) rand() % sizeof(bytes)];

        for (i = 0; i <= n; i++) {
            cut[i] = (rand() % 4 == 0);
        }

        scan(&whole, text, n, NULL, k & 1, 64, SCRATCH, k % 3);
        scan(&other, text, n, cut, k & 1, 64, SCRATCH, k % 3);
        same(d);

        if (memchr(text, '\0', n)) {
            continue;               /* jansson loses one after a number */
        }

        tree = json_loadb(text, n, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);

        if (tree) {
            assert_int_equal(whole.verdict, MCP_OK);
            json_decref(tree);
        }
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_verdicts),
        cmocka_unit_test(test_splits),
        cmocka_unit_test(test_skip_checks),
        cmocka_unit_test(test_skip_events),
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_decode),
        cmocka_unit_test(test_zero_copy),
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_nesting_kinds),
        cmocka_unit_test(test_mutations),
    };

    srand(20260728);

    return cmocka_run_group_tests(tests, NULL, NULL);
}
