/*
 * mcp_credential NAME { ... } and mcp_vault_keys: as in the module's
 * ngx_mcp_conf_credential.c and ngx_mcp_vault_conf.c.
 *
 * The lines of a block are a table: which types they belong to, and who reads
 * them.  What only the whole block can show is found at its end; what needs
 * other blocks, when http {} is complete.
 */

#include "mcpctl_parse.h"
#include "mcpctl_vault.h"
#include "mcp_assertion.h"
#include "mcp_connect.h"


#define MCPCTL_FOR_STATIC    (1 << MCPCTL_CREDENTIAL_STATIC)
#define MCPCTL_FOR_CLIENT    (1 << MCPCTL_CREDENTIAL_CLIENT)
#define MCPCTL_FOR_EXCHANGE  (1 << MCPCTL_CREDENTIAL_EXCHANGE)
#define MCPCTL_FOR_USER      (1 << MCPCTL_CREDENTIAL_USER)
#define MCPCTL_FOR_FETCHED   (MCPCTL_FOR_CLIENT|MCPCTL_FOR_EXCHANGE           \
                              |MCPCTL_FOR_USER)
#define MCPCTL_FOR_ALL       (MCPCTL_FOR_STATIC|MCPCTL_FOR_FETCHED)

#define MCPCTL_HEADERS       8          /* of one credential, at most */
#define MCPCTL_TOKEN_MARK    "${token}"
#define MCPCTL_YEAR          (366 * 86400)


typedef struct {
    const char          *name;
    unsigned             types;
    int                (*read)(mcpctl_parser_t *ps, void *to);
    size_t               offset;        /* in mcpctl_credential_t */
    unsigned             more;          /* than once */
} mcpctl_credential_line_t;


static int mcpctl_credential_type(mcpctl_parser_t *ps, void *to);
static int mcpctl_credential_header(mcpctl_parser_t *ps, void *to);
static int mcpctl_credential_value(mcpctl_parser_t *ps, void *to);
static int mcpctl_credential_provider(mcpctl_parser_t *ps, void *to);
static int mcpctl_credential_auth(mcpctl_parser_t *ps, void *to);
static int mcpctl_credential_text(mcpctl_parser_t *ps, void *to);
static int mcpctl_credential_secret(mcpctl_parser_t *ps, void *to);
static int mcpctl_credential_url(mcpctl_parser_t *ps, void *to);
static int mcpctl_credential_time(mcpctl_parser_t *ps, void *to);
static int mcpctl_credential_rotation(mcpctl_parser_t *ps, void *to);

static int mcpctl_credential_name(mcpctl_parser_t *ps, const mcp_str_t *name);
static int mcpctl_credential_add(mcpctl_parser_t *ps, const mcp_str_t *name,
    const mcp_str_t *value);
static int mcpctl_credential_push(mcpctl_parser_t *ps,
    const mcp_str_t *name);
static int mcpctl_credential_complete(mcpctl_parser_t *ps,
    mcpctl_credential_t *cr);
static int mcpctl_credential_headers(mcpctl_parser_t *ps,
    mcpctl_credential_t *cr);
static int mcpctl_credential_client(mcpctl_parser_t *ps,
    mcpctl_credential_t *cr);
static int mcpctl_credential_key(mcpctl_parser_t *ps,
    const mcpctl_credential_t *cr);
static int mcpctl_finish_one(mcpctl_parser_t *ps, mcpctl_credential_t *cr);


#define mcpctl_of(member)  offsetof(mcpctl_credential_t, member)


