/*
 * core/mcp_reply: each body and challenge, byte for byte (facts/mcp.md 9).
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>
#include <jansson.h>

#include "mcp_reply.h"


#define NELTS(a)  (sizeof(a) / sizeof((a)[0]))
#define HEAD      "{\"jsonrpc\":\"2.0\",\"id\":"


static char       out[8192];
static mcp_buf_t  b;


static void
begin(void)
{
    memset(out, '#', sizeof(out));
    mcp_buf_init(&b, out, sizeof(out));
}


static void
expect(const char *want)
{
    assert_int_equal(b.overflow, 0);
    *b.pos = '\0';
    assert_string_equal(out, want);
}


static void
expect_json(const char *want)
{
    json_t  *json;

    expect(want);

    json = json_loadb(out, strlen(out), JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(json);
    json_decref(json);
}


static mcp_str_t
str(const char *s)
{
    mcp_str_t  v;

    v.data = (unsigned char *) s;
    v.len = strlen(s);

    return v;
}


static void
test_error(void **state)
{
    size_t     i;
    char       want[512];
    mcp_str_t  id, message, data;

    /* the id leaves as it came, whatever a double would make of it */
    static const char *const  ids[] = {
        "1", "0", "-0", "9007199254740993", "18446744073709551615", "1.0",
        "\"\"", "\"a\\u0041\\\"\"", "\"\xC3\xA4\""
    };

    (void) state;

    message = str("Parse error");

    begin();
    id = str("");
    mcp_reply_error(&b, &id, -32700, &message, NULL);
    expect_json(HEAD "null,\"error\":{\"code\":-32700,"
                "\"message\":\"Parse error\"}}");

    begin();
    mcp_reply_error(&b, NULL, -32700, &message, NULL);
    expect_json(HEAD "null,\"error\":{\"code\":-32700,"
                "\"message\":\"Parse error\"}}");

    for (i = 0; i < NELTS(ids); i++) {
        begin();
        id = str(ids[i]);
        mcp_reply_error(&b, &id, -32600, &message, NULL);
        strcpy(want, HEAD);
        strcat(want, ids[i]);
        strcat(want, ",\"error\":{\"code\":-32600,"
                     "\"message\":\"Parse error\"}}");
        expect(want);
    }

    begin();
    id = str("7");
    message = str("Header mismatch: \"x\"\n");
    data = str("{\"a\":[1]}");
    mcp_reply_error(&b, &id, 403, &message, &data);
    expect_json(HEAD "7,\"error\":{\"code\":403,"
                "\"message\":\"Header mismatch: \\\"x\\\"\\n\","
                "\"data\":{\"a\":[1]}}}");

    begin();
    data = str("");
    message = str("m");
    mcp_reply_error(&b, &id, 1, &message, &data);
    expect_json(HEAD "7,\"error\":{\"code\":1,\"message\":\"m\"}}");
}


static void
test_unknown(void **state)
{
    int        code;
    size_t     i, n;
    char       want[512];
    mcp_str_t  id, target;

    static const struct {
        mcp_target_e   kind;
        mcp_era_e      era;
        const char    *target;
        int            code;
        const char    *error;
    } t[] = {
        { MCP_TARGET_TOOL, MCP_ERA_LEGACY, "x", -32602,
          "-32602,\"message\":\"Unknown tool: x\"" },
        { MCP_TARGET_TOOL, MCP_ERA_MODERN, "x", -32602,
          "-32602,\"message\":\"Unknown tool: x\"" },
        { MCP_TARGET_TOOL, MCP_ERA_MODERN, "a\"\\\n\x1b[31m", -32602,
          "-32602,\"message\":\"Unknown tool: a\\\"\\\\\\n\\u001b[31m\"" },
        { MCP_TARGET_TOOL, MCP_ERA_MODERN, "", -32602,
          "-32602,\"message\":\"Unknown tool: \"" },
        { MCP_TARGET_PROMPT, MCP_ERA_LEGACY, "x", -32602,
          "-32602,\"message\":\"Unknown prompt: x\"" },

        /* -32002 MUST NOT be sent to modern clients */
        { MCP_TARGET_RESOURCE, MCP_ERA_LEGACY, "a://b", -32002,
          "-32002,\"message\":\"Resource not found: a://b\"" },
        { MCP_TARGET_RESOURCE, MCP_ERA_MODERN, "a://b", -32602,
          "-32602,\"message\":\"Resource not found: a://b\"" },
        { MCP_TARGET_METHOD, MCP_ERA_LEGACY, "x/y", -32601,
          "-32601,\"message\":\"Method not found\"" },
        { MCP_TARGET_METHOD, MCP_ERA_MODERN, "x/y", -32601,
          "-32601,\"message\":\"Method not found\"" },
        { MCP_TARGET_NONE, MCP_ERA_MODERN, "x/y", -32601,
          "-32601,\"message\":\"Method not found\"" }
    };

    (void) state;

    id = str("\"i\"");

    for (i = 0; i < NELTS(t); i++) {
        begin();
        target = str(t[i].target);
        code = 0;
        mcp_reply_unknown(&b, &id, t[i].kind, t[i].era, &target, &code);
        assert_int_equal(code, t[i].code);

        strcpy(want, HEAD "\"i\",\"error\":{\"code\":");
        strcat(want, t[i].error);
        strcat(want, "}}");
        expect_json(want);

        /* too little room is an overflow and never a write behind the end */
        for (n = 0; n < strlen(want); n++) {
            begin();
            mcp_buf_init(&b, out, n);
            mcp_reply_unknown(&b, &id, t[i].kind, t[i].era, &target, &code);
            assert_int_equal(b.overflow, 1);
            assert_int_equal(out[n], '#');
        }
    }
}


