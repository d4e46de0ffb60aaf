/*
 * What a message asks for.  Tables of bodies with the verdict, the target and
 * the argument values; every body is also fed split at every byte and byte by
 * byte, and the whole outcome must not depend on it.
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "mcp_message.h"


#define MAX_LOG  32768

#define V        "2026-07-28"
#define META(v)  "\"_meta\":{\"io.modelcontextprotocol/protocolVersion\":"    \
                 "\"" v "\",\"io.modelcontextprotocol/clientCapabilities\":"  \
                 "{\"elicitation\":{}},\"io.modelcontextprotocol/clientInfo\""\
                 ":{\"name\":\"cli\",\"version\":\"1.2\"},"                   \
                 "\"traceparent\":\"00-aa-bb-01\"}"
#define REQ(m, params)                                                        \
    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"" m "\","                   \
    "\"params\":{" params "}}"
#define NOTE(m, params)                                                       \
    "{\"jsonrpc\":\"2.0\",\"method\":\"" m "\",\"params\":{" params "}}"
#define CALL(args)  REQ("tools/call", "\"name\":\"t\",\"arguments\":{" args "}")


typedef struct chunk_s {
    struct chunk_s  *next;
    size_t           size;
    max_align_t      data[];
} chunk_t;

typedef struct {
    chunk_t  *chunks;
    unsigned  count;
    int       left;                 /* allocations until it fails; -1: never */
} arena_t;


static void *
arena_alloc(void *ctx, size_t size)
{
    chunk_t  *c;
    arena_t  *a = ctx;

    if (a->left == 0) {
        return NULL;
    }

    a->left -= (a->left > 0);
    c = malloc(sizeof(chunk_t) + size);
    c->next = a->chunks;
    c->size = size;
    a->chunks = c;
    a->count++;
    memset(c->data, 0xa5, size);

    return c->data;
}


static void
arena_free(arena_t *a)
{
    chunk_t  *c;

    while ((c = a->chunks) != NULL) {
        a->chunks = c->next;
        free(c);
    }
}


static arena_t             arena;
static mcp_pointer_t       pointers[16];
static mcp_message_conf_t  conf = { 16, 40, 64, 24, pointers, 0 };
static arena_t             conf_arena = { NULL, 0, -1 };


static void
set_pointers(const char *const *texts)
{
    mcp_mem_t    mem = { arena_alloc, &conf_arena };
    mcp_str_t    text;
    const char  *error;

    for (conf.npointers = 0; *texts; texts++) {
        text.data = (unsigned char *) *texts;
        text.len = strlen(*texts);
        assert_int_equal(mcp_pointer_compile(&pointers[conf.npointers++],
                                             &text, &mem, &error), MCP_OK);
    }
}


/*
 * Feeds in pieces that end before the offsets marked in cut; each piece is
 * freed before the next, so that nothing may point into it.
 */
static int
feed(mcp_message_t *m, const char *text, size_t len, const unsigned char *cut)
{
    int             rc;
    size_t          start, end;
    mcp_mem_t       mem = { arena_alloc, &arena };
    unsigned        eof;
    unsigned char  *piece;

    arena_free(&arena);
    arena.count = 0;
    arena.left = -1;

    assert_int_equal(mcp_message_init(m, &conf, &mem), MCP_OK);

    start = 0;

    do {
        for (end = start + 1; end < len && !(cut && cut[end]); end++) {
            /* void */
        }

        end = end > len ? len : end;
        eof = (end == len && !(cut && cut[0]));
        piece = malloc(end - start + 1);
        memcpy(piece, text + start, end - start);
        rc = mcp_message_feed(m, piece, end - start, eof);
        free(piece);
        start = end;

    } while (rc == MCP_AGAIN && start < len);

    if (rc == MCP_AGAIN) {
        rc = mcp_message_feed(m, NULL, 0, 1);
    }

    assert_int_not_equal(rc, MCP_AGAIN);

    if (rc == MCP_OK) {
        assert_int_equal(m->size, len);
        assert_int_equal(m->fault.http, 0);

    } else {
        assert_int_not_equal(m->fault.http, 0);
        assert_non_null(m->fault.message);
        assert_non_null(m->fault.reason);
        assert_int_equal(mcp_message_feed(m, (const unsigned char *) "{", 1,
                                          0), MCP_ERROR);
    }

    return rc;
}


static int
feed_str(mcp_message_t *m, const char *text)
{
    return feed(m, text, strlen(text), NULL);
}


static size_t
put(char *log, size_t n, const char *name, const mcp_str_t *s)
{
    size_t  i;

    n += (size_t) sprintf(log + n, "%s:", name);

    for (i = 0; i < s->len; i++) {
        n += (size_t) sprintf(log + n, "%02x", s->data[i]);
    }

    return n + (size_t) sprintf(log + n, "\n");
}


/* everything a caller can see, as text */
static size_t
dump(char *log, int rc, const mcp_message_t *m)
{
    size_t    n;
    unsigned  i;

    n = (size_t) sprintf(log, "%d %d %s|%d %d %d|%u %u %u|%u %u|%u %u-%u\n",
                         rc, m->fault.code,
                         m->fault.http ? m->fault.reason : "",
                         m->kind, m->method_class, m->target_kind, m->claim,
                         m->capabilities, m->ntasks, m->narg_keys, m->nargs,
                         m->answers, (unsigned) m->args_start,
                         (unsigned) m->args_end);
    n = put(log, n, "method", &m->method);
    n = put(log, n, "id", &m->id);
    n = put(log, n, "target", &m->target);
    n = put(log, n, "version", &m->version);
    n = put(log, n, "agent", &m->agent_name);
    n = put(log, n, "agent", &m->agent_version);
    n = put(log, n, "trace", &m->traceparent);

    for (i = 0; i < m->nuris; i++) {
        n = put(log, n, "uri", &m->uris[i]);
    }

    for (i = 0; i < m->narg_keys; i++) {
        n = put(log, n, "key", &m->arg_keys[i]);
    }

    for (i = 0; i < conf.npointers; i++) {
        n += (size_t) sprintf(log + n, "%d ", m->values[i].type);
        n = put(log, n, "value", &m->values[i].text);
    }

    assert_true(n < MAX_LOG);

    return n;
}


static void
same_in_pieces(const char *text, size_t len)
{
    int                   rc;
    size_t                i, k, n;
    mcp_message_t         m;
    static char           whole[MAX_LOG], other[MAX_LOG];
    static unsigned char  cut[8192];

    assert_true(len < sizeof(cut));

    rc = feed(&m, text, len, NULL);
    n = dump(whole, rc, &m);

    for (i = 0; i <= len + 4; i++) {
        memset(cut, i == len + 1, len + 1);

        if (i <= len) {
            cut[i] = 1;

        } else if (i > len + 1) {
            for (k = 0; k <= len; k++) {
                cut[k] = (rand() % 7 == 0);
            }
        }

        rc = feed(&m, text, len, cut);

        if (dump(other, rc, &m) != n || memcmp(whole, other, n) != 0) {
            fail_msg("\"%s\":\n%s\nin pieces:\n%s", text, whole, other);
        }
    }
}


static void
eq(const mcp_str_t *s, const char *text)
{
    if (s->len != strlen(text)
        || (s->len && memcmp(s->data, text, s->len) != 0))
    {
        fail_msg("\"%.*s\" is not \"%s\"", (int) s->len, (char *) s->data,
                 text);
    }
}


#define NUM40    "1234567890123456789012345678901234567890"
#define NAME40   "0123456789012345678901234567890123456789"
#define NAME64   "012345678901234567890123456789012345678901234567890123456789"\
                 "0123"
#define SEVEN    "\"x1\":1,\"x2\":1,\"x3\":1,\"x4\":1,\"x5\":1,\"x6\":1,"     \
                 "\"x7\":1"
#define KEYS8(p) "\"" p "1\":1,\"" p "2\":1,\"" p "3\":1,\"" p "4\":1,"       \
                 "\"" p "5\":1,\"" p "6\":1,\"" p "7\":1,\"" p "8\":1"
#define KEYS56   KEYS8("a") "," KEYS8("b") "," KEYS8("c") "," KEYS8("d") ","  \
                 KEYS8("e") "," KEYS8("f") "," KEYS8("g")

