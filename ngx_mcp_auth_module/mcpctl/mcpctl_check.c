/*
 * `config check`: what the other commands will find in the configuration.
 *
 * It opens what nginx opens as well (secrets, keys, key sets), so whoever runs
 * it has to be allowed to read them; their content is never shown.
 */

#include "mcpctl_conf.h"
#include "mcpctl_out.h"


static void mcpctl_check_text(mcpctl_t *ctl);
static void mcpctl_check_warn(mcpctl_t *ctl);
static unsigned mcpctl_check_known(mcpctl_t *ctl, unsigned role);
static void mcpctl_check_grants(mcpctl_t *ctl);
static void mcpctl_check_servers(mcpctl_t *ctl);
static void mcpctl_check_issuers(mcpctl_t *ctl);
static void mcpctl_check_credentials(mcpctl_t *ctl);
static void mcpctl_check_stores(mcpctl_t *ctl);
static void mcpctl_check_json(mcpctl_t *ctl);
static json_t *mcpctl_check_server(mcpctl_t *ctl,
    const mcpctl_server_t *sv);
static void mcpctl_check_shown(mcpctl_t *ctl, json_t *server,
    const mcpctl_server_t *sv);
static json_t *mcpctl_check_credential(mcpctl_t *ctl,
    const mcpctl_credential_t *cr);
static json_t *mcpctl_check_issuer(mcpctl_t *ctl,
    const mcpctl_issuer_t *is);
static json_t *mcpctl_check_redis(mcpctl_t *ctl,
    const mcpctl_redis_t *redis);
static char *mcpctl_check_names(mcpctl_t *ctl, const mcpctl_server_t *sv);
static char *mcpctl_check_roles(mcpctl_t *ctl, const mcpctl_server_t *sv);
static char *mcpctl_check_keys(mcpctl_t *ctl, const mcpctl_issuer_t *is);
static char *mcpctl_check_address(mcpctl_t *ctl,
    const mcpctl_redis_t *redis);


int
mcpctl_config_check(mcpctl_t *ctl, int argc, char **argv)
{
    const mcpctl_option_t  options[] = { { NULL, NULL, NULL } };

    if (mcpctl_options(ctl, options, argc, argv, NULL, 0) < 0) {
        return mcpctl_usage(ctl);
    }

    if (mcpctl_conf_read(ctl, 1) != MCPCTL_OK) {
        return MCPCTL_FAILED;
    }

    mcpctl_check_warn(ctl);

    if (ctl->json) {
        mcpctl_check_json(ctl);

    } else {
        mcpctl_check_text(ctl);
    }

    return MCPCTL_OK;
}


static void
mcpctl_check_text(mcpctl_t *ctl)
{
    printf("%s: %u mcp_server, %u mcp_issuer, %u mcp_credential\n",
           mcpctl_shown(ctl, &ctl->conf->file, MCPCTL_SHOWN),
           ctl->conf->servers.n, ctl->conf->issuers.n,
           ctl->conf->credentials.n);

    mcpctl_check_servers(ctl);
    mcpctl_check_issuers(ctl);
    mcpctl_check_credentials(ctl);

    if (ctl->verbose) {
        mcpctl_check_grants(ctl);
    }

    mcpctl_check_stores(ctl);
}


/* What nginx takes, and is hardly meant. */
static void
mcpctl_check_warn(mcpctl_t *ctl)
{
    unsigned          i, k, role;
    mcpctl_issuer_t  *is;
    mcpctl_server_t  *sv;

    for (i = 0; i < ctl->conf->servers.n; i++) {
        sv = ctl->conf->servers.elts[i];

        if (sv->nlocations == 0) {
            mcpctl_warn(ctl, "mcp_server \"%s\" protects no location in "
                        "%s:%u", sv->name.data, sv->place.file.data,
                        sv->place.line);
        }
    }

    for (i = 0; i < ctl->conf->issuers.n; i++) {
        is = ctl->conf->issuers.elts[i];

        for (k = 0; k < is->jwt.nrole_map; k++) {
            role = is->jwt.role_map[k].role;

            if ((k && is->jwt.role_map[k - 1].role == role)
                || mcpctl_check_known(ctl, role))
            {
                continue;
            }

            mcpctl_warn(ctl, "mcp_issuer \"%s\": role \"%s\" is in no "
                        "mcp_server in %s:%u", is->name.data,
                        ctl->conf->roles[role].data, is->place.file.data,
                        is->place.line);
        }
    }
}


