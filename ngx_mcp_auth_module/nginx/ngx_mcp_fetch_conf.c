/*
 * What a fetch needs before it can begin: parsed URLs, the TLS context, and a
 * way to resolve names; ngx_mcp_fetch.h is the contract.
 *
 * Everything here is made at configuration time from the cycle's pool and is
 * read-only afterwards, but for ngx_mcp_url_parse(), which discovery calls at
 * run time with URLs that come from outside.  The TLS context is freed by the
 * pool's cleanup.
 */

#include "ngx_mcp_fetch.h"
#include "ngx_mcp_conn.h"

#include <ngx_http.h>


#define NGX_MCP_FETCH_TIMEOUT      10000
#define NGX_MCP_FETCH_HEADER       16384
#define NGX_MCP_FETCH_DEPTH        10       /* certificates in a chain */
#define NGX_MCP_URL_MAX            2048
#define NGX_MCP_HOST_MAX           253      /* RFC 1035 */
#define NGX_MCP_RESOLV_CONF        "/etc/resolv.conf"
#define NGX_MCP_RESOLV_CONF_SIZE   8192
#define NGX_MCP_RESOLV_CONF_MAX    3        /* MAXNS of resolv.h */


static ngx_int_t ngx_mcp_url_scheme(ngx_str_t *rest, ngx_mcp_url_t *url);
static const char *ngx_mcp_url_chars(ngx_str_t *text);
static const char *ngx_mcp_url_authority(ngx_pool_t *pool, ngx_str_t *text,
    ngx_mcp_url_t *url);
static const char *ngx_mcp_url_port(ngx_str_t *text, ngx_mcp_url_t *url);
static const char *ngx_mcp_url_ipv6(ngx_pool_t *pool, ngx_str_t *host,
    ngx_mcp_url_t *url);
static const char *ngx_mcp_url_host(ngx_pool_t *pool, ngx_str_t *host,
    ngx_mcp_url_t *url);
static ngx_uint_t ngx_mcp_url_loopback(ngx_mcp_url_t *url);
static ngx_int_t ngx_mcp_fetch_conf_ssl(ngx_conf_t *cf,
    ngx_mcp_fetch_conf_t *fc, ngx_str_t *trusted);
static ngx_int_t ngx_mcp_fetch_conf_resolver(ngx_conf_t *cf,
    ngx_mcp_fetch_conf_t *fc, ngx_mcp_url_t *url);
static ngx_int_t ngx_mcp_fetch_conf_static(ngx_conf_t *cf,
    ngx_mcp_fetch_conf_t *fc, ngx_mcp_url_t *url);
static ngx_int_t ngx_mcp_fetch_resolv_conf(ngx_conf_t *cf,
    ngx_mcp_fetch_conf_t *fc);
static ngx_uint_t ngx_mcp_fetch_nameserver(ngx_pool_t *pool, u_char *p,
    u_char *last, ngx_str_t *name);


ngx_int_t
ngx_mcp_url_parse(ngx_pool_t *pool, ngx_str_t *text, ngx_mcp_url_t *url,
    const char **error)
{
    u_char     *p, *last;
    ngx_str_t   rest, authority;

    ngx_memzero(url, sizeof(ngx_mcp_url_t));

    *error = ngx_mcp_url_chars(text);
    if (*error) {
        return NGX_ERROR;
    }

    rest = *text;

    if (ngx_mcp_url_scheme(&rest, url) != NGX_OK) {
        *error = "the URL must begin with https:// or http://";
        return NGX_ERROR;
    }

    url->url = *text;
    last = rest.data + rest.len;

    for (p = rest.data; p < last && *p != '/' && *p != '?'; p++) {
        /* void */
    }

    authority.data = rest.data;
    authority.len = p - rest.data;

    *error = ngx_mcp_url_authority(pool, &authority, url);
    if (*error) {
        return NGX_ERROR;
    }

    if (!url->tls && !ngx_mcp_url_loopback(url)) {
        *error = "http:// is allowed to a loopback address only";
        return NGX_ERROR;
    }

    url->uri.data = p;
    url->uri.len = last - p;

    if (p < last && *p == '/') {
        return NGX_OK;
    }

    url->uri.len++;
    url->uri.data = ngx_pnalloc(pool, url->uri.len);
    if (url->uri.data == NULL) {
        *error = "out of memory";
        return NGX_ERROR;
    }

    url->uri.data[0] = '/';
    ngx_memcpy(url->uri.data + 1, p, last - p);

    return NGX_OK;
}