/* id: as it must be echoed; NULL: not looked at */
static const struct {
    const char  *body;
    int          code;              /* 0: a good message */
    const char  *reason;
    const char  *id;
} bodies[] = {

    { REQ("tools/list", ""), 0, "", "1" },
    { " \r\n\t" REQ("tools/list", "") "\n", 0, "", "1" },
    { "{\"id\":1,\"method\":\"ping\",\"jsonrpc\":\"2.0\"}", 0, "", "1" },

    /* trap 1: duplicates and case, after unescape */
    { "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/list\","
      "\"method\":\"tools/call\"}", -32600, "duplicate_key", "1" },
    { "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/list\","
      "\"m\\u0065thod\":\"tools/call\"}", -32600, "duplicate_key", "1" },
    { "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/list\","
      "\"Method\":\"tools/call\"}", -32600, "duplicate_key", "1" },
    { "{\"jsonrpc\":\"2.0\",\"id\":1,\"METHOD\":\"tools/list\"}",
      -32600, "key_case", "1" },
    { "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"Params\":{}}",
      -32600, "key_case", "1" },
    { "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"param\xc5\xbf\":{}}",
      -32600, "key_case", "1" },
    { "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"param\\u017f\":{}}",
      -32600, "key_case", "1" },
    { "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"params\":{},"
      "\"param\xc5\xbf\":{}}", -32600, "duplicate_key", "1" },
    { "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"params\":{},"
      "\"params\":{}}", -32600, "duplicate_key", "1" },
    { "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"x\":1,\"X\":2}",
      -32600, "duplicate_key", "1" },
    { "{\"jsonrpc\":\"2.0\",\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}",
      -32600, "duplicate_key", "1" },
    { "{\"jsonrpc\":\"2.0\",\"id\":1,\"id\":2,\"method\":\"ping\"}",
      -32600, "duplicate_key", "" },
    { "{\"jsonrpc\":\"2.0\",\"id\":1,\"ID\":2,\"method\":\"ping\"}",
      -32600, "duplicate_key", "" },
    { "{\"jsonrpc\":\"2.0\",\"Id\":1,\"method\":\"ping\"}",
      -32600, "key_case", "" },
    { "{\"jsonrpc\":\"2.0\",\"\u0131d\":1,\"method\":\"ping\"}",
      -32600, "key_case", "" },
    { REQ("resources/read", "\"ur\xc4\xb0\":\"b\""), -32600, "key_case", "1" },
    { "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"Result\":1}",
      -32600, "key_case", "1" },
    { "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"ERROR\":1}",
      -32600, "key_case", "1" },
    { REQ("tools/call", "\"name\":\"a\",\"name\":\"b\""),
      -32600, "duplicate_key", "1" },
    { REQ("tools/call", "\"name\":\"a\",\"Name\":\"b\""),
      -32600, "duplicate_key", "1" },
    { REQ("tools/call", "\"NAME\":\"b\""), -32600, "key_case", "1" },
    { REQ("resources/read", "\"Uri\":\"b\""), -32600, "key_case", "1" },
    { REQ("tasks/get", "\"taskid\":\"b\""), -32600, "key_case", "1" },
    { REQ("tas\\u006bs/get", "\"tas\xe2\x84\xaaId\":\"b\""),
      -32600, "key_case", "1" },
    { REQ("tools/call", "\"name\":\"a\",\"Arguments\":{}"),
      -32600, "key_case", "1" },
    { REQ("tools/call", "\"name\":\"a\",\"arguments\":{},\"argument\\u0073\":"
      "{}"), -32600, "duplicate_key", "1" },
    { REQ("tools/list", "\"Cursor\":\"b\""), -32600, "key_case", "1" },
    { REQ("tools/list", "\"_META\":{}"), -32600, "key_case", "1" },
    { REQ("tools/list", "\"_meta\":{},\"_meta\":{}"),
      -32600, "duplicate_key", "1" },
    { REQ("subscriptions/listen", "\"Notifications\":{}"),
      -32600, "key_case", "1" },
    { REQ("subscriptions/listen", "\"notifications\":{"
      "\"resourcesubscriptions\":[]}"), -32600, "key_case", "1" },
    { REQ("subscriptions/listen", "\"notifications\":{\"taskIds\":[],"
      "\"taskIds\":[]}"), -32600, "duplicate_key", "1" },
    { REQ("completion/complete", "\"Ref\":{}"), -32600, "key_case", "1" },
    { REQ("completion/complete", "\"ref\":{\"type\":\"ref/prompt\","
      "\"name\":\"a\",\"name\":\"b\"}"), -32600, "duplicate_key", "1" },
    { REQ("completion/complete", "\"ref\":{\"type\":\"ref/prompt\","
      "\"Name\":\"a\"}"), -32600, "key_case", "1" },
    { REQ("ping", "\"_meta\":{\"io.modelcontextprotocol/protocolversion\":"
      "\"" V "\"}"), -32600, "key_case", "1" },
    { REQ("ping", "\"_meta\":{\"IO.modelcontextprotocol/future\":1}"),
      -32600, "key_case", "1" },
    { REQ("ping", "\"_meta\":{\"io.modelcontextprotocol/future\":1}"),
      0, "", "1" },
    { REQ("ping", "\"_meta\":{\"a\":1,\"A\":2}"),
      -32600, "duplicate_key", "1" },
    { REQ("ping", "\"_meta\":{\"io.modelcontextprotocol/clientCapabilities\":"
      "{},\"io.modelcontextprotocol/clientCapabilities\":{}}"),
      -32600, "duplicate_key", "1" },

    /* elsewhere duplicates are the upstream's own affair */
    { CALL("\"a\":1,\"a\":2,\"name\":1,\"Name\":2"), 0, "", "1" },
    { REQ("tools/list", "\"other\":{\"a\":1,\"a\":2}"), 0, "", "1" },

    /* the fault comes before the id: it is echoed all the same */
    { "{\"method\":\"ping\",\"method\":\"x\",\"params\":[],\"jsonrpc\":\"2.0\","
      "\"id\":\"z\"}", -32600, "duplicate_key", "\"z\"" },
    { "{\"x\":1,\"x\":2,\"id\":[],\"id\":7}", -32600, "duplicate_key", "" },

    /* trap 2: the parser is strict */
    { "", -32700, "parse_error", "" },
    { "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"", -32700,
      "parse_error", "" },
    { REQ("ping", "") "x", -32700, "parse_error", "" },
    { REQ("ping", "") "{}", -32700, "parse_error", "" },
    { "\xef\xbb\xbf" REQ("ping", ""), -32700, "parse_error", "" },
    { REQ("ping", "\"a\":NaN"), -32700, "parse_error", "" },
    { REQ("ping", "\"a\":1,"), -32700, "parse_error", "" },
    { REQ("ping", "/**/"), -32700, "parse_error", "" },
    { CALL("\"a\":\"\xff\""), -32700, "parse_error", "" },
    { CALL("\"a\":\"\xc0\xaf\""), -32700, "parse_error", "" },
    { CALL("\"a\":\"\\ud800\""), -32700, "parse_error", "" },
    { CALL("\"a\":[[[[[[[[[[[[[]]]]]]]]]]]]]"), 0, "", "1" },
    { CALL("\"a\":[[[[[[[[[[[[[[]]]]]]]]]]]]]]"), -32700, "too_deep", "" },
    { "[[[[[[[[[[[[[[[[[[[[[[[[", -32600, "batch", "" },
    { REQ("tools\\u002fcall", "\"name\":\"a\\u0000\""), -32600, "nul", "1" },
    { REQ("resources/read", "\"uri\":\"\\u0000a\""), -32600, "nul", "1" },
    { REQ("pi\\u0000ng", ""), -32600, "nul", "1" },
    { REQ("ping", "\"na\\u0000me\":1"), -32600, "nul", "1" },
    { CALL("\"a\":\"\\u0000\",\"\\u0000\":1"), 0, "", "1" },

    /* trap 4: batches */
    { "[]", -32600, "batch", "" },
    { "[" REQ("ping", "") "]", -32600, "batch", "" },
    { " \n\t[" REQ("ping", "") "]", -32600, "batch", "" },
    { "[" REQ("ping", "") "," REQ("ping", "") "]", -32600, "batch", "" },
    { "1", -32600, "not_object", "" },
    { "\"tools/call\"", -32600, "not_object", "" },
    { "null", -32600, "not_object", "" },
    { "{}", -32600, "jsonrpc", "" },

    /* traps 8, 9: ids and the envelope */
    { "{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"ping\"}",
      -32600, "id_type", "" },
    { "{\"jsonrpc\":\"2.0\",\"id\":true,\"method\":\"ping\"}",
      -32600, "id_type", "" },
    { "{\"jsonrpc\":\"2.0\",\"id\":{\"a\":1},\"method\":\"ping\"}",
      -32600, "id_type", "" },
    { "{\"jsonrpc\":\"2.0\",\"id\":[1],\"method\":\"ping\"}",
      -32600, "id_type", "" },
    { "{\"jsonrpc\":\"2.0\",\"id\":1.5,\"method\":\"ping\"}",
      -32600, "id_type", "" },
    { "{\"jsonrpc\":\"2.0\",\"id\":1.001,\"method\":\"ping\"}",
      -32600, "id_type", "" },
    { "{\"jsonrpc\":\"2.0\",\"id\":1e2,\"method\":\"ping\"}",
      -32600, "id_type", "" },
    { "{\"jsonrpc\":\"2.0\",\"id\":1.0E2,\"method\":\"ping\"}",
      -32600, "id_type", "" },
    { "{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"ping\"}",
      -32600, "jsonrpc", "1" },
    { "{\"jsonrpc\":2.0,\"id\":1,\"method\":\"ping\"}",
      -32600, "jsonrpc", "1" },
    { "{\"id\":1,\"method\":\"ping\"}", -32600, "jsonrpc", "1" },
    { "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"result\":{}}",
      -32600, "method_and_result", "1" },
    { "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"error\":null}",
      -32600, "method_and_result", "1" },
    { "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":1,\"error\":{}}",
      -32600, "no_method", "1" },
    { "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{},\"params\":{}}",
      -32600, "no_method", "1" },
    { "{\"jsonrpc\":\"2.0\",\"id\":1}", -32600, "no_method", "1" },
    { "{\"jsonrpc\":\"2.0\",\"error\":{}}", -32600, "no_method", "" },
    { "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":1}",
      -32600, "method_type", "1" },
    { "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":{\"method\":\"ping\"}}",
      -32600, "method_type", "1" },
    { "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\"}",
      -32600, "method_type", "1" },
    { "{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"params\":[],\"id\":5}",
      -32600, "params_type", "5" },
    { "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"params\":null}",
      -32600, "params_type", "1" },
    { "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\","
      "\"params\":\"x\"}", -32600, "params_type", "" },
    { REQ("tools/call", ""), -32602, "target_missing", "1" },
    { "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\"}",
      -32602, "target_missing", "1" },
    { REQ("tools/call", "\"name\":\"\""), -32602, "target_missing", "1" },
    { REQ("tools/call", "\"name\":1"), -32602, "target_missing", "1" },
    { REQ("tools/call", "\"name\":{\"name\":\"a\"}"),
      -32602, "target_missing", "1" },
    { REQ("tools/call", "\"name\":[\"a\"]"), -32602, "target_missing", "1" },
    { REQ("tools/call", "\"uri\":\"a\""), -32602, "target_missing", "1" },
    { REQ("tools/call", "\"x\":{\"name\":\"a\"}"),
      -32602, "target_missing", "1" },
    { REQ("prompts/get", "\"name\":null"), -32602, "target_missing", "1" },
    { REQ("resources/read", "\"name\":\"a\""), -32602, "target_missing", "1" },
    { REQ("resources/subscribe", ""), -32602, "target_missing", "1" },
    { REQ("resources/unsubscribe", ""), -32602, "target_missing", "1" },
    { NOTE("tools/call", ""), -32602, "target_missing", "" },
    { REQ("tools/call", "\"name\":\"a\",\"arguments\":[]"),
      -32602, "arguments_type", "1" },
    { REQ("tools/call", "\"name\":\"a\",\"arguments\":null"),
      -32602, "arguments_type", "1" },
    { REQ("tools/call", "\"name\":\"a\",\"arguments\":\"{}\""),
      -32602, "arguments_type", "1" },
    { REQ("tools/call", "\"name\":\"a\",\"_meta\":[]"),
      -32602, "meta_type", "1" },
    { REQ("completion/complete", ""), -32602, "ref_type", "1" },
    { REQ("completion/complete", "\"ref\":\"x\""), -32602, "ref_type", "1" },
    { REQ("completion/complete", "\"ref\":{\"type\":\"ref/tool\","
      "\"name\":\"x\"}"), -32602, "ref_type", "1" },
    { REQ("completion/complete", "\"ref\":{\"type\":\"ref/prompt\","
      "\"uri\":\"x\"}"), -32602, "target_missing", "1" },
    { REQ("completion/complete", "\"ref\":{\"type\":\"ref/resource\","
      "\"name\":\"x\"}"), -32602, "target_missing", "1" },

    /* trap 10: ids as they were written */
#define ID(id)  "{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\" : \n" id "}"
    { ID("9007199254740993"), 0, "", "9007199254740993" },
    { ID("1.0"), 0, "", "1.0" },
    { ID("-0"), 0, "", "-0" },
    { ID("0"), 0, "", "0" },
    { ID("\"\""), 0, "", "\"\"" },
    { ID("\" \""), 0, "", "\" \"" },
    { ID("\":\""), 0, "", "\":\"" },
    { ID("\"a\\u0062\\n\\/\\\"\""), 0, "", "\"a\\u0062\\n\\/\\\"\"" },
    { ID("\"\xd0\xbf\xe2\x82\xac\""), 0, "", "\"\xd0\xbf\xe2\x82\xac\"" },
    { ID(" 5 "), 0, "", "5" },
    { ID(NUM40), 0, "", NUM40 },
    { ID("-" NUM40), -32600, "id_too_long", "" },
    { ID("\"" "01234567890123456789012345678901234567" "\""), 0, "",
      "\"" "01234567890123456789012345678901234567" "\"" },
    { ID("\"" "012345678901234567890123456789012345678" "\""),
      -32600, "id_too_long", "" },

    /* limits */
    { REQ(NAME64, ""), 0, "", "1" },
    { REQ(NAME64 "x", ""), -32600, "name_too_long", "1" },
    { REQ("tools/call", "\"name\":\"" NAME64 "\""), 0, "", "1" },
    { REQ("tools/call", "\"name\":\"" NAME64 "x\""),
      -32600, "name_too_long", "1" },
    { REQ("tools/call", "\"name\":\"\\u0030" NAME64 "\""),
      -32600, "name_too_long", "1" },
    { REQ("tools/list", "\"name\":\"" NAME64 "x\""), 0, "", "1" },
    { REQ("ping", "\"" NAME64 "\":1"), 0, "", "1" },
    { REQ("ping", "\"" NAME64 "x\":1"), -32600, "key_too_long", "1" },
    { REQ("ping", KEYS56 "," SEVEN ",\"y\":1"), 0, "", "1" },
    { REQ("ping", KEYS56 "," SEVEN ",\"y\":1,\"z\":1"),
      -32600, "too_many_keys", "1" },
    { "{" KEYS56 "," SEVEN ",\"y\":1,\"id\":1,\"ID\":2}",
      -32600, "too_many_keys", "" },
    { "{" KEYS56 "," SEVEN ",\"y\":1,\"id\":1,\"id\":2}",
      -32600, "too_many_keys", "" },
    { "{" KEYS56 "," SEVEN ",\"y\":1,\"jsonrpc\":\"2.0\",\"id\":\"q\","
      "\"method\":\"ping\"}", -32600, "too_many_keys", "\"q\"" },
    { CALL(KEYS56 "," SEVEN ",\"y\":1,\"z\":1"), 0, "", "1" },

    /* listen */
    { REQ("subscriptions/listen", "\"notifications\":{"
      "\"resourceSubscriptions\":[\"a\",1]}"), -32602, "bad_uri", "1" },
    { REQ("subscriptions/listen", "\"notifications\":{"
      "\"resourceSubscriptions\":[[\"a\"]]}"), -32602, "bad_uri", "1" },
    { REQ("subscriptions/listen", "\"notifications\":{"
      "\"resourceSubscriptions\":{\"a\":\"b\"}}"), -32602, "bad_uri", "1" },
    { REQ("subscriptions/listen", "\"notifications\":{"
      "\"resourceSubscriptions\":[\"\"]}"), -32602, "bad_uri", "1" },
    { REQ("subscriptions/listen", "\"notifications\":{"
      "\"resourceSubscriptions\":[\"a\\u0000\"]}"), -32602, "bad_uri", "1" },
    { REQ("subscriptions/listen", "\"notifications\":[]"),
      -32602, "bad_uri", "1" },
    { REQ("subscriptions/listen", "\"notifications\":{"
      "\"resource_subscriptions\":[\"a\"]}"), -32602, "bad_uri", "1" },
    { REQ("subscriptions/listen", "\"notifications\":{\"x\":{}}"),
      -32602, "bad_uri", "1" },
    { REQ("subscriptions/listen", "\"notifications\":{\"x\":\"a\"}"),
      -32602, "bad_uri", "1" },
    { REQ("subscriptions/listen", "\"notifications\":{\"x\":true,"
      "\"y\":null}"), 0, "", "1" },
    { REQ("subscriptions/listen", "\"notifications\":{\"taskIds\":[{}]}"),
      -32602, "bad_uri", "1" },
    { REQ("subscriptions/listen", "\"notifications\":{\"taskIds\":[1]}"),
      -32602, "bad_uri", "1" },
    { REQ("subscriptions/listen", "\"notifications\":{\"taskIds\":[\"\"]}"),
      -32602, "bad_uri", "1" },
    { REQ("subscriptions/listen", "\"notifications\":{\"taskIds\":\"x\"}"),
      -32602, "bad_uri", "1" },
    { REQ("subscriptions/listen", "\"notifications\":{\"taskIds\":"
      "[\"a\\u0000\"]}"), -32602, "bad_uri", "1" },
    { REQ("tools/list", "\"notifications\":[]"), 0, "", "1" }
};

