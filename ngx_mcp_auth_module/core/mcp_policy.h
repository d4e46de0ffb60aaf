/*
 * Roles, rules and step-ups of one MCP server -> decision.
 *
 * Built once from the configuration, then read-only and shared by all
 * requests.  A caller holds the union of the `allow`s of its roles; any
 * matching `deny` of any of its roles wins; nothing matched is denied.  What
 * cannot be evaluated does not satisfy an `allow` and does satisfy a `deny`.
 *
 * Role names are interned by the caller: a role is a number (its bit in
 * mcp_roles_t) and a name.  Bit 0 is the role "*", which every caller holds.
 */

#ifndef MCP_POLICY_H
#define MCP_POLICY_H


#include "mcp_core.h"
#include "mcp_message.h"
#include "mcp_list_filter.h"


#define MCP_MAX_ROLES  256              /* names over all servers */

typedef struct {
    uint64_t             bits[MCP_MAX_ROLES / 64];
} mcp_roles_t;

#define mcp_role_set(r, n)    ((r)->bits[(n) / 64] |= 1ull << ((n) % 64))
#define mcp_role_held(r, n)   (((r)->bits[(n) / 64] >> ((n) % 64)) & 1)


typedef struct mcp_policy_s  mcp_policy_t;      /* private to mcp_policy.c */
typedef struct mcp_rule_s    mcp_rule_t;


/* Why; a static token for the audit's `reason`. */
typedef struct {
    const char          *reason;        /* "allow", "no_rule", "deny_rule",
                                           "deny_unclear", "allow_where" (its
                                           conditions are false),
                                           "allow_unclear", "uri_form" (a URI
                                           that may be read as another one),
                                           "insufficient_scope" */
    mcp_str_t            rule;          /* text of the rule that made it (or of
                                           the allow that came near), with
                                           its role: "support: allow tool a b";
                                           empty when none matched */
    mcp_str_t            scope;         /* after a step-up: all scopes of the
                                           operation that are needed, space
                                           separated; owned by the policy */
    unsigned             shadow;        /* 1: declined only by rules that are
                                           tried out; to be recorded */
} mcp_decision_t;


mcp_policy_t *mcp_policy_create(const mcp_mem_t *mem);

/* A role of this server; MCP_DECLINED when it is there already. */
int mcp_policy_role(mcp_policy_t *p, unsigned role, const mcp_str_t *name);

/*
 * `enforce shadow` for a role, or (MCP_MAX_ROLES) for all of them and the
 * scopes: what would be declined is told, and not to be enforced.  A deny of an
 * enforced role still counts; who holds a role in shadow is declined nothing
 * else.
 */
void mcp_policy_shadow(mcp_policy_t *p, unsigned role);

/*
 * One rule: words are those after the role's opening brace, as the
 * configuration's lexer split them:
 *     allow|deny tool|prompt|resource|method PATTERN...
 *         [where POINTER OP [VALUE...] [and POINTER OP [VALUE...]]...]
 * OP: = != < <= > >= exists absent.  A value of = and != is a glob; a
 * comparison takes one number (compared exactly, as decimals, no rounding).
 * `where` only with tool and prompt.  MCP_ERROR: error has the
 * sentence for the operator (size bytes, NUL-terminated).
 */
int mcp_policy_rule(mcp_policy_t *p, unsigned role, const mcp_str_t *words,
    unsigned nwords, char *error, size_t size);

/* step_up scope=S[,S...] tool|prompt|resource|method PATTERN...; words begin
 * after "step_up".  Several that match add up. */
int mcp_policy_step_up(mcp_policy_t *p, const mcp_str_t *words,
    unsigned nwords, char *error, size_t size);

/* A scope that every call needs; several add up. */
int mcp_policy_scope(mcp_policy_t *p, const mcp_str_t *scope);

/* A pointer whose value the audit wants (`params`): adds it to the pointers,
 * its index in *index. */
int mcp_policy_pointer(mcp_policy_t *p, const mcp_str_t *text,
    unsigned *index, char *error, size_t size);

/*
 * No more rules.  Refuses what can never work: a role without rules, a rule
 * hidden by an earlier or later unconditional deny of the same role that
 * covers each of its patterns, the same rule twice, a step_up whose pattern no
 * allow can reach.  MCP_ERROR with the sentence.
 */
int mcp_policy_finish(mcp_policy_t *p, char *error, size_t size);

/* All pointers of rules and of the audit, for mcp_message_conf_t. */
const mcp_pointer_t *mcp_policy_pointers(const mcp_policy_t *p, unsigned *n);

/*
 * May a holder of roles do this?  values: as mcp_message_t has them (one for
 * each pointer); NULL: there are none.  MCP_OK or MCP_DECLINED; *d is set in
 * both cases.  target may be any bytes.
 */
int mcp_policy_decide(const mcp_policy_t *p, const mcp_roles_t *roles,
    mcp_target_e kind, const mcp_str_t *target, const mcp_value_t *values,
    mcp_decision_t *d);

/* Is this entry of a list shown?  A conditional rule is "maybe": shown.
 * 2: shown because of a shadow only.  tasks: 0 (not the rules' to say). */
int mcp_policy_visible(const mcp_policy_t *p, const mcp_roles_t *roles,
    mcp_list_e list, const mcp_str_t *name);

/*
 * Are the scopes enough?  scopes: those of the token, space separated.
 * Checks the server's own scopes and each step_up that matches kind and
 * target (MCP_TARGET_NONE: the server's own only).  MCP_OK, or MCP_DECLINED
 * with d->scope = all scopes this operation needs (written into buf of size
 * bytes), d->reason = "insufficient_scope", d->rule = the step_up's text,
 * d->shadow when the whole server is in shadow.
 */
int mcp_policy_scopes(const mcp_policy_t *p, const mcp_str_t *scopes,
    mcp_target_e kind, const mcp_str_t *target, mcp_decision_t *d,
    unsigned char *buf, size_t size);

/* The server's own scopes, space separated; empty when there are none. */
const mcp_str_t *mcp_policy_server_scope(const mcp_policy_t *p);

/* Names of the roles of this server that are held, written into b as a JSON
 * array; nothing is written when there are none.  At most 32 names of 64
 * bytes, and no more than fit; a last name U+2026 stands for the rest. */
void mcp_policy_roles_json(const mcp_policy_t *p, const mcp_roles_t *roles,
    mcp_buf_t *b);

/* The same, comma separated, for a variable. */
void mcp_policy_roles_text(const mcp_policy_t *p, const mcp_roles_t *roles,
    mcp_buf_t *b);


#endif /* MCP_POLICY_H */
