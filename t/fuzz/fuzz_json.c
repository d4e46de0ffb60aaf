/*
 * mcp_json_scan and mcp_json_tree, against jansson.
 *
 * - The scanner accepts what jansson accepts, and the values agree, but for
 *   what differs() lists.
 * - The outcome, the events, their text and offsets do not depend on where the
 *   pieces end.
 * - The tree of mcp_json_tree() is jansson's.
 * - Skipping a container gives the same answer as reading it.
 *
 * Input: a byte that cuts, a byte of options, the document.
 */

#include <math.h>

#include "fuzz.h"
#include "mcp_json_scan.h"
#include "mcp_json_tree.h"


#define DEPTH  64


typedef struct {
    char        *text;                  /* events, one a line */
    size_t       len;
    size_t       size;
    int          rc;
    unsigned     too_deep;
    uint64_t     offset;
    const char  *error;
} trace_t;


static void
trace_put(trace_t *t, const void *data, size_t len)
{
    if (t->len + len > t->size) {
        t->size = 2 * (t->len + len) + 256;
        t->text = realloc(t->text, t->size);
        CHECK(t->text != NULL);
    }

    if (len) {
        memcpy(t->text + t->len, data, len);
    }

    t->len += len;
}


static void
trace_event(trace_t *t, const mcp_json_event_t *ev)
{
    int   n;
    char  line[128];

    n = snprintf(line, sizeof(line), "%d %u %llu %llu %d%d%d ",
                 (int) ev->type, ev->depth, (unsigned long long) ev->start,
                 (unsigned long long) ev->end, ev->captured, ev->truncated,
                 ev->escaped);
    trace_put(t, line, (size_t) n);

    if (ev->type == MCP_JSON_KEY || ev->captured) {
        trace_put(t, ev->text.data, ev->text.len);
    }

    trace_put(t, "\n", 1);
}


/* skip: each n-th container is skipped; 0: none. */

static void
scan(trace_t *t, const uint8_t *data, size_t size, unsigned cut, unsigned skip,
    size_t scratch_size)
{
    int                   rc;
    size_t                i, n;
    unsigned              seed, containers, eof;
    unsigned char        *copy, *scratch;
    const unsigned char  *pos, *last;
    mcp_json_scan_t       s;
    mcp_json_event_t      ev;

    memset(t, 0, sizeof(*t));

    scratch = malloc(scratch_size);
    CHECK(scratch != NULL);

    mcp_json_init(&s, DEPTH, scratch, scratch_size);
    s.capture = 1;

    i = 0;
    seed = 0;
    containers = 0;
    rc = MCP_AGAIN;

    while (rc == MCP_AGAIN) {
        n = fz_piece(cut, &seed, size - i);
        eof = (i + n == size && (cut & 1 || n == 0));

        copy = malloc(n ? n : 1);
        CHECK(copy != NULL);

        if (n) {
            memcpy(copy, data + i, n);
        }

        pos = copy;
        last = copy + n;
        i += n;

        while ((rc = mcp_json_next(&s, &pos, last, eof, &ev)) == MCP_OK) {
            trace_event(t, &ev);
            CHECK(ev.start <= ev.end && ev.end <= size);

            if (ev.type == MCP_JSON_DONE) {
                break;
            }

            if (skip
                && (ev.type == MCP_JSON_OBJECT || ev.type == MCP_JSON_ARRAY)
                && ++containers % skip == 0)
            {
                mcp_json_skip(&s);
            }
        }

        CHECK(rc != MCP_AGAIN || (pos == last && !eof));
        free(copy);
    }

    t->rc = rc;
    t->error = s.error;
    t->offset = s.offset;
    t->too_deep = s.too_deep;

    CHECK((rc == MCP_ERROR) == (s.error != NULL));
    free(scratch);
}


/* The events of the tree against those of the scan, in the order of the
 * document: jansson keeps the order of keys. */

typedef struct {
    mcp_json_scan_t       s;
    const unsigned char  *pos;
    const unsigned char  *last;
} walk_t;


static void
walk_next(walk_t *w, mcp_json_event_t *ev)
{
    CHECK(mcp_json_next(&w->s, &w->pos, w->last, 1, ev) == MCP_OK);
}


static void
walk_value(walk_t *w, const mcp_json_event_t *ev, json_t *v)
{
    char                  number[64];
    size_t                i;
    json_t               *e;
    mcp_json_event_t      next;

    switch (json_typeof(v)) {

    case JSON_OBJECT:
        CHECK(ev->type == MCP_JSON_OBJECT);

        for (i = 0; i < json_object_size(v); i++) {
            walk_next(w, &next);
            CHECK(next.type == MCP_JSON_KEY && !next.truncated);

            e = json_object_getn(v, (char *) next.text.data, next.text.len);
            CHECK(e != NULL);

            walk_next(w, &next);
            walk_value(w, &next, e);
        }

        walk_next(w, &next);
        CHECK(next.type == MCP_JSON_OBJECT_END);
        return;

    case JSON_ARRAY:
        CHECK(ev->type == MCP_JSON_ARRAY);

        for (i = 0; i < json_array_size(v); i++) {
            walk_next(w, &next);
            walk_value(w, &next, json_array_get(v, i));
        }

        walk_next(w, &next);
        CHECK(next.type == MCP_JSON_ARRAY_END);
        return;

    case JSON_STRING:
        CHECK(ev->type == MCP_JSON_STRING && ev->captured);
        CHECK(ev->text.len == json_string_length(v));
        CHECK(ev->text.len == 0
              || memcmp(ev->text.data, json_string_value(v), ev->text.len)
                 == 0);
        return;

    case JSON_INTEGER:
    case JSON_REAL:
        CHECK(ev->type == MCP_JSON_NUMBER && ev->captured);

        if (ev->text.len < sizeof(number)) {
            memcpy(number, ev->text.data, ev->text.len);
            number[ev->text.len] = '\0';

            CHECK(json_is_integer(v)
                  ? strtoll(number, NULL, 10) == json_integer_value(v)
                  : strtod(number, NULL) == json_real_value(v));
        }

        return;

    case JSON_TRUE:
        CHECK(ev->type == MCP_JSON_TRUE);
        return;

    case JSON_FALSE:
        CHECK(ev->type == MCP_JSON_FALSE);
        return;

    default:
        CHECK(ev->type == MCP_JSON_NULL);
    }
}


