/*
 * core/mcp_audit: the line has all members in the order of DESIGN.md section
 * 8, and stays one valid line of JSON whatever a caller puts into it.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <jansson.h>

#include "mcp_audit.h"


#define NELTS(a)    (sizeof(a) / sizeof((a)[0]))
#define MAX_BLOCKS  4096


typedef struct {
    mcp_audit_t      a;
    mcp_message_t    m;
    mcp_principal_t  p;
    mcp_str_t        keys[MCP_MAX_ARG_KEYS];
    mcp_value_t      values[MCP_MAX_POINTERS];
    unsigned         clear[MCP_MAX_POINTERS];
    mcp_str_t        uris[1];
} record_t;


static record_t       rec;
static void          *blocks[MAX_BLOCKS];
static unsigned       nblocks;
static unsigned char  line[MCP_AUDIT_MAX + 1];
static size_t         len;


static void *
alloc(void *ctx, size_t size)
{
    (void) ctx;

    assert_true(nblocks < MAX_BLOCKS);

    return blocks[nblocks++] = malloc(size);
}


static mcp_str_t
str(const char *s)
{
    mcp_str_t  v;

    v.data = (unsigned char *) s;
    v.len = strlen(s);

    return v;
}


static mcp_policy_t *
make_policy(unsigned nroles, const char *prefix, unsigned npointers)
{
    char            name[128];
    unsigned        i, k;
    mcp_str_t       s, words[3];
    mcp_mem_t       mem = { alloc, NULL };
    mcp_policy_t   *policy;

    policy = mcp_policy_create(&mem);

    for (i = 0; i < nroles; i++) {
        snprintf(name, sizeof(name), "%s%u", prefix, i + 1);
        s = str(name);
        assert_int_equal(mcp_policy_role(policy, i + 1, &s), MCP_OK);
        words[0] = str("allow");
        words[1] = str("tool");
        words[2] = str("*");
        assert_int_equal(mcp_policy_rule(policy, i + 1, words, 3, name,
                                         sizeof(name)), MCP_OK);
    }

    for (i = 0; i < npointers; i++) {
        snprintf(name, sizeof(name), "/p%u", i);
        s = str(name);
        assert_int_equal(mcp_policy_pointer(policy, &s, &k, name,
                                            sizeof(name)), MCP_OK);
        assert_int_equal(k, i);
    }

    assert_int_equal(mcp_policy_finish(policy, name, sizeof(name)), MCP_OK);

    return policy;
}


/* A record with everything in it. */

static int
setup(void **state)
{
    mcp_audit_t      *a;
    mcp_message_t    *m;
    mcp_principal_t  *p;

    (void) state;

    memset(&rec, 0, sizeof(rec));

    a = &rec.a;
    m = &rec.m;
    p = &rec.p;

    a->sec = 1795392123;
    a->usec = 4567;
    a->seq = 42;
    a->node = str("gw1");
    a->worker = 3;
    a->ev = "call";
    a->server = str("jira");
    a->message = m;
    a->decision = "allow";
    a->reason = "allow";
    a->rule = str("role1: allow tool *");
    a->principal = p;
    a->policy = make_policy(2, "role", 8);
    a->session = str("5e55");
    a->params_digest = str("abcd");
    a->clear = rec.clear;
    a->nclear = 1;
    a->status = 200;
    a->has_rpc_code = 1;
    a->rpc_code = -32602;
    a->has_result = 1;
    a->is_error = 1;
    a->result_bytes = 512;
    a->result_digest = str("ef01");
    a->has_removed = 1;
    a->removed = 4;
    a->credential = str("jira_bot");
    a->upstream_addr = str("10.0.0.5:8080");
    a->upstream_status = 200;
    a->upstream_us = 1204;
    a->total_us = 1000000;
    a->auth_us = 26;
    a->credential_us = 0;
    a->client_ip = str("192.0.2.1");
    a->request_id = str("r1");
    a->trace_id = str("0af7651916cd43dd8448eb211c80319c");

    m->kind = MCP_REQUEST;
    m->era = MCP_ERA_MODERN;
    m->method = str("tools/call");
    m->id = str("7");
    m->target = str("search_issues");
    m->agent_name = str("inspector");
    m->agent_version = str("1.0");
    m->args_start = 100;
    m->args_end = 142;
    m->arg_keys = rec.keys;
    m->narg_keys = 2;
    m->nargs = 2;
    m->values = rec.values;
    rec.keys[0] = str("p0");
    rec.keys[1] = str("q");
    rec.values[0].type = MCP_VALUE_STRING;
    rec.values[0].text = str("fix it");

    p->kind = MCP_CALLER_USER;
    p->auth = MCP_AUTH_JWT;
    p->iss = str("https://acme.okta.com/oauth2/default");
    p->user = str("ann@acme.com");
    p->client = str("0oa1");
    p->token_id = str("AT.1");
    mcp_role_set(&p->roles, 1);
    mcp_role_set(&p->roles, 2);

    return 0;
}


