/*
 * `policy matrix`: who may call what, and which rule says so.  A row for every
 * pattern that the rules name, and for names that are given; a column for every
 * role, whose holder has the rules of "*" as well.
 */

#include "mcpctl_policy.h"

#include <stdlib.h>
#include <sys/stat.h>


#define MCPCTL_TOOLS_FILE  (16 * 1024 * 1024)
#define MCPCTL_TOOLS       10000        /* names */


/* Rules get numbers in the order in which cells name them. */
typedef struct {
    mcpctl_t            *ctl;
    mcpctl_server_t     *server;
    mcpctl_list_t        names;         /* mcpctl_name_t */
    unsigned             roles[MCP_MAX_ROLES];
    unsigned             nroles;
    mcpctl_list_t        rules;         /* mcp_str_t */
} mcpctl_matrix_t;


static int mcpctl_matrix_tools(mcpctl_matrix_t *mx, const char *tools);
static int mcpctl_matrix_file(mcpctl_matrix_t *mx, const char *path);
static int mcpctl_matrix_json_names(mcpctl_matrix_t *mx, const json_t *root);
static int mcpctl_matrix_lines(mcpctl_matrix_t *mx, const char *text,
    char separator);
static void mcpctl_matrix_cell(mcpctl_matrix_t *mx,
    const mcpctl_name_t *name, unsigned role, mcpctl_cell_t *cell);
static void mcpctl_matrix_text(mcpctl_matrix_t *mx);
static char *mcpctl_matrix_cell_text(mcpctl_matrix_t *mx,
    const mcpctl_cell_t *cell);
static unsigned mcpctl_matrix_number(mcpctl_matrix_t *mx,
    const mcp_str_t *rule);
static json_t *mcpctl_matrix_json(mcpctl_matrix_t *mx);


int
mcpctl_policy_matrix(mcpctl_t *ctl, int argc, char **argv)
{
    json_t                *list;
    unsigned               i, k;
    const char            *server, *tools;
    mcpctl_matrix_t        mx;
    mcpctl_server_t       *only;

    const mcpctl_option_t  options[] = {
        { "server", &server, NULL },
        { "tools", &tools, NULL },
        { NULL, NULL, NULL }
    };

    server = NULL;
    tools = NULL;
    only = NULL;

    if (mcpctl_options(ctl, options, argc, argv, NULL, 0) < 0) {
        return mcpctl_usage(ctl);
    }

    if (mcpctl_conf_read(ctl, 0) != MCPCTL_OK) {
        return MCPCTL_FAILED;
    }

    if (server) {
        only = mcpctl_conf_the_server(ctl, server);
        if (only == NULL) {
            return MCPCTL_USAGE;
        }
    }

    list = mcpctl_json_array(ctl);

    for (i = 0; i < ctl->conf->servers.n; i++) {

        if (only && only != ctl->conf->servers.elts[i]) {
            continue;
        }

        memset(&mx, 0, sizeof(mcpctl_matrix_t));

        mx.ctl = ctl;
        mx.server = ctl->conf->servers.elts[i];
        mx.nroles = 1;                  /* 0: who holds none but "*" */

        for (k = 1; k < ctl->conf->nroles; k++) {
            if (mcp_role_held(&mx.server->roles, k)) {
                mx.roles[mx.nroles++] = k;
            }
        }

        mcpctl_rules_names(ctl, mx.server->policy, NULL, &mx.names);

        if (tools && mcpctl_matrix_tools(&mx, tools) != MCP_OK) {
            json_decref(list);
            return MCPCTL_USAGE;
        }

        if (ctl->json) {
            mcpctl_json_append(ctl, list, mcpctl_matrix_json(&mx));

        } else {
            printf("%s%s\n\n", i && !only ? "\n" : "",
                   (char *) mx.server->name.data);
            mcpctl_matrix_text(&mx);
        }
    }

    if (ctl->json) {
        mcpctl_json_print(ctl, list);

    } else {
        json_decref(list);
    }

    return MCPCTL_OK;
}


/* The file of that name when there is one, else names with commas. */
static int
mcpctl_matrix_tools(mcpctl_matrix_t *mx, const char *tools)
{
    struct stat  st;

    if (stat(tools, &st) == 0 && S_ISREG(st.st_mode)) {
        return mcpctl_matrix_file(mx, tools);
    }

    return mcpctl_matrix_lines(mx, tools, ',');
}


