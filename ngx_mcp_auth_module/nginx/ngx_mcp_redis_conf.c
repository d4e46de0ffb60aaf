/*
 * mcp_redis { ... }: where Redis is, and how it is spoken to.
 *
 * Everything is made at configuration time, in the master, from the cycle's
 * pool, and is read-only afterwards.  The password is read here once; neither
 * it nor a line that may be it is ever part of a message.
 */

#include "ngx_mcp_conf.h"
#include "ngx_mcp_redis.h"


#define NGX_MCP_REDIS_PORT    6379
#define NGX_MCP_REDIS_PREFIX  64        /* bytes */
#define NGX_MCP_REDIS_USER    256       /* bytes */


static char *ngx_mcp_redis_check(ngx_conf_t *cf, ngx_mcp_redis_conf_t *rcf);
static char *ngx_mcp_redis_server(ngx_conf_t *cf, ngx_mcp_redis_conf_t *rcf,
    ngx_str_t *text);
static char *ngx_mcp_redis_socket(ngx_conf_t *cf, ngx_mcp_redis_conf_t *rcf,
    ngx_str_t *text);
static char *ngx_mcp_redis_password(ngx_conf_t *cf, ngx_str_t *text,
    ngx_str_t *out);
static char *ngx_mcp_redis_ssl_name(ngx_conf_t *cf, ngx_mcp_redis_conf_t *rcf,
    ngx_str_t *text);
static char *ngx_mcp_redis_word(ngx_conf_t *cf, ngx_str_t *value,
    ngx_str_t *out, size_t max);
static char *ngx_mcp_redis_number(ngx_conf_t *cf, ngx_mcp_redis_conf_t *rcf,
    ngx_str_t *value);
static char *ngx_mcp_redis_time(ngx_conf_t *cf, ngx_str_t *value,
    ngx_msec_t *out, ngx_msec_t min, ngx_msec_t max);
static ngx_int_t ngx_mcp_redis_string(ngx_pool_t *pool, ngx_str_t *from,
    ngx_str_t *to);


char *
ngx_mcp_redis_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_mcp_main_conf_t *mmcf = conf;

    char                  *rv;
    ngx_mcp_redis_conf_t  *rcf;

    if (mmcf->redis) {
        return "is duplicate";
    }

    rcf = ngx_pcalloc(cf->pool, sizeof(ngx_mcp_redis_conf_t));
    if (rcf == NULL) {
        return NGX_CONF_ERROR;
    }

    rcf->conf_file = cf->conf_file->file.name;
    rcf->conf_line = cf->conf_file->line;
    rcf->tls = NGX_CONF_UNSET;
    rcf->database = NGX_CONF_UNSET;
    rcf->timeout = NGX_CONF_UNSET_MSEC;
    rcf->connect_timeout = NGX_CONF_UNSET_MSEC;
    rcf->revocation_stale = NGX_CONF_UNSET_MSEC;
    rcf->max_reply = NGX_CONF_UNSET_SIZE;

    mmcf->redis = rcf;

    rv = ngx_mcp_conf_block(cf, NGX_MCP_REDIS_CONF);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    return ngx_mcp_redis_check(cf, rcf);
}


static char *
ngx_mcp_redis_check(ngx_conf_t *cf, ngx_mcp_redis_conf_t *rcf)
{
    if (rcf->server.len == 0) {
        return ngx_mcp_conf_error(cf, "mcp_redis has no \"server\"");
    }

    if (rcf->user.len && rcf->password.len == 0) {
        return ngx_mcp_conf_error(cf, "mcp_redis has a \"user\" and no "
                                  "\"password\"");
    }

    if (rcf->tls == 1 && rcf->socket) {
        return ngx_mcp_conf_error(cf, "mcp_redis has \"tls on\" and a unix "
                                  "socket");
    }

    if (rcf->tls != 1 && (rcf->name.len || rcf->trusted_certificate.len)) {
        return ngx_mcp_conf_error(cf, "mcp_redis has \"%s\" without "
                                  "\"tls on\"",
                                  rcf->name.len ? "ssl_name"
                                                : "ssl_trusted_certificate");
    }

    if (rcf->tls != 1 && rcf->password.len && !rcf->socket
        && !ngx_mcp_url_loopback(&rcf->url))
    {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "mcp_redis sends its password to \"%V\" without "
                           "\"tls on\"", &rcf->server);
    }

    return NGX_CONF_OK;
}