static int
teardown(void **state)
{
    (void) state;

    while (nblocks) {
        free(blocks[--nblocks]);
    }

    return 0;
}


/* Writes the line, checks what is true of each line, and parses it. */

static json_t *
write_line(void)
{
    size_t         i, at;
    json_t        *json, *value;
    const char    *key;
    json_error_t   error;

    static const char *const  order[] = {
        "ts", "seq", "node", "worker", "ev", "server", "method", "target",
        "decision", "reason", "rule", "user", "client", "kind", "auth",
        "issuer", "token_id", "roles", "agent", "rpc_id", "era", "session",
        "params", "result", "credential", "upstream", "ms", "client_ip",
        "request_id", "trace_id"
    };

    memset(line, '#', sizeof(line));
    len = mcp_audit_line(&rec.a, line);

    assert_true(len > 2 && len <= MCP_AUDIT_MAX);
    assert_int_equal(line[MCP_AUDIT_MAX], '#');
    assert_int_equal(line[len - 1], '\n');
    assert_int_equal(line[len - 2], '}');

    line[len] = '\0';

    for (i = 0; i + 1 < len; i++) {
        assert_true(line[i] >= 0x20 && line[i] != 0x7f);
    }

    assert_true(mcp_utf8_valid(line, len));

    json = json_loadb((char *) line, len, JSON_REJECT_DUPLICATES, &error);

    if (json == NULL) {
        fail_msg("%s: %.*s", error.text, (int) len, (char *) line);
    }

    at = 0;

    json_object_foreach(json, key, value) {
        while (at < NELTS(order) && strcmp(order[at], key)) {
            at++;
        }

        assert_true(at < NELTS(order));
    }

    return json;
}


static void
expect(const char *want)
{
    json_decref(write_line());
    assert_string_equal((char *) line, want);
}


static void
expect_part(const char *want)
{
    json_decref(write_line());

    if (strstr((char *) line, want) == NULL) {
        fail_msg("no %s in %s", want, (char *) line);
    }
}


static void
expect_none(const char *text)
{
    json_decref(write_line());

    if (strstr((char *) line, text) != NULL) {
        fail_msg("%s in %s", text, (char *) line);
    }
}


static void
test_full(void **state)
{
    (void) state;

    /* more than jansson takes */
    rec.a.seq = UINT64_MAX;
    len = mcp_audit_line(&rec.a, line);
    line[len] = '\0';
    assert_non_null(strstr((char *) line, "\"seq\":18446744073709551615,"));

    rec.a.seq = 42;
    expect("{\"ts\":\"2026-11-23T00:02:03.004567Z\",\"seq\":42,"
           "\"node\":\"gw1\",\"worker\":3,\"ev\":\"call\",\"server\":\"jira\","
           "\"method\":\"tools/call\",\"target\":\"search_issues\","
           "\"decision\":\"allow\",\"reason\":\"allow\","
           "\"rule\":\"role1: allow tool *\",\"user\":\"ann@acme.com\","
           "\"client\":\"0oa1\",\"kind\":\"user\",\"auth\":\"jwt\","
           "\"issuer\":\"https://acme.okta.com/oauth2/default\","
           "\"token_id\":\"AT.1\",\"roles\":[\"role1\",\"role2\"],"
           "\"agent\":{\"name\":\"inspector\",\"version\":\"1.0\"},"
           "\"rpc_id\":7,\"era\":\"modern\",\"session\":\"5e55\","
           "\"params\":{\"keys\":[\"p0\",\"q\"],\"bytes\":42,"
           "\"digest\":\"abcd\",\"clear\":{\"/p0\":\"fix it\"}},"
           "\"result\":{\"status\":200,\"rpc_code\":-32602,\"is_error\":true,"
           "\"bytes\":512,\"digest\":\"ef01\",\"removed\":4},"
           "\"credential\":\"jira_bot\",\"upstream\":{"
           "\"addr\":\"10.0.0.5:8080\",\"status\":200,\"ms\":1.204},"
           "\"ms\":{\"total\":1000.000,\"auth\":0.026,\"credential\":0.000},"
           "\"client_ip\":\"192.0.2.1\",\"request_id\":\"r1\","
           "\"trace_id\":\"0af7651916cd43dd8448eb211c80319c\"}\n");
}


/* What there is none of is absent. */

