/*
 * What a fetch needs before it can begin: parsed URLs and its limits;
 * ngx_mcp_fetch.h is the contract.
 *
 * Everything here is made at configuration time from the cycle's pool and is
 * read-only afterwards, but for ngx_mcp_url_parse(), which discovery calls at
 * run time with URLs that come from outside.
 */

#include "ngx_mcp_fetch.h"


#define NGX_MCP_FETCH_TIMEOUT      10000
#define NGX_MCP_FETCH_HEADER       16384
#define NGX_MCP_URL_MAX            2048
#define NGX_MCP_HOST_MAX           253      /* RFC 1035 */


static ngx_int_t ngx_mcp_url_scheme(ngx_str_t *rest, ngx_mcp_url_t *url);
static const char *ngx_mcp_url_chars(ngx_str_t *text);
static const char *ngx_mcp_url_port(ngx_str_t *text, ngx_mcp_url_t *url);
static const char *ngx_mcp_url_ipv6(ngx_pool_t *pool, ngx_str_t *host,
    ngx_mcp_url_t *url);
static const char *ngx_mcp_url_host(ngx_pool_t *pool, ngx_str_t *host,
    ngx_mcp_url_t *url);


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


const char *
ngx_mcp_url_authority(ngx_pool_t *pool, ngx_str_t *text, ngx_mcp_url_t *url)
{
    u_char      *p, *last;
    ngx_str_t    host, port;
    const char  *error;

    last = text->data + text->len;

    if (ngx_strlchr(text->data, last, '@')) {
        return "a user name is not allowed here";
    }

    url->host_header = *text;

    if (text->len && text->data[0] == '[') {

        p = ngx_strlchr(text->data, last, ']');
        if (p == NULL) {
            return "invalid host";
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
        return "invalid host";
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
        return "invalid port";
    }

    n = ngx_atoi(text->data, text->len);

    if (n < 1 || n > 65535) {
        return "invalid port";
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
        return "invalid IPv6 address";
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
        return "invalid host";
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
                return "invalid host";
            }

            label = i + 1;
            continue;
        }

        if ((ch < 'a' || ch > 'z') && (ch < '0' || ch > '9') && ch != '-'
            && ch != '_')
        {
            return "invalid host";
        }
    }

    url->host.len = host->len;
    url->host.data = p;

    if (label == host->len) {
        return "invalid host";
    }

    /*
     * what begins its last label with a digit is an address or nothing: the
     * system would take "127.1" and "0x7f000001" for addresses, we do not
     */

    if (p[label] >= '0' && p[label] <= '9') {

        if (ngx_inet_addr(p, host->len) == INADDR_NONE) {
            return "invalid IPv4 address";
        }

        url->literal = 1;
    }

    return NULL;
}


ngx_uint_t
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

    if (ngx_mcp_conn_conf_ssl(cf, &fc->conn, trusted) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_mcp_conn_conf_resolver(cf, &fc->conn,
                                      url && !url->literal ? &url->host : NULL,
                                      url ? url->port : 0);
}