static void
test_tool_error(void **state)
{
    mcp_str_t  id, text;

    (void) state;

    id = str("3");
    text = str("Denied by policy");

    begin();
    mcp_reply_tool_error(&b, &id, MCP_ERA_MODERN, &text);
    expect_json(HEAD "3,\"result\":{\"resultType\":\"complete\",\"content\":["
                "{\"type\":\"text\",\"text\":\"Denied by policy\"}],"
                "\"isError\":true}}");

    begin();
    mcp_reply_tool_error(&b, &id, MCP_ERA_LEGACY, &text);
    expect_json(HEAD "3,\"result\":{\"content\":["
                "{\"type\":\"text\",\"text\":\"Denied by policy\"}],"
                "\"isError\":true}}");
}


static void
test_discover(void **state)
{
    mcp_str_t  id;

    (void) state;

    id = str("\"d-1\"");

    begin();
    mcp_reply_discover(&b, &id);
    expect_json(HEAD "\"d-1\",\"result\":{\"resultType\":\"complete\","
                "\"supportedVersions\":[\"2026-07-28\"],\"capabilities\":{"
                "\"tools\":{},\"prompts\":{},\"resources\":{}},"
                "\"ttlMs\":0,\"cacheScope\":\"private\"}}");
}


static void
test_version(void **state)
{
    mcp_str_t  id, requested;

    (void) state;

    id = str("3");
    requested = str("2099-01-01");

    begin();
    mcp_reply_version(&b, &id, &requested);
    expect_json(HEAD "3,\"error\":{\"code\":-32022,\"message\":\"Unsupported "
                "protocol version\",\"data\":{\"supported\":[\"2026-07-28\","
                "\"2025-11-25\",\"2025-06-18\",\"2025-03-26\",\"2024-11-05\"],"
                "\"requested\":\"2099-01-01\"}}}");

    begin();
    requested = str("\"\r\n"
                    "0123456789012345678901234567890123456789"
                    "0123456789012345678901234567890123456789");
    mcp_reply_version(&b, &id, &requested);
    assert_int_equal(b.overflow, 0);
    *b.pos = '\0';
    assert_null(strchr(out, '\n'));
    assert_non_null(strstr(out, "\\\"\\r\\n0123"));
    assert_non_null(strstr(out, "\xE2\x80\xA6\"}}}"));
}


static void
test_challenge(void **state)
{
    size_t     i;
    mcp_str_t  url, scope;

#define URL   "https://h/.well-known/oauth-protected-resource/mcp"
#define META  "resource_metadata=\"" URL "\""

    static const struct {
        const char  *error;
        const char  *scope;
        const char  *description;
        const char  *want;
    } t[] = {
        { NULL, "a b", NULL, "Bearer " META ", scope=\"a b\"" },
        { NULL, "", NULL, "Bearer " META },
        { "invalid_token", "a", NULL,
          "Bearer error=\"invalid_token\", " META ", scope=\"a\"" },
        { "invalid_token", "", "token expired",
          "Bearer error=\"invalid_token\", " META
          ", error_description=\"token expired\"" },
        { "insufficient_scope", "a b", "more needed",
          "Bearer error=\"insufficient_scope\", scope=\"a b\", " META
          ", error_description=\"more needed\"" },
        { "insufficient_scope", "", NULL,
          "Bearer error=\"insufficient_scope\", " META },

        /* nothing gets out of the quotes or off the line */
        { "invalid_token", "a\", x=\"y", "c\r\nSet-Cookie: d=\\\xC3\xA4\x7f",
          "Bearer error=\"invalid_token\", " META ", scope=\"a, x=y\""
          ", error_description=\"cSet-Cookie: d=\"" }
    };

    (void) state;

    for (i = 0; i < NELTS(t); i++) {
        begin();
        url = str(URL);
        scope = str(t[i].scope);
        mcp_reply_challenge(&b, t[i].error, &url, &scope, t[i].description);
        expect(t[i].want);
    }

    begin();
    mcp_reply_challenge(&b, NULL, NULL, NULL, NULL);
    expect("Bearer");
}


static void
test_metadata(void **state)
{
    mcp_str_t  resource, scope, name, issuers[2];

    (void) state;

    resource = str("https://h/mcp");
    issuers[0] = str("https://as");
    issuers[1] = str("https://as2/\"x");
    scope = str("mcp:basic mcp:more");
    name = str("Jira");

    begin();
    mcp_reply_metadata(&b, &resource, issuers, 2, &scope, &name);
    expect_json("{\"resource\":\"https://h/mcp\",\"authorization_servers\":["
                "\"https://as\",\"https://as2/\\\"x\"],\"scopes_supported\":["
                "\"mcp:basic\",\"mcp:more\"],\"bearer_methods_supported\":["
                "\"header\"],\"resource_name\":\"Jira\"}");

    scope = str("");
    name = str("");

    begin();
    mcp_reply_metadata(&b, &resource, issuers, 1, &scope, &name);
    expect_json("{\"resource\":\"https://h/mcp\",\"authorization_servers\":["
                "\"https://as\"],\"bearer_methods_supported\":[\"header\"]}");

    begin();
    mcp_reply_metadata(&b, &resource, NULL, 0, NULL, NULL);
    expect_json("{\"resource\":\"https://h/mcp\","
                "\"bearer_methods_supported\":[\"header\"]}");
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_error),
        cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_tool_error),
        cmocka_unit_test(test_discover),
        cmocka_unit_test(test_version),
        cmocka_unit_test(test_challenge),
        cmocka_unit_test(test_metadata)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
