/*
 * mcp_connect, and what it needs: the login lines of an mcp_issuer, the names
 * and ports of a server {}.  As in the module's ngx_mcp_connect_conf.c.
 */

#include "mcpctl_parse.h"
#include "mcp_connect.h"


#define MCPCTL_CONNECT_PATH  256


static int mcpctl_connect_openid(const mcp_str_t *scope);
static int mcpctl_connect_parameters(mcpctl_parser_t *ps,
    mcpctl_connect_t *cn);
static int mcpctl_connect_needs(mcpctl_parser_t *ps, mcpctl_connect_t *cn);
static int mcpctl_connect_issuer(mcpctl_parser_t *ps, mcpctl_connect_t *cn);
static int mcpctl_connect_login(mcpctl_parser_t *ps, mcpctl_issuer_t *is);
static int mcpctl_connect_url(mcpctl_parser_t *ps, mcpctl_level_t *level);
static int mcpctl_connect_default_url(mcpctl_parser_t *ps,
    mcpctl_level_t *level);
static int64_t mcpctl_connect_ssl_port(mcpctl_parser_t *ps,
    const mcpctl_level_t *server);
static unsigned mcpctl_connect_ssl(mcpctl_parser_t *ps,
    const mcp_str_t *address);
static int mcpctl_connect_name(const mcp_str_t *name);
static int mcpctl_connect_credential(mcpctl_parser_t *ps,
    mcpctl_credential_t *cr);
static int mcpctl_connect_servers(mcpctl_parser_t *ps,
    const mcpctl_credential_t *cr, const mcpctl_connect_t *cn);


/* client_id, client_secret, auth_method, login_scope, authorization_endpoint
 * and token_endpoint of an mcp_issuer */
int
mcpctl_conf_issuer_login(mcpctl_parser_t *ps)
{
    mcp_str_t        *name, *value, *text;
    const char       *error;
    mcpctl_issuer_t  *is;

    is = ps->issuer;
    name = mcpctl_word(ps, 0);
    value = mcpctl_word(ps, 1);

    if (mcpctl_is(name, "auth_method")) {

        if (is->login_auth) {
            return mcpctl_parse_duplicate(ps);
        }

        is->login_auth = 1;

        return mcpctl_is(value, "client_secret_basic")
               || mcpctl_is(value, "client_secret_post")
               ? MCP_OK
               : mcpctl_read_error(&ps->rd, "unknown auth_method \"%s\"",
                                   value->data);
    }

    text = mcpctl_is(name, "login_scope") ? &is->login_scope
           : mcpctl_is(name, "client_id") ? &is->client_id
           : mcpctl_is(name, "client_secret") ? &is->client_secret
           : mcpctl_is(name, "token_endpoint") ? &is->token_endpoint
           : &is->authorization_endpoint;

    if (text->len) {
        return mcpctl_parse_duplicate(ps);
    }

    if (text == &is->login_scope) {

        if (mcpctl_parse_scopes(ps, text) != MCP_OK) {
            return MCP_ERROR;
        }

        if (mcpctl_connect_openid(text)) {
            return MCP_OK;
        }

        return mcpctl_read_error(&ps->rd, "\"login_scope\" has no \"openid\"");
    }

    if (value->len == 0) {
        return mcpctl_read_error(&ps->rd, "\"%s\" directive has an empty "
                                 "value", name->data);
    }

    *text = *value;

    if (text == &is->client_id || text == &is->client_secret) {
        return mcpctl_parse_secret(ps, value->data, value->len);
    }

    error = mcpctl_url(value, NULL);

    if (error == NULL && text == &is->authorization_endpoint) {
        error = mcp_connect_endpoint(value);
    }

    if (error) {
        return mcpctl_read_error(&ps->rd, "invalid URL \"%s\": %s",
                                 value->data, error);
    }

    return MCP_OK;
}


