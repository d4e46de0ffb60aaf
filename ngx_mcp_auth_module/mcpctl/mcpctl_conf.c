/*
 * The directives, by context, and what is done when the configuration is read.
 *
 * Inside our blocks everything must be known; elsewhere what is not ours is
 * passed over, but for http, server, location and the like, in which ours may
 * stand.  Blocks of others (map, types, Lua) are passed over whole.
 */

#include "mcpctl_parse.h"


#define MCPCTL_ZONE_LEAST             (256 * 1024)
#define MCPCTL_REVOCATION_ZONE_LEAST  (64 * 1024)


typedef struct {
    const char          *name;
    unsigned             contexts;
    unsigned             min;           /* words with the name */
    unsigned             max;
    unsigned             block;
    int                (*set)(mcpctl_parser_t *ps);
} mcpctl_directive_t;


static int mcpctl_parse(void *data);
static int mcpctl_parse_line(mcpctl_parser_t *ps, unsigned block);
static int mcpctl_parse_foreign(mcpctl_parser_t *ps, unsigned block);
static int mcpctl_conf_include(mcpctl_parser_t *ps);
static int mcpctl_conf_user(mcpctl_parser_t *ps);
static int mcpctl_conf_http(mcpctl_parser_t *ps);
static int mcpctl_conf_level(mcpctl_parser_t *ps);
static int mcpctl_conf_if(mcpctl_parser_t *ps);
static int mcpctl_conf_auth(mcpctl_parser_t *ps);
static int mcpctl_conf_status(mcpctl_parser_t *ps);
static int mcpctl_conf_limit(mcpctl_parser_t *ps);
static int mcpctl_conf_zone(mcpctl_parser_t *ps);
static int mcpctl_finish(mcpctl_parser_t *ps);
static int mcpctl_finish_level(mcpctl_parser_t *ps, mcpctl_level_t *level);
static void mcpctl_limits_defaults(mcpctl_limits_t *limits);
static void mcpctl_finish_limits(mcpctl_server_t *sv,
    const mcpctl_limits_t *limits);


#define MCPCTL_MORE  MCPCTL_WORDS

#define mcpctl_line(name, contexts, min, max, set)                            \
    { name, contexts, min, max, 0, set }
#define mcpctl_block(name, contexts, min, max, set)                           \
    { name, contexts, min, max, 1, set }

#define MCPCTL_LOC  (MCPCTL_HTTP|MCPCTL_SERVER|MCPCTL_LOCATION)


