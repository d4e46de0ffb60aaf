/*
 * Where token records and watermarks are: files, or Redis.  What the commands
 * do is the same in both.
 *
 * A change is made against the line that was read: when that is another one
 * meanwhile, nothing is changed and MCP_DECLINED returned.  The audit record is
 * written just before the change.
 *
 * All functions return MCP_OK, MCP_DECLINED, or MCP_ERROR: said.
 */

#ifndef MCPCTL_STORE_H
#define MCPCTL_STORE_H


#include "mcpctl_audit.h"
#include "mcpctl_conf.h"
#include "mcpctl_redis.h"


typedef struct mcpctl_store_s  mcpctl_store_t;


typedef struct {
    mcp_access_key_t     key;
    mcp_str_t            line;          /* as it is stored */
    int64_t              used;          /* s since the epoch; 0: not known */
    mcpctl_store_t      *store;
} mcpctl_token_t;

typedef struct {
    mcp_revocation_t     r;
    mcp_str_t            line;
    mcpctl_store_t      *store;
} mcpctl_watermark_t;


struct mcpctl_store_s {
    mcpctl_t            *ctl;
    const char          *name;          /* file, redis */
    mcpctl_conn_t       *redis;
    int64_t              ahead;         /* s, of its clock before ours */
    unsigned             damaged;       /* lines that were left out, said */

    /* mcpctl_token_t; what is no record is left out, if the rest can be told */
    int  (*tokens)(mcpctl_store_t *st, mcpctl_list_t *tokens);

    /* MCP_DECLINED: there is none of this id */
    int  (*token)(mcpctl_store_t *st, const mcp_str_t *id,
                  mcpctl_token_t **token);

    /* MCP_DECLINED: the hash or the id is taken */
    int  (*create)(mcpctl_store_t *st, const mcp_access_key_t *key,
                   mcpctl_audit_t *audit);

    /* old becomes `changed`, and key is new */
    int  (*rotate)(mcpctl_store_t *st, const mcpctl_token_t *old,
                   const mcp_access_key_t *changed,
                   const mcp_access_key_t *key, mcpctl_audit_t *audit);

    /* old becomes `changed`; in Redis together with the watermark r, in a file
     * without it */
    int  (*revoke)(mcpctl_store_t *st, const mcpctl_token_t *old,
                   const mcp_access_key_t *changed,
                   const mcp_revocation_t *r, mcpctl_audit_t *audit);

    /* mcpctl_watermark_t; lifted ones too */
    int  (*watermarks)(mcpctl_store_t *st, mcpctl_list_t *watermarks);

    /* of the same type, issuer and value; MCP_DECLINED: none, or lifted */
    int  (*watermark)(mcpctl_store_t *st, const mcp_revocation_t *r,
                      mcpctl_watermark_t **watermark);

    /* at 0: lifts it; MCP_DECLINED: there was none */
    int  (*set)(mcpctl_store_t *st, const mcp_revocation_t *r,
                mcpctl_audit_t *audit);
};


typedef enum {
    MCPCTL_STORE_TOKENS = 0,
    MCPCTL_STORE_REVOCATIONS
} mcpctl_store_e;


/*
 * Opens the stores that the configuration has for this, Redis first; only (from
 * --store) is NULL or the name of one.  MCPCTL_OK: stores has one or two (and
 * what is there of them has to be closed); else an exit code, and it was said.
 */
int mcpctl_stores_open(mcpctl_t *ctl, mcpctl_store_e what, const char *only,
    mcpctl_list_t *stores);
void mcpctl_stores_close(mcpctl_list_t *stores);

int mcpctl_store_file(mcpctl_t *ctl, mcpctl_store_t *st);
int mcpctl_store_redis(mcpctl_t *ctl, mcpctl_store_t *st);

/* A line that was stored; what: for the message.  NULL: said. */
mcpctl_token_t *mcpctl_store_token(mcpctl_store_t *st, const mcp_str_t *line,
    const char *what);
mcpctl_watermark_t *mcpctl_store_watermark(mcpctl_store_t *st,
    const mcp_str_t *line, const char *what);

/* The line of it; len 0: it has none that can be read again, said. */
mcp_str_t mcpctl_store_token_line(mcpctl_t *ctl, const mcp_access_key_t *key);
mcp_str_t mcpctl_store_revocation_line(mcpctl_t *ctl,
    const mcp_revocation_t *r);

/* Are they about the same? */
int mcpctl_store_same(const mcp_revocation_t *a, const mcp_revocation_t *b);

/*
 * The watermarks in force, of all stores; when they cannot be had, says so, and
 * there are none.
 */
void mcpctl_store_in_force(mcpctl_t *ctl, int64_t now, mcpctl_list_t *list);

/* The one of list under which what key's owner got at `created` falls, or NULL;
 * with its id, or (id 0) apart from it. */
const mcpctl_watermark_t *mcpctl_store_covered(const mcpctl_list_t *list,
    const mcp_access_key_t *key, int64_t created, unsigned id);


#endif /* MCPCTL_STORE_H */
