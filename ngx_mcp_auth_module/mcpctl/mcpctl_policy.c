/*
 * `policy explain`: what a holder of roles may do, and why.
 *
 * The call is made as a client would make it, one JSON-RPC message, and goes
 * the way of every message in the gateway: core/mcp_message reads it, with the
 * pointers of the policy, and core/mcp_policy decides.  What is shown beside
 * the decision are the rules that had a say.
 */

#include "mcpctl_policy.h"
#include "mcp_json_scan.h"
#include "mcp_principal.h"

#include <stdlib.h>


#define MCPCTL_ARGS    (1024 * 1024)    /* bytes of --args */
#define MCPCTL_SCOPES  1024             /* as in the module */
#define MCPCTL_TARGET  65536            /* bytes of a name */


/* What is asked, and what came of it. */
typedef struct {
    mcpctl_t            *ctl;
    mcpctl_server_t     *server;

    const char          *role;
    const char          *scope;
    const char          *tool;
    const char          *prompt;
    const char          *resource;
    const char          *method;
    const char          *args;

    mcp_roles_t          roles;
    mcp_str_t            scopes;        /* data NULL: not said */
    const char          *rpc;           /* the method of the message */
    mcp_str_t            target;
    mcp_message_t        message;
    mcp_mirror_t         mirror;

    const char          *decision;      /* allow deny would_deny error */
    const char          *reason;
    mcp_str_t            rule;
    mcpctl_list_t        matches;       /* mcpctl_match_t */
    mcpctl_list_t        others;        /* mcp_str_t: rules that do not */
    mcp_str_t            needed;        /* scopes, space separated */
    mcp_str_t            missing;       /* likewise */
} mcpctl_explain_t;


static int mcpctl_explain_target(mcpctl_explain_t *ex);
static int mcpctl_explain_method(mcpctl_explain_t *ex);
static int mcpctl_explain_args(mcpctl_explain_t *ex);
static int mcpctl_explain_message(mcpctl_explain_t *ex);
static void mcpctl_explain_decide(mcpctl_explain_t *ex);
static void mcpctl_explain_lacking(mcpctl_explain_t *ex,
    const mcp_decision_t *scopes);
static void mcpctl_explain_scopes(mcpctl_explain_t *ex, mcp_target_e kind);
static void mcpctl_explain_text(mcpctl_explain_t *ex);
static void mcpctl_explain_rule(mcpctl_t *ctl, const mcpctl_match_t *match);
static void mcpctl_explain_json(mcpctl_explain_t *ex);
static json_t *mcpctl_explain_rule_json(mcpctl_t *ctl,
    const mcpctl_match_t *match);
static char *mcpctl_explain_value(mcpctl_t *ctl, const mcp_value_t *value);
static json_t *mcpctl_explain_holds(mcp_truth_e truth);
static void mcpctl_explain_lists(mcpctl_explain_t *ex);
static const char *mcpctl_explain_listed(const mcpctl_explain_t *ex,
    const mcpctl_name_t *name, const mcpctl_cell_t *cell);
static json_t *mcpctl_explain_roles_json(mcpctl_explain_t *ex);
static char *mcpctl_explain_roles(mcpctl_explain_t *ex);


static const char *const  mcpctl_truths[] = {
    "does not hold", "holds", "is unclear"
};


