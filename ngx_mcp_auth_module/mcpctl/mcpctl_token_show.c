/*
 * `token list`, and how tokens are shown.  The token itself is shown by
 * mcpctl_token_show_new() alone.
 */

#include "mcpctl_token.h"


static int mcpctl_list_in(mcpctl_t *ctl, const mcpctl_list_t *stores,
    const char *user, const char *service, const mcp_str_t *issuer,
    unsigned all);
static unsigned mcpctl_list_wanted(const mcpctl_token_t *token,
    const char *user, const char *service, const mcp_str_t *issuer);
static const char *mcpctl_list_state(const mcpctl_list_t *in_force,
    const mcpctl_token_t *token, int64_t now);
static void mcpctl_list_row(mcpctl_t *ctl, mcpctl_table_t *table,
    const mcpctl_token_t *token, const char *state);
static char *mcpctl_list_names(mcpctl_t *ctl, const mcp_str_t *names,
    unsigned n);
static json_t *mcpctl_list_json(mcpctl_t *ctl, const mcp_str_t *names,
    unsigned n);
static void mcpctl_token_json_time(mcpctl_t *ctl, json_t *object,
    const char *key, int64_t sec);
static void mcpctl_token_warn_server(mcpctl_t *ctl,
    const mcp_access_key_t *key, const mcpctl_server_t *sv);


int
mcpctl_token_list(mcpctl_t *ctl, int argc, char **argv)
{
    int             rc;
    unsigned        all;
    mcp_str_t       issuer;
    const char     *user, *service, *text, *store;
    mcpctl_list_t   stores;

    const mcpctl_option_t  options[] = {
        { "user", &user, NULL },
        { "service", &service, NULL },
        { "issuer", &text, NULL },
        { "store", &store, NULL },
        { "all", NULL, &all },
        { NULL, NULL, NULL }
    };

    user = NULL;
    service = NULL;
    text = NULL;
    store = NULL;
    all = 0;
    mcp_str_null(&issuer);

    if (mcpctl_options(ctl, options, argc, argv, NULL, 0) < 0) {
        return mcpctl_usage(ctl);
    }

    if (mcpctl_conf_read(ctl, 0) != MCPCTL_OK) {
        return MCPCTL_FAILED;
    }

    if (text) {
        rc = mcpctl_arg_issuer(ctl, text, 1, &issuer);
        if (rc != MCPCTL_OK) {
            return rc;
        }
    }

    rc = mcpctl_stores_open(ctl, MCPCTL_STORE_TOKENS, store, &stores);

    if (rc == MCPCTL_OK) {
        rc = mcpctl_list_in(ctl, &stores, user, service, &issuer, all);
    }

    mcpctl_stores_close(&stores);

    return rc;
}


/* What cannot be read is told, and the rest shown. */
static int
mcpctl_list_in(mcpctl_t *ctl, const mcpctl_list_t *stores, const char *user,
    const char *service, const mcp_str_t *issuer, unsigned all)
{
    int              rc;
    json_t          *root;
    int64_t          now;
    unsigned         i;
    const char      *state;
    mcpctl_list_t    tokens, in_force;
    mcpctl_store_t  *st;
    mcpctl_table_t  *table;
    mcpctl_token_t  *token;

    static const char *const  headings[] = {
        "ID", "OWNER", "ROLES", "SERVERS", "CREATED", "EXPIRES", "STATE",
        "USED", "ENDS IN", "LABEL", NULL
    };

    rc = MCPCTL_OK;
    memset(&tokens, 0, sizeof(mcpctl_list_t));

    for (i = 0; i < stores->n; i++) {
        st = stores->elts[i];

        if (st->tokens(st, &tokens) != MCP_OK || st->damaged) {
            rc = MCPCTL_FAILED;
        }
    }

    now = mcpctl_now();
    mcpctl_store_in_force(ctl, now, &in_force);

    root = ctl->json ? mcpctl_json_array(ctl) : NULL;
    table = mcpctl_table(ctl, headings);

    for (i = 0; i < tokens.n; i++) {
        token = tokens.elts[i];
        state = mcpctl_list_state(&in_force, token, now);

        if (!mcpctl_list_wanted(token, user, service, issuer)
            || (!all && strcmp(state, "good") != 0))
        {
            continue;
        }

        if (root) {
            mcpctl_json_append(ctl, root,
                               mcpctl_token_json(ctl, token, state));
        } else {
            mcpctl_list_row(ctl, table, token, state);
        }
    }

    if (root) {
        mcpctl_json_print(ctl, root);

    } else {
        mcpctl_table_print(table);
    }

    return rc;
}