static int
mcpctl_connect_openid(const mcp_str_t *scope)
{
    size_t      i, n;
    mcp_str_t   word;

    for (i = 0; i < scope->len; i += n + 1) {

        for (n = 0; i + n < scope->len && scope->data[i + n] != ' '; n++) {
            /* void */
        }

        word.data = scope->data + i;
        word.len = n;

        if (mcpctl_is(&word, "openid")) {
            return 1;
        }
    }

    return 0;
}


/* listen ADDRESS[:PORT] | PORT | unix:PATH [ssl] ... */
int
mcpctl_conf_listen(mcpctl_parser_t *ps)
{
    size_t            n;
    unsigned          i;
    mcp_str_t        *value, port;
    const char       *address;
    mcpctl_listen_t  *ls;

    ls = mcpctl_alloc(ps->ctl, sizeof(mcpctl_listen_t));
    value = mcpctl_word(ps, 1);

    for (n = value->len; n && value->data[n - 1] != ':'
                         && value->data[n - 1] != ']'; n--)
    {
        /* void */
    }

    port.data = value->data + n;
    port.len = value->len - n;

    ls->port = mcpctl_number(&port);
    address = (char *) value->data;

    if (value->len > 5 && memcmp(value->data, "unix:", 5) == 0) {
        ls->port = 0;

    } else if (ls->port == -1) {
        ls->port = 80;
        address = mcpctl_format(ps->ctl, "%s:80", address);

    } else if (n == 0) {
        address = mcpctl_format(ps->ctl, "*:%s", address);

    } else if (n == 8 && memcmp(address, "0.0.0.0:", 8) == 0) {
        address = mcpctl_format(ps->ctl, "*:%s", address + 8);
    }

    ls->address = mcpctl_cstr(address);

    for (i = 2; i < ps->rd.nwords; i++) {
        if (mcpctl_is(mcpctl_word(ps, i), "ssl")) {
            ls->ssl = 1;
        }
    }

    mcpctl_push(ps->ctl, &ps->level->listens, ls);

    return MCP_OK;
}


int
mcpctl_conf_server_name(mcpctl_parser_t *ps)
{
    if (ps->level->server_name.data == NULL) {
        ps->level->server_name = *mcpctl_word(ps, 1);
    }

    return MCP_OK;
}


/* location [= | ~ | ~* | ^~] NAME: which may stand at NAME as well */
void
mcpctl_conf_location(mcpctl_parser_t *ps, mcpctl_level_t *level)
{
    mcp_str_t  *name;

    name = mcpctl_word(ps, ps->rd.nwords - 1);

    if (ps->rd.nwords == 3 && !mcpctl_is(mcpctl_word(ps, 1), "^~")) {
        return;
    }

    level->location = *name;

    if (ps->rd.nwords == 2 && name->len > 1
        && memcmp(name->data, "^~", 2) == 0)
    {
        level->location.data += 2;
        level->location.len -= 2;
    }

    if (level->location.len == 0 || level->location.data[0] != '/') {
        mcp_str_null(&level->location);
    }
}


int
mcpctl_conf_connect(mcpctl_parser_t *ps)
{
    mcp_str_t         *path;
    mcpctl_level_t    *level;
    mcpctl_connect_t  *cn;

    level = ps->level;
    path = &level->location;

    if (level->connect) {
        return mcpctl_parse_duplicate(ps);
    }

    if (level->handler) {
        return mcpctl_read_error(&ps->rd, "\"mcp_connect\" directive cannot "
                                 "share its location with another handler");
    }

    if (path->len == 0 || path->len > MCPCTL_CONNECT_PATH
        || path->data[path->len - 1] != '/'
        || (path->len > 1 && path->data[1] == '/'))
    {
        return mcpctl_read_error(&ps->rd, "\"mcp_connect\" directive stands "
                                 "in a prefix location that ends in \"/\"");
    }

    cn = mcpctl_alloc(ps->ctl, sizeof(mcpctl_connect_t));

    cn->path = *path;
    cn->place = mcpctl_read_place(&ps->rd);

    if (mcpctl_connect_parameters(ps, cn) != MCP_OK) {
        return MCP_ERROR;
    }

    mcpctl_push(ps->ctl, &ps->conf->connects, cn);

    level->connect = cn;
    level->handler = 1;

    return MCP_OK;
}