/* Only what RFC 3986 allows in a URL, so that nothing needs escaping. */
static const char *
ngx_mcp_url_chars(ngx_str_t *text)
{
    u_char  ch;
    size_t  i;

    if (text->len > NGX_MCP_URL_MAX) {
        return "the URL is too long";
    }

    for (i = 0; i < text->len; i++) {
        ch = text->data[i];

        if (ch == '#') {
            return "the URL must not have a fragment";
        }

        if (ch <= 0x20 || ch >= 0x7f
            || ngx_strchr("\"<>\\^`{|}", ch) != NULL)
        {
            return "the URL has an invalid character";
        }
    }

    return NULL;
}


static ngx_int_t
ngx_mcp_url_scheme(ngx_str_t *rest, ngx_mcp_url_t *url)
{
    size_t  n;

    if (rest->len > 8
        && ngx_strncasecmp(rest->data, (u_char *) "https://", 8) == 0)
    {
        url->tls = 1;
        url->port = 443;
        n = 8;

    } else if (rest->len > 7
               && ngx_strncasecmp(rest->data, (u_char *) "http://", 7) == 0)
    {
        url->port = 80;
        n = 7;

    } else {
        return NGX_ERROR;
    }

    rest->data += n;
    rest->len -= n;

    return NGX_OK;
}


static const char *
ngx_mcp_url_authority(ngx_pool_t *pool, ngx_str_t *text, ngx_mcp_url_t *url)
{
    u_char      *p, *last;
    ngx_str_t    host, port;
    const char  *error;

    last = text->data + text->len;

    if (ngx_strlchr(text->data, last, '@')) {
        return "the URL must not have a user name";
    }

    url->host_header = *text;

    if (text->len && text->data[0] == '[') {

        p = ngx_strlchr(text->data, last, ']');
        if (p == NULL) {
            return "the URL has an invalid host";
        }

        host.data = text->data + 1;
        host.len = p - host.data;
        p++;

        error = ngx_mcp_url_ipv6(pool, &host, url);

    } else {
        p = ngx_strlchr(text->data, last, ':');
        if (p == NULL) {
            p = last;
        }

        host.data = text->data;
        host.len = p - host.data;

        error = ngx_mcp_url_host(pool, &host, url);
    }

    if (error || p == last) {
        return error;
    }

    if (*p != ':') {
        return "the URL has an invalid host";
    }

    port.data = p + 1;
    port.len = last - port.data;

    return ngx_mcp_url_port(&port, url);
}


static const char *
ngx_mcp_url_port(ngx_str_t *text, ngx_mcp_url_t *url)
{
    ngx_int_t  n;

    if (text->len == 0 || text->len > 5) {
        return "the URL has an invalid port";
    }

    n = ngx_atoi(text->data, text->len);

    if (n < 1 || n > 65535) {
        return "the URL has an invalid port";
    }

    url->port = (in_port_t) n;

    return NULL;
}


static const char *
ngx_mcp_url_ipv6(ngx_pool_t *pool, ngx_str_t *host, ngx_mcp_url_t *url)
{
#if (NGX_HAVE_INET6)
    u_char  addr[16];

    if (host->len > NGX_INET6_ADDRSTRLEN
        || ngx_inet6_addr(host->data, host->len, addr) != NGX_OK)
    {
        return "the URL has an invalid IPv6 address";
    }

    url->literal = 1;
    url->host.len = host->len;
    url->host.data = ngx_pstrdup(pool, host);

    return url->host.data ? NULL : "out of memory";
#else
    return "IPv6 is not supported";
#endif
}


