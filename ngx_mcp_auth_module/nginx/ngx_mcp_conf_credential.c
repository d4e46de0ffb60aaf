/*
 * mcp_credential NAME { ... }: what an MCP server is shown in place of the
 * caller's token.  Its secrets are read by ngx_mcp_conf_secret.c.
 *
 * The lines of a block are a table: which types they belong to, and who reads
 * them.  What only the whole block can show is found at its end; what needs
 * other blocks, when http {} is complete.
 */

#include "ngx_mcp_conf.h"
#include "mcp_connect.h"


#define NGX_MCP_FOR_STATIC    0x01
#define NGX_MCP_FOR_CLIENT    0x02
#define NGX_MCP_FOR_EXCHANGE  0x04
#define NGX_MCP_FOR_USER      0x08
#define NGX_MCP_FOR_FETCHED   (NGX_MCP_FOR_CLIENT|NGX_MCP_FOR_EXCHANGE        \
                               |NGX_MCP_FOR_USER)
#define NGX_MCP_FOR_ALL       (NGX_MCP_FOR_STATIC|NGX_MCP_FOR_FETCHED)

#define NGX_MCP_TOKEN_TIMEOUT  10000            /* ms, default */
#define NGX_MCP_TOKEN_MARK     "${token}"


typedef struct {
    const char         *name;
    ngx_uint_t          types;
    char             *(*read)(ngx_conf_t *cf, ngx_mcp_credential_t *cr,
                              ngx_str_t *value, ngx_uint_t n, size_t offset);
    size_t              offset;
    ngx_uint_t          more;           /* than once */
} ngx_mcp_credential_line_t;


static char *ngx_mcp_credential_type(ngx_conf_t *cf,
    ngx_mcp_credential_t *cr, ngx_str_t *value, ngx_uint_t n, size_t offset);
static char *ngx_mcp_credential_header(ngx_conf_t *cf,
    ngx_mcp_credential_t *cr, ngx_str_t *value, ngx_uint_t n, size_t offset);
static char *ngx_mcp_credential_value(ngx_conf_t *cf,
    ngx_mcp_credential_t *cr, ngx_str_t *value, ngx_uint_t n, size_t offset);
static char *ngx_mcp_credential_provider(ngx_conf_t *cf,
    ngx_mcp_credential_t *cr, ngx_str_t *value, ngx_uint_t n, size_t offset);
static char *ngx_mcp_credential_auth(ngx_conf_t *cf,
    ngx_mcp_credential_t *cr, ngx_str_t *value, ngx_uint_t n, size_t offset);
static char *ngx_mcp_credential_text(ngx_conf_t *cf,
    ngx_mcp_credential_t *cr, ngx_str_t *value, ngx_uint_t n, size_t offset);
static char *ngx_mcp_credential_words(ngx_conf_t *cf,
    ngx_mcp_credential_t *cr, ngx_str_t *value, ngx_uint_t n, size_t offset);
static char *ngx_mcp_credential_secret(ngx_conf_t *cf,
    ngx_mcp_credential_t *cr, ngx_str_t *value, ngx_uint_t n, size_t offset);
static char *ngx_mcp_credential_key(ngx_conf_t *cf,
    ngx_mcp_credential_t *cr, ngx_str_t *value, ngx_uint_t n, size_t offset);
static char *ngx_mcp_credential_url(ngx_conf_t *cf,
    ngx_mcp_credential_t *cr, ngx_str_t *value, ngx_uint_t n, size_t offset);
static char *ngx_mcp_credential_time(ngx_conf_t *cf,
    ngx_mcp_credential_t *cr, ngx_str_t *value, ngx_uint_t n, size_t offset);
static char *ngx_mcp_credential_rotation(ngx_conf_t *cf,
    ngx_mcp_credential_t *cr, ngx_str_t *value, ngx_uint_t n, size_t offset);
static char *ngx_mcp_credential_grace(ngx_conf_t *cf,
    ngx_mcp_credential_t *cr, ngx_str_t *value, ngx_uint_t n, size_t offset);
static char *ngx_mcp_credential_add(ngx_conf_t *cf,
    ngx_mcp_credential_t *cr, ngx_str_t *name, ngx_str_t *value);
