/*
 * mcp_form: what a query or a form says, and what of it is refused.
 */

#include "jose_fixture.h"
#include "mcp_form.h"


static void
check(const char *what, const mcp_form_t *f, const char *name,
    const char *want)
{
    int        rc;
    mcp_str_t  v;

    rc = mcp_form_get(f, name, &v);

    if (want == NULL) {
        if (rc != MCP_DECLINED) {
            fail_msg("%s: %s is there", what, name);
        }

        return;
    }

    if (rc != MCP_OK || v.len != strlen(want)
        || memcmp(v.data, want, v.len) != 0)
    {
        fail_msg("%s: %s is not %s", what, name, want);
    }
}


static void
test_parse(void **state)
{
    size_t       i;
    mcp_str_t    text;
    mcp_form_t   f;

    static const struct {
        const char  *text;
        const char  *name;
        const char  *value;             /* NULL: not there */
    } good[] = {
        { "", "a", NULL },
        { "a=1", "a", "1" },
        { "a=1", "A", NULL },
        { "a=1", "", NULL },
        { "a=1&b=2", "b", "2" },
        { "&&a=1&&b=2&", "b", "2" },
        { "a", "a", NULL },
        { "a=", "a", NULL },
        { "a==", "a", "=" },
        { "a=b=c", "a", "b=c" },
        { "a=+%2B%20", "a", " + " },
        { "%61%5fb=x", "a_b", "x" },
        { "a=%26b%3D2", "a", "&b=2" },
        { "a=%c3%A9", "a", "\xc3\xa9" },
        { "a=1;b=2", "a", "1;b=2" },
        { "a=1&b=2;a=3", "a", "1" }
    };

    static const char  *bad[] = {
        "a=1&a=2", "a=1&a", "a&a", "a=1&%61=2", "a=%", "a=%4", "a=%zz",
        "a=%4g", "%", "a=%00", "a=x%00y", "%00=1", "a=1&=2&=3"
    };

    (void) state;

    for (i = 0; i < fx_count(good); i++) {
        text = fx_str(good[i].text);
        assert_int_equal(mcp_form_parse(&text, &fx_mem, &f), MCP_OK);
        check(good[i].text, &f, good[i].name, good[i].value);
    }

    for (i = 0; i < fx_count(bad); i++) {
        text = fx_str(bad[i]);

        if (mcp_form_parse(&text, &fx_mem, &f) != MCP_ERROR) {
            fail_msg("\"%s\" is taken", bad[i]);
        }
    }

    text.data = (unsigned char *) "a=b\0c";
    text.len = 5;
    assert_int_equal(mcp_form_parse(&text, &fx_mem, &f), MCP_ERROR);

    text = fx_str("a=1");
    fx_fail_at = 0;
    assert_int_equal(mcp_form_parse(&text, &fx_mem, &f), MCP_ERROR);
    fx_fail_at = -1;
}


static void
test_many(void **state)
{
    unsigned     i, n;
    char        *p, text[MCP_FORM_FIELDS * 8 + 8];
    mcp_str_t    s;
    mcp_form_t   f;

    (void) state;

    for (n = MCP_FORM_FIELDS; n <= MCP_FORM_FIELDS + 1; n++) {

        p = text;

        for (i = 0; i < n; i++) {
            p += sprintf(p, "n%u=v&", i);
        }

        s = fx_str(text);
        assert_int_equal(mcp_form_parse(&s, &fx_mem, &f),
                         n > MCP_FORM_FIELDS ? MCP_ERROR : MCP_OK);
    }
}


static void
test_put(void **state)
{
    unsigned     c;
    char         buf[1024];
    mcp_buf_t    b;
    mcp_str_t    s, all;
    mcp_form_t   f;
    unsigned char  bytes[255];

    (void) state;

    mcp_buf_init(&b, buf, sizeof(buf) - 1);

    s = fx_str("a b&c=d/%?#\"<'\r\n~-._");
    mcp_form_put(&b, '?', "x", &s);
    s = fx_str("");
    mcp_form_put(&b, '&', "none", &s);
    *b.pos = '\0';

    assert_string_equal(buf, "?x=a%20b%26c%3Dd%2F%25%3F%23%22%3C%27%0D%0A"
                             "~-._");

    /* whatever is written is read as it was */

    for (c = 1; c < 256; c++) {
        bytes[c - 1] = (unsigned char) c;
    }

    all.data = bytes;
    all.len = sizeof(bytes);

    mcp_buf_init(&b, buf, sizeof(buf));
    mcp_form_put(&b, '&', "x", &all);
    assert_int_equal(b.overflow, 0);

    s.data = b.start;
    s.len = (size_t) (b.pos - b.start);

    assert_int_equal(mcp_form_parse(&s, &fx_mem, &f), MCP_OK);
    assert_int_equal(mcp_form_get(&f, "x", &s), MCP_OK);
    assert_true(mcp_str_eq(&s, &all));

    mcp_buf_init(&b, buf, 10);
    mcp_form_put(&b, '&', "x", &all);
    assert_int_equal(b.overflow, 1);
}


/* Any bytes: refused, or within what came. */
static void
test_any(void **state)
{
    size_t         i, n;
    unsigned       round, k;
    mcp_str_t      s;
    mcp_form_t     f;
    unsigned char  text[64];

    static const char  of[] = "ab=&%+012fF\0;\xff";

    (void) state;

    srand(1);

    for (round = 0; round < 20000; round++) {
        n = (size_t) rand() % sizeof(text);

        for (i = 0; i < n; i++) {
            text[i] = (unsigned char) of[(size_t) rand() % (sizeof(of) - 1)];
        }

        s.data = text;
        s.len = n;

        if (mcp_form_parse(&s, &fx_mem, &f) != MCP_OK) {
            continue;
        }

        for (k = 0, i = 0; k < f.n; k++) {
            i += f.fields[k].name.len + f.fields[k].value.len;
            assert_null(memchr(f.fields[k].value.data, '\0',
                               f.fields[k].value.len));
        }

        assert_true(i <= n);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_put),
        cmocka_unit_test(test_any),
    };

    return cmocka_run_group_tests(tests, NULL, fx_end);
}
