/*
 * mcp_page: whatever strings go into a page, it stays the page.
 *
 * - Its tags, in order, with the names of their attributes, are those of the
 *   same page with harmless strings, but for the rows of scopes.
 * - Outside of tags there is no "<" or ">", in values of attributes no quote;
 *   "&" begins an entity.
 * - It is UTF-8 without a character that is not seen.
 * - mcp_page_escape() keeps its bound.
 *
 * Input: "l" (list), "c" (confirm), or any; a byte of the row's state; lines:
 * person, provider, scopes, token.
 */

#include <ctype.h>

#include "fuzz.h"
#include "mcp_page.h"
#include "mcp_untrusted.h"


#define SIZE  (MCP_PAGE_SIZE + 2 * MCP_PAGE_ROW)


static void
seen(const mcp_buf_t *b)
{
    uint32_t              c;
    const unsigned char  *p;

    CHECK(mcp_utf8_valid(b->start, (size_t) (b->pos - b->start)));

    for (p = b->start; p < b->pos; p++) {
        CHECK(*p >= 0x20 || *p == '\n');

        if (*p >= 0xc0) {
            c = *p < 0xe0 ? *p & 0x1f : *p < 0xf0 ? *p & 0xf : *p & 7;

            while (p + 1 < b->pos && (p[1] & 0xc0) == 0x80) {
                c = c << 6 | (*++p & 0x3f);
            }

            CHECK(!mcp_char_unseen(c));
        }
    }
}


static const unsigned char *
entity(const unsigned char *p, const unsigned char *end)
{
    size_t                    i, n;
    static const char *const  names[] = {
        "&amp;", "&lt;", "&gt;", "&quot;", "&#39;", "&#34;"
    };

    for (i = 0; i < fz_count(names); i++) {
        n = strlen(names[i]);

        if ((size_t) (end - p) >= n && memcmp(p, names[i], n) == 0) {
            return p + n;
        }
    }

    CHECK(!"an entity");

    return end;
}


/* The tags and the names of their attributes, to out; "li", "ul" and text are
 * left out: there are as many as there are scopes. */

static size_t
skeleton(const mcp_buf_t *b, char *out, size_t size)
{
    char                  tag[4096];
    size_t                n, len;
    const unsigned char  *p, *end;

    len = 0;
    p = b->start;
    end = b->pos;

    while (p < end) {

        if (*p == '&') {
            p = entity(p, end);
            continue;
        }

        CHECK(*p != '>');

        if (*p++ != '<') {
            continue;
        }

        n = 0;

        while (p < end && *p != '>') {
            CHECK(*p != '<' && n < sizeof(tag) - 1);

            if (*p == '"') {
                for (p++; p < end && *p != '"'; /* void */ ) {
                    CHECK(*p != '<' && *p != '>');

                    if (*p == '&') {
                        p = entity(p, end);

                    } else {
                        p++;
                    }
                }

                CHECK(p < end);
                p++;
                tag[n++] = '*';

            } else {
                CHECK(*p != '\'' && *p != '&');
                tag[n++] = (char) *p++;
            }
        }

        CHECK(p < end && n > 0);
        p++;
        tag[n] = '\0';

        if (strncmp(tag, "style", 5) == 0) {
            p = memmem(p, (size_t) (end - p), "</style>", 8);
            CHECK(p != NULL);
        }

        if (strncmp(tag, "li", 2) == 0 || strncmp(tag, "/li", 3) == 0) {
            continue;
        }

        CHECK(len + n + 1 < size);
        memcpy(out + len, tag, n);
        len += n;
        out[len++] = '\n';
    }

    return len;
}


static void
write_page(mcp_buf_t *b, unsigned what, const mcp_str_t *person,
    const mcp_page_row_t *row)
{
    mcp_page_row_t  rows[2];
    mcp_str_t       path = mcp_string("/connect/");

    rows[0] = *row;
    rows[1] = *row;

    if (what == 'c') {
        mcp_page_confirm(b, &path, person, row, &row->provider, &row->token);

    } else {
        mcp_page_list(b, &path, person, rows, 2, &row->token);
    }

    CHECK(!b->overflow);
}


static mcp_str_t
harmless(const mcp_str_t *s)
{
    mcp_str_t  x = mcp_string("x"), empty = mcp_string("");

    return s->len ? x : empty;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t           n, m, max;
    fz_in_t          in;
    unsigned         what;
    mcp_buf_t        b, c;
    mcp_str_t        person, plain;
    fz_arena_t       a;
    mcp_page_row_t   row, simple;
    static char      one[SIZE], two[SIZE], bones[SIZE], others[SIZE];

    fz_arena_init(&a);
    in = fz_in(data, size);
    what = fz_byte(&in);

    memset(&row, 0, sizeof(row));
    n = fz_byte(&in);
    row.state = (mcp_page_state_e) (n & 3);
    row.since = n & 4 ? 1700000000 : 0;
    row.used = n & 8 ? 1700000000 : 0;
    row.renewed = n & 16 ? 1700000000 : 0;
    row.expires = n & 32 ? 1700000000 : 0;
    row.name = fz_str("github");

    person = fz_line(&a, &in);
    row.provider = fz_line(&a, &in);
    row.scope = fz_line(&a, &in);
    row.token = fz_rest(&a, &in);

    mcp_buf_init(&b, one, sizeof(one));
    write_page(&b, what, &person, &row);
    seen(&b);

    simple = row;
    plain = harmless(&person);
    simple.provider = harmless(&row.provider);
    simple.token = harmless(&row.token);

    mcp_buf_init(&c, two, sizeof(two));
    write_page(&c, what, &plain, &simple);

    n = skeleton(&b, bones, sizeof(bones));
    m = skeleton(&c, others, sizeof(others));
    CHECK(n == m && memcmp(bones, others, n) == 0);

    /* a character is escaped to six bytes at most, and there is the mark */

    max = person.len % 64 + 1;
    mcp_buf_init(&b, one, sizeof(one));
    mcp_page_escape(&b, &row.provider, max);
    CHECK(!b.overflow && (size_t) (b.pos - b.start) <= 6 * max + 3);
    seen(&b);
    (void) skeleton(&b, bones, sizeof(bones));

    fz_arena_free(&a);

    return 0;
}