static ngx_mcp_credential_header_t *ngx_mcp_credential_push(ngx_conf_t *cf,
    ngx_mcp_credential_t *cr, ngx_str_t *name);
static char *ngx_mcp_credential_name(ngx_conf_t *cf, ngx_str_t *name);
static char *ngx_mcp_credential_complete(ngx_conf_t *cf,
    ngx_mcp_credential_t *cr);
static char *ngx_mcp_credential_single(ngx_conf_t *cf,
    ngx_mcp_credential_t *cr);
static char *ngx_mcp_credential_misplaced(ngx_conf_t *cf,
    ngx_mcp_credential_t *cr);
static char *ngx_mcp_credential_client(ngx_conf_t *cf,
    ngx_mcp_credential_t *cr);
static char *ngx_mcp_credential_endpoint(ngx_conf_t *cf,
    ngx_mcp_credential_t *cr);


#define ngx_mcp_of(member)  offsetof(ngx_mcp_credential_t, member)


static const ngx_mcp_credential_line_t  ngx_mcp_credential_lines[] = {

    { "type", NGX_MCP_FOR_ALL, ngx_mcp_credential_type, 0, 0 },
    { "header", NGX_MCP_FOR_ALL, ngx_mcp_credential_header, 0, 1 },
    { "value", NGX_MCP_FOR_STATIC, ngx_mcp_credential_value, 0, 0 },

    { "provider", NGX_MCP_FOR_FETCHED, ngx_mcp_credential_provider, 0, 0 },
    { "token_endpoint", NGX_MCP_FOR_FETCHED, ngx_mcp_credential_url,
      ngx_mcp_of(provider.token_endpoint), 0 },
    { "authorize_endpoint", NGX_MCP_FOR_USER, ngx_mcp_credential_url,
      ngx_mcp_of(provider.authorize_endpoint), 0 },
    { "revoke_endpoint", NGX_MCP_FOR_USER, ngx_mcp_credential_url,
      ngx_mcp_of(provider.revoke_endpoint), 0 },
    { "auth_method", NGX_MCP_FOR_FETCHED, ngx_mcp_credential_auth, 0, 0 },
    { "client_id", NGX_MCP_FOR_FETCHED, ngx_mcp_credential_secret,
      ngx_mcp_of(client_id), 0 },
    { "client_secret", NGX_MCP_FOR_FETCHED, ngx_mcp_credential_secret,
      ngx_mcp_of(client_secret), 0 },
    { "key", NGX_MCP_FOR_FETCHED, ngx_mcp_credential_key, 0, 0 },
    { "key_id", NGX_MCP_FOR_FETCHED, ngx_mcp_credential_text,
      ngx_mcp_of(assertion.key_id), 0 },
    { "assertion_audience", NGX_MCP_FOR_FETCHED, ngx_mcp_credential_text,
      ngx_mcp_of(assertion.audience), 0 },
    { "scope", NGX_MCP_FOR_FETCHED, ngx_mcp_credential_words,
      ngx_mcp_of(scope), 0 },
    { "audience", NGX_MCP_FOR_FETCHED, ngx_mcp_credential_text,
      ngx_mcp_of(audience), 0 },
    { "resource", NGX_MCP_FOR_FETCHED, ngx_mcp_credential_text,
      ngx_mcp_of(resource), 0 },
    { "timeout", NGX_MCP_FOR_FETCHED, ngx_mcp_credential_time,
      ngx_mcp_of(timeout), 0 },
    { "ssl_trusted_certificate", NGX_MCP_FOR_FETCHED, ngx_mcp_credential_text,
      ngx_mcp_of(trusted_certificate), 0 },

    { "rotation", NGX_MCP_FOR_USER, ngx_mcp_credential_rotation, 0, 0 },
    { "grace", NGX_MCP_FOR_USER, ngx_mcp_credential_grace, 0, 0 },
    { "keepalive", NGX_MCP_FOR_USER, ngx_mcp_credential_time,
      ngx_mcp_of(keepalive), 0 },
    { "connect_url", NGX_MCP_FOR_USER, ngx_mcp_credential_url,
      ngx_mcp_of(connect_url), 0 },
    { "fallback", NGX_MCP_FOR_EXCHANGE|NGX_MCP_FOR_USER,
      ngx_mcp_credential_text, ngx_mcp_of(fallback_name), 0 }
};

