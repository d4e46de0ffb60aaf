/*
 * core/mcp_policy: what is allowed, what is refused while the configuration is
 * read, and with which words.
 *
 * A policy is written in these tests as lines: "ROLE: words" is a rule,
 * "step_up words" a step-up, "scope S" a scope of the server; the words are
 * split at single spaces, "''" is the empty word.  Role "*" has number 0, the
 * others get the numbers 70, 71 ... in the order they appear.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "mcp_policy.h"
#include "mcp_where.h"


#define NELTS(a)     (sizeof(a) / sizeof((a)[0]))
#define FIRST_ROLE   70
#define MAX_BLOCKS   4096


typedef struct {
    void      *blocks[MAX_BLOCKS];
    unsigned   n;
    unsigned   left;            /* allocations that still succeed */
} arena_t;


static arena_t  arena;
static char     error[1024];


static void *
arena_alloc(void *ctx, size_t size)
{
    arena_t  *a = ctx;

    if (a->left == 0 || a->n == MAX_BLOCKS) {
        return NULL;
    }

    a->left--;
    a->blocks[a->n] = malloc(size);

    return a->blocks[a->n++];
}


static int
arena_reset(void **state)
{
    (void) state;

    while (arena.n) {
        free(arena.blocks[--arena.n]);
    }

    arena.left = MAX_BLOCKS;

    return 0;
}


static mcp_str_t
str(const char *s)
{
    mcp_str_t  v;

    v.data = (unsigned char *) s;
    v.len = strlen(s);

    return v;
}


/* Splits line, which is overwritten. */

static unsigned
split(char *line, mcp_str_t *words)
{
    char      *p;
    unsigned   n;

    n = 0;

    for (p = strtok(line, " "); p; p = strtok(NULL, " ")) {
        words[n++] = strcmp(p, "''") ? str(p) : str("");
    }

    return n;
}


static int
add_line(mcp_policy_t *p, const char *text, char names[][64], unsigned *nroles)
{
    char       line[4096], *colon;
    unsigned   i, n, role;
    mcp_str_t  name, words[512];

    snprintf(line, sizeof(line), "%s", text);

    if (strncmp(line, "scope ", 6) == 0) {
        name = str(line + 6);
        return mcp_policy_scope(p, &name);
    }

    if (strncmp(line, "step_up ", 8) == 0) {
        n = split(line + 8, words);
        return mcp_policy_step_up(p, words, n, error, sizeof(error));
    }

    colon = strstr(line, ":");
    *colon = '\0';

    for (i = 0; i < *nroles && strcmp(names[i], line); i++) { /* void */ }

    role = strcmp(line, "*") ? FIRST_ROLE + i : 0;

    if (i == *nroles) {
        assert_true(strlen(line) < 64);
        strcpy(names[i], line);
        (*nroles)++;
        name = str(line);
        assert_int_equal(mcp_policy_role(p, role, &name), MCP_OK);
    }

    n = split(colon + 1, words);

    return n ? mcp_policy_rule(p, role, words, n, error, sizeof(error))
             : MCP_OK;
}


/* lines end in NULL; NULL with the sentence in error */

static mcp_policy_t *
make(const char *const *lines)
{
    char            names[32][64];
    unsigned        nroles;
    mcp_mem_t       mem = { arena_alloc, &arena };
    mcp_policy_t   *p;

    nroles = 0;
    strcpy(error, "none");

    p = mcp_policy_create(&mem);
    if (p == NULL) {
        return NULL;
    }

    for ( /* void */ ; *lines; lines++) {
        if (add_line(p, *lines, names, &nroles) != MCP_OK) {
            return NULL;
        }
    }

    if (mcp_policy_finish(p, error, sizeof(error)) != MCP_OK) {
        return NULL;
    }

    return p;
}


/* roles: letters of the roles held, "a" is the first */

static mcp_roles_t
held(const char *roles)
{
    mcp_roles_t  r;

    memset(&r, 0, sizeof(r));

    for ( /* void */ ; *roles; roles++) {
        mcp_role_set(&r, (unsigned) (FIRST_ROLE + *roles - 'a'));
    }

    return r;
}