int
mcpctl_policy_explain(mcpctl_t *ctl, int argc, char **argv)
{
    int                    rc;
    const char            *server;
    mcpctl_explain_t       ex;

    const mcpctl_option_t  options[] = {
        { "server", &server, NULL },
        { "role", &ex.role, NULL },
        { "scope", &ex.scope, NULL },
        { "tool", &ex.tool, NULL },
        { "prompt", &ex.prompt, NULL },
        { "resource", &ex.resource, NULL },
        { "method", &ex.method, NULL },
        { "args", &ex.args, NULL },
        { NULL, NULL, NULL }
    };

    memset(&ex, 0, sizeof(mcpctl_explain_t));

    ex.ctl = ctl;
    server = NULL;

    if (mcpctl_options(ctl, options, argc, argv, NULL, 0) < 0) {
        return mcpctl_usage(ctl);
    }

    if (mcpctl_conf_read(ctl, 0) != MCPCTL_OK) {
        return MCPCTL_FAILED;
    }

    ex.server = mcpctl_conf_the_server(ctl, server);

    if (ex.server == NULL
        || mcpctl_policy_roles(ctl, ex.server, ex.role, &ex.roles) != MCP_OK)
    {
        return MCPCTL_USAGE;
    }

    if (ex.scope) {
        ex.scopes = mcpctl_policy_scope_list(ctl, ex.scope);
    }

    rc = mcpctl_explain_target(&ex);

    if (rc == MCP_DECLINED) {
        mcpctl_explain_lists(&ex);
        return MCPCTL_OK;
    }

    if (rc != MCP_OK) {
        return MCPCTL_USAGE;
    }

    if (mcpctl_explain_message(&ex) == MCP_OK) {
        mcpctl_explain_decide(&ex);
    }

    if (ctl->json) {
        mcpctl_explain_json(&ex);

    } else {
        mcpctl_explain_text(&ex);
    }

    return strcmp(ex.decision, "deny") == 0
           || strcmp(ex.decision, "error") == 0 ? MCPCTL_REFUSED : MCPCTL_OK;
}


/* "a,b" -> the set of roles; every name must be one of the server's. */
int
mcpctl_policy_roles(mcpctl_t *ctl, const mcpctl_server_t *sv,
    const char *text, mcp_roles_t *roles)
{
    unsigned     i;
    mcp_str_t    name;
    const char  *end;

    memset(roles, 0, sizeof(mcp_roles_t));

    for ( /* void */ ; text; text = *end ? end + 1 : NULL) {

        for (end = text; *end && *end != ','; end++) { /* void */ }

        name = mcpctl_str(ctl, text, (size_t) (end - text));

        for (i = 0; i < ctl->conf->nroles; i++) {
            if (mcp_str_eq(&ctl->conf->roles[i], &name)) {
                break;
            }
        }

        if (i == ctl->conf->nroles
            || (i && !mcp_role_held(&sv->roles, i)))
        {
            return mcpctl_error(ctl, MCP_ERROR, "mcp_server \"%s\" has no "
                                "role \"%s\"", sv->name.data, name.data);
        }

        mcp_role_set(roles, i);
    }

    return MCP_OK;
}


/* As they are in a principal: single spaces. */
mcp_str_t
mcpctl_policy_scope_list(mcpctl_t *ctl, const char *text)
{
    mcp_str_t  list;

    list.data = mcpctl_alloc(ctl, strlen(text) + 1);
    list.len = 0;

    for ( /* void */ ; *text; text++) {

        if (*text != ' ') {
            list.data[list.len++] = (unsigned char) *text;

        } else if (list.len && list.data[list.len - 1] != ' ') {
            list.data[list.len++] = ' ';
        }
    }

    if (list.len && list.data[list.len - 1] == ' ') {
        list.len--;
    }

    return list;
}


/* MCP_DECLINED: there is none. */
static int
mcpctl_explain_target(mcpctl_explain_t *ex)
{
    const char  *text;

    if ((ex->tool != NULL) + (ex->prompt != NULL) + (ex->resource != NULL)
        + (ex->method != NULL) > 1)
    {
        return mcpctl_error(ex->ctl, MCP_ERROR, "--tool, --prompt, --resource "
                            "and --method go one at a time");
    }

    if (ex->args && ex->tool == NULL && ex->prompt == NULL) {
        return mcpctl_error(ex->ctl, MCP_ERROR, "--args goes with --tool or "
                            "--prompt");
    }

    text = ex->tool ? ex->tool : ex->prompt ? ex->prompt
           : ex->resource ? ex->resource : ex->method;

    if (text == NULL) {
        return MCP_DECLINED;
    }

    ex->rpc = ex->tool ? "tools/call" : ex->prompt ? "prompts/get"
              : ex->resource ? "resources/read" : ex->method;
    ex->target = mcpctl_cstr(text);

    if (ex->target.len > MCPCTL_TARGET
        || !mcp_utf8_valid(ex->target.data, ex->target.len))
    {
        return mcpctl_error(ex->ctl, MCP_ERROR, "\"%.256s\" is no name: it "
                            "is too long, or no UTF-8", text);
    }

    if (ex->method && mcpctl_explain_method(ex) != MCP_OK) {
        return MCP_ERROR;
    }

    return ex->args ? mcpctl_explain_args(ex) : MCP_OK;
}


