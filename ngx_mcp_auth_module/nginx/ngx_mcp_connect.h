/*
 * mcp_connect: the pages on which a person connects accounts, once, in a
 * browser.
 *
 * The configuration of one such location.  Made when the configuration is
 * read, by ngx_mcp_connect_conf.c; read-only at run time.
 */

#ifndef NGX_MCP_CONNECT_H
#define NGX_MCP_CONNECT_H


#include "ngx_mcp_module.h"


/* mcp_connect login=ISSUER [url=URL] */
struct ngx_mcp_connect_s {
    ngx_str_t                  login;   /* name of the issuer */
    ngx_mcp_issuer_t          *issuer;
    ngx_str_t                  url;     /* of the pages; ends in "/" */
    ngx_str_t                  origin;  /* of the url, as browsers write it */
    ngx_str_t                  path;    /* the location; ends in "/" */
    ngx_array_t                credentials; /* ngx_mcp_credential_t *: those
                                               that are connected here */
    ngx_http_core_srv_conf_t  *server;  /* in which it stands */
    ngx_str_t                  conf_file;
    ngx_uint_t                 conf_line;
};


/* mcp_connect */
char *ngx_mcp_connect_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* After a location was merged: what cannot go with mcp_connect. */
char *ngx_mcp_connect_location(ngx_conf_t *cf, ngx_mcp_loc_conf_t *prev,
    ngx_mcp_loc_conf_t *conf);

/* When http {} is complete: names, URLs, and what is missing. */
ngx_int_t ngx_mcp_connect_conf_finish(ngx_conf_t *cf,
    ngx_mcp_main_conf_t *mmcf);

/* ngx_mcp_connect.c */
ngx_int_t ngx_mcp_connect_handler(ngx_http_request_t *r);


#endif /* NGX_MCP_CONNECT_H */
