/*
 * Queries and forms (application/x-www-form-urlencoded): read strictly, and
 * written.  What a name stands for twice is nothing: two readers could take two
 * different ones.
 */

#ifndef MCP_FORM_H
#define MCP_FORM_H


#include "mcp_core.h"


#define MCP_FORM_FIELDS  32


typedef struct {
    mcp_str_t            name;
    mcp_str_t            value;
} mcp_form_field_t;

typedef struct {
    unsigned             n;
    mcp_form_field_t     fields[MCP_FORM_FIELDS];
} mcp_form_t;


/*
 * The fields of text, decoded into mem ("+" is a space).  MCP_OK, or MCP_ERROR:
 * too many, a name twice, %XX that is none, or a NUL.
 */
int mcp_form_parse(const mcp_str_t *text, const mcp_mem_t *mem,
    mcp_form_t *f);

/* MCP_OK, or MCP_DECLINED: it is not there, or empty. */
int mcp_form_get(const mcp_form_t *f, const char *name, mcp_str_t *value);

/* Percent-encoded, but for the unreserved characters (RFC 3986, 2.3). */
void mcp_form_escape(mcp_buf_t *b, const mcp_str_t *value);

/* sep NAME=VALUE, encoded; nothing when the value is empty. */
void mcp_form_put(mcp_buf_t *b, char sep, const char *name,
    const mcp_str_t *value);


#endif /* MCP_FORM_H */
