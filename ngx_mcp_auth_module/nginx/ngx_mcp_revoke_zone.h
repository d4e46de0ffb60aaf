/*
 * The table of watermarks in shared memory.
 *
 * A zone of its own, not mcp_zone: there tokens come and go all the time, and
 * may neither push a watermark out nor, when a worker dies among them, take the
 * table with them.  Two parts: the content of the file, as one block that is
 * replaced whole, and what came from Redis, entry by entry.  None is evicted.
 *
 * Only ngx_mcp_revoke.c and ngx_mcp_revoke_file.c call this.
 */

#ifndef NGX_MCP_REVOKE_ZONE_H
#define NGX_MCP_REVOKE_ZONE_H


#include <ngx_config.h>
#include <ngx_core.h>

#include "mcp_revocation.h"
#include "ngx_mcp_watch.h"


/* the parts, as bits */
#define NGX_MCP_REVOKE_FILE   1
#define NGX_MCP_REVOKE_REDIS  2

#define NGX_MCP_REVOKE_LINE   (2 * MCP_REVOCATION_LINE)
#define NGX_MCP_REVOKE_BATCH  (16 * NGX_MCP_REVOKE_LINE)


/*
 * What is read without the lock.  generation moves last: who sees the new one
 * sees what it stands for.
 */
typedef struct {
    ngx_atomic_t         generation;    /* never 0 */
    ngx_atomic_t         loaded;        /* parts that are complete */
    ngx_atomic_t         full;          /* parts that there was no room for */
    ngx_atomic_t         confirmed;     /* ngx_current_msec: Redis had no more
                                           to tell then */
    ngx_atomic_t         epoch;         /* what was merged before is lost */
    ngx_atomic_t         serial;        /* of the file's content */

    u_char               pad[64];       /* these change with requests */

    ngx_atomic_t         broken;        /* the file cannot be taken now */
    ngx_atomic_t         nfile;
    ngx_atomic_t         nredis;
    ngx_atomic_t         applied;
    ngx_atomic_t         lifted;
    ngx_atomic_t         refused;
    ngx_atomic_t         cut;
} ngx_mcp_revoke_head_t;


/* A file's content: items sorted by name, behind them their lines.  No
 * pointers: it is copied as it is. */

typedef struct {
    u_char               name[MCP_REVOCATION_NAME];
    int64_t              at;
    int64_t              until;
    uint32_t             line;          /* from the block's beginning */
    uint32_t             len;
} ngx_mcp_revoke_item_t;

typedef struct {
    size_t                 size;        /* of all, in bytes */
    ngx_uint_t             n;
    ngx_mcp_revoke_item_t  items[1];
} ngx_mcp_revoke_block_t;


/* Of the file's part, at one moment. */
typedef struct {
    ngx_mcp_watch_t          watch;     /* zero: nothing was read */
    uint64_t                 serial;
    ngx_uint_t               loaded;
    time_t                   since;     /* when it last changed */
    ngx_mcp_revoke_block_t  *block;     /* a copy (ngx_alloc, the caller frees),
                                           or NULL: none */
} ngx_mcp_revoke_content_t;


typedef struct ngx_mcp_revoke_zone_s  ngx_mcp_revoke_zone_t;


/*
 * Configuration time.  wanted: the parts without which nobody passes; *first:
 * what the file has now, copied into a zone that is made new and freed then
 * (*first may be NULL).  NULL after logging at emerg.
 */
ngx_shm_zone_t *ngx_mcp_revoke_zone_add(ngx_conf_t *cf, ngx_str_t *name,
    size_t size, ngx_uint_t wanted, ngx_mcp_revoke_block_t **first,
    ngx_mcp_watch_t *watch);

/* NULL before the zone was initialised. */
ngx_mcp_revoke_zone_t *ngx_mcp_revoke_zone(ngx_shm_zone_t *shm_zone);

ngx_mcp_revoke_head_t *ngx_mcp_revoke_zone_head(ngx_mcp_revoke_zone_t *zone);

size_t ngx_mcp_revoke_zone_free(ngx_mcp_revoke_zone_t *zone);


/*
 * Is what these names stand for revoked for a token issued at iat.  NGX_OK: no;
 * NGX_DECLINED: yes; NGX_AGAIN: a wanted part is not loaded; NGX_ERROR: the
 * zone cannot be used.  An entry ends at `until`, with the leeway.
 */
ngx_int_t ngx_mcp_revoke_zone_check(ngx_mcp_revoke_zone_t *zone,
    unsigned char (*names)[MCP_REVOCATION_NAME], ngx_uint_t n, int64_t iat,
    int leeway, time_t now);


/* NGX_OK, or NGX_ERROR: no memory, or the zone cannot be used. */
ngx_int_t ngx_mcp_revoke_zone_content(ngx_mcp_revoke_zone_t *zone,
    ngx_mcp_revoke_content_t *content);

/* Only the watch and the serial of it. */
ngx_int_t ngx_mcp_revoke_zone_watch(ngx_mcp_revoke_zone_t *zone,
    ngx_mcp_watch_t *watch, uint64_t *serial);

/*
 * Puts block in place of the content that has this serial.  NGX_OK;
 * NGX_DECLINED: somebody was faster, look again; NGX_ERROR: no room, the part
 * is not loaded any more.
 */
ngx_int_t ngx_mcp_revoke_zone_publish(ngx_mcp_revoke_zone_t *zone,
    uint64_t serial, const ngx_mcp_watch_t *watch,
    const ngx_mcp_revoke_block_t *block);


/*
 * An entry from Redis.  NGX_OK: it is in, and *news is 1 when nobody knew of it
 * before; NGX_DECLINED: the table has it or a newer one; NGX_ERROR: no room,
 * the part is not loaded any more.
 */
ngx_int_t ngx_mcp_revoke_zone_merge(ngx_mcp_revoke_zone_t *zone,
    const mcp_revocation_t *r, ngx_uint_t *news);

/* The line that is kept of r, in buf of NGX_MCP_REVOKE_LINE bytes; its length.
 * Of one that is too long all is there but who did it and why. */
size_t ngx_mcp_revoke_zone_line(const mcp_revocation_t *r, u_char *buf);

/* As ngx_mcp_revoke_loaded() and ngx_mcp_revoke_current(). */
ngx_int_t ngx_mcp_revoke_zone_loaded(ngx_mcp_revoke_zone_t *zone,
    uint64_t epoch, ngx_msec_t when);
ngx_int_t ngx_mcp_revoke_zone_current(ngx_mcp_revoke_zone_t *zone,
    ngx_msec_t when);

/* Entries from Redis from *cursor on, copied into buf (NGX_MCP_REVOKE_BATCH
 * bytes at least) as stamp (uint64_t), length (size_t), line; how many.
 * *cursor is 0 after the last. */
ngx_uint_t ngx_mcp_revoke_zone_next(ngx_mcp_revoke_zone_t *zone,
    uint64_t *cursor, u_char *buf, size_t size);

/* Some entries from Redis that ran out long ago go.  Once a second is enough,
 * by whichever worker. */
void ngx_mcp_revoke_zone_sweep(ngx_mcp_revoke_zone_t *zone, time_t now);


/* 1: this complaint is another one than the last, or was not heard of for a
 * minute by any worker. */
ngx_uint_t ngx_mcp_revoke_zone_complain(ngx_mcp_revoke_zone_t *zone,
    uint64_t what, time_t now);


#endif /* NGX_MCP_REVOKE_ZONE_H */
