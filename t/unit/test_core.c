/*
 * core/mcp_core.c: strings, the bounded writer, UTF-8 and the glob.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "mcp_core.h"


#define NELTS(a)  (sizeof(a) / sizeof((a)[0]))

/* a string with its length, so that it may hold NUL */
#define S(s)      { sizeof(s) - 1, (unsigned char *) (s) }


static void *
none(void *ctx, size_t size)
{
    (void) ctx;
    (void) size;
    return NULL;
}


static void *
heap(void *ctx, size_t size)
{
    (void) ctx;
    return malloc(size);
}


static void
test_arena(void **state)
{
    mcp_str_t        dst;
    unsigned char   *p;
    const mcp_mem_t  good = { heap, NULL }, bad = { none, NULL };

    (void) state;

    assert_null(mcp_alloc(&bad, 1));
    assert_null(mcp_calloc(&bad, 1));
    assert_int_equal(mcp_str_dup(&bad, &dst, "a", 1), MCP_ERROR);

    p = mcp_calloc(&good, 16);
    assert_non_null(p);
    assert_int_equal(p[0] | p[15], 0);
    free(p);

    assert_int_equal(mcp_str_dup(&good, &dst, "abc", 3), MCP_OK);
    assert_int_equal(dst.len, 3);
    assert_memory_equal(dst.data, "abc", 3);
    free(dst.data);

    /* present and empty is not absent */
    assert_int_equal(mcp_str_dup(&good, &dst, NULL, 0), MCP_OK);
    assert_int_equal(dst.len, 0);
    assert_non_null(dst.data);
    free(dst.data);
}


static void
test_equal(void **state)
{
    size_t  i;

    static const struct {
        mcp_str_t  a, b;
        int        eq, caseeq;
    } t[] = {
        { S(""), S(""), 1, 1 },
        { S("a"), S(""), 0, 0 },
        { S("abc"), S("abc"), 1, 1 },
        { S("abc"), S("abd"), 0, 0 },
        { S("Bearer"), S("bEARER"), 0, 1 },
        { S("a\0b"), S("a\0c"), 0, 0 },
        { S("a\0b"), S("A\0B"), 0, 1 },
        { S("@"), S("`"), 0, 0 },               /* 0x20 apart, no letters */
        { S("["), S("{"), 0, 0 },
        { S("\xC3\x84"), S("\xC3\xA4"), 0, 0 }, /* ASCII only */
        { S("0"), S("\x10"), 0, 0 }
    };

    (void) state;

    for (i = 0; i < NELTS(t); i++) {
        assert_int_equal(mcp_str_eq(&t[i].a, &t[i].b), t[i].eq);
        assert_int_equal(mcp_str_caseeq(t[i].a.data, t[i].a.len, t[i].b.data,
                                        t[i].b.len), t[i].caseeq);
    }
}


static void
test_buf(void **state)
{
    char       out[32];
    mcp_buf_t  b;

    (void) state;

    mcp_buf_init(&b, out, sizeof(out));
    mcp_buf_int(&b, INT64_MIN);
    assert_int_equal(b.pos - b.start, 20);
    assert_memory_equal(out, "-9223372036854775808", 20);

    mcp_buf_init(&b, out, sizeof(out));
    mcp_buf_uint(&b, UINT64_MAX);
    assert_memory_equal(out, "18446744073709551615", 20);

    mcp_buf_init(&b, out, sizeof(out));
    mcp_buf_int(&b, 0);
    mcp_buf_int(&b, -32602);
    mcp_buf_hex(&b, "\x00\xff\x1a", 3);
    assert_int_equal(b.pos - b.start, 13);
    assert_memory_equal(out, "0-3260200ff1a", 13);

    /* to the last byte, then nothing more, not even what would fit */
    mcp_buf_init(&b, out, 4);
    out[4] = 'x';
    mcp_buf_lit(&b, "abc");
    mcp_buf_lit(&b, "d");
    assert_int_equal(b.overflow, 0);
    mcp_buf_lit(&b, "e");
    assert_int_equal(b.overflow, 1);
    assert_ptr_equal(b.pos, b.end);

    mcp_buf_init(&b, out, 4);
    mcp_buf_lit(&b, "abcde");
    mcp_buf_lit(&b, "a");
    mcp_buf_hex(&b, "a", 1);
    mcp_buf_json(&b, "", 0, 1);
    assert_int_equal(b.overflow, 1);
    assert_ptr_equal(b.pos, b.start);
    assert_int_equal(out[4], 'x');

    mcp_buf_init(&b, out, 3);
    mcp_buf_int(&b, -100);
    assert_int_equal(b.overflow, 1);
    assert_ptr_equal(b.pos, b.start);

    mcp_buf_init(&b, out, 3);
    mcp_buf_hex(&b, "ab", 2);
    assert_int_equal(b.overflow, 1);
}


