/*
 * What a connection needs before it can be opened: the TLS context, and a way
 * to resolve names; ngx_mcp_conn.h is the contract.
 *
 * Made at configuration time from the cycle's pool, read-only afterwards; the
 * TLS context is freed by the pool's cleanup.  ngx_mcp_conn_addrs() is called
 * at run time, for each connection.
 */

#include "ngx_mcp_conn.h"

#include <ngx_http.h>


#define NGX_MCP_CONN_DEPTH        10        /* certificates in a chain */
#define NGX_MCP_CONN_RESOLV       "/etc/resolv.conf"
#define NGX_MCP_CONN_RESOLV_SIZE  8192
#define NGX_MCP_CONN_RESOLV_MAX   3         /* MAXNS of resolv.h */


static ngx_int_t ngx_mcp_conn_conf_static(ngx_conf_t *cf,
    ngx_mcp_conn_conf_t *cc, ngx_str_t *host, in_port_t port);
static ngx_int_t ngx_mcp_conn_conf_servers(ngx_conf_t *cf,
    ngx_mcp_conn_conf_t *cc);
static ngx_uint_t ngx_mcp_conn_conf_server(ngx_pool_t *pool, u_char *p,
    u_char *last, ngx_str_t *name);


ngx_int_t
ngx_mcp_conn_conf_ssl(ngx_conf_t *cf, ngx_mcp_conn_conf_t *cc,
    ngx_str_t *trusted)
{
    ngx_pool_cleanup_t  *cln;

    cc->ssl = ngx_pcalloc(cf->pool, sizeof(ngx_ssl_t));
    if (cc->ssl == NULL) {
        return NGX_ERROR;
    }

    cc->ssl->log = cf->log;

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    if (ngx_ssl_create(cc->ssl, NGX_SSL_TLSv1_2|NGX_SSL_TLSv1_3, NULL)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    cln->handler = ngx_ssl_cleanup_ctx;
    cln->data = cc->ssl;

    /*
     * the handshake goes on whatever the certificate is, and
     * ngx_mcp_conn_ssl_verify() looks at the result before anything is sent:
     * so that the reason can be logged
     */

    if (trusted->len) {
        if (ngx_ssl_trusted_certificate(cf, cc->ssl, trusted,
                                        NGX_MCP_CONN_DEPTH)
            != NGX_OK)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "cannot use trusted certificates in \"%V\"",
                               trusted);
            return NGX_ERROR;
        }

        return NGX_OK;
    }

    if (SSL_CTX_set_default_verify_paths(cc->ssl->ctx) == 0) {
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
ngx_int_t
ngx_mcp_conn_conf_resolver(ngx_conf_t *cf, ngx_mcp_conn_conf_t *cc,
    ngx_str_t *host, in_port_t port)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    cc->resolver_timeout = clcf->resolver_timeout;

    if (cc->resolver_timeout == NGX_CONF_UNSET_MSEC) {
        cc->resolver_timeout = 30000;
    }

    if (clcf->resolver && clcf->resolver->connections.nelts) {
        cc->resolver = clcf->resolver;
        return NGX_OK;
    }

    if (host && ngx_mcp_conn_conf_static(cf, cc, host, port) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_mcp_conn_conf_servers(cf, cc);
}


/* Asks the system, which knows /etc/hosts as well; this may block. */
static ngx_int_t
ngx_mcp_conn_conf_static(ngx_conf_t *cf, ngx_mcp_conn_conf_t *cc,
    ngx_str_t *host, in_port_t port)
{
    ngx_url_t  u;

    ngx_memzero(&u, sizeof(ngx_url_t));

    u.url = *host;
    u.default_port = port;

    if (ngx_parse_url(cf->pool, &u) != NGX_OK) {

        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "host \"%V\" cannot be resolved now (%s), "
                           "it will be asked for when it is needed",
                           host, u.err ? u.err : "out of memory");
        return NGX_OK;
    }

    cc->static_host = *host;
    cc->static_addrs = u.addrs;
    cc->nstatic_addrs = ngx_min(u.naddrs, NGX_MCP_CONN_MAX_ADDRS);

    return NGX_OK;
}


