/*
 * A policy's rules, to be looked at: which of them concern a call, and what a
 * holder of roles may do with a whole pattern of names.
 *
 * Nothing is decided here: what a single call gets is mcp_policy_decide()'s to
 * say.  This tells why, and sums up.
 */

#ifndef MCPCTL_RULES_H
#define MCPCTL_RULES_H


#include "mcpctl.h"
#include "mcp_policy.h"
#include "mcp_where.h"


/* A condition of a rule that concerns a call. */
typedef struct {
    char                *text;          /* "/project != SANDBOX", shown */
    mcp_value_t          value;         /* what the pointer points at */
    mcp_truth_e          truth;
} mcpctl_condition_t;

/* A rule of a held role whose patterns match a target. */
typedef struct {
    mcp_str_t            rule;
    unsigned             deny;
    unsigned             shadow;        /* it is only tried out */
    mcp_truth_e          truth;         /* of all its conditions together */
    mcpctl_condition_t  *conditions;
    unsigned             nconditions;
} mcpctl_match_t;

/* Those rules, as they are written, into list (mcpctl_match_t), and the texts
 * of the others of this kind into others (mcp_str_t).  values: as for
 * mcp_policy_decide(). */
void mcpctl_rules_match(mcpctl_t *ctl, const mcp_policy_t *policy,
    const mcp_roles_t *roles, mcp_target_e kind, const mcp_str_t *target,
    const mcp_value_t *values, mcpctl_list_t *list, mcpctl_list_t *others);


/* A name, or a glob that stands for all names it matches. */
typedef struct {
    mcp_target_e         kind;
    mcp_str_t            text;
    unsigned             glob;
} mcpctl_name_t;

/* Every pattern of the rules of these roles (NULL: of all), each once, by kind,
 * into list (mcpctl_name_t), unless it is there already. */
void mcpctl_rules_names(mcpctl_t *ctl, const mcp_policy_t *policy,
    const mcp_roles_t *roles, mcpctl_list_t *list);

/* Adds a name unless it is there; the list stays sorted by kind. */
void mcpctl_rules_add(mcpctl_t *ctl, mcpctl_list_t *list, mcp_target_e kind,
    const mcp_str_t *text, unsigned glob);


typedef enum {
    MCPCTL_NONE = 0,                    /* no rule: denied */
    MCPCTL_DENY,
    MCPCTL_MAYBE,                       /* some of it, or by the arguments */
    MCPCTL_ALLOW
} mcpctl_verdict_e;

typedef struct {
    mcpctl_verdict_e     verdict;
    mcp_str_t            rule;          /* that says so; empty: none */
    mcp_str_t            unless;        /* MCPCTL_MAYBE: a deny that may come
                                           before it; empty: none */
    unsigned             shadow;        /* what is denied passes, and is only
                                           recorded */
} mcpctl_cell_t;

/* What a holder of roles may do with this name, whatever the arguments. */
void mcpctl_rules_cell(mcpctl_t *ctl, const mcp_policy_t *policy,
    const mcp_roles_t *roles, const mcpctl_name_t *name,
    mcpctl_cell_t *cell);

/* "allow", "deny", "maybe", "-". */
const char *mcpctl_rules_verdict(mcpctl_verdict_e verdict);

/* "tool", "prompt", "resource", "method". */
const char *mcpctl_rules_kind(mcp_target_e kind);


#endif /* MCPCTL_RULES_H */