static void
test_json(void **state)
{
    char       out[256];
    size_t     i, len;
    mcp_buf_t  b;

    static const struct {
        mcp_str_t    in;
        size_t       max;
        const char  *out;
    } t[] = {
        { S(""), 9, "\"\"" },
        { S("plain"), 9, "\"plain\"" },
        { S("more than eight plain bytes"), 99,
          "\"more than eight plain bytes\"" },
        { S("12345678\"abcdefgh\\x"), 99, "\"12345678\\\"abcdefgh\\\\x\"" },
        { S("a\nb\rc\td\be\f"), 99, "\"a\\nb\\rc\\td\\be\\f\"" },
        { S("\0\x01\x1f"), 9, "\"\\u0000\\u0001\\u001f\"" },
        { S("\x7f"), 9, "\"\\u007f\"" },
        { S("1234567\x7f"), 9, "\"1234567\\u007f\"" },
        { S("\x1b[31mred"), 99, "\"\\u001b[31mred\"" },
        { S("</script>"), 99, "\"</script>\"" },

        /* C1, among them the one-byte CSI of terminals */
        { S("\xC2\x9B" "31m"), 9, "\"\\u009b31m\"" },
        { S("\xC2\xA0"), 9, "\"\xC2\xA0\"" },
        { S("\xC2\x80"), 9, "\"\\u0080\"" },

        { S("\xE2\x80\xA7"), 9, "\"\xE2\x80\xA7\"" },
        { S("\xE2\x80\xA8\xE2\x80\xA9"), 9, "\"\\u2028\\u2029\"" },
        { S("\xE2\x80\xAE\xE2\x80\xAF"), 9, "\"\\u202e\xE2\x80\xAF\"" },
        { S("\xE2\x81\xA6\xE2\x81\xA9"), 9, "\"\\u2066\\u2069\"" },
        { S("\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80"), 9,
          "\"\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80\"" },

        /* invalid: lone, overlong, surrogate, beyond, cut off */
        { S("\x80"), 9, "\"\xEF\xBF\xBD\"" },
        { S("\xC0\xAF"), 9, "\"\xEF\xBF\xBD\xEF\xBF\xBD\"" },
        { S("\xED\xA0\x80"), 9, "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"" },
        { S("a\xF4\x90\x80\x80"), 9,
          "\"a\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"" },
        { S("\xC3"), 9, "\"\xEF\xBF\xBD\"" },
        { S("\xC3\""), 9, "\"\xEF\xBF\xBD\\\"\"" },

        /* cut: at a character, never inside one */
        { S("abcdef"), 3, "\"abc\xE2\x80\xA6\"" },
        { S("abc"), 3, "\"abc\"" },
        { S("a"), 0, "\"\xE2\x80\xA6\"" },
        { S("ab\xE2\x82\xAC" "c"), 3, "\"ab\xE2\x80\xA6\"" },
        { S("ab\xE2\x82\xAC" "c"), 4, "\"ab\xE2\x80\xA6\"" },
        { S("ab\xE2\x82\xAC" "c"), 5, "\"ab\xE2\x82\xAC\xE2\x80\xA6\"" }
    };

    (void) state;

    for (i = 0; i < NELTS(t); i++) {
        len = strlen(t[i].out);

        mcp_buf_init(&b, out, sizeof(out));
        mcp_buf_json(&b, t[i].in.data, t[i].in.len, t[i].max);
        assert_int_equal(b.overflow, 0);
        assert_int_equal(b.pos - b.start, len);
        assert_memory_equal(out, t[i].out, len);

        /* exactly enough, and one byte less: all or nothing */
        mcp_buf_init(&b, out, len);
        mcp_buf_json(&b, t[i].in.data, t[i].in.len, t[i].max);
        assert_int_equal(b.overflow, 0);

        mcp_buf_init(&b, out, len - 1);
        mcp_buf_json(&b, t[i].in.data, t[i].in.len, t[i].max);
        assert_int_equal(b.overflow, 1);
        assert_ptr_equal(b.pos, b.start);
    }
}


/* The fast path over eight bytes must see each special byte at each place. */

static void
test_json_places(void **state)
{
    char           out[64];
    size_t         at;
    unsigned       c, escaped;
    mcp_buf_t      b;
    unsigned char  in[16];

    (void) state;

    for (c = 0; c < 256; c++) {
        for (at = 0; at < sizeof(in); at++) {
            memset(in, 'a', sizeof(in));
            in[at] = (unsigned char) c;

            mcp_buf_init(&b, out, sizeof(out));
            mcp_buf_json(&b, in, sizeof(in), sizeof(in));

            escaped = c < 0x20 || c == '"' || c == '\\' || c >= 0x7f;

            assert_int_equal(b.pos - b.start != sizeof(in) + 2, escaped);
            assert_memory_equal(out + 1, in, at);
        }
    }
}


static void
test_utf8(void **state)
{
    size_t  i;

    static const struct {
        mcp_str_t  in;
        int        valid;
    } t[] = {
        { S(""), 1 },
        { S("a\0b"), 1 },
        { S("0123456789abcdef"), 1 },
        { S("01234567\x80"), 0 },
        { S("0123456\x80"), 0 },
        { S("\xC2\x80"), 1 },
        { S("\xDF\xBF"), 1 },
        { S("\xC1\xBF"), 0 },
        { S("\xE0\xA0\x80"), 1 },
        { S("\xE0\x9F\xBF"), 0 },
        { S("\xED\x9F\xBF"), 1 },
        { S("\xED\xA0\x80"), 0 },
        { S("\xEE\x80\x80"), 1 },
        { S("\xEF\xBF\xBF"), 1 },
        { S("\xF0\x90\x80\x80"), 1 },
        { S("\xF0\x8F\xBF\xBF"), 0 },
        { S("\xF4\x8F\xBF\xBF"), 1 },
        { S("\xF4\x90\x80\x80"), 0 },
        { S("\xF5\x80\x80\x80"), 0 },
        { S("\xFF"), 0 },
        { S("\xE2\x82"), 0 },
        { S("\xE2\x82\x41"), 0 },
        { S("\xF0\x9F\x98"), 0 },
        { S("\xC3\xC3\xA4"), 0 }
    };

    (void) state;

    for (i = 0; i < NELTS(t); i++) {
        assert_int_equal(mcp_utf8_valid(t[i].in.data, t[i].in.len),
                         t[i].valid);
    }
}


static void
test_glob(void **state)
{
    size_t  i;

    static const struct {
        mcp_str_t  pattern, text;
        int        match;
    } t[] = {
        { S(""), S(""), 1 },
        { S(""), S("a"), 0 },
        { S("*"), S(""), 1 },
        { S("*"), S("a\0\n\xFF"), 1 },
        { S("a"), S(""), 0 },
        { S("search"), S("search"), 1 },
        { S("search"), S("search_all"), 0 },    /* anchored at the end */
        { S("search"), S("research"), 0 },      /* and at the beginning */
        { S("search"), S("Search"), 0 },
        { S("search "), S("search"), 0 },
        { S("delete_*"), S("delete_"), 1 },
        { S("delete_*"), S("delete_user"), 1 },
        { S("delete_*"), S("undelete_user"), 0 },
        { S("delete_*"), S("delete-user"), 0 },
        { S("*_user"), S("delete_user"), 1 },
        { S("*_user"), S("delete_users"), 0 },
        { S("*_user"), S("_user_user"), 1 },
        { S("a*b*c"), S("abc"), 1 },
        { S("a*b*c"), S("aXbYbZc"), 1 },
        { S("a*b*c"), S("aXcYb"), 0 },
        { S("a*bc*bcd"), S("abcbcbcd"), 1 },
        { S("*a*"), S("bbb"), 0 },
        { S("a**b"), S("ab"), 1 },
        { S("a.c"), S("abc"), 0 },              /* nothing else is special */
        { S("a?c"), S("abc"), 0 },
        { S("[ab]"), S("a"), 0 },
        { S("a\\*"), S("a*"), 0 },
        { S("a*"), S("a\0b"), 1 },
        { S("a"), S("a\0"), 0 },
        { S("\xC3*"), S("\xC3\xA4"), 1 }        /* bytes, not characters */
    };

    (void) state;

    for (i = 0; i < NELTS(t); i++) {
        if (mcp_glob(&t[i].pattern, &t[i].text) != t[i].match) {
            fail_msg("glob %s of %s", (char *) t[i].pattern.data,
                     (char *) t[i].text.data);
        }
    }
}


/* A pattern that takes exponential time where stars are tried recursively. */

static void
test_glob_time(void **state)
{
    mcp_str_t             text;
    static unsigned char  a[100000];
    const mcp_str_t       pattern = S("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b");

    (void) state;

    memset(a, 'a', sizeof(a));
    text.data = a;
    text.len = sizeof(a);

    assert_int_equal(mcp_glob(&pattern, &text), 0);

    a[sizeof(a) - 1] = 'b';
    assert_int_equal(mcp_glob(&pattern, &text), 1);
}


/* Every byte at every place of strings of every length that takes a path. */

static void
test_is_plain(void **state)
{
    int            want;
    size_t         len, at;
    unsigned       c;
    unsigned char  text[40];

    (void) state;

    memset(text, 'a', sizeof(text));
    assert_int_equal(mcp_json_is_plain(text, 0), 1);

    for (len = 1; len <= sizeof(text); len++) {
        for (at = 0; at < len; at++) {
            for (c = 0; c < 256; c++) {
                text[at] = (unsigned char) c;
                want = c >= 0x20 && c < 0x7f && c != '"' && c != '\\';

                assert_int_equal(mcp_json_is_plain(text, len), want);
            }

            text[at] = 'a';
        }
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_arena),
        cmocka_unit_test(test_equal),
        cmocka_unit_test(test_buf),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_json_places),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_glob),
        cmocka_unit_test(test_glob_time),
        cmocka_unit_test(test_is_plain)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
