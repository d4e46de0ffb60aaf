/*
 * mcp_http_parse: a response of an HTTP server.
 *
 * - The outcome does not depend on how the bytes were cut, nor does the body.
 * - What is complete has a status of 200 to 599, no more body than max_body,
 *   and its head is one that a strict reader would take: a status line of
 *   HTTP/1.x, no NUL, no bare CR in a line.
 * - What follows a complete response changes nothing.
 *
 * Input: a byte that cuts (its highest bit: the peer closes cleanly), the
 * response.
 */

#include "fuzz.h"
#include "mcp_http_parse.h"


#define MAX_HEADER  1024
#define MAX_BODY    2048


typedef struct {
    mcp_http_t      h;
    int             rc;
    unsigned        eof;                /* it took the end to know */
    size_t          used;
    unsigned char   body[MAX_BODY];
    size_t          len;
} run_t;


static int
on_body(void *ctx, const unsigned char *data, size_t len)
{
    run_t  *r = ctx;

    CHECK(len <= MAX_BODY - r->len);

    if (len) {
        memcpy(r->body + r->len, data, len);
    }

    r->len += len;

    return MCP_OK;
}


static void
run(run_t *r, const uint8_t *data, size_t size, unsigned cut, int clean)
{
    size_t          i, n;
    unsigned        seed;
    unsigned char  *line, *copy;

    memset(r, 0, sizeof(*r));

    line = malloc(MAX_HEADER);
    CHECK(line != NULL);

    r->h.line = line;
    r->h.max_header = MAX_HEADER;
    r->h.max_body = MAX_BODY;
    r->h.body = on_body;
    r->h.ctx = r;
    mcp_http_init(&r->h);

    r->rc = MCP_AGAIN;
    seed = 0;

    for (i = 0; i < size && r->rc == MCP_AGAIN; i += n) {
        n = fz_piece(cut, &seed, size - i);
        copy = malloc(n);
        CHECK(copy != NULL);
        memcpy(copy, data + i, n);
        r->rc = mcp_http_feed(&r->h, copy, n);
        free(copy);
    }

    r->used = i;

    if (r->rc == MCP_AGAIN) {
        r->eof = 1;
        r->rc = mcp_http_eof(&r->h, clean);
        CHECK(r->rc != MCP_AGAIN);
    }

    CHECK((r->rc == MCP_ERROR) == (r->h.error != NULL));
    free(line);
}


static void
head(const run_t *r, const uint8_t *data, size_t size)
{
    size_t                i;
    const unsigned char  *end, *bare;

    CHECK(r->h.status >= 200 && r->h.status <= 599);
    CHECK(size >= 12 && memcmp(data, "HTTP/1.", 7) == 0);
    CHECK(r->h.content_type.len <= MCP_HTTP_MAX_CONTENT_TYPE);
    CHECK(r->h.max_age >= -1 && r->h.max_age <= MCP_HTTP_MAX_AGE);
    CHECK(r->h.retry_after >= -1);

    /* a line may end in LF alone */

    end = memmem(data, size, "\n\r\n", 3);
    bare = memmem(data, size, "\n\n", 2);
    end = end == NULL || (bare && bare < end) ? bare : end;

    if (end) {
        for (i = 0; data + i < end; i++) {
            CHECK(data[i] != '\0');
            CHECK(data[i] != '\r' || data[i + 1] == '\n');
        }
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int             clean;
    fz_in_t         in;
    unsigned        cut;
    unsigned char  *more;
    static run_t    whole, split, longer;

    in = fz_in(data, size);
    cut = fz_byte(&in);
    clean = cut >> 7;
    cut &= 0x7f;
    size = (size_t) (in.end - in.pos);

    run(&whole, in.pos, size, 0, clean);
    run(&split, in.pos, size, cut, clean);

    CHECK(whole.rc == split.rc && whole.eof == split.eof);
    CHECK(whole.h.error == split.h.error);
    CHECK(whole.h.status == split.h.status);
    CHECK(whole.rc != MCP_OK || whole.len == split.len);
    CHECK(memcmp(whole.body, split.body,
                 whole.len < split.len ? whole.len : split.len) == 0);
    CHECK(whole.h.max_age == split.h.max_age);
    CHECK(whole.h.retry_after == split.h.retry_after);
    CHECK(fz_eq(&whole.h.content_type, &split.h.content_type));

    if (whole.rc == MCP_OK) {
        head(&whole, in.pos, size);

        if (!whole.eof) {
            more = malloc(size + 10);
            CHECK(more != NULL);
            memcpy(more, in.pos, size);
            memcpy(more + size, "HTTP/1.1 5", 10);

            run(&longer, more, size + 10, cut, clean);
            CHECK(longer.rc == MCP_OK && longer.len == whole.len);
            free(more);
        }
    }

    return 0;
}