/* Methods for which a name alone decides nothing. */
static int
mcpctl_explain_method(mcpctl_explain_t *ex)
{
    switch (mcp_method_class(&ex->target)) {

    case MCP_METHOD_TARGET:
    case MCP_METHOD_LISTEN:
        return mcpctl_error(ex->ctl, MCP_ERROR, "method \"%s\" is decided by "
                            "its target; use --tool, --prompt or --resource",
                            ex->method);

    case MCP_METHOD_OWNER:
        return mcpctl_error(ex->ctl, MCP_ERROR, "method \"%s\" is decided by "
                            "who owns the task, not by rules", ex->method);

    default:
        return MCP_OK;
    }
}


/* One JSON text, so that it stays what it is inside of the message. */
static int
mcpctl_explain_args(mcpctl_explain_t *ex)
{
    int                   rc;
    size_t                len;
    unsigned char         scratch[256];
    mcp_json_scan_t       scan;
    mcp_json_event_t      ev;
    const unsigned char  *p;

    len = strlen(ex->args);

    if (len > MCPCTL_ARGS) {
        return mcpctl_error(ex->ctl, MCP_ERROR, "--args is longer than %d "
                            "bytes", MCPCTL_ARGS);
    }

    p = (const unsigned char *) ex->args;

    mcp_json_init(&scan, MCP_JSON_MAX_DEPTH, scratch, sizeof(scratch));

    do {
        rc = mcp_json_next(&scan, &p, (const unsigned char *) ex->args + len,
                           1, &ev);
    } while (rc == MCP_OK && ev.type != MCP_JSON_DONE);

    if (rc != MCP_OK) {
        return mcpctl_error(ex->ctl, MCP_ERROR, "--args is no JSON: %s at "
                            "byte %llu", scan.error,
                            (unsigned long long) scan.offset);
    }

    return MCP_OK;
}


/*
 * The message that such a client would send.  MCP_DECLINED: the gateway would
 * refuse it whoever sent it; the decision says so.
 */
static int
mcpctl_explain_message(mcpctl_explain_t *ex)
{
    int                   rc;
    size_t                size;
    mcp_buf_t             b;
    mcp_message_t        *m;
    static const char     note[] = "notifications/";

    size = 6 * (strlen(ex->rpc) + ex->target.len)
           + (ex->args ? strlen(ex->args) : 0) + 256;

    mcp_buf_init(&b, mcpctl_alloc(ex->ctl, size), size);

    mcp_buf_lit(&b, "{\"jsonrpc\":\"2.0\",\"method\":");
    mcp_buf_json(&b, ex->rpc, strlen(ex->rpc), MCPCTL_TARGET);

    if (strncmp(ex->rpc, note, sizeof(note) - 1) != 0) {
        mcp_buf_lit(&b, ",\"id\":1");
    }

    mcp_buf_lit(&b, ",\"params\":{");

    if (ex->method == NULL) {
        if (ex->resource) {
            mcp_buf_lit(&b, "\"uri\":");
        } else {
            mcp_buf_lit(&b, "\"name\":");
        }

        mcp_buf_json(&b, ex->target.data, ex->target.len, MCPCTL_TARGET);
    }

    if (ex->args) {
        mcp_buf_lit(&b, ",\"arguments\":");
        mcp_buf_put(&b, ex->args, strlen(ex->args));
    }

    mcp_buf_lit(&b, "}}");

    m = &ex->message;

    if (mcp_message_init(m, &ex->server->message, &ex->ctl->mem) != MCP_OK) {
        exit(mcpctl_error(ex->ctl, MCPCTL_FAILED, "out of memory"));
    }

    rc = mcp_message_feed(m, b.start, (size_t) (b.pos - b.start), 1);

    if (rc == MCP_OK && mcp_message_check(m, &ex->mirror) == MCP_OK) {
        return MCP_OK;
    }

    ex->decision = "error";
    ex->reason = m->fault.reason;

    return MCP_DECLINED;
}


