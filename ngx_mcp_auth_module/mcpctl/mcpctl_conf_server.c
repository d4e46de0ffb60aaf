/*
 * mcp_server NAME { ... } with its roles: as in the module's
 * ngx_mcp_conf_server.c.  The policy is built by core/mcp_policy, word by word
 * the same.
 */

#include "mcpctl_parse.h"
#include "mcp_audit.h"


#define MCPCTL_STREAM_GRACE  60         /* s, default */
#define MCPCTL_MAX_GRACE     86400

#define MCPCTL_REASON        512        /* bytes of a sentence of core/ */


static int mcpctl_mcp_text(mcpctl_parser_t *ps, mcp_str_t *text);
static int mcpctl_mcp_resource(mcpctl_parser_t *ps);
static int mcpctl_mcp_credential(mcpctl_parser_t *ps);
static int mcpctl_mcp_origins(mcpctl_parser_t *ps);
static int mcpctl_mcp_origin(const mcp_str_t *origin);
static int mcpctl_mcp_deny_reply(mcpctl_parser_t *ps);
static int mcpctl_mcp_number(mcpctl_parser_t *ps);
static int mcpctl_mcp_policy_line(mcpctl_parser_t *ps);
static int mcpctl_finish_issuers(mcpctl_parser_t *ps, mcpctl_server_t *sv);
static int mcpctl_finish_roles(mcpctl_parser_t *ps, mcpctl_server_t *sv);
static int mcpctl_finish_credential(mcpctl_parser_t *ps,
    mcpctl_server_t *sv);
static int mcpctl_finish_tokens(mcpctl_parser_t *ps, mcpctl_server_t *sv);


int
mcpctl_conf_mcp(mcpctl_parser_t *ps)
{
    int               rc;
    char              error[MCPCTL_REASON];
    unsigned          i;
    uint64_t          any;
    mcp_str_t        *name;
    mcpctl_server_t  *sv;

    name = mcpctl_word(ps, 1);

    if (mcpctl_parse_name(ps, name) != MCP_OK) {
        return MCP_ERROR;
    }

    if (mcpctl_conf_server(ps->conf, name)) {
        return mcpctl_read_error(&ps->rd, "duplicate mcp_server \"%s\"",
                                 name->data);
    }

    if (mcpctl_is(name, "off")) {
        return mcpctl_read_error(&ps->rd, "an mcp_server cannot be named "
                                 "\"off\"");
    }

    sv = mcpctl_alloc(ps->ctl, sizeof(mcpctl_server_t));

    sv->name = *name;
    sv->place = mcpctl_read_place(&ps->rd);
    sv->tokens = -1;
    sv->stream_grace = -1;

    sv->policy = mcp_policy_create(&ps->ctl->mem);
    if (sv->policy == NULL) {
        return mcpctl_read_error(&ps->rd, "out of memory");
    }

    mcpctl_push(ps->ctl, &ps->conf->servers, sv);

    ps->server = sv;
    rc = mcpctl_parse_block(ps, MCPCTL_MCP);
    ps->server = NULL;

    if (rc != MCP_OK) {
        return rc;
    }

    if (sv->resource.len == 0) {
        return mcpctl_read_error(&ps->rd, "mcp_server \"%s\" has no "
                                 "\"resource\"", sv->name.data);
    }

    if (sv->issuer_names.n == 0) {
        return mcpctl_read_error(&ps->rd, "mcp_server \"%s\" has no "
                                 "\"issuer\"", sv->name.data);
    }

    if (sv->stream_grace == -1) {
        sv->stream_grace = MCPCTL_STREAM_GRACE;
    }

    any = 0;

    for (i = 0; i < MCP_MAX_ROLES / 64; i++) {
        any |= sv->roles.bits[i];
    }

    if (any == 0) {
        return mcpctl_read_error(&ps->rd, "mcp_server \"%s\" has no \"role\", "
                                 "nobody could call anything", sv->name.data);
    }

    if (mcp_policy_finish(sv->policy, error, sizeof(error)) != MCP_OK) {
        return mcpctl_read_error(&ps->rd, "mcp_server \"%s\": %s",
                                 sv->name.data, error);
    }

    return MCP_OK;
}


