/*
 * The URI of a resource, as a server may read it that normalises it.
 *
 * Rules are about bytes, and bytes are what is forwarded.  But official servers
 * read them by the URL parser of their language, which makes another URI of
 * some: what is here tells which, and sees through the usual spellings.
 *
 * Nothing is allocated or kept.
 */

#ifndef MCP_URI_H
#define MCP_URI_H


#include "mcp_core.h"


/*
 * 0 when a URL parser might make another URI of it: control characters, space
 * at an end, a segment of dots (escaped ones too), a scheme of the web without
 * its slash; and when it is empty.
 */
int mcp_uri_plain(const mcp_str_t *uri);

/*
 * mcp_glob() of other spellings: case does not count, %XX is its byte, '\' and
 * several slashes are one slash, on both sides.  It does not match all that
 * mcp_glob() does: a star between two slashes stands for something here.
 */
int mcp_uri_glob(const mcp_str_t *pattern, const mcp_str_t *uri);


#endif /* MCP_URI_H */
