/*
 * Lines of columns, the form of token records and of watermarks: in files, in
 * Redis and in messages.
 *
 * Columns are separated by one space.  What a column cannot hold is written
 * %XX: bytes outside 0x21 to 0x7e, "%", and what the format needs for itself.
 * A value that was read is UTF-8 without a control character: it may go into
 * headers, logs and terminals.
 */

#ifndef MCP_LINE_H
#define MCP_LINE_H


#include "mcp_core.h"


/* Takes the next column off *rest.  MCP_OK; MCP_DECLINED: no more; MCP_ERROR:
 * an empty one (two spaces, or one at the end). */
int mcp_line_column(mcp_str_t *rest, mcp_str_t *column);

/* Splits "key=value" at its first "=".  MCP_ERROR: none, or nothing before
 * it. */
int mcp_line_pair(const mcp_str_t *column, mcp_str_t *key, mcp_str_t *value);

/*
 * A value as it is written -> its bytes, in mem.  special: characters besides
 * "%" that must have been written %XX.  MCP_OK; MCP_ERROR: *error, static.
 */
int mcp_line_decode(const mcp_mem_t *mem, const mcp_str_t *text,
    const char *special, mcp_str_t *value, const char **error);

void mcp_line_encode(mcp_buf_t *b, const mcp_str_t *value,
    const char *special);

/*
 * Takes the next line that says something off *rest, a file: not an empty one,
 * not a comment ("#" first).  *n counts all lines.  MCP_OK; MCP_DECLINED: that
 * was all, and the last line, which *line is, was "end"; MCP_ERROR: *error,
 * static.
 */
int mcp_line_next(mcp_str_t *rest, mcp_str_t *line, unsigned *n,
    const char **error);


#endif /* MCP_LINE_H */
