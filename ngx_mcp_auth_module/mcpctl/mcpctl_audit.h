/*
 * The records of what operators do, in the mcp_audit file of http {}.
 *
 * Nothing is changed unrecorded: the file is opened before anything else, and
 * the record is written when all that can be known before is known, just before
 * the change itself.  A change that then fails leaves a second record.
 */

#ifndef MCPCTL_AUDIT_H
#define MCPCTL_AUDIT_H


#include "mcpctl_conf.h"
#include "mcp_access_key.h"
#include "mcp_audit.h"
#include "mcp_revocation.h"
#include "mcp_vault.h"


typedef struct {
    mcpctl_t             *ctl;
    int                   fd;           /* -1: nothing is recorded */
    unsigned              written;
    mcp_audit_operator_t  record;
} mcpctl_audit_t;


/* Who it is: of sudo, or the user's name, or its number. */
mcp_str_t mcpctl_operator(mcpctl_t *ctl);

/* off: --no-audit.  MCP_OK, or MCP_ERROR: said. */
int mcpctl_audit_open(mcpctl_t *ctl, mcpctl_audit_t *a, unsigned off);

/* What the record will say. */
void mcpctl_audit_token(mcpctl_audit_t *a, const char *method,
    const mcp_access_key_t *key, const char *store);
void mcpctl_audit_revocation(mcpctl_audit_t *a, const mcp_revocation_t *r,
    const char *store);

void mcpctl_audit_credential(mcpctl_audit_t *a, const char *method,
    const mcp_vault_owner_t *o, uint64_t version);

/* Writes it, unless that was done.  MCP_OK, or MCP_ERROR: said. */
int mcpctl_audit_write(mcpctl_audit_t *a);

/* The change failed: if its record was written, another one says so.  A second
 * try is recorded anew. */
void mcpctl_audit_failed(mcpctl_audit_t *a);

void mcpctl_audit_close(mcpctl_audit_t *a);


#endif /* MCPCTL_AUDIT_H */
