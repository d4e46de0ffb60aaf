/*
 * mcp_issuer NAME { ... }: the same lines, limits and defaults as in the
 * module's ngx_mcp_conf_issuer.c and ngx_mcp_keys_conf.c.
 */

#include "mcpctl_parse.h"

#include <openssl/err.h>
#include <openssl/x509_vfy.h>


static int mcpctl_issuer_text(mcpctl_parser_t *ps, mcp_str_t *text);
static int mcpctl_issuer_list(mcpctl_parser_t *ps, mcp_str_t **list,
    unsigned *n);
static int mcpctl_issuer_number(mcpctl_parser_t *ps);
static int mcpctl_issuer_algorithms(mcpctl_parser_t *ps);
static int mcpctl_issuer_role(mcpctl_parser_t *ps);
static void mcpctl_issuer_defaults(mcpctl_issuer_t *is);
static void mcpctl_issuer_map(mcpctl_parser_t *ps, mcpctl_issuer_t *is);
static int mcpctl_issuer_discovery(mcpctl_parser_t *ps, mcpctl_issuer_t *is);
static int mcpctl_issuer_trusted(mcpctl_parser_t *ps, mcpctl_issuer_t *is);


int
mcpctl_conf_issuer(mcpctl_parser_t *ps)
{
    int               rc;
    unsigned          i;
    mcp_str_t        *name;
    mcpctl_issuer_t  *is;

    name = mcpctl_word(ps, 1);

    if (mcpctl_parse_name(ps, name) != MCP_OK) {
        return MCP_ERROR;
    }

    for (i = 0; i < ps->conf->issuers.n; i++) {
        is = ps->conf->issuers.elts[i];

        if (mcp_str_eq(&is->name, name)) {
            return mcpctl_read_error(&ps->rd, "duplicate mcp_issuer \"%s\"",
                                     name->data);
        }
    }

    is = mcpctl_alloc(ps->ctl, sizeof(mcpctl_issuer_t));

    is->name = *name;
    is->place = mcpctl_read_place(&ps->rd);
    is->jwt.index = ps->conf->issuers.n;
    is->jwt.leeway = -1;
    is->jwks_stale = -1;
    is->jwks_refresh = -1;
    is->jwks_timeout = -1;
    is->max_key_set = -1;

    mcpctl_push(ps->ctl, &ps->conf->issuers, is);

    ps->issuer = is;
    rc = mcpctl_parse_block(ps, MCPCTL_ISSUER);
    ps->issuer = NULL;

    if (rc != MCP_OK) {
        return rc;
    }

    if (is->jwt.issuer.len == 0) {
        return mcpctl_read_error(&ps->rd, "mcp_issuer \"%s\" has no "
                                 "\"issuer\"", is->name.data);
    }

    if (is->jwks_uri.len && is->jwks_file.len) {
        return mcpctl_read_error(&ps->rd, "mcp_issuer \"%s\" has both "
                                 "\"jwks_uri\" and \"jwks_file\"",
                                 is->name.data);
    }

    return MCP_OK;
}


int
mcpctl_conf_issuer_line(mcpctl_parser_t *ps)
{
    char             *at;
    size_t            i;
    mcp_str_t        *name, *value;

    static const struct {
        const char  *name;
        size_t       value;
        size_t       n;                 /* 0: the value is one text */
    } lines[] = {

#define mcpctl_text(name, member)                                             \
        { name, offsetof(mcpctl_issuer_t, member), 0 }
#define mcpctl_list(name, member, n)                                          \
        { name, offsetof(mcpctl_issuer_t, member),                            \
          offsetof(mcpctl_issuer_t, n) }

        mcpctl_text("issuer", jwt.issuer),
        mcpctl_text("jwks_uri", jwks_uri),
        mcpctl_text("jwks_file", jwks_file),
        mcpctl_text("ssl_trusted_certificate", trusted_certificate),
        mcpctl_text("roles_claim", jwt.roles_claim),
        mcpctl_list("audience", audiences, naudiences),
        mcpctl_list("user_claim", jwt.user_claims, jwt.nuser_claims),
        mcpctl_list("client_claim", jwt.client_claims, jwt.nclient_claims),
        mcpctl_list("scope_claim", jwt.scope_claims, jwt.nscope_claims)
    };

    at = (char *) ps->issuer;
    name = mcpctl_word(ps, 0);
    value = mcpctl_word(ps, 1);

    for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {

        if (strcmp((char *) name->data, lines[i].name) != 0) {
            continue;
        }

        if (lines[i].n == 0) {
            return mcpctl_issuer_text(ps, (mcp_str_t *) (at + lines[i].value));
        }

        return mcpctl_issuer_list(ps, (mcp_str_t **) (at + lines[i].value),
                                  (unsigned *) (at + lines[i].n));
    }

    if (mcpctl_is(name, "role")) {
        return mcpctl_issuer_role(ps);
    }

    if (mcpctl_is(name, "algorithms")) {
        return mcpctl_issuer_algorithms(ps);
    }

    if (!mcpctl_is(name, "token_type")) {
        return mcpctl_issuer_number(ps);
    }

    if (mcpctl_is(value, "at+jwt")) {
        ps->issuer->jwt.at_jwt = 1;

    } else if (!mcpctl_is(value, "any")) {
        return mcpctl_read_error(&ps->rd, "\"token_type\" is \"any\" or "
                                 "\"at+jwt\", not \"%s\"", value->data);
    }

    return MCP_OK;
}


