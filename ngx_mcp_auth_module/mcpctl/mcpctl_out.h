/*
 * What mcpctl shows: tables for people, JSON for programs.
 *
 * Whatever comes from outside (names, claims, files) is shown with its control
 * characters escaped and bounded: a terminal obeys nobody's token.
 */

#ifndef MCPCTL_OUT_H
#define MCPCTL_OUT_H


#include "mcpctl.h"

#include <jansson.h>


#define MCPCTL_SHOWN  1024              /* bytes of one text, at most */


typedef struct mcpctl_table_s  mcpctl_table_t;


/* The text as it may be shown: in memory until the end of the run. */
char *mcpctl_shown(mcpctl_t *ctl, const mcp_str_t *text, size_t max);

/* The same for text of a C string. */
char *mcpctl_shown_c(mcpctl_t *ctl, const char *text);

/* ASCII that is fit to be shown already, JSON for one: only cut. */
char *mcpctl_shown_raw(mcpctl_t *ctl, const mcp_str_t *text, size_t max);


/* A JSON string in place, len bytes with its quotes -> the text between them,
 * in which quotes are not escaped any more; its length. */
size_t mcpctl_unquote(char *p, size_t len);


/* A table with these headings, the last one NULL. */
mcpctl_table_t *mcpctl_table(mcpctl_t *ctl, const char *const *headings);

/* A row: as many cells as there are headings, as they are to be shown; NULL:
 * an empty one. */
void mcpctl_row(mcpctl_table_t *table, const char *const *cells);

/* To stdout, columns aligned; nothing when there is no row. */
void mcpctl_table_print(mcpctl_table_t *table);


/*
 * JSON values; what runs out of memory ends the run.  Text that is no UTF-8 has
 * U+FFFD in place of what is wrong.
 */
json_t *mcpctl_json_object(mcpctl_t *ctl);
json_t *mcpctl_json_array(mcpctl_t *ctl);

/* Sets a member; value is taken over, NULL: out of memory. */
void mcpctl_json_set(mcpctl_t *ctl, json_t *object, const char *key,
    json_t *value);
void mcpctl_json_append(mcpctl_t *ctl, json_t *array, json_t *value);

json_t *mcpctl_json_text(mcpctl_t *ctl, const mcp_str_t *text);

/* Sets a member unless text is empty. */
void mcpctl_json_set_text(mcpctl_t *ctl, json_t *object, const char *key,
    const mcp_str_t *text);

/* Frees what json_dumps() gave: memory of jansson is wiped when it goes. */
void mcpctl_json_free(void *p);

/* To stdout, indented; frees it. */
void mcpctl_json_print(mcpctl_t *ctl, json_t *root);


#endif /* MCPCTL_OUT_H */