static void
test_decide(void **state)
{
    int              rc;
    size_t           i;
    mcp_str_t        target;
    mcp_roles_t      roles;
    mcp_policy_t    *p;
    mcp_decision_t   d;

    static const char *const  lines[] = {
        "a: allow tool search_issues create_issue",         /* a */
        "b: allow tool *",                                  /* b */
        "b: deny tool delete_*",
        "b: allow prompt review",
        "b: allow resource jira://*",
        "b: deny resource jira://secret/*",
        "c: allow tool delete_user",                        /* c */
        "c: allow method skills/*",
        "d: deny tool create_issue",                        /* d */
        "*: allow tool whoami",                             /* everybody */
        "*: deny tool dangerous",
        NULL
    };

    static const struct {
        const char    *roles;
        mcp_target_e   kind;
        const char    *target;
        int            rc;
        const char    *reason;
        const char    *rule;
    } t[] = {
        { "a", MCP_TARGET_TOOL, "search_issues", MCP_OK, "allow",
          "a: allow tool search_issues create_issue" },
        { "a", MCP_TARGET_TOOL, "create_issue", MCP_OK, "allow",
          "a: allow tool search_issues create_issue" },
        { "a", MCP_TARGET_TOOL, "other", MCP_DECLINED, "no_rule", "" },
        { "a", MCP_TARGET_TOOL, "", MCP_DECLINED, "no_rule", "" },

        /* byte for byte: case, blanks, homoglyphs, composition */
        { "a", MCP_TARGET_TOOL, "Search_issues", MCP_DECLINED, "no_rule", "" },
        { "a", MCP_TARGET_TOOL, "search_issues ", MCP_DECLINED, "no_rule",
          "" },
        { "a", MCP_TARGET_TOOL, "se\xD0\xB0rch_issues", MCP_DECLINED,
          "no_rule", "" },

        /* kinds do not mix */
        { "a", MCP_TARGET_PROMPT, "search_issues", MCP_DECLINED, "no_rule",
          "" },
        { "a", MCP_TARGET_METHOD, "search_issues", MCP_DECLINED, "no_rule",
          "" },
        { "b", MCP_TARGET_NONE, "x", MCP_DECLINED, "no_rule", "" },
        { "b", (mcp_target_e) 77, "x", MCP_DECLINED, "no_rule", "" },

        { "b", MCP_TARGET_TOOL, "anything\n", MCP_OK, "allow",
          "b: allow tool *" },
        { "b", MCP_TARGET_TOOL, "delete_user", MCP_DECLINED, "deny_rule",
          "b: deny tool delete_*" },
        { "b", MCP_TARGET_PROMPT, "review", MCP_OK, "allow",
          "b: allow prompt review" },
        { "b", MCP_TARGET_RESOURCE, "jira://x", MCP_OK, "allow",
          "b: allow resource jira://*" },
        { "b", MCP_TARGET_RESOURCE, "jira://secret/x", MCP_DECLINED,
          "deny_rule", "b: deny resource jira://secret/*" },
        { "b", MCP_TARGET_RESOURCE, "http://jira://x", MCP_DECLINED,
          "no_rule", "" },

        /* what a URL parser resolves, adds or drops */
        { "b", MCP_TARGET_RESOURCE, "jira://a/../b", MCP_DECLINED,
          "uri_form", "" },
        { "b", MCP_TARGET_RESOURCE, "jira://a/%2e%2E", MCP_DECLINED,
          "uri_form", "" },
        { "b", MCP_TARGET_RESOURCE, "jira://a\\..", MCP_DECLINED,
          "uri_form", "" },
        { "b", MCP_TARGET_RESOURCE, "jira://a/.#/b", MCP_DECLINED,
          "uri_form", "" },
        { "b", MCP_TARGET_RESOURCE, "jira://a%2F.%2fb", MCP_DECLINED,
          "uri_form", "" },
        { "b", MCP_TARGET_RESOURCE, "..", MCP_DECLINED, "uri_form", "" },
        { "b", MCP_TARGET_RESOURCE, "", MCP_DECLINED, "uri_form", "" },
        { "b", MCP_TARGET_RESOURCE, "jira://a\x7f", MCP_DECLINED,
          "uri_form", "" },
        { "b", MCP_TARGET_RESOURCE, "jira://a\rb", MCP_DECLINED,
          "uri_form", "" },
        { "b", MCP_TARGET_RESOURCE, " jira://a", MCP_DECLINED,
          "uri_form", "" },
        { "b", MCP_TARGET_RESOURCE, "jira://a ", MCP_DECLINED,
          "uri_form", "" },
        { "b", MCP_TARGET_RESOURCE, "File:x", MCP_DECLINED, "uri_form", "" },
        { "b", MCP_TARGET_RESOURCE, "wss:", MCP_DECLINED, "uri_form", "" },
        { "b", MCP_TARGET_RESOURCE, "file:\\x", MCP_DECLINED, "no_rule", "" },
        { "b", MCP_TARGET_RESOURCE, "files:x", MCP_DECLINED, "no_rule", "" },
        { "b", MCP_TARGET_RESOURCE, "jira://a/.../.b/..c/d.", MCP_OK,
          "allow", "b: allow resource jira://*" },
        { "b", MCP_TARGET_RESOURCE, "jira://a?/../b", MCP_OK, "allow",
          "b: allow resource jira://*" },
        { "b", MCP_TARGET_RESOURCE, "jira://\xC3\xA4 b", MCP_OK, "allow",
          "b: allow resource jira://*" },
        { "b", MCP_TARGET_RESOURCE, "jira://%2", MCP_OK, "allow",
          "b: allow resource jira://*" },
        { "b", MCP_TARGET_TOOL, "a/../b", MCP_OK, "allow",
          "b: allow tool *" },

        /* another spelling is no way round a deny, nor a way in */
        { "b", MCP_TARGET_RESOURCE, "jira://SECRET/x", MCP_DECLINED,
          "deny_rule", "b: deny resource jira://secret/*" },
        { "b", MCP_TARGET_RESOURCE, "jira:/secret//x", MCP_DECLINED,
          "deny_rule", "b: deny resource jira://secret/*" },
        { "b", MCP_TARGET_RESOURCE, "jira:///%73ecret\\", MCP_DECLINED,
          "deny_rule", "b: deny resource jira://secret/*" },
        { "b", MCP_TARGET_RESOURCE, "jira://secret%2F../x", MCP_DECLINED,
          "deny_rule", "b: deny resource jira://secret/*" },
        { "b", MCP_TARGET_RESOURCE, "jira://secre%7g/x", MCP_OK, "allow",
          "b: allow resource jira://*" },
        { "b", MCP_TARGET_RESOURCE, "JIRA://x", MCP_DECLINED, "no_rule", "" },
        { "b", MCP_TARGET_RESOURCE, "jira:/x", MCP_DECLINED, "no_rule", "" },

        /* a deny of any role wins over the allow of another */
        { "c", MCP_TARGET_TOOL, "delete_user", MCP_OK, "allow",
          "c: allow tool delete_user" },
        { "bc", MCP_TARGET_TOOL, "delete_user", MCP_DECLINED, "deny_rule",
          "b: deny tool delete_*" },
        { "ad", MCP_TARGET_TOOL, "create_issue", MCP_DECLINED, "deny_rule",
          "d: deny tool create_issue" },
        { "ad", MCP_TARGET_TOOL, "search_issues", MCP_OK, "allow",
          "a: allow tool search_issues create_issue" },
        { "c", MCP_TARGET_METHOD, "skills/get", MCP_OK, "allow",
          "c: allow method skills/*" },
        { "c", MCP_TARGET_METHOD, "skill", MCP_DECLINED, "no_rule", "" },

        /* "*" is held without a bit, by those without any role too */
        { "", MCP_TARGET_TOOL, "whoami", MCP_OK, "allow",
          "*: allow tool whoami" },
        { "", MCP_TARGET_TOOL, "search_issues", MCP_DECLINED, "no_rule", "" },
        { "b", MCP_TARGET_TOOL, "dangerous", MCP_DECLINED, "deny_rule",
          "*: deny tool dangerous" },
        { "z", MCP_TARGET_TOOL, "search_issues", MCP_DECLINED, "no_rule", "" }
    };

    (void) state;

    p = make(lines);
    assert_non_null(p);

    for (i = 0; i < NELTS(t); i++) {
        target = str(t[i].target);
        roles = held(t[i].roles);
        memset(&d, 0xff, sizeof(d));

        rc = mcp_policy_decide(p, &roles, t[i].kind, &target, NULL, &d);

        if (rc != t[i].rc) {
            fail_msg("%s %s: %d", t[i].roles, t[i].target, rc);
        }

        assert_string_equal(d.reason, t[i].reason);
        assert_int_equal(d.rule.len, strlen(t[i].rule));
        assert_memory_equal(d.rule.data ? d.rule.data : (void *) "",
                            t[i].rule, d.rule.len);
        assert_int_equal(d.scope.len, 0);
    }
}


/* Names with NUL, and a policy that was not finished. */

static void
test_decide_odd(void **state)
{
    mcp_mem_t        mem = { arena_alloc, &arena };
    mcp_str_t        words[3], name;
    mcp_roles_t      roles;
    mcp_policy_t    *p;
    mcp_decision_t   d;

    static const char *const  lines[] = { "a: allow tool abc", NULL };

    (void) state;

    roles = held("a");

    p = make(lines);
    name.data = (unsigned char *) "abc\0x";
    name.len = 5;
    assert_int_equal(mcp_policy_decide(p, &roles, MCP_TARGET_TOOL, &name, NULL,
                                       &d), MCP_DECLINED);

    p = mcp_policy_create(&mem);
    name = str("a");
    assert_int_equal(mcp_policy_role(p, FIRST_ROLE, &name), MCP_OK);
    assert_int_equal(mcp_policy_role(p, FIRST_ROLE, &name), MCP_DECLINED);
    assert_int_equal(mcp_policy_role(p, MCP_MAX_ROLES, &name), MCP_ERROR);

    words[0] = str("allow");
    words[1] = str("tool");
    words[2] = str("*");
    assert_int_equal(mcp_policy_rule(p, FIRST_ROLE, words, 3, error,
                                     sizeof(error)), MCP_OK);
    assert_int_equal(mcp_policy_rule(p, FIRST_ROLE + 1, words, 3, error,
                                     sizeof(error)), MCP_ERROR);
    assert_int_equal(mcp_policy_decide(p, &roles, MCP_TARGET_TOOL, &name, NULL,
                                       &d), MCP_DECLINED);
    assert_string_equal(d.reason, "no_rule");
    assert_int_equal(mcp_policy_visible(p, &roles, MCP_LIST_TOOLS, &name), 0);
}