static const mcpctl_directive_t  mcpctl_directives[] = {

    mcpctl_line("include", MCPCTL_NGINX|MCPCTL_OURS, 2, 2,
                mcpctl_conf_include),

    /* nginx's */

    mcpctl_line("user", MCPCTL_MAIN, 2, 3, mcpctl_conf_user),
    mcpctl_block("http", MCPCTL_MAIN, 1, 1, mcpctl_conf_http),
    mcpctl_block("server", MCPCTL_HTTP, 1, 1, mcpctl_conf_level),
    mcpctl_block("location", MCPCTL_SERVER|MCPCTL_LOCATION, 2, 3,
                 mcpctl_conf_level),
    mcpctl_line("listen", MCPCTL_SERVER, 2, MCPCTL_MORE, mcpctl_conf_listen),
    mcpctl_line("server_name", MCPCTL_SERVER, 2, MCPCTL_MORE,
                mcpctl_conf_server_name),
    mcpctl_block("if", MCPCTL_SERVER|MCPCTL_LOCATION, 2, MCPCTL_MORE,
                 mcpctl_conf_if),
    mcpctl_block("limit_except", MCPCTL_LOCATION, 2, MCPCTL_MORE,
                 mcpctl_conf_if),

    /* ours, in nginx's blocks */

    mcpctl_line("mcp_auth", MCPCTL_SERVER|MCPCTL_LOCATION, 2, 2,
                mcpctl_conf_auth),
    mcpctl_line("mcp_status", MCPCTL_LOCATION, 1, 1, mcpctl_conf_status),
    mcpctl_line("mcp_connect", MCPCTL_LOCATION, 2, 3, mcpctl_conf_connect),
    mcpctl_line("mcp_zone", MCPCTL_HTTP, 2, 2, mcpctl_conf_zone),
    mcpctl_line("mcp_audit", MCPCTL_LOC, 2, MCPCTL_MORE, mcpctl_conf_audit),
    mcpctl_line("mcp_audit_key", MCPCTL_HTTP, 2, 2, mcpctl_conf_audit_key),
    mcpctl_line("mcp_session_key", MCPCTL_HTTP, 2, MCPCTL_MORE,
                mcpctl_conf_session_key),
    mcpctl_line("mcp_vault_keys", MCPCTL_HTTP, 2, 2, mcpctl_conf_vault_keys),
    mcpctl_line("mcp_token_key", MCPCTL_HTTP, 2, MCPCTL_MORE,
                mcpctl_conf_token_key),
    mcpctl_line("mcp_token_file", MCPCTL_HTTP, 2, 2, mcpctl_conf_path),
    mcpctl_line("mcp_token_failures", MCPCTL_HTTP, 2, 2,
                mcpctl_conf_failures),
    mcpctl_line("mcp_revocation_file", MCPCTL_HTTP, 2, 2, mcpctl_conf_path),
    mcpctl_line("mcp_revocation_zone", MCPCTL_HTTP, 2, 2, mcpctl_conf_zone),
    mcpctl_line("mcp_max_token", MCPCTL_LOC, 2, 2, mcpctl_conf_limit),
    mcpctl_line("mcp_max_body", MCPCTL_LOC, 2, 2, mcpctl_conf_limit),
    mcpctl_line("mcp_max_id", MCPCTL_LOC, 2, 2, mcpctl_conf_limit),
    mcpctl_line("mcp_max_name", MCPCTL_LOC, 2, 2, mcpctl_conf_limit),
    mcpctl_line("mcp_max_list_entry", MCPCTL_LOC, 2, 2, mcpctl_conf_limit),
    mcpctl_line("mcp_max_event", MCPCTL_LOC, 2, 2, mcpctl_conf_limit),
    mcpctl_line("mcp_max_depth", MCPCTL_LOC, 2, 2, mcpctl_conf_limit),

    /* our blocks */

    mcpctl_block("mcp_issuer", MCPCTL_HTTP, 2, 2, mcpctl_conf_issuer),
    mcpctl_line("issuer", MCPCTL_ISSUER, 2, 2, mcpctl_conf_issuer_line),
    mcpctl_line("jwks_uri", MCPCTL_ISSUER, 2, 2, mcpctl_conf_issuer_line),
    mcpctl_line("jwks_file", MCPCTL_ISSUER, 2, 2, mcpctl_conf_issuer_line),
    mcpctl_line("jwks_stale", MCPCTL_ISSUER, 2, 2, mcpctl_conf_issuer_line),
    mcpctl_line("jwks_refresh", MCPCTL_ISSUER, 2, 2, mcpctl_conf_issuer_line),
    mcpctl_line("jwks_timeout", MCPCTL_ISSUER, 2, 2, mcpctl_conf_issuer_line),
    mcpctl_line("max_key_set", MCPCTL_ISSUER, 2, 2, mcpctl_conf_issuer_line),
    mcpctl_line("max_keys", MCPCTL_ISSUER, 2, 2, mcpctl_conf_issuer_line),
    mcpctl_line("max_groups", MCPCTL_ISSUER, 2, 2, mcpctl_conf_issuer_line),
    mcpctl_line("audience", MCPCTL_ISSUER, 2, MCPCTL_MORE,
                mcpctl_conf_issuer_line),
    mcpctl_line("algorithms", MCPCTL_ISSUER, 2, MCPCTL_MORE,
                mcpctl_conf_issuer_line),
    mcpctl_line("token_type", MCPCTL_ISSUER, 2, 2, mcpctl_conf_issuer_line),
    mcpctl_line("user_claim", MCPCTL_ISSUER, 2, MCPCTL_MORE,
                mcpctl_conf_issuer_line),
    mcpctl_line("client_claim", MCPCTL_ISSUER, 2, MCPCTL_MORE,
                mcpctl_conf_issuer_line),
    mcpctl_line("scope_claim", MCPCTL_ISSUER, 2, MCPCTL_MORE,
                mcpctl_conf_issuer_line),
    mcpctl_line("roles_claim", MCPCTL_ISSUER, 2, 2, mcpctl_conf_issuer_line),
    mcpctl_line("leeway", MCPCTL_ISSUER, 2, 2, mcpctl_conf_issuer_line),
    mcpctl_line("ssl_trusted_certificate", MCPCTL_ISSUER, 2, 2,
                mcpctl_conf_issuer_line),
    mcpctl_line("role", MCPCTL_ISSUER, 3, MCPCTL_MORE,
                mcpctl_conf_issuer_line),
    mcpctl_line("client_id", MCPCTL_ISSUER, 2, 2, mcpctl_conf_issuer_login),
    mcpctl_line("client_secret", MCPCTL_ISSUER, 2, 2,
                mcpctl_conf_issuer_login),
    mcpctl_line("login_scope", MCPCTL_ISSUER, 2, MCPCTL_MORE,
                mcpctl_conf_issuer_login),
    mcpctl_line("auth_method", MCPCTL_ISSUER, 2, 2,
                mcpctl_conf_issuer_login),
    mcpctl_line("authorization_endpoint", MCPCTL_ISSUER, 2, 2,
                mcpctl_conf_issuer_login),
    mcpctl_line("token_endpoint", MCPCTL_ISSUER, 2, 2,
                mcpctl_conf_issuer_login),

    mcpctl_block("mcp_credential", MCPCTL_HTTP, 2, 2,
                 mcpctl_conf_credential),
    mcpctl_line("type", MCPCTL_CREDENTIAL, 2, 2,
                mcpctl_conf_credential_line),
    mcpctl_line("header", MCPCTL_CREDENTIAL, 2, 3,
                mcpctl_conf_credential_line),
    mcpctl_line("scope", MCPCTL_CREDENTIAL, 2, MCPCTL_MORE,
                mcpctl_conf_credential_line),
    mcpctl_line("value", MCPCTL_CREDENTIAL, 2, 2,
                mcpctl_conf_credential_line),
    mcpctl_line("provider", MCPCTL_CREDENTIAL, 2, 2,
                mcpctl_conf_credential_line),
    mcpctl_line("token_endpoint", MCPCTL_CREDENTIAL, 2, 2,
                mcpctl_conf_credential_line),
    mcpctl_line("authorize_endpoint", MCPCTL_CREDENTIAL, 2, 2,
                mcpctl_conf_credential_line),
    mcpctl_line("revoke_endpoint", MCPCTL_CREDENTIAL, 2, 2,
                mcpctl_conf_credential_line),
    mcpctl_line("auth_method", MCPCTL_CREDENTIAL, 2, 2,
                mcpctl_conf_credential_line),
    mcpctl_line("client_id", MCPCTL_CREDENTIAL, 2, 2,
                mcpctl_conf_credential_line),
    mcpctl_line("client_secret", MCPCTL_CREDENTIAL, 2, 2,
                mcpctl_conf_credential_line),
    mcpctl_line("key", MCPCTL_CREDENTIAL, 2, 2,
                mcpctl_conf_credential_line),
    mcpctl_line("key_id", MCPCTL_CREDENTIAL, 2, 2,
                mcpctl_conf_credential_line),
    mcpctl_line("assertion_audience", MCPCTL_CREDENTIAL, 2, 2,
                mcpctl_conf_credential_line),
    mcpctl_line("audience", MCPCTL_CREDENTIAL, 2, 2,
                mcpctl_conf_credential_line),
    mcpctl_line("resource", MCPCTL_CREDENTIAL, 2, 2,
                mcpctl_conf_credential_line),
    mcpctl_line("timeout", MCPCTL_CREDENTIAL, 2, 2,
                mcpctl_conf_credential_line),
    mcpctl_line("ssl_trusted_certificate", MCPCTL_CREDENTIAL, 2, 2,
                mcpctl_conf_credential_line),
    mcpctl_line("rotation", MCPCTL_CREDENTIAL, 2, 2,
                mcpctl_conf_credential_line),
    mcpctl_line("grace", MCPCTL_CREDENTIAL, 2, 2,
                mcpctl_conf_credential_line),
    mcpctl_line("keepalive", MCPCTL_CREDENTIAL, 2, 2,
                mcpctl_conf_credential_line),
    mcpctl_line("connect_url", MCPCTL_CREDENTIAL, 2, 2,
                mcpctl_conf_credential_line),
    mcpctl_line("fallback", MCPCTL_CREDENTIAL, 2, 2,
                mcpctl_conf_credential_line),

    mcpctl_block("mcp_server", MCPCTL_HTTP, 2, 2, mcpctl_conf_mcp),
    mcpctl_line("resource", MCPCTL_MCP, 2, 2, mcpctl_conf_mcp_line),
    mcpctl_line("issuer", MCPCTL_MCP, 2, MCPCTL_MORE, mcpctl_conf_mcp_line),
    mcpctl_line("tokens", MCPCTL_MCP, 2, 2, mcpctl_conf_mcp_line),
    mcpctl_line("scope", MCPCTL_MCP, 2, MCPCTL_MORE, mcpctl_conf_mcp_line),
    mcpctl_line("credential", MCPCTL_MCP, 2, 3, mcpctl_conf_mcp_line),
    mcpctl_line("origin", MCPCTL_MCP, 2, MCPCTL_MORE, mcpctl_conf_mcp_line),
    mcpctl_line("deny_reply", MCPCTL_MCP, 2, 2, mcpctl_conf_mcp_line),
    mcpctl_line("enforce", MCPCTL_MCP|MCPCTL_ROLE, 2, 2,
                mcpctl_conf_enforce),
    mcpctl_line("stream_grace", MCPCTL_MCP, 2, 2, mcpctl_conf_mcp_line),
    mcpctl_line("strip", MCPCTL_MCP, 2, MCPCTL_MORE, mcpctl_conf_mcp_line),
    mcpctl_line("preview", MCPCTL_MCP, 2, 2, mcpctl_conf_mcp_line),
    mcpctl_line("params", MCPCTL_MCP, 2, MCPCTL_MORE, mcpctl_conf_mcp_line),
    mcpctl_line("step_up", MCPCTL_MCP, 3, MCPCTL_MORE, mcpctl_conf_mcp_line),
    mcpctl_block("role", MCPCTL_MCP, 2, 2, mcpctl_conf_role),
    mcpctl_line("allow", MCPCTL_ROLE, 3, MCPCTL_MORE, mcpctl_conf_rule),
    mcpctl_line("deny", MCPCTL_ROLE, 3, MCPCTL_MORE, mcpctl_conf_rule),

    mcpctl_block("mcp_redis", MCPCTL_HTTP, 1, 1, mcpctl_conf_redis),
    mcpctl_line("server", MCPCTL_REDIS, 2, 2, mcpctl_conf_redis_line),
    mcpctl_line("user", MCPCTL_REDIS, 2, 2, mcpctl_conf_redis_line),
    mcpctl_line("password", MCPCTL_REDIS, 2, 2, mcpctl_conf_redis_line),
    mcpctl_line("database", MCPCTL_REDIS, 2, 2, mcpctl_conf_redis_line),
    mcpctl_line("tls", MCPCTL_REDIS, 2, 2, mcpctl_conf_redis_line),
    mcpctl_line("ssl_trusted_certificate", MCPCTL_REDIS, 2, 2,
                mcpctl_conf_redis_line),
    mcpctl_line("ssl_name", MCPCTL_REDIS, 2, 2, mcpctl_conf_redis_line),
    mcpctl_line("prefix", MCPCTL_REDIS, 2, 2, mcpctl_conf_redis_line),
    mcpctl_line("timeout", MCPCTL_REDIS, 2, 2, mcpctl_conf_redis_line),
    mcpctl_line("connect_timeout", MCPCTL_REDIS, 2, 2,
                mcpctl_conf_redis_line),
    mcpctl_line("revocation_stale", MCPCTL_REDIS, 2, 2,
                mcpctl_conf_redis_line),
    mcpctl_line("max_reply", MCPCTL_REDIS, 2, 2, mcpctl_conf_redis_line),

    { NULL, 0, 0, 0, 0, NULL }
};