#define NBODIES  (sizeof(bodies) / sizeof(bodies[0]))


static void
test_bodies(void **state)
{
    int            rc;
    size_t         i;
    mcp_message_t  m;

    (void) state;

    for (i = 0; i < NBODIES; i++) {
        rc = feed_str(&m, bodies[i].body);

        if (m.fault.code != bodies[i].code
            || (rc == MCP_OK) != (bodies[i].code == 0)
            || strcmp(m.fault.http ? m.fault.reason : "", bodies[i].reason))
        {
            fail_msg("%s: %d %s", bodies[i].body, m.fault.code,
                     m.fault.http ? m.fault.reason : "accepted");
        }

        if (rc == MCP_ERROR) {
            assert_int_equal(m.fault.http, 400);
        }

        eq(&m.id, bodies[i].id);
    }

    feed_str(&m, "[1]");
    assert_string_equal(m.fault.message, "Batch not supported");
    feed_str(&m, "{");
    assert_string_equal(m.fault.message, "Parse error");
}


static void
test_splits(void **state)
{
    size_t                    i;
    static const char *const  texts[] = { "/a", "/a/b", "/b/1/c", "/a8", NULL };

    (void) state;

    set_pointers(texts);

    for (i = 0; i < NBODIES; i++) {
        same_in_pieces(bodies[i].body, strlen(bodies[i].body));
    }

    conf.npointers = 0;
}


