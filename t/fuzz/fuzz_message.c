/*
 * mcp_message, against jansson.
 *
 * - The outcome does not depend on where the pieces end, nor does anything that
 *   is kept.
 * - What is accepted is one JSON object, without a key twice in what decides;
 *   method, target and id are what jansson reads there.
 * - A modern message that passes mcp_message_check() has mirror headers that
 *   say what the body says.
 *
 * Input: a byte that cuts, the lines of MCP-Protocol-Version, Mcp-Method and
 * Mcp-Name ("-": absent), the body.
 */

#include "fuzz.h"
#include "mcp_message.h"


static const char *const  texts[] = { "/a", "/a/b", "/b/1/c", "/x" };


typedef struct {
    int             rc;
    mcp_message_t   m;
} outcome_t;


static void
feed(outcome_t *o, fz_arena_t *a, const mcp_message_conf_t *conf,
    const uint8_t *data, size_t size, unsigned cut)
{
    size_t          i, n;
    unsigned        seed, eof;
    unsigned char  *copy;

    memset(&o->m, 0xa5, sizeof(o->m));
    CHECK(mcp_message_init(&o->m, conf, &a->mem) == MCP_OK);

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

        o->rc = mcp_message_feed(&o->m, copy, n, eof);
        i += n;
        free(copy);

        CHECK(o->rc == MCP_ERROR || o->rc == (eof ? MCP_OK : MCP_AGAIN));
        CHECK(o->rc != MCP_ERROR || o->m.fault.reason != NULL);

    } while (o->rc == MCP_AGAIN);
}


static void
same(const mcp_message_t *a, const mcp_message_t *b)
{
    unsigned  i;

    CHECK(a->kind == b->kind && a->method_class == b->method_class);
    CHECK(a->target_kind == b->target_kind);
    CHECK(fz_eq(&a->method, &b->method) && fz_eq(&a->id, &b->id));
    CHECK(fz_eq(&a->target, &b->target) && fz_eq(&a->task, &b->task));
    CHECK(fz_eq(&a->version, &b->version));
    CHECK(fz_eq(&a->agent_name, &b->agent_name));
    CHECK(fz_eq(&a->agent_version, &b->agent_version));
    CHECK(fz_eq(&a->traceparent, &b->traceparent));
    CHECK(a->nuris == b->nuris && a->ntasks == b->ntasks);
    CHECK(a->args_start == b->args_start && a->args_end == b->args_end);
    CHECK(a->nargs == b->nargs && a->narg_keys == b->narg_keys);
    CHECK(a->claim == b->claim && a->capabilities == b->capabilities);
    CHECK(a->elicit_url == b->elicit_url);

    for (i = 0; i < a->narg_keys; i++) {
        CHECK(fz_eq(&a->arg_keys[i], &b->arg_keys[i]));
    }

    for (i = 0; i < fz_count(texts); i++) {
        CHECK(a->values[i].type == b->values[i].type);
        CHECK(fz_eq(&a->values[i].text, &b->values[i].text));
    }
}


static int
is_text(json_t *v, const mcp_str_t *s)
{
    return json_is_string(v) && json_string_length(v) == s->len
           && (s->len == 0
               || memcmp(json_string_value(v), s->data, s->len) == 0);
}


static void
agrees(const mcp_message_t *m, const uint8_t *data, size_t size)
{
    json_t        *root, *params, *id, *v;
    const char    *key;
    json_error_t   error;

    /* numbers may be larger, and arguments have keys with NUL, than jansson
     * can hold; keys twice are refused only where they decide */

    root = json_loadb((const char *) data, size, JSON_ALLOW_NUL, &error);

    if (root == NULL) {
        CHECK(json_error_code(&error) == json_error_numeric_overflow
              || json_error_code(&error) == json_error_null_byte_in_key);
        return;
    }

    CHECK(json_is_object(root));

    v = json_object_get(root, "method");
    CHECK((m->kind == MCP_RESPONSE) == (v == NULL));
    CHECK(v == NULL || is_text(v, &m->method));

    id = json_object_get(root, "id");
    CHECK(m->kind != MCP_REQUEST || id != NULL);

    if (json_is_string(id)) {
        CHECK(m->id.len >= 2 && m->id.data[0] == '"');
    }

    params = json_object_get(root, "params");

    key = m->target_kind == MCP_TARGET_TOOL
          || m->target_kind == MCP_TARGET_PROMPT ? "name"
          : m->target_kind == MCP_TARGET_RESOURCE ? "uri" : NULL;

    /* completion/complete has its target in params.ref */

    if (key && !json_object_get(params, "ref") && m->kind != MCP_RESPONSE) {
        CHECK(is_text(json_object_get(params, key), &m->target));
    }

    v = json_object_get(params, "arguments");
    CHECK((m->args_end > m->args_start)
          == (v != NULL && m->args_end > m->args_start));
    CHECK(m->args_end <= size);

    json_decref(root);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int                  i;
    fz_in_t              in;
    unsigned             cut;
    mcp_str_t            text, h[3];
    fz_arena_t           a;
    outcome_t            whole, split;
    const char          *error;
    mcp_mirror_t         mirror;
    mcp_pointer_t        pointers[fz_count(texts)];
    mcp_message_conf_t   conf;

    fz_arena_init(&a);
    in = fz_in(data, size);
    cut = fz_byte(&in);

    for (i = 0; i < 3; i++) {
        h[i] = fz_line(&a, &in);

        if (mcp_str_eq_lit(&h[i], "-")) {
            mcp_str_null(&h[i]);
        }
    }

    mirror.protocol_version = h[0];
    mirror.method = h[1];
    mirror.name = h[2];

    for (i = 0; i < (int) fz_count(texts); i++) {
        text = fz_str(texts[i]);
        CHECK(mcp_pointer_compile(&pointers[i], &text, &a.mem, &error)
              == MCP_OK);
    }

    memset(&conf, 0, sizeof(conf));
    conf.max_depth = 32;
    conf.max_id = 64;
    conf.max_name = 128;
    conf.max_value = 64;
    conf.pointers = pointers;
    conf.npointers = fz_count(texts);

    size = (size_t) (in.end - in.pos);
    feed(&whole, &a, &conf, in.pos, size, 0);
    feed(&split, &a, &conf, in.pos, size, cut);

    CHECK(whole.rc == split.rc);

    if (whole.rc == MCP_ERROR) {
        CHECK(whole.m.fault.reason == split.m.fault.reason);
        CHECK(whole.m.fault.code == split.m.fault.code);
        CHECK(fz_eq(&whole.m.id, &split.m.id));

    } else {
        same(&whole.m, &split.m);
        agrees(&whole.m, in.pos, size);

        if (mcp_message_check(&whole.m, &mirror) == MCP_OK
            && whole.m.era == MCP_ERA_MODERN)
        {
            CHECK(mirror.protocol_version.data != NULL);
            CHECK(whole.m.kind == MCP_RESPONSE
                  || fz_eq(&mirror.method, &whole.m.method));
        }
    }

    fz_arena_free(&a);

    return 0;
}
