/*
 * JSON of others as a tree of jansson's: key sets, tokens, answers of
 * providers, and what we wrote ourselves and read again.
 *
 * The tree is built from the events of mcp_json_scan.  jansson's own parser
 * does not notice when it has no memory for the next byte of a string: the byte
 * is missing then, and "joe1" is "joe".  It loses a NUL behind a number, too.
 */

#ifndef MCP_JSON_TREE_H
#define MCP_JSON_TREE_H


#include "mcp_core.h"

#include <jansson.h>


#define MCP_JSON_TREE_DEPTH  32


/*
 * One JSON object of at most max_depth levels (MCP_JSON_TREE_DEPTH or less),
 * strict: no duplicate names, no NUL in a string, no number that an int64_t or
 * a double cannot hold, nothing behind it.  The caller owns the reference.
 * NULL: it is none; *oom is 1 when memory was the cause.
 */
json_t *mcp_json_tree(const unsigned char *data, size_t len,
    unsigned max_depth, int *oom);


#endif /* MCP_JSON_TREE_H */