/* A result of tools/list, a JSON array of names, or a name a line. */
static int
mcpctl_matrix_file(mcpctl_matrix_t *mx, const char *path)
{
    int            err, rc;
    json_t        *root;
    mcp_str_t      text;
    const char    *why;
    json_error_t   error;

    if (mcpctl_read_file(mx->ctl, path, MCPCTL_TOOLS_FILE, &text, &why, &err)
        != MCP_OK)
    {
        return mcpctl_error(mx->ctl, MCP_ERROR, "cannot read \"%s\": %s",
                            path, why);
    }

    if (text.len == 0 || (text.data[0] != '{' && text.data[0] != '[')) {
        return mcpctl_matrix_lines(mx, (char *) text.data, '\n');
    }

    root = json_loadb((char *) text.data, text.len, JSON_REJECT_DUPLICATES,
                      &error);
    if (root == NULL) {
        return mcpctl_error(mx->ctl, MCP_ERROR, "\"%s\" is no JSON: %s in "
                            "line %d", path, error.text, error.line);
    }

    rc = mcpctl_matrix_json_names(mx, root);
    json_decref(root);

    if (rc != MCP_OK) {
        return mcpctl_error(mx->ctl, MCP_ERROR, "\"%s\" has no list of tools",
                            path);
    }

    return MCP_OK;
}


static int
mcpctl_matrix_json_names(mcpctl_matrix_t *mx, const json_t *root)
{
    size_t         i;
    mcp_str_t      name;
    const json_t  *list, *result, *one;

    list = root;

    if (json_is_object(list)) {
        result = json_object_get(list, "result");
        list = json_object_get(result ? result : list, "tools");
    }

    if (!json_is_array(list) || json_array_size(list) > MCPCTL_TOOLS) {
        return MCP_ERROR;
    }

    for (i = 0; i < json_array_size(list); i++) {
        one = json_array_get(list, i);

        if (json_is_object(one)) {
            one = json_object_get(one, "name");
        }

        if (!json_is_string(one)) {
            return MCP_ERROR;
        }

        name = mcpctl_str(mx->ctl, json_string_value(one),
                          json_string_length(one));

        mcpctl_rules_add(mx->ctl, &mx->names, MCP_TARGET_TOOL, &name, 0);
    }

    return MCP_OK;
}


static int
mcpctl_matrix_lines(mcpctl_matrix_t *mx, const char *text, char separator)
{
    size_t       len;
    mcp_str_t    name;
    const char  *end;

    for ( /* void */ ; *text; text = *end ? end + 1 : end) {

        for (end = text; *end && *end != separator; end++) { /* void */ }

        len = (size_t) (end - text);

        if (len && text[len - 1] == '\r') {
            len--;
        }

        if (len == 0) {
            continue;
        }

        if (mx->names.n >= MCPCTL_TOOLS) {
            return mcpctl_error(mx->ctl, MCP_ERROR, "more than %d names",
                                MCPCTL_TOOLS);
        }

        name = mcpctl_str(mx->ctl, text, len);
        mcpctl_rules_add(mx->ctl, &mx->names, MCP_TARGET_TOOL, &name, 0);
    }

    return MCP_OK;
}


static void
mcpctl_matrix_cell(mcpctl_matrix_t *mx, const mcpctl_name_t *name,
    unsigned role, mcpctl_cell_t *cell)
{
    mcp_roles_t  roles;

    memset(&roles, 0, sizeof(mcp_roles_t));
    mcp_role_set(&roles, role);

    mcpctl_rules_cell(mx->ctl, mx->server->policy, &roles, name, cell);
}


