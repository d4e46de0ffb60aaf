/*
 * What the files of `token ...` share.
 */

#ifndef MCPCTL_TOKEN_H
#define MCPCTL_TOKEN_H


#include "mcpctl_args.h"
#include "mcpctl_out.h"
#include "mcpctl_store.h"


/* A new token: shown once, then wiped. */
typedef struct {
    unsigned char        text[MCP_ACCESS_KEY_LEN + 1];
} mcpctl_secret_token_t;


/*
 * Makes a token for this store; id, hash, pepper and hint go into key, with the
 * time and the operator's name.  MCP_OK, or MCP_ERROR: said.
 */
int mcpctl_token_make(mcpctl_t *ctl, const mcpctl_store_t *st,
    mcp_access_key_t *key, int64_t now, mcpctl_secret_token_t *token);

/* Is it allowed to live that long?  MCPCTL_OK or MCPCTL_REFUSED: said. */
int mcpctl_token_lifetime(mcpctl_t *ctl, const mcp_access_key_t *key,
    int64_t now, unsigned force);

/* Warns when what was just made is refused by the gateways. */
void mcpctl_token_warn(mcpctl_t *ctl, const mcp_access_key_t *key,
    int64_t now);

/*
 * Shows a new token, once: alone to stdout, with --json in an object; what it
 * is goes to stderr.
 */
int mcpctl_token_show_new(mcpctl_t *ctl, const mcpctl_token_t *token,
    const mcpctl_secret_token_t *secret);

/*
 * The token of this id in any of the stores.  MCPCTL_OK, or an exit code: said.
 */
int mcpctl_token_find(mcpctl_t *ctl, const mcpctl_list_t *stores,
    const char *id, mcpctl_token_t **token);

/* "user U of ISSUER" or "service S", to be shown */
char *mcpctl_token_owner(mcpctl_t *ctl, const mcp_access_key_t *key);

json_t *mcpctl_token_json(mcpctl_t *ctl, const mcpctl_token_t *token,
    const char *state);


#endif /* MCPCTL_TOKEN_H */