static unsigned
mcpctl_list_wanted(const mcpctl_token_t *token, const char *user,
    const char *service, const mcp_str_t *issuer)
{
    mcp_str_t  want;

    if (user) {
        want = mcpctl_cstr(user);

        if (token->key.auth != MCP_AUTH_PAT
            || !mcp_str_eq(&token->key.user, &want))
        {
            return 0;
        }
    }

    if (service) {
        want = mcpctl_cstr(service);

        if (token->key.auth != MCP_AUTH_VAT
            || !mcp_str_eq(&token->key.service, &want))
        {
            return 0;
        }
    }

    return issuer->len == 0 || mcp_str_eq(&token->key.issuer, issuer);
}


/* fallen: not it alone, but with its owner, issuer or account. */
static const char *
mcpctl_list_state(const mcpctl_list_t *in_force, const mcpctl_token_t *token,
    int64_t now)
{
    const mcpctl_watermark_t  *w;

    if (token->key.revoked) {
        return "revoked";
    }

    if (token->key.expires <= now) {
        return "expired";
    }

    w = mcpctl_store_covered(in_force, &token->key, token->key.created, 1);

    if (w == NULL) {
        return "good";
    }

    return w->r.type == MCP_REVOKE_TOKEN ? "revoked" : "fallen";
}


static void
mcpctl_list_row(mcpctl_t *ctl, mcpctl_table_t *table,
    const mcpctl_token_t *token, const char *state)
{
    const char              *cells[10];
    const mcp_access_key_t  *key;

    key = &token->key;

    cells[0] = mcpctl_shown(ctl, &key->id, MCPCTL_SHOWN);
    cells[1] = mcpctl_shown(ctl, key->auth == MCP_AUTH_PAT ? &key->user
                                                           : &key->service,
                            64);
    cells[2] = mcpctl_list_names(ctl, key->roles, key->nroles);
    cells[3] = mcpctl_list_names(ctl, key->servers, key->nservers);
    cells[4] = mcpctl_arg_moment(ctl, key->created);
    cells[5] = mcpctl_arg_moment(ctl, key->expires);
    cells[6] = state;
    cells[7] = mcpctl_arg_moment(ctl, token->used);
    cells[8] = mcpctl_shown(ctl, &key->hint, 8);
    cells[9] = mcpctl_shown(ctl, &key->label, 64);

    mcpctl_row(table, cells);
}


static char *
mcpctl_list_names(mcpctl_t *ctl, const mcp_str_t *names, unsigned n)
{
    char      *text;
    unsigned   i;

    text = mcpctl_format(ctl, "%s", "");

    for (i = 0; i < n; i++) {
        text = mcpctl_format(ctl, "%s%s%s", text, i ? "," : "",
                             mcpctl_shown(ctl, &names[i], 64));
    }

    return text;
}


char *
mcpctl_token_owner(mcpctl_t *ctl, const mcp_access_key_t *key)
{
    if (key->auth == MCP_AUTH_VAT) {
        return mcpctl_format(ctl, "service %s",
                             mcpctl_shown(ctl, &key->service, MCPCTL_SHOWN));
    }

    return mcpctl_format(ctl, "user %s of %s",
                         mcpctl_shown(ctl, &key->user, MCPCTL_SHOWN),
                         mcpctl_shown(ctl, &key->issuer, MCPCTL_SHOWN));
}


json_t *
mcpctl_token_json(mcpctl_t *ctl, const mcpctl_token_t *token,
    const char *state)
{
    json_t                  *o;
    const mcp_access_key_t  *key;

    key = &token->key;
    o = mcpctl_json_object(ctl);

    mcpctl_json_set_text(ctl, o, "id", &key->id);
    mcpctl_json_set(ctl, o, "kind", json_string(key->auth == MCP_AUTH_PAT
                                                ? "pat" : "vat"));
    mcpctl_json_set_text(ctl, o, "user", &key->user);
    mcpctl_json_set_text(ctl, o, "service", &key->service);
    mcpctl_json_set_text(ctl, o, "issuer", &key->issuer);
    mcpctl_json_set(ctl, o, "roles",
                    mcpctl_list_json(ctl, key->roles, key->nroles));
    mcpctl_json_set(ctl, o, "servers",
                    mcpctl_list_json(ctl, key->servers, key->nservers));

    if (key->nscopes) {
        mcpctl_json_set(ctl, o, "scopes",
                        mcpctl_list_json(ctl, key->scopes, key->nscopes));
    }

    mcpctl_token_json_time(ctl, o, "created", key->created);
    mcpctl_token_json_time(ctl, o, "expires", key->expires);
    mcpctl_token_json_time(ctl, o, "revoked", key->revoked);
    mcpctl_token_json_time(ctl, o, "used", token->used);
    mcpctl_json_set(ctl, o, "state", json_string(state));
    mcpctl_json_set_text(ctl, o, "label", &key->label);
    mcpctl_json_set_text(ctl, o, "by", &key->by);
    mcpctl_json_set_text(ctl, o, "replaces", &key->replaces);
    mcpctl_json_set_text(ctl, o, "hint", &key->hint);
    mcpctl_json_set(ctl, o, "store", json_string(token->store->name));

    return o;
}