static const mcpctl_credential_line_t  mcpctl_credential_lines[] = {

    { "type", MCPCTL_FOR_ALL, mcpctl_credential_type, 0, 0 },
    { "header", MCPCTL_FOR_ALL, mcpctl_credential_header, 0, 1 },
    { "value", MCPCTL_FOR_STATIC, mcpctl_credential_value, 0, 0 },

    { "provider", MCPCTL_FOR_FETCHED, mcpctl_credential_provider, 0, 0 },
    { "token_endpoint", MCPCTL_FOR_FETCHED, mcpctl_credential_url,
      mcpctl_of(provider.token_endpoint), 0 },
    { "authorize_endpoint", MCPCTL_FOR_USER, mcpctl_credential_url,
      mcpctl_of(provider.authorize_endpoint), 0 },
    { "revoke_endpoint", MCPCTL_FOR_USER, mcpctl_credential_url,
      mcpctl_of(provider.revoke_endpoint), 0 },
    { "auth_method", MCPCTL_FOR_FETCHED, mcpctl_credential_auth, 0, 0 },
    { "client_id", MCPCTL_FOR_FETCHED, mcpctl_credential_secret,
      mcpctl_of(client_id), 0 },
    { "client_secret", MCPCTL_FOR_FETCHED, mcpctl_credential_secret,
      mcpctl_of(client_secret), 0 },
    { "key", MCPCTL_FOR_FETCHED, mcpctl_credential_text, mcpctl_of(key), 0 },
    { "key_id", MCPCTL_FOR_FETCHED, mcpctl_credential_text,
      mcpctl_of(key_id), 0 },
    { "assertion_audience", MCPCTL_FOR_FETCHED, mcpctl_credential_text,
      mcpctl_of(assertion_audience), 0 },
    { "scope", MCPCTL_FOR_FETCHED, mcpctl_parse_scopes,
      mcpctl_of(scope), 0 },
    { "audience", MCPCTL_FOR_FETCHED, mcpctl_credential_text,
      mcpctl_of(audience), 0 },
    { "resource", MCPCTL_FOR_FETCHED, mcpctl_credential_text,
      mcpctl_of(resource), 0 },
    { "timeout", MCPCTL_FOR_FETCHED, mcpctl_credential_time,
      mcpctl_of(timeout), 0 },
    { "ssl_trusted_certificate", MCPCTL_FOR_FETCHED, mcpctl_credential_text,
      mcpctl_of(trusted_certificate), 0 },

    { "rotation", MCPCTL_FOR_USER, mcpctl_credential_rotation, 0, 0 },
    { "grace", MCPCTL_FOR_USER, mcpctl_credential_time, mcpctl_of(grace), 0 },
    { "keepalive", MCPCTL_FOR_USER, mcpctl_credential_time,
      mcpctl_of(keepalive), 0 },
    { "connect_url", MCPCTL_FOR_USER, mcpctl_credential_url,
      mcpctl_of(connect_url), 0 },
    { "fallback", MCPCTL_FOR_EXCHANGE|MCPCTL_FOR_USER,
      mcpctl_credential_text, mcpctl_of(fallback), 0 },

    { NULL, 0, NULL, 0, 0 }
};

static const char *const  mcpctl_credential_types[] = {
    "static", "client_credentials", "token_exchange", "user", NULL
};


mcpctl_credential_t *
mcpctl_conf_find_credential(const mcpctl_conf_t *conf, const mcp_str_t *name)
{
    unsigned              i;
    mcpctl_credential_t  *cr;

    for (i = 0; i < conf->credentials.n; i++) {
        cr = conf->credentials.elts[i];

        if (mcp_str_eq(&cr->name, name)) {
            return cr;
        }
    }

    return NULL;
}


const char *
mcpctl_credential_word(mcpctl_credential_e type)
{
    return mcpctl_credential_types[type];
}


int
mcpctl_conf_credential(mcpctl_parser_t *ps)
{
    int                   rc;
    mcp_str_t            *name, generic;
    mcpctl_credential_t  *cr;

    name = mcpctl_word(ps, 1);

    if (mcpctl_parse_name(ps, name) != MCP_OK) {
        return MCP_ERROR;
    }

    if (mcpctl_conf_find_credential(ps->conf, name)) {
        return mcpctl_read_error(&ps->rd, "duplicate mcp_credential \"%s\"",
                                 name->data);
    }

    generic = mcpctl_cstr("generic");
    cr = mcpctl_alloc(ps->ctl, sizeof(mcpctl_credential_t));

    cr->name = *name;
    cr->provider = *mcp_oauth_provider(&generic);
    cr->place = mcpctl_read_place(&ps->rd);
    mcpctl_push(ps->ctl, &ps->conf->credentials, cr);

    ps->credential = cr;
    rc = mcpctl_parse_block(ps, MCPCTL_CREDENTIAL);

    if (rc == MCP_OK) {
        rc = mcpctl_credential_complete(ps, cr);
    }

    ps->credential = NULL;

    return rc;
}


