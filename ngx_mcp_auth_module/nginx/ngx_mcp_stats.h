/*
 * Counters of requests, by server: in the zone, shared by all workers, kept
 * over a reload.
 */

#ifndef NGX_MCP_STATS_H
#define NGX_MCP_STATS_H


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_MCP_STATS_SERVERS  64       /* those after that are one: "other" */
#define NGX_MCP_STATS_ROWS     48       /* of a server; the last one: others */
#define NGX_MCP_STATS_BUCKETS  11


typedef struct {
    ngx_atomic_t         code;          /* decision and reason; 0: free */
    ngx_atomic_t         count;
} ngx_mcp_stats_row_t;


typedef struct {
    u_char               name[64];
    size_t               len;           /* 0: free */
    ngx_mcp_stats_row_t  rows[NGX_MCP_STATS_ROWS];
    ngx_atomic_t         buckets[NGX_MCP_STATS_BUCKETS];
    ngx_atomic_t         us;            /* sum of own work */
} ngx_mcp_stats_t;


/* The counters of a server of this name (at most 64 bytes) among those of the
 * zone: there already, or taken now.  By the master only: two processes could
 * take two for one name, and Prometheus refuses a page with a name twice. */
ngx_mcp_stats_t *ngx_mcp_stats_of(ngx_mcp_stats_t *all, ngx_str_t *name);

/* One request: decision and reason are static texts, us the gateway's own
 * work (negative: none). */
void ngx_mcp_stats_count(ngx_mcp_stats_t *stats, const char *decision,
    const char *reason, int64_t us);

/* What a row is about; the texts are static. */
void ngx_mcp_stats_row(ngx_mcp_stats_row_t *row, const char **decision,
    const char **reason);

/* Upper bounds in us, but of the last bucket, which has none. */
extern const int64_t  ngx_mcp_stats_bounds[NGX_MCP_STATS_BUCKETS - 1];


#endif /* NGX_MCP_STATS_H */