#define R  MCP_REQUEST
#define T  MCP_METHOD_TARGET
#define U  MCP_METHOD_UNKNOWN
#define F  MCP_METHOD_FREE

static const struct {
    const char    *body;
    mcp_kind_e     kind;
    mcp_method_e   method_class;
    mcp_target_e   target_kind;
    const char    *target;
} targets[] = {
    { CALL("\"name\":\"other\""), R, T, MCP_TARGET_TOOL, "t" },
    { REQ("tools/call", "\"arguments\":{\"name\":\"x\"},\"name\":\"a\\u002fb\""
      ), R, T, MCP_TARGET_TOOL, "a/b" },
    { "{\"params\":{\"name\":\"late\"},\"id\":1,\"method\":\"tools\\/call\","
      "\"jsonrpc\":\"2.0\"}", R, T, MCP_TARGET_TOOL, "late" },
    { REQ("tools/call", "\"name\":\"\xd0\xb0 b \""), R, T, MCP_TARGET_TOOL,
      "\xd0\xb0 b " },
    { REQ("prompts/get", "\"name\":\"p\""), R, T, MCP_TARGET_PROMPT, "p" },
    { REQ("resources/read", "\"name\":\"p\",\"uri\":\"u:\""), R, T,
      MCP_TARGET_RESOURCE, "u:" },
    { REQ("resources/subscribe", "\"uri\":\"u:\""), R, T,
      MCP_TARGET_RESOURCE, "u:" },
    { REQ("resources/unsubscribe", "\"uri\":\"u:\""), R, T,
      MCP_TARGET_RESOURCE, "u:" },
    { REQ("completion/complete", "\"ref\":{\"type\":\"ref/prompt\","
      "\"name\":\"p\",\"uri\":\"q\"},\"argument\":{\"name\":\"n\"}"), R, T,
      MCP_TARGET_PROMPT, "p" },
    { REQ("completion/complete", "\"ref\":{\"uri\":\"r://{x}\","
      "\"type\":\"ref/resource\"}"), R, T, MCP_TARGET_RESOURCE, "r://{x}" },
    { REQ("tools/list", ""), R, MCP_METHOD_LIST, MCP_TARGET_NONE, "" },
    { REQ("prompts/list", ""), R, MCP_METHOD_LIST, MCP_TARGET_NONE, "" },
    { REQ("resources/list", ""), R, MCP_METHOD_LIST, MCP_TARGET_NONE, "" },
    { REQ("resources/templates/list", ""), R, MCP_METHOD_LIST,
      MCP_TARGET_NONE, "" },
    { REQ("server/discover", ""), R, MCP_METHOD_DISCOVER, MCP_TARGET_NONE, "" },
    { REQ("initialize", ""), R, F, MCP_TARGET_NONE, "" },
    { REQ("ping", ""), R, F, MCP_TARGET_NONE, "" },
    { REQ("logging/setLevel", ""), R, F, MCP_TARGET_NONE, "" },
    { NOTE("notifications/initialized", ""), MCP_NOTIFICATION, F,
      MCP_TARGET_NONE, "" },
    { NOTE("notifications/cancelled", ""), MCP_NOTIFICATION, F,
      MCP_TARGET_NONE, "" },
    { NOTE("notifications/progress", ""), MCP_NOTIFICATION, F,
      MCP_TARGET_NONE, "" },
    { NOTE("notifications/roots/list_changed", ""), MCP_NOTIFICATION, F,
      MCP_TARGET_NONE, "" },

    /* trap 7: another spelling is another method */
    { REQ("Tools/Call", "\"name\":\"t\""), R, U, MCP_TARGET_METHOD,
      "Tools/Call" },
    { REQ("tools/call ", "\"name\":\"t\""), R, U, MCP_TARGET_METHOD,
      "tools/call " },
    { REQ("tools/lis\xc5\xa7", ""), R, U, MCP_TARGET_METHOD,
      "tools/lis\xc5\xa7" },
    { REQ("tasks/get", "\"taskId\":\"1\""), R, MCP_METHOD_OWNER,
      MCP_TARGET_METHOD, "1" },
    { REQ("tasks/list", ""), R, MCP_METHOD_OWNER, MCP_TARGET_METHOD,
      "tasks/list" },
    { REQ("skills/list", ""), R, U, MCP_TARGET_METHOD, "skills/list" },
    { NOTE("notifications/message", ""), MCP_NOTIFICATION, U,
      MCP_TARGET_METHOD, "notifications/message" },

    /* trap 8: the notification form is no way round */
    { NOTE("tools/call", "\"name\":\"t\""), MCP_NOTIFICATION, T,
      MCP_TARGET_TOOL, "t" },
    { NOTE("resources/read", "\"uri\":\"t\""), MCP_NOTIFICATION, T,
      MCP_TARGET_RESOURCE, "t" },

    /* trap 11: answers to the server */
    { "{\"jsonrpc\":\"2.0\",\"id\":\"s1\",\"result\":{\"method\":\"x\"}}",
      MCP_RESPONSE, U, MCP_TARGET_NONE, "" },
    { "{\"jsonrpc\":\"2.0\",\"id\":2,\"error\":{\"code\":1}}", MCP_RESPONSE,
      U, MCP_TARGET_NONE, "" }
};