static unsigned
mcpctl_check_known(mcpctl_t *ctl, unsigned role)
{
    unsigned          i;
    mcpctl_server_t  *sv;

    for (i = 0; i < ctl->conf->servers.n; i++) {
        sv = ctl->conf->servers.elts[i];

        if (mcp_role_held(&sv->roles, role)) {
            return 1;
        }
    }

    return 0;
}


/* --verbose: which value of the roles claim gives which role */
static void
mcpctl_check_grants(mcpctl_t *ctl)
{
    unsigned          i, k;
    const char       *cells[4];
    mcpctl_table_t   *table;
    mcpctl_issuer_t  *is;
    mcp_role_map_t   *map;

    static const char *const  headings[] = {
        "ISSUER", "CLAIM", "VALUE", "ROLE", NULL
    };

    table = mcpctl_table(ctl, headings);

    for (i = 0; i < ctl->conf->issuers.n; i++) {
        is = ctl->conf->issuers.elts[i];

        for (k = 0; k < is->jwt.nrole_map; k++) {
            map = &is->jwt.role_map[k];

            cells[0] = mcpctl_shown(ctl, &is->name, MCPCTL_SHOWN);
            cells[1] = mcpctl_shown(ctl, &is->jwt.roles_claim, MCPCTL_SHOWN);
            cells[2] = mcpctl_shown(ctl, &map->value, MCPCTL_SHOWN);
            cells[3] = mcpctl_shown(ctl, &ctl->conf->roles[map->role],
                                    MCPCTL_SHOWN);
            mcpctl_row(table, cells);
        }
    }

    putchar('\n');
    mcpctl_table_print(table);
}


static void
mcpctl_check_servers(mcpctl_t *ctl)
{
    unsigned          i;
    const char       *cells[7];
    mcpctl_table_t   *table;
    mcpctl_server_t  *sv;

    static const char *const  headings[] = {
        "SERVER", "RESOURCE", "ISSUERS", "ROLES", "TOKENS", "LOCATIONS",
        "ENFORCE", NULL
    };

    table = mcpctl_table(ctl, headings);

    for (i = 0; i < ctl->conf->servers.n; i++) {
        sv = ctl->conf->servers.elts[i];

        cells[0] = mcpctl_shown(ctl, &sv->name, MCPCTL_SHOWN);
        cells[1] = mcpctl_shown(ctl, &sv->resource, MCPCTL_SHOWN);
        cells[2] = mcpctl_check_names(ctl, sv);
        cells[3] = mcpctl_check_roles(ctl, sv);
        cells[4] = sv->tokens ? "on" : "off";
        cells[5] = mcpctl_format(ctl, "%u", sv->nlocations);
        cells[6] = sv->shadow ? "shadow" : "on";

        mcpctl_row(table, cells);
    }

    if (i) {
        putchar('\n');
        mcpctl_table_print(table);
    }
}


static void
mcpctl_check_issuers(mcpctl_t *ctl)
{
    unsigned          i;
    const char       *cells[3];
    mcpctl_table_t   *table;
    mcpctl_issuer_t  *is;

    static const char *const  headings[] = {
        "ISSUER", "URL", "KEYS", NULL
    };

    table = mcpctl_table(ctl, headings);

    for (i = 0; i < ctl->conf->issuers.n; i++) {
        is = ctl->conf->issuers.elts[i];

        cells[0] = mcpctl_shown(ctl, &is->name, MCPCTL_SHOWN);
        cells[1] = mcpctl_shown(ctl, &is->jwt.issuer, MCPCTL_SHOWN);
        cells[2] = mcpctl_check_keys(ctl, is);

        mcpctl_row(table, cells);
    }

    if (i) {
        putchar('\n');
        mcpctl_table_print(table);
    }
}