static json_t *
mcpctl_list_json(mcpctl_t *ctl, const mcp_str_t *names, unsigned n)
{
    json_t    *array;
    unsigned   i;

    array = mcpctl_json_array(ctl);

    for (i = 0; i < n; i++) {
        mcpctl_json_append(ctl, array, mcpctl_json_text(ctl, &names[i]));
    }

    return array;
}


static void
mcpctl_token_json_time(mcpctl_t *ctl, json_t *object, const char *key,
    int64_t sec)
{
    if (sec) {
        mcpctl_json_set(ctl, object, key,
                        json_string(mcpctl_arg_moment(ctl, sec)));
    }
}


int
mcpctl_token_show_new(mcpctl_t *ctl, const mcpctl_token_t *token,
    const mcpctl_secret_token_t *secret)
{
    json_t  *root;

    if (ctl->json) {
        root = mcpctl_token_json(ctl, token, "good");
        mcpctl_json_set(ctl, root, "token",
                        json_stringn((char *) secret->text,
                                     MCP_ACCESS_KEY_LEN));
        mcpctl_json_print(ctl, root);

    } else {
        printf("%.*s\n", MCP_ACCESS_KEY_LEN, (char *) secret->text);
        fprintf(stderr, "%s, until %s; it is not shown again\n",
                token->key.id.data,
                mcpctl_arg_moment(ctl, token->key.expires));
    }

    if (fflush(stdout) != 0) {
        return mcpctl_error(ctl, MCPCTL_FAILED, "the token was made, and could "
                            "not be shown: \"mcpctl token revoke %s\"",
                            token->key.id.data);
    }

    return MCPCTL_OK;
}


void
mcpctl_token_warn(mcpctl_t *ctl, const mcp_access_key_t *key, int64_t now)
{
    unsigned                   i, k;
    mcpctl_list_t              in_force;
    mcpctl_server_t           *sv;
    const mcpctl_watermark_t  *w;

    for (i = 0; i < ctl->conf->servers.n; i++) {
        sv = ctl->conf->servers.elts[i];

        for (k = 0; k < key->nservers; k++) {
            if (mcp_str_eq(&sv->name, &key->servers[k])) {
                mcpctl_token_warn_server(ctl, key, sv);
            }
        }
    }

    mcpctl_store_in_force(ctl, now, &in_force);
    w = mcpctl_store_covered(&in_force, key, key->created, 1);

    if (w) {
        mcpctl_warn(ctl, "the token is of no use: what was issued until %s "
                    "is revoked (%s); see \"mcpctl unrevoke\"",
                    mcpctl_arg_moment(ctl, w->r.at), w->line.data);
    }
}


static void
mcpctl_token_warn_server(mcpctl_t *ctl, const mcp_access_key_t *key,
    const mcpctl_server_t *sv)
{
    unsigned          i;
    mcpctl_issuer_t  *is;

    if (sv->tokens != 1) {
        mcpctl_warn(ctl, "mcp_server \"%s\" does not accept tokens of the "
                    "gateway: it has no \"tokens on\"", sv->name.data);
        return;
    }

    for (i = 0; i < sv->issuers.n; i++) {
        is = sv->issuers.elts[i];

        if (mcp_str_eq(&is->jwt.issuer, &key->issuer)) {
            return;
        }
    }

    if (key->auth == MCP_AUTH_PAT) {
        mcpctl_warn(ctl, "mcp_server \"%s\" does not accept people of \"%s\", "
                    "nor their tokens", sv->name.data, key->issuer.data);
    }
}
