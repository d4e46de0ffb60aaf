/*
 * What the files of the configuration share.  Nothing here is called at run
 * time.
 */

#ifndef NGX_MCP_CONF_H
#define NGX_MCP_CONF_H


#include "ngx_mcp_module.h"


/* Says what is wrong, with file and line. */
#define ngx_mcp_conf_error(cf, ...)                                           \
    (ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, __VA_ARGS__), NGX_CONF_ERROR)


char *ngx_mcp_conf_block(ngx_conf_t *cf, ngx_uint_t type);
char *ngx_mcp_conf_name(ngx_conf_t *cf, ngx_str_t *name);
ngx_int_t ngx_mcp_conf_role_number(ngx_conf_t *cf, ngx_str_t *name,
    ngx_uint_t *number);
char *ngx_mcp_conf_append(ngx_conf_t *cf, ngx_array_t *to, ngx_str_t *value,
    ngx_uint_t n);
/* Scopes, joined by single spaces; "a b" are two. */
char *ngx_mcp_conf_words(ngx_conf_t *cf, ngx_str_t *value, ngx_uint_t n,
    ngx_str_t *out);
ngx_mcp_server_t *ngx_mcp_conf_find_server(ngx_mcp_main_conf_t *mmcf,
    ngx_str_t *name);

char *ngx_mcp_conf_issuer(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_mcp_issuer_line(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_mcp_issuer_login(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

ngx_mcp_credential_t *ngx_mcp_conf_find_credential(ngx_mcp_main_conf_t *mmcf,
    ngx_str_t *name);
char *ngx_mcp_conf_credential(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_mcp_credential_line(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* ngx_mcp_conf_secret.c: text with ${env:NAME} and ${file:PATH} in it, 16k at
 * most, without control characters */
char *ngx_mcp_conf_secret(ngx_conf_t *cf, ngx_str_t *text, ngx_str_t *out);
char *ngx_mcp_conf_audit_key(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
ngx_int_t ngx_mcp_conf_key_file(ngx_conf_t *cf, ngx_str_t *path,
    ngx_str_t *secret);

char *ngx_mcp_conf_server(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_mcp_server_line(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_mcp_server_role(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_mcp_server_tokens(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_mcp_server_enforce(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_mcp_server_rule(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

char *ngx_mcp_conf_auth(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);


#endif /* NGX_MCP_CONF_H */
