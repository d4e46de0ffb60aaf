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


/* Warns when what was just made is refused by the gateways. */
void mcpctl_token_warn(mcpctl_t *ctl, const mcp_access_key_t *key,
    int64_t now);

/*
 * Shows a new token, once: alone to stdout, with --json in an object; what it
 * is goes to stderr.
 */
int mcpctl_token_show_new(mcpctl_t *ctl, const mcpctl_token_t *token,
    const mcpctl_secret_token_t *secret);

/* "user U of ISSUER" or "service S", to be shown */
char *mcpctl_token_owner(mcpctl_t *ctl, const mcp_access_key_t *key);

json_t *mcpctl_token_json(mcpctl_t *ctl, const mcpctl_token_t *token,
    const char *state);


#endif /* MCPCTL_TOKEN_H */