/*
 * Each condition with each value, once behind an allow and once behind a deny:
 * T holds, F does not, U cannot be evaluated.
 */

static void
test_where(void **state)
{
    int              rc;
    char             allow[512], deny[512];
    size_t           i;
    mcp_str_t        name;
    mcp_value_t      v;
    mcp_roles_t      roles;
    mcp_policy_t    *p;
    mcp_decision_t   d;
    const char      *lines[4];

#define HUGE_DIGITS  "1234567890123456789012345678901234567890" \
                     "1234567890123456789012345678901234567890" \
                     "12345678901234567890"

    static const struct {
        const char   *where;
        mcp_value_e   type;
        const char   *text;
        char          truth;
    } t[] = {
        { "/a exists", MCP_VALUE_STRING, "x", 'T' },
        { "/a exists", MCP_VALUE_NULL, "", 'U' },
        { "/a exists", MCP_VALUE_OBJECT, "", 'T' },
        { "/a exists", MCP_VALUE_ABSENT, "", 'F' },
        { "/a exists", MCP_VALUE_UNCLEAR, "", 'U' },
        { "/a absent", MCP_VALUE_ABSENT, "", 'T' },
        { "/a absent", MCP_VALUE_FALSE, "", 'F' },
        { "/a absent", MCP_VALUE_NULL, "", 'U' },
        { "/a absent", MCP_VALUE_UNCLEAR, "", 'U' },

        { "/a = SANDBOX", MCP_VALUE_STRING, "SANDBOX", 'T' },
        { "/a = SANDBOX", MCP_VALUE_STRING, "sandbox", 'F' },
        { "/a = SANDBOX", MCP_VALUE_STRING, "SANDBOX2", 'F' },
        { "/a = SANDBOX", MCP_VALUE_NUMBER, "5", 'F' },
        { "/a = SANDBOX", MCP_VALUE_TRUE, "", 'F' },
        { "/a = SANDBOX", MCP_VALUE_ABSENT, "", 'U' },
        { "/a = SANDBOX", MCP_VALUE_UNCLEAR, "SANDBOX", 'U' },
        { "/a = SANDBOX", MCP_VALUE_NULL, "", 'U' },
        { "/a = SANDBOX", MCP_VALUE_OBJECT, "", 'U' },
        { "/a = SANDBOX", MCP_VALUE_ARRAY, "", 'U' },
        { "/a = X SAND* Y", MCP_VALUE_STRING, "SANDBOX", 'T' },
        { "/a = X SAND* Y", MCP_VALUE_STRING, "Y", 'T' },
        { "/a = X SAND* Y", MCP_VALUE_STRING, "Z", 'F' },
        { "/a = ''", MCP_VALUE_STRING, "", 'T' },
        { "/a = ''", MCP_VALUE_STRING, "x", 'F' },
        { "/a = *", MCP_VALUE_STRING, "", 'T' },
        { "/a = *", MCP_VALUE_NUMBER, "1e999", 'T' },
        { "/a = *", MCP_VALUE_ABSENT, "", 'U' },
        { "/a = true", MCP_VALUE_TRUE, "", 'T' },
        { "/a = true", MCP_VALUE_FALSE, "", 'F' },
        { "/a = true", MCP_VALUE_STRING, "true", 'T' },
        { "/a = fals*", MCP_VALUE_FALSE, "false", 'T' },
        { "/a = \xC3\xA4", MCP_VALUE_STRING, "\xC3\xA4", 'T' },
        { "/a = \xC3\xA4", MCP_VALUE_STRING, "a\xCC\x88", 'F' },

        { "/a != SANDBOX", MCP_VALUE_STRING, "SANDBOX", 'F' },
        { "/a != SANDBOX", MCP_VALUE_STRING, "PROD", 'T' },
        { "/a != SANDBOX", MCP_VALUE_NUMBER, "1", 'T' },
        { "/a != SANDBOX", MCP_VALUE_ABSENT, "", 'U' },
        { "/a != SANDBOX", MCP_VALUE_ARRAY, "", 'U' },
        { "/a != SANDBOX", MCP_VALUE_UNCLEAR, "", 'U' },
        { "/a != X Y*", MCP_VALUE_STRING, "Yes", 'F' },
        { "/a != X Y*", MCP_VALUE_STRING, "Z", 'T' },

        /* numbers equal by value, and by text only when written plainly */
        { "/a = 50", MCP_VALUE_NUMBER, "50", 'T' },
        { "/a = 50", MCP_VALUE_NUMBER, "5e1", 'T' },
        { "/a = 50", MCP_VALUE_NUMBER, "50.000", 'T' },
        { "/a = 50", MCP_VALUE_NUMBER, "0.5E+2", 'T' },
        { "/a = 50", MCP_VALUE_NUMBER, "500e-1", 'T' },
        { "/a = 50", MCP_VALUE_NUMBER, "50.0000001", 'F' },
        { "/a = 50", MCP_VALUE_NUMBER, "-50", 'F' },
        { "/a = 50", MCP_VALUE_STRING, "50", 'T' },

        /* what a server makes one of the other */
        { "/a = 50", MCP_VALUE_STRING, "50.0", 'U' },
        { "/a = 50", MCP_VALUE_STRING, " \t\n\r50", 'U' },
        { "/a = 50", MCP_VALUE_STRING, "+50", 'U' },
        { "/a = 50", MCP_VALUE_STRING, "050", 'U' },
        { "/a = 50", MCP_VALUE_STRING, "5_0", 'U' },
        { "/a = .5", MCP_VALUE_STRING, ".50", 'F' },
        { "/a = 0.5", MCP_VALUE_STRING, ".5", 'U' },
        { "/a = -5", MCP_VALUE_STRING, "-5.0", 'U' },
        { "/a = 50", MCP_VALUE_STRING, "\xEF\xBC\x95\xEF\xBC\x90", 'U' },
        { "/a = X 50", MCP_VALUE_STRING, "5e1", 'U' },
        { "/a != 50", MCP_VALUE_STRING, "50.0", 'U' },
        { "/a = 50", MCP_VALUE_STRING, "51", 'F' },
        { "/a != 50", MCP_VALUE_STRING, "51.0", 'T' },
        { "/a = 50", MCP_VALUE_STRING, "X50", 'F' },
        { "/a = 50", MCP_VALUE_STRING, " ", 'F' },
        { "/a = 50", MCP_VALUE_STRING, "", 'F' },
        { "/a = 5*", MCP_VALUE_STRING, "+50", 'F' },
        { "/a = 1", MCP_VALUE_TRUE, "", 'U' },
        { "/a != 1", MCP_VALUE_FALSE, "", 'U' },
        { "/a = 1 true", MCP_VALUE_TRUE, "", 'T' },
        { "/a = true", MCP_VALUE_NUMBER, "1", 'U' },
        { "/a != true", MCP_VALUE_NUMBER, "1", 'U' },
        { "/a = false", MCP_VALUE_NUMBER, "0.0", 'U' },
        { "/a = true 1", MCP_VALUE_NUMBER, "1", 'T' },
        { "/a = true", MCP_VALUE_STRING, "yes", 'U' },
        { "/a != true", MCP_VALUE_STRING, "True", 'U' },
        { "/a = false", MCP_VALUE_STRING, "off", 'U' },
        { "/a = t*", MCP_VALUE_STRING, "yes", 'F' },
        { "/a = t*", MCP_VALUE_NUMBER, "1", 'F' },

        { "/a = 5e1", MCP_VALUE_NUMBER, "50", 'T' },
        { "/a = 50", MCP_VALUE_NUMBER, "50e9999", 'U' },
        { "/a = 0", MCP_VALUE_NUMBER, "-0", 'T' },
        { "/a = 0", MCP_VALUE_NUMBER, "0.000e5", 'T' },
        { "/a = 1 2 3", MCP_VALUE_NUMBER, "2.0", 'T' },
        { "/a != 50", MCP_VALUE_NUMBER, "5e1", 'F' },
        { "/a != 50", MCP_VALUE_NUMBER, "5e2", 'T' },
        { "/a = 5*", MCP_VALUE_NUMBER, "50", 'T' },
        { "/a = 5*", MCP_VALUE_NUMBER, "40", 'F' },
        { "/a = 5*", MCP_VALUE_NUMBER, "0.5e2", 'U' },
        { "/a = 5*", MCP_VALUE_NUMBER, "5e1", 'U' },
        { "/a = 5*", MCP_VALUE_NUMBER, "40.0", 'U' },
        { "/a = 4* 5*", MCP_VALUE_NUMBER, "4.25", 'T' },
        { "/a = *0", MCP_VALUE_NUMBER, "-0", 'U' },

        { "/a > 5", MCP_VALUE_NUMBER, "6", 'T' },
        { "/a > 5", MCP_VALUE_NUMBER, "5", 'F' },
        { "/a > 5", MCP_VALUE_NUMBER, "5.00000000000000000000000001", 'T' },
        { "/a > 5", MCP_VALUE_NUMBER, "4.99999999999999999999999999", 'F' },
        { "/a > 5", MCP_VALUE_NUMBER, "1e400", 'T' },
        { "/a > 5", MCP_VALUE_NUMBER, "1e401", 'U' },
        { "/a > 5", MCP_VALUE_NUMBER, "1e-401", 'U' },
        { "/a > 5", MCP_VALUE_NUMBER, "1e99999999999999999999", 'U' },
        { "/a > 5", MCP_VALUE_NUMBER, "-1e400", 'F' },
        { "/a > 5", MCP_VALUE_NUMBER, HUGE_DIGITS, 'T' },
        { "/a > 5", MCP_VALUE_NUMBER, HUGE_DIGITS "1", 'U' },
        { "/a > 5", MCP_VALUE_STRING, "6", 'U' },
        { "/a > 5", MCP_VALUE_ABSENT, "", 'U' },
        { "/a > 5", MCP_VALUE_NULL, "", 'U' },
        { "/a > 5", MCP_VALUE_TRUE, "", 'U' },
        { "/a >= 5", MCP_VALUE_NUMBER, "5.0", 'T' },
        { "/a >= 5", MCP_VALUE_NUMBER, "4", 'F' },
        { "/a < 5", MCP_VALUE_NUMBER, "4", 'T' },
        { "/a < 5", MCP_VALUE_NUMBER, "50e-1", 'F' },
        { "/a < 5", MCP_VALUE_NUMBER, "-6", 'T' },
        { "/a < 5", MCP_VALUE_NUMBER, "0", 'T' },
        { "/a <= 5", MCP_VALUE_NUMBER, "5", 'T' },
        { "/a <= 5", MCP_VALUE_NUMBER, "5.1", 'F' },
        { "/a < -5", MCP_VALUE_NUMBER, "-5.1", 'T' },
        { "/a < -5", MCP_VALUE_NUMBER, "-4.9", 'F' },
        { "/a < -5", MCP_VALUE_NUMBER, "-50", 'T' },
        { "/a > -0.001", MCP_VALUE_NUMBER, "-0", 'T' },
        { "/a > 9007199254740992", MCP_VALUE_NUMBER, "9007199254740993",
          'T' },
        { "/a < 0.1", MCP_VALUE_NUMBER, "0.09", 'T' },
        { "/a < 0.1", MCP_VALUE_NUMBER, "0.10", 'F' },
        { "/a < 100", MCP_VALUE_NUMBER, "99", 'T' },
        { "/a < 99", MCP_VALUE_NUMBER, "100", 'F' },

        /* and: F of one decides, then U of one */
        { "/a exists and /a = X", MCP_VALUE_STRING, "X", 'T' },
        { "/a exists and /a = X", MCP_VALUE_STRING, "Y", 'F' },
        { "/a exists and /a = X", MCP_VALUE_ABSENT, "", 'F' },
        { "/a exists and /a = X", MCP_VALUE_NULL, "", 'U' },
        { "/a = X and /a exists", MCP_VALUE_ABSENT, "", 'F' },
        { "/a > 1 and /a < 5", MCP_VALUE_NUMBER, "3", 'T' },
        { "/a > 1 and /a < 5", MCP_VALUE_NUMBER, "5", 'F' },
        { "/a > 1 and /a < 5 and /a != 3", MCP_VALUE_NUMBER, "3", 'F' }
    };

    (void) state;

    roles = held("a");
    name = str("t");
    lines[0] = allow;
    lines[3] = NULL;

    for (i = 0; i < NELTS(t); i++) {
        (void) arena_reset(NULL);

        v.type = t[i].type;
        v.text = str(t[i].text);

        snprintf(allow, sizeof(allow), "a: allow tool t where %s", t[i].where);
        lines[1] = NULL;

        p = make(lines);
        if (p == NULL) {
            fail_msg("%s: %s", allow, error);
        }

        rc = mcp_policy_decide(p, &roles, MCP_TARGET_TOOL, &name, &v, &d);

        if (rc != (t[i].truth == 'T' ? MCP_OK : MCP_DECLINED)) {
            fail_msg("%s with \"%s\": %d", allow, t[i].text, rc);
        }

        assert_string_equal(d.reason, t[i].truth == 'T' ? "allow"
                            : t[i].truth == 'F' ? "allow_where"
                            : "allow_unclear");
        assert_true(d.rule.len > 0);
        assert_int_equal(mcp_policy_visible(p, &roles, MCP_LIST_TOOLS, &name),
                         1);

        snprintf(deny, sizeof(deny), "a: deny tool t where %s", t[i].where);
        lines[0] = "a: allow tool *";
        lines[1] = deny;
        lines[2] = NULL;

        p = make(lines);
        assert_non_null(p);

        rc = mcp_policy_decide(p, &roles, MCP_TARGET_TOOL, &name, &v, &d);

        if (rc != (t[i].truth == 'F' ? MCP_OK : MCP_DECLINED)) {
            fail_msg("%s with \"%s\": %d", deny, t[i].text, rc);
        }

        assert_string_equal(d.reason, t[i].truth == 'T' ? "deny_rule"
                            : t[i].truth == 'F' ? "allow" : "deny_unclear");
        assert_int_equal(mcp_policy_visible(p, &roles, MCP_LIST_TOOLS, &name),
                         1);

        /* no values at all is all of them absent */

        if (t[i].type == MCP_VALUE_ABSENT) {
            assert_int_equal(mcp_policy_decide(p, &roles, MCP_TARGET_TOOL,
                                               &name, NULL, &d), rc);
        }

        lines[0] = allow;
    }
}


