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

        /* fillers, selectors, separators, embedded notes */

        { "\xe3\x85\xa4", 99, "\xef\xbf\xbd" },
        { "\xcd\x8f", 99, "\xef\xbf\xbd" },
        { "\xef\xb8\x8f", 99, "\xef\xbf\xbd" },
        { "\xe2\x80\xa8", 99, "\xef\xbf\xbd" },
        { "\xef\xbf\xb9", 99, "\xef\xbf\xbd" },
        { "\xef\xbf\xbd", 99, "\xef\xbf\xbd" },

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


/* Attributes " on...=", wherever. */
static unsigned
handlers(const char *page)
{
    unsigned     n;
    const char  *p, *q;

    n = 0;

    for (p = page; (p = strstr(p, " on")) != NULL; p++) {

        for (q = p + 3; *q >= 'a' && *q <= 'z'; q++) {
            /* void */
        }

        n += (*q == '=');
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
        "div", "strong", "form", "button", "a", "time", "dl", "dt", "dd",
        "code"
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
    assert_int_equal(handlers(page), 0);
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
    assert_int_equal(count(buf, "<dt>Connected since</dt><dd>"
                                "<time datetime=\"2025-11-26T00:00:00Z\">"
                                "26 November 2025, 00:00 UTC</time></dd>"), 3);
    assert_int_equal(count(buf, "<dt>Last used</dt>"), 3);
    assert_int_equal(count(buf, "<dt>Expires</dt>"), 0);
    assert_int_equal(count(buf, "aria-label=\"Connect: "), 1);
    assert_int_equal(count(buf, "aria-label=\"Connect again: "), 2);
    assert_int_equal(count(buf, "aria-label=\"Disconnect: "), 3);

    /* in words */

    assert_int_equal(count(buf, ">Not connected.<"), 1);
    assert_int_equal(count(buf, ">Connected.<"), 1);
    assert_int_equal(count(buf, ">Has to be connected again.<"), 1);
    assert_int_equal(count(buf, "is not known now.<"), 1);

    /* nothing to say of it: no list of nothing */

    rows[0].provider.len = 0;

    mcp_buf_init(&b, buf, MCP_PAGE_SIZE + MCP_PAGE_ROW);
    mcp_page_list(&b, &path, &text, rows, 1, &ticket);
    *b.pos = '\0';
    whole(buf);
    assert_int_equal(count(buf, "<dl"), 0);
    assert_int_equal(count(buf, "aria-label=\"Connect: "), 1);

    rows[0].provider = text;

    mcp_buf_init(&b, buf, MCP_PAGE_SIZE);
    mcp_page_list(&b, &path, &text, rows, 0, &ticket);
    assert_int_equal(b.overflow, 0);
    *b.pos = '\0';

    whole(buf);
    assert_int_equal(count(buf, "nothing to connect"), 1);
    assert_int_equal(count(buf, "<ul"), 0);

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
    mcp_page_message(&b, &path, "Title", "A sentence.", NULL, "There",
                     "login");
    *b.pos = '\0';
    whole(buf);
    assert_int_equal(count(buf, "href=\"/connect/login\">There</a>"), 1);
    assert_int_equal(count(buf, "reason"), 0);

    mcp_buf_init(&b, buf, MCP_PAGE_SIZE);
    mcp_page_message(&b, &path, "Title", "A sentence.", "connect_state", NULL,
                     NULL);
    *b.pos = '\0';
    whole(buf);
    assert_int_equal(count(buf, "<a "), 0);
    assert_int_equal(count(buf, "<code>connect_state</code>"), 1);
}


static const char *
confirmed(const char *scope, const char *name, const char *ends)
{
    char            *buf;
    mcp_buf_t        b;
    mcp_str_t        path, text, none;
    mcp_page_row_t   row;

    memset(&row, 0, sizeof(row));

    path = fx_str("/connect/");
    text = fx_str("x");
    none.data = NULL;
    none.len = 0;
    row.name = fx_str(name);
    row.scope = fx_str(scope);
    row.token = text;

    buf = fx_alloc(MCP_PAGE_SIZE + MCP_PAGE_ROW);
    mcp_buf_init(&b, buf, MCP_PAGE_SIZE + MCP_PAGE_ROW - 1);
    mcp_page_confirm(&b, &path, &text, &row, &text, &none);
    assert_int_equal(b.overflow, 0);
    *b.pos = '\0';

    whole(buf);

    return ends ? strstr(buf, ends) : buf;
}


/* Each scope stands alone, and many of them or a long one do not push the
 * button away. */
static void
test_scopes(void **state)
{
    char         many[2001];
    size_t       i;
    const char  *page;

    (void) state;

    page = confirmed("", "jira", NULL);
    assert_int_equal(count(page, "Asked for"), 0);
    page = confirmed(" , ", "jira", NULL);
    assert_int_equal(count(page, "Asked for"), 0);

    page = confirmed(" read:x,,write:y <z> ", "jira", NULL);
    assert_int_equal(count(page, "Asked for"), 1);
    assert_int_equal(count(page, "<li>"), 3);
    assert_int_equal(count(page, "<code>read:x</code>"), 1);
    assert_int_equal(count(page, "<code>write:y</code>"), 1);
    assert_int_equal(count(page, "<code>&lt;z&gt;</code>"), 1);

    for (i = 0; i < sizeof(many) - 1; i++) {
        many[i] = i % 2 ? ' ' : 'a';
    }

    many[sizeof(many) - 1] = '\0';

    page = confirmed(many, "jira", NULL);
    assert_int_equal(count(page, "<code>"), MCP_PAGE_NSCOPES);
    assert_int_equal(count(page, "<li>and more</li>"), 1);

    many[2 * MCP_PAGE_NSCOPES] = '\0';
    page = confirmed(many, "jira", NULL);
    assert_int_equal(count(page, "<code>"), MCP_PAGE_NSCOPES);
    assert_int_equal(count(page, "and more"), 0);

    memset(many, '"', sizeof(many) - 1);
    page = confirmed(many, "jira", NULL);
    assert_int_equal(count(page, "<code>"), 0);
    assert_int_equal(count(page, "<li>and more</li>"), 1);

    many[900] = '\0';
    page = confirmed(many, "jira", NULL);
    assert_int_equal(count(page, "&quot;"), MCP_PAGE_TEXT);
}


/* A name is one segment of a path, whatever is in it. */
static void
test_address(void **state)
{
    (void) state;

    assert_non_null(confirmed("", "a.b-c_D",
                              "action=\"/connect/start/a.b-c_D\""));
    assert_non_null(confirmed("", "../../x?y#z%41 \xff",
                              "action=\"/connect/start/..%2F..%2Fx%3Fy%23z"
                              "%2541%20%FF\""));
}


/* The largest texts fit into what the header promises. */
static void
test_room(void **state)
{
    char            *buf, *big, *scopes;
    size_t           i;
    mcp_buf_t        b;
    mcp_str_t        path, s, name;
    mcp_page_row_t   row;

    (void) state;

    big = fx_alloc(20000);
    memset(big, '"', 20000);

    scopes = fx_alloc(20000);
    memset(scopes, '"', 20000);

    for (i = MCP_PAGE_TEXT; i < 20000; i += MCP_PAGE_TEXT + 1) {
        scopes[i] = ' ';
    }

    s.data = (unsigned char *) big;
    s.len = 20000;
    name.data = s.data;
    name.len = 64;
    path = fx_str("/a/rather/long/path/of/a/location/that/has/the/pages/");

    memset(&row, 0, sizeof(row));
    row.name = name;
    row.provider = s;
    row.scope.data = (unsigned char *) scopes;
    row.scope.len = 20000;
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


/* x to the 2.4, of 0 to 1: there is no need of libm for that. */
static double
power24(double x)
{
    unsigned  i;
    double    root;

    /* Newton: the fifth root of x * x */

    root = 1;

    for (i = 0; i < 60; i++) {
        root -= (root * root * root * root * root - x * x)
                / (5 * root * root * root * root);
    }

    return x * x * root;
}


/* A colour of the style sheet, from here on. */
static double
luminance(const char *style, const char *name)
{
    double         rgb[3], v;
    unsigned       i, c[3];
    const char    *at;

    at = strstr(style, fx_printf("--%s:#", name));
    assert_non_null(at);
    at += strlen(name) + 4;

    if (sscanf(at, "%2x%2x%2x", &c[0], &c[1], &c[2]) != 3
        || strspn(at, "0123456789abcdef") == 3)
    {
        assert_int_equal(sscanf(at, "%1x%1x%1x", &c[0], &c[1], &c[2]), 3);

        for (i = 0; i < 3; i++) {
            c[i] *= 17;
        }
    }

    for (i = 0; i < 3; i++) {
        v = c[i] / 255.0;

        rgb[i] = v <= 0.03928 ? v / 12.92 : power24((v + 0.055) / 1.055);
    }

    return 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2];
}


/* WCAG 2.2, 1.4.3: 4.5 to 1 for all text, in light and in dark. */
static void
test_contrast(void **state)
{
    size_t       i, k;
    double       a, b, ratio;
    const char  *style[2];

    static const char  *pairs[][2] = {
        { "ink", "page" }, { "ink", "card" }, { "soft", "page" },
        { "soft", "card" }, { "good", "card" }, { "bad", "card" },
        { "act", "page" }, { "act", "card" }, { "act-ink", "act" }
    };

    (void) state;

    style[0] = mcp_page_style;
    style[1] = strstr(mcp_page_style, "prefers-color-scheme:dark");
    assert_non_null(style[1]);

    for (k = 0; k < 2; k++) {
        for (i = 0; i < fx_count(pairs); i++) {
            a = luminance(style[k], pairs[i][0]);
            b = luminance(style[k], pairs[i][1]);
            ratio = a > b ? (a + 0.05) / (b + 0.05) : (b + 0.05) / (a + 0.05);

            if (ratio < 4.5) {
                fail_msg("%s on %s, %s: %.2f", pairs[i][0], pairs[i][1],
                         k ? "dark" : "light", ratio);
            }
        }
    }
}


static void
test_style(void **state)
{
    (void) state;

    assert_null(strstr(mcp_page_style, "url("));
    assert_null(strstr(mcp_page_style, "outline:none"));
    assert_non_null(strstr(mcp_page_style, ":focus-visible{outline:3px"));
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
        cmocka_unit_test(test_scopes),
        cmocka_unit_test(test_address),
        cmocka_unit_test(test_contrast),
        cmocka_unit_test(test_style),
    };

    return cmocka_run_group_tests(tests, NULL, fx_end);
}