int
mcpctl_conf_credential_line(mcpctl_parser_t *ps)
{
    unsigned                         bit;
    mcpctl_credential_t             *cr;
    const mcpctl_credential_line_t  *line;

    cr = ps->credential;

    for (line = mcpctl_credential_lines; line->name; line++) {

        if (strcmp((char *) mcpctl_word(ps, 0)->data, line->name) != 0) {
            continue;
        }

        bit = 1u << (line - mcpctl_credential_lines);

        if ((cr->seen & bit) && !line->more) {
            return mcpctl_parse_duplicate(ps);
        }

        cr->seen |= bit;

        return line->read(ps, (char *) cr + line->offset);
    }

    return MCP_ERROR;
}


static int
mcpctl_credential_type(mcpctl_parser_t *ps, void *to)
{
    unsigned    i;
    mcp_str_t  *value;

    (void) to;

    value = mcpctl_word(ps, 1);

    for (i = 0; mcpctl_credential_types[i]; i++) {
        if (strcmp((char *) value->data, mcpctl_credential_types[i]) == 0) {
            ps->credential->type = (mcpctl_credential_e) i;
            return MCP_OK;
        }
    }

    return mcpctl_read_error(&ps->rd, "unknown credential type \"%s\"",
                             value->data);
}


/* header NAME, for `value`, or header NAME TEXT, one or more */
static int
mcpctl_credential_header(mcpctl_parser_t *ps, void *to)
{
    mcp_str_t            *value;
    mcpctl_credential_t  *cr;

    (void) to;

    cr = ps->credential;
    value = mcpctl_word(ps, 1);

    if (mcpctl_credential_name(ps, value) != MCP_OK) {
        return MCP_ERROR;
    }

    if (ps->rd.nwords == 3) {
        return mcpctl_credential_add(ps, value, mcpctl_word(ps, 2));
    }

    if (cr->header.len) {
        return mcpctl_parse_duplicate(ps);
    }

    cr->header = *value;

    return MCP_OK;
}


static int
mcpctl_credential_value(mcpctl_parser_t *ps, void *to)
{
    mcp_str_t  *value;

    (void) to;

    value = mcpctl_word(ps, 1);

    if (strstr((char *) value->data, MCPCTL_TOKEN_MARK)) {
        return mcpctl_read_error(&ps->rd, "mcp_credential \"%s\" is static "
                                 "and has no ${token}",
                                 ps->credential->name.data);
    }

    if (value->len == 0) {
        return mcpctl_read_error(&ps->rd, "the value is empty");
    }

    ps->credential->value = 1;

    return mcpctl_parse_secret(ps, value->data, value->len);
}


static int
mcpctl_credential_name(mcpctl_parser_t *ps, const mcp_str_t *name)
{
    size_t         i;
    unsigned char  c;

    static const char *const  forbidden[] = {
        "content-length", "transfer-encoding", "host", "connection",
        "content-type", "content-encoding", "expect", "upgrade", "te",
        "trailer", "mcp-method", "mcp-name", "mcp-protocol-version"
    };

    for (i = 0; i < name->len; i++) {
        c = name->data[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
              || (c >= '0' && c <= '9') || c == '-'))
        {
            break;
        }
    }

    if (i < name->len || i == 0 || i > 64) {
        return mcpctl_read_error(&ps->rd, "invalid header name \"%s\"",
                                 name->data);
    }

    for (i = 0; i < sizeof(forbidden) / sizeof(forbidden[0]); i++) {
        if (mcp_str_caseeq(name->data, name->len, forbidden[i],
                           strlen(forbidden[i])))
        {
            return mcpctl_read_error(&ps->rd, "header \"%s\" cannot carry a "
                                     "credential", name->data);
        }
    }

    return MCP_OK;
}