/* A name, kept in lower case, or an IPv4 address. */
static const char *
ngx_mcp_url_host(ngx_pool_t *pool, ngx_str_t *host, ngx_mcp_url_t *url)
{
    u_char  ch, *p;
    size_t  i, label;

    if (host->len == 0 || host->len > NGX_MCP_HOST_MAX) {
        return "the URL has an invalid host";
    }

    p = ngx_pnalloc(pool, host->len);
    if (p == NULL) {
        return "out of memory";
    }

    label = 0;

    for (i = 0; i < host->len; i++) {
        ch = ngx_tolower(host->data[i]);
        p[i] = ch;

        if (ch == '.') {
            if (i == label) {
                return "the URL has an invalid host";
            }

            label = i + 1;
            continue;
        }

        if ((ch < 'a' || ch > 'z') && (ch < '0' || ch > '9') && ch != '-'
            && ch != '_')
        {
            return "the URL has an invalid host";
        }
    }

    url->host.len = host->len;
    url->host.data = p;

    if (label == host->len) {
        return "the URL has an invalid host";
    }

    /*
     * what begins its last label with a digit is an address or nothing: the
     * system would take "127.1" and "0x7f000001" for addresses, we do not
     */

    if (p[label] >= '0' && p[label] <= '9') {

        if (ngx_inet_addr(p, host->len) == INADDR_NONE) {
            return "the URL has an invalid IPv4 address";
        }

        url->literal = 1;
    }

    return NULL;
}


static ngx_uint_t
ngx_mcp_url_loopback(ngx_mcp_url_t *url)
{
#if (NGX_HAVE_INET6)
    u_char           addr[16];
    struct in6_addr  in6;
#endif

    if (!url->literal) {
        return url->host.len == sizeof("localhost") - 1
               && ngx_strncmp(url->host.data, "localhost", url->host.len) == 0;
    }

#if (NGX_HAVE_INET6)

    if (ngx_inet6_addr(url->host.data, url->host.len, addr) == NGX_OK) {
        ngx_memcpy(&in6, addr, 16);
        return IN6_IS_ADDR_LOOPBACK(&in6) ? 1 : 0;
    }

#endif

    return (ntohl(ngx_inet_addr(url->host.data, url->host.len)) >> 24) == 127;
}


ngx_int_t
ngx_mcp_fetch_conf_init(ngx_conf_t *cf, ngx_mcp_fetch_conf_t *fc,
    ngx_mcp_url_t *url, ngx_str_t *trusted)
{
    if (fc->timeout == 0) {
        fc->timeout = NGX_MCP_FETCH_TIMEOUT;
    }

    if (fc->max_header == 0) {
        fc->max_header = NGX_MCP_FETCH_HEADER;
    }

    if (ngx_mcp_fetch_conf_ssl(cf, fc, trusted) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_mcp_fetch_conf_resolver(cf, fc, url);
}


static ngx_int_t
ngx_mcp_fetch_conf_ssl(ngx_conf_t *cf, ngx_mcp_fetch_conf_t *fc,
    ngx_str_t *trusted)
{
    ngx_pool_cleanup_t  *cln;

    fc->ssl = ngx_pcalloc(cf->pool, sizeof(ngx_ssl_t));
    if (fc->ssl == NULL) {
        return NGX_ERROR;
    }

    fc->ssl->log = cf->log;

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    if (ngx_ssl_create(fc->ssl, NGX_SSL_TLSv1_2|NGX_SSL_TLSv1_3, NULL)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    cln->handler = ngx_ssl_cleanup_ctx;
    cln->data = fc->ssl;

    /*
     * the handshake goes on whatever the certificate is, and
     * ngx_mcp_conn_ssl_verify() looks at the result before anything is sent:
     * so that the reason can be logged
     */

    if (trusted->len) {
        if (ngx_ssl_trusted_certificate(cf, fc->ssl, trusted,
                                        NGX_MCP_FETCH_DEPTH)
            != NGX_OK)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "cannot use trusted certificates in \"%V\"",
                               trusted);
            return NGX_ERROR;
        }

        return NGX_OK;
    }

    if (SSL_CTX_set_default_verify_paths(fc->ssl->ctx) == 0) {
        ngx_ssl_error(NGX_LOG_EMERG, cf->log, 0,
                      "SSL_CTX_set_default_verify_paths() failed");
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "cannot use the system's trusted certificates");
        return NGX_ERROR;
    }

    /* files that are not there leave errors in the queue */

    ERR_clear_error();

    return NGX_OK;
}


/*
 * A `resolver` may stand behind our block in http {}: its value is known when
 * http {} is complete, which is when this is called.
 */