static int
mcpctl_connect_parameters(mcpctl_parser_t *ps, mcpctl_connect_t *cn)
{
    size_t      len;
    unsigned    i;
    mcp_str_t  *value, *text;

    for (i = 1; i < ps->rd.nwords; i++) {
        value = mcpctl_word(ps, i);
        text = NULL;
        len = 0;

        if (strncmp((char *) value->data, "login=", 6) == 0) {
            text = &cn->login;
            len = 6;

        } else if (strncmp((char *) value->data, "url=", 4) == 0) {
            text = &cn->url;
            len = 4;
        }

        if (text == NULL || text->len || value->len == len) {
            return mcpctl_read_error(&ps->rd, "invalid parameter \"%s\"",
                                     value->data);
        }

        text->data = value->data + len;
        text->len = value->len - len;
    }

    if (cn->login.len == 0) {
        return mcpctl_read_error(&ps->rd, "\"mcp_connect\" directive needs "
                                 "\"login=ISSUER\"");
    }

    return MCP_OK;
}


/* When http {} is complete. */
int
mcpctl_finish_connect(mcpctl_parser_t *ps)
{
    unsigned              i;
    mcpctl_level_t       *level;
    mcpctl_credential_t  *cr;

    for (i = 0; i < ps->levels.n; i++) {
        level = ps->levels.elts[i];

        if (level->connect
            && (mcpctl_connect_needs(ps, level->connect) != MCP_OK
                || mcpctl_connect_issuer(ps, level->connect) != MCP_OK
                || mcpctl_connect_url(ps, level) != MCP_OK))
        {
            return MCP_ERROR;
        }
    }

    for (i = 0; ps->conf->connects.n && i < ps->conf->credentials.n; i++) {
        cr = ps->conf->credentials.elts[i];

        if (cr->type == MCPCTL_CREDENTIAL_USER
            && mcpctl_connect_credential(ps, cr) != MCP_OK)
        {
            return MCP_ERROR;
        }
    }

    return MCP_OK;
}


static int
mcpctl_connect_needs(mcpctl_parser_t *ps, mcpctl_connect_t *cn)
{
    const char  *what;

    what = ps->conf->redis == NULL ? "\"mcp_redis\", where grants rest"
           : ps->conf->vault_keys.len == 0 ? "\"mcp_vault_keys\", under which "
                                             "grants rest"
           : ps->session_key == 0 ? "\"mcp_session_key\", which seals "
                                    "sessions of browsers"
           : NULL;

    if (what) {
        return mcpctl_place_error(ps->ctl, &cn->place, "mcp_connect needs %s",
                                  what);
    }

    return MCP_OK;
}


static int
mcpctl_connect_issuer(mcpctl_parser_t *ps, mcpctl_connect_t *cn)
{
    unsigned          i;
    mcpctl_issuer_t  *is;

    for (i = 0; i < ps->conf->issuers.n; i++) {
        is = ps->conf->issuers.elts[i];

        if (!mcp_str_eq(&is->name, &cn->login)) {
            continue;
        }

        cn->issuer = is;

        if (is->client_id.len == 0 || is->client_secret.len == 0) {
            return mcpctl_place_error(ps->ctl, &cn->place, "persons cannot "
                                      "sign in: mcp_issuer \"%s\" has no "
                                      "\"client_id\" and \"client_secret\"",
                                      is->name.data);
        }

        return mcpctl_connect_login(ps, is);
    }

    return mcpctl_place_error(ps->ctl, &cn->place, "unknown mcp_issuer "
                              "\"%s\"", cn->login.data);
}


