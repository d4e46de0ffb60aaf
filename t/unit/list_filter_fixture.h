/*
 * What the tests of core/mcp_list_filter share: a filter whose output is kept,
 * ways to feed it, and the words that their documents are made of.
 *
 * A name is forbidden when it begins with "no".  Pieces are separate
 * allocations, freed after the call, so that ASan sees a byte read too far or
 * too late; the buffer for an entry moves each time it grows, as in an arena.
 * run_end() frees what run_begin() and the callbacks allocated.
 */

#ifndef LIST_FILTER_FIXTURE_H
#define LIST_FILTER_FIXTURE_H


#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "mcp_list_filter.h"


#define MAX_NAME   32
#define MAX_ENTRY  2000
#define BUF_SIZE   (2 * MAX_NAME + 64)


enum {
    HAS_LIST = 0x01,
    IS_ERROR = 0x02,
    INPUT = 0x04,
    BATCH = 0x08,
    CHANGED = 0x10
};


typedef struct {
    mcp_list_filter_t        f;
    mcp_list_filter_conf_t   conf;
    unsigned char           *buf;
    char                    *out;
    size_t                   len;
    size_t                   size;
    unsigned                 emits;
    unsigned                 asked;
    unsigned                 last_list;
    size_t                   grown;         /* the largest buffer asked for */
    unsigned                 emit_fails_at;
    unsigned                 grow_fails;
} run_t;


#define R(s)   "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{" s "}}"
#define T(s)   R("\"tools\":[" s "]")
#define A      "{\"name\":\"a\"}"
#define B      "{\"name\":\"b\"}"
#define C      "{\"name\":\"c\"}"
#define N      "{\"name\":\"no\"}"
#define M      "{\"name\":\"no2\",\"x\":[{}]}"


static int
on_visible(void *data, mcp_list_e list, const mcp_str_t *name)
{
    run_t  *r = data;

    assert_true(name->len > 0 && name->len <= MAX_NAME);

    r->asked++;
    r->last_list = list;

    return !(name->len >= 2 && memcmp(name->data, "no", 2) == 0);
}


static int
on_emit(void *data, const unsigned char *p, size_t len)
{
    run_t  *r = data;

    assert_true(len > 0);

    if (++r->emits == r->emit_fails_at) {
        return MCP_ERROR;
    }

    if (r->len + len > r->size) {
        r->size = 2 * (r->len + len);
        r->out = realloc(r->out, r->size);
        assert_non_null(r->out);
    }

    memcpy(r->out + r->len, p, len);
    r->len += len;

    return MCP_OK;
}


/* Always moves, as an arena does. */

static unsigned char *
on_grow(void *data, unsigned char *old, size_t used, size_t size)
{
    run_t          *r = data;
    unsigned char  *p;

    if (r->grow_fails) {
        return NULL;
    }

    p = malloc(size);
    assert_non_null(p);

    if (used) {
        memcpy(p, old, used);
    }

    free(old);
    r->grown = size > r->grown ? size : r->grown;

    return p;
}


static void
run_begin(run_t *r)
{
    memset(r, 0, sizeof(run_t));

    r->conf.visible = on_visible;
    r->conf.emit = on_emit;
    r->conf.grow = on_grow;
    r->conf.data = r;
    r->conf.max_depth = 16;
    r->conf.max_name = MAX_NAME;
    r->conf.max_entry = MAX_ENTRY;

    r->buf = malloc(BUF_SIZE);
    assert_non_null(r->buf);

    mcp_list_filter_init(&r->f, &r->conf, r->buf);
}


static void
run_end(run_t *r)
{
    free(r->f.hold);
    free(r->buf);
    free(r->out);
}


static int
feed(run_t *r, const char *text, size_t len, unsigned eof)
{
    int             rc;
    unsigned char  *copy;

    copy = malloc(len ? len : 1);
    assert_non_null(copy);

    if (len) {
        memcpy(copy, text, len);
    }

    rc = mcp_list_filter_feed(&r->f, copy, len, eof);
    free(copy);

    if (rc == MCP_ERROR) {
        assert_non_null(r->f.error);

    } else {
        assert_int_equal(rc, eof ? MCP_OK : MCP_AGAIN);
    }

    return rc;
}


/* Pieces of max bytes at most; the end may be known with the last or after. */

static int
feed_pieces(run_t *r, const char *text, size_t len, size_t max)
{
    size_t  i, n;

    for (i = 0; i < len; i += n) {
        n = max == 1 ? 1 : 1 + (size_t) rand() % max;
        n = n < len - i ? n : len - i;

        if (feed(r, text + i, n, 0) == MCP_ERROR) {
            return MCP_ERROR;
        }
    }

    return feed(r, NULL, 0, 1);
}


static unsigned
flags(const mcp_list_filter_t *f)
{
    return (f->has_list ? HAS_LIST : 0) | (f->is_error ? IS_ERROR : 0)
           | (f->input_required ? INPUT : 0) | (f->batch ? BATCH : 0)
           | (f->changed ? CHANGED : 0);
}


#endif /* LIST_FILTER_FIXTURE_H */
