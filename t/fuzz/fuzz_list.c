/*
 * mcp_list_filter, against jansson.  A name is forbidden when it begins with
 * "no".
 *
 * - The output, and what is told of it, does not depend on where the pieces
 *   end.
 * - What was filtered to its end is one JSON document, which filtered again is
 *   the same.
 * - No forbidden entry is in any list of it, in whatever letters the list's
 *   name is written.
 * - It is the input with entries taken out, but for cacheScope, icons.
 *
 * Input: a byte that cuts, the document.
 */

#include <strings.h>

#include "fuzz.h"
#include "mcp_list_filter.h"


#define MAX_NAME   64
#define MAX_ENTRY  4096


typedef struct {
    mcp_list_filter_t        f;
    mcp_list_filter_conf_t   conf;
    unsigned char           *buf;
    unsigned char           *out;
    size_t                   len;
    size_t                   size;
    int                      rc;
} run_t;


static int
on_visible(void *data, mcp_list_e list, const mcp_str_t *name)
{
    (void) data;

    CHECK(name->len > 0);
    CHECK(name->len <= (list == MCP_LIST_TASKS ? MCP_LIST_TASK_ID : MAX_NAME));
    CHECK(list >= MCP_LIST_TOOLS && list <= MCP_LIST_TASKS);

    return !(name->len >= 2 && memcmp(name->data, "no", 2) == 0);
}


static int
on_task(void *data, const mcp_str_t *id, const mcp_str_t *ttl)
{
    (void) data;

    CHECK(id->len > 0 && id->len <= MCP_LIST_TASK_ID);
    CHECK(ttl->len <= 20);

    return MCP_OK;
}


static int
on_emit(void *data, const unsigned char *p, size_t len)
{
    run_t  *r = data;

    CHECK(len > 0);

    if (r->len + len > r->size) {
        r->size = 2 * (r->len + len);
        r->out = realloc(r->out, r->size);
        CHECK(r->out != NULL);
    }

    memcpy(r->out + r->len, p, len);
    r->len += len;

    return MCP_OK;
}


static unsigned char *
on_grow(void *data, unsigned char *old, size_t used, size_t size)
{
    unsigned char  *p;

    (void) data;

    CHECK(size <= MAX_ENTRY);
    p = malloc(size);
    CHECK(p != NULL);

    if (used) {
        memcpy(p, old, used);
    }

    free(old);

    return p;
}


static void
run(run_t *r, const uint8_t *data, size_t size, unsigned cut)
{
    size_t          i, n;
    unsigned        seed, eof;
    unsigned char  *copy;

    memset(r, 0, sizeof(run_t));

    r->conf.visible = on_visible;
    r->conf.task = on_task;
    r->conf.emit = on_emit;
    r->conf.grow = on_grow;
    r->conf.data = r;
    r->conf.max_depth = 32;
    r->conf.max_name = MAX_NAME;
    r->conf.max_entry = MAX_ENTRY;

    r->buf = malloc(2 * MAX_NAME + 64);
    CHECK(r->buf != NULL);

    mcp_list_filter_init(&r->f, &r->conf, r->buf);

    i = 0;
    seed = 0;

    do {
        n = fz_piece(cut, &seed, size - i);
        eof = (i + n == size && (cut & 1 || n == 0 || cut == 0));

        copy = malloc(n ? n : 1);
        CHECK(copy != NULL);

        if (n) {
            memcpy(copy, data + i, n);
        }

        r->rc = mcp_list_filter_feed(&r->f, copy, n, eof);
        i += n;
        free(copy);

        CHECK(r->rc == MCP_ERROR || r->rc == (eof ? MCP_OK : MCP_AGAIN));
        CHECK((r->rc == MCP_ERROR) == (r->f.error != NULL));

    } while (r->rc == MCP_AGAIN);

    free(r->f.hold);
    free(r->buf);
}


static const char *
name_key(const char *list)
{
    return strcasecmp(list, "tools") == 0 ? "name"
           : strcasecmp(list, "prompts") == 0 ? "name"
           : strcasecmp(list, "resources") == 0 ? "uri"
           : strcasecmp(list, "resourceTemplates") == 0 ? "uriTemplate"
           : strcasecmp(list, "tasks") == 0 ? "taskId" : NULL;
}


/* No list of this result has a forbidden entry. */

static void
clean(json_t *result)
{
    size_t       i;
    json_t      *list, *entry, *name;
    const char  *key;

    json_object_foreach(result, key, list) {

        if (name_key(key) == NULL || !json_is_array(list)) {
            continue;
        }

        json_array_foreach(list, i, entry) {
            CHECK(json_is_object(entry));
            name = json_object_get(entry, name_key(key));
            CHECK(json_is_string(name) && json_string_length(name) > 0);
            CHECK(strncmp(json_string_value(name), "no", 2) != 0);
        }
    }
}