#define NGX_MCP_CREDENTIAL_LINES                                              \
    (sizeof(ngx_mcp_credential_lines) / sizeof(ngx_mcp_credential_lines[0]))


ngx_mcp_credential_t *
ngx_mcp_conf_find_credential(ngx_mcp_main_conf_t *mmcf, ngx_str_t *name)
{
    ngx_uint_t              i;
    ngx_mcp_credential_t  **crp;

    crp = mmcf->credentials.elts;

    for (i = 0; i < mmcf->credentials.nelts; i++) {
        if (crp[i]->name.len == name->len
            && ngx_memcmp(crp[i]->name.data, name->data, name->len) == 0)
        {
            return crp[i];
        }
    }

    return NULL;
}


char *
ngx_mcp_conf_credential(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_mcp_main_conf_t *mmcf = conf;

    char                   *rv;
    mcp_str_t               generic = mcp_string("generic");
    ngx_str_t              *value;
    ngx_mcp_credential_t   *cr, **crp;

    value = cf->args->elts;

    if (ngx_mcp_conf_name(cf, &value[1]) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    if (ngx_mcp_conf_find_credential(mmcf, &value[1])) {
        return ngx_mcp_conf_error(cf, "duplicate mcp_credential \"%V\"",
                                  &value[1]);
    }

    cr = ngx_pcalloc(cf->pool, sizeof(ngx_mcp_credential_t));
    crp = ngx_array_push(&mmcf->credentials);

    if (cr == NULL || crp == NULL
        || ngx_array_init(&cr->headers, cf->pool, 1,
                          sizeof(ngx_mcp_credential_header_t))
           != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    *crp = cr;

    cr->name = value[1];
    cr->provider = *mcp_oauth_provider(&generic);
    cr->timeout = NGX_MCP_TOKEN_TIMEOUT;
    cr->keepalive = NGX_CONF_UNSET;
    cr->conf_file = cf->conf_file->file.name;
    cr->conf_line = cf->conf_file->line;

    mmcf->credential = cr;
    rv = ngx_mcp_conf_block(cf, NGX_MCP_CREDENTIAL_CONF);
    mmcf->credential = NULL;

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    return ngx_mcp_credential_complete(cf, cr);
}


char *
ngx_mcp_credential_line(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_mcp_main_conf_t *mmcf = conf;

    ngx_str_t                        *value;
    ngx_uint_t                        i;
    ngx_mcp_credential_t             *cr;
    const ngx_mcp_credential_line_t  *line;

    cr = mmcf->credential;
    value = cf->args->elts;

    for (i = 0; i < NGX_MCP_CREDENTIAL_LINES; i++) {
        line = &ngx_mcp_credential_lines[i];

        if (ngx_strcmp(value[0].data, line->name) != 0) {
            continue;
        }

        if ((cr->seen & ((ngx_uint_t) 1 << i)) && !line->more) {
            return "is duplicate";
        }

        cr->seen |= (ngx_uint_t) 1 << i;

        return line->read(cf, cr, &value[1], cf->args->nelts - 1,
                          line->offset);
    }

    return NGX_CONF_ERROR;
}


static char *
ngx_mcp_credential_type(ngx_conf_t *cf, ngx_mcp_credential_t *cr,
    ngx_str_t *value, ngx_uint_t n, size_t offset)
{
    ngx_uint_t  i;

    static const char  *types[] = {
        "static", "client_credentials", "token_exchange", "user"
    };

    for (i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (ngx_strcmp(value->data, types[i]) == 0) {
            cr->type = i;
            return NGX_CONF_OK;
        }
    }

    return ngx_mcp_conf_error(cf, "unknown credential type \"%V\"", value);
}


/* header NAME, for `value`, or header NAME TEXT, one or more */
static char *
ngx_mcp_credential_header(ngx_conf_t *cf, ngx_mcp_credential_t *cr,
    ngx_str_t *value, ngx_uint_t n, size_t offset)
{
    if (ngx_mcp_credential_name(cf, &value[0]) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    if (n == 2) {
        return ngx_mcp_credential_add(cf, cr, &value[0], &value[1]);
    }

    if (cr->header.len) {
        return "is duplicate";
    }

    cr->header = value[0];

    return NGX_CONF_OK;
}


static char *
ngx_mcp_credential_value(ngx_conf_t *cf, ngx_mcp_credential_t *cr,
    ngx_str_t *value, ngx_uint_t n, size_t offset)
{
    if (ngx_strnstr(value->data, NGX_MCP_TOKEN_MARK, value->len)) {
        return ngx_mcp_conf_error(cf, "mcp_credential \"%V\" is static and "
                                  "has no ${token}", &cr->name);
    }

    if (ngx_mcp_conf_secret(cf, value, &cr->value) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    if (cr->value.len == 0) {
        return ngx_mcp_conf_error(cf, "the value is empty");
    }

    return NGX_CONF_OK;
}


/* A header with its text, in which ${token} is what was fetched. */
static char *
ngx_mcp_credential_add(ngx_conf_t *cf, ngx_mcp_credential_t *cr,
    ngx_str_t *name, ngx_str_t *value)
{
    u_char                       *mark;
    size_t                        len;
    ngx_str_t                     before, after;
    ngx_mcp_credential_header_t  *h;

    h = ngx_mcp_credential_push(cf, cr, name);
    if (h == NULL) {
        return NGX_CONF_ERROR;
    }

    len = sizeof(NGX_MCP_TOKEN_MARK) - 1;
    mark = ngx_strnstr(value->data, NGX_MCP_TOKEN_MARK, value->len);

    if (mark == NULL) {
        if (ngx_mcp_conf_secret(cf, value, &h->before) != NGX_CONF_OK) {
            return NGX_CONF_ERROR;
        }

        if (h->before.len == 0) {
            return ngx_mcp_conf_error(cf, "the value is empty");
        }

        return NGX_CONF_OK;
    }

    h->token = 1;

    before.data = value->data;
    before.len = mark - value->data;
    after.data = mark + len;
    after.len = value->len - before.len - len;

    if ((before.len
         && ngx_mcp_conf_secret(cf, &before, &h->before) != NGX_CONF_OK)
        || (after.len
            && ngx_mcp_conf_secret(cf, &after, &h->after) != NGX_CONF_OK))
    {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* NULL: said. */
static ngx_mcp_credential_header_t *
ngx_mcp_credential_push(ngx_conf_t *cf, ngx_mcp_credential_t *cr,
    ngx_str_t *name)
{
    ngx_uint_t                    i;
    ngx_mcp_credential_header_t  *h;

    h = cr->headers.elts;

    for (i = 0; i < cr->headers.nelts; i++) {
        if (h[i].name.len == name->len
            && ngx_strncasecmp(h[i].name.data, name->data, name->len) == 0)
        {
            (void) ngx_mcp_conf_error(cf, "header \"%V\" is there twice",
                                      name);
            return NULL;
        }
    }

    if (i == NGX_MCP_CREDENTIAL_HEADERS) {
        (void) ngx_mcp_conf_error(cf, "more than %d headers",
                                  NGX_MCP_CREDENTIAL_HEADERS);
        return NULL;
    }

    h = ngx_array_push(&cr->headers);
    if (h == NULL) {
        return NULL;
    }

    ngx_memzero(h, sizeof(ngx_mcp_credential_header_t));

    h->name = *name;
    h->lowcase.len = name->len;
    h->lowcase.data = ngx_pnalloc(cf->pool, name->len);
    if (h->lowcase.data == NULL) {
        return NULL;
    }

    h->hash = ngx_hash_strlow(h->lowcase.data, name->data, name->len);

    return h;
}


static char *
ngx_mcp_credential_name(ngx_conf_t *cf, ngx_str_t *name)
{
    u_char      c, *found;
    ngx_uint_t  i;

    static const char  forbidden[] = " content-length transfer-encoding host "
                                     "connection content-type content-encoding "
                                     "expect upgrade te trailer mcp-method "
                                     "mcp-name mcp-protocol-version ";
    u_char             buf[66];

    for (i = 0; i < name->len; i++) {
        c = name->data[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
              || (c >= '0' && c <= '9') || c == '-'))
        {
            break;
        }
    }

    if (i < name->len || i == 0 || i > 64) {
        return ngx_mcp_conf_error(cf, "invalid header name \"%V\"", name);
    }

    buf[0] = ' ';
    ngx_strlow(&buf[1], name->data, name->len);
    buf[name->len + 1] = '\0';

    found = (u_char *) ngx_strstr(forbidden, buf);

    if (found && found[name->len + 1] == ' ') {
        return ngx_mcp_conf_error(cf, "header \"%V\" cannot carry a "
                                  "credential", name);
    }

    return NGX_CONF_OK;
}


/* Sets the habits, but for what was said before. */
static char *
ngx_mcp_credential_provider(ngx_conf_t *cf, ngx_mcp_credential_t *cr,
    ngx_str_t *value, ngx_uint_t n, size_t offset)
{
    const mcp_oauth_provider_t  *p;

    p = mcp_oauth_provider((mcp_str_t *) value);

    if (p == NULL) {
        return ngx_mcp_conf_error(cf, "unknown provider \"%V\"", value);
    }

    /* "type" and "provider" alone may come before it */

    if (cr->seen & ~(ngx_uint_t) (1 | 2 | 4 | 8)) {
        return ngx_mcp_conf_error(cf, "\"provider\" has to come before what "
                                  "overrides it");
    }

    cr->provider = *p;

    return NGX_CONF_OK;
}


static char *
ngx_mcp_credential_auth(ngx_conf_t *cf, ngx_mcp_credential_t *cr,
    ngx_str_t *value, ngx_uint_t n, size_t offset)
{
    ngx_uint_t  i;

    static const struct {
        const char        *name;
        mcp_oauth_auth_e   auth;
    } methods[] = {
        { "client_secret_basic", MCP_OAUTH_BASIC },
        { "client_secret_post", MCP_OAUTH_POST },
        { "private_key_jwt", MCP_OAUTH_PRIVATE_KEY_JWT },
        { "none", MCP_OAUTH_NONE }
    };

    for (i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        if (ngx_strcmp(value->data, methods[i].name) == 0) {
            cr->provider.auth = methods[i].auth;
            return NGX_CONF_OK;
        }
    }

    return ngx_mcp_conf_error(cf, "unknown auth_method \"%V\"", value);
}


static char *
ngx_mcp_credential_text(ngx_conf_t *cf, ngx_mcp_credential_t *cr,
    ngx_str_t *value, ngx_uint_t n, size_t offset)
{
    if (n != 1 || value->len == 0) {
        return ngx_mcp_conf_error(cf, "one value is needed");
    }

    *(ngx_str_t *) ((u_char *) cr + offset) = *value;

    return NGX_CONF_OK;
}


static char *
ngx_mcp_credential_words(ngx_conf_t *cf, ngx_mcp_credential_t *cr,
    ngx_str_t *value, ngx_uint_t n, size_t offset)
{
    return ngx_mcp_conf_words(cf, value, n,
                              (ngx_str_t *) ((u_char *) cr + offset));
}


static char *
ngx_mcp_credential_secret(ngx_conf_t *cf, ngx_mcp_credential_t *cr,
    ngx_str_t *value, ngx_uint_t n, size_t offset)
{
    return ngx_mcp_conf_secret(cf, value,
                               (ngx_str_t *) ((u_char *) cr + offset));
}


/* key PATH: a private key in PEM */
static char *
ngx_mcp_credential_key(ngx_conf_t *cf, ngx_mcp_credential_t *cr,
    ngx_str_t *value, ngx_uint_t n, size_t offset)
{
    ngx_str_t  key;

    if (ngx_mcp_conf_key_file(cf, value, &key) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    cr->assertion.key = *(mcp_str_t *) &key;

    return NGX_CONF_OK;
}


static char *
ngx_mcp_credential_url(ngx_conf_t *cf, ngx_mcp_credential_t *cr,
    ngx_str_t *value, ngx_uint_t n, size_t offset)
{
    const char     *error;
    ngx_mcp_url_t   url;

    if (ngx_mcp_url_parse(cf->pool, value, &url, &error) == NGX_OK) {
        error = (offset == ngx_mcp_of(provider.authorize_endpoint))
                ? mcp_connect_endpoint((mcp_str_t *) value)
                : (offset == ngx_mcp_of(connect_url))
                  ? mcp_connect_handed((mcp_str_t *) value) : NULL;
    }

    if (error) {
        return ngx_mcp_conf_error(cf, "invalid URL \"%V\": %s", value, error);
    }

    *(ngx_str_t *) ((u_char *) cr + offset) = *value;

    return NGX_CONF_OK;
}


/* timeout in ms, keepalive in s */
static char *
ngx_mcp_credential_time(ngx_conf_t *cf, ngx_mcp_credential_t *cr,
    ngx_str_t *value, ngx_uint_t n, size_t offset)
{
    ngx_int_t  t;

    if (offset == ngx_mcp_of(keepalive)) {
        t = ngx_parse_time(value, 1);

        if (t == NGX_ERROR || (t && t < 3600) || t > 366 * 86400) {
            return ngx_mcp_conf_error(cf, "invalid time \"%V\": 0, or 1h to "
                                      "366d", value);
        }

        cr->keepalive = t;

        return NGX_CONF_OK;
    }

    t = ngx_parse_time(value, 0);

    if (t == NGX_ERROR || t < 100 || t > 60000) {
        return ngx_mcp_conf_error(cf, "invalid time \"%V\": 100ms to 60s",
                                  value);
    }

    cr->timeout = t;

    return NGX_CONF_OK;
}


static char *
ngx_mcp_credential_rotation(ngx_conf_t *cf, ngx_mcp_credential_t *cr,
    ngx_str_t *value, ngx_uint_t n, size_t offset)
{
    if (ngx_strcmp(value->data, "on") == 0) {
        cr->provider.rotates = 1;

    } else if (ngx_strcmp(value->data, "off") == 0) {
        cr->provider.rotates = 0;

    } else {
        return ngx_mcp_conf_error(cf, "\"rotation\" is on or off");
    }

    return NGX_CONF_OK;
}


static char *
ngx_mcp_credential_grace(ngx_conf_t *cf, ngx_mcp_credential_t *cr,
    ngx_str_t *value, ngx_uint_t n, size_t offset)
{
    ngx_int_t  t;

    t = ngx_parse_time(value, 1);

    if (t == NGX_ERROR || t > 86400) {
        return ngx_mcp_conf_error(cf, "invalid time \"%V\": at most a day",
                                  value);
    }

    cr->provider.grace = t;

    return NGX_CONF_OK;
}


static char *
ngx_mcp_credential_complete(ngx_conf_t *cf, ngx_mcp_credential_t *cr)
{
    ngx_uint_t                    i;
    ngx_mcp_credential_header_t  *h;

    if (ngx_mcp_credential_misplaced(cf, cr) != NGX_CONF_OK
        || ngx_mcp_credential_single(cf, cr) != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (cr->headers.nelts == 0) {
        return ngx_mcp_conf_error(cf, "mcp_credential \"%V\" has no \"value\"",
                                  &cr->name);
    }

    h = cr->headers.elts;

    for (i = 0; i < cr->headers.nelts; i++) {
        if (h[i].token) {
            break;
        }
    }

    if (cr->type == NGX_MCP_CREDENTIAL_STATIC) {

        if (i < cr->headers.nelts) {
            return ngx_mcp_conf_error(cf, "mcp_credential \"%V\" is static and "
                                      "has no ${token}", &cr->name);
        }

        return NGX_CONF_OK;
    }

    if (i == cr->headers.nelts) {
        return ngx_mcp_conf_error(cf, "mcp_credential \"%V\" has no header "
                                  "with ${token}", &cr->name);
    }

    if (ngx_mcp_credential_endpoint(cf, cr) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    return ngx_mcp_credential_client(cf, cr);
}


/* The header of `value`, wherever `header NAME` stands, or of the token. */
static char *
ngx_mcp_credential_single(ngx_conf_t *cf, ngx_mcp_credential_t *cr)
{
    ngx_str_t                    *name;
    ngx_mcp_credential_header_t  *h;

    static ngx_str_t  authorization = ngx_string("Authorization");
    static ngx_str_t  bearer = ngx_string("Bearer " NGX_MCP_TOKEN_MARK);

    name = cr->header.len ? &cr->header : &authorization;

    if (cr->type == NGX_MCP_CREDENTIAL_STATIC) {

        if (cr->value.len == 0) {

            if (cr->header.len) {
                return ngx_mcp_conf_error(cf, "mcp_credential \"%V\" has no "
                                          "\"value\"", &cr->name);
            }

            return NGX_CONF_OK;
        }

        h = ngx_mcp_credential_push(cf, cr, name);
        if (h == NULL) {
            return NGX_CONF_ERROR;
        }

        h->before = cr->value;

        return NGX_CONF_OK;
    }

    if (cr->header.len == 0 && cr->headers.nelts) {
        return NGX_CONF_OK;
    }

    return ngx_mcp_credential_add(cf, cr, name, &bearer);
}


/* A line of another type says that something else was meant. */
static char *
ngx_mcp_credential_misplaced(ngx_conf_t *cf, ngx_mcp_credential_t *cr)
{
    ngx_uint_t  i, type;

    type = (ngx_uint_t) NGX_MCP_FOR_STATIC << cr->type;

    for (i = 0; i < NGX_MCP_CREDENTIAL_LINES; i++) {
        if ((cr->seen & ((ngx_uint_t) 1 << i))
            && (ngx_mcp_credential_lines[i].types & type) == 0)
        {
            return ngx_mcp_conf_error(cf, "mcp_credential \"%V\": \"%s\" does "
                                      "not belong to its type", &cr->name,
                                      ngx_mcp_credential_lines[i].name);
        }
    }

    return NGX_CONF_OK;
}


static char *
ngx_mcp_credential_endpoint(ngx_conf_t *cf, ngx_mcp_credential_t *cr)
{
    const char  *error;
    ngx_str_t   *endpoint;

    endpoint = (ngx_str_t *) &cr->provider.token_endpoint;

    if (endpoint->len == 0) {
        return ngx_mcp_conf_error(cf, "mcp_credential \"%V\" has no "
                                  "\"token_endpoint\"", &cr->name);
    }

    if (ngx_mcp_url_parse(cf->pool, endpoint, &cr->url, &error) != NGX_OK) {
        return ngx_mcp_conf_error(cf, "invalid URL \"%V\": %s", endpoint,
                                  error);
    }

    if (cr->type == NGX_MCP_CREDENTIAL_USER && cr->keepalive == NGX_CONF_UNSET)
    {
        cr->keepalive = cr->provider.keepalive;
    }

    cr->fetch.timeout = cr->timeout;

    return NGX_CONF_OK;
}


/* How the gateway shows the provider who it is. */
static char *
ngx_mcp_credential_client(ngx_conf_t *cf, ngx_mcp_credential_t *cr)
{
    const char        *error;
    mcp_oauth_auth_e   auth;

    auth = cr->provider.auth;

    if (cr->client_id.len == 0) {
        return ngx_mcp_conf_error(cf, "mcp_credential \"%V\" has no "
                                  "\"client_id\"", &cr->name);
    }

    if ((auth == MCP_OAUTH_BASIC || auth == MCP_OAUTH_POST)
        != (cr->client_secret.len != 0))
    {
        return ngx_mcp_conf_error(cf, "mcp_credential \"%V\": its "
                                  "\"auth_method\" %s \"client_secret\"",
                                  &cr->name, cr->client_secret.len
                                             ? "has no" : "needs a");
    }

    if ((auth == MCP_OAUTH_PRIVATE_KEY_JWT) != (cr->assertion.key.len != 0)) {
        return ngx_mcp_conf_error(cf, "mcp_credential \"%V\": \"key\" and "
                                  "\"auth_method private_key_jwt\" go "
                                  "together", &cr->name);
    }

    if (auth == MCP_OAUTH_NONE && cr->type != NGX_MCP_CREDENTIAL_USER) {
        return ngx_mcp_conf_error(cf, "mcp_credential \"%V\": \"auth_method "
                                  "none\" is for \"type user\"", &cr->name);
    }

    if (auth != MCP_OAUTH_PRIVATE_KEY_JWT) {
        return NGX_CONF_OK;
    }

    cr->assertion.client_id = *(mcp_str_t *) &cr->client_id;

    if (cr->assertion.audience.len == 0) {
        cr->assertion.audience = cr->provider.token_endpoint;
    }

    if (mcp_assertion_check(&cr->assertion, &error) != MCP_OK) {
        return ngx_mcp_conf_error(cf, "mcp_credential \"%V\": %s", &cr->name,
                                  error);
    }

    return NGX_CONF_OK;
}