/* Two pointers are two values; the same pointer is one. */

static void
test_pointers(void **state)
{
    char                  text[16];
    unsigned              i, n;
    mcp_str_t             name;
    mcp_value_t           v[3];
    mcp_roles_t           roles;
    mcp_policy_t         *p;
    mcp_decision_t        d;
    const mcp_pointer_t  *pointers;

    static const char *const  lines[] = {
        "a: allow tool t where /x/y = 1 and /z = q",
        "a: deny tool t where /z = r and /x/y < 3",
        NULL
    };

    (void) state;

    p = make(lines);
    assert_non_null(p);

    pointers = mcp_policy_pointers(p, &n);
    assert_int_equal(n, 2);
    assert_memory_equal(pointers[0].text.data, "/x/y", 4);
    assert_memory_equal(pointers[1].text.data, "/z", 2);

    name = str("/w");
    assert_int_equal(mcp_policy_pointer(p, &name, &n, error, sizeof(error)),
                     MCP_OK);
    assert_int_equal(n, 2);
    name = str("/z");
    assert_int_equal(mcp_policy_pointer(p, &name, &n, error, sizeof(error)),
                     MCP_OK);
    assert_int_equal(n, 1);
    name = str("w");
    assert_int_equal(mcp_policy_pointer(p, &name, &n, error, sizeof(error)),
                     MCP_ERROR);
    assert_non_null(strstr(error, "\"w\": "));

    memset(v, 0, sizeof(v));
    v[0].type = MCP_VALUE_NUMBER;
    v[0].text = str("1.0");
    v[1].type = MCP_VALUE_STRING;
    v[1].text = str("q");
    roles = held("a");
    name = str("t");
    assert_int_equal(mcp_policy_decide(p, &roles, MCP_TARGET_TOOL, &name, v,
                                       &d), MCP_OK);
    v[1].text = str("r");
    assert_int_equal(mcp_policy_decide(p, &roles, MCP_TARGET_TOOL, &name, v,
                                       &d), MCP_DECLINED);
    assert_string_equal(d.reason, "deny_rule");

    for (i = 3; i < MCP_MAX_POINTERS; i++) {
        snprintf(text, sizeof(text), "/p%u", i);
        name = str(text);
        assert_int_equal(mcp_policy_pointer(p, &name, &n, error,
                                            sizeof(error)), MCP_OK);
        assert_int_equal(n, i);
    }

    name = str("/one/more");
    assert_int_equal(mcp_policy_pointer(p, &name, &n, error, sizeof(error)),
                     MCP_ERROR);
    assert_non_null(strstr(error, "64"));
}


