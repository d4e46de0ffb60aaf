/*
 * How often own tokens (PAT, VAT) that nobody has may be tried from one
 * address: a table of fixed size among the zone's counters.
 *
 * No lock and no allocation: words that are read and set whole.  What two
 * workers do at once, or an address that is pushed out by others, costs the
 * table a failure that is not counted, never more.
 */

#ifndef NGX_MCP_TOKEN_LIMIT_H
#define NGX_MCP_TOKEN_LIMIT_H


#include <ngx_config.h>
#include <ngx_core.h>

#include "mcp_digest.h"


#define NGX_MCP_LIMIT_SETS    256
#define NGX_MCP_LIMIT_WAYS    4         /* addresses in a set */
#define NGX_MCP_LIMIT_KNOWN   1024      /* tokens */


typedef struct {
    ngx_atomic_t             tag;       /* of the address; 0: free */
    ngx_atomic_t             until;     /* when all is forgotten: by
                                           ngx_current_msec */
    ngx_atomic_t             last;      /* which token failed last */
} ngx_mcp_limit_slot_t;


/* Zeroed: nothing was tried yet. */
typedef struct {
    ngx_mcp_limit_slot_t     slots[NGX_MCP_LIMIT_SETS][NGX_MCP_LIMIT_WAYS];
    ngx_atomic_t             known[NGX_MCP_LIMIT_KNOWN];
} ngx_mcp_limit_t;


/* One try. */
typedef struct {
    ngx_mcp_limit_t         *table;
    ngx_uint_t               failures;  /* a minute; 0: no limit */
    ngx_atomic_uint_t        token;     /* which one */
    ngx_uint_t               place;     /* the token's, among the known */
    ngx_uint_t               set;       /* the address's */
    ngx_atomic_uint_t        tag;
} ngx_mcp_limit_try_t;


/* Of the client at sockaddr (IPv6: its /64) with the token of this key, 32
 * bytes of digest; digest: a secret key, so that nobody chooses the set. */
void ngx_mcp_limit_try(ngx_mcp_limit_try_t *t, ngx_mcp_limit_t *table,
    ngx_uint_t failures, struct sockaddr *sockaddr, const u_char *key,
    const mcp_digest_key_t *digest);

/* 0: go on, else s to wait.  A token that was good within the last minutes
 * never waits. */
time_t ngx_mcp_limit_wait(ngx_mcp_limit_try_t *t);

/* The token was good, or it failed.  One that fails again counts once. */
void ngx_mcp_limit_good(ngx_mcp_limit_try_t *t);
void ngx_mcp_limit_failed(ngx_mcp_limit_try_t *t);


#endif /* NGX_MCP_TOKEN_LIMIT_H */
