/*
 * The reasons that a record may have, as numbers: what counts them cannot keep
 * a counter for each text.
 */

#ifndef MCP_REASON_H
#define MCP_REASON_H


#include "mcp_core.h"


#define MCP_REASON_OTHER  0             /* one that is not in the table */


/* The number of a reason, from 1; MCP_REASON_OTHER when there is none. */
unsigned mcp_reason_number(const char *reason);

/* Its text; "other" for MCP_REASON_OTHER and for what is no number. */
const char *mcp_reason_text(unsigned number);


#endif /* MCP_REASON_H */
