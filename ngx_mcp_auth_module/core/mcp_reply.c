/*
 * Bodies and challenges that the gateway itself sends (facts/mcp.md 3.1, 3.2,
 * 4.7, 4.8, 9).
 *
 * Always true: the same refusal gives the same bytes, because clients compare
 * challenges to find out that they go in circles; an id leaves as it came,
 * never through a number type; a challenge is one line of printable ASCII
 * whose values have neither quotes nor backslashes, since clients read it with
 * regular expressions; bodies are pure JSON without a trailing newline.
 *
 * Called by the adapter's reply and metadata files.  Allocates and frees
 * nothing; the caller looks at overflow of its writer.
 */

#include "mcp_reply.h"


#define MCP_REPLY_NAME     1024         /* bytes of a target echoed */
#define MCP_REPLY_VERSION  64           /* bytes of a version echoed */
#define MCP_REPLY_ALL      ((size_t) -1)


static void mcp_reply_begin(mcp_buf_t *b, const mcp_str_t *id);
static void mcp_reply_begin_error(mcp_buf_t *b, const mcp_str_t *id, int code);
static void mcp_reply_param(mcp_buf_t *b, unsigned *n, const char *name,
    const void *value, size_t len);
static void mcp_reply_words(mcp_buf_t *b, const mcp_str_t *words);


void
mcp_reply_error(mcp_buf_t *b, const mcp_str_t *id, int code,
    const mcp_str_t *message, const mcp_str_t *data)
{
    mcp_reply_begin_error(b, id, code);
    mcp_buf_json(b, message->data, message->len, MCP_REPLY_ALL);

    if (data && data->len) {
        mcp_buf_lit(b, ",\"data\":");
        mcp_buf_str(b, data);
    }

    mcp_buf_lit(b, "}}");
}


void
mcp_reply_unknown(mcp_buf_t *b, const mcp_str_t *id, mcp_target_e kind,
    mcp_era_e era, const mcp_str_t *target, int *code)
{
    unsigned char  *quote;

    *code = -32602;

    if (kind == MCP_TARGET_RESOURCE && era == MCP_ERA_LEGACY) {
        *code = -32002;

    } else if (kind != MCP_TARGET_TOOL && kind != MCP_TARGET_PROMPT
               && kind != MCP_TARGET_RESOURCE)
    {
        *code = -32601;
    }

    mcp_reply_begin_error(b, id, *code);

    switch (kind) {

    case MCP_TARGET_TOOL:
        mcp_buf_lit(b, "\"Unknown tool:");
        break;

    case MCP_TARGET_PROMPT:
        mcp_buf_lit(b, "\"Unknown prompt:");
        break;

    case MCP_TARGET_RESOURCE:
        mcp_buf_lit(b, "\"Resource not found:");
        break;

    default:
        mcp_buf_lit(b, "\"Method not found\"}}");
        return;
    }

    /* the quote before the name becomes the space that is still missing */

    quote = b->pos;
    mcp_buf_json(b, target->data, target->len, MCP_REPLY_NAME);

    if (!b->overflow) {
        *quote = ' ';
    }

    mcp_buf_lit(b, "}}");
}


void
mcp_reply_tool_error(mcp_buf_t *b, const mcp_str_t *id, mcp_era_e era,
    const mcp_str_t *text)
{
    mcp_reply_begin(b, id);
    mcp_buf_lit(b, ",\"result\":{");

    if (era == MCP_ERA_MODERN) {
        mcp_buf_lit(b, "\"resultType\":\"complete\",");
    }

    mcp_buf_lit(b, "\"content\":[{\"type\":\"text\",\"text\":");
    mcp_buf_json(b, text->data, text->len, MCP_REPLY_ALL);
    mcp_buf_lit(b, "}],\"isError\":true}}");
}


void
mcp_reply_connect(mcp_buf_t *b, const mcp_str_t *rpc_id, mcp_era_e era,
    unsigned elicit, unsigned tool, const mcp_str_t *url,
    const mcp_str_t *text, const mcp_str_t *id, int *code)
{
    *code = 0;

    if (elicit && era == MCP_ERA_MODERN) {
        mcp_reply_begin(b, rpc_id);
        mcp_buf_lit(b, ",\"result\":{\"resultType\":\"input_required\","
                       "\"inputRequests\":{\"connect\":{"
                       "\"method\":\"elicitation/create\",\"params\":{"
                       "\"mode\":\"url\",\"url\":");
        mcp_buf_json(b, url->data, url->len, MCP_REPLY_ALL);
        mcp_buf_lit(b, ",\"message\":");
        mcp_buf_json(b, text->data, text->len, MCP_REPLY_ALL);
        mcp_buf_lit(b, "}}}}}");
        return;
    }

    if (elicit) {
        *code = -32042;

        mcp_reply_begin_error(b, rpc_id, *code);
        mcp_buf_json(b, text->data, text->len, MCP_REPLY_ALL);
        mcp_buf_lit(b, ",\"data\":{\"elicitations\":[{\"mode\":\"url\","
                       "\"elicitationId\":");
        mcp_buf_json(b, id->data, id->len, MCP_REPLY_ALL);
        mcp_buf_lit(b, ",\"url\":");
        mcp_buf_json(b, url->data, url->len, MCP_REPLY_ALL);
        mcp_buf_lit(b, ",\"message\":");
        mcp_buf_json(b, text->data, text->len, MCP_REPLY_ALL);
        mcp_buf_lit(b, "}]}}}");
        return;
    }

    if (tool) {
        mcp_reply_tool_error(b, rpc_id, era, text);
        return;
    }

    *code = 403;

    mcp_reply_error(b, rpc_id, *code, text, NULL);
}


