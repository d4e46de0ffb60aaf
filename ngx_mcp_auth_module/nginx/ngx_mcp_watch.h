/*
 * A file that is read again when it was replaced or changed.
 */

#ifndef NGX_MCP_WATCH_H
#define NGX_MCP_WATCH_H


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_MCP_WATCH_TIME  250         /* ms between two looks */


/* Which content it was; all zero: none yet.  No pointer: it may be in a
 * zone. */
typedef struct {
    uint64_t             dev;
    uint64_t             ino;
    uint64_t             size;
    uint64_t             mtime;         /* ns */
    uint64_t             ctime;         /* ns */
    uint64_t             hash;          /* of the text */
    uint64_t             fresh;         /* read so soon after it was written
                                           that the times may not tell of the
                                           next change */
} ngx_mcp_watch_t;


/*
 * When the file at path (NUL-terminated) has another text than *seen: NGX_OK,
 * the text (ngx_alloc, the caller frees); it did not change while it was read.
 * NGX_DECLINED: unchanged.  In both cases *now is what to pass as seen the next
 * time (now may be seen).
 * NGX_ERROR: cannot be read, or is larger than max bytes; *error is a static
 * text that goes after the file's name, *err the errno or 0.
 * Blocks for as long as a local disk takes.
 */
ngx_int_t ngx_mcp_watch_read(ngx_str_t *path, size_t max,
    const ngx_mcp_watch_t *seen, ngx_mcp_watch_t *now, ngx_str_t *text,
    const char **error, ngx_err_t *err, ngx_log_t *log);


#endif /* NGX_MCP_WATCH_H */
