/*
 * A syslog server as the sink of audit records: one datagram for each.
 */

#ifndef NGX_MCP_SYSLOG_H
#define NGX_MCP_SYSLOG_H


#include <ngx_config.h>
#include <ngx_core.h>


typedef struct ngx_mcp_syslog_s  ngx_mcp_syslog_t;


/* cf->args[1] is "syslog:server=...", with nginx's own parameters.  NULL after
 * logging at emerg. */
ngx_mcp_syslog_t *ngx_mcp_syslog_conf(ngx_conf_t *cf);

/* One line without its end.  NGX_OK: the system took all of it; NGX_ERROR: it
 * did not, *err says why. */
ngx_int_t ngx_mcp_syslog_send(ngx_mcp_syslog_t *sl, u_char *line, size_t len,
    ngx_err_t *err);

/* What its log is called. */
ngx_str_t *ngx_mcp_syslog_name(ngx_mcp_syslog_t *sl);

/* Worker's end. */
void ngx_mcp_syslog_close(ngx_mcp_syslog_t *sl);


#endif /* NGX_MCP_SYSLOG_H */
