/*
 * mcp_sse.
 *
 * - Events do not depend on where the pieces end.
 * - Together they are the stream, byte for byte; so are the lines of an event.
 * - A field's value is the one that a reader written after the standard's own
 *   words (WHATWG HTML 9.2.6) sees.
 *
 * Input: a byte that cuts, the stream.
 */

#include "fuzz.h"
#include "mcp_sse.h"


typedef struct {
    size_t    ends[4096];
    unsigned  n;
} ends_t;


static void
find(ends_t *e, const uint8_t *data, size_t size, unsigned cut)
{
    size_t                i, n;
    unsigned              seed;
    unsigned char        *copy;
    const unsigned char  *pos;
    mcp_sse_t             s;

    e->n = 0;
    seed = 0;
    mcp_sse_init(&s);

    for (i = 0; i < size; i += n) {
        n = fz_piece(cut, &seed, size - i);
        copy = malloc(n);
        CHECK(copy != NULL);
        memcpy(copy, data + i, n);

        pos = copy;

        while (mcp_sse_find_end(&s, &pos, copy + n) == MCP_OK) {
            CHECK(pos > copy && pos <= copy + n);

            if (e->n < fz_count(e->ends)) {
                e->ends[e->n++] = i + (size_t) (pos - copy);
            }
        }

        CHECK(pos == copy + n);
        free(copy);
    }
}


/* The standard's way: the stream without its BOM, cut at CRLF, LF or CR. */

static void
line_agrees(const mcp_sse_line_t *line, unsigned first)
{
    int         want;
    size_t      i, n;
    mcp_str_t   s, name, value;

    s = line->line;
    n = s.len;

    if (n && s.data[n - 1] == '\n') {
        n--;
    }

    if (n && s.data[n - 1] == '\r' && (n == s.len - 1 || n == s.len)) {
        n--;
    }

    s.len = n;

    if (first && s.len >= 3 && memcmp(s.data, "\xef\xbb\xbf", 3) == 0) {
        s.data += 3;
        s.len -= 3;
    }

    for (i = 0; i < s.len; i++) {
        CHECK(s.data[i] != '\n' && s.data[i] != '\r');
    }

    if (s.len == 0) {
        CHECK(line->field == MCP_SSE_BLANK);
        return;
    }

    for (i = 0; i < s.len && s.data[i] != ':'; i++) { /* void */ }

    name.data = s.data;
    name.len = i;
    value.data = s.data + i;
    value.len = 0;

    if (i < s.len) {
        i++;
        i += (i < s.len && s.data[i] == ' ');
        value.data = s.data + i;
        value.len = s.len - i;
    }

    want = name.len == 0 ? MCP_SSE_COMMENT
           : mcp_str_eq_lit(&name, "data") ? MCP_SSE_DATA
           : mcp_str_eq_lit(&name, "event") ? MCP_SSE_EVENT
           : mcp_str_eq_lit(&name, "id") ? MCP_SSE_ID
           : mcp_str_eq_lit(&name, "retry") ? MCP_SSE_RETRY : MCP_SSE_OTHER;

    CHECK((int) line->field == want);

    if (want != MCP_SSE_COMMENT && want != MCP_SSE_OTHER) {
        CHECK(fz_eq(&line->value, &value));
    }
}


static void
lines(const uint8_t *data, size_t size, unsigned first)
{
    unsigned char        *copy;
    mcp_sse_line_t        line;
    const unsigned char  *pos, *last;

    copy = malloc(size ? size : 1);
    CHECK(copy != NULL);

    if (size) {
        memcpy(copy, data, size);
    }

    pos = copy;
    last = copy + size;

    for ( ;; ) {
        const unsigned char  *at = pos;

        if (mcp_sse_line(&pos, last, first, &line) != MCP_OK) {
            break;
        }

        CHECK(line.line.data == at && line.line.len > 0);
        CHECK(pos == at + line.line.len);
        line_agrees(&line, first);
        first = 0;
    }

    CHECK(pos == last);
    free(copy);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t          begin;
    fz_in_t         in;
    unsigned        i, cut;
    static ends_t   whole, split;

    in = fz_in(data, size);
    cut = fz_byte(&in);
    size = (size_t) (in.end - in.pos);

    find(&whole, in.pos, size, 0);
    find(&split, in.pos, size, cut);

    CHECK(whole.n == split.n);
    CHECK(memcmp(whole.ends, split.ends, whole.n * sizeof(size_t)) == 0);

    begin = 0;

    for (i = 0; i < whole.n; i++) {
        CHECK(whole.ends[i] > begin && whole.ends[i] <= size);
        lines(in.pos + begin, whole.ends[i] - begin, begin == 0);
        begin = whole.ends[i];
    }

    lines(in.pos + begin, size - begin, begin == 0);

    return 0;
}