static void
mcpctl_matrix_text(mcpctl_matrix_t *mx)
{
    unsigned         i, k, shadow;
    mcp_str_t       *rule;
    const char      *headings[MCP_MAX_ROLES + 3], *cells[MCP_MAX_ROLES + 2];
    mcpctl_name_t   *name;
    mcpctl_cell_t    cell;
    mcpctl_table_t  *table;

    headings[0] = "KIND";
    headings[1] = "NAME";

    for (k = 0; k < mx->nroles; k++) {
        headings[k + 2] = (char *) mx->ctl->conf->roles[mx->roles[k]].data;
    }

    headings[mx->nroles + 2] = NULL;

    table = mcpctl_table(mx->ctl, headings);
    shadow = 0;

    for (i = 0; i < mx->names.n; i++) {
        name = mx->names.elts[i];

        cells[0] = mcpctl_rules_kind(name->kind);
        cells[1] = mcpctl_shown(mx->ctl, &name->text, MCPCTL_SHOWN);

        for (k = 0; k < mx->nroles; k++) {
            mcpctl_matrix_cell(mx, name, mx->roles[k], &cell);
            cells[k + 2] = mcpctl_matrix_cell_text(mx, &cell);
            shadow |= cell.shadow;
        }

        mcpctl_row(table, cells);
    }

    mcpctl_table_print(table);

    if (mx->rules.n) {
        putchar('\n');
    }

    for (i = 0; i < mx->rules.n; i++) {
        rule = mx->rules.elts[i];
        printf("[%u] %s\n", i + 1, mcpctl_shown(mx->ctl, rule, MCPCTL_SHOWN));
    }

    if (shadow) {
        printf("\n~  in shadow: what is denied is recorded, and passes\n");
    }
}


/* "maybe [1] unless [2]" is written "maybe [1,2]" */
static char *
mcpctl_matrix_cell_text(mcpctl_matrix_t *mx, const mcpctl_cell_t *cell)
{
    char        *text;
    const char  *verdict;

    verdict = mcpctl_policy_cell(mx->ctl, cell);

    if (cell->rule.len == 0) {
        return mcpctl_format(mx->ctl, "%s", verdict);
    }

    text = mcpctl_format(mx->ctl, "%s [%u", verdict,
                         mcpctl_matrix_number(mx, &cell->rule));

    if (cell->unless.len) {
        text = mcpctl_format(mx->ctl, "%s,%u", text,
                             mcpctl_matrix_number(mx, &cell->unless));
    }

    return mcpctl_format(mx->ctl, "%s]", text);
}


static unsigned
mcpctl_matrix_number(mcpctl_matrix_t *mx, const mcp_str_t *rule)
{
    unsigned    i;
    mcp_str_t  *copy;

    for (i = 0; i < mx->rules.n; i++) {
        if (mcp_str_eq(mx->rules.elts[i], rule)) {
            return i + 1;
        }
    }

    copy = mcpctl_alloc(mx->ctl, sizeof(mcp_str_t));
    *copy = *rule;
    mcpctl_push(mx->ctl, &mx->rules, copy);

    return mx->rules.n;
}


static json_t *
mcpctl_matrix_json(mcpctl_matrix_t *mx)
{
    json_t         *server, *rows, *row, *cells, *one;
    unsigned        i, k;
    mcpctl_t       *ctl;
    mcpctl_name_t  *name;
    mcpctl_cell_t   cell;

    ctl = mx->ctl;
    server = mcpctl_json_object(ctl);
    rows = mcpctl_json_array(ctl);

    mcpctl_json_set_text(ctl, server, "server", &mx->server->name);

    for (i = 0; i < mx->names.n; i++) {
        name = mx->names.elts[i];

        row = mcpctl_json_object(ctl);
        cells = mcpctl_json_object(ctl);

        mcpctl_json_set(ctl, row, "kind",
                        json_string(mcpctl_rules_kind(name->kind)));
        mcpctl_json_set(ctl, row, "name", mcpctl_json_text(ctl, &name->text));
        mcpctl_json_set(ctl, row, "pattern", json_boolean(name->glob));

        for (k = 0; k < mx->nroles; k++) {
            mcpctl_matrix_cell(mx, name, mx->roles[k], &cell);

            one = mcpctl_json_object(ctl);
            mcpctl_policy_cell_json(ctl, one, &cell);
            mcpctl_json_set(ctl, cells,
                            (char *) ctl->conf->roles[mx->roles[k]].data,
                            one);
        }

        mcpctl_json_set(ctl, row, "roles", cells);
        mcpctl_json_append(ctl, rows, row);
    }

    mcpctl_json_set(ctl, server, "rows", rows);

    return server;
}