static void
test_targets(void **state)
{
    size_t         i;
    mcp_message_t  m;

    (void) state;

    for (i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {

        if (feed_str(&m, targets[i].body) != MCP_OK
            || m.kind != targets[i].kind
            || m.method_class != targets[i].method_class
            || m.target_kind != targets[i].target_kind)
        {
            fail_msg("%s: %d %d %d", targets[i].body, m.kind, m.method_class,
                     m.target_kind);
        }

        eq(&m.target, targets[i].target);
        same_in_pieces(targets[i].body, strlen(targets[i].body));
    }
}


static void
test_meta(void **state)
{
    mcp_message_t  m;

    (void) state;

    assert_int_equal(feed_str(&m, REQ("tools/list", META(V))), MCP_OK);
    assert_true(m.claim);
    assert_true(m.capabilities);
    eq(&m.version, V);
    eq(&m.agent_name, "cli");
    eq(&m.agent_version, "1.2");
    eq(&m.traceparent, "00-aa-bb-01");
    same_in_pieces(REQ("tools/list", META(V)),
                   strlen(REQ("tools/list", META(V))));

    assert_int_equal(feed_str(&m, REQ("initialize",
        "\"protocolVersion\":\"2025-11-25\",\"capabilities\":{},"
        "\"clientInfo\":{\"name\":\"i\",\"version\":\"2\",\"name\":\"j\"}")),
        MCP_OK);
    assert_false(m.claim);
    assert_false(m.capabilities);
    eq(&m.version, "2025-11-25");
    eq(&m.agent_name, "i");
    eq(&m.agent_version, "2");

    /* a claim wins over what initialize says */
    assert_int_equal(feed_str(&m, REQ("initialize",
        "\"protocolVersion\":\"2025-11-25\"," META(V))), MCP_OK);
    eq(&m.version, V);

    /* cut at a character: 128 bytes at most */
    assert_int_equal(feed_str(&m, REQ("ping", "\"_meta\":{"
        "\"io.modelcontextprotocol/clientInfo\":{\"name\":\""
        NAME64 "012345678901234567890123456789012345678901234567890123456789"
        "012\xe2\x82\xac" NAME64 NAME64 "\"}}")), MCP_OK);
    assert_int_equal(m.agent_name.len, 127);

    /* one that is no object, members that are no strings */
    assert_int_equal(feed_str(&m, REQ("ping", "\"_meta\":{"
        "\"io.modelcontextprotocol/clientInfo\":[{\"name\":\"x\"}],"
        "\"io.modelcontextprotocol/clientCapabilities\":[],"
        "\"traceparent\":{\"a\":[]}}")), MCP_OK);
    assert_int_equal(m.agent_name.len, 0);
    assert_false(m.capabilities);
}


/* What is in them is the server's to read: only that they are there. */
static void
test_responses(void **state)
{
    mcp_message_t  m;

    static const char  with[] = REQ("tools/call", "\"inputResponses\":{"
        "\"a\":{\"action\":\"accept\",\"name\":\"x\"}},\"name\":\"t\"");

    (void) state;

    assert_int_equal(feed_str(&m, with), MCP_OK);
    assert_true(m.answers);
    eq(&m.target, "t");
    same_in_pieces(with, strlen(with));

    assert_int_equal(feed_str(&m, CALL("\"inputResponses\":{}")), MCP_OK);
    assert_false(m.answers);

    assert_int_equal(feed_str(&m, REQ("tools/call",
        "\"inputResponses\":1,\"name\":\"t\"")), MCP_OK);
    assert_false(m.answers);

    /* nobody reads them elsewhere than we do */
    assert_int_equal(feed_str(&m, REQ("tools/call",
        "\"InputResponses\":{},\"name\":\"t\"")), MCP_ERROR);
}


static void
test_listen(void **state)
{
    int            i;
    size_t         n;
    mcp_message_t  m;
    static char    text[8192];

    (void) state;

    assert_int_equal(feed_str(&m, REQ("subscriptions/listen",
        "\"notifications\":{\"toolsListChanged\":true,"
        "\"resourceSubscriptions\":[\"a:\\u002f\",\"b\"],\"taskIds\":[]}")),
        MCP_OK);
    assert_int_equal(m.method_class, MCP_METHOD_LISTEN);
    assert_int_equal(m.nuris, 2);
    eq(&m.uris[0], "a:/");
    eq(&m.uris[1], "b");
    assert_int_equal(m.ntasks, 0);

    assert_int_equal(feed_str(&m, REQ("subscriptions/listen",
        "\"notifications\":{\"taskIds\":[\"x\",\"y\\u007a\"],"
        "\"resourceSubscriptions\":[\"b\"]}")), MCP_OK);
    assert_int_equal(m.nuris, 1);
    assert_int_equal(m.ntasks, 2);
    eq(&m.tasks[0], "x");
    eq(&m.tasks[1], "yz");
    eq(&m.uris[0], "b");

    /* bounded */
    n = (size_t) sprintf(text, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":"
                         "\"subscriptions/listen\",\"params\":{"
                         "\"notifications\":{\"resourceSubscriptions\":[");

    for (i = 0; i < MCP_MAX_URIS; i++) {
        n += (size_t) sprintf(text + n, "\"r:%d\",", i);
    }

    strcpy(text + n - 1, "]}}}");
    assert_int_equal(feed_str(&m, text), MCP_OK);
    assert_int_equal(m.nuris, MCP_MAX_URIS);
    eq(&m.uris[255], "r:255");

    strcpy(text + n - 1, ",\"r\"]}}}");
    assert_int_equal(feed_str(&m, text), MCP_ERROR);
    assert_string_equal(m.fault.reason, "too_many_uris");
}


#define B64(s)  "=?base64?" s "?="
#define CALLM   REQ("tools/call", "\"name\":\"tool\"," META(V))
#define NO      "\x01"              /* the header is absent */

static const struct {
    const char  *body;
    const char  *version;
    const char  *method;
    const char  *name;
    int          code;
    mcp_era_e    era;
    int          method_class;      /* -1: not looked at */
} checks[] = {

    /* modern: the header mirror */
    { CALLM, V, "tools/call", "tool", 0, MCP_ERA_MODERN, T },
    { CALLM, " " V "\t", " tools/call ", "\ttool ", 0, MCP_ERA_MODERN, T },
    { CALLM, NO, "tools/call", "tool", -32020, MCP_ERA_MODERN, -1 },
    { CALLM, V, NO, "tool", -32020, MCP_ERA_MODERN, -1 },
    { CALLM, V, "tools/call", NO, -32020, MCP_ERA_MODERN, -1 },
    { CALLM, "", "tools/call", "tool", -32020, MCP_ERA_MODERN, -1 },
    { CALLM, "2025-11-25", "tools/call", "tool", -32020, MCP_ERA_MODERN, -1 },
    { CALLM, V, "tools/list", "tool", -32020, MCP_ERA_MODERN, -1 },
    { CALLM, V, "Tools/Call", "tool", -32020, MCP_ERA_MODERN, -1 },
    { CALLM, V, "", "tool", -32020, MCP_ERA_MODERN, -1 },
    { CALLM, V, "tools/call", "other", -32020, MCP_ERA_MODERN, -1 },
    { CALLM, V, "tools/call", "Tool", -32020, MCP_ERA_MODERN, -1 },
    { CALLM, V, "tools/call", "tool2", -32020, MCP_ERA_MODERN, -1 },
    { CALLM, V, "tools/call", "", -32020, MCP_ERA_MODERN, -1 },
    { REQ("tools/list", META(V)), V, "tools/list", NO, 0, MCP_ERA_MODERN,
      MCP_METHOD_LIST },
    { REQ("tools/list", META(V)), V, "tools/list", "x", -32020,
      MCP_ERA_MODERN, -1 },
    { REQ("prompts/get", "\"name\":\"p\"," META(V)), V, "prompts/get", "p", 0,
      MCP_ERA_MODERN, T },
    { REQ("prompts/get", "\"name\":\"p\"," META(V)), V, "prompts/get", NO,
      -32020, MCP_ERA_MODERN, -1 },
    { REQ("resources/read", "\"uri\":\"u:p\",\"name\":\"n\"," META(V)), V,
      "resources/read", "u:p", 0, MCP_ERA_MODERN, T },
    { REQ("resources/read", "\"uri\":\"u:p\",\"name\":\"n\"," META(V)), V,
      "resources/read", "n", -32020, MCP_ERA_MODERN, -1 },
    { REQ("tasks/get", "\"taskId\":\"7\"," META(V)), V, "tasks/get", "7", 0,
      MCP_ERA_MODERN, MCP_METHOD_OWNER },
    { REQ("tasks/get", "\"taskId\":\"7\",\"name\":\"n\"," META(V)), V,
      "tasks/get", "n", -32020, MCP_ERA_MODERN, -1 },
    { REQ("skills/get", "\"uri\":\"s\"," META(V)), V, "skills/get", "s", 0,
      MCP_ERA_MODERN, U },
    { REQ("skills/get", "\"uri\":\"s\"," META(V)), V, "skills/get", "t",
      -32020, MCP_ERA_MODERN, -1 },
    { REQ("completion/complete", "\"ref\":{\"type\":\"ref/prompt\","
      "\"name\":\"p\"}," META(V)), V, "completion/complete", NO, 0,
      MCP_ERA_MODERN, T },

    /* Mcp-Name encoded */
    { CALLM, V, "tools/call", B64("dG9vbA=="), 0, MCP_ERA_MODERN, T },
    { CALLM, V, "tools/call", B64("dG9vbA="), -32020, MCP_ERA_MODERN, -1 },
    { CALLM, V, "tools/call", B64("dG9vbA"), -32020, MCP_ERA_MODERN, -1 },
    { CALLM, V, "tools/call", B64("dG9vbB=="), -32020, MCP_ERA_MODERN, -1 },
    { CALLM, V, "tools/call", B64("dG9v bA=="), -32020, MCP_ERA_MODERN, -1 },
    { CALLM, V, "tools/call", B64("dG9vbA==dG9v"), -32020, MCP_ERA_MODERN,
      -1 },
    { CALLM, V, "tools/call", B64(""), -32020, MCP_ERA_MODERN, -1 },
    { CALLM, V, "tools/call", B64("b3RoZXI="), -32020, MCP_ERA_MODERN, -1 },
    { CALLM, V, "tools/call", "=?BASE64?dG9vbA==?=", -32020, MCP_ERA_MODERN,
      -1 },
    { CALLM, V, "tools/call", "=?base64?=", -32020, MCP_ERA_MODERN, -1 },
    { REQ("tools/call", "\"name\":\"=?base64?=\"," META(V)), V, "tools/call",
      "=?base64?=", -32020, MCP_ERA_MODERN, -1 },
    { REQ("tools/call", "\"name\":\"=?base64?dG9v\"," META(V)), V,
      "tools/call", "=?base64?dG9v", 0, MCP_ERA_MODERN, T },
    { REQ("tools/call", "\"name\":\"" B64("dG9vbA==") "\"," META(V)), V,
      "tools/call", B64("dG9vbA=="), -32020, MCP_ERA_MODERN, -1 },
    { REQ("tools/call", "\"name\":\"\xc3\xa9\xe2\x82\xac!\"," META(V)), V,
      "tools/call", B64("w6nigqwh"), 0, MCP_ERA_MODERN, T },
    { REQ("tools/call", "\"name\":\"\xc3\xa9\"," META(V)), V,
      "tools/call", "\xc3\xa9", -32020, MCP_ERA_MODERN, -1 },
    { REQ("tools/call", "\"name\":\" a\\n\"," META(V)), V,
      "tools/call", B64("IGEK"), 0, MCP_ERA_MODERN, T },
    { REQ("tools/call", "\"name\":\"?>~?>\"," META(V)), V,
      "tools/call", B64("Pz5+Pz4="), 0, MCP_ERA_MODERN, T },
    { REQ("tools/call", "\"name\":\"?>~?>\"," META(V)), V,
      "tools/call", B64("Pz5-Pz4="), -32020, MCP_ERA_MODERN, -1 },
    { REQ("tools/call", "\"name\":\"?>~?>\"," META(V)), V,
      "tools/call", B64("Pz5+Pz5="), -32020, MCP_ERA_MODERN, -1 },

    /* the claim */
    { REQ("tools/list", META("2026-12-31")), "2026-12-31", "tools/list", NO,
      -32022, MCP_ERA_MODERN, -1 },
    { REQ("tools/list", META("2026-12-31")), NO, NO, NO, -32022,
      MCP_ERA_MODERN, -1 },
    { REQ("tools/list", META("2026-12-31")), V, "tools/list", NO, -32020,
      MCP_ERA_MODERN, -1 },
    { REQ("tools/list", META("draft")), V, "tools/list", NO, -32602,
      MCP_ERA_LEGACY, -1 },
    { REQ("tools/list", META("2026-7-28")), NO, NO, NO, -32602,
      MCP_ERA_LEGACY, -1 },
    { REQ("tools/list", META("2026-07-281")), NO, NO, NO, -32602,
      MCP_ERA_LEGACY, -1 },
    { REQ("tools/list", META("2026/07/28")), NO, NO, NO, -32602,
      MCP_ERA_LEGACY, -1 },
    { REQ("tools/list", META("")), NO, NO, NO, -32602, MCP_ERA_LEGACY, -1 },
    { REQ("tools/list", "\"_meta\":{\"io.modelcontextprotocol/protocolVersion"
      "\":20260728}"), NO, NO, NO, -32602, MCP_ERA_LEGACY, -1 },
    { REQ("tools/list", "\"_meta\":{\"io.modelcontextprotocol/protocolVersion"
      "\":null}"), "2025-11-25", NO, NO, -32602, MCP_ERA_LEGACY, -1 },
    { REQ("tools/list", META("2025-11-25")), "2025-11-25", NO, NO, 0,
      MCP_ERA_LEGACY, MCP_METHOD_LIST },
    { REQ("tools/list", META("2025-11-25")), V, NO, NO, -32020,
      MCP_ERA_LEGACY, -1 },
    { REQ("tools/list", ""), V, "tools/list", NO, -32602, MCP_ERA_MODERN,
      -1 },
    { REQ("tools/list", ""), "2026-07-29", "tools/list", NO, -32022,
      MCP_ERA_MODERN, -1 },
    { REQ("tools/list", "\"_meta\":{\"io.modelcontextprotocol/protocolVersion"
      "\":\"" V "\"}"), V, "tools/list", NO, -32602, MCP_ERA_MODERN, -1 },
    { REQ("tools/list", "\"_meta\":{\"io.modelcontextprotocol/protocolVersion"
      "\":\"" V "\",\"io.modelcontextprotocol/clientCapabilities\":[]}"), V,
      "tools/list", NO, -32602, MCP_ERA_MODERN, -1 },

    /* legacy */
    { CALL(""), NO, NO, NO, 0, MCP_ERA_LEGACY, T },
    { CALL(""), "2025-11-25", NO, NO, 0, MCP_ERA_LEGACY, T },
    { CALL(""), "2025-06-18", NO, NO, 0, MCP_ERA_LEGACY, T },
    { CALL(""), "2025-03-26", NO, NO, 0, MCP_ERA_LEGACY, T },
    { CALL(""), "2024-11-05", NO, NO, 0, MCP_ERA_LEGACY, T },
    { CALL(""), "2024-10-07", NO, NO, 0, MCP_ERA_LEGACY, T },
    { CALL(""), "2025-11-26", NO, NO, -32600, MCP_ERA_LEGACY, -1 },
    { CALL(""), "", NO, NO, -32600, MCP_ERA_LEGACY, -1 },
    { CALL(""), "9", NO, NO, -32600, MCP_ERA_LEGACY, -1 },
    { CALL(""), "2025-11-25, 2025-11-25", NO, NO, -32600, MCP_ERA_LEGACY, -1 },

    /* trap 15: the headers are compared in the legacy era too */
    { CALL(""), NO, "tools/call", "t", 0, MCP_ERA_LEGACY, T },
    { CALL(""), NO, "tools/list", NO, -32020, MCP_ERA_LEGACY, -1 },
    { CALL(""), NO, NO, "u", -32020, MCP_ERA_LEGACY, -1 },
    { CALL(""), NO, NO, B64("dA=="), 0, MCP_ERA_LEGACY, T },
    { REQ("resources/subscribe", "\"uri\":\"u\""), NO, NO, "v", -32020,
      MCP_ERA_LEGACY, -1 },
    { NOTE("tools/call", "\"name\":\"t\""), NO, NO, "u", -32020,
      MCP_ERA_LEGACY, -1 },

    /* methods of one era */
    { REQ("initialize", "\"protocolVersion\":\"2025-11-25\""), NO, NO, NO, 0,
      MCP_ERA_LEGACY, F },
    { REQ("initialize", "\"protocolVersion\":\"" V "\""), V, NO, NO, -32020,
      MCP_ERA_LEGACY, -1 },
    { REQ("initialize", "\"protocolVersion\":\"2027-01-01\""), NO, NO, NO, 0,
      MCP_ERA_LEGACY, F },
    { REQ("initialize", META(V)), V, "initialize", NO, 0, MCP_ERA_MODERN, U },
    { REQ("ping", META(V)), V, "ping", NO, 0, MCP_ERA_MODERN, U },
    { REQ("logging/setLevel", META(V)), V, "logging/setLevel", NO, 0,
      MCP_ERA_MODERN, U },
    { REQ("resources/subscribe", "\"uri\":\"u\"," META(V)), V,
      "resources/subscribe", "u", 0, MCP_ERA_MODERN, U },
    { REQ("server/discover", META(V)), V, "server/discover", NO, 0,
      MCP_ERA_MODERN, MCP_METHOD_DISCOVER },
    { REQ("server/discover", ""), NO, NO, NO, 0, MCP_ERA_LEGACY,
      MCP_METHOD_DISCOVER },
    { REQ("subscriptions/listen", META(V)), V, "subscriptions/listen", NO, 0,
      MCP_ERA_MODERN, MCP_METHOD_LISTEN },
    { REQ("subscriptions/listen", ""), NO, NO, NO, 0, MCP_ERA_LEGACY, U },
    { NOTE("notifications/cancelled", ""), NO, NO, NO, 0, MCP_ERA_LEGACY, F },
    { NOTE("notifications/cancelled", ""), V, NO, NO, 0, MCP_ERA_MODERN, U },
    { NOTE("notifications/initialized", META(V)), NO, NO, NO, 0,
      MCP_ERA_MODERN, U },
    { NOTE("notifications/x", ""), "2026-08-01", NO, NO, -32022,
      MCP_ERA_MODERN, -1 },

    /* trap 11: responses are of the legacy era */
    { "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}", NO, NO, NO, 0,
      MCP_ERA_LEGACY, -1 },
    { "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}", "2025-06-18", NO, NO, 0,
      MCP_ERA_LEGACY, -1 },
    { "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}", V, NO, NO, -32600,
      MCP_ERA_LEGACY, -1 },
    { "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}", NO, "tools/call", NO,
      -32020, MCP_ERA_LEGACY, -1 },
    { "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}", NO, "", NO,
      -32020, MCP_ERA_LEGACY, -1 },
    { "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}", NO, NO, "x",
      -32020, MCP_ERA_LEGACY, -1 }
};


static void
header(mcp_str_t *s, const char *text)
{
    mcp_str_null(s);

    if (strcmp(text, NO) != 0) {
        s->data = (unsigned char *) text;
        s->len = strlen(text);
    }
}


static void
test_check(void **state)
{
    int            rc;
    size_t         i;
    mcp_mirror_t   mirror;
    mcp_message_t  m;

    (void) state;

    for (i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
        header(&mirror.protocol_version, checks[i].version);
        header(&mirror.method, checks[i].method);
        header(&mirror.name, checks[i].name);

        rc = feed_str(&m, checks[i].body);

        if (rc != MCP_OK) {
            fail_msg("%s: %s", checks[i].body, m.fault.reason);
        }

        rc = mcp_message_check(&m, &mirror);

        if (m.fault.code != checks[i].code
            || (rc == MCP_OK) != (checks[i].code == 0)
            || m.era != checks[i].era
            || (checks[i].method_class != -1
                && (int) m.method_class != checks[i].method_class))
        {
            fail_msg("%s [%s] [%s] [%s]: %d %s era %d class %d",
                     checks[i].body, checks[i].version, checks[i].method,
                     checks[i].name, m.fault.code,
                     m.fault.http ? m.fault.reason : "", m.era,
                     m.method_class);
        }

        if (rc != MCP_OK) {
            assert_int_equal(m.fault.http, 400);

        } else if (m.method_class == U && m.kind != MCP_RESPONSE) {
            assert_int_equal(m.target_kind, MCP_TARGET_METHOD);
            assert_true(mcp_str_eq(&m.target, &m.method));
        }
    }
}


static const struct {
    const char   *args;
    const char   *pointer;
    mcp_value_e   type;
    const char   *text;
} values[] = {
    { "\"a\":\"x\"", "/a", MCP_VALUE_STRING, "x" },
    { "\"a\":\"\\u0078\\n\"", "/a", MCP_VALUE_STRING, "x\n" },
    { "\"\\u0061\":\"x\"", "/a", MCP_VALUE_STRING, "x" },
    { "\"a\":\"\"", "/a", MCP_VALUE_STRING, "" },
    { "\"a\":1.50e3", "/a", MCP_VALUE_NUMBER, "1.50e3" },
    { "\"a\":18446744073709551615", "/a", MCP_VALUE_NUMBER,
      "18446744073709551615" },
    { "\"a\":true", "/a", MCP_VALUE_TRUE, "" },
    { "\"a\":false", "/a", MCP_VALUE_FALSE, "" },
    { "\"a\":null", "/a", MCP_VALUE_NULL, "" },
    { "\"a\":{\"a\":1}", "/a", MCP_VALUE_OBJECT, "" },
    { "\"a\":[1]", "/a", MCP_VALUE_ARRAY, "" },
    { "", "/a", MCP_VALUE_ABSENT, "" },
    { "\"b\":{\"a\":1}", "/a", MCP_VALUE_ABSENT, "" },
    { "\"b\":[{\"a\":1}],\"a\":2", "/a", MCP_VALUE_NUMBER, "2" },
    { "\"\":5", "/", MCP_VALUE_NUMBER, "5" },
    { "\"a/b\":5", "/a~1b", MCP_VALUE_NUMBER, "5" },
    { "\"a~1b\":5", "/a~01b", MCP_VALUE_NUMBER, "5" },
    { "\"a\":{\"b\":{\"c\":7}}", "/a/b/c", MCP_VALUE_NUMBER, "7" },
    { "\"a\":{\"x\":[{\"b\":1}],\"b\":{\"c\":7,\"d\":{}}},\"c\":{}", "/a/b/c",
      MCP_VALUE_NUMBER, "7" },
    { "\"a\":{\"b\":7}", "/a/b/c", MCP_VALUE_ABSENT, "" },
    { "\"a\":{\"b\":{}},\"b\":{\"c\":1}", "/a/b/c", MCP_VALUE_ABSENT, "" },
    { "\"a\":{},\"c\":{\"b\":1}", "/a/b", MCP_VALUE_ABSENT, "" },

    /* arrays */
    { "\"a\":[\"x\",\"y\",\"z\"]", "/a/1", MCP_VALUE_STRING, "y" },
    { "\"a\":[\"x\",\"y\",\"z\"]", "/a/0", MCP_VALUE_STRING, "x" },
    { "\"a\":[\"x\"]", "/a/1", MCP_VALUE_ABSENT, "" },
    { "\"a\":[\"x\",\"y\"]", "/a/01", MCP_VALUE_ABSENT, "" },
    { "\"a\":[\"x\",\"y\"]", "/a/-", MCP_VALUE_ABSENT, "" },
    { "\"a\":[\"x\",\"y\"]", "/a/", MCP_VALUE_ABSENT, "" },
    { "\"a\":[[1,2],{\"x\":[3]},[4,{\"b\":5}]]", "/a/2/1/b", MCP_VALUE_NUMBER,
      "5" },
    { "\"a\":[{\"b\":1},{\"b\":2}]", "/a/1/b", MCP_VALUE_NUMBER, "2" },
    { "\"a\":[{\"b\":1},{\"b\":2}]", "/a/0/b", MCP_VALUE_NUMBER, "1" },
    { "\"a\":[0,1,2,3,4,5,6,7,8,9,10,11,12]", "/a/11", MCP_VALUE_NUMBER,
      "11" },
    { "\"a\":[[],[],\"x\"]", "/a/2", MCP_VALUE_STRING, "x" },
    { "\"a\":{\"1\":\"x\"}", "/a/1", MCP_VALUE_STRING, "x" },

    /* what two readers could see differently */
    { "\"a\":1,\"a\":2", "/a", MCP_VALUE_UNCLEAR, "" },
    { "\"a\":1,\"a\":1", "/a", MCP_VALUE_UNCLEAR, "" },
    { "\"a\":1,\"\\u0061\":2", "/a", MCP_VALUE_UNCLEAR, "" },
    { "\"a\":1,\"A\":2", "/a", MCP_VALUE_UNCLEAR, "" },
    { "\"A\":2,\"a\":1", "/a", MCP_VALUE_UNCLEAR, "" },
    { "\"A\":2", "/a", MCP_VALUE_UNCLEAR, "" },
    { "\"\xe2\x84\xaa\":2", "/k", MCP_VALUE_UNCLEAR, "" },
    { "\"u\\u017fer\":2,\"user\":1", "/user", MCP_VALUE_UNCLEAR, "" },
    { "\"a\":{\"b\":1},\"a\":{\"c\":1}", "/a/b", MCP_VALUE_UNCLEAR, "" },
    { "\"a\":{\"b\":1},\"A\":{\"b\":2}", "/a/b", MCP_VALUE_UNCLEAR, "" },
    { "\"a\":{\"b\":1,\"B\":1}", "/a/b", MCP_VALUE_UNCLEAR, "" },
    { "\"a\":{\"b\":1,\"b\":1}", "/a/b", MCP_VALUE_UNCLEAR, "" },
    { "\"a\":{\"b\":{}},\"a\":5", "/a/b/c", MCP_VALUE_UNCLEAR, "" },
    { "\"a\":[{\"b\":1,\"b\":2}]", "/a/0/b", MCP_VALUE_UNCLEAR, "" },
    { "\"a\":{\"x\":{\"b\":9},\"b\":1},\"x\":{\"b\":1,\"b\":1}", "/a/b",
      MCP_VALUE_NUMBER, "1" },
    { "\"b\":1,\"b\":2,\"a\":3", "/a", MCP_VALUE_NUMBER, "3" },

    /* max_value is 24 */
    { "\"a\":\"012345678901234567890123\"", "/a", MCP_VALUE_STRING,
      "012345678901234567890123" },
    { "\"a\":\"0123456789012345678901234\"", "/a", MCP_VALUE_UNCLEAR, "" },
    { "\"a\":\"\\n0123456789012345678901" NAME64 NAME64 NAME64 NAME64
      NAME64 "\"", "/a", MCP_VALUE_UNCLEAR, "" },
    { "\"a\":1234567890123456789012345", "/a", MCP_VALUE_UNCLEAR, "" }
};


static void
test_values(void **state)
{
    size_t         i;
    char           body[2048];
    const char    *texts[2];
    mcp_message_t  m;

    (void) state;
    texts[1] = NULL;

    for (i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        texts[0] = values[i].pointer;
        set_pointers(texts);
        sprintf(body, CALL("%s"), values[i].args);

        assert_int_equal(feed_str(&m, body), MCP_OK);

        if (m.values[0].type != values[i].type) {
            fail_msg("%s %s: %d", values[i].args, values[i].pointer,
                     m.values[0].type);
        }

        eq(&m.values[0].text, values[i].text);
        same_in_pieces(body, strlen(body));
    }

    conf.npointers = 0;
}


/* many pointers at once: one value for each, sets do not mix */
static void
test_pointers_together(void **state)
{
    unsigned                  i;
    mcp_message_t             m;
    static const char *const  texts[] = {
        "/a", "/a/b", "/a/c", "/a/b/0", "/a/b/1", "/d", "/a", "/e/a", NULL
    };
    static const mcp_value_e  want[] = {
        MCP_VALUE_OBJECT, MCP_VALUE_ARRAY, MCP_VALUE_UNCLEAR,
        MCP_VALUE_NUMBER, MCP_VALUE_ABSENT, MCP_VALUE_STRING,
        MCP_VALUE_OBJECT, MCP_VALUE_ABSENT
    };

    (void) state;

    set_pointers(texts);
    assert_int_equal(feed_str(&m, CALL("\"a\":{\"c\":1,\"b\":[4],\"C\":2},"
                                       "\"d\":\"x\",\"e\":[5]")), MCP_OK);

    for (i = 0; i < conf.npointers; i++) {
        assert_int_equal(m.values[i].type, want[i]);
    }

    eq(&m.values[3].text, "4");
    eq(&m.values[5].text, "x");
    conf.npointers = 0;
}


static void
test_arg_keys(void **state)
{
    size_t         n;
    unsigned       i;
    char           body[4096];
    mcp_message_t  m;

    (void) state;

    assert_int_equal(feed_str(&m, CALL("\"a\":{\"x\":1},\"\\u0062\":[{}]")),
                     MCP_OK);
    assert_int_equal(m.nargs, 2);
    assert_int_equal(m.narg_keys, 2);
    eq(&m.arg_keys[0], "a");
    eq(&m.arg_keys[1], "b");
    assert_int_equal(m.args_start, strlen("{\"jsonrpc\":\"2.0\",\"id\":1,"
        "\"method\":\"tools/call\",\"params\":{\"name\":\"t\",\"arguments\":"));
    assert_int_equal(m.args_end - m.args_start,
                     strlen("{\"a\":{\"x\":1},\"\\u0062\":[{}]}"));

    /* 128 bytes of a name, cut at a character; 32 names */
    n = (size_t) sprintf(body, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":"
                         "\"tools/call\",\"params\":{\"name\":\"t\","
                         "\"arguments\":{\"%.126s\xe2\x82\xac%s\":0",
                         NAME64 NAME64, NAME64 NAME64);

    for (i = 1; i < 40; i++) {
        n += (size_t) sprintf(body + n, ",\"k%u\":1", i);
    }

    strcpy(body + n, "}}}");
    assert_int_equal(feed_str(&m, body), MCP_OK);
    assert_int_equal(m.nargs, 40);
    assert_int_equal(m.narg_keys, 32);
    assert_int_equal(m.arg_keys[0].len, 126);
    eq(&m.arg_keys[31], "k31");
    same_in_pieces(body, strlen(body));

    assert_int_equal(feed_str(&m, REQ("tools/call", "\"name\":\"t\"")),
                     MCP_OK);
    assert_int_equal(m.args_start, m.args_end);

    assert_int_equal(feed_str(&m, CALL("")), MCP_OK);
    assert_int_equal(m.nargs, 0);
    assert_int_equal(m.args_end - m.args_start, 2);
}


static void
test_pointer_compile(void **state)
{
    size_t               i;
    char                 deep[80];
    mcp_mem_t            mem = { arena_alloc, &conf_arena };
    mcp_str_t            text;
    const char          *error;
    mcp_pointer_t        p;
    static const char *const  bad[] = {
        "", "a", "a/b", "#/a", "/a~", "/a~2", "/~/a", "/~a", "/\xff"
    };

    (void) state;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        text.data = (unsigned char *) bad[i];
        text.len = strlen(bad[i]);
        error = NULL;
        assert_int_equal(mcp_pointer_compile(&p, &text, &mem, &error),
                         MCP_ERROR);
        assert_non_null(error);
    }

    mcp_str_set(&text, "/a~1~0//0/");
    assert_int_equal(mcp_pointer_compile(&p, &text, &mem, &error), MCP_OK);
    assert_int_equal(p.ntokens, 4);
    eq(&p.tokens[0], "a/~");
    eq(&p.tokens[1], "");
    eq(&p.tokens[2], "0");
    eq(&p.tokens[3], "");
    eq(&p.text, "/a~1~0//0/");

    for (i = 0; i < sizeof(deep); i += 2) {
        memcpy(deep + i, "/x", 2);
    }

    text.data = (unsigned char *) deep;
    text.len = 64;
    assert_int_equal(mcp_pointer_compile(&p, &text, &mem, &error), MCP_OK);
    text.len = 66;
    assert_int_equal(mcp_pointer_compile(&p, &text, &mem, &error), MCP_ERROR);
}


