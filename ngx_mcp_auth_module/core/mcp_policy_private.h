/*
 * What a policy is made of; private to mcp_policy_conf.c, which builds it,
 * mcp_policy.c, which asks it, and mcpctl_rules.c, which shows it.
 *
 * While the configuration is read, rules hang in a list in the order they were
 * written.  mcp_policy_finish() checks them and lays them out for each kind in
 * two arrays, denies and allows, in which the rules of one role stand side by
 * side: a role that the caller does not hold is skipped as a whole.
 */

#ifndef MCP_POLICY_PRIVATE_H
#define MCP_POLICY_PRIVATE_H


#include "mcp_policy.h"
#include "mcp_where.h"


#define MCP_KINDS  (MCP_TARGET_METHOD + 1)


struct mcp_rule_s {
    unsigned             role;
    unsigned             skip;          /* index of the next role's first */
    unsigned             deny;
    mcp_target_e         kind;
    mcp_patterns_t       patterns;
    mcp_condition_t     *conditions;
    unsigned             nconditions;
    mcp_str_t            text;          /* bounded, for the audit */
    mcp_str_t            full;          /* not bounded: to find it again */
    mcp_rule_t          *next;
};


typedef struct mcp_step_up_s  mcp_step_up_t;

struct mcp_step_up_s {
    mcp_target_e         kind;
    mcp_patterns_t       patterns;
    mcp_str_t            scope;         /* space separated */
    mcp_str_t            text;
    mcp_step_up_t       *next;
};


typedef struct mcp_role_s  mcp_role_t;

struct mcp_role_s {
    unsigned             number;
    unsigned             nrules;
    mcp_str_t            name;
    mcp_role_t          *next;
};


typedef struct {
    mcp_rule_t          *elts;
    unsigned             n;
} mcp_rules_t;


struct mcp_policy_s {
    mcp_mem_t            mem;

    mcp_rules_t          denies[MCP_KINDS];
    mcp_rules_t          allows[MCP_KINDS];
    mcp_step_up_t       *step_ups;
    mcp_str_t            scope;

    mcp_roles_t          shadow;        /* roles whose rules are tried out */
    unsigned             all_shadow;    /* the whole server */

    mcp_role_t          *roles;
    mcp_rule_t          *rules;         /* as written */
    mcp_rule_t         **last_rule;

    unsigned             npointers;
    mcp_pointer_t        pointers[MCP_MAX_POINTERS];
};


/* Do its patterns match?  Those of a deny: also another spelling of a URI. */
int mcp_rule_matches(const mcp_rule_t *rule, const mcp_str_t *target);

/* Appends scope unless all has it or it does not fit into size bytes. */
void mcp_scope_add(mcp_str_t *all, const mcp_str_t *scope, size_t size);


#endif /* MCP_POLICY_PRIVATE_H */