static int
mcpctl_connect_login(mcpctl_parser_t *ps, mcpctl_issuer_t *is)
{
    const char  *error;

    if (is->authorization_endpoint.len && is->token_endpoint.len) {
        return MCP_OK;
    }

    error = mcpctl_issuer_places(ps, is);

    if (error == NULL) {
        return MCP_OK;
    }

    return mcpctl_place_error(ps->ctl, &is->place, "mcp_issuer \"%s\": "
                              "\"authorization_endpoint\" and "
                              "\"token_endpoint\" are not both there, and "
                              "cannot be discovered from issuer \"%s\": %s",
                              is->name.data, is->jwt.issuer.data, error);
}


static int
mcpctl_connect_url(mcpctl_parser_t *ps, mcpctl_level_t *level)
{
    size_t             at;
    unsigned           i;
    mcp_str_t          path;
    const char        *error;
    mcpctl_connect_t  *cn, *other;

    cn = level->connect;

    if (cn->url.len == 0 && mcpctl_connect_default_url(ps, level) != MCP_OK) {
        return MCP_ERROR;
    }

    error = mcpctl_url(&cn->url, &at);

    if (error == NULL) {
        error = mcp_connect_own(&cn->url);
    }

    if (error) {
        return mcpctl_place_error(ps->ctl, &cn->place, "invalid URL \"%s\": "
                                  "%s", cn->url.data, error);
    }

    path.data = cn->url.data + at;
    path.len = cn->url.len - at;

    if (!mcp_str_eq(&path, &cn->path)) {
        return mcpctl_place_error(ps->ctl, &cn->place, "the path of \"%s\" is "
                                  "not that of the location, \"%s\"",
                                  cn->url.data, cn->path.data);
    }

    if (memchr(path.data, '%', path.len)) {
        return mcpctl_place_error(ps->ctl, &cn->place, "the path of \"%s\" "
                                  "has %%XX", cn->url.data);
    }

    for (i = 0; i < ps->conf->connects.n; i++) {
        other = ps->conf->connects.elts[i];

        if (other == cn) {
            break;
        }

        if (mcp_str_eq(&other->url, &cn->url)) {
            return mcpctl_place_error(ps->ctl, &cn->place, "there is another "
                                      "mcp_connect with the URL \"%s\"",
                                      cn->url.data);
        }
    }

    return MCP_OK;
}


static int
mcpctl_connect_default_url(mcpctl_parser_t *ps, mcpctl_level_t *level)
{
    size_t              i;
    char               *name;
    int64_t             port;
    mcpctl_level_t     *server;
    mcpctl_connect_t   *cn;

    cn = level->connect;

    for (server = level; server->up && server->up->up; server = server->up) {
        /* void: below http is the server */
    }

    port = mcpctl_connect_ssl_port(ps, server);

    if (port == 0) {
        return mcpctl_place_error(ps->ctl, &cn->place, "mcp_connect needs "
                                  "TLS: a \"listen ... ssl\" in its server, "
                                  "or \"url=https://...\"");
    }

    if (!mcpctl_connect_name(&server->server_name)) {
        return mcpctl_place_error(ps->ctl, &cn->place, "mcp_connect needs to "
                                  "know its name: as the first one in "
                                  "\"server_name\", or \"url=https://...\"");
    }

    name = mcpctl_format(ps->ctl, "%s", server->server_name.data);

    for (i = 0; name[i]; i++) {
        if (name[i] >= 'A' && name[i] <= 'Z') {
            name[i] |= 0x20;
        }
    }

    cn->url = mcpctl_cstr(port == 443
                          ? mcpctl_format(ps->ctl, "https://%s%s", name,
                                          cn->path.data)
                          : mcpctl_format(ps->ctl, "https://%s:%d%s", name,
                                          (int) port, cn->path.data));

    return MCP_OK;
}