/* the n-th allocation fails: an error, never a crash or a wrong OK */
static void
test_no_memory(void **state)
{
    int                n, rc, failed;
    size_t             i;
    mcp_mem_t          mem = { arena_alloc, &arena };
    mcp_message_t      m;
    static char        body[4096];

    (void) state;

    i = (size_t) sprintf(body, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":"
                         "\"subscriptions/listen\",\"params\":{"
                         "\"notifications\":{\"resourceSubscriptions\":[");

    for (n = 0; n < 40; n++) {
        i += (size_t) sprintf(body + i, "\"r:%s\",", NAME40);
    }

    strcpy(body + i - 1, "]}}}");

    for (n = 0, failed = 1; failed; n++) {
        arena_free(&arena);
        arena.left = n;
        failed = 0;

        rc = mcp_message_init(&m, &conf, &mem);

        if (rc == MCP_OK) {
            rc = mcp_message_feed(&m, (unsigned char *) body, strlen(body), 1);
        }

        if (rc != MCP_OK) {
            failed = 1;
            assert_int_equal(rc, MCP_ERROR);
            assert_int_equal(m.fault.http, 500);
        }
    }

    assert_true(n > 10);
}


/* a usual call takes one block of the arena */
static void
test_allocations(void **state)
{
    mcp_message_t  m;

    (void) state;

    assert_int_equal(feed_str(&m, CALLM), MCP_OK);
    assert_int_equal(arena.count, 1);
}