static void
mcpctl_check_credentials(mcpctl_t *ctl)
{
    unsigned              i, k;
    mcp_str_t            *header;
    const char           *cells[4];
    mcpctl_table_t       *table;
    mcpctl_credential_t  *cr;

    static const char *const  headings[] = {
        "CREDENTIAL", "TYPE", "HEADERS", "TOKENS OF", NULL
    };

    table = mcpctl_table(ctl, headings);

    for (i = 0; i < ctl->conf->credentials.n; i++) {
        cr = ctl->conf->credentials.elts[i];

        cells[0] = mcpctl_shown(ctl, &cr->name, MCPCTL_SHOWN);
        cells[1] = mcpctl_credential_word(cr->type);
        cells[2] = "";
        cells[3] = cr->type == MCPCTL_CREDENTIAL_STATIC ? "-"
                   : mcpctl_shown(ctl, &cr->provider.token_endpoint,
                                  MCPCTL_SHOWN);

        for (k = 0; k < cr->headers.n; k++) {
            header = cr->headers.elts[k];
            cells[2] = mcpctl_format(ctl, "%s%s%s", cells[2], k ? "," : "",
                                     (char *) header->data);
        }

        mcpctl_row(table, cells);
    }

    if (i) {
        putchar('\n');
        mcpctl_table_print(table);
    }
}


static void
mcpctl_check_stores(mcpctl_t *ctl)
{
    const char      *cells[2];
    mcpctl_conf_t   *conf;
    mcpctl_table_t  *table;

    static const char *const  headings[] = { "STORE", "WHERE", NULL };

    conf = ctl->conf;
    table = mcpctl_table(ctl, headings);

    if (conf->token_file.len) {
        cells[0] = "tokens";
        cells[1] = mcpctl_shown(ctl, &conf->token_file, MCPCTL_SHOWN);
        mcpctl_row(table, cells);
    }

    if (conf->revocation_file.len) {
        cells[0] = "revocations";
        cells[1] = mcpctl_shown(ctl, &conf->revocation_file, MCPCTL_SHOWN);
        mcpctl_row(table, cells);
    }

    if (conf->vault_keys.len) {
        cells[0] = "vault keys";
        cells[1] = mcpctl_shown(ctl, &conf->vault_keys, MCPCTL_SHOWN);
        mcpctl_row(table, cells);
    }

    if (conf->redis) {
        cells[0] = "redis";
        cells[1] = mcpctl_check_address(ctl, conf->redis);
        mcpctl_row(table, cells);
    }

    if (conf->audit.len) {
        cells[0] = "audit";
        cells[1] = mcpctl_shown(ctl, &conf->audit, MCPCTL_SHOWN);
        mcpctl_row(table, cells);
    }

    if (conf->token_file.len || conf->revocation_file.len
        || conf->vault_keys.len || conf->redis || conf->audit.len)
    {
        putchar('\n');
        mcpctl_table_print(table);
    }
}


static void
mcpctl_check_json(mcpctl_t *ctl)
{
    json_t         *root, *list;
    unsigned        i;
    mcpctl_conf_t  *conf;

    conf = ctl->conf;
    root = mcpctl_json_object(ctl);

    mcpctl_json_set_text(ctl, root, "conf", &conf->file);
    mcpctl_json_set_text(ctl, root, "user", &conf->user);
    mcpctl_json_set_text(ctl, root, "group", &conf->group);

    list = mcpctl_json_array(ctl);

    for (i = 0; i < conf->servers.n; i++) {
        mcpctl_json_append(ctl, list,
                           mcpctl_check_server(ctl, conf->servers.elts[i]));
    }

    mcpctl_json_set(ctl, root, "servers", list);

    list = mcpctl_json_array(ctl);

    for (i = 0; i < conf->issuers.n; i++) {
        mcpctl_json_append(ctl, list,
                           mcpctl_check_issuer(ctl, conf->issuers.elts[i]));
    }

    mcpctl_json_set(ctl, root, "issuers", list);

    list = mcpctl_json_array(ctl);

    for (i = 0; i < conf->credentials.n; i++) {
        mcpctl_json_append(ctl, list,
                           mcpctl_check_credential(ctl,
                                                   conf->credentials.elts[i]));
    }

    mcpctl_json_set(ctl, root, "credentials", list);
    mcpctl_json_set_text(ctl, root, "vault_keys", &conf->vault_keys);

    mcpctl_json_set_text(ctl, root, "token_file", &conf->token_file);
    mcpctl_json_set(ctl, root, "token_keys", json_integer(conf->ntoken_keys));
    mcpctl_json_set_text(ctl, root, "revocation_file",
                         &conf->revocation_file);

    if (conf->redis) {
        mcpctl_json_set(ctl, root, "redis",
                        mcpctl_check_redis(ctl, conf->redis));
    }

    mcpctl_json_set_text(ctl, root, "audit", &conf->audit);

    mcpctl_json_print(ctl, root);
}


