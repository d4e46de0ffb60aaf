/*
 * Where an issuer's keys come from, and whether that can work: jwks_file (read
 * and parsed here, so that `nginx -t` refuses one that cannot be used),
 * jwks_uri, or discovery from the issuer's name.
 *
 * Runs in the master, once for each mcp_issuer block, and asks nobody but the
 * file and the resolver.  Everything is in the configuration's pool; its
 * cleanup frees the keys of a file.  Afterwards all of it is read-only.
 *
 * zone_name is the identity of a key set: whatever changes which keys a token
 * may be verified with changes it, the content of jwks_file included.  The
 * zone finds a set by it, and the fingerprint of the token cache contains it.
 */

#include "ngx_mcp_keys.h"

#include <openssl/evp.h>


#define NGX_MCP_KEYS_OPENID_PATH  "/.well-known/openid-configuration"
#define NGX_MCP_KEYS_OAUTH_PATH   "/.well-known/oauth-authorization-server"


static char *ngx_mcp_keys_conf_file(ngx_conf_t *cf, ngx_mcp_issuer_t *issuer,
    ngx_str_t *source);
static ngx_int_t ngx_mcp_keys_read_file(ngx_conf_t *cf,
    ngx_mcp_issuer_t *issuer, ngx_str_t *content);
static char *ngx_mcp_keys_conf_url(ngx_conf_t *cf, ngx_mcp_issuer_t *issuer,
    ngx_str_t *source);
static char *ngx_mcp_keys_conf_discovery(ngx_conf_t *cf,
    ngx_mcp_issuer_t *issuer, ngx_str_t *source);
static const char *ngx_mcp_keys_conf_places(ngx_conf_t *cf,
    ngx_mcp_issuer_t *issuer, ngx_str_t *source, ngx_mcp_url_t *openid_url,
    ngx_mcp_url_t *oauth_url);
static char *ngx_mcp_keys_conf_name(ngx_conf_t *cf, ngx_mcp_issuer_t *issuer,
    ngx_str_t *source);
static ngx_int_t ngx_mcp_keys_join(ngx_pool_t *pool, ngx_str_t *text,
    ngx_str_t *first, const char *second, ngx_str_t *third);
static void ngx_mcp_keys_free_set(void *data);
static char *ngx_mcp_keys_conf_error(ngx_conf_t *cf, ngx_mcp_issuer_t *issuer,
    ngx_err_t err, const char *fmt, ...);


char *
ngx_mcp_keys_conf(ngx_conf_t *cf, ngx_mcp_issuer_t *issuer)
{
    char       *rv;
    ngx_str_t   source;

    if (issuer->jwks_file.len) {
        rv = ngx_mcp_keys_conf_file(cf, issuer, &source);

    } else {
        rv = ngx_mcp_keys_conf_url(cf, issuer, &source);
    }

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    return ngx_mcp_keys_conf_name(cf, issuer, &source);
}


/* The source is the file's content: a reload with another content is another
 * set, and what the old one verified is not found any more. */

