/*
 * Looks at the rules of a policy.  The one file outside core/ that knows how
 * they are kept; it only reads.
 */

#include "mcpctl_rules.h"
#include "mcpctl_out.h"
#include "mcp_policy_private.h"


static unsigned mcpctl_rule_held(const mcp_rule_t *rule,
    const mcp_roles_t *roles);
static unsigned mcpctl_rule_shadow(const mcp_policy_t *policy,
    const mcp_rule_t *rule);
static unsigned mcpctl_rule_touches(const mcp_rule_t *rule,
    const mcpctl_name_t *name, const mcp_pattern_t *pattern, unsigned *all);
static unsigned mcpctl_roles_shadow(const mcp_policy_t *policy,
    const mcp_roles_t *roles);
static void mcpctl_match_conditions(mcpctl_t *ctl,
    const mcp_policy_t *policy, const mcp_rule_t *rule,
    const mcp_value_t *values, mcpctl_match_t *match);
static char *mcpctl_condition_text(mcpctl_t *ctl, const mcp_policy_t *policy,
    const mcp_condition_t *c);


void
mcpctl_rules_match(mcpctl_t *ctl, const mcp_policy_t *policy,
    const mcp_roles_t *roles, mcp_target_e kind, const mcp_str_t *target,
    const mcp_value_t *values, mcpctl_list_t *list, mcpctl_list_t *others)
{
    mcp_str_t         *text;
    mcpctl_match_t    *match;
    const mcp_rule_t  *rule;

    for (rule = policy->rules; rule; rule = rule->next) {

        if (rule->kind != kind || !mcpctl_rule_held(rule, roles)) {
            continue;
        }

        if (!mcp_rule_matches(rule, target)) {
            text = mcpctl_alloc(ctl, sizeof(mcp_str_t));
            *text = rule->text;
            mcpctl_push(ctl, others, text);
            continue;
        }

        match = mcpctl_alloc(ctl, sizeof(mcpctl_match_t));

        match->rule = rule->text;
        match->deny = rule->deny;
        match->shadow = mcpctl_rule_shadow(policy, rule);

        mcpctl_match_conditions(ctl, policy, rule, values, match);
        mcpctl_push(ctl, list, match);
    }
}


/* One false makes all false; else one that is unclear makes all unclear. */
static void
mcpctl_match_conditions(mcpctl_t *ctl, const mcp_policy_t *policy,
    const mcp_rule_t *rule, const mcp_value_t *values, mcpctl_match_t *match)
{
    unsigned                i;
    mcpctl_condition_t     *view;
    const mcp_condition_t  *c;

    static const mcp_value_t  absent = { MCP_VALUE_ABSENT, { 0, NULL } };

    match->truth = MCP_TRUE;
    match->nconditions = rule->nconditions;
    match->conditions = mcpctl_alloc(ctl, rule->nconditions
                                          * sizeof(mcpctl_condition_t));

    for (i = 0; i < rule->nconditions; i++) {
        c = &rule->conditions[i];
        view = &match->conditions[i];

        view->text = mcpctl_condition_text(ctl, policy, c);
        view->value = values ? values[c->pointer] : absent;
        view->truth = mcp_condition_eval(c, &view->value);

        if (view->truth == MCP_FALSE
            || (view->truth == MCP_UNCLEAR && match->truth == MCP_TRUE))
        {
            match->truth = view->truth;
        }
    }
}


static char *
mcpctl_condition_text(mcpctl_t *ctl, const mcp_policy_t *policy,
    const mcp_condition_t *c)
{
    char      *text;
    unsigned   i;

    static const char *const  ops[] = {
        "=", "!=", "<", "<=", ">", ">=", "exists", "absent"
    };

    text = mcpctl_format(ctl, "%s %s",
                         mcpctl_shown(ctl, &policy->pointers[c->pointer].text,
                                      MCPCTL_SHOWN),
                         ops[c->op]);

    for (i = 0; i < c->values.n; i++) {
        text = mcpctl_format(ctl, "%s %s", text,
                             mcpctl_shown(ctl, &c->values.elts[i].text,
                                          MCPCTL_SHOWN));
    }

    return text;
}


void
mcpctl_rules_names(mcpctl_t *ctl, const mcp_policy_t *policy,
    const mcp_roles_t *roles, mcpctl_list_t *list)
{
    unsigned              i;
    const mcp_rule_t     *rule;
    const mcp_pattern_t  *e;

    for (rule = policy->rules; rule; rule = rule->next) {

        if (roles && !mcpctl_rule_held(rule, roles)) {
            continue;
        }

        for (i = 0; i < rule->patterns.n; i++) {
            e = &rule->patterns.elts[i];
            mcpctl_rules_add(ctl, list, rule->kind, &e->text, e->glob);
        }
    }
}