int
mcpctl_conf_mcp_line(mcpctl_parser_t *ps)
{
    unsigned          i;
    mcp_str_t        *name, *value;
    mcpctl_server_t  *sv;

    sv = ps->server;
    name = mcpctl_word(ps, 0);
    value = mcpctl_word(ps, 1);

    if (mcpctl_is(name, "resource")) {
        return mcpctl_mcp_resource(ps);
    }

    if (mcpctl_is(name, "issuer")) {
        for (i = 1; i < ps->rd.nwords; i++) {
            value = mcpctl_alloc(ps->ctl, sizeof(mcp_str_t));
            *value = *mcpctl_word(ps, i);
            mcpctl_push(ps->ctl, &sv->issuer_names, value);
        }

        return MCP_OK;
    }

    if (mcpctl_is(name, "credential")) {
        return mcpctl_mcp_credential(ps);
    }

    if (mcpctl_is(name, "tokens")) {

        if (sv->tokens != -1) {
            return mcpctl_parse_duplicate(ps);
        }

        if (!mcpctl_is(value, "on") && !mcpctl_is(value, "off")) {
            return mcpctl_read_error(&ps->rd, "tokens \"%s\" is neither on "
                                     "nor off", value->data);
        }

        sv->tokens = (value->len == 2);
        return MCP_OK;
    }

    if (mcpctl_is(name, "deny_reply")) {
        return mcpctl_mcp_deny_reply(ps);
    }

    if (mcpctl_is(name, "origin")) {
        return mcpctl_mcp_origins(ps);
    }

    if (mcpctl_is(name, "preview") || mcpctl_is(name, "stream_grace")) {
        return mcpctl_mcp_number(ps);
    }

    if (!mcpctl_is(name, "strip")) {
        return mcpctl_mcp_policy_line(ps);
    }

    for (i = 1; i < ps->rd.nwords; i++) {
        value = mcpctl_word(ps, i);

        if (value->len == 0 || value->data[0] == '*') {
            return mcpctl_read_error(&ps->rd, "\"%s\" would strip headers "
                                     "that nginx needs", value->data);
        }
    }

    return MCP_OK;
}


static int
mcpctl_mcp_text(mcpctl_parser_t *ps, mcp_str_t *text)
{
    if (text->len) {
        return mcpctl_parse_duplicate(ps);
    }

    *text = *mcpctl_word(ps, 1);

    return MCP_OK;
}


static int
mcpctl_mcp_resource(mcpctl_parser_t *ps)
{
    size_t       i;
    mcp_str_t   *value;
    const char  *error;

    value = mcpctl_word(ps, 1);

    if (mcpctl_mcp_text(ps, &ps->server->resource) != MCP_OK) {
        return MCP_ERROR;
    }

    error = mcpctl_url(value, NULL);
    if (error) {
        return mcpctl_read_error(&ps->rd, "resource \"%s\": %s", value->data,
                                 error);
    }

    for (i = 0; i < value->len; i++) {

        if (strchr("?\"\\", value->data[i])) {
            return mcpctl_read_error(&ps->rd, "resource \"%s\" must not have "
                                     "a query, quotes or backslashes",
                                     value->data);
        }

        if (value->data[i] == '%') {
            return mcpctl_read_error(&ps->rd, "resource \"%s\" must not have "
                                     "%%XX: its metadata would never be found",
                                     value->data);
        }
    }

    return MCP_OK;
}