static void
test_visible(void **state)
{
    size_t         i;
    mcp_str_t      name;
    mcp_roles_t    roles;
    mcp_policy_t  *p;

    static const char *const  lines[] = {
        "a: allow tool get_* run",
        "a: deny tool get_secret",
        "a: deny tool get_maybe where /x = 1",
        "a: allow tool maybe where /x = 1",
        "a: allow prompt p",
        "a: allow resource doc://*",
        "a: deny resource doc://hidden*",
        "b: deny tool run",
        "*: allow tool hello",
        NULL
    };

    static const struct {
        const char  *roles;
        mcp_list_e   list;
        const char  *name;
        int          visible;
    } t[] = {
        { "a", MCP_LIST_TOOLS, "get_x", 1 },
        { "a", MCP_LIST_TOOLS, "get_secret", 0 },
        { "a", MCP_LIST_TOOLS, "get_maybe", 1 },
        { "a", MCP_LIST_TOOLS, "maybe", 1 },
        { "a", MCP_LIST_TOOLS, "p", 0 },
        { "a", MCP_LIST_TOOLS, "", 0 },
        { "a", MCP_LIST_TOOLS, "run", 1 },
        { "ab", MCP_LIST_TOOLS, "run", 0 },
        { "", MCP_LIST_TOOLS, "run", 0 },
        { "", MCP_LIST_TOOLS, "hello", 1 },
        { "a", MCP_LIST_PROMPTS, "p", 1 },
        { "a", MCP_LIST_PROMPTS, "get_x", 0 },
        { "a", MCP_LIST_RESOURCES, "doc://a", 1 },
        { "a", MCP_LIST_RESOURCES, "doc://hidden/a", 0 },
        { "a", MCP_LIST_RESOURCES, "doc://Hidden/a", 0 },
        { "a", MCP_LIST_RESOURCES, "doc://a/../b", 0 },
        { "a", MCP_LIST_TEMPLATES, "doc://a/./{id}", 0 },
        { "a", MCP_LIST_TEMPLATES, "doc://{id}", 1 },
        { "a", MCP_LIST_TEMPLATES, "doc://hidden/{id}", 0 },
        { "a", MCP_LIST_TEMPLATES, "file://{id}", 0 },
        { "a", MCP_LIST_TASKS, "run", 0 },
        { "a", (mcp_list_e) 0, "run", 0 }
    };

    (void) state;

    p = make(lines);
    assert_non_null(p);

    for (i = 0; i < NELTS(t); i++) {
        roles = held(t[i].roles);
        name = str(t[i].name);

        if (mcp_policy_visible(p, &roles, t[i].list, &name) != t[i].visible) {
            fail_msg("%s %d %s", t[i].roles, t[i].list, t[i].name);
        }
    }
}