static void
test_empty(void **state)
{
    (void) state;

    memset(&rec, 0, sizeof(rec));
    rec.a.upstream_us = -1;
    rec.a.total_us = -1;
    rec.a.auth_us = -1;
    rec.a.credential_us = -1;

    expect("{\"ts\":\"1970-01-01T00:00:00.000000Z\",\"seq\":0,\"worker\":0}"
           "\n");

    rec.a.ev = "session";
    rec.a.http_method = "GET";
    rec.a.decision = "deny";
    rec.a.reason = "no_token";
    rec.a.status = 401;
    rec.a.total_us = 999;
    rec.a.principal = &rec.p;
    rec.a.policy = make_policy(1, "r", 1);
    rec.a.clear = rec.clear;
    rec.a.nclear = 1;

    expect("{\"ts\":\"1970-01-01T00:00:00.000000Z\",\"seq\":0,\"worker\":0,"
           "\"ev\":\"session\",\"method\":\"GET\",\"decision\":\"deny\","
           "\"reason\":\"no_token\",\"result\":{\"status\":401},"
           "\"ms\":{\"total\":0.999}}\n");

    /* a body that could not be read: no era, no agent, no params */
    rec.a.message = &rec.m;

    expect("{\"ts\":\"1970-01-01T00:00:00.000000Z\",\"seq\":0,\"worker\":0,"
           "\"ev\":\"session\",\"decision\":\"deny\","
           "\"reason\":\"no_token\",\"result\":{\"status\":401},"
           "\"ms\":{\"total\":0.999}}\n");
}


static void
test_words(void **state)
{
    (void) state;

    rec.p.kind = MCP_CALLER_SERVICE;
    rec.p.auth = MCP_AUTH_PAT;
    rec.m.era = MCP_ERA_LEGACY;
    rec.a.is_error = 0;
    expect_part("\"kind\":\"service\",\"auth\":\"pat\"");
    expect_part("\"era\":\"legacy\"");
    expect_part("\"is_error\":false,\"bytes\":512");

    rec.p.auth = MCP_AUTH_VAT;
    expect_part("\"auth\":\"vat\"");

    rec.m.agent_name.len = 0;
    expect_part("\"agent\":{\"version\":\"1.0\"}");
    rec.m.agent_version.len = 0;
    expect_none("\"agent\"");

    rec.m.target.len = 0;
    rec.uris[0] = str("doc://a");
    rec.m.uris = rec.uris;
    rec.m.nuris = 1;
    expect_part("\"target\":\"doc://a\"");

    rec.a.policy = NULL;
    expect_none("\"roles\"");
    expect_none("\"clear\"");

    memset(&rec.p.roles, 0, sizeof(rec.p.roles));
    rec.a.policy = make_policy(1, "r", 0);
    expect_none("\"roles\"");
}


static void
test_time(void **state)
{
    size_t  i;
    char    want[64];

    static const struct {
        int64_t      sec;
        unsigned     usec;
        const char  *ts;
    } t[] = {
        { 0, 0, "1970-01-01T00:00:00.000000Z" },
        { 86399, 999999, "1970-01-01T23:59:59.999999Z" },
        { 86400, 1, "1970-01-02T00:00:00.000001Z" },
        { 68169600, 0, "1972-02-29T00:00:00.000000Z" },
        { 951782399, 100000, "2000-02-28T23:59:59.100000Z" },
        { 951782400, 0, "2000-02-29T00:00:00.000000Z" },
        { 951868800, 0, "2000-03-01T00:00:00.000000Z" },
        { 978307199, 0, "2000-12-31T23:59:59.000000Z" },
        { 1709164800, 0, "2024-02-29T00:00:00.000000Z" },
        { 1772323200, 0, "2026-03-01T00:00:00.000000Z" },
        { 4107542400, 0, "2100-03-01T00:00:00.000000Z" },
        { 4107542399, 0, "2100-02-28T23:59:59.000000Z" },
        { 253402300799, 999999, "9999-12-31T23:59:59.999999Z" },
        { INT64_MAX, 1000000, "9999-12-31T23:59:59.999999Z" },
        { -1, 0, "1970-01-01T00:00:00.000000Z" }
    };

    (void) state;

    for (i = 0; i < NELTS(t); i++) {
        rec.a.sec = t[i].sec;
        rec.a.usec = t[i].usec;
        snprintf(want, sizeof(want), "{\"ts\":\"%s\",", t[i].ts);
        expect_part(want);
    }
}


