/*
 * The two ways through a document, one against the other: byte by byte, where
 * no run of bytes and no short way is ever taken, and as it comes: whole, at
 * every alignment, in random pieces, with containers skipped.  What is read,
 * what is refused and at which byte must be the same.
 *
 * The documents are made by a generator, half of them with a byte changed.  It
 * starts from the same number each time, so that a failure comes again.
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "mcp_json_scan.h"


#define MAX_TEXT    8192
#define MAX_EVENTS  2048
#define SCRATCH     4096
#define DEPTH       12


typedef struct {
    mcp_json_type_e  type;
    unsigned         depth;
    uint64_t         start;
    uint64_t         end;
    unsigned         escaped;
    uint32_t         text;              /* a sum of it */
} seen_t;

typedef struct {
    int              verdict;
    const char      *error;
    uint64_t         offset;
    size_t           n;
    seen_t           events[MAX_EVENTS];
} run_t;


static unsigned char  buf[MAX_TEXT + 128];
static char           text[MAX_TEXT];
static size_t         len;
static run_t          slow, fast;


/* ---- the generator */

static void
put(const char *s)
{
    size_t  n;

    n = strlen(s);

    if (len + n < sizeof(text)) {
        memcpy(text + len, s, n);
        len += n;
    }
}


static const char *
pick(const char *const *list, size_t n)
{
    return list[(size_t) rand() % n];
}

#define PICK(list)  put(pick(list, sizeof(list) / sizeof(list[0])))


static void
put_space(void)
{
    static const char *const  space[] = {
        "", "", "", "", "", "", " ", "\n", "\r\n\t", "          "
    };

    PICK(space);
}


/* Lengths around those of the runs, 16 and 64, with all that can be in it. */

static void
put_string(void)
{
    int  n;

    static const char *const  odd[] = {
        "\\n", "\\\"", "\\\\", "\\/", "\\u00e9", "\\ud83d\\ude00", "\xc3\xa9",
        "\xe2\x82\xac", "\xe0\xa4\x85", "\xed\x95\x9c", "\xf0\x9f\x98\x80",
        "\x7f", "[", "}", ":", ",", "'", "\\b\\f\\r\\t"
    };

    put("\"");

    for (n = rand() % 8 ? rand() % 20 : rand() % 200; n > 0; n--) {
        if (rand() % 24) {
            put("x");

        } else {
            PICK(odd);
        }
    }

    put("\"");
}


static void
put_value(int depth)
{
    int  i, n;

    static const char *const  small[] = {
        "0", "-0", "7", "-12", "123456789012345678", "1.5", "0.25", "1e9",
        "-1.0E+2", "true", "false", "null"
    };

    put_space();

    switch (depth > 0 ? rand() % 5 : 3 + rand() % 2) {

    case 0:
    case 1:
        put("{");

        for (i = 0, n = rand() % 5; i < n; i++) {
            put(i ? "," : "");
            put_space();
            put_string();
            put_space();
            put(":");
            put_value(depth - 1);
        }

        put_space();
        put("}");
        break;

    case 2:
        put("[");

        for (i = 0, n = rand() % 5; i < n; i++) {
            put(i ? "," : "");
            put_value(depth - 1);
        }

        put_space();
        put("]");
        break;

    case 3:
        put_string();
        break;

    default:
        PICK(small);
    }

    put_space();
}


static void
make(void)
{
    static const char  bytes[] = "{}[]:,\"\\0123-+.eEtfn \n\t\x1f\x80\xc0\xe2"
                                 "\xed\xf0\xf4\xff";

    len = 0;
    put("[");
    put_value(DEPTH - 2);
    put(",");
    put_value(DEPTH);
    put("]");

    if (rand() % 2) {
        text[(size_t) rand() % len] = bytes[(size_t) rand()
                                            % (sizeof(bytes) - 1)];
    }
}


/* ---- the two ways */

static void
note(run_t *r, const mcp_json_event_t *ev)
{
    size_t   i;
    seen_t  *e;

    assert_true(r->n < MAX_EVENTS);

    e = &r->events[r->n++];

    e->type = ev->type;
    e->depth = ev->depth;
    e->start = ev->start;
    e->end = ev->end;
    e->escaped = ev->escaped;
    e->text = (uint32_t) ev->captured;

    for (i = 0; i < ev->text.len; i++) {
        e->text = e->text * 31 + ev->text.data[i];
    }
}


/*
 * piece: bytes at once; 0: random ones.  skip: of the containers that begin,
 * those whose number in the document has this bit of the mask are skipped.
 */

static void
scan(run_t *r, const unsigned char *data, size_t piece, unsigned mask)
{
    int                   rc;
    size_t                n;
    unsigned              number;
    unsigned char         scratch[SCRATCH];
    mcp_json_scan_t       s;
    mcp_json_event_t      ev;
    const unsigned char  *p, *last, *end;

    mcp_json_init(&s, DEPTH, scratch, sizeof(scratch));
    s.capture = 1;

    r->n = 0;
    r->verdict = MCP_OK;
    r->error = "";
    number = 0;
    p = data;
    end = data + len;
    last = p;

    for ( ;; ) {
        rc = mcp_json_next(&s, &p, last, last == end, &ev);

        if (rc == MCP_AGAIN) {
            assert_ptr_equal(p, last);
            n = piece ? piece : 1 + (size_t) rand() % 100;
            n = n < (size_t) (end - last) ? n : (size_t) (end - last);
            last += n;
            continue;
        }

        if (rc == MCP_ERROR) {
            r->verdict = MCP_ERROR;
            r->error = s.error;
            r->offset = s.offset;
            return;
        }

        note(r, &ev);

        if (ev.type == MCP_JSON_DONE) {
            r->offset = s.offset;
            return;
        }

        if (ev.type == MCP_JSON_OBJECT || ev.type == MCP_JSON_ARRAY) {
            if (mask >> (number++ & 31) & 1) {
                mcp_json_skip(&s);
            }
        }
    }
}