static void
clean_message(json_t *m)
{
    json_t  *result;

    result = json_object_get(m, "result");
    clean(result);
    clean(json_object_get(result, "result"));
    clean(json_object_get(json_object_get(m, "params"), "result"));
}


/* out is in with elements of lists taken out. */

static int
within(json_t *in, json_t *out, const char *key, unsigned top)
{
    size_t       i, k;
    json_t      *v;
    const char  *name;

    if (key && strcasecmp(key, "cacheScope") == 0 && json_is_string(out)) {
        return 1;
    }

    if (json_typeof(in) != json_typeof(out)) {
        return 0;
    }

    if (json_is_object(in)) {
        if (json_object_size(in) != json_object_size(out)) {
            return 0;
        }

        json_object_foreach(out, name, v) {
            if (json_object_get(in, name) == NULL
                || !within(json_object_get(in, name), v, name, 0))
            {
                return 0;
            }
        }

        return 1;
    }

    if (!json_is_array(in)) {
        return json_equal(in, out);
    }

    if (key && strcasecmp(key, "icons") == 0 && json_array_size(out) == 0) {
        return 1;
    }

    if (!top && (key == NULL || name_key(key) == NULL)
        && json_array_size(in) != json_array_size(out))
    {
        return 0;
    }

    k = 0;

    json_array_foreach(out, i, v) {
        while (k < json_array_size(in)
               && !within(json_array_get(in, k), v, NULL, 0))
        {
            k++;
        }

        if (k++ == json_array_size(in)) {
            return 0;
        }
    }

    return 1;
}


static void
check_tree(const run_t *r, const uint8_t *data, size_t size)
{
    size_t         i;
    json_t        *in, *out, *m;
    json_error_t   error;

    in = json_loadb((const char *) data, size, JSON_DECODE_ANY
                    | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &error);
    out = json_loadb((const char *) r->out, r->len, JSON_DECODE_ANY
                     | JSON_ALLOW_NUL, &error);

    if (out == NULL) {
        CHECK(json_error_code(&error) == json_error_numeric_overflow
              || json_error_code(&error) == json_error_null_byte_in_key);
        json_decref(in);
        return;
    }

    if (json_is_array(out)) {
        json_array_foreach(out, i, m) {
            clean_message(m);
        }

    } else {
        clean_message(out);
    }

    if (in) {
        CHECK(within(in, out, NULL, 1));
    }

    json_decref(in);
    json_decref(out);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t     n;
    run_t      whole, split, again;
    fz_in_t    in;
    unsigned   cut;

    in = fz_in(data, size);
    cut = fz_byte(&in);
    size = (size_t) (in.end - in.pos);

    run(&whole, in.pos, size, 0);
    run(&split, in.pos, size, cut);

    n = whole.len < split.len ? whole.len : split.len;
    CHECK(n == 0 || memcmp(whole.out, split.out, n) == 0);

    /* an entry that is too large is one only when it has to be held */

    CHECK(whole.rc == split.rc || size > MAX_ENTRY);

    if (whole.rc == MCP_OK && split.rc == MCP_OK) {
        CHECK(whole.len == split.len);
        CHECK(whole.f.outcome == split.f.outcome);
        CHECK(whole.f.has_list == split.f.has_list);
        CHECK(whole.f.is_error == split.f.is_error);
        CHECK(whole.f.changed == split.f.changed);
        CHECK(whole.f.kept == split.f.kept);
        CHECK(whole.f.removed == split.f.removed);
        CHECK(whole.f.rpc_code == split.f.rpc_code);
        CHECK(whole.f.foreign == split.f.foreign);
        CHECK(whole.f.id_len == split.f.id_len);
        CHECK(memcmp(whole.f.id, split.f.id, whole.f.id_len) == 0);
    }

    if (whole.rc == MCP_OK) {
        run(&again, whole.out, whole.len, 0);
        CHECK(again.rc == MCP_OK && again.len == whole.len);
        CHECK(memcmp(again.out, whole.out, whole.len) == 0);
        CHECK(again.f.removed == 0 && again.f.kept == whole.f.kept);
        free(again.out);

        check_tree(&whole, in.pos, size);

        if (!whole.f.changed) {
            CHECK(whole.len == size && memcmp(whole.out, in.pos, size) == 0);
        }
    }

    free(whole.out);
    free(split.out);

    return 0;
}