static void
walk(const uint8_t *data, size_t size, json_t *tree)
{
    walk_t             w;
    unsigned char     *scratch;
    mcp_json_event_t   ev;

    scratch = malloc(size + 64);
    CHECK(scratch != NULL);

    mcp_json_init(&w.s, DEPTH, scratch, size + 64);
    w.s.capture = 1;
    w.pos = data;
    w.last = data + size;

    walk_next(&w, &ev);
    walk_value(&w, &ev, tree);
    walk_next(&w, &ev);
    CHECK(ev.type == MCP_JSON_DONE);

    free(scratch);
}


/*
 * Where the two may differ:
 * - numbers that a double or an int64 cannot hold: RFC 8259 has no limit, and
 *   the scanner gives the lexeme;
 * - a NUL in a key, which jansson cannot hold;
 * - a NUL behind a number, which jansson loses when it puts it back;
 * - duplicate keys: refused here by jansson's flag, left to the callers by the
 *   scanner;
 * - depth: jansson's limit is 2048, the scanner's is its caller's.
 */

static int
differs(const trace_t *t, const json_error_t *error, const uint8_t *data,
    size_t size)
{
    if (t->rc == MCP_ERROR) {
        return t->too_deep || (size && memchr(data, '\0', size));
    }

    return json_error_code(error) == json_error_numeric_overflow
           || json_error_code(error) == json_error_null_byte_in_key
           || json_error_code(error) == json_error_duplicate_key
           || json_error_code(error) == json_error_stack_overflow;
}


static unsigned
depth(json_t *v)
{
    size_t       i;
    json_t      *e;
    unsigned     d, max;
    const char  *key;

    max = 0;

    json_object_foreach(v, key, e) {
        d = depth(e);
        max = d > max ? d : max;
    }

    json_array_foreach(v, i, e) {
        d = depth(e);
        max = d > max ? d : max;
    }

    return max + (json_is_object(v) || json_is_array(v));
}


/* mcp_json_tree() makes the tree that jansson makes, of whatever it takes. */

static void
same_tree(const uint8_t *data, size_t size)
{
    int            oom;
    json_t        *ours, *theirs;
    json_error_t   error;

    theirs = json_loadb((const char *) data, size, JSON_REJECT_DUPLICATES,
                        &error);
    ours = mcp_json_tree(data, size, MCP_JSON_TREE_DEPTH, &oom);
    CHECK(!oom);

    if (ours) {
        CHECK(json_equal(ours, theirs));

    } else if (json_is_object(theirs)) {
        CHECK(memchr(data, '\0', size) || depth(theirs) > MCP_JSON_TREE_DEPTH);
    }

    json_decref(ours);
    json_decref(theirs);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t        *tree;
    fz_in_t        in;
    trace_t        whole, split, skipped;
    unsigned       cut, options;
    json_error_t   error;

    in = fz_in(data, size);
    cut = fz_byte(&in);
    options = fz_byte(&in);
    size = (size_t) (in.end - in.pos);

    scan(&whole, in.pos, size, 0, 0, size + 64);
    scan(&split, in.pos, size, cut, 0, size + 64);

    CHECK(whole.rc == split.rc && whole.offset == split.offset);
    CHECK(whole.error == split.error);
    CHECK(whole.len == split.len);
    CHECK(whole.len == 0 || memcmp(whole.text, split.text, whole.len) == 0);
    free(split.text);

    scan(&skipped, in.pos, size, cut, 1 + options % 3, 64);
    CHECK(whole.rc == skipped.rc && whole.offset == skipped.offset);
    CHECK(whole.error == skipped.error);
    free(skipped.text);

    tree = json_loadb((const char *) in.pos, size,
                      JSON_DECODE_ANY | JSON_ALLOW_NUL
                      | JSON_REJECT_DUPLICATES, &error);

    if (!((tree != NULL) == (whole.rc == MCP_OK))) {
        if (!differs(&whole, &error, in.pos, size)) {
            fprintf(stderr, "scanner: %s, jansson: %s\n",
                    whole.error ? whole.error : "good",
                    tree ? "good" : error.text);
            abort();
        }

    } else if (tree) {
        walk(in.pos, size, tree);
    }

    json_decref(tree);
    free(whole.text);

    same_tree(in.pos, size);

    return 0;
}