static void
test_scopes(void **state)
{
    int              rc;
    size_t           i;
    mcp_str_t        scopes, target;
    mcp_policy_t    *p;
    mcp_decision_t   d;
    unsigned char    buf[64];

    static const char *const  lines[] = {
        "a: allow tool *",
        "a: allow prompt *",
        "a: allow resource doc://*",
        "scope use",
        "scope base",
        "scope use",
        "step_up scope=admin,use tool delete_*",
        "step_up scope=user.write tool *_user",
        "step_up scope=ask prompt review",
        "step_up scope=ask resource doc://x/*",
        NULL
    };

    static const struct {
        const char    *scopes;
        mcp_target_e   kind;
        const char    *target;
        const char    *need;            /* NULL: enough */
        const char    *rule;
    } t[] = {
        { "use base", MCP_TARGET_TOOL, "get", NULL, NULL },
        { "base x use", MCP_TARGET_NONE, "", NULL, NULL },
        { "", MCP_TARGET_NONE, "", "use base", "" },
        { "use", MCP_TARGET_TOOL, "get", "use base", "" },
        { "user basement", MCP_TARGET_TOOL, "get", "use base", "" },
        { "use base", MCP_TARGET_TOOL, "delete_x", "use base admin",
          "step_up scope=admin,use tool delete_*" },
        { "use base admin", MCP_TARGET_TOOL, "delete_x", NULL, NULL },
        { "use base admin", MCP_TARGET_TOOL, "delete_user",
          "use base admin user.write",
          "step_up scope=user.write tool *_user" },
        { "admin", MCP_TARGET_TOOL, "delete_user", "use base admin user.write",
          "step_up scope=admin,use tool delete_*" },
        { "use base", MCP_TARGET_TOOL, "delete_user",
          "use base admin user.write",
          "step_up scope=admin,use tool delete_*" },
        { "use base admin user.write", MCP_TARGET_TOOL, "delete_user", NULL,
          NULL },
        { "use base", MCP_TARGET_PROMPT, "delete_x", NULL, NULL },
        { "use base", MCP_TARGET_RESOURCE, "doc://y/x/z", NULL, NULL },
        { "use base", MCP_TARGET_RESOURCE, "doc://X//a", "use base ask",
          "step_up scope=ask resource doc://x/*" },
        { "use base", MCP_TARGET_PROMPT, "review", "use base ask",
          "step_up scope=ask prompt review" },
        { "use base ASK", MCP_TARGET_PROMPT, "review", "use base ask",
          "step_up scope=ask prompt review" }
    };

    (void) state;

    p = make(lines);
    assert_non_null(p);
    assert_int_equal(mcp_policy_server_scope(p)->len, 8);
    assert_memory_equal(mcp_policy_server_scope(p)->data, "use base", 8);

    for (i = 0; i < NELTS(t); i++) {
        scopes = str(t[i].scopes);
        target = str(t[i].target);
        d.reason = "before";
        d.rule = str("before");

        rc = mcp_policy_scopes(p, &scopes, t[i].kind, &target, &d, buf,
                               sizeof(buf));

        if (t[i].need == NULL) {
            assert_int_equal(rc, MCP_OK);
            assert_string_equal(d.reason, "before");
            continue;
        }

        assert_int_equal(rc, MCP_DECLINED);
        assert_string_equal(d.reason, "insufficient_scope");
        assert_int_equal(d.scope.len, strlen(t[i].need));
        assert_memory_equal(d.scope.data, t[i].need, d.scope.len);
        assert_int_equal(d.rule.len, strlen(t[i].rule));
        assert_memory_equal(d.rule.data ? d.rule.data : (void *) "",
                            t[i].rule, d.rule.len);
    }

    /* too little room: still refused, whole scopes only */
    scopes = str("");
    target = str("delete_user");
    memset(buf, 'x', sizeof(buf));
    rc = mcp_policy_scopes(p, &scopes, MCP_TARGET_TOOL, &target, &d, buf, 10);
    assert_int_equal(rc, MCP_DECLINED);
    assert_int_equal(d.scope.len, 8);
    assert_int_equal(buf[10], 'x');

    for (i = 0; i < 40; i++) {
        memset(buf, 'x', sizeof(buf));
        rc = mcp_policy_scopes(p, &scopes, MCP_TARGET_TOOL, &target, &d, buf,
                               i);
        assert_int_equal(rc, MCP_DECLINED);
        assert_true(d.scope.len <= i);
        assert_int_equal(buf[i], 'x');
    }

    /* a server without scopes asks for none */
    p = make((const char *const []) { "a: allow tool *", NULL });
    assert_int_equal(mcp_policy_server_scope(p)->len, 0);
    rc = mcp_policy_scopes(p, &scopes, MCP_TARGET_TOOL, &target, &d, buf, 10);
    assert_int_equal(rc, MCP_OK);
}


/* What the configuration must not say, and words of the answer. */

static void
test_refused(void **state)
{
    size_t         i;
    const char    *lines[4];
    mcp_policy_t  *p;

    static const struct {
        const char  *lines[3];
        const char  *words[2];
    } t[] = {
        { { "a: permit tool x" }, { "\"a: permit tool x\"", "\"permit\"" } },
        { { "a: allow" }, { "\"a: allow\"", "no kind" } },
        { { "a: allow tol x" }, { "\"a: allow tol x\"", "\"tol\"" } },
        { { "a: allow Tool x" }, { "\"Tool\"", "tool, prompt" } },
        { { "a: allow tool" }, { "\"a: allow tool\"", "no pattern" } },
        { { "a: allow tool where /a exists" }, { "no pattern", NULL } },
        { { "a: allow tool ''" }, { "empty pattern", "tool \"\"" } },
        { { "a: allow tool **" }, { "\"**\"", "glob" } },
        { { "a: allow tool x**y" }, { "\"x**y\"", "glob" } },
        { { "a: allow tool x\ny" }, { "control character", "\"x?y\"" } },
        { { "a: allow tool x\x7f" }, { "control character", NULL } },
        { { "a: allow tool x\xff" }, { "UTF-8", NULL } },
        { { "a: allow resource x where /a exists" },
          { "where is for tool and prompt", "\"resource\"" } },
        { { "a: allow method x where /a exists" },
          { "where is for tool and prompt", "\"method\"" } },
        { { "a: allow method tools/call" }, { "\"tools/call\"", "target" } },
        { { "a: allow method tasks/get" }, { "\"tasks/get\"", "owns" } },
        { { "a: allow method x tasks/*" }, { "\"tasks/*\"", "owns" } },
        { { "a: allow method x subscriptions/listen" },
          { "\"subscriptions/listen\"", "target" } },
        { { "a: deny method tools/list" }, { "\"tools/list\"", "open" } },
        { { "a: deny method initialize" }, { "\"initialize\"", "open" } },
        { { "a: allow tool x where" }, { "no pointer", NULL } },
        { { "a: allow tool x where a exists" }, { "\"a\"", "/" } },
        { { "a: allow tool x where /a" }, { "no operator", "\"/a\"" } },
        { { "a: allow tool x where /a == 1" }, { "operator", "\"==\"" } },
        { { "a: allow tool x where /a =" }, { "no value", "\"=\"" } },
        { { "a: allow tool x where /a !=" }, { "no value", "\"!=\"" } },
        { { "a: allow tool x where /a exists 1" }, { "no value expected",
                                                     "\"exists\"" } },
        { { "a: allow tool x where /a <" }, { "one number", "\"<\"" } },
        { { "a: allow tool x where /a < 1 2" }, { "one number", NULL } },
        { { "a: allow tool x where /a < ten" }, { "one number", NULL } },
        { { "a: allow tool x where /a < 05" }, { "one number", NULL } },
        { { "a: allow tool x where /a < +5" }, { "one number", NULL } },
        { { "a: allow tool x where /a < 5." }, { "one number", NULL } },
        { { "a: allow tool x where /a < .5" }, { "one number", NULL } },
        { { "a: allow tool x where /a < -" }, { "one number", NULL } },
        { { "a: allow tool x where /a < 1e" }, { "one number", NULL } },
        { { "a: allow tool x where /a < 1e+" }, { "one number", NULL } },
        { { "a: allow tool x where /a < 1e401" }, { "one number", NULL } },
        { { "a: allow tool x where /a < 1.2.3" }, { "one number", NULL } },
        { { "a: allow tool x where /a < 0x10" }, { "one number", NULL } },
        { { "a: allow tool x where /a = 1 and" },
          { "no pointer", "\"and\"" } },
        { { "a: allow tool x where /a = b**" }, { "glob", NULL } },
        { { "a: allow tool x where /a exists and /a absent" },
          { "never hold", "\"/a\"" } },
        { { "a: deny tool x where /a absent and /a = 1" },
          { "never hold", NULL } },
        { { "a: allow tool x where /a != *" }, { "never hold", NULL } },
        { { "a: allow tool x where /a > 5 and /b = 1 and /a < 5.0" },
          { "never hold", "\"/a\"" } },
        { { "a: allow tool x where /a <= 5 and /a >= 6" },
          { "never hold", NULL } },
        { { "a: allow tool x where /a = b c and /a != b c*" },
          { "never hold", NULL } },
        { { "a:" }, { "role \"a\" has no rules", NULL } },
        { { "a: allow tool x", "b:" }, { "role \"b\" has no rules", NULL } },
        { { "x,y: allow tool x" }, { "role \"x,y\"", "comma" } },
        { { "a: allow tool x", "a: allow tool x" },
          { "\"a: allow tool x\" is there twice", NULL } },
        { { "a: allow tool x", "a: deny tool x" },
          { "\"a: allow tool x\" can never match", "\"a: deny tool x\"" } },
        { { "a: deny tool *", "a: allow tool x" },
          { "\"a: allow tool x\" can never match", NULL } },
        { { "a: allow tool x_1 x_2", "a: deny tool y x_*" },
          { "never match", "\"a: deny tool y x_*\"" } },
        { { "a: allow tool x_a_*", "a: deny tool x_*" },
          { "never match", NULL } },
        { { "a: deny tool delete_all where /x = 1", "a: deny tool delete_*" },
          { "\"a: deny tool delete_all where /x = 1\" can never match",
            NULL } },
        { { "a: allow tool x", "step_up scope=s tool y" },
          { "step_up scope=s tool y", "no role allows tool \"y\"" } },
        { { "a: allow tool x", "step_up scope=s tool x y*" },
          { "no role allows tool \"y*\"", NULL } },
        { { "a: allow tool x", "step_up scope=s prompt x" },
          { "no role allows prompt", NULL } },
        { { "a: deny tool x", "step_up scope=s tool x" },
          { "no role allows tool", NULL } },
        { { "a: allow tool x_*_1", "step_up scope=s tool x_*_2" },
          { "no role allows tool", NULL } },
        { { "a: allow tool x", "step_up tool x" },
          { "scope=", NULL } },
        { { "a: allow tool x", "step_up scope= tool x" },
          { "invalid scope", NULL } },
        { { "a: allow tool x", "step_up scope=a,,b tool x" },
          { "invalid scope", NULL } },
        { { "a: allow tool x", "step_up scope=a\"b tool x" },
          { "invalid scope", NULL } },
        { { "a: allow tool x", "step_up scope=a" },
          { "no kind", NULL } },
        { { "a: allow tool x", "step_up scope=a tool x where /a exists" },
          { "takes no \"where\"", NULL } },
        { { "a: allow tool x", "scope a\\b" }, { "none", NULL } },
        { { "a: allow tool x", "scope a b" }, { "none", NULL } }
    };

    (void) state;

    for (i = 0; i < NELTS(t); i++) {
        (void) arena_reset(NULL);

        memcpy(lines, t[i].lines, sizeof(t[i].lines));
        lines[3] = NULL;

        p = make(lines);

        if (p != NULL) {
            fail_msg("accepted: %s", t[i].lines[0]);
        }

        if (strstr(error, t[i].words[0]) == NULL
            || (t[i].words[1] && strstr(error, t[i].words[1]) == NULL))
        {
            fail_msg("%s: %s", t[i].lines[0], error);
        }

        assert_null(strchr(error, '\n'));
    }
}