static json_t *
mcpctl_check_server(mcpctl_t *ctl, const mcpctl_server_t *sv)
{
    json_t           *server, *list;
    unsigned          i;
    mcpctl_issuer_t  *is;

    server = mcpctl_json_object(ctl);

    mcpctl_json_set_text(ctl, server, "name", &sv->name);
    mcpctl_json_set_text(ctl, server, "resource", &sv->resource);

    list = mcpctl_json_array(ctl);

    for (i = 0; i < sv->issuers.n; i++) {
        is = sv->issuers.elts[i];
        mcpctl_json_append(ctl, list, mcpctl_json_text(ctl, &is->name));
    }

    mcpctl_json_set(ctl, server, "issuers", list);

    list = mcpctl_json_array(ctl);

    for (i = 0; i < ctl->conf->nroles; i++) {
        if (mcp_role_held(&sv->roles, i)) {
            mcpctl_json_append(ctl, list,
                               mcpctl_json_text(ctl, &ctl->conf->roles[i]));
        }
    }

    mcpctl_json_set(ctl, server, "roles", list);
    mcpctl_json_set_text(ctl, server, "scope",
                         mcp_policy_server_scope(sv->policy));
    mcpctl_check_shown(ctl, server, sv);
    mcpctl_json_set(ctl, server, "tokens", json_boolean(sv->tokens));
    mcpctl_json_set(ctl, server, "shadow", json_boolean(sv->shadow));
    mcpctl_json_set(ctl, server, "locations", json_integer(sv->nlocations));

    return server;
}


/* "credential": for everybody else; "role_credentials": for whom else */
static void
mcpctl_check_shown(mcpctl_t *ctl, json_t *server, const mcpctl_server_t *sv)
{
    json_t                     *roles;
    unsigned                    i;
    mcpctl_shown_credential_t  *sc;

    roles = mcpctl_json_object(ctl);

    for (i = 0; i < sv->credentials.n; i++) {
        sc = sv->credentials.elts[i];

        if (sc->role == 0) {
            mcpctl_json_set_text(ctl, server, "credential", &sc->name);
            continue;
        }

        mcpctl_json_set_text(ctl, roles,
                             (char *) ctl->conf->roles[sc->role].data,
                             &sc->name);
    }

    if (json_object_size(roles)) {
        mcpctl_json_set(ctl, server, "role_credentials", roles);

    } else {
        json_decref(roles);
    }
}


static json_t *
mcpctl_check_credential(mcpctl_t *ctl, const mcpctl_credential_t *cr)
{
    json_t    *o, *list;
    unsigned   i;

    o = mcpctl_json_object(ctl);

    mcpctl_json_set_text(ctl, o, "name", &cr->name);
    mcpctl_json_set(ctl, o, "type",
                    json_string(mcpctl_credential_word(cr->type)));

    list = mcpctl_json_array(ctl);

    for (i = 0; i < cr->headers.n; i++) {
        mcpctl_json_append(ctl, list,
                           mcpctl_json_text(ctl, cr->headers.elts[i]));
    }

    mcpctl_json_set(ctl, o, "headers", list);

    if (cr->type != MCPCTL_CREDENTIAL_STATIC) {
        mcpctl_json_set(ctl, o, "provider", json_string(cr->provider.name));
        mcpctl_json_set_text(ctl, o, "token_endpoint",
                             &cr->provider.token_endpoint);
        mcpctl_json_set_text(ctl, o, "scope", &cr->scope);
        mcpctl_json_set_text(ctl, o, "audience", &cr->audience);
        mcpctl_json_set_text(ctl, o, "resource", &cr->resource);
        mcpctl_json_set_text(ctl, o, "fallback", &cr->fallback);
    }

    return o;
}