/* credential NAME [role=ROLE] */
static int
mcpctl_mcp_credential(mcpctl_parser_t *ps)
{
    unsigned                    i, number;
    mcp_str_t                  *value, role;
    mcpctl_server_t            *sv;
    mcpctl_shown_credential_t  *sc;

    sv = ps->server;
    number = 0;

    if (ps->rd.nwords == 3) {
        value = mcpctl_word(ps, 2);

        if (value->len <= 5 || memcmp(value->data, "role=", 5) != 0) {
            return mcpctl_read_error(&ps->rd, "invalid parameter \"%s\"",
                                     value->data);
        }

        role.data = value->data + 5;
        role.len = value->len - 5;

        if (mcpctl_parse_role(ps, &role, &number) != MCP_OK) {
            return MCP_ERROR;
        }
    }

    for (i = 0; i < sv->credentials.n; i++) {
        sc = sv->credentials.elts[i];

        if (sc->role == number) {
            return mcpctl_parse_duplicate(ps);
        }
    }

    sc = mcpctl_alloc(ps->ctl, sizeof(mcpctl_shown_credential_t));
    sc->name = *mcpctl_word(ps, 1);
    sc->role = number;

    mcpctl_push(ps->ctl, &sv->credentials, sc);

    return MCP_OK;
}


static int
mcpctl_mcp_origins(mcpctl_parser_t *ps)
{
    unsigned  i;

    for (i = 1; i < ps->rd.nwords; i++) {
        if (mcpctl_mcp_origin(mcpctl_word(ps, i)) != MCP_OK) {
            return mcpctl_read_error(&ps->rd, "origin \"%s\" is not "
                                     "scheme://host[:port]",
                                     mcpctl_word(ps, i)->data);
        }
    }

    return MCP_OK;
}


/* As a browser writes them (RFC 6454, 6.1): scheme://host[:port], no more. */
static int
mcpctl_mcp_origin(const mcp_str_t *origin)
{
    size_t  i;

    for (i = 0; i < origin->len && origin->data[i] != ':'; i++) { /* void */ }

    if (i == 0 || origin->len - i <= 3
        || memcmp(origin->data + i, "://", 3) != 0)
    {
        return MCP_ERROR;
    }

    for (i += 3; i < origin->len; i++) {
        if (origin->data[i] <= 0x20 || origin->data[i] >= 0x7f
            || strchr("/?#@*\"\\,", origin->data[i]))
        {
            return MCP_ERROR;
        }
    }

    return MCP_OK;
}


static int
mcpctl_mcp_deny_reply(mcpctl_parser_t *ps)
{
    mcp_str_t        *value;
    mcpctl_server_t  *sv;

    sv = ps->server;
    value = mcpctl_word(ps, 1);

    if (sv->deny_reply != MCPCTL_DENY_UNSET) {
        return mcpctl_parse_duplicate(ps);
    }

    if (mcpctl_is(value, "unknown")) {
        sv->deny_reply = MCPCTL_DENY_UNKNOWN;

    } else if (mcpctl_is(value, "forbidden")) {
        sv->deny_reply = MCPCTL_DENY_FORBIDDEN;

    } else if (mcpctl_is(value, "tool_error")) {
        sv->deny_reply = MCPCTL_DENY_TOOL_ERROR;

    } else {
        return mcpctl_read_error(&ps->rd, "deny_reply \"%s\" is not unknown, "
                                 "forbidden or tool_error", value->data);
    }

    return MCP_OK;
}


/* preview SIZE, stream_grace TIME */
static int
mcpctl_mcp_number(mcpctl_parser_t *ps)
{
    int64_t           n;
    mcp_str_t        *value;
    mcpctl_server_t  *sv;

    sv = ps->server;
    value = mcpctl_word(ps, 1);

    if (mcpctl_is(mcpctl_word(ps, 0), "preview")) {

        if (sv->preview) {
            return mcpctl_parse_duplicate(ps);
        }

        n = mcpctl_size(value);

        if (n < 16 || n > MCP_AUDIT_PREVIEW) {
            return mcpctl_read_error(&ps->rd, "preview \"%s\" is not a size "
                                     "from 16 to %d", value->data,
                                     MCP_AUDIT_PREVIEW);
        }

        sv->preview = n;
        return MCP_OK;
    }

    if (sv->stream_grace != -1) {
        return mcpctl_parse_duplicate(ps);
    }

    n = mcpctl_time(value, 1);

    if (n == -1 || n > MCPCTL_MAX_GRACE) {
        return mcpctl_read_error(&ps->rd, "invalid stream_grace \"%s\": a "
                                 "time of at most a day", value->data);
    }

    sv->stream_grace = n;

    return MCP_OK;
}