char *
ngx_mcp_redis_line(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_mcp_main_conf_t *mmcf = conf;

    ngx_str_t             *value;
    ngx_mcp_redis_conf_t  *rcf;

    rcf = mmcf->redis;
    value = cf->args->elts;

    if (ngx_strcmp(value[0].data, "server") == 0) {
        return ngx_mcp_redis_server(cf, rcf, &value[1]);
    }

    if (ngx_strcmp(value[0].data, "password") == 0) {
        return ngx_mcp_redis_password(cf, &value[1], &rcf->password);
    }

    if (ngx_strcmp(value[0].data, "ssl_name") == 0) {
        return ngx_mcp_redis_ssl_name(cf, rcf, &value[1]);
    }

    if (ngx_strcmp(value[0].data, "ssl_trusted_certificate") == 0) {
        if (rcf->trusted_certificate.len) {
            return "is duplicate";
        }

        rcf->trusted_certificate = value[1];

        return NGX_CONF_OK;
    }

    if (ngx_strcmp(value[0].data, "user") == 0) {
        return ngx_mcp_redis_word(cf, value, &rcf->user, NGX_MCP_REDIS_USER);
    }

    if (ngx_strcmp(value[0].data, "prefix") == 0) {
        return ngx_mcp_redis_word(cf, value, &rcf->prefix,
                                  NGX_MCP_REDIS_PREFIX);
    }

    if (ngx_strcmp(value[0].data, "tls") == 0) {
        if (rcf->tls != NGX_CONF_UNSET) {
            return "is duplicate";
        }

        rcf->tls = (ngx_strcmp(value[1].data, "on") == 0);

        if (!rcf->tls && ngx_strcmp(value[1].data, "off") != 0) {
            return ngx_mcp_conf_error(cf, "\"tls\" is \"on\" or \"off\", not "
                                      "\"%V\"", &value[1]);
        }

        return NGX_CONF_OK;
    }

    return ngx_mcp_redis_number(cf, rcf, value);
}


/* HOST[:PORT] | unix:/PATH */
static char *
ngx_mcp_redis_server(ngx_conf_t *cf, ngx_mcp_redis_conf_t *rcf,
    ngx_str_t *text)
{
    const char  *error;

    if (rcf->server.len) {
        return "is duplicate";
    }

    rcf->server = *text;

    if (text->len >= 5 && ngx_strncmp(text->data, "unix:", 5) == 0) {
        return ngx_mcp_redis_socket(cf, rcf, text);
    }

    rcf->url.port = NGX_MCP_REDIS_PORT;

    error = ngx_mcp_url_authority(cf->pool, text, &rcf->url);

    if (error) {
        return ngx_mcp_conf_error(cf, "invalid server \"%V\" of mcp_redis: %s",
                                  text, error);
    }

    return ngx_mcp_redis_string(cf->pool, &rcf->url.host, &rcf->host)
           == NGX_OK ? NGX_CONF_OK : NGX_CONF_ERROR;
}


static char *
ngx_mcp_redis_socket(ngx_conf_t *cf, ngx_mcp_redis_conf_t *rcf,
    ngx_str_t *text)
{
    ngx_url_t  u;

    ngx_memzero(&u, sizeof(ngx_url_t));

    u.url = *text;
    u.no_resolve = 1;

    if (text->len == 5 || text->data[5] != '/'
        || ngx_parse_url(cf->pool, &u) != NGX_OK || u.naddrs != 1)
    {
        return ngx_mcp_conf_error(cf, "invalid server \"%V\" of mcp_redis: "
                                  "%s", text,
                                  u.err ? u.err : "unix: and an absolute path "
                                                  "are expected");
    }

    rcf->socket = u.addrs;

    return NGX_CONF_OK;
}


