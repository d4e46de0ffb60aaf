/*
 * mcp_page: that no text from outside is anything but text on a page, and that
 * the pages are whole.
 */

#include "jose_fixture.h"
#include "mcp_page.h"


static const char  hostile[] =
    "\"><script>alert('1')</script><form action=\"//evil\">&amp;\r\n\t"
    "\xe2\x80\xae" "\xc2\x85" "\xff\xfe";


static char *
escaped(const void *data, size_t len, size_t max)
{
    char       *buf;
    mcp_buf_t   b;
    mcp_str_t   s;

    s.data = (unsigned char *) data;
    s.len = len;

    buf = fx_alloc(6 * len + 16);
    mcp_buf_init(&b, buf, 6 * len + 15);
    mcp_page_escape(&b, &s, max);
    assert_int_equal(b.overflow, 0);
    *b.pos = '\0';

    return buf;
}


static void
test_escape(void **state)
{
    size_t  i;

    static const struct {
        const char  *text;
        size_t       max;
        const char  *want;
    } cases[] = {
        { "", 10, "" },
        { "plain", 10, "plain" },
        { "<b class=\"x\" id='y'>&", 99,
          "&lt;b class=&quot;x&quot; id=&#39;y&#39;&gt;&amp;" },
        { "a\x01" "b\nc\x7f", 99,
          "a\xef\xbf\xbd" "b\xef\xbf\xbd" "c\xef\xbf\xbd" },
        { "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 99,
          "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80" },

        /* C1, soft hyphen, marks of direction, invisible, tags */

        { "\xc2\x80", 99, "\xef\xbf\xbd" },
        { "\xc2\xad", 99, "\xef\xbf\xbd" },
        { "\xe2\x80\x8b", 99, "\xef\xbf\xbd" },
        { "\xe2\x80\xae", 99, "\xef\xbf\xbd" },
        { "\xe2\x81\xa6", 99, "\xef\xbf\xbd" },
        { "\xef\xbb\xbf", 99, "\xef\xbf\xbd" },
        { "\xf3\xa0\x80\x81", 99, "\xef\xbf\xbd" },

        /* no UTF-8: each byte, and nothing behind it is swallowed */

        { "\xff<", 99, "\xef\xbf\xbd&lt;" },
        { "\xc3<", 99, "\xef\xbf\xbd&lt;" },
        { "\xe2\x82\"", 99, "\xef\xbf\xbd\xef\xbf\xbd&quot;" },
        { "\xc0\xbc", 99, "\xef\xbf\xbd\xef\xbf\xbd" },
        { "\xed\xa0\x80", 99, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
        { "\x80x", 99, "\xef\xbf\xbdx" },

        /* cut at a character */

        { "abcdef", 6, "abcdef" },
        { "abcdef", 3, "abc\xe2\x80\xa6" },
        { "ab\xe2\x82\xac", 4, "ab\xe2\x80\xa6" },
        { "<<", 1, "&lt;\xe2\x80\xa6" }
    };

    (void) state;

    for (i = 0; i < fx_count(cases); i++) {
        assert_string_equal(escaped(cases[i].text, strlen(cases[i].text),
                                    cases[i].max),
                            cases[i].want);
    }

    assert_string_equal(escaped("a\0b", 3, 99), "a\xef\xbf\xbd" "b");
}


/* Any bytes: no character that means anything in HTML, and UTF-8. */
static void
test_any(void **state)
{
    char           *out, *p;
    size_t          i, n;
    unsigned        round;
    unsigned char   text[40];

    (void) state;

    srand(2);

    for (round = 0; round < 20000; round++) {
        n = (size_t) rand() % sizeof(text);

        for (i = 0; i < n; i++) {
            text[i] = (unsigned char) rand();

            if (rand() % 4 == 0) {
                text[i] = (unsigned char) "<>\"'&\xe2\x80"[rand() % 7];
            }
        }

        out = escaped(text, n, (size_t) rand() % 50);

        assert_true(mcp_utf8_valid(out, strlen(out)));
        assert_null(strpbrk(out, "<>\"'"));

        for (p = out; (p = strchr(p, '&')) != NULL; p++) {
            assert_true(strncmp(p, "&lt;", 4) == 0
                        || strncmp(p, "&gt;", 4) == 0
                        || strncmp(p, "&amp;", 5) == 0
                        || strncmp(p, "&quot;", 6) == 0
                        || strncmp(p, "&#39;", 5) == 0);
        }
    }
}


static unsigned
count(const char *text, const char *what)
{
    unsigned     n;
    const char  *p;

    for (n = 0, p = text; (p = strstr(p, what)) != NULL; p++) {
        n++;
    }

    return n;
}


/* Each element that is opened is closed; nothing of an attacker's is there. */
static void
whole(const char *page)
{
    size_t       i;
    char         open[32], close[32];

    static const char  *names[] = {
        "html", "head", "title", "body", "main", "h1", "h2", "p", "ul", "li",
        "div", "strong", "form", "button", "a", "time"
    };

    assert_int_equal(strncmp(page, "<!doctype html>\n<html lang=\"en\">", 32),
                     0);

    for (i = 0; i < fx_count(names); i++) {
        sprintf(open, "<%s>", names[i]);
        sprintf(close, "<%s ", names[i]);

        assert_int_equal(count(page, open) + count(page, close),
                         count(page, fx_printf("</%s>", names[i])));
    }

    assert_int_equal(count(page, "<h1>"), 1);
    assert_int_equal(count(page, "<script"), 0);
    assert_int_equal(count(page, "style="), 0);
    assert_int_equal(count(page, " on"), count(page, ", go on")
                     + count(page, " only") + count(page, " one"));
    assert_int_equal(count(page, "action=\"//evil"), 0);
    assert_null(strchr(page, '\r'));
    assert_int_equal(count(page, "http"), 0);
}


static void
test_pages(void **state)
{
    char            *buf;
    mcp_buf_t        b;
    mcp_str_t        path, text, ticket;
    mcp_page_row_t   rows[4];
    unsigned         i;

    (void) state;

    path = fx_str("/connect/");
    text = fx_str(hostile);
    ticket = fx_str("a-ticket");
    buf = fx_alloc(MCP_PAGE_SIZE + 4 * MCP_PAGE_ROW + 1);

    memset(rows, 0, sizeof(rows));

    for (i = 0; i < 4; i++) {
        rows[i].name = text;
        rows[i].provider = text;
        rows[i].scope = text;
        rows[i].token = text;
        rows[i].state = i;
        rows[i].since = 1764115200;
        rows[i].used = 1764115270;
        rows[i].renewed = 1764115260;
    }

    mcp_buf_init(&b, buf, MCP_PAGE_SIZE + 4 * MCP_PAGE_ROW);
    mcp_page_list(&b, &path, &text, rows, 4, &ticket);
    assert_int_equal(b.overflow, 0);
    *b.pos = '\0';

    whole(buf);

    /* connect what is not, disconnect what is, or may be */

    assert_int_equal(count(buf, "href=\"/connect/start/"), 3);
    assert_int_equal(count(buf, "action=\"/connect/disconnect/"), 3);
    assert_int_equal(count(buf, "action=\"/connect/logout\""), 1);
    assert_int_equal(count(buf, "method=\"post\""), 4);
    assert_int_equal(count(buf, "name=\"csrf\""), 4);
    assert_int_equal(count(buf, "Connected since <time>"
                                "2025-11-26T00:00:00Z</time>"), 3);
    assert_int_equal(count(buf, "Last used <time>"), 3);

    mcp_buf_init(&b, buf, MCP_PAGE_SIZE);
    mcp_page_list(&b, &path, &text, rows, 0, &ticket);
    assert_int_equal(b.overflow, 0);
    *b.pos = '\0';

    whole(buf);
    assert_int_equal(count(buf, "nothing to connect"), 1);

    mcp_buf_init(&b, buf, MCP_PAGE_SIZE + MCP_PAGE_ROW);
    mcp_page_confirm(&b, &path, &text, &rows[0], &text, &ticket);
    assert_int_equal(b.overflow, 0);
    *b.pos = '\0';

    whole(buf);
    assert_int_equal(count(buf, "name=\"ticket\" value=\"a-ticket\""), 1);
    assert_int_equal(count(buf, "action=\"/connect/start/"), 1);

    ticket.len = 0;
    mcp_buf_init(&b, buf, MCP_PAGE_SIZE + MCP_PAGE_ROW);
    mcp_page_confirm(&b, &path, &text, &rows[0], &text, &ticket);
    *b.pos = '\0';
    assert_int_equal(count(buf, "name=\"ticket\""), 0);

    mcp_buf_init(&b, buf, MCP_PAGE_SIZE);
    mcp_page_message(&b, &path, "Title", "A sentence.", "There", "login");
    *b.pos = '\0';
    whole(buf);
    assert_int_equal(count(buf, "href=\"/connect/login\">There</a>"), 1);

    mcp_buf_init(&b, buf, MCP_PAGE_SIZE);
    mcp_page_message(&b, &path, "Title", "A sentence.", NULL, NULL);
    *b.pos = '\0';
    whole(buf);
    assert_int_equal(count(buf, "<a "), 0);
}


/* The largest texts fit into what the header promises. */
static void
test_room(void **state)
{
    char            *buf, *big;
    mcp_buf_t        b;
    mcp_str_t        path, s, name;
    mcp_page_row_t   row;

    (void) state;

    big = fx_alloc(20000);
    memset(big, '"', 20000);

    s.data = (unsigned char *) big;
    s.len = 20000;
    name.data = s.data;
    name.len = 64;
    path = fx_str("/a/rather/long/path/of/a/location/that/has/the/pages/");

    memset(&row, 0, sizeof(row));
    row.name = name;
    row.provider = s;
    row.scope = s;
    row.token = s;
    row.state = MCP_PAGE_REAUTH;
    row.since = row.used = row.renewed = row.expires = 1764115200;

    buf = fx_alloc(MCP_PAGE_SIZE + MCP_PAGE_ROW);

    mcp_buf_init(&b, buf, MCP_PAGE_SIZE + MCP_PAGE_ROW);
    mcp_page_list(&b, &path, &s, &row, 1, &s);
    assert_int_equal(b.overflow, 0);

    mcp_buf_init(&b, buf, MCP_PAGE_SIZE + MCP_PAGE_ROW);
    mcp_page_confirm(&b, &path, &s, &row, &s, &s);
    assert_int_equal(b.overflow, 0);

    /* too little room is said, not passed */

    mcp_buf_init(&b, buf, 500);
    mcp_page_confirm(&b, &path, &s, &row, &s, &s);
    assert_int_equal(b.overflow, 1);
}


static void
test_style(void **state)
{
    (void) state;

    assert_null(strstr(mcp_page_style, "url("));
    assert_null(strstr(mcp_page_style, "@import"));
    assert_non_null(strstr(mcp_page_style, "prefers-color-scheme:dark"));
    assert_int_equal(count(mcp_page_style, "{"), count(mcp_page_style, "}"));
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_escape),
        cmocka_unit_test(test_any),
        cmocka_unit_test(test_pages),
        cmocka_unit_test(test_room),
        cmocka_unit_test(test_style),
    };

    return cmocka_run_group_tests(tests, NULL, fx_end);
}
