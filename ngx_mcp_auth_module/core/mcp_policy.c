/*
 * Decides: roles x kind x target x arguments -> allow or deny, with the rule
 * that made it (DESIGN.md section 4).
 *
 * Always true: a matching deny is found before any allow is looked at, and one
 * of an enforced role before those that are only tried out count; a
 * condition is true, false or unclear, and unclear never satisfies an allow
 * and always satisfies a deny; a URI that a server may read as another one
 * satisfies no allow, and other spellings of one that is denied, or needs a
 * scope, do not escape that; role 0 ("*") is held by everybody, whatever the
 * caller's mask says; a policy that was not finished allows nothing.
 *
 * Called by the access phase, the list filter and the log, on the hot path:
 * read-only, no allocation.  mcp_policy_conf.c builds what is read here.
 */

#include "mcp_policy_private.h"
#include "mcp_principal.h"
#include "mcp_uri.h"


#define MCP_ROLES_SHOWN  32             /* names in one audit record */
#define MCP_ROLE_NAME    64             /* bytes of a role's name shown */


static const mcp_rule_t *mcp_rule_next(const mcp_rules_t *rules,
    const mcp_roles_t *roles, const mcp_str_t *target, unsigned *i);
static int mcp_spelling_matches(const mcp_patterns_t *patterns,
    mcp_target_e kind, const mcp_str_t *target);
static int mcp_target_plain(mcp_target_e kind, const mcp_str_t *target);
static unsigned mcp_rule_shadow(const mcp_policy_t *p,
    const mcp_rule_t *rule);
static unsigned mcp_policy_shadowed(const mcp_policy_t *p,
    const mcp_roles_t *roles);
static mcp_truth_e mcp_rule_eval(const mcp_rule_t *rule,
    const mcp_value_t *values);
static int mcp_scope_next(mcp_str_t *rest, mcp_str_t *scope);


int
mcp_policy_decide(const mcp_policy_t *p, const mcp_roles_t *roles,
    mcp_target_e kind, const mcp_str_t *target, const mcp_value_t *values,
    mcp_decision_t *d)
{
    unsigned           i;
    mcp_truth_e        truth;
    const mcp_rule_t  *rule, *near, *denied;

    d->shadow = 0;
    d->reason = "no_rule";
    mcp_str_null(&d->rule);
    mcp_str_null(&d->scope);

    if ((unsigned) kind >= MCP_KINDS) {
        return MCP_DECLINED;
    }

    denied = NULL;

    for (i = 0; (rule = mcp_rule_next(&p->denies[kind], roles, target, &i));
         /* void */ )
    {
        truth = mcp_rule_eval(rule, values);

        if (truth == MCP_FALSE) {
            continue;
        }

        if (denied == NULL || !mcp_rule_shadow(p, rule)) {
            denied = rule;
            d->reason = (truth == MCP_TRUE) ? "deny_rule" : "deny_unclear";
            d->rule = rule->text;
        }

        if (!mcp_rule_shadow(p, rule)) {
            return MCP_DECLINED;
        }
    }

    if (denied) {
        d->shadow = 1;
        return MCP_DECLINED;
    }

    if (!mcp_target_plain(kind, target)) {
        d->shadow = mcp_policy_shadowed(p, roles);
        d->reason = "uri_form";
        return MCP_DECLINED;
    }

    near = NULL;

    for (i = 0; (rule = mcp_rule_next(&p->allows[kind], roles, target, &i));
         /* void */ )
    {
        truth = mcp_rule_eval(rule, values);

        if (truth == MCP_TRUE) {
            d->reason = "allow";
            d->rule = rule->text;
            return MCP_OK;
        }

        /* the first that would have allowed it tells the operator most */

        if (near == NULL) {
            near = rule;
            d->reason = (truth == MCP_FALSE) ? "allow_where" : "allow_unclear";
        }
    }

    if (near) {
        d->rule = near->text;
    }

    d->shadow = mcp_policy_shadowed(p, roles);

    return MCP_DECLINED;
}


