/*
 * Framing of server-sent events (WHATWG HTML, 9.2).
 *
 * mcp_sse_find_end() finds where an event ends, over bytes as they arrive;
 * LF, CR and CRLF end a line, also mixed and also split between pieces.  An
 * event is everything up to and including the blank line that ends it, so that
 * concatenating the events gives the stream back byte for byte.
 * mcp_sse_line() walks the lines of one complete event.
 */

#ifndef MCP_SSE_H
#define MCP_SSE_H


#include "mcp_core.h"


typedef struct {
    unsigned             state;
    unsigned             bom;   /* bytes of a leading BOM seen; 4: none came */
} mcp_sse_t;


typedef enum {
    MCP_SSE_BLANK = 1,
    MCP_SSE_COMMENT,
    MCP_SSE_DATA,
    MCP_SSE_EVENT,
    MCP_SSE_ID,
    MCP_SSE_RETRY,
    MCP_SSE_OTHER
} mcp_sse_field_e;


typedef struct {
    mcp_sse_field_e      field;
    mcp_str_t            line;          /* with its line end */
    mcp_str_t            value;         /* after the colon and one space */
} mcp_sse_line_t;


void mcp_sse_init(mcp_sse_t *s);

/*
 * Looks at [*pos, last).  MCP_OK: an event ends at the new *pos.  MCP_AGAIN:
 * *pos == last.  A blank line that ends in CR is complete at the CR; a LF
 * that follows it belongs to it and is given as part of the next event's
 * beginning, where it is an empty event of one byte that passes.
 */
int mcp_sse_find_end(mcp_sse_t *s, const unsigned char **pos,
    const unsigned char *last);

/*
 * The next line of the event in [*pos, last), *pos advanced past it.
 * MCP_OK, or MCP_DECLINED when there is none.  first: this is the first line
 * of the stream, in which a BOM is part of no field name (line still has it).
 * Field names are compared byte for byte; value points into the event and is
 * empty when the line has no colon.  A last line without a line end is given
 * as it is.
 */
int mcp_sse_line(const unsigned char **pos, const unsigned char *last,
    unsigned first, mcp_sse_line_t *line);


#endif /* MCP_SSE_H */
