/*
 * Events of the scanner -> jansson's tree.  See mcp_json_tree.h.
 *
 * Always true: each value is part of the tree before the next event is asked
 * for, so that what was built is freed with the root.
 * lint: heap, room for the strings of one document, freed before return
 */

#include "mcp_json_tree.h"
#include "mcp_json_scan.h"

#include <stdlib.h>

#include <openssl/crypto.h>


typedef struct {
    mcp_json_scan_t       scan;
    const unsigned char  *pos;
    const unsigned char  *last;
    char                 *key;          /* of the next member */
    json_t               *stack[MCP_JSON_TREE_DEPTH];
    unsigned              depth;
    int                   oom;
} mcp_json_tree_t;


static int mcp_json_tree_read(mcp_json_tree_t *t);
static int mcp_json_tree_key(mcp_json_tree_t *t, const mcp_str_t *text);
static int mcp_json_tree_add(mcp_json_tree_t *t, json_t *value,
    unsigned container);
static json_t *mcp_json_tree_value(mcp_json_tree_t *t,
    const mcp_json_event_t *ev);
static json_t *mcp_json_tree_number(mcp_json_tree_t *t,
    const mcp_str_t *text);


json_t *
mcp_json_tree(const unsigned char *data, size_t len, unsigned max_depth,
    int *oom)
{
    int               rc;
    size_t            size;
    mcp_json_tree_t   t;
    unsigned char    *room;

    *oom = 0;

    if (max_depth > MCP_JSON_TREE_DEPTH || len > (size_t) -1 / 4) {
        return NULL;
    }

    /* a string, however it is escaped, and a key */

    size = len + 64;

    room = malloc(2 * size);
    if (room == NULL) {
        *oom = 1;
        return NULL;
    }

    mcp_json_init(&t.scan, max_depth, room, size);
    t.scan.capture = 1;

    t.pos = data;
    t.last = data + len;
    t.key = (char *) room + size;
    t.stack[0] = NULL;
    t.depth = 0;
    t.oom = 0;

    rc = mcp_json_tree_read(&t);

    /* there may be tokens */

    OPENSSL_cleanse(room, 2 * size);
    free(room);

    if (rc != MCP_OK) {
        *oom = t.oom;
        json_decref(t.stack[0]);
        return NULL;
    }

    return t.stack[0];
}


static int
mcp_json_tree_read(mcp_json_tree_t *t)
{
    json_t            *value;
    mcp_json_event_t   ev;

    for ( ;; ) {

        if (mcp_json_next(&t->scan, &t->pos, t->last, 1, &ev) != MCP_OK) {
            return MCP_ERROR;
        }

        switch (ev.type) {

        case MCP_JSON_DONE:
            return MCP_OK;

        case MCP_JSON_OBJECT_END:
        case MCP_JSON_ARRAY_END:
            t->depth--;
            continue;

        case MCP_JSON_KEY:
            if (mcp_json_tree_key(t, &ev.text) != MCP_OK) {
                return MCP_ERROR;
            }

            continue;

        default:
            break;
        }

        /* a document is an object */

        if (t->depth == 0 && ev.type != MCP_JSON_OBJECT) {
            return MCP_ERROR;
        }

        value = mcp_json_tree_value(t, &ev);

        if (value == NULL
            || mcp_json_tree_add(t, value, ev.type == MCP_JSON_OBJECT
                                           || ev.type == MCP_JSON_ARRAY)
               != MCP_OK)
        {
            return MCP_ERROR;
        }
    }
}


static int
mcp_json_tree_key(mcp_json_tree_t *t, const mcp_str_t *text)
{
    if (text->len && memchr(text->data, '\0', text->len)) {
        return MCP_ERROR;
    }

    if (text->len) {
        memcpy(t->key, text->data, text->len);
    }

    t->key[text->len] = '\0';

    return json_object_get(t->stack[t->depth - 1], t->key) == NULL
           ? MCP_OK : MCP_ERROR;
}


/* Takes the reference, also when it fails. */
static int
mcp_json_tree_add(mcp_json_tree_t *t, json_t *value, unsigned container)
{
    int      rc;
    json_t  *in;

    if (t->depth) {
        in = t->stack[t->depth - 1];

        rc = json_is_object(in)
             ? json_object_set_new_nocheck(in, t->key, value)
             : json_array_append_new(in, value);

        if (rc != 0) {
            t->oom = 1;
            return MCP_ERROR;
        }
    }

    if (container) {
        t->stack[t->depth++] = value;
    }

    return MCP_OK;
}


static json_t *
mcp_json_tree_value(mcp_json_tree_t *t, const mcp_json_event_t *ev)
{
    json_t  *value;

    switch (ev->type) {

    case MCP_JSON_OBJECT:
        value = json_object();
        break;

    case MCP_JSON_ARRAY:
        value = json_array();
        break;

    case MCP_JSON_STRING:
        if (ev->text.len && memchr(ev->text.data, '\0', ev->text.len)) {
            return NULL;
        }

        value = json_stringn_nocheck((const char *) ev->text.data,
                                     ev->text.len);
        break;

    case MCP_JSON_NUMBER:
        return mcp_json_tree_number(t, &ev->text);

    case MCP_JSON_TRUE:
        return json_true();

    case MCP_JSON_FALSE:
        return json_false();

    default:
        return json_null();
    }

    t->oom = (value == NULL);

    return value;
}


/* Fractions and exponents are jansson's to read. */
static json_t *
mcp_json_tree_number(mcp_json_tree_t *t, const mcp_str_t *text)
{
    size_t         i;
    json_t        *value;
    int64_t        n;
    unsigned       minus, digit;
    json_error_t   error;

    minus = (text->data[0] == '-');

    for (i = minus; i < text->len; i++) {

        if (text->data[i] < '0' || text->data[i] > '9') {
            value = json_loadb((const char *) text->data, text->len,
                               JSON_DECODE_ANY, &error);
            t->oom = (value == NULL && json_error_code(&error)
                                       == json_error_out_of_memory);
            return value;
        }
    }

    /* counted below zero, where there is room for one more */

    n = 0;

    for (i = minus; i < text->len; i++) {
        digit = text->data[i] - '0';

        if (n < (INT64_MIN + (int64_t) digit) / 10) {
            return NULL;
        }

        n = n * 10 - (int64_t) digit;
    }

    if (!minus && n == INT64_MIN) {
        return NULL;
    }

    value = json_integer(minus ? n : -n);
    t->oom = (value == NULL);

    return value;
}