/* The questions, and their order, are those of the module's access phase. */
static void
mcpctl_explain_decide(mcpctl_explain_t *ex)
{
    int              rc;
    mcp_target_e     kind;
    mcp_message_t   *m;
    mcp_decision_t   d, scopes;
    unsigned char   *buf;

    m = &ex->message;
    kind = MCP_TARGET_NONE;
    rc = MCP_OK;

    ex->decision = "allow";
    ex->reason = "allow";

    memset(&d, 0, sizeof(mcp_decision_t));

    if (m->method_class == MCP_METHOD_TARGET
        || m->method_class == MCP_METHOD_UNKNOWN)
    {
        rc = mcp_policy_decide(ex->server->policy, &ex->roles, m->target_kind,
                               &m->target, m->values, &d);

        mcpctl_rules_match(ex->ctl, ex->server->policy, &ex->roles,
                           m->target_kind, &m->target, m->values,
                           &ex->matches, &ex->others);

        if (rc == MCP_OK || d.shadow) {
            kind = m->target_kind;
        }

        ex->reason = d.reason;
        ex->rule = d.rule;
    }

    if (m->method_class == MCP_METHOD_DISCOVER) {
        return;
    }

    mcpctl_explain_scopes(ex, kind);

    if (ex->scopes.data) {
        buf = mcpctl_alloc(ex->ctl, MCPCTL_SCOPES);

        if (mcp_policy_scopes(ex->server->policy, &ex->scopes, kind,
                              &m->target, &scopes, buf, MCPCTL_SCOPES)
            != MCP_OK)
        {
            mcpctl_explain_lacking(ex, &scopes);

            if (!scopes.shadow) {
                return;
            }
        }
    }

    if (rc != MCP_OK) {
        ex->decision = d.shadow ? "would_deny" : "deny";
    }
}


/* A scope that is missing; in shadow it is told beside what the rules said. */
static void
mcpctl_explain_lacking(mcpctl_explain_t *ex, const mcp_decision_t *scopes)
{
    ex->decision = scopes->shadow ? "would_deny" : "deny";

    if (!scopes->shadow || strcmp(ex->reason, "allow") == 0) {
        ex->reason = scopes->reason;
        ex->rule = scopes->rule;

    } else if (scopes->rule.len) {
        ex->rule = mcpctl_cstr(mcpctl_format(ex->ctl, "%.*s%s%.*s",
                                   (int) ex->rule.len,
                                   (char *) ex->rule.data,
                                   ex->rule.len ? "; " : "",
                                   (int) scopes->rule.len,
                                   (char *) scopes->rule.data));
    }
}


/* All scopes that the call needs, and those of them that are not there. */
static void
mcpctl_explain_scopes(mcpctl_explain_t *ex, mcp_target_e kind)
{
    size_t          i, start;
    mcp_str_t       none, scope;
    mcp_decision_t  d;
    unsigned char  *buf;

    mcp_str_set(&none, "");
    buf = mcpctl_alloc(ex->ctl, MCPCTL_SCOPES);

    if (mcp_policy_scopes(ex->server->policy, &none, kind,
                          &ex->message.target, &d, buf, MCPCTL_SCOPES)
        == MCP_OK)
    {
        return;
    }

    ex->needed = d.scope;
    ex->missing.data = mcpctl_alloc(ex->ctl, d.scope.len + 1);

    for (start = 0, i = 0; ex->scopes.data && i <= d.scope.len; i++) {

        if (i < d.scope.len && d.scope.data[i] != ' ') {
            continue;
        }

        scope.data = d.scope.data + start;
        scope.len = i - start;
        start = i + 1;

        if (mcp_scope_has(&ex->scopes, &scope)) {
            continue;
        }

        if (ex->missing.len) {
            ex->missing.data[ex->missing.len++] = ' ';
        }

        memcpy(ex->missing.data + ex->missing.len, scope.data, scope.len);
        ex->missing.len += scope.len;
    }
}