static int
mcpctl_issuer_text(mcpctl_parser_t *ps, mcp_str_t *text)
{
    if (text->len) {
        return mcpctl_parse_duplicate(ps);
    }

    if (mcpctl_word(ps, 1)->len == 0) {
        return mcpctl_read_error(&ps->rd, "\"%s\" directive has an empty "
                                 "value", mcpctl_word(ps, 0)->data);
    }

    *text = *mcpctl_word(ps, 1);

    return MCP_OK;
}


static int
mcpctl_issuer_list(mcpctl_parser_t *ps, mcp_str_t **list, unsigned *n)
{
    if (*n) {
        return mcpctl_parse_duplicate(ps);
    }

    *list = mcpctl_parse_words(ps, 1, n);

    return MCP_OK;
}


static int
mcpctl_issuer_number(mcpctl_parser_t *ps)
{
    size_t            i;
    int64_t           n;
    mcp_str_t        *name, *value;
    mcpctl_issuer_t  *is;

    static const struct {
        const char  *name;
        unsigned     kind;              /* 0 number, 1 size, 2 s, 3 ms */
        int64_t      min;
        int64_t      max;
    } lines[] = {
        { "max_key_set", 1, 128, INT64_MAX },
        { "max_keys", 0, 1, 65536 },
        { "max_groups", 0, 1, 65536 },
        { "jwks_timeout", 3, 1, 60000 },
        { "leeway", 2, 0, 300 },
        { "jwks_stale", 2, 0, 30 * 86400 },
        { "jwks_refresh", 2, 1, 86400 }
    };

    is = ps->issuer;
    name = mcpctl_word(ps, 0);
    value = mcpctl_word(ps, 1);

    for (i = 0; strcmp((char *) name->data, lines[i].name) != 0; i++) {
        /* void */
    }

    n = lines[i].kind == 0 ? mcpctl_number(value)
        : lines[i].kind == 1 ? mcpctl_size(value)
        : mcpctl_time(value, lines[i].kind == 2);

    if (n < lines[i].min || n > lines[i].max) {
        return mcpctl_read_error(&ps->rd, "invalid value \"%s\" of \"%s\"",
                                 value->data, name->data);
    }

    switch (i) {

    case 0:
        is->max_key_set = n;
        break;

    case 1:
        is->max_keys = n;
        break;

    case 2:
        is->jwt.max_groups = (unsigned) n;
        break;

    case 3:
        is->jwks_timeout = n;
        break;

    case 4:
        is->jwt.leeway = (int) n;
        break;

    case 5:
        is->jwks_stale = n;
        break;

    default:
        is->jwks_refresh = n;
        break;
    }

    return MCP_OK;
}


static int
mcpctl_issuer_algorithms(mcpctl_parser_t *ps)
{
    unsigned  i, alg;

    for (i = 1; i < ps->rd.nwords; i++) {
        alg = mcp_alg(mcpctl_word(ps, i));

        if (alg == MCP_ALG_NONE) {
            return mcpctl_read_error(&ps->rd, "unsupported algorithm \"%s\": "
                       "RS, PS or ES with 256, 384 or 512, or EdDSA",
                       mcpctl_word(ps, i)->data);
        }

        ps->issuer->jwt.algs |= alg;
    }

    return MCP_OK;
}