static void
test_rpc_id(void **state)
{
    char    want[256];
    size_t  i;

    static const char *const  t[][2] = {
        { "0", "0" },
        { "-1", "-1" },
        { "123456789012345", "123456789012345" },
        { "-123456789012345", "-123456789012345" },
        { "1234567890123456", "\"1234567890123456\"" },
        { "9007199254740993", "\"9007199254740993\"" },
        { "-0", "\"-0\"" },
        { "-", "\"-\"" },
        { "01", "\"01\"" },
        { "1.0", "\"1.0\"" },
        { "1e999", "\"1e999\"" },
        { "\"7\"", "\"7\"" },
        { "\"\"", "\"\"" },
        { "\"", "\"\"" },
        { "\"a b\"", "\"a b\"" },
        { "\"a\\\"b\\n\"", "\"a\\\\\\\"b\\\\n\"" },
        { "\"\xC3\xA4\xE2\x80\xA8\"", "\"\xC3\xA4\\u2028\"" },
        { "1,\"decision\":\"allow\"",
          "\"1,\\\"decision\\\":\\\"allow\\\"\"" }
    };

    (void) state;

    for (i = 0; i < NELTS(t); i++) {
        rec.m.id = str(t[i][0]);
        snprintf(want, sizeof(want), ",\"rpc_id\":%s,\"era\"", t[i][1]);
        expect_part(want);
    }

    rec.m.id.len = 0;
    expect_none("rpc_id");
}


static void
test_clear(void **state)
{
    unsigned  i;

    static const struct {
        mcp_value_e   type;
        const char   *text;
        const char   *want;             /* NULL: not shown */
    } t[] = {
        { MCP_VALUE_STRING, "a\"b\n", "{\"/p0\":\"a\\\"b\\n\"}" },
        { MCP_VALUE_STRING, "", "{\"/p0\":\"\"}" },
        { MCP_VALUE_NUMBER, "12.50", "{\"/p0\":12.50}" },
        { MCP_VALUE_NUMBER, "-0.5", "{\"/p0\":-0.5}" },
        { MCP_VALUE_NUMBER, "0", "{\"/p0\":0}" },

        /* what readers would round or choke on */
        { MCP_VALUE_NUMBER, "1e999", "{\"/p0\":\"1e999\"}" },
        { MCP_VALUE_NUMBER, "-0", "{\"/p0\":\"-0\"}" },
        { MCP_VALUE_NUMBER, "99999999999999999999",
          "{\"/p0\":\"99999999999999999999\"}" },
        { MCP_VALUE_TRUE, "", "{\"/p0\":true}" },
        { MCP_VALUE_FALSE, "", "{\"/p0\":false}" },
        { MCP_VALUE_NULL, "", "{\"/p0\":null}" },
        { MCP_VALUE_OBJECT, "", NULL },
        { MCP_VALUE_ARRAY, "", NULL },
        { MCP_VALUE_ABSENT, "", NULL },
        { MCP_VALUE_UNCLEAR, "x", NULL }
    };

    (void) state;

    for (i = 0; i < NELTS(t); i++) {
        rec.values[0].type = t[i].type;
        rec.values[0].text = str(t[i].text);

        if (t[i].want) {
            expect_part("\"clear\":");
            expect_part(t[i].want);

        } else {
            expect_none("\"clear\"");
        }
    }

    for (i = 0; i < 8; i++) {
        rec.clear[i] = i;
        rec.values[i].type = (i % 2) ? MCP_VALUE_TRUE : MCP_VALUE_OBJECT;
    }

    rec.clear[7] = 99;                  /* no such pointer */
    rec.a.nclear = 8;
    expect_part("\"clear\":{\"/p1\":true,\"/p3\":true,\"/p5\":true}},");
}


static void
test_keys(void **state)
{
    unsigned  i;

    (void) state;

    rec.m.nargs = 40;
    expect_part("\"keys\":[\"p0\",\"q\",\"\xE2\x80\xA6\"],\"bytes\"");

    rec.m.nargs = 0;
    rec.m.narg_keys = 0;
    rec.a.params_digest.len = 0;
    rec.a.nclear = 0;
    expect_part("\"params\":{\"bytes\":42},");

    rec.m.args_end = rec.m.args_start;
    expect_none("\"params\"");

    /* 32 names of 64 bytes are more than 1 KB */
    rec.m.args_end = 9999;
    rec.m.narg_keys = 32;
    rec.m.nargs = 32;

    for (i = 0; i < 32; i++) {
        rec.keys[i] = str("0123456789abcdef0123456789abcdef"
                          "0123456789abcdef0123456789abcdef");
    }

    expect_part("0123456789abcdef\",\"\xE2\x80\xA6\"],\"bytes\":9899}");
}


/* Each string a caller may choose, with each thing that breaks a log. */

