/*
 * Records of downstream credentials, as gateways keep them in Redis (see
 * ngx_mcp_store.h and mcp_vault.h), and the keys that they are sealed with.
 *
 * What is written is what a gateway would write: the same keys in Redis, the
 * same seals, and one script that compares the version.  A record is changed
 * against the version that was read; when that has moved, nothing is changed.
 *
 * What a seal hides is opened into buffers of the vault, and wiped when the
 * caller is done with it: no token outlives mcpctl_vault_forget().
 */

#ifndef MCPCTL_VAULT_H
#define MCPCTL_VAULT_H


#include "mcpctl_audit.h"
#include "mcpctl_out.h"
#include "mcpctl_redis.h"
#include "mcp_oauth.h"
#include "mcp_vault.h"


#define MCPCTL_VAULT_GRANT    (400 * 86400)     /* s that a grant is kept */
#define MCPCTL_VAULT_PLAIN    (MCP_VAULT_VALUE + MCP_VAULT_OVERHEAD)
#define MCPCTL_VAULT_TRIES    8         /* when it changes meanwhile */


typedef enum {
    MCPCTL_RECORD_OPEN = 0,
    MCPCTL_RECORD_NO_KEY,               /* the ring lacks the key */
    MCPCTL_RECORD_DAMAGED               /* changed, or moved here */
} mcpctl_record_e;


/* Strings are those of the reply, or (mcpctl_record_keep()) of their own. */
typedef struct {
    mcp_str_t            name;          /* MCP_VAULT_NAME hex digits */
    uint64_t             version;       /* 0: there is no such record */
    mcp_str_t            state;         /* active, reauth, revoked */
    mcp_str_t            sealed;        /* tokens; empty: it was deleted */
    mcp_str_t            meta;          /* sealed: whose it is */
    int64_t              expires;       /* s since the epoch; 0: never */
    mcp_str_t            flight;        /* note of a refresh, or empty */
    int64_t              ttl;           /* s; -1: it stays */

    /* mcpctl_record_open() */
    mcpctl_record_e      open;
    char                *lacks;         /* NO_KEY: the id of that key */
    char                *key;           /* the id of its key, to be shown */
    unsigned             tokens;        /* it has any */
    unsigned             owned;         /* owner is known */
    mcp_vault_owner_t    owner;
    int64_t              issued;
    int64_t              refresh_expires;       /* 0: not known */
    unsigned             refresh;       /* has a refresh token */
    mcp_str_t            scope;
} mcpctl_record_t;


typedef struct {
    mcpctl_t            *ctl;
    mcp_vault_ring_t     ring;
    mcpctl_conn_t       *redis;
    unsigned char       *plain;         /* what was opened last */
    size_t               nplain;
    unsigned char       *scratch;       /* for core, likewise */
    size_t               nscratch;
} mcpctl_vault_t;


/* Reads the keys, connects.  MCPCTL_OK, or an exit code: said; nothing has to
 * be closed then. */
int mcpctl_vault_open(mcpctl_t *ctl, mcpctl_vault_t *v);
void mcpctl_vault_close(mcpctl_vault_t *v);

/* The ring of mcp_vault_keys: the caller wipes it.  MCP_OK, or MCP_ERROR:
 * said. */
int mcpctl_vault_ring(mcpctl_t *ctl, const mcp_str_t *path,
    mcp_vault_ring_t *ring);


/*
 * Opens what it has: whose it is, and what can be told of the tokens.  With an
 * owner it has to be that one's, and opens though `meta` does not.
 */
void mcpctl_record_open(mcpctl_vault_t *v, mcpctl_record_t *r,
    const mcp_vault_owner_t *owner);

/* Opens one field into v->plain: MCP_OK, or MCP_DECLINED; the caller calls
 * mcpctl_vault_forget(). */
int mcpctl_record_plain(mcpctl_vault_t *v, const mcp_vault_owner_t *owner,
    const char *field, uint64_t version, const mcp_str_t *sealed,
    mcp_str_t *plain);
void mcpctl_vault_forget(mcpctl_vault_t *v);

/* Memory for core's parsers (mcp_mem_t, ctx: the vault); all of it goes by
 * mcpctl_vault_forget(). */
void *mcpctl_vault_alloc(void *ctx, size_t size);

/*
 * Seals tokens and owner as the record of version + 1, in memory until the end
 * of the run.  MCP_OK, or MCP_ERROR: said.
 */