void
mcpctl_rules_add(mcpctl_t *ctl, mcpctl_list_t *list, mcp_target_e kind,
    const mcp_str_t *text, unsigned glob)
{
    unsigned        i, at;
    mcpctl_name_t  *name;

    at = list->n;

    for (i = 0; i < list->n; i++) {
        name = list->elts[i];

        if (name->kind == kind && name->glob == glob
            && mcp_str_eq(&name->text, text))
        {
            return;
        }

        if (name->kind > kind && at == list->n) {
            at = i;
        }
    }

    name = mcpctl_alloc(ctl, sizeof(mcpctl_name_t));

    name->kind = kind;
    name->text = *text;
    name->glob = glob;

    mcpctl_push(ctl, list, name);

    for (i = list->n - 1; i > at; i--) {
        list->elts[i] = list->elts[i - 1];
    }

    list->elts[at] = name;
}


/*
 * An enforced deny of all of it, whatever the arguments; else one in shadow;
 * else an allow, which is "maybe" when it has conditions, allows only some of
 * it, or when a deny may come before it.
 */
void
mcpctl_rules_cell(mcpctl_t *ctl, const mcp_policy_t *policy,
    const mcp_roles_t *roles, const mcpctl_name_t *name, mcpctl_cell_t *cell)
{
    unsigned           all, deny_shadow, sure;
    mcp_pattern_t      pattern;
    const mcp_rule_t  *rule, *denied, *unless, *allowed;

    (void) ctl;

    memset(cell, 0, sizeof(mcpctl_cell_t));
    memset(&pattern, 0, sizeof(mcp_pattern_t));

    pattern.text = name->text;
    pattern.glob = name->glob;

    denied = NULL;
    unless = NULL;
    allowed = NULL;
    sure = 0;

    for (rule = policy->rules; rule; rule = rule->next) {

        if (rule->kind != name->kind || !mcpctl_rule_held(rule, roles)
            || !mcpctl_rule_touches(rule, name, &pattern, &all))
        {
            continue;
        }

        all = all && rule->nconditions == 0;

        if (!rule->deny) {
            if (allowed == NULL || (all && !sure)) {
                allowed = rule;
                sure = all;
            }

        } else if (!all) {
            unless = unless ? unless : rule;

        } else if (denied == NULL || mcpctl_rule_shadow(policy, denied)) {
            denied = rule;
        }
    }

    deny_shadow = denied && mcpctl_rule_shadow(policy, denied);

    if (denied) {
        cell->verdict = MCPCTL_DENY;
        cell->rule = denied->text;
        cell->shadow = deny_shadow;
        return;
    }

    cell->shadow = mcpctl_roles_shadow(policy, roles);

    if (allowed == NULL) {

        /* where no rule allows, a deny of a part says no more than none */

        return;
    }

    cell->verdict = (sure && unless == NULL) ? MCPCTL_ALLOW : MCPCTL_MAYBE;
    cell->rule = allowed->text;

    if (unless) {
        cell->unless = unless->text;
    }
}


/* 1 when the rule may concern one of the names; *all: it concerns each. */
static unsigned
mcpctl_rule_touches(const mcp_rule_t *rule, const mcpctl_name_t *name,
    const mcp_pattern_t *pattern, unsigned *all)
{
    unsigned  i;

    if (!name->glob) {
        *all = 1;
        return (unsigned) mcp_rule_matches(rule, &name->text);
    }

    *all = (unsigned) mcp_patterns_cover(&rule->patterns, pattern);

    for (i = 0; i < rule->patterns.n; i++) {
        if (mcp_pattern_meets(&rule->patterns.elts[i], pattern)) {
            return 1;
        }
    }

    return *all;
}


static unsigned
mcpctl_rule_held(const mcp_rule_t *rule, const mcp_roles_t *roles)
{
    return rule->role == 0 || mcp_role_held(roles, rule->role);
}


static unsigned
mcpctl_rule_shadow(const mcp_policy_t *policy, const mcp_rule_t *rule)
{
    return policy->all_shadow || mcp_role_held(&policy->shadow, rule->role);
}


static unsigned
mcpctl_roles_shadow(const mcp_policy_t *policy, const mcp_roles_t *roles)
{
    unsigned  i;

    if (policy->all_shadow || mcp_role_held(&policy->shadow, 0)) {
        return 1;
    }

    for (i = 0; i < MCP_MAX_ROLES / 64; i++) {
        if (policy->shadow.bits[i] & roles->bits[i]) {
            return 1;
        }
    }

    return 0;
}


const char *
mcpctl_rules_verdict(mcpctl_verdict_e verdict)
{
    static const char *const  names[] = { "-", "deny", "maybe", "allow" };

    return names[verdict];
}


const char *
mcpctl_rules_kind(mcp_target_e kind)
{
    static const char *const  names[] = {
        "", "tool", "prompt", "resource", "method"
    };

    return names[kind];
}