/* The next rule of a held role whose patterns match; *i begins at 0. */
static const mcp_rule_t *
mcp_rule_next(const mcp_rules_t *rules, const mcp_roles_t *roles,
    const mcp_str_t *target, unsigned *i)
{
    const mcp_rule_t  *rule;

    while (*i < rules->n) {
        rule = &rules->elts[*i];

        if (rule->role != 0 && !mcp_role_held(roles, rule->role)) {
            *i = rule->skip;
            continue;
        }

        (*i)++;

        if (mcp_rule_matches(rule, target)) {
            return rule;
        }
    }

    return NULL;
}


int
mcp_rule_matches(const mcp_rule_t *rule, const mcp_str_t *target)
{
    return rule->deny
           ? mcp_spelling_matches(&rule->patterns, rule->kind, target)
           : mcp_patterns_match(&rule->patterns, target);
}


/* A target that the patterns match, or another spelling of such a URI. */
static int
mcp_spelling_matches(const mcp_patterns_t *patterns, mcp_target_e kind,
    const mcp_str_t *target)
{
    unsigned  i;

    if (mcp_patterns_match(patterns, target)) {
        return 1;
    }

    if (kind != MCP_TARGET_RESOURCE) {
        return 0;
    }

    for (i = 0; i < patterns->n; i++) {
        if (mcp_uri_glob(&patterns->elts[i].text, target)) {
            return 1;
        }
    }

    return 0;
}


/* 0: no allow counts for it. */
static int
mcp_target_plain(mcp_target_e kind, const mcp_str_t *target)
{
    return kind != MCP_TARGET_RESOURCE || mcp_uri_plain(target);
}


static unsigned
mcp_rule_shadow(const mcp_policy_t *p, const mcp_rule_t *rule)
{
    return p->all_shadow || mcp_role_held(&p->shadow, rule->role);
}


/* Whoever holds a role in shadow is not held to what it lacks. */
static unsigned
mcp_policy_shadowed(const mcp_policy_t *p, const mcp_roles_t *roles)
{
    unsigned  i;

    if (p->all_shadow || mcp_role_held(&p->shadow, 0)) {
        return 1;
    }

    for (i = 0; i < MCP_MAX_ROLES / 64; i++) {
        if (p->shadow.bits[i] & roles->bits[i]) {
            return 1;
        }
    }

    return 0;
}


int
mcp_policy_visible(const mcp_policy_t *p, const mcp_roles_t *roles,
    mcp_list_e list, const mcp_str_t *name)
{
    int                shown;
    unsigned           i;
    mcp_target_e       kind;
    const mcp_rule_t  *rule;

    switch (list) {
    case MCP_LIST_TOOLS:
        kind = MCP_TARGET_TOOL;
        break;
    case MCP_LIST_PROMPTS:
        kind = MCP_TARGET_PROMPT;
        break;
    case MCP_LIST_RESOURCES:
    case MCP_LIST_TEMPLATES:
        kind = MCP_TARGET_RESOURCE;
        break;
    default:
        return 0;
    }

    shown = 1;

    for (i = 0; (rule = mcp_rule_next(&p->denies[kind], roles, name, &i));
         /* void */ )
    {
        if (rule->nconditions) {
            continue;
        }

        if (!mcp_rule_shadow(p, rule)) {
            return 0;
        }

        shown = 2;
    }

    i = 0;

    if (mcp_target_plain(kind, name)
        && mcp_rule_next(&p->allows[kind], roles, name, &i))
    {
        return shown;
    }

    return mcp_policy_shadowed(p, roles) ? 2 : 0;
}


int
mcp_policy_scopes(const mcp_policy_t *p, const mcp_str_t *scopes,
    mcp_target_e kind, const mcp_str_t *target, mcp_decision_t *d,
    unsigned char *buf, size_t size)
{
    int                   missing;
    mcp_str_t             all, rest, scope;
    const mcp_step_up_t  *up, *first;

    missing = 0;
    first = NULL;
    all.data = buf;
    all.len = 0;

    rest = p->scope;

    while (mcp_scope_next(&rest, &scope)) {
        missing |= !mcp_scope_has(scopes, &scope);
        mcp_scope_add(&all, &scope, size);
    }

    for (up = p->step_ups; up; up = up->next) {

        if (up->kind != kind
            || !mcp_spelling_matches(&up->patterns, kind, target))
        {
            continue;
        }

        rest = up->scope;

        while (mcp_scope_next(&rest, &scope)) {

            if (!mcp_scope_has(scopes, &scope)) {
                missing = 1;

                if (first == NULL) {
                    first = up;
                }
            }

            mcp_scope_add(&all, &scope, size);
        }
    }

    if (!missing) {
        return MCP_OK;
    }

    d->reason = "insufficient_scope";
    d->scope = all;
    d->shadow = p->all_shadow;
    mcp_str_null(&d->rule);

    if (first) {
        d->rule = first->text;
    }

    return MCP_DECLINED;
}