int
mcpctl_conf_read(mcpctl_t *ctl, unsigned files)
{
    int               rc;
    size_t            n;
    mcp_str_t         path;
    mcpctl_conf_t    *conf;
    mcpctl_parser_t   ps;

    path = mcpctl_cstr(ctl->conf_file);
    conf = mcpctl_alloc(ctl, sizeof(mcpctl_conf_t));

    conf->file = path;

    for (n = path.len; n && path.data[n - 1] != '/'; n--) { /* void */ }

    conf->dir = n ? mcpctl_str(ctl, path.data, n) : mcpctl_cstr("./");

    mcp_str_set(&conf->roles[0], "*");
    conf->nroles = 1;
    conf->token_failures = -1;
    conf->revocation_zone = -1;

    ctl->conf = conf;

    memset(&ps, 0, sizeof(mcpctl_parser_t));

    ps.ctl = ctl;
    ps.conf = conf;
    ps.files = files;
    ps.zone = -1;
    ps.context = MCPCTL_MAIN;
    ps.rd.ctl = ctl;
    ps.rd.conf = conf;

    if (mcpctl_read_open(&ps.rd, &path) != MCP_OK) {
        return MCPCTL_FAILED;
    }

    rc = mcpctl_parse(&ps);
    mcpctl_read_close(&ps.rd);

    if (rc != MCP_OK || mcpctl_finish(&ps) != MCP_OK) {
        return MCPCTL_FAILED;
    }

    return MCPCTL_OK;
}