/* role NAME VALUE...: bearers of any of these values hold it */
static int
mcpctl_issuer_role(mcpctl_parser_t *ps)
{
    unsigned           i, n, number;
    mcp_str_t         *name;
    mcp_role_map_t    *map;
    mcp_jwt_issuer_t  *jwt;

    jwt = &ps->issuer->jwt;
    name = mcpctl_word(ps, 1);

    if (mcpctl_is(name, "*")) {
        return mcpctl_read_error(&ps->rd, "role \"*\" is held by every "
                                 "caller");
    }

    if (mcpctl_parse_name(ps, name) != MCP_OK
        || mcpctl_parse_role(ps, name, &number) != MCP_OK)
    {
        return MCP_ERROR;
    }

    n = jwt->nrole_map;
    map = mcpctl_alloc(ps->ctl,
                       (n + ps->rd.nwords) * sizeof(mcp_role_map_t));

    for (i = 0; i < n; i++) {
        map[i] = jwt->role_map[i];

        if (map[i].role == number) {
            return mcpctl_read_error(&ps->rd, "duplicate role \"%s\"",
                                     name->data);
        }
    }

    for (i = 2; i < ps->rd.nwords; i++) {
        map[n].role = number;
        map[n++].value = *mcpctl_word(ps, i);
    }

    jwt->role_map = map;
    jwt->nrole_map = n;

    return MCP_OK;
}


/* When http {} is complete. */
int
mcpctl_finish_issuer(mcpctl_parser_t *ps, mcpctl_issuer_t *is)
{
    const char     *error;
    mcp_jwk_set_t  *set;

    mcpctl_issuer_defaults(is);

    if (is->jwt.nrole_map == 0) {
        mcpctl_issuer_map(ps, is);
    }

    if (is->jwks_file.len) {
        is->jwks_file = mcpctl_full_name(ps->ctl, &ps->conf->dir,
                                         &is->jwks_file);

        if (!ps->files) {
            return MCP_OK;
        }

        set = mcpctl_conf_keys(ps->ctl, is);

        if (set == NULL) {
            return MCP_ERROR;
        }

        mcp_jwk_set_free(set);

        return MCP_OK;
    }

    if (is->jwks_uri.len) {
        error = mcpctl_url(&is->jwks_uri, NULL);

        if (error) {
            return mcpctl_place_error(ps->ctl, &is->place, "mcp_issuer "
                                      "\"%s\": invalid jwks_uri \"%s\": %s",
                                      is->name.data, is->jwks_uri.data,
                                      error);
        }

    } else if (mcpctl_issuer_discovery(ps, is) != MCP_OK) {
        return MCP_ERROR;
    }

    return mcpctl_issuer_trusted(ps, is);
}


static void
mcpctl_issuer_defaults(mcpctl_issuer_t *is)
{
    mcp_jwt_issuer_t  *jwt;

    static mcp_str_t  user[] = { mcp_string("uid"), mcp_string("sub") };
    static mcp_str_t  client[] = { mcp_string("cid"),
                                   mcp_string("client_id"),
                                   mcp_string("azp") };
    static mcp_str_t  scope[] = { mcp_string("scp"), mcp_string("scope") };

    jwt = &is->jwt;

    if (jwt->algs == 0) {
        jwt->algs = MCP_ALG_RS256|MCP_ALG_ES256;
    }

    if (jwt->nuser_claims == 0) {
        jwt->user_claims = user;
        jwt->nuser_claims = 2;
    }

    if (jwt->nclient_claims == 0) {
        jwt->client_claims = client;
        jwt->nclient_claims = 3;
    }

    if (jwt->nscope_claims == 0) {
        jwt->scope_claims = scope;
        jwt->nscope_claims = 2;
    }

    if (jwt->roles_claim.len == 0) {
        mcp_str_set(&jwt->roles_claim, "groups");
    }

    if (jwt->leeway == -1) {
        jwt->leeway = 30;
    }

    if (jwt->max_groups == 0) {
        jwt->max_groups = 1024;
    }

    if (is->max_keys == 0) {
        is->max_keys = 64;
    }

    if (is->login_scope.len == 0) {
        mcp_str_set(&is->login_scope, "openid profile");
    }

    if (is->jwks_stale == -1) {
        is->jwks_stale = 86400;
    }

    if (is->jwks_refresh == -1) {
        is->jwks_refresh = 86400;
    }

    if (is->jwks_timeout == -1) {
        is->jwks_timeout = 5000;
    }

    if (is->max_key_set == -1) {
        is->max_key_set = 256 * 1024;
    }
}