static void
test_injection(void **state)
{
    size_t      i, k, n;
    json_t     *json;
    mcp_str_t   evil;

#define E(s)  { sizeof(s) - 1, (unsigned char *) (s) }

    static const mcp_str_t  evils[] = {
        E("a\nb"), E("a\r\n{\"ts\":\"1\"}\n"), E("\x1b[2J\x1b[31m"),
        E("\",\"decision\":\"allow\",\"x\":\""), E("\\"), E("\\\""),
        E("\xE2\x80\xA8"), E("\xE2\x80\xA9"), E("\xC2\x85\xC2\x9B"),
        E("\xE2\x80\xAE" "gnp"), E("\x80\xFF\xC0\xAF"), E("\xED\xA0\x80"),
        E("a\0b"), E("\x7f"), E("\xF0\x9F\x98"), E("\xEF\xBF\xBF")
    };

    mcp_str_t *const  fields[] = {
        &rec.a.node, &rec.a.server, &rec.a.rule, &rec.a.session,
        &rec.a.params_digest, &rec.a.result_digest, &rec.a.credential,
        &rec.a.upstream_addr, &rec.a.client_ip, &rec.a.request_id,
        &rec.a.trace_id, &rec.m.method, &rec.m.id, &rec.m.target,
        &rec.m.agent_name, &rec.m.agent_version, &rec.keys[0],
        &rec.values[0].text, &rec.p.iss, &rec.p.user, &rec.p.client,
        &rec.p.token_id
    };

    (void) state;


    for (k = 0; k < NELTS(fields); k++) {

        for (i = 0; i < NELTS(evils); i++) {
            evil = *fields[k];
            *fields[k] = evils[i];

            json = write_line();
            n = json_object_size(json);
            assert_int_equal(n, 30);
            assert_string_equal(json_string_value(json_object_get(json,
                                                  "decision")), "allow");
            assert_null(strstr((char *) line, "\xE2\x80\xA8"));
            assert_null(strstr((char *) line, "\xC2\x9B"));
            assert_null(strstr((char *) line, "\xE2\x80\xAE"));
            json_decref(json);

            *fields[k] = evil;
        }
    }

#undef E
}


/* Everything huge and made of the bytes that escape longest. */

static void
test_huge(void **state)
{
    size_t                i, k;
    json_t               *json, *params;
    mcp_str_t             big;
    static unsigned char  data[70000];

    static const unsigned char  fill[] = { 'x', '"', '\n', 1, 0xff, 0xc2 };

    mcp_str_t *const  fields[] = {
        &rec.a.node, &rec.a.server, &rec.a.rule, &rec.a.session,
        &rec.a.params_digest, &rec.a.result_digest, &rec.a.credential,
        &rec.a.upstream_addr, &rec.a.client_ip, &rec.a.request_id,
        &rec.a.trace_id, &rec.m.method, &rec.m.id, &rec.m.target,
        &rec.m.agent_name, &rec.m.agent_version, &rec.p.iss, &rec.p.user,
        &rec.p.client, &rec.p.token_id
    };

    (void) state;

    rec.a.seq = INT64_MAX;
    rec.a.sec = INT64_MAX;
    rec.a.worker = UINT32_MAX;
    rec.a.status = UINT32_MAX;
    rec.a.removed = UINT32_MAX;
    rec.a.upstream_status = UINT32_MAX;
    rec.a.rpc_code = INT64_MIN;
    rec.a.result_bytes = INT64_MAX;
    rec.a.upstream_us = INT64_MAX;
    rec.a.total_us = INT64_MAX;
    rec.a.auth_us = INT64_MAX;
    rec.a.credential_us = INT64_MAX;
    rec.a.reason = "a_reason_that_is_as_long_as_reasons_are";
    rec.a.policy = make_policy(60, "a_role_with_a_name_that_is_quite_long_and_"
                                   "goes_on_for_nearly_eighty_bytes_", 64);
    rec.a.nclear = 64;

    rec.m.narg_keys = MCP_MAX_ARG_KEYS;
    rec.m.nargs = 1000;
    rec.m.args_end = INT64_MAX;

    for (i = 1; i <= 60; i++) {
        mcp_role_set(&rec.p.roles, i);
    }

    for (k = 0; k < NELTS(fill); k++) {
        memset(data, fill[k], sizeof(data));

        if (fill[k] == 0xc2) {
            for (i = 1; i < sizeof(data); i += 2) {
                data[i] = 0x80;
            }
        }

        big.data = data;
        big.len = sizeof(data);

        for (i = 0; i < NELTS(fields); i++) {
            *fields[i] = big;
        }

        for (i = 0; i < MCP_MAX_ARG_KEYS; i++) {
            rec.keys[i] = big;
        }

        for (i = 0; i < 64; i++) {
            rec.clear[i] = (unsigned) i;
            rec.values[i].type = MCP_VALUE_STRING;
            rec.values[i].text = big;
        }

        json = write_line();

        /* nothing of it is missing, but of params and roles there is less */
        assert_int_equal(json_object_size(json), 30);
        assert_true(json_array_size(json_object_get(json, "roles")) > 8);
        assert_int_equal(json_object_size(json_object_get(json, "result")), 6);
        assert_int_equal(json_object_size(json_object_get(json, "ms")), 3);
        assert_int_equal(json_object_size(json_object_get(json, "upstream")),
                         3);
        assert_int_equal(json_object_size(json_object_get(json, "agent")), 2);

        params = json_object_get(json, "params");
        assert_int_equal(json_object_size(params), 4);
        assert_true(json_array_size(json_object_get(params, "keys")) > 4);
        assert_true(json_object_size(json_object_get(params, "clear")) > 0);
        assert_true(len > 4096);

        json_decref(json);
    }

    /* a cut string says so */
    memset(data, 'x', sizeof(data));
    json = write_line();
    assert_int_equal(json_string_length(json_object_get(json, "target")),
                     256 + 3);
    assert_int_equal(json_string_length(json_object_get(json, "token_id")),
                     128 + 3);
    json_decref(json);
}