mcpctl_server_t *
mcpctl_conf_server(mcpctl_conf_t *conf, const mcp_str_t *name)
{
    unsigned          i;
    mcpctl_server_t  *sv;

    for (i = 0; i < conf->servers.n; i++) {
        sv = conf->servers.elts[i];

        if (mcp_str_eq(&sv->name, name)) {
            return sv;
        }
    }

    return NULL;
}


mcpctl_server_t *
mcpctl_conf_the_server(mcpctl_t *ctl, const char *name)
{
    mcp_str_t         s;
    mcpctl_server_t  *sv;

    if (name == NULL) {

        if (ctl->conf->servers.n == 1) {
            return ctl->conf->servers.elts[0];
        }

        (void) mcpctl_error(ctl, 0, "there are %u mcp_server in \"%s\": say "
                            "which one by --server", ctl->conf->servers.n,
                            ctl->conf_file);
        return NULL;
    }

    s = mcpctl_cstr(name);
    sv = mcpctl_conf_server(ctl->conf, &s);

    if (sv == NULL) {
        (void) mcpctl_error(ctl, 0, "there is no mcp_server \"%s\" in \"%s\"",
                            name, ctl->conf_file);
    }

    return sv;
}


/* The lines of a file or a block, up to its end. */
static int
mcpctl_parse(void *data)
{
    mcpctl_parser_t *ps = data;

    mcpctl_read_e  what;

    for ( ;; ) {
        what = mcpctl_read_next(&ps->rd);

        switch (what) {

        case MCPCTL_READ_ERROR:
            return MCP_ERROR;

        case MCPCTL_READ_LINE:
        case MCPCTL_READ_BLOCK:
            if (mcpctl_parse_line(ps, what == MCPCTL_READ_BLOCK) != MCP_OK) {
                return MCP_ERROR;
            }

            break;

        case MCPCTL_READ_END:
            if (!ps->in_block) {
                return mcpctl_read_error(&ps->rd, "unexpected \"}\"");
            }

            return MCP_OK;

        default: /* MCPCTL_READ_EOF */
            if (ps->in_block) {
                return mcpctl_read_error(&ps->rd, "unexpected end of file, "
                                         "expecting \"}\"");
            }

            return MCP_OK;
        }
    }
}


