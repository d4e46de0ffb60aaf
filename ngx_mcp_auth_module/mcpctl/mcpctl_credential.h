/*
 * What the commands for credentials share: which records are meant, and what is
 * read for `credential import`.
 */

#ifndef MCPCTL_CREDENTIAL_H
#define MCPCTL_CREDENTIAL_H


#include "mcpctl_args.h"
#include "mcpctl_vault.h"


/* Which records: of the options of a command. */
typedef struct {
    const char          *name;          /* of the mcp_credential */
    const char          *user;
    const char          *issuer;
    const char          *record;        /* name of the record itself */
    unsigned             all;
} mcpctl_wanted_t;


/*
 * The records that are meant, opened, with strings of their own
 * (mcpctl_record_t); without --all none that was deleted.  What does not open
 * is among them when it was named by --record, or by credential, user and
 * issuer of a grant; else it is counted in *damaged, said.  An exit code.
 */
int mcpctl_credential_find(mcpctl_vault_t *v, const mcpctl_wanted_t *want,
    mcpctl_list_t *records, unsigned *damaged);

/*
 * Reads what a token endpoint answered (path NULL: stdin) into t, whose strings
 * are wiped by mcpctl_credential_wipe().  MCPCTL_OK, or an exit code: said,
 * without anything of what was read.
 */
int mcpctl_credential_input(mcpctl_t *ctl, const char *path,
    const mcpctl_credential_t *cr, int64_t now, mcp_vault_tokens_t *t);
void mcpctl_credential_wipe(mcp_vault_tokens_t *t);


#endif /* MCPCTL_CREDENTIAL_H */