static char *
ngx_mcp_keys_conf_file(ngx_conf_t *cf, ngx_mcp_issuer_t *issuer,
    ngx_str_t *source)
{
    const char          *error;
    ngx_pool_cleanup_t  *cln;

    if (ngx_conf_full_name(cf->cycle, &issuer->jwks_file, 1) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        return NGX_CONF_ERROR;
    }

    if (ngx_mcp_keys_read_file(cf, issuer, source) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    error = "out of memory";
    issuer->file_set = mcp_jwk_set_parse(source->data, source->len,
                                         issuer->max_keys, &error);

    if (issuer->file_set == NULL) {
        return ngx_mcp_keys_conf_error(cf, issuer, 0,
                                       "jwks_file \"%V\" cannot be used: %s",
                                       &issuer->jwks_file, error);
    }

    cln->handler = ngx_mcp_keys_free_set;
    cln->data = issuer->file_set;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_mcp_keys_read_file(ngx_conf_t *cf, ngx_mcp_issuer_t *issuer,
    ngx_str_t *content)
{
    size_t            size;
    ssize_t           n;
    ngx_int_t         rc;
    ngx_file_t        file;
    ngx_file_info_t   fi;

    ngx_memzero(&file, sizeof(ngx_file_t));
    file.name = issuer->jwks_file;
    file.log = cf->log;

    /* non-blocking: the open of a FIFO would wait for a writer */

    file.fd = ngx_open_file(file.name.data, NGX_FILE_RDONLY|NGX_FILE_NONBLOCK,
                            NGX_FILE_OPEN, 0);

    if (file.fd == NGX_INVALID_FILE) {
        (void) ngx_mcp_keys_conf_error(cf, issuer, ngx_errno,
                                       "cannot read jwks_file \"%V\"",
                                       &file.name);
        return NGX_ERROR;
    }

    rc = NGX_ERROR;

    if (ngx_fd_info(file.fd, &fi) == NGX_FILE_ERROR || !ngx_is_file(&fi)) {
        (void) ngx_mcp_keys_conf_error(cf, issuer, 0,
                                       "jwks_file \"%V\" is not a file",
                                       &file.name);
        goto done;
    }

    size = ngx_file_size(&fi);

    if (size > issuer->max_key_set) {
        (void) ngx_mcp_keys_conf_error(cf, issuer, 0,
                                       "jwks_file \"%V\" has more than %uz "
                                       "bytes (max_key_set)", &file.name,
                                       issuer->max_key_set);
        goto done;
    }

    content->data = ngx_pnalloc(cf->pool, size + 1);
    if (content->data == NULL) {
        goto done;
    }

    n = ngx_read_file(&file, content->data, size, 0);

    if (n == NGX_ERROR || (size_t) n != size) {
        (void) ngx_mcp_keys_conf_error(cf, issuer, 0,
                                       "cannot read all of jwks_file \"%V\"",
                                       &file.name);
        goto done;
    }

    content->len = size;
    rc = NGX_OK;

done:

    (void) ngx_close_file(file.fd);

    return rc;
}


static char *
ngx_mcp_keys_conf_url(ngx_conf_t *cf, ngx_mcp_issuer_t *issuer,
    ngx_str_t *source)
{
    const char  *error;

    if (issuer->jwks_uri.len == 0) {
        if (ngx_mcp_keys_conf_discovery(cf, issuer, source) != NGX_CONF_OK) {
            return NGX_CONF_ERROR;
        }

    } else {
        *source = issuer->jwks_uri;
        error = "invalid URL";

        if (ngx_mcp_url_parse(cf->pool, source, &issuer->url, &error)
            != NGX_OK)
        {
            return ngx_mcp_keys_conf_error(cf, issuer, 0,
                                           "invalid jwks_uri \"%V\": %s",
                                           source, error);
        }
    }

    if (ngx_mcp_fetch_conf_init(cf, &issuer->fetch, &issuer->url,
                                &issuer->trusted_certificate)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    issuer->fetch.timeout = issuer->jwks_timeout;

    return NGX_CONF_OK;
}


/*
 * Two places, without the issuer's last slash: its well-known path behind the
 * issuer (OpenID Connect Discovery 1.0, section 4), and between host and path
 * (RFC 8414, section 3.1).
 */

static const char *
ngx_mcp_keys_conf_places(ngx_conf_t *cf, ngx_mcp_issuer_t *issuer,
    ngx_str_t *source, ngx_mcp_url_t *openid_url, ngx_mcp_url_t *oauth_url)
{
    size_t          len;
    ngx_str_t       text, path, origin;
    const char     *error;
    ngx_mcp_url_t   url;

    text.len = issuer->jwt.issuer.len;
    text.data = issuer->jwt.issuer.data;
    error = "invalid URL";

    if (ngx_mcp_url_parse(cf->pool, &text, &url, &error) != NGX_OK) {
        return error;
    }

    if (ngx_strlchr(text.data, text.data + text.len, '?')) {
        return "it has a query";
    }

    if (text.data[text.len - 1] == '/') {
        text.len--;
    }

    path = url.uri;

    if (path.data[path.len - 1] == '/') {
        path.len--;
    }

    /* the part in front of the path: all of it up to the path as written */

    len = text.len - path.len;
    origin.data = text.data;
    origin.len = len;

    ngx_str_null(&url.uri);

    if (ngx_mcp_keys_join(cf->pool, source, &text, NGX_MCP_KEYS_OPENID_PATH,
                          &url.uri)
           != NGX_OK
        || ngx_mcp_keys_join(cf->pool, &text, &origin,
                             NGX_MCP_KEYS_OAUTH_PATH, &path)
           != NGX_OK)
    {
        return "out of memory";
    }

    if (ngx_mcp_url_parse(cf->pool, source, openid_url, &error) == NGX_OK
        && ngx_mcp_url_parse(cf->pool, &text, oauth_url, &error) == NGX_OK)
    {
        return NULL;
    }

    return error;
}


static char *
ngx_mcp_keys_conf_discovery(ngx_conf_t *cf, ngx_mcp_issuer_t *issuer,
    ngx_str_t *source)
{
    const char  *error;

    error = ngx_mcp_keys_conf_places(cf, issuer, source, &issuer->url,
                                     &issuer->oauth_url);

    if (error == NULL) {
        return NGX_CONF_OK;
    }

    return ngx_mcp_keys_conf_error(cf, issuer, 0,
                                   "there is no jwks_uri, and keys cannot be "
                                   "discovered from issuer \"%V\": %s",
                                   (ngx_str_t *) &issuer->jwt.issuer, error);
}


char *
ngx_mcp_keys_conf_login(ngx_conf_t *cf, ngx_mcp_issuer_t *issuer)
{
    ngx_str_t       source;
    const char     *error;
    ngx_mcp_url_t   oauth_url;

    error = ngx_mcp_keys_conf_places(cf, issuer, &source, &issuer->login_url,
                                     &oauth_url);

    if (error == NULL) {
        return NGX_CONF_OK;
    }

    return ngx_mcp_keys_conf_error(cf, issuer, 0,
                                   "\"authorization_endpoint\" and "
                                   "\"token_endpoint\" are not both there, and "
                                   "cannot be discovered from issuer \"%V\": "
                                   "%s", (ngx_str_t *) &issuer->jwt.issuer,
                                   error);
}


/* SHA-256 over everything that makes a set the set of this issuer; lengths go
 * in so that fields cannot run together. */

static char *
ngx_mcp_keys_conf_name(ngx_conf_t *cf, ngx_mcp_issuer_t *issuer,
    ngx_str_t *source)
{
    u_char     *p, *buf;
    size_t      size;
    ngx_str_t  *iss, *ca;

    iss = (ngx_str_t *) &issuer->jwt.issuer;
    ca = &issuer->trusted_certificate;

    size = iss->len + source->len + ca->len + 5 * (NGX_SIZE_T_LEN + 1) + 8;

    buf = ngx_pnalloc(cf->pool, size);
    if (buf == NULL) {
        return NGX_CONF_ERROR;
    }

    p = ngx_sprintf(buf, "%s %uz %ui %uz %uz %uz ",
                    issuer->jwks_file.len ? "file"
                    : issuer->jwks_uri.len ? "uri" : "issuer",
                    issuer->max_key_set, issuer->max_keys,
                    iss->len, source->len, ca->len);

    p = ngx_cpymem(p, iss->data, iss->len);
    p = ngx_cpymem(p, source->data, source->len);
    p = ngx_cpymem(p, ca->data, ca->len);

    if (EVP_Digest(buf, p - buf, issuer->zone_name, NULL, EVP_sha256(), NULL)
        != 1)
    {
        ngx_ssl_error(NGX_LOG_EMERG, cf->log, 0, "EVP_Digest() failed");
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_mcp_keys_join(ngx_pool_t *pool, ngx_str_t *text, ngx_str_t *first,
    const char *second, ngx_str_t *third)
{
    text->len = first->len + ngx_strlen(second) + third->len;

    text->data = ngx_pnalloc(pool, text->len + 1);
    if (text->data == NULL) {
        return NGX_ERROR;
    }

    ngx_sprintf(text->data, "%V%s%V%Z", first, second, third);

    return NGX_OK;
}


static void
ngx_mcp_keys_free_set(void *data)
{
    mcp_jwk_set_free(data);
}


static char *
ngx_mcp_keys_conf_error(ngx_conf_t *cf, ngx_mcp_issuer_t *issuer,
    ngx_err_t err, const char *fmt, ...)
{
    u_char   *p, buf[NGX_MAX_CONF_ERRSTR];
    va_list   args;

    va_start(args, fmt);
    p = ngx_vslprintf(buf, buf + NGX_MAX_CONF_ERRSTR, fmt, args);
    va_end(args);

    ngx_log_error(NGX_LOG_EMERG, cf->log, err,
                  "mcp_issuer \"%V\": %*s in %V:%ui", &issuer->name,
                  (size_t) (p - buf), buf, &issuer->conf_file,
                  issuer->conf_line);

    return NGX_CONF_ERROR;
}