int
mcpctl_parse_block(mcpctl_parser_t *ps, unsigned context)
{
    int       rc;
    unsigned  saved, in_block;

    saved = ps->context;
    in_block = ps->in_block;

    ps->context = context;
    ps->in_block = 1;

    rc = mcpctl_parse(ps);

    ps->context = saved;
    ps->in_block = in_block;

    return rc;
}


/* By the rules of ngx_conf_handler(): context, then form, then number. */
static int
mcpctl_parse_line(mcpctl_parser_t *ps, unsigned block)
{
    unsigned                   known;
    mcp_str_t                 *name;
    const mcpctl_directive_t  *d;

    known = 0;
    name = mcpctl_word(ps, 0);

    for (d = mcpctl_directives; d->name; d++) {

        if (strcmp((char *) name->data, d->name) != 0) {
            continue;
        }

        known = 1;

        if (!(d->contexts & ps->context)) {
            continue;
        }

        if (block != d->block) {
            return mcpctl_read_error(&ps->rd, d->block
                                     ? "directive \"%s\" has no opening \"{\""
                                     : "directive \"%s\" is not terminated by "
                                       "\";\"", d->name);
        }

        if (ps->rd.nwords < d->min || ps->rd.nwords > d->max) {
            return mcpctl_read_error(&ps->rd, "invalid number of arguments in "
                                     "\"%s\" directive", d->name);
        }

        return d->set(ps);
    }

    if (!(ps->context & MCPCTL_OURS)
        && strncmp((char *) name->data, "mcp_", 4) != 0)
    {
        return mcpctl_parse_foreign(ps, block);
    }

    return mcpctl_read_error(&ps->rd, known
                             ? "\"%s\" directive is not allowed here"
                             : "unknown directive \"%s\"", name->data);
}