static void
mcpctl_explain_text(mcpctl_explain_t *ex)
{
    unsigned   i;
    mcpctl_t  *ctl;

    ctl = ex->ctl;

    printf("%s: %s", ex->decision, ex->reason);

    if (ex->rule.len) {
        printf(", by \"%s\"", mcpctl_shown(ctl, &ex->rule, MCPCTL_SHOWN));
    }

    printf("\n\nserver  %s\nroles   %s\ncall    %s",
           (char *) ex->server->name.data, mcpctl_explain_roles(ex),
           mcpctl_shown_c(ctl, ex->rpc));

    if (ex->method == NULL) {
        printf(" %s", mcpctl_shown(ctl, &ex->target, MCPCTL_SHOWN));
    }

    putchar('\n');

    if (ex->needed.len) {
        printf("scopes  needs %s; ",
               mcpctl_shown(ctl, &ex->needed, MCPCTL_SCOPES));

        if (ex->scopes.data == NULL) {
            printf("not checked without --scope\n");

        } else if (ex->missing.len) {
            printf("missing: %s\n",
                   mcpctl_shown(ctl, &ex->missing, MCPCTL_SCOPES));

        } else {
            printf("all are there\n");
        }
    }

    if (strcmp(ex->decision, "would_deny") == 0) {
        printf("shadow  it is recorded, and passes\n");
    }

    if (strcmp(ex->decision, "error") == 0) {
        printf("message such a message is refused, whoever sends it\n");
    }

    if (ex->matches.n) {
        printf("\nRules that match the name:\n");
    }

    for (i = 0; i < ex->matches.n; i++) {
        mcpctl_explain_rule(ctl, ex->matches.elts[i]);
    }

    if (ctl->verbose && ex->others.n) {
        printf("\nRules of these roles that do not:\n");

        for (i = 0; i < ex->others.n; i++) {
            printf("  %s\n", mcpctl_shown(ctl, ex->others.elts[i],
                                          MCPCTL_SHOWN));
        }
    }
}


static void
mcpctl_explain_rule(mcpctl_t *ctl, const mcpctl_match_t *match)
{
    unsigned             i;
    const char          *then;
    mcpctl_condition_t  *c;

    then = match->truth == MCP_TRUE ? "holds"
           : match->truth == MCP_FALSE ? "does not hold"
           : match->deny ? "is unclear: a deny applies"
           : "is unclear: an allow does not apply";

    printf("  %s\n      %s%s\n", mcpctl_shown(ctl, &match->rule, MCPCTL_SHOWN),
           then, match->shadow ? ", in shadow" : "");

    for (i = 0; i < match->nconditions; i++) {
        c = &match->conditions[i];

        printf("        %s: %s, %s\n", c->text, mcpctl_truths[c->truth],
               mcpctl_explain_value(ctl, &c->value));
    }
}


static char *
mcpctl_explain_value(mcpctl_t *ctl, const mcp_value_t *value)
{
    static const char *const  kinds[] = {
        "there is none", "", "", "it is true", "it is false", "it is null",
        "it is an object", "it is an array",
        "it is there twice, or too long"
    };

    if (value->type == MCP_VALUE_STRING) {
        return mcpctl_format(ctl, "it is \"%s\"",
                             mcpctl_shown(ctl, &value->text, 128));
    }

    if (value->type == MCP_VALUE_NUMBER) {
        return mcpctl_format(ctl, "it is %s",
                             mcpctl_shown(ctl, &value->text, 128));
    }

    return mcpctl_format(ctl, "%s", kinds[value->type]);
}


