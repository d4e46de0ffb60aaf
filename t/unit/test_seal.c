/*
 * mcp_seal: what was sealed for some parts opens for those alone, unchanged,
 * under a key of the ring; everything else is declined.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mcp_seal.h"


typedef struct {
    mcp_seal_ring_t   ring;
    EVP_CIPHER_CTX   *ctx;
} fixture_t;


static mcp_str_t
str(const char *s)
{
    mcp_str_t  v;

    v.data = (unsigned char *) s;
    v.len = strlen(s);

    return v;
}


static mcp_str_t
master(int c)
{
    mcp_str_t             v;
    static unsigned char  key[4][MCP_SEAL_KEY];

    v.data = memset(key[c & 3], c, MCP_SEAL_KEY);
    v.len = MCP_SEAL_KEY;

    return v;
}


static int
set_up(void **state)
{
    fixture_t  *f;
    mcp_str_t   key;

    f = calloc(1, sizeof(fixture_t));
    f->ctx = EVP_CIPHER_CTX_new();
    key = master('a');

    *state = f;

    return mcp_seal_add(&f->ring, &key, "session") == MCP_OK ? 0 : -1;
}


static int
tear_down(void **state)
{
    fixture_t *f = *state;

    EVP_CIPHER_CTX_free(f->ctx);
    free(f);

    return 0;
}


/* Seals, and puts the text (exactly as long as it is) in memory of its own. */
static mcp_str_t
sealed(fixture_t *f, const char *value, mcp_str_t *parts, unsigned n)
{
    size_t      len;
    mcp_str_t   text, v;

    v = str(value);
    text.data = malloc(mcp_seal_size(v.len));

    assert_int_equal(mcp_seal(&f->ring, f->ctx, parts, n, &v, text.data, &len),
                     MCP_OK);
    assert_int_equal(len, mcp_seal_size(v.len));

    text.len = len;

    return text;
}


static int
opens(fixture_t *f, mcp_str_t *text, mcp_str_t *parts, unsigned n,
    const char *value)
{
    int             rc;
    size_t          len;
    unsigned char  *out;

    out = malloc(text->len ? text->len : 1);
    rc = mcp_seal_open(&f->ring, f->ctx, parts, n, text, out, &len);

    if (rc == MCP_OK) {
        assert_int_equal(len, strlen(value));
        assert_memory_equal(out, value, len);
    }

    free(out);

    return rc;
}


static void
test_lengths(void **state)
{
    char        value[200];
    size_t      i;
    mcp_str_t   parts[2], text;

    parts[0] = str("jira");
    parts[1] = str("alice");

    memset(value, 'v', sizeof(value));

    for (i = 0; i < sizeof(value); i++) {
        value[i] = '\0';
        text = sealed(*state, value, parts, 2);
        assert_int_equal(opens(*state, &text, parts, 2, value), MCP_OK);
        assert_null(memchr(text.data, '=', text.len));
        free(text.data);
        value[i] = 'v';
    }
}


/* the same gives the same text; another value or part gives another nonce */

static void
test_deterministic(void **state)
{
    unsigned    i;
    mcp_str_t   a, b, parts[2];

    static const struct {
        const char  *value, *one, *two;
    } other[] = {
        { "value2", "jira", "alice" },
        { "value1", "jirb", "alice" },
        { "value1", "jira", "alicf" },
        { "value1", "jiraa", "lice" },
        { "value1", "", "jiraalice" },
    };

    parts[0] = str("jira");
    parts[1] = str("alice");

    a = sealed(*state, "value1", parts, 2);
    b = sealed(*state, "value1", parts, 2);
    assert_memory_equal(a.data, b.data, a.len);
    free(b.data);

    for (i = 0; i < sizeof(other) / sizeof(other[0]); i++) {
        parts[0] = str(other[i].one);
        parts[1] = str(other[i].two);

        b = sealed(*state, other[i].value, parts, 2);

        /* version and key id take 5 of the first 8 characters' 6 bytes */

        assert_memory_not_equal(a.data + 8, b.data + 8, 12);
        free(b.data);
    }

    free(a.data);
}


/* what is a part is no part of the value: else a nonce would come twice, for
 * another text */

static void
test_nonce(void **state)
{
    fixture_t *f = *state;

    mcp_str_t       a, b, v, parts[2];
    unsigned char   value[32], text[128];

    static const unsigned char  length[8] = { 0, 0, 0, 0, 0, 0, 0, 5 };

    parts[0] = str("jira");
    parts[1] = str("alice");

    a = sealed(f, "value", parts, 2);

    memcpy(value, length, 8);
    memcpy(value + 8, "alicevalue", 10);

    v.data = value;
    v.len = 18;
    b.data = text;

    assert_int_equal(mcp_seal(&f->ring, f->ctx, parts, 1, &v, b.data, &b.len),
                     MCP_OK);

    assert_memory_not_equal(a.data + 8, b.data + 8, 12);

    free(a.data);
}