/* A header with its text, in which ${token} is what is fetched. */
static int
mcpctl_credential_add(mcpctl_parser_t *ps, const mcp_str_t *name,
    const mcp_str_t *value)
{
    size_t   len, before;
    char    *mark;

    if (mcpctl_credential_push(ps, name) != MCP_OK) {
        return MCP_ERROR;
    }

    len = sizeof(MCPCTL_TOKEN_MARK) - 1;
    mark = strstr((char *) value->data, MCPCTL_TOKEN_MARK);

    if (mark == NULL) {

        if (value->len == 0) {
            return mcpctl_read_error(&ps->rd, "the value is empty");
        }

        return mcpctl_parse_secret(ps, value->data, value->len);
    }

    ps->credential->token = 1;
    before = (size_t) (mark - (char *) value->data);

    if (mcpctl_parse_secret(ps, value->data, before) != MCP_OK) {
        return MCP_ERROR;
    }

    return mcpctl_parse_secret(ps, (unsigned char *) mark + len,
                                     value->len - before - len);
}


static int
mcpctl_credential_push(mcpctl_parser_t *ps, const mcp_str_t *name)
{
    unsigned              i;
    mcp_str_t            *other, *copy;
    mcpctl_credential_t  *cr;

    cr = ps->credential;

    for (i = 0; i < cr->headers.n; i++) {
        other = cr->headers.elts[i];

        if (mcp_str_caseeq(other->data, other->len, name->data, name->len)) {
            return mcpctl_read_error(&ps->rd, "header \"%s\" is there twice",
                                     name->data);
        }
    }

    if (i == MCPCTL_HEADERS) {
        return mcpctl_read_error(&ps->rd, "more than %d headers",
                                 MCPCTL_HEADERS);
    }

    copy = mcpctl_alloc(ps->ctl, sizeof(mcp_str_t));
    *copy = *name;
    mcpctl_push(ps->ctl, &cr->headers, copy);

    return MCP_OK;
}


/* What it stands for has to be there. */
int
mcpctl_parse_secret(mcpctl_parser_t *ps, const unsigned char *data,
    size_t len)
{
    mcp_str_t  text, secret;

    if (!ps->files || len == 0) {
        return MCP_OK;
    }

    text.data = (unsigned char *) data;
    text.len = len;

    if (mcpctl_secret(ps->ctl, &text, &secret) != MCPCTL_OK) {
        return mcpctl_read_error(&ps->rd, "%s \"%s\" cannot use \"%s\"",
                                 ps->credential ? "mcp_credential"
                                                : "mcp_issuer",
                                 ps->credential ? ps->credential->name.data
                                                : ps->issuer->name.data,
                                 mcpctl_word(ps, 0)->data);
    }

    mcpctl_wipe(secret.data, secret.len);

    return MCP_OK;
}


/* Sets the habits, which later lines override. */
static int
mcpctl_credential_provider(mcpctl_parser_t *ps, void *to)
{
    mcp_str_t                   *value;
    const mcp_oauth_provider_t  *p;

    (void) to;

    value = mcpctl_word(ps, 1);
    p = mcp_oauth_provider(value);

    if (p == NULL) {
        return mcpctl_read_error(&ps->rd, "unknown provider \"%s\"",
                                 value->data);
    }

    /* type, header, value and provider are the first of the table */

    if (ps->credential->seen & ~15u) {
        return mcpctl_read_error(&ps->rd, "\"provider\" has to come before "
                                 "what overrides it");
    }

    ps->credential->provider = *p;

    return MCP_OK;
}


static int
mcpctl_credential_auth(mcpctl_parser_t *ps, void *to)
{
    size_t      i;
    mcp_str_t  *value;

    static const struct {
        const char        *name;
        mcp_oauth_auth_e   auth;
    } methods[] = {
        { "client_secret_basic", MCP_OAUTH_BASIC },
        { "client_secret_post", MCP_OAUTH_POST },
        { "private_key_jwt", MCP_OAUTH_PRIVATE_KEY_JWT },
        { "none", MCP_OAUTH_NONE }
    };

    (void) to;

    value = mcpctl_word(ps, 1);

    for (i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        if (strcmp((char *) value->data, methods[i].name) == 0) {
            ps->credential->provider.auth = methods[i].auth;
            return MCP_OK;
        }
    }

    return mcpctl_read_error(&ps->rd, "unknown auth_method \"%s\"",
                             value->data);
}


