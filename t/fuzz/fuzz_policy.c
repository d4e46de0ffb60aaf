/*
 * mcp_policy: rules and conditions.
 *
 * - What may be called is shown in lists.
 * - With a `deny KIND *` for the role as well, nothing is allowed and nothing
 *   shown; who holds no role of the server is allowed nothing.
 * - To hold another role beside, with only denies in it, never gives more.
 * - What is declined has a reason; a decision does not depend on when it is
 *   asked for.
 *
 * Input: rules, one a line, words between blanks, a role begins with "role";
 * an empty line; the target; the value of each pointer, one a line.
 */

#include "fuzz.h"
#include "mcp_policy.h"


#define WORDS  24
#define RULES  16


typedef struct {
    mcp_str_t   lines[RULES];
    unsigned    n;
} rules_t;


static unsigned
split(const mcp_str_t *line, mcp_str_t *words)
{
    size_t    i;
    unsigned  n;

    n = 0;

    for (i = 0; i < line->len && n < WORDS; i++) {
        if (line->data[i] == ' ') {
            continue;
        }

        words[n].data = line->data + i;

        while (i < line->len && line->data[i] != ' ') {
            i++;
        }

        words[n].len = (size_t) (line->data + i - words[n].data);
        n++;
    }

    return n;
}


static void
told(const char *error, size_t size)
{
    CHECK(memchr(error, '\0', size) != NULL && error[0] != '\0');
}


/* more: a rule of role 1 at the end, or NULL. */

static mcp_policy_t *
build(const rules_t *rules, const char *more, fz_arena_t *a)
{
    int            rc;
    char           error[256];
    unsigned       i, n, role;
    mcp_str_t      words[WORDS], text, names[] = {
        mcp_string("*"), mcp_string("eng"), mcp_string("ops"),
        mcp_string("third")
    };
    mcp_policy_t  *p;

    p = mcp_policy_create(&a->mem);
    CHECK(p != NULL);

    role = 1;
    (void) mcp_policy_role(p, role, &names[role]);

    for (i = 0; i < rules->n; i++) {
        n = split(&rules->lines[i], words);

        if (n == 0) {
            continue;
        }

        rc = MCP_OK;
        memset(error, 'x', sizeof(error));

        if (mcp_str_eq_lit(&words[0], "role")) {
            if (role < 3) {
                role++;
                (void) mcp_policy_role(p, role, &names[role]);
            }

        } else if (mcp_str_eq_lit(&words[0], "step_up")) {
            rc = mcp_policy_step_up(p, words + 1, n - 1, error,
                                    sizeof(error));

        } else if (mcp_str_eq_lit(&words[0], "scope") && n == 2) {
            if (mcp_policy_scope(p, &words[1]) != MCP_OK) {
                return NULL;
            }

        } else {
            rc = mcp_policy_rule(p, role, words, n, error, sizeof(error));
        }

        if (rc != MCP_OK) {
            told(error, sizeof(error));
            return NULL;
        }
    }

    if (more) {
        text = fz_str(more);
        n = split(&text, words);

        if (mcp_policy_rule(p, 1, words, n, error, sizeof(error)) != MCP_OK) {
            return NULL;
        }
    }

    /* one that hides another rule is refused: then there is nothing to ask */

    memset(error, 'x', sizeof(error));

    if (mcp_policy_finish(p, error, sizeof(error)) != MCP_OK) {
        told(error, sizeof(error));

        return more ? p : NULL;
    }

    return p;
}


static const struct {
    mcp_target_e  kind;
    mcp_list_e    list;
    const char   *deny;
} kinds[] = {
    { MCP_TARGET_TOOL, MCP_LIST_TOOLS, "deny tool *" },
    { MCP_TARGET_PROMPT, MCP_LIST_PROMPTS, "deny prompt *" },
    { MCP_TARGET_RESOURCE, MCP_LIST_RESOURCES, "deny resource *" },
};


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int             rc, alone;
    fz_in_t         in;
    unsigned        i, n, nvalues;
    mcp_str_t       target, line, none = mcp_string("");
    mcp_roles_t     roles, all, nobody;
    rules_t         rules;
    fz_arena_t      a;
    mcp_value_t     values[MCP_MAX_POINTERS];
    mcp_policy_t   *p, *q;
    mcp_decision_t  d;
    unsigned char   buf[1024];

    fz_arena_init(&a);
    in = fz_in(data, size);
    rules.n = 0;

    for ( ;; ) {
        line = fz_line(&a, &in);

        if (line.len == 0 || rules.n == RULES) {
            break;
        }

        rules.lines[rules.n++] = line;
    }

    target = fz_line(&a, &in);
    p = build(&rules, NULL, &a);

    if (p == NULL) {
        fz_arena_free(&a);
        return 0;
    }

    (void) mcp_policy_pointers(p, &nvalues);
    CHECK(nvalues <= MCP_MAX_POINTERS);

    for (i = 0; i < nvalues; i++) {
        values[i].text = fz_line(&a, &in);
        values[i].type = (mcp_value_e) (values[i].text.len
                         ? 1 + values[i].text.data[0] % 2 : i % 9);
    }

    memset(&roles, 0, sizeof(roles));
    memset(&nobody, 0, sizeof(nobody));
    mcp_role_set(&roles, 0);
    mcp_role_set(&roles, 1);
    mcp_role_set(&nobody, 0);
    mcp_role_set(&nobody, 9);
    all = roles;
    mcp_role_set(&all, 2);
    mcp_role_set(&all, 3);

    for (n = 0; n < fz_count(kinds); n++) {
        memset(&d, 0, sizeof(d));
        rc = mcp_policy_decide(p, &roles, kinds[n].kind, &target, values, &d);
        CHECK(rc == MCP_OK || rc == MCP_DECLINED);
        CHECK(d.reason != NULL);

        if (rc == MCP_OK) {
            CHECK(mcp_policy_visible(p, &roles, kinds[n].list, &target) != 0);
        }

        /* without arguments an `allow` with a condition is unclear, and a
         * `deny` with one counts */

        alone = mcp_policy_decide(p, &roles, kinds[n].kind, &target, NULL, &d);
        CHECK(alone == MCP_DECLINED
              || mcp_policy_visible(p, &roles, kinds[n].list, &target) != 0);

        CHECK(mcp_policy_decide(p, &nobody, kinds[n].kind, &target, values,
                                &d)
              == MCP_DECLINED);
        CHECK(mcp_policy_visible(p, &nobody, kinds[n].list, &target) == 0);

        CHECK(mcp_policy_decide(p, &roles, kinds[n].kind, &target, values, &d)
              == rc);

        (void) mcp_policy_decide(p, &all, kinds[n].kind, &target, values, &d);
        (void) mcp_policy_scopes(p, &none, kinds[n].kind, &target, &d, buf,
                                 sizeof(buf));
        CHECK(d.scope.len <= sizeof(buf));

        q = build(&rules, kinds[n].deny, &a);

        if (q) {
            CHECK(mcp_policy_decide(q, &roles, kinds[n].kind, &target, values,
                                    &d)
                  == MCP_DECLINED);
            CHECK(mcp_policy_decide(q, &all, kinds[n].kind, &target, values,
                                    &d)
                  == MCP_DECLINED);
            CHECK(mcp_policy_visible(q, &all, kinds[n].list, &target) == 0);
        }
    }

    fz_arena_free(&a);

    return 0;
}