/* scope, params, step_up: core/ takes the words as they are */
static int
mcpctl_mcp_policy_line(mcpctl_parser_t *ps)
{
    char           error[MCPCTL_REASON];
    unsigned       i, index;
    mcp_str_t     *name;
    mcp_policy_t  *policy;

    name = mcpctl_word(ps, 0);
    policy = ps->server->policy;

    if (mcpctl_is(name, "step_up")) {

        if (mcp_policy_step_up(policy, mcpctl_word(ps, 1), ps->rd.nwords - 1,
                               error, sizeof(error))
            != MCP_OK)
        {
            return mcpctl_read_error(&ps->rd, "%s", error);
        }

        return MCP_OK;
    }

    for (i = 1; i < ps->rd.nwords; i++) {

        if (mcpctl_is(name, "scope")) {
            if (mcp_policy_scope(policy, mcpctl_word(ps, i)) != MCP_OK) {
                return mcpctl_read_error(&ps->rd, "invalid scope \"%s\"",
                                         mcpctl_word(ps, i)->data);
            }

        } else if (mcp_policy_pointer(policy, mcpctl_word(ps, i), &index,
                                      error, sizeof(error))
                   != MCP_OK)
        {
            return mcpctl_read_error(&ps->rd, "%s", error);
        }
    }

    return MCP_OK;
}


int
mcpctl_conf_role(mcpctl_parser_t *ps)
{
    int         rc;
    mcp_str_t  *name;

    name = mcpctl_word(ps, 1);

    if (!mcpctl_is(name, "*") && mcpctl_parse_name(ps, name) != MCP_OK) {
        return MCP_ERROR;
    }

    if (mcpctl_parse_role(ps, name, &ps->role) != MCP_OK) {
        return MCP_ERROR;
    }

    rc = mcp_policy_role(ps->server->policy, ps->role, name);

    if (rc != MCP_OK) {
        return mcpctl_read_error(&ps->rd, rc == MCP_DECLINED
                                          ? "duplicate role \"%s\""
                                          : "no memory for role \"%s\"",
                                 name->data);
    }

    mcp_role_set(&ps->server->roles, ps->role);

    ps->role_enforce = 0;

    return mcpctl_parse_block(ps, MCPCTL_ROLE);
}


int
mcpctl_conf_rule(mcpctl_parser_t *ps)
{
    char  error[MCPCTL_REASON];

    if (mcp_policy_rule(ps->server->policy, ps->role, ps->rd.words,
                        ps->rd.nwords, error, sizeof(error))
        != MCP_OK)
    {
        return mcpctl_read_error(&ps->rd, "%s", error);
    }

    return MCP_OK;
}


/* enforce on | shadow, of a server or a role */
int
mcpctl_conf_enforce(mcpctl_parser_t *ps)
{
    unsigned   *said, role;
    mcp_str_t  *value;

    value = mcpctl_word(ps, 1);
    role = (ps->context == MCPCTL_ROLE);
    said = role ? &ps->role_enforce : &ps->server->enforce;

    if (*said) {
        return mcpctl_parse_duplicate(ps);
    }

    *said = 1;

    if (mcpctl_is(value, "on")) {
        return MCP_OK;
    }

    if (!mcpctl_is(value, "shadow")) {
        return mcpctl_read_error(&ps->rd, "enforce \"%s\" is neither on nor "
                                 "shadow", value->data);
    }

    mcp_policy_shadow(ps->server->policy, role ? ps->role : MCP_MAX_ROLES);

    if (!role) {
        ps->server->shadow = 1;
    }

    return MCP_OK;
}


/* When http {} is complete: names are looked up. */
int
mcpctl_finish_server(mcpctl_parser_t *ps, mcpctl_server_t *sv)
{
    if (mcpctl_finish_issuers(ps, sv) != MCP_OK
        || mcpctl_finish_roles(ps, sv) != MCP_OK
        || mcpctl_finish_credential(ps, sv) != MCP_OK)
    {
        return MCP_ERROR;
    }

    return mcpctl_finish_tokens(ps, sv);
}