static int
mcpctl_credential_text(mcpctl_parser_t *ps, void *to)
{
    mcp_str_t *text = to;

    mcp_str_t  path, secret, *value;

    value = mcpctl_word(ps, 1);

    /* the path of a private key: as a secret, it is read at once */

    if (text == &ps->credential->key) {
        path = mcpctl_full_name(ps->ctl, &ps->conf->dir, value);

        if (ps->files) {
            if (mcpctl_key_file(ps->ctl, &path, &secret) != MCPCTL_OK) {
                return mcpctl_read_error(&ps->rd, "\"key\" cannot be used");
            }

            mcpctl_wipe(secret.data, secret.len);
        }

        *text = path;
        return MCP_OK;
    }

    if (value->len == 0) {
        return mcpctl_read_error(&ps->rd, "one value is needed");
    }

    *text = *value;

    return MCP_OK;
}


/* Words, joined by single spaces; "a b" are two. */
int
mcpctl_parse_scopes(mcpctl_parser_t *ps, void *to)
{
    mcp_str_t *text = to;

    size_t          len, i;
    unsigned        n;
    mcp_str_t      *value;
    unsigned char   c, *p;

    len = 0;

    for (n = 1; n < ps->rd.nwords; n++) {
        len += mcpctl_word(ps, n)->len + 1;
    }

    p = mcpctl_alloc(ps->ctl, len + 1);
    text->data = p;

    for (n = 1; n < ps->rd.nwords; n++) {
        value = mcpctl_word(ps, n);

        for (i = 0; i <= value->len; i++) {
            c = (i < value->len) ? value->data[i] : ' ';

            if (c < 0x20 || c > 0x7e || c == '"' || c == '\\') {
                return mcpctl_read_error(&ps->rd, "invalid scope \"%s\"",
                                         value->data);
            }

            if (c != ' ' || (p > text->data && p[-1] != ' ')) {
                *p++ = c;
            }
        }
    }

    if (p > text->data) {
        *--p = '\0';
    }

    text->len = (size_t) (p - text->data);

    return MCP_OK;
}


static int
mcpctl_credential_secret(mcpctl_parser_t *ps, void *to)
{
    mcp_str_t  *value;

    value = mcpctl_word(ps, 1);
    *(mcp_str_t *) to = *value;

    return mcpctl_parse_secret(ps, value->data, value->len);
}


static int
mcpctl_credential_url(mcpctl_parser_t *ps, void *to)
{
    mcp_str_t   *value;
    const char  *error;

    value = mcpctl_word(ps, 1);
    error = mcpctl_url(value, NULL);

    if (error == NULL
        && to == &ps->credential->provider.authorize_endpoint)
    {
        error = mcp_connect_endpoint(value);

    } else if (error == NULL && to == &ps->credential->connect_url) {
        error = mcp_connect_handed(value);
    }

    if (error) {
        return mcpctl_read_error(&ps->rd, "invalid URL \"%s\": %s",
                                 value->data, error);
    }

    *(mcp_str_t *) to = *value;

    return MCP_OK;
}


/* timeout in ms; keepalive and grace in s */
static int
mcpctl_credential_time(mcpctl_parser_t *ps, void *to)
{
    int64_t               n;
    unsigned              bad;
    mcp_str_t            *value;
    const char           *range;
    mcpctl_credential_t  *cr;

    cr = ps->credential;
    value = mcpctl_word(ps, 1);
    n = mcpctl_time(value, to != &cr->timeout);

    if (to == &cr->timeout) {
        bad = n < 100 || n > 60000;
        range = "100ms to 60s";

    } else if (to == &cr->keepalive) {
        bad = n < 0 || (n && n < 3600) || n > MCPCTL_YEAR;
        range = "0, or 1h to 366d";

    } else {
        bad = n < 0 || n > 86400;
        range = "at most a day";
    }

    if (bad) {
        return mcpctl_read_error(&ps->rd, "invalid time \"%s\": %s",
                                 value->data, range);
    }

    *(int64_t *) to = n;

    return MCP_OK;
}


static int
mcpctl_credential_rotation(mcpctl_parser_t *ps, void *to)
{
    mcp_str_t  *value;

    (void) to;

    value = mcpctl_word(ps, 1);

    if (!mcpctl_is(value, "on") && !mcpctl_is(value, "off")) {
        return mcpctl_read_error(&ps->rd, "\"rotation\" is on or off");
    }

    ps->credential->provider.rotates = mcpctl_is(value, "on");

    return MCP_OK;
}


