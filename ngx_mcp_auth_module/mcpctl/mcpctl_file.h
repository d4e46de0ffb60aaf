/*
 * A file that nginx's workers read again when it changes: changed by one at a
 * time, and as a whole or not at all.
 *
 * Whoever changes it holds a lock on PATH.lock, which stays there; writes
 * PATH.tmp, syncs it, renames it, and syncs the directory.  A process that is
 * killed leaves the old file or the new one.  Readers need no lock.
 */

#ifndef MCPCTL_FILE_H
#define MCPCTL_FILE_H


#include "mcpctl.h"

#include <sys/types.h>


typedef struct {
    mcp_str_t            path;          /* of the file itself, not of a link */
    mcp_str_t            text;
    unsigned             exists;

    mcp_str_t            tmp;
    int                  lock;          /* -1: none */
    uid_t                uid;
    gid_t                gid;
    mode_t               mode;
} mcpctl_file_text_t;


/* Reads it; what is not there is empty.  MCP_OK, or MCP_ERROR: said. */
int mcpctl_file_read(mcpctl_t *ctl, const mcp_str_t *path,
    mcpctl_file_text_t *f);

/* The same with the lock, which mcpctl_file_close() gives back.  Waits for
 * another writer for 10 s at most. */
int mcpctl_file_open(mcpctl_t *ctl, const mcp_str_t *path,
    mcpctl_file_text_t *f);

/* Writes text beside it.  Owner and mode are those of the file; of a new one
 * 0640 with the group of nginx's workers. */
int mcpctl_file_prepare(mcpctl_t *ctl, mcpctl_file_text_t *f,
    const mcp_str_t *text);

/* Puts what was prepared in its place; warns when workers cannot read it. */
int mcpctl_file_commit(mcpctl_t *ctl, mcpctl_file_text_t *f);

void mcpctl_file_close(mcpctl_file_text_t *f);


#endif /* MCPCTL_FILE_H */
