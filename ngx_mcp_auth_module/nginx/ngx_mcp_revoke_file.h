/*
 * mcp_revocation_file: from its text to the table.
 */

#ifndef NGX_MCP_REVOKE_FILE_H
#define NGX_MCP_REVOKE_FILE_H


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_mcp_revoke_zone.h"


typedef struct {
    ngx_str_t                path;
    ngx_mcp_watch_t          watch;     /* when the configuration was read */
    ngx_mcp_revoke_block_t  *first;     /* what it had then; the zone takes
                                           it */

    /* this worker's */
    ngx_mcp_watch_t          seen;
    uint64_t                 serial;    /* of the zone, when it was seen */
    ngx_msec_t               retry;     /* not before; 0: at once */
    const char              *error;     /* why what was seen was not taken */
    ngx_uint_t               line;
} ngx_mcp_revoke_file_t;


/* A change that this worker was the first to put into the table; lifted: r was
 * taken out. */
typedef void (*ngx_mcp_revoke_change_pt)(void *data,
    const mcp_revocation_t *r, ngx_uint_t lifted);


/* Configuration time: reads it.  NULL after logging at emerg. */
ngx_mcp_revoke_file_t *ngx_mcp_revoke_file_conf(ngx_conf_t *cf,
    ngx_str_t *path);

void ngx_mcp_revoke_file_init(ngx_mcp_revoke_file_t *f);

/* Has it changed?  Then the table gets its content, if that is whole and
 * right; else the old one stays, and error.log says why. */
void ngx_mcp_revoke_file_look(ngx_mcp_revoke_file_t *f,
    ngx_mcp_revoke_zone_t *zone, ngx_mcp_revoke_change_pt change, void *data);


/* A line of the table; strings in buf, which has NGX_MCP_REVOKE_LINE bytes.
 * NGX_OK or NGX_ERROR. */
ngx_int_t ngx_mcp_revoke_line(u_char *line, size_t len, u_char *buf,
    mcp_revocation_t *r);


#endif /* NGX_MCP_REVOKE_FILE_H */
