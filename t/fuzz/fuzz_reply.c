/*
 * mcp_reply: what the gateway sends itself.
 *
 * - A body is JSON, has the id that was given and nothing beside what it is
 *   made of; a challenge is one line without a quote too many.
 *
 * Input: a byte of options, lines: target, id, text, URL, scope.
 */

#include "fuzz.h"
#include "mcp_reply.h"


static char  out[65536];


static void
is_reply(const mcp_buf_t *b, const mcp_str_t *id, const char *what)
{
    json_t       *tree;
    mcp_str_t     s;
    json_error_t  error;

    CHECK(!b->overflow);
    s.data = b->start;
    s.len = (size_t) (b->pos - b->start);
    CHECK(fz_clean(&s));

    tree = json_loadb((char *) s.data, s.len,
                      JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    CHECK(json_is_object(tree) && json_object_size(tree) == 3);
    CHECK(json_object_get(tree, what) != NULL);
    CHECK(json_object_get(tree, "id") != NULL);
    CHECK(id->len || json_is_null(json_object_get(tree, "id")));
    json_decref(tree);
}


static void
challenge(const mcp_str_t *url, const mcp_str_t *scope, unsigned options)
{
    size_t     i, quotes;
    mcp_buf_t  b;

    /* both are of the configuration, which has checked them */

    if (url->len == 0) {
        return;
    }

    for (i = 0; i < url->len; i++) {
        if (url->data[i] <= 0x20 || url->data[i] > 0x7e || url->data[i] == '"'
            || url->data[i] == '\\')
        {
            return;
        }
    }

    for (i = 0; i < scope->len; i++) {
        if (scope->data[i] < 0x20 || scope->data[i] > 0x7e
            || scope->data[i] == '"' || scope->data[i] == '\\')
        {
            return;
        }
    }

    mcp_buf_init(&b, out, sizeof(out));
    mcp_reply_challenge(&b, options & 1 ? "insufficient_scope"
                                        : options & 2 ? "invalid_token" : NULL,
                        url, scope, options & 4 ? "why" : NULL);
    CHECK(!b.overflow && memcmp(out, "Bearer ", 7) == 0);

    quotes = 0;

    for (i = 0; i < (size_t) (b.pos - b.start); i++) {
        CHECK(out[i] >= 0x20 && out[i] != '\\');
        quotes += out[i] == '"';
    }

    CHECK(quotes % 2 == 0 && quotes >= 2 && quotes <= 8);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int          code;
    json_t      *tree;
    fz_in_t      in;
    unsigned     options;
    mcp_buf_t    b;
    mcp_era_e    era;
    mcp_str_t    target, id, text, url, scope;
    fz_arena_t   a;

    fz_arena_init(&a);
    in = fz_in(data, size);
    options = fz_byte(&in);
    target = fz_line(&a, &in);
    id = fz_line(&a, &in);
    text = fz_line(&a, &in);
    url = fz_line(&a, &in);
    scope = fz_rest(&a, &in);
    era = options & 8 ? MCP_ERA_MODERN : MCP_ERA_LEGACY;

    if (target.len + text.len + url.len + scope.len > 4096) {
        fz_arena_free(&a);
        return 0;
    }

    /* an id is a lexeme that the scanner took: a string or a number */

    tree = json_loadb((char *) id.data, id.len, JSON_DECODE_ANY, NULL);

    if (!json_is_string(tree) && !json_is_number(tree)) {
        id = fz_str("");
    }

    json_decref(tree);

    if (!fz_clean(&id)) {
        id = fz_str("");
    }

    mcp_buf_init(&b, out, sizeof(out));
    mcp_reply_error(&b, &id, -32602, &text, NULL);
    is_reply(&b, &id, "error");

    mcp_buf_init(&b, out, sizeof(out));
    mcp_reply_unknown(&b, &id, (mcp_target_e) (1 + options % 4), era, &target,
                      &code);
    is_reply(&b, &id, "error");

    mcp_buf_init(&b, out, sizeof(out));
    mcp_reply_tool_error(&b, &id, era, &text);
    is_reply(&b, &id, "result");

    mcp_buf_init(&b, out, sizeof(out));
    mcp_reply_version(&b, &id, &text);
    is_reply(&b, &id, "error");

    mcp_buf_init(&b, out, sizeof(out));
    mcp_reply_connect(&b, &id, era, !!(options & 16), !!(options & 32), &url,
                      &text, &target, &code);
    is_reply(&b, &id, code ? "error" : "result");

    challenge(&url, &scope, options);
    fz_arena_free(&a);

    return 0;
}