static json_t *
mcpctl_check_issuer(mcpctl_t *ctl, const mcpctl_issuer_t *is)
{
    json_t    *issuer, *list;
    unsigned   i;

    issuer = mcpctl_json_object(ctl);

    mcpctl_json_set_text(ctl, issuer, "name", &is->name);
    mcpctl_json_set_text(ctl, issuer, "issuer", &is->jwt.issuer);
    mcpctl_json_set_text(ctl, issuer, "jwks_file", &is->jwks_file);
    mcpctl_json_set_text(ctl, issuer, "jwks_uri", &is->jwks_uri);

    list = mcpctl_json_array(ctl);

    for (i = 0; i < is->naudiences; i++) {
        mcpctl_json_append(ctl, list,
                           mcpctl_json_text(ctl, &is->audiences[i]));
    }

    mcpctl_json_set(ctl, issuer, "audience", list);
    mcpctl_json_set(ctl, issuer, "leeway", json_integer(is->jwt.leeway));

    return issuer;
}


static json_t *
mcpctl_check_redis(mcpctl_t *ctl, const mcpctl_redis_t *redis)
{
    json_t     *object;
    mcp_str_t   address;

    object = mcpctl_json_object(ctl);
    address = mcpctl_cstr(mcpctl_check_address(ctl, redis));

    mcpctl_json_set_text(ctl, object, "server", &address);
    mcpctl_json_set_text(ctl, object, "user", &redis->user);
    mcpctl_json_set(ctl, object, "database", json_integer(redis->database));
    mcpctl_json_set(ctl, object, "tls", json_boolean(redis->tls));
    mcpctl_json_set_text(ctl, object, "prefix", &redis->prefix);

    return object;
}


static char *
mcpctl_check_names(mcpctl_t *ctl, const mcpctl_server_t *sv)
{
    char             *names;
    unsigned          i;
    mcpctl_issuer_t  *is;

    names = mcpctl_format(ctl, "%s", "");

    for (i = 0; i < sv->issuers.n; i++) {
        is = sv->issuers.elts[i];
        names = mcpctl_format(ctl, "%s%s%s", names, i ? "," : "",
                              (char *) is->name.data);
    }

    return names;
}


static char *
mcpctl_check_roles(mcpctl_t *ctl, const mcpctl_server_t *sv)
{
    char      *names;
    unsigned   i;

    names = mcpctl_format(ctl, "%s", "");

    for (i = 0; i < ctl->conf->nroles; i++) {
        if (mcp_role_held(&sv->roles, i)) {
            names = mcpctl_format(ctl, "%s%s%s", names, *names ? "," : "",
                                  (char *) ctl->conf->roles[i].data);
        }
    }

    return names;
}


static char *
mcpctl_check_keys(mcpctl_t *ctl, const mcpctl_issuer_t *is)
{
    if (is->jwks_file.len) {
        return mcpctl_shown(ctl, &is->jwks_file, MCPCTL_SHOWN);
    }

    if (is->jwks_uri.len) {
        return mcpctl_shown(ctl, &is->jwks_uri, MCPCTL_SHOWN);
    }

    return mcpctl_shown_c(ctl, "by discovery");
}


static char *
mcpctl_check_address(mcpctl_t *ctl, const mcpctl_redis_t *redis)
{
    if (redis->path.len) {
        return mcpctl_format(ctl, "unix:%s",
                             mcpctl_shown(ctl, &redis->path, MCPCTL_SHOWN));
    }

    return mcpctl_format(ctl, "%s:%u%s",
                         mcpctl_shown(ctl, &redis->host, MCPCTL_SHOWN),
                         redis->port, redis->tls ? " (TLS)" : "");
}
