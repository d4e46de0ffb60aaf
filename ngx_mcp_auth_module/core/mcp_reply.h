/*
 * Every body and challenge that the gateway itself sends.  Deterministic: the
 * same refusal gives the same bytes.  Nothing from a token, no quotes or
 * backslashes in a challenge, `Bearer` first, one line (facts/mcp.md 3.2).
 */

#ifndef MCP_REPLY_H
#define MCP_REPLY_H


#include "mcp_core.h"
#include "mcp_message.h"


/*
 * {"jsonrpc":"2.0","id":ID,"error":{"code":CODE,"message":"MESSAGE"[,"data":
 * DATA]}}.  id is the lexeme as it was written, empty: null.  message is
 * escaped here; data (may be NULL) is JSON already.
 */
void mcp_reply_error(mcp_buf_t *b, const mcp_str_t *id, int code,
    const mcp_str_t *message, const mcp_str_t *data);

/* A denial by role in the words of an absence: tool -> -32602
 * "Unknown tool: NAME", prompt "Unknown prompt: NAME", resource -32602 (modern)
 * or -32002 (legacy) "Resource not found: URI", method -32601
 * "Method not found". *code is what was written. */
void mcp_reply_unknown(mcp_buf_t *b, const mcp_str_t *id, mcp_target_e kind,
    mcp_era_e era, const mcp_str_t *target, int *code);

/* {"...result":{[resultType,]content:[text],"isError":true}}: deny_reply
 * tool_error. */
void mcp_reply_tool_error(mcp_buf_t *b, const mcp_str_t *id, mcp_era_e era,
    const mcp_str_t *text);

/*
 * The person has to open url first (facts/mcp.md 4.6, 4.7): for a client that
 * said it opens URLs, `input_required` with an elicitation of mode "url"
 * (modern) or error -32042 (legacy); for others what a model or a person can
 * read: the result of a tool with isError (tool: 1), or an error.  text has the
 * url in it as well.  id: of the elicitation, where the era has one.  *code is
 * what was written, 0: a result.
 */
void mcp_reply_connect(mcp_buf_t *b, const mcp_str_t *rpc_id, mcp_era_e era,
    unsigned elicit, unsigned tool, const mcp_str_t *url,
    const mcp_str_t *text, const mcp_str_t *id, int *code);

/*
 * What server/discover is answered with while the person has no grant: a client
 * that does not learn this cannot call, and so could not be told where to
 * connect (facts/mcp.md 2.5).  Not to be kept: the server's own answer follows.
 */
void mcp_reply_discover(mcp_buf_t *b, const mcp_str_t *id);

/* -32022 with data.supported and data.requested. */
void mcp_reply_version(mcp_buf_t *b, const mcp_str_t *id,
    const mcp_str_t *requested);

/*
 * Bearer [error="E", ]resource_metadata="URL"[, scope="S"]
 * [, error_description="D"].  error and description may be NULL.  For
 * insufficient_scope the order is error, scope, resource_metadata, as in the
 * specification's example.
 */
void mcp_reply_challenge(mcp_buf_t *b, const char *error,
    const mcp_str_t *metadata_url, const mcp_str_t *scope,
    const char *description);

/*
 * RFC 9728 document.  issuers: nissuers URLs.  scope: space separated or
 * empty.
 */
void mcp_reply_metadata(mcp_buf_t *b, const mcp_str_t *resource,
    const mcp_str_t *issuers, unsigned nissuers, const mcp_str_t *scope,
    const mcp_str_t *name);


#endif /* MCP_REPLY_H */