static void
mcpctl_explain_json(mcpctl_explain_t *ex)
{
    json_t     *root, *list, *scopes;
    unsigned    i;
    mcpctl_t   *ctl;
    mcp_str_t   method;

    ctl = ex->ctl;
    root = mcpctl_json_object(ctl);
    method = mcpctl_cstr(ex->rpc);

    mcpctl_json_set_text(ctl, root, "server", &ex->server->name);
    mcpctl_json_set(ctl, root, "roles", mcpctl_explain_roles_json(ex));
    mcpctl_json_set_text(ctl, root, "method", &method);

    if (ex->method == NULL) {
        mcpctl_json_set(ctl, root, "target",
                        mcpctl_json_text(ctl, &ex->target));
    }

    mcpctl_json_set(ctl, root, "decision", json_string(ex->decision));
    mcpctl_json_set(ctl, root, "reason", json_string(ex->reason));
    mcpctl_json_set_text(ctl, root, "rule", &ex->rule);

    list = mcpctl_json_array(ctl);

    for (i = 0; i < ex->matches.n; i++) {
        mcpctl_json_append(ctl, list,
                           mcpctl_explain_rule_json(ctl,
                                                    ex->matches.elts[i]));
    }

    mcpctl_json_set(ctl, root, "rules", list);

    scopes = mcpctl_json_object(ctl);
    mcpctl_json_set(ctl, scopes, "needed",
                    mcpctl_json_text(ctl, &ex->needed));
    mcpctl_json_set(ctl, scopes, "checked",
                    json_boolean(ex->scopes.data != NULL));

    if (ex->scopes.data) {
        mcpctl_json_set(ctl, scopes, "missing",
                        mcpctl_json_text(ctl, &ex->missing));
    }

    mcpctl_json_set(ctl, root, "scopes", scopes);

    mcpctl_json_print(ctl, root);
}


static json_t *
mcpctl_explain_rule_json(mcpctl_t *ctl, const mcpctl_match_t *match)
{
    json_t              *rule, *list, *one;
    unsigned             i;
    mcp_str_t            text;
    mcpctl_condition_t  *c;

    rule = mcpctl_json_object(ctl);

    mcpctl_json_set_text(ctl, rule, "rule", &match->rule);
    mcpctl_json_set(ctl, rule, "action",
                    json_string(match->deny ? "deny" : "allow"));
    mcpctl_json_set(ctl, rule, "holds", mcpctl_explain_holds(match->truth));
    mcpctl_json_set(ctl, rule, "shadow", json_boolean(match->shadow));

    list = mcpctl_json_array(ctl);

    for (i = 0; i < match->nconditions; i++) {
        c = &match->conditions[i];
        one = mcpctl_json_object(ctl);

        text = mcpctl_cstr(c->text);
        mcpctl_json_set_text(ctl, one, "condition", &text);
        mcpctl_json_set(ctl, one, "holds", mcpctl_explain_holds(c->truth));

        text = mcpctl_cstr(mcpctl_explain_value(ctl, &c->value));
        mcpctl_json_set_text(ctl, one, "why", &text);

        mcpctl_json_append(ctl, list, one);
    }

    mcpctl_json_set(ctl, rule, "conditions", list);

    return rule;
}


/* null: unclear */
static json_t *
mcpctl_explain_holds(mcp_truth_e truth)
{
    return truth == MCP_UNCLEAR ? json_null() : json_boolean(truth);
}


/* No target: what the lists would show, name by name of the rules. */
static void
mcpctl_explain_lists(mcpctl_explain_t *ex)
{
    json_t          *root, *list, *one;
    unsigned         i;
    mcpctl_t        *ctl;
    const char      *cells[5];
    mcpctl_name_t   *name;
    mcpctl_cell_t    cell;
    mcpctl_list_t    names;
    mcpctl_table_t  *table;

    static const char *const  headings[] = {
        "KIND", "NAME", "IN LISTS", "USE", "RULE", NULL
    };

    ctl = ex->ctl;
    memset(&names, 0, sizeof(mcpctl_list_t));

    mcpctl_rules_names(ctl, ex->server->policy, &ex->roles, &names);

    table = mcpctl_table(ctl, headings);
    list = mcpctl_json_array(ctl);

    for (i = 0; i < names.n; i++) {
        name = names.elts[i];

        mcpctl_rules_cell(ctl, ex->server->policy, &ex->roles, name, &cell);

        cells[0] = mcpctl_rules_kind(name->kind);
        cells[1] = mcpctl_shown(ctl, &name->text, MCPCTL_SHOWN);
        cells[2] = mcpctl_explain_listed(ex, name, &cell);
        cells[3] = mcpctl_policy_cell(ctl, &cell);
        cells[4] = mcpctl_shown(ctl, cell.unless.len ? &cell.unless
                                                     : &cell.rule,
                                MCPCTL_SHOWN);
        mcpctl_row(table, cells);

        one = mcpctl_json_object(ctl);
        mcpctl_json_set(ctl, one, "kind", json_string(cells[0]));
        mcpctl_json_set(ctl, one, "name",
                        mcpctl_json_text(ctl, &name->text));
        mcpctl_json_set(ctl, one, "listed",
                        json_boolean(strcmp(cells[2], "shown") == 0));
        mcpctl_policy_cell_json(ctl, one, &cell);
        mcpctl_json_append(ctl, list, one);
    }

    if (ctl->json) {
        root = mcpctl_json_object(ctl);
        mcpctl_json_set_text(ctl, root, "server", &ex->server->name);
        mcpctl_json_set(ctl, root, "roles", mcpctl_explain_roles_json(ex));
        mcpctl_json_set(ctl, root, "names", list);
        mcpctl_json_print(ctl, root);
        return;
    }

    json_decref(list);

    printf("server  %s\nroles   %s\n", (char *) ex->server->name.data,
           mcpctl_explain_roles(ex));

    if (names.n) {
        putchar('\n');
        mcpctl_table_print(table);
    }

    printf("\nWhatever matches none of these is neither shown nor allowed%s\n",
           ex->server->shadow ? ", but for the shadow." : ".");
}


