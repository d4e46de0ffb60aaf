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


#define NGX_MCP_STATS_CREDENTIALS  32   /* those after that have none */
#define NGX_MCP_STATS_CLASSES      6    /* mcp_oauth_class_e, from 1 */

/* Steps on the pages of mcp_connect, and what became of them. */
#define NGX_MCP_STATS_STEPS      5
#define NGX_MCP_STATS_DECISIONS  3

typedef ngx_atomic_t  ngx_mcp_stats_connect_t[NGX_MCP_STATS_STEPS]
                                             [NGX_MCP_STATS_DECISIONS];

/* step: behind "connect/" in the audit; others are not counted. */
void ngx_mcp_stats_connect(ngx_mcp_stats_connect_t counts, const char *step,
    const char *decision);

extern const char *const  ngx_mcp_stats_steps[NGX_MCP_STATS_STEPS];
extern const char *const  ngx_mcp_stats_decisions[NGX_MCP_STATS_DECISIONS];


typedef enum {
    NGX_MCP_STATS_ACTIVE = 0,
    NGX_MCP_STATS_REAUTH,               /* to be granted again */
    NGX_MCP_STATS_UNKNOWN,              /* a refresh has no known outcome */
    NGX_MCP_STATS_STATES
} ngx_mcp_stats_state_e;

/* Of an mcp_credential that is fetched. */
typedef struct {
    u_char               name[64];
    size_t               len;           /* 0: free */
    ngx_atomic_t         asked[NGX_MCP_STATS_CLASSES];  /* the provider */
    ngx_atomic_t         revoked[NGX_MCP_STATS_CLASSES];    /* likewise, of a
                                                               revocation */
    ngx_atomic_t         states[NGX_MCP_STATS_STATES];  /* records */
    ngx_atomic_t         closed;        /* the provider is not asked before, s
                                           since the epoch */
    ngx_atomic_t         expires;       /* the next one to end, s since the
                                           epoch; 0: none */
} ngx_mcp_stats_credential_t;


/* As ngx_mcp_stats_of(); NULL: there are too many. */
ngx_mcp_stats_credential_t *ngx_mcp_stats_credential(
    ngx_mcp_stats_credential_t *all, ngx_str_t *name);

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