/* What looks suspicious but may have an effect. */

static void
test_accepted(void **state)
{
    size_t       i;
    const char  *lines[4];

    static const char *const  t[][3] = {
        { "a: allow tool x y", "a: deny tool x" },
        { "a: allow tool x", "a: deny tool x where /a = 1" },
        { "a: allow tool x", "a: deny prompt x" },
        { "a: allow tool x", "b: deny tool x" },
        { "a: allow tool x", "*: deny tool x" },
        { "a: allow tool x*", "a: deny tool xy*" },
        { "a: allow tool *x", "a: deny tool y*x" },
        { "a: allow tool x", "b: allow tool x" },
        { "a: allow tool x", "a: allow tool x y" },
        { "a: allow method x/y tools/* task/get" },
        { "a: allow tool x where /a absent and /b exists" },
        { "a: allow tool x where /a >= 5 and /a <= 5" },
        { "a: allow tool x where /a = b* and /a != bc" },
        { "a: allow tool x where /a exists and /a != 1" },
        { "a: allow tool x where /a = where" },
        { "a: allow tool x*", "step_up scope=s tool *y" },
        { "a: allow tool x where /a = 1", "step_up scope=s,t tool x" },
        { "a: allow tool \xC3\xA4 [a] a?" }
    };

    (void) state;

    for (i = 0; i < NELTS(t); i++) {
        (void) arena_reset(NULL);

        memcpy(lines, t[i], sizeof(t[i]));
        lines[3] = NULL;

        if (make(lines) == NULL) {
            fail_msg("%s: %s", lines[0], error);
        }
    }
}


/* The text of a rule is bounded, cut at a character; rules stay different. */

static void
test_text(void **state)
{
    char             a[1024], b[1024];
    size_t           i;
    mcp_str_t        name;
    mcp_roles_t      roles;
    mcp_policy_t    *p;
    mcp_decision_t   d;
    const char      *lines[] = { a, b, NULL };

    (void) state;

    strcpy(a, "a: allow tool x");

    for (i = 0; i < 150; i++) {
        strcat(a, "\xE2\x82\xAC");
    }

    strcpy(b, a);
    strcat(a, "1 t");
    strcat(b, "2");

    p = make(lines);
    if (p == NULL) {
        fail_msg("%s", error);
    }

    roles = held("a");
    name = str("t");
    assert_int_equal(mcp_policy_decide(p, &roles, MCP_TARGET_TOOL, &name, NULL,
                                       &d), MCP_OK);
    assert_true(d.rule.len <= 256 && d.rule.len > 250);
    assert_true(mcp_utf8_valid(d.rule.data, d.rule.len));
    assert_memory_equal(d.rule.data, a, d.rule.len);
}


static void
test_roles(void **state)
{
    char            out[4096], name[64], want[4096];
    size_t          i, n;
    mcp_buf_t       b;
    mcp_mem_t       mem = { arena_alloc, &arena };
    mcp_str_t       s;
    mcp_roles_t     roles;
    mcp_policy_t   *p;

    static const char *const  lines[] = {
        "ops: allow tool x", "\xC3\xA4: allow tool x", "c: allow tool x", NULL
    };

    (void) state;

    p = make(lines);

    roles = held("ac");
    mcp_role_set(&roles, 5);            /* a role of another server */
    mcp_buf_init(&b, out, sizeof(out));
    mcp_policy_roles_json(p, &roles, &b);
    assert_int_equal(b.pos - b.start, 11);
    assert_memory_equal(out, "[\"ops\",\"c\"]", 11);

    mcp_buf_init(&b, out, sizeof(out));
    mcp_policy_roles_text(p, &roles, &b);
    assert_int_equal(b.pos - b.start, 5);
    assert_memory_equal(out, "ops,c", 5);

    mcp_buf_init(&b, out, 4);
    mcp_policy_roles_text(p, &roles, &b);
    assert_int_equal(b.pos - b.start, 0);

    roles = held("");
    mcp_buf_init(&b, out, sizeof(out));
    mcp_policy_roles_json(p, &roles, &b);
    mcp_policy_roles_text(p, &roles, &b);
    assert_int_equal(b.pos - b.start, 0);
    assert_int_equal(b.overflow, 0);

    /* more than are shown, more than fit */

    p = mcp_policy_create(&mem);
    strcpy(want, "[");

    for (i = 0; i < 40; i++) {
        snprintf(name, sizeof(name), "role%u", (unsigned) i);
        s = str(name);
        assert_int_equal(mcp_policy_role(p, (unsigned) i, &s), MCP_OK);
        mcp_role_set(&roles, i);

        if (i < 32) {
            strcat(want, "\"");
            strcat(want, name);
            strcat(want, "\",");
        }
    }

    strcat(want, "\"\xE2\x80\xA6\"]");

    mcp_buf_init(&b, out, sizeof(out));
    mcp_policy_roles_json(p, &roles, &b);
    assert_int_equal(b.pos - b.start, strlen(want));
    assert_memory_equal(out, want, strlen(want));

    for (n = 0; n < 400; n++) {
        memset(out, '#', sizeof(out));
        mcp_buf_init(&b, out, n);
        mcp_policy_roles_json(p, &roles, &b);
        assert_int_equal(out[n], '#');

        if (n < 8) {
            assert_int_equal(b.overflow, 1);
            assert_ptr_equal(b.pos, b.start);
            continue;
        }

        assert_int_equal(b.overflow, 0);
        assert_memory_equal(b.pos - 5, "\xE2\x80\xA6\"]", 5);
        assert_int_equal(out[0], '[');
    }
}


