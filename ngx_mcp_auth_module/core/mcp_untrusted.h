/*
 * What of an upstream's words may be shown to people.
 */

#ifndef MCP_UNTRUSTED_H
#define MCP_UNTRUSTED_H


#include "mcp_core.h"


/* 1: an https URL with a host, without user information, spaces or controls.
 * What a person is asked to open. */
int mcp_url_https(const mcp_str_t *url);

/* 1: the same, or data:image/.  What a client may load without asking. */
int mcp_icon_src(const mcp_str_t *src);

/* 1: a character (code point) that is not seen, or that changes how the rest is
 * seen: controls (C0, DEL, C1), line and paragraph separators, zero-width
 * characters, fillers, directional marks, embeddings, overrides and isolates,
 * variation selectors, tags. */
int mcp_char_unseen(uint32_t c);

/* 1: nothing of that kind is in it.  name is valid UTF-8. */
int mcp_name_plain(const mcp_str_t *name);


#endif /* MCP_UNTRUSTED_H */