/* mutated bodies, for a second: no crash, and the pieces agree */
static void
test_mutations(void **state)
{
    int                   rc;
    char                  text[2048];
    size_t                i, k, n, len;
    clock_t               end;
    const char           *body;
    mcp_mirror_t          mirror;
    mcp_message_t         m;
    static char           whole[MAX_LOG], other[MAX_LOG];
    static unsigned char  cut[2048];
    static const char     bytes[] = "{}[]\",:\\/u0019eE+-.tfnNaA \x80\xc3\x00";
    static const char *const  texts[] = { "/a", "/a/b", "/b/1/c", "/x1", NULL };

    (void) state;

    set_pointers(texts);
    memset(&mirror, 0, sizeof(mirror));
    end = clock() + CLOCKS_PER_SEC;

    while (clock() < end) {
        switch (rand() % 3) {
        case 0:
            body = bodies[(size_t) rand() % NBODIES].body;
            break;
        case 1:
            body = REQ("tools/call", "\"name\":\"t\",\"arguments\":{\"a\":{"
                       "\"b\":1},\"b\":[0,{\"c\":\"\\u20ac\"}]}," META(V));
            break;
        default:
            body = checks[(size_t) rand() % (sizeof(checks)
                                             / sizeof(checks[0]))].body;
        }

        len = strlen(body);
        memcpy(text, body, len);

        for (k = (size_t) rand() % 3; k && len; k--) {
            i = (size_t) rand() % len;

            switch (rand() % 3) {
            case 0:
                text[i] = bytes[(size_t) rand() % (sizeof(bytes) - 1)];
                break;
            case 1:
                memmove(text + i, text + i + 1, len - i - 1);
                len--;
                break;
            default:
                memmove(text + i + 1, text + i, len - i);
                len++;
            }
        }

        for (i = 0; i <= len; i++) {
            cut[i] = (rand() % 9 == 0);
        }

        rc = feed(&m, text, len, NULL);
        n = dump(whole, rc, &m);

        if (rc == MCP_OK) {
            mcp_message_check(&m, &mirror);
        }

        rc = feed(&m, text, len, cut);

        if (dump(other, rc, &m) != n || memcmp(whole, other, n) != 0) {
            fail_msg("\"%.*s\":\n%s\nin pieces:\n%s", (int) len, text, whole,
                     other);
        }
    }

    conf.npointers = 0;
}


int
main(void)
{
    int                      rc;
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_splits),
        cmocka_unit_test(test_targets),
        cmocka_unit_test(test_meta),
        cmocka_unit_test(test_responses),
        cmocka_unit_test(test_listen),
        cmocka_unit_test(test_check),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_pointers_together),
        cmocka_unit_test(test_arg_keys),
        cmocka_unit_test(test_pointer_compile),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_allocations),
        cmocka_unit_test(test_mutations),
    };

    srand(20260728);

    rc = cmocka_run_group_tests(tests, NULL, NULL);

    arena_free(&arena);
    arena_free(&conf_arena);

    return rc;
}