/* The n-th allocation fails: a sentence, and no crash. */

static void
test_memory(void **state)
{
    unsigned         n;
    mcp_policy_t    *p;

    static const char *const  lines[] = {
        "a: allow tool x where /a = 1 b* and /c < 5",
        "a: deny tool x* where /d exists",
        "scope s",
        "step_up scope=t tool x",
        NULL
    };

    (void) state;

    for (n = 0; n < 200; n++) {
        (void) arena_reset(NULL);
        arena.left = n;

        /* roles are asserted in add_line() */
        if (n > 0 && n < 3) {
            continue;
        }

        p = make(lines);

        if (p != NULL) {
            assert_true(n > 10);
            return;
        }
    }

    fail();
}


/*
 * a has an enforced role's rules, b (71) and the server may be in shadow.
 * Columns: roles held, target, decided, would only be told, shown.
 */

static void
test_shadow(void **state)
{
    unsigned         i;
    mcp_str_t        target;
    mcp_roles_t      roles;
    mcp_policy_t    *p;
    mcp_decision_t   d;

    static const char *const  lines[] = {
        "a: allow tool x y",
        "a: deny tool no*",
        "b: allow tool z w",
        "b: deny tool y nob",
        NULL
    };

    static const struct {
        const char  *held, *target;
        int          rc;
        unsigned     shadow;
        int          visible;
        const char  *reason;
    } cases[] = {
        { "a", "x", MCP_OK, 0, 1, "allow" },
        { "a", "z", MCP_DECLINED, 0, 0, "no_rule" },
        { "a", "no", MCP_DECLINED, 0, 0, "deny_rule" },
        { "b", "z", MCP_OK, 0, 1, "allow" },
        { "b", "q", MCP_DECLINED, 1, 2, "no_rule" },
        { "b", "y", MCP_DECLINED, 1, 2, "deny_rule" },
        { "ab", "y", MCP_DECLINED, 1, 2, "deny_rule" },
        { "ab", "nob", MCP_DECLINED, 0, 0, "deny_rule" },
        { "ab", "x", MCP_OK, 0, 1, "allow" },
        { "ab", "q", MCP_DECLINED, 1, 2, "no_rule" },
        { "", "x", MCP_DECLINED, 0, 0, "no_rule" },
    };

    (void) state;

    p = make(lines);
    assert_non_null(p);
    mcp_policy_shadow(p, FIRST_ROLE + 1);

    for (i = 0; i < NELTS(cases); i++) {
        memset(&roles, 0, sizeof(roles));

        if (strchr(cases[i].held, 'a')) {
            mcp_role_set(&roles, FIRST_ROLE);
        }

        if (strchr(cases[i].held, 'b')) {
            mcp_role_set(&roles, FIRST_ROLE + 1);
        }

        target = str(cases[i].target);

        assert_int_equal(mcp_policy_decide(p, &roles, MCP_TARGET_TOOL, &target,
                                           NULL, &d), cases[i].rc);
        assert_int_equal(d.shadow, cases[i].shadow);
        assert_string_equal(d.reason, cases[i].reason);
        assert_int_equal(mcp_policy_visible(p, &roles, MCP_LIST_TOOLS,
                                            &target), cases[i].visible);
        assert_int_equal(mcp_policy_visible(p, &roles, MCP_LIST_TASKS,
                                            &target), 0);
    }

    /* the whole server: nobody is declined in earnest */

    mcp_policy_shadow(p, MCP_MAX_ROLES);

    for (i = 0; i < NELTS(cases); i++) {
        memset(&roles, 0, sizeof(roles));
        target = str(cases[i].target);

        assert_int_equal(mcp_policy_decide(p, &roles, MCP_TARGET_TOOL, &target,
                                           NULL, &d), MCP_DECLINED);
        assert_int_equal(d.shadow, 1);
        assert_int_equal(mcp_policy_visible(p, &roles, MCP_LIST_TOOLS,
                                            &target), 2);
    }
}


/* 1e0 is 1, which "*0" does not match: there is an argument for both. */

static void
test_number_glob(void **state)
{
    mcp_mem_t        mem = { arena_alloc, &arena };
    mcp_value_t      v;
    mcp_condition_t  eq, ne;
    mcp_str_t        one = mcp_string("1e0"), glob = mcp_string("*0");

    (void) state;

    memset(&eq, 0, sizeof(eq));
    memset(&ne, 0, sizeof(ne));
    eq.op = MCP_OP_EQ;
    ne.op = MCP_OP_NE;

    assert_int_equal(mcp_patterns_init(&eq.values, &one, 1, &mem), MCP_OK);
    assert_int_equal(mcp_patterns_init(&ne.values, &glob, 1, &mem), MCP_OK);

    v.type = MCP_VALUE_NUMBER;
    mcp_str_set(&v.text, "1");
    assert_int_equal(mcp_condition_eval(&eq, &v), MCP_TRUE);
    assert_int_equal(mcp_condition_eval(&ne, &v), MCP_TRUE);
    assert_int_equal(mcp_condition_conflict(&eq, &ne), 0);

    assert_int_equal(mcp_patterns_init(&ne.values, &one, 1, &mem), MCP_OK);
    assert_int_equal(mcp_condition_conflict(&eq, &ne), 1);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test_setup_teardown(test_number_glob, arena_reset,
                                        arena_reset),
        cmocka_unit_test_setup_teardown(test_decide, arena_reset, arena_reset),
        cmocka_unit_test_setup_teardown(test_decide_odd, arena_reset,
                                        arena_reset),
        cmocka_unit_test_setup_teardown(test_where, arena_reset, arena_reset),
        cmocka_unit_test_setup_teardown(test_pointers, arena_reset,
                                        arena_reset),
        cmocka_unit_test_setup_teardown(test_visible, arena_reset,
                                        arena_reset),
        cmocka_unit_test_setup_teardown(test_shadow, arena_reset, arena_reset),
        cmocka_unit_test_setup_teardown(test_scopes, arena_reset, arena_reset),
        cmocka_unit_test_setup_teardown(test_refused, arena_reset,
                                        arena_reset),
        cmocka_unit_test_setup_teardown(test_accepted, arena_reset,
                                        arena_reset),
        cmocka_unit_test_setup_teardown(test_text, arena_reset, arena_reset),
        cmocka_unit_test_setup_teardown(test_roles, arena_reset, arena_reset),
        cmocka_unit_test_setup_teardown(test_memory, arena_reset, arena_reset)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
