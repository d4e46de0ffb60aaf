/*
 * nginx's configuration language: words, lines, blocks, files.
 *
 * The same bytes are the same words as in nginx: quotes, escapes, comments,
 * "${name}" as it is written.  An included file is read in the place of its
 * `include`.  A block in Lua, whose text is not nginx's, is passed over by the
 * rules of Lua.  Depth and sizes are bounded.
 */

#ifndef MCPCTL_READ_H
#define MCPCTL_READ_H


#include "mcpctl_conf.h"


#define MCPCTL_WORDS  8192              /* in one line */


typedef struct mcpctl_file_s  mcpctl_file_t;


typedef struct {
    mcpctl_t            *ctl;
    mcpctl_conf_t       *conf;

    mcpctl_file_t       *file;          /* that is being read */
    unsigned             nfiles;        /* opened so far */
    size_t               total;         /* bytes of them */
    unsigned             depth;         /* blocks and files that are open */

    /* the line or the block's beginning that was read last */
    mcp_str_t           *words;         /* each with a NUL behind it */
    unsigned             nwords;
    unsigned             size;
} mcpctl_reader_t;


/* What mcpctl_read_next() found. */
typedef enum {
    MCPCTL_READ_ERROR = -1,             /* said */
    MCPCTL_READ_LINE = 0,               /* words ";" */
    MCPCTL_READ_BLOCK,                  /* words "{" */
    MCPCTL_READ_END,                    /* "}" */
    MCPCTL_READ_EOF                     /* the end of this file */
} mcpctl_read_e;


/* Reads the file at path from here on.  MCP_OK, or MCP_ERROR: said. */
int mcpctl_read_open(mcpctl_reader_t *rd, const mcp_str_t *path);

/* The file is done: back to the one that included it. */
void mcpctl_read_close(mcpctl_reader_t *rd);

mcpctl_read_e mcpctl_read_next(mcpctl_reader_t *rd);

/* Passes over the block that has just begun, with all that is in it; one of Lua
 * is known by its first word.  MCP_OK, or MCP_ERROR: said. */
int mcpctl_read_skip(mcpctl_reader_t *rd);

/*
 * include PATTERN: calls each(ctx) after opening every file of it, in order.
 * What each returns other than MCP_OK is returned.
 */
int mcpctl_read_include(mcpctl_reader_t *rd, const mcp_str_t *pattern,
    int (*each)(void *ctx), void *ctx);

/* Where the last line or block's beginning ended. */
mcpctl_place_t mcpctl_read_place(const mcpctl_reader_t *rd);

/* Says what is wrong, "... in FILE:LINE"; MCP_ERROR. */
int mcpctl_read_error(mcpctl_reader_t *rd, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* The same of a place that has been read before. */
int mcpctl_place_error(mcpctl_t *ctl, const mcpctl_place_t *place,
    const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* A relative path -> one from the configuration's directory. */
mcp_str_t mcpctl_full_name(mcpctl_t *ctl, const mcp_str_t *dir,
    const mcp_str_t *name);


#endif /* MCPCTL_READ_H */