/* What the slow way saw, without what is in skipped containers. */

static void
drop_skipped(run_t *r, unsigned mask)
{
    size_t    i, n;
    unsigned  number, depth;
    seen_t   *e;

    number = 0;

    for (i = 0, n = 0; i < r->n; i++) {
        e = &r->events[i];
        r->events[n++] = *e;

        if ((e->type != MCP_JSON_OBJECT && e->type != MCP_JSON_ARRAY)
            || !(mask >> (number++ & 31) & 1))
        {
            continue;
        }

        depth = e->depth;

        for (i++; i < r->n; i++) {
            e = &r->events[i];

            if (e->depth == depth && (e->type == MCP_JSON_OBJECT_END
                                      || e->type == MCP_JSON_ARRAY_END))
            {
                r->events[n++] = *e;
                break;
            }
        }
    }

    r->n = n;
}


static void
compare(const char *what)
{
    size_t  i;

    if (slow.verdict != fast.verdict || slow.offset != fast.offset
        || strcmp(slow.error, fast.error) != 0 || slow.n != fast.n)
    {
        fail_msg("%s: %d %s at %d, %d events; byte by byte %d %s at %d, %d: "
                 "%.*s", what, fast.verdict, fast.error, (int) fast.offset,
                 (int) fast.n, slow.verdict, slow.error, (int) slow.offset,
                 (int) slow.n, (int) len, text);
    }

    for (i = 0; i < slow.n; i++) {
        if (memcmp(&slow.events[i], &fast.events[i], sizeof(seen_t)) != 0) {
            fail_msg("%s: event %d differs: %.*s", what, (int) i, (int) len,
                     text);
        }
    }
}


static void
test_random(void **state)
{
    int             i, k;
    size_t          shift;
    unsigned        mask;
    unsigned char  *data;

    (void) state;
    srand(4711);

    for (i = 0; i < 12000; i++) {
        make();

        mask = 0;

        for (k = 0; k < 4; k++) {

            /* the last byte of the document is the last that may be read */

            shift = (size_t) rand() % 64;
            data = malloc(shift + len);
            assert_non_null(data);
            memcpy(data + shift, text, len);

            scan(&slow, data + shift, 1, 0);
            drop_skipped(&slow, mask);

            scan(&fast, data + shift, len, mask);
            compare("whole");

            scan(&fast, data + shift, 0, mask);
            compare("in pieces");

            free(data);

            mask = k == 0 ? 1 : k == 1 ? ~0u : (unsigned) rand();
        }
    }
}


/*
 * Strings of all lengths around the runs, with each kind of byte at each place,
 * at each alignment; the string is alone in what is skipped, a key, a value.
 */

static void
test_strings(void **state)
{
    int     at, n, k;
    size_t  i, shift;

    static const char *const  odd[] = {
        "\"", "\\", "\x1f", "\n", "\x80", "\xc1", "\xc3\xa9", "\xc3x",
        "\xe2\x82\xac", "\xe2\x82", "\xe0\x80\x80", "\xed\xa0\x80",
        "\xf0\x9f\x98\x80", "\xf5", "\\n", "\\x", "\\u00e9", "\\ud800"
    };

    (void) state;

    for (n = 0; n < 140; n = n < 70 ? n + 1 : n + 17) {
        for (at = 0; at <= n; at += n < 70 ? 1 : 7) {
            for (i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
                len = 0;
                put("[{\"");

                for (k = 0; k < n; k++) {
                    put(k == at ? odd[i] : "a");
                }

                put("\":[\"");

                for (k = 0; k < n; k++) {
                    put(k == n - at ? odd[i] : "b");
                }

                put("\",1]}]");

                shift = (size_t) (at * 7 + n) % 64;
                memcpy(buf + shift, text, len);

                scan(&slow, buf + shift, 1, 0);
                scan(&fast, buf + shift, len, 0);
                compare("string");

                drop_skipped(&slow, 1);
                scan(&fast, buf + shift, len, 1);
                compare("skipped string");
            }
        }
    }
}


/* Every cut of a document in two, skipped from each of its containers on. */

static void
test_cuts(void **state)
{
    size_t    cut;
    unsigned  k, mask;

    static const char  doc[] =
        "{\"tools\":[{\"name\":\"a\",\"inputSchema\":{\"type\":\"object\","
        "\"properties\":{\"p\":{\"type\":[\"string\",null,true,false,-12,0],"
        "\"description\":\"of more than sixty-four bytes, with \\\"quotes\\\""
        " and \xe2\x82\xac in it, for a run\"} , \"q\" : { } , \"r\":[ ]}}},"
        "{\"name\":\"b\"}],\"n\":1.5e3}";

    (void) state;

    len = sizeof(doc) - 1;
    memcpy(text, doc, len);
    memcpy(buf, doc, len);

    for (k = 0; k < 9; k++) {
        mask = 1u << k;

        for (cut = 1; cut < len; cut++) {
            scan(&slow, buf, 1, 0);
            drop_skipped(&slow, mask);
            scan(&fast, buf, cut, mask);
            compare("cut");
            assert_int_equal(fast.verdict, MCP_OK);
        }
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_cuts),
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_random)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
