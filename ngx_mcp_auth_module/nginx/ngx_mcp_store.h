/*
 * Where records of credentials rest: in Redis (shared by nodes), or in the
 * zone (shared by workers).  Values are sealed before they come here.
 *
 * A record has a version, which every write moves by one.  Whoever wants to
 * refresh takes the lock; what makes it safe is the version, not the lock: a
 * write of a version that is no longer the record's is declined.
 *
 * Before a provider is asked, the lock call notes `flight` in the record (the
 * text is in mcp_vault.h).  The write takes it away.  Whoever gets the lock
 * later is given the note that was there: when it is of this version a refresh
 * was begun, and its outcome is not known.
 */

#ifndef NGX_MCP_STORE_H
#define NGX_MCP_STORE_H


#include "ngx_mcp_module.h"


typedef enum {
    NGX_MCP_STORE_OK = 0,
    NGX_MCP_STORE_NONE,                 /* no record */
    NGX_MCP_STORE_HELD,                 /* somebody has the lock */
    NGX_MCP_STORE_CONFLICT,             /* the version moved, or revoked */
    NGX_MCP_STORE_UNKNOWN               /* no answer: nobody knows */
} ngx_mcp_store_e;

typedef struct {
    uint64_t             version;
    ngx_str_t            state;         /* "active", "reauth", "revoked" */
    ngx_str_t            tokens;        /* sealed */
    ngx_str_t            meta;          /* sealed: whose it is, for mcpctl */
    ngx_str_t            flight;        /* the note, or empty */
    time_t               expires;       /* of the access token, s; 0: never */
    time_t               used;          /* last, to some minutes, s; 0: not
                                           known; of a read alone */
    ngx_uint_t           grant;         /* to be written: the person's own act,
                                           which takes the place of a record
                                           that was revoked, too */
    ngx_msec_t           hold;          /* HELD: nobody asks the provider for so
                                           long, ms; 0: somebody does */
} ngx_mcp_record_t;

/* record: valid during the call, NULL unless NGX_MCP_STORE_OK of a read or
 * lock, CONFLICT or HELD. */
typedef void (*ngx_mcp_store_pt)(void *data, ngx_mcp_store_e rc,
    ngx_mcp_record_t *record);

typedef struct ngx_mcp_store_call_s  ngx_mcp_store_call_t;


/*
 * Each: NGX_AGAIN done will be called exactly once, never before this returns;
 * NGX_ERROR it will not, and nothing was asked.  name: MCP_VAULT_NAME hex
 * digits.
 */
ngx_int_t ngx_mcp_store_read(ngx_mcp_main_conf_t *mmcf, u_char *name,
    ngx_mcp_store_pt done, void *data, ngx_mcp_store_call_t **call);

/* Takes the lock for ttl ms, gives the record as it is now (version 0 and empty
 * when there is none), and then notes the flight (note: 1). */
ngx_int_t ngx_mcp_store_lock(ngx_mcp_main_conf_t *mmcf, u_char *name,
    ngx_str_t *owner, ngx_msec_t ttl, ngx_uint_t note, ngx_mcp_store_pt done,
    void *data, ngx_mcp_store_call_t **call);

/*
 * Writes the record with version + 1 when it still has `version` and is not
 * revoked, ends the lock when owner has it, takes the flight's note away, and
 * tells the others ("cred NAME" on the channel).  keep: s until the store may
 * forget it.
 */
ngx_int_t ngx_mcp_store_write(ngx_mcp_main_conf_t *mmcf, u_char *name,
    ngx_str_t *owner, uint64_t version, ngx_mcp_record_t *record, time_t keep,
    ngx_mcp_store_pt done, void *data, ngx_mcp_store_call_t **call);

/*
 * Gives the lock back, or (hold, in ms, not 0) leaves it closed so long for
 * everybody: the provider is not to be asked before.  note: what the note shall
 * be, empty: none, NULL: as it is.  Nothing depends on the outcome: a lock that
 * stays ends by itself, and a note that stays says more than is true.
 */
void ngx_mcp_store_unlock(ngx_mcp_main_conf_t *mmcf, u_char *name,
    ngx_str_t *owner, ngx_str_t *note, ngx_msec_t hold);

/* The record of this name, if it is there, was used at now (s).  Nobody waits
 * for it. */
void ngx_mcp_store_used(ngx_mcp_main_conf_t *mmcf, u_char *name, time_t now);

void ngx_mcp_store_cancel(ngx_mcp_store_call_t *call);


#endif /* NGX_MCP_STORE_H */