void
mcp_reply_discover(mcp_buf_t *b, const mcp_str_t *id)
{
    mcp_reply_begin(b, id);
    mcp_buf_lit(b, ",\"result\":{\"resultType\":\"complete\","
                   "\"supportedVersions\":[\"2026-07-28\"],"
                   "\"capabilities\":{\"tools\":{},\"prompts\":{},"
                   "\"resources\":{}},"
                   "\"ttlMs\":0,\"cacheScope\":\"private\"}}");
}


void
mcp_reply_version(mcp_buf_t *b, const mcp_str_t *id,
    const mcp_str_t *requested)
{
    mcp_reply_begin_error(b, id, -32022);

    mcp_buf_lit(b, "\"Unsupported protocol version\",\"data\":{\"supported\":["
                   "\"2026-07-28\",\"2025-11-25\",\"2025-06-18\","
                   "\"2025-03-26\",\"2024-11-05\"],\"requested\":");
    mcp_buf_json(b, requested->data, requested->len, MCP_REPLY_VERSION);
    mcp_buf_lit(b, "}}}");
}


void
mcp_reply_challenge(mcp_buf_t *b, const char *error,
    const mcp_str_t *metadata_url, const mcp_str_t *scope,
    const char *description)
{
    unsigned  n, scope_first;

    n = 0;
    scope_first = (error && strcmp(error, "insufficient_scope") == 0);

    mcp_buf_lit(b, "Bearer");

    if (error) {
        mcp_reply_param(b, &n, "error", error, strlen(error));
    }

    if (scope_first && scope) {
        mcp_reply_param(b, &n, "scope", scope->data, scope->len);
    }

    if (metadata_url) {
        mcp_reply_param(b, &n, "resource_metadata", metadata_url->data,
                        metadata_url->len);
    }

    if (!scope_first && scope) {
        mcp_reply_param(b, &n, "scope", scope->data, scope->len);
    }

    if (description) {
        mcp_reply_param(b, &n, "error_description", description,
                        strlen(description));
    }
}


void
mcp_reply_metadata(mcp_buf_t *b, const mcp_str_t *resource,
    const mcp_str_t *issuers, unsigned nissuers, const mcp_str_t *scope,
    const mcp_str_t *name)
{
    unsigned  i;

    mcp_buf_lit(b, "{\"resource\":");
    mcp_buf_json(b, resource->data, resource->len, MCP_REPLY_ALL);

    for (i = 0; i < nissuers; i++) {
        if (i == 0) {
            mcp_buf_lit(b, ",\"authorization_servers\":[");

        } else {
            mcp_buf_lit(b, ",");
        }

        mcp_buf_json(b, issuers[i].data, issuers[i].len, MCP_REPLY_ALL);
    }

    if (nissuers) {
        mcp_buf_lit(b, "]");
    }

    if (scope && scope->len) {
        mcp_buf_lit(b, ",\"scopes_supported\":[");
        mcp_reply_words(b, scope);
        mcp_buf_lit(b, "]");
    }

    mcp_buf_lit(b, ",\"bearer_methods_supported\":[\"header\"]");

    if (name && name->len) {
        mcp_buf_lit(b, ",\"resource_name\":");
        mcp_buf_json(b, name->data, name->len, MCP_REPLY_ALL);
    }

    mcp_buf_lit(b, "}");
}


static void
mcp_reply_begin(mcp_buf_t *b, const mcp_str_t *id)
{
    mcp_buf_lit(b, "{\"jsonrpc\":\"2.0\",\"id\":");

    if (id && id->len) {
        mcp_buf_str(b, id);

    } else {
        mcp_buf_lit(b, "null");
    }
}


static void
mcp_reply_begin_error(mcp_buf_t *b, const mcp_str_t *id, int code)
{
    mcp_reply_begin(b, id);
    mcp_buf_lit(b, ",\"error\":{\"code\":");
    mcp_buf_int(b, code);
    mcp_buf_lit(b, ",\"message\":");
}


/*
 * name="value", with what separates it from the one before.  Bytes that a
 * quoted value cannot have plainly are left out: no value that should be sent
 * has any.
 */

static void
mcp_reply_param(mcp_buf_t *b, unsigned *n, const char *name,
    const void *value, size_t len)
{
    size_t                i, from;
    const unsigned char  *p;

    if (len == 0) {
        return;
    }

    if ((*n)++) {
        mcp_buf_lit(b, ",");
    }

    mcp_buf_lit(b, " ");
    mcp_buf_put(b, name, strlen(name));
    mcp_buf_lit(b, "=\"");

    p = value;
    from = 0;

    for (i = 0; i < len; i++) {
        if (p[i] < 0x20 || p[i] >= 0x7f || p[i] == '"' || p[i] == '\\') {
            mcp_buf_put(b, p + from, i - from);
            from = i + 1;
        }
    }

    mcp_buf_put(b, p + from, len - from);
    mcp_buf_lit(b, "\"");
}


/* Space separated words as strings of a JSON array. */

static void
mcp_reply_words(mcp_buf_t *b, const mcp_str_t *words)
{
    size_t    i, from;
    unsigned  n;

    n = 0;

    for (i = 0, from = 0; i <= words->len; i++) {

        if (i < words->len && words->data[i] != ' ') {
            continue;
        }

        if (i > from) {
            if (n++) {
                mcp_buf_lit(b, ",");
            }

            mcp_buf_json(b, words->data + from, i - from, MCP_REPLY_ALL);
        }

        from = i + 1;
    }
}