/* Without any `role` line a role is held by bearers of its own name. */
static void
mcpctl_issuer_map(mcpctl_parser_t *ps, mcpctl_issuer_t *is)
{
    unsigned         i;
    mcp_role_map_t  *map;

    map = mcpctl_alloc(ps->ctl, ps->conf->nroles * sizeof(mcp_role_map_t));

    for (i = 1; i < ps->conf->nroles; i++) {
        map[i - 1].role = i;
        map[i - 1].value = ps->conf->roles[i];
    }

    is->jwt.role_map = map;
    is->jwt.nrole_map = ps->conf->nroles - 1;
}


/* Neither jwks_uri nor jwks_file. */
static int
mcpctl_issuer_discovery(mcpctl_parser_t *ps, mcpctl_issuer_t *is)
{
    const char  *error;

    error = mcpctl_issuer_places(ps, is);

    if (error == NULL) {
        return MCP_OK;
    }

    return mcpctl_place_error(ps->ctl, &is->place, "mcp_issuer \"%s\": there "
                              "is no jwks_uri, and keys cannot be discovered "
                              "from issuer \"%s\": %s", is->name.data,
                              is->jwt.issuer.data, error);
}


/* The issuer must be a URL, and so must be the two places where its document
 * may be; NULL: they are. */
const char *
mcpctl_issuer_places(mcpctl_parser_t *ps, const mcpctl_issuer_t *is)
{
    size_t       path;
    mcp_str_t    iss, url;
    const char  *error;

    iss = is->jwt.issuer;
    error = mcpctl_url(&iss, &path);

    if (error == NULL && memchr(iss.data, '?', iss.len)) {
        error = "it has a query";
    }

    if (error == NULL) {
        if (iss.data[iss.len - 1] == '/') {
            iss.len--;
        }

        url = mcpctl_cstr(mcpctl_format(ps->ctl, "%.*s%s", (int) iss.len,
                                        (char *) iss.data,
                                        "/.well-known/openid-configuration"));
        error = mcpctl_url(&url, NULL);
    }

    if (error == NULL) {
        url = mcpctl_cstr(mcpctl_format(ps->ctl, "%.*s%s",
                                (int) iss.len, (char *) iss.data,
                                "/.well-known/oauth-authorization-server"));
        error = mcpctl_url(&url, NULL);
    }

    return error;
}


/* Only where keys are fetched. */
static int
mcpctl_issuer_trusted(mcpctl_parser_t *ps, mcpctl_issuer_t *is)
{
    if (is->trusted_certificate.len == 0) {
        return MCP_OK;
    }

    is->trusted_certificate = mcpctl_full_name(ps->ctl, &ps->conf->dir,
                                               &is->trusted_certificate);

    if (!ps->files || mcpctl_conf_trusted(&is->trusted_certificate)) {
        return MCP_OK;
    }

    return mcpctl_place_error(ps->ctl, &is->place, "mcp_issuer \"%s\": cannot "
                              "use trusted certificates in \"%s\"",
                              is->name.data, is->trusted_certificate.data);
}


/* 1: the file has certificates. */
int
mcpctl_conf_trusted(const mcp_str_t *path)
{
    int          ok;
    X509_STORE  *store;

    store = X509_STORE_new();
    ok = store && X509_STORE_load_locations(store, (char *) path->data, NULL);

    X509_STORE_free(store);
    ERR_clear_error();

    return ok;
}


mcp_jwk_set_t *
mcpctl_conf_keys(mcpctl_t *ctl, const mcpctl_issuer_t *is)
{
    int             err;
    mcp_str_t       text;
    const char     *why;
    mcp_jwk_set_t  *set;

    set = NULL;

    if (mcpctl_read_file(ctl, (char *) is->jwks_file.data,
                         (size_t) is->max_key_set, &text, &why, &err)
        == MCP_OK)
    {
        why = "out of memory";
        set = mcp_jwk_set_parse(text.data, text.len, (unsigned) is->max_keys,
                                &why);
    }

    if (set == NULL) {
        (void) mcpctl_place_error(ctl, &is->place, "mcp_issuer \"%s\": "
                                  "jwks_file \"%s\" cannot be used: %s",
                                  is->name.data, is->jwks_file.data, why);
    }

    return set;
}