/* The same with random bytes of random lengths. */

static void
test_random(void **state)
{
    size_t         i, k, n;
    uint32_t       seed;
    mcp_str_t      all[22];
    unsigned char  data[4096];

    mcp_str_t *const  fields[] = {
        &rec.a.node, &rec.a.server, &rec.a.rule, &rec.a.session,
        &rec.m.method, &rec.m.id, &rec.m.target, &rec.m.agent_name,
        &rec.m.agent_version, &rec.keys[0], &rec.keys[1],
        &rec.values[0].text, &rec.p.iss, &rec.p.user, &rec.p.client,
        &rec.p.token_id, &rec.a.client_ip
    };

    static const char  likely[] = "\"\\\n{}[],:0a\xE2\x80\xA8\xC2\xED\xF0";

    (void) state;

    seed = 20261122;
    memset(all, 0, sizeof(all));

    for (n = 0; n < 2000; n++) {

        for (i = 0; i < sizeof(data); i++) {
            seed = seed * 1664525 + 1013904223;
            data[i] = (seed >> 30) ? (unsigned char) likely[(seed >> 8) % 18]
                                   : (unsigned char) (seed >> 16);
        }

        for (k = 0; k < NELTS(fields); k++) {
            seed = seed * 1664525 + 1013904223;
            fields[k]->data = data + (seed >> 8) % 2048;
            fields[k]->len = (seed >> 20) % 300;
        }

        json_decref(write_line());
    }
}


/* The caller's part, made once and kept: the same line. */

static void
test_who(void **state)
{
    size_t                n;
    unsigned              k;
    unsigned char         who[MCP_AUDIT_WHO_MAX];
    static char           odd[400];
    static unsigned char  other[MCP_AUDIT_MAX];

    (void) state;

    len = mcp_audit_line(&rec.a, line);

    rec.a.who.data = who;
    rec.a.who.len = mcp_audit_who(&rec.p, rec.a.policy, who);
    assert_true(rec.a.who.len > 0);

    rec.a.principal = NULL;
    n = mcp_audit_line(&rec.a, other);

    assert_int_equal(n, len);
    assert_memory_equal(other, line, len);

    /* as long as can be: complete, and no more than it may be */

    memset(odd, '\x01', sizeof(odd) - 1);

    rec.p.user = str(odd);
    rec.p.client = rec.p.iss = rec.p.token_id = rec.p.user;

    for (k = 1; k <= 60; k++) {
        mcp_role_set(&rec.p.roles, k);
    }

    n = mcp_audit_who(&rec.p, make_policy(60, "a_role_with_a_name_that_is_"
                                          "quite_long_", 0), who);

    assert_true(n >= 4 * 128 + 1000 && n <= MCP_AUDIT_WHO_MAX);
    assert_memory_equal(who + n - 2, "\"]", 2);
}


/* A revocation that the gateway came to know of: the same keys, and how late. */