static void
test_bound(void **state)
{
    unsigned    i;
    mcp_str_t   text, parts[3];

    static const char  *wrong[][3] = {
        { "jirb", "alice", "" }, { "jira", "bob", "" },
        { "jir", "aalice", "" }, { "jiraalice", "", "" },
        { "", "jiraalice", "" }, { "alice", "jira", "" },
        { "jira", "alice", "x" },
    };

    parts[0] = str("jira");
    parts[1] = str("alice");
    parts[2] = str("");

    text = sealed(*state, "session-1", parts, 3);
    assert_int_equal(opens(*state, &text, parts, 3, "session-1"), MCP_OK);
    assert_int_equal(opens(*state, &text, parts, 2, ""), MCP_DECLINED);

    for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        parts[0] = str(wrong[i][0]);
        parts[1] = str(wrong[i][1]);
        parts[2] = str(wrong[i][2]);

        assert_int_equal(opens(*state, &text, parts, 3, ""), MCP_DECLINED);
    }

    free(text.data);
}


/* every character changed to every other, every length, other alphabets */

static void
test_changed(void **state)
{
    int             c;
    size_t          i, len;
    mcp_str_t       text, part;
    unsigned char   was;

    part = str("alice");
    text = sealed(*state, "s", &part, 1);
    len = text.len;

    for (i = 0; i < len; i++) {
        was = text.data[i];

        for (c = 0; c < 256; c++) {
            text.data[i] = (unsigned char) c;
            assert_int_equal(opens(*state, &text, &part, 1, "s"),
                             c == was ? MCP_OK : MCP_DECLINED);
        }

        text.data[i] = was;
    }

    for (text.len = 0; text.len < len; text.len++) {
        assert_int_equal(opens(*state, &text, &part, 1, ""), MCP_DECLINED);
    }

    text.data = realloc(text.data, len + 4);
    memcpy(text.data + len, "AA==", 4);

    for (text.len = len + 1; text.len <= len + 4; text.len++) {
        assert_int_equal(opens(*state, &text, &part, 1, ""), MCP_DECLINED);
    }

    free(text.data);
}


static void
test_ring(void **state)
{
    fixture_t *f = *state;

    unsigned         i;
    mcp_str_t        old, new, key, part, big;
    unsigned char    many[MCP_SEAL_KEYS + 1][MCP_SEAL_KEY];
    mcp_seal_ring_t  ring;

    part = str("alice");
    old = sealed(f, "s", &part, 1);

    /* the new key first: what the old one sealed opens, the new one seals */

    memset(&ring, 0, sizeof(ring));
    key = master('b');
    assert_int_equal(mcp_seal_add(&ring, &key, "session"), MCP_OK);
    key = master('a');
    assert_int_equal(mcp_seal_add(&ring, &key, "session"), MCP_OK);
    assert_int_equal(mcp_seal_add(&ring, &key, "session"), MCP_DECLINED);

    f->ring = ring;
    assert_int_equal(opens(f, &old, &part, 1, "s"), MCP_OK);

    new = sealed(f, "s", &part, 1);
    assert_memory_not_equal(old.data, new.data, old.len);
    assert_int_equal(opens(f, &new, &part, 1, "s"), MCP_OK);

    /* without the old key, or with one of another purpose: no more */

    memset(&f->ring, 0, sizeof(f->ring));
    key = master('b');
    assert_int_equal(mcp_seal_add(&f->ring, &key, "session"), MCP_OK);
    assert_int_equal(opens(f, &new, &part, 1, "s"), MCP_OK);
    assert_int_equal(opens(f, &old, &part, 1, "s"), MCP_DECLINED);

    memset(&f->ring, 0, sizeof(f->ring));
    assert_int_equal(mcp_seal_add(&f->ring, &key, "record"), MCP_OK);
    assert_int_equal(opens(f, &new, &part, 1, "s"), MCP_DECLINED);

    /* limits */

    memset(&f->ring, 0, sizeof(f->ring));
    assert_int_equal(mcp_seal(&f->ring, f->ctx, &part, 1, &part, new.data,
                              &new.len), MCP_ERROR);

    key.len = MCP_SEAL_KEY - 1;
    assert_int_equal(mcp_seal_add(&f->ring, &key, "session"), MCP_DECLINED);

    for (i = 0; i <= MCP_SEAL_KEYS; i++) {
        memset(many[i], (int) i, MCP_SEAL_KEY);
        big.data = many[i];
        big.len = MCP_SEAL_KEY;
        assert_int_equal(mcp_seal_add(&f->ring, &big, "session"),
                         i < MCP_SEAL_KEYS ? MCP_OK : MCP_DECLINED);
    }

    free(old.data);
    free(new.data);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test_setup_teardown(test_lengths, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_deterministic, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nonce, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bound, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_changed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ring, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
