/*
 * The pages of mcp_connect: plain HTML without script, from plain strings.
 * Every string is escaped here, cut to a length, and made safe to be shown:
 * whatever a provider, an issuer or a person calls itself, it stays text.
 *
 * A page says everything in words: its style sheet (light and dark, down to the
 * width of a phone) adds nothing that one has to see.  Elements are what they
 * are called, and a link or button that is there several times has a name of
 * its own for who hears the page.
 *
 * Each function writes a whole page into b; overflow is the caller's to look
 * at.
 */

#ifndef MCP_PAGE_H
#define MCP_PAGE_H


#include "mcp_core.h"


#define MCP_PAGE_SIZE     8192          /* bytes of a page without rows */
#define MCP_PAGE_ROW      16384         /* bytes of a row, at most */
#define MCP_PAGE_TEXT     200           /* bytes of a string that are shown */
#define MCP_PAGE_SCOPES   1000          /* bytes of all scopes, */
#define MCP_PAGE_NSCOPES  40            /* and how many are shown */


typedef enum {
    MCP_PAGE_NONE = 0,                  /* not connected */
    MCP_PAGE_ACTIVE,
    MCP_PAGE_REAUTH,                    /* to be connected again */
    MCP_PAGE_UNKNOWN                    /* nobody knows now */
} mcp_page_state_e;


/* One credential of the list. */
typedef struct {
    mcp_str_t            name;
    mcp_str_t            provider;      /* empty: nothing to be said */
    mcp_page_state_e     state;
    int64_t              since;         /* s since the epoch; 0: not said */
    int64_t              used;          /* likewise: last, to some minutes */
    int64_t              renewed;       /* likewise */
    int64_t              expires;       /* of the whole grant */
    mcp_str_t            scope;
    mcp_str_t            token;         /* of its form */
} mcp_page_row_t;


/* path: of the location, ends in "/"; person: who is signed in. */
void mcp_page_list(mcp_buf_t *b, const mcp_str_t *path,
    const mcp_str_t *person, const mcp_page_row_t *rows, unsigned nrows,
    const mcp_str_t *logout_token);

/* What will be connected, for whom; the form begins it. */
void mcp_page_confirm(mcp_buf_t *b, const mcp_str_t *path,
    const mcp_str_t *person, const mcp_page_row_t *row,
    const mcp_str_t *host, const mcp_str_t *ticket);

/* A sentence, and where to go from there (link NULL: nowhere).  All of them are
 * our own words.  reason: the one in the audit, for whoever is asked for help;
 * NULL: nothing went wrong. */
void mcp_page_message(mcp_buf_t *b, const mcp_str_t *path, const char *title,
    const char *text, const char *reason, const char *link,
    const char *link_path);

extern const char  mcp_page_style[];

/*
 * Text for an element or a quoted attribute: at most max bytes of s, cut at a
 * character; what was cut is marked with U+2026.  mcp_char_unseen(), and each
 * byte of what is no UTF-8, become U+FFFD.
 */
void mcp_page_escape(mcp_buf_t *b, const mcp_str_t *s, size_t max);


#endif /* MCP_PAGE_H */