/* file:PATH | ${file:PATH} | ${env:NAME}, and never the secret itself, which
 * `nginx -T` would print. */
static char *
ngx_mcp_redis_password(ngx_conf_t *cf, ngx_str_t *text, ngx_str_t *out)
{
    u_char     *last;
    ngx_str_t   ref;

    if (out->len) {
        return "is duplicate";
    }

    ref = *text;

    if (ref.len > 5 && ngx_strncmp(ref.data, "file:", 5) == 0) {

        ref.len = text->len + 3;
        ref.data = ngx_pnalloc(cf->pool, ref.len);
        if (ref.data == NULL) {
            return NGX_CONF_ERROR;
        }

        ngx_sprintf(ref.data, "${%V}", text);
    }

    last = ref.data + ref.len;

    if (ref.len < 3 || ref.data[0] != '$' || ref.data[1] != '{'
        || ngx_strlchr(ref.data, last, '}') != last - 1)
    {
        return ngx_mcp_conf_error(cf, "\"password\" is file:PATH, "
                                  "\"${file:PATH}\" or \"${env:NAME}\"");
    }

    return ngx_mcp_conf_secret(cf, &ref, out);
}


/* What the certificate is for, when that is not the host of `server`. */
static char *
ngx_mcp_redis_ssl_name(ngx_conf_t *cf, ngx_mcp_redis_conf_t *rcf,
    ngx_str_t *text)
{
    const char     *error;
    ngx_mcp_url_t   url;

    if (rcf->name.len) {
        return "is duplicate";
    }

    ngx_memzero(&url, sizeof(ngx_mcp_url_t));

    error = ngx_mcp_url_authority(cf->pool, text, &url);

    if (error || url.port) {
        return ngx_mcp_conf_error(cf, "invalid ssl_name \"%V\": %s", text,
                                  error ? error : "it has no port");
    }

    rcf->name_literal = url.literal;

    return ngx_mcp_redis_string(cf->pool, &url.host, &rcf->name) == NGX_OK
           ? NGX_CONF_OK : NGX_CONF_ERROR;
}


/* Visible ASCII, as both the command line and the log can show it. */
static char *
ngx_mcp_redis_word(ngx_conf_t *cf, ngx_str_t *value, ngx_str_t *out,
    size_t max)
{
    size_t  i;

    if (out->len) {
        return "is duplicate";
    }

    for (i = 0; i < value[1].len; i++) {
        if (value[1].data[i] <= 0x20 || value[1].data[i] >= 0x7f) {
            break;
        }
    }

    if (i < value[1].len || i == 0 || i > max) {
        return ngx_mcp_conf_error(cf, "invalid \"%V\" of mcp_redis: 1 to %uz "
                                  "visible ASCII characters are expected",
                                  &value[0], max);
    }

    *out = value[1];

    return NGX_CONF_OK;
}