/* A resolver that asks the system's name servers; none is not an error. */
static ngx_int_t
ngx_mcp_conn_conf_servers(ngx_conf_t *cf, ngx_mcp_conn_conf_t *cc)
{
    ssize_t     n;
    u_char     *p, *eol, *last, *buf;
    ngx_fd_t    fd;
    ngx_str_t   names[NGX_MCP_CONN_RESOLV_MAX];
    ngx_uint_t  i;

    buf = ngx_palloc(cf->temp_pool, NGX_MCP_CONN_RESOLV_SIZE);
    if (buf == NULL) {
        return NGX_ERROR;
    }

    fd = ngx_open_file((u_char *) NGX_MCP_CONN_RESOLV, NGX_FILE_RDONLY,
                       NGX_FILE_OPEN, 0);
    if (fd == NGX_INVALID_FILE) {
        return NGX_OK;
    }

    n = ngx_read_fd(fd, buf, NGX_MCP_CONN_RESOLV_SIZE);

    (void) ngx_close_file(fd);

    i = 0;
    last = buf + ngx_max(n, 0);

    for (p = buf; p < last && i < NGX_MCP_CONN_RESOLV_MAX; p = eol + 1) {

        eol = ngx_strlchr(p, last, LF);
        if (eol == NULL) {
            eol = last;
        }

        i += ngx_mcp_conn_conf_server(cf->pool, p, eol, &names[i]);
    }

    if (i == 0) {
        return NGX_OK;
    }

    cc->resolver = ngx_resolver_create(cf, names, i);

    return cc->resolver ? NGX_OK : NGX_ERROR;
}


/* 1 when the line names a server, which is put as `resolver` wants it. */
static ngx_uint_t
ngx_mcp_conn_conf_server(ngx_pool_t *pool, u_char *p, u_char *last,
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


/* The addresses that need no resolver. */
ngx_int_t
ngx_mcp_conn_addrs(ngx_mcp_conn_t *conn, const ngx_mcp_conn_conf_t *cc)
{
    ngx_str_t   *host;
    ngx_addr_t  *addrs;

    static ngx_str_t  loopback = ngx_string("127.0.0.1");
#if (NGX_HAVE_INET6)
    static ngx_str_t  loopback6 = ngx_string("::1");
#endif

    host = &conn->host;

    conn->resolver = cc->resolver;
    conn->resolver_timeout = cc->resolver_timeout;

    if (cc->nstatic_addrs && host->len == cc->static_host.len
        && ngx_strncmp(host->data, cc->static_host.data, host->len) == 0)
    {
        conn->addrs = cc->static_addrs;
        conn->naddrs = cc->nstatic_addrs;
        return NGX_OK;
    }

    addrs = ngx_pcalloc(conn->pool, 2 * sizeof(ngx_addr_t));
    if (addrs == NULL) {
        return NGX_ERROR;
    }

    if (conn->literal) {
        conn->addrs = addrs;
        conn->naddrs = 1;

        return ngx_mcp_conn_literal(conn->pool, host, addrs) == NGX_OK
               ? NGX_OK : NGX_ERROR;
    }

    if (host->len != sizeof("localhost") - 1
        || ngx_strncmp(host->data, "localhost", host->len) != 0)
    {
        return NGX_OK;
    }

    /* what is sent without TLS to localhost must stay on this machine */

    conn->resolver = NULL;
    conn->addrs = addrs;
    conn->naddrs = 1;

    if (ngx_mcp_conn_literal(conn->pool, &loopback, &addrs[0]) != NGX_OK) {
        return NGX_ERROR;
    }

#if (NGX_HAVE_INET6)
    if (ngx_mcp_conn_literal(conn->pool, &loopback6, &addrs[1]) == NGX_OK) {
        conn->naddrs = 2;
    }
#endif

    return NGX_OK;
}