/* For a name the list filter's own answer; methods are in no list. */
static const char *
mcpctl_explain_listed(const mcpctl_explain_t *ex, const mcpctl_name_t *name,
    const mcpctl_cell_t *cell)
{
    unsigned  shown;

    static const mcp_list_e  lists[] = {
        0, MCP_LIST_TOOLS, MCP_LIST_PROMPTS, MCP_LIST_RESOURCES
    };

    if (name->kind == MCP_TARGET_METHOD) {
        return "";
    }

    if (name->glob) {
        shown = cell->shadow || cell->verdict >= MCPCTL_MAYBE;

    } else {
        shown = (unsigned) mcp_policy_visible(ex->server->policy, &ex->roles,
                                              lists[name->kind], &name->text);
    }

    return shown ? "shown" : "hidden";
}


/* "deny~": in shadow, so that it passes. */
const char *
mcpctl_policy_cell(mcpctl_t *ctl, const mcpctl_cell_t *cell)
{
    const char  *verdict;

    verdict = mcpctl_rules_verdict(cell->verdict);

    if (cell->shadow && cell->verdict != MCPCTL_ALLOW) {
        return mcpctl_format(ctl, "%s~", verdict);
    }

    return verdict;
}


void
mcpctl_policy_cell_json(mcpctl_t *ctl, json_t *object,
    const mcpctl_cell_t *cell)
{
    static const char *const  verdicts[] = {
        "none", "deny", "maybe", "allow"
    };

    mcpctl_json_set(ctl, object, "use",
                    json_string(verdicts[cell->verdict]));
    mcpctl_json_set_text(ctl, object, "rule", &cell->rule);
    mcpctl_json_set_text(ctl, object, "unless", &cell->unless);

    if (cell->shadow) {
        mcpctl_json_set(ctl, object, "shadow", json_true());
    }
}


static json_t *
mcpctl_explain_roles_json(mcpctl_explain_t *ex)
{
    json_t    *list;
    unsigned   i;

    list = mcpctl_json_array(ex->ctl);

    for (i = 1; i < ex->ctl->conf->nroles; i++) {
        if (mcp_role_held(&ex->roles, i)) {
            mcpctl_json_append(ex->ctl, list,
                               mcpctl_json_text(ex->ctl,
                                                &ex->ctl->conf->roles[i]));
        }
    }

    return list;
}


static char *
mcpctl_explain_roles(mcpctl_explain_t *ex)
{
    char      *text;
    unsigned   i;

    text = mcpctl_format(ex->ctl, "%s", "");

    for (i = 1; i < ex->ctl->conf->nroles; i++) {
        if (mcp_role_held(&ex->roles, i)) {
            text = mcpctl_format(ex->ctl, "%s%s ", text,
                                 (char *) ex->ctl->conf->roles[i].data);
        }
    }

    return mcpctl_format(ex->ctl, "%s*", text);
}
