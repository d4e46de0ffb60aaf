/*
 * Moments as text: RFC 3339 in UTC, whole seconds, "2026-11-25T15:10:40Z", as
 * in the lines of mcp_access_key and mcp_revocation.  No other form: the same
 * moment is the same text everywhere.
 */

#ifndef MCP_TIME_H
#define MCP_TIME_H


#include "mcp_core.h"


#define MCP_TIME_LEN   20               /* characters */
#define MCP_TIME_MAX   253402300799     /* the last second of 9999 */


/* s since the epoch, 1970 to 9999; no leap second.  MCP_OK or MCP_ERROR. */
int mcp_time_parse(const mcp_str_t *text, int64_t *sec);

/* MCP_TIME_LEN characters; what is out of range becomes its nearest end. */
void mcp_time_write(mcp_buf_t *b, int64_t sec);


#endif /* MCP_TIME_H */