/* 443 when the server has TLS there, else the lowest; 0: none. */
static int64_t
mcpctl_connect_ssl_port(mcpctl_parser_t *ps, const mcpctl_level_t *server)
{
    int64_t           port;
    unsigned          i;
    mcpctl_listen_t  *ls;

    port = 0;

    for (i = 0; i < server->listens.n; i++) {
        ls = server->listens.elts[i];

        if (ls->port == 0 || !mcpctl_connect_ssl(ps, &ls->address)) {
            continue;
        }

        if (port == 0 || ls->port == 443 || (port != 443 && ls->port < port)) {
            port = ls->port;
        }
    }

    return port;
}


/* What one server says of an address holds for all that listen there. */
static unsigned
mcpctl_connect_ssl(mcpctl_parser_t *ps, const mcp_str_t *address)
{
    unsigned          i, j;
    mcpctl_level_t   *level;
    mcpctl_listen_t  *ls;

    for (i = 0; i < ps->levels.n; i++) {
        level = ps->levels.elts[i];

        for (j = 0; j < level->listens.n; j++) {
            ls = level->listens.elts[j];

            if (ls->ssl && mcp_str_eq(&ls->address, address)) {
                return 1;
            }
        }
    }

    return 0;
}


static int
mcpctl_connect_name(const mcp_str_t *name)
{
    size_t         i;
    unsigned char  c;

    if (mcpctl_is(name, "$hostname")) {
        return 1;
    }

    for (i = 0; i < name->len; i++) {
        c = name->data[i] | 0x20;

        if (!((c >= 'a' && c <= 'z')
              || (name->data[i] >= '0' && name->data[i] <= '9')
              || name->data[i] == '-' || (name->data[i] == '.' && i)))
        {
            return 0;
        }
    }

    return i ? 1 : 0;
}


static int
mcpctl_connect_credential(mcpctl_parser_t *ps, mcpctl_credential_t *cr)
{
    unsigned           i;
    const char        *error;
    mcpctl_connect_t  *cn, *one;

    error = NULL;
    cn = NULL;

    if (cr->connect_url.len == 0) {
        cn = ps->conf->connects.elts[0];

        if (ps->conf->connects.n > 1) {
            error = "needs a \"connect_url\": there is more than one "
                    "mcp_connect";
        }

    } else {
        for (i = 0; i < ps->conf->connects.n; i++) {
            one = ps->conf->connects.elts[i];

            if (mcp_str_eq(&one->url, &cr->connect_url)) {
                cn = one;
            }
        }

        if (cn == NULL) {
            return MCP_OK;
        }
    }

    if (error == NULL && cr->provider.authorize_endpoint.len == 0) {
        error = "needs an \"authorize_endpoint\", where accounts are "
                "connected";
    }

    if (error) {
        return mcpctl_place_error(ps->ctl, &cr->place, "mcp_credential \"%s\" "
                                  "%s", cr->name.data, error);
    }

    return mcpctl_connect_servers(ps, cr, cn);
}


static int
mcpctl_connect_servers(mcpctl_parser_t *ps, const mcpctl_credential_t *cr,
    const mcpctl_connect_t *cn)
{
    unsigned                    i, j, k;
    mcpctl_server_t            *sv;
    mcpctl_shown_credential_t  *sc;

    for (i = 0; i < ps->conf->servers.n; i++) {
        sv = ps->conf->servers.elts[i];

        for (j = 0; j < sv->credentials.n; j++) {
            sc = sv->credentials.elts[j];

            if (!mcp_str_eq(&sc->name, &cr->name)) {
                continue;
            }

            for (k = 0; k < sv->issuers.n; k++) {
                if (sv->issuers.elts[k] == cn->issuer) {
                    break;
                }
            }

            if (k == sv->issuers.n) {
                return mcpctl_place_error(ps->ctl, &sv->place, "mcp_server "
                           "\"%s\": mcp_credential \"%s\" is connected by "
                           "persons of mcp_issuer \"%s\", which is none of "
                           "its issuers", sv->name.data, cr->name.data,
                           cn->login.data);
            }
        }
    }

    return MCP_OK;
}