static char *
ngx_mcp_redis_number(ngx_conf_t *cf, ngx_mcp_redis_conf_t *rcf,
    ngx_str_t *value)
{
    ssize_t  size;

    if (ngx_strcmp(value[0].data, "timeout") == 0) {
        return ngx_mcp_redis_time(cf, value, &rcf->timeout, 10, 60000);
    }

    if (ngx_strcmp(value[0].data, "connect_timeout") == 0) {
        return ngx_mcp_redis_time(cf, value, &rcf->connect_timeout, 10,
                                  60000);
    }

    /* it is confirmed once a second */

    if (ngx_strcmp(value[0].data, "revocation_stale") == 0) {
        return ngx_mcp_redis_time(cf, value, &rcf->revocation_stale, 2000,
                                  3600 * 1000);
    }

    if (ngx_strcmp(value[0].data, "database") == 0) {

        if (rcf->database != NGX_CONF_UNSET) {
            return "is duplicate";
        }

        rcf->database = ngx_atoi(value[1].data, value[1].len);

        if (rcf->database == NGX_ERROR || rcf->database > 65535) {
            return ngx_mcp_conf_error(cf, "invalid \"database\" \"%V\": 0 to "
                                      "65535 is expected", &value[1]);
        }

        return NGX_CONF_OK;
    }

    /* max_reply */

    if (rcf->max_reply != NGX_CONF_UNSET_SIZE) {
        return "is duplicate";
    }

    size = ngx_parse_size(&value[1]);

    if (size == NGX_ERROR || size < 64 * 1024 || size > 64 * 1024 * 1024) {
        return ngx_mcp_conf_error(cf, "invalid \"max_reply\" \"%V\": 64k to "
                                  "64m is expected", &value[1]);
    }

    rcf->max_reply = size;

    return NGX_CONF_OK;
}


static char *
ngx_mcp_redis_time(ngx_conf_t *cf, ngx_str_t *value, ngx_msec_t *out,
    ngx_msec_t min, ngx_msec_t max)
{
    ngx_int_t  ms;

    if (*out != NGX_CONF_UNSET_MSEC) {
        return "is duplicate";
    }

    ms = ngx_parse_time(&value[1], 0);

    if (ms == NGX_ERROR || ms < (ngx_int_t) min || ms > (ngx_int_t) max) {
        return ngx_mcp_conf_error(cf, "invalid \"%V\" \"%V\": %Mms to %Mms is "
                                  "expected", &value[0], &value[1], min, max);
    }

    *out = ms;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_mcp_redis_string(ngx_pool_t *pool, ngx_str_t *from, ngx_str_t *to)
{
    to->len = from->len;
    to->data = ngx_pnalloc(pool, from->len + 1);
    if (to->data == NULL) {
        return NGX_ERROR;
    }

    (void) ngx_cpystrn(to->data, from->data, from->len + 1);

    return NGX_OK;
}


ngx_int_t
ngx_mcp_redis_conf_finish(ngx_conf_t *cf, ngx_mcp_redis_conf_t *rcf)
{
    ngx_conf_init_value(rcf->tls, 0);
    ngx_conf_init_value(rcf->database, 0);
    ngx_conf_init_msec_value(rcf->timeout, 1000);
    ngx_conf_init_msec_value(rcf->connect_timeout, 1000);
    ngx_conf_init_msec_value(rcf->revocation_stale, 5000);
    ngx_conf_init_size_value(rcf->max_reply, 1024 * 1024);

    if (rcf->prefix.len == 0) {
        ngx_str_set(&rcf->prefix, "mcp:");
    }

    if (rcf->socket) {
        return NGX_OK;
    }

    if (rcf->tls
        && ngx_mcp_conn_conf_ssl(cf, &rcf->conn, &rcf->trusted_certificate)
           != NGX_OK)
    {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "mcp_redis cannot use TLS in %V:%ui", &rcf->conf_file,
                      rcf->conf_line);
        return NGX_ERROR;
    }

    return ngx_mcp_conn_conf_resolver(cf, &rcf->conn,
                                      rcf->url.literal ? NULL : &rcf->host,
                                      rcf->url.port);
}


ngx_int_t
ngx_mcp_redis_key(ngx_mcp_redis_conf_t *rcf, ngx_pool_t *pool,
    const char *name, ngx_str_t *suffix, ngx_str_t *key)
{
    u_char  *p;
    size_t   len;

    len = ngx_strlen(name);

    key->len = rcf->prefix.len + len + (suffix ? suffix->len : 0);
    key->data = ngx_pnalloc(pool, key->len);
    if (key->data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(key->data, rcf->prefix.data, rcf->prefix.len);
    p = ngx_cpymem(p, name, len);

    if (suffix) {
        ngx_memcpy(p, suffix->data, suffix->len);
    }

    return NGX_OK;
}