const mcp_str_t *
mcp_policy_server_scope(const mcp_policy_t *p)
{
    return &p->scope;
}


const mcp_pointer_t *
mcp_policy_pointers(const mcp_policy_t *p, unsigned *n)
{
    *n = p->npointers;
    return p->pointers;
}


void
mcp_policy_roles_json(const mcp_policy_t *p, const mcp_roles_t *roles,
    mcp_buf_t *b)
{
    unsigned           n;
    mcp_buf_t          names;
    unsigned char     *whole;
    const mcp_role_t  *r;

    /* room for the mark of what was left out, and the bracket */

    if (b->overflow || b->end - b->pos < 8) {
        b->overflow = 1;
        return;
    }

    n = 0;
    names = *b;
    names.end -= 7;

    for (r = p->roles; r; r = r->next) {

        if (r->number != 0 && !mcp_role_held(roles, r->number)) {
            continue;
        }

        whole = names.pos;
        mcp_buf_put(&names, n ? "," : "[", 1);

        if (n < MCP_ROLES_SHOWN) {
            mcp_buf_json(&names, r->name.data, r->name.len, MCP_ROLE_NAME);
        }

        if (n++ == MCP_ROLES_SHOWN || names.overflow) {
            b->pos = whole;
            mcp_buf_put(b, (n == 1) ? "[" : ",", 1);
            mcp_buf_lit(b, "\"\xE2\x80\xA6\"]");
            return;
        }
    }

    if (n) {
        b->pos = names.pos;
        mcp_buf_lit(b, "]");
    }
}


void
mcp_policy_roles_text(const mcp_policy_t *p, const mcp_roles_t *roles,
    mcp_buf_t *b)
{
    unsigned char     *start;
    const mcp_role_t  *r;

    start = b->pos;

    for (r = p->roles; r; r = r->next) {

        if (r->number != 0 && !mcp_role_held(roles, r->number)) {
            continue;
        }

        if (b->pos != start) {
            mcp_buf_lit(b, ",");
        }

        mcp_buf_str(b, &r->name);
    }

    if (b->overflow) {
        b->pos = start;
    }
}


void
mcp_scope_add(mcp_str_t *all, const mcp_str_t *scope, size_t size)
{
    size_t  need;

    need = scope->len + (all->len != 0);

    if (need > size - all->len || mcp_scope_has(all, scope)) {
        return;
    }

    if (all->len) {
        all->data[all->len++] = ' ';
    }

    memcpy(all->data + all->len, scope->data, scope->len);
    all->len += scope->len;
}


/* All conditions of a rule: the joined answer of `and`. */

static mcp_truth_e
mcp_rule_eval(const mcp_rule_t *rule, const mcp_value_t *values)
{
    unsigned                  i;
    mcp_truth_e               truth, all;
    const mcp_value_t        *value;
    static const mcp_value_t  absent = { MCP_VALUE_ABSENT, { 0, NULL } };

    all = MCP_TRUE;

    for (i = 0; i < rule->nconditions; i++) {
        value = values ? &values[rule->conditions[i].pointer] : &absent;
        truth = mcp_condition_eval(&rule->conditions[i], value);

        if (truth == MCP_FALSE) {
            return truth;
        }

        if (truth == MCP_UNCLEAR) {
            all = truth;
        }
    }

    return all;
}


static int
mcp_scope_next(mcp_str_t *rest, mcp_str_t *scope)
{
    size_t  n;

    if (rest->len == 0) {
        return 0;
    }

    for (n = 0; n < rest->len && rest->data[n] != ' '; n++) { /* void */ }

    scope->data = rest->data;
    scope->len = n;

    n += (n < rest->len);
    rest->data += n;
    rest->len -= n;

    return 1;
}
