/*
 * Syslog.  nginx's own code reads the parameters and writes the header (RFC
 * 3164); the socket is ours, because nginx does not tell what could not be sent
 * and says it in error.log each time.
 *
 * The socket is a worker's, connected, non-blocking, opened with the first
 * record and again after each failure.  A datagram is sent whole or not at all.
 * UDP tells of a server that is gone with the next datagram, if at all.
 */

#include "ngx_mcp_syslog.h"
#include "mcp_audit.h"


/* <PRI>, time, host name, tag of nginx's syslog lines */
#define NGX_MCP_SYSLOG_HEADER  (sizeof("<255>Jan 01 00:00:00 ") + 1            \
                                + NGX_MAXHOSTNAMELEN + 34)


struct ngx_mcp_syslog_s {
    ngx_syslog_peer_t        peer;
    ngx_str_t                name;
    ngx_socket_t             fd;
    u_char                   buf[NGX_MCP_SYSLOG_HEADER + MCP_AUDIT_MAX];
};


static ngx_int_t ngx_mcp_syslog_open(ngx_mcp_syslog_t *sl);


ngx_mcp_syslog_t *
ngx_mcp_syslog_conf(ngx_conf_t *cf)
{
    ngx_str_t         *value;
    ngx_mcp_syslog_t  *sl;

    sl = ngx_pcalloc(cf->pool, sizeof(ngx_mcp_syslog_t));
    if (sl == NULL) {
        return NULL;
    }

    if (ngx_syslog_process_conf(cf, &sl->peer) != NGX_CONF_OK) {
        return NULL;
    }

    value = cf->args->elts;

    sl->name = value[1];
    sl->fd = (ngx_socket_t) -1;

    return sl;
}


ngx_str_t *
ngx_mcp_syslog_name(ngx_mcp_syslog_t *sl)
{
    return &sl->name;
}


ngx_int_t
ngx_mcp_syslog_send(ngx_mcp_syslog_t *sl, u_char *line, size_t len,
    ngx_err_t *err)
{
    u_char   *p;
    ssize_t   n;

    if (sl->fd == (ngx_socket_t) -1 && ngx_mcp_syslog_open(sl) != NGX_OK) {
        *err = ngx_socket_errno;
        ngx_mcp_syslog_close(sl);

        return NGX_ERROR;
    }

    p = ngx_syslog_add_header(&sl->peer, sl->buf);
    p = ngx_cpymem(p, line, len);

    n = send(sl->fd, sl->buf, p - sl->buf, 0);

    if (n == p - sl->buf) {
        return NGX_OK;
    }

    *err = (n == -1) ? ngx_socket_errno : NGX_EINVAL;

    if (*err != NGX_EAGAIN) {
        ngx_mcp_syslog_close(sl);
    }

    return NGX_ERROR;
}


static ngx_int_t
ngx_mcp_syslog_open(ngx_mcp_syslog_t *sl)
{
    ngx_addr_t  *server;

    server = &sl->peer.server;

    sl->fd = ngx_socket(server->sockaddr->sa_family, SOCK_DGRAM, 0);

    if (sl->fd == (ngx_socket_t) -1
        || ngx_nonblocking(sl->fd) == -1
        || fcntl(sl->fd, F_SETFD, FD_CLOEXEC) == -1
        || connect(sl->fd, server->sockaddr, server->socklen) == -1)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


void
ngx_mcp_syslog_close(ngx_mcp_syslog_t *sl)
{
    if (sl->fd != (ngx_socket_t) -1) {
        (void) ngx_close_socket(sl->fd);
        sl->fd = (ngx_socket_t) -1;
    }
}