static int
mcpctl_finish_issuers(mcpctl_parser_t *ps, mcpctl_server_t *sv)
{
    unsigned          i, k;
    mcp_str_t        *name;
    mcpctl_issuer_t  *is, *other;

    for (i = 0; i < sv->issuer_names.n; i++) {
        name = sv->issuer_names.elts[i];
        is = NULL;

        for (k = 0; k < ps->conf->issuers.n; k++) {
            other = ps->conf->issuers.elts[k];

            if (mcp_str_eq(&other->name, name)) {
                is = other;
            }
        }

        if (is == NULL) {
            return mcpctl_place_error(ps->ctl, &sv->place, "mcp_server "
                                      "\"%s\": unknown mcp_issuer \"%s\"",
                                      sv->name.data, name->data);
        }

        for (k = 0; k < sv->issuers.n; k++) {
            other = sv->issuers.elts[k];

            if (mcp_str_eq(&other->jwt.issuer, &is->jwt.issuer)) {
                return mcpctl_place_error(ps->ctl, &sv->place, "mcp_server "
                                          "\"%s\": issuers \"%s\" and \"%s\" "
                                          "have the same \"issuer\"",
                                          sv->name.data, other->name.data,
                                          name->data);
            }
        }

        mcpctl_push(ps->ctl, &sv->issuers, is);
    }

    return MCP_OK;
}


/* Rules of a role that none of the issuers grants can never match; a token of
 * the gateway's own may have any role. */
static int
mcpctl_finish_roles(mcpctl_parser_t *ps, mcpctl_server_t *sv)
{
    unsigned          i, j, number, found;
    mcpctl_issuer_t  *is;

    if (sv->tokens == 1) {
        return MCP_OK;
    }

    for (number = 1; number < ps->conf->nroles; number++) {

        if (!mcp_role_held(&sv->roles, number)) {
            continue;
        }

        found = 0;

        for (i = 0; i < sv->issuers.n; i++) {
            is = sv->issuers.elts[i];

            for (j = 0; j < is->jwt.nrole_map; j++) {
                found |= (is->jwt.role_map[j].role == number);
            }
        }

        if (!found) {
            return mcpctl_place_error(ps->ctl, &sv->place, "mcp_server "
                                      "\"%s\": role \"%s\" is in the \"role\" "
                                      "lines of none of its issuers",
                                      sv->name.data,
                                      ps->conf->roles[number].data);
        }
    }

    return MCP_OK;
}


static int
mcpctl_finish_credential(mcpctl_parser_t *ps, mcpctl_server_t *sv)
{
    unsigned                    i;
    mcpctl_shown_credential_t  *sc;

    for (i = 0; i < sv->credentials.n; i++) {
        sc = sv->credentials.elts[i];

        if (mcpctl_conf_find_credential(ps->conf, &sc->name) == NULL) {
            return mcpctl_place_error(ps->ctl, &sv->place, "mcp_server "
                                      "\"%s\": unknown mcp_credential \"%s\"",
                                      sv->name.data, sc->name.data);
        }

        if (sc->role && !mcp_role_held(&sv->roles, sc->role)) {
            return mcpctl_place_error(ps->ctl, &sv->place, "mcp_server "
                                      "\"%s\": credential \"%s\" is for role "
                                      "\"%s\", which has no rules here",
                                      sv->name.data, sc->name.data,
                                      ps->conf->roles[sc->role].data);
        }
    }

    return MCP_OK;
}


static int
mcpctl_finish_tokens(mcpctl_parser_t *ps, mcpctl_server_t *sv)
{
    if (sv->tokens != 1) {
        sv->tokens = 0;
        return MCP_OK;
    }

    if (ps->conf->token_file.len == 0 && ps->conf->redis == NULL) {
        return mcpctl_place_error(ps->ctl, &sv->place, "mcp_server \"%s\": "
                                  "\"tokens on\" without mcp_token_file or "
                                  "mcp_redis", sv->name.data);
    }

    if (ps->conf->ntoken_keys == 0) {
        return mcpctl_place_error(ps->ctl, &sv->place, "mcp_server \"%s\": "
                                  "\"tokens on\" without mcp_token_key",
                                  sv->name.data);
    }

    return MCP_OK;
}