static ngx_int_t
ngx_mcp_fetch_conf_resolver(ngx_conf_t *cf, ngx_mcp_fetch_conf_t *fc,
    ngx_mcp_url_t *url)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    fc->resolver_timeout = clcf->resolver_timeout;

    if (fc->resolver_timeout == NGX_CONF_UNSET_MSEC) {
        fc->resolver_timeout = 30000;
    }

    if (clcf->resolver && clcf->resolver->connections.nelts) {
        fc->resolver = clcf->resolver;
        return NGX_OK;
    }

    if (url && !url->literal
        && ngx_mcp_fetch_conf_static(cf, fc, url) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_mcp_fetch_resolv_conf(cf, fc);
}


/* Asks the system, which knows /etc/hosts as well; this may block. */
static ngx_int_t
ngx_mcp_fetch_conf_static(ngx_conf_t *cf, ngx_mcp_fetch_conf_t *fc,
    ngx_mcp_url_t *url)
{
    ngx_url_t  u;

    ngx_memzero(&u, sizeof(ngx_url_t));

    u.url = url->host;
    u.default_port = url->port;

    if (ngx_parse_url(cf->pool, &u) != NGX_OK) {

        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "host \"%V\" cannot be resolved now (%s), "
                           "it will be asked for when it is needed",
                           &url->host, u.err ? u.err : "out of memory");
        return NGX_OK;
    }

    fc->static_host = url->host;
    fc->static_addrs = u.addrs;
    fc->nstatic_addrs = ngx_min(u.naddrs, NGX_MCP_CONN_MAX_ADDRS);

    return NGX_OK;
}


/* A resolver that asks the system's name servers; none is not an error. */
static ngx_int_t
ngx_mcp_fetch_resolv_conf(ngx_conf_t *cf, ngx_mcp_fetch_conf_t *fc)
{
    ssize_t     n;
    u_char     *p, *eol, *last, *buf;
    ngx_fd_t    fd;
    ngx_str_t   names[NGX_MCP_RESOLV_CONF_MAX];
    ngx_uint_t  i;

    buf = ngx_palloc(cf->temp_pool, NGX_MCP_RESOLV_CONF_SIZE);
    if (buf == NULL) {
        return NGX_ERROR;
    }

    fd = ngx_open_file((u_char *) NGX_MCP_RESOLV_CONF, NGX_FILE_RDONLY,
                       NGX_FILE_OPEN, 0);
    if (fd == NGX_INVALID_FILE) {
        return NGX_OK;
    }

    n = ngx_read_fd(fd, buf, NGX_MCP_RESOLV_CONF_SIZE);

    (void) ngx_close_file(fd);

    i = 0;
    last = buf + ngx_max(n, 0);

    for (p = buf; p < last && i < NGX_MCP_RESOLV_CONF_MAX; p = eol + 1) {

        eol = ngx_strlchr(p, last, LF);
        if (eol == NULL) {
            eol = last;
        }

        i += ngx_mcp_fetch_nameserver(cf->pool, p, eol, &names[i]);
    }

    if (i == 0) {
        return NGX_OK;
    }

    fc->resolver = ngx_resolver_create(cf, names, i);

    return fc->resolver ? NGX_OK : NGX_ERROR;
}


/* 1 when the line names a server, which is put as `resolver` wants it. */
static ngx_uint_t
ngx_mcp_fetch_nameserver(ngx_pool_t *pool, u_char *p, u_char *last,
    ngx_str_t *name)
{
    u_char      *end;
    ngx_addr_t   addr;

    if (last - p < 11 || ngx_strncmp(p, "nameserver", 10) != 0
        || (p[10] != ' ' && p[10] != '\t'))
    {
        return 0;
    }

    for (p += 10; p < last && (*p == ' ' || *p == '\t'); p++) { /* void */ }

    for (end = p; end < last && *end > ' '; end++) { /* void */ }

    /* an IPv6 address with a zone is not one for nginx */

    if (ngx_parse_addr(pool, &addr, p, end - p) != NGX_OK) {
        return 0;
    }

    name->data = ngx_pnalloc(pool, NGX_SOCKADDR_STRLEN + 1);
    if (name->data == NULL) {
        return 0;
    }

    ngx_inet_set_port(addr.sockaddr, 53);

    name->len = ngx_sock_ntop(addr.sockaddr, addr.socklen, name->data,
                              NGX_SOCKADDR_STRLEN, 1);
    name->data[name->len] = '\0';

    return 1;
}
