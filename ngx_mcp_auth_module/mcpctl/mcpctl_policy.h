/*
 * What the commands about policies share.
 */

#ifndef MCPCTL_POLICY_H
#define MCPCTL_POLICY_H


#include "mcpctl_conf.h"
#include "mcpctl_out.h"
#include "mcpctl_rules.h"


/* "a,b" (NULL: none) -> a set; every name must be a role of the server.
 * MCP_OK, or MCP_ERROR: said. */
int mcpctl_policy_roles(mcpctl_t *ctl, const mcpctl_server_t *sv,
    const char *text, mcp_roles_t *roles);

/* Scopes with any spaces between them -> with single ones. */
mcp_str_t mcpctl_policy_scope_list(mcpctl_t *ctl, const char *text);

/* A cell as it is shown. */
const char *mcpctl_policy_cell(mcpctl_t *ctl, const mcpctl_cell_t *cell);
void mcpctl_policy_cell_json(mcpctl_t *ctl, json_t *object,
    const mcpctl_cell_t *cell);


#endif /* MCPCTL_POLICY_H */