int mcpctl_record_seal(mcpctl_vault_t *v, const mcp_vault_owner_t *owner,
    const mcp_vault_tokens_t *tokens, mcpctl_record_t *r);

/* What an opened record has, sealed with the first key, as of the same version;
 * the two have room for MCPCTL_VAULT_PLAIN bytes.  As above. */
int mcpctl_record_reseal(mcpctl_vault_t *v, const mcpctl_record_t *r,
    mcp_str_t *sealed, mcp_str_t *meta);

/* One field that opens, sealed with the first key; sealed has room for
 * MCPCTL_VAULT_PLAIN bytes.  As above. */
int mcpctl_record_again(mcpctl_vault_t *v, const mcp_vault_owner_t *owner,
    const char *field, uint64_t version, const mcp_str_t *old,
    mcp_str_t *sealed);

/* Strings of its own, with a NUL behind them; tokens: with `sealed`, too. */
void mcpctl_record_keep(mcpctl_t *ctl, mcpctl_record_t *r, unsigned tokens);

/* Why it does not open, for a message. */
const char *mcpctl_record_why(mcpctl_t *ctl, const mcpctl_record_t *r);

/* 1 when it is that of an owner which has these; empty ones are not asked. */
unsigned mcpctl_record_of(const mcpctl_record_t *r, const mcp_str_t *credential,
    const mcp_str_t *user, const mcp_str_t *issuer);


/* mcpctl_vault_redis.c */

/* The names of all records, sorted (mcp_str_t); *damaged: what is no name is
 * told of.  MCP_OK, or MCP_ERROR: said. */
int mcpctl_vault_names(mcpctl_vault_t *v, mcpctl_list_t *names,
    unsigned *damaged);

/*
 * Calls each() for the records of these names that are there, one by one; the
 * names of those that are not are taken out of the set.  A record that is none
 * is told of and counted in *damaged.  MCP_OK, or MCP_ERROR: said, or of each.
 */
typedef int (*mcpctl_record_pt)(mcpctl_vault_t *v, mcpctl_record_t *r,
    void *data);

int mcpctl_vault_each(mcpctl_vault_t *v, const mcpctl_list_t *names,
    mcpctl_record_pt each, void *data, unsigned *damaged);

/* One record, with strings of its own; version 0: there is none.  MCP_OK, or
 * MCP_ERROR: said. */
int mcpctl_vault_read(mcpctl_vault_t *v, const mcp_str_t *name,
    mcpctl_record_t *r);

/*
 * Writes r over the version that was read, and tells the gateways.  The record
 * has version + 1 then.  keep: s until the store may forget it.  MCP_OK;
 * MCP_DECLINED: it has another version; MCP_ERROR: said.
 */
int mcpctl_vault_write(mcpctl_vault_t *v, const mcpctl_record_t *r,
    int64_t keep, mcpctl_audit_t *audit);

/* A number as an argument of Redis'. */
mcp_str_t mcpctl_vault_text(mcpctl_vault_t *v, int64_t value);

/* Takes the record of this version away, likewise. */
int mcpctl_vault_delete(mcpctl_vault_t *v, const mcpctl_record_t *r,
    mcpctl_audit_t *audit);

/*
 * A person's grant at p (NULL: not known) ends: what was read becomes a
 * tombstone, likewise, and gateways tell the provider.  *told: 0, there is
 * nothing that it could be told, or nothing that opens.
 */
int mcpctl_vault_end(mcpctl_vault_t *v, const mcpctl_record_t *r,
    const mcp_oauth_provider_t *p, mcpctl_audit_t *audit, unsigned *told);

/* New seals around what r, as it was read, has.  Its version stays, so that a
 * refresh which is under way is not lost.  Results as above. */
int mcpctl_vault_reseal(mcpctl_vault_t *v, const mcpctl_record_t *r,
    const mcp_str_t *sealed, const mcp_str_t *meta, mcpctl_audit_t *audit);


/* mcpctl_credential_show.c */

/* A record as `show` has it. */
json_t *mcpctl_record_json(mcpctl_vault_t *v, const mcpctl_record_t *r);
void mcpctl_record_print(mcpctl_vault_t *v, const mcpctl_record_t *r);

/* "jira_user of user U of ISS", to be shown. */
char *mcpctl_record_whose(mcpctl_t *ctl, const mcpctl_record_t *r);


#endif /* MCPCTL_VAULT_H */