/* What is another module's, or nginx's own, is not judged. */
static int
mcpctl_parse_foreign(mcpctl_parser_t *ps, unsigned block)
{
    return block ? mcpctl_read_skip(&ps->rd) : MCP_OK;
}


int
mcpctl_parse_duplicate(mcpctl_parser_t *ps)
{
    return mcpctl_read_error(&ps->rd, "\"%s\" directive is duplicate",
                             mcpctl_word(ps, 0)->data);
}


mcp_str_t *
mcpctl_parse_words(mcpctl_parser_t *ps, unsigned first, unsigned *n)
{
    mcp_str_t  *words;

    *n = ps->rd.nwords - first;

    words = mcpctl_alloc(ps->ctl, *n * sizeof(mcp_str_t));
    memcpy(words, mcpctl_word(ps, first), *n * sizeof(mcp_str_t));

    return words;
}


/* Letters, digits, "_", "-" and "."; at most 64. */
int
mcpctl_parse_name(mcpctl_parser_t *ps, const mcp_str_t *name)
{
    size_t         i;
    unsigned char  c;

    for (i = 0; i < name->len; i++) {
        c = name->data[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
              || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.'))
        {
            break;
        }
    }

    if (i < name->len || i == 0 || i > 64) {
        return mcpctl_read_error(&ps->rd, "invalid name \"%s\"", name->data);
    }

    return MCP_OK;
}


/* Roles are numbered over all blocks; the number is a bit of mcp_roles_t. */
int
mcpctl_parse_role(mcpctl_parser_t *ps, const mcp_str_t *name,
    unsigned *number)
{
    unsigned        i;
    mcpctl_conf_t  *conf;

    conf = ps->conf;

    for (i = 0; i < conf->nroles; i++) {
        if (mcp_str_eq(&conf->roles[i], name)) {
            *number = i;
            return MCP_OK;
        }
    }

    if (i == MCP_MAX_ROLES) {
        return mcpctl_read_error(&ps->rd, "more than %d roles",
                                 MCP_MAX_ROLES);
    }

    conf->roles[conf->nroles++] = *name;
    *number = i;

    return MCP_OK;
}


static int
mcpctl_conf_include(mcpctl_parser_t *ps)
{
    int       rc;
    unsigned  in_block;

    in_block = ps->in_block;
    ps->in_block = 0;

    rc = mcpctl_read_include(&ps->rd, mcpctl_word(ps, 1), mcpctl_parse, ps);

    ps->in_block = in_block;

    return rc;
}


/* user NAME [GROUP]; the group is that of the same name */
static int
mcpctl_conf_user(mcpctl_parser_t *ps)
{
    mcpctl_conf_t  *conf;

    conf = ps->conf;

    if (conf->user.len) {
        return mcpctl_parse_duplicate(ps);
    }

    conf->user = *mcpctl_word(ps, 1);
    conf->group = *mcpctl_word(ps, ps->rd.nwords - 1);

    return MCP_OK;
}


static int
mcpctl_conf_http(mcpctl_parser_t *ps)
{
    int  rc;

    if (ps->http) {
        return mcpctl_parse_duplicate(ps);
    }

    ps->http = 1;

    rc = mcpctl_conf_level(ps);
    ps->end = mcpctl_read_place(&ps->rd);

    return rc;
}


/* http, server, location: a level of what is inherited */
static int
mcpctl_conf_level(mcpctl_parser_t *ps)
{
    int              rc;
    unsigned         context;
    mcp_str_t       *name;
    mcpctl_level_t  *level;

    name = mcpctl_word(ps, 0);

    context = mcpctl_is(name, "http") ? MCPCTL_HTTP
              : mcpctl_is(name, "server") ? MCPCTL_SERVER : MCPCTL_LOCATION;

    level = mcpctl_alloc(ps->ctl, sizeof(mcpctl_level_t));

    level->up = ps->level;
    memset(&level->limits, 0xff, sizeof(mcpctl_limits_t));

    mcpctl_push(ps->ctl, &ps->levels, level);

    if (context == MCPCTL_LOCATION) {
        mcpctl_conf_location(ps, level);
    }

    ps->level = level;
    rc = mcpctl_parse_block(ps, context);
    ps->level = level->up;

    return rc;
}


static int
mcpctl_conf_if(mcpctl_parser_t *ps)
{
    return mcpctl_parse_block(ps, MCPCTL_IF);
}


static int
mcpctl_conf_auth(mcpctl_parser_t *ps)
{
    mcpctl_level_t  *level;

    level = ps->level;

    if (level->auth.data) {
        return mcpctl_parse_duplicate(ps);
    }

    level->auth = *mcpctl_word(ps, 1);
    level->place = mcpctl_read_place(&ps->rd);

    if (mcpctl_is(&level->auth, "off")) {
        level->auth.len = 0;
    }

    return MCP_OK;
}


static int
mcpctl_conf_status(mcpctl_parser_t *ps)
{
    if (ps->level->handler) {
        return mcpctl_read_error(&ps->rd, "\"mcp_status\" directive cannot "
                                 "share its location with another handler");
    }

    ps->level->handler = 1;

    return MCP_OK;
}


static int
mcpctl_conf_limit(mcpctl_parser_t *ps)
{
    size_t      i;
    int64_t    *limit;
    mcp_str_t  *name, *value;

    static const struct {
        const char  *name;
        size_t       offset;
    } limits[] = {
        { "mcp_max_token", offsetof(mcpctl_limits_t, max_token) },
        { "mcp_max_body", offsetof(mcpctl_limits_t, max_body) },
        { "mcp_max_id", offsetof(mcpctl_limits_t, max_id) },
        { "mcp_max_name", offsetof(mcpctl_limits_t, max_name) },
        { "mcp_max_list_entry", offsetof(mcpctl_limits_t, max_list_entry) },
        { "mcp_max_event", offsetof(mcpctl_limits_t, max_event) },
        { "mcp_max_depth", offsetof(mcpctl_limits_t, max_depth) }
    };

    name = mcpctl_word(ps, 0);
    value = mcpctl_word(ps, 1);

    for (i = 0; strcmp((char *) name->data, limits[i].name) != 0; i++) {
        /* void */
    }

    limit = (int64_t *) ((char *) &ps->level->limits + limits[i].offset);

    if (*limit != -1) {
        return mcpctl_parse_duplicate(ps);
    }

    *limit = mcpctl_is(name, "mcp_max_depth") ? mcpctl_number(value)
                                              : mcpctl_size(value);

    if (*limit == -1) {
        return mcpctl_read_error(&ps->rd, "\"%s\" directive invalid value",
                                 name->data);
    }

    return MCP_OK;
}


/* mcp_zone, mcp_revocation_zone */
static int
mcpctl_conf_zone(mcpctl_parser_t *ps)
{
    int64_t    *zone;
    mcp_str_t  *name;

    name = mcpctl_word(ps, 0);
    zone = mcpctl_is(name, "mcp_zone") ? &ps->zone
                                       : &ps->conf->revocation_zone;

    if (*zone != -1) {
        return mcpctl_parse_duplicate(ps);
    }

    *zone = mcpctl_size(mcpctl_word(ps, 1));

    if (*zone == -1) {
        return mcpctl_read_error(&ps->rd, "\"%s\" directive invalid value",
                                 name->data);
    }

    return MCP_OK;
}


/* http {} is complete: names are looked up, defaults filled in. */
static int
mcpctl_finish(mcpctl_parser_t *ps)
{
    unsigned          i, used;
    mcpctl_conf_t    *conf;
    mcpctl_server_t  *sv;

    conf = ps->conf;
    used = 0;

    if (mcpctl_finish_stores(ps) != MCP_OK) {
        return MCP_ERROR;
    }

    for (i = 0; i < conf->issuers.n; i++) {
        if (mcpctl_finish_issuer(ps, conf->issuers.elts[i]) != MCP_OK) {
            return MCP_ERROR;
        }
    }

    for (i = 0; i < conf->servers.n; i++) {
        if (mcpctl_finish_server(ps, conf->servers.elts[i]) != MCP_OK) {
            return MCP_ERROR;
        }
    }

    if (mcpctl_finish_vault(ps) != MCP_OK
        || mcpctl_finish_connect(ps) != MCP_OK)
    {
        return MCP_ERROR;
    }

    for (i = 0; i < ps->levels.n; i++) {
        if (mcpctl_finish_level(ps, ps->levels.elts[i]) != MCP_OK) {
            return MCP_ERROR;
        }
    }

    for (i = 0; i < conf->servers.n; i++) {
        sv = conf->servers.elts[i];

        used += sv->nlocations;

        if (sv->nlocations == 0) {
            mcpctl_finish_limits(sv, NULL);
        }
    }

    if (used && ps->zone != -1 && ps->zone < MCPCTL_ZONE_LEAST) {
        return mcpctl_place_error(ps->ctl, &ps->end, "mcp_zone is smaller "
                                  "than 256k");
    }

    if (used && conf->revocation_zone != -1
        && conf->revocation_zone < MCPCTL_REVOCATION_ZONE_LEAST)
    {
        return mcpctl_place_error(ps->ctl, &ps->end, "mcp_revocation_zone is "
                                  "smaller than 64k");
    }

    return MCP_OK;
}


/* Levels come in the order in which they begin: what is around was here. */
static int
mcpctl_finish_level(mcpctl_parser_t *ps, mcpctl_level_t *level)
{
    size_t            i;
    int64_t          *own, *above;
    mcpctl_server_t  *sv;
    mcpctl_limits_t  *limits;

    limits = &level->limits;

    if (level->up) {
        own = (int64_t *) limits;
        above = (int64_t *) &level->up->limits;

        for (i = 0; i < sizeof(mcpctl_limits_t) / sizeof(int64_t); i++) {
            if (own[i] == -1) {
                own[i] = above[i];
            }
        }

        if (level->auth.data == NULL) {
            level->auth = level->up->auth;
            level->place = level->up->place;
        }

    } else {
        mcpctl_limits_defaults(limits);
    }

    if (level->auth.len == 0) {
        return MCP_OK;
    }

    if (level->connect) {
        return mcpctl_place_error(ps->ctl, &level->connect->place,
                                  "mcp_connect is for browsers, which have no "
                                  "token for mcp_auth \"%s\"; \"mcp_auth "
                                  "off\" is meant", level->auth.data);
    }

    sv = mcpctl_conf_server(ps->conf, &level->auth);

    if (sv == NULL) {
        return mcpctl_place_error(ps->ctl, &level->place, "unknown mcp_server "
                                  "\"%s\"", level->auth.data);
    }

    if (limits->max_depth < 4 || limits->max_depth > MCP_JSON_MAX_DEPTH
        || limits->max_name < 64 || limits->max_name > 65536
        || limits->max_id < 8 || limits->max_id > 256
        || limits->max_token < 64 || limits->max_body < 64
        || limits->max_list_entry < 256 || limits->max_event < 256)
    {
        return mcpctl_place_error(ps->ctl, &level->place, "a mcp_max_* limit "
                                  "is out of its range for mcp_auth \"%s\"",
                                  level->auth.data);
    }

    if (sv->nlocations++ == 0) {
        mcpctl_finish_limits(sv, limits);
    }

    return MCP_OK;
}


static void
mcpctl_limits_defaults(mcpctl_limits_t *limits)
{
    size_t   i;
    int64_t *own, *value;

    static const mcpctl_limits_t  defaults = {
        16 * 1024, 4 * 1024 * 1024, 64, 256, 1024, 1024 * 1024,
        4 * 1024 * 1024
    };

    own = (int64_t *) limits;
    value = (int64_t *) &defaults;

    for (i = 0; i < sizeof(mcpctl_limits_t) / sizeof(int64_t); i++) {
        if (own[i] == -1) {
            own[i] = value[i];
        }
    }
}


/* How the server reads a message; limits NULL: no location uses it. */
static void
mcpctl_finish_limits(mcpctl_server_t *sv, const mcpctl_limits_t *limits)
{
    mcpctl_limits_t  defaults;

    if (limits == NULL) {
        memset(&defaults, 0xff, sizeof(mcpctl_limits_t));
        mcpctl_limits_defaults(&defaults);
        limits = &defaults;
    }

    sv->max_token = (size_t) limits->max_token;

    sv->message.max_depth = (unsigned) limits->max_depth;
    sv->message.max_id = (size_t) limits->max_id;
    sv->message.max_name = (size_t) limits->max_name;
    sv->message.max_value = (size_t) limits->max_name;
    sv->message.pointers = mcp_policy_pointers(sv->policy,
                                               &sv->message.npointers);
}