static int
mcpctl_credential_complete(mcpctl_parser_t *ps, mcpctl_credential_t *cr)
{
    const char                      *error;
    unsigned                         bit;
    const mcpctl_credential_line_t  *line;

    /* a line of another type says that something else was meant */

    for (line = mcpctl_credential_lines; line->name; line++) {
        bit = 1u << (line - mcpctl_credential_lines);

        if ((cr->seen & bit) && (line->types & (1u << cr->type)) == 0) {
            return mcpctl_read_error(&ps->rd, "mcp_credential \"%s\": \"%s\" "
                                     "does not belong to its type",
                                     cr->name.data, line->name);
        }
    }

    if (mcpctl_credential_headers(ps, cr) != MCP_OK) {
        return MCP_ERROR;
    }

    if (cr->type == MCPCTL_CREDENTIAL_STATIC) {
        return MCP_OK;
    }

    if (cr->provider.token_endpoint.len == 0) {
        return mcpctl_read_error(&ps->rd, "mcp_credential \"%s\" has no "
                                 "\"token_endpoint\"", cr->name.data);
    }

    error = mcpctl_url(&cr->provider.token_endpoint, NULL);

    if (error) {
        return mcpctl_read_error(&ps->rd, "mcp_credential \"%s\": its "
                                 "\"token_endpoint\": %s", cr->name.data,
                                 error);
    }

    return mcpctl_credential_client(ps, cr);
}


static int
mcpctl_credential_headers(mcpctl_parser_t *ps, mcpctl_credential_t *cr)
{
    mcp_str_t  name, bearer;

    name = cr->header.len ? cr->header : mcpctl_cstr("Authorization");
    bearer = mcpctl_cstr("Bearer " MCPCTL_TOKEN_MARK);

    if (cr->type == MCPCTL_CREDENTIAL_STATIC) {

        if (cr->value && mcpctl_credential_push(ps, &name) != MCP_OK) {
            return MCP_ERROR;
        }

    } else if ((cr->header.len || cr->headers.n == 0)
               && mcpctl_credential_add(ps, &name, &bearer) != MCP_OK)
    {
        return MCP_ERROR;
    }

    if (cr->headers.n == 0
        || (cr->type == MCPCTL_CREDENTIAL_STATIC && cr->header.len
            && !cr->value))
    {
        return mcpctl_read_error(&ps->rd, "mcp_credential \"%s\" has no "
                                 "\"value\"", cr->name.data);
    }

    if (cr->token != (cr->type != MCPCTL_CREDENTIAL_STATIC)) {
        return mcpctl_read_error(&ps->rd, "mcp_credential \"%s\" %s",
                                 cr->name.data, cr->token
                                 ? "is static and has no ${token}"
                                 : "has no header with ${token}");
    }

    return MCP_OK;
}


/* How the gateway shows the provider who it is. */
static int
mcpctl_credential_client(mcpctl_parser_t *ps, mcpctl_credential_t *cr)
{
    mcp_oauth_auth_e   auth;

    auth = cr->provider.auth;

    if (cr->client_id.len == 0) {
        return mcpctl_read_error(&ps->rd, "mcp_credential \"%s\" has no "
                                 "\"client_id\"", cr->name.data);
    }

    if ((auth == MCP_OAUTH_BASIC || auth == MCP_OAUTH_POST)
        != (cr->client_secret.len != 0))
    {
        return mcpctl_read_error(&ps->rd, "mcp_credential \"%s\": its "
                                 "\"auth_method\" %s \"client_secret\"",
                                 cr->name.data, cr->client_secret.len
                                                ? "has no" : "needs a");
    }

    if ((auth == MCP_OAUTH_PRIVATE_KEY_JWT) != (cr->key.len != 0)) {
        return mcpctl_read_error(&ps->rd, "mcp_credential \"%s\": \"key\" and "
                                 "\"auth_method private_key_jwt\" go "
                                 "together", cr->name.data);
    }

    if (auth == MCP_OAUTH_NONE && cr->type != MCPCTL_CREDENTIAL_USER) {
        return mcpctl_read_error(&ps->rd, "mcp_credential \"%s\": "
                                 "\"auth_method none\" is for \"type user\"",
                                 cr->name.data);
    }

    if (auth == MCP_OAUTH_PRIVATE_KEY_JWT && ps->files) {
        return mcpctl_credential_key(ps, cr);
    }

    return MCP_OK;
}