static void
test_revocation(void **state)
{
    unsigned          i, k;
    json_t           *root, *at;
    const char       *want;
    mcp_audit_t       a;
    mcp_principal_t   p;
    char              text[4096];

    static const char  fill[] = { 'x', '\x01', '"', '\xff' };

    (void) state;

    memset(&a, 0, sizeof(a));
    memset(&p, 0, sizeof(p));

    p.user = str("00u1");
    p.iss = str("https://id.example.com");

    a.sec = 1795392123;
    a.usec = 4567;
    a.seq = 7;
    a.node = str("gw1");
    a.worker = 2;
    a.ev = "revocation";
    a.http_method = "revoke/user";
    a.decision = "allow";
    a.reason = "revocation";
    a.principal = &p;
    a.at = 60;
    a.until = 3600;
    a.note = str("my\n"
                 "mcpp_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg1otwYp");
    a.store = "redis";
    a.by = str("anna");
    a.late_us = 12345;
    a.upstream_us = -1;
    a.total_us = -1;
    a.auth_us = -1;
    a.credential_us = -1;

    len = mcp_audit_line(&a, line);
    want = "{\"ts\":\"2026-11-23T00:02:03.004567Z\",\"seq\":7,"
           "\"node\":\"gw1\",\"worker\":2,\"ev\":\"revocation\","
           "\"method\":\"revoke/user\",\"decision\":\"allow\","
           "\"reason\":\"revocation\",\"user\":\"00u1\","
           "\"issuer\":\"https://id.example.com\","
           "\"at\":\"1970-01-01T00:01:00Z\","
           "\"until\":\"1970-01-01T01:00:00Z\","
           "\"note\":\"my\\n[redacted:own]\",\"store\":\"redis\","
           "\"by\":\"anna\",\"ms\":{\"late\":12.345}}\n";
    assert_int_equal(len, strlen(want));
    assert_memory_equal(line, want, len);

    /* no store: it is no revocation, whatever else is there */

    a.store = NULL;
    len = mcp_audit_line(&a, line);
    line[len] = '\0';
    assert_null(strstr((char *) line, "\"at\""));
    assert_null(strstr((char *) line, "late"));

    /* as long as can be: whole */

    a.store = "file";
    a.late_us = -1;

    for (i = 0; i < NELTS(fill); i++) {
        for (k = 0; k < sizeof(text); k++) {
            text[k] = fill[i];
        }

        p.user.data = p.iss.data = a.note.data = a.by.data =
            (unsigned char *) text;
        p.user.len = p.iss.len = a.note.len = a.by.len = sizeof(text);

        len = mcp_audit_line(&a, line);
        root = json_loadb((char *) line, len, JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(root);
        at = json_object_get(root, "at");
        assert_string_equal(json_string_value(at), "1970-01-01T00:01:00Z");
        assert_non_null(json_object_get(root, "by"));
        assert_null(json_object_get(root, "ms"));
        json_decref(root);
    }
}


/* What an operator did: all keys in order, none that is empty. */

static void
test_operator(void **state)
{
    json_t                *root;
    mcp_str_t              roles[2], servers[1];
    const char            *want;
    mcp_audit_operator_t   a;

    (void) state;

    memset(&a, 0, sizeof(a));
    roles[0] = str("engineer");
    roles[1] = str("on\"call");
    servers[0] = str("*");

    a.sec = 1795392123;
    a.usec = 4567;
    a.ev = "token";
    a.method = "token/create";
    a.decision = "allow";
    a.by = str("root");

    len = mcp_audit_operator_line(&a, line);
    want = "{\"ts\":\"2026-11-23T00:02:03.004567Z\",\"ev\":\"token\","
           "\"method\":\"token/create\",\"decision\":\"allow\","
           "\"by\":\"root\"}\n";
    assert_int_equal(len, strlen(want));
    assert_memory_equal(line, want, len);

    a.node = str("gw1");
    a.reason = "allow";
    a.user = str("00u1");
    a.client = str("ci");
    a.kind = "user";
    a.auth = "pat";
    a.issuer = str("https://id.example.com");
    a.token_id = str("pat-1");
    a.roles = roles;
    a.nroles = 2;
    a.servers = servers;
    a.nservers = 1;
    a.expires = 86400;
    a.replaces = str("pat-0");
    a.at = 60;
    a.until = 3600;
    a.note = str("my\n"
                 "mcpp_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg1otwYp");
    a.store = "file";
    a.credential = str("jira_user");
    a.credential_version = 17;

    len = mcp_audit_operator_line(&a, line);
    want = "{\"ts\":\"2026-11-23T00:02:03.004567Z\",\"node\":\"gw1\","
           "\"ev\":\"token\",\"method\":\"token/create\","
           "\"decision\":\"allow\",\"reason\":\"allow\",\"user\":\"00u1\","
           "\"client\":\"ci\",\"kind\":\"user\",\"auth\":\"pat\","
           "\"issuer\":\"https://id.example.com\",\"token_id\":\"pat-1\","
           "\"roles\":[\"engineer\",\"on\\\"call\"],\"servers\":[\"*\"],"
           "\"expires\":\"1970-01-02T00:00:00Z\",\"replaces\":\"pat-0\","
           "\"at\":\"1970-01-01T00:01:00Z\","
           "\"until\":\"1970-01-01T01:00:00Z\","
           "\"note\":\"my\\n[redacted:own]\",\"credential\":\"jira_user\","
           "\"credential_version\":17,\"store\":\"file\","
           "\"by\":\"root\"}\n";
    assert_int_equal(len, strlen(want));
    assert_memory_equal(line, want, len);

    root = json_loadb((char *) line, len, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(root);
    json_decref(root);
}


/* Everything at its longest, of the characters that take most: still whole. */

static void
test_operator_huge(void **state)
{
    char                  *text;
    json_t                *root;
    unsigned               i, k;
    mcp_str_t              names[64];
    mcp_audit_operator_t   a;

    static const char  *fill[] = { "x", "\x01", "\"", "\xff", "\xE2\x80\xA8" };

    (void) state;

    for (i = 0; i < NELTS(fill); i++) {
        text = alloc(NULL, 4001);
        text[0] = '\0';

        while (strlen(text) + 4 < 4000) {
            strcat(text, fill[i]);
        }

        for (k = 0; k < 64; k++) {
            names[k] = str(text);
        }

        memset(&a, 0, sizeof(a));
        a.sec = INT64_MAX;
        a.usec = UINT32_MAX;
        a.ev = a.method = a.decision = a.reason = text;
        a.kind = a.auth = a.store = text;
        a.node = a.user = a.client = a.issuer = a.token_id = names[0];
        a.replaces = a.note = a.by = a.credential = names[0];
        a.credential_version = INT64_MAX;
        a.roles = a.servers = names;
        a.nroles = a.nservers = 64;
        a.expires = a.at = a.until = INT64_MAX;

        memset(line, '#', sizeof(line));
        len = mcp_audit_operator_line(&a, line);
        assert_true(len < MCP_AUDIT_MAX);
        assert_int_equal(line[MCP_AUDIT_MAX], '#');
        assert_int_equal(line[len - 1], '\n');
        assert_null(memchr(line, '\n', len - 1));

        root = json_loadb((char *) line, len, JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(root);
        assert_int_equal(json_object_size(root), 23);
        k = json_array_size(json_object_get(root, "roles"));
        assert_true(k >= 2 && k <= 63);
        json_decref(root);
    }
}


static void
test_trace(void **state)
{
    size_t     i;
    mcp_str_t  in, id;

#define T  "0af7651916cd43dd8448eb211c80319c"
#define P  "b7ad6b7169203331"

    static const struct {
        const char  *in;
        int          good;
    } t[] = {
        { "00-" T "-" P "-01", 1 },
        { "00-" T "-" P "-00", 1 },
        { "", 0 },
        { "00-" T "-" P "-0", 0 },
        { "00-" T "-" P "-011", 0 },
        { "00-" T "-" P "-01-x", 0 },
        { "01-" T "-" P "-01", 1 },
        { "cc-" T "-" P "-01-what-will-be", 1 },
        { "cc-" T "-" P "-01.what", 0 },
        { "01-00000000000000000000000000000000-" P "-01", 0 },
        { "0g-" T "-" P "-01", 0 },
        { "ff-" T "-" P "-01", 0 },
        { "00-0AF7651916cd43dd8448eb211c80319c-" P "-01", 0 },
        { "00-0ag7651916cd43dd8448eb211c80319c-" P "-01", 0 },
        { "00-00000000000000000000000000000000-" P "-01", 0 },
        { "00-" T "-0000000000000000-01", 0 },
        { "00_" T "-" P "-01", 0 },
        { "00-" T "_" P "-01", 0 },
        { "00-" T "-" P "_01", 0 },
        { "00-" T "-" P "-0x", 0 },
        { " 0-" T "-" P "-01", 0 }
    };

    (void) state;

    for (i = 0; i < NELTS(t); i++) {
        in = str(t[i].in);
        id = mcp_trace_id(&in);
        assert_int_equal(id.len, t[i].good ? 32 : 0);

        if (t[i].good) {
            assert_memory_equal(id.data, T, 32);
        }
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test_setup_teardown(test_full, setup, teardown),
        cmocka_unit_test_setup_teardown(test_empty, setup, teardown),
        cmocka_unit_test_setup_teardown(test_who, setup, teardown),
        cmocka_unit_test_setup_teardown(test_words, setup, teardown),
        cmocka_unit_test_setup_teardown(test_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rpc_id, setup, teardown),
        cmocka_unit_test_setup_teardown(test_clear, setup, teardown),
        cmocka_unit_test_setup_teardown(test_keys, setup, teardown),
        cmocka_unit_test_setup_teardown(test_injection, setup, teardown),
        cmocka_unit_test_setup_teardown(test_huge, setup, teardown),
        cmocka_unit_test_setup_teardown(test_random, setup, teardown),
        cmocka_unit_test_setup_teardown(test_revocation, setup, teardown),
        cmocka_unit_test_setup_teardown(test_operator, setup, teardown),
        cmocka_unit_test_setup_teardown(test_operator_huge, setup, teardown),
        cmocka_unit_test_setup_teardown(test_trace, setup, teardown)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