static int
mcpctl_credential_key(mcpctl_parser_t *ps, const mcpctl_credential_t *cr)
{
    int                     rc;
    mcp_str_t               secret;
    const char             *error;
    mcp_assertion_conf_t    assertion;

    if (mcpctl_key_file(ps->ctl, &cr->key, &secret) != MCPCTL_OK) {
        return mcpctl_read_error(&ps->rd, "\"key\" cannot be used");
    }

    memset(&assertion, 0, sizeof(mcp_assertion_conf_t));
    assertion.key = secret;

    rc = mcp_assertion_check(&assertion, &error);
    mcpctl_wipe(secret.data, secret.len);

    if (rc != MCP_OK) {
        return mcpctl_read_error(&ps->rd, "mcp_credential \"%s\": %s",
                                 cr->name.data, error);
    }

    return MCP_OK;
}


/* mcp_vault_keys PATH */
int
mcpctl_conf_vault_keys(mcpctl_parser_t *ps)
{
    mcp_str_t          *path;
    mcp_vault_ring_t    ring;

    path = &ps->conf->vault_keys;

    if (path->len) {
        return mcpctl_parse_duplicate(ps);
    }

    *path = mcpctl_full_name(ps->ctl, &ps->conf->dir, mcpctl_word(ps, 1));

    if (!ps->files) {
        return MCP_OK;
    }

    if (mcpctl_vault_ring(ps->ctl, path, &ring) != MCP_OK) {
        return mcpctl_read_error(&ps->rd, "mcp_vault_keys cannot be used");
    }

    mcpctl_wipe(&ring, sizeof(mcp_vault_ring_t));

    return MCP_OK;
}


/* http {} is complete. */
int
mcpctl_finish_vault(mcpctl_parser_t *ps)
{
    unsigned              i;
    mcpctl_credential_t  *cr;

    for (i = 0; i < ps->conf->credentials.n; i++) {
        cr = ps->conf->credentials.elts[i];

        if (cr->type != MCPCTL_CREDENTIAL_STATIC
            && mcpctl_finish_one(ps, cr) != MCP_OK)
        {
            return MCP_ERROR;
        }
    }

    return MCP_OK;
}


static int
mcpctl_finish_one(mcpctl_parser_t *ps, mcpctl_credential_t *cr)
{
    const char           *why;
    mcp_str_t            *trusted;
    mcpctl_credential_t  *other;

    why = NULL;

    if (ps->conf->vault_keys.len == 0) {
        why = "needs \"mcp_vault_keys\", under which its tokens rest";

    } else if (cr->type == MCPCTL_CREDENTIAL_USER && ps->conf->redis == NULL) {
        why = "of \"type user\" needs \"mcp_redis\", where grants rest";

    } else if (cr->fallback.len) {
        other = mcpctl_conf_find_credential(ps->conf, &cr->fallback);

        if (other == NULL) {
            why = "has a \"fallback\" that is not there";

        } else if (other->type != MCPCTL_CREDENTIAL_STATIC
                   && other->type != MCPCTL_CREDENTIAL_CLIENT)
        {
            why = "has a \"fallback\" that needs a person as well";
        }
    }

    if (why) {
        return mcpctl_place_error(ps->ctl, &cr->place, "mcp_credential \"%s\" "
                                  "%s", cr->name.data, why);
    }

    trusted = &cr->trusted_certificate;

    if (trusted->len == 0) {
        return MCP_OK;
    }

    *trusted = mcpctl_full_name(ps->ctl, &ps->conf->dir, trusted);

    if (ps->files && !mcpctl_conf_trusted(trusted)) {
        return mcpctl_place_error(ps->ctl, &cr->place, "mcp_credential \"%s\" "
                                  "cannot use trusted certificates in \"%s\"",
                                  cr->name.data, trusted->data);
    }

    return MCP_OK;
}
